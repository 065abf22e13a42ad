"""Distributions stated by counts: every op, beside the reference of the counts' shares."""

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from ops import (
    KINDS,
    OPS,
    PAIRS,
    ROWS,
    TABLES,
    X_AND_Y,
    Case,
    Op,
    assert_near,
    measure_case,
)
from torch import Tensor
from torch.autograd import gradcheck, gradgradcheck

import torch_infotheory as ti

ONCE = ("rows", "tables", "broadcast_both")  # of every pair of kinds
SHAPES = ("scalar", "dim_1", "transposed_dim_0", "several_dims_apart", "broadcast_dim_0", "no_rows")
OF_TABLES = ("one_table", "batch_inside", "four_dims", "no_tables")
MIXED = (("counts", "counts"), ("counts", "probs"), ("counts", "logits"), ("log_probs", "counts"))


def cases_of(op: Op) -> list[Case]:
    pairs = len(op.kinds[0]) == 2
    layouts = TABLES if op.dims == X_AND_Y else PAIRS if pairs else ROWS
    return [
        measure_case(op, kinds, layout)
        for kinds in (MIXED if pairs else (("counts",),))
        for layout in layouts
        if layout.name in ONCE or (set(kinds) == {"counts"} and layout.name in SHAPES + OF_TABLES)
    ]


COUNTED = [op for op in OPS if op.kinds]
CASES = [case for op in COUNTED for case in cases_of(op)]
BASIC = list({(str(case.op), case.kinds): case for case in reversed(CASES)}.values())[::-1]
ONLY_COUNTS = [case for case in BASIC if set(case.kinds) == {"counts"}]
every_case = pytest.mark.parametrize("case", CASES, ids=str)
basic_case = pytest.mark.parametrize("case", BASIC, ids=str)
only_counts = pytest.mark.parametrize("case", ONLY_COUNTS, ids=str)


@every_case
def test_value_and_gradient(case: Case, device: str) -> None:
    for dtype in (torch.float64, torch.float32):
        inputs = case.inputs(dtype, device, requires_grad=True)
        value = case(*inputs)
        assert value.dtype == dtype
        assert_near(value, case.value)
        found = torch.autograd.grad(value, inputs, case.cotangent.to(value))
        for number, gradient in enumerate(found):
            assert gradient.dtype == dtype
            case.assert_gradient(gradient, number)
        torch.testing.assert_close(case.dispatch(*inputs), value, rtol=0, atol=0, equal_nan=True)


@basic_case
def test_half_types(case: Case, device: str) -> None:
    for dtype in (torch.bfloat16, torch.float16):
        inputs = case.inputs(dtype, device, requires_grad=True)
        value = case(*inputs)
        assert value.dtype == dtype
        assert_near(value, case.value)
        for number, gradient in enumerate(
            torch.autograd.grad(value, inputs, case.cotangent.to(value))
        ):
            case.assert_gradient(gradient, number)
        wide = case(*inputs, dtype=torch.float32)
        assert wide.dtype == torch.float32
        assert_near(wide, case.value)


@basic_case
def test_derivatives(case: Case) -> None:
    inputs = case.inputs(torch.float64, "cpu", requires_grad=True)
    assert gradcheck(case, inputs, check_forward_ad=True)
    assert gradgradcheck(case, inputs)


