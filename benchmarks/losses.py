"""Times every option of the drop-in losses against torch's own, and measures their memory.

One row for each combination of options: the least and the median time of a call in microseconds,
without and with the backward pass, and the peak of memory beyond the inputs. Both libraries take
turns in one process with one thread; memory is measured in a second process. A busy machine can
only add time, so the least times are compared.

    python benchmarks/losses.py --quick
    python benchmarks/losses.py --shape 4096 1000 --dtype bfloat16 > losses.md

Memory is a multiple of the input's: a copy of the input is 1.0, and so is its gradient, which every
backward pass has to return.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from time import perf_counter
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as theirs
from tqdm import tqdm

from torch_infotheory.nn import functional as ours

Shape = tuple[int, ...]

SHAPES = [(64, 10), (65536, 10), (4096, 1000), (256, 32000), (8, 21, 64, 64)]
QUICK = [(64, 10), (1024, 1000)]
MEMORY_SHAPE = (4096, 1000)  # 16 MiB in float32: beside it, what a process does anyway is small
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float64": torch.float64}
HEADER = ["loss", "target", "options", "ours", "torch", "faster"] + [
    "ours, backward",
    "torch, backward",
    "faster",
    "memory: ours",
    "torch",
]


@dataclass(frozen=True)
class Row:
    """One combination of options."""

    function: str
    target: str  # "indices", "probabilities", "with gradient" or "logarithms"
    weight: bool = False
    ignore: bool = False
    smoothing: bool = False
    reduction: str = "mean"

    @property
    def options(self) -> str:
        words = [word for word in ("weight", "ignore", "smoothing") if getattr(self, word)]
        return " ".join([*words, self.reduction])

    def arguments(self, shape: Shape, dtype: torch.dtype) -> tuple[list[Tensor], dict[str, Any]]:
        torch.manual_seed(0)
        classes, rows = shape[1], (shape[0], *shape[2:])
        input = torch.randn(shape)
        if self.function != "cross_entropy":
            input = input.log_softmax(1)
        options: dict[str, Any] = {"reduction": self.reduction}
        if self.target == "indices":
            target = torch.randint(classes, rows)
        else:
            target = torch.randn(shape).softmax(1)
            target = (target.log() if self.target == "logarithms" else target).to(dtype)
            target.requires_grad_(self.target == "with gradient")
        if self.function == "kl_div":
            options["log_target"] = self.target == "logarithms"
        if self.weight:
            options["weight"] = torch.rand(classes).to(dtype)
        if self.ignore:
            target[torch.rand(rows) < 0.3] = options["ignore_index"] = -1
        if self.smoothing:
            options["label_smoothing"] = 0.1
        return [input.to(dtype), target], options


def rows(quick: bool) -> Iterator[Row]:
    """Every combination that torch allows; with `quick`, each option alone."""
    flags = (False, True)
    reductions = ("mean", "sum", "none")
    combinations = [
        *(
            Row("cross_entropy", "indices", weight, ignore, smoothing, reduction)
            for weight, ignore, smoothing, reduction in product(flags, flags, flags, reductions)
        ),
        *(
            Row("cross_entropy", target, weight, False, smoothing, reduction)
            for target, weight, smoothing, reduction in product(
                ("probabilities", "with gradient"), flags, flags, reductions
            )
        ),
        *(
            Row("nll_loss", "indices", weight, ignore, False, reduction)
            for weight, ignore, reduction in product(flags, flags, reductions)
        ),
        *(
            Row("kl_div", target, reduction=reduction)
            for target, reduction in product(
                ("probabilities", "logarithms", "with gradient"), (*reductions, "batchmean")
            )
        ),
    ]
    for row in combinations:
        chosen = row.weight + row.ignore + row.smoothing + (row.reduction != "mean")
        if chosen <= 1 or not quick:
            yield row


def calls(row: Row, shape: Shape, dtype: torch.dtype) -> dict[tuple[str, bool], Callable]:
    """A call of each library, without and with the backward pass."""

    def call(library: Any, backward: bool) -> Callable[[], object]:
        function = getattr(library, row.function)
        (input, target), options = row.arguments(shape, dtype)
        if not backward:
            target = target.detach()
            return lambda: function(input, target, **options)
        inputs = [x for x in (input.requires_grad_(), target) if x.requires_grad]
        cotangent = torch.ones_like(function(input, target, **options))
        return lambda: torch.autograd.grad(function(input, target, **options), inputs, cotangent)

    libraries = {"ours": ours, "torch": theirs}
    return {(n, b): call(lib, b) for (n, lib), b in product(libraries.items(), (False, True))}


def timed(function: Callable, repeat: int) -> float:
    """The microseconds of a call, over `repeat` of them."""
    start = perf_counter()
    for _ in range(repeat):
        function()
    return (perf_counter() - start) / repeat * 1e6


def times(functions: Sequence[Callable], seconds: float) -> list[list[float]]:
    """The microseconds of a call of each function, the functions taking turns."""
    warm = min(timed(function, 1) for function in [*functions, *functions])
    repeat = max(1, round(1000 / warm))  # a millisecond at least for each result
    taken: list[list[float]] = [[] for _ in functions]
    end = perf_counter() + seconds
    while perf_counter() < end or len(taken[0]) < 5:
        for function, results in zip(functions, taken, strict=True):
            results.append(timed(function, repeat))
    return taken


def peak(function: Callable) -> int:
    """The bytes that a call takes at its peak, beyond what was there before."""

    def status(name: str) -> int:
        lines = Path("/proc/self/status").read_text().splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(name))

    function()  # code and pools that stay are no matter of the call
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew from here
    before = status("VmRSS")
    function()
    return status("VmHWM") - before


def measure_memory(quick: bool, dtype: torch.dtype) -> Iterator[dict[str, float]]:
    """For every row the peaks of both libraries, as multiples of the input's size."""
    input_bytes = torch.empty(MEMORY_SHAPE, dtype=dtype).nbytes
    for row in rows(quick):
        measured = {}
        for (name, backward), call in calls(row, MEMORY_SHAPE, dtype).items():
            measured[f"{name}, {backward}"] = peak(call) / input_bytes
        yield measured


