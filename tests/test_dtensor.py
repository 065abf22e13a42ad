"""DTensors, and local shards with a process group, give what one process gives.

The checks run on four ranks at once. They form a mesh of four, meshes of two, or a 2 x 2 grid.
Values and gradients are those of reference.py, or of the same call on whole tensors. What travels
is recorded: nothing for sharded rows but what a mean needs, numbers per row for sharded classes.
"""

import math
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from functools import cache, partial
from itertools import product
from typing import Any

import ops
import pytest
import reference
import torch
from ops import BASIC_CASES, CASES, Case
from ranks import Ranks, Traffic, since_2_12
from torch import Tensor

import torch_infotheory as ti
from torch_infotheory import nn, parallel

pytestmark = pytest.mark.skipif(
    not torch.distributed.is_gloo_available(), reason="this build of torch has no gloo"
)
SIZE = 4
# Of numbers for each row.
COLLECTIVES = {"all_reduce", "all_gather_into_tensor"}


def is_sharded(case: Case) -> bool:
    """Whether a test shards it: the losses of torch with all their options; of the rest each op and
    kind once, or each reduction once, which does not depend on the kind."""
    if not case.kinds:
        return len(case.shape) > 1
    kinds_count = case.op.options.get("reduction", "none") == "none"
    return case in BASIC_CASES and (kinds_count or set(case.kinds) == {"logits"})


SHARDED_CASES = [case for case in CASES if is_sharded(case)]


@pytest.fixture(scope="module")
def ranks(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ranks]:
    ranks = Ranks(SIZE, tmp_path_factory.mktemp("ranks"))
    yield ranks
    ranks.stop()


# What follows runs on the ranks. DTensor is imported there alone, for it takes a second.


@cache
def mesh_of(name: str) -> Any:
    from torch.distributed.tensor import init_device_mesh

    if name == "four":
        return init_device_mesh("cpu", (4,))
    grid = init_device_mesh("cpu", (2, 2), mesh_dim_names=("rows", "columns"))
    return {"two": grid["columns"], "grid": grid}[name]


def distributed(x: Tensor, mesh: Any, dims: Sequence[int | None]) -> Tensor:
    """`x` sharded along one of its dimensions, or whole, on each dimension of the mesh."""
    from torch.distributed.tensor import Replicate, Shard, distribute_tensor

    placements = [Replicate() if d is None else Shard(d) for d in dims]
    return distribute_tensor(x.detach(), mesh, placements, src_data_rank=None)


def dims_of(x: Any) -> list[int | None]:
    return [getattr(placement, "dim", None) for placement in x.placements]


class Sharded:
    """A case on DTensors: `dims` says along which dimension of its shape, or None, for each
    dimension of the mesh."""

    def __init__(self, case: Case, mesh: str, dims: Sequence[int | None]) -> None:
        self.case, self.mesh, self.dims = case, mesh_of(mesh), list(dims)
        rank = len(case.shape)
        self.class_dims = [d % rank for d in case.axes]
        self.inputs = [self.place(x).requires_grad_() for x in case.inputs(torch.float64, "cpu")]
        self.options = {
            name: self.place(x) if isinstance(x, Tensor) else x
            for name, x in case.options_like(case.numbers[0]).items()
        }

    def of_rows(self) -> list[int | None]:
        """The same for what has no class dimension."""
        return [
            None if d is None or d in self.class_dims else d - sum(c < d for c in self.class_dims)
            for d in self.dims
        ]

    def place(self, x: Tensor) -> Tensor:
        if x.shape == self.case.shape:
            dims = self.dims
        elif self.case.kinds:  # an operand that broadcasts
            added = len(self.case.shape) - x.ndim
            dims = [None if d is None or d < added else d - added for d in self.dims]
        elif x.is_floating_point():  # class weights
            dims = [None] * self.mesh.ndim
        else:  # labels
            dims = self.of_rows()
        return distributed(x, self.mesh, dims)

    def check(self) -> tuple[Tensor, list[Tensor], Traffic, Traffic]:
        """Compare value and gradients with the reference; return them, and what travelled."""
        case = self.case
        with Traffic() as forward:
            value = case.op.function(*self.inputs, **self.options)
        ops.assert_near(value.full_tensor(), case.value)
        cotangent = distributed(case.cotangent, self.mesh, dims_of(value))
        with Traffic() as backward:
            gradients = torch.autograd.grad(value, self.inputs, cotangent)
        for number, gradient in enumerate(gradients):
            case.assert_gradient(gradient.full_tensor(), number)
        return value, list(gradients), forward, backward


