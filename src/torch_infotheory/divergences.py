"""Measures with an order, and the divergences beside Kullback and Leibler's.

The arguments ``kind``, ``dim``, ``base``, ``keepdim`` and ``dtype``, the rules at the edges of the
domain and the errors are those of every measure, see `torch_infotheory.measures`. Where a
divergence is of second order in p - q, it is never below 0 for distributions that are normalized up
to the rounding of their entries, and stays accurate where p and q are nearly equal.

Reference:
    Amari (2009). Alpha-divergence is unique, belonging to both f-divergence and Bregman divergence
        classes. IEEE Transactions on Information Theory 55.
    Bhattacharyya (1943). On a measure of divergence between two statistical populations defined by
        their probability distributions. Bulletin of the Calcutta Mathematical Society 35.
    Cover and Thomas (2006). Elements of Information Theory, second edition. Wiley.
    Endres and Schindelin (2003). A new metric for probability distributions. IEEE Transactions on
        Information Theory 49.
    Houlsby, Huszar, Ghahramani and Lengyel (2011). Bayesian active learning for classification and
        preference learning. arXiv:1112.5745.
    Jeffreys (1946). An invariant form for the prior probability in estimation problems. Proceedings
        of the Royal Society A 186.
    Lin (1991). Divergence measures based on the Shannon entropy. IEEE Transactions on Information
        Theory 37.
    Renyi (1961). On measures of entropy and information. Proceedings of the Fourth Berkeley
        Symposium on Mathematical Statistics and Probability 1.
    Tsallis (1988). Possible generalization of Boltzmann-Gibbs statistics. Journal of Statistical
        Physics 52.
    van Erven and Harremoes (2014). Renyi divergence and Kullback-Leibler divergence. IEEE
        Transactions on Information Theory 60.
"""

import torch
from torch import Tensor

from torch_infotheory import measures as _measures
from torch_infotheory._docstrings import explain_arguments as _explain_arguments
from torch_infotheory._ops import functions as _functions
from torch_infotheory.measures import Dim, Kind, _kinds_of

__all__ = [
    "renyi_entropy",
    "tsallis_entropy",
    "renyi_divergence",
    "alpha_divergence",
    "squared_hellinger_distance",
    "hellinger_distance",
    "bhattacharyya_coefficient",
    "total_variation_distance",
    "chi_squared_divergence",
    "jeffreys_divergence",
    "js_distance",
    "mixture_divergence",
]

_ops = _functions(__all__)


def renyi_entropy(
    p: Tensor,
    alpha: float,
    dim: Dim = -1,
    *,
    kind: Kind = "probs",
    base: float | None = None,
    keepdim: bool = False,
    dtype: torch.dtype | None = None,
    validate: bool | None = None,
) -> Tensor:
    """Return the Renyi entropy of order alpha of each distribution.

    ::

        H_a(p) = log(sum_x p(x)^a / sum_x p(x)) / (1 - a)

    Args:
        p: Distributions of C classes, shape (..., C, ...).
        alpha: The order, 0 or above. 1 gives the entropy, 0 the logarithm of the number of classes
            with p > 0, 2 the collision entropy, infinity the min-entropy -log max p.
        dim, kind, base, keepdim, dtype, validate: Shared arguments, see
            `torch_infotheory.measures`.

    Returns:
        Tensor of p's shape without ``dim``; between 0 and log C, and falling in alpha.

    Domain:
        As for every measure. Dividing by the sum, which is 1 but for rounding, keeps the value
        exact near alpha = 1.

    Gradient:
        dH/dp_j = (a p_j^(a-1) / sum p^a - 1 / sum p) / (1 - a) in nats; 0 for alpha = 0, and at p_j
        = 0 where that is infinite.

    Raises:
        ValueError: ``alpha`` is negative or NaN. The errors of every measure.

    Example:
        The probability of drawing the same class twice is 3/8.

        >>> import torch, torch_infotheory as ti
        >>> p = torch.tensor([0.5, 0.25, 0.25])
        >>> ti.renyi_entropy(p, 2, base=2)  # log2(8 / 3)
        tensor(1.4150)
        >>> ti.renyi_entropy(p, float("inf"), base=2)
        tensor(1.)

    Reference:
        Renyi (1961), section 2.

    See also:
        `tsallis_entropy`, `entropy`.
    """
    ops = _ops if validate is None else _ops.that(validate)
    return ops.renyi_entropy(
        p,
        alpha,
        dim,
        kind,
        base,
        keepdim,
        dtype,
    )


