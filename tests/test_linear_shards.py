"""Losses from hidden states whose classes or rows lie on several ranks, against one process.

Options are drawn at random, from seeds. What is expected is the function of one process in float64,
on the whole tensors.
"""

import random
from collections.abc import Iterator
from functools import cache
from typing import Any

import pytest
import torch
from ranks import Ranks, Traffic, since_2_12
from torch import Tensor

import torch_infotheory as ti
from torch_infotheory import _linear_shards, parallel
from torch_infotheory.nn import functional as F

pytestmark = pytest.mark.skipif(
    not torch.distributed.is_gloo_available(), reason="this build of torch has no gloo"
)
SIZE = 4
LINEAR = [
    "linear_cross_entropy",
    "linear_entropy",
    "linear_kl_div",
    "linear_js_div",
    "linear_log_probs",
]
FACTORS = ("input", "linear_weight", "linear_bias", "target", "target_weight", "target_bias")
TOLERANCE = {
    torch.float64: {"rtol": 1e-9, "atol": 1e-10},
    torch.float32: {"rtol": 2e-4, "atol": 2e-5},
    torch.bfloat16: {"rtol": 2e-2, "atol": 2e-2},
}


@pytest.fixture(scope="module")
def ranks(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ranks]:
    ranks = Ranks(SIZE, tmp_path_factory.mktemp("ranks"))
    yield ranks
    ranks.stop()


# ---- calls at random ----


