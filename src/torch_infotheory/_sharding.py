"""The row ops on DTensors: where a call runs, and how its results lie on the mesh.

A call is laid out by its operands: on each dimension of the mesh, the first operand that is sharded
decides, and the others follow. Rows are computed where they are, and so are classes (see
_class_shards.py). Gathered is only what does not come in parts: joint tables along X or Y, the
softmax of a map along its classes.

To be imported after DTensor, which takes a second. Knows DTensor; must not know how a row is
reduced.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.tensor import DTensor, Partial, Placement, Replicate, Shard
from torch.utils._pytree import tree_leaves, tree_map_only

from torch_infotheory import _class_shards, _ops
from torch_infotheory._class_shards import (
    LOGITS,
    MEAN,
    NONE,
    SUM,
    SUM_OF_TERMS,
    TERMS,
    ClassShard,
    RowCall,
    all_reduced,
    chunk,
)
from torch_infotheory._linear_shards import LinearLoss, autocast, on_meta


def _shard_dim(placement: Placement) -> int | None:
    return getattr(placement, "dim", None)


def _moved(placement: Placement, dim: int) -> Placement:
    """Another dimension, sharded alike."""
    if hasattr(placement, "split_factor"):  # of dimensions that were flattened into one
        return type(placement)(dim, split_factor=placement.split_factor)  # type: ignore[call-arg]
    return Shard(dim)


def _replicates_plain_tensors() -> bool:
    """Within implicit_replication() and loss_parallel(), which replaces ops of torch's own loss."""
    dispatcher = DTensor._op_dispatcher
    replaced = getattr(dispatcher, "_custom_op_handlers", {})
    in_loss_parallel = torch.ops.aten.nll_loss_forward.default in replaced
    return dispatcher._allow_implicit_replication or in_loss_parallel


def _check_plain_tensors(name: str, operands: Sequence[Tensor]) -> None:
    """In forward alone: what it let pass is replicated in backward, wherever that runs."""
    plain = [x for x in operands if not isinstance(x, DTensor)]
    if plain and not _replicates_plain_tensors():
        raise RuntimeError(
            f"{name}: expected all operands to be DTensors, got a plain tensor; in "
            "loss_parallel() and implicit_replication() it counts as replicated"
        )


def _operands(call: RowCall) -> list[Tensor]:
    return [x for x in (call.p, call.q, call.weight) if x is not None]


def _mesh_of(name: str, operands: Sequence[Tensor]) -> DeviceMesh:
    meshes = [x.device_mesh for x in operands if isinstance(x, DTensor)]
    if any(mesh != meshes[0] for mesh in meshes):
        raise RuntimeError(f"{name}: expected DTensors of one mesh, got {meshes}")
    return meshes[0]


def _local(x: Tensor | None, mesh: DeviceMesh, placements: Sequence[Placement]) -> Any:
    """The part of x on this rank; a plain tensor, where these are allowed, is everywhere."""
    if x is None:
        return None
    if not isinstance(x, DTensor):
        x = DTensor.from_local(x, mesh, [Replicate()] * mesh.ndim, run_check=False)
    # Below autograd, torch 2.12 cannot redistribute what requires a gradient.
    source: Any = x if torch.is_grad_enabled() else x.detach()
    return source.redistribute(mesh, placements).to_local()


def _distributed(
    x: Tensor, mesh: DeviceMesh, placements: Sequence[Placement], like: Tensor
) -> DTensor:
    """The whole, of the shape and strides of `like`, whose part on this rank is x."""
    return DTensor.from_local(
        x, mesh, placements, run_check=False, shape=like.shape, stride=like.stride()
    )


def _summed(x: Tensor, mesh: DeviceMesh, of_rows: Sequence[Placement]) -> Tensor:
    """Over all rows, what every rank has summed over its own."""
    sharded = [i for i, placement in enumerate(of_rows) if _shard_dim(placement) is not None]
    return all_reduced(x, "sum", [mesh.get_group(i) for i in sharded])


def _class_shard(mesh: DeviceMesh, dims: Sequence[int], classes: int) -> ClassShard:
    """The classes of this rank, sharded on these dimensions of the mesh."""
    offset, size, largest = 0, classes, classes
    for i in dims:
        start, size = chunk(size, mesh.size(i), mesh.get_local_rank(i))
        offset += start
        _, largest = chunk(largest, mesh.size(i), 0)
    return ClassShard(offset, size, classes, largest, tuple(mesh.get_group(i) for i in dims))