def row_dims(case: Case) -> list[int]:
    rank = len(case.shape)
    return sorted(set(range(rank)) - {d % rank for d in case.axes})


def check_batch_shards(number: int) -> None:
    case = SHARDED_CASES[number]
    reduced = case.value.ndim == 0
    for mesh, dim in product(("two", "four"), row_dims(case)):
        sharded = Sharded(case, mesh, [dim])
        value, gradients, forward, backward = sharded.check()
        # A mean needs the total, and what to divide it by.
        assert forward.largest <= reduced and backward.largest <= reduced, (
            forward.sent,
            backward.sent,
        )
        assert forward.calls | backward.calls <= {"all_reduce"}
        if not reduced:
            per_entry = case.value.shape == case.shape
            assert dims_of(value) == (sharded.dims if per_entry else sharded.of_rows())
        for x, gradient in zip(sharded.inputs, gradients, strict=True):
            if x.shape == case.shape:
                assert dims_of(gradient) == dims_of(x) == [dim]


def in_parts(case: Case) -> bool:
    """Whether classes are computed where they are: not those of a joint table, nor the softmax of a
    map, nor the logarithm of a sum, nor what operations of torch compute, nor a target that torch
    itself multiplies by weights with a gradient."""
    if case.op.in_float64 or case.op.name.startswith("renyi_"):
        return False
    softmax_of_map = case.op.name == "self_information" and "logits" in case.kinds
    return len(case.axes) == 1 and not softmax_of_map and case.name != "soft_by_weight"


def check_class_shards(number: int) -> None:
    case = SHARDED_CASES[number]
    rank = len(case.shape)
    for mesh, axis in product(("two", "four"), case.axes):
        sharded = Sharded(case, mesh, [axis % rank])
        _, gradients, forward, backward = sharded.check()
        if not in_parts(case):
            continue
        assert forward.calls <= COLLECTIVES and not backward.sent, (forward.sent, backward.sent)
        assert forward.largest <= 7 * case.rows
        for x, gradient in zip(sharded.inputs, gradients, strict=True):
            if x.shape == case.shape:
                assert dims_of(gradient) == dims_of(x) == [axis % rank]


def check_grid(number: int) -> None:
    case = SHARDED_CASES[number]
    row, of_class = row_dims(case)[0], case.axes[-1] % len(case.shape)
    for dims in ((row, of_class), (of_class, row), (row, row), (of_class, of_class), (None, None)):
        Sharded(case, "grid", dims).check()


def check_layouts(op: str) -> None:
    """Every layout of an op, along every dimension."""
    for case in CASES:
        small = math.prod(case.shape) <= 72  # the reference is slow, and runs on every rank
        if str(case.op) != op or set(case.kinds) != {"logits"} or not case.shape or not small:
            continue
        for dim in range(len(case.shape)):
            Sharded(case, "two", [dim]).check()


LOSS_LAYOUTS = [("four", [0]), ("four", [1]), ("grid", [0, 1]), ("grid", [1, 0]), ("two", [None])]
LOGITS, OTHERS = ops.random(5, 7), ops.random(5, 7, seed=1)
LABELS = torch.tensor([2, 0, 6, 4, 2])  # 2, 4 and 6 are the first classes of their ranks of four
WEIGHT = ops.random(7, seed=2).exp()


def check_losses(layout: int, soft: bool) -> None:
    """Every option of the cross-entropy; torch computes what is expected, on whole tensors."""
    mesh, dims = mesh_of(LOSS_LAYOUTS[layout][0]), LOSS_LAYOUTS[layout][1]
    target = OTHERS.softmax(1) if soft else LABELS
    options = product(("none", "mean", "sum"), (None, WEIGHT), (0.0, 0.25, 1.0))
    for (reduction, weight, smoothing), ignored in product(options, (-100,) if soft else (-100, 0)):
        named = {"reduction": reduction, "label_smoothing": smoothing, "ignore_index": ignored}
        whole = [LOGITS.clone().requires_grad_()]
        whole += [target.clone().requires_grad_()] if soft else []
        expected = torch.nn.functional.cross_entropy(
            whole[0], whole[1] if soft else target, weight, **named
        )
        parts = [distributed(x, mesh, dims).requires_grad_() for x in whole]
        rows = [0 if dim == 0 else None for dim in dims]
        actual = nn.functional.cross_entropy(
            parts[0],
            parts[1] if soft else distributed(target, mesh, rows),
            None if weight is None else distributed(weight, mesh, [None] * mesh.ndim),
            **named,
        )
        ops.assert_near(actual.full_tensor(), expected.detach())
        cotangent = ops.random(*expected.shape, seed=3)
        gradients = torch.autograd.grad(
            actual, parts, distributed(cotangent, mesh, dims_of(actual))
        )
        for one, gradient in zip(
            torch.autograd.grad(expected, whole, cotangent), gradients, strict=True
        ):
            ops.assert_near(gradient.full_tensor(), one)
            assert dims_of(gradient) == dims


