"""The PTX that a built extension carries, a file for each of its CUDA sources, and its assembly."""

import os
import re
import subprocess
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

# Text up to a zero byte, where nvcc was told not to compress it.
TEXT = re.compile(rb"\.version \d[^\x00]*\.entry[^\x00]*")
# For programs that a simulated process starts.
PLAIN = {key: value for key, value in os.environ.items() if key != "LD_PRELOAD"}


def extract(library: Path, folder: Path) -> dict[str, list[Path]]:
    """By architecture, such as sm_80."""
    found: dict[str, list[Path]] = {}
    for number, text in enumerate(TEXT.findall(library.read_bytes())):
        target = re.search(rb"^\.target (\w+)", text, re.MULTILINE)
        assert target
        path = folder / f"{target[1].decode()}_{number}.ptx"
        path.write_bytes(text + b"\n")
        found.setdefault(target[1].decode(), []).append(path)
    return found


def assemble(path: Path) -> None:
    """Leaves the machine code in a .cubin beside the PTX, and in a .log what ptxas says of it."""
    architecture = path.name.rpartition("_")[0]
    command = ["ptxas", "-v", f"-arch={architecture}", path, "-o", path.with_suffix(".cubin")]
    with path.with_suffix(".log").open("w") as log:
        subprocess.run(command, stderr=log, check=True)


def assemble_all(paths: Iterable[Path], jobs: int) -> None:
    with ThreadPoolExecutor(jobs) as pool:
        list(pool.map(assemble, paths))


def plain_names(mangled: Iterable[str]) -> list[str]:
    """As C++ writes kernels, without namespaces, return type and arguments."""
    command = ["c++filt", *mangled]
    said = subprocess.run(command, env=PLAIN, capture_output=True, text=True, check=True).stdout
    names = re.sub(r"torch_infotheory::|\(anonymous namespace\)::|^void ", "", said, flags=re.M)
    arguments = r"\((?:DeviceRows|BlockTotals|Histogram).*$"
    return [re.sub(arguments, "", name) for name in names.splitlines()]
