"""The value of every op, of every kind and layout, in every dtype; and its options."""

import numpy as np
import pytest
import torch
from ops import BASIC_CASES, CASES, DTYPES, Case, assert_near

MEASURES = [case for case in BASIC_CASES if case.op.kinds]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_value(case: Case, device: str) -> None:
    for dtype in DTYPES:
        value = case(*case.inputs(dtype, device))
        assert value.dtype == dtype and value.shape == case.value.shape
        assert value.is_contiguous()
        assert_near(value, case.value)


@pytest.mark.parametrize("case", BASIC_CASES, ids=str)
def test_dispatcher_gives_the_same(case: Case, device: str) -> None:
    inputs = case.inputs(torch.float32, device)
    assert torch.equal(case.dispatch(*inputs), case(*inputs))


@pytest.mark.parametrize("case", [c for c in MEASURES if c.op.takes("base")], ids=str)
def test_base(case: Case, device: str) -> None:
    for base in (2, 10, np.e) if case.op.is_root else (2, 10, np.e, 0.5):
        options = {} if "normalized" in case.options else {"base": base}  # NPMI has no unit
        expected = case.evaluate(*case.arrays, **options)
        assert_near(case(*case.inputs(torch.float64, device), base=base), expected)


@pytest.mark.parametrize(
    "case", [c for c in CASES if c.op.takes("keepdim") and set(c.kinds) == {"logits"}], ids=str
)
def test_keepdim(case: Case, device: str) -> None:
    value = case(*case.inputs(torch.float64, device), keepdim=True)
    expected = case.evaluate(*case.arrays, keepdim=True)
    assert value.shape == expected.shape
    assert_near(value, expected)
