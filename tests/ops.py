"""The table of all ops: what each computes, and the calls that try it.

A new op is one row of OPS, with its formula in reference.py; every test over CASES or BASIC_CASES
then holds for it. Knows the package and the reference; must not know any test.
"""

import ctypes
import inspect
import math
import os
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
import reference
import torch
from torch import Tensor

import torch_infotheory
from torch_infotheory.nn import functional

# The devices of the tests and how torch calls them. `composed` is CPU memory without kernels,
# `cuda_emulated` CPU memory under the CUDA kernels, see cuda_emulation/engine.h. Without
# TORCH_INFOTHEORY_DEVICES, those that are there.
EMULATION = Path(
    os.environ.get("TORCH_INFOTHEORY_EMULATION")
    or Path(__file__).parents[1] / "build" / "cuda_emulation.so"
)
IS_THERE = {
    "cpu": True,
    "composed": True,
    "cuda_emulated": EMULATION.is_file(),
    "cuda": torch.cuda.is_available(),
}
WANTED = os.environ.get("TORCH_INFOTHEORY_DEVICES", "").replace(",", " ").split()
for name in WANTED:
    if not IS_THERE[name]:
        raise RuntimeError(f"TORCH_INFOTHEORY_DEVICES asks for {name}, which is not there")
DEVICES = {
    name: "cuda" if name == "cuda" else "cpu"
    for name, there in IS_THERE.items()
    if (name in WANTED if WANTED else there)
}


# The ops that have kernels, by the names of the dispatcher.
KERNEL_OPS = [
    name
    for name in sorted(torch._C._dispatch_get_registrations_for_dispatch_key("CPU"))
    if re.match("torch_infotheory::_(?!linear_loss|count_pairs)", name)
]


@contextmanager
def composing() -> Iterator[None]:
    """What is called on CPU tensors goes where a device without kernels sends it."""
    library = torch.library.Library("torch_infotheory", "IMPL")
    elsewhere = torch._C.DispatchKey.CompositeExplicitAutograd
    for name in KERNEL_OPS:
        op = getattr(torch.ops.torch_infotheory, name.partition("::")[2]).default
        library.impl(op, partial(op._op_dk, elsewhere), "CPU", allow_override=True)
    try:
        yield
    finally:
        library._destroy()


@contextmanager
def emulating(device: str) -> Iterator[None]:
    """On `cuda_emulated`, what is called on CPU tensors goes to the CUDA kernels."""
    if device == "composed":
        with composing():
            yield
        return
    if device != "cuda_emulated":
        yield
        return
    torch.ops.load_library(str(EMULATION))
    switch = ctypes.CDLL(EMULATION).cuda_emulation_switch
    switch(True)
    try:
        yield
    finally:
        switch(False)


# The relative and absolute error allowed by the dtype of the result. The inputs are exact in every
# dtype and the sums have some thousand terms at most. What is left is
# - float64, float32: the rounding of such sums, a few units of the last place of what they reach;
# - bfloat16, float16: the same float32 sums, rounded once to 8 or 11 bits at the end.
TOLERANCE = {
    torch.float64: (1e-12, 1e-12),
    torch.float32: (2e-6, 2e-6),
    torch.bfloat16: (1.01 * 2**-8, 2e-6),
    torch.float16: (1.01 * 2**-11, 2e-6),
}
DTYPES = tuple(TOLERANCE)

KINDS = ("probs", "log_probs", "logits")
MIXED_KINDS = (("probs", "logits"), ("log_probs", "probs"), ("logits", "log_probs"))
# What the probabilities of p and q sum to. Far from 1 and from one another, because totals that
# differ by no more than their rounding (6 % in bfloat16) count as equal. And a sum taken literally
# shows that nothing is normalized on the way.
TOTALS = (0.75, 0.5)
CLASSES = 7  # of the losses below: odd, and smaller than any pack of lanes


