"""Measures of more than two variables, and normalized and other forms of mutual information.

All are compositions of the measures of two variables, chosen so that what theory says holds for the
numbers too: sums of mutual informations, which are never below 0 and keep their digits where the
variables are nearly independent, and not differences of entropies. Marginals and conditional
tables are formed in float64, whatever the input's dtype, so that no digits are lost on the way.

Shared arguments, domain and errors are those of `torch_infotheory.measures`. ``dims`` names the
dimension, or the tuple of dimensions, of each variable.

The gradient by a zero cell that states a probability, and by a logit of -inf, is 0.
"""

from collections.abc import Sequence
from typing import Literal, TypeAlias

import torch
from torch import Tensor

from torch_infotheory import _arguments, measures
from torch_infotheory._docstrings import explain_arguments as _explain_arguments
from torch_infotheory._ops import functions as _functions
from torch_infotheory.measures import Dim

__all__ = [
    "binary_entropy",
    "co_information",
    "conditional_mutual_information",
    "dual_total_correlation",
    "lautum_information",
    "normalized_mutual_information",
    "positive_pointwise_mutual_information",
    "total_correlation",
]

Average: TypeAlias = Literal["arithmetic", "geometric", "min", "max", "joint", "studholme"]

_ops = _functions(__all__)


def _variables(function: str, dims: object) -> tuple[list[int], list[int]]:
    """The dimensions of all variables in a row, and how many each has."""
    if not isinstance(dims, Sequence) or isinstance(dims, str):
        allowed = "a dimension, or a tuple of dimensions, for each variable"
        raise _arguments.error(function, "dims", allowed, dims)
    groups = [_arguments.dims(function, "dims", dim) for dim in dims]
    return [dim for group in groups for dim in group], [len(group) for group in groups]


def conditional_mutual_information(
    joint: Tensor,
    x_dim: Dim = -3,
    y_dim: Dim = -2,
    z_dim: Dim = -1,
    *,
    kind: str = "probs",
    base: float | None = None,
    keepdim: bool = False,
    dtype: torch.dtype | None = None,
) -> Tensor:
    """Return the mutual information of X and Y given Z: what they share beyond what Z tells.

    ::

        I(X; Y | Z) = sum_z p(z) I(X; Y | Z = z) = H(X, Z) + H(Y, Z) - H(X, Y, Z) - H(Z)

    Args:
        joint: Joint tables of three variables, shape (..., X, Y, Z).
        x_dim, y_dim, z_dim: The dimension of each variable, or several.
        kind, base, keepdim, dtype: Shared arguments, see `torch_infotheory.multivariate`.

    Returns:
        Tensor of joint's shape without the dimensions of the variables; never below 0.

    Domain:
        As for every measure. A z that never occurs contributes nothing.

    Gradient:
        dI/dp_xyz = log(p_xyz p_z / (p_xz p_yz)), and 0 for a zero cell.

    Raises:
        The errors of every measure.

    Example:
        X and Y are fair coins, and Z says whether they differ.

        >>> import torch, torch_infotheory as ti
        >>> joint = torch.zeros(2, 2, 2)
        >>> joint[0, 0, 0] = joint[0, 1, 1] = joint[1, 0, 1] = joint[1, 1, 0] = 0.25
        >>> ti.conditional_mutual_information(joint, base=2)
        tensor(1.)

    Reference:
        Cover and Thomas (2006). Elements of Information Theory, section 2.5.

    See also:
        `torch_infotheory.mutual_information`, without Z; `torch_infotheory.co_information`, the
        difference of the two.
    """
    return _ops.conditional_mutual_information(
        joint, x_dim, y_dim, z_dim, kind, base, keepdim, dtype
    )


