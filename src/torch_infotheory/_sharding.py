"""The row ops on DTensors: where a call runs, and how its results lie on the mesh.

A call is laid out by its operands: on each dimension of the mesh, the first operand that is sharded
decides, and the others follow. Rows are computed where they are, and so are classes (see
_class_shards.py). Gathered is only what does not come in parts: joint tables along X or Y, the
softmax of a map along its classes.

To be imported after DTensor, which takes a second. Knows DTensor; must not know how a row is
reduced.
"""

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.tensor import DTensor, Placement, Replicate, Shard

from torch_infotheory import _class_shards
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
from torch_infotheory._linear_shards import on_meta


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


def _check_plain_tensors(call: RowCall) -> None:
    """In forward alone: what it let pass is replicated in backward, wherever that runs."""
    plain = [x for x in _operands(call) if not isinstance(x, DTensor)]
    if plain and not _replicates_plain_tensors():
        raise RuntimeError(
            f"{call.name}: expected all operands to be DTensors, got a plain tensor; in "
            "loss_parallel() and implicit_replication() it counts as replicated"
        )


def _operands(call: RowCall) -> list[Tensor]:
    return [x for x in (call.p, call.q, call.weight) if x is not None]


def _mesh_of(call: RowCall) -> DeviceMesh:
    meshes = [x.device_mesh for x in _operands(call) if isinstance(x, DTensor)]
    if any(mesh != meshes[0] for mesh in meshes):
        raise RuntimeError(f"{call.name}: expected DTensors of one mesh, got {meshes}")
    return meshes[0]


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
        self.call, self.mesh = call, _mesh_of(call)
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
        """Over all rows, what every rank has summed over its own."""
        sharded = self.full if self.elementwise else self.rows()
        dims = [i for i, placement in enumerate(sharded) if _shard_dim(placement) is not None]
        return all_reduced(x, "sum", [self.mesh.get_group(i) for i in dims])

    def class_shard(self) -> ClassShard | None:
        """The classes of this rank, where it has not all of them."""
        dims = [i for i, placement in enumerate(self.full) if self._shards_classes(placement)]
        if self.elementwise or not dims:
            return None
        return _class_shard(self.mesh, dims, self.call.classes)

    def local(self, x: Tensor | None, placements: Sequence[Placement]) -> Any:
        """The part of x on this rank; a plain tensor, where these are allowed, is everywhere."""
        if x is None:
            return None
        if not isinstance(x, DTensor):
            x = DTensor.from_local(x, self.mesh, self.everywhere, run_check=False)
        return x.redistribute(self.mesh, placements).to_local()

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
        return DTensor.from_local(
            x, self.mesh, placements, run_check=False, shape=like.shape, stride=like.stride()
        )


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
    _check_plain_tensors(call)
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


def _register() -> None:
    for name in torch._C._dispatch_get_all_op_names():
        if name.startswith("torch_infotheory::_"):
            rule = _backward if name.endswith("_backward") else _forward
            torch.library.register_torch_dispatch(name, DTensor, rule)


_register()
