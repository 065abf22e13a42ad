"""What the ops say on a device that this build has no kernels for."""

import re
import subprocess
import sys

import pytest
import torch
from ops import BASIC_CASES, Case

ONE_OF_EACH = list({case.op.name: case for case in BASIC_CASES}.values())
# Compositions, on every device.
MAPS = {"self_information", "pointwise_mutual_information"}
COMPOSED = "self_information|(normalized_)?pointwise|linear_loss|shares|count_pairs"
KERNEL_OPS = [
    name
    for name in torch._C._dispatch_get_all_op_names()
    if re.match(f"torch_infotheory::_(?!{COMPOSED})", name)
]


def has_cuda() -> bool:
    """Also in a process that has loaded the emulation."""
    return any(torch._C._dispatch_has_kernel_for_dispatch_key(name, "CUDA") for name in KERNEL_OPS)


class Elsewhere(torch.Tensor):
    """A tensor without memory that says it is on another device."""

    @staticmethod
    def __new__(cls, like: torch.Tensor, device: str) -> "Elsewhere":
        return torch.Tensor._make_wrapper_subclass(
            cls, like.shape, dtype=like.dtype, device=device, strides=like.stride()
        )

    @classmethod
    def __torch_dispatch__(cls, func, types, args=(), kwargs=None):
        raise AssertionError("the kernel of the device should have been asked")


def call_elsewhere(case: Case, device: str) -> None:
    inputs = [Elsewhere(x, device) for x in case.inputs(torch.float32, "cpu")]
    options = case.op.dispatcher_options(case.options_like(torch.empty(0)))
    options = {
        name: Elsewhere(x, device) if isinstance(x, torch.Tensor) else x
        for name, x in options.items()
    }
    python = torch._C.DispatchKeySet(torch._C.DispatchKey.Python)
    python = python | torch._C.DispatchKeySet(torch._C.DispatchKey.PythonTLSSnapshot)
    with torch._C._ExcludeDispatchKeyGuard(python):
        case.op.overload(*inputs, **options)


HAVE_KERNELS = [c for c in ONE_OF_EACH if c.op.name not in MAPS and not c.op.in_float64]


@pytest.mark.parametrize("case", HAVE_KERNELS, ids=str)
@pytest.mark.parametrize("device", ["mps", "xpu", "hpu"])
def test_says_what_to_do(case: Case, device: str) -> None:
    check_message(case, device)


def test_says_how_to_get_cuda_kernels() -> None:
    """In a process of its own, because tests on the emulation leave its kernels behind."""
    done = subprocess.run([sys.executable, __file__], capture_output=True, text=True)
    if "built with CUDA kernels" in done.stdout:
        pytest.skip("this build has kernels for CUDA")
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{len(HAVE_KERNELS)} ops say it" in done.stdout


def check_message(case: Case, device: str) -> None:
    with pytest.raises(NotImplementedError) as caught:
        call_elsewhere(case, device)
    message = str(caught.value)
    assert re.match("[a-z_]+: torch_infotheory ", message)
    if device == "cuda":
        assert "built without CUDA kernels, because " in message
        assert "pip install --no-build-isolation" in message
    else:
        assert f"no kernels for {device} tensors" in message


@pytest.mark.parametrize("name", KERNEL_OPS)
def test_every_op_answers(name: str) -> None:
    """Forward and backward, on whatever backend: the CPU's kernel is none of its own to CUDA."""
    assert torch._C._dispatch_has_kernel_for_dispatch_key(name, "CPU")
    assert torch._C._dispatch_has_kernel_for_dispatch_key(name, "CompositeExplicitAutograd")
    assert torch._C._dispatch_has_kernel_for_dispatch_key(name, "Meta")


if __name__ == "__main__":
    if has_cuda():
        print("built with CUDA kernels")
    else:
        for each in HAVE_KERNELS:
            check_message(each, "cuda")
        print(len(HAVE_KERNELS), "ops say it")
