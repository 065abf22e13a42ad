"""Ask which features of a data set tell most about its label, in bits, by three estimators.

1. The 13 chemical measurements of 178 wines that scikit-learn ships, against the grower: by nearest
   neighbors, by bins and as if everything were normally distributed, beside scikit-learn, and with
   the labels shuffled, which shows what an estimator makes of nothing.
2. Pairs of features against the grower: the best pair is not made of the two best features.
3. All pairs of features against each other: which of them say the same.

    python examples/features.py --output build/features.png
"""

import argparse
from collections.abc import Callable, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

import torch
from matplotlib import rc_context
from matplotlib.figure import Figure
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from sklearn.datasets import load_wine
from sklearn.feature_selection import mutual_info_classif
from torch import Tensor
from tqdm import tqdm

from torch_infotheory import entropy, gaussian, joint_table, mutual_information
from torch_infotheory.estimators import mutual_information_knn

NEIGHBORS = 3
BINS = 5  # of equal numbers of wines
SHUFFLES = 10
SEED = 0
Estimator = Callable[[Tensor, Tensor], Tensor]


def read_wine() -> tuple[list[str], Tensor, Tensor]:
    """The names of the features, the features (N, 13) on one scale, and the growers (N)."""
    data = load_wine()
    features = torch.tensor(data.data)
    features = (features - features.mean(0)) / features.std(0)
    # The measurements are rounded, and neighbors at the same distance are no neighbors in order.
    noise = torch.randn(features.shape, generator=torch.Generator().manual_seed(SEED))
    names = [
        name.removesuffix("_of_diluted_wines").replace("_", " ") for name in data.feature_names
    ]
    return names, features + 1e-10 * noise, torch.tensor(data.target)


def bins_of(x: Tensor) -> Tensor:
    edges = torch.quantile(x, torch.linspace(0, 1, BINS + 1, dtype=x.dtype)[1:-1])
    return torch.bucketize(x.contiguous(), edges)


def of_table(x: Tensor, y: Tensor) -> Tensor:
    return mutual_information(joint_table(x, y), kind="counts", base=2)


def of_normal(*columns: Tensor) -> Tensor:
    """The information of the first variable and the others, if they were normally distributed."""
    covariance = torch.cov(torch.column_stack(columns).T)
    return gaussian.mutual_information(covariance, 0, range(1, len(covariance)), base=2)


# Of a feature and the labels. Two indicators say which of the three growers it was.
WITH_LABEL: dict[str, Estimator] = {
    "neighbors": lambda x, y: mutual_information_knn(x, y, NEIGHBORS, method="ross", base=2),
    "bins": lambda x, y: of_table(bins_of(x), y),
    "Gaussian": lambda x, y: of_normal(x, *((y == label).double() for label in (0, 1))),
}
# Of two features.
WITH_FEATURE: dict[str, Estimator] = {
    "neighbors": lambda x, y: mutual_information_knn(x, y, NEIGHBORS, base=2),
    "bins": lambda x, y: of_table(bins_of(x), bins_of(y)),
    "Gaussian": of_normal,
}


def by_feature(features: Tensor, labels: Tensor, estimator: Estimator) -> list[float]:
    return [estimator(x, labels).item() for x in features.T]


def by_chance(features: Tensor, labels: Tensor, bar: Any) -> dict[str, float]:
    """The mean of each estimator over all features and many shuffles of the labels."""
    generator = torch.Generator().manual_seed(SEED)
    sums = dict.fromkeys(WITH_LABEL, 0.0)
    for _ in range(SHUFFLES):
        shuffled = labels[torch.randperm(len(labels), generator=generator)]
        for name, estimator in WITH_LABEL.items():
            sums[name] += sum(by_feature(features, shuffled, estimator))
        bar.update()
    return {name: total / (SHUFFLES * features.shape[1]) for name, total in sums.items()}


def by_pair(features: Tensor, labels: Tensor, bar: Any) -> dict[tuple[int, int], float]:
    bits = {}
    for pair in combinations(range(features.shape[1]), 2):
        bits[pair] = WITH_LABEL["neighbors"](features[:, pair], labels).item()
        bar.update()
    return bits


def matrices(features: Tensor, bar: Any) -> dict[str, Tensor]:
    size = features.shape[1]
    result = {name: torch.full((size, size), torch.nan) for name in WITH_FEATURE}
    for i, j in combinations(range(size), 2):
        for name, estimator in WITH_FEATURE.items():
            result[name][i, j] = result[name][j, i] = estimator(features[:, i], features[:, j])
        bar.update()
    return result


