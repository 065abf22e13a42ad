"""Faults injected into the kernels: the simulator reports every one, or a value is wrong.

This is why a run without reports means something. Each fault changes one line of csrc; a few
kernels with it are compiled and run instead of those of the extension.
"""

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import simulator
import torch
from ops import moved, random
from test_soft_histogram import dense

import torch_infotheory
from torch_infotheory.nn import functional

if not simulator.IS_THERE:
    pytest.skip("needs the simulator: make test-cuda-sim", allow_module_level=True)

HERE = Path(__file__).parent
CSRC = HERE.parents[1] / "csrc"
COMPILED = os.environ["FAKECUDA_PTX"].split(":")

FAULTS = {  # file, text, replacement
    "cached_beyond_the_end": (
        "cuda/operand.cuh",
        "kFill && i < cached_packs",
        "kFill && i <= cached_packs",
    ),
    "read_beyond_the_cache": (
        "cuda/operand.cuh",
        "kRead && i < cached_packs",
        "kRead && i <= cached_packs",
    ),
    "cache_of_another_group": ("cuda/operand.cuh", "int64_t(group.index) *", "0 *"),
    "label_bound": ("core/sources.h", "c < classes", "c <= classes"),
    "narrow_row_offset": (
        "cuda/segment.cuh",
        "index * d.strides[k][i]",
        "int(index) * int(d.strides[k][i])",
    ),
    "row_bound": ("cuda/thread_group.cuh", "first + index < tasks", "true"),
    "alignment": ("cuda/segment.cuh", "(n - misaligned) % n", "(n - misaligned) % n / 2"),
    "tail": ("cuda/operand.cuh", "i >= singles ? -1", "i > singles ? -1"),
    "segment_bound": (
        "cuda/segment.cuh",
        "left < g.segment_classes ? left : g.segment_classes",
        "g.segment_classes",
    ),
    "shuffle_mask": ("cuda/thread_group.cuh", "0xffffffffu", "0x0000ffffu"),
    "early_exit": (
        "cuda/thread_group.cuh",
        "group.size <= kWarp)",
        "group.size <= kWarp || threadIdx.x >= 96)",
    ),
}


def barriers() -> Iterator[tuple[str, tuple[str, str, str]]]:
    for path in sorted((CSRC / "cuda").iterdir()):
        lines = path.read_text().splitlines(keepends=True)
        for number, line in enumerate(lines):
            if re.match(r"\s*__sync(threads|warp)\(", line):
                around = line if number == 0 else lines[number - 1] + line
                name = f"without_barrier_{path.stem}_{number + 1}"
                yield name, (f"cuda/{path.name}", around, around.replace(line, ""))


def kernel_names(text: str) -> list[str]:
    return re.findall(r"\.entry (\w+)", text)


def without_module(name: str) -> str:
    """Without the file name, which the mangled name of an anonymous namespace contains."""
    while found := re.search(r"(\d+)(?=_GLOBAL__N__)", name):
        name = name[: found.start()] + name[found.end() + int(found[1]) :]
    return name


def compile_with(name: str, fault: tuple[str, str, str] | None, folder: Path) -> None:
    """Loads the kernels with the fault; their names end in `name`."""
    shutil.copytree(CSRC, folder / "csrc")
    if fault:
        file, old, new = fault
        path = folder / "csrc" / file
        text = path.read_text()
        assert old in text, f"{file} has changed: adapt this fault"
        path.write_text(text.replace(old, new, 1))
    target = folder / "kernels.ptx"
    subprocess.run(
        [
            *("nvcc", "-ptx", "-std=c++20", "-O3", "-lineinfo", "-arch=sm_80"),
            *("--expt-relaxed-constexpr", f"-I{folder / 'csrc'}", HERE / "kernels.cu"),
            *("-o", target),
        ],
        env={k: v for k, v in os.environ.items() if k != "LD_PRELOAD"},
        check=True,
    )
    originals = {
        without_module(kernel): kernel
        for path in COMPILED
        for kernel in kernel_names(Path(path).read_text())
    }
    text = target.read_text()
    for kernel in kernel_names(text):
        text = re.sub(rf"\b{kernel}", originals[without_module(kernel)] + name, text)
    target.write_text(text)
    simulator.load(str(target))


