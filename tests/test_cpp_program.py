"""C++ programs without Python: the commands of docs/cpp.md, and what the programs print.

The commands build examples/cpp against the library in the package, and install the library that
CMake builds. They work in build/, where a second run finds everything up to date: the library takes
minutes to compile.
"""

import fcntl
import importlib.util
import math
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.cpp_extension import CUDA_HOME

import torch_infotheory

ROOT = Path(__file__).resolve().parents[1]
BUILD = ROOT / "build"
PREFIXES = {  # the one within the Python package, and the one that CMake installs
    "package": Path(torch_infotheory.cmake_prefix_path).parents[1],
    "installed": BUILD / "installed",
}
LIBRARY = Path("lib", "libtorch_infotheory.so")
TRAIN, RUN_PACKAGE = BUILD / "examples" / "train", BUILD / "examples" / "run_package"
PACKAGE = BUILD / "classifier.pt2"
HEADER = "torch_infotheory/ops.h"
NO_TOOLKIT = torch.version.cuda and not (
    CUDA_HOME and Path(CUDA_HOME, "include", "cuda_runtime.h").is_file()
)
# All that the programs get of the environment: no path, nothing of Python.
BARE = {"OMP_NUM_THREADS": "1"}


def environment() -> dict[str, str]:
    """Where the commands find python with this package, the tools beside it, and compilers."""
    folders = [str(Path(sys.executable).parent)]
    if torch.version.cuda:
        folders.append(f"{CUDA_HOME}/bin")
    return os.environ | {
        "PATH": os.pathsep.join([*folders, os.environ["PATH"]]),
        "PYTHONPATH": str(Path(torch_infotheory.__file__).parents[1]),
        "CMAKE_GENERATOR": "Ninja",
        "CMAKE_BUILD_PARALLEL_LEVEL": os.environ.get("MAX_JOBS", "1"),
    }


def run(*command: str | Path, env: dict[str, str]) -> str:
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=env)
    assert done.returncode == 0, f"{command}\n{done.stdout[-4000:]}\n{done.stderr[-4000:]}"
    return done.stdout


