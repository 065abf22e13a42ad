"""Registers and spills of every kernel, as the assembler of each card reports them."""

import re
from dataclasses import dataclass
from pathlib import Path

import ptx


@dataclass(frozen=True)
class Resources:
    kernel: str  # as C++ writes it
    registers: int
    spilled: int  # bytes


def of_kernels(folder: Path, architecture: str) -> list[Resources]:
    said = "".join(path.read_text() for path in sorted(folder.glob(f"{architecture}_*.log")))
    found = re.findall(
        r"Compiling entry function '(\w+)'.*?(\d+) bytes spill stores, (\d+) bytes spill loads"
        r".*?Used (\d+) registers",
        said,
        re.DOTALL,
    )
    names = ptx.plain_names(name for name, *_ in found)
    return [
        Resources(name, int(registers), int(stores) + int(loads))
        for name, (_, stores, loads, registers) in zip(names, found, strict=True)
    ]
