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
from ranks import Ranks
from torch import Tensor

import torch_infotheory as ti
from torch_infotheory import parallel
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


@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
@pytest.mark.parametrize("name", [*LINEAR, "log_probs"])
def test_local_shards(ranks: Ranks, name: str, dtype: torch.dtype) -> None:
    ranks.run(check_draws, name, dtype, 0, 24)


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


@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
@pytest.mark.parametrize("name", LINEAR)
def test_distributed(ranks: Ranks, name: str, dtype: torch.dtype) -> None:
    ranks.run(check_distributed_draws, name, dtype, 0, 12)
