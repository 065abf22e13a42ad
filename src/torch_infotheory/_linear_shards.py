"""Losses from hidden states on one of several ranks, with its part of the rows and classes.

The op `_linear_loss` makes the logits of a block of rows, gives them to row ops and carries their
gradients on to the factors (csrc/dispatch/linear.cpp). Here it does so for the rows and classes of
this rank, while a mode of torch's dispatcher answers for the row ops by the algebra of class
shards. So blocks, soft caps, masks and sums are stated there alone. Between the ranks go the
numbers of each row that _class_shards.py reduces, block by block, and at the end of the backward
pass the gradient of the hidden states, whole.

Knows the op, class shards and autograd; must not know DTensor, nor how a row is reduced. Read next:
parallel.py, for tensors that are the local shards; _sharding.py, for DTensors.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from math import prod
from typing import Any, NoReturn

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from torch_infotheory import _class_shards
from torch_infotheory._class_shards import LABELS, MEAN, NONE, SUM, WEIGHTS, ClassShard, RowCall

# The operands of `_linear_loss`, by the arguments of the functions, in the order of
# csrc/dispatch/linear.h; those in front can have a gradient.
OPERANDS = (
    "input",
    "linear_weight",
    "linear_bias",
    "target",
    "target_weight",
    "target_bias",
    "weight",
    "mask",
)
DIFFERENTIABLE = OPERANDS[:6]

# The size of the logits of a block as in csrc/dispatch/linear.cpp, where they and their gradient
# together have twice as many bytes. There it depends on the classes of the rank alone, but ranks
# that reduce numbers block by block need blocks of the same rows.
_BLOCK_BYTES, _FEW_ROWS = 32 << 20, 16
_CROSS_ENTROPY = 0  # its place in LinearFormulas of csrc/dispatch/linear.h


@dataclass(frozen=True, kw_only=True)
class LinearOptions:
    """The options of `_linear_loss`, in the order of csrc/dispatch/linear.h."""

    present: int
    wanted: int
    formula: int
    model_is_p: int
    target_kind: int
    reduction: int
    ignore_index: int
    chunk: int
    label_smoothing: float
    scale: float
    softcap: float
    temperature: float
    parameter: float

    @classmethod
    def of(cls, ints: Sequence[int], floats: Sequence[float]) -> LinearOptions:
        values: Sequence[Any] = (*ints, *floats)
        return cls(**dict(zip((field.name for field in fields(cls)), values, strict=True)))

    @property
    def flat(self) -> tuple[list[int], list[float]]:
        values = list(vars(self).values())
        return values[:8], values[8:]

    @property
    def has_labels(self) -> bool:
        return self.target_kind == LABELS


def on_meta(x: Any) -> Any:
    return torch.empty(x.shape, dtype=x.dtype, device="meta") if isinstance(x, Tensor) else x


class _Captured(TorchDispatchMode):
    """Records the calls of `_linear_loss`."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[tuple[Any, ...]] = []

    def __torch_dispatch__(self, op: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if op is torch.ops.torch_infotheory._linear_loss.default:
            self.calls.append(args)
        return op(*args, **(kwargs or {}))


def autocast(given: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments with factors as autocast has them, and the type of the result."""
    device = given["input"].device.type
    if not torch.is_autocast_enabled(device):
        return dict(given)
    factors = [*OPERANDS[:3], *OPERANDS[4:6]]
    if given.get("target_weight") is not None:
        factors.append("target")
    dtype = torch.get_autocast_dtype(device)
    cast: dict[str, Any] = {
        name: x.to(dtype)
        for name in factors
        if isinstance(x := given.get(name), Tensor)
        and x.is_floating_point()
        and x.dtype != torch.float64
    }
    if given.get("dtype") is None and given["input"].dtype != torch.float64:
        cast["dtype"] = torch.float32
    return {**given, **cast}


class _Rows(TorchDispatchMode):
    """Answers for the row ops of a loss, block by block.

    In a backward pass there are `saved` and, but for that of a sum, `g`, of the rows that count.
    """

    def __init__(
        self, shard: ClassShard, of_log_probs: bool, saved: Tensor | None, g: Tensor | None
    ) -> None:
        super().__init__()
        self.shard, self.of_log_probs, self.saved, self.g = shard, of_log_probs, saved, g
        self.made: list[tuple[Tensor, Tensor]] = []
        self.begin = self.size = 0

    def __torch_dispatch__(self, op: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if op.namespace != "torch_infotheory":
            return op(*args, **(kwargs or {}))
        call, given = RowCall.bound(op, args, kwargs or {})
        call = replace(call, reduction=NONE)
        if call.q is not None and not call.p.is_floating_point():
            call = replace(call, p_kind=LABELS)
        if self.of_log_probs:
            call = replace(call, name="log_probs")
        in_parts = bool(self.shard.groups) or self.of_log_probs
        if "wrt" in given:
            saved, wrt = given["saved"], given["wrt"]
            g = saved.new_ones(saved.shape[1:])
            if self.g is not None:
                g = self.g.narrow(0, self.begin, self.size)
            if in_parts:
                return _class_shards.backward(call, self.shard, g, saved, wrt)
            return call.backward(g, saved, wrt)
        self.begin += self.size
        self.size = call.full.size(0)
        if self.saved is not None:
            saved = self.saved.narrow(1, self.begin, self.size)
        else:
            if in_parts:
                value, saved = _class_shards.forward(call, self.shard, torch.float64)
            else:
                value, saved = call.forward(torch.float64)
            self.made.append((value, saved))
        return saved.new_zeros(()), saved


class LinearLoss:
    """A loss from hidden states; `given` has the arguments of `function`, of this rank's classes.

    The value of `function` for tensors without memory says the shape and type of the result, and
    its call of `_linear_loss` what the arguments mean.
    """

    def __init__(
        self,
        name: str,
        function: Callable[..., Any],
        given: Mapping[str, Any],
        shard: ClassShard,
        class_weight: Tensor | None = None,
    ) -> None:
        self.name, self.shard, self.class_weight = name, shard, class_weight
        with _Captured() as captured:
            like = function(**{key: on_meta(x) for key, x in given.items()})
        self.of_log_probs = isinstance(like, tuple)
        self.like = like[0] if self.of_log_probs else like
        # The dimensions of what a row comes to.
        self.results = (3,) if self.of_log_probs else ()
        operands, ints, floats, _ = captured.calls[0]
        self.options = LinearOptions.of(ints, floats)
        if self.of_log_probs:  # the op calls those of a cross-entropy, and `_Rows` answers
            self.options = replace(self.options, formula=_CROSS_ENTROPY)
        names = (x for i, x in enumerate(OPERANDS) if self.options.present >> i & 1)
        self.shapes = {key: x.shape for key, x in zip(names, operands, strict=True)}

    @property
    def reduced(self) -> bool:
        return self.options.reduction != NONE

    def run(
        self,
        given: Mapping[str, Tensor],
        wanted: Sequence[str],
        saved: Tensor | None = None,
        g: Tensor | None = None,
    ) -> tuple[Tensor, Tensor, list[Tensor]]:
        """Return the values of all rows, what the rows save, and the gradients of their sum.

        The gradients are in float32 at least, and of the classes of the shard. With `saved` there
        are no values, and `g` holds the derivatives by those of all rows.
        """
        operands = {key: given[key].reshape(shape) for key, shape in self.shapes.items()}
        counts = operands.get("mask")
        options = self.options
        if options.has_labels:
            # To the op these labels are a target that it hands on, of rows that a mask leaves out.
            counts = operands["target"] != options.ignore_index
            counts = counts.any(1) if counts.dim() == 2 else counts
            operands["mask"] = counts
            options = replace(options, target_kind=WEIGHTS)
        tensors = [operands[key] for key in OPERANDS if key in operands]
        options = replace(
            options,
            present=sum(1 << i for i, key in enumerate(OPERANDS) if key in operands),
            wanted=sum(1 << OPERANDS.index(key) for key in wanted),
            reduction=SUM,
            chunk=options.chunk or self._rows_of_block(tensors),
        )
        rows = operands["input"].size(0)
        index = None if counts is None else counts.nonzero().squeeze(1)
        if g is not None and index is not None:
            g = g.index_select(0, index)
        # Below autograd and the modes in force, so that the mode sees what the op calls.
        keys = torch._C._dispatch_keys(tensors[0]) & torch._C._after_ADInplaceOrView_keyset
        op = torch.ops.torch_infotheory._linear_loss.default
        with _Rows(self.shard, self.of_log_probs, saved, g) as mode:
            gradients = op.redispatch(keys, tensors, *options.flat, torch.float64)[1][1:]
        shape = (*self.shapes["linear_weight"][1:-1], *self.results)
        if saved is not None:
            return tensors[0].new_empty(0), saved, gradients
        values = tensors[0].new_zeros((0, *shape), dtype=torch.float64)
        values = torch.cat([values, *(value for value, _ in mode.made)])
        if mode.made:
            saved = torch.cat([saved for _, saved in mode.made], 1)
        else:
            saved = values.new_zeros((0, 0))
        if index is not None:
            values = values.new_zeros((rows, *shape)).index_copy_(0, index, values)
        return values, saved, gradients

    def _rows_of_block(self, tensors: Sequence[Tensor]) -> int:
        wide = any(x.dtype == torch.float64 for x in tensors)
        places = prod(self.shapes["linear_weight"][1:-1])
        row = max(self.shard.largest * places * (8 if wide else 4), 1)
        return max(_BLOCK_BYTES // row, _FEW_ROWS)

    def count(self, given: Mapping[str, Tensor], values: Tensor) -> Tensor:
        """What a mean divides by, of the rows of this rank."""
        if self.options.has_labels:
            labels = given["target"]
            return _class_shards.total_weight(labels, self.class_weight, self.options.ignore_index)
        mask = given.get("mask")
        return values.new_tensor(values.numel()) if mask is None else mask.sum(dtype=values.dtype)

    # What a subclass does otherwise for DTensors.

    def local(self, given: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The parts of the operands on this rank."""
        return dict(given)

    def local_cotangent(self, g: Tensor) -> Tensor:
        return g

    def summed(self, x: Tensor) -> Tensor:
        """Over all rows, what every rank has summed over its own."""
        return x

    def result(self, value: Tensor) -> Tensor:
        """Of the part of the value on this rank."""
        return value.view((*self.like.shape, *self.results))

    def gradient(self, key: str, local: Tensor, x: Tensor) -> Tensor:
        """The gradient by the operand x, given that by its part on this rank."""
        if self.is_of_all_classes(key):
            local = _class_shards.all_reduced(local, "sum", self.shard.groups)
        return local.to(x.dtype)

    def is_of_all_classes(self, key: str) -> bool:
        return key == "input" or (key == "target" and "target_weight" in self.shapes)

    def second_derivative(
        self,
        wanted: Sequence[str],
        gg: Mapping[str, Tensor],
        g: Tensor,
        given: Mapping[str, Tensor],
    ) -> Mapping[str, Tensor | None]:
        """By the operands `wanted` and "g", that by the values, given those by the gradients."""
        raise NotImplementedError(f"{self.name}: no second derivative")

    def __call__(self, given: Mapping[str, Any]) -> Tensor:
        """The value in float64, of log_probs with its three results in a last dimension."""
        given = {"target": given.get("index"), **given}
        operands = {key: given[key] for key in self.shapes}
        weight = operands.get("weight")
        grad = torch.is_grad_enabled()
        if grad and weight is not None and weight.requires_grad:
            raise RuntimeError(f"{self.name}: not differentiable with respect to weight")
        wanted = [
            key
            for key in DIFFERENTIABLE
            if grad and key in operands and operands[key].requires_grad
        ]
        return _Loss.apply(self, tuple(operands), tuple(wanted), *operands.values())[0]


class _Loss(torch.autograd.Function):
    """The operands are those called `names`."""

    @staticmethod
    def forward(
        loss: LinearLoss, names: tuple[str, ...], wanted: tuple[str, ...], *operands: Tensor
    ) -> tuple[Tensor, ...]:
        given = loss.local(dict(zip(names, operands, strict=True)))
        if loss.options.has_labels:
            _class_shards.check_labels(
                given["target"], loss.shard.classes, loss.options.ignore_index
            )
        values, saved, gradients = loss.run(given, wanted if loss.reduced else ())
        inverse = values.new_ones(())
        if loss.reduced:
            if loss.options.reduction == MEAN:
                inverse = loss.summed(loss.count(given, values)).reciprocal()
            values = loss.summed(values.sum()) * inverse
            inverse = inverse.masked_fill(inverse.isinf(), 0)  # nothing counts: no gradient
        return loss.result(values), inverse, saved, *gradients

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
        ctx.loss, ctx.names, ctx.wanted, *operands = inputs
        ctx.save_for_backward(*operands, *output[1:])
        ctx.mark_non_differentiable(*output[1:])
        ctx.set_materialize_grads(False)

    @staticmethod
    def backward(ctx: Any, g: Tensor | None, *_: Any) -> tuple[Tensor | None, ...]:
        needed = ctx.needs_input_grad[3:]
        if g is None:
            return (None,) * (3 + len(needed))
        by = tuple(key for key, wanted in zip(ctx.names, needed, strict=True) if wanted)
        gradients = _Gradient.apply(ctx.loss, ctx.names, ctx.wanted, by, g, *ctx.saved_tensors)
        of = dict(zip(by, gradients, strict=True))
        return None, None, None, *(of.get(key) for key in ctx.names)

    @staticmethod
    def jvp(ctx: Any, *tangents: Any) -> NoReturn:
        raise NotImplementedError(f"{ctx.loss.name}: no forward-mode derivative")

    @staticmethod
    def vmap(info: Any, in_dims: Any, *inputs: Any) -> NoReturn:
        raise NotImplementedError(f"{inputs[0].name}: no vmap")


class _Gradient(torch.autograd.Function):
    """The gradients by the operands called `by`."""

    @staticmethod
    def forward(
        loss: LinearLoss,
        names: tuple[str, ...],
        wanted: tuple[str, ...],
        by: tuple[str, ...],
        g: Tensor,
        *tensors: Tensor,
    ) -> tuple[Tensor, ...]:
        given = dict(zip(names, tensors, strict=False))
        inverse, saved, *made = tensors[len(names) :]
        g = loss.local_cotangent(g)
        local = loss.local(given)
        if loss.reduced:
            g = g * inverse
        of_sum = dict(zip(wanted, made, strict=False))
        if all(key in of_sum for key in by):
            gradients = [of_sum[key] * g for key in by]
        else:
            rows = [local["input"].reshape(loss.shapes["input"]).size(0)]
            shape = (*rows, *loss.shapes["linear_weight"][1:-1], *loss.results)
            g = g.expand(shape) if loss.reduced else g.reshape(shape)
            ordered = [key for key in OPERANDS if key in by]
            found = dict(zip(ordered, loss.run(local, ordered, saved, g)[2], strict=True))
            gradients = [found[key] for key in by]
        return tuple(
            loss.gradient(key, x.reshape(local[key].shape), given[key])
            for key, x in zip(by, gradients, strict=True)
        )

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
        ctx.loss, ctx.names, _, ctx.by, g, *tensors = inputs
        ctx.rest = len(tensors) - len(ctx.names)
        ctx.save_for_backward(g, *tensors[: len(ctx.names)])
        ctx.set_materialize_grads(False)

    @staticmethod
    def backward(ctx: Any, *gg: Tensor | None) -> tuple[Tensor | None, ...]:
        g, *operands = ctx.saved_tensors
        inputs = ("g", *ctx.names)
        needed = ctx.needs_input_grad[4 : 4 + len(inputs)]
        wanted = [key for key, wants in zip(inputs, needed, strict=True) if wants]
        given = dict(zip(ctx.names, operands, strict=True))
        by = {key: t for key, t in zip(ctx.by, gg, strict=True) if t is not None}
        of = ctx.loss.second_derivative(wanted, by, g, given)
        return (*[None] * 4, *(of.get(key) for key in inputs), *[None] * ctx.rest)

    @staticmethod
    def vmap(info: Any, in_dims: Any, *inputs: Any) -> NoReturn:
        raise NotImplementedError(f"{inputs[0].name}: no vmap")
