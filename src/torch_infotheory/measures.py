"""The measures of information theory, one differentiable function for each.

Every function takes tensors that state discrete distributions and returns one value per
distribution (`self_information` and `pointwise_mutual_information`: one value per entry). What the
functions share is said here once. Each function's own docstring gives its formula, its shapes and
what is special about it.

Shared arguments:
    kind: How a tensor states its distributions. ``"probs"``: as probabilities. ``"log_probs"``: as
        natural logarithms of them, whatever ``base`` is. ``"logits"``: as natural logarithms up to
        a constant, normalized here by a softmax over the class dimensions. ``"counts"``: as counts
        or other weights, divided here by their sum over the class dimensions, in float64; of an
        integer dtype too, which counts as float32 for the dtype of the result. Probabilities and
        log-probabilities are taken literally and never normalized. The functions of two
        distributions take one string for both or a pair, such as ``("probs", "logits")``.
    dim: The class dimension, or several dimensions that index the classes together; negative ones
        count from the end. All other dimensions are batch.
    x_dim, y_dim: The dimensions of a joint table along which X and Y run, each one or several. All
        other dimensions are batch. Logits are normalized over ``x_dim`` and ``y_dim`` together.
    base: The base of the logarithm, which sets the unit: None for nats, 2 for bits, 10 for
        hartleys. Any finite number above 0 but 1.
    keepdim: Whether the reduced dimensions stay in the result with size 1.
    dtype: The data type of the result. None takes the one that the inputs promote to. float64
        inputs are computed in float64 and all others in float32 at least, whatever it is.
    temperature: What logits are divided by as they are read; a finite number above 0. One
        distribution at least has to be stated by logits where it is not 1.
    validate: Whether to check that every tensor states distributions. None does as
        `torch_infotheory.set_validation` says, which is not to.

Two distributions p and q broadcast against each other in every dimension but the class dimensions.
A tensor without dimensions is a distribution with one class.

Domain:
    Zero: 0 log 0 = 0. An entry with p = 0 contributes nothing to the value, even where q = 0.
    Infinity: p > 0 where q = 0 gives +inf.
    NaN: A NaN, a negative probability or count, a logit of +inf, logits that are all -inf and
        counts that are all 0 give NaN for the distribution they stand in and for no other.
    Unnormalized: Probabilities that do not sum to 1 are put into the formula as they are.
    Empty: No classes is an error. No distributions gives an empty result.

Gradient:
    The functions' docstrings give the derivative by a probability p_j (or q_j) in nats; another
    base divides it by log(base). By a log-probability it is w_j = p_j * derivative, and by a logit
    w_j - p_j * sum_k w_k. At p_j = 0 the derivative is used where it is finite and 0 where it is
    infinite. By a logit of -inf, and by a zero cell of a joint table, it is 0. From these the
    derivative by a count follows, of the total n: (derivative - sum_k w_k) / n. All functions can
    be differentiated twice, and in forward mode.

Raises:
    ValueError: ``kind`` is an unknown string; ``base`` is not finite, not positive, or 1; with
        ``validate``, probabilities are negative or do not sum to 1.
    TypeError: An argument has a wrong type; a distribution is a tensor of integers that are not
        said to be counts, of booleans or complex numbers, or of a floating-point type narrower than
        16 bits.
    NotImplementedError: A distribution is a sparse tensor; or a nested one, unless it is jagged and
        ``dim`` its last dimension. The result then is jagged, too, with the same offsets.
    IndexError: A dimension is out of range.
    RuntimeError: Shapes do not broadcast; devices differ; a dimension is named twice; the class
        dimension is empty.

Reference:
    Bouma (2009). Normalized (pointwise) mutual information in collocation extraction.
        Proceedings of GSCL.
    Church and Hanks (1990). Word association norms, mutual information, and lexicography.
        Computational Linguistics 16.
    Cover and Thomas (2006). Elements of Information Theory, second edition. Wiley.
    Fano (1961). Transmission of Information. MIT Press.
    Jelinek, Mercer, Bahl and Baker (1977). Perplexity: a measure of the difficulty of speech
        recognition tasks. Journal of the Acoustical Society of America 62.
    Kullback and Leibler (1951). On information and sufficiency. Annals of Mathematical
        Statistics 22.
    Lin (1991). Divergence measures based on the Shannon entropy. IEEE Transactions on Information
        Theory 37.
    Meila (2007). Comparing clusterings: an information based distance. Journal of Multivariate
        Analysis 98.
    Shannon (1948). A mathematical theory of communication. Bell System Technical Journal 27.
"""

