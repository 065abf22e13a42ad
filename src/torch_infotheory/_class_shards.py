"""The row ops where every rank holds some of the classes of each row.

A row is reduced where it lies; the ranks exchange a few numbers per row. Most of them the row op
saves for its backward pass anyway: the log-normalizer z_i of the classes on rank i, in two parts
whose sum would round, and their totals. With z = log sum_i e^(z_i), that of the whole row,

- a value whose score is linear in log p and log q follows the chain rule: it is the value of a
  coarser row, whose classes are the shards with logits z_i, and the mean of the ranks' own values;
- any other value is a sum of terms, which each rank adds up for its classes once it knows z;
- the gradient of a class follows from its own logit, z and the totals of the whole row, so that the
  backward op runs on every rank by itself.

Knows the row ops and collectives; must not know DTensor or autograd. Read next: parallel.py, for
tensors that are the local shards; _sharding.py, for DTensors.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import repeat
from math import inf
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor

if TYPE_CHECKING:
    from torch.distributed import ProcessGroup

# The codes of csrc/core/rows.h and csrc/dispatch/ops.h.
PROBS, LOG_PROBS, LOGITS, LABELS, WEIGHTS = range(5)
NONE, MEAN, SUM, TERMS, SUM_OF_TERMS = range(5)

# The ops whose score is linear in the logarithms.
LINEAR = {"entropy", "cross_entropy", "kl_divergence"}

# Marks a label that its rank leaves out.
_IGNORED = torch.iinfo(torch.int64).min
# Elements that are normalized in float64 at a time: two blocks stay in the cache.
_BLOCK = 1 << 16


@dataclass(frozen=True, kw_only=True)
class RowOptions:
    """The options of a row op, by the names of its schema (csrc/dispatch/signature.h).

    `log_probs`, which is none, is called like the cross-entropy of labels and logits; its value has
    a last dimension of 3.
    """

    name: str
    dim: int
    p_kind: int
    q_kind: int = PROBS
    reduction: int = NONE
    ignore_index: int = -100
    label_smoothing: float = 0.0
    scale: float = 1.0
    parameter: float = 0.0
    temperature: float = 1.0

    @property
    def has_labels(self) -> bool:
        return self.p_kind == LABELS

    @property
    def both_logits(self) -> bool:
        return self.p_kind == self.q_kind == LOGITS

    @property
    def is_linear(self) -> bool:
        return self.name in LINEAR

    @property
    def is_divergence(self) -> bool:
        return self.name.endswith("_divergence")


@dataclass(frozen=True, kw_only=True)
class RowCall(RowOptions):
    p: Tensor
    q: Tensor | None = None
    weight: Tensor | None = None

    @classmethod
    def bound(
        cls, op: Any, args: Sequence[Any], kwargs: dict[str, Any]
    ) -> tuple[RowCall, dict[str, Any]]:
        """Return the call of a row op, and what it was given besides."""
        names = (argument.name for argument in op._schema.arguments)
        given = dict(zip(names, args, strict=False)) | kwargs
        name = op._schema.name.removeprefix("torch_infotheory::_").removesuffix("_backward")
        fields = {key: given.pop(key) for key in cls.__dataclass_fields__ if key in given}
        return cls(name=name, **fields), given

    @property
    def full(self) -> Tensor:
        """The operand that has the class dimension, whatever the kinds."""
        return self.q if self.q is not None and self.has_labels else self.p

    @property
    def class_dim(self) -> int:
        return self.dim % self.full.dim()

    @property
    def classes(self) -> int:
        return self.full.size(self.class_dim)

    def tempered(self, logits: Tensor) -> Tensor:
        """Return them divided by the temperature, in float64, as the kernels read them."""
        if self.temperature == 1:
            return logits.double()
        wide = logits.to(torch.promote_types(logits.dtype, torch.float32))
        # By a tensor, because CUDA multiplies by the inverse of a number.
        return (wide / wide.new_full((), self.temperature)).double()

    def logits_at(self, index: Tensor) -> Tensor:
        """Return the logit of one class of each row."""
        dim = self.class_dim
        return self.tempered(self.full.gather(dim, index.unsqueeze(dim)).squeeze(dim))

    def _call(self, op: Any, **rest: Any) -> Any:
        """In the order of the schema."""
        names = [argument.name for argument in op._schema.arguments]
        return op(*(rest[name] if name in rest else getattr(self, name) for name in names))

    def forward(self, dtype: torch.dtype | None = None) -> tuple[Tensor, Tensor]:
        op = getattr(torch.ops.torch_infotheory, f"_{self.name}").default
        return self._call(op, dtype=dtype)

    def backward(self, g: Tensor, saved: Tensor, wrt: int) -> Tensor:
        op = getattr(torch.ops.torch_infotheory, f"_{self.name}_backward").default
        return self._call(op, g=g, saved=saved, wrt=wrt)


def all_reduced(numbers: Tensor, how: str, groups: Sequence[ProcessGroup]) -> Tensor:
    """Over one group after the other."""
    # Not needed, and slow to import, where nothing is distributed.
    from torch.distributed import _functional_collectives as collectives

    for group in groups:
        numbers = collectives.wait_tensor(collectives.all_reduce(numbers, how, group))
    return numbers


def all_gathered(numbers: Tensor, groups: Sequence[ProcessGroup]) -> Tensor:
    """Of all ranks, along a new dimension in front."""
    from torch.distributed import _functional_collectives as collectives

    numbers = numbers.unsqueeze(0)
    for group in groups:
        numbers = collectives.wait_tensor(collectives.all_gather_tensor(numbers, 0, group))
    return numbers


class Normalizer(NamedTuple):
    """z = high + log of every row; the sum itself would round where the logits lie far from 0."""

    high: Tensor
    log: Tensor

    def minus(self, other: Normalizer) -> Tensor:
        return (self.high - other.high) + (self.log - other.log)

    def taken_from(self, logits: Tensor) -> Tensor:
        return (logits - self.high) - self.log


class Saved(NamedTuple):
    """What a row op saves of one operand: see core/rows.h."""

    high: Tensor
    log: Tensor
    total: Tensor

    @property
    def z(self) -> Normalizer:
        return Normalizer(self.high, self.log)


def _saved(saved: Tensor) -> list[Saved]:
    """For each operand."""
    numbers = saved.unbind()
    return [Saved(*numbers[i : i + 3]) for i in range(0, len(numbers), 3)]


def _together(z: Sequence[Normalizer], totals: Sequence[Tensor]) -> Tensor:
    return torch.stack([n for of, total in zip(z, totals, strict=True) for n in (*of, total)])


@dataclass(frozen=True)
class ClassShard:
    """The classes from `offset` on, `size` out of `classes`; the groups together hold them all.

    No rank has more than `largest` of them.
    """

    offset: int
    size: int
    classes: int
    largest: int
    groups: tuple[ProcessGroup, ...]

    def sums(self, *numbers: Tensor) -> tuple[Tensor, ...]:
        return all_reduced(torch.stack(numbers), "sum", self.groups).unbind()

    def normalizer(self, local: Normalizer) -> Normalizer:
        """Return log sum e^z_i; its logarithm is -inf where there is no distribution."""
        high = all_reduced(local.high, "max", self.groups)
        part = ((local.high - high) + local.log).exp()
        return Normalizer(high, all_reduced(part, "sum", self.groups).log())


def chunk(size: int, ranks: int, rank: int) -> tuple[int, int]:
    """Where the part of a rank begins, and its size, by the rule of torch.chunk and of DTensor."""
    most = -(-size // ranks)
    start = min(most * rank, size)
    return start, min(most, size - start)


def total_weight(labels: Tensor, weight: Tensor | None, ignore_index: int) -> Tensor:
    """What a mean over labels divides by; `weight` is of all classes."""
    counts = labels != ignore_index
    if weight is None:
        return counts.sum(dtype=torch.float64)
    return torch.where(counts, weight.double()[torch.where(counts, labels, 0).long()], 0.0).sum()


def supports(call: RowCall) -> bool:
    """Whether the classes of a call may lie on several ranks."""
    if call.name.startswith("renyi_"):  # the logarithm of a sum, which ranks cannot add up
        return False
    smooth = call.label_smoothing != 0
    return not call.has_labels or (
        call.name == "cross_entropy" and (call.q_kind == LOGITS or not smooth)
    )


def forward(call: RowCall, shard: ClassShard, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Return the value of every row and what `backward` wants of it, the same on all ranks.

    The operands have the classes of the shard alone, and `weight` does too.
    """
    here = replace(_with_a_class(call), reduction=NONE, scale=1.0)
    if call.name == "log_probs":
        value, saved = _log_probs(here, shard)
    elif call.has_labels:
        value, saved = (_labels if call.q_kind == LOGITS else _picks)(here, shard)
    else:
        value, saved = (_expectation if _reads_once(call) else _terms)(here, shard)
    return (value * call.scale).to(dtype), saved


