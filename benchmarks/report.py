"""The page of the measurements: Markdown, a picture, and all records in one compressed file.

    python benchmarks/report.py FOLDER docs/performance.md

makes them from the parts in FOLDER, which bench.py wrote, and from those that the page had before
and FOLDER has not; the table of README.md with them. docs/performance.json.gz may stand for FOLDER.
Knows what a record holds; measures nothing.
"""

import gzip
import json
import sys
from collections import defaultdict
from collections.abc import Container, Iterable, Iterator, Sequence
from itertools import chain, product
from operator import itemgetter
from pathlib import Path
from statistics import median

import matplotlib
from cases import Size
from targets import HALF_PRECISION, target

matplotlib.use("Agg")
from matplotlib import pyplot  # noqa: E402

UNITS = (("s", 1.0), ("ms", 1e-3), ("µs", 1e-6))
OPS = ("rows", "divergences", "tables")  # the sections whose cases are one op each
DTYPES = ("float32", "bfloat16")
NOISY = 1.2  # a median above this multiple of the least time
STEPS = {"forward": "forward", "both": "forward + backward"}
PASSES = {"forward": 1, "both": 3}  # the least traffic, in readings and writings of the inputs
FLOORS = {"forward": ("read",), "both": ("read", "copy")}
PEERS = ("eager", "compile", "scipy", "torchmetrics", "liger")

Record = dict
# By case, size and step, the record of each contender.
Results = dict[tuple[str, Size, str], dict[str, Record]]


def dumps(part: dict) -> str:
    """A part as JSON, a record on each line."""
    head = json.dumps({name: value for name, value in part.items() if name != "records"})
    records = ",\n".join(map(json.dumps, part["records"]))
    return f'{head[:-1]}, "records": [\n{records}\n]}}'


def write_records(path: Path, records: Iterable[str]) -> None:
    """A list of JSON, compressed, and the same bytes whenever it is written."""
    text = "[\n" + ",\n".join(records) + "\n]\n"
    path.write_bytes(gzip.compress(text.encode(), mtime=0))


def load(source: Path) -> list[dict]:
    """The parts of a folder, or those of a report's own records."""
    if source.is_file():
        parts = json.loads(gzip.decompress(source.read_bytes()))
    else:
        parts = [json.loads(path.read_text()) for path in source.glob("*.json")]
    return sorted(parts, key=itemgetter("date", "name"))


def newest(*parts: Iterable[dict]) -> list[dict]:
    """Of several parts of one name the latest."""
    every = sorted(chain(*parts), key=itemgetter("date"))
    latest = {part["name"]: part for part in every}
    return sorted(latest.values(), key=itemgetter("date", "name"))


def size_of(part: dict) -> Size:
    size = part["part"]["size"]
    return Size(tuple(size["shape"]), size["dim"])


def results(
    parts: Iterable[dict],
    sections: Sequence[str],
    dtype: str = "float32",
    threads: int = 1,
    memory: bool = False,
) -> Results:
    found: Results = defaultdict(dict)
    for part in parts:
        facts = part["part"]
        if facts["section"] in sections and (facts["dtype"], facts["threads"], facts["memory"]) == (
            dtype,
            threads,
            memory,
        ):
            for record in part["records"]:
                key = record["case"], size_of(part), record["step"]
                found[key][record["contender"]] = record | {"machine": machine_of(part)}
    return dict(sorted(found.items(), key=lambda item: (item[0][1].elements, item[0][1].shape)))


# One cell of a table.


def is_noisy(record: Record) -> bool:
    return "least" in record and record["median"] > NOISY * record["least"]


def seconds(value: float) -> str:
    unit, scale = next((u, s) for u, s in UNITS if value >= s or u == UNITS[-1][0])
    return f"{value / scale:.3g} {unit}"


def time(record: Record | None) -> str:
    """The least and the median time, with a mark where they differ much."""
    if record is None:
        return ""
    if "error" in record:
        return "failed"
    mark = " ~" if is_noisy(record) else ""
    return f"{seconds(record['least'])} ({seconds(record['median'])}){mark}"