def check_loss_parallel() -> None:
    """Plain labels and weights are replicated, as for torch's own loss; backward may be outside."""
    from torch.distributed.tensor.experimental import implicit_replication
    from torch.distributed.tensor.parallel import loss_parallel

    loss = nn.functional.cross_entropy
    for within, (mesh, dims) in product((loss_parallel, implicit_replication), LOSS_LAYOUTS):
        for weight, reduction in product((None, WEIGHT), ("none", "mean", "sum")):
            whole = LOGITS.clone().requires_grad_()
            parts = distributed(LOGITS, mesh_of(mesh), dims).requires_grad_()
            expected = torch.nn.functional.cross_entropy(whole, LABELS, weight, reduction=reduction)
            with pytest.raises(RuntimeError, match="expected all operands to be DTensors"):
                loss(parts, LABELS, weight, reduction=reduction)
            with within():
                actual = loss(parts, LABELS, weight, reduction=reduction)
            ops.assert_near(actual.full_tensor(), expected.detach())
            expected.sum().backward()
            actual.sum().backward()
            ops.assert_near(parts.grad.full_tensor(), whole.grad)


def compare_by_classes(
    function: Callable[..., Tensor], *inputs: Tensor, tolerance: float = 1e-12
) -> None:
    """`function` of inputs (rows, classes), with sharded classes and in one process."""
    whole = [x.clone().requires_grad_() for x in inputs]
    parts = [distributed(x, mesh_of("four"), [1]).requires_grad_() for x in inputs]
    expected, actual = function(*whole), function(*parts)
    close = {"rtol": tolerance, "atol": tolerance, "equal_nan": True}
    torch.testing.assert_close(actual.full_tensor(), expected, **close)
    cotangent = torch.ones_like(expected)
    of_whole = torch.autograd.grad(expected, whole, cotangent, allow_unused=True)
    cotangent = distributed(cotangent, mesh_of("four"), [None])
    gradients = torch.autograd.grad(actual, parts, cotangent, allow_unused=True)
    for one, gradient in zip(of_whole, gradients, strict=True):
        if one is None:  # the entropy takes p alone
            continue
        torch.testing.assert_close(gradient.full_tensor(), one, **close)


MEASURES: dict[str, Callable[..., Tensor]] = {
    "entropy": lambda p, q, **options: ti.entropy(p, **options),
    "cross_entropy": ti.cross_entropy,
    "kl_divergence": ti.kl_divergence,
    "js_divergence": ti.js_divergence,
}


def check_edges(name: str) -> None:
    """Classes of probability 0 fill the shard of a rank; or a row is no distribution."""
    measure, inf, nan = MEASURES[name], math.inf, math.nan
    x, y = ops.random(9, 8), ops.random(9, 8, seed=1)
    x[0, :2] = -inf  # the first rank of p
    x[1, 2:] = -inf  # all but the first rank
    x[2, 1:] = -inf  # all but one class
    x[3] = -inf
    x[4, 3], x[5, 4] = nan, inf
    x[6, :6] = -1e30
    y[7, 4:6] = -inf  # the third rank of q, where p is positive
    x[8, 4:6] = y[8, 4:6] = -inf
    both = [torch.stack([*x, *y]), torch.stack([*y, *x])]
    compare_by_classes(lambda p, q: measure(p, q, kind="logits"), *both)

    p, q = both[0].softmax(1), both[1].softmax(1)
    for rows in (p, q):
        rows[3] = rows[12] = 0
    p[5, 1] = -p[6, 7]
    compare_by_classes(lambda p, q: measure(p, q), p, q)
    compare_by_classes(lambda p, q: measure(p, q, kind="log_probs"), p.clamp_min(0).log(), q.log())


