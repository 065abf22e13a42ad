"""The gradient of every op by every input, against the reference; the orders among themselves."""

import pytest
import torch
from ops import BASIC_CASES, CASES, DTYPES, Case, as_it_is, assert_near, stepped
from torch.autograd import grad, gradcheck, gradgradcheck

# Every op, kind and way to find the classes; small, because the whole Jacobian is computed.
SMALL = {"rows", "dim_0", "several_dims", "broadcast_both", "tables", "batch_inside", "four_dims"}
SMALL_CASES = [case for case in CASES if case.name in SMALL or not case.op.kinds]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_gradient(case: Case, device: str) -> None:
    # Where the input lies in steps, so does the gradient that comes in.
    view = stepped if case.view is stepped else as_it_is
    for dtype in DTYPES:
        inputs = case.inputs(dtype, device, requires_grad=True)
        gradients = grad(case(*inputs), inputs, view(case.cotangent.to(device, dtype)))
        for number, gradient in enumerate(gradients):
            assert gradient.dtype == dtype
            case.assert_gradient(gradient, number)


@pytest.mark.parametrize("case", [c for c in BASIC_CASES if len(c.numbers) == 2], ids=str)
def test_gradient_by_one_of_two_inputs(case: Case, device: str) -> None:
    for wanted in (0, 1):
        inputs = case.inputs(torch.float64, device)
        inputs[wanted].requires_grad_()
        case(*inputs).backward(case.cotangent.to(device))
        assert inputs[1 - wanted].grad is None
        case.assert_gradient(inputs[wanted].grad, wanted)


@pytest.mark.parametrize("case", SMALL_CASES, ids=str)
def test_gradcheck(case: Case, device: str) -> None:
    inputs = case.inputs(torch.float64, device, requires_grad=True)
    assert_near(case(*inputs), case.value)  # of what the gradient is checked
    assert gradcheck(
        case,
        inputs,
        check_forward_ad=True,
        check_batched_grad=True,
        check_batched_forward_grad=True,
    )


@pytest.mark.parametrize("case", SMALL_CASES, ids=str)
def test_gradgradcheck(case: Case, device: str) -> None:
    inputs = case.inputs(torch.float64, device, requires_grad=True)
    for number, gradient in enumerate(grad(case(*inputs), inputs, case.cotangent.to(device))):
        case.assert_gradient(gradient, number)
    assert gradgradcheck(
        case,
        inputs,
        check_fwd_over_rev=True,
        check_rev_over_rev=True,
        check_batched_grad=True,
        fast_mode=True,  # random projections of the Jacobian: all of it takes a minute more
    )
