"""Builds torch_infotheory._C from csrc/ for the installed torch; pyproject.toml says the rest."""

import os
import re
import shlex
import subprocess
import sys
import sysconfig
from pathlib import Path

from setuptools import Extension, setup

OLDEST, NEWEST = (2, 11), (2, 14)  # minor releases of torch that the sources compile with
SUPPORTED = f"torch>={OLDEST[0]}.{OLDEST[1]},<{NEWEST[0]}.{NEWEST[1] + 1}"

try:
    import torch
    from torch.utils.cpp_extension import CUDA_HOME, BuildExtension, CppExtension, CUDAExtension
except ImportError:
    sys.exit(f"torch_infotheory: needs {SUPPORTED}; then run pip install --no-build-isolation .")

major, minor = (int(part) for part in torch.__version__.split(".")[:2])
if not OLDEST <= (major, minor) <= NEWEST:
    sys.exit(f"torch_infotheory: needs {SUPPORTED}, but torch {torch.__version__} is installed")


def why_not_compiler() -> str:
    """Why the C++ compiler cannot be used; empty if it can."""
    command = os.environ.get("CXX") or "c++"  # as torch chooses it
    checks = ["-E", "-x", "c++", "-include", "csrc/core/compiler.h", os.devnull]
    try:
        done = subprocess.run([*shlex.split(command), *checks], capture_output=True, text=True)
    except OSError:
        return f"torch_infotheory: there is no C++ compiler {command} (CXX names the one to use)"
    if done.returncode == 0:
        return ""
    refusal = re.search("#error (.*)", done.stderr)
    return f"{refusal[1]}; {command} is older" if refusal else done.stderr


def why_not_cuda() -> str:
    """Why the CUDA kernels are left out; empty if they are built."""
    if os.environ.get("FORCE_CUDA") == "0":
        return "FORCE_CUDA=0"
    if not torch.version.cuda:
        return f"torch {torch.__version__} is a build without CUDA"
    if not CUDA_HOME or not Path(CUDA_HOME, "include", "cuda_runtime.h").is_file():
        return f"there is no CUDA toolkit in {CUDA_HOME or 'PATH'} (CUDA_HOME says where it is)"
    return ""


if without_compiler := why_not_compiler():
    sys.exit(without_compiler)
without_cuda = why_not_cuda()
if without_cuda and os.environ.get("FORCE_CUDA") == "1":
    sys.exit(f"torch_infotheory: FORCE_CUDA=1, but {without_cuda}")
if without_cuda:
    print(f"torch_infotheory: building for the CPU alone: {without_cuda}", file=sys.stderr)
    cuda = {"TI_WITHOUT_CUDA": without_cuda}
else:
    cards = {torch.cuda.get_device_capability(i) for i in range(torch.cuda.device_count())}
    here = ";".join(f"{major}.{minor}" for major, minor in sorted(cards))
    os.environ.setdefault("TORCH_CUDA_ARCH_LIST", here or "7.5;8.0;8.6;9.0;10.0;12.0+PTX")
    cuda = {"TI_CUDA": os.environ["TORCH_CUDA_ARCH_LIST"].replace(";", " ")}

csrc = Path("csrc")
suffixes = {".cpp"} if without_cuda else {".cpp", ".cu"}
files = sorted(path for path in csrc.rglob("*") if path.is_file())
lines = (csrc / "compile_options.txt").read_text().splitlines()
options = [line for line in lines if line.startswith("-")]
# Flags that Python was compiled with; its -g would double the time to compile.
of_python = " ".join(sysconfig.get_config_vars("CFLAGS", "CCSHARED")).split()


def extension(name: str, sources: list[Path], linking: list[str]) -> Extension:
    return (CppExtension if without_cuda else CUDAExtension)(
        f"torch_infotheory.{name}",
        [str(path) for path in sources],
        depends=[str(path) for path in files if path.suffix not in suffixes],
        include_dirs=[str(csrc.resolve()), str((csrc / "include").resolve())],
        define_macros=[(macro, f'"{text}"') for macro, text in cuda.items()],
        extra_compile_args={
            "cxx": ["-std=c++20", "-fPIC", *options],
            "nvcc": ["-std=c++20", "-O3", *(f"-Xcompiler={option}" for option in options)],
        },
        extra_link_args=linking,
    )


# The ops are in a library that C++ programs link, too; the module has what Python needs. A C++
# program finds torch's libraries by its own search path, or beside the package.
library = extension(
    "lib.libtorch_infotheory",
    [path for path in files if path.suffix in suffixes and path.stem != "module"],
    ["-Wl,-soname,libtorch_infotheory.so", "-Wl,-rpath,$ORIGIN/../../torch/lib"],
)
library.libraries.remove("torch_python")
module = extension("_C", [csrc / "module.cpp"], ["-Wl,-rpath,$ORIGIN/lib"])


class Build(BuildExtension):
    def finalize_options(self) -> None:
        super().finalize_options()
        if self.editable_mode:
            # Into the wheel, which pip removes, and not into src/. The objects stay, so that the
            # next installation compiles what has changed.
            self.inplace = False
            self.build_lib = self.get_finalized_command("install").install_lib
            self.build_temp = "build/editable"

    def get_ext_filename(self, name: str) -> str:
        path = Path(super().get_ext_filename(name))  # of a name with its package or without
        if path.name.startswith("lib"):
            path = path.with_name("libtorch_infotheory.so")  # without the suffix of modules
        return str(path)

    def build_extensions(self) -> None:
        # As CMake compiles a release, in its order: ccache then knows the objects of both.
        for command in ("compiler_so", "compiler_so_cxx"):  # setuptools 74 has both
            given = getattr(self.compiler, command, [])
            setattr(
                self.compiler,
                command,
                [*(flag for flag in given if flag not in of_python), "-O3", "-DNDEBUG"],
            )
        module.extra_objects.append(self.get_ext_fullpath(library.name))
        super().build_extensions()

    def run(self) -> None:
        package = Path(self.get_ext_fullpath(module.name)).parent
        (package / "lib").mkdir(parents=True, exist_ok=True)
        super().run()
        self.copy_tree(str(csrc / "include"), str(package / "include"))
        values = {
            "version": self.distribution.get_version(),
            "torch_minor": f"{major}.{minor}",
        }
        folder = package / "share" / "cmake" / "torch_infotheory"
        folder.mkdir(parents=True, exist_ok=True)
        for template in Path("cmake").glob("*.in"):
            text = re.sub(r"@(\w+)@", lambda place: values[place[1]], template.read_text())
            (folder / template.stem).write_text(text)


setup(
    ext_modules=[library, module],
    cmdclass={"build_ext": Build},
    # The extension speaks the C++ interface of this one minor release.
    install_requires=[f"torch=={major}.{minor}.*"],
)