from collections.abc import Sequence
from typing import Literal, TypeAlias

import torch
from torch import Tensor

from torch_infotheory._docstrings import explain_arguments as _explain_arguments
from torch_infotheory._ops import functions as _functions

__all__ = [
    "self_information",
    "entropy",
    "cross_entropy",
    "kl_divergence",
    "js_divergence",
    "perplexity",
    "joint_entropy",
    "conditional_entropy",
    "mutual_information",
    "pointwise_mutual_information",
    "variation_of_information",
]

Kind: TypeAlias = Literal["probs", "log_probs", "logits", "counts"]
Dim: TypeAlias = int | Sequence[int]

_ops = _functions(__all__)


def _kinds_of(kind: object) -> tuple[object, object]:
    if isinstance(kind, tuple | list) and len(kind) == 2:
        return kind[0], kind[1]
    return kind, kind


def self_information(
    p: Tensor,
    dim: Dim = -1,
    *,
    kind: Kind = "probs",
    base: float | None = None,
    dtype: torch.dtype | None = None,
    validate: bool | None = None,
) -> Tensor:
    """Return the self-information (surprisal) of every class: how informative its occurrence is.

    ::

        I(x) = -log p(x)

    Args:
        p: Distributions of C classes, shape (..., C, ...).
        dim: Shared argument; it matters for logits only, whose softmax runs over it.
        kind, base, dtype, validate: Shared arguments, see `torch_infotheory.measures`.

    Returns:
        Tensor of p's shape.

    Domain:
        p = 0 gives +inf, p above 1 a negative number. A NaN stays in its entry, but for logits.
        Otherwise as for every measure.

    Gradient:
        dI/dp_j = -1 / p_j, and 0 at p_j = 0.

    Raises:
        The errors of every measure.

    Example:
        Decimal digits: one of ten equally likely digits is one hartley, a coin is log10(2) of it.

        >>> import torch, torch_infotheory as ti
        >>> ti.self_information(torch.tensor([0.5, 0.1, 0.01]), base=10)
        tensor([0.3010, 1.0000, 2.0000])

    Reference:
        Fano (1961), chapter 2.

    See also:
        `entropy`, its mean; `pointwise_mutual_information`, what two events tell about each other.
    """
    ops = _ops if validate is None else _ops.that(validate)
    return ops.self_information(p, dim, kind, base, dtype)


def entropy(
    p: Tensor,
    dim: Dim = -1,
    *,
    kind: Kind = "probs",
    base: float | None = None,
    keepdim: bool = False,
    dtype: torch.dtype | None = None,
    temperature: float = 1.0,
    validate: bool | None = None,
) -> Tensor:
    """Return the Shannon entropy of each distribution: the mean self-information of a draw.

    ::

        H(p) = -sum_x p(x) log p(x)

    Args:
        p: Distributions of C classes, shape (..., C, ...).
        dim: Shared argument; several dimensions give the entropy of their joint distribution.
        kind, base, keepdim, dtype, temperature, validate: Shared arguments, see
            `torch_infotheory.measures`.

    Returns:
        Tensor of p's shape without ``dim``; between 0 and log C for normalized distributions.

    Domain:
        As for every measure.

    Gradient:
        dH/dp_j = -(log p_j + 1), and 0 at p_j = 0. By a logit: -p_j (log p_j + H).

    Raises:
        The errors of every measure.

    Example:
        Half of the outcomes carry 1 bit, the others 2 bits.

        >>> import torch, torch_infotheory as ti
        >>> ti.entropy(torch.tensor([0.5, 0.25, 0.25]), base=2)
        tensor(1.5000)

    Reference:
        Shannon (1948), section 6; Cover and Thomas (2006), section 2.1.

    See also:
        `perplexity`, its exponential; `joint_entropy` and `conditional_entropy` of two variables.
    """
    ops = _ops if validate is None else _ops.that(validate)
    return ops.entropy(p, dim, kind, base, keepdim, dtype, temperature)