class _Layout:
    """How one call lies on the mesh: a placement of its full operand for each mesh dimension."""

    def __init__(self, call: RowCall, row_dims: int) -> None:
        self.call, self.mesh = call, _mesh_of(call.name, _operands(call))
        rank = call.full.dim()
        self.class_dims: Sequence[int] = [call.class_dim] if rank == row_dims + 1 else []
        if rank > row_dims + 1:  # a joint table lies in the last dimensions
            self.class_dims = range(row_dims, rank)
        self.elementwise = call.reduction in (TERMS, SUM_OF_TERMS)
        self.reduced = call.reduction not in (NONE, TERMS)
        self.full = [self._placement(i) for i in range(self.mesh.ndim)]

    def _placement(self, i: int) -> Placement:
        call = self.call
        for x in (call.full, call.p, call.q):
            placement = x.placements[i] if isinstance(x, DTensor) else Replicate()
            dim = _shard_dim(placement)
            if dim is None:
                continue
            if call.has_labels and x is call.p:
                placement = _moved(placement, dim + (dim >= call.class_dim))
            if self._comes_in_parts(placement):
                return placement
        return Replicate()

    def _comes_in_parts(self, placement: Placement) -> bool:
        if _shard_dim(placement) not in self.class_dims:
            return True
        if type(placement) is not Shard or len(self.class_dims) > 1:
            return False
        if self.elementwise:
            return LOGITS not in (self.call.p_kind, self.call.q_kind)
        return _class_shards.supports(self.call)

    def _shards_classes(self, placement: Placement) -> bool:
        return _shard_dim(placement) in self.class_dims

    def rows(self, after: int = 0) -> list[Placement]:
        """The placements of what has the dimensions of the rows after that many others."""
        placements: list[Placement] = []
        for placement in self.full:
            dim = _shard_dim(placement)
            if dim is None or self._shards_classes(placement):
                placements.append(Replicate())
            else:
                before = sum(d < dim for d in self.class_dims)
                placements.append(_moved(placement, dim - before + after))
        return placements

    @property
    def everywhere(self) -> list[Placement]:
        return [Replicate()] * self.mesh.ndim

    @property
    def value(self) -> list[Placement]:
        return self.everywhere if self.reduced else self.full if self.elementwise else self.rows()

    @property
    def saved(self) -> list[Placement]:
        return self.rows(after=1)

    @property
    def weight(self) -> list[Placement]:
        return [Shard(0) if self._shards_classes(x) else Replicate() for x in self.full]

    def summed(self, x: Tensor) -> Tensor:
        return _summed(x, self.mesh, self.full if self.elementwise else self.rows())

    def class_shard(self) -> ClassShard | None:
        """The classes of this rank, where it has not all of them."""
        dims = [i for i, placement in enumerate(self.full) if self._shards_classes(placement)]
        if self.elementwise or not dims:
            return None
        return _class_shard(self.mesh, dims, self.call.classes)

    def local(self, x: Tensor | None, placements: Sequence[Placement]) -> Any:
        return _local(x, self.mesh, placements)

    def local_call(self) -> RowCall:
        call = self.call
        return replace(
            call,
            p=self.local(call.p, self.rows() if call.has_labels else self.full),
            q=self.local(call.q, self.full),
            weight=self.local(call.weight, self.weight),
            reduction=SUM if call.reduction == MEAN else call.reduction,
        )

    def distributed(self, x: Tensor, placements: Sequence[Placement], like: Tensor) -> DTensor:
        return _distributed(x, self.mesh, placements, like)


def _rows_in_mean(layout: _Layout) -> Tensor | int:
    """What the mean divides by: the rows or, with labels, the weights of those that count."""
    call = layout.call
    if not call.has_labels:
        full = call.full
        return math.prod(full.size(d) for d in range(full.dim()) if d not in layout.class_dims)
    labels = layout.local(call.p, layout.rows())
    weight = layout.local(call.weight, layout.everywhere)
    return layout.summed(_class_shards.total_weight(labels, weight, call.ignore_index))


# The signatures of a __torch_dispatch__ rule. Autograd is above, and has recorded the call.


@torch.no_grad()
def _forward(
    cls: type, op: Any, types: Any, args: Sequence[Any], kwargs: dict[str, Any]
) -> tuple[Tensor, Tensor]:
    call, given = RowCall.bound(op, args, kwargs)
    _check_plain_tensors(call.name, _operands(call))
    # Checks the operands as wholes, and knows the shapes of the results.
    whole = replace(call, p=on_meta(call.p), q=on_meta(call.q), weight=on_meta(call.weight))
    like_value, like_saved = whole.forward(given.get("dtype"))
    layout = _Layout(call, row_dims=like_saved.dim() - 1)
    here, shard = layout.local_call(), layout.class_shard()
    if layout.mesh.get_coordinate() is None:
        value = here.full.new_empty(0, dtype=like_value.dtype)
        saved = here.full.new_empty(0, dtype=like_saved.dtype)
    else:
        dtype = torch.float64 if layout.reduced else like_value.dtype
        if shard is None:
            value, saved = here.forward(dtype)
        else:
            value, saved = _class_shards.forward(here, shard, dtype)
        if layout.reduced:
            value = layout.summed(value.sum())
            if call.reduction == MEAN:
                value = value / _rows_in_mean(layout)
            value = value.to(like_value.dtype)
    return (
        layout.distributed(value, layout.value, like_value),
        layout.distributed(saved, layout.saved, like_saved),
    )


