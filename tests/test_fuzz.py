"""Random calls against float64: together what the tables of the other tests vary one at a time.

A call is drawn from a seed and a number: an op or loss of ops.py with its options, sizes on both
sides of the boundaries in the kernels, and a place in memory for each operand and for the gradient
that comes in. Its value and every gradient are compared with the formulas of reference.py, or with
torch's losses, in float64; on other devices also with the CPU; and a part of its rows with all.

    python tests/test_fuzz.py --seconds 60                        every device, a new seed
    python tests/test_fuzz.py --device cpu --seed 7 --call 31     one call again, with its error
"""

import argparse
import math
import os
import random
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial, reduce
from itertools import count
from typing import Any

import pytest
import reference
import test_language_models
import test_linear
import test_soft_histogram
import torch
from composites import Traced
from ops import (
    DEVICES,
    DTYPES,
    KINDS,
    OPS,
    TOTALS,
    Layout,
    Op,
    assert_near,
    emulating,
    measure_case,
    moved,
    state,
)
from torch import Tensor

import torch_infotheory
from torch_infotheory.nn import functional

# Of ATEN_CPU_CAPABILITY, which a process reads once; up to what this machine has.
CAPABILITIES = ["default", "avx2", "avx512"]
BEST = torch.backends.cpu.get_cpu_capability().lower()
CAPABILITIES = CAPABILITIES[: CAPABILITIES.index(BEST) + 1] if BEST in CAPABILITIES else [BEST]
PLACES = [
    (device, capability)
    for device in DEVICES
    for capability in (CAPABILITIES if device == "cpu" else [BEST])
]
CALLS = (
    400  # of each place, in a quarter of a minute; `make fuzz` draws others for as long as wanted
)

# Packs of lanes, row groups and four of them in step, runs, few classes, few cells, blocks,
# warps, segments, parts and pieces of work all end at powers of two.
BOUNDARIES = [2**n for n in range(18)]
BUDGETS = {40: 4, 300: 8, 3000: 8, 30_000: 2, 140_000: 1}  # elements of an operand, and how often
LABELS = (torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64)
TORCH_LOSSES = {
    "cross_entropy_loss": torch.nn.functional.cross_entropy,
    "nll_loss": torch.nn.functional.nll_loss,
    "kl_div": torch.nn.functional.kl_div,
}

# A root has no derivative where it is 0; what it is of is drawn. That of |p - q| jumps at p = q.
DRAWN = [op for op in OPS if not (op.is_root or op.name == "total_variation_distance")]


class Random(random.Random):
    """What calls are drawn from."""

    def chance(self, probability: float) -> bool:
        return self.random() < probability

    def size(self, most: int) -> int:
        """From 1 to `most`, often on a boundary or beside one."""
        if self.chance(0.3):
            return round(most ** self.random())
        size = self.choice([b for b in BOUNDARIES if b <= most]) + self.choice((-1, 0, 0, 1, 3))
        return min(max(size, 1), most)

    def factors(self, size: int, most: int) -> list[int]:
        """Sizes of up to `most` dimensions with at most `size` places."""
        sizes = [size]
        while len(sizes) < most and self.chance(0.4):
            sizes.append(self.size(sizes[-1]))
            sizes[-2] //= sizes[-1]
        return self.sample(sizes, len(sizes))

    def normal(self, *shape: int) -> Tensor:
        generator = torch.Generator().manual_seed(self.getrandbits(62))
        return torch.randn(shape, generator=generator, dtype=torch.float64)

    def placed(self, x: Tensor, rows: Sequence[int], order: Sequence[int] | None = None) -> Tensor:
        """The numbers of `x` elsewhere in memory: permuted, stepped, padded, shifted; and perhaps
        the first of a dimension of `rows` in the place of all others, without a stride."""
        if x.dtype == torch.bool:
            return self.placed(x.byte(), rows, order).view(torch.bool)
        dims = list(range(x.dim()))
        order = order or self.sample(dims, len(dims))
        rarely = 0.0 if self.chance(0.4) else 0.1
        step = [2 if self.chance(rarely) else 1 for _ in dims]
        padding = [3 if self.chance(2 * rarely) else 0 for _ in dims]
        expanded = [d in rows and self.chance(rarely) for d in dims]
        offset = self.choice((0, 1, 3, 64)) if rarely else 0
        strides, places, kept = [0] * x.dim(), 1, x
        for d in reversed(order):
            if expanded[d]:
                kept = kept.narrow(d, 0, min(1, x.shape[d]))
            else:
                strides[d] = places * step[d]
                places *= x.shape[d] * step[d] + padding[d]
        # Whoever reads what lies between meets a NaN, or a label that is no class.
        other = torch.nan if x.is_floating_point() else torch.iinfo(x.dtype).max
        memory = torch.full((offset + places,), other, dtype=x.dtype)
        memory.as_strided(kept.shape, strides, offset).copy_(kept)
        return memory.as_strided(x.shape, strides, offset)


