"""What the simulator saw of the CUDA kernels that ran in this process, see recorder.cpp."""

import ctypes
import json
from dataclasses import dataclass
from typing import Any

LIBRARY = ctypes.CDLL(None)  # what was loaded before the process began
IS_THERE = hasattr(LIBRARY, "recorder_take")


@dataclass(frozen=True)
class Launch:
    kernel: str  # as C++ writes it
    grid: int
    block: int
    shared: int  # bytes of dynamic shared memory
    device: int
    stream: int
    stats: dict[str, int]
    reports: list[dict[str, Any]]


def launches() -> list[Launch]:
    """Since the last call."""
    LIBRARY.recorder_take.restype = ctypes.c_char_p
    return [
        Launch(
            launch["report"]["kernel"],
            *(launch[key] for key in ("grid", "block", "shared", "device", "stream")),
            stats=launch["report"]["stats"],
            reports=launch["report"]["reports"],
        )
        for launch in json.loads(LIBRARY.recorder_take())
    ]


def set_option(key: str, value: object) -> None:
    if LIBRARY.recorder_set_option(key.encode(), str(value).encode()):
        raise ValueError(f"the simulator takes no option {key}={value}, or has not begun")


def load(path: str) -> None:
    if LIBRARY.recorder_load(path.encode()):
        raise ValueError(f"the simulator does not take {path}, or has not begun")


def use_kernels(ending: str) -> None:
    """From now on, a launch runs the kernel whose name has this ending."""
    LIBRARY.recorder_use(ending.encode())


def limit_blocks(most: int = 2**32 - 1) -> None:
    """From now on, larger grids become this small."""
    LIBRARY.recorder_limit_blocks(ctypes.c_uint32(most))
