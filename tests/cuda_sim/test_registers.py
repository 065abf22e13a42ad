"""No kernel spills a register, on any card."""

import os
from pathlib import Path

import pytest
import registers
import simulator

if not simulator.IS_THERE:
    pytest.skip("needs the simulator: make test-cuda-sim", allow_module_level=True)

FOLDER = Path(os.environ["FAKECUDA_PTX"].split(":")[0]).parent


@pytest.mark.parametrize("architecture", ["sm_80", "sm_90", "sm_100"])
def test_no_kernel_spills(architecture: str) -> None:
    kernels = [
        kernel
        for path in sorted(FOLDER.glob(f"{architecture}_*.ptx"))
        for kernel in registers.assemble(path, architecture)
    ]
    assert len(kernels) > 50
    assert [kernel for kernel in kernels if kernel.spilled] == []
