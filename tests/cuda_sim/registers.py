"""Registers and spills of every kernel, as the assembler of each card reports them."""

import os
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Resources:
    kernel: str  # as C++ writes it
    registers: int
    spilled: int  # bytes


def assemble(path: Path, architecture: str) -> list[Resources]:
    environment = {k: v for k, v in os.environ.items() if k != "LD_PRELOAD"}
    said = subprocess.run(
        ["ptxas", "-v", f"-arch={architecture}", str(path), "-o", os.devnull],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    ).stderr
    found = re.findall(
        r"Compiling entry function '(\w+)'.*?(\d+) bytes spill stores, (\d+) bytes spill loads"
        r".*?Used (\d+) registers",
        said,
        re.DOTALL,
    )
    names = subprocess.run(
        ["c++filt", *(name for name, *_ in found)],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.splitlines()
    return [
        Resources(short(name), int(registers), int(stores) + int(loads))
        for name, (_, stores, loads, registers) in zip(names, found, strict=True)
    ]


def short(name: str) -> str:
    """Without namespaces, return type and arguments."""
    name = re.sub(r"torch_infotheory::|\(anonymous namespace\)::|^void ", "", name)
    return re.sub(r"\((?:DeviceRows|Totals).*$", "", name)
