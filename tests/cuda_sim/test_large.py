"""Tensors of more than 2^31 elements: the simulator's memory is lazy, and it runs the last rows."""

from collections.abc import Callable, Iterator

import pytest
import simulator
import torch
from ops import assert_near, random
from torch import Tensor

from torch_infotheory.nn import functional

if not simulator.IS_THERE:
    pytest.skip("needs the simulator: make test-cuda-sim", allow_module_level=True)

CLASSES = 131072


@pytest.fixture(autouse=True)
def only_some_blocks() -> Iterator[None]:
    torch.empty(1, device="cuda")
    yield
    simulator.set_option("block_begin", 0)
    simulator.set_option("block_end", 2**62)


def run_last_row(call: Callable[[], Tensor], rows: int) -> Tensor:
    """Twice: to learn how large the grid is, and with the blocks of the last row alone."""
    simulator.set_option("block_begin", 2**31)
    simulator.launches()
    call()
    (launch,) = simulator.launches()
    simulator.set_option("block_begin", launch.grid - launch.grid // rows)
    return call()


@pytest.mark.parametrize("padding", [0, 3 * 2**20])
def test_the_last_rows(padding: int) -> None:
    rows = 17000 if padding == 0 else 800  # 2^31.05 and 2^31.3 elements apart
    memory = torch.empty(rows, CLASSES + padding, dtype=torch.bfloat16, device="cuda")
    x = memory[:, :CLASSES]
    last = random(CLASSES).bfloat16()
    x[-1].copy_(last)
    labels = torch.full((rows,), CLASSES - 5).cuda()
    assert x.storage_offset() + (rows - 1) * x.stride(0) > 2**31

    x.requires_grad_()
    value = run_last_row(
        lambda: functional.cross_entropy(x, labels, reduction="none", dtype=torch.float32), rows
    )
    exact = last.double().requires_grad_()
    expected = torch.nn.functional.cross_entropy(exact, labels[-1].cpu(), reduction="none")
    assert_near(value[-1].cpu(), expected.detach())

    g = torch.ones(rows, dtype=value.dtype).cuda()
    gradient = run_last_row(lambda: torch.autograd.grad(value, x, g, retain_graph=True)[0], rows)
    (wanted,) = torch.autograd.grad(expected, exact)
    assert_near(gradient[-1].cpu(), wanted, terms=1e-3)
