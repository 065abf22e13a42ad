"""The errors of every op beside those of eager PyTorch: docs/accuracy.md.

    python benchmarks/accuracy.py                  the page, the figure and the records, in docs
    python benchmarks/accuracy.py --page PAGE.md   elsewhere

The ops and the reference are those of the tests, the PyTorch code is that of peers.py. Values are
compared with the reference, in long double for float64 inputs and in float64 for the others.
Gradients are compared with those of the PyTorch code in float64.
"""

import argparse
import json
import math
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import machine
import matplotlib
import numpy as np
import peers
import torch
from report import COLORS, table, write_records
from torch import Tensor
from torch.nn import functional as F
from tqdm import tqdm

import torch_infotheory
from torch_infotheory.nn import functional

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests"))
import reference  # noqa: E402
from ops import OPS, Op, random, state  # noqa: E402

matplotlib.use("Agg")
from matplotlib import pyplot  # noqa: E402

CLASSES = (1, 10, 1000, 32000, 262144)
CELLS = ((1, 1), (3, 3), (8, 8), (9, 20), (64, 64), (512, 512))
DTYPE_NAMES = ("float32", "bfloat16", "float16", "float64")
DTYPES = tuple(getattr(torch, name) for name in DTYPE_NAMES)
ELEMENTS = 1 << 17  # of an input with more than two rows
SMALLEST = torch.finfo(torch.float32).smallest_normal  # the kernels flush what is below to 0
SMOOTHING = 0.1
WIDEST = {"chi_squared_divergence": 6.0, "alpha_divergence": 6.0}  # beyond, the values overflow


@dataclass(frozen=True)
class Scenario:
    """Where the logits lie."""

    name: str
    scale: float = 1.0
    offset: float = 0.0
    block: bool = False  # the last third of the classes has probability 0

    def kept(self, classes: int) -> int:
        """How many classes have a probability."""
        return classes - classes // 3 if self.block else classes

    def logits(self, shape: Sequence[int], seed: int) -> Tensor:
        x = self.offset + self.scale * random(*shape, seed=seed)
        x[..., self.kept(shape[-1]) :] = -torch.inf
        return x


SCENARIOS = (
    Scenario("scale 1"),
    Scenario("scale 30", scale=30),
    Scenario("offset 1e4", offset=1e4),
    Scenario("-inf blocks", block=True),
)


@dataclass(frozen=True)
class Subject:
    """A quantity of which the error is measured, as the package and as PyTorch compute it."""

    name: str
    kinds: tuple[str, ...]  # of each input
    ours: Callable[..., Tensor]
    torch: Callable[..., Tensor]
    formula: Callable[..., np.ndarray]  # in reference.py
    tables: bool = False
    labelled: bool = False  # class labels follow the inputs, and in the reference a row of 0 and 1
    spread: bool = False  # over all classes, so that none may have the logit -inf
    widest: float = math.inf  # the largest scale of logits

    def inputs(self, scenario: Scenario, shape: Sequence[int], dtype: torch.dtype) -> list[Tensor]:
        scale = min(scenario.scale, self.widest) / scenario.scale
        inputs = [
            state(scale * scenario.logits(shape, seed), self.dims, kind).to(dtype)
            for seed, kind in enumerate(self.kinds)
        ]
        return [torch.where(x.abs() < SMALLEST, 0, x) for x in inputs]

    @property
    def dims(self) -> int | tuple[int, int]:
        return (-2, -1) if self.tables else -1

    def applies(self, scenario: Scenario) -> bool:
        if scenario.offset and "logits" not in self.kinds:
            return False
        if scenario.scale > 1 and "normalized" in self.name:
            return False  # 0 / 0 where one cell has nearly all of the probability
        return not (scenario.block and self.spread)


