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
# GPU_PYTHON: one that is there, with all that it has.
GIVEN = shutil.which(os.environ.get("GPU_PYTHON") or "")
PYTHON = Path(GIVEN) if GIVEN else VENV / "bin" / "python"
JOBS = os.environ.get("JOBS", "2")

start = time.monotonic()


def say(text: str) -> None:
    print(f"==> {text} ({time.monotonic() - start:.0f} s)", flush=True)


def passes(*command: object, **environment: object) -> bool:
    settings = os.environ | {key: str(value) for key, value in environment.items()}
    return subprocess.run([str(part) for part in command], cwd=ROOT, env=settings).returncode == 0


def run(*command: object, **environment: object) -> None:
    if not passes(*command, **environment):
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
    if "CUDA_VENV" in os.environ or GIVEN:
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
    settings: dict[str, object] = {"FORCE_CUDA": 1, "CUDA_HOME": cuda, "MAX_JOBS": JOBS}
    settings["PATH"] = f"{PYTHON.parent}:{os.environ['PATH']}"
    run(
        *(PYTHON, "setup.py", "--quiet", "build"),
        *("--build-lib", folder / "lib", "--build-temp", folder / "objects"),
        **(settings | environment),
    )
    return folder / "lib" / "torch_infotheory" / "lib" / "libtorch_infotheory.so"


def environment_of(folder: Path) -> dict[str, str]:
    """For Python with the package in folder/lib, not the one in the working tree."""
    return os.environ | {
        "PYTHONPATH": f"{folder / 'lib'}:{ROOT / 'tests'}:{ROOT / 'tests' / 'cuda_sim'}",
        "TORCH_INFOTHEORY_DEVICES": "cuda",
        "OMP_NUM_THREADS": "1",
    }


def python_passes(
    folder: Path, *arguments: object, prefix: Sequence[str] = (), **environment: object
) -> bool:
    return passes(*prefix, PYTHON, "-P", *arguments, **(environment_of(folder) | environment))


def run_python(folder: Path, *arguments: object, **options: Any) -> None:
    if not python_passes(folder, *arguments, **options):
        sys.exit(f"FAILED: {' '.join(map(str, arguments))}")


def test(folder: Path, *arguments: object, **options: Any) -> None:
    run_python(folder, "-m", "pytest", "-q", "-rs", "-p", "no:cacheprovider", *arguments, **options)
