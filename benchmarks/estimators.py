"""Bias and deviation of the estimators over seeded draws, beside peers: docs/estimators.md.

    python benchmarks/estimators.py            print the tables
    python benchmarks/estimators.py --only times    print one of them
    python benchmarks/estimators.py --write    put them into docs/estimators.md, between its marks

Every draw has a seed of its own, and all estimators of a row see the same draws. Peers are
scikit-learn and SciPy. Times are those of the processor, on one thread, the least of several calls.
"""

import argparse
import math
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import scipy.stats
import sklearn.feature_selection
import sklearn.metrics
import torch
from report import table
from tqdm import tqdm

from torch_infotheory import estimators

PAGE = Path(__file__).resolve().parents[1] / "docs/estimators.md"
DRAWS = 200

Samples = tuple[np.ndarray, ...]
Estimator = Callable[..., float]


@dataclass(frozen=True)
class Source:
    """Where draws come from, and what an estimate of them should be."""

    name: str
    truth: float
    draw: Callable[[np.random.Generator], Samples]


def ours(function: Callable, *arguments: object, **options: object) -> Estimator:
    def estimate(*samples: np.ndarray) -> float:
        return function(*map(torch.from_numpy, samples), *arguments, **options).item()

    return estimate


# Counts


def of_counts(name: str, p: np.ndarray, draws: int) -> Source:
    return Source(
        f"{name}, {len(p)} bins, N = {draws}",
        float(scipy.stats.entropy(p)),
        lambda random: (random.multinomial(draws, p),),
    )


ZIPF = (1 / np.arange(1, 101)) / (1 / np.arange(1, 101)).sum()
COUNTS = [
    of_counts("uniform", np.full(100, 0.01), 50),
    of_counts("uniform", np.full(100, 0.01), 1000),
    of_counts("Zipf", ZIPF, 50),
    of_counts("Zipf", ZIPF, 1000),
]
OF_COUNTS: dict[str, Estimator] = {
    name: ours(estimators.entropy_from_counts, name, alphabet=100)
    for name in (
        "plugin",
        "miller_madow",
        "grassberger_1988",
        "grassberger",
        "chao_shen",
        "james_stein",
        "nsb",
    )
} | {"SciPy `entropy`": lambda counts: scipy.stats.entropy(counts)}


# Labels


def of_labels(agree: float, draws: int) -> Source:
    """Two labels of 10 classes: the second is the first with that probability, or else any."""
    p = np.full((10, 10), (1 - agree) / 100) + np.eye(10) * agree / 10
    truth = float((p * np.log(p / 0.01)).sum())

    def draw(random: np.random.Generator) -> Samples:
        x, other = random.integers(0, 10, (2, draws))
        return x, np.where(random.random(draws) < agree, x, other)

    return Source(f"10 x 10 classes, agree {agree:g}, N = {draws}", truth, draw)


LABELS = [of_labels(0.0, 200), of_labels(0.5, 200), of_labels(0.5, 2000)]
OF_LABELS: dict[str, Estimator] = {
    name: ours(
        estimators.mutual_information_from_labels,
        name,
        alphabet=(10, 10) if name in ("james_stein", "nsb") else None,
    )
    for name in ("plugin", "miller_madow", "grassberger", "chao_shen", "james_stein", "nsb")
} | {"scikit-learn `mutual_info_score`": sklearn.metrics.mutual_info_score}


# Samples of one density

LOG_2PI_E = math.log(2 * math.pi * math.e)
DENSITIES = [
    Source("normal, N = 500", LOG_2PI_E / 2, lambda random: (random.normal(size=500),)),
    Source("uniform on [0, 1], N = 500", 0.0, lambda random: (random.random(500),)),
    Source("exponential, N = 500", 1.0, lambda random: (random.exponential(size=500),)),
]


def of_scipy(method: str, x: np.ndarray) -> float:
    return float(scipy.stats.differential_entropy(x, method=method))


SPACINGS = ("vasicek", "van_es", "ebrahimi", "correa")
OF_DENSITIES: dict[str, Estimator] = {
    name: ours(estimators.differential_entropy, name) for name in ("knn", *SPACINGS, "gaussian")
} | {f"SciPy `{name}`": partial(of_scipy, name.replace("_", " ")) for name in SPACINGS}


def normal(dimensions: int) -> Source:
    return Source(
        f"normal in {dimensions} dimensions, N = 1000",
        dimensions * LOG_2PI_E / 2,
        lambda random: (random.normal(size=(1000, dimensions)),),
    )


