"""Runs the CUDA kernels under sanitizers: make test-sanitizers.

AddressSanitizer and UndefinedBehaviorSanitizer see accesses out of bounds, ThreadSanitizer sees
data races between the threads of a block. A sanitizer that never complains proves nothing, so every
barrier of the kernels is also run without the order that it gives to memory, and each such run has
to be reported.
"""

import os
import re
import subprocess
import sys
import time
from pathlib import Path

import emulate

ROOT = emulate.HERE.parents[1]
TABLE = ["tests/test_values.py", "tests/test_gradients.py", "tests/test_cuda.py"]
# What differs for the kernels: the formula, the kind, the way to the memory, long rows, labels.
CASES = "test_value or test_gradient or test_cuda"
RUNTIMES = {"address": ["libasan.so", "libubsan.so"], "thread": ["libtsan.so"]}
SETTINGS = {
    "ASAN_OPTIONS": "detect_leaks=0",
    "UBSAN_OPTIONS": "print_stacktrace=1",
    # Python and torch are not instrumented.
    "TSAN_OPTIONS": "ignore_noninstrumented_modules=1:halt_on_error=1:exitcode=66",
    "TORCH_INFOTHEORY_DEVICES": "cuda_emulated",
    "OMP_NUM_THREADS": "1",
}


def runtime(name: str) -> str:
    command = [emulate.COMPILER, f"-print-file-name={name}"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def run(library: Path, sanitizer: str, chosen: str, **settings: str) -> subprocess.CompletedProcess:
    preload = " ".join(map(runtime, [*RUNTIMES[sanitizer], "libstdc++.so"]))
    environment = os.environ | SETTINGS | settings
    environment |= {"LD_PRELOAD": preload, "TORCH_INFOTHEORY_EMULATION": str(library)}
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", "-k", chosen]
    return subprocess.run(
        [*command, *TABLE], cwd=ROOT, env=environment, capture_output=True, text=True
    )


def barriers() -> list[str]:
    """Where the kernels have one, as file:line."""
    return [
        f"{path.name}:{number}"
        for path in sorted((emulate.CSRC / "cuda").iterdir())
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if re.search(r"\b__sync(threads|warp)\w*\(", line.partition("//")[0])
    ]


def main() -> int:
    failed = 0
    start = time.monotonic()

    def tell(ok: bool, what: str, output: str = "") -> None:
        nonlocal failed
        failed += not ok
        seconds = time.monotonic() - start
        print(f"{'passed' if ok else 'FAILED'}: {what} ({seconds:.0f} s)", flush=True)
        if not ok:
            print(output[-6000:])

    libraries = {}
    for sanitizer in RUNTIMES:
        libraries[sanitizer] = ROOT / "build" / f"cuda_emulation_{sanitizer}.so"
        emulate.build_library(libraries[sanitizer], sanitizer)
        tell(True, f"the kernels compile with the {sanitizer} sanitizer")
        done = run(libraries[sanitizer], sanitizer, CASES)
        output = done.stdout + done.stderr
        summary = (re.findall(r"\d+ passed.*", output) or [""])[-1]
        tell(done.returncode == 0 and bool(summary), f"{sanitizer}: {summary}", output)
    for place in barriers():
        done = run(libraries["thread"], "thread", CASES, CUDA_EMULATION_UNORDERED=place)
        found = done.returncode != 0 and "data race" in done.stderr + done.stdout
        tell(found, f"without the order of the barrier {place}, a race is reported", done.stdout)
    print(f"make test-sanitizers: {failed} failed")
    return bool(failed)


if __name__ == "__main__":
    sys.exit(main())