def tsallis_entropy(
    p: Tensor,
    alpha: float,
    dim: Dim = -1,
    *,
    kind: Kind = "probs",
    keepdim: bool = False,
    dtype: torch.dtype | None = None,
    validate: bool | None = None,
) -> Tensor:
    """Return the Tsallis entropy of order alpha of each distribution.

    ::

        S_a(p) = sum_x (p(x) - p(x)^a) / (a - 1)

    Args:
        p: Distributions of C classes, shape (..., C, ...).
        alpha: The order, 0 or above and finite. 1 gives the entropy in nats, 2 the Gini-Simpson
            index 1 - sum p^2.
        dim, kind, keepdim, dtype, validate: Shared arguments, see `torch_infotheory.measures`.

    Returns:
        Tensor of p's shape without ``dim``; at least 0. For p that sums to 1 it is (1 - sum p^a) /
        (a - 1).

    Domain:
        As for every measure.

    Gradient:
        dS/dp_j = (1 - a p_j^(a-1)) / (a - 1), and 0 at p_j = 0 where that is infinite.

    Raises:
        ValueError: ``alpha`` is negative, infinite or NaN. The errors of every measure.

    Example:
        Two draws differ with probability 1 - 3/8.

        >>> import torch, torch_infotheory as ti
        >>> ti.tsallis_entropy(torch.tensor([0.5, 0.25, 0.25]), 2)
        tensor(0.6250)

    Reference:
        Tsallis (1988), equation 1.

    See also:
        `renyi_entropy`.
    """
    ops = _ops if validate is None else _ops.that(validate)
    return ops.tsallis_entropy(p, alpha, dim, kind, keepdim, dtype)


def renyi_divergence(
    p: Tensor,
    q: Tensor,
    alpha: float,
    dim: Dim = -1,
    *,
    kind: Kind | tuple[Kind, Kind] = "probs",
    base: float | None = None,
    keepdim: bool = False,
    dtype: torch.dtype | None = None,
    validate: bool | None = None,
) -> Tensor:
    """Return the Renyi divergence of order alpha of p from q.

    ::

        D_a(p || q) = log(sum_x p(x)^a q(x)^(1-a) / sum_x p(x)) / (a - 1)

    Args:
        p: Distributions of C classes, shape (..., C, ...).
        q: Distributions of C classes; broadcasts against p.
        alpha: The order, 0 or above. 1 gives the Kullback-Leibler divergence, 0 the value -log
            q(support of p), infinity log max p / q.
        dim, kind, base, keepdim, dtype, validate: Shared arguments, see
            `torch_infotheory.measures`.

    Returns:
        Tensor of the broadcast shape without ``dim``; at least 0, and rising in alpha.

    Domain:
        As for every measure. Infinite for alpha >= 1 where p > 0 and q = 0, and where p and q have
        no class in common.

    Gradient:
        dD/dp_j = (a p_j^(a-1) q_j^(1-a) / S - 1 / sum p) / (a - 1) with S = sum p^a q^(1-a), in
        nats, and 0 at p_j = 0 where that is infinite. dD/dq_j = -p_j^a q_j^(-a) / S.

    Raises:
        ValueError: ``alpha`` is negative or NaN. The errors of every measure.

    Example:
        The sum is 1/2^2 / (1/4) + 1/2^2 / (3/4) = 4/3.

        >>> import torch, torch_infotheory as ti
        >>> p, q = torch.tensor([0.5, 0.5]), torch.tensor([0.25, 0.75])
        >>> ti.renyi_divergence(p, q, 2, base=2)  # log2(4 / 3)
        tensor(0.4150)

    Reference:
        Renyi (1961), section 3; van Erven and Harremoes (2014).

    See also:
        `alpha_divergence`, `kl_divergence`.
    """
    ops = _ops if validate is None else _ops.that(validate)
    return ops.renyi_divergence(
        p,
        q,
        alpha,
        dim,
        *_kinds_of(kind),
        base,
        keepdim,
        dtype,
    )