def check_edges_of_labels() -> None:
    functional = nn.functional
    x = ops.random(6, 8)
    x[0, :2] = x[1, 4:] = x[2] = -math.inf
    x[3, 6], x[4, 1:] = math.nan, -math.inf
    labels = torch.tensor([5, 7, 3, 0, 0, 2])  # of probability 0 in row 1

    def loss(x: Tensor, **options: Any) -> Tensor:
        target = labels if type(x) is Tensor else distributed(labels, mesh_of("four"), [None])
        weight = options.pop("weight", None)
        if weight is not None and type(x) is not Tensor:
            weight = distributed(weight, mesh_of("four"), [None])
        return functional.cross_entropy(x, target, weight, reduction="none", **options)

    compare_by_classes(loss, x)
    compare_by_classes(lambda x: loss(x, label_smoothing=0.5), x)
    no_weight = torch.tensor([0.0, 0, 1, 2, 0, 0, 0, 0], dtype=torch.float64)
    compare_by_classes(lambda x: loss(x, weight=no_weight, label_smoothing=0.5), x)


def check_temperature() -> None:
    mesh, heat = mesh_of("four"), 1.7

    def compare(call: Callable[..., Tensor], *inputs: Tensor, kinds: str = "pq") -> None:
        """With a temperature, of parts; and of whole logits that are divided first."""

        def either(*x: Tensor) -> Tensor:
            if type(x[0]) is not Tensor:
                return call(*x, temperature=heat)
            divided = (y / heat if k in kinds else y for y, k in zip(x, "pq", strict=False))
            return call(*divided)

        compare_by_classes(either, *inputs)

    for measure in (*MEASURES.values(), ti.jeffreys_divergence):
        compare(lambda p, q, f=measure, **o: f(p, q, kind="logits", **o), LOGITS, OTHERS)
    p, mixed = OTHERS.softmax(1), ("probs", "logits")
    for measure in (ti.cross_entropy, ti.kl_divergence, ti.js_divergence):
        compare(lambda p, q, f=measure, **o: f(p, q, kind=mixed, **o), p, LOGITS, kinds="q")

    def of_labels(call: Callable[..., Tensor], x: Tensor, **options: Any) -> Tensor:
        labels, weight = LABELS, WEIGHT
        if type(x) is not Tensor:
            labels, weight = (distributed(t, mesh, [None]) for t in (labels, weight))
        return call(x, labels, weight, **options)

    loss = partial(nn.functional.cross_entropy, reduction="none")
    compare(partial(of_labels, loss), LOGITS)
    compare(partial(of_labels, partial(loss, label_smoothing=0.25)), LOGITS)
    for result in range(3):
        of_row = lambda x, index, _, i=result, **o: ti.log_probs(x, index, **o)[i]  # noqa: E731
        compare(partial(of_labels, of_row), LOGITS)


def check_nearly_equal(name: str, kind: str) -> None:
    exact = getattr(reference, f"exact_{name}")
    for step in (1e-3, 1e-4):
        logits = torch.stack([ops.random(512), ops.random(512) + step * ops.random(512, seed=1)])
        p, q = ops.state(logits, -1, kind).float()
        parts = [distributed(x, mesh_of("four"), [0]) for x in (p, q)]
        value = MEASURES[name](*parts, kind=kind).full_tensor()
        assert value.dtype == torch.float32
        assert abs(value.item() / exact(p.numpy(), q.numpy(), kind) - 1) < 1e-3
    same = distributed(p, mesh_of("four"), [0])
    assert 0 <= MEASURES[name](same, same, kind=kind).full_tensor() < 1e-12