def cross_entropy(
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
    """Return the cross-entropy of p and q: the mean length of a code made for q on draws from p.

    ::

        H(p, q) = -sum_x p(x) log q(x) = H(p) + D(p || q)

    Args:
        p: The true distributions, of C classes, shape (..., C, ...).
        q: The predicted distributions, of C classes; broadcasts against p.
        dim, kind, base, keepdim, dtype, temperature, validate: Shared arguments, see
            `torch_infotheory.measures`.

    Returns:
        Tensor of the broadcast shape without ``dim``.

    Domain:
        As for every measure: +inf where q = 0 and p > 0.

    Gradient:
        dH/dp_j = -log q_j, at p_j = 0 too, and 0 where p_j = q_j = 0. dH/dq_j = -p_j / q_j, and 0
        at p_j = 0. By a logit of q, with a normalized p: q_j - p_j.

    Raises:
        The errors of every measure.

    Example:
        The code for q has words of 1, 2 and 2 bits: 0.75 * 1 + 0.25 * 2.

        >>> import torch, torch_infotheory as ti
        >>> p = torch.tensor([0.75, 0.25, 0.0])
        >>> q = torch.tensor([0.5, 0.25, 0.25])
        >>> ti.cross_entropy(p, q, base=2)
        tensor(1.2500)

    Reference:
        Cover and Thomas (2006), section 5.4 (the cost of a wrong code).

    See also:
        `kl_divergence`, its excess over the entropy of p;
        `torch_infotheory.nn.functional.cross_entropy`, the loss with class labels, whose first
        argument is the prediction.
    """
    ops = _ops if validate is None else _ops.that(validate)
    return ops.cross_entropy(p, q, dim, *_kinds_of(kind), base, keepdim, dtype, temperature)


def kl_divergence(
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
    """Return the Kullback-Leibler divergence: the cost of assuming q when the truth is p.

    ::

        D(p || q) = sum_x p(x) log(p(x) / q(x))

    Args:
        p: The true distributions, of C classes, shape (..., C, ...).
        q: The distributions they are compared with, of C classes; broadcasts against p.
        dim, kind, base, keepdim, dtype, temperature, validate: Shared arguments, see
            `torch_infotheory.measures`.

    Returns:
        Tensor of the broadcast shape without ``dim``. It is not symmetric in p and q.

    Domain:
        As for every measure: +inf where q = 0 and p > 0. Never below 0 for distributions that are
        normalized up to the rounding of their entries, and accurate also where p and q nearly
        agree. Totals that differ by more than rounding are taken literally, and may give a negative
        value.

    Gradient:
        dD/dp_j = log(p_j / q_j) + 1, and 0 at p_j = 0. dD/dq_j = -p_j / q_j, and 0 at p_j = 0. By a
        logit of q, with a normalized p: q_j - p_j.

    Raises:
        The errors of every measure.

    Example:
        The first class costs 0.5 * 1 bit, the second saves 0.5 * log2(1.5) = 0.2925 bits.

        >>> import torch, torch_infotheory as ti
        >>> p = torch.tensor([0.5, 0.5])
        >>> q = torch.tensor([0.25, 0.75])
        >>> ti.kl_divergence(p, q, base=2)
        tensor(0.2075)
        >>> ti.kl_divergence(q, p, base=2)
        tensor(0.1887)

    Reference:
        Kullback and Leibler (1951); Cover and Thomas (2006), section 2.3.

    See also:
        `js_divergence`, symmetric and bounded; `torch_infotheory.nn.functional.kl_div`, the loss
        with the arguments of torch, which is D(target || exp(input)).
    """
    ops = _ops if validate is None else _ops.that(validate)
    return ops.kl_divergence(p, q, dim, *_kinds_of(kind), base, keepdim, dtype, temperature)


def js_divergence(
    p: Tensor,
    q: Tensor,
    dim: Dim = -1,
    *,
    kind: Kind | tuple[Kind, Kind] = "probs",
    base: float | None = None,
    keepdim: bool = False,
    dtype: torch.dtype | None = None,
    weight: float = 0.5,
    temperature: float = 1.0,
    validate: bool | None = None,
) -> Tensor:
    """Return the Jensen-Shannon divergence of p and q: their mean divergence from their mixture.

    ::

        JS(p, q) = (1 - w) D(p || m) + w D(q || m),    m = (1 - w) p + w q

    Args:
        p: Distributions of C classes, shape (..., C, ...).
        q: Distributions of C classes; broadcasts against p.
        weight: The share w of q in the mixture, from 0 to 1; both ends give 0, the limit.
        dim, kind, base, keepdim, dtype, temperature, validate: Shared arguments, see
            `torch_infotheory.measures`.

    Returns:
        Tensor of the broadcast shape without ``dim``: the divergence, between 0 and log 2, and not
        its square root, which is the Jensen-Shannon distance.

    Domain:
        As for every measure; it is finite wherever p and q are. Never below 0 for distributions
        that are normalized up to the rounding of their entries, and accurate also where p and q
        nearly agree.

    Gradient:
        dJS/dp_j = (1 - w) log(p_j / m_j) in nats, and 0 at p_j = 0; likewise for q.

    Raises:
        ValueError: ``weight`` is outside [0, 1]. The errors of every measure.

    Example:
        The mixture is (0.25, 0.5, 0.25). Each distribution costs 0.5 * 1 bit against it.

        >>> import torch, torch_infotheory as ti
        >>> p = torch.tensor([0.5, 0.5, 0.0])
        >>> q = torch.tensor([0.0, 0.5, 0.5])
        >>> ti.js_divergence(p, q, base=2)
        tensor(0.5000)

    Reference:
        Lin (1991), section 4.

    See also:
        `kl_divergence`; `js_distance`, its square root; `mixture_divergence`, of more than two;
        `torch_infotheory.nn.functional.js_div`, the loss, which takes logits by default.
    """
    ops = _ops if validate is None else _ops.that(validate)
    return ops.js_divergence(p, q, dim, *_kinds_of(kind), base, keepdim, dtype, weight, temperature)


def perplexity(
    p: Tensor,
    dim: Dim = -1,
    *,
    kind: Kind = "probs",
    keepdim: bool = False,
    dtype: torch.dtype | None = None,
    temperature: float = 1.0,
    validate: bool | None = None,
) -> Tensor:
    """Return the perplexity of each distribution: how many equally likely classes are as uncertain.

    ::

        PP(p) = exp H(p) = prod_x p(x)^(-p(x))

    Args:
        p: Distributions of C classes, shape (..., C, ...).
        dim, kind, keepdim, dtype, temperature, validate: Shared arguments, see
            `torch_infotheory.measures`.
            There is no ``base``: 2 to the entropy in bits and e to the entropy in nats are the same
            number.

    Returns:
        Tensor of p's shape without ``dim``; between 1 and C for normalized distributions.

    Domain:
        As for every measure.

    Gradient:
        dPP/dp_j = -PP (log p_j + 1), and 0 at p_j = 0.

    Raises:
        The errors of every measure, but for ``base``.

    Example:
        The entropy is 1.5 bits, and 2 to the power of 1.5 is the square root of 8.

        >>> import torch, torch_infotheory as ti
        >>> ti.perplexity(torch.tensor([0.5, 0.25, 0.25]))
        tensor(2.8284)

    Reference:
        Jelinek, Mercer, Bahl and Baker (1977).

    See also:
        `entropy`. The perplexity of a language model is the exponential of its `cross_entropy` per
        token.
    """
    ops = _ops if validate is None else _ops.that(validate)
    return ops.perplexity(p, dim, kind, keepdim, dtype, temperature)


def joint_entropy(
    joint: Tensor,
    x_dim: Dim = -2,
    y_dim: Dim = -1,
    *,
    kind: Kind = "probs",
    base: float | None = None,
    keepdim: bool = False,
    dtype: torch.dtype | None = None,
    validate: bool | None = None,
) -> Tensor:
    """Return the joint entropy of X and Y: the uncertainty of the pair.

    ::

        H(X, Y) = -sum_xy p(x, y) log p(x, y)

    Args:
        joint: Joint tables, shape (..., X, Y): X runs along ``x_dim``, Y along ``y_dim``.
        x_dim, y_dim, kind, base, keepdim, dtype, validate: Shared arguments, see
            `torch_infotheory.measures`.

    Returns:
        Tensor of joint's shape without ``x_dim`` and ``y_dim``.

    Domain:
        As for every measure.

    Gradient:
        dH/dp_xy = -(log p_xy + 1), and 0 for a zero cell.

    Raises:
        The errors of every measure.

    Example:
        Two cells tell 2 bits a quarter of the time each, one tells 1 bit half of the time.

        >>> import torch, torch_infotheory as ti
        >>> ti.joint_entropy(torch.tensor([[0.25, 0.25], [0.0, 0.5]]), base=2)
        tensor(1.5000)

    Reference:
        Shannon (1948), section 6; Cover and Thomas (2006), section 2.2.

    See also:
        `entropy` with several dimensions, the same number for any number of variables;
        `conditional_entropy`, `mutual_information`.
    """
    ops = _ops if validate is None else _ops.that(validate)
    return ops.joint_entropy(joint, x_dim, y_dim, kind, base, keepdim, dtype)


def conditional_entropy(
    joint: Tensor,
    x_dim: Dim = -2,
    y_dim: Dim = -1,
    *,
    kind: Kind = "probs",
    base: float | None = None,
    keepdim: bool = False,
    dtype: torch.dtype | None = None,
    validate: bool | None = None,
) -> Tensor:
    """Return the conditional entropy of Y given X: the uncertainty left in Y once X is known.

    ::

        H(Y | X) = -sum_xy p(x, y) log(p(x, y) / p(x)) = H(X, Y) - H(X)

    Args:
        joint: Joint tables, shape (..., X, Y): X runs along ``x_dim``, Y along ``y_dim``. Exchange
            the two arguments for H(X | Y).
        x_dim, y_dim, kind, base, keepdim, dtype, validate: Shared arguments, see
            `torch_infotheory.measures`.

    Returns:
        Tensor of joint's shape without ``x_dim`` and ``y_dim``.

    Domain:
        As for every measure. p(x) is the sum of the table over ``y_dim``.

    Gradient:
        dH/dp_xy = -log(p_xy / p_x), and 0 for a zero cell.

    Raises:
        The errors of every measure.

    Example:
        Half of the time X is 0 and leaves 1 bit; half of the time X is 1 and leaves nothing.

        >>> import torch, torch_infotheory as ti
        >>> ti.conditional_entropy(torch.tensor([[0.25, 0.25], [0.0, 0.5]]), base=2)
        tensor(0.5000)

    Reference:
        Shannon (1948), section 6; Cover and Thomas (2006), section 2.2.

    See also:
        `joint_entropy`, `mutual_information`, `variation_of_information`.
    """
    ops = _ops if validate is None else _ops.that(validate)
    return ops.conditional_entropy(joint, x_dim, y_dim, kind, base, keepdim, dtype)


def mutual_information(
    joint: Tensor,
    x_dim: Dim = -2,
    y_dim: Dim = -1,
    *,
    kind: Kind = "probs",
    base: float | None = None,
    keepdim: bool = False,
    dtype: torch.dtype | None = None,
    validate: bool | None = None,
) -> Tensor:
    """Return the mutual information of X and Y: how much knowing one tells about the other.

    ::

        I(X; Y) = sum_xy p(x, y) log(p(x, y) / (p(x) p(y))) = H(X) + H(Y) - H(X, Y)

    Args:
        joint: Joint tables, shape (..., X, Y): X runs along ``x_dim``, Y along ``y_dim``.
        x_dim, y_dim, kind, base, keepdim, dtype, validate: Shared arguments, see
            `torch_infotheory.measures`.

    Returns:
        Tensor of joint's shape without ``x_dim`` and ``y_dim``.

    Domain:
        As for every measure. p(x) and p(y) are the sums of the table itself. Never below 0 for a
        table that is normalized up to the rounding of its entries, and accurate also where X and Y
        are nearly independent.

    Gradient:
        dI/dp_xy = log(p_xy / (p_x p_y)) - 1, and 0 for a zero cell.

    Raises:
        The errors of every measure.

    Example:
        X is a coin of 1 bit, Y has 0.8113 bits, the pair has 1.5 bits.

        >>> import torch, torch_infotheory as ti
        >>> ti.mutual_information(torch.tensor([[0.25, 0.25], [0.0, 0.5]]), base=2)
        tensor(0.3113)

    Reference:
        Shannon (1948), section 12; Cover and Thomas (2006), section 2.3.

    See also:
        `pointwise_mutual_information`, whose mean it is; `variation_of_information`;
        `kl_divergence`, which it equals for the table against the product of its marginals.
    """
    ops = _ops if validate is None else _ops.that(validate)
    return ops.mutual_information(joint, x_dim, y_dim, kind, base, keepdim, dtype)


def pointwise_mutual_information(
    joint: Tensor,
    x_dim: Dim = -2,
    y_dim: Dim = -1,
    *,
    kind: Kind = "probs",
    base: float | None = None,
    normalized: bool = False,
    dtype: torch.dtype | None = None,
    validate: bool | None = None,
) -> Tensor:
    """Return the pointwise mutual information of every cell: how far the pair is from independence.

    ::

        PMI(x, y) = log(p(x, y) / (p(x) p(y)))
        NPMI(x, y) = PMI(x, y) / -log p(x, y)

    Args:
        joint: Joint tables, shape (..., X, Y): X runs along ``x_dim``, Y along ``y_dim``.
        normalized: Whether to return NPMI, which lies between -1 (never together) and 1 (only
            together) and is the same in every base.
        x_dim, y_dim, kind, base, dtype, validate: Shared arguments, see
            `torch_infotheory.measures`.

    Returns:
        Tensor of joint's shape.

    Domain:
        p(x, y) = 0 gives -inf, as NPMI -1; p(x, y) = 1 gives 0, as NPMI 1. A NaN reaches the row
        and the column of its cell, but all of a table of logits. Otherwise as for every measure.

    Gradient:
        dPMI(x, y)/dp_xy = 1/p_xy - 1/p_x - 1/p_y, and by the other cells of row x -1/p_x, of column
        y -1/p_y. A zero cell neither gets nor gives a gradient.

    Raises:
        The errors of every measure.

    Example:
        The marginals are (0.5, 0.5) and (0.25, 0.75). The first cell is log2(0.25 / 0.125) = 1 bit,
        and its self-information is 2 bits.

        >>> import torch, torch_infotheory as ti
        >>> joint = torch.tensor([[0.25, 0.25], [0.0, 0.5]])
        >>> ti.pointwise_mutual_information(joint, base=2)
        tensor([[ 1.0000, -0.5850],
                [   -inf,  0.4150]])
        >>> ti.pointwise_mutual_information(joint, normalized=True)
        tensor([[ 0.5000, -0.2925],
                [-1.0000,  0.4150]])

    Reference:
        Fano (1961), chapter 2; Church and Hanks (1990); Bouma (2009) for the normalized form.

    See also:
        `mutual_information`, its mean; `self_information`.
    """
    ops = _ops if validate is None else _ops.that(validate)
    return ops.pointwise_mutual_information(joint, x_dim, y_dim, kind, base, normalized, dtype)


def variation_of_information(
    joint: Tensor,
    x_dim: Dim = -2,
    y_dim: Dim = -1,
    *,
    kind: Kind = "probs",
    base: float | None = None,
    keepdim: bool = False,
    dtype: torch.dtype | None = None,
    validate: bool | None = None,
) -> Tensor:
    """Return the variation of information between X and Y: the information X and Y do not share.

    ::

        VI(X; Y) = H(X | Y) + H(Y | X) = 2 H(X, Y) - H(X) - H(Y)

    Args:
        joint: Joint tables, shape (..., X, Y): X runs along ``x_dim``, Y along ``y_dim``.
        x_dim, y_dim, kind, base, keepdim, dtype, validate: Shared arguments, see
            `torch_infotheory.measures`.

    Returns:
        Tensor of joint's shape without ``x_dim`` and ``y_dim``; a metric between clusterings.

    Domain:
        As for every measure. p(x) and p(y) are the sums of the table itself.

    Gradient:
        dVI/dp_xy = log(p_x p_y / p_xy^2), and 0 for a zero cell.

    Raises:
        The errors of every measure.

    Example:
        The pair has 1.5 bits, of which 0.3113 bits are shared.

        >>> import torch, torch_infotheory as ti
        >>> ti.variation_of_information(torch.tensor([[0.25, 0.25], [0.0, 0.5]]), base=2)
        tensor(1.1887)

    Reference:
        Meila (2007), section 3.

    See also:
        `mutual_information`, the shared part; `conditional_entropy`, each of its two terms.
    """
    ops = _ops if validate is None else _ops.that(validate)
    return ops.variation_of_information(joint, x_dim, y_dim, kind, base, keepdim, dtype)


_explain_arguments([globals()[name] for name in __all__], __doc__)
