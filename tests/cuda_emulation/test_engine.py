"""The emulation itself: it runs what is right, and finds each planted fault of faults.cpp.

A barrier too few changes no value and reads nothing astray: that ThreadSanitizer sees it here is
why its silence on the kernels of the package means something.
"""

import os
import subprocess
from pathlib import Path

import emulate
import pytest

FOUND = [  # what each kernel of faults.cpp must print, and under which sanitizer
    ("sums", "", "gave: 2016 6112 10208"),
    ("unwritten_shared_memory", "", "nan"),
    ("divergent_barrier", "", "deadlock"),
    ("divergent_shuffle", "", "deadlock"),
    ("partial_mask", "", "not all lanes take part"),
    ("failed_check", "", "device-side assert triggered"),
    ("sums", "address", "gave: 2016 6112 10208"),
    ("beyond_the_input", "address", "heap-buffer-overflow"),
    ("beyond_shared_memory", "address", "heap-buffer-overflow"),
    ("sums", "thread", "gave: 2016 6112 10208"),
    ("missing_barrier", "thread", "data race"),
]
CLEAN = {"sums"}


@pytest.fixture(scope="module")
def programs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    built = {}
    for sanitizer in emulate.SANITIZERS:
        built[sanitizer] = tmp_path_factory.mktemp("faults") / f"faults_{sanitizer}"
        emulate.build(built[sanitizer], [emulate.HERE / "faults.cpp"], sanitizer, [], [])
    return built


@pytest.mark.parametrize(("kernel", "sanitizer", "expected"), FOUND)
def test_fault(programs: dict[str, Path], kernel: str, sanitizer: str, expected: str) -> None:
    environment = os.environ | {"ASAN_OPTIONS": "detect_leaks=0"}
    command = [str(programs[sanitizer]), kernel]
    run = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert expected in run.stdout + run.stderr
    assert ("ERROR" in run.stderr or "data race" in run.stderr) == (
        sanitizer != "" and kernel not in CLEAN
    )


def test_an_unordered_barrier_is_a_race(programs: dict[str, Path]) -> None:
    """CUDA_EMULATION_UNORDERED takes away what a barrier orders, and lets the threads meet."""
    lines = (emulate.HERE / "faults.cpp").read_text().splitlines()
    barriers = [number for number, line in enumerate(lines, 1) if "if (with_barrier)" in line]
    for where, races in ((f"faults.cpp:{barriers[0]}", True), ("faults.cpp:1", False)):
        environment = os.environ | {"CUDA_EMULATION_UNORDERED": where}
        run = subprocess.run(
            [str(programs["thread"]), "sums"], env=environment, capture_output=True, text=True
        )
        assert "gave: 2016 6112 10208" in run.stdout
        assert ("data race" in run.stderr) == races
