"""Builds torch_infotheory._C from csrc/ for the installed torch; pyproject.toml says the rest."""

import sys
from pathlib import Path

from setuptools import setup

OLDEST, NEWEST = (2, 11), (2, 14)  # minor releases of torch that the sources compile with
SUPPORTED = f"torch>={OLDEST[0]}.{OLDEST[1]},<{NEWEST[0]}.{NEWEST[1] + 1}"

try:
    import torch
    from torch.utils.cpp_extension import BuildExtension, CppExtension
except ImportError:
    sys.exit(f"torch_infotheory: needs {SUPPORTED}; then run pip install --no-build-isolation .")

major, minor = (int(part) for part in torch.__version__.split(".")[:2])
if not OLDEST <= (major, minor) <= NEWEST:
    sys.exit(f"torch_infotheory: needs {SUPPORTED}, but torch {torch.__version__} is installed")

csrc = Path("csrc")
sources = sorted(str(path) for path in csrc.rglob("*.cpp"))
others = sorted(str(path) for path in csrc.rglob("*") if path.is_file() and path.suffix != ".cpp")
lines = (csrc / "compile_options.txt").read_text().splitlines()
options = [line for line in lines if line.startswith("-")]

setup(
    ext_modules=[
        CppExtension(
            "torch_infotheory._C",
            sources,
            depends=others,
            include_dirs=[str(csrc.resolve()), str((csrc / "include").resolve())],
            # -g0: the -g among Python's own flags would double the time to compile.
            extra_compile_args=["-std=c++20", "-O3", "-g0", *options],
            py_limited_api=True,
        )
    ],
    cmdclass={"build_ext": BuildExtension},
    # The extension speaks the C++ interface of this one minor release.
    install_requires=[f"torch=={major}.{minor}.*"],
    options={"bdist_wheel": {"py_limited_api": "cp310"}},
)