def total_correlation(
    joint: Tensor,
    dims: Sequence[Dim],
    *,
    kind: str = "probs",
    base: float | None = None,
    keepdim: bool = False,
    dtype: torch.dtype | None = None,
) -> Tensor:
    """Return the total correlation of several variables: how far they are from independence.

    ::

        TC = sum_i H(X_i) - H(X_1, ..., X_n) = sum_i I(X_1, ..., X_{i-1}; X_i)

    Args:
        joint: Joint tables of n variables.
        dims: The dimension of each variable, or several for one variable as a tuple.
        kind, base, keepdim, dtype: Shared arguments, see `torch_infotheory.multivariate`.

    Returns:
        Tensor of joint's shape without the dimensions of the variables; never below 0.

    Domain:
        As for every measure. One variable gives 0.

    Gradient:
        dTC/dp = log(p / prod_i p_i) + 1 - n, and 0 for a zero cell.

    Raises:
        The errors of every measure.

    Example:
        Three copies of one coin: 3 - 1 bits.

        >>> import torch, torch_infotheory as ti
        >>> joint = torch.zeros(2, 2, 2)
        >>> joint[0, 0, 0] = joint[1, 1, 1] = 0.5
        >>> ti.total_correlation(joint, (0, 1, 2), base=2)
        tensor(2.)

    Reference:
        Watanabe (1960). Information theoretical analysis of multivariate correlation. IBM Journal
        of Research and Development 4.

    See also:
        `torch_infotheory.dual_total_correlation`; `torch_infotheory.mutual_information`, for two.
    """
    every, lengths = _variables("total_correlation", dims)
    return _ops.total_correlation(joint, every, lengths, kind, base, keepdim, dtype)


def dual_total_correlation(
    joint: Tensor,
    dims: Sequence[Dim],
    *,
    kind: str = "probs",
    base: float | None = None,
    keepdim: bool = False,
    dtype: torch.dtype | None = None,
) -> Tensor:
    """Return the dual total correlation of several variables: the uncertainty that they share.

    ::

        DTC = H(X_1, ..., X_n) - sum_i H(X_i | the others)
            = sum_i I(X_1, ..., X_{i-1}; X_i | X_{i+1}, ..., X_n)

    Args:
        joint: Joint tables of n variables.
        dims: The dimension of each variable, or several for one variable as a tuple.
        kind, base, keepdim, dtype: Shared arguments, see `torch_infotheory.multivariate`.

    Returns:
        Tensor of joint's shape without the dimensions of the variables; never below 0.

    Domain:
        As for every measure. One variable gives 0.

    Gradient:
        dDTC/dp = (n - 1) log p - sum_i log p(the others) - 1, and 0 for a zero cell.

    Raises:
        The errors of every measure.

    Example:
        Three copies of one coin share its bit.

        >>> import torch, torch_infotheory as ti
        >>> joint = torch.zeros(2, 2, 2)
        >>> joint[0, 0, 0] = joint[1, 1, 1] = 0.5
        >>> ti.dual_total_correlation(joint, (0, 1, 2), base=2)
        tensor(1.)

    Reference:
        Han (1978). Nonnegative entropy measures of multivariate symmetric correlations. Information
        and Control 36.

    See also:
        `torch_infotheory.total_correlation`; `torch_infotheory.mutual_information`, for two.
    """
    every, lengths = _variables("dual_total_correlation", dims)
    return _ops.dual_total_correlation(joint, every, lengths, kind, base, keepdim, dtype)


def co_information(
    joint: Tensor,
    dims: Sequence[Dim],
    *,
    kind: str = "probs",
    base: float | None = None,
    keepdim: bool = False,
    dtype: torch.dtype | None = None,
) -> Tensor:
    """Return the co-information of several variables: what all share, less what only all tell.

    ::

        I(X; Y; Z) = I(X; Y) - I(X; Y | Z)
        I(X_1; ...; X_n) = sum_{T in {3..n}} (-1)^|T| I(X_1; X_2 | X_T)

    Args:
        joint: Joint tables of n variables, n at least 2.
        dims: The dimension of each variable, or several for one variable as a tuple.
        kind, base, keepdim, dtype: Shared arguments, see `torch_infotheory.multivariate`.

    Returns:
        Tensor of joint's shape without the dimensions of the variables; of either sign for three
        variables or more. There are 2^(n-2) terms.

    Domain:
        As for every measure.

    Gradient:
        That of the terms.

    Raises:
        ValueError: There are fewer than 2 variables.
        The errors of every measure.

    Example:
        Two coins and whether they differ: no two tell of each other, but all three do.

        >>> import torch, torch_infotheory as ti
        >>> joint = torch.zeros(2, 2, 2)
        >>> joint[0, 0, 0] = joint[0, 1, 1] = joint[1, 0, 1] = joint[1, 1, 0] = 0.25
        >>> ti.co_information(joint, (0, 1, 2), base=2)
        tensor(-1.)

    Reference:
        McGill (1954). Multivariate information transmission. Psychometrika 19. Bell (2003). The
        co-information lattice. ICA.

    See also:
        `torch_infotheory.conditional_mutual_information`; `torch_infotheory.total_correlation`.
    """
    every, lengths = _variables("co_information", dims)
    return _ops.co_information(joint, every, lengths, kind, base, keepdim, dtype)