def subjects() -> Iterator[Subject]:
    for op in OPS:
        # With a reduction it is computed as without; a new op may have no peer yet.
        if "reduction" not in op.options and hasattr(peers, op.name):
            same = [kinds for kinds in op.kinds if len(set(kinds)) == 1]
            yield from (measure(op, kinds) for kinds in same)
    yield loss("cross_entropy", ("logits",), labelled=True)
    yield loss("cross_entropy", ("logits",), labelled=True, label_smoothing=SMOOTHING)
    yield loss("cross_entropy", ("logits", "probs"))
    yield loss("kl_div", ("log_probs", "probs"), reduction="sum")


def measure(op: Op, kinds: tuple[str, ...]) -> Subject:
    tables = "x_dim" in op.dims
    axes = [(-2,), (-1,)] if tables else [(-1,)]
    options = op.options | {"kind": kinds[0]}
    return Subject(
        str(op),
        kinds,
        partial(op.function, **options),
        partial(getattr(peers, op.name), **options),
        lambda *x: reference.evaluate(op.formula, x, axes, kinds, elementwise=op.elementwise),
        tables,
        widest=WIDEST.get(op.name, math.inf),
    )


def loss(name: str, kinds: tuple[str, ...], labelled: bool = False, **options: Any) -> Subject:
    options = {"reduction": "none"} | options
    formulas = {"cross_entropy": reference.cross_entropy_loss, "kl_div": reference.kl_div}
    smoothed = "label_smoothing" in options
    words = ", smoothed labels" if smoothed else ", labels" if labelled else ""
    return Subject(
        f"nn.functional.{name}{words}",
        kinds,
        partial(getattr(functional, name), **options),
        partial(getattr(F, name), **options),
        partial(formulas[name], **options),
        labelled=labelled,
        spread=smoothed,
    )


def largest(x: np.ndarray) -> float:
    return float(np.abs(x[np.isfinite(x)]).max(initial=0))


def expressible(dtype: torch.dtype, x: np.ndarray) -> np.ndarray:
    """What does not come near the largest number of the dtype."""
    return np.abs(x) < torch.finfo(dtype).max / 4


def error(
    actual: Tensor, expected: np.ndarray, scale: np.ndarray | float, rows: np.ndarray
) -> float:
    """The largest error in epsilons relative to `scale`, of what is expressible in these rows."""
    relative = np.abs(actual.double().numpy().astype(expected.dtype) - expected) / scale
    kept = expressible(actual.dtype, expected) & rows
    return float(relative[kept].max(initial=0)) / torch.finfo(actual.dtype).eps


@np.errstate(divide="ignore", invalid="ignore")  # log 0, inf - inf
def trial(subject: Subject, scenario: Scenario, shape: Sequence[int], dtype: torch.dtype) -> dict:
    """The errors of the package and of PyTorch on one set of inputs."""
    kept = scenario.kept(shape[-1])
    inputs = subject.inputs(scenario, shape, dtype)
    wide = [x[..., :kept].double() for x in inputs]  # 0 log 0 = 0: the other classes add nothing
    others, ones = [], []
    if subject.labelled:
        others = [torch.arange(shape[0]) * 7919 % kept]
        ones = [F.one_hot(others[0], kept).numpy()]
    arrays = [x.numpy() for x in wide]
    if dtype == torch.float64:
        arrays = [x.astype(np.longdouble) for x in arrays]
    value = subject.formula(*arrays, *ones)
    scale = np.maximum(1, largest(value) if value.ndim == len(shape) else np.abs(value))
    _, gradient = value_and_gradient(subject.torch, wide, others, kept)
    rows = np.ones(value.shape, dtype=bool)
    if value.ndim < len(shape):  # in rows whose value overflows, no gradient is what it should be
        rows &= expressible(dtype, value) | ~np.isfinite(value)
    along_classes = (..., *(None,) * (len(shape) - rows.ndim))
    sizes = [
        max(largest(by.numpy()[rows]), terms(x, subject.dims, kind) * max(1, largest(value[rows])))
        or 1.0
        for by, x, kind in zip(gradient, wide, subject.kinds, strict=True)
    ]
    found: dict[str, float] = {"rows": int(rows.sum())}
    for name in ("ours", "torch"):
        actual, by = value_and_gradient(getattr(subject, name), inputs, others, kept)
        found[name] = error(actual, value, scale, rows)
        if dtype != torch.float64:
            found[f"{name}, gradient"] = max(
                error(x, exact.numpy(), size, rows[along_classes])
                for x, exact, size in zip(by, gradient, sizes, strict=True)
            )
    return found


