"""Entropy from counts: what the plug-in estimate misses where samples are few, and its remedies.

`entropy_from_counts` knows counts alone. `labels` counts labels and calls it.
"""

import math
from collections.abc import Callable
from typing import Literal, overload

import torch
from torch import Tensor

from torch_infotheory import measures
from torch_infotheory.estimators import _arguments

__all__ = ["entropy_from_counts"]


@overload
def entropy_from_counts(
    counts: Tensor,
    estimator: str = "plugin",
    *,
    alphabet: int | None = None,
    base: float | None = None,
    clip: bool = False,
    return_std: Literal[False] = False,
) -> Tensor: ...


@overload
def entropy_from_counts(
    counts: Tensor,
    estimator: str = "plugin",
    *,
    alphabet: int | None = None,
    base: float | None = None,
    clip: bool = False,
    return_std: Literal[True],
) -> tuple[Tensor, Tensor]: ...


def entropy_from_counts(
    counts: Tensor,
    estimator: str = "plugin",
    *,
    alphabet: int | None = None,
    base: float | None = None,
    clip: bool = False,
    return_std: bool = False,
) -> Tensor | tuple[Tensor, Tensor]:
    """Return an estimate of the entropy of the distribution that the counts were drawn from.

    With n_i the count of bin i, N = sum n_i, u_i = n_i / N, K the alphabet's size and ψ the digamma
    function::

        plugin            H = -sum u_i log u_i
        miller_madow      H = plugin + (observed bins - 1) / (2 N)
        grassberger_1988  H = log N - (1/N) sum [n_i ψ(n_i) + (-1)^n_i / (n_i + 1)]
        grassberger       H = log N - (1/N) sum n_i G(n_i),
                          G(n) = ψ(n) + (-1)^n / 2 [ψ((n + 1) / 2) - ψ(n / 2)]
        chao_shen         H = -sum c_i log c_i / (1 - (1 - c_i)^N),  c_i = (1 - f_1 / N) u_i,
                          f_1 the number of bins with n_i = 1, but N - 1 where that is N
        james_stein       H = -sum s_i log s_i,  s_i = w / K + (1 - w) u_i,
                          w = (1 - sum u_i^2) / ((N - 1) sum (1/K - u_i)^2), at most 1
        nsb               the mean of H under a Dirichlet posterior, averaged over a prior of the
                          Dirichlet's parameter that makes the prior mean of H uniform

    Args:
        counts: How often each bin was drawn, shape (..., C), of an integer or floating dtype.
        estimator: One of the names above.
        alphabet: The number K of bins that there are, at least C, drawn or not. ``"james_stein"``
            and ``"nsb"`` need it; the others do not look at it.
        base: The base of the logarithm: None gives nats, 2 gives bits.
        clip: Whether an estimate below 0 becomes 0. The Grassberger estimates can be.
        return_std: Whether to return the standard deviation of the posterior too (``"nsb"`` only).

    Returns:
        Tensor of shape (...), float64 for integer counts and of the counts' dtype otherwise; all
        are computed in float64. With ``return_std`` a pair of them.

    Domain:
        A negative count or NaN gives NaN for its row. Without any draw the estimates are NaN, but
        nsb's, which is its prior mean. The Grassberger estimates and nsb are defined for whole
        counts: others give NaN. Bins without draws change nothing, but that they count for C.

    Gradient:
        By floating counts for ``"plugin"``, ``"miller_madow"`` (whose correction is a constant)
        and ``"james_stein"``. The others take the counts as constants.

    Raises:
        ValueError: ``estimator`` or ``base`` is unknown, ``alphabet`` missing or below C.
        TypeError: ``counts`` is no tensor of integers or floating numbers.
        RuntimeError: There are no bins.

    Example:
        Counts of (2, 1, 1) have 1.5 bits; Miller and Madow add 2 / 8 nats.

        >>> import torch
        >>> from torch_infotheory import estimators
        >>> counts = torch.tensor([2, 1, 1])
        >>> estimators.entropy_from_counts(counts, base=2)
        tensor(1.5000, dtype=torch.float64)
        >>> corrected = estimators.entropy_from_counts(counts, "miller_madow")
        >>> corrected - estimators.entropy_from_counts(counts)
        tensor(0.2500, dtype=torch.float64)

    Reference:
        Miller (1955). Note on the bias of information estimates. Information Theory in Psychology.
        Grassberger (1988). Finite sample corrections to entropy and dimension estimates. Physics
        Letters A 128, equation 7.
        Grassberger (2003). Entropy estimates from insufficient samplings. arXiv:physics/0307138,
        equation 35.
        Chao and Shen (2003). Nonparametric estimation of Shannon's index of diversity when there
        are unseen species in sample. Environmental and Ecological Statistics 10.
        Hausser and Strimmer (2009). Entropy inference and the James-Stein estimator, with
        application to nonlinear gene association networks. Journal of Machine Learning Research 10.
        Nemenman, Shafee and Bialek (2002). Entropy and inference, revisited. NeurIPS 14.

    See also:
        `torch_infotheory.estimators.entropy_from_labels`, which counts first;
        `torch_infotheory.entropy`, of known probabilities.
    """
    name = "entropy_from_counts"
    tensor = _arguments.a_tensor(name, "counts", counts)
    if tensor.is_complex() or tensor.dtype == torch.bool:
        raise TypeError(f"{name}: counts must be integers or floating numbers, got {tensor.dtype}")
    if tensor.dim() == 0:
        tensor = tensor.unsqueeze(0)
    if tensor.shape[-1] == 0:
        raise RuntimeError(f"{name}: there are no bins in counts of shape {list(counts.shape)}")
    _arguments.choice(name, "estimator", estimator, tuple(ESTIMATORS))
    if return_std and estimator != "nsb":
        raise ValueError(f"{name}: return_std goes with estimator 'nsb', not {estimator!r}")
    size = _alphabet_of(name, estimator, alphabet, tensor.shape[-1])
    nats = _arguments.nats_in(name, base)
    dtype = tensor.dtype if tensor.is_floating_point() else _arguments.wide(tensor.device)

    n = tensor.to(_arguments.wide(tensor.device))
    mean, std = ESTIMATORS[estimator](torch.where(n < 0, math.nan, n), size)
    mean = mean.clamp_min(0) if clip else mean
    mean = (mean / nats).to(dtype)
    return (mean, (std / nats).to(dtype)) if return_std else mean


