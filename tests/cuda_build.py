"""Builds the extension for the CUDA build of torch, which has a virtual environment of its own."""

import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
VENV = Path(os.environ.get("CUDA_VENV") or ROOT / ".venv-cuda")
PYTHON = VENV / "bin" / "python"
JOBS = os.environ.get("JOBS", "2")

start = time.monotonic()


def say(text: str) -> None:
    print(f"==> {text} ({time.monotonic() - start:.0f} s)", flush=True)


def run(*command: object, **environment: object) -> None:
    settings = os.environ | {key: str(value) for key, value in environment.items()}
    done = subprocess.run([str(part) for part in command], cwd=ROOT, env=settings)
    if done.returncode:
        sys.exit(f"FAILED: {' '.join(map(str, command))}")


def toolkit() -> Path | None:
    """The folder of the CUDA toolkit. nvcc knows it; the one in PATH may be a script."""
    if os.environ.get("CUDA_HOME"):
        return Path(os.environ["CUDA_HOME"])
    if not shutil.which("nvcc"):
        return None
    command = ["nvcc", "--dryrun", "-x", "cu", os.devnull, "-o", os.devnull]
    said = subprocess.run(command, capture_output=True, text=True).stderr
    top = re.search(r"^#\$ TOP=(.*)$", said, re.MULTILINE)
    return Path(top[1].strip()).resolve() if top else None


def build_environment() -> None:
    """Installs the CUDA build of torch and the tools of the tests, unless CUDA_VENV names both."""
    installed, wanted = VENV / "installed", ROOT / "pyproject.toml"
    if "CUDA_VENV" in os.environ:
        return
    if installed.exists() and installed.stat().st_mtime > wanted.stat().st_mtime:
        return
    say("installing the CUDA build of torch into .venv-cuda")
    run(sys.executable, "-m", "venv", VENV)
    pip = [PYTHON, "-m", "pip", "--quiet", "--disable-pip-version-check", "install"]
    run(*pip, "pip==26.3")
    run(*pip, "--group", "cuda")
    installed.touch()


def build_extension(cuda: Path, folder: Path, **environment: object) -> Path:
    """The package in folder/lib; returns the library that has the kernels."""
    say("building the extension for the CUDA build of torch")
    run(
        *(PYTHON, "setup.py", "--quiet", "build"),
        *("--build-lib", folder / "lib", "--build-temp", folder / "objects"),
        FORCE_CUDA=1,
        CUDA_HOME=cuda,
        MAX_JOBS=JOBS,
        PATH=f"{PYTHON.parent}:{os.environ['PATH']}",
        **environment,
    )
    return folder / "lib" / "torch_infotheory" / "lib" / "libtorch_infotheory.so"


def run_python(
    folder: Path, *arguments: object, prefix: Sequence[str] = (), **environment: object
) -> None:
    """Python with the package in folder/lib, not the one in the working tree."""
    run(
        *(*prefix, PYTHON, "-P", *arguments),
        PYTHONPATH=f"{folder / 'lib'}:{ROOT / 'tests'}:{ROOT / 'tests' / 'cuda_sim'}",
        TORCH_INFOTHEORY_DEVICES="cuda",
        OMP_NUM_THREADS=1,
        **environment,
    )


def test(folder: Path, *arguments: object, **options: Any) -> None:
    run_python(folder, "-m", "pytest", "-q", "-rs", "-p", "no:cacheprovider", *arguments, **options)
