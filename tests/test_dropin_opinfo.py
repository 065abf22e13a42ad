"""Torch's own samples of its losses, run through ours."""

import random
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from dropin import assert_same, naming
from torch import Tensor
from torch.autograd import gradcheck, gradgradcheck
from torch.testing._internal.common_methods_invocations import op_db
from torch.testing._internal.opinfo.core import OpInfo, SampleInput

from torch_infotheory.nn import functional as F

OURS = {
    "nn.functional.cross_entropy": F.cross_entropy,
    "nn.functional.nll_loss": F.nll_loss,
    "nn.functional.kl_div": F.kl_div,
}
OPS = [pytest.param(op, id=op.name) for op in op_db if op.name in OURS]
DTYPES = (torch.float64, torch.float32, torch.bfloat16, torch.float16)

pytestmark = pytest.mark.filterwarnings("ignore:reduction. 'mean' divides:UserWarning")


def test_torch_has_samples_of_every_loss_and_no_error_inputs() -> None:
    assert {param.id for param in OPS} == set(OURS)
    # test_dropin_grid.py has errors of our own choice; should torch list some, they belong here.
    assert all(op.error_inputs_func is None for op in op_db if op.name in OURS)


def samples(op: OpInfo, device: str, dtype: torch.dtype) -> Iterator[SampleInput]:
    torch.manual_seed(0)
    random.seed(0)
    yield from op.sample_inputs(device, dtype, requires_grad=True)


def tensors_and_function(op: OpInfo, sample: SampleInput) -> tuple[list[Tensor], Callable]:
    """The differentiable inputs of a sample, and our loss as a function of them."""
    arguments = [sample.input, *sample.args]
    places = [i for i, x in enumerate(arguments) if isinstance(x, Tensor) and x.requires_grad]

    def function(*tensors: Tensor) -> Tensor:
        filled: list[Any] = list(arguments)
        for place, tensor in zip(places, tensors, strict=True):
            filled[place] = tensor
        return OURS[op.name](*filled, **sample.kwargs)

    return [arguments[i] for i in places], function


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("op", OPS)
def test_samples_give_what_torch_gives(op: OpInfo, dtype: torch.dtype, device: str) -> None:
    for sample in samples(op, device, dtype):
        with naming(sample.summary()):
            assert_same(OURS[op.name], op.op, sample.input, *sample.args, **sample.kwargs)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("op", OPS)
def test_samples_in_strided_memory(op: OpInfo, dtype: torch.dtype, device: str) -> None:
    for sample in samples(op, device, dtype):
        strided = sample.noncontiguous()
        with naming(sample.summary()):
            assert_same(OURS[op.name], op.op, strided.input, *strided.args, **strided.kwargs)


@pytest.mark.parametrize("op", OPS)
def test_first_derivatives_of_the_samples(op: OpInfo, device: str) -> None:
    for sample in samples(op, device, torch.float64):
        tensors, function = tensors_and_function(op, sample)
        with naming(sample.summary()):
            gradcheck(function, tensors, check_forward_ad=True, check_batched_grad=True)


@pytest.mark.parametrize("op", OPS)
def test_second_derivatives_of_the_samples(op: OpInfo, device: str) -> None:
    for sample in samples(op, device, torch.float64):
        tensors, function = tensors_and_function(op, sample)
        with naming(sample.summary()):
            gradgradcheck(function, tensors, check_fwd_over_rev=True, check_batched_grad=True)
