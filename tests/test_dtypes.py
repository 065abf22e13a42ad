"""The dtype of results and gradients: `dtype=`, mixed inputs, autocast."""

from itertools import permutations, product

import numpy as np
import pytest
import torch
from ops import BASIC_CASES, CASES, DTYPES, Case, assert_near
from torch.autograd import grad


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
