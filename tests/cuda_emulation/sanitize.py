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
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import emulate

ROOT = emulate.HERE.parents[1]
# Tests and a choice among them: every op and kind, and each way to the memory.
TABLE = {
    "address": (
        # The tests of gradients run forward, too.
        ["tests/test_gradients.py", "tests/test_cuda.py", "tests/test_soft_histogram.py"],
        "test_kernels or rows or shifted or stepped or inner_rest or 1025 or broadcast_513 "
        "or tables or odd or mean or weighted or smoothed or parts or padded or labels "
        "or bad_label",
    ),
    "thread": (
        ["tests/test_cuda.py", "tests/test_soft_histogram.py"],
        "not bad_label and not repeat and "
        "(lanes_33 or block_4099 or parts_of_two or padded_odd or 1000 or float64-cubic)",
    ),
}
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


def run(library: Path, sanitizer: str, **settings: str) -> tuple[int, str]:
    tests, chosen = TABLE[sanitizer]
    preload = " ".join(map(runtime, [*RUNTIMES[sanitizer], "libstdc++.so"]))
    environment = os.environ | SETTINGS | settings
    environment |= {"LD_PRELOAD": preload, "TORCH_INFOTHEORY_EMULATION": str(library)}
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider"]
    # Nothing captured: a sanitizer ends the process, and with it what pytest would have shown.
    command += ["--capture=no", "-k", chosen, *tests]
    done = subprocess.run(
        command,
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    return done.returncode, done.stdout


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

    libraries = {name: ROOT / "build" / f"cuda_emulation_{name}.so" for name in RUNTIMES}
    with ThreadPoolExecutor(int(os.environ.get("MAX_JOBS", "2"))) as pool:

        def later(sanitizer: str, **settings: str) -> Future[tuple[int, str]]:
            return pool.submit(run, libraries[sanitizer], sanitizer, **settings)

        for sanitizer, library in libraries.items():
            emulate.build_library(library, sanitizer)
        whole = {sanitizer: later(sanitizer) for sanitizer in libraries}
        # With few blocks, each has several turns, which the barriers must keep apart as well.
        few = {"CUDA_EMULATION_BLOCKS": "2"}
        ordered = later("thread", **few, CUDA_EMULATION_UNORDERED="nowhere")
        unordered = {
            place: later("thread", **few, CUDA_EMULATION_UNORDERED=place) for place in barriers()
        }
        for sanitizer, result in whole.items():
            status, output = result.result()
            summary = (re.findall(r"\d+ passed.*", output) or ["no test passed"])[-1]
            tell(status == 0, f"{sanitizer} sanitizer: {summary}", output)
        for place, result in unordered.items():
            status, output = result.result()
            found = status != 0 and "data race" in output
            tell(found, f"a race is reported without the order of {place}", output)
        status, output = ordered.result()
        tell(status == 0, "thread sanitizer: no race with few blocks", output)
    print(f"make test-sanitizers: {failed} failed", flush=True)
    return bool(failed)


if __name__ == "__main__":
    sys.exit(main())