@dataclass
class Call:
    op: Op
    arguments: list[Tensor]
    options: dict[str, Any]
    reference: Callable[..., Tensor]  # of the arguments in float64
    wanted: list[bool]  # the arguments whose gradient is asked for
    in_double: bool
    g: Tensor
    threads: int
    terms: list[float]  # the size of those that may cancel, in the value and in each gradient
    # The dimensions of the arguments and of the value that count the same rows, if there are any.
    rows: tuple[list[int | None], int] | None
    amplified: float = 1.0  # the rounding, relative to the numbers themselves
    # The first argument has probabilities of 0. The gradient there, which some formulas define, is
    # for other tests: here it is a number.
    has_zeros: bool = False
    precision: str = "highest"  # of torch.set_float32_matmul_precision

    def __str__(self) -> str:
        def memory(x: Tensor) -> str:
            return f"{x.dtype} {[*x.shape]} / {[*x.stride()]} + {x.storage_offset()}"

        *arguments, g = map(memory, (*self.arguments, self.g))
        options = [f"{name}={option}" for name, option in self.options.items()]
        return f"{self.op}({', '.join(arguments + options)}), g {g}, {self.threads} threads"

    def of(self, function: Callable[..., Tensor], arguments: list[Tensor], g: Tensor) -> "Results":
        """The value, and the gradients that are wanted."""
        leaves = [
            x.detach().requires_grad_(wanted)
            for x, wanted in zip(arguments, self.wanted, strict=True)
        ]
        value = function(*leaves)
        gradients = torch.autograd.grad(value, [x for x in leaves if x.requires_grad], g)
        return [x.detach().cpu() for x in (value, *gradients)]

    def on(self, device: str, arguments: list[Tensor], g: Tensor) -> "Results":
        *there, g = (moved(x, DEVICES[device]) for x in (*arguments, g))
        options = {
            name: moved(x, DEVICES[device]) if isinstance(x, Tensor) else x
            for name, x in self.options.items()
        }
        torch.set_num_threads(self.threads)
        torch.set_float32_matmul_precision(self.precision)
        with emulating(device):
            return self.of(lambda *inputs: self.op.function(*inputs, **options), there, g)

    def check(self, device: str) -> None:
        expected = self.of(self.reference, list(map(exact, self.arguments)), exact(self.g))
        results = self.on(device, self.arguments, self.g)
        self.assert_near(results, expected, self.arguments)
        if device != "cpu":
            on_cpu = self.on("cpu", self.arguments, self.g)
            self.assert_near(on_cpu, expected, self.arguments, "on the CPU")
        if self.rows:
            dims, dim = self.rows
            arguments = list(map(part, self.arguments, dims))
            of_part = self.on(device, arguments, part(self.g, dim))
            by = [d for d, wanted in zip(dims, self.wanted, strict=True) if wanted]
            self.assert_near(
                of_part, list(map(part, expected, (dim, *by))), arguments, "part of the rows"
            )

    def assert_near(
        self,
        results: "Results",
        expected: "Results",
        arguments: list[Tensor],
        of: str = "all rows",
    ) -> None:
        gradients = [number for number, wanted in enumerate(self.wanted, 1) if wanted]
        for number, x, y in zip([0, *gradients], results, expected, strict=True):
            assert x.shape == y.shape
            if self.has_zeros and number == 1:
                none = arguments[0] == 0
                assert x[none].isfinite().all()
                x = x.masked_fill(none, 0)
            rounded = torch.float32 if x.dtype == torch.float64 and not self.in_double else x.dtype
            terms = max(self.terms[number], self.amplified * float(y.abs().nan_to_num(0, 0).max()))
            try:
                assert_near(x, y.double(), rounded, terms)
            except AssertionError as error:
                what = f"gradient by argument {number}" if number else "value"
                raise AssertionError(f"{of}, {what}: {error}") from None


