"""Measures the package beside eager PyTorch, torch.compile and others: `make bench`.

A run consists of parts: one size, data type and number of threads each. A part that is done is
written to a JSON file of its own, and a run that is started again goes on with the parts that are
missing or older than the extension. At the end report.py makes the page of all that is there.

    python benchmarks/bench.py                      few sizes, 5 minutes; the page in build/bench
    python benchmarks/bench.py --full               all sizes; the page in docs
    python benchmarks/bench.py --full --minutes 10  the parts that start within 10 minutes
    python benchmarks/bench.py --full --only bfloat16-2  the parts with this in their names
"""

import argparse
import gc
import os
import subprocess
import sys
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from time import perf_counter

import machine
import report
import torch
import walkthrough
from cases import DIVERGENCES, FORWARD_ONLY, MEASURES, OVERWRITING, TABLES, Case, Size
from data import DATA, Data
from linear import LINEAR, Linear
from measure import clock_of, first_line, floors, step, times
from options import EACH_ALONE, OPTIONS, Options
from tqdm import tqdm

import torch_infotheory._C

ROOT = Path(__file__).resolve().parents[1]
LIBRARY = Path(torch_infotheory._C.__file__).parent / "lib" / "libtorch_infotheory.so"
STEPS = {"forward": False, "both": True}
SECONDS = 0.5  # for each contender, step and case
SECONDS_OF_OPTIONS, IF_CLOSE = 0.1, 1.0
LARGEST = Size((4096, 1024, 128256))  # of hidden states; a product takes 5 s


@dataclass(frozen=True)
class Part:
    section: str  # as `cases` has them; "walkthrough" for the op that it adds
    size: Size
    dtype: str = "float32"
    threads: int = 1
    memory: bool = False  # instead of time

    def __str__(self) -> str:
        size = str(self.size).replace(" x ", "x").replace(", ", "-").replace(" ", "")
        name = f"{self.section}-{size}-{self.dtype}-{self.threads}"
        return f"memory-{name}" if self.memory else name

    def cases(self, full: bool) -> Sequence[Case | Options | Linear | Data]:
        options = OPTIONS if full else EACH_ALONE
        added = [case for case in MEASURES if case.name == walkthrough.QUANTITY]
        linear = LINEAR[:1] if self.size == LARGEST else LINEAR
        sections = {"rows": MEASURES, "divergences": DIVERGENCES, "tables": TABLES}
        sections |= {"options": options, "walkthrough": added}
        if self.section == "data":
            return [case for case in DATA if (case.size, case.dtype) == (self.size, self.dtype)]
        return sections.get(self.section, linear)


def parts(full: bool, device: str) -> Iterator[Part]:
    """What matters most comes first."""
    middle, inside = Size((8192, 1000)), Size((8, 1000, 64, 64), 1)
    losses = [Size((64, 10)), Size((4096, 1000))]
    if full:
        rows = [Size((64, 10)), Size((65536, 10)), middle, inside]
        rows += [Size((4096, 32000)), Size((512, 128256))]
        tables = [(65536, 8, 8), (4096, 64, 64), (256, 512, 512), (1, 2000, 2000)]
        more_losses = [Size((65536, 10)), Size((256, 32000)), Size((8, 21, 64, 64))]
    else:
        rows = [Size((64, 10)), Size((65536, 10)), middle, Size((512, 32000))]
        tables = [(1024, 64, 64)]
        more_losses = []
    measures = [Part("rows", size) for size in rows]
    measures += [Part("tables", Size(shape)) for shape in tables]
    yield from measures
    yield from (Part("options", size) for size in losses + more_losses)
    yield Part("rows", middle, memory=True)
    yield Part("options", losses[-1], memory=True)
    small, large = Size((256, 256, 4096)), Size((2048, 256, 32000))
    yield from dict.fromkeys(Part("data", case.size, case.dtype) for case in DATA)
    yield Part("linear", small)
    yield Part("linear", small, "bfloat16")
    if full:
        yield Part("linear", large)
        yield Part("linear", large, "bfloat16")
        threads = 2 if device == "cpu" else 1
        yield Part("linear", LARGEST, threads=threads)
        yield Part("linear", LARGEST, "bfloat16", threads=threads)
        yield Part("linear", large, memory=True)
        yield Part("linear", large, "bfloat16", memory=True)
        yield from (Part("divergences", size) for size in (Size((65536, 10)), middle))
        yield Part("divergences", middle, "bfloat16")
        yield Part("divergences", middle, memory=True)
    if not full:
        yield Part("rows", middle, "bfloat16")
        yield Part("rows", middle, threads=2)
        return
    yield Part("rows", inside, memory=True)
    yield Part("tables", Size((4096, 64, 64)), memory=True)
    for dtype, threads in (("bfloat16", 1), ("float32", 2), ("bfloat16", 2)):
        if device == "cpu" or threads == 1:
            yield from (Part(part.section, part.size, dtype, threads) for part in measures)
    yield from (Part("options", size, "bfloat16") for size in losses)
    yield Part("rows", middle, "bfloat16", memory=True)
    if device == "cpu":
        yield from (Part("walkthrough", size) for size in (Size((65536, 10)), middle))