def assert_near(
    actual: Tensor,
    expected: np.ndarray | Tensor,
    dtype: torch.dtype | None = None,
    terms: float = 1.0,
    roundings: int = 1,
) -> None:
    """Within the tolerance of the dtype, by default that of `actual`.

    The absolute error is relative to the largest number, or to `terms`, the size of the terms that
    may have cancelled. With two `roundings` what is expected was rounded to the dtype, too.
    """
    expected = torch.as_tensor(expected)
    rounded = expected.to(actual.dtype).double()
    expected = torch.where(rounded.isinf(), rounded, expected)  # float16 ends at 65504
    largest = max([terms, *expected[expected.isfinite()].abs().tolist()])
    least = torch.finfo(actual.dtype).smallest_normal * torch.finfo(actual.dtype).eps
    rtol, atol = TOLERANCE[dtype or actual.dtype]
    torch.testing.assert_close(
        actual.detach().cpu().double(),
        expected,
        rtol=roundings * rtol,
        atol=atol * largest + least,
        equal_nan=True,
    )


def exact(x: Tensor) -> Tensor:
    """Numbers near `x` that every dtype represents: one reference serves them all."""
    return x.bfloat16().half().double()


def random(*shape: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator, dtype=torch.float64)


def state(logits: Tensor, dims: int | Sequence[int], kind: str, total: float = 1.0) -> Tensor:
    """The distributions softmax(logits) along `dims`, stated as `kind`: `total`, or 16 times that
    many counts."""
    if kind == "logits":
        return logits
    log_probs = logits - logits.logsumexp(dims, keepdim=True) + math.log(total)
    if kind == "counts":
        return 16 * log_probs.exp()
    return log_probs if kind == "log_probs" else log_probs.exp()


# Views: the same numbers in another place of memory.


def as_it_is(x: Tensor) -> Tensor:
    return x


def transposed(x: Tensor) -> Tensor:
    return x.transpose(0, -1).contiguous().transpose(0, -1)


def stepped(x: Tensor) -> Tensor:
    """Every second number of memory; whoever reads the others meets a NaN."""
    return torch.stack((x, torch.full_like(x, torch.nan)), -1)[..., 0]


def shifted(x: Tensor) -> Tensor:
    """Contiguous, but one number off the alignment of a pack."""
    return torch.cat((x.new_zeros(1), x.flatten()))[1:].view(x.shape)


def expanded(x: Tensor) -> Tensor:
    return x[:1].expand_as(x)


def moved(x: Tensor, device: str) -> Tensor:
    """The same numbers on the device, in the same places of memory if it is not the CPU."""
    if device == x.device.type:
        return x
    if device == "cpu" and x.is_contiguous():
        return x.cpu()
    memory = torch.empty(0, dtype=x.dtype, device=x.device).set_(x.untyped_storage())
    return memory.to(device).as_strided(x.shape, x.stride(), x.storage_offset())


@dataclass(frozen=True)
class Layout:
    """The shape of the inputs, their class dimensions and their place in memory."""

    name: str
    shape: tuple[int, ...]
    dims: dict[str, int | tuple[int, ...]] = field(default_factory=dict)
    view: Callable[[Tensor], Tensor] = as_it_is
    q_shape: tuple[int, ...] | None = None  # of the second input, where it differs

    def axes(self, defaults: dict[str, int]) -> list[tuple[int, ...]]:
        """The class dimensions, counted from the end: broadcasting adds dimensions in front."""
        rank = max(len(self.shape), len(self.q_shape or ()), 1)
        groups = [self.dims.get(name, default) for name, default in defaults.items()]
        groups = [(group,) if isinstance(group, int) else group for group in groups]
        return [tuple(d - rank if d >= 0 else d for d in group) for group in groups]


