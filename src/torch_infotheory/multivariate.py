"""Measures of more than two variables, and normalized and other forms of mutual information.

All are compositions of the measures of two variables, chosen so that what theory says holds for the
numbers too: sums of mutual informations, which are never below 0 and keep their digits where the
variables are nearly independent, and not differences of entropies. Marginals and conditional
tables are formed in float64, whatever the input's dtype, so that no digits are lost on the way.

Shared arguments, domain and errors are those of `torch_infotheory.measures`. ``dims`` names the
dimension, or the tuple of dimensions, of each variable.

The gradient by a zero cell that states a probability, and by a logit of -inf, is 0.
"""

from collections.abc import Callable, Sequence
from itertools import combinations
from typing import cast

import torch
from torch import Tensor

from torch_infotheory import measures
from torch_infotheory._docstrings import explain_arguments as _explain_arguments
from torch_infotheory.estimators._arguments import nats_in, wide
from torch_infotheory.measures import Dim, Kind

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
    name = "conditional_mutual_information"
    table = _Table(name, joint, kind, [x_dim, y_dim, z_dim])
    return table.result(_conditional(table, [0], [1], [2], base), keepdim, dtype)


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
    table = _Table("total_correlation", joint, kind, dims)
    value = table.zero()
    for i in range(1, table.variables):
        value = value + _conditional(table, list(range(i)), [i], [], base)
    return table.result(value, keepdim, dtype)


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
    table = _Table("dual_total_correlation", joint, kind, dims)
    value, n = table.zero(), table.variables
    for i in range(1, n):
        value = value + _conditional(table, list(range(i)), [i], list(range(i + 1, n)), base)
    return table.result(value, keepdim, dtype)


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
    table = _Table("co_information", joint, kind, dims)
    if table.variables < 2:
        raise ValueError(f"co_information: dims: expected at least 2 variables, got {dims!r}")
    value = table.zero()
    for size in range(table.variables - 1):
        for given in combinations(range(2, table.variables), size):
            term = _conditional(table, [0], [1], list(given), base)
            value = value - term if size % 2 else value + term
    return table.result(value, keepdim, dtype)