def js(x: torch.Tensor, y: torch.Tensor) -> None:
    found = torch_infotheory.js_divergence(moved(x, "cuda"), moved(y, "cuda"), kind="logits")
    p, q = x.double().softmax(-1), y.double().softmax(-1)
    m = (p + q) / 2
    expected = ((p * (p / m).log()).sum(-1) + (q * (q / m).log()).sum(-1)) / 2
    torch.testing.assert_close(found.cpu().double(), expected, rtol=1e-5, atol=1e-6)


def cross_entropy(x: torch.Tensor, labels: torch.Tensor) -> None:
    found = functional.cross_entropy(moved(x, "cuda"), labels.cuda(), reduction="none")
    on_cpu = torch.stack([row.cpu() for row in x]).double()
    expected = torch.nn.functional.cross_entropy(on_cpu, labels, reduction="none")
    torch.testing.assert_close(found.cpu().double(), expected, rtol=1e-5, atol=1e-6)


def histogram(x: torch.Tensor) -> None:
    ends = torch.tensor([[-1.0, 1.0] * 2] * len(x)).double()
    arguments = (None, None, moved(ends, "cuda"), 8, 1, 0, 0)  # the cubic window
    on_card = moved(x, "cuda")
    found = torch.ops.torch_infotheory._soft_histogram(on_card, on_card, *arguments)
    expected = dense(x, x, 8, ((-1.0, 1.0),) * 2) * x.shape[1]
    torch.testing.assert_close(found.cpu().double(), expected, rtol=1e-5, atol=1e-5)


def exercise() -> None:
    """Calls every kernel template: groups in a warp, blocks, several segments, large offsets."""
    simulator.limit_blocks(2)  # so that a block has several tasks
    for rows, classes in ((40, 33), (70, 8), (5, 3000), (2, 20000)):
        x, y = random(rows, classes).float(), random(rows, classes, seed=1).float()
        js(x, y)
        js(x[:, 1:], y[:, 1:])
        cross_entropy(x, torch.arange(rows) * 2 % classes)
    cross_entropy(random(67, 10).float(), torch.arange(67) % 10)
    histogram(random(3, 40).float())
    wide = torch.empty_strided((3, 40), (2**30, 1), device="cuda")  # the last row begins at 2^31
    for row, numbers in zip(wide, random(3, 40).float(), strict=True):
        row.copy_(numbers)
    cross_entropy(wide, torch.tensor([1, 2, 39]))
    simulator.launches()
    with pytest.raises(RuntimeError, match="CUDA error"):
        cross_entropy(random(4, 33).float(), torch.tensor([0, 1, 2, 33]))
    kinds = {report["kind"] for launch in simulator.launches() for report in launch.reports}
    assert "assert" in kinds and not kinds & {"oob_global", "oob_shared", "misaligned"}


@pytest.fixture(autouse=True)
def kernels_as_they_are() -> Iterator[None]:
    torch.empty(1, device="cuda")
    yield
    simulator.use_kernels("")
    simulator.limit_blocks()


def test_without_a_fault(tmp_path: Path) -> None:
    compile_with("_as_it_is", None, tmp_path)
    simulator.use_kernels("_as_it_is")
    exercise()


ALL = FAULTS | dict(barriers())


@pytest.mark.parametrize("name", ALL)
def test_fault_is_found(name: str, tmp_path: Path) -> None:
    compile_with(name, ALL[name], tmp_path)
    simulator.use_kernels(name)
    with pytest.raises((RuntimeError, AssertionError)) as caught:
        exercise()
    kinds = {report["kind"] for launch in simulator.launches() for report in launch.reports}
    print(name, "found by", sorted(kinds) or str(caught.value).splitlines()[0])