ROWS = (
    Layout("rows", (3, 5)),
    Layout("one_row", (5,)),
    Layout("scalar", ()),
    Layout("one_class", (4, 1)),
    Layout("no_rows", (0, 5)),
    Layout("no_rows_inside", (2, 0, 5), {"dim": 2}),
    Layout("many_rows", (67, 10)),  # several tiles of rows and a rest
    *(Layout(f"dim_{d}", (4, 2, 3), {"dim": d}) for d in (0, 1, 2, -2, -3)),
    Layout("inner_rest", (2, 7, 35), {"dim": 1}),  # positions side by side, with a rest
    Layout("several_dims", (2, 3, 4), {"dim": (1, 2)}),
    Layout("several_dims_apart", (2, 3, 4), {"dim": (0, -1)}),
    Layout("all_dims", (2, 3, 4), {"dim": (2, 0, 1)}),
    Layout("transposed", (6, 5), view=transposed),
    Layout("transposed_dim_0", (6, 5), {"dim": 0}, view=transposed),
    Layout("stepped", (3, 9), view=stepped),
    Layout("shifted", (3, 37), view=shifted),
    Layout("expanded", (3, 5), view=expanded),
    Layout("expanded_class", (3, 5), {"dim": 0}, view=expanded),
    # One class less than a block of 512, a block, one more, and two blocks with a rest of one.
    *(Layout(f"classes_{c}", (1, c)) for c in (511, 512, 513, 1025)),
    *(Layout(f"classes_{c}", (3, c)) for c in (64, 65)),  # where long rows begin
    Layout("classes_513_inside", (1, 513, 2), {"dim": 1}),
)
PAIRS = (
    *ROWS,
    Layout("broadcast_q", (3, 5), q_shape=(5,)),
    Layout("broadcast_p", (5,), q_shape=(3, 5)),
    Layout("broadcast_both", (3, 1, 5), q_shape=(4, 5)),
    Layout("broadcast_dim_0", (5, 3, 1), {"dim": 0}, q_shape=(5, 1, 4)),
    Layout("broadcast_stepped", (2, 1, 5), view=stepped, q_shape=(2, 3, 5)),
    Layout("broadcast_several_dims", (2, 3, 4), {"dim": (-1, 0)}, q_shape=(2, 1, 4)),
    Layout("broadcast_513", (1, 513), q_shape=(2, 513)),
)
TABLES = (
    Layout("tables", (3, 4, 5)),
    Layout("one_table", (4, 5)),
    Layout("one_row", (2, 1, 6)),
    Layout("one_column", (2, 6, 1)),
    Layout("no_tables", (0, 4, 5)),
    Layout("swapped", (3, 4, 5), {"x_dim": -1, "y_dim": -2}),
    Layout("batch_inside", (4, 3, 5), {"x_dim": 0, "y_dim": 2}),
    Layout("batch_last", (4, 5, 3), {"x_dim": 0, "y_dim": 1}),
    Layout("several_x", (2, 3, 4), {"x_dim": (0, 1), "y_dim": 2}),
    Layout("several_y_apart", (2, 3, 4), {"x_dim": 1, "y_dim": (2, 0)}),
    Layout("four_dims", (2, 3, 2, 4), {"x_dim": (0, 2), "y_dim": (1, -1)}),
    Layout("transposed", (3, 4, 5), view=transposed),
    Layout("stepped", (3, 4, 5), view=stepped),
    Layout("shifted", (2, 7, 9), view=shifted),
    Layout("expanded", (3, 4, 5), view=expanded),
    Layout("odd", (1, 17, 19)),
    Layout("wide", (1, 2, 513)),
    Layout("tall", (1, 513, 2)),
)


@dataclass(frozen=True, eq=False)
class Op:
    name: str  # in torch.ops.torch_infotheory
    function: Callable[..., Tensor]  # in the package
    formula: Callable[..., np.ndarray] | None = None  # in reference.py, for the ops of OPS
    kinds: tuple[tuple[str, ...], ...] = ()  # one kind for each input; empty: fixed by the op
    dims: dict[str, int] = field(default_factory=dict)  # the arguments that name dimensions
    options: dict[str, Any] = field(default_factory=dict)
    elementwise: bool = False  # a value for each entry, not one for each distribution
    is_root: bool = False  # of a quantity that has a unit
    in_float64: bool = False  # by operations of torch, on copies of the inputs
    has_slope_at_0: bool = False  # the derivative by a p of 0 is finite
    slope_by_q_at_0: float = 0.0  # the derivative by a q of 0 where p is not 0; infinite ones are 0
    is_infinite_at_0: bool = False  # the value, where p is 0 and q is not
    layouts: tuple[str, ...] = ()  # the names of those to try; empty: all

    def __str__(self) -> str:
        return "_".join((self.name, *(k if v is True else str(v) for k, v in self.options.items())))

    @property
    def overload(self) -> torch._ops.OpOverload:
        return getattr(torch.ops.torch_infotheory, self.name).default

    def takes(self, argument: str) -> bool:
        return argument in inspect.signature(self.function).parameters

    def dispatcher_options(self, options: dict[str, Any]) -> dict[str, Any]:
        """The options of the Python function as the op of the dispatcher takes them."""
        options = dict(options)
        if isinstance(options.get("kind"), tuple):
            arguments = {argument.name for argument in self.overload._schema.arguments}
            second = "q_kind" if "q_kind" in arguments else "target_kind"
            options["kind"], options[second] = options["kind"]
        if isinstance(options.get("reduction"), str):
            options["reduction"] = ("none", "mean", "sum").index(options["reduction"])
        return options


