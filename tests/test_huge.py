"""More than 2^31 elements, in bfloat16: offsets and class indices need more than 32 bits.

All logits are 0 but for the last classes of the last distribution, so that the true values are a
few terms, and memory that is only read takes no space. Each test needs 9 GB at most and some
seconds, so they run only if they are asked for.
"""

import math
import os

import numpy as np
import pytest
import torch
from ops import DEVICES
from torch import Tensor

import torch_infotheory
from torch_infotheory.nn import functional

pytestmark = [
    pytest.mark.skipif(
        os.environ.get("TORCH_INFOTHEORY_HUGE") != "1",
        reason="takes 9 GB: ask for it by TORCH_INFOTHEORY_HUGE=1",
    ),
    pytest.mark.parametrize("device", [name for name in ("cpu", "cuda") if name in DEVICES]),
]

# The classes are along dimension 1.
SHAPES = {
    "one_long_row": (1, 2**31 + 9),
    "two_rows": (2, 2**30 + 9),
    "short_rows": (2**26 + 1, 33),
    "positions": (1, 2**16 + 1, 2**15 + 1),
}
PEAKS = np.array([-1.0, 0.5, 2.0, 0.0, 1.0])  # of the last classes, beside the logarithm of C


def logits(shape: tuple[int, ...], device: str) -> tuple[Tensor, Tensor]:
    """The logits, and the last distribution in them."""
    x = torch.zeros(shape, dtype=torch.bfloat16, device=device)
    assert x.numel() > 2**31
    last = x.movedim(1, -1).flatten(0, -2)[-1] if x.ndim == 2 else x[-1, :, -1]
    last[-len(PEAKS) :] = torch.from_numpy(PEAKS + math.log(shape[1]))
    return x.requires_grad_(), last


def normalizer(last: Tensor) -> tuple[float, np.ndarray]:
    """log sum e^x of the last distribution, and its last logits."""
    peaks = last[-len(PEAKS) :].double().cpu().numpy()
    return math.log(len(last) - len(peaks) + np.exp(peaks).sum()), peaks


def near(actual: Tensor, expected: object, atol: float = 0.0) -> None:
    expected = torch.as_tensor(expected, dtype=torch.float64)
    torch.testing.assert_close(actual.double().cpu(), expected, rtol=2**-8, atol=atol)


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_entropy(shape: tuple[int, ...], device: str) -> None:
    x, last = logits(shape, device)
    z, peaks = normalizer(last.detach())
    value = torch_infotheory.entropy(x, dim=1, kind="logits", dtype=torch.float32)
    p = np.exp(peaks - z)
    entropy = z - (p * peaks).sum()
    near(value.flatten()[-1], entropy)
    if value.numel() > 1:
        near(value.flatten()[[0, -2]], [math.log(shape[1])] * 2)
    (gradient,) = torch.autograd.grad(value.sum(), x)
    del value
    of_last = gradient.select(-1, -1)[-1] if len(shape) == 3 else gradient[-1]
    near(of_last[-len(PEAKS) :], -p * (peaks - z + entropy))
    near(of_last[:2], [math.exp(-z) * (z - entropy)] * 2)
    if len(gradient) > 1:
        terms = math.log(shape[1]) / shape[1]  # which cancel
        near(gradient[0, :2], [0.0, 0.0], atol=2**-23 * terms)


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_cross_entropy(shape: tuple[int, ...], device: str) -> None:
    x, last = logits(shape, device)
    z, peaks = normalizer(last.detach())
    labels = torch.full((shape[0], *shape[2:]), shape[1] - 2, device=device)
    value = functional.cross_entropy(x, labels, reduction="none", dtype=torch.float32)
    near(value.flatten()[-1], z - peaks[-2])
    if value.numel() > 1:
        near(value.flatten()[[0, -2]], [math.log(shape[1])] * 2)
    (gradient,) = torch.autograd.grad(value.sum(), x)
    of_last = gradient.select(-1, -1)[-1] if len(shape) == 3 else gradient[-1]
    near(of_last[-len(PEAKS) :], np.exp(peaks - z) - [0, 0, 0, 1, 0])
    near(of_last[:2], [math.exp(-z)] * 2)
    if len(gradient) > 1:
        near(gradient[0, -2:], [1 / shape[1] - 1, 1 / shape[1]])
