"""Measures and the cross-entropy loss of distributions whose classes lie on several ranks.

Under tensor parallelism (vocabulary parallelism) each rank of a process group has the logits of
some of the classes. The functions here take such local shards as they are. A rank reads its own
classes only; what travels are a few numbers per row, in three all-reduces, and nothing in the
backward pass. Every rank gets the whole value, and the gradient of its own shard::

    loss = parallel.cross_entropy_loss(local_logits, labels, group=tensor_parallel_group)

The functions are those of `torch_infotheory`, for one class dimension, and the loss is
`torch_infotheory.nn.functional.cross_entropy`, with the same arguments, values, gradients and
errors. DTensors do not need them: the functions of the package take these as they are.

Shared arguments:
    p, q, input: The classes of this rank.
    group: The process group whose ranks share the classes, in the order of the ranks; None for the
        default group.
    classes: The number of classes on all ranks together. Where it is given, the shards have to be
        those of `torch.chunk` and DTensor: ceil(classes / ranks) classes each, as far as they
        reach. None allows for any shards, and asks the other ranks for their sizes.

Gradient:
    First derivatives, in reverse mode. A second derivative, forward mode and vmap raise
    NotImplementedError.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NoReturn, TypeAlias, TypedDict

import torch
import torch.distributed as dist
from torch import Tensor
from torch.nn import _reduction as _Reduction

from torch_infotheory import _arguments, _class_shards
from torch_infotheory._class_shards import (
    LABELS,
    LOGITS,
    MEAN,
    NONE,
    WEIGHTS,
    ClassShard,
    RowCall,
    RowOptions,
)
from torch_infotheory.measures import Kind, _kinds_of

if TYPE_CHECKING:
    from typing_extensions import Unpack

__all__ = ["entropy", "cross_entropy", "kl_divergence", "js_divergence", "cross_entropy_loss"]

Kinds: TypeAlias = Kind | tuple[Kind, Kind]

_ops = torch.ops.torch_infotheory
_KIND_CODES = {name: code for code, name in enumerate(("probs", "log_probs", "logits"))}


class Options(TypedDict, total=False):
    """What every measure takes besides its operands, and hands on; `_measure` has the defaults."""

    base: float | None
    keepdim: bool
    dtype: torch.dtype | None
    group: Any
    classes: int | None


def entropy(
    p: Tensor, dim: int = -1, *, kind: Kind = "probs", **options: Unpack[Options]
) -> Tensor:
    """Return H(p); see `torch_infotheory.entropy`."""
    return _measure("entropy", (p,), dim, (kind,), **options)


def cross_entropy(
    p: Tensor, q: Tensor, dim: int = -1, *, kind: Kinds = "probs", **options: Unpack[Options]
) -> Tensor:
    """Return H(p, q); see `torch_infotheory.cross_entropy`."""
    return _measure("cross_entropy", (p, q), dim, _kinds_of(kind), **options)


def kl_divergence(
    p: Tensor, q: Tensor, dim: int = -1, *, kind: Kinds = "probs", **options: Unpack[Options]
) -> Tensor:
    """Return D(p || q); see `torch_infotheory.kl_divergence`."""
    return _measure("kl_divergence", (p, q), dim, _kinds_of(kind), **options)


def js_divergence(
    p: Tensor, q: Tensor, dim: int = -1, *, kind: Kinds = "probs", **options: Unpack[Options]
) -> Tensor:
    """Return JS(p, q); see `torch_infotheory.js_divergence`.

    Logits are widened to float64 on the way, a block of rows at a time.
    """
    return _measure("js_divergence", (p, q), dim, _kinds_of(kind), parameter=0.5, **options)


def cross_entropy_loss(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    ignore_index: int = -100,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
    *,
    dtype: torch.dtype | None = None,
    group: Any = None,
    classes: int | None = None,
) -> Tensor:
    """Return the cross-entropy of logits; see `torch_infotheory.nn.functional.cross_entropy`.

    `target` has class indices, which count all classes and are the same on all ranks; or the class
    probabilities of this rank's classes. `weight` has a factor for each of all classes.
    """
    op, code = "cross_entropy_loss", _Reduction.get_enum(reduction)
    dim = min(1, input.dim() - 1)
    shard = _shard_of(op, input, dim, group, classes)
    if weight is not None and weight.numel() != shard.classes:
        raise RuntimeError(
            f"{op}: expected one weight for each of {shard.classes} classes, "
            f"got weight {list(weight.shape)}"
        )
    labels = not target.is_floating_point()
    if labels and input.dim() == 1 and target.numel() == 1:  # taken by torch, too, for one label
        target = target.reshape(())
    local_weight = None if weight is None else weight.narrow(0, shard.offset, shard.size)
    # The op knows torch's rules, and says what is wrong.
    like = _ops.cross_entropy_loss(
        *map(_on_meta, (input, target, local_weight)),
        code,
        ignore_index,
        label_smoothing,
        dtype=_type_of(input, dtype),
    )
    options = RowOptions(
        name="cross_entropy",
        dim=dim,
        p_kind=LABELS if labels else WEIGHTS,
        q_kind=LOGITS,
        ignore_index=ignore_index,
        label_smoothing=max(label_smoothing, 0.0),
    )
    value = _rows(target, input, local_weight, options, shard)
    if code != NONE:
        count = _labels_in_mean(target, weight, ignore_index) if labels else value.numel()
        value = value.sum() / count if code == MEAN else value.sum()
    return value.to(like.dtype)


def _labels_in_mean(target: Tensor, weight: Tensor | None, ignore_index: int) -> Tensor:
    counts = target != ignore_index
    if weight is None:
        return counts.sum(dtype=torch.float64)
    return torch.where(counts, weight.double()[torch.where(counts, target, 0).long()], 0.0).sum()


def _measure(
    name: str,
    operands: tuple[Tensor, ...],
    dim: int,
    kinds: tuple[Any, ...],
    *,
    base: float | None = None,
    keepdim: bool = False,
    dtype: torch.dtype | None = None,
    group: Any = None,
    classes: int | None = None,
    parameter: float = 0.0,
) -> Tensor:
    dim = _arguments.integer(name, "dim", dim, "one class dimension")
    operands = tuple(_arguments.tensor(name, *given) for given in zip("pq", operands, strict=False))
    kinds = tuple(_arguments.kind(name, "kind", kind) for kind in kinds)
    base = None if base is None else _arguments.number(name, "base", base)
    # The op checks the arguments, and knows the shape and the type of the value.
    like = getattr(_ops, name)(
        *map(_on_meta, operands),
        dim,
        **dict(zip(("kind", "q_kind"), kinds, strict=False)),
        base=base,
        keepdim=keepdim,
        dtype=_type_of(operands[0], dtype),
    )
    p, *q = torch.broadcast_tensors(*operands)
    options = RowOptions(
        name=name,
        dim=dim,
        p_kind=_KIND_CODES[kinds[0]],
        q_kind=_KIND_CODES[kinds[-1]],
        scale=1.0 if base is None else 1 / math.log(base),
        parameter=parameter,
    )
    shard = _shard_of(name, p, dim, group, classes)
    value = _rows(p, q[0] if q else None, None, options, shard)
    return value.to(like.dtype).view(like.shape)


def _on_meta(x: Tensor | None) -> Any:
    return x if x is None else torch.empty(x.shape, dtype=x.dtype, device="meta")


def _type_of(x: Tensor, dtype: torch.dtype | None) -> torch.dtype | None:
    """The type asked for, by the caller or by autocast."""
    if dtype is None and torch.is_autocast_enabled(x.device.type) and x.dtype != torch.float64:
        return torch.float32
    return dtype


def _shard_of(op: str, x: Tensor, dim: int, group: Any, classes: int | None) -> ClassShard:
    group = dist.group.WORLD if group is None else group
    rank, ranks, size = dist.get_rank(group), dist.get_world_size(group), x.size(dim)
    if classes is None:
        mine = torch.zeros(ranks, dtype=torch.int64, device=x.device)
        mine[rank] = size
        sizes = _class_shards.all_reduced(mine, "sum", (group,)).tolist()
        if sum(sizes) == 0:
            raise RuntimeError(f"{op}: expected at least one class, got {list(x.shape)}")
        return ClassShard(sum(sizes[:rank]), size, sum(sizes), (group,))
    offset, expected = _class_shards.chunk(classes, ranks, rank)
    if size != expected:
        raise RuntimeError(
            f"{op}: expected {expected} of {classes} classes on rank {rank} of {ranks}, got {size}"
        )
    return ClassShard(offset, size, classes, (group,))


def _rows(
    p: Tensor,
    q: Tensor | None,
    weight: Tensor | None,
    options: RowOptions,
    shard: ClassShard,
) -> Tensor:
    """The value of every row, in float64."""
    if weight is not None and weight.requires_grad and torch.is_grad_enabled():
        raise RuntimeError(f"parallel.{options.name}: not differentiable with respect to weight")
    return _Rows.apply(p, q, weight, options, shard)[0]


class _Rows(torch.autograd.Function):
    @staticmethod
    def forward(
        p: Tensor,
        q: Tensor | None,
        weight: Tensor | None,
        options: RowOptions,
        shard: ClassShard,
    ) -> tuple[Tensor, Tensor]:
        call = RowCall(p=p, q=q, weight=weight, **vars(options))
        return _class_shards.forward(call, shard, torch.float64)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
        p, q, weight, ctx.options, ctx.shard = inputs
        ctx.save_for_backward(p, q, weight, output[1])
        ctx.mark_non_differentiable(output[1])

    @staticmethod
    def backward(ctx: Any, g: Tensor, _: Any) -> tuple[Tensor | None, ...]:
        of = (g, *ctx.saved_tensors, ctx.options, ctx.shard)
        p, q = (_Gradient.apply(*of, i) if ctx.needs_input_grad[i] else None for i in (0, 1))
        return p, q, None, None, None

    @staticmethod
    def jvp(ctx: Any, *tangents: Any) -> NoReturn:
        raise NotImplementedError(f"parallel.{ctx.options.name}: no forward-mode derivative")

    @staticmethod
    def vmap(info: Any, in_dims: Any, *inputs: Any) -> NoReturn:
        raise NotImplementedError(f"parallel.{inputs[3].name}: no vmap")


class _Gradient(torch.autograd.Function):
    @staticmethod
    def forward(
        g: Tensor,
        p: Tensor,
        q: Tensor | None,
        weight: Tensor | None,
        saved: Tensor,
        options: RowOptions,
        shard: ClassShard,
        wrt: int,
    ) -> Tensor:
        call = RowCall(p=p, q=q, weight=weight, **vars(options))
        return _class_shards.backward(call, shard, g, saved, wrt)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        ctx.options = inputs[5]

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> NoReturn:
        raise NotImplementedError(f"parallel.{ctx.options.name}: no second derivative")

    @staticmethod
    def vmap(info: Any, in_dims: Any, *inputs: Any) -> NoReturn:
        raise NotImplementedError(f"parallel.{inputs[5].name}: no vmap of the backward pass")