def draws(case: Case, dtype: torch.dtype, high: int, device: str = "cpu") -> list[Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [
        torch.randint(1, high, x.shape, generator=generator, dtype=dtype).to(device)
        for x in case.numbers
    ]


@pytest.mark.parametrize("dtype", (torch.uint8, torch.int16, torch.int64), ids=str)
@only_counts
def test_integers(case: Case, dtype: torch.dtype, device: str) -> None:
    inputs = draws(case, dtype, torch.iinfo(dtype).max if dtype.itemsize < 4 else 2**31 - 1, device)
    expected = case.evaluate(*(x.cpu().double().numpy() for x in inputs))
    value = case(*inputs)
    assert value.dtype == torch.float32
    assert_near(value, expected)
    assert torch.equal(case.dispatch(*inputs), value)
    value = case(*inputs, dtype=torch.float64)
    assert value.dtype == torch.float64
    assert_near(value, expected)


@pytest.mark.parametrize("name", ("kl_divergence", "js_div", "renyi_divergence", "js_distance"))
def test_result_of_integers_and_others(name: str) -> None:
    case = next(x for x in BASIC if x.op.name == name and x.kinds == ("counts", "probs"))
    counts = draws(case, torch.int64, 100)[0]
    for dtype, result in (
        (torch.float16, torch.float32),
        (torch.float32, torch.float32),
        (torch.float64, torch.float64),
    ):
        assert case(counts, case.inputs(dtype, "cpu")[1]).dtype == result


def test_large_counts() -> None:
    """Of which float32 has not all digits, and whose sum a half type does not have."""
    counts = torch.tensor([[2**24 + 1, 2**24 + 3], [2**40 + 1, 2**40 - 1], [2**62, 2**62]])
    assert torch.equal(
        ti.kl_divergence(counts, counts.flip(-1), kind="counts", dtype=torch.float64) > 0,
        torch.tensor([True, True, False]),
    )
    exact = counts.double() / counts.double().sum(-1, keepdim=True)
    torch.testing.assert_close(ti.entropy(counts, kind="counts"), ti.entropy(exact).float())
    full = torch.full((1000,), 60000.0, dtype=torch.float16)
    assert abs(ti.entropy(full, kind="counts", dtype=torch.float64) - math.log(1000)) < 1e-12
    assert abs(ti.entropy(full, kind="counts") - math.log(1000)) < 4e-3


@only_counts
def test_zeros(case: Case, device: str) -> None:
    """The value and the gradient of the shares, in which one entry is 0."""
    inputs = [x.clone() for x in case.inputs(torch.float64, device)]
    for x in inputs:
        x.select(case.axes[-1], 0).zero_()
        x.requires_grad_()
    shares = [x / x.sum(case.axes, keepdim=True) for x in inputs]
    value, expected = case(*inputs), case(*shares, kind="probs")
    torch.testing.assert_close(value, expected)
    cotangent = torch.where(expected.isfinite(), 1.0, 0.0)
    found = torch.autograd.grad(value, inputs, cotangent)
    torch.testing.assert_close(found, torch.autograd.grad(expected, inputs, cotangent))
    assert all(x.isfinite().all() and x.any() for x in found) or not expected.any()


BAD: dict[str, Callable[[Tensor], Tensor]] = {
    "negative": lambda x: x.view(-1)[1].fill_(-1),
    "all_negative": lambda x: x.neg_(),
    "nothing": lambda x: x.zero_(),
    "nan": lambda x: x.view(-1)[1].fill_(math.nan),
}


@pytest.mark.parametrize("bad", BAD)
@only_counts
def test_bad_counts_stay_in_their_distribution(case: Case, bad: str, device: str) -> None:
    if case.options.get("reduction", "none") != "none":
        pytest.skip("one number for all distributions")
    for number in range(len(case.numbers)):
        inputs = [x.clone() for x in case.inputs(torch.float32, device)]
        assert case.axes != (0,) and len(inputs[number]) == 3
        BAD[bad](inputs[number][1])
        nan = case(*inputs).isnan().reshape(3, -1)
        assert nan.all(1).tolist() == nan.any(1).tolist() == [False, True, False]


@basic_case
def test_vmap(case: Case) -> None:
    inputs = case.inputs(torch.float64, "cpu")
    stacked = [torch.stack((x, x.flip(-1) + 1), 1) for x in inputs]
    found = torch.vmap(case, in_dims=1)(*stacked)
    expected = torch.stack([case(*(x.select(1, i) for x in stacked)) for i in range(2)])
    torch.testing.assert_close(found, expected)


@basic_case
def test_compile(case: Case) -> None:
    inputs = case.inputs(torch.float64, "cpu", requires_grad=True)
    torch._dynamo.reset()  # of the other cases, which are the same code
    compiled = torch.compile(case, backend="aot_eager", fullgraph=True)(*inputs)
    expected = case(*inputs)
    torch.testing.assert_close(compiled, expected)
    torch.testing.assert_close(
        torch.autograd.grad(compiled.sum(), inputs), torch.autograd.grad(expected.sum(), inputs)
    )


@pytest.mark.parametrize("op", COUNTED, ids=str)
def test_integers_are_counts_alone(op: Op) -> None:
    case = next(x for x in BASIC if x.op is op)
    integers = draws(case, torch.int64, 10)
    for kind in KINDS:
        with pytest.raises(TypeError, match=f"{op.name}: .*Long.*counts"):
            case(*integers, kind=kind)
    for dtype in (torch.bool, torch.complex64):
        with pytest.raises(TypeError, match=op.name):
            case(*(x.to(dtype) for x in integers), kind="counts")


def test_mixtures() -> None:
    counts = torch.tensor([[1, 3, 0], [4, 4, 8]])
    shares = counts.double() / counts.sum(-1, keepdim=True)
    value = ti.mixture_divergence(counts, 0, kind="counts", base=2)
    assert value.dtype == torch.float32
    m = shares.mean(0).numpy()
    h = [-np.sum(p[p > 0] * np.log2(p[p > 0])) for p in (m, *shares.numpy())]
    assert abs(value - (h[0] - (h[1] + h[2]) / 2)) < 1e-6


def test_autocast() -> None:
    counts = torch.tensor([1.0, 2.0, 5.0], dtype=torch.bfloat16)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        value = ti.entropy(counts, kind="counts")
    assert value.dtype == torch.float32
    p = counts.double() / 8
    assert_near(value, -(p * p.log()).sum())


def test_validation() -> None:
    ti.entropy(torch.tensor([[2, 3], [1, 0]]), kind="counts", validate=True)
    with pytest.raises(ValueError, match=r"entropy: the counts p\[1, :\] have the total 0"):
        ti.entropy(torch.tensor([[2, 3], [0, 0]]), kind="counts", validate=True)
    with pytest.raises(ValueError, match=r"joint\[0, :, :\] has the negative count -2"):
        ti.mutual_information(torch.tensor([[[2, -2], [0, 1]]]), kind="counts", validate=True)