def _reads_once(call: RowCall) -> bool:
    # Totals of p and q that lie on several ranks are equal or not as a whole: a divergence that
    # depends on it is not one of local divergences.
    return call.is_linear and (call.both_logits or not call.is_divergence)


def backward(call: RowCall, shard: ClassShard, g: Tensor, saved: Tensor, wrt: int) -> Tensor:
    """Return the gradient by the classes of the shard, without communication."""
    here = _with_a_class(call)
    if call.name == "log_probs":
        gradient = _gradient_of_log_probs(here, shard, g, saved)
    elif call.has_labels:
        of = _gradient_of_labels if call.q_kind == LOGITS else _gradient_of_picks
        gradient = of(here, shard, g, saved)
    else:
        smoothed, factor = _smoothed(here, shard)
        gradient = smoothed.backward(g, _totals_times(factor, saved), wrt)
    return gradient.narrow(call.class_dim, 0, shard.size)


def _with_a_class(call: RowCall) -> RowCall:
    """The call itself or, on a rank without classes, one with a class of probability 0."""
    if call.classes > 0:
        return call

    def one_class(x: Tensor, kind: int) -> Tensor:
        if kind == LABELS:
            return x
        shape = list(x.shape)
        shape[call.class_dim] = 1
        return x.new_full(shape, -inf if kind in (LOG_PROBS, LOGITS) else 0)

    return replace(
        call,
        p=one_class(call.p, call.p_kind),
        q=None if call.q is None else one_class(call.q, call.q_kind),
        weight=None if call.weight is None else call.weight.new_zeros(1),
    )