VECTORS = [normal(dimensions) for dimensions in (2, 3, 5)]
OF_VECTORS: dict[str, Estimator] = {
    "knn": ours(estimators.differential_entropy),
    "knn, maximum norm": ours(estimators.differential_entropy, norm="max"),
    "gaussian": ours(estimators.differential_entropy, "gaussian"),
}


# Pairs


def correlated(random: np.random.Generator, rho: float, dimensions: int, draws: int) -> Samples:
    x, noise = random.normal(size=(2, draws, dimensions))
    return x, rho * x + math.sqrt(1 - rho**2) * noise


def in_each_of(dimensions: int) -> str:
    return f" in each of {dimensions} dimensions" if dimensions > 1 else ""


def of_pairs(rho: float, dimensions: int) -> Source:
    return Source(
        f"ρ = {rho:g}{in_each_of(dimensions)}, N = 500",
        dimensions / 2 * math.log(1 / (1 - rho**2)),
        lambda random: correlated(random, rho, dimensions, 500),
    )


def gaussian_information(x: np.ndarray, y: np.ndarray) -> float:
    h = ours(estimators.differential_entropy, "gaussian")
    return h(x) + h(y) - h(np.concatenate([x, y], 1))


def regression(x: np.ndarray, y: np.ndarray) -> float:
    found = sklearn.feature_selection.mutual_info_regression(x, y[:, 0], random_state=0)
    return float(found[0])


PAIRS = [of_pairs(rho, 1) for rho in (0.0, 0.5, 0.9, 0.99)]
OF_PAIRS: dict[str, Estimator] = {
    "ksg1": ours(estimators.mutual_information_knn),
    "ksg2": ours(estimators.mutual_information_knn, method="ksg2"),
    "gaussian": gaussian_information,
    "scikit-learn `mutual_info_regression`": regression,
}
WIDE_PAIRS = [of_pairs(rho, dimensions) for dimensions in (2, 3, 5) for rho in (0.0, 0.5, 0.9)]
OF_WIDE_PAIRS = {name: OF_PAIRS[name] for name in ("ksg1", "ksg2", "gaussian")}


def step(gap: float) -> Source:
    """A uniform number that starts at 0 or at the gap, as a fair label says."""
    shared = max(0.0, 1 - gap)

    def draw(random: np.random.Generator) -> Samples:
        label = random.integers(0, 2, 500)
        return random.random((500, 1)) + gap * label[:, None], label

    return Source(f"uniform, shifted by {gap:g}, N = 500", math.log(2) * (1 - shared), draw)


MIXED = [step(0.0), step(0.5), step(2.0)]
OF_MIXED: dict[str, Estimator] = {
    "ross": ours(estimators.mutual_information_knn, method="ross"),
    "scikit-learn `mutual_info_classif`": lambda x, label: float(
        sklearn.feature_selection.mutual_info_classif(x, label, random_state=0)[0]
    ),
}


def common_cause(strength: float) -> Source:
    def draw(random: np.random.Generator) -> Samples:
        z = random.normal(size=(500, 1))
        x, y = correlated(random, strength, 1, 500)
        return x + z, y + z, z

    return Source(
        f"a common cause, and ρ = {strength:g} without it, N = 500",
        math.log(1 / (1 - strength**2)) / 2,
        draw,
    )


GIVEN = [common_cause(0.0), common_cause(0.5)]


def given(x: np.ndarray, y: np.ndarray, z: np.ndarray) -> float:
    x, y, z = map(torch.from_numpy, (x, y, z))
    return estimators.mutual_information_knn(x, y, z=z).item()


OF_GIVEN: dict[str, Estimator] = {
    "`ksg1` with `z`": given,
    "`ksg1` without": lambda x, y, z: OF_PAIRS["ksg1"](x, y),
}


def shifted(dimensions: int, shift: float) -> Source:
    return Source(
        f"normal, shifted by {shift:g}{in_each_of(dimensions)}, N = M = 1000",
        dimensions * shift**2 / 2,
        lambda random: (
            random.normal(size=(1000, dimensions)),
            random.normal(size=(1000, dimensions)) + shift,
        ),
    )


DIVERGENT = [shifted(1, 0.0), shifted(1, 1.0), shifted(3, 1.0)]
OF_DIVERGENT: dict[str, Estimator] = {
    f"k = {k}": ours(estimators.kl_divergence_knn, k) for k in (1, 3, 10)
}