def check_nothing_large_is_made() -> None:
    """Not even for a moment, and only the gradients remain."""
    x, y = (distributed(ops.random(3, 4096, seed=i), mesh_of("four"), [1]) for i in range(2))
    labels = distributed(torch.tensor([5, 4000, 2000]), mesh_of("four"), [None])
    weight = distributed(ops.random(4096).exp(), mesh_of("four"), [None])
    soft = distributed(ops.random(3, 4096).softmax(1), mesh_of("four"), [1])
    cross_entropy = nn.functional.cross_entropy
    for function in (
        lambda x, y: cross_entropy(x, labels),
        lambda x, y: cross_entropy(x, labels, weight, label_smoothing=0.1),
        lambda x, y: cross_entropy(x, soft, weight, label_smoothing=0.1),
        lambda x, y: nn.functional.nll_loss(x, labels),
        lambda x, y: ti.entropy(x, kind="logits").sum(),
        lambda x, y: ti.cross_entropy(x, y, kind=("logits", "log_probs")).sum(),
        lambda x, y: ti.kl_divergence(x, y, kind="logits").sum(),
        lambda x, y: nn.functional.js_div(x, y),
    ):
        inputs = [x.detach().requires_grad_(), y.detach().requires_grad_()]
        with Traffic() as forward:
            value = function(*inputs)
        assert forward.made <= 4096 and 0 < forward.largest <= 21, (forward.made, forward.sent)
        with Traffic() as backward:
            torch.autograd.grad(value, inputs, allow_unused=True)
        assert backward.made <= 4096 and backward.largest <= 3, (backward.made, backward.sent)


def check_operands_that_disagree() -> None:
    from torch.distributed.tensor import DTensor, Partial

    mesh = mesh_of("two")
    for dims in product((None, 0, 1), repeat=2):
        whole = [LOGITS.clone().requires_grad_(), OTHERS.clone().requires_grad_()]
        parts = [
            distributed(x, mesh, [dim]).requires_grad_() for x, dim in zip(whole, dims, strict=True)
        ]
        value, actual = (
            ti.kl_divergence(*whole, kind="logits"),
            ti.kl_divergence(*parts, kind="logits"),
        )
        ops.assert_near(actual.full_tensor(), value.detach())
        gradients = torch.autograd.grad(actual.sum(), parts)
        for one, gradient in zip(torch.autograd.grad(value.sum(), whole), gradients, strict=True):
            ops.assert_near(gradient.full_tensor(), one)
    halves = DTensor.from_local(LOGITS / 2, mesh, [Partial()])
    ops.assert_near(
        ti.entropy(halves, kind="logits").full_tensor(), ti.entropy(LOGITS, kind="logits")
    )


def check_flattened_rows() -> None:
    """Torch strides over the shards of dimensions that it has flattened into one."""
    logits, labels = ops.random(2, 4, 7), torch.arange(8).view(2, 4) % 7
    x = distributed(logits, mesh_of("two"), [1])
    y = distributed(labels, mesh_of("two"), [1])
    with Traffic() as traffic:
        loss = nn.functional.cross_entropy(x.flatten(0, 1), y.flatten(0, 1), reduction="none")
    assert not traffic.sent
    expected = torch.nn.functional.cross_entropy(
        logits.flatten(0, 1), labels.flatten(), reduction="none"
    )
    ops.assert_near(loss.full_tensor(), expected)


def check_second_derivative(dim: int) -> None:
    def second(function: Callable[..., Tensor], *inputs: Tensor) -> Tensor:
        gradient = torch.autograd.grad(function(*inputs), inputs[0], create_graph=True)[0]
        return torch.autograd.grad((gradient * gradient).sum(), inputs[0])[0]

    mesh = mesh_of("two")
    labels = distributed(LABELS, mesh, [0 if dim == 0 else None])
    loss = nn.functional.cross_entropy
    functions: list[tuple[Callable[..., Tensor], Tensor, Tensor]] = [
        (lambda p, q, f=f: f(p, q, kind="logits").sum(), OTHERS, distributed(OTHERS, mesh, [dim]))
        for f in MEASURES.values()
    ]
    for function, other, distributed_other in [*functions, (loss, LABELS, labels)]:
        x = distributed(LOGITS, mesh, [dim]).requires_grad_()
        ops.assert_near(
            second(function, x, distributed_other).full_tensor(),
            second(function, LOGITS.clone().requires_grad_(), other),
        )


def check_compiled(dim: int) -> None:
    def loss(x: Tensor, labels: Tensor) -> Tensor:
        return nn.functional.cross_entropy(x, labels, label_smoothing=0.25)

    mesh = mesh_of("two")
    x = distributed(LOGITS, mesh, [dim]).requires_grad_()
    labels = distributed(LABELS, mesh, [0 if dim == 0 else None])
    compiled = torch.compile(loss, backend="aot_eager", fullgraph=True)
    value, expected = compiled(x, labels), loss(x, labels)
    ops.assert_near(value.full_tensor(), expected.full_tensor().detach())
    ops.assert_near(
        torch.autograd.grad(value, x)[0].full_tensor(),
        torch.autograd.grad(expected, x)[0].full_tensor(),
    )