def _times0(p: Tensor, x: Tensor) -> Tensor:
    """p x, and 0 where p is."""
    return torch.where(p == 0, 0.0, p * x)


def _smoothed(call: RowCall, shard: ClassShard) -> tuple[RowCall, float]:
    """Return the call that smooths over all classes, and by what its target is too large.

    A row op spreads its label smoothing over the classes it sees, which are not all. Another
    smoothing gives the same proportions, and the scale of the call makes good for the size.
    """
    s = call.label_smoothing
    if s == 0:
        return call, 1.0
    seen = s * shard.size / shard.classes
    factor = 1 / (1 - s + seen) if seen else 1.0
    return replace(call, label_smoothing=factor * seen, scale=call.scale / factor), factor


def _totals_times(factor: float, saved: Tensor) -> Tensor:
    if factor == 1:
        return saved
    operands = _saved(saved)
    return _together([x.z for x in operands], [x.total * factor for x in operands])


def _normalized(call: RowCall, shard: ClassShard, local: Sequence[Normalizer]) -> list[Normalizer]:
    """The normalizer of whole rows for each operand, given that of the local classes."""
    kinds = (call.p_kind, call.q_kind)[: len(local)]
    is_logits = [kind == LOGITS for kind in kinds]
    if not any(is_logits):
        return list(local)
    logits = [z for z, wanted in zip(local, is_logits, strict=True) if wanted]
    whole = shard.normalizer(Normalizer(*map(torch.stack, zip(*logits, strict=True))))
    of_logits = iter(zip(*whole, strict=True))
    return [
        Normalizer(*next(of_logits)) if wanted else z
        for z, wanted in zip(local, is_logits, strict=True)
    ]


def _expectation(call: RowCall, shard: ClassShard) -> tuple[Tensor, Tensor]:
    """A score that is linear in the logarithms: the local classes are read once."""
    smoothed, factor = _smoothed(call, shard)
    value, saved = smoothed.forward(torch.float64)
    numbers = torch.cat([value[None], _totals_times(1 / factor, saved)])
    local, *of_operands = all_gathered(numbers, shard.groups).unbind(1)
    operands = _saved(torch.stack(of_operands))
    z, between, part = _between(call, operands)
    # Logits that are all -inf state no distribution, but may be part of one.
    empty = torch.stack([x.log == -inf for x in operands]).any(0)

    def mean(numbers: Tensor, left_out: Tensor) -> Tensor:
        return torch.where(left_out, 0.0, part * numbers).sum(0)

    value = mean(local, empty | (part == 0)) + between
    # How the value of a shard moves with log p, and log q, of all its classes.
    by_p = mean(operands[0].total - local, empty | (part == 0) | local.isinf())
    return value, _together(z, [value + by_p, *(mean(x.total, part == 0) for x in operands[1:])])


