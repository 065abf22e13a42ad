"""The host's half of a launch: device, stream, no waiting; and what a bad label does."""

import pytest
import simulator
import torch
from ops import moved, random

from torch_infotheory.nn import functional

if not simulator.IS_THERE:
    pytest.skip("needs the simulator: make test-cuda-sim", allow_module_level=True)


def operands(device: str) -> tuple[torch.Tensor, ...]:
    x, y = (moved(random(4, 7, seed=seed).float(), device) for seed in (0, 1))
    weight = moved(torch.rand(7), device)
    return x.requires_grad_(), y, weight, moved(torch.tensor([1, 2, 3, 0]), device)


def call(x: torch.Tensor, y: torch.Tensor, weight: torch.Tensor, labels: torch.Tensor) -> None:
    torch.autograd.grad(functional.cross_entropy(x, labels, weight=weight), x, y[0, 0])
    torch.autograd.grad(functional.js_div(x, y), x, y[0, 0])


def test_stream_and_device_are_the_current_ones_of_the_tensor() -> None:
    last = torch.cuda.device_count() - 1
    inputs = operands(f"cuda:{last}")
    stream = torch.cuda.Stream(last)
    simulator.launches()
    with torch.cuda.stream(stream):
        torch.cuda.set_device(0)  # the current device need not be the one of the tensors
        call(*inputs)
    launches = simulator.launches()
    assert launches
    assert {launch.device for launch in launches} == {last}
    assert {launch.stream for launch in launches} == {stream.cuda_stream}


def test_the_host_waits_for_nothing() -> None:
    inputs = operands("cuda")
    call(*inputs)
    torch.cuda.set_sync_debug_mode("error")
    try:
        call(*inputs)
    finally:
        torch.cuda.set_sync_debug_mode("default")


# What the simulator says of a bad address. A thread whose assertion failed is gone, which it says
# as well where others wait for that thread.
ADDRESSES = {"oob_global", "oob_shared", "null_pointer", "use_after_free", "misaligned"}


@pytest.mark.parametrize("label", [7, 1007, -1, 2**40, -(2**62)])
def test_a_bad_label_is_an_assertion_and_never_an_address(label: int) -> None:
    for reduction in ("none", "mean"):
        for kind in (functional.cross_entropy, functional.nll_loss):
            x = moved(random(4, 7).float(), "cuda")
            simulator.launches()
            with pytest.raises(RuntimeError, match="CUDA error"):
                kind(x, moved(torch.tensor([1, label, 3, 0]), "cuda"), reduction=reduction)
            kinds = {report["kind"] for launch in simulator.launches() for report in launch.reports}
            assert "assert" in kinds and not kinds & ADDRESSES