def factor(contenders: dict[str, Record], peer: str) -> float | None:
    """How many times as long as ours the peer takes."""
    try:
        return contenders[peer]["least"] / contenders["ours"]["least"]
    except KeyError:
        return None


def spread(contenders: dict[str, Record], peer: str) -> float | None:
    """How far the factor of any third of the rounds is from that of all, as a part of it."""
    whole = factor(contenders, peer)
    runs = [contenders.get(name, {}).get("runs", []) for name in (peer, "ours")]
    factors = [theirs / ours for theirs, ours in zip(*runs, strict=False)]
    return max(abs(x / whole - 1) for x in factors) if whole and factors else None


def times_ours(contenders: dict[str, Record], peer: str) -> str:
    if "error" in contenders.get(peer, {}):
        return "failed"
    value = factor(contenders, peer)
    if value is None:
        return ""
    apart = spread(contenders, peer)
    if apart is None:
        mark = " ~" if is_noisy(contenders[peer]) else ""
    else:
        mark = f" ±{apart:.0%}"
    return f"{value:.2f}x{mark}" if value < 10 else f"{value:.0f}x{mark}"


def floor(contenders: dict[str, Record], step: str) -> float | None:
    try:
        return sum(contenders[name]["least"] for name in FLOORS[step])
    except KeyError:
        return None