@torch.no_grad()
def _backward(
    cls: type, op: Any, types: Any, args: Sequence[Any], kwargs: dict[str, Any]
) -> Tensor:
    call, given = RowCall.bound(op, args, kwargs)
    layout = _Layout(call, row_dims=given["saved"].dim() - 1)
    here, shard = layout.local_call(), layout.class_shard()
    g, saved = layout.local(given["g"], layout.value), layout.local(given["saved"], layout.saved)
    wrt, like = given["wrt"], on_meta(call.q if given["wrt"] else call.p)
    if layout.mesh.get_coordinate() is None:
        gradient = here.full.new_empty(0, dtype=like.dtype)
    else:
        if call.reduction == MEAN:
            g = g.double() / _rows_in_mean(layout)
        if shard is None:
            gradient = here.backward(g, saved, wrt)
        else:
            gradient = _class_shards.backward(here, shard, g, saved, wrt)
    return layout.distributed(gradient, layout.full, like)


# ---- losses from hidden states ----

_CLASSES = "classes"


class _LinearLoss(LinearLoss):
    """The loss of DTensors: on each dimension of the mesh, the first operand that is sharded along
    its classes or rows decides, the linear map before the hidden states; the others follow."""

    def __init__(self, op: Any, given: dict[str, Any]) -> None:
        name = op.__name__
        tensors = [x for x in given.values() if isinstance(x, Tensor)]
        _check_plain_tensors(name, tensors)
        self.mesh, self.op = _mesh_of(name, tensors), op
        self.others = {key: x for key, x in given.items() if not isinstance(x, Tensor)}
        self.target = "index" if "index" in given else "target"
        super().__init__(name, op, given, ClassShard(0, 0, 0, 0, ()))
        self.whole = self.shapes
        self.leading = given["input"].dim() - 1
        self.class_dims = {"linear_weight": 0, "linear_bias": 0}
        self.class_dims |= {"target_weight": 0, "target_bias": 0, "weight": 0}
        if not self.options.has_labels and "target_weight" not in self.whole:
            self.class_dims["target"] = self.leading
        self.sharded = [self._sharded(i, given) for i in range(self.mesh.ndim)]
        dims = [i for i, what in enumerate(self.sharded) if what == _CLASSES]
        self.shard = _class_shard(self.mesh, dims, given["linear_weight"].size(0))
        if self.options.has_labels:
            self.class_weight = _local(given.get("weight"), self.mesh, self._everywhere)

    @property
    def _everywhere(self) -> list[Placement]:
        return [Replicate()] * self.mesh.ndim

    def _sharded(self, i: int, given: Mapping[str, Any]) -> Placement | str | None:
        """What of the loss is sharded on a dimension of the mesh: classes, or rows in this way."""
        for key in ("linear_weight", "input", "target_weight", "target"):
            x = given.get(key)
            placement = x.placements[i] if isinstance(x, DTensor) else Replicate()
            dim = _shard_dim(placement)
            if dim is None:
                continue
            if dim == self.class_dims.get(key) and type(placement) is Shard:
                return _CLASSES
            if key in ("input", "target") and dim < self.leading:
                return placement
        return None

    def _placements(self, key: str = "") -> list[Placement]:
        """Of an operand, or of the values of the rows."""
        of_rows = key in ("", "input", "target", "mask")
        placements: list[Placement] = []
        for sharded in self.sharded:
            if isinstance(sharded, Placement) and of_rows:
                placements.append(sharded)
            elif sharded == _CLASSES and key in self.class_dims:
                placements.append(Shard(self.class_dims[key]))
            else:
                placements.append(Replicate())
        return placements

    def local(self, given: Mapping[str, Tensor]) -> dict[str, Tensor]:
        local = {key: _local(x, self.mesh, self._placements(key)) for key, x in given.items()}
        self.rows = local["input"].shape[:-1]
        self.shapes = {key: self._local_shape(key, list(x)) for key, x in self.whole.items()}
        return local

    def _local_shape(self, key: str, shape: list[int]) -> torch.Size:
        if key in ("input", "target", "mask"):
            shape[0] = math.prod(self.rows)
        if key in self.class_dims:
            shape[key == "target"] = self.shard.size
        return torch.Size(shape)

    @property
    def _value(self) -> list[Placement]:
        return self._everywhere if self.reduced else self._placements()

    def local_cotangent(self, g: Tensor) -> Tensor:
        return _local(g, self.mesh, self._value)

    def summed(self, x: Tensor) -> Tensor:
        return _summed(x, self.mesh, self._placements())

    def result(self, value: Tensor) -> Tensor:
        like = self.like.new_empty((*self.like.shape, *self.results))
        if not self.reduced:
            value = value.reshape((*self.rows, *like.shape[self.leading :]))
        return _distributed(value, self.mesh, self._value, like)

    def gradient(self, key: str, local: Tensor, x: Tensor) -> Tensor:
        """As the operand lies; of one that rows share, what is summed over them stays Partial."""
        has, wanted = self._placements(key), self._everywhere
        if isinstance(x, DTensor):
            wanted = [Replicate() if p.is_partial() else p for p in x.placements]
        for i, sharded in enumerate(self.sharded):
            if sharded is None or _shard_dim(has[i]) is not None:
                continue
            has[i] = Partial()
            if sharded != _CLASSES and wanted[i].is_replicate() and isinstance(x, DTensor):
                wanted[i] = Partial()
        whole = _distributed(local, self.mesh, has, on_meta(x)).redistribute(self.mesh, wanted)
        return (whole if isinstance(x, DTensor) else whole.to_local()).to(x.dtype)

    def second_derivative(
        self,
        wanted: Sequence[str],
        gg: Mapping[str, Tensor],
        g: Tensor,
        given: Mapping[str, Tensor],
    ) -> dict[str, Tensor | None]:
        """By the composition over all logits, as for tensors of one process."""
        create_graph = torch.is_grad_enabled()
        by = {*wanted, *gg}

        def alone(key: str, t: Tensor) -> Tensor:
            # g may depend on the operands, through which nothing is to be differentiated here.
            t = t.view_as(t) if create_graph else t.detach()
            return t.requires_grad_() if key in by else t

        with torch.enable_grad():
            x = {key: alone(key, t) for key, t in {"g": g, **given}.items()}
        operands = {self.target if key == "target" else key: x[key] for key in given}
        with torch.enable_grad():
            value = self.op(**{**self.others, **operands, "dtype": torch.float64})
            value = torch.stack(value, -1) if self.of_log_probs else value
            first = torch.autograd.grad(value, [x[key] for key in gg], x["g"], create_graph=True)
            second = torch.autograd.grad(
                first,
                [x[key] for key in wanted],
                list(gg.values()),
                create_graph=create_graph,
                allow_unused=True,
            )
        return dict(zip(wanted, second, strict=True))


