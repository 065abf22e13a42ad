"""What an op saves for backward: its inputs and, for each row and input, three numbers."""

import math
from collections.abc import Callable, Iterable

import pytest
import torch
from ops import CASES, Case, random
from torch import Tensor

CASES_TO_COUNT = [
    case
    for case in CASES
    if set(case.kinds) <= {"logits"}  # what is kept does not depend on the kind
    if all(x.numel() for x in case.numbers) and not case.op.in_float64
    if case.name != "soft_by_weight"  # the gradient by class weights costs a weighted target
]
# No single stride joins the class dimensions: a copy that has one is kept instead of the input.
COPIED = {"several_dims_apart", "broadcast_several_dims", "several_y_apart", "four_dims"}


def storage(x: Tensor) -> int:
    return x.untyped_storage().data_ptr()


def numbers_kept(function: Callable[[], Tensor], given: Iterable[object]) -> int:
    """How many numbers `function()` keeps beside the tensors that were given to it."""
    kept: dict[int, int] = {}

    def note(x: Tensor) -> Tensor:
        # A view keeps the whole of its memory.
        kept[storage(x)] = x.untyped_storage().nbytes() // x.element_size()
        return x

    with torch.autograd.graph.saved_tensors_hooks(note, lambda x: x):
        function()
    places = {storage(x) for x in given if isinstance(x, Tensor)}
    return sum(count for place, count in kept.items() if place not in places)


@pytest.mark.parametrize("case", CASES_TO_COUNT, ids=str)
def test_inputs_and_three_numbers_for_each_row(case: Case, device: str) -> None:
    of_each_row = 4 if case.op.name == "perplexity" else 3 * (len(case.kinds) or 2)  # its result
    of_each_row += 4 * case.op.is_root  # the root, what it is of, and where that is 0
    for dtype in (torch.float32, torch.bfloat16):
        inputs = case.inputs(dtype, device, requires_grad=True)
        options = case.options_like(inputs[0]) | {"dtype": torch.float32}
        # The gradient of a broadcast half input is added in float32, so it is kept as that.
        copies = [
            x.numel()
            for x in inputs
            if case.name in COPIED
            or (dtype == torch.bfloat16 and x.numel() < math.prod(case.shape))
        ]
        kept = numbers_kept(
            lambda inputs=inputs, options=options: case.op.function(*inputs, **options),
            (*inputs, *options.values()),
        )
        assert kept <= of_each_row * case.rows + sum(copies)


def test_a_composition_keeps_more(device: str) -> None:
    """What the bound above is good for, and that the count sees it."""
    x = random(8, 100).to(device).requires_grad_()
    kept = numbers_kept(lambda: -(x.softmax(-1) * x.log_softmax(-1)).sum(-1), (x,))
    assert kept >= 2 * x.numel()
