"""What goes from data to a measure, as cases: beside scikit-learn, SciPy, torchmetrics and ennemi.

Labels are those of two variables that agree more often than by chance. Knows no clock.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from typing import Any

import scipy.stats
import torch
from cases import Size, Work
from torch import Tensor

import torch_infotheory
from torch_infotheory import estimators, metrics

MODULES = {
    "scikit-learn": "sklearn",
    "scipy": "scipy",
    "torchmetrics": "torchmetrics",
    "ennemi": "ennemi",
}


def labels(size: Size, generator: torch.Generator) -> list[Tensor]:
    """Of the size N x A x B: N pairs of A and B classes."""
    n, num_x, num_y = size.shape
    x, noise = (torch.randint(c, (n,), generator=generator) for c in (num_x, num_y))
    return [x, torch.where(torch.rand(n, generator=generator) < 0.3, x % num_y, noise)]


def normal_pair(size: Size, generator: torch.Generator) -> list[Tensor]:
    """Of correlation 0.6 and deviation 1, which scikit-learn would make it otherwise."""
    x, noise = torch.randn(2, *size.shape, generator=generator, dtype=torch.float64)
    return [(v - v.mean()) / v.std(correction=0) for v in (x, 0.6 * x + 0.8 * noise)]


def normal(size: Size, generator: torch.Generator) -> list[Tensor]:
    return [torch.randn(size.shape, generator=generator, dtype=torch.float64)]


def counts(size: Size, generator: torch.Generator) -> list[Tensor]:
    return [torch.randint(50, size.shape, generator=generator)]


def probabilities(size: Size, generator: torch.Generator) -> list[Tensor]:
    return list(torch.randn(2, *size.shape, generator=generator).softmax(-1))


def of_table(x: Tensor, y: Tensor, num_x: int, num_y: int) -> Tensor:
    table = torch_infotheory.joint_table(x, y, num_x, num_y)
    return torch_infotheory.mutual_information(table, kind="counts", dtype=torch.float64)


def scikit_learn(name: str) -> Callable[..., float]:
    def score(x: Tensor, y: Tensor) -> float:
        import sklearn.metrics

        return getattr(sklearn.metrics, name)(x.numpy(), y.numpy())

    return score


def scikit_learn_ksg(x: Tensor, y: Tensor) -> float:
    from sklearn.feature_selection import mutual_info_regression

    return mutual_info_regression(x.numpy()[:, None], y.numpy(), n_neighbors=3, random_state=0)[0]


def ennemi_ksg(x: Tensor, y: Tensor) -> float:
    import ennemi

    return ennemi.estimate_mi(y.numpy(), x.numpy(), k=3, preprocess=False).item()


def scipy_entropy(x: Tensor, method: str) -> float:
    return scipy.stats.differential_entropy(x.numpy(), method=method.replace("_", " "))


def metric(module: str) -> Callable[..., Tensor]:
    """The mean divergence of one batch by the metric of that module."""
    made: list[Any] = []

    def update_and_compute(p: Tensor, q: Tensor) -> Tensor:
        if not made:
            import torchmetrics

            made.append((torchmetrics if module == "torchmetrics" else metrics).KLDivergence())
        made[0].reset()
        made[0].update(p, q)
        return made[0].compute()

    return update_and_compute


@dataclass(frozen=True)
class Data:
    name: str
    size: Size
    dtype: str
    inputs: Callable[[Size, torch.Generator], list[Tensor]]
    ours: Callable[..., Tensor]
    peer: str
    theirs: Callable[..., Any]
    classes: bool = False  # whether ours is told how many there are

    def work(self, size: Size, dtype: torch.dtype, device: str) -> Work:
        inputs = [x.to(device) for x in self.inputs(size, torch.Generator().manual_seed(0))]
        assert all(x.dtype == dtype for x in inputs)
        calls: dict[str, Callable[..., Any]] = {"ours": self.ours}
        if self.classes:
            calls["ours"] = partial(self.ours, num_x=size.shape[1], num_y=size.shape[2])
        if find_spec(MODULES[self.peer]) is not None and device == "cpu":
            calls[self.peer] = self.theirs
        return Work(inputs, [], calls)


PAIRS, SAMPLES, BINS, ROWS = (
    Size(shape) for shape in ((1_000_000, 100, 100), (50_000,), (1000, 1000), (8192, 1000))
)
SPACINGS = ("vasicek", "van_es", "ebrahimi", "correa")
DATA = (
    Data(
        "mutual_information of joint_table",
        *(PAIRS, "int64", labels, of_table, "scikit-learn", scikit_learn("mutual_info_score")),
        classes=True,
    ),
    *(
        Data(name, PAIRS, "int64", labels, function, "scikit-learn", scikit_learn(theirs))
        for name, function, theirs in (
            (
                "mutual_information_from_labels",
                estimators.mutual_information_from_labels,
                "mutual_info_score",
            ),
            (
                "adjusted_mutual_information_score",
                estimators.adjusted_mutual_information_score,
                "adjusted_mutual_info_score",
            ),
        )
    ),
    *(
        Data(
            f"mutual_information_knn, ksg1 ({peer})",
            *(SAMPLES, "float64", normal_pair, estimators.mutual_information_knn),
            *(peer, theirs),
        )
        for peer, theirs in (("scikit-learn", scikit_learn_ksg), ("ennemi", ennemi_ksg))
    ),
    *(
        Data(
            f"differential_entropy, {method}",
            *(SAMPLES, "float64", normal, partial(estimators.differential_entropy, method=method)),
            *("scipy", partial(scipy_entropy, method=method)),
        )
        for method in SPACINGS
    ),
    Data(
        "entropy_from_counts",
        *(BINS, "int64", counts, estimators.entropy_from_counts),
        *("scipy", lambda x: scipy.stats.entropy(x.numpy(), axis=-1)),
    ),
    Data(
        "metrics.KLDivergence",
        *(ROWS, "float32", probabilities, metric("torch_infotheory")),
        *("torchmetrics", metric("torchmetrics")),
    ),
)