def measure(part: Part, arguments: argparse.Namespace) -> Iterator[dict]:
    """The records of a part: one for each case, step and contender."""
    clock = clock_of(arguments.device)
    torch.set_num_threads(part.threads)
    for case in tqdm(part.cases(arguments.full), desc=str(part), leave=False, disable=None):
        work = case.work(part.size, getattr(torch, part.dtype), arguments.device)
        steps = {"forward": False} if part.section == "data" else STEPS
        for name, both in steps.items():
            calls = {}
            for contender, function in work.calls.items():
                if contender not in arguments.contenders or (both and contender in FORWARD_ONLY):
                    continue
                own = contender in OVERWRITING
                inputs = [x.clone() for x in work.inputs] if own else work.inputs
                calls[contender] = step(function, inputs, work.others, both)
            if part.memory:
                records = peaks(calls, clock)
            else:
                if part.section == "options":
                    seconds, if_close = SECONDS_OF_OPTIONS, IF_CLOSE
                else:
                    seconds, if_close = SECONDS, 0
                    calls |= {} if part.section == "data" else floors(work.inputs)
                records = times(calls, arguments.seconds or seconds, clock, if_close)
            facts = {
                "case": case.name,
                "step": name,
                "elements": part.size.elements,
                "bytes": sum(x.nbytes for x in work.inputs),
            }
            yield from (facts | record for record in records)
        del work, calls
        torch._dynamo.reset()
        gc.collect()


def peaks(calls: dict, clock) -> Iterator[dict]:
    """For each call the bytes that it takes at most."""
    for contender, call in calls.items():
        try:
            call()  # code and pools that stay are no matter of the call
            yield {"contender": contender, "peak": clock.peak(call)}
        except Exception as error:
            yield {"contender": contender, "error": first_line(error)}


def write(part: Part, path: Path, arguments: argparse.Namespace) -> None:
    start = perf_counter()
    head = {
        "name": str(part),
        "part": asdict(part),
        "device": arguments.device,
        "date": machine.now(),
        "load": machine.load(),
        "machine": machine.machine(arguments.device),
        "versions": machine.versions(),
    }
    records = list(measure(part, arguments))
    head["seconds"] = round(perf_counter() - start, 1)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(report.dumps(head | {"records": records}))


def write_in_a_process(
    part: Part, path: Path, given: Sequence[str], tree: Path = ROOT, **variables: str
) -> None:
    """Measure in a process of its own, with the code of `tree`.

    What large parts leave of the memory would change the others: 25% of an `nll_loss` were seen.
    """
    script = str(tree / "benchmarks" / Path(__file__).name)
    command = [sys.executable, script, *given, "--child", str(part), str(path.resolve())]
    variables["PYTHONPATH"] = str(tree / "src")
    subprocess.run(command, env=os.environ | variables, check=True)


# Large blocks come from the system and go back to it at once, so that the resident memory tells.
NO_POOL = {"MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_TRIM_THRESHOLD_": "0"}


def is_done(path: Path) -> bool:
    return path.exists() and path.stat().st_mtime > LIBRARY.stat().st_mtime


def parse(given: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--full", action="store_true", help="all sizes")
    device = "cuda" if torch.cuda.is_available() else "cpu"
    parser.add_argument("--device", choices=("cpu", "cuda"), default=device)
    parser.add_argument("--only", default="", help="the parts with this in their names")
    parser.add_argument("--minutes", type=float, default=600, help="start no part after these")
    parser.add_argument("--again", action="store_true", help="measure what is there, too")
    parser.add_argument("--list", action="store_true", help="name the parts and stop")
    everyone = ("ours", "eager", "compile", "core", "products", "scikit-learn", "ennemi")
    everyone += (*sorted(FORWARD_ONLY | OVERWRITING),)
    parser.add_argument("--contenders", nargs="+", choices=everyone, default=everyone)
    parser.add_argument("--seconds", type=float, help="for each contender, step and case")
    parser.add_argument("--parts", type=Path, help="the folder of the parts")
    parser.add_argument("--page", type=Path, help="the page to write")
    parser.add_argument("--child", nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args(given)
    folder = ROOT / "build" / ("bench-full" if arguments.full else "bench") / arguments.device
    page = "performance.md" if arguments.device == "cpu" else "performance_cuda.md"
    arguments.parts = arguments.parts or folder / "parts"
    arguments.page = arguments.page or (ROOT / "docs" if arguments.full else folder) / page
    return arguments


def main(given: Sequence[str] | None = None) -> None:
    given = sys.argv[1:] if given is None else given
    arguments = parse(given)
    warnings.filterwarnings("ignore", message="reduction: 'mean' divides")
    chosen = list(parts(arguments.full, arguments.device))
    names = set(map(str, chosen))
    if arguments.child:
        name, path = arguments.child
        write(next(part for part in chosen if str(part) == name), Path(path), arguments)
        return
    chosen = [part for part in chosen if arguments.only in str(part)]
    if arguments.list:
        print(*chosen, sep="\n")
        return
    end = perf_counter() + 60 * arguments.minutes
    left = 0
    for part in tqdm(chosen, unit="part"):
        path = arguments.parts / f"{part}.json"
        if is_done(path) and not arguments.again:
            continue
        if perf_counter() > end:
            left += 1
            continue
        try:
            tree = walkthrough.build() if part.section == "walkthrough" else ROOT
            pool = NO_POOL if part.memory and arguments.device == "cpu" else {}
            write_in_a_process(part, path, given, tree, **pool)
        except subprocess.CalledProcessError as error:  # the others are worth a page
            tqdm.write(f"{part}: {error}", file=sys.stderr)
            left += 1
    report.write(arguments.parts, arguments.page, names)
    print(f"wrote {arguments.page}; {left} of {len(chosen)} parts are left to measure")


if __name__ == "__main__":
    main()
