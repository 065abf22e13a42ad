"""Runs the CUDA half on a GPU: make test-gpu. Skips, with the reason, where there is none.

    make test-gpu                      # with the CUDA build of torch, installed into .venv-cuda
    make test-gpu GPU_PYTHON=python3   # with that Python and its torch; nothing is installed

Builds for the card, with all cores, and runs in stages: what only a card can show, the same
tables of tests as everywhere, the speed of the common calls, compute-sanitizer. Each says how it
ended, and none keeps the next from running, so that a run that is cut off still tells. A stage
that lacks a package is skipped, with its name.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import cuda_build

WORK = cuda_build.ROOT / "build" / "cuda_gpu"
# In the order of what they tell for their time.
TESTS = [
    "tests/cuda_gpu/test_gpu.py",
    "tests/test_cuda.py",
    "tests/test_soft_histogram.py",
    "tests/test_values.py",
    "tests/test_gradients.py",
    "tests/test_edges.py",
]
TOOLS = ("memcheck", "racecheck", "synccheck", "initcheck")
# Tests of one kernel of each family; a tool takes up to a hundred times as long as the call alone.
UNDER_A_TOOL = ["tests/test_cuda.py", "-k", "lanes_33 or block_4099 or parts_of_two or padded_odd"]
BENCHMARKS = ("rows-8192x1000-float32-1", "tables-4096x64x64-float32", "linear-256x256x4096")


def skip(reason: str) -> None:
    print(f"make test-gpu: SKIPPED, all of it: {reason}")
    sys.exit(0)


def cards() -> list[str]:
    if not shutil.which("nvidia-smi"):
        return []
    said = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True)
    return said.stdout.splitlines() if said.returncode == 0 else []


class Stages:
    def __init__(self) -> None:
        self.ended: dict[str, str] = {}

    def tell(self, what: str, result: str) -> None:
        self.ended[what] = result
        cuda_build.say(f"{result}: {what}")

    def run(self, what: str, *arguments: object, **options: object) -> None:
        """Python with the package, in the folder of the repository."""
        cuda_build.say(what)
        passed = cuda_build.python_passes(WORK, *arguments, **options)
        self.tell(what, "passed" if passed else "FAILED")

    def run_file(self, what: str, file: str, *arguments: object, **options: object) -> None:
        """The same of a file with what it imports, unless that is not there."""
        if lacking := missing_package(Path(file)):
            self.tell(what, f"SKIPPED, {lacking}")
        else:
            self.run(what, *arguments, **options)

    def test(self, file: str, *chosen: object, what: str = "", **options: object) -> None:
        pytest = ("-m", "pytest", "-q", "-rs", "-p", "no:cacheprovider")
        self.run_file(what or file, file, *pytest, file, *chosen, **options)


def missing_package(file: Path) -> str:
    """Which package a file, or pytest, does not find; empty if none."""
    module = file.stem if "tests" not in file.parts else f"pytest, {file.stem}"
    code = f"import sys; sys.path.insert(0, {str(file.parent)!r}); import {module}"
    done = subprocess.run(
        [cuda_build.PYTHON, "-P", "-c", code],
        cwd=cuda_build.ROOT,
        env=cuda_build.environment_of(WORK),
        capture_output=True,
        text=True,
    )
    last = (done.stderr.strip().splitlines() or [""])[-1]
    return last if "ModuleNotFoundError" in last else ""


def sanitize(stages: Stages, cuda: Path, tools: Sequence[str]) -> None:
    program = shutil.which("compute-sanitizer") or str(cuda / "bin" / "compute-sanitizer")
    for tool in tools:
        what = f"compute-sanitizer {tool}"
        if not Path(program).is_file():
            stages.tell(what, "SKIPPED, it is not installed")
            continue
        prefix = [program, f"--tool={tool}", "--error-exitcode=9", "--target-processes=all"]
        environment = {"PYTORCH_NO_CUDA_MEMORY_CACHING": 1}
        stages.test(*UNDER_A_TOOL, what=what, prefix=prefix, **environment)


def main() -> None:
    found = cards()
    if not found:
        skip("nvidia-smi sees no GPU")
    cuda = cuda_build.toolkit()
    if not cuda:
        skip("there is no nvcc")
    print("\n".join(found))
    cuda_build.build_environment()
    stages = Stages()
    cuda_build.build_extension(cuda, WORK, MAX_JOBS=os.cpu_count() or 1)
    stages.tell("build", "passed")
    stages.run("configuration", "-m", "torch_infotheory")
    for file in TESTS[:2]:
        stages.test(file)
    for part in BENCHMARKS:
        options = ("--full", "--device", "cuda", "--seconds", 0.2, "--only", part)
        where = ("--parts", WORK / "parts", "--page", WORK / "performance_cuda.md")
        bench = "benchmarks/bench.py"
        stages.run_file(f"benchmark {part}", bench, bench, *options, *where)
    sanitize(stages, cuda, TOOLS[:1])
    for file in TESTS[2:]:
        stages.test(file)
    sanitize(stages, cuda, TOOLS[1:])
    failed = [what for what, result in stages.ended.items() if result == "FAILED"]
    for what, result in stages.ended.items():
        print(f"{result}: {what}")
    print("make test-gpu:", f"{len(failed)} failed on" if failed else "passed on", *set(found))
    sys.exit(bool(failed))


if __name__ == "__main__":
    main()