ONE_KIND = tuple((kind,) for kind in KINDS)
TWO_KINDS = (*((kind, kind) for kind in KINDS), *MIXED_KINDS)
DIM = {"dim": -1}
X_AND_Y = {"x_dim": -2, "y_dim": -1}


ONE = {"kinds": ONE_KIND, "dims": DIM}
TWO = {"kinds": TWO_KINDS, "dims": DIM}
TABLE = {"kinds": ONE_KIND, "dims": X_AND_Y}


def measure(name: str, kinds_and_dims: dict[str, Any], formula: str = "", **rest: Any) -> Op:
    formula = getattr(reference, formula or name)
    return Op(name, getattr(torch_infotheory, name), formula, **kinds_and_dims, **rest)


# How a row lies is no business of its formula: for those that are reduced like others, a few
# layouts that kernels treat differently.
FEW = ("rows", "scalar", "dim_1", "many_rows", "transposed_dim_0", "broadcast_both", "classes_513")


def of_order(name: str, kinds_and_dims: dict[str, Any], *orders: float, **rest: Any) -> list[Op]:
    return [
        Op(
            name,
            getattr(torch_infotheory, name),
            partial(getattr(reference, name), alpha=alpha),
            **kinds_and_dims,
            options={"alpha": alpha},
            **rest,
        )
        for alpha in orders
    ]


OPS = (
    measure("self_information", ONE, elementwise=True),
    measure("entropy", ONE),
    measure("perplexity", ONE),
    measure("cross_entropy", TWO, has_slope_at_0=True),
    measure("kl_divergence", TWO),
    measure("js_divergence", TWO),
    Op(
        "js_divergence",
        torch_infotheory.js_divergence,
        partial(reference.js_divergence, weight=0.25),
        **TWO,
        options={"weight": 0.25},
        layouts=FEW,
    ),
    measure("js_distance", TWO, layouts=FEW, is_root=True),
    measure("jeffreys_divergence", TWO, layouts=FEW, is_infinite_at_0=True),
    measure("squared_hellinger_distance", TWO, layouts=FEW),
    measure("hellinger_distance", TWO, layouts=FEW, is_root=True),
    measure("bhattacharyya_coefficient", TWO, layouts=FEW),
    measure(
        "total_variation_distance", TWO, layouts=FEW, has_slope_at_0=True, slope_by_q_at_0=-0.5
    ),
    measure("chi_squared_divergence", TWO, layouts=FEW, has_slope_at_0=True),
    *of_order("tsallis_entropy", ONE, 2.5, has_slope_at_0=True),
    *of_order("renyi_entropy", ONE, 1, layouts=FEW, in_float64=True),
    *of_order("renyi_entropy", ONE, 0.5, layouts=FEW),
    *of_order("renyi_entropy", ONE, 2, layouts=FEW, has_slope_at_0=True),
    *of_order(
        "alpha_divergence", TWO, -0.5, layouts=FEW, is_infinite_at_0=True, slope_by_q_at_0=-2
    ),
    *of_order("alpha_divergence", TWO, 1, layouts=FEW),
    *of_order("alpha_divergence", TWO, 2.5, layouts=FEW, has_slope_at_0=True),
    *of_order("renyi_divergence", TWO, 1, layouts=FEW, in_float64=True),
    *of_order("renyi_divergence", TWO, 0.5, layouts=FEW),
    *of_order("renyi_divergence", TWO, 2, layouts=FEW, has_slope_at_0=True),
    measure("joint_entropy", TABLE),
    measure("conditional_entropy", TABLE),
    measure("mutual_information", TABLE),
    measure("variation_of_information", TABLE),
    measure("pointwise_mutual_information", TABLE, elementwise=True),
    measure(
        "pointwise_mutual_information",
        TABLE,
        "normalized_pointwise_mutual_information",
        elementwise=True,
        options={"normalized": True},
    ),
    *(
        Op(name, function, formula, **kinds_and_dims, options={"reduction": reduction})
        for name, function, formula, kinds_and_dims in (
            ("entropy_loss", functional.entropy_loss, reference.entropy, ONE),
            ("js_div", functional.js_div, reference.js_divergence, TWO),
        )
        for reduction in ("none", "mean", "sum")
    ),
    Op("cross_entropy_loss", functional.cross_entropy, reference.cross_entropy_loss),
    Op("nll_loss", functional.nll_loss, reference.nll_loss),
    Op("kl_div", functional.kl_div, reference.kl_div),
)