def alpha_divergence(
    p: Tensor,
    q: Tensor,
    alpha: float,
    dim: Dim = -1,
    *,
    kind: Kind | tuple[Kind, Kind] = "probs",
    keepdim: bool = False,
    dtype: torch.dtype | None = None,
    validate: bool | None = None,
) -> Tensor:
    """Return Amari's alpha divergence of p and q.

    ::

        D(p, q) = sum_x (p(x)^a q(x)^(1-a) - a p(x) - (1 - a) q(x)) / (a (a - 1))

    Args:
        p: Distributions of C classes, shape (..., C, ...).
        q: Distributions of C classes; broadcasts against p.
        alpha: Any finite order. 1 gives D(p || q), 0 gives D(q || p), 1/2 four times the squared
            Hellinger distance, 2 half of the chi-squared divergence.
        dim, kind, keepdim, dtype, validate: Shared arguments, see `torch_infotheory.measures`.

    Returns:
        Tensor of the broadcast shape without ``dim``; at least 0.

    Domain:
        As for every measure. Infinite for alpha >= 1 where p > 0 and q = 0, and for alpha <= 0
        where q > 0 and p = 0.

    Gradient:
        dD/dp_j = ((p_j / q_j)^(a-1) - 1) / (a - 1), and 0 at p_j = 0 where that is infinite.
        dD/dq_j = -((p_j / q_j)^a - 1) / a.

    Raises:
        ValueError: ``alpha`` is not finite. The errors of every measure.

    Example:
        For alpha = 2, half of (1/4)^2 / (1/4) + (1/4)^2 / (3/4).

        >>> import torch, torch_infotheory as ti
        >>> p, q = torch.tensor([0.5, 0.5]), torch.tensor([0.25, 0.75])
        >>> ti.alpha_divergence(p, q, 2)
        tensor(0.1667)

    Reference:
        Amari (2009), section 3.

    See also:
        `renyi_divergence`, `kl_divergence`.
    """
    ops = _ops if validate is None else _ops.that(validate)
    return ops.alpha_divergence(p, q, alpha, dim, *_kinds_of(kind), keepdim, dtype)


def squared_hellinger_distance(
    p: Tensor,
    q: Tensor,
    dim: Dim = -1,
    *,
    kind: Kind | tuple[Kind, Kind] = "probs",
    keepdim: bool = False,
    dtype: torch.dtype | None = None,
    validate: bool | None = None,
) -> Tensor:
    """Return the squared Hellinger distance of p and q.

    ::

        H^2(p, q) = sum_x (sqrt p(x) - sqrt q(x))^2 / 2

    Args:
        p: Distributions of C classes, shape (..., C, ...).
        q: Distributions of C classes; broadcasts against p.
        dim, kind, keepdim, dtype, validate: Shared arguments, see `torch_infotheory.measures`.

    Returns:
        Tensor of the broadcast shape without ``dim``; between 0 and 1.

    Domain:
        As for every measure.

    Gradient:
        dH^2/dp_j = (1 - sqrt(q_j / p_j)) / 2, and 0 at p_j = 0; likewise for q.

    Raises:
        The errors of every measure.

    Example:
        The first class has the root 1 in one and 0.6 in the other, the second 0 and 0.8.

        >>> import torch, torch_infotheory as ti
        >>> p, q = torch.tensor([1.0, 0.0]), torch.tensor([0.36, 0.64])
        >>> ti.squared_hellinger_distance(p, q)  # (0.16 + 0.64) / 2
        tensor(0.4000)

    Reference:
        Bhattacharyya (1943); it is 1 minus his coefficient.

    See also:
        `hellinger_distance`, `bhattacharyya_coefficient`.
    """
    ops = _ops if validate is None else _ops.that(validate)
    return ops.squared_hellinger_distance(p, q, dim, *_kinds_of(kind), keepdim, dtype)


