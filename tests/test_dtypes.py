"""The dtype of results and gradients: `dtype=`, mixed inputs, autocast."""

from functools import reduce
from itertools import permutations, product

import numpy as np
import pytest
import torch
from ops import BASIC_CASES, CASES, DTYPES, Case, assert_near
from torch.autograd import grad

from torch_infotheory.nn import functional


def check(
    case: Case,
    dtypes: tuple[torch.dtype, ...],
    result: torch.dtype,
    device: str,
    **options: torch.dtype,
) -> None:
    """Value and gradient of inputs of `dtypes` are as exact as computing in float32 makes them."""
    inputs = [
        case.inputs(dtype, device, requires_grad=True)[number]
        for number, dtype in enumerate(dtypes)
    ]
    coarsest = torch.float64 if set(dtypes) == {torch.float64} else torch.float32

    def compare(actual: torch.Tensor, expected: np.ndarray) -> None:
        assert_near(actual, expected, coarsest if actual.dtype == torch.float64 else None)

    value = case(*inputs, **options)
    assert value.dtype == result
    compare(value, case.value)
    gradients = grad(value, inputs, case.cotangent.to(value))
    for gradient, dtype, expected in zip(gradients, dtypes, case.gradient, strict=True):
        assert gradient.dtype == dtype
        compare(gradient, expected)


# Single terms are written by another loop than rows.
TERMS = [c for c in CASES if c.op.name == "kl_div" and c.options.get("reduction") == "none"]


@pytest.mark.parametrize("case", dict.fromkeys([*BASIC_CASES, *TERMS]), ids=str)
def test_dtype_of_the_result(case: Case, device: str) -> None:
    for dtype, result in permutations(DTYPES, 2):
        check(case, (dtype,) * len(case.numbers), result, device, dtype=result)


@pytest.mark.parametrize("case", [c for c in BASIC_CASES if len(c.kinds) == 2], ids=str)
def test_mixed_dtypes_promote(case: Case, device: str) -> None:
    for dtypes in permutations(DTYPES, 2):
        check(case, dtypes, torch.promote_types(*dtypes), device)


@pytest.mark.parametrize("case", BASIC_CASES, ids=str)
def test_autocast_gives_float32(case: Case, device: str) -> None:
    for dtype, autocast in product(DTYPES, (torch.bfloat16, torch.float16)):
        with torch.autocast(device, autocast):
            result = torch.promote_types(dtype, torch.float32)
            check(case, (dtype,) * len(case.numbers), result, device)


@pytest.mark.parametrize("by", [(), (0,), (2,), (0, 1, 2)], ids=str)
def test_weights_of_another_dtype(by: tuple[int, ...], device: str) -> None:
    """The wider dtype of input and target is computed in, whichever gradients are asked for."""
    rows = torch.linspace(-3, 5, 21, dtype=torch.float64).sin().view(3, 7)
    numbers = 9 * rows, rows.flip(0).softmax(1), 1 + rows[0] / 2
    for dtypes, smoothing in product(product(DTYPES, repeat=3), (0.0, 0.3, 1.0)):
        inputs = [x.to(dtype) for x, dtype in zip(numbers, dtypes, strict=True)]
        results = []
        for loss, at, dtype in (
            (functional.cross_entropy, device, None),
            (torch.nn.functional.cross_entropy, "cpu", torch.float64),
        ):
            leaves = [x.to(at, dtype, copy=True) for x in inputs]
            wanted = [leaves[number].requires_grad_() for number in by]
            value = loss(*leaves, label_smoothing=smoothing)
            results.append([value, *(grad(value, wanted) if wanted else ())])
        assert results[0][0].dtype == reduce(torch.promote_types, dtypes)
        single = torch.float64 not in dtypes[:2]
        for actual, expected in zip(*results, strict=True):
            rounded = torch.float32 if single and actual.dtype == torch.float64 else None
            assert_near(actual, expected, rounded)