@dataclass(frozen=True, eq=False)
class Case:
    """One call of an op, with the value and the gradient that the reference gives."""

    op: Op
    name: str
    numbers: tuple[Tensor, ...]  # the inputs that have a gradient; exact in every dtype
    options: dict[str, Any]
    evaluate: Callable[..., np.ndarray]  # the reference, of the inputs as arrays
    axes: tuple[int, ...]  # the class dimensions
    kinds: tuple[str, ...] = ()
    view: Callable[[Tensor], Tensor] = as_it_is

    def __str__(self) -> str:
        return "-".join((str(self.op), *dict.fromkeys(self.kinds), self.name))

    def inputs(self, dtype: torch.dtype, device: str, requires_grad: bool = False) -> list[Tensor]:
        return [
            moved(self.view(x.to(dtype)).detach(), device).requires_grad_(requires_grad)
            for x in self.numbers
        ]

    def __call__(self, *inputs: Tensor, **options: Any) -> Tensor:
        return self.op.function(*inputs, **self.options_like(inputs[0]) | options)

    def dispatch(self, *inputs: Tensor, **options: Any) -> Tensor:
        options = self.op.dispatcher_options(self.options_like(inputs[0]) | options)
        return self.op.overload(*inputs, **options)

    def options_like(self, input: Tensor) -> dict[str, Any]:
        return {
            name: option.to(input.device, input.dtype if option.is_floating_point() else None)
            if isinstance(option, Tensor)
            else option
            for name, option in self.options.items()
        }

    @cached_property
    def shape(self) -> tuple[int, ...]:
        """Of the inputs after broadcasting."""
        return np.broadcast_shapes(*(x.shape for x in self.numbers))

    @property
    def classes(self) -> int:
        return math.prod(self.shape[axis] for axis in self.axes if self.shape)

    @property
    def rows(self) -> int:
        """How many distributions each input states."""
        return math.prod(self.shape) // self.classes

    def assert_gradient(self, actual: Tensor, number: int) -> None:
        """`actual` is the gradient by the input of that number, for `cotangent`."""
        expected = self.gradient[number]
        assert actual.shape == expected.shape
        # By a logit, a gradient is of the size of its probability. That of a Tsallis entropy is
        # what is left of terms as large as the probability, of the likely classes too.
        likely = 4 if self.op.name == "tsallis_entropy" else 1
        assert_near(actual, expected, terms=likely / self.classes)

    @cached_property
    def arrays(self) -> list[np.ndarray]:
        return [self.view(x).numpy() for x in self.numbers]

    @cached_property
    def value(self) -> np.ndarray:
        return np.asarray(self.evaluate(*self.arrays))

    @cached_property
    def cotangent(self) -> Tensor:
        return exact(random(*self.value.shape, seed=3))

    @cached_property
    def gradient(self) -> list[np.ndarray]:
        return reference.gradient(self.evaluate, self.arrays, self.cotangent.numpy())


