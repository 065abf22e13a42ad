"""Entropy and mutual information of labels, and scores that compare two clusterings.

Knows how to count labels of any integers; `counts` knows what to make of the counts.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from torch_infotheory import measures
from torch_infotheory.estimators import _arguments
from torch_infotheory.estimators.counts import (
    ESTIMATORS,
    NEED_ALPHABET,
    entropy_from_counts,
    shrink,
)
from torch_infotheory.tables import joint_table

__all__ = [
    "adjusted_mutual_information_score",
    "conditional_mutual_information_from_labels",
    "entropy_from_labels",
    "expected_mutual_information",
    "mutual_information_from_labels",
    "normalized_mutual_information_score",
]


def entropy_from_labels(
    x: Tensor,
    estimator: str = "plugin",
    *,
    alphabet: int | None = None,
    base: float | None = None,
    clip: bool = False,
) -> Tensor:
    """Return an estimate of the entropy of the distribution that the labels were drawn from.

    ::

        H(X) = -sum_x p(x) log p(x)

    p(x) is the share of the label x for the estimator ``"plugin"``.

    Args:
        x: Labels, shape (..., N). Any integers name the classes, negative ones too.
        estimator, alphabet, base, clip: As for `entropy_from_counts`.

    Returns:
        Tensor of shape (...), float64.

    Domain:
        Without labels the estimates are NaN, but that of ``"nsb"``.

    Gradient:
        None.

    Raises:
        TypeError: ``x`` is no tensor of integers.
        The errors of `entropy_from_counts`.

    Example:
        Half of the labels are 7, and a quarter each are 1 and -1.

        >>> import torch
        >>> from torch_infotheory import estimators
        >>> estimators.entropy_from_labels(torch.tensor([7, 1, 7, -1]), base=2)
        tensor(1.5000, dtype=torch.float64)

    Reference:
        Shannon (1948). A mathematical theory of communication. Bell System Technical Journal 27.

    See also:
        `torch_infotheory.estimators.entropy_from_counts`, with the formulas of the estimators.
    """
    name = "entropy_from_labels"
    labels = _labels(name, "x", x)
    _arguments.choice(name, "estimator", estimator, tuple(ESTIMATORS))
    codes, size = _codes(labels)
    # A row without labels has one bin with no draw.
    counts = _counts(codes, max(size, 1))
    if alphabet is not None:
        counts = _only_observed(counts)
    return entropy_from_counts(counts, estimator, alphabet=alphabet, base=base, clip=clip)


def mutual_information_from_labels(
    x: Tensor,
    y: Tensor,
    estimator: str = "plugin",
    *,
    alphabet: tuple[int, int] | None = None,
    base: float | None = None,
    clip: bool = False,
) -> Tensor:
    """Return an estimate of the mutual information of two variables from pairs of labels.

    ::

        I(X; Y) = H(X) + H(Y) - H(X, Y)

    Each entropy is estimated from its counts. ``"james_stein"`` shrinks the joint probabilities and
    takes their mutual information.

    Args:
        x: Labels of the first variable, shape (..., N). Any integers name the classes.
        y: Labels of the second variable, of x's shape.
        estimator: As for `entropy_from_counts`.
        alphabet: The numbers of classes of X and of Y, for ``"james_stein"`` and ``"nsb"``; the
            pair then has their product.
        base: The base of the logarithm: None gives nats, 2 gives bits.
        clip: Whether an estimate below 0 becomes 0. ``"plugin"`` and ``"james_stein"`` never are.

    Returns:
        Tensor of shape (...), float64.

    Domain:
        Without labels the estimates are NaN, but that of ``"nsb"``.

    Gradient:
        None.

    Raises:
        TypeError: ``x`` or ``y`` is no tensor of integers.
        RuntimeError: Shapes or devices differ.
        ValueError: ``estimator`` or ``base`` is unknown, or ``alphabet`` missing or too small.

    Example:
        Two labels that always agree share the 1 bit that each has.

        >>> import torch
        >>> from torch_infotheory import estimators
        >>> labels = torch.tensor([0, 1, 1, 0])
        >>> estimators.mutual_information_from_labels(labels, 5 - labels, base=2)
        tensor(1., dtype=torch.float64)

    Reference:
        Cover and Thomas (2006). Elements of Information Theory, section 2.3.
        Hausser and Strimmer (2009). Entropy inference and the James-Stein estimator, with
        application to nonlinear gene association networks. Journal of Machine Learning Research 10.

    See also:
        `torch_infotheory.mutual_information`, of a table; `torch_infotheory.joint_table`.
    """
    name = "mutual_information_from_labels"
    x, y = _same_shape(name, x=x, y=y)
    _arguments.choice(name, "estimator", estimator, tuple(ESTIMATORS))
    nats = _arguments.nats_in(name, base)
    if alphabet is None and estimator in NEED_ALPHABET:
        raise ValueError(f"{name}: estimator {estimator!r} needs alphabet, two numbers of classes")
    if alphabet is not None and (not isinstance(alphabet, tuple | list) or len(alphabet) != 2):
        raise TypeError(f"{name}: alphabet: expected two numbers of classes, got {alphabet!r}")
    if estimator == "plugin":
        value = _by_row(_information, x, y)
    elif estimator == "james_stein":
        assert alphabet is not None
        value = _shrunk_information(_table_of_alphabet(name, x, y, alphabet))
    else:
        value = _by_row(lambda x, y: _by_entropies(_Contingency(x, y), estimator, alphabet), x, y)
    return (value.clamp_min(0) if clip else value) / nats


def conditional_mutual_information_from_labels(
    x: Tensor, y: Tensor, z: Tensor, *, base: float | None = None
) -> Tensor:
    """Return the mutual information of two variables given a third, from triples of labels.

    ::

        I(X; Y | Z) = sum_z p(z) I(X; Y | Z = z)

    The probabilities are the shares of the labels.

    Args:
        x, y, z: Labels of the three variables, all of shape (..., N). Any integers name classes.
        base: The base of the logarithm: None gives nats, 2 gives bits.

    Returns:
        Tensor of shape (...), float64; never below 0. NaN without labels.

    Domain:
        Any labels.

    Gradient:
        None.

    Raises:
        TypeError: A variable is no tensor of integers.
        RuntimeError: Shapes or devices differ.
        ValueError: ``base`` is no base.

    Example:
        Two coins are independent, but not once it is known whether they agree.

        >>> import torch
        >>> from torch_infotheory import estimators
        >>> x, y = torch.tensor([0, 0, 1, 1]), torch.tensor([0, 1, 0, 1])
        >>> estimators.conditional_mutual_information_from_labels(x, y, x ^ y, base=2)
        tensor(1., dtype=torch.float64)

    Reference:
        Cover and Thomas (2006). Elements of Information Theory, section 2.5.

    See also:
        `torch_infotheory.estimators.mutual_information_from_labels`, without Z;
        `torch_infotheory.estimators.mutual_information_knn`, for real numbers.
    """
    name = "conditional_mutual_information_from_labels"
    x, y, z = _same_shape(name, x=x, y=y, z=z)
    return _by_row(_information, x, y, z) / _arguments.nats_in(name, base)


def normalized_mutual_information_score(
    x: Tensor, y: Tensor, average: str = "arithmetic"
) -> Tensor:
    """Return the mutual information of two clusterings as a share of their entropy.

    ::

        NMI = I(X; Y) / mean(H(X), H(Y))

    Args:
        x: The cluster of each of N points, shape (..., N). Any integers name the clusters.
        y: The same points in another clustering, of x's shape.
        average: The mean: ``"arithmetic"``, ``"geometric"``, ``"min"`` or ``"max"``.

    Returns:
        Tensor of shape (...), float64, from 0 to 1: what scikit-learn's
        ``normalized_mutual_info_score`` returns.

    Domain:
        Two clusterings that put all points into one cluster, and no points at all, give 1. One such
        clustering beside another gives 0.

    Gradient:
        None.

    Raises:
        TypeError: ``x`` or ``y`` is no tensor of integers.
        RuntimeError: Shapes or devices differ.
        ValueError: ``average`` is unknown.

    Example:
        Of the pair's 1.5 bits, 1 is shared: X has 1 and Y has 1.5.

        >>> import torch
        >>> from torch_infotheory import estimators
        >>> x, y = torch.tensor([0, 0, 1, 1]), torch.tensor([0, 0, 1, 2])
        >>> estimators.normalized_mutual_information_score(x, y)
        tensor(0.8000, dtype=torch.float64)

    Reference:
        Strehl and Ghosh (2002). Cluster ensembles: a knowledge reuse framework for combining
        multiple partitions. Journal of Machine Learning Research 3.

    See also:
        `torch_infotheory.estimators.adjusted_mutual_information_score`, not raised by chance.
    """
    name = "normalized_mutual_information_score"
    x, y = _same_shape(name, x=x, y=y)
    mean = AVERAGES[_arguments.choice(name, "average", average, tuple(AVERAGES))]
    return _by_row(lambda x, y: _normalized(_Contingency(x, y), mean), x, y)


def adjusted_mutual_information_score(x: Tensor, y: Tensor, average: str = "arithmetic") -> Tensor:
    """Return how far the mutual information of two clusterings is above that of chance.

    ::

        AMI = (I(X; Y) - E) / (mean(H(X), H(Y)) - E)

    E is the `expected_mutual_information` of the two.

    Args:
        x: The cluster of each of N points, shape (..., N). Any integers name the clusters.
        y: The same points in another clustering, of x's shape.
        average: The mean: ``"arithmetic"``, ``"geometric"``, ``"min"`` or ``"max"``.

    Returns:
        Tensor of shape (...), float64; 1 for equal clusterings, about 0 for unrelated ones, and
        possibly below: what scikit-learn's ``adjusted_mutual_info_score`` returns.

    Domain:
        Two clusterings that put all points into one cluster, and no points at all, give 1. One such
        clustering beside another gives 0. Clusterings that are equal up to names give 1, also where
        chance cannot do worse.

    Gradient:
        None.

    Raises:
        TypeError: ``x`` or ``y`` is no tensor of integers.
        RuntimeError: Shapes or devices differ.
        ValueError: ``average`` is unknown.

    Example:
        Of 4 points in 2 equal pairs, chance finds the same pairs 1 time in 3: E = log 2 / 3.

        >>> import torch
        >>> from torch_infotheory import estimators
        >>> x = torch.tensor([0, 0, 1, 1])
        >>> estimators.adjusted_mutual_information_score(x, 1 - x)
        tensor(1., dtype=torch.float64)
        >>> estimators.adjusted_mutual_information_score(x, torch.tensor([0, 1, 0, 1]))
        tensor(-0.5000, dtype=torch.float64)

    Reference:
        Vinh, Epps and Bailey (2010). Information theoretic measures for clusterings comparison:
        variants, properties, normalization and correction for chance. Journal of Machine Learning
        Research 11.

    See also:
        `torch_infotheory.estimators.normalized_mutual_information_score`;
        `torch_infotheory.variation_of_information`, a distance.
    """
    name = "adjusted_mutual_information_score"
    x, y = _same_shape(name, x=x, y=y)
    mean = AVERAGES[_arguments.choice(name, "average", average, tuple(AVERAGES))]
    return _by_row(lambda x, y: _adjusted(_Contingency(x, y), mean), x, y)


def expected_mutual_information(x: Tensor, y: Tensor, *, base: float | None = None) -> Tensor:
    """Return the mean mutual information of two clusterings over all ways to shuffle one of them.

    With a_i and b_j the sizes of the clusters, the mean of what a cell contributes over the
    hypergeometric distribution of its count::

        E = sum_ij sum_n n/N log(N n / (a_i b_j)) C(b_j, n) C(N - b_j, a_i - n) / C(N, a_i)

    Args:
        x: The cluster of each of N points, shape (..., N). Any integers name the clusters.
        y: The same points in another clustering, of x's shape.
        base: The base of the logarithm: None gives nats, 2 gives bits.

    Returns:
        Tensor of shape (...), float64. Counts whose probability is below 1e-20 are left out.

    Domain:
        No points, or a single cluster, give 0.

    Gradient:
        None.

    Raises:
        TypeError: ``x`` or ``y`` is no tensor of integers.
        RuntimeError: Shapes or devices differ.
        ValueError: ``base`` is no base.

    Example:
        Of 4 points in 2 equal pairs, chance finds the same pairs 1 time in 3, or else nothing.

        >>> import torch
        >>> from torch_infotheory import estimators
        >>> x = torch.tensor([0, 0, 1, 1])
        >>> estimators.expected_mutual_information(x, x, base=2)
        tensor(0.3333, dtype=torch.float64)

    Reference:
        Vinh, Epps and Bailey (2010). Information theoretic measures for clusterings comparison.
        Journal of Machine Learning Research 11, equation 24a.

    See also:
        `torch_infotheory.estimators.adjusted_mutual_information_score`.
    """
    name = "expected_mutual_information"
    x, y = _same_shape(name, x=x, y=y)
    nats = _arguments.nats_in(name, base)
    return _by_row(lambda x, y: _expected(_Contingency(x, y)), x, y) / nats


# Labels and counts


def _labels(function: str, name: str, value: object) -> Tensor:
    labels = _arguments.a_tensor(function, name, value)
    if labels.is_floating_point() or labels.is_complex():
        raise TypeError(
            f"{function}: {name} must have labels of an integer dtype, got {labels.dtype}"
        )
    if labels.dim() == 0:
        raise RuntimeError(f"{function}: {name}: expected labels of shape (..., N), got one label")
    return labels.to(torch.int64)


def _same_shape(function: str, **variables: object) -> list[Tensor]:
    labels = [_labels(function, name, value) for name, value in variables.items()]
    if len({tensor.shape for tensor in labels}) > 1:
        names, shapes = ", ".join(variables), ", ".join(str(list(x.shape)) for x in labels)
        raise RuntimeError(f"{function}: expected {names} of one shape, got {shapes}")
    if len({tensor.device for tensor in labels}) > 1:
        raise RuntimeError(f"{function}: expected {', '.join(variables)} on one device")
    return labels


def _codes(labels: Tensor) -> tuple[Tensor, int]:
    """The labels as numbers from 0, and a bound of them that is of the order of their number."""
    if labels.numel() == 0:
        return labels, 0
    least, most = (int(bound) for bound in labels.aminmax())
    if most - least < 2 * labels.numel() + 1024:
        return (labels - least if least else labels), most - least + 1
    values, codes = torch.unique(labels, return_inverse=True)
    return codes, values.numel()


def _counts(codes: Tensor, size: int) -> Tensor:
    return joint_table(codes.unsqueeze(-2), (size,))


def _only_observed(counts: Tensor) -> Tensor:
    """The counts without bins that no row of the batch has drawn."""
    seen = (counts > 0).reshape(-1, counts.shape[-1]).any(0)
    return counts[..., seen] if bool(seen.any()) else counts[..., :1]


def _by_row(function: Callable[..., Tensor], *labels: Tensor) -> Tensor:
    batch = labels[0].shape[:-1]
    if not batch:
        return function(*labels)
    rows = [x.flatten(0, -2) for x in labels]
    values = [function(*row) for row in zip(*rows, strict=True)]
    wide = _arguments.wide(labels[0].device)
    values = values or [torch.empty(0, dtype=wide, device=labels[0].device)]
    return torch.stack(values).reshape(batch)


# A dense table of pairs may have this many cells, or some per sample. Beyond, cells are sorted out.
_DENSE = 2**20


def _is_dense(samples: int, *sizes: int) -> bool:
    cells = 1
    for size in sizes:
        cells *= size
    return cells <= max(_DENSE, 4 * samples)


def _information(x: Tensor, y: Tensor, *given: Tensor) -> Tensor:
    """Plug-in mutual information of one row of labels, in nats; given a third variable if any."""
    if x.numel() == 0:
        return torch.full((), torch.nan, dtype=_arguments.wide(x.device), device=x.device)
    if not given:
        return _Contingency(x, y).information()
    columns, sizes = zip(*(_codes(labels) for labels in (*given, x, y)), strict=True)
    if not _is_dense(x.numel(), *sizes):
        return _information_of_cells(*columns[-2:], *columns[:-2])
    table = joint_table(torch.stack(columns, -2), sizes).to(_arguments.wide(x.device))
    total = table.sum((-2, -1))
    slices = table[total > 0] / total[total > 0, None, None]
    return (total[total > 0] / x.numel() * measures.mutual_information(slices)).sum()


def _information_of_cells(x: Tensor, y: Tensor, *given: Tensor) -> Tensor:
    """The same without a table: from the cells that occur.

    With q = p(x|z) p(y|z) p(z) and d = p / q - 1 the information is sum q ((1 + d) log(1 + d) - d),
    whose terms are not negative. A cell that does not occur has d = -1 and contributes q; all q
    sum to 1, so those that occur tell how much that is. Whole numbers make d exact.
    """
    z = given[0] if given else torch.zeros_like(x)
    xz, yz = _pair(x, z), _pair(y, z)
    cells, n = torch.unique(_pair(xz, yz), return_inverse=True, return_counts=True)[1:]
    first = torch.empty_like(n).scatter_(0, cells, torch.arange(len(x), device=x.device))
    a, b, m = (torch.bincount(codes)[codes[first]] for codes in (xz, yz, _pair(z)))
    wide = _arguments.wide(x.device)
    product = a.to(wide) * b.to(wide)
    d = (n * m - a * b).to(wide) / product
    q = product / m / len(x)
    return (q * ((1 + d) * torch.log1p(d) - d)).sum() + (1 - q.sum()).clamp_min(0)


def _pair(*labels: Tensor) -> Tensor:
    """One code from 0 for each combination that occurs."""
    if labels[0].numel() == 0:
        return labels[0]
    pair = labels[0] if len(labels) == 1 else labels[0] * (labels[1].max() + 1) + labels[1]
    return torch.unique(pair, return_inverse=True)[1]


def _information_of_table(table: Tensor, estimator: str) -> Tensor:
    """An estimate from the counts of all pairs of labels that there are."""
    if estimator == "james_stein":
        return _shrunk_information(table)
    pairs = _Contingency.of_table(table)
    if estimator == "plugin":
        return pairs.information()
    return _by_entropies(pairs, estimator, (table.shape[0], table.shape[1]))


def _by_entropies(
    pairs: "_Contingency", estimator: str, alphabet: tuple[int, int] | None
) -> Tensor:
    sizes = (None, None, None) if alphabet is None else (*alphabet, alphabet[0] * alphabet[1])
    of_x, of_y, of_pair = (
        entropy_from_counts(counts if len(counts) else counts.new_zeros(1), estimator, alphabet=n)
        for counts, n in zip((*pairs.margins, pairs.cells), sizes, strict=True)
    )
    return of_x + of_y - of_pair


def _table_of_alphabet(function: str, x: Tensor, y: Tensor, alphabet: tuple[int, int]) -> Tensor:
    codes = []
    for name, labels, size in zip("xy", (x, y), alphabet, strict=True):
        values, inverse = torch.unique(labels, return_inverse=True)
        if values.numel() > _arguments.positive_int(function, "alphabet", size):
            raise ValueError(
                f"{function}: alphabet: {name} has {values.numel()} classes, more than {size}"
            )
        codes.append(inverse)
    return joint_table(codes[0], codes[1], *alphabet)


def _shrunk_information(table: Tensor) -> Tensor:
    counts = table.to(_arguments.wide(table.device)).flatten(-2)
    shrunk, _ = shrink(counts, counts.sum(-1, keepdim=True), counts.shape[-1])
    return measures.mutual_information(shrunk.view(table.shape))


# Clusterings


def _geometric(u: Tensor, v: Tensor) -> Tensor:
    return (u * v).sqrt()


AVERAGES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "arithmetic": lambda u, v: (u + v) / 2,
    "geometric": _geometric,
    "min": torch.minimum,
    "max": torch.maximum,
}


class _Contingency:
    """How often each label of x, each of y and each pair of them occurs, where it does."""

    table: Tensor | None = None

    def __init__(self, x: Tensor, y: Tensor) -> None:
        codes_x, size_x = _codes(x)
        codes_y, size_y = _codes(y)
        self.labels = codes_x, codes_y
        if _is_dense(x.numel(), size_x, size_y):
            self.take(joint_table(*self.labels, size_x, size_y))
        else:
            self.keep(
                _counts(codes_x, size_x),
                _counts(codes_y, size_y),
                torch.bincount(_pair(codes_x, codes_y)),
            )

    @classmethod
    def of_table(cls, table: Tensor) -> "_Contingency":
        """The same from a table of counts, without labels."""
        pairs = cls.__new__(cls)
        pairs.take(table)
        return pairs

    def take(self, table: Tensor) -> None:
        self.table = table
        self.keep(table.sum(1), table.sum(0), table.flatten())

    def keep(self, x: Tensor, y: Tensor, cells: Tensor) -> None:
        self.margins = [counts[counts > 0] for counts in (x, y)]
        self.cells = cells[cells > 0]
        self.classes = [counts.numel() for counts in self.margins]
        self.samples = int(self.cells.sum())
        self.wide = _arguments.wide(cells.device)

    def constant(self, value: float) -> Tensor:
        return torch.full((), value, dtype=self.wide, device=self.cells.device)

    def information(self) -> Tensor:
        if self.table is None:
            return _information_of_cells(*self.labels)
        return measures.mutual_information(self.table.to(self.wide) / self.samples)

    def entropies(self) -> list[Tensor]:
        return [measures.entropy(counts.to(self.wide) / self.samples) for counts in self.margins]

    def are_equal(self) -> bool:
        """Whether x and y differ in the names of their labels alone."""
        return self.classes[0] == self.classes[1] == self.cells.numel()


def _normalized(clusterings: _Contingency, mean: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
    if max(clusterings.classes) <= 1:
        return clusterings.constant(1.0)
    if min(clusterings.classes) == 1:
        return clusterings.constant(0.0)
    return clusterings.information() / mean(*clusterings.entropies())


def _adjusted(clusterings: _Contingency, mean: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
    if max(clusterings.classes) <= 1 or clusterings.are_equal():
        return clusterings.constant(1.0)
    if min(clusterings.classes) == 1:
        return clusterings.constant(0.0)
    expected = _expected(clusterings)
    above = _not_zero(clusterings.information() - expected)
    return above / _not_zero(mean(*clusterings.entropies()) - expected)


def _not_zero(gap: Tensor) -> Tensor:
    # As scikit-learn has it: 0 / 0, where chance leaves no room, is 1.
    epsilon = torch.finfo(gap.dtype).eps
    return torch.where(gap < 0, gap.clamp_max(-epsilon), gap.clamp_min(epsilon))


# The hypergeometric probability further than this from its mean is below exp(-LOG_TAIL).
_LOG_TAIL = 50.0
_BLOCK = 2**18  # numbers that are looked at together


class _Pairs(NamedTuple):
    """Cells of a table with the same two margins: the margins, how many, and which counts occur."""

    a: Tensor
    b: Tensor
    times: Tensor
    least: Tensor
    width: Tensor


def _expected(clusterings: _Contingency) -> Tensor:
    if min(clusterings.classes) <= 1:
        return clusterings.constant(0.0)
    pairs = _pairs_of_margins(clusterings)
    order = pairs.width.argsort()
    widths = pairs.width[order].tolist()
    total, start = clusterings.constant(0.0), 0
    while start < len(widths):
        stop = start + 1
        # Sorted, so that the last of a block is the widest.
        while stop < len(widths) and widths[stop] * (stop - start + 1) <= _BLOCK:
            stop += 1
        block = _Pairs(*(numbers[order[start:stop]] for numbers in pairs))
        total = total + _expected_of(block, clusterings.samples, widths[stop - 1])
        start = stop
    return total


def _pairs_of_margins(clusterings: _Contingency) -> _Pairs:
    (a, times_a), (b, times_b) = (
        (sizes.double(), times.double())
        for sizes, times in (
            torch.unique(sizes, return_counts=True) for sizes in clusterings.margins
        )
    )
    n = float(clusterings.samples)
    times = torch.outer(times_a, times_b).reshape(-1)
    a, b = (numbers.reshape(-1) for numbers in torch.meshgrid(a, b, indexing="ij"))
    mean = a * b / n
    variance = mean * (n - a) * (n - b) / (n * (n - 1))
    # Bernstein's inequality, which holds for draws without replacement too (Hoeffding 1963).
    third = _LOG_TAIL / 3
    reach = third + (third**2 + 2 * _LOG_TAIL * variance).sqrt()
    least = torch.maximum((a + b - n).clamp_min(0), (mean - reach).floor())
    most = torch.minimum(torch.minimum(a, b), (mean + reach).ceil())
    return _Pairs(a, b, times, least, (most - least + 1).long())


def _expected_of(pairs: _Pairs, points: int, width: int) -> Tensor:
    a, b = pairs.a.unsqueeze(1), pairs.b.unsqueeze(1)
    steps = torch.arange(width, dtype=a.dtype, device=a.device)
    n = pairs.least.unsqueeze(1) + steps
    # Each probability by its ratio to the one before; that they sum to 1 gives the scale. The first
    # may be exp(-130), but not so small that the others overflow.
    ratio = (a + 1 - n) * (b + 1 - n) / (n * (points - a - b + n))
    ratio[:, 0] = 1
    probability = ratio.masked_fill_(steps >= pairs.width.unsqueeze(1), 0).cumprod(1)
    weight = probability * n
    score = n.clamp_min_(1).log_().sub_((a * b / points).log())
    cells = (weight * score).sum(1) / probability.sum(1)
    return (cells * pairs.times).sum() / points
