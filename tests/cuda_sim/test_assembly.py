"""What the assembler of each card makes of the kernels: no spilled register, few instructions."""

import os
from pathlib import Path

import instructions
import pytest
import registers
import simulator

if not simulator.IS_THERE:
    pytest.skip("needs the simulator: make test-cuda-sim", allow_module_level=True)

FOLDER = Path(os.environ["FAKECUDA_PTX"].split(":")[0]).parent
on_each_card = pytest.mark.parametrize("architecture", ["sm_80", "sm_90", "sm_100"])


@on_each_card
def test_no_kernel_spills(architecture: str) -> None:
    kernels = registers.of_kernels(FOLDER, architecture)
    assert len(kernels) > 50
    assert [kernel for kernel in kernels if kernel.spilled] == []


@pytest.mark.skipif(not instructions.disassembler(), reason="there is no cuobjdump")
@on_each_card
@pytest.mark.parametrize("dtype", instructions.NUMBERS_OF_A_PACK)
@pytest.mark.parametrize("name", instructions.KERNELS)
def test_instructions_of_a_number(name: str, dtype: int, architecture: str) -> None:
    kernel = instructions.KERNELS[name]
    readings, spent = instructions.instructions_of_a_number(FOLDER, architecture, kernel, dtype)
    assert readings == kernel.readings
    assert 1 < spent <= kernel.budget


@pytest.mark.skipif(not instructions.disassembler(), reason="there is no cuobjdump")
@on_each_card
def test_no_double_for_a_class(architecture: str) -> None:
    """On many cards double arithmetic takes 64 times as long."""
    found = instructions.doubles_in_loops(FOLDER, architecture)
    assert len([name for name in found if name.startswith("refine_rows")]) == 5
    assert len(found) > 90
    assert {name: count for name, count in found.items() if count} == {}
