"""Runs the CUDA half on a GPU: make test-gpu. Skips, with the reason, where there is none.

The same table of tests as everywhere, what only a card can show, and compute-sanitizer.
"""

import shutil
import subprocess
import sys
from pathlib import Path

import cuda_build

WORK = cuda_build.ROOT / "build" / "cuda_gpu"
TABLE = ["tests/test_values.py", "tests/test_gradients.py", "tests/test_edges.py"]
TOOLS = ("memcheck", "racecheck", "synccheck", "initcheck")


def skip(reason: str) -> None:
    print(f"make test-gpu: SKIPPED, all of it: {reason}")
    sys.exit(0)


def cards() -> list[str]:
    if not shutil.which("nvidia-smi"):
        return []
    said = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True)
    return said.stdout.splitlines() if said.returncode == 0 else []


def sanitize(cuda: Path) -> None:
    program = shutil.which("compute-sanitizer") or str(cuda / "bin" / "compute-sanitizer")
    if not Path(program).is_file():
        print("make test-gpu: SKIPPED, compute-sanitizer: it is not installed")
        return
    for tool in TOOLS:
        cuda_build.say(f"testing under compute-sanitizer {tool}")
        cuda_build.test(
            WORK,
            "tests/test_cuda.py",
            prefix=[program, f"--tool={tool}", "--error-exitcode=9", "--target-processes=all"],
            PYTORCH_NO_CUDA_MEMORY_CACHING=1,
        )


def main() -> None:
    found = cards()
    if not found:
        skip("nvidia-smi sees no GPU")
    cuda = cuda_build.toolkit()
    if not cuda:
        skip("there is no nvcc")
    print("\n".join(found))
    cuda_build.build_environment()
    cuda_build.build_extension(cuda, WORK)
    cuda_build.say("testing the table")
    cuda_build.test(WORK, *TABLE, "tests/test_cuda.py", "tests/cuda_gpu")
    sanitize(cuda)
    cuda_build.say("make test-gpu: passed on " + ", ".join(sorted(set(found))))


if __name__ == "__main__":
    main()