def _between(call: RowCall, operands: Sequence[Saved]) -> tuple[list[Normalizer], Tensor, Tensor]:
    """Return z of whole rows, the value of the rows of shards, and by what p of a shard shrinks."""
    highest = [x.high.amax(0) for x in operands]
    logits = [(x.high - high) + x.log for x, high in zip(operands, highest, strict=True)]
    one = torch.ones_like(logits[0])
    if LOGITS not in (call.p_kind, call.q_kind)[: len(operands)]:  # all of `logits` is 0
        return [Normalizer(high, high) for high in highest], torch.zeros_like(highest[0]), one
    p_is_logits = call.p_kind == LOGITS
    rows = RowCall(
        name=call.name,
        dim=0,
        # Other kinds of p, which only a cross-entropy has here, weight by their totals.
        p=logits[0] if p_is_logits else -operands[1].total,
        q=logits[1] if len(logits) == 2 else None,
        p_kind=LOGITS if p_is_logits else WEIGHTS,
        q_kind=LOGITS if call.q_kind == LOGITS else LOG_PROBS,
    )
    value, saved = rows.forward(torch.float64)
    shares = _saved(saved)
    z = [Normalizer(high, x.high + x.log) for high, x in zip(highest, shares, strict=True)]
    return z, value, shares[0].z.taken_from(logits[0]).exp() if p_is_logits else one


def _terms(call: RowCall, shard: ClassShard) -> tuple[Tensor, Tensor]:
    """Any other value: the local classes are read once for z and once for their terms."""
    if call.p.dim() == 1:
        q = None if call.q is None else call.q[None]
        value, saved = _terms(replace(call, p=call.p[None], q=q, dim=1), shard)
        return value[0], saved[:, 0]
    local = [_log_normalizer(call, call.p, call.p_kind)]
    if call.q is not None:
        local.append(_log_normalizer(call, call.q, call.q_kind))
    z = _normalized(call, shard, local)
    longest = max((d for d in range(call.p.dim()) if d != call.class_dim), key=call.p.size)
    blocks = [_numbers(block) for block in _blocks(call, z, longest)]
    numbers = torch.cat(blocks, longest + (longest < call.class_dim))
    value, *totals = all_reduced(numbers, "sum", shard.groups).unbind()
    if call.is_divergence and call.is_linear:
        *totals, mass_of_q = totals
        value = _without_rounding_of_totals(call, value, -totals[1], mass_of_q)
    elif call.is_divergence:  # no term is negative
        value = value.clamp_min(0)
    return value, _together(z, totals)


def _entropy_of(call: RowCall, logits: Tensor) -> RowCall:
    return RowCall(
        name="entropy", dim=call.class_dim, p=logits, p_kind=LOGITS, temperature=call.temperature
    )


def _log_normalizer(call: RowCall, x: Tensor, kind: int) -> Normalizer:
    if kind != LOGITS:
        zero = torch.zeros_like(x.select(call.class_dim, 0), dtype=torch.float64)
        return Normalizer(zero, zero)
    (saved,) = _saved(_entropy_of(call, x).forward(torch.float64)[1])
    return saved.z