def normalized_mutual_information(
    joint: Tensor,
    x_dim: Dim = -2,
    y_dim: Dim = -1,
    *,
    average: Average = "arithmetic",
    kind: str = "probs",
    keepdim: bool = False,
    dtype: torch.dtype | None = None,
) -> Tensor:
    """Return the mutual information of X and Y as a share of their entropy.

    ::

        arithmetic, geometric, min, max    NMI = I(X; Y) / mean(H(X), H(Y))
        joint                              NMI = I(X; Y) / H(X, Y)
        studholme                          NMI = (H(X) + H(Y)) / H(X, Y)

    Args:
        joint: Joint tables, shape (..., X, Y).
        x_dim, y_dim: The dimension of each variable, or several.
        average: One of the names above.
        kind, keepdim, dtype: Shared arguments, see `torch_infotheory.multivariate`.

    Returns:
        Tensor of joint's shape without ``x_dim`` and ``y_dim``, the same in every unit; from 0 to
        1, and from 1 to 2 for ``"studholme"``.

    Domain:
        As for every measure. Where neither X nor Y is uncertain the value is 1, as scikit-learn has
        it; where one is not, and the mean is 0, it is 0.

    Gradient:
        That of the ratio, and 0 where the divisor is 0.

    Raises:
        ValueError: ``average`` is unknown.
        The errors of every measure.

    Example:
        X tells all of Y's bit; it has 1.5 itself.

        >>> import torch, torch_infotheory as ti
        >>> joint = torch.tensor([[0.5, 0.0], [0.0, 0.25], [0.0, 0.25]])
        >>> ti.normalized_mutual_information(joint)  # 1 / 1.25
        tensor(0.8000)
        >>> ti.normalized_mutual_information(joint, average="studholme")  # 2.5 / 1.5
        tensor(1.6667)

    Reference:
        Strehl and Ghosh (2002). Cluster ensembles. Journal of Machine Learning Research 3.
        Studholme, Hill and Hawkes (1999). An overlap invariant entropy measure of 3D medical image
        alignment. Pattern Recognition 32.

    See also:
        `torch_infotheory.estimators.normalized_mutual_information_score`, from labels.
    """
    return _ops.normalized_mutual_information(joint, x_dim, y_dim, average, kind, keepdim, dtype)


def lautum_information(
    joint: Tensor,
    x_dim: Dim = -2,
    y_dim: Dim = -1,
    *,
    kind: str = "probs",
    base: float | None = None,
    keepdim: bool = False,
    dtype: torch.dtype | None = None,
) -> Tensor:
    """Return the lautum information of X and Y: the divergence of mutual information, reversed.

    ::

        L(X; Y) = D(p(x) p(y) || p(x, y)) = sum_xy p(x) p(y) log(p(x) p(y) / p(x, y))

    Args:
        joint: Joint tables, shape (..., X, Y).
        x_dim, y_dim: The dimension of each variable, or several.
        kind, base, keepdim, dtype: Shared arguments, see `torch_infotheory.multivariate`.

    Returns:
        Tensor of joint's shape without ``x_dim`` and ``y_dim``; never below 0 for a normalised
        table.

    Domain:
        As for every measure. A pair that never occurs, of x and y that do, gives +inf.

    Gradient:
        dL/dp_xy = -p_x p_y / p_xy + the derivatives by p_x and p_y, and 0 for a zero cell.

    Raises:
        The errors of every measure.

    Example:
        Both marginals are (1/2, 1/2): log2(1/4) minus the mean of log2(3/8) and log2(1/8), negated.

        >>> import torch, torch_infotheory as ti
        >>> ti.lautum_information(torch.tensor([[0.375, 0.125], [0.125, 0.375]]), base=2)
        tensor(0.2075)

    Reference:
        Palomar and Verdu (2008). Lautum information. IEEE Transactions on Information Theory 54.

    See also:
        `torch_infotheory.mutual_information`, the divergence in the other direction.
    """
    return _ops.lautum_information(joint, x_dim, y_dim, kind, base, keepdim, dtype)