def terms(x: Tensor, dims: int | tuple[int, int], kind: str) -> float:
    """The largest probability: what may cancel in a gradient by a logarithm, beside the value."""
    if kind == "probs":
        return 0.0
    if kind == "logits":
        x = x - x.logsumexp(dims, keepdim=True)
    return float(x.max().exp())


def value_and_gradient(
    function: Callable[..., Tensor], inputs: Sequence[Tensor], others: Sequence[Tensor], kept: int
) -> tuple[Tensor, list[Tensor]]:
    """Of what belongs to the first `kept` classes."""
    inputs = [x.detach().requires_grad_() for x in inputs]
    value = function(*inputs, *others)
    if value.ndim == inputs[0].ndim:  # a value for each class
        value = value[..., :kept]
    gradient = torch.autograd.grad(value.sum(), inputs)
    return value.detach(), [x[..., :kept] for x in gradient]


def trials(
    classes: Sequence[int] = CLASSES,
    cells: Sequence[tuple[int, int]] = CELLS,
    dtypes: Sequence[torch.dtype] = DTYPES,
) -> Iterator[dict]:
    """A record for every subject, scenario, size and dtype."""
    todo = [
        (subject, scenario, dtype, size)
        for subject, scenario, dtype in product(subjects(), SCENARIOS, dtypes)
        if subject.applies(scenario)
        for size in (cells if subject.tables else classes)
    ]
    for subject, scenario, dtype, size in tqdm(todo, unit="trial", disable=None):
        shape = size if isinstance(size, tuple) else (size,)
        rows = max(2, min(64, ELEMENTS // math.prod(shape)))
        yield {
            "op": subject.name,
            "kinds": subject.kinds,
            "scenario": scenario.name,
            "dtype": str(dtype).removeprefix("torch."),
            "size": shape,
        } | trial(subject, scenario, (rows, *shape), dtype)


# Nearly equal distributions.

DISTANCES = (1e-1, 1e-2, 1e-3, 1e-4, 3e-5)  # of the logits
NEAR = (
    "kl_divergence",
    "js_divergence",
    "jeffreys_divergence",
    "squared_hellinger_distance",
    "chi_squared_divergence",
)


def near_trials(classes: int = 1000, side: int = 24) -> Iterator[dict]:
    """Relative errors in float32 of divergences that are nearly 0, against 50 digits."""
    p, table = random(classes), random(side, 1) + random(1, side, seed=1)
    cells = random(side, side, seed=3)
    for distance in DISTANCES:
        pair = [p.float(), (p + distance * random(classes, seed=2)).float()]
        joint = state(table + distance * cells, (-2, -1), "probs").float()
        for name, parameters, inputs, kind in (
            *((name, {}, pair, "logits") for name in NEAR),
            ("alpha_divergence", {"alpha": 2.5}, pair, "logits"),
            ("renyi_divergence", {"alpha": 2}, pair, "logits"),
            ("mutual_information", {}, [joint], "probs"),
        ):
            arrays = [x.double().numpy() for x in inputs]
            value = getattr(reference, f"exact_{name}")(*arrays, kind, **parameters)
            yield {"op": name, "distance": distance, "value": value} | {
                who: abs(float(getattr(by, name)(*inputs, kind=kind, **parameters)) - value) / value
                for who, by in (("ours", torch_infotheory), ("torch", peers))
            }


# The page.

ENOUGH = 10.0  # epsilons: where both stay below, neither is worse
CLEARLY = 1.5  # and nobody is worse by less than this factor


def is_worse(record: dict, what: str) -> bool:
    ours, theirs = record[f"ours{what}"], record[f"torch{what}"]
    return not (math.isnan(theirs) or ours <= max(ENOUGH, CLEARLY * theirs))


def number(value: float) -> str:
    if math.isnan(value):
        return "NaN"
    return f"{value:.1f}" if value < 100 else f"{value:.0e}".replace("e+0", "e")


def cell(records: Sequence[dict], what: str) -> str:
    """The largest errors, ours and PyTorch's, over all sizes."""
    if not records or f"ours{what}" not in records[0]:
        return ""
    ours, theirs = (
        max((record[f"{name}{what}"] for record in records), key=lambda x: (math.isnan(x), x))
        for name in ("ours", "torch")
    )
    text = f"{number(ours)} / {number(theirs)}"
    return f"**{text}**" if any(is_worse(record, what) for record in records) else text


def errors_table(records: Sequence[dict]) -> str:
    whats = [""] if records[0]["dtype"] == "float64" else ["", ", gradient"]
    names = list(dict.fromkeys(record["scenario"] for record in records))
    rows: dict[tuple, dict[str, list[dict]]] = {}
    for record in records:
        key = record["op"], ", ".join(record["kinds"])
        rows.setdefault(key, {}).setdefault(record["scenario"], []).append(record)
    return table(
        ["op", "kind", *(f"{name}{what}" for name in names for what in whats)],
        [
            [*key, *(cell(by.get(name, []), what) for name in names for what in whats)]
            for key, by in rows.items()
        ],
    )


def near_table(records: Sequence[dict]) -> str:
    return table(
        ["op", "value", "ours", "PyTorch"],
        [
            [r["op"], f"{r['value']:.2e}", f"{r['ours']:.1e}", f"{r['torch']:.1e}"]
            for r in sorted(records, key=lambda r: (r["op"], -r["value"]))
        ],
        words=1,
    )


def worse(records: Sequence[dict]) -> str:
    lines = [
        f"- {r['op']}, {', '.join(r['kinds'])}, {r['scenario']}, {r['dtype']}, "
        f"{' x '.join(map(str, r['size']))}{what}: {number(r['ours' + what])} against "
        f"{number(r['torch' + what])}"
        for r in records
        for what in ("", ", gradient")
        if f"ours{what}" in r and is_worse(r, what)
    ]
    return "\n".join(lines or ["Nowhere."]) + "\n"


def draw(records: Sequence[dict], path: Path) -> None:
    """The errors in float32 by the number of classes, a quantity in each panel."""
    shown = [
        r
        for r in records
        if (r["dtype"], r["scenario"], r["kinds"][0]) == ("float32", "scale 1", "logits")
        and len(r["size"]) == 1
        and r["size"] != (1,)
    ]
    names = [n for n in FIGURE if any(r["op"] == n for r in shown)]
    figure, axes = pyplot.subplots(1, len(names), figsize=(3.4 * len(names), 3.4), sharey=True)
    for axis, name in zip(np.atleast_1d(axes), names, strict=True):
        of = [r for r in shown if r["op"] == name]
        sizes = [r["size"][0] for r in of]
        for who, color in (("ours", COLORS["ours"]), ("torch", COLORS["eager"])):
            for what, style in (("", "o-"), (", gradient", "s--")):
                errors = [r[f"{who}{what}"] for r in of]
                axis.plot(sizes, errors, style, color=color, label=who + what, markersize=4)
        axis.set_xscale("log")
        axis.set_yscale("log")
        axis.set_xlabel("classes")
        axis.set_title(name, fontsize=9)
        axis.grid(alpha=0.4)
    np.atleast_1d(axes)[0].set_ylabel("largest error / epsilon")
    np.atleast_1d(axes)[0].legend(fontsize=8)
    figure.tight_layout()
    figure.savefig(path, dpi=110)
    pyplot.close(figure)


FIGURE = ("nn.functional.cross_entropy, labels", "entropy", "kl_divergence", "js_divergence")

PAGE = """\
# Accuracy

Written by `benchmarks/accuracy.py` on {date}; not edited by hand.
Versions: {versions}; instruction set {instructions}.
All records are in [{json}]({json}).

Each cell has two errors, **ours / PyTorch's**: the largest over distributions of {sizes} classes,
or over joint tables of {cells}, in epsilons of the data type (float32 1.2e-7, bfloat16 7.8e-3,
float16 9.8e-4, float64 2.2e-16). PyTorch's are those of the idiomatic code in
`benchmarks/peers.py`.

- The error of a value is relative to it, and absolute below 1. The truth is the reference of the
  tests for the inputs as rounded, in long double for float64 and in float64 for the others.
- The error of a gradient is relative to its largest entry. By logits and log-probabilities it is
  a difference of terms of the size of p and of p times the value, and relative to them if they are
  larger. The truth is the gradient of the PyTorch code in float64.
- What comes near the largest number of the data type is left out, with the whole gradient of a row
  if it is its value, and probabilities below 1.2e-38 are set to 0.
- The logits are normal numbers of scale 1 or 30 (6 where powers of p / q would overflow), or of
  scale 1 around 1e4. In *-inf blocks* a third of them is -inf, which in the other kinds is a
  probability of 0.
- Bold: more than {enough:g} epsilons and {clearly:.0%} more than PyTorch.

![Errors by the number of classes]({figure})

## Where ours is worse

Powers of probabilities are computed from logarithms, whose rounding they inherit
([design.md](design.md#numbers)).

{worse}
## Nearly equal distributions

Relative errors in float32, against 50 digits.

{near}
{tables}"""


def as_json(record: dict) -> str:
    """Three digits are enough; JSON has no word for what is not finite."""

    def plain(value: object) -> object:
        if not isinstance(value, float):
            return value
        return float(f"{value:.3g}") if math.isfinite(value) else str(value)

    return json.dumps({name: plain(value) for name, value in record.items()})


def write(path: Path, records: Sequence[dict], near: Sequence[dict]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    figure, every = path.with_suffix(".png"), path.with_suffix(".json.gz")
    draw(records, figure)
    write_records(every, map(as_json, [*records, *near]))
    by_dtype = {dtype: [r for r in records if r["dtype"] == dtype] for dtype in DTYPE_NAMES}
    sizes = {r["size"] for r in records}
    path.write_text(
        PAGE.format(
            date=machine.now(),
            versions=", ".join(f"{name} {number}" for name, number in machine.versions().items()),
            instructions=machine.machine()["instructions"],
            json=every.name,
            figure=figure.name,
            sizes=", ".join(str(c) for (c,) in sorted(s for s in sizes if len(s) == 1)),
            cells=", ".join(f"{a} x {b}" for a, b in sorted(s for s in sizes if len(s) == 2)),
            enough=ENOUGH,
            clearly=CLEARLY - 1,
            worse=worse(records),
            near=near_table(near),
            tables="\n".join(f"## {k}\n\n{errors_table(v)}" for k, v in by_dtype.items() if v),
        )
    )


def main(given: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--page", type=Path, default=ROOT / "docs" / "accuracy.md")
    parser.add_argument("--quick", action="store_true", help="at most 1000 classes")
    arguments = parser.parse_args(given)
    few = (CLASSES[:3], CELLS[:3]) if arguments.quick else (CLASSES, CELLS)
    write(arguments.page, list(trials(*few)), list(near_trials()))
    print(f"wrote {arguments.page}")


if __name__ == "__main__":
    main()
