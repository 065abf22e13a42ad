"""The measures as metrics of torchmetrics, for loops that see the data batch by batch.

They are classes on `torchmetrics.Metric`: ``update`` takes a batch, ``compute`` gives the value of
all data so far, a call does both and gives the value of the batch, and Lightning logs them. On
several ranks ``compute`` gives the value of the data of all ranks; a rank may be without any. What
is kept are sums, in float64, and counts, which are added up over batches and ranks; so the result,
in float64 too, is that of one pass over all data, however it was split. States are part of
``state_dict``: a run that resumes in the middle of an epoch goes on where it was.

Shared arguments:
    weight: Of ``update``: how much each distribution counts; a number, or a tensor that broadcasts
        to the batch. A distribution with weight 0 contributes nothing, be it NaN or infinite.
    ignore_index: The label of positions that contribute nothing. None: every position counts.
    num_x, num_y: The numbers of classes of X and Y. The state is a table of num_x times num_y
        counts, however many labels there are.
    average: The mean of the entropies of X and Y: ``"arithmetic"``, ``"geometric"``, ``"min"`` or
        ``"max"``.
    kwargs: What every metric of torchmetrics takes, such as ``sync_on_compute``.

Without any data, or where all of it is ignored, the value is NaN, except where a docstring says
otherwise.

Needs torchmetrics: ``pip install torch_infotheory[metrics]``.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from torch_infotheory import measures
from torch_infotheory._arguments import nats_in
from torch_infotheory._docstrings import explain_arguments as _explain_arguments
from torch_infotheory.estimators import _arguments, counts, labels
from torch_infotheory.measures import Dim, Kind
from torch_infotheory.nn import functional
from torch_infotheory.tables import joint_table

try:
    from torchmetrics import Metric
except ModuleNotFoundError as error:
    if error.name != "torchmetrics":
        raise
    raise ImportError(
        "torch_infotheory.metrics needs torchmetrics: pip install torch_infotheory[metrics]"
    ) from None

__all__ = [
    "AdjustedMutualInformation",
    "BitsPerByte",
    "ConditionalEntropy",
    "Entropy",
    "JSDivergence",
    "KLDivergence",
    "MutualInformation",
    "NormalizedMutualInformation",
    "Perplexity",
    "VariationOfInformation",
]

# An `ignore_index` that is no label.
_NO_LABEL = torch.iinfo(torch.int64).min


class _Metric(Metric):
    """States that are sums over the data, from which `compute` makes the value."""

    full_state_update = False  # the sums of a batch are added to those before it

    def _add_sum(self, name: str, dtype: torch.dtype, *shape: int) -> None:
        zeros = torch.zeros(shape, dtype=dtype)
        self.add_state(name, default=zeros, dist_reduce_fx="sum", persistent=True)


class _OfTokens(_Metric):
    """Sums of the self-information of labels."""

    is_differentiable = True
    higher_is_better = False
    nats: Tensor

    def __init__(self, ignore_index: int | None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if ignore_index is not None and not isinstance(ignore_index, int):
            raise TypeError(
                f"{type(self).__name__}: expected ignore_index to be an int or None, got "
                f"{ignore_index!r} of type {type(ignore_index).__name__}"
            )
        self.ignore_index = ignore_index
        self._add_sum("nats", torch.float64)

    def _add_tokens(self, logits: Tensor, target: Tensor) -> None:
        name = type(self).__name__
        if not isinstance(logits, Tensor) or not isinstance(target, Tensor):
            raise TypeError(
                f"{name}: expected logits and target to be tensors, got {type(logits).__name__} "
                f"and {type(target).__name__}"
            )
        if logits.shape[:-1] != target.shape or logits.dim() == 0:
            raise RuntimeError(
                f"{name}: expected target in the shape of logits without the last dimension, got "
                f"logits {list(logits.shape)} and target {list(target.shape)}"
            )
        self.nats = self.nats + functional.cross_entropy(
            logits.reshape(-1, logits.size(-1)),
            target.reshape(-1),
            ignore_index=_NO_LABEL if self.ignore_index is None else self.ignore_index,
            reduction="sum",
            dtype=torch.float64,
        )


class Perplexity(_OfTokens):
    """The perplexity of a language model: the exponential of its cross-entropy per token.

    ::

        PP = exp(-(1 / N) sum_n log softmax(logits_n)[target_n])

    Args:
        ignore_index: Shared argument, see `torch_infotheory.metrics`.
        kwargs: Of `torchmetrics.Metric`.

    ``update(logits, target)`` takes logits of shape (..., V) and labels of shape (...).

    Example:
        One token had probability 1/2, the other 1/8; their geometric mean is 1/4.

        >>> import torch
        >>> from torch_infotheory import metrics
        >>> metric = metrics.Perplexity()
        >>> metric.update(torch.tensor([[0.5, 0.5], [0.125, 0.875]]).log(), torch.tensor([0, 0]))
        >>> metric.compute()
        tensor(4.0000, dtype=torch.float64)

    See also:
        `BitsPerByte`, which compares models with different tokens; `torch_infotheory.perplexity`.
    """

    tokens: Tensor

    def __init__(self, ignore_index: int | None = -100, **kwargs: Any) -> None:
        super().__init__(ignore_index, **kwargs)
        self._add_sum("tokens", torch.int64)

    def update(self, logits: Tensor, target: Tensor) -> None:
        """Add a batch."""
        self._add_tokens(logits, target)
        ignored = 0 if self.ignore_index is None else (target == self.ignore_index).sum()
        self.tokens = self.tokens + (target.numel() - ignored)

    def compute(self) -> Tensor:
        """Return the perplexity of all tokens so far."""
        return (self.nats / self.tokens).exp()


class BitsPerByte(_OfTokens):
    """The bits that a language model needs for a text, per byte of the text.

    ::

        BPB = -sum_n log2 softmax(logits_n)[target_n] / bytes

    A model with longer tokens has fewer of them, and a higher perplexity for the same quality; the
    bytes of the text do not depend on how it was cut into tokens.

    Args:
        ignore_index: Shared argument, see `torch_infotheory.metrics`.
        kwargs: Of `torchmetrics.Metric`.

    ``update(logits, target, num_bytes)`` takes logits of shape (..., V), labels of shape (...), and
    the number of bytes that the labels stand for: a number, or a tensor that is summed, such as one
    for each sequence or token.

    Example:
        A token of 3 bytes had probability 1/4, one of 1 byte 1/16: 2 + 4 bits for 4 bytes.

        >>> import torch
        >>> from torch_infotheory import metrics
        >>> metric = metrics.BitsPerByte()
        >>> logits = torch.tensor([[0.25, 0.75], [0.9375, 0.0625]]).log()
        >>> metric.update(logits, torch.tensor([0, 1]), torch.tensor([3, 1]))
        >>> metric.compute()
        tensor(1.5000, dtype=torch.float64)

    See also:
        `Perplexity`.
    """

    bytes: Tensor

    def __init__(self, ignore_index: int | None = -100, **kwargs: Any) -> None:
        super().__init__(ignore_index, **kwargs)
        self._add_sum("bytes", torch.int64)

    def update(self, logits: Tensor, target: Tensor, num_bytes: int | Tensor) -> None:
        """Add a batch."""
        self._add_tokens(logits, target)
        self.bytes = self.bytes + torch.as_tensor(num_bytes, device=self.bytes.device).sum()

    def compute(self) -> Tensor:
        """Return the bits per byte of all text so far."""
        return self.nats / math.log(2) / self.bytes


class _Mean(_Metric):
    """The weighted mean of a measure, of one distribution or of pairs.

    Each metric has states of its own name: MetricCollection takes metrics for the same, and updates
    only one of them, whose states have the same names and after one batch the same values.
    """

    is_differentiable = True

    def __init__(self, sum_name: str, kind: Any, dim: Dim, base: float | None, kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.kind, self.dim, self.unit = kind, dim, nats_in(type(self).__name__, base)
        self.sum_name, self.weight_name = sum_name, f"weight_of_{sum_name}"
        self._add_sum(self.sum_name, torch.float64)
        self._add_sum(self.weight_name, torch.float64)

    def _add_mean(self, nats: Tensor, weight: float | Tensor | None) -> None:
        weights = torch.ones((), dtype=torch.float64, device=nats.device)
        if weight is not None:
            weights = torch.as_tensor(weight, dtype=torch.float64, device=nats.device)
        weights = weights.expand(nats.shape)
        counted = torch.where(weights == 0, 0, weights * nats)
        setattr(self, self.sum_name, getattr(self, self.sum_name) + counted.sum())
        setattr(self, self.weight_name, getattr(self, self.weight_name) + weights.sum())

    def compute(self) -> Tensor:
        """Return the mean over all distributions so far."""
        return getattr(self, self.sum_name) / getattr(self, self.weight_name) / self.unit


class Entropy(_Mean):
    """The mean entropy of distributions, such as a classifier's predictions.

    ::

        H = sum_n w_n H(p_n) / sum_n w_n

    Args:
        kind, dim, base: Shared arguments, see `torch_infotheory.metrics`.
        kwargs: Of `torchmetrics.Metric`.

    ``update(p, weight=None)`` takes distributions as `torch_infotheory.entropy` does.

    Example:
        One coin is fair, two are certain.

        >>> import torch
        >>> from torch_infotheory import metrics
        >>> metric = metrics.Entropy(base=2)
        >>> metric.update(torch.tensor([[0.5, 0.5]]))
        >>> metric.update(torch.tensor([[1.0, 0.0], [0.0, 1.0]]))
        >>> metric.compute()
        tensor(0.3333, dtype=torch.float64)

    See also:
        `torch_infotheory.entropy`.
    """

    def __init__(
        self,
        *,
        kind: Kind = "probs",
        dim: Dim = -1,
        base: float | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__("entropy", kind, dim, base, kwargs)

    def update(self, p: Tensor, weight: float | Tensor | None = None) -> None:
        """Add a batch."""
        nats = measures.entropy(p, self.dim, kind=self.kind, dtype=torch.float64)
        self._add_mean(nats, weight)


class KLDivergence(_Mean):
    """The mean Kullback-Leibler divergence of pairs of distributions.

    ::

        D = sum_n w_n D(p_n || q_n) / sum_n w_n

    Args:
        kind, dim, base: Shared arguments, see `torch_infotheory.metrics`.
        kwargs: Of `torchmetrics.Metric`.

    ``update(p, q, weight=None)`` takes distributions as `torch_infotheory.kl_divergence` does, the
    true ones first.

    Example:
        The weights leave the second pair out. The first has 0.5 * 1 - 0.5 * log2(1.5) bits.

        >>> import torch
        >>> from torch_infotheory import metrics
        >>> metric = metrics.KLDivergence(base=2)
        >>> p = torch.tensor([[0.5, 0.5], [0.5, 0.5]])
        >>> q = torch.tensor([[0.25, 0.75], [0.0, 1.0]])
        >>> metric.update(p, q, weight=torch.tensor([1.0, 0.0]))
        >>> metric.compute()
        tensor(0.2075, dtype=torch.float64)

    See also:
        `JSDivergence`, `torch_infotheory.kl_divergence`.
    """

    higher_is_better = False

    def __init__(
        self,
        *,
        kind: Kind | tuple[Kind, Kind] = "probs",
        dim: Dim = -1,
        base: float | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__("kl_divergence", kind, dim, base, kwargs)

    def update(self, p: Tensor, q: Tensor, weight: float | Tensor | None = None) -> None:
        """Add a batch."""
        nats = measures.kl_divergence(p, q, self.dim, kind=self.kind, dtype=torch.float64)
        self._add_mean(nats, weight)


class JSDivergence(_Mean):
    """The mean Jensen-Shannon divergence of pairs of distributions.

    ::

        JS = sum_n w_n JS(p_n, q_n) / sum_n w_n

    Args:
        kind, dim, base: Shared arguments, see `torch_infotheory.metrics`.
        kwargs: Of `torchmetrics.Metric`.

    ``update(p, q, weight=None)`` takes distributions as `torch_infotheory.js_divergence` does.

    Example:
        Distributions that never agree are 1 bit apart, equal ones 0.

        >>> import torch
        >>> from torch_infotheory import metrics
        >>> metric = metrics.JSDivergence(base=2)
        >>> eye = torch.eye(2)
        >>> metric.update(eye, eye.flip(0))
        >>> metric.update(eye, eye)
        >>> metric.compute()
        tensor(0.5000, dtype=torch.float64)

    See also:
        `KLDivergence`, `torch_infotheory.js_divergence`.
    """

    higher_is_better = False

    def __init__(
        self,
        *,
        kind: Kind | tuple[Kind, Kind] = "probs",
        dim: Dim = -1,
        base: float | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__("js_divergence", kind, dim, base, kwargs)

    def update(self, p: Tensor, q: Tensor, weight: float | Tensor | None = None) -> None:
        """Add a batch."""
        nats = measures.js_divergence(p, q, self.dim, kind=self.kind, dtype=torch.float64)
        self._add_mean(nats, weight)


class _OfLabels(_Metric):
    """A measure of pairs of labels, from the table of how often each pair occurs.

    In a MetricCollection all of one size share one table: a batch is counted once.
    """

    is_differentiable = False
    table: Tensor

    def __init__(self, num_x: int, num_y: int, kwargs: Any) -> None:
        super().__init__(**kwargs)
        name = type(self).__name__
        size_x = _arguments.positive_int(name, "num_x", num_x)
        size_y = _arguments.positive_int(name, "num_y", num_y)
        self._add_sum("table", torch.int64, size_x, size_y)

    def update(self, x: Tensor, y: Tensor) -> None:
        """Add a batch."""
        name = type(self).__name__
        for argument, given in (("x", x), ("y", y)):
            _arguments.a_tensor(name, argument, given)
        if x.shape != y.shape:
            raise RuntimeError(
                f"{name}: expected x and y of one shape, got x {list(x.shape)} and y "
                f"{list(y.shape)}"
            )
        self.table = self.table + joint_table(x.reshape(-1), y.reshape(-1), *self.table.shape)

    def _joint(self) -> Tensor:
        return self.table.double() / self.table.sum()


class MutualInformation(_OfLabels):
    """The mutual information of two variables from pairs of labels, such as of a confusion matrix.

    ::

        I(X; Y) = H(X) + H(Y) - H(X, Y)

    Args:
        num_x, num_y, base: Shared arguments, see `torch_infotheory.metrics`.
        estimator: As for `torch_infotheory.estimators.mutual_information_from_labels`, with the
            alphabet (num_x, num_y).
        kwargs: Of `torchmetrics.Metric`.

    ``update(x, y)`` takes labels of one shape; a pair with a label below 0 is left out.

    Example:
        Right three times out of four: H(Y) = 1 bit, of which 0.1887 are told.

        >>> import torch
        >>> from torch_infotheory import metrics
        >>> metric = metrics.MutualInformation(2, 2, base=2)
        >>> metric.update(torch.tensor([0, 0, 0, 1]), torch.tensor([0, 0, 0, 1]))
        >>> metric.update(torch.tensor([1, 1, 0, 1]), torch.tensor([1, 1, 1, 0]))
        >>> metric.compute()
        tensor(0.1887, dtype=torch.float64)

    See also:
        `torch_infotheory.mutual_information`, of a joint distribution.
    """

    higher_is_better = True

    def __init__(
        self,
        num_x: int,
        num_y: int,
        estimator: str = "plugin",
        *,
        base: float | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(num_x, num_y, kwargs)
        name = type(self).__name__
        self.estimator = _arguments.choice(name, "estimator", estimator, tuple(counts.ESTIMATORS))
        self.unit = nats_in(name, base)

    def compute(self) -> Tensor:
        """Return the estimate from all pairs so far."""
        return labels._information_of_table(self.table, self.estimator) / self.unit


class ConditionalEntropy(_OfLabels):
    """The conditional entropy of Y given X: what is uncertain of one label once the other is known.

    ::

        H(Y | X) = H(X, Y) - H(X)

    Args:
        num_x, num_y, base: Shared arguments, see `torch_infotheory.metrics`.
        kwargs: Of `torchmetrics.Metric`.

    ``update(x, y)`` takes labels of one shape; a pair with a label below 0 is left out.

    Example:
        Where X is 0, Y is one of two; where it is 1, there is one.

        >>> import torch
        >>> from torch_infotheory import metrics
        >>> metric = metrics.ConditionalEntropy(2, 2, base=2)
        >>> metric.update(torch.tensor([0, 0, 1, 1]), torch.tensor([0, 1, 1, 1]))
        >>> metric.compute()
        tensor(0.5000, dtype=torch.float64)

    See also:
        `torch_infotheory.conditional_entropy`, of a joint distribution.
    """

    higher_is_better = False

    def __init__(self, num_x: int, num_y: int, *, base: float | None = None, **kwargs: Any) -> None:
        super().__init__(num_x, num_y, kwargs)
        self.unit = nats_in(type(self).__name__, base)

    def compute(self) -> Tensor:
        """Return the conditional entropy of all pairs so far."""
        return measures.conditional_entropy(self._joint()) / self.unit


class VariationOfInformation(_OfLabels):
    """The variation of information between two clusterings: what neither tells about the other.

    ::

        VI(X; Y) = H(X | Y) + H(Y | X)

    Args:
        num_x, num_y, base: Shared arguments, see `torch_infotheory.metrics`.
        kwargs: Of `torchmetrics.Metric`.

    ``update(x, y)`` takes labels of one shape; a pair with a label below 0 is left out.

    Example:
        One clustering cuts each of the clusters of the other, where there are two, in halves.

        >>> import torch
        >>> from torch_infotheory import metrics
        >>> metric = metrics.VariationOfInformation(2, 4, base=2)
        >>> metric.update(torch.tensor([0, 0, 1, 1]), torch.tensor([0, 1, 2, 3]))
        >>> metric.compute()
        tensor(1., dtype=torch.float64)

    See also:
        `torch_infotheory.variation_of_information`, of a joint distribution.
    """

    higher_is_better = False

    def __init__(self, num_x: int, num_y: int, *, base: float | None = None, **kwargs: Any) -> None:
        super().__init__(num_x, num_y, kwargs)
        self.unit = nats_in(type(self).__name__, base)

    def compute(self) -> Tensor:
        """Return the variation of information of all pairs so far."""
        return measures.variation_of_information(self._joint()) / self.unit


class _Score(_OfLabels):
    """The mutual information of two clusterings relative to a mean of their entropies."""

    higher_is_better = True

    def __init__(self, num_x: int, num_y: int, average: str = "arithmetic", **kwargs: Any) -> None:
        super().__init__(num_x, num_y, kwargs)
        name = type(self).__name__
        self.average = _arguments.choice(name, "average", average, tuple(labels.AVERAGES))


class NormalizedMutualInformation(_Score):
    """The mutual information of two clusterings as a share of their entropy.

    ::

        NMI = I(X; Y) / mean(H(X), H(Y))

    Args:
        num_x, num_y, average: Shared arguments, see `torch_infotheory.metrics`.
        kwargs: Of `torchmetrics.Metric`.

    ``update(x, y)`` takes labels of one shape; a pair with a label below 0 is left out. Without any
    data the value is 1, as scikit-learn has it.

    Example:
        Of the pair's 1.5 bits, 1 is shared: X has 1 and Y has 1.5.

        >>> import torch
        >>> from torch_infotheory import metrics
        >>> metric = metrics.NormalizedMutualInformation(2, 3)
        >>> metric.update(torch.tensor([0, 0, 1, 1]), torch.tensor([0, 0, 1, 2]))
        >>> metric.compute()
        tensor(0.8000, dtype=torch.float64)

    See also:
        `torch_infotheory.estimators.normalized_mutual_information_score`, of labels at once.
    """

    def compute(self) -> Tensor:
        """Return the score of all pairs so far."""
        pairs = labels._Contingency.of_table(self.table)
        return labels._normalized(pairs, labels.AVERAGES[self.average])


class AdjustedMutualInformation(_Score):
    """How far the mutual information of two clusterings is above that of chance.

    ::

        AMI = (I(X; Y) - E) / (mean(H(X), H(Y)) - E)

    E is the mean information of two clusterings with clusters of these sizes, drawn at random.

    Args:
        num_x, num_y, average: Shared arguments, see `torch_infotheory.metrics`.
        kwargs: Of `torchmetrics.Metric`.

    ``update(x, y)`` takes labels of one shape; a pair with a label below 0 is left out. Without any
    data the value is 1, as scikit-learn has it.

    Example:
        Of 4 points in 2 equal pairs, chance finds the same pairs 1 time in 3: E = log 2 / 3.

        >>> import torch
        >>> from torch_infotheory import metrics
        >>> metric = metrics.AdjustedMutualInformation(2, 2)
        >>> metric.update(torch.tensor([0, 0, 1, 1]), torch.tensor([0, 1, 0, 1]))
        >>> metric.compute()
        tensor(-0.5000, dtype=torch.float64)

    See also:
        `torch_infotheory.estimators.adjusted_mutual_information_score`, of labels at once.
    """

    def compute(self) -> Tensor:
        """Return the score of all pairs so far."""
        pairs = labels._Contingency.of_table(self.table)
        return labels._adjusted(pairs, labels.AVERAGES[self.average])


_explain_arguments([globals()[name] for name in __all__], measures.__doc__, __doc__)
