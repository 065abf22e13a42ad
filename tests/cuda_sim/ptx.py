"""The PTX that a built extension carries, one file for each of its CUDA sources."""

import re
from pathlib import Path

# Text up to a zero byte, where nvcc was told not to compress it.
TEXT = re.compile(rb"\.version \d[^\x00]*\.entry[^\x00]*")


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