def _blocks(call: RowCall, z: Sequence[Normalizer], dim: int) -> Iterator[RowCall]:
    """The call on blocks of its rows along `dim`, in float64, with logits as log-probabilities.

    These blocks are the one copy of elements that class shards need. In a float type, a divergence
    of nearly equal distributions would be lost in the rounding of its terms.
    """
    step = max(1, call.p.size(dim) * _BLOCK // max(1, call.p.numel()))
    p_kind, q_kind = (LOG_PROBS if kind == LOGITS else kind for kind in (call.p_kind, call.q_kind))
    block = replace(call, dim=call.class_dim, p_kind=p_kind, q_kind=q_kind, temperature=1.0)

    def split(x: Tensor, kind: int, z: Normalizer) -> Iterator[Tensor]:
        high, log = (number.unsqueeze(call.class_dim).split(step, dim) for number in z)
        for part, *of_part in zip(x.split(step, dim), high, log, strict=True):
            numbers = call.tempered(part) if kind == LOGITS else part.double()
            yield Normalizer(*of_part).taken_from(numbers)

    q = repeat(None) if call.q is None else split(call.q, call.q_kind, z[1])
    for p_block, q_block in zip(split(call.p, call.p_kind, z[0]), q, strict=False):
        yield replace(block, p=p_block, q=q_block)


def _numbers(block: RowCall) -> Tensor:
    """What is summed over the ranks for each row: value, totals, the mass of q where it matters."""
    value, saved = block.forward(torch.float64)
    numbers = [value, *(operand.total for operand in _saved(saved))]
    if block.is_divergence and block.is_linear and block.q is not None:
        q = block.q.exp() if block.q_kind == LOG_PROBS else block.q
        numbers.append(q.sum(block.class_dim))
    return torch.stack(numbers)


def _without_rounding_of_totals(call: RowCall, value: Tensor, p: Tensor, q: Tensor) -> Tensor:
    """The divergence, as the kernels return it, where the totals of p and q count as equal."""
    assert call.q is not None
    of = [(call.p.dtype, call.p_kind), (call.q.dtype, call.q_kind)]
    rounding = max(0.0 if kind == LOGITS else 8 * torch.finfo(dtype).eps for dtype, kind in of)
    equal = (p - q).abs() <= rounding * torch.maximum(p, q)
    return torch.where(equal, (value - p + q).clamp_min(0), value)


def _local_labels(call: RowCall, shard: ClassShard, elsewhere: int) -> tuple[Tensor, Tensor]:
    """Return the labels as local classes, and which of them are; `elsewhere` for the other ranks'.

    A label that is out of range stays so, and the kernel says it.
    """
    label = call.p.to(torch.int64)
    counts = call.p != call.ignore_index
    local = label - shard.offset
    here = counts & (local >= 0) & (local < shard.size)
    exists = (label >= 0) & (label < shard.classes)
    local = torch.where(here, local, torch.where(exists, elsewhere, label))
    return torch.where(counts, local, _IGNORED), here


def _labels(call: RowCall, shard: ClassShard) -> tuple[Tensor, Tensor]:
    """A label takes -log q of one class, smoothing the mean of all."""
    s = call.label_smoothing
    smooth = s != 0
    label, here = _local_labels(call, shard, elsewhere=0)
    value, saved = replace(
        call,
        p=label,
        weight=call.weight if smooth else None,
        ignore_index=_IGNORED,
        label_smoothing=float(smooth),
    ).forward(torch.float64)
    local = _saved(saved)[1].z
    z = shard.normalizer(local)
    shift = z.minus(local)

    index = torch.where(here, label, 0)
    weight = torch.ones(1) if call.weight is None else call.weight.double()
    numbers = {"x": torch.where(here, call.logits_at(index), 0.0)}
    if call.weight is not None:
        numbers["weight"] = torch.where(here, weight[index], 0.0)
    if smooth:
        total = weight.sum() if call.weight is not None else shift.new_tensor(shard.size)
        total = total.expand_as(shift)
        # The kernel's mean, of -log q with the local normalizer, as a sum with that of the row.
        surprise = call.classes * value + _times0(total, shift)
        empty = local.log == -inf
        numbers["surprise"] = torch.where(empty, _times0(total, shift), surprise)
        numbers["total"] = total
    of_row = dict(zip(numbers, shard.sums(*numbers.values()), strict=True))

    peak = (1 - s) * of_row.get("weight", torch.ones_like(shift))
    value, mass = _times0(peak, -z.taken_from(of_row["x"])), peak
    if smooth:
        value = value + s / shard.classes * of_row["surprise"]
        mass = mass + s / shard.classes * of_row["total"]
    counts = call.p != call.ignore_index
    value = torch.where(counts, torch.where(z.log.isnan(), z.log, value), 0.0)
    zero = torch.zeros_like(mass)
    return value, _together((Normalizer(zero, zero), z), (zero, -mass))


def _gradient_of_labels(call: RowCall, shard: ClassShard, g: Tensor, saved: Tensor) -> Tensor:
    smoothed, factor = _smoothed(call, shard)
    label, here = _local_labels(call, shard, elsewhere=0)
    labelled = replace(smoothed, p=label, ignore_index=_IGNORED)
    gradient = labelled.backward(g, _totals_times(factor, saved), 1)

    # A label of another rank the kernel has taken for class 0, whose gradient is put right here.
    s = call.label_smoothing
    index = torch.where(here, label, 0)
    weight = 1.0 if call.weight is None else call.weight.double()[index]
    operand = _saved(saved)[1]
    q = operand.z.taken_from(call.logits_at(index)).exp()
    target = weight * (s / shard.classes + (1 - s) * here.double())
    by_x = call.scale / call.temperature * g * (-operand.total * q - target)
    by_x = torch.where(call.p != call.ignore_index, by_x, 0.0).to(gradient.dtype)
    dim = call.class_dim
    return gradient.scatter_(dim, index.unsqueeze(dim), by_x.unsqueeze(dim))


def _with_local_labels(call: RowCall, shard: ClassShard) -> RowCall:
    label, _ = _local_labels(call, shard, elsewhere=_IGNORED)
    return replace(call, p=label, ignore_index=_IGNORED)


def _picks(call: RowCall, shard: ClassShard) -> tuple[Tensor, Tensor]:
    """A label of log-probabilities takes one class: another rank's row counts for nothing."""
    value, saved = _with_local_labels(call, shard).forward(torch.float64)
    (value,) = shard.sums(value)
    return value, torch.zeros_like(saved)


def _gradient_of_picks(call: RowCall, shard: ClassShard, g: Tensor, saved: Tensor) -> Tensor:
    return _with_local_labels(call, shard).backward(g, saved, 1)


def check_labels(labels: Tensor, classes: int, ignore_index: int) -> None:
    """Raise the row op's IndexError for labels (rows, ...) out of range, reading nothing else."""
    log_q = torch.zeros((), device=labels.device)
    shape = [labels.size(0), classes, *labels.shape[1:]] if labels.dim() else [classes]
    RowCall(
        name="cross_entropy",
        dim=min(labels.dim(), 1),
        p=labels,
        q=log_q.expand(shape),
        p_kind=LABELS,
        q_kind=LOG_PROBS,
        ignore_index=ignore_index,
    ).forward()


def _log_probs(call: RowCall, shard: ClassShard) -> tuple[Tensor, Tensor]:
    """The three results of `log_probs` for labels and logits, in a last dimension."""
    entropy, saved = _expectation(_entropy_of(call, call.full), shard)
    z = _saved(saved)[0].z
    label, here = _local_labels(call, shard, elsewhere=0)
    own = call.logits_at(torch.where(here, label, 0))
    (x,) = shard.sums(torch.where(here, own, 0.0))
    results = torch.stack([z.taken_from(x), entropy, z.high + z.log], -1)
    counts = call.p != call.ignore_index
    return torch.where(counts.unsqueeze(-1), results, 0.0), saved


def _gradient_of_log_probs(call: RowCall, shard: ClassShard, g: Tensor, saved: Tensor) -> Tensor:
    """The log-normalizer is the logit of the label less its log-probability."""
    dtype, dim = call.full.dtype, call.class_dim
    counts = call.p != call.ignore_index
    by_log_prob, by_entropy, by_z = torch.where(counts.unsqueeze(-1), g, 0.0).unbind(-1)
    # So that the sum is rounded once.
    call = replace(call, q=call.full.to(torch.promote_types(dtype, torch.float32)))
    gradient = _entropy_of(call, call.full).backward(by_entropy, saved, 0)
    (entropy,) = _saved(saved)
    zero = torch.zeros_like(entropy.total)
    of_labels = _together((Normalizer(zero, zero), entropy.z), (zero, zero - 1))
    cross_entropy = replace(call, name="cross_entropy")
    gradient += _gradient_of_labels(cross_entropy, shard, by_z - by_log_prob, of_labels)
    label, here = _local_labels(call, shard, elsewhere=0)
    by_label = torch.where(here, by_z / call.temperature, 0.0).to(gradient.dtype)
    gradient.scatter_add_(dim, torch.where(here, label, 0).unsqueeze(dim), by_label.unsqueeze(dim))
    return gradient.masked_fill_(~counts.unsqueeze(dim), 0).to(dtype)