def by_scikit_learn(features: Tensor, labels: Tensor) -> list[float]:
    nats = mutual_info_classif(
        features.numpy(), labels.numpy(), n_neighbors=NEIGHBORS, random_state=SEED
    )
    return (nats / torch.log(torch.tensor(2.0)).item()).tolist()


def draw(
    path: Path,
    names: list[str],
    single: dict[str, list[float]],
    chance: dict[str, float],
    ceiling: float,
    pairs: dict[str, Tensor],
) -> None:
    order = sorted(range(len(names)), key=lambda i: single["neighbors"][i])
    colors = {"neighbors": "#1f6f8b", "bins": "#e08e45", "Gaussian": "#8d5a97"}
    style = {"font.size": 10, "axes.spines.top": False, "axes.spines.right": False}
    with rc_context(style):
        figure = Figure(figsize=(15, 5.6), dpi=110, layout="constrained")
        left, *others = figure.subplots(1, 4, width_ratios=(1.6, 1, 1, 1))
        for row, name in enumerate(WITH_LABEL):
            places = [place + 0.27 * (1 - row) for place in range(len(order))]
            bits = [single[name][i] for i in order]
            left.barh(places, bits, height=0.25, color=colors[name], label=name)
            left.axvline(chance[name], color=colors[name], ls=":")
        reference = [single["scikit-learn"][i] for i in order]
        places = [place + 0.27 for place in range(len(order))]
        left.plot(reference, places, "k|", ms=9, label="scikit-learn's neighbors")
        left.plot([], [], ":", color="gray", label="of shuffled labels")
        left.axvline(ceiling, color="black", lw=1, label="$H$(grower)")
        left.set_yticks(range(len(order)), [names[i] for i in order])
        left.set_xlabel("information about the grower (bits)")
        left.legend(loc="lower right", fontsize=8)
        for axes, (name, matrix) in zip(others, pairs.items(), strict=True):
            backwards = order[::-1]
            image = axes.imshow(matrix[backwards][:, backwards].numpy(), "viridis", vmin=0, vmax=1)
            axes.set_title(f"between features: {name}")
            axes.set_xticks(range(len(order)), [names[i] for i in backwards], rotation=90)
            axes.set_yticks([])
        figure.colorbar(image, ax=others, label="bits", shrink=0.7)
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, default=Path("build/features.png"))
    options = parser.parse_args(arguments)

    names, features, labels = read_wine()
    ceiling = entropy(labels.bincount() / len(labels), base=2).item()
    single = {name: by_feature(features, labels, f) for name, f in WITH_LABEL.items()}
    single["scikit-learn"] = by_scikit_learn(features, labels)
    count = len(names) * (len(names) - 1) // 2
    with tqdm(total=SHUFFLES + 2 * count, desc="estimates", leave=False) as bar:
        chance = by_chance(features, labels, bar)
        together = by_pair(features, labels, bar)
        between = matrices(features, bar)

    console = Console()
    console.print(f"{len(labels)} wines; H(grower) = {ceiling:.4f} bits")
    table = Table(box=SIMPLE_HEAD, title="bits about the grower")
    table.add_column("feature")
    for name in single:
        table.add_column(name, justify="right")
    for i in sorted(range(len(names)), key=lambda i: -single["neighbors"][i]):
        table.add_row(names[i], *(f"{bits[i]:.3f}" for bits in single.values()))
    shuffled = [f"{chance[name]:.3f}" if name in chance else "" for name in single]
    table.add_row("shuffled labels", *shuffled, style="dim")
    console.print(table)

    best = sorted(together, key=lambda pair: -together[pair])[:3]
    for i, j in best:
        bits = together[i, j]
        console.print(f"{bits:.3f} bits together: {names[i]}, {names[j]}", highlight=False)
    i, j = divmod(int(between["neighbors"].nan_to_num(-1).argmax()), len(names))
    console.print(
        f"most alike: {names[i]}, {names[j]}: "
        + ", ".join(f"{matrix[i, j]:.3f} bits by {name}" for name, matrix in between.items()),
        highlight=False,
        soft_wrap=True,
    )
    draw(options.output, names, single, chance, ceiling, between)
    console.print(f"Done: drew {options.output}", highlight=False, soft_wrap=True)


if __name__ == "__main__":
    main()