NEED_ALPHABET = ("james_stein", "nsb")


def _alphabet_of(function: str, estimator: str, alphabet: object, bins: int) -> int:
    if alphabet is None:
        if estimator in NEED_ALPHABET:
            raise ValueError(
                f"{function}: estimator {estimator!r} needs alphabet, a number of bins"
            )
        return bins
    size = _arguments.positive_int(function, "alphabet", alphabet)
    if size < bins:
        raise ValueError(f"{function}: alphabet: expected at least the {bins} bins, got {size}")
    return size


# Each takes counts (..., C) and the alphabet's size, and returns an estimate; nsb with a deviation.
Estimate = tuple[Tensor, Tensor]


def _alone(estimate: Callable[[Tensor, int], Tensor]) -> Callable[[Tensor, int], Estimate]:
    def with_nothing(n: Tensor, alphabet: int) -> Estimate:
        mean = estimate(n, alphabet)
        return mean, torch.full_like(mean, math.nan)

    return with_nothing


def _plugin(n: Tensor, alphabet: int) -> Tensor:
    return measures.entropy(n / n.sum(-1, keepdim=True))


def _miller_madow(n: Tensor, alphabet: int) -> Tensor:
    observed = (n > 0).sum(-1)
    return _plugin(n, alphabet) + (observed - 1) / (2 * n.sum(-1))


def _of_whole_counts(n: Tensor, term: Callable[[Tensor], Tensor]) -> Tensor:
    """log N - (1/N) sum term(n), over the bins that were drawn."""
    n = n.detach()
    n = torch.where(n == n.floor(), n, math.nan)
    total = n.sum(-1)
    # digamma has a pole at 0, whose bins contribute nothing.
    terms = torch.where(n == 0, 0.0, term(torch.where(n == 0, 1.0, n)))
    return total.log() - terms.sum(-1) / total


def _sign(n: Tensor) -> Tensor:
    return 1 - 2 * n.remainder(2)


def _grassberger_1988(n: Tensor, alphabet: int) -> Tensor:
    return _of_whole_counts(n, lambda n: n * n.digamma() + _sign(n) / (n + 1))