class Draw:
    """A call: the tensors of all classes, and along which dimension each has classes."""

    def __init__(self, name: str, seed: int, dtype: torch.dtype, classes: int) -> None:
        self.name, self.dtype = name, dtype
        self.choose = random.Random(seed)
        self.generator = torch.Generator().manual_seed(seed)
        self.x: dict[str, Tensor] = {}
        self.class_dims = {"linear_weight": 0, "linear_bias": 0, "target_weight": 0}
        self.class_dims |= {"target_bias": 0, "logits": -1}
        self.options: dict[str, Any] = {"temperature": self.any(1.0, 0.7, 1.7)}
        if self.any(True, False):
            self.options["dtype"] = self.any(torch.float32, torch.float64)
        self.classes, self.rows = classes, self.any(0, 1, 5, 6)
        getattr(self, f"draw_{name}", self.draw_linear)()

    def any(self, *values: Any) -> Any:
        return self.choose.choice(values)

    def random(self, *shape: int) -> Tensor:
        return torch.randn(shape, generator=self.generator, dtype=torch.float64).to(self.dtype)

    def labels(self, *shape: int, ignored: int) -> Tensor:
        labels = torch.randint(self.classes, shape, generator=self.generator)
        skipped = torch.rand(shape, generator=self.generator) < self.any(0.0, 0.4, 1.0)
        return torch.where(skipped, ignored, labels).to(self.any(torch.int64, torch.int32))

    def draw_log_probs(self) -> None:
        leading = self.any((self.rows,), (self.rows, 2))
        self.x["logits"] = self.random(*leading, self.classes)
        self.options["ignore_index"] = self.any(-100, 1)
        self.x["index"] = self.labels(*leading, ignored=self.options["ignore_index"])

    def draw_factors(self, *places: int) -> None:
        self.x["linear_weight"] = self.random(self.classes, *places, 4)
        if self.any(True, False):
            self.x["linear_bias"] = self.random(self.classes, *places)
        if self.any(True, False):
            self.options["softcap"] = 1.5

    def draw_linear_cross_entropy(self) -> None:
        places = self.any((), (), (2,), (2, 3))
        batch = (self.rows,) if places or self.any(True, True, False) else ()
        self.x["input"] = self.random(*batch, 4)
        self.draw_factors(*places)
        if self.any(True, False):
            self.x["weight"] = self.random(self.classes).abs() + 0.5
        self.options |= {
            "reduction": self.any("none", "mean", "sum"),
            "label_smoothing": self.any(0.0, 0.2),
        }
        if self.any(True, False):
            self.x["target"] = self.random(*batch, self.classes, *places).softmax(len(batch))
            self.class_dims["target"] = len(batch)
        else:
            ignored = self.any(None, -100, 1)
            self.options["ignore_index"] = ignored
            target = self.labels(*batch, *places, ignored=-100 if ignored is None else ignored)
            self.x["target"] = target

    def draw_linear(self) -> None:
        leading = self.any((self.rows,), (self.rows, 2), ())
        self.x["input"] = self.random(*leading, 4)
        self.draw_factors()
        if self.name == "linear_log_probs":
            self.options["ignore_index"] = self.any(-100, 1)
            self.x["index"] = self.labels(*leading, ignored=self.options["ignore_index"])
            return
        self.options["reduction"] = self.any("none", "mean", "sum")
        if self.any(True, False):
            self.x["mask"] = torch.rand(leading, generator=self.generator) < self.any(0.0, 0.6, 1.0)
        if self.name == "linear_entropy":
            self.options["base"] = self.any(None, 2)
            return
        if self.name == "linear_kl_div":
            self.options["direction"] = self.any("forward", "reverse")
        else:
            self.options["weight"] = self.any(0.5, 0.2)
        kind = self.any("logits", "log_probs", "probs", "states")
        if kind == "states":
            self.x["target"] = self.random(*leading, 3)
            self.x["target_weight"] = self.random(self.classes, 3)
            if self.any(True, False):
                self.x["target_bias"] = self.random(self.classes)
            return
        target = self.random(*leading, self.classes)
        target = target if kind == "logits" else target.log_softmax(-1)
        self.x["target"] = target.exp() if kind == "probs" else target
        self.class_dims["target"] = -1
        self.options["kind"] = kind

    def by(self) -> list[str]:
        return [key for key in (*FACTORS, "logits") if key in self.x and self.floats(key)]

    def floats(self, key: str) -> bool:
        return self.x[key].is_floating_point()

    def cotangents(self, values: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        generator = torch.Generator().manual_seed(1)
        exact = (torch.rand(v.shape, generator=generator).bfloat16() for v in values)
        return tuple(g.to(v.dtype) for g, v in zip(exact, values, strict=True))

    def expected(self) -> tuple[tuple[Tensor, ...], dict[str, Tensor]]:
        function = ti.log_probs if self.name == "log_probs" else getattr(F, self.name)
        x = {key: t.double() if self.floats(key) else t for key, t in self.x.items()}
        for key in self.by():
            x[key].requires_grad_()
        values = several(function(**x, **self.options | {"dtype": None}))
        return values, self.gradients(values, x)

    def gradients(self, values: tuple[Tensor, ...], x: dict[str, Tensor]) -> dict[str, Tensor]:
        by = self.by()
        return dict(
            zip(
                by,
                torch.autograd.grad(values, [x[key] for key in by], self.cotangents(values)),
                strict=True,
            )
        )

    def compare(
        self,
        values: tuple[Tensor, ...],
        gradients: dict[str, Tensor],
        expected: tuple[Tensor, ...],
        by: dict[str, Tensor],
    ) -> None:
        for value, whole in zip(values, expected, strict=True):
            assert value.dtype == self.options.get("dtype", self.dtype)
            self.assert_close(value, whole, "value")
        for key, whole in by.items():
            assert gradients[key].dtype == self.dtype
            self.assert_close(gradients[key], whole, key)

    def assert_close(self, actual: Tensor, expected: Tensor, what: str) -> None:
        torch.testing.assert_close(
            actual.double(),
            expected.detach(),
            **max((TOLERANCE[t] for t in (self.dtype, actual.dtype)), key=lambda t: t["atol"]),
            equal_nan=True,
            msg=lambda text: f"{self.name} {what} {self.options} {self.shapes()}\n{text}",
        )

    def shapes(self) -> dict[str, Any]:
        return {key: tuple(x.shape) for key, x in self.x.items()}


def several(values: Any) -> tuple[Tensor, ...]:
    return values if isinstance(values, tuple) else (values,)


# ---- local shards: what follows runs on the ranks ----


@cache
def groups() -> dict[int, Any]:
    return {n: torch.distributed.new_group(range(n)) for n in (2, 3)} | {4: None}


def shards_of(draw: Draw, ranks: int) -> tuple[list[int], int | None]:
    """The numbers of classes on the ranks, and whether to say how many there are."""
    if draw.any(True, False):
        chunk = -(-draw.classes // ranks)
        return [
            min(chunk, max(draw.classes - chunk * rank, 0)) for rank in range(ranks)
        ], draw.classes
    cuts = sorted(draw.choose.randint(0, draw.classes) for _ in range(ranks - 1))
    return [b - a for a, b in zip([0, *cuts], [*cuts, draw.classes], strict=True)], None


def check_draws(name: str, dtype: torch.dtype, first: int, last: int) -> None:
    for seed in range(first, last):
        draw = Draw(name, seed, dtype, classes=random.Random(seed).choice((7, 7, 9, 2)))
        size = draw.any(*groups())
        if torch.distributed.get_rank() < size:
            check_draw(draw, groups()[size])


def check_draw(draw: Draw, group: Any) -> None:
    rank = torch.distributed.get_rank(group)
    sizes, classes = shards_of(draw, torch.distributed.get_world_size(group))
    x = {
        key: t.split(sizes, draw.class_dims[key])[rank].clone() if key in draw.class_dims else t
        for key, t in draw.x.items()
    }
    for key in draw.by():
        x[key].requires_grad_()
    function = getattr(parallel, draw.name)
    values = several(function(**x, **draw.options, group=group, classes=classes))
    gradients = draw.gradients(values, x)
    expected, by = draw.expected()
    for key in by:
        if key in draw.class_dims:
            by[key] = by[key].split(sizes, draw.class_dims[key])[rank]
    draw.compare(values, gradients, expected, by)


def check_blocks(name: str) -> None:
    """So few rows in a block that there are several."""
    whole = _linear_shards._BLOCK_BYTES, _linear_shards._FEW_ROWS
    _linear_shards._BLOCK_BYTES, _linear_shards._FEW_ROWS = 1, 2
    try:
        check_draws(name, torch.float64, 100, 110)
        check_distributed_draws(name, torch.float64, 100, 106)
    finally:
        _linear_shards._BLOCK_BYTES, _linear_shards._FEW_ROWS = whole


ROWS, CLASSES = 100, 4 * 130_000  # of which a block has 64 rows


def check_traffic(reduction: str) -> None:
    """Numbers of rows forward, backward the gradient of the hidden states; one block of logits."""
    generator = torch.Generator().manual_seed(torch.distributed.get_rank())
    hidden, teacher = torch.ones(ROWS, 2, requires_grad=True), torch.ones(ROWS, 3)
    weight = torch.randn(CLASSES // 4, 2, generator=generator).requires_grad_()
    other = torch.randn(CLASSES // 4, 3, generator=generator)
    labels = torch.arange(ROWS)
    labels[10:20] = -100
    gather = "all_gather_into_tensor"
    for loss, models, collective, numbers in (
        (
            lambda **o: parallel.linear_cross_entropy(hidden, weight, labels, **o),
            *(1, "all_reduce", 4),
        ),
        (
            lambda **o: parallel.linear_kl_div(hidden, weight, teacher, target_weight=other, **o),
            *(2, gather, 7),
        ),
        (lambda **o: parallel.linear_entropy(hidden, weight, **o), 1, gather, 4),
    ):
        with Traffic() as forward:
            value = loss(reduction=reduction, classes=CLASSES)
        with Traffic() as backward:
            torch.autograd.grad(value.sum(), (hidden, weight))
        block = 64 * CLASSES // 4
        assert max(forward.made, backward.made) <= block, (forward.made, backward.made)
        assert forward.calls == {collective} and forward.largest <= numbers * 64
        assert backward.sent == [("all_reduce", hidden.numel())]
        # In each of two blocks: the logits, and a product for either factor of the model.
        again = models if reduction == "none" else 0
        assert forward.products + backward.products == 2 * (models + 2 + again)


def factors(*leading: int) -> tuple[Tensor, Tensor, Tensor]:
    """Hidden states, this rank's part of a weight of 7 classes on 4 ranks, and the whole."""
    generator = torch.Generator().manual_seed(0)
    hidden, weight = (torch.randn(n, 4, generator=generator).double() for n in (5, 7))
    part = weight.split(2)[torch.distributed.get_rank()]
    return hidden.requires_grad_(), part.clone().requires_grad_(), weight.requires_grad_()


def check_transforms() -> None:
    hidden, part, weight = factors()

    def entropy(h: Tensor, w: Tensor = part) -> Tensor:
        return parallel.linear_entropy(h, w)

    expected = torch.autograd.grad(F.linear_entropy(hidden, weight), hidden)[0]
    torch.testing.assert_close(torch.func.grad(entropy)(hidden.detach()), expected)
    value = entropy(hidden)
    for _ in range(2):
        gradient = torch.autograd.grad(value, hidden, retain_graph=True)[0]
        torch.testing.assert_close(gradient, expected)
    with torch.autocast("cpu"):
        half = entropy(hidden.float(), part.float())
        whole = F.linear_entropy(hidden.float(), weight.float())
    assert half.dtype == whole.dtype == torch.float32
    torch.testing.assert_close(half, whole)
    assert parallel.log_probs(part.T, torch.zeros(4).long()).entropy.shape == (4,)

    def second() -> None:
        gradient = torch.autograd.grad(entropy(hidden), hidden, create_graph=True)[0]
        torch.autograd.grad(gradient.sum(), hidden)

    for function, text in (
        (second, "parallel.linear_entropy: no second derivative"),
        (lambda: torch.vmap(entropy)(hidden[None]), "parallel.linear_entropy: no vmap"),
        (lambda: torch.func.jvp(entropy, (hidden,), (hidden,)), "no forward-mode"),
    ):
        with pytest.raises(NotImplementedError, match=text):
            function()


def check_bad_input() -> None:
    hidden, part, _ = factors()
    labels, ones = torch.tensor([0, 6, 3, 3, 1]), torch.ones(7, dtype=torch.float64)
    loss, entropy = parallel.linear_cross_entropy, parallel.linear_entropy
    for bad in (7, -3):
        wrong = torch.where(labels == 6, bad, labels)
        for function in (loss, parallel.linear_log_probs):
            with Traffic() as traffic, pytest.raises(IndexError, match=f"Target {bad} is out of"):
                function(hidden, part, wrong)
            assert traffic.products == 0
        with pytest.raises(IndexError, match=f"Target {bad} is out of bounds"):
            parallel.log_probs(part.T.new_ones(5, part.size(0)), wrong)
    for function, error, text in (
        (lambda: loss(hidden, part, labels, ones[:3]), TypeError, "positional"),
        (lambda: loss(hidden, part, labels, weight=ones[:3]), RuntimeError, "each of 7 classes"),
        (
            lambda: loss(hidden, part, labels, weight=ones.clone().requires_grad_()),
            RuntimeError,
            "not differentiable with respect to weight",
        ),
        (lambda: loss(hidden, part, labels[:2]), ValueError, "of one batch size"),
        (lambda: loss(hidden, part, labels, reduction="all"), ValueError, "all is not a valid"),
        (lambda: loss(hidden, part, labels, classes=9), RuntimeError, "of 9 classes on rank"),
        (lambda: entropy(hidden[:, 1:], part), RuntimeError, "of shape"),
        (lambda: entropy(hidden, part, linear_bias=ones), RuntimeError, "linear_bias of shape"),
        (lambda: entropy(hidden, part.float()), RuntimeError, "of one dtype"),
        (lambda: entropy(hidden, part, temperature=0.0), ValueError, "temperature"),
        (lambda: entropy(hidden, part, mask=ones), TypeError, "mask"),
        (lambda: entropy(None, part), TypeError, "input"),
        (lambda: entropy(hidden, part[:0]), RuntimeError, "at least one class"),
    ):
        with pytest.raises(error, match=text):
            function()


@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
@pytest.mark.parametrize("name", [*LINEAR, "log_probs"])
def test_local_shards(ranks: Ranks, name: str, dtype: torch.dtype) -> None:
    ranks.run(check_draws, name, dtype, 0, 24)


@pytest.mark.parametrize("name", LINEAR)
def test_blocks(ranks: Ranks, name: str) -> None:
    ranks.run(check_blocks, name)


@pytest.mark.parametrize("reduction", ["none", "mean"])
def test_traffic_and_memory(ranks: Ranks, reduction: str) -> None:
    ranks.run(check_traffic, reduction)


def test_transforms(ranks: Ranks) -> None:
    ranks.run(check_transforms)


def test_bad_input(ranks: Ranks) -> None:
    ranks.run(check_bad_input)


# ---- DTensors ----


@cache
def meshes() -> list[Any]:
    from torch.distributed.tensor import init_device_mesh

    return [init_device_mesh("cpu", (4,)), init_device_mesh("cpu", (2, 2))]


def check_distributed_draws(name: str, dtype: torch.dtype, first: int, last: int) -> None:
    for seed in range(first, last):
        draw = Draw(name, seed, dtype, classes=random.Random(seed).choice((7, 9, 2)))
        check_distributed(draw, draw.any(*meshes()))


def check_distributed(draw: Draw, mesh: Any) -> None:
    """Any operand sharded along any dimension."""
    from torch.distributed.tensor import Replicate, Shard, distribute_tensor

    x, layout = {}, {}
    for key, t in draw.x.items():
        dims = [None, *range(t.dim()), *([0, 0] if key == "linear_weight" else [])]
        layout[key] = [draw.any(*dims) for _ in range(mesh.ndim)]
        placements = [Replicate() if dim is None else Shard(dim) for dim in layout[key]]
        x[key] = distribute_tensor(t, mesh, placements, src_data_rank=None)
    for key in draw.by():
        x[key].requires_grad_()
    draw.options["layout"] = layout  # for a message
    options = {key: value for key, value in draw.options.items() if key != "layout"}
    values = several(getattr(F, draw.name)(**x, **options))
    given = (
        distribute_tensor(g, mesh, v.placements, src_data_rank=None)
        for g, v in zip(draw.cotangents(values), values, strict=True)
    )
    by = draw.by()
    gradients = torch.autograd.grad(values, [x[key] for key in by], list(given))
    gradients = {key: g.full_tensor() for key, g in zip(by, gradients, strict=True)}
    del draw.options["layout"]
    expected = draw.expected()
    draw.options["layout"] = layout
    draw.compare(tuple(v.full_tensor() for v in values), gradients, *expected)


def placed(x: Tensor, mesh: Any, *dims: int | None) -> Tensor:
    from torch.distributed.tensor import Replicate, Shard, distribute_tensor

    placements = [Replicate() if dim is None else Shard(dim) for dim in dims]
    out = distribute_tensor(x.detach(), mesh, placements, src_data_rank=None)
    return out.requires_grad_(x.requires_grad)


def check_layouts() -> None:
    """How the results lie, and what travels: nothing of the size of a weight or of logits."""
    from torch.distributed.tensor import Partial, Replicate, Shard

    line, grid = meshes()
    hidden = torch.ones(12, 2, requires_grad=True)
    weight = torch.ones(4 * 500, 2, requires_grad=True)
    labels = torch.arange(12)
    rows, classes = Shard(0), Shard(0)
    for mesh, of_hidden, of_weight, by_hidden, by_weight, backward in (
        (line, [None], [0], [Replicate()], [classes], {("all_reduce", 24)}),
        (line, [0], [None], [rows], [Partial()], set()),
        (
            line,
            [0],
            [0],
            [rows],
            [classes],
            {("all_gather_into_tensor", 6), ("all_gather_into_tensor", 3)}
            | {("reduce_scatter_tensor", 24)},
        ),
        (
            grid,
            [0, None],
            [None, 0],
            [rows, Replicate()],
            [Partial(), classes],
            {("all_reduce", 12)},
        ),
    ):
        x, w = placed(hidden, mesh, *of_hidden), placed(weight, mesh, *of_weight)
        y = placed(labels, mesh, *of_hidden)
        for reduction in ("mean", "none"):
            with Traffic() as forward:
                value = F.linear_cross_entropy(x, w, y, reduction=reduction)
            assert forward.calls <= {"all_reduce", "all_gather_into_tensor"}
            assert forward.largest <= 12 and forward.made <= 12 * 500
            alone = of_hidden == of_weight
            lies = [rows if d == 0 and not alone else Replicate() for d in of_hidden]
            assert list(value.placements) == (
                lies if reduction == "none" else [Replicate()] * len(lies)
            )
            g = placed(
                torch.ones(value.shape), mesh, *[getattr(p, "dim", None) for p in value.placements]
            )
            with Traffic() as traffic:
                gradients = torch.autograd.grad(value, (x, w), g)
            assert set(traffic.sent) == backward, traffic.sent
            assert [list(g.placements) for g in gradients] == [by_hidden, by_weight]


def check_higher(name: str) -> None:
    """The second and third derivatives of DTensors."""
    draw = Draw(name, 5, torch.float64, classes=5)
    mesh = meshes()[0]
    x = {k: placed(t, mesh, 0 if k == "linear_weight" else None) for k, t in draw.x.items()}
    whole = {k: t.clone() for k, t in draw.x.items()}
    results = []
    for given in (x, whole):
        by = [given[key].requires_grad_() for key in draw.by()]
        total = sum(
            v.double().square().sum() for v in several(getattr(F, name)(**given, **draw.options))
        )
        for _ in range(3):
            gradients = torch.autograd.grad(total, by, create_graph=True, allow_unused=True)
            gradients = [g for g in gradients if g is not None]
            total = sum(g.square().sum() for g in gradients)
        results.append([g.full_tensor() if given is x else g for g in gradients])
    torch.testing.assert_close(*results, rtol=1e-7, atol=1e-9)


def check_distributed_modes() -> None:
    from torch.distributed.tensor.experimental import implicit_replication

    mesh = meshes()[0]
    hidden, _, weight = factors()
    labels = torch.tensor([0, 6, -100, 3, 1])
    expected = F.linear_cross_entropy(hidden, weight, labels)
    by = torch.autograd.grad(expected, (hidden, weight))
    part = placed(weight, mesh, 0)
    with pytest.raises(RuntimeError, match="linear_cross_entropy: expected all operands to be DT"):
        F.linear_cross_entropy(hidden, part, labels)
    with implicit_replication():
        value = F.linear_cross_entropy(hidden, part, labels)
    gradients = torch.autograd.grad(value, (hidden, part))
    torch.testing.assert_close(value.full_tensor(), expected)
    torch.testing.assert_close([gradients[0], gradients[1].full_tensor()], list(by))
    x, y = placed(hidden, mesh, None), placed(labels, mesh, None)
    for bad in (7, -3):
        with Traffic() as traffic, pytest.raises(IndexError, match=f"Target {bad} is out of"):
            F.linear_cross_entropy(x, part, torch.where(y == 6, bad, y))
        assert traffic.products == 0
    with pytest.raises(RuntimeError, match="linear_entropy: expected DTensors of one mesh"):
        F.linear_entropy(placed(hidden, meshes()[1], None, None), part)
    # A gradient by class weights is left to the composition.
    by_weight = torch.ones(7, dtype=torch.float64, requires_grad=True)
    soft = torch.eye(7, dtype=torch.float64)[:5]
    results = []
    for place in (lambda t: t, lambda t: placed(t, mesh, None)):
        w = place(by_weight)
        loss = F.linear_cross_entropy(place(hidden), place(weight), place(soft), weight=w)
        results.append(torch.autograd.grad(loss, w)[0])
    torch.testing.assert_close(results[1].full_tensor(), results[0])


def check_flattened_rows() -> None:
    """Rows of two dimensions that were flattened into one lie in strides."""
    mesh = meshes()[0]
    states = torch.arange(24.0).view(2, 4, 3)
    x, w = placed(states, mesh, 1).flatten(0, 1), placed(torch.ones(5, 3), mesh, None)
    torch.testing.assert_close(
        F.linear_entropy(x, w, reduction="none").full_tensor(),
        F.linear_entropy(states.flatten(0, 1), torch.ones(5, 3), reduction="none"),
    )


def check_distributed_compiled() -> None:
    mesh = meshes()[0]
    hidden, _, weight = factors()
    labels = torch.tensor([0, 6, -100, 3, 1])
    expected = F.linear_cross_entropy(hidden, weight, labels)
    x, w, y = placed(hidden, mesh, 0), placed(weight, mesh, 0), placed(labels, mesh, None)
    compiled = torch.compile(F.linear_cross_entropy, backend="aot_eager", fullgraph=True)
    value = compiled(x, w, y)
    gradients = torch.autograd.grad(value, (x, w))
    torch.testing.assert_close(value.full_tensor(), expected)
    torch.testing.assert_close(
        [g.full_tensor() for g in gradients],
        list(torch.autograd.grad(expected, (hidden, weight))),
    )


@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
@pytest.mark.parametrize("name", LINEAR)
def test_distributed(ranks: Ranks, name: str, dtype: torch.dtype) -> None:
    ranks.run(check_distributed_draws, name, dtype, 0, 12)


def test_layouts(ranks: Ranks) -> None:
    ranks.run(check_layouts)


@pytest.mark.parametrize("name", LINEAR)
def test_higher_derivatives(ranks: Ranks, name: str) -> None:
    ranks.run(check_higher, name)


def test_distributed_modes(ranks: Ranks) -> None:
    ranks.run(check_distributed_modes)


@since_2_12
def test_flattened_rows(ranks: Ranks) -> None:
    ranks.run(check_flattened_rows)


def test_distributed_compiled(ranks: Ranks) -> None:
    ranks.run(check_distributed_compiled)