def table(head: Sequence[str], rows: Iterable[Sequence[str]], words: int = 2) -> str:
    """A Markdown table; the columns after the first `words` hold numbers."""
    lines = [head, ["---" if i < words else "---:" for i in range(len(head))], *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"


# The sections of the page.


def speed(found: Results, step: str) -> str:
    peers = [peer for peer in PEERS if any(peer in contenders for contenders in found.values())]
    rows = []
    for (case, size, of), contenders in found.items():
        if of != step or "ours" not in contenders:
            continue
        ours, least = contenders["ours"], floor(contenders, step)
        cells = [case, str(size), time(ours)]
        if "least" in ours:
            cells.append(f"{ours['least'] / ours['elements'] * 1e9:.3g}")
            cells.append(f"{PASSES[step] * ours['bytes'] / ours['least'] / 1e9:.3g}")
            cells.append(f"{ours['least'] / least:.2f}x" if least else "")
        else:
            cells += [ours["error"], "", ""]
        rows.append(cells + [times_ours(contenders, peer) for peer in peers])
    return table(["op", "size", "ours", "ns / element", "GB/s", "/ floor", *peers], rows)


def targets(found: Results) -> str:
    rows, met, total = [], 0, 0
    for (case, size, step), contenders in found.items():
        wanted = target(case, size, step)
        if wanted is None:
            continue
        cells = [case, str(size), STEPS[step]]
        for peer, least in zip(("eager", "compile"), wanted, strict=True):
            measured = factor(contenders, peer)
            if least is None or measured is None:
                cells += ["" if least is None else f"{least:g}x", times_ours(contenders, peer), ""]
                continue
            total += 1
            met += measured >= least
            verdict = "met" if measured >= least else f"**{measured / least:.0%}**"
            cells += [f"{least:g}x", times_ours(contenders, peer), verdict]
        rows.append(cells)
    head = ["op", "size", "step", *("eager: wanted", "is", ""), *("compile: wanted", "is", "")]
    return f"{met} of {total} targets are met.\n\n" + table(head, rows, words=3)


def half_and_threads(parts: Sequence[dict]) -> str:
    sections = ("rows", "tables")
    single = results(parts, sections)
    others = [
        results(parts, sections, "bfloat16", 1),
        results(parts, sections, "float32", 2),
        results(parts, sections, "bfloat16", 2),
    ]
    rows = []
    for key, contenders in single.items():
        case, size, step = key
        records = [found.get(key, {}).get("ours", {}) for found in others]
        here = contenders.get("ours", {})
        measured = [
            x.get("least") if x.get("machine") == here.get("machine") else None for x in records
        ]
        if "least" not in here or not any(measured):
            continue
        ours = here["least"]
        half, two, half_two = measured
        cells = [case, str(size), STEPS[step], seconds(ours)]
        ratio = half / ours if half else None
        late = ratio is not None and ratio > HALF_PRECISION
        cells.append("" if ratio is None else f"**{ratio:.2f}**" if late else f"{ratio:.2f}")
        cells.append(f"{ours / two:.2f}x" if two else "")
        cells.append(f"{half / half_two:.2f}x" if half and half_two else "")
        rows.append(cells)
    head = ["op", "size", "step", "float32", "bfloat16 / float32"]
    return table([*head, "2 threads: float32", "bfloat16"], rows, words=3)


def multiple(record: Record | None) -> str:
    if record is None:
        return ""
    return "failed" if "error" in record else f"{record['peak'] / record['bytes']:.2f}"


def memory(parts: Sequence[dict]) -> str:
    rows = []
    for dtype in DTYPES:
        found = results(parts, OPS, dtype, memory=True)
        for (case, size, step), contenders in found.items():
            cells = [multiple(contenders.get(name)) for name in ("ours", "eager", "compile")]
            rows.append([case, str(size), dtype, STEPS[step], *cells])
    return table(["op", "size", "dtype", "step", "ours", "eager", "compile"], rows, words=4)


def options(parts: Sequence[dict], dtype: str) -> str:
    found = results(parts, ("options",), dtype)
    used = results(parts, ("options",), dtype, memory=True)
    sizes = list(dict.fromkeys(size for _, size, _ in found))
    slower = []
    rows = []
    for case in dict.fromkeys(case for case, _, _ in found):
        cells = [case]
        for size in sizes:
            pair = []
            for step in STEPS:
                contenders = found.get((case, size, step), {})
                value = factor(contenders, "eager")
                pair.append("" if value is None else f"{value:.2f}")
                if value is not None and value < 1:
                    pair[-1] = f"**{value:.2f}**"
                    noise = ", noisy" if any(map(is_noisy, contenders.values())) else ""
                    slower.append(
                        f"- {case}, {size}, {STEPS[step]}: {time(contenders['ours'])} "
                        f"against {time(contenders['eager'])}{noise}"
                    )
            cells.append(" / ".join(pair))
        for name in ("ours", "eager"):
            peaks = [contenders.get(name) for (of, _, _), contenders in used.items() if of == case]
            cells.append(" / ".join(multiple(peak) for peak in peaks))
        rows.append(cells)
    head = ["loss, target, options", *map(str, sizes), "memory: ours", "torch"]
    count = f"{len(slower)} of {len(rows) * len(sizes) * len(STEPS)} are slower than torch.\n\n"
    return count + "\n".join(slower) + ("\n\n" if slower else "") + table(head, rows, words=1)


def mebibytes(record: Record | None) -> str:
    if record is None:
        return ""
    return "failed" if "error" in record else f"{record['peak'] / 2**20:.0f}"


def linear(parts: Sequence[dict]) -> str:
    """Losses from hidden states: time beside the peers, and the peak of memory."""
    peers, rows = ("eager", "compile", "core", "products"), []
    for dtype, threads in product(DTYPES, (1, 2)):
        found = results(parts, ("linear",), dtype, threads)
        used = results(parts, ("linear",), dtype, threads, memory=True)
        for key, contenders in found.items():
            case, size, step = key
            cells = [case, str(size), f"{dtype}, {threads}", STEPS[step]]
            cells += [time(contenders.get("ours"))]
            cells += [times_ours(contenders, peer) for peer in peers]
            peaks = used.get(key, {})
            rows.append(cells + [mebibytes(peaks.get(name)) for name in ("ours", "eager", "core")])
    head = ["loss", "N x H x C", "dtype, threads", "step", "ours", *peers]
    return table([*head, *(f"MiB: {name}" for name in ("ours", "eager", "core"))], rows, words=4)


def data(parts: Sequence[dict]) -> str:
    """From data to a measure: the time, and the one library that does the same."""
    rows, machines = [], {}
    for part in parts:
        if part["part"]["section"] != "data":
            continue
        machines[f"{part['machine']['processor']}, {part['date'].split()[0]}"] = None
        found = results([part], ("data",), part["part"]["dtype"])
        for (case, size, _), contenders in found.items():
            for peer in sorted(set(contenders) - {"ours"}):
                times = [time(contenders.get(name)) for name in ("ours", peer)]
                rows.append([case, str(size), peer, *times, times_ours(contenders, peer)])
    head = ["function", "size", "peer", "ours", "the peer", "the peer / ours"]
    return f"On {'; '.join(machines)}.\n\n" + table(head, sorted(rows), words=3)


def distinct_machines(parts: Sequence[dict]) -> list[str]:
    """The machines of the parts, described, each once."""
    return list(dict.fromkeys(machine_of(part) for part in parts))


def machine_of(part: dict) -> str:
    return ", ".join(f"{name} {value}" for name, value in part["machine"].items())


def noise(parts: Sequence[dict]) -> str:
    rows, numbered = [], distinct_machines(parts)
    for part in parts:
        timed = [record for record in part["records"] if "least" in record]
        noisy = sum(map(is_noisy, timed)) / len(timed) if timed else 0
        busy = " ~" if noisy > 0.1 or part["load"] > 1.5 * part["part"]["threads"] else ""
        number = str(numbered.index(machine_of(part)) + 1)
        cells = [part["name"], part["date"], f"{part['seconds']:.0f} s", f"{part['load']:.2f}"]
        rows.append([*cells, f"{noisy:.0%}{busy}" if timed else "", number])
    head = ["part", "date", "took", "load at the start", "noisy", "machine"]
    return table(head, rows)


def failures(parts: Sequence[dict]) -> str:
    failed = dict.fromkeys(
        f"- {record['case']}, {record['contender']}, {part['name']}: {record['error']}"
        for part in parts
        for record in part["records"]
        if "error" in record
    )
    return "\n".join(failed)


# The table of README.md: forward and backward of what people use most, at the sizes whose memory is
# measured too.
README = Path(__file__).resolve().parents[1] / "README.md"
HEADLINES = {
    "cross-entropy of logits and labels": ("cross_entropy", Size((8192, 1000))),
    "entropy of logits": ("entropy", Size((8192, 1000))),
    "Kullback-Leibler divergence of logits": ("kl_divergence", Size((8192, 1000))),
    "Jensen-Shannon divergence of logits": ("js_divergence", Size((8192, 1000))),
    "mutual information of joint tables": ("mutual_information", Size((4096, 64, 64))),
    "cross-entropy of hidden states and labels": (
        "linear_cross_entropy",
        Size((2048, 256, 32000)),
    ),
}


def headlines(parts: Sequence[dict]) -> str:
    sections = ("rows", "tables", "linear")
    timed, used = results(parts, sections), results(parts, sections, memory=True)
    rows = []
    for words, (case, size) in HEADLINES.items():
        contenders = timed.get((case, size, "both"), {})
        peaks = used.get((case, size, "both"), {})
        if not contenders or not peaks:
            continue
        ratio = peaks["eager"]["peak"] / peaks["ours"]["peak"]
        peers = [times_ours(contenders, peer) for peer in ("eager", "compile")]
        ours = seconds(contenders["ours"]["least"])
        rows.append([words, str(size), ours, *peers, f"{ratio:.2g}x"])
    head = ["forward + backward", "size", "ours", "eager", "torch.compile", "memory of eager"]
    return table(head, rows)


def write_headlines(parts: Sequence[dict], readme: Path = README) -> None:
    """Put the table where the last one is, between two comments."""
    begin, end = "<!-- written by benchmarks/report.py -->\n", "<!-- end -->"
    before, _, rest = readme.read_text().partition(begin)
    readme.write_text(before + begin + headlines(parts) + end + rest.partition(end)[2])


# The picture. A library has one color in all pictures; they differ to color-blind eyes, too (Okabe
# and Ito, Color Universal Design, 2008).

COLORS = {"ours": "#0072B2", "eager": "#D55E00", "compile": "#E69F00"}
PEER_MARKERS = {"eager": "s", "compile": "^"}


def draw(found: Results, path: Path) -> None:
    """How many times as long as ours the peers take: a row for each op, a mark for each size."""
    ratios: dict[str, dict[str, dict[str, list[float]]]] = defaultdict(lambda: defaultdict(dict))
    for (case, _, step), contenders in found.items():
        for peer in PEER_MARKERS:
            if value := factor(contenders, peer):
                ratios[step][case].setdefault(peer, []).append(value)

    def middle(case: str) -> float:
        return median(x for of_step in ratios.values() for x in of_step[case].get("eager", [1.0]))

    cases = sorted({case for case, _, _ in found}, key=middle)
    figure, axes = pyplot.subplots(
        1, len(STEPS), figsize=(8.3, 1.1 + 0.27 * len(cases)), sharey=True, squeeze=False
    )
    for axis, (step, title) in zip(axes[0], STEPS.items(), strict=True):
        for peer, marker in PEER_MARKERS.items():
            lane = 0.15 if peer == "eager" else -0.15
            values = [ratios[step][case].get(peer, []) for case in cases]
            rows = [row + lane for row, of_case in enumerate(values) for _ in of_case]
            style = {"color": COLORS[peer], "ms": 4, "alpha": 0.6, "label": peer}
            axis.plot(sum(values, []), rows, marker, **style)
        axis.axvline(1, color=COLORS["ours"], lw=2, label="ours")
        axis.set_xscale("log")
        axis.xaxis.set_major_formatter("{x:g}x")
        axis.grid(alpha=0.3)
        axis.set_title(title, fontsize=10)
        axis.set_xlabel("times as long as ours", fontsize=9)
    axes[0][0].set_yticks(range(len(cases)), [case.replace("_", " ") for case in cases], fontsize=9)
    axes[0][0].set_ylim(-0.6, len(cases) - 0.4)
    axes[0][-1].legend(fontsize=8, loc="lower right")
    figure.tight_layout()
    figure.savefig(path, dpi=100)
    pyplot.close(figure)


# The page.

PAGE = """\
# Performance
{headlines}{picture}{more}
## How to read the tables

Written by `benchmarks/report.py` from the measurements of `benchmarks/bench.py`; not edited by
hand. All records are in [{records}]({records}).

- Date: {dates}
- Machines, of which [the list of parts](#parts-and-noise) names one for each: {machines}
- Versions: {versions}
- **ours** is the least time of a call, and the median in brackets. The contenders take turns in one
  process, in another order in every round, on random logits or random joint tables. Each is timed
  for half a second (the options of the losses for a tenth, and for a second where the two come
  close) or as long as `--seconds` says, and three times at least, or twice where a call takes
  seconds; the records hold how many times. The first call, which compiles, does not count.
- The columns of the peers say how many times as long as ours they take; **±** is how far that is
  from the same in any third of the rounds, at most. **eager** is the idiomatic
  PyTorch, **compile** the same under `torch.compile(fullgraph=True, dynamic=False)`. SciPy and
  torchmetrics are for reference: in the forward direction, for sizes they can bear.
- The **floor** is the time to read the inputs once, and for forward + backward to read them once
  and copy them once, to memory that is already mapped. It is measured in the same rounds. **GB/s**
  counts just these bytes.
- **~** marks a median more than {noisy:.0%} above the least time: another process wanted the core.
  [The list of parts](#parts-and-noise) has the load of the machine.
{cuda}
{body}"""

HEADLINES_OF_PAGE = """
In float32 on one thread, and how many times as long as ours PyTorch takes:

"""

PICTURE = """
![Times as long as ours]({picture})

Each mark is one size of one operator, from 64 rows of 10 classes to 512 rows of 128,256: right of
the line the library is faster.
"""

MORE = """
The rest of the page has all of it in tables: first the uses that have targets or that differ from
rows of logits, then every operator and size.
"""

CUDA = """\
- Times are those of CUDA events around a call, after the second-level cache was overwritten.
"""

TARGETS = """\
float32, one thread. [design.md](design.md#where-the-time-goes) says why some are not met.

"""

HALF_AND_THREADS = f"""\
Ours only: the time in float32, the time in bfloat16 as a multiple of it (at most {HALF_PRECISION:g}
is wanted), and how many times faster two threads are than one; where they were measured on one
machine.

"""

MEMORY = """\
The peak of memory beyond the inputs, as a multiple of the inputs. The gradients, which have to be
returned, are 1.00 of forward + backward.

"""

LINEAR = """\
How many times as long as ours the same takes of logits that are there (**eager**, and **compile**),
by torch's own `linear_cross_entropy` in chunks (**core**), and the matrix **products** alone, one
forward and three in all, without a loss. MiB is the peak of memory beyond the inputs, gradients
included. [linear.md](linear.md) says how the loss goes by blocks.

"""

DATA = """\
From labels, samples and counts to a number, forward. The size of labels is pairs x classes x
classes. The peers get NumPy arrays of the same memory.

"""

OPTIONS = """\
How many times as long as ours torch takes, forward / forward + backward; below 1 in bold. Memory as
above.

"""


def chapters(parts: Sequence[dict]) -> Iterator[tuple[str, str]]:
    """The titles and the texts of the page."""
    on_cpu = parts[0]["device"] == "cpu"
    sections = (*OPS, "walkthrough")
    if on_cpu:
        yield "Targets", TARGETS + targets(results(parts, sections))
        yield "Half precision and threads", HALF_AND_THREADS + half_and_threads(parts)
    yield "Memory", MEMORY + memory(parts)
    if any(part["part"]["section"] == "linear" for part in parts):
        yield "Losses from hidden states", LINEAR + linear(parts)
    if any(part["part"]["section"] == "data" for part in parts):
        yield "From data", DATA + data(parts)
    for dtype in DTYPES:
        if results(parts, ("options",), dtype):
            yield f"Options of the drop-in losses, {dtype}", OPTIONS + options(parts, dtype)
    for dtype, threads in product(DTYPES, (1, 2)):
        found = results(parts, sections, dtype, threads)
        number = ", one thread" if threads == 1 else f", {threads} threads"
        for step, words in STEPS.items() if found else ():
            title = f"{words.capitalize()}, {dtype}{number if on_cpu else ''}"
            yield title, speed(found, step)
    if failures(parts):
        yield "Failures", failures(parts) + "\n"
    yield "Parts and noise", noise(parts)


def page(parts: Sequence[dict], picture: str, records: str) -> str:
    """The text; `picture` and `records` are names of files, `picture` may be empty."""
    dates = [part["date"].split()[0] for part in parts]
    versions = parts[0]["versions"].items()
    return PAGE.format(
        records=records,
        dates=" to ".join(dict.fromkeys((min(dates), max(dates)))),
        machines="; ".join(f"({i}) {text}" for i, text in enumerate(distinct_machines(parts), 1)),
        versions=", ".join(f"{name} {number}" for name, number in versions),
        noisy=NOISY - 1,
        cuda=CUDA if parts[0]["device"] == "cuda" else "",
        headlines=HEADLINES_OF_PAGE + top if (top := headlines(parts)).count("\n") > 2 else "",
        picture=PICTURE.format(picture=picture) if picture else "",
        more=MORE,
        body="\n".join(f"## {title}\n\n{text}" for title, text in chapters(parts)),
    )


def write(source: Path, path: Path, names: Container[str] | None = None) -> None:
    """The page of a folder of parts, and of what its own records have besides: those of `names`."""
    picture, records = path.with_suffix(".png"), path.with_suffix(".json.gz")
    parts = load(source)
    if not parts:
        raise SystemExit(f"no parts in {source}")
    before = load(records) if records.exists() else []
    parts = newest((part for part in before if names is None or part["name"] in names), parts)
    path.parent.mkdir(parents=True, exist_ok=True)
    found = results(parts, OPS)
    if found:
        draw(found, picture)
    write_records(records, map(dumps, parts))
    path.write_text(page(parts, picture.name if found else "", records.name))
    if path.resolve() == README.parent / "docs" / "performance.md":
        write_headlines(parts)


if __name__ == "__main__":
    write(Path(sys.argv[1]), Path(sys.argv[2]))