Results = list[Tensor]


def exact(x: Tensor) -> Tensor:
    return (x.double() if x.is_floating_point() else x.long()).contiguous()


def part(x: Tensor, dim: int | None) -> Tensor:
    return x if dim is None else x.narrow(dim, x.shape[dim] // 3, (x.shape[dim] + 1) // 2)


def draw(draws: Random) -> Call:
    op = draws.choice([*DRAWN, *OTHERS])
    most = draws.choices([*BUDGETS], BUDGETS.values())[0]
    sizes = [draws.size(most)]
    sizes.append(draws.size(most // sizes[0]))
    draw_call = OTHERS.get(op) or (draw_measure if op.kinds else draw_loss)
    return draw_call(draws, op, *draws.sample(sizes, 2))


def draw_dtypes(draws: Random, number: int, among: Sequence[torch.dtype]) -> list[torch.dtype]:
    first = draws.choice(among)
    others = (first if draws.chance(0.7) else draws.choice(among) for _ in range(number - 1))
    return [first, *others]


def draw_order(draws: Random, rank: int, rows: list[int]) -> list[int]:
    """Of dimensions in memory: as they are, with the rows innermost, or any."""
    dims = range(rank)
    inside = [*(d for d in dims if d not in rows), *rows]
    return draws.choice(([*dims], inside, draws.sample(dims, rank)))


def terms_of(x: Tensor, kind: str, dims: tuple[int, ...], op: Op) -> tuple[float, float]:
    """The size of terms that may cancel, in the value and in the gradient by `x`.

    By a probability they are logarithms, by its logarithm a probability times a logarithm; of what
    is itself a logarithm, 1 / p and 1.
    """
    p = reference.distribution(Traced(x.double()), dims, kind).tensor
    least, largest = float(p[p > 0].min()), float(p.max())
    logarithm = max(1.0, -math.log(least))
    if op.name == "perplexity":
        return p.numel(), p.numel()
    if not op.elementwise:
        return 1.0, logarithm * (1.0 if kind in ("probs", "counts") else largest)
    # Sums of the gradients that come in, which may be one number.
    of_sums = math.prod(p.shape[d] for d in dims)
    by = max(1.0, float((1 / p.log()).abs().max())) if "normalized" in op.options else 1.0
    return max(logarithm, by), by**2 * of_sums * (1 / least if kind in ("probs", "counts") else 1.0)


# Beside the orders of OPS. Those of the measures of an order 0 or infinity have no derivative.
ORDERS = (-1.5, -0.1, 0.1, 0.3, 0.76, 0.99, 1.01, 1.2, 3.0)


def of_drawn_parameter(draws: Random, op: Op) -> Op:
    """The same measure with another order or weight."""
    name = next(iter({"alpha", "weight"} & op.options.keys()), None)
    if not name or draws.chance(0.4):
        return op
    if name == "weight":
        value = draws.choice((0.0, 1.0, 0.01, 0.9, draws.random()))
    else:
        signed = op.name == "alpha_divergence"
        value = draws.choice([order for order in ORDERS if signed or order > 0])
    formula = partial(getattr(reference, op.name), **{name: value})
    infinite = op.is_infinite_at_0 or value < 0
    return replace(op, formula=formula, options={name: value}, is_infinite_at_0=infinite)


def draw_measure(draws: Random, op: Op, classes: int, rows: int) -> Call:
    op = of_drawn_parameter(draws, op)
    kinds = tuple(draws.choice((*KINDS, *KINDS, "counts")) for _ in op.kinds[0])
    classes = max(classes, 2 if "normalized" in op.options else 1)  # log 1 divides nothing
    named = [("rows", size) for size in draws.factors(rows, 3)] if rows > 1 else []
    left = classes
    for number, name in enumerate(op.dims, 1):
        size = left if number == len(op.dims) else draws.size(left)
        left //= size
        named += [(name, size) for size in draws.factors(size, 2)]
    if draws.chance(0.6):
        draws.shuffle(named)
    shape, rank = [size for _, size in named], len(named)
    at = {name: [d for d, (of, _) in enumerate(named) if of == name] for name in ("rows", *op.dims)}
    dims = {name: tuple(draws.choice((d, d - rank)) for d in at[name]) for name in op.dims}
    layout_dims = {name: d[0] if len(d) == 1 else d for name, d in dims.items()}

    # Nearly equal, or nearly independent, with totals that let them keep their digits. The totals
    # of half types are too rough to tell.
    close = draws.chance(0.3)
    dtypes = draw_dtypes(draws, len(kinds), DTYPES[:2] if close else DTYPES)
    shapes = [shape[:] for _ in kinds]
    broadcast = len(kinds) == 2 and draws.chance(0.15) and {*dtypes} <= {*DTYPES[:2]}
    has_zeros = not (close or broadcast or op.elementwise or op.is_infinite_at_0)
    has_zeros = has_zeros and draws.chance(0.3)
    for d in at["rows"] if broadcast else []:
        draws.choice(shapes)[d] = draws.choice((1, shape[d]))
    layout = Layout("fuzz", tuple(shapes[0]), layout_dims, q_shape=tuple(shapes[-1]))
    case = measure_case(op, kinds, layout)
    without_reduction = measure_case(replace(op, options={}), kinds, layout)

    spread, middle = draws.choice((0.5, 1, 3)), draws.choice((0, 0, 50, -50))
    constant = [at[name] for name in op.dims] if len(op.dims) == 2 else [[]]
    common = sum(
        spread * draws.normal(*(1 if d in dims else n for d, n in enumerate(shape)))
        for dims in constant
    )
    # Powers of two, because the quotients of others are rounded.
    tempered = op.takes("temperature") and "logits" in kinds and draws.chance(0.2)
    heat = draws.choice((0.5, 2.0, 4.0)) if tempered else 1.0
    order = draw_order(draws, rank, at["rows"])
    arguments: list[Tensor] = []
    terms: list[tuple[float, float]] = []
    for kind, dtype, total, own in zip(kinds, dtypes, TOTALS, shapes, strict=False):
        x = common + 0.01 * draws.normal(*shape) if close else spread * draws.normal(*shape)
        none = torch.zeros(shape, dtype=torch.bool)
        if has_zeros and not arguments:
            none = draws.normal(*shape) > 1
            none &= ~none.all(case.axes, keepdim=True)
        x = (x + middle).masked_fill(none, -math.inf)
        x = state(x, case.axes, kind, 1 if close else total)
        # Not 0 in float16 where it is not 0.
        x = x.clamp_min(2**-20).masked_fill(none, 0) if zero_of(kind) == 0 else x
        for d, n in enumerate(own):
            x = x.narrow(d, 0, n)
        own_order = order if draws.chance(0.6) else draw_order(draws, rank, at["rows"])
        may_expand = range(rank) if kind == "logits" and not has_zeros else at["rows"]
        arguments.append(draws.placed(x.to(dtype), may_expand, own_order))
        of_value, by_argument = terms_of(
            arguments[-1] / (heat if kind == "logits" else 1), kind, case.axes, op
        )
        summed = math.prod(shape) // max(1, arguments[-1].numel())  # what was broadcast
        terms.append((of_value, by_argument * summed))

    options: dict[str, Any] = {}
    if op.takes("base") and "normalized" not in op.options and draws.chance(0.2):
        options["base"] = draws.choice((2, 10, 0.5))
    if op.takes("keepdim") and draws.chance(0.2):
        options["keepdim"] = True
    if tempered:
        options["temperature"] = heat
    reduction = case.options.get("reduction", "none")
    mask = None
    if op.takes("mask") and at["rows"] and not broadcast and draws.chance(0.4):
        mask = draws.normal(*(shape[d] for d in at["rows"])) < draws.choice((-0.5, 0.5))
        mask.view(-1)[0] = True  # a mean of nothing is no number
        mask = options["mask"] = draws.placed(mask, range(mask.dim()))
    few = (rows if mask is None else int(mask.sum())) if reduction == "mean" else 1

    def expected(*inputs: Tensor) -> Tensor:
        if has_zeros:
            p, *others = inputs
            least = 1e-130 if zero_of(kinds[0]) == 0 else -300
            inputs = (torch.where(p == zero_of(kinds[0]), least, p), *others)
        scaled = [
            x / heat if kind == "logits" else x for x, kind in zip(inputs, kinds, strict=True)
        ]
        rest = {name: options[name] for name in options.keys() & {"base", "keepdim"}}
        if mask is None:
            return case.evaluate(*map(Traced, scaled), **rest).tensor
        each = without_reduction.evaluate(*map(Traced, scaled), **rest).tensor
        return test_linear.reduced(each, mask, reduction)

    # A power p^a q^(1 - a) is off by the rounding of its exponent.
    order = abs(case.options.get("alpha", 2.0 if op.name == "chi_squared_divergence" else 1.0))
    logarithms = [
        reference.distribution(Traced(x.double()), case.axes, kind)
        .tensor.log()
        .abs()
        .nan_to_num(0, 0)
        .max()
        for x, kind in zip(arguments, kinds, strict=True)
    ]
    amplified = max(1.0, (order + abs(1 - order)) * float(max(logarithms)) / 16)

    matching = None
    if at["rows"] and not broadcast and reduction == "none" and mask is None:
        d = draws.choice(at["rows"])
        kept = op.elementwise or "keepdim" in options
        matching = [d] * len(kinds), d if kept else at["rows"].index(d)
    return finish(
        draws,
        op,
        arguments,
        case.options | options,
        expected,
        [True] * len(kinds),
        [rows if reduction == "sum" else terms[0][0], *(x / few / heat for _, x in terms)],
        matching,
        close,
        amplified if order != 1 else 1.0,
        has_zeros=has_zeros and zero_of(kinds[0]) == 0,
    )


def zero_of(kind: str) -> float:
    """What states a probability of 0."""
    return 0.0 if kind in ("probs", "counts") else -math.inf


def draw_loss(draws: Random, op: Op, classes: int, rows: int) -> Call:
    batch, *inner = draws.factors(rows, 4)
    shape = [classes] if rows == 1 and draws.chance(0.3) else [batch, classes, *inner]
    rank, dim = len(shape), min(1, len(shape) - 1)
    rows_at = [d for d in range(rank) if d != dim]
    first, *others = draw_dtypes(draws, 3, DTYPES)
    order = draw_order(draws, rank, rows_at)
    reduction = draws.choice(("none", "mean", "sum"))
    options: dict[str, Any] = {"reduction": reduction}
    terms: list[float] = []

    def distribution(kind: str, dtype: torch.dtype, total: float) -> Tensor:
        x = state(draws.choice((1, 3)) * draws.normal(*shape), dim, kind, total)
        x = x.clamp_min(2**-20) if kind == "probs" else x
        own_order = order if draws.chance(0.6) else draw_order(draws, rank, rows_at)
        x = draws.placed(x.to(dtype), rows_at, own_order)
        terms.append(terms_of(x, kind, (dim,), op)[1])
        return x

    of_kl = op.name == "kl_div"
    kind = "logits" if op.name == "cross_entropy_loss" else "log_probs"
    arguments = [distribution(kind, first, TOTALS[0])]
    of_labels = op.name == "nll_loss" or (not of_kl and draws.chance(0.6))
    if of_labels:
        dtype = draws.choice(LABELS)
        largest = torch.iinfo(dtype).max
        last = min(classes - 1, largest)
        ignored = draws.choice((-100, min(classes + 3, largest), last) if last else (-100,))
        labels = (1000 * draws.normal(*(shape[d] for d in rows_at))).long() % (last + 1)
        if torch.iinfo(dtype).min <= ignored:
            labels[labels % 3 == 1] = ignored
        labels.view(-1)[0] = 0  # counts, for a mean of nothing is no number
        arguments.append(draws.placed(labels.to(dtype), range(rank - 1)))
        terms.append(0.0)
        options["ignore_index"] = ignored
    else:
        options |= {"log_target": draws.chance(0.5)} if of_kl else {}
        of_target = "log_probs" if options.get("log_target") else "probs"
        arguments.append(distribution(of_target, others[0], TOTALS[1]))
    weighted = not of_kl and draws.chance(0.4)
    if weighted:
        half = first not in DTYPES[:2]
        of_weight = draws.choice((first, torch.float32 if half else first))
        weight = draws.normal(classes).div(2).exp().to(of_weight if of_labels else others[1])
        arguments.append(draws.placed(weight, [0]))
        terms.append(rows)
    if op.name == "cross_entropy_loss" and draws.chance(0.4):
        options["label_smoothing"] = draws.choice((0.1, 1.0))
    theirs, heat = partial(TORCH_LOSSES[op.name], **options), 1.0
    if op.name == "cross_entropy_loss" and draws.chance(0.3):
        heat = options["temperature"] = draws.choice((0.5, 2.0))
        terms[0] = terms_of(arguments[0] / heat, kind, (dim,), op)[1] / heat

    matching = None
    if rows_at and reduction == "none" and not (weighted and not of_labels):
        d = draws.choice(rows_at)
        of_rows = d - (d > dim)
        matching = [d, of_rows if of_labels else d, None][: len(arguments)], d if of_kl else of_rows
    one = 1 / classes if of_kl else 1.0
    few = (rows * classes if of_kl else rows) if reduction == "mean" else 1
    return finish(
        draws,
        op,
        arguments,
        options,
        lambda input, *rest: theirs(input / heat, *rest),
        [True, not of_labels, not of_labels][: len(arguments)],
        [rows if reduction == "sum" else one, *(x / few for x in terms)],
        matching,
    )


def draw_log_probs(draws: Random, op: Op, classes: int, rows: int) -> Call:
    shape = draws.factors(rows, 3)
    dim = draws.randrange(len(shape) + 1)
    shape.insert(dim, classes)
    rows_at = [d for d in range(len(shape)) if d != dim]
    heat = draws.choice((1.0, 1.0, 0.5, 2.0))
    logits = (draws.choice((1, 3)) * draws.normal(*shape)).to(draws.choice(DTYPES))
    logits = draws.placed(logits, rows_at, draw_order(draws, len(shape), rows_at))
    index = (1000 * draws.normal(*(shape[d] for d in rows_at))).long() % classes
    index[index % 3 == 1] = -100
    index = draws.placed(index.to(draws.choice((torch.int32, torch.int64))), range(index.dim()))
    matching = None
    if rows_at:
        d = draws.choice(rows_at)
        matching = [d, d - (d > dim)], d - (d > dim) + 1

    def expected(x: Tensor, index: Tensor) -> Tensor:
        return torch.stack(test_language_models.reference(x, index, dim, heat))

    options = {"dim": dim, "temperature": heat}
    by = terms_of(logits / heat, "logits", (dim,), op)[1] / heat
    return finish(
        draws, op, [logits, index], options, expected, [True, False], [1.0, 3 * by, 0.0], matching
    )


def draw_linear(draws: Random, op: Op, classes: int, rows: int) -> Call:
    """A case of test_linear.py at other sizes, in other places of memory."""
    case = draws.choice([case for case in test_linear.CASES if case.ours is op.function])
    states = draws.size(min(64, 200_000 // (classes * rows) + 1))
    # Totals of half types are not those of distributions.
    stated = case.target in ("probs", "log_probs", "class_probs")
    dtype = draws.choice(DTYPES[:2] if stated else DTYPES)
    x = case.tensors(dtype, n=max(rows, 4), h=states, c=classes)
    if case.target in ("labels", "some"):
        x["target"][0] = 0  # counts, for a mean of nothing is no number
    names, by = list(x), case.by(x)
    arguments = [
        draws.placed(t.byte(), []).view(torch.bool)
        if t.dtype == torch.bool
        else draws.placed(t, [])
        for t in x.values()
    ]
    reduction = draws.choice(("none", "mean", "sum"))
    options = case.options | {"reduction": reduction}
    if case.ours is functional.linear_cross_entropy and draws.chance(0.3):
        options["options"] = test_linear.Blocks(draws.size(max(rows, 4)))

    def named(function: Callable[..., Tensor], *inputs: Tensor, **options: Any) -> Tensor:
        return function(**dict(zip(names, inputs, strict=True)), **options)

    terms = 8.0 * (1 if reduction == "mean" else len(x["input"]))
    # The matrix product adds the terms of all classes one after another.
    terms *= max(1.0, math.sqrt(classes * math.prod(case.places)) / 32)
    call = finish(
        draws,
        replace(op, function=partial(named, case.ours)),
        arguments,
        options,
        lambda *inputs: named(case.theirs, *inputs, **options),
        [name in by for name in names],
        [terms] * (len(names) + 1),
        None,
    )
    if dtype == torch.bfloat16:
        call.precision = draws.choice(("highest", "highest", "medium"))
        # The gradient by logits is rounded to bfloat16 before it is multiplied: with 2**-9 in place
        # of the 2e-6 of TOLERANCE.
        states = ("input", "target") if case.target == "states" else ("input",)
        for number, name in enumerate(names, 1):
            if call.precision == "medium" or name in states:
                call.terms[number] *= 512
    return call


def draw_distillation(draws: Random, op: Op, classes: int, rows: int) -> Call:
    shape = [*draws.factors(rows, 3), classes]
    rows_at = range(len(shape) - 1)
    kind = draws.choice(KINDS)
    # Totals that are rounded otherwise than the values would show.
    first, second = draw_dtypes(draws, 2, DTYPES)
    first, second = (first, second) if kind == "logits" else (draws.choice(DTYPES[:2]),) * 2
    heat = draws.choice((1.0, 0.5, 2.0))
    weight, divergence = draws.choice((0.5, 0.25)), draws.choice(("kl", "reverse_kl", "js"))
    reduction = draws.choice(("none", "mean", "sum"))
    x = draws.placed((2 * draws.normal(*shape)).to(first), rows_at)
    y = state(2 * draws.normal(*shape), -1, kind).to(second)
    y = draws.placed(y.clamp_min(2**-20) if kind == "probs" else y, rows_at)
    mask = torch.ones(shape[:-1], dtype=torch.bool)
    if draws.chance(0.4):
        mask = draws.normal(*shape[:-1]) < 0.5
        mask.view(-1)[0] = True
    mask = draws.placed(mask, range(mask.dim()))

    def expected(x: Tensor, y: Tensor) -> Tensor:
        log_t = y if kind == "log_probs" else y.log()
        log_t = (y / heat).log_softmax(-1) if kind == "logits" else log_t
        each = test_language_models.distilled(x / heat, log_t, divergence, weight)
        return test_linear.reduced(each, mask, reduction)

    options = {
        "divergence": divergence,
        "kind": kind,
        "weight": weight,
        "temperature": heat,
        "reduction": reduction,
        "mask": mask,
    }
    terms = 4.0 * (1 if reduction == "mean" else rows) / heat
    return finish(
        draws, op, [x, y], options, expected, [True, False], [terms, terms, 0.0], None, close=True
    )


def draw_histogram(draws: Random, op: Op, samples: int, rows: int) -> Call:
    kernel = draws.choice(test_soft_histogram.KERNELS)
    shape, bins = draws.factors(rows, 2), 5 + draws.size(40)
    dim = draws.randrange(len(shape) + 1)
    shape.insert(dim, samples)
    rows_at = [d for d in range(len(shape)) if d != dim]
    # Half types have samples on a cell, where windows have kinks.
    dtypes = draw_dtypes(draws, 2, DTYPES[:2])
    arguments = [draws.placed(draws.normal(*shape).to(dtype), rows_at) for dtype in dtypes]
    mask = draws.normal(*shape) < draws.choice((0.5, 9.0))
    mask.narrow(dim, 0, 1).fill_(True)
    mask = draws.placed(mask, rows_at)
    ends = ((-1.3171, 1.1294), (-2.0333, 2.5417))

    def expected(x: Tensor, y: Tensor) -> Tensor:
        x, y, counts = (v.movedim(dim, -1) for v in (x, y, mask))
        return test_soft_histogram.dense(x, y, bins, ends, kernel, counts)

    options = {"bins": bins, "range": ends, "kernel": kernel, "mask": mask, "dim": dim}
    return finish(draws, op, arguments, options, expected, [True, True], [1.0, bins, bins], None)


def spread(*samples: Tensor, dtype: torch.dtype | None = None, **options: Any) -> Tensor:
    table = torch_infotheory.soft_joint_histogram(*samples, **options)
    return table if dtype is None else table.to(dtype)


def stacked(*arguments: Tensor, **options: Any) -> Tensor:
    return torch.stack(torch_infotheory.log_probs(*arguments, **options))


# Calls that are no row of the table of ops, and who draws them.
OTHERS = {
    Op("log_probs", stacked): draw_log_probs,
    Op("distillation_loss", functional.distillation_loss): draw_distillation,
    Op("soft_joint_histogram", spread): draw_histogram,
    **{Op(f.__name__, f): draw_linear for f in {case.ours: None for case in test_linear.CASES}},
}


def finish(
    draws: Random,
    op: Op,
    arguments: list[Tensor],
    options: dict[str, Any],
    reference: Callable[..., Tensor],
    wanted: list[bool],
    terms: list[float],
    rows: tuple[list[int | None], int] | None,
    close: bool = False,
    amplified: float = 1.0,
    has_zeros: bool = False,
) -> Call:
    """Adds what all calls have: the type of the result, the gradient that comes in, threads."""
    dtypes = [x.dtype for x, floats in zip(arguments, wanted, strict=True) if floats]
    result = reduce(torch.promote_types, dtypes)
    if draws.chance(0.15):
        result = options["dtype"] = draws.choice(DTYPES[:2])
    shape = reference(*map(exact, arguments)).shape
    g = draws.normal(*shape).to(result)
    g = g[(0,) * g.dim()].expand(shape) if draws.chance(0.2) else draws.placed(g, range(g.dim()))
    if len(dtypes) > 1 and draws.chance(0.2):
        wanted[draws.randrange(len(dtypes))] = False
    # Totals that agree in float32 are taken as equal, to its rounding.
    in_double = (all if close else any)(dtype == torch.float64 for dtype in dtypes[:2])
    threads = draws.choice((1, 2))
    return Call(
        op,
        arguments,
        options,
        reference,
        wanted,
        in_double,
        g,
        threads,
        terms,
        rows,
        amplified,
        has_zeros=has_zeros,
    )


def failures(device: str, seed: int, numbers: Iterable[int]) -> Iterator[str]:
    for number in numbers:
        call = draw(Random(f"{seed}/{number}"))
        try:
            call.check(device)
        except Exception as error:
            text = " ".join(str(error).split())
            yield f"--device {device} --seed {seed} --call {number}: {call}: {text}"


def run(place: tuple[str, str], *options: str) -> subprocess.CompletedProcess[str]:
    device, capability = place
    return subprocess.run(
        [sys.executable, __file__, "--device", device, *options],
        env=os.environ | {"ATEN_CPU_CAPABILITY": capability},
        capture_output=True,
        text=True,
    )


@pytest.mark.parametrize("place", PLACES, ids="-".join)
def test_fuzz(place: tuple[str, str]) -> None:
    result = run(place, "--seed", "0", "--calls", str(CALLS))
    assert result.returncode == 0, result.stdout + result.stderr


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", choices=DEVICES, help="one of those that are there")
    parser.add_argument("--seed", type=int, default=time.time_ns() % 10**6)
    parser.add_argument("--seconds", type=float, default=60.0, help="for all devices together")
    parser.add_argument("--calls", type=int, help="so many, however long they take")
    parser.add_argument("--call", type=int, help="this one only")
    options = parser.parse_args()
    if not options.device:
        each = ["--seed", str(options.seed), "--seconds", str(options.seconds / len(PLACES))]
        results = [run(place, *each) for place in PLACES]
        print(*(result.stdout + result.stderr for result in results), sep="", end="")
        return max(result.returncode for result in results)

    warnings.filterwarnings("ignore", "reduction. 'mean' divides")
    start, done, wrong = time.monotonic(), 0, 0

    def numbers() -> Iterator[int]:
        nonlocal done
        for number in range(options.calls) if options.calls else count():
            if not options.calls and time.monotonic() - start > options.seconds:
                return
            yield number
            done += 1

    one = options.call is not None
    for failure in failures(options.device, options.seed, [options.call] if one else numbers()):
        wrong += 1
        print(failure, flush=True)
    capability = torch.backends.cpu.get_cpu_capability()
    print(
        f"{options.device}, {capability}: {wrong} of {done or 1} calls wrong, seed {options.seed}"
    )
    return int(wrong > 0)


if __name__ == "__main__":
    sys.exit(main())