def check_compiled_errors() -> None:
    """What torch would have to gather for a view."""
    mesh = mesh_of("two")
    uneven = distributed(ops.random(3, 5, 4), mesh, [1])
    single, rows = (
        distributed(ops.random(1, 5), mesh, [0]),
        distributed(ops.random(3, 5), mesh, [0]),
    )
    for name, function, operands in (
        ("entropy", lambda x: ti.entropy(x, (1, 2), kind="logits"), (uneven,)),
        ("kl_divergence", lambda p, q: ti.kl_divergence(p, q, kind="logits"), (single, rows)),
    ):
        compiled = torch.compile(function, backend="aot_eager", fullgraph=True)
        with pytest.raises(RuntimeError, match=rf"(?s)DeviceMesh.*torch_infotheory\.{name}"):
            compiled(*operands)


def check_errors() -> None:
    four, two = mesh_of("four"), mesh_of("two")
    x, labels = distributed(LOGITS, four, [1]), distributed(LABELS, four, [None])
    with pytest.raises(RuntimeError, match="cross_entropy: expected all operands to be DTensors"):
        nn.functional.cross_entropy(x, LABELS)
    with pytest.raises(RuntimeError, match="kl_divergence: expected DTensors of one mesh"):
        ti.kl_divergence(x, distributed(OTHERS, two, [1]))
    with pytest.raises(IndexError, match="Target 9 is out of bounds"):
        nn.functional.cross_entropy(x, torch.where(labels == 6, 9, labels))
    with pytest.raises(IndexError, match="Target -3 is out of bounds"):
        nn.functional.cross_entropy(x, labels - 3 * (labels == 0).long())


# Local shards without DTensor. 7 classes, along dimension 1.

UNEVEN = {2: [5, 2], 4: [0, 4, 1, 2]}
CHUNKS = {2: [4, 3], 4: [2, 2, 2, 1]}


def local(x: Tensor, sizes: dict[int, list[int]], group: Any = None) -> Tensor:
    ranks = torch.distributed.get_world_size(group)
    return x.split(sizes[ranks], 1)[torch.distributed.get_rank(group)]


def compare_local(
    actual: Callable[..., Tensor],
    expected: Callable[..., Tensor],
    inputs: Sequence[Tensor],
    sizes: dict[int, list[int]],
    group: Any = None,
) -> None:
    whole = [x.clone().requires_grad_() for x in inputs]
    parts = [local(x, sizes, group).clone().requires_grad_() for x in inputs]
    with Traffic() as forward:
        value = actual(*parts)
    of_whole = expected(*whole)
    assert value.dtype == of_whole.dtype
    ops.assert_near(value, of_whole.detach())
    cotangent = ops.exact(ops.random(*value.shape, seed=3)).to(value.dtype)
    with Traffic() as backward:
        gradients = torch.autograd.grad(value, parts, cotangent)
    for one, gradient in zip(
        torch.autograd.grad(of_whole, whole, cotangent), gradients, strict=True
    ):
        ops.assert_near(gradient, local(one, sizes, group))
    if sizes is CHUNKS:  # and the number of classes is known
        assert len(forward.sent) <= 3 and forward.calls <= COLLECTIVES
    assert not backward.sent


def check_parallel_measures(name: str) -> None:
    x, y = ops.exact(ops.random(3, 7, 2)), ops.exact(ops.random(3, 7, 2, seed=1))
    # A total of 1 is among those that float32 cannot tell from 1.
    stated = {kind: ops.exact(ops.state(x, 1, kind, 0.75)) for kind in ops.KINDS}
    others = {kind: ops.exact(ops.state(y, 1, kind, 0.5)) for kind in ops.KINDS}
    two = mesh_of("two").get_group()
    kinds = ops.TWO_KINDS if name != "entropy" else ops.ONE_KIND
    for kind, group, dtype in product(kinds, (None, two), (torch.float64, torch.float32)):
        for sizes, classes in ((UNEVEN, None), (CHUNKS, 7)):
            inputs = [stated[kind[0]].to(dtype), *(others[k].to(dtype) for k in kind[1:])]
            options = {"kind": kind if len(kind) == 2 else kind[0], "base": 2, "keepdim": True}
            here = {"group": group, "classes": classes}
            compare_local(
                lambda *x, here=here, o=options: getattr(parallel, name)(*x, 1, **o, **here),
                lambda *x, o=options: getattr(ti, name)(*x, 1, **o),
                inputs,
                sizes,
                group,
            )


