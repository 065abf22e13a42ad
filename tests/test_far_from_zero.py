"""A common offset of the logits of a row changes no derivative, however large it is."""

from collections.abc import Callable

import pytest
import torch
from composites import composite
from ops import CASES, Case, moved, random
from torch import Tensor
from torch.autograd import grad

FLOATS = (torch.float64, torch.float32)
OFFSETS = (1e3, -1e5, 1e7, 1e10, 1e13)
# Rows in a tile, dealt to the lanes, of several blocks and side by side; small tables and a large.
LAYOUTS = {"rows", "one_row", "dim_1", "several_dims", "transposed_dim_0", "classes_65"}
LAYOUTS |= {"classes_513", "classes_513_inside", "tables", "one_table", "swapped", "odd", "wide"}


def logits_of(case: Case) -> list[int]:
    """The inputs that are logits."""
    kinds = case.kinds or ("logits" if case.op.name == "cross_entropy_loss" else "", "")
    return [number for number, kind in enumerate(kinds) if kind == "logits"]


FAR_CASES = [
    case
    for case in CASES
    if logits_of(case) and (case.name in LAYOUTS or not case.op.kinds)
    # The sums over long rows that torch makes of these are less exact, near 0 too.
    if case.classes < 100 or not (case.op.elementwise or case.op.name == "perplexity")
    # Roots, as torch composes them, have no derivative where rows filled alike make them 0.
    if not case.op.is_root
]
Move = Callable[[Case, Tensor, int], tuple[Tensor, Tensor]]


def offset_by(offset: float) -> Move:
    """And in the place of the second input by less, the other way."""

    def move(case: Case, x: Tensor, number: int) -> tuple[Tensor, Tensor]:
        by = -offset / 8 if number else offset
        there = (x.double() + by).to(x.dtype)
        return there, there.double() - by  # exact: what rounding has left of the logits

    return move


def filled_with(value: float) -> Move:
    """The rows of the first index of a dimension, as a mask fills them; or all if there is none."""

    def move(case: Case, x: Tensor, number: int) -> tuple[Tensor, Tensor]:
        there, here = x.clone(), x.double().clone()
        classes = {axis % x.dim() for axis in case.axes}
        others = [d for d in range(x.dim()) if d not in classes]
        for y, constant in ((there, value), (here, 0.0)):
            (y.select(others[0], 0) if others else y).fill_(constant)
        return there, here

    return move


def derivatives(function: Callable[..., Tensor], inputs: list[Tensor], case: Case) -> list[Tensor]:
    """The value, its gradients, and the gradients of a sum of those."""
    inputs = [x.requires_grad_() for x in inputs]
    value = function(*inputs)
    first = grad(value, inputs, case.cotangent.to(value), create_graph=True)
    total = sum((random(*x.shape, seed=9).to(x) * x).sum() for x in first)
    assert isinstance(total, Tensor)
    return [value, *first, *grad(total, inputs)]


@pytest.mark.parametrize("dtype", FLOATS, ids=str)
@pytest.mark.parametrize("case", FAR_CASES, ids=str)
def test_derivatives(case: Case, dtype: torch.dtype, device: str) -> None:
    info = torch.finfo(dtype)
    fillings = [filled_with(x) for x in (info.min, info.max / 4, 1e30)]
    for move in [*map(offset_by, OFFSETS), *fillings]:
        far, near = [], []
        for number, x in enumerate(case.numbers):
            pair = x.to(dtype), x.to(dtype).double()
            if number in logits_of(case):
                pair = move(case, pair[0], number)
            for inputs, y in zip((far, near), pair, strict=True):
                inputs.append(case.view(y.detach()).clone())
        expected = derivatives(
            lambda *inputs: composite(case)(*inputs, **case.options_like(inputs[0])), near, case
        )
        results = derivatives(case, [moved(x, device) for x in far], case)
        for actual, other in zip(results, (x.detach() for x in expected), strict=True):
            atol = 64 * info.eps * max(1.0, float(other.abs().max()))
            torch.testing.assert_close(actual.detach().cpu().double(), other, rtol=0, atol=atol)