def _grassberger(n: Tensor, alphabet: int) -> Tensor:
    def term(n: Tensor) -> Tensor:
        gap = ((n + 1) / 2).digamma() - (n / 2).digamma()
        return n * (n.digamma() + _sign(n) * gap / 2)

    return _of_whole_counts(n, term)


def _chao_shen(n: Tensor, alphabet: int) -> Tensor:
    n = n.detach()
    total = n.sum(-1, keepdim=True)
    singletons = (n == 1).sum(-1, keepdim=True).to(n.dtype)
    singletons = torch.where(singletons == total, total - 1, singletons)
    covered = (1 - singletons / total) * n / total
    seen = -torch.expm1(total * torch.log1p(-covered))  # 1 - (1 - c)^N
    terms = torch.where(n == 0, 0.0, -covered * covered.log() / seen)
    return torch.where(total.squeeze(-1) == 0, math.nan, terms.sum(-1))


def _james_stein(n: Tensor, alphabet: int) -> Tensor:
    total = n.sum(-1, keepdim=True)
    shrunk, unseen = shrink(n, total, alphabet)
    beyond = measures.entropy(unseen.unsqueeze(-1)) if alphabet > n.shape[-1] else 0.0
    return measures.entropy(shrunk) + (alphabet - n.shape[-1]) * beyond


def shrink(n: Tensor, total: Tensor, alphabet: int) -> tuple[Tensor, Tensor]:
    """Return the shrunk probabilities of the bins of the last dimension, and of one unseen bin."""
    u = n / total
    squares = (u - 1 / alphabet).square().sum(-1) + (alphabet - n.shape[-1]) / alphabet**2
    divisor = (total.squeeze(-1) - 1) * squares
    # Equal frequencies, or one draw, leave nothing to weigh: the target takes all.
    weight = torch.where(
        divisor > 0, (1 - u.square().sum(-1)) / torch.where(divisor > 0, divisor, 1.0), 1.0
    ).clamp(0, 1)
    weight = torch.where(divisor.isnan(), divisor, weight)
    return weight.unsqueeze(-1) / alphabet + (1 - weight.unsqueeze(-1)) * u, weight / alphabet


def _nsb(n: Tensor, alphabet: int) -> Estimate:
    n = n.detach()
    rows = n.reshape(-1, n.shape[-1])
    pairs = [_nsb_of_row(row, alphabet) for row in rows]
    mean = torch.stack([pair[0] for pair in pairs]) if pairs else n.new_empty(0)
    std = torch.stack([pair[1] for pair in pairs]) if pairs else n.new_empty(0)
    return mean.reshape(n.shape[:-1]), std.reshape(n.shape[:-1])


# The integrand's tails fall like exp(-|log beta|). What is more than this many nats below its
# maximum does not change a float64.
_NEGLIGIBLE = 45.0


def _nsb_of_row(row: Tensor, alphabet: int) -> Estimate:
    if not bool((row == row.floor()).all()):  # NaN too
        return row.new_tensor(math.nan), row.new_tensor(math.nan)
    if alphabet == 1:
        return row.new_zeros(()), row.new_zeros(())
    posterior = _Posterior(row, alphabet)
    span = _NEGLIGIBLE + 10
    low = -math.log(alphabet) - span
    high = 2 * math.log1p(float(posterior.total)) + span
    points = math.ceil(2 * (high - low))
    # The mass may be far narrower than the first grid's step; each round looks where it is.
    for _ in range(8):
        t = torch.linspace(low, high, points, dtype=row.dtype, device=row.device)
        log_density = posterior.log_density(t)
        near = (log_density > log_density.max() - _NEGLIGIBLE).nonzero()
        before, step = high - low, (high - low) / (points - 1)
        low, high = float(t[near[0]]) - step, float(t[near[-1]]) + step
        points = 64
        if high - low > before / 2:
            break
    t = torch.linspace(low, high, 256, dtype=row.dtype, device=row.device)
    weight = posterior.log_density(t).softmax(0)  # the trapezoidal rule: both ends weigh nothing
    mean, variance = posterior.moments(t)
    center = (weight * mean).sum()
    spread = (weight * (variance + (mean - center).square())).sum()
    return center, spread.clamp_min(0).sqrt()