def hellinger_distance(
    p: Tensor,
    q: Tensor,
    dim: Dim = -1,
    *,
    kind: Kind | tuple[Kind, Kind] = "probs",
    keepdim: bool = False,
    dtype: torch.dtype | None = None,
    validate: bool | None = None,
) -> Tensor:
    """Return the Hellinger distance of p and q, which is a metric.

    ::

        H(p, q) = sqrt(sum_x (sqrt p(x) - sqrt q(x))^2 / 2)

    Args:
        p: Distributions of C classes, shape (..., C, ...).
        q: Distributions of C classes; broadcasts against p.
        dim, kind, keepdim, dtype, validate: Shared arguments, see `torch_infotheory.measures`.

    Returns:
        Tensor of the broadcast shape without ``dim``; between 0 and 1.

    Domain:
        As for every measure.

    Gradient:
        That of the squared distance divided by 2 H, and 0 where p = q.

    Raises:
        The errors of every measure.

    Example:
        >>> import torch, torch_infotheory as ti
        >>> p, q = torch.tensor([1.0, 0.0]), torch.tensor([0.36, 0.64])
        >>> ti.hellinger_distance(p, q)  # sqrt 0.4
        tensor(0.6325)

    Reference:
        Bhattacharyya (1943).

    See also:
        `squared_hellinger_distance`.
    """
    ops = _ops if validate is None else _ops.that(validate)
    return ops.hellinger_distance(p, q, dim, *_kinds_of(kind), keepdim, dtype)


def bhattacharyya_coefficient(
    p: Tensor,
    q: Tensor,
    dim: Dim = -1,
    *,
    kind: Kind | tuple[Kind, Kind] = "probs",
    keepdim: bool = False,
    dtype: torch.dtype | None = None,
    validate: bool | None = None,
) -> Tensor:
    """Return the Bhattacharyya coefficient of p and q: how much they overlap.

    ::

        BC(p, q) = sum_x sqrt(p(x) q(x))

    Args:
        p: Distributions of C classes, shape (..., C, ...).
        q: Distributions of C classes; broadcasts against p.
        dim, kind, keepdim, dtype, validate: Shared arguments, see `torch_infotheory.measures`.

    Returns:
        Tensor of the broadcast shape without ``dim``; between 0 and 1: 1 where p = q, 0 where they
        have no class in common.

    Domain:
        As for every measure.

    Gradient:
        dBC/dp_j = sqrt(q_j / p_j) / 2, and 0 at p_j = 0; likewise for q.

    Raises:
        The errors of every measure.

    Example:
        >>> import torch, torch_infotheory as ti
        >>> p, q = torch.tensor([1.0, 0.0]), torch.tensor([0.36, 0.64])
        >>> ti.bhattacharyya_coefficient(p, q)
        tensor(0.6000)

    Reference:
        Bhattacharyya (1943).

    See also:
        `squared_hellinger_distance`; `renyi_divergence` of order 1/2 is -2 log BC.
    """
    ops = _ops if validate is None else _ops.that(validate)
    return ops.bhattacharyya_coefficient(p, q, dim, *_kinds_of(kind), keepdim, dtype)


def total_variation_distance(
    p: Tensor,
    q: Tensor,
    dim: Dim = -1,
    *,
    kind: Kind | tuple[Kind, Kind] = "probs",
    keepdim: bool = False,
    dtype: torch.dtype | None = None,
    validate: bool | None = None,
) -> Tensor:
    """Return the total variation distance of p and q: the largest difference of an event.

    ::

        TV(p, q) = sum_x |p(x) - q(x)| / 2

    Args:
        p: Distributions of C classes, shape (..., C, ...).
        q: Distributions of C classes; broadcasts against p.
        dim, kind, keepdim, dtype, validate: Shared arguments, see `torch_infotheory.measures`.

    Returns:
        Tensor of the broadcast shape without ``dim``; between 0 and 1.

    Domain:
        As for every measure.

    Gradient:
        dTV/dp_j = sign(p_j - q_j) / 2, which is 0 where p_j = q_j; the opposite for q.

    Raises:
        The errors of every measure.

    Example:
        >>> import torch, torch_infotheory as ti
        >>> p, q = torch.tensor([0.5, 0.5, 0.0]), torch.tensor([0.25, 0.25, 0.5])
        >>> ti.total_variation_distance(p, q)
        tensor(0.5000)

    Reference:
        Cover and Thomas (2006), section 11.6.

    See also:
        `hellinger_distance`.
    """
    ops = _ops if validate is None else _ops.that(validate)
    return ops.total_variation_distance(p, q, dim, *_kinds_of(kind), keepdim, dtype)


