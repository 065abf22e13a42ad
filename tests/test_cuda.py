"""What only the CUDA kernels have: thread groups, rows in segments, packs of 16 bytes, asserts.

The sizes come from csrc/cuda/launch_config.h. Runs on every device but the CPU; there the table of
ops.py has been tried already.
"""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from ops import DEVICES, DTYPES, OPS, Case, Layout, assert_near, measure_case, moved, random
from torch import Tensor
from torch.autograd import grad

from torch_infotheory.nn import functional

ON_CUDA = pytest.mark.parametrize("device", [d for d in DEVICES if d != "cpu"], indirect=True)


def padded(x: Tensor) -> Tensor:
    """Rows that begin where the one before has not ended its line of memory."""
    wider = torch.full((*x.shape[:-1], x.shape[-1] + 5), torch.nan, dtype=x.dtype)
    wider[..., : x.shape[-1]] = x
    return wider[..., : x.shape[-1]]


def behind_one(x: Tensor) -> Tensor:
    """Contiguous, but one number off the alignment of a pack."""
    return torch.cat((x.new_zeros(1), x.flatten()))[1:].view(x.shape)


LAYOUTS = (
    *(Layout(f"lanes_{c}", (9, c)) for c in (1, 2, 3, 4, 8, 9, 31, 33, 100, 257)),  # of one warp
    Layout("warp_full", (2, 1024)),
    Layout("block_1025", (2, 1025)),
    Layout("block_4099", (1, 4099)),
    Layout("parts_of_a_row", (1, 16384 + 3)),
    Layout("parts_of_two_rows", (2, 40000)),
    Layout("tiny_rows", (1500, 3)),
    Layout("padded", (5, 1040), view=padded),
    Layout("padded_odd", (5, 37), view=padded),
    Layout("behind_one", (3, 2051), view=behind_one),
    Layout("inside", (2, 300, 37), {"dim": 1}),
    Layout("inside_long", (1, 3000, 2), {"dim": 1}),
)
NAMES = ("entropy", "cross_entropy", "kl_divergence", "js_divergence")
CASES = [
    measure_case(op, kinds, layout)
    for op in OPS
    if op.name in NAMES
    for kinds in op.kinds
    for layout in LAYOUTS
    if set(kinds) == {"logits"} or (kinds == ("logits", "log_probs") and layout.name == "padded")
]


def js_by_logarithms(weight: float) -> Callable[..., tuple[np.ndarray, ...]]:
    def by_logarithms(
        p: np.ndarray, lp: np.ndarray, q: np.ndarray, lq: np.ndarray
    ) -> tuple[np.ndarray, ...]:
        mixed = np.logaddexp(np.log1p(-weight) + lp, np.log(weight) + lq)
        return (1 - weight) * p * (lp - mixed), weight * q * (lq - mixed)

    return by_logarithms


# d value / d log p and d value / d log q of each measure, for the chain rule of logits.
BY_LOGARITHM = {
    "entropy": lambda p, lp: (-p * (lp + 1),),
    "cross_entropy": lambda p, lp, q, lq: (-p * lq, -p),
    "kl_divergence": lambda p, lp, q, lq: (p * (lp - lq + 1), -p),
}


def gradients(case: Case) -> list[np.ndarray]:
    """By logits; the reference of ops.py steps every element, which is too slow for long rows."""
    (axis,) = case.axes
    states = []
    for x in case.arrays:
        shifted = x - x.max(axis, keepdims=True)
        log = shifted - np.log(np.exp(shifted).sum(axis, keepdims=True))
        states += [np.exp(log), log]
    if case.op.name == "js_divergence":
        by_log = js_by_logarithms(case.op.options.get("weight", 0.5))(*states)
    else:
        by_log = BY_LOGARITHM[case.op.name](*states)
    g = np.expand_dims(case.cotangent.numpy(), axis)
    return [
        g * (w - p * w.sum(axis, keepdims=True)) for w, p in zip(by_log, states[::2], strict=True)
    ]


@ON_CUDA
@pytest.mark.parametrize("case", CASES, ids=str)
def test_value_of_every_geometry(case: Case, device: str) -> None:
    for dtype in DTYPES:
        assert_near(case(*case.inputs(dtype, device)), case.value)


@ON_CUDA
@pytest.mark.parametrize("case", [c for c in CASES if set(c.kinds) == {"logits"}], ids=str)
def test_gradient_of_every_geometry(case: Case, device: str) -> None:
    expected = gradients(case)
    for dtype in DTYPES:
        inputs = case.inputs(dtype, device, requires_grad=True)
        found = grad(case(*inputs), inputs, case.cotangent.to(device, dtype))
        for actual, x in zip(found, expected, strict=True):
            one_class = x.shape[case.axes[0]] == 1  # whose gradient is 0, the difference of terms
            assert_near(actual, x, terms=1.0 if one_class else np.abs(x).max())


@ON_CUDA
@pytest.mark.parametrize("label_type", [torch.int64, torch.int32, torch.uint8])
@pytest.mark.parametrize("classes", [5, 1000, 20001])
def test_labels_of_every_geometry(classes: int, label_type: torch.dtype, device: str) -> None:
    rows = 7
    logits = random(rows, classes).bfloat16().double()
    labels = torch.arange(rows) * (min(classes, 256) // rows) % classes
    labels[2] = 100 if classes > 100 else 4  # ignored
    options = {"ignore_index": int(labels[2])}
    for dtype in DTYPES:
        x = moved(logits.to(dtype), device).requires_grad_()
        loss = functional.cross_entropy(x, moved(labels.to(label_type), device), **options)
        exact = logits.clone().requires_grad_()
        expected = torch.nn.functional.cross_entropy(exact, labels, **options)
        assert_near(loss, expected.detach())
        (actual,), (wanted,) = grad(loss, x), grad(expected, exact)
        assert_near(actual, wanted, terms=1 / rows)


@ON_CUDA
def test_results_repeat_bit_for_bit(device: str) -> None:
    """Also where a row is cut into parts, and where a mean is taken over many rows."""
    x = moved(random(3, 40000).float(), device).requires_grad_()
    y = moved(random(5000, 6, seed=1).float(), device).requires_grad_()
    for function, input in ((functional.entropy_loss, x), (functional.entropy_loss, y)):
        first, second = (function(input) for _ in range(2))
        assert torch.equal(first.cpu(), second.cpu())
        assert torch.equal(grad(first, input)[0].cpu(), grad(second, input)[0].cpu())


ON_EMULATION = pytest.mark.parametrize(
    "device", [d for d in DEVICES if d == "cuda_emulated"], indirect=True
)


@ON_EMULATION
@pytest.mark.parametrize("label", [5, 1005, -1, 2**40])
@pytest.mark.parametrize("reduction", ["none", "mean"])
def test_bad_label_is_an_assertion(label: int, reduction: str, device: str) -> None:
    """On a GPU it ends the process; the simulator shows that no address is computed from it."""
    labels = torch.tensor([1, label, 3])
    for function in (functional.cross_entropy, functional.nll_loss):
        x = random(3, 5).float().log_softmax(1).requires_grad_()
        with pytest.raises(RuntimeError, match="device-side assert triggered"):
            function(x, labels, reduction=reduction)
        expected = torch.nn.functional.cross_entropy(x, labels.clamp(0, 4))
        assert_near(function(x, labels.clamp(0, 4)), expected.detach())  # as before