def _linear(op: Any, given: dict[str, Any]) -> Any:
    weight = given.get("weight")  # of classes, or the share of a teacher
    if isinstance(weight, Tensor) and weight.requires_grad and torch.is_grad_enabled():
        return op(**given)
    given = autocast(given)
    loss = _LinearLoss(op, given)
    value = loss(given).to(loss.like.dtype)
    return _unbound(value) if loss.of_log_probs else value


def _unbound(x: Any) -> tuple[DTensor, ...]:
    """The parts along the last dimension."""
    # Not by unbind, whose gradients torch 2.11 stacks wrongly where ranks differ in their rows.
    like = torch.empty(x.shape[:-1], device="meta")
    return tuple(
        _distributed(part, x.device_mesh, x.placements, like) for part in x.to_local().unbind(-1)
    )


@torch.no_grad()
def _gathered(cls: type, op: Any, types: Any, args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
    """`_linear_loss` under torch.compile, which no rule of a function reaches: on whole tensors."""
    mesh = next(x.device_mesh for x in tree_leaves((args, kwargs)) if isinstance(x, DTensor))
    whole = tree_map_only(DTensor, lambda x: x.detach().full_tensor(), (args, kwargs))  # see _local
    return tree_map_only(
        Tensor,
        lambda x: DTensor.from_local(x, mesh, [Replicate()] * mesh.ndim, run_check=False),
        op(*whole[0], **whole[1]),
    )


def _register() -> None:
    for name in torch._C._dispatch_get_all_op_names():
        if name.startswith("torch_infotheory::_linear_loss"):
            torch.library.register_torch_dispatch(name, DTensor, _gathered)
        elif name.startswith("torch_infotheory::_"):
            rule = _backward if name.endswith("_backward") else _forward
            torch.library.register_torch_dispatch(name, DTensor, rule)
        elif name.startswith("torch_infotheory::linear_"):
            _ops.register_rule(name.removeprefix("torch_infotheory::"), DTensor, _linear)


_register()
