"""What only a GPU can show: graphs, streams that overlap, large tensors, the end of a bad label."""

import os
import subprocess
import sys

import pytest
import torch
from ops import assert_near, moved, random

import torch_infotheory
from torch_infotheory.nn import functional

if not torch.cuda.is_available() or "FAKECUDA_PTX" in os.environ:
    pytest.skip("needs a GPU: make test-gpu", allow_module_level=True)


def step(x: torch.Tensor, labels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """A loss over labels, a divergence, and their gradient."""
    y = x.detach().flip(0)
    loss = functional.cross_entropy(x, labels) + functional.js_div(x, y)
    return loss.detach(), torch.autograd.grad(loss, x)[0]


def logits(seed: int, device: str = "cuda") -> torch.Tensor:
    return moved(random(64, 5000, seed=seed).float(), device).requires_grad_()


LABELS = torch.arange(64) * 7


def test_a_graph_gives_what_the_calls_give() -> None:
    x, labels = logits(0), LABELS.cuda()
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        step(x, labels)  # warm
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        loss, gradient = step(x, labels)
    for seed in (1, 2):
        fresh = logits(seed)
        expected = step(fresh, labels)
        with torch.no_grad():
            x.copy_(fresh)
        graph.replay()
        assert torch.equal(loss, expected[0])
        assert torch.equal(gradient, expected[1])


def test_the_current_stream_is_used() -> None:
    """Behind a long wait on the same stream; on another one, the input would not be there yet."""
    x, labels = logits(0), LABELS.cuda()
    expected = step(x, labels)
    stream = torch.cuda.Stream()
    later = torch.zeros_like(x).requires_grad_()
    torch.cuda.synchronize()
    with torch.cuda.stream(stream):
        torch.cuda._sleep(10**9)
        with torch.no_grad():
            later.copy_(x)
        loss, gradient = step(later, labels)
    stream.synchronize()
    assert torch.equal(loss, expected[0]) and torch.equal(gradient, expected[1])


def test_the_host_waits_for_nothing() -> None:
    x, labels = logits(0), LABELS.cuda()
    step(x, labels)
    torch.cuda.set_sync_debug_mode("error")
    try:
        step(x, labels)
    finally:
        torch.cuda.set_sync_debug_mode("default")


def test_a_device_that_is_not_the_current_one() -> None:
    if torch.cuda.device_count() < 2:
        pytest.skip("needs two devices")
    expected = step(logits(0), LABELS.cuda())
    found = step(logits(0, "cuda:1"), LABELS.to("cuda:1"))
    assert torch.equal(found[0].cpu(), expected[0].cpu())
    assert torch.equal(found[1].cpu(), expected[1].cpu())


def test_more_than_2_to_the_31_elements() -> None:
    rows, classes = 17000, 131072
    if torch.cuda.mem_get_info()[0] < 2.5 * rows * classes * 2:
        pytest.skip("needs 11 GB of free memory on the device")
    x = torch.zeros(rows, classes, dtype=torch.bfloat16, device="cuda")
    x[-1] = moved(random(classes).bfloat16(), "cuda")
    x.requires_grad_()
    value = torch_infotheory.entropy(x, kind="logits", dtype=torch.float32)
    (gradient,) = torch.autograd.grad(value.sum(), x)
    exact = x[-1].detach().cpu().double().requires_grad_()
    expected = torch.distributions.Categorical(logits=exact).entropy()
    assert_near(value[-1], expected.detach())
    assert_near(gradient[-1], torch.autograd.grad(expected, exact)[0], terms=1e-3)


def test_a_bad_label_is_a_device_assertion() -> None:
    """In a process of its own, for afterwards the device is of no use to it."""
    program = (
        "import torch; from torch_infotheory.nn import functional as F\n"
        "F.cross_entropy(torch.zeros(2, 3).cuda(), torch.tensor([1, 3]).cuda())\n"
        "torch.cuda.synchronize()"
    )
    done = subprocess.run([sys.executable, "-P", "-c", program], capture_output=True, text=True)
    assert done.returncode != 0 and "device-side assert" in done.stderr