def memory(quick: bool, dtype: str) -> Iterator[dict[str, float]]:
    """`measure_memory` in a process whose large blocks come from and go to the system at once."""
    command = [sys.executable, __file__, "--memory", "--dtype", dtype, *["--quick"][: int(quick)]]
    environment = os.environ | {"MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_TRIM_THRESHOLD_": "0"}
    process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    yield from map(json.loads, process.stdout)
    if process.wait() != 0:
        raise SystemExit("the process that measures memory has failed")


def print_table(
    shape: Shape, dtype: str, seconds: float, quick: bool, memories: list[dict[str, float]]
) -> list[str]:
    """Print one Markdown table and return the rows in which ours is slower."""
    slower = []
    print(f"\n## {' x '.join(map(str, shape))}, {dtype}\n")
    print("|".join(["", *HEADER, ""]))
    print("|".join(["", *(["---"] * 3), *(["---:"] * (len(HEADER) - 3)), ""]))
    table = list(zip(rows(quick), memories, strict=True))
    for row, used in tqdm(table, desc=f"{' x '.join(map(str, shape))}", unit="row"):
        made = calls(row, shape, DTYPES[dtype])
        cells = [row.function, row.target, row.options]
        for backward in (False, True):
            pair = times([made["ours", backward], made["torch", backward]], seconds)
            cells += [f"{min(t):.1f} ({statistics.median(t):.1f})" for t in pair]
            factor = min(pair[1]) / min(pair[0])
            cells.append(f"{factor:.2f}x")
            if factor < 1:
                step = "backward" if backward else "forward"
                slower.append(
                    f"{shape} {row.function} {row.target} {row.options} {step} {factor:.2f}x"
                )
        for name in ("ours", "torch"):
            cells.append(f"{used[f'{name}, False']:.2f} / {used[f'{name}, True']:.2f}")
        print("|".join(["", *cells, ""]), flush=True)
    return slower


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="few rows, two shapes, short times")
    parser.add_argument("--shape", type=int, nargs="+", help="one shape (N, C, ...) only")
    parser.add_argument("--dtype", choices=DTYPES, default="float32")
    parser.add_argument("--memory", action="store_true", help="print peaks of memory as JSON lines")
    chosen = parser.parse_args(arguments)
    warnings.filterwarnings("ignore", message="reduction: 'mean' divides")
    torch.set_num_threads(1)
    if chosen.memory:
        for measured in measure_memory(chosen.quick, DTYPES[chosen.dtype]):
            print(json.dumps(measured), flush=True)
        return 0
    shapes = [tuple(chosen.shape)] if chosen.shape else QUICK if chosen.quick else SHAPES
    number = len(list(rows(chosen.quick)))
    peaks = memory(chosen.quick, chosen.dtype)
    memories = list(tqdm(peaks, total=number, desc="memory", unit="row"))
    print(
        "Microseconds of a call, least (median); memory beyond the inputs, forward / with backward,"
    )
    print(f"as a multiple of an input of {' x '.join(map(str, MEMORY_SHAPE))}.")
    slower = []
    for shape in shapes:
        seconds = 0.05 if chosen.quick else 0.3
        slower += print_table(shape, chosen.dtype, seconds, chosen.quick, memories)
    print(f"\nSlower than torch: {len(slower)} of {2 * number * len(shapes)}.")
    print("\n".join(f"- {line}" for line in slower))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
