"""Installing and importing: the wheel, an editable install, and what is said where neither fits.

pip builds a clone whose extension is empty, so that it takes seconds: the files are where those of
the whole one would be, and torch is that of the tests.
"""

import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tarfile
from pathlib import Path

import pytest
import torch

import torch_infotheory
from torch_infotheory import _C

ROOT = Path(__file__).resolve().parents[1]
TORCH = ".".join(torch.__version__.split(".")[:2])
IMPORT = "import torch_infotheory; print(torch_infotheory.__file__)"


def run(*command: object, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    kept = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    return subprocess.run(
        [str(part) for part in command],
        cwd=cwd,
        env=kept | environment,
        capture_output=True,
        text=True,
    )


# Importing


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """A copy of the package without its extension."""
    source = Path(torch_infotheory.__file__).parent
    ignored = shutil.ignore_patterns("_C*.so", "__pycache__")
    return Path(shutil.copytree(source, tmp_path / "src" / "torch_infotheory", ignore=ignored))


def message(package: Path, *words: str) -> str:
    done = run(sys.executable, "-S", "-c", IMPORT, cwd=package.parent, PYTHONPATH=path_of(package))
    assert done.returncode == 1
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("ImportError: torch_infotheory: "), done.stderr
    assert [word for word in words if word not in last] == []
    return last


def path_of(package: Path) -> str:
    """The search path of the tests, with this package before all others."""
    others = [entry for entry in sys.path if not Path(entry, "torch_infotheory").is_dir()]
    return os.pathsep.join([str(package.parent), *others])


def test_without_its_extension(package: Path) -> None:
    text = message(package, "no compiled extension", str(package), "pip install", "make build")
    assert text.count(".") <= 2 + str(package).count(".")  # one sentence, with Python 3.x


def test_with_another_release_of_torch(package: Path) -> None:
    """It is found in the file before that is loaded."""
    extension = Path(_C.__file__)
    content = extension.read_bytes()
    record = f"torch_infotheory: compiled for torch {TORCH}.".encode()
    assert content.count(record) == 1
    other = record.replace(TORCH.encode(), b"1.99")
    (package / extension.name).write_bytes(content.replace(record, other))
    text = message(package, "was compiled for torch", f"but torch {torch.__version__} is installed")
    assert "pip install --no-build-isolation ." in text
    (package / extension.name).write_bytes(b"\x7fELF of something else")
    message(package, "another release")


def test_show_config() -> None:
    done = run(
        sys.executable, "-m", "torch_infotheory", cwd=ROOT, PYTHONPATH=os.pathsep.join(sys.path)
    )
    assert done.stdout.strip() == torch_infotheory.show_config(), done.stderr
    version, release, compiler, cpu, cuda = torch_infotheory.show_config().splitlines()
    assert version == f"torch_infotheory {torch_infotheory.__version__}"
    assert release.startswith(f"torch {torch.__version__}, compiled for {TORCH}.")
    assert re.search(r"(gcc|[cC]lang) .*\d+\.\d+", compiler)
    runs = {"DEFAULT": "default", "AVX2": "avx2", "AVX512": "avx512"}
    best = runs.get(torch.backends.cpu.get_cpu_capability(), "default")
    assert cpu.endswith(f"; {best} runs here")
    assert re.match(r"CUDA kernels: (\d|none, because .)", cuda)
    slow = "import torch_infotheory; print(torch_infotheory.show_config())"
    environment = {"ATEN_CPU_CAPABILITY": "default", "PYTHONPATH": os.pathsep.join(sys.path)}
    assert "default runs here" in run(sys.executable, "-c", slow, cwd=ROOT, **environment).stdout


# Installing

MODULE = f"""
#include <Python.h>
int in_the_library();
__attribute__((used)) const char kCompiledFor[] = "torch_infotheory: compiled for torch {TORCH}.0";
PyMODINIT_FUNC PyInit__C() {{
  static PyModuleDef definition = {{PyModuleDef_HEAD_INIT, "_C", nullptr, -1, nullptr}};
  if (in_the_library() != 41) return nullptr;
  return PyModule_Create(&definition);
}}
"""
LIBRARY = """
__attribute__((visibility("default"))) int in_the_library() { return 41; }
"""


class Clone:
    """A clone of the repository with a short extension, and an environment to install it into."""

    def __init__(self, folder: Path) -> None:
        self.tree, self.folder = folder / "clone", folder
        for name in ("setup.py", "pyproject.toml", "README.md", "LICENSE"):
            (self.tree / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, self.tree / name)
        package = self.tree / "src" / "torch_infotheory"
        package.mkdir(parents=True)
        shutil.copy(Path(torch_infotheory.__file__).with_name("_extension.py"), package)
        (package / "__init__.py").write_text(
            '__version__ = "0.1.0"\n'
            "import torch\n"
            "from torch_infotheory import _extension\n"
            "_extension.find(__path__)\n"
            "import torch_infotheory._C\n"
        )
        (self.tree / "csrc" / "core").mkdir(parents=True)
        for name in ("core/compiler.h", "compile_options.txt", "include"):
            copy = shutil.copytree if (ROOT / "csrc" / name).is_dir() else shutil.copy
            copy(ROOT / "csrc" / name, self.tree / "csrc" / name)
        shutil.copytree(ROOT / "cmake", self.tree / "cmake")
        (self.tree / "csrc" / "module.cpp").write_text(MODULE)
        (self.tree / "csrc" / "library.cpp").write_text(LIBRARY)
        run(sys.executable, "-m", "venv", "--without-pip", folder / "venv", cwd=folder)
        self.python = folder / "venv" / "bin" / "python"
        (self.site,) = (folder / "venv").glob("lib/python*/site-packages")
        # torch and the build tools of the environment of the tests; not the tree that it names
        (self.site / "tests.pth").write_text(sysconfig.get_path("purelib"))

    def pip(self, *arguments: str) -> None:
        done = run(
            *(self.python, "-m", "pip", "--disable-pip-version-check", *arguments),
            cwd=self.tree,
            PATH=f"{sysconfig.get_path('scripts')}{os.pathsep}{os.environ['PATH']}",
            FORCE_CUDA="0",
        )
        assert done.returncode == 0, done.stdout + done.stderr

    def install(self, *how: str) -> None:
        self.pip("install", "--no-build-isolation", "--no-deps", *how, ".")

    def imported(self, cwd: Path) -> Path:
        done = run(self.python, "-c", IMPORT, cwd=cwd)
        assert done.returncode == 0, done.stderr
        return Path(done.stdout.strip())

    def extensions(self, folder: Path) -> list[Path]:
        return sorted(folder.rglob("*.so"))


@pytest.fixture
def clone(tmp_path: Path) -> Clone:
    if shutil.which(os.environ.get("CXX", "c++")) is None:
        pytest.skip("there is no C++ compiler")
    return Clone(tmp_path)


def test_a_wheel_is_imported_inside_and_outside_the_clone(clone: Clone) -> None:
    clone.install()
    for folder in (clone.tree, clone.folder):
        assert clone.imported(folder) == clone.site / "torch_infotheory" / "__init__.py"
    package = clone.site / "torch_infotheory"
    assert (package / "include" / "torch_infotheory" / "ops.h").is_file()
    assert len([*(package / "share" / "cmake" / "torch_infotheory").iterdir()]) == 2
    clone.pip("uninstall", "--yes", "torch_infotheory")
    assert clone.extensions(clone.site) == []


def test_an_editable_install(clone: Clone) -> None:
    """It imports the source, compiles again what has changed, and leaves nothing behind."""
    source = clone.tree / "src" / "torch_infotheory"
    clone.install("--editable")
    for folder in (clone.tree, clone.folder):
        assert clone.imported(folder) == source / "__init__.py"
    assert len(clone.extensions(clone.site)) == 2
    objects = {path: path.stat().st_mtime_ns for path in (clone.tree / "build").rglob("*.o")}
    assert len(objects) == 2

    clone.install("--editable")
    assert objects == {path: path.stat().st_mtime_ns for path in objects}
    (clone.tree / "csrc" / "module.cpp").write_text(MODULE + "// changed\n")
    clone.install("--editable")
    assert objects != {path: path.stat().st_mtime_ns for path in objects}
    assert clone.imported(clone.folder) == source / "__init__.py"

    clone.pip("uninstall", "--yes", "torch_infotheory")
    assert clone.extensions(clone.site) == clone.extensions(clone.tree / "src") == []
    assert not (clone.site / "torch_infotheory").exists()


# Compilers


def test_an_old_compiler_is_refused_at_once(tmp_path: Path) -> None:
    compiler = os.environ.get("CXX", "c++")
    if shutil.which(compiler) is None:
        pytest.skip("there is no C++ compiler")
    old = tmp_path / "c++-old"
    old.write_text(f'#!/bin/sh\nexec {compiler} -U__GNUC__ -D__GNUC__=9 -U__clang__ "$@"\n')
    old.chmod(0o755)
    for command, text in (
        (str(old), "torch_infotheory: needs g++ 11, clang++ 14 or a newer one"),
        ("no-such-compiler", "torch_infotheory: there is no C++ compiler no-such-compiler"),
    ):
        done = run(sys.executable, "setup.py", "--version", cwd=ROOT, CXX=command)
        assert done.returncode == 1
        # A build of torch for CUDA warns on its own where there is no GPU.
        lines = [line for line in done.stderr.splitlines() if "cpp_extension.py" not in line]
        assert len(lines) == 1 and lines[0].startswith(text)


def test_the_sdist_is_the_repository(tmp_path: Path) -> None:
    """What the package, the library, the tests and the site are built from, and nothing else."""
    listed = run("git", "ls-files", "-z", cwd=ROOT)
    tracked = {name for name in listed.stdout.split("\0") if (ROOT / name).is_file()}
    if "setup.py" not in tracked:
        pytest.skip("this is not a clone of the repository")
    tree = tmp_path / "tree"  # setup.py writes where it runs
    for name in tracked:
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, tree / name)
    # What a build and a run leave:
    for name in ("_C.so", "include/torch_infotheory/ops.h", "share/cmake/x", "__pycache__/nn.pyc"):
        path = tree / "src" / "torch_infotheory" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    done = run(sys.executable, "setup.py", "--quiet", "sdist", cwd=tree, FORCE_CUDA="0")
    assert done.returncode == 0, done.stderr
    (archive,) = (tree / "dist").iterdir()
    with tarfile.open(archive) as sdist:
        names = {member.name.partition("/")[2] for member in sdist if member.isfile()}
    made = {name for name in names if ".egg-info/" in name} | {"PKG-INFO", "setup.cfg"}
    assert names - made == tracked
    assert f"\nversion: {torch_infotheory.__version__}\n" in (ROOT / "CITATION.cff").read_text()