def normalized_mutual_information(
    joint: Tensor,
    x_dim: Dim = -2,
    y_dim: Dim = -1,
    *,
    average: str = "arithmetic",
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
    name = "normalized_mutual_information"
    if average not in AVERAGES:
        names = ", ".join(map(repr, AVERAGES))
        raise ValueError(f"{name}: average: expected one of {names}, got {average!r}")
    table = _Table(name, joint, kind, [x_dim, y_dim])
    shared = _conditional(table, [0], [1], [], None)
    h_x, h_y = (table.entropy([variable]) for variable in (0, 1))
    divisor = AVERAGES[average](h_x, h_y, lambda: table.entropy([0, 1]))
    divided = divisor > 0
    ratio = shared / torch.where(divided, divisor, 1.0)
    if average == "studholme":
        ratio = 1 + ratio
    sure = (h_x == 0) & (h_y == 0)
    value = torch.where(divided | divisor.isnan() | shared.isnan(), ratio, 0.0)
    return table.result(torch.where(sure, 1.0, value), keepdim, dtype)


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
    table = _Table("lautum_information", joint, kind, [x_dim, y_dim])
    product = table.marginal([0]) * table.marginal([1])
    if table.logs is None:
        value = measures.kl_divergence(product, table.values, (-2, -1), base=base)
    else:  # finite where the smallest probabilities are 0
        kinds: tuple[Kind, Kind] = ("probs", "log_probs")
        value = measures.kl_divergence(product, table.logs, (-2, -1), kind=kinds, base=base)
    return table.result(value, keepdim, dtype)


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
    value = measures.pointwise_mutual_information(
        joint, x_dim, y_dim, kind=cast(Kind, kind), base=base, dtype=dtype
    )
    return value.clamp_min(0)


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
    name = "binary_entropy"
    if not isinstance(p, Tensor):
        raise TypeError(f"{name}: p must be a Tensor, not {type(p).__name__}")
    if not p.is_floating_point():
        raise TypeError(f"{name}: p must have a floating dtype, got {p.dtype}")
    if kind not in ("probs", "logits"):
        raise ValueError(f"{name}: kind: expected 'probs' or 'logits', got {kind!r}")
    nats = nats_in(name, base)
    x = p.to(torch.promote_types(p.dtype, torch.float32))
    sure = x.isinf() if kind == "logits" else (x == 0) | (x == 1)
    x = torch.where(sure, 0.5, x)
    if kind == "probs":
        value = -x * x.log() - (1 - x) * torch.log1p(-x)
    else:
        # h is even. Of the two sides this one loses no digits, and is smooth where they meet.
        x = torch.where(x < 0, x, -x)
        value = torch.log1p(x.exp()) - x * x.sigmoid()
    return (torch.where(sure, 0.0, value) / nats).to(p.dtype if dtype is None else dtype)


# Compositions

AVERAGES: dict[str, Callable[[Tensor, Tensor, Callable[[], Tensor]], Tensor]] = {
    "arithmetic": lambda h_x, h_y, h_xy: (h_x + h_y) / 2,
    "geometric": lambda h_x, h_y, h_xy: _geometric(h_x, h_y),
    "min": lambda h_x, h_y, h_xy: torch.minimum(h_x, h_y),
    "max": lambda h_x, h_y, h_xy: torch.maximum(h_x, h_y),
    "joint": lambda h_x, h_y, h_xy: h_xy(),
    "studholme": lambda h_x, h_y, h_xy: h_xy(),
}


def _geometric(h_x: Tensor, h_y: Tensor) -> Tensor:
    product = h_x * h_y
    return torch.where(product == 0, 0.0, torch.where(product == 0, 1.0, product).sqrt())


def _groups(function: str, joint: object, dims: Sequence[Dim]) -> list[list[int]]:
    """The dimensions of each variable, counted from 0."""
    if not isinstance(joint, Tensor):
        raise TypeError(f"{function}: joint must be a Tensor, not {type(joint).__name__}")
    if not isinstance(dims, Sequence) or isinstance(dims, str):
        raise TypeError(f"{function}: dims: expected a dimension for each variable, got {dims!r}")
    groups = []
    for dim in dims:
        group = [dim] if isinstance(dim, int) else list(dim)
        for d in group:
            if not -joint.dim() <= d < joint.dim():
                raise IndexError(
                    f"{function}: dimension {d} is out of range for a table of shape "
                    f"{list(joint.shape)}"
                )
        groups.append([d % joint.dim() for d in group])
    named = [d for group in groups for d in group]
    if len(set(named)) < len(named):
        raise RuntimeError(f"{function}: a dimension is named twice in {list(dims)}")
    return groups


class _Table:
    """A joint table with its batch first and one dimension for each variable: float64, and probs.

    Logarithms are kept beside them.
    """

    def __init__(self, function: str, joint: Tensor, kind: str, dims: Sequence[Dim]) -> None:
        self.groups = _groups(function, joint, dims)
        if kind not in ("probs", "log_probs", "logits", "counts"):
            raise ValueError(
                f"{function}: kind: expected 'probs', 'log_probs', 'logits' or 'counts', "
                f"got {kind!r}"
            )
        if joint.is_complex() or not (joint.is_floating_point() or kind == "counts"):
            raise TypeError(f"{function}: joint: a table of {kind} cannot be of {joint.dtype}")
        self.dtype = joint.dtype if joint.is_floating_point() else torch.float32
        self.variables = len(self.groups)
        self.named = [d for group in self.groups for d in group]
        batch = [d for d in range(joint.dim()) if d not in self.named]
        sizes = [[joint.shape[d] for d in group] for group in self.groups]
        if any(0 in size for size in sizes):
            raise RuntimeError(f"{function}: a variable has no classes in {list(joint.shape)}")
        shape = [joint.shape[d] for d in batch]
        values = joint.permute(*batch, *self.named).to(wide(joint.device))
        self.batch = len(shape)
        self.cells = list(range(self.batch, self.batch + self.variables))
        values = values.reshape(*shape, *(torch.Size(size).numel() for size in sizes))
        self.logs = None
        if kind == "counts":
            values = torch.ops.torch_infotheory._shares(values, self.cells)
        elif kind == "logits":
            self.logs = values.flatten(self.batch).log_softmax(-1).view_as(values)
        elif kind == "log_probs":
            self.logs = values
        if self.logs is not None:
            values = self.logs.exp()
        if kind in ("probs", "log_probs"):
            values = self._without_rounding(values, torch.finfo(joint.dtype).eps)
        # Cells that are empty have no gradient, in whichever way they enter.
        self.values = torch.where(values == 0, 0.0, values)

    def _without_rounding(self, values: Tensor, epsilon: float) -> Tensor:
        """Tables that sum to 1 up to the rounding of their entries do so in float64 too.

        Otherwise the rounding would be taken literally, and be more than a small information.
        """
        total = values.detach().sum(self.cells, keepdim=True)
        return values / torch.where((total - 1).abs() <= 8 * epsilon, total, 1.0)

    def zero(self) -> Tensor:
        return self.values.new_zeros(self.values.shape[: self.batch])

    def marginal(self, kept: Sequence[int]) -> Tensor:
        """The table of these variables; the dimensions of the others stay."""
        summed = [self.batch + v for v in range(self.variables) if v not in kept]
        return self.values.sum(summed, keepdim=True) if summed else self.values

    def entropy(self, variables: Sequence[int]) -> Tensor:
        return measures.entropy(self.marginal(variables).flatten(self.batch))

    def result(self, value: Tensor, keepdim: bool, dtype: torch.dtype | None) -> Tensor:
        if keepdim:
            for dim in sorted(self.named):
                value = value.unsqueeze(dim)
        return value.to(self.dtype if dtype is None else dtype)


def _conditional(
    table: _Table, x: list[int], y: list[int], z: list[int], base: float | None
) -> Tensor:
    """I(X; Y | Z) of groups of variables; the others are summed out."""
    values = table.marginal([*x, *y, *z])
    others = [v for v in range(table.variables) if v not in (*x, *y, *z)]
    order = [table.batch + v for v in (*z, *x, *y, *others)]
    values = values.permute(*range(table.batch), *order)
    sizes = values.shape[table.batch :]
    of_z, of_x = sizes[: len(z)].numel(), sizes[len(z) : len(z) + len(x)].numel()
    values = values.reshape(*values.shape[: table.batch], of_z, of_x, -1)
    if not z:
        return measures.mutual_information(values.squeeze(-3), base=base)
    total = values.sum((-2, -1), keepdim=True)
    slices = values / torch.where(total == 0, 1.0, total)
    return (total.squeeze((-2, -1)) * measures.mutual_information(slices, base=base)).sum(-1)


_explain_arguments([globals()[name] for name in __all__], measures.__doc__, __doc__)