def chi_squared_divergence(
    p: Tensor,
    q: Tensor,
    dim: Dim = -1,
    *,
    kind: Kind | tuple[Kind, Kind] = "probs",
    keepdim: bool = False,
    dtype: torch.dtype | None = None,
    validate: bool | None = None,
) -> Tensor:
    """Return Pearson's chi-squared divergence of p from q.

    ::

        chi^2(p, q) = sum_x (p(x) - q(x))^2 / q(x)

    Args:
        p: Distributions of C classes, shape (..., C, ...).
        q: Distributions of C classes; broadcasts against p.
        dim, kind, keepdim, dtype, validate: Shared arguments, see `torch_infotheory.measures`.

    Returns:
        Tensor of the broadcast shape without ``dim``; at least 0. Neyman's is that of the other
        order, chi_squared_divergence(q, p).

    Domain:
        As for every measure. Infinite where p > 0 and q = 0.

    Gradient:
        dchi^2/dp_j = 2 (p_j - q_j) / q_j. dchi^2/dq_j = 1 - (p_j / q_j)^2, and 0 at q_j = 0.

    Raises:
        The errors of every measure.

    Example:
        >>> import torch, torch_infotheory as ti
        >>> p, q = torch.tensor([0.5, 0.5]), torch.tensor([0.25, 0.75])
        >>> ti.chi_squared_divergence(p, q)  # 1/4 + 1/12
        tensor(0.3333)

    Reference:
        Amari (2009), section 3.

    See also:
        `alpha_divergence`, of which it is twice that of order 2.
    """
    ops = _ops if validate is None else _ops.that(validate)
    return ops.chi_squared_divergence(p, q, dim, *_kinds_of(kind), keepdim, dtype)


def jeffreys_divergence(
    p: Tensor,
    q: Tensor,
    dim: Dim = -1,
    *,
    kind: Kind | tuple[Kind, Kind] = "probs",
    base: float | None = None,
    keepdim: bool = False,
    dtype: torch.dtype | None = None,
    temperature: float = 1.0,
    validate: bool | None = None,
) -> Tensor:
    """Return the Jeffreys divergence of p and q: the sum of both Kullback-Leibler divergences.

    ::

        J(p, q) = sum_x (p(x) - q(x)) log(p(x) / q(x)) = D(p || q) + D(q || p)

    Args:
        p: Distributions of C classes, shape (..., C, ...).
        q: Distributions of C classes; broadcasts against p.
        dim, kind, base, keepdim, dtype, temperature, validate: Shared arguments, see
            `torch_infotheory.measures`.

    Returns:
        Tensor of the broadcast shape without ``dim``; at least 0.

    Domain:
        As for every measure. Infinite where one of p and q is 0 and the other is not.

    Gradient:
        dJ/dp_j = log(p_j / q_j) + 1 - q_j / p_j in nats, and 0 at p_j = 0; likewise for q.

    Raises:
        The errors of every measure.

    Example:
        The class ratios are 2 and 2/3.

        >>> import torch, torch_infotheory as ti
        >>> p, q = torch.tensor([0.5, 0.5]), torch.tensor([0.25, 0.75])
        >>> ti.jeffreys_divergence(p, q, base=2)  # log2(3) / 4
        tensor(0.3962)

    Reference:
        Jeffreys (1946), equation 1.

    See also:
        `kl_divergence`, `js_divergence`.
    """
    ops = _ops if validate is None else _ops.that(validate)
    return ops.jeffreys_divergence(p, q, dim, *_kinds_of(kind), base, keepdim, dtype, temperature)


