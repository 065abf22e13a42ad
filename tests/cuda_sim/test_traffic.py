"""What the kernels move to and from memory, counted by the simulator, against what they must."""

from collections.abc import Callable, Iterator

import pytest
import simulator
import torch
from ops import moved, random
from torch import Tensor

import torch_infotheory
from torch_infotheory.nn import functional

if not simulator.IS_THERE:
    pytest.skip("needs the simulator: make test-cuda-sim", allow_module_level=True)

PACK = 16  # bytes
# Rows of one warp, of a block, of a vocabulary, and few rows, which are cut into parts.
SHAPES = [(256, 64), (160, 1000), (160, 4096), (130, 32000), (2, 131072)]
TYPES = [torch.float32, torch.bfloat16]


@pytest.fixture(autouse=True)
def counted() -> Iterator[None]:
    torch.empty(1, device="cuda")  # the simulator begins with the first allocation
    simulator.set_option("coalescing", 1)
    yield
    simulator.set_option("coalescing", 0)


def measure(
    function: Callable[..., Tensor], *arguments: Tensor
) -> tuple[Tensor, list[simulator.Launch]]:
    simulator.launches()
    result = function(*arguments)
    return result, simulator.launches()


def total(launches: list[simulator.Launch], key: str) -> int:
    return sum(launch.stats[key] for launch in launches)


def matrix(rows: int, classes: int, dtype: torch.dtype, seed: int = 0) -> Tensor:
    return moved(random(rows, classes, seed=seed).to(dtype), "cuda").requires_grad_()


def grad_by_x(value: Tensor, x: Tensor, g: Tensor) -> Tensor:
    return torch.autograd.grad(value, x, g)[0]


FORWARD = {
    "cross_entropy_of_labels": (
        1,
        lambda x, y, t: functional.cross_entropy(x, t, reduction="none"),
    ),
    "entropy": (1, lambda x, y, t: torch_infotheory.entropy(x, kind="logits")),
    "cross_entropy": (2, lambda x, y, t: torch_infotheory.cross_entropy(x, y, kind="logits")),
    "kl_divergence": (2, lambda x, y, t: torch_infotheory.kl_divergence(x, y, kind="logits")),
    "js_divergence": (2, lambda x, y, t: torch_infotheory.js_divergence(x, y, kind="logits")),
}

READ_TWICE = {"js_divergence"}  # but for what stays in shared memory


@pytest.mark.parametrize("name", FORWARD)
@pytest.mark.parametrize("dtype", TYPES, ids=str)
@pytest.mark.parametrize(("rows", "classes"), SHAPES)
def test_traffic(name: str, rows: int, classes: int, dtype: torch.dtype) -> None:
    operands, function = FORWARD[name]
    x, y = matrix(rows, classes, dtype), matrix(rows, classes, dtype, seed=1)
    labels = moved(torch.arange(rows) % classes, "cuda")
    size = rows * classes * dtype.itemsize

    value, forward = measure(function, x, y, labels)
    g = moved(torch.ones(rows, dtype=value.dtype), "cuda")
    _, backward = measure(grad_by_x, value, x, g)

    read = total(forward, "global_loads_16b") * PACK
    parked = max(launch.shared * launch.grid for launch in forward)
    again = operands * size - parked if name in READ_TWICE else 0
    assert read == pytest.approx(operands * size + again, rel=0.001 if again else 1e-9)
    assert total(forward, "local_bytes") == total(backward, "local_bytes") == 0

    # A gradient reads every operand once and writes once.
    assert total(backward, "global_loads_16b") * PACK == operands * size
    assert size <= total(backward, "global_bytes_written") <= size * 1.001 + 64
    for launches in (forward, backward):
        assert total(launches, "sectors") <= 1.25 * total(launches, "sectors_ideal")
