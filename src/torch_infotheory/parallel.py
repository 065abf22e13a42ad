"""Measures and losses of distributions whose classes lie on several ranks.

Under tensor parallelism (vocabulary parallelism) each rank of a process group has the logits of
some of the classes, or the rows of a weight that make them of hidden states. The functions here
take such local shards as they are. A rank reads its own classes only. The ranks exchange a few
numbers per row, in up to three collectives, and nothing in the backward pass. Every rank gets the
whole value, and the gradient of its own shard::

    loss = parallel.cross_entropy_loss(local_logits, labels, group=tensor_parallel_group)

The functions are those of `torch_infotheory` and of `torch_infotheory.nn.functional`, where
`cross_entropy_loss` is `cross_entropy`, for one class dimension, with the same arguments, values,
gradients and errors. DTensors do not need them: the functions of the package take these as they
are.

The functions whose names begin with ``linear_`` make the logits of this rank's classes from hidden
states, which are the same on all ranks, a block of rows at a time::

    loss = parallel.linear_cross_entropy(hidden, local_weight, labels, group=tensor_parallel_group)

They send the numbers of each row block by block. In the backward pass they send the gradient of the
hidden states, and of a teacher's, in one all-reduce each, in float32 at least; the gradient of a
weight is that of the shard, and stays on its rank.

Shared arguments:
    p, q, logits: The classes of this rank. The `input` of `cross_entropy_loss` likewise.
    input: Hidden states, shape (..., H), the same on all ranks.
    linear_weight, linear_bias: The classes of this rank, shapes (C_local, H) and (C_local). A
        teacher's weight, bias, logits and probabilities likewise.
    target, index, mask: Class indices count all classes, and are the same on all ranks.
    group: The process group whose ranks share the classes, in the order of the ranks; None for the
        default group.
    classes: The number of classes on all ranks together. Where it is given, the shards have to be
        those of `torch.chunk` and DTensor: ceil(classes / ranks) classes each, as far as they
        reach. None allows for any shards, and asks the other ranks for their sizes.

Gradient:
    First derivatives, in reverse mode. A second derivative, forward mode and vmap raise
    NotImplementedError. By class weights there is none: RuntimeError.

Raises:
    IndexError: "Target n is out of bounds." on every rank, before anything is multiplied.
    RuntimeError: If there is no class at all, or a rank does not have as many as ``classes`` says.

Example:
    With one rank.

    >>> import torch, torch_infotheory
    >>> import torch.distributed as dist
    >>> dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    >>> hidden, local_weight = torch.ones(3, 2), torch.ones(4, 2)
    >>> torch_infotheory.parallel.linear_entropy(hidden, local_weight, base=2, classes=4)
    tensor(2.)
    >>> dist.destroy_process_group()
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NoReturn, TypeAlias, TypedDict

import torch
import torch.distributed as dist
from torch import Tensor
from torch.nn import _reduction as _Reduction

from torch_infotheory import _arguments, _class_shards, language_models
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
from torch_infotheory._linear_shards import LinearLoss, autocast, on_meta
from torch_infotheory.language_models import LogProbs
from torch_infotheory.measures import Kind, _kinds_of
from torch_infotheory.nn import functional

if TYPE_CHECKING:
    from typing_extensions import Unpack

__all__ = [
    "entropy",
    "cross_entropy",
    "kl_divergence",
    "js_divergence",
    "cross_entropy_loss",
    "log_probs",
    "linear_cross_entropy",
    "linear_entropy",
    "linear_kl_div",
    "linear_js_div",
    "linear_log_probs",
]

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
    labels = not target.is_floating_point()
    if labels and input.dim() == 1 and target.numel() == 1:  # taken by torch, too, for one label
        target = target.reshape(())
    local_weight = None if weight is None else _local_weight(op, weight, shard)
    # The op knows torch's rules, and says what is wrong.
    like = _ops.cross_entropy_loss(
        *map(on_meta, (input, target, local_weight)),
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
        total = _class_shards.total_weight
        count = total(target, weight, ignore_index) if labels else value.numel()
        value = value.sum() / count if code == MEAN else value.sum()
    return value.to(like.dtype)


def log_probs(
    logits: Tensor,
    index: Tensor,
    dim: int = -1,
    *,
    temperature: float = 1.0,
    ignore_index: int = -100,
    dtype: torch.dtype | None = None,
    group: Any = None,
    classes: int | None = None,
) -> LogProbs:
    """Return log-probability, entropy and log-normalizer; see `torch_infotheory.log_probs`.

    `index` counts all classes, and is the same on all ranks.
    """
    dim = _arguments.integer("log_probs", "dim", dim)
    logits = _arguments.tensor("log_probs", "logits", logits)
    shard = _shard_of("log_probs", logits, dim, group, classes)
    dim %= logits.dim()
    shape = [shard.classes if d == dim else size for d, size in enumerate(logits.shape)]
    like = language_models.log_probs(
        logits.new_empty(shape, device="meta"),
        on_meta(index),
        dim,
        temperature=temperature,
        ignore_index=ignore_index,
        dtype=_type_of(logits, dtype),
    )
    _class_shards.check_labels(index, shard.classes, ignore_index)
    options = RowOptions(
        name="log_probs",
        dim=dim,
        p_kind=LABELS,
        q_kind=LOGITS,
        ignore_index=ignore_index,
        temperature=temperature,
    )
    results = _rows(index, logits, None, options, shard).to(like[0].dtype)
    return LogProbs(*results.unbind(-1))


def linear_cross_entropy(
    input: Tensor,
    linear_weight: Tensor,
    target: Tensor,
    *,
    linear_bias: Tensor | None = None,
    weight: Tensor | None = None,
    reduction: str = "mean",
    ignore_index: int | None = None,
    label_smoothing: float = 0.0,
    options: Any = None,
    softcap: float | None = None,
    temperature: float = 1.0,
    dtype: torch.dtype | None = None,
    group: Any = None,
    classes: int | None = None,
) -> Tensor:
    """Return the cross-entropy; see `torch_infotheory.nn.functional.linear_cross_entropy`.

    `linear_weight` and `linear_bias` are of this rank's classes, and so are class probabilities;
    class indices count all classes. `weight` has a factor for each of all classes.
    """
    return _linear(
        functional.linear_cross_entropy,
        group,
        classes,
        input=input,
        linear_weight=linear_weight,
        target=target,
        linear_bias=linear_bias,
        weight=weight,
        reduction=reduction,
        ignore_index=ignore_index,
        label_smoothing=label_smoothing,
        options=options,
        softcap=softcap,
        temperature=temperature,
        dtype=dtype,
    )


def linear_entropy(
    input: Tensor,
    linear_weight: Tensor,
    *,
    linear_bias: Tensor | None = None,
    softcap: float | None = None,
    temperature: float = 1.0,
    mask: Tensor | None = None,
    base: float | None = None,
    reduction: str = "mean",
    dtype: torch.dtype | None = None,
    group: Any = None,
    classes: int | None = None,
) -> Tensor:
    """Return the entropy; see `torch_infotheory.nn.functional.linear_entropy`.

    `linear_weight` and `linear_bias` are of this rank's classes.
    """
    return _linear(
        functional.linear_entropy,
        group,
        classes,
        input=input,
        linear_weight=linear_weight,
        linear_bias=linear_bias,
        softcap=softcap,
        temperature=temperature,
        mask=mask,
        base=base,
        reduction=reduction,
        dtype=dtype,
    )


def linear_kl_div(
    input: Tensor,
    linear_weight: Tensor,
    target: Tensor,
    *,
    linear_bias: Tensor | None = None,
    target_weight: Tensor | None = None,
    target_bias: Tensor | None = None,
    kind: Kind = "logits",
    direction: str = "forward",
    softcap: float | None = None,
    temperature: float = 1.0,
    mask: Tensor | None = None,
    reduction: str = "mean",
    dtype: torch.dtype | None = None,
    group: Any = None,
    classes: int | None = None,
) -> Tensor:
    """Return the divergence from a teacher; see `torch_infotheory.nn.functional.linear_kl_div`.

    The weights and biases, and a target that is no hidden states, are of this rank's classes.
    """
    return _linear(
        functional.linear_kl_div,
        group,
        classes,
        input=input,
        linear_weight=linear_weight,
        target=target,
        linear_bias=linear_bias,
        target_weight=target_weight,
        target_bias=target_bias,
        kind=kind,
        direction=direction,
        softcap=softcap,
        temperature=temperature,
        mask=mask,
        reduction=reduction,
        dtype=dtype,
    )


def linear_js_div(
    input: Tensor,
    linear_weight: Tensor,
    target: Tensor,
    *,
    linear_bias: Tensor | None = None,
    target_weight: Tensor | None = None,
    target_bias: Tensor | None = None,
    kind: Kind = "logits",
    weight: float = 0.5,
    softcap: float | None = None,
    temperature: float = 1.0,
    mask: Tensor | None = None,
    reduction: str = "mean",
    dtype: torch.dtype | None = None,
    group: Any = None,
    classes: int | None = None,
) -> Tensor:
    """Return the Jensen-Shannon divergence; see `torch_infotheory.nn.functional.linear_js_div`.

    The weights and biases, and a target that is no hidden states, are of this rank's classes.
    """
    return _linear(
        functional.linear_js_div,
        group,
        classes,
        input=input,
        linear_weight=linear_weight,
        target=target,
        linear_bias=linear_bias,
        target_weight=target_weight,
        target_bias=target_bias,
        kind=kind,
        weight=weight,
        softcap=softcap,
        temperature=temperature,
        mask=mask,
        reduction=reduction,
        dtype=dtype,
    )


def linear_log_probs(
    input: Tensor,
    linear_weight: Tensor,
    index: Tensor,
    *,
    linear_bias: Tensor | None = None,
    softcap: float | None = None,
    temperature: float = 1.0,
    ignore_index: int = -100,
    dtype: torch.dtype | None = None,
    group: Any = None,
    classes: int | None = None,
) -> LogProbs:
    """Return the numbers of `log_probs`; see `torch_infotheory.nn.functional.linear_log_probs`.

    `linear_weight` and `linear_bias` are of this rank's classes. The logits are made once, and once
    more for their gradient.
    """
    results = _linear(
        functional.linear_log_probs,
        group,
        classes,
        input=input,
        linear_weight=linear_weight,
        index=index,
        linear_bias=linear_bias,
        softcap=softcap,
        temperature=temperature,
        ignore_index=ignore_index,
        dtype=dtype,
    )
    return LogProbs(*results.unbind(-1))


def _linear(function: Callable[..., Any], group: Any, classes: int | None, **given: Any) -> Tensor:
    op = function.__name__
    linear_weight = _arguments.tensor(op, "linear_weight", given["linear_weight"])
    _arguments.tensor(op, "input", given["input"])
    shard = _shard_of(op, linear_weight, 0, group, classes)
    class_weight = given.get("weight")  # or the share of a teacher
    if isinstance(class_weight, Tensor):
        given["weight"] = _local_weight(op, class_weight, shard)
    given = autocast(given)
    loss = LinearLoss(f"parallel.{op}", function, given, shard, class_weight)
    return loss(given).to(loss.like.dtype)


def _local_weight(op: str, weight: Tensor, shard: ClassShard) -> Tensor:
    if weight.numel() != shard.classes:
        raise RuntimeError(
            f"{op}: expected one weight for each of {shard.classes} classes, "
            f"got weight {list(weight.shape)}"
        )
    return weight.narrow(0, shard.offset, shard.size)


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
        *map(on_meta, operands),
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
        return ClassShard(sum(sizes[:rank]), size, sum(sizes), max(sizes), (group,))
    offset, expected = _class_shards.chunk(classes, ranks, rank)
    if size != expected:
        raise RuntimeError(
            f"{op}: expected {expected} of {classes} classes on rank {rank} of {ranks}, got {size}"
        )
    return ClassShard(offset, size, classes, _class_shards.chunk(classes, ranks, 0)[1], (group,))


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