def check_parallel_loss(soft: bool, dtype: torch.dtype) -> None:
    x = ops.exact(ops.random(3, 7, 2)).to(dtype)
    inputs = [x, ops.exact(ops.random(3, 7, 2, seed=1).softmax(1)).to(dtype)] if soft else [x]
    labels = torch.tensor([[0, 4], [5, 6], [4, 2]])
    weight = ops.exact(ops.random(7, seed=2).exp()).to(dtype)
    # How a loss is reduced does not depend on the type.
    reductions = ("none", "mean", "sum") if dtype == torch.float64 else ("mean",)
    options = product(reductions, (None, weight), (0.0, 0.25, 1.0))
    for (reduction, w, smoothing), ignored in product(options, (-100,) if soft else (-100, 0)):
        for sizes, classes in ((UNEVEN, None), (CHUNKS, 7)):
            named = {"reduction": reduction, "label_smoothing": smoothing, "ignore_index": ignored}
            compare_local(
                lambda x, t=labels, w=w, n=named, c=classes: parallel.cross_entropy_loss(
                    x, t, w, **n, classes=c
                ),
                lambda x, t=labels, w=w, n=named: nn.functional.cross_entropy(x, t, w, **n),
                inputs,
                sizes,
            )


def check_parallel_types() -> None:
    x = local(LOGITS, CHUNKS).bfloat16().requires_grad_()
    wide = parallel.cross_entropy_loss(x, LABELS, dtype=torch.float32)
    expected = nn.functional.cross_entropy(LOGITS.bfloat16(), LABELS, dtype=torch.float32)
    ops.assert_near(wide, expected)
    assert torch.autograd.grad(wide, x)[0].dtype == torch.bfloat16
    with torch.autocast("cpu"):
        assert parallel.entropy(x, kind="logits").dtype == torch.float32
        assert parallel.entropy(x.double(), kind="logits").dtype == torch.float64
    one = parallel.cross_entropy_loss(x.double()[0], LABELS[:1])
    ops.assert_near(one, nn.functional.cross_entropy(LOGITS[0].bfloat16().double(), LABELS[:1]))
    assert parallel.js_divergence(x[:0], x[:0], kind="logits").shape == (0,)
    gradient = torch.func.grad(lambda x: parallel.entropy(x, kind="logits").sum())(x.double())
    assert gradient.shape == x.shape


def check_parallel_errors() -> None:
    x = local(LOGITS, CHUNKS).requires_grad_()
    too_large, negative = (torch.where(LABELS == 6, bad, LABELS) for bad in (9, -3))
    entropy, loss = parallel.entropy, parallel.cross_entropy_loss

    def logits(x: Tensor) -> Tensor:
        return entropy(x, kind="logits")

    def second() -> None:
        gradient = torch.autograd.grad(logits(x).sum(), x, create_graph=True)[0]
        torch.autograd.grad(gradient.sum(), x)

    for function, error, text in (
        (second, NotImplementedError, "parallel.entropy: no second derivative"),
        (lambda: torch.vmap(logits)(x), NotImplementedError, "parallel.entropy: no vmap"),
        (lambda: torch.func.jvp(logits, (x,), (x,)), NotImplementedError, "no forward-mode"),
        (lambda: torch.func.hessian(logits)(x), NotImplementedError, "parallel.entropy: no "),
        (lambda: entropy(x, kind="logit"), ValueError, "expected kind to be"),
        (lambda: entropy(x, base=1), ValueError, "expected base to be"),
        (lambda: entropy(x, (0, 1)), TypeError, "expected dim to be one class dimension"),
        (lambda: entropy(x, 2), IndexError, "dim 2 is out of range"),
        (lambda: entropy(x.long()), TypeError, "expected p to be a floating point tensor"),
        (lambda: entropy(x[:, :0]), RuntimeError, "expected at least one class"),
        (lambda: entropy(x, classes=9), RuntimeError, "of 9 classes on rank"),
        (lambda: parallel.kl_divergence(x, x[:2]), RuntimeError, "p and q of one shape"),
        (lambda: loss(x, too_large), IndexError, "Target 9 is out of bounds"),
        (lambda: loss(x, negative), IndexError, "Target -3 is out of bounds"),
        (lambda: loss(x, LABELS[:2]), ValueError, "of one batch size"),
        (lambda: loss(x, LABELS, WEIGHT[:3]), RuntimeError, "one weight for each of 7 classes"),
        (lambda: loss(x, LABELS, reduction="all"), ValueError, "all is not a valid value"),
    ):
        with pytest.raises(error, match=text):
            function()