def js_distance(
    p: Tensor,
    q: Tensor,
    dim: Dim = -1,
    *,
    kind: Kind | tuple[Kind, Kind] = "probs",
    base: float | None = None,
    keepdim: bool = False,
    dtype: torch.dtype | None = None,
    weight: float = 0.5,
    validate: bool | None = None,
) -> Tensor:
    """Return the Jensen-Shannon distance of p and q, which is a metric.

    ::

        sqrt(JS(p, q)),    JS(p, q) = (1 - w) D(p || m) + w D(q || m),    m = (1 - w) p + w q

    Args:
        p: Distributions of C classes, shape (..., C, ...).
        q: Distributions of C classes; broadcasts against p.
        weight: The share of q in the mixture, from 0 to 1.
        dim, kind, base, keepdim, dtype, validate: Shared arguments, see
            `torch_infotheory.measures`.

    Returns:
        Tensor of the broadcast shape without ``dim``; between 0 and sqrt(log 2): what SciPy's
        ``jensenshannon`` returns.

    Domain:
        As for every measure.

    Gradient:
        That of the divergence divided by twice the distance, and 0 where p = q.

    Raises:
        ValueError: ``weight`` is outside [0, 1], or ``base`` is below 1. The errors of every
        measure.

    Example:
        The divergence is half a bit.

        >>> import torch, torch_infotheory as ti
        >>> p, q = torch.tensor([0.5, 0.5, 0.0]), torch.tensor([0.0, 0.5, 0.5])
        >>> ti.js_distance(p, q, base=2)
        tensor(0.7071)

    Reference:
        Cover and Thomas (2006). Elements of Information Theory, second edition. Wiley.
    Endres and Schindelin (2003).

    See also:
        `js_divergence`.
    """
    ops = _ops if validate is None else _ops.that(validate)
    return ops.js_distance(
        p,
        q,
        dim,
        *_kinds_of(kind),
        base,
        keepdim,
        dtype,
        weight,
    )


def mixture_divergence(
    p: Tensor,
    mixture_dim: int,
    dim: Dim = -1,
    *,
    weights: Tensor | None = None,
    kind: Kind = "probs",
    base: float | None = None,
    dtype: torch.dtype | None = None,
    temperature: float = 1.0,
    validate: bool | None = None,
) -> Tensor:
    """Return the Jensen-Shannon divergence of several distributions from their mixture.

    ::

        H(sum_i w_i p_i) - sum_i w_i H(p_i) = sum_i w_i D(p_i || m),    m = sum_i w_i p_i

    It is the mean divergence of the distributions from their mixture. Of the predictions of an
    ensemble it is the mutual information of the prediction and the member that makes it: the part
    of the uncertainty that comes from the model (BALD).

    Args:
        p: Distributions of C classes, shape (..., N, ..., C, ...), N of them along ``mixture_dim``.
        mixture_dim: The dimension along which the distributions are mixed.
        weights: The N weights w_i, taken literally; equal weights 1/N if None.
        dim, kind, base, dtype, temperature, validate: Shared arguments, see
            `torch_infotheory.measures`.

    Returns:
        Tensor of p's shape without ``mixture_dim`` and ``dim``; between 0 and H(w).

    Domain:
        As for every measure. The mixture is computed in float64.

    Gradient:
        By p_ij it is w_i log(p_ij / m_j) in nats, and 0 at p_ij = 0; by w_i it is D(p_i || m), for
        distributions that sum to 1.

    Raises:
        RuntimeError: ``mixture_dim`` is one of ``dim``; ``weights`` are not N. The errors of every
        measure.

    Example:
        Two members are sure of different classes: which of them speaks decides everything.

        >>> import torch, torch_infotheory as ti
        >>> ti.mixture_divergence(torch.eye(2), 0, base=2)
        tensor(1.)

    Reference:
        Lin (1991), section 5; Houlsby et al. (2011), equation 2.

    See also:
        `js_divergence`, of two distributions.
    """
    ops = _ops if validate is None else _ops.that(validate)
    return ops.mixture_divergence(p, mixture_dim, dim, weights, kind, base, dtype, temperature)


_explain_arguments([globals()[name] for name in __all__], _measures.__doc__, __doc__)