def measure_case(op: Op, kinds: tuple[str, ...], layout: Layout) -> Case:
    shapes = (layout.shape, layout.q_shape or layout.shape)[: len(kinds)]
    axes = layout.axes(op.dims)
    dims = tuple(dim for group in axes for dim in group)
    numbers = tuple(
        exact(state(random(*shape, seed=number), dims, kind, TOTALS[number]))
        for number, (shape, kind) in enumerate(zip(shapes, kinds, strict=True))
    )
    if op.name == "total_variation_distance":  # |p - q| has no derivative at p = q
        p, q = numbers
        equal = (p == q).double().sum_to_size(q.shape) > 0
        numbers = (p, torch.where(equal, 2 * q, q))
    options = op.options | layout.dims | {"kind": kinds[0] if len(set(kinds)) == 1 else kinds}

    def evaluate(*arrays: np.ndarray, **changed: Any) -> np.ndarray:
        return reference.evaluate(
            op.formula,
            arrays,
            axes,
            kinds,
            elementwise=op.elementwise,
            is_root=op.is_root,
            reduction=op.options.get("reduction", "none"),
            **changed,
        )

    return Case(op, layout.name, numbers, options, evaluate, dims, kinds, layout.view)


def loss_case(op: Op, name: str, *numbers: Tensor, **options: Any) -> Case:
    arrays = {k: v.numpy() if isinstance(v, Tensor) else v for k, v in options.items()}
    return Case(
        op,
        name,
        tuple(exact(x) for x in numbers),
        options,
        lambda *inputs: op.formula(*inputs, **arrays),
        (min(1, numbers[0].ndim - 1),),
    )


def loss_cases(op: Op) -> list[Case]:
    """The losses that mirror torch's. The drop-in tests compare all their options with torch."""
    shape = (4, CLASSES)
    logits, others = random(*shape), random(*shape, seed=1)
    log_probs, probs = state(logits, -1, "log_probs"), state(others, -1, "probs")
    labels = torch.tensor([2, 0, 6, 2])
    weight = exact(random(CLASSES, seed=2).exp())
    if op.name == "kl_div":
        return [
            loss_case(op, "mean", log_probs, probs),
            loss_case(op, "none", log_probs, probs, reduction="none"),
            loss_case(op, "log_target", log_probs, probs.log(), reduction="sum", log_target=True),
        ]
    input = logits if op.name == "cross_entropy_loss" else log_probs
    images = torch.stack((input, input.flip(0)), -1)
    labelled = [
        loss_case(op, "mean", input, target=labels),
        loss_case(op, "none", input, target=labels, reduction="none"),
        loss_case(op, "sum", input, target=labels, reduction="sum"),
        loss_case(op, "one_row", input[0], target=labels[0]),
        loss_case(op, "images", images, target=torch.stack((labels, labels.flip(0)), -1)),
        loss_case(op, "weighted", input, target=labels, weight=weight, ignore_index=2),
    ]
    if op.name == "nll_loss":
        return labelled
    smooth = {"label_smoothing": 0.25, "weight": weight}
    return [
        *labelled,
        loss_case(op, "smoothed", input, target=labels, **smooth),
        loss_case(op, "soft", input, probs),
        loss_case(op, "soft_smoothed", input, probs, **smooth),
        loss_case(op, "soft_by_weight", input, probs, weight, label_smoothing=0.25),
    ]


def cases_of(op: Op) -> list[Case]:
    if not op.kinds:
        return loss_cases(op)
    layouts = TABLES if op.dims == X_AND_Y else PAIRS if len(op.kinds[0]) == 2 else ROWS
    few = ("rows", "dim_1", "broadcast_both")
    # How p is stated does not depend on how q is, nor a reduction on the layout: a few try them.
    return [
        measure_case(op, kinds, layout)
        for kinds in op.kinds
        for layout in layouts
        if layout.name in (op.layouts or (layout.name,))
        and (layout.name in few or (len(set(kinds)) == 1 and "reduction" not in op.options))
    ]


CASES = [case for op in OPS for case in cases_of(op)]
# One case for every op and kind, for what does not depend on the layout.
BASIC_CASES = list({(str(case.op), case.kinds): case for case in reversed(CASES)}.values())[::-1]