TABLES = {
    "counts": (COUNTS, OF_COUNTS),
    "labels": (LABELS, OF_LABELS),
    "densities": (DENSITIES, OF_DENSITIES),
    "vectors": (VECTORS, OF_VECTORS),
    "pairs": (PAIRS, OF_PAIRS),
    "wide pairs": (WIDE_PAIRS, OF_WIDE_PAIRS),
    "mixed pairs": (MIXED, OF_MIXED),
    "given": (GIVEN, OF_GIVEN),
    "divergence": (DIVERGENT, OF_DIVERGENT),
}


# What an argument says.
NAMES = {*OF_COUNTS, *OF_DENSITIES, *OF_PAIRS, *OF_MIXED}
NAMES = {name for name in NAMES if "`" not in name}


def bias_and_deviation(sources: list[Source], by: dict[str, Estimator], bar: tqdm) -> str:
    """One row for each estimator and one column for each source, or the other way round."""
    names = [f"`{name}`" if name in NAMES else name for name in by]
    cells: list[list[str]] = []
    for source in sources:
        values = np.empty((len(by), DRAWS))
        for seed in range(DRAWS):
            samples = source.draw(np.random.default_rng(seed))
            values[:, seed] = [estimate(*samples) for estimate in by.values()]
            bar.update()
        bias, deviation = values.mean(1) - source.truth, values.std(1, ddof=1)
        found = zip(bias, deviation, strict=True)
        cells.append([f"{b:+.4f} ± {d:.4f}" for b, d in found])
    heads = [f"{source.name}: {source.truth:.4f}" for source in sources]
    if len(sources) > len(by):
        rows = [[head, *row] for head, row in zip(heads, cells, strict=True)]
        return table(["", *names], rows, words=1)
    columns = zip(names, *cells, strict=True)
    return table(["", *heads], [list(row) for row in columns], words=1)


def least(call: Callable[[], object], calls: int) -> float:
    """Milliseconds of the processor."""
    call()
    times = []
    for _ in range(calls):
        start = time.process_time()
        call()
        times.append(time.process_time() - start)
    return 1e3 * min(times)


def times() -> str:
    random = np.random.default_rng(0)
    rows = []

    def row(what: str, mine: Callable[..., object], peer: Callable[..., object], *data) -> None:
        tensors = [torch.from_numpy(x) for x in data]
        a, b = least(lambda: mine(*tensors), 5), least(lambda: peer(*data), 2)
        rows.append([what, f"{a:.1f} ms", f"{b:.0f} ms", f"{b / a:.3g}"])

    for classes in (10, 100):
        x, y = random.integers(0, classes, (2, 10**6))
        size = f"10^6 labels, {classes} x {classes} classes"
        row(
            f"mutual information, {size}",
            estimators.mutual_information_from_labels,
            sklearn.metrics.mutual_info_score,
            x,
            y,
        )
        row(
            f"adjusted mutual information, {size}",
            estimators.adjusted_mutual_information_score,
            sklearn.metrics.adjusted_mutual_info_score,
            x,
            y,
        )
    x, y = (v[:, 0] for v in correlated(random, 0.5, 1, 50_000))
    row(
        "`ksg1`, 50 000 pairs of numbers",
        estimators.mutual_information_knn,
        lambda x, y: sklearn.feature_selection.mutual_info_regression(x[:, None], y),
        x,
        y,
    )
    return table(["", "here", "scikit-learn", "times as fast"], rows, words=1)


def written(page: str, name: str, text: str) -> str:
    mark = re.escape(f"<!-- {name} -->")
    pattern = re.compile(f"({mark}\n).*?(\n<!-- end -->)", re.DOTALL)
    assert pattern.search(page), f"{PAGE.name} has no place for {name!r}"
    return pattern.sub(lambda found: found[1] + text + found[2], page)


def tables(only: list[str]) -> Iterator[tuple[str, str]]:
    wanted = {name: found for name, found in TABLES.items() if name in only}
    total = DRAWS * sum(len(sources) for sources, _ in wanted.values())
    with tqdm(total=total, unit="draw") as bar:
        for name, (sources, by) in wanted.items():
            bar.set_description(name)
            yield name, bias_and_deviation(sources, by, bar)
    if "times" in only:
        yield "times", times()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--write", action="store_true", help=f"change {PAGE.name}")
    names = [*TABLES, "times"]
    parser.add_argument("--only", nargs="+", choices=names, default=names, metavar="TABLE")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    for name, text in tables(arguments.only):
        if arguments.write:
            PAGE.write_text(written(PAGE.read_text(), name, text))
        else:
            print(f"\n{name}\n\n{text}")


if __name__ == "__main__":
    main()