def positive_pointwise_mutual_information(
    joint: Tensor,
    x_dim: Dim = -2,
    y_dim: Dim = -1,
    *,
    kind: str = "probs",
    base: float | None = None,
    dtype: torch.dtype | None = None,
) -> Tensor:
    """Return the pointwise mutual information of every cell where it is positive, and 0 elsewhere.

    ::

        PPMI(x, y) = max(log(p(x, y) / (p(x) p(y))), 0)

    Args:
        joint: Joint tables, shape (..., X, Y).
        x_dim, y_dim: The dimension of each variable, or several.
        kind, base, dtype: Shared arguments, see `torch_infotheory.multivariate`.

    Returns:
        Tensor of joint's shape.

    Domain:
        A cell that never occurs gives 0. Otherwise as for every measure.

    Gradient:
        That of `torch_infotheory.pointwise_mutual_information` where the value is positive, and 0
        elsewhere.

    Raises:
        The errors of every measure.

    Example:
        The marginals are (0.5, 0.5) and (0.25, 0.75). The first cell is log2(0.25 / 0.125).

        >>> import torch, torch_infotheory as ti
        >>> joint = torch.tensor([[0.25, 0.25], [0.0, 0.5]])
        >>> ti.positive_pointwise_mutual_information(joint, base=2)
        tensor([[1.0000, 0.0000],
                [0.0000, 0.4150]])

    Reference:
        Bullinaria and Levy (2007). Extracting semantic representations from word co-occurrence
        statistics. Behavior Research Methods 39.

    See also:
        `torch_infotheory.pointwise_mutual_information`.
    """
    return _ops.positive_pointwise_mutual_information(joint, x_dim, y_dim, kind, base, dtype)


def binary_entropy(
    p: Tensor,
    *,
    kind: str = "probs",
    base: float | None = None,
    dtype: torch.dtype | None = None,
) -> Tensor:
    """Return the entropy of an event of each probability.

    ::

        h(p) = -p log p - (1 - p) log(1 - p)

    Args:
        p: Probabilities of any shape, or logits log(p / (1 - p)).
        kind: ``"probs"`` or ``"logits"``.
        base, dtype: Shared arguments, see `torch_infotheory.measures`.

    Returns:
        Tensor of p's shape, from 0 to log 2.

    Domain:
        p = 0 and p = 1, and infinite logits, give 0. Outside [0, 1]: NaN.

    Gradient:
        dh/dp = log((1 - p) / p), and 0 at p = 0 and p = 1. By a logit l: -l p (1 - p).

    Raises:
        ValueError: ``kind`` or ``base`` is unknown.
        TypeError: ``p`` is no floating tensor.

    Example:
        A fair coin has 1 bit, a sure one none.

        >>> import torch, torch_infotheory as ti
        >>> ti.binary_entropy(torch.tensor([0.5, 1.0, 0.25]), base=2)
        tensor([1.0000, 0.0000, 0.8113])

    Reference:
        Cover and Thomas (2006). Elements of Information Theory, equation 2.5.

    See also:
        `torch_infotheory.entropy`, of any number of classes.
    """
    return _ops.binary_entropy(p, kind, base, dtype)


_explain_arguments([globals()[name] for name in __all__], measures.__doc__, __doc__)
