"""What the ops say and compute on a device that this build has no kernels for.

What they compute there is also in the tests of values and gradients, on the device `composed` of
ops.py.
"""

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from ops import BASIC_CASES, KERNEL_OPS, composing

import torch_infotheory


@pytest.mark.parametrize("name", KERNEL_OPS)
def test_every_op_answers(name: str) -> None:
    """Forward and backward, on whatever backend: the CPU's kernel is none of its own to CUDA."""
    for key in ("CompositeExplicitAutograd", "CompositeImplicitAutograd", "Meta"):
        assert torch._C._dispatch_has_kernel_for_dispatch_key(name, key)


@pytest.mark.parametrize("options", [(), ("no_float64",)], ids=["", "no_float64"])
def test_a_device_without_kernels(options: tuple[str, ...]) -> None:
    """In a process of its own: torch has room for one device that is made up."""
    program = Path(__file__).with_name("other_device.py")
    done = subprocess.run([sys.executable, program, *options], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{len(BASIC_CASES)} cases agree" in done.stdout


def test_a_label_that_is_no_class_is_nan() -> None:
    """Nobody waits for a device to see it, and nothing plausible comes of it."""
    logits = torch.randn(3, 5, requires_grad=True)
    labels = torch.tensor([1, 5, -100])
    with composing():
        for options in ({}, {"label_smoothing": 0.1}, {"weight": torch.rand(5)}):
            loss = torch.ops.torch_infotheory.cross_entropy_loss(
                logits, labels, reduction=0, **options
            )
            assert loss.isnan().tolist() == [False, True, False]
            (gradient,) = torch.autograd.grad(loss.sum(), logits)
            assert gradient.isnan().all(1).tolist() == [False, True, False]
            assert gradient[2].eq(0).all()


@pytest.mark.parametrize("label", [156, 40])
def test_labels_of_8_bits(label: int) -> None:
    """-100 and 300 are no numbers of uint8: a comparison with them must not wrap around."""
    logits = torch.randn(2, 300, dtype=torch.float64)
    narrow, wide = (torch.tensor([label, 3], dtype=t) for t in (torch.uint8, torch.int64))
    expected = logits.log_softmax(-1).gather(1, wide[:, None])[:, 0]
    states, weight = torch.randn(2, 4).double(), torch.randn(300, 4).double()
    functional = torch_infotheory.nn.functional
    torch.testing.assert_close(torch_infotheory.log_probs(logits, narrow).log_prob, expected)
    torch.testing.assert_close(
        functional.linear_cross_entropy(states, weight, narrow),
        torch.nn.functional.cross_entropy(states @ weight.T, wide),
    )
    torch.testing.assert_close(
        functional.linear_log_probs(states, weight, narrow).log_prob,
        (states @ weight.T).log_softmax(-1).gather(1, wide[:, None])[:, 0],
    )
    with composing():
        torch.testing.assert_close(
            functional.cross_entropy(logits, narrow, reduction="none"), -expected
        )
