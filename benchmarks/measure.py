"""The clock, the floors and the peak of memory, on a CPU and on a CUDA device. Knows no op.

The calls that are compared take turns in one process, in another order in every round, so that a
busy neighbor meets all of them. A machine can only add time, so the least times are compared; the
median beside the least says how much it added.

Not torch.utils.benchmark, whose timeit makes two more calls before each one that counts, which is
three times as long a run where the contenders take turns; nor pyperf or asv, which measure one
contender after the other, in processes of their own.
"""

import random
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

import torch
from torch import Tensor

Call = Callable[[], object]

BLOCK = 2e-4  # seconds: calls shorter than this are timed several at a time
SLOW = 5.0  # seconds: after as much, two calls are enough
CALLS = 3
RUNS = 3  # parts of the rounds, whose differences tell how far a figure may be trusted
CLOSE = 0.95  # two calls whose times are nearer than this are told apart by longer measuring


class CpuClock:
    def seconds(self, call: Call, repeat: int) -> float:
        """The time of a call, the mean of `repeat`."""
        start = perf_counter()
        for _ in range(repeat):
            call()
        return (perf_counter() - start) / repeat

    def peak(self, call: Call) -> int:
        """The bytes that a call takes at most, beyond what was there before."""
        # The kernel keeps the peak of the resident memory; writing 5 makes it start anew.
        Path("/proc/self/clear_refs").write_text("5")
        before = self._resident("VmRSS")
        call()
        return max(0, self._resident("VmHWM") - before)

    @staticmethod
    def _resident(name: str) -> int:
        lines = Path("/proc/self/status").read_text().splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(name))


class CudaClock:
    """Events around each call, and a second-level cache that holds none of its inputs."""

    def __init__(self, device: str = "cuda") -> None:
        size = torch.cuda.get_device_properties(0).L2_cache_size
        self.flush = torch.empty(max(2 * size, 1 << 26), dtype=torch.int8, device=device)

    def seconds(self, call: Call, repeat: int) -> float:
        events = [[torch.cuda.Event(enable_timing=True) for _ in range(2)] for _ in range(repeat)]
        for start, end in events:
            self.flush.zero_()
            start.record()
            call()
            end.record()
        torch.cuda.synchronize()
        return sum(start.elapsed_time(end) for start, end in events) / repeat / 1e3

    def peak(self, call: Call) -> int:
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        call()
        torch.cuda.synchronize()
        return torch.cuda.max_memory_allocated() - before


def clock_of(device: str) -> CpuClock | CudaClock:
    return CudaClock() if device == "cuda" else CpuClock()


def step(
    function: Callable[..., Any], inputs: Sequence[Tensor], others: Sequence, both: bool
) -> Call:
    """`function` as a call without arguments: forward, or forward and backward by the inputs."""
    inputs = [x.detach().requires_grad_(both) for x in inputs]
    if not both:
        return lambda: function(*inputs, *others)
    cotangents: list[Tensor] = []

    def forward_and_backward() -> object:
        value = function(*inputs, *others)
        if not cotangents:
            cotangents.append(torch.ones_like(value))
        return torch.autograd.grad(value, inputs, cotangents)

    return forward_and_backward


def floors(inputs: Sequence[Tensor]) -> dict[str, Call]:
    """Reading the inputs once, and copying them once to memory that is already there."""
    copies = [torch.empty_like(x) for x in inputs]
    words = [x.flatten().view(torch.int64) if x.nbytes % 8 == 0 else x for x in inputs]

    def read() -> None:
        for x in words:
            x.sum()

    def copy() -> None:
        for x, y in zip(inputs, copies, strict=True):
            y.copy_(x)

    return {"read": read, "copy": copy}


def first_line(error: Exception) -> str:
    text = str(error).strip().partition("\n")[0]
    return f"{type(error).__name__}: {text}"[:200]


def four_digits(x: float) -> float:
    return float(f"{x:.4g}")


def least_of_runs(taken: Sequence[float]) -> list[float]:
    """The least seconds in each of the runs that the rounds are divided into, in their order."""
    runs = min(RUNS, len(taken))
    bounds = [i * len(taken) // runs for i in range(runs + 1)]
    return [four_digits(min(taken[a:b])) for a, b in zip(bounds, bounds[1:], strict=False)]


def times(
    calls: dict[str, Call], seconds: float, clock: CpuClock | CudaClock, if_close: float = 0
) -> list[dict]:
    """A record for each call: the least and the median seconds, and the least of each third of the
    rounds; or the error that it raised.

    Each call is measured for `seconds`, and where the two fastest are close for `if_close`.
    """
    taken: dict[str, list[float]] = {}
    errors: dict[str, str] = {}
    repeats: dict[str, int] = {}
    for name, call in calls.items():
        try:
            call()  # compiles, allocates, and is not counted
            once = max(clock.seconds(call, 1), 1e-9)
        except Exception as error:  # whatever a peer raises is a result
            errors[name] = first_line(error)
            continue
        repeats[name] = max(1, round(BLOCK / once))
        taken[name] = [once] if repeats[name] == 1 else []
    order = random.Random(0)
    spent = {name: sum(of) for name, of in taken.items()}

    def take_turns(seconds: float) -> None:
        while waiting := [
            name
            for name, of in taken.items()
            if spent[name] < seconds or len(of) < (CALLS if spent[name] < SLOW else 2)
        ]:
            for name in order.sample(waiting, len(waiting)):
                taken[name].append(clock.seconds(calls[name], repeats[name]))
                spent[name] += taken[name][-1] * repeats[name]

    take_turns(seconds)
    fastest = sorted(map(min, taken.values()))[:2]
    if len(fastest) == 2 and fastest[0] > CLOSE * fastest[1]:
        take_turns(if_close)
    records = [
        {
            "contender": name,
            "least": four_digits(min(of)),
            "median": four_digits(median(of)),
            "runs": least_of_runs(of),
            "samples": len(of),
        }
        for name, of in taken.items()
    ]
    return records + [{"contender": name, "error": text} for name, text in errors.items()]