@pytest.fixture(scope="module")
def built() -> Iterator[None]:
    """The commands of the page have run; no other process runs them while the tests last."""
    if NO_TOOLKIT:
        pytest.skip(f"CMake needs a CUDA toolkit for torch {torch.__version__}; none was found")
    page = (ROOT / "docs" / "cpp.md").read_text()
    blocks = re.findall(r"^```sh\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    BUILD.mkdir(exist_ok=True)
    with open(BUILD / "cpp_program.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        run("bash", "-euxc", "".join(blocks), env=environment())
        yield


@pytest.fixture(scope="module")
def epochs(built: None) -> list[tuple[float, ...]]:
    """The table that train prints: epoch, loss, accuracy, entropy, information."""
    _, *lines = run(TRAIN, env=BARE).splitlines()
    return [tuple(float(word) for word in line.split()) for line in lines]


def train_with_torchs_loss(epochs: int) -> Iterator[tuple[float, ...]]:
    """The columns of train.cpp, with torch's own loss and measures by their definitions."""
    torch.manual_seed(0)
    arms = torch.arange(3).repeat_interleave(200)
    radius = torch.linspace(0.1, 1, 200).repeat(3)
    angle = 4 * radius + 2 * math.pi / 3 * arms + 0.2 * torch.randn(600)
    points = torch.stack([radius * angle.cos(), radius * angle.sin()], 1)
    widths = [nn.Linear(2, 32), nn.Tanh(), nn.Linear(32, 32), nn.Tanh(), nn.Linear(32, 3)]
    network = nn.Sequential(*widths)
    optimizer = torch.optim.Adam(network.parameters(), lr=0.02)

    for epoch in range(epochs):
        for batch in torch.randperm(600).split(50) if epoch else ():
            loss = F.cross_entropy(network(points[batch]), arms[batch])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        with torch.no_grad():
            logits = network(points)
        prediction = torch.distributions.Categorical(logits=logits)
        joint = F.one_hot(3 * arms + logits.argmax(1), 9).double().mean(0).view(3, 3)
        dependence = joint / (joint.sum(0) * joint.sum(1, keepdim=True))
        yield (
            epoch,
            F.cross_entropy(logits, arms).item(),
            (logits.argmax(1) == arms).double().mean().item(),
            prediction.entropy().mean().item() / math.log(2),
            torch.xlogy(joint, dependence).nansum().item() / math.log(2),
        )


def test_training_gives_the_losses_of_torch(epochs: list[tuple[float, ...]]) -> None:
    for ours, torchs in zip(epochs, train_with_torchs_loss(len(epochs)), strict=True):
        # The accuracy is printed with four decimals.
        assert ours == pytest.approx(torchs, abs=1e-4)


def test_training_learns(epochs: list[tuple[float, ...]]) -> None:
    losses = [loss for _, loss, *_ in epochs]
    assert len(losses) == 21
    assert losses == sorted(losses, reverse=True)
    assert losses[-1] < 0.05 and epochs[-1][2] > 0.95
    assert epochs[-1][4] == pytest.approx(math.log2(3), abs=0.1)


def test_package_gives_the_losses_of_torch(built: None) -> None:
    path = ROOT / "examples" / "cpp" / "export_package.py"
    spec = importlib.util.spec_from_file_location("export_package", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    linear = module.make_classifier().linear

    lines = run(RUN_PACKAGE, PACKAGE, env=BARE).splitlines()
    for line, number in zip(lines, (2, 7), strict=True):
        with torch.no_grad():
            logits = linear(torch.linspace(-2, 2, 4 * number).view(number, 4))
        entropy = torch.distributions.Categorical(logits=logits).entropy() / math.log(2)
        loss = F.cross_entropy(logits, torch.arange(number) % 3)
        printed = [float(value) for value in re.findall(r"\d+\.\d+", line)]
        assert printed == pytest.approx([loss.item(), *entropy.tolist()], abs=2e-6)


@pytest.mark.parametrize("program", [TRAIN, RUN_PACKAGE], ids=lambda path: path.name)
def test_no_python_is_loaded(built: None, program: Path, tmp_path: Path) -> None:
    """Neither at the start nor later, as the library inside the package is."""
    log = BARE | {"LD_DEBUG": "files", "LD_DEBUG_OUTPUT": str(tmp_path / "loader")}
    run(program, *([PACKAGE] if program == RUN_PACKAGE else []), env=log)
    [report] = tmp_path.glob("loader.*")
    opened = set(re.findall(r"\b(?:file=|calling init: )(\S+)", report.read_text()))
    names = {Path(file).name for file in opened}
    assert {str(PREFIXES["package"] / LIBRARY), "libtorch_cpu.so"} <= opened
    assert not [name for name in names if "python" in name]


@pytest.mark.parametrize("prefix", PREFIXES.values(), ids=PREFIXES.keys())
def test_library_needs_no_python(built: None, prefix: Path) -> None:
    library = prefix / LIBRARY
    needed = re.findall(r"NEEDED.*\[(.*)\]", run("readelf", "-d", library, env=environment()))
    assert "libtorch_cpu.so" in needed
    assert not [name for name in needed if "python" in name]
    symbols = run("nm", "-D", "--undefined-only", library, env=environment()).split()
    assert not [symbol for symbol in symbols if re.match(r"_?Py[A-Z_]", symbol)]


def configured(folder: Path, torch_dir: Path, prefix: Path, find: str) -> str:
    """What CMake says about a project that finds the package, with that torch."""
    (folder / "CMakeLists.txt").write_text(
        "cmake_minimum_required(VERSION 3.18)\nproject(p CXX)\n"
        f"find_package({find})\n"
        "if(torch_infotheory_FOUND)\n"
        "  get_target_property(at torch_infotheory::torch_infotheory IMPORTED_LOCATION)\n"
        '  message(STATUS "version ${torch_infotheory_VERSION} in ${at}")\nendif()\n'
    )
    paths = [f"-DTorch_DIR={torch_dir}", f"-DCMAKE_PREFIX_PATH={prefix}"]
    command = ["cmake", "-S", folder, "-B", folder / "build", *paths]
    done = subprocess.run(command, capture_output=True, text=True, env=environment())
    return " ".join((done.stdout + done.stderr).split())


@pytest.mark.parametrize("prefix", PREFIXES.values(), ids=PREFIXES.keys())
def test_find_package(built: None, prefix: Path, tmp_path: Path) -> None:
    """Of the minor release of torch that the library was built for, and of its own."""
    minor = ".".join(torch.__version__.split(".")[:2])
    version = torch_infotheory.__version__
    for of_torch, find, answer in (
        (f"{minor}.7", "torch_infotheory", f"version {version} in {prefix / LIBRARY}"),
        (f"{minor}.7", f"torch_infotheory {version}", f"version {version} in {prefix / LIBRARY}"),
        (f"{minor}.7", "torch_infotheory 0.99", f"version: {version}"),
        ("2.99.0", "torch_infotheory", f"was built for torch {minor}, and torch 2.99.0 was found"),
    ):
        folder = tmp_path / f"{of_torch}-{find}"
        folder.mkdir()
        (folder / "TorchConfig.cmake").touch()
        (folder / "TorchConfigVersion.cmake").write_text(f"set(PACKAGE_VERSION {of_torch})")
        assert answer in configured(folder, folder, prefix, find)