class _Posterior:
    """Dirichlet distributions of parameter beta = exp(t) after the counts of one row."""

    def __init__(self, row: Tensor, alphabet: int) -> None:
        self.n, times = torch.unique(row[row > 0], return_counts=True)
        self.times = times.to(row.dtype)
        self.total = row.sum()
        self.alphabet = float(alphabet)
        self.unseen = self.alphabet - self.times.sum()

    def log_density(self, t: Tensor) -> Tensor:
        """Of t, up to a constant: the prior d xi / dt times the probability of the counts."""
        beta = t.exp()
        of_bins = _log_rising(beta.unsqueeze(1), self.n) @ self.times
        of_total = _log_rising(self.alphabet * beta, self.total)
        return _log_slope_of_prior(beta, self.alphabet) + t + of_bins - of_total

    def moments(self, t: Tensor) -> Estimate:
        """Mean and variance of the entropy given beta (Wolpert and Wolf 1995).

        The variance is that of H minus its mean, sum p_i (-log p_i - mean), so that nothing of the
        size of the mean cancels.
        """
        beta = t.exp().unsqueeze(1)
        a = torch.cat([self.n + beta, beta], 1)
        times = torch.cat([self.times, self.unseen.unsqueeze(0)])
        total = self.total + self.alphabet * beta.squeeze(1)
        mean = (total + 1).digamma() - ((a / total.unsqueeze(1)) * (a + 1).digamma()) @ times
        gap = (total + 2).digamma().unsqueeze(1) - (a + 1).digamma() - mean.unsqueeze(1)
        sums = (a * gap.square() + a / (a + 1) + a * (a + 1) * _trigamma(a + 2)) @ times
        ratio = total / (total + 1)
        variance = (ratio * (ratio - 2) + sums) / (total * (total + 1)) - _trigamma(total + 2)
        return mean, variance.clamp_min(0)


def _trigamma(x: Tensor) -> Tensor:
    # polygamma(1, x) of torch has nine digits only.
    return torch.special.zeta(torch.full_like(x, 2.0), x)


def _log_rising(b: Tensor, n: Tensor) -> Tensor:
    """log of b (b + 1) ... (b + n - 1) / b^n; by Stirling's series where b is large.

    The powers of b cancel between the bins and their total, and are large: so they never appear.
    """
    large = b > 20
    c = torch.where(large, 1.0, b)
    direct = torch.lgamma(c + n) - torch.lgamma(c) - n * c.log()
    c = torch.where(large, b, 20.0)
    series = (c + n - 0.5) * torch.log1p(n / c) - n + _stirling(c + n) - _stirling(c)
    return torch.where(large, series, direct)


def _stirling(x: Tensor) -> Tensor:
    """log Γ(x) - (x - 1/2) log x + x - log(2π) / 2 for x > 20 (DLMF 5.11.1)."""
    y = x.square().reciprocal()
    return (1 / 12 - y * (1 / 360 - y * (1 / 1260 - y * (1 / 1680 - y / 1188)))) / x


def _log_slope_of_prior(beta: Tensor, alphabet: float) -> Tensor:
    """log of d xi / d beta, xi = ψ(K beta + 1) - ψ(beta + 1) being the prior mean of the entropy.

    The two trigamma functions agree in their leading term 1 / beta, which is left out where beta is
    large (DLMF 5.15.8).
    """
    large = beta > 30
    c = torch.where(large, 1.0, beta)
    direct = alphabet * _trigamma(alphabet * c + 1) - _trigamma(c + 1)
    y, r = torch.where(large, beta, 30.0).reciprocal(), 1 / alphabet
    series = y * y * ((1 - r) / 2 - y * (1 - r**2) / 6)
    series = series + y**5 * ((1 - r**4) / 30 - y * y * (1 - r**6) / 42 + y**4 * (1 - r**8) / 30)
    return torch.where(large, series, direct).log()


ESTIMATORS: dict[str, Callable[[Tensor, int], Estimate]] = {
    "plugin": _alone(_plugin),
    "miller_madow": _alone(_miller_madow),
    "grassberger_1988": _alone(_grassberger_1988),
    "grassberger": _alone(_grassberger),
    "chao_shen": _alone(_chao_shen),
    "james_stein": _alone(_james_stein),
    "nsb": _nsb,
}