@pytest.mark.transform("DTensor: batch shards")
@pytest.mark.parametrize("case", SHARDED_CASES, ids=str)
def test_batch_shards(ranks, case):
    ranks.run(check_batch_shards, SHARDED_CASES.index(case))


@pytest.mark.transform("DTensor: class shards")
@pytest.mark.parametrize("case", SHARDED_CASES, ids=str)
def test_class_shards(ranks, case):
    ranks.run(check_class_shards, SHARDED_CASES.index(case))


@pytest.mark.transform("DTensor: 2-D mesh")
@pytest.mark.parametrize("case", SHARDED_CASES, ids=str)
def test_grid(ranks, case):
    ranks.run(check_grid, SHARDED_CASES.index(case))


@pytest.mark.parametrize("op", dict.fromkeys(str(op) for op in ops.OPS if op.kinds))
def test_layouts(ranks, op):
    ranks.run(check_layouts, op)


@pytest.mark.parametrize("soft", [False, True], ids=["labels", "probabilities"])
@pytest.mark.parametrize("layout", range(len(LOSS_LAYOUTS)), ids=map(str, LOSS_LAYOUTS))
def test_losses(ranks, layout, soft):
    ranks.run(check_losses, layout, soft)


def test_loss_parallel(ranks):
    ranks.run(check_loss_parallel)


@pytest.mark.parametrize("name", MEASURES)
def test_edges(ranks, name):
    ranks.run(check_edges, name)


def test_edges_of_labels(ranks):
    ranks.run(check_edges_of_labels)


def test_temperature(ranks):
    ranks.run(check_temperature)


@pytest.mark.parametrize("kind", ops.KINDS)
@pytest.mark.parametrize("name", ["kl_divergence", "js_divergence"])
def test_nearly_equal(ranks, name, kind):
    ranks.run(check_nearly_equal, name, kind)


def test_nothing_large_is_made(ranks):
    ranks.run(check_nothing_large_is_made)


def test_operands_that_disagree(ranks):
    ranks.run(check_operands_that_disagree)


@since_2_12
def test_flattened_rows(ranks):
    ranks.run(check_flattened_rows)


@pytest.mark.parametrize("dim", [0, 1])
def test_second_derivative(ranks, dim):
    ranks.run(check_second_derivative, dim)


@pytest.mark.parametrize("dim", [0, 1])
def test_compiled(ranks, dim):
    ranks.run(check_compiled, dim)


def test_compiled_errors(ranks):
    ranks.run(check_compiled_errors)


def test_errors(ranks):
    ranks.run(check_errors)


@pytest.mark.parametrize("name", MEASURES)
def test_parallel_measures(ranks, name):
    ranks.run(check_parallel_measures, name)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("soft", [False, True], ids=["labels", "probabilities"])
def test_parallel_loss(ranks, soft, dtype):
    ranks.run(check_parallel_loss, soft, dtype)


def test_parallel_types(ranks):
    ranks.run(check_parallel_types)


def test_parallel_errors(ranks):
    ranks.run(check_parallel_errors)


@pytest.mark.parametrize("first", ["torch_infotheory", "torch.distributed.tensor"])
def test_rules_come_with_dtensor(first):
    """Whichever is imported first, and DTensor only if the program wants it."""
    program = f"""
import sys, {first}
if {first!r} == "torch_infotheory":
    assert "torch.distributed.tensor" not in sys.modules
import torch, torch_infotheory, torch.distributed.tensor
from torch._library.simple_registry import find_torch_dispatch_rule
for name in torch._C._dispatch_get_all_op_names():
    if name.startswith("torch_infotheory::_"):
        op = getattr(torch.ops.torch_infotheory, name.split("::")[1])
        assert find_torch_dispatch_rule(op.default, torch.distributed.tensor.DTensor), name
assert find_torch_dispatch_rule(
    torch.ops.torch_infotheory._entropy_backward.default, torch.distributed.tensor.DTensor
)
"""
    subprocess.run([sys.executable, "-c", program], check=True, timeout=300)
