"""Estimates from samples: beside SciPy and scikit-learn, beside counting, and beside the truth."""

import math
import subprocess
import sys

import numpy as np
import pytest
import scipy.stats
import torch
from scipy.special import digamma
from sklearn.feature_selection._mutual_info import _compute_mi_cc, _compute_mi_cd
from torch import Tensor
from torch.autograd import gradcheck, gradgradcheck

from torch_infotheory.estimators import (
    differential_entropy,
    kl_divergence_knn,
    mutual_information_knn,
    neighbors,
)

SPACINGS = {name: name.replace("_", " ") for name in ("vasicek", "van_es", "ebrahimi", "correa")}


@pytest.fixture(params=(True, False), ids=("trees", "blocks"))
def trees(request, monkeypatch):
    """By KDTree, and by blocks of distances as on other devices; blocks of 7 rows."""
    monkeypatch.setattr(neighbors, "_TREES", request.param)
    monkeypatch.setattr(neighbors, "_BLOCK", 7 * 60)
    return request.param


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def correlated(samples: int, rho: float, seed: int = 0, dimensions: int = 1) -> tuple[Tensor, ...]:
    """x and y whose coordinates correlate one by one: I = -dimensions / 2 log(1 - rho^2)."""
    x, noise = normal(2, samples, dimensions, seed=seed)
    return x, rho * x + math.sqrt(1 - rho**2) * noise


# Definitions, by looking at all distances


def nearest_distance(distance: np.ndarray, k: int) -> np.ndarray:
    """To the k-th other point; (N, N) distances."""
    others = distance + np.diag(np.full(len(distance), np.inf))
    return np.sort(others, 1)[:, k - 1]


def gaps(x: Tensor, y: Tensor | None = None, norm: float = math.inf) -> np.ndarray:
    x, y = x.numpy(), (x if y is None else y).numpy()
    return np.linalg.norm(x[:, None] - y[None], norm, axis=2)


def within(distance: np.ndarray, radius: np.ndarray, strictly: bool) -> np.ndarray:
    inside = distance < radius[:, None] if strictly else distance <= radius[:, None]
    np.fill_diagonal(inside, False)
    return inside.sum(1)


@pytest.mark.parametrize("norm", ("euclidean", "max"))
@pytest.mark.parametrize("k", (1, 3))
def test_kozachenko_leonenko(k, norm, trees):
    for dimensions, ball in ((1, (2, 2)), (2, (math.pi, 4)), (3, (4 / 3 * math.pi, 8))):
        x = normal(60, dimensions)
        euclidean = norm == "euclidean"
        radius = nearest_distance(gaps(x, norm=2 if euclidean else math.inf), k)
        expected = digamma(60) - digamma(k) + math.log(ball[0 if euclidean else 1])
        expected += dimensions * np.log(radius).mean()
        value = differential_entropy(x, k=k, norm=norm)
        assert abs(value - expected) < 1e-12
    assert torch.equal(differential_entropy(x[:, 0], k=k), differential_entropy(x[:, :1], k=k))


@pytest.mark.parametrize("method", SPACINGS)
def test_spacings_as_scipy(method):
    for samples, m in ((60, None), (60, 1), (61, 30), (3, 1), (500, 20)):
        x = normal(samples).exp()
        ours = differential_entropy(x, method, window_length=m, base=2)
        theirs = scipy.stats.differential_entropy(
            x.numpy(), window_length=m, method=SPACINGS[method], base=2
        )
        assert abs(ours - theirs) < 1e-11


def test_gaussian():
    x = normal(60, 3) @ normal(3, 3, seed=1)
    entropy = scipy.stats.multivariate_normal(cov=np.cov(x.numpy().T)).entropy()
    assert abs(differential_entropy(x, "gaussian") - entropy) < 1e-12
    entropy = scipy.stats.norm(scale=x[:, 0].std().item()).entropy()
    assert abs(differential_entropy(x[:, 0], "gaussian") - entropy) < 1e-12


@pytest.mark.parametrize("k", (1, 3))
@pytest.mark.parametrize("dimensions", (1, 2))
def test_kraskov(k, dimensions, trees):
    x, y = correlated(60, 0.7, dimensions=dimensions)
    gap_x, gap_y = gaps(x), gaps(y)
    pair = np.maximum(gap_x, gap_y)
    radius = nearest_distance(pair, k)
    n_x, n_y = (within(gap, radius, strictly=True) for gap in (gap_x, gap_y))
    expected = digamma(k) + digamma(60) - (digamma(n_x + 1) + digamma(n_y + 1)).mean()
    assert abs(mutual_information_knn(x, y, k) - expected) < 1e-12

    near = np.argsort(pair + np.diag(np.full(60, np.inf)), 1)[:, :k]
    rows = np.arange(60)[:, None]
    n_x, n_y = (within(gap, gap[rows, near].max(1), strictly=False) for gap in (gap_x, gap_y))
    expected = digamma(k) - 1 / k + digamma(60) - (digamma(n_x) + digamma(n_y)).mean()
    assert abs(mutual_information_knn(x, y, k, method="ksg2") - expected) < 1e-12


@pytest.mark.parametrize("dimensions", (1, 2))
def test_frenzel_pompe(dimensions, trees):
    x, y = correlated(60, 0.7)
    z = normal(60, dimensions, seed=2) + x
    gap_x, gap_y, gap_z = gaps(x), gaps(y), gaps(z)
    radius = nearest_distance(np.maximum(np.maximum(gap_x, gap_y), gap_z), 3)
    n_xz, n_yz, n_z = (
        within(gap, radius, strictly=True)
        for gap in (np.maximum(gap_x, gap_z), np.maximum(gap_y, gap_z), gap_z)
    )
    # With h_n = -(1 + 1/2 + ... + 1/n), as the paper writes it.
    h = np.concatenate([[0], -np.cumsum(1 / np.arange(1, 61))])
    expected = (h[n_xz] + h[n_yz] - h[n_z]).mean() - h[2]
    assert abs(mutual_information_knn(x, y, z=z) - expected) < 1e-12


def test_ross(trees):
    labels = torch.arange(60) % 4
    labels[7] = 9  # the only one: left out
    x = normal(60, 2) + labels.unsqueeze(1) / 2
    kept = np.delete(np.arange(60), 7)
    gap, own = gaps(x)[np.ix_(kept, kept)], labels.numpy()[kept]
    same = np.where(own[:, None] == own, gap, np.inf)
    m = within(gap, nearest_distance(same, 3), strictly=False)
    size = (own[:, None] == own).sum(1)
    expected = digamma(3) + digamma(59) - (digamma(size) + digamma(m)).mean()
    for value in (
        mutual_information_knn(x, labels, method="ross"),
        mutual_information_knn(labels.to(torch.int8), x, method="ross"),
    ):
        assert abs(value - expected) < 1e-12


@pytest.mark.parametrize("k", (1, 3))
def test_wang_kulkarni_verdu(k, trees):
    x, y = normal(60, 2), normal(45, 2, seed=1) * 2 + 1
    rho = nearest_distance(gaps(x, norm=2), k)
    nu = np.sort(gaps(x, y, norm=2), 1)[:, k - 1]
    expected = 2 * np.log(nu / rho).mean() + math.log(45 / 59)
    assert abs(kl_divergence_knn(x, y, k) - expected) < 1e-12


def test_as_scikit_learn():
    for k, rho in ((1, 0.0), (3, 0.6), (5, 0.95)):
        x, y = correlated(400, rho, seed=k)
        ours = mutual_information_knn(x, y, k, clip=True)
        assert abs(ours - _compute_mi_cc(x.squeeze(1).numpy(), y.squeeze(1).numpy(), k)) < 1e-12
        labels = torch.arange(400) % 5
        labels[0] = 11
        c = x.squeeze(1) + labels
        ours = mutual_information_knn(c, labels, k, method="ross", clip=True)
        assert abs(ours - _compute_mi_cd(c.numpy(), labels.numpy(), k)) < 1e-12


# The truth


def check_mean(estimate, truth: float, bias: float, draws: int = 20) -> None:
    """The mean over draws is within 4 standard errors and the allowed bias of the truth."""
    values = np.array([estimate(seed).item() for seed in range(draws)])
    error = values.std(ddof=1) / math.sqrt(draws)
    assert abs(values.mean() - truth) < 4 * error + bias, (values.mean(), truth, error)


@pytest.mark.parametrize("rho", (0.0, 0.5, 0.9, 0.99))
@pytest.mark.parametrize("dimensions", (1, 2))
def test_information_of_gaussians(rho, dimensions):
    truth = -dimensions / 2 * math.log(1 - rho**2)
    for method in ("ksg1", "ksg2"):
        check_mean(
            lambda seed, method=method: mutual_information_knn(
                *correlated(500, rho, seed, dimensions), method=method
            ),
            truth,
            bias=0.02 + (0.15 * truth if dimensions > 1 else 0),
        )


def test_information_given_a_common_cause():
    """X and Y are independent given Z, and of correlation 1/2 without."""

    def estimate(seed: int, given: bool) -> Tensor:
        x, y, z = normal(3, 800, seed=seed)
        return mutual_information_knn(x + z, y + z, z=z if given else None)

    check_mean(lambda seed: estimate(seed, True), 0, bias=0.03)
    check_mean(lambda seed: estimate(seed, False), -math.log(1 - 0.25) / 2, bias=0.02)


def test_information_of_a_label_and_a_number():
    """Uniform on [0, 1] or on [1/2, 3/2], as the label says: half of the time it shows."""

    def estimate(seed: int) -> Tensor:
        random = np.random.default_rng(seed)
        label = random.integers(0, 2, 800)
        x = random.random(800) + label / 2
        return mutual_information_knn(torch.tensor(x), torch.tensor(label), method="ross")

    check_mean(estimate, math.log(2) / 2, bias=0.01)


DENSITIES = {
    "normal": (lambda random: random.normal(size=1000), math.log(2 * math.pi * math.e) / 2),
    "uniform": (lambda random: random.random(1000) * 3, math.log(3)),
    "exponential": (lambda random: random.exponential(2, 1000), 1 + math.log(2)),
}


@pytest.mark.parametrize("method", ("knn", *SPACINGS))
@pytest.mark.parametrize("density", DENSITIES)
def test_entropy_of_known_densities(density, method):
    draw, truth = DENSITIES[density]
    check_mean(
        lambda seed: differential_entropy(torch.tensor(draw(np.random.default_rng(seed))), method),
        truth,
        bias=0.01 if method == "knn" else 0.08,
    )


@pytest.mark.parametrize("dimensions", (1, 3, 5))
def test_entropy_of_gaussians(dimensions):
    truth = dimensions / 2 * math.log(2 * math.pi * math.e)
    for options, bias in (
        ({}, 0.02 * dimensions),
        ({"norm": "max"}, 0.04 * dimensions),
        ({"method": "gaussian"}, 0.01 * dimensions),
    ):
        check_mean(
            lambda seed, options=options: differential_entropy(
                normal(1000, dimensions, seed=seed), **options
            ),
            truth,
            bias,
        )


def test_divergence_of_gaussians():
    """D(N(0, 1) || N(1, 4)) in two equal coordinates."""
    truth = 2 * (math.log(2) + (1 + 1) / 8 - 0.5)
    check_mean(
        lambda seed: kl_divergence_knn(
            normal(1000, 2, seed=seed), 1 + 2 * normal(1500, 2, seed=seed + 100)
        ),
        truth,
        bias=0.03,
    )
    check_mean(
        lambda seed: kl_divergence_knn(
            normal(1000, 2, seed=seed), normal(1000, 2, seed=seed + 100)
        ),
        0,
        bias=0.01,
    )


def test_divergence_of_disjoint_supports_grows():
    """The truth is infinite; the estimate is 2 log of distance over spacing, which shrinks."""
    random = torch.Generator().manual_seed(0)
    values = []
    for samples in (50, 500, 5000):
        x = torch.rand(samples, 1, generator=random)
        values.append(kl_divergence_knn(x, x + 10).item())
    assert 3 < values[0] < values[1] < values[2] < math.inf


# Counting


@pytest.mark.parametrize("strictly", (True, False))
@pytest.mark.parametrize("dimensions", (1, 2))
def test_counts_on_a_grid_of_rounded_numbers(strictly, dimensions, trees):
    """Distances equal to the radius, up to rounding in x + radius, and points that coincide."""
    random = np.random.default_rng(0)
    for scale in (1 / 7, 1e-12 / 3, 1e9 / 3):
        x = torch.tensor(random.integers(-9, 10, (60, dimensions)) * scale)
        gap = gaps(x)
        radius = np.abs(random.integers(0, 6, 60) * scale)
        radius[:30] = gap[np.arange(30), random.integers(0, 60, 30)]
        counts = neighbors.count_within(x, torch.tensor(radius), strictly=strictly)
        np.testing.assert_array_equal(counts, within(gap, radius, strictly))


def test_equal_results_on_any_number_of_threads_and_in_any_order(threads):
    x, y = correlated(300, 0.5)
    torch.set_num_threads(1)
    value = mutual_information_knn(x, y)
    torch.set_num_threads(4)
    assert torch.equal(mutual_information_knn(x, y), value)
    order = torch.randperm(300)
    assert abs(mutual_information_knn(x[order], y[order]) - value) < 1e-13


# Gradients


@pytest.mark.parametrize(
    "options",
    [{}, {"norm": "max", "k": 1}, {"method": "gaussian"}, *({"method": m} for m in SPACINGS)],
    ids=str,
)
def test_gradients_of_entropy(options, trees):
    x = normal(14, 1 if options.get("method") in SPACINGS else 2).requires_grad_()

    def entropy(x: Tensor) -> Tensor:
        return differential_entropy(x, **options)

    assert gradcheck(entropy, x)
    assert gradgradcheck(entropy, x)
    # h(c x) = h(x) + D log c, so that x . dh/dx = D.
    (gradient,) = torch.autograd.grad(entropy(x), x)
    assert abs((gradient * x).sum() - x.shape[1]) < 1e-10


def test_gradients_of_divergence(trees):
    x, y = normal(12, 2).requires_grad_(), normal(9, 2, seed=1).requires_grad_()
    assert gradcheck(kl_divergence_knn, (x, y))
    assert gradgradcheck(kl_divergence_knn, (x, y))


def test_information_is_a_constant():
    x, y = (v.requires_grad_() for v in correlated(30, 0.5))
    assert not mutual_information_knn(x, y).requires_grad


# Edges


def test_dtypes_and_units():
    x, y = correlated(100, 0.8)
    value = mutual_information_knn(x.float(), y.float())
    assert value.dtype == torch.float32
    assert torch.equal(
        value, mutual_information_knn(x.float().double(), y.float().double()).float()
    )
    assert mutual_information_knn(x.half(), y.float()).dtype == torch.float32
    bits = mutual_information_knn(x, y, base=2)
    assert abs(bits * math.log(2) - mutual_information_knn(x, y)) < 1e-14
    assert differential_entropy(x.bfloat16()).dtype == torch.bfloat16


def test_samples_that_coincide(trees):
    x = torch.zeros(20, dtype=torch.float64)
    for method in ("knn", *SPACINGS):
        assert differential_entropy(x, method) == -math.inf
    assert differential_entropy(x, "gaussian") == -math.inf
    assert kl_divergence_knn(x, x + 1) == math.inf
    assert kl_divergence_knn(torch.arange(20.0), torch.arange(20.0), 1) == -math.inf
    # Nothing is strictly nearer than 0: ψ(k) + ψ(N) - 2 ψ(1).
    value = mutual_information_knn(x, x)
    assert abs(value - (digamma(3) + digamma(20) - 2 * digamma(1))) < 1e-12
    # All 19 others are within 0: ψ(3) + ψ(20) - ψ(10) - ψ(19).
    value = mutual_information_knn(x, torch.arange(20) % 2, method="ross")
    assert abs(value - (digamma(3) + digamma(20) - digamma(10) - digamma(19))) < 1e-12


def test_ties_are_the_same_by_trees_and_by_blocks(monkeypatch):
    random = np.random.default_rng(1)
    x, y, z = (torch.tensor(random.integers(0, 6, (200, 1)) / 3) for _ in range(3))
    labels = torch.tensor(random.integers(0, 3, 200))
    values = []
    for trees in (True, False):
        monkeypatch.setattr(neighbors, "_TREES", trees)
        values.append(
            [
                mutual_information_knn(x, y).item(),
                mutual_information_knn(x, y, z=z).item(),
                mutual_information_knn(x, labels, method="ross").item(),
            ]
        )
    np.testing.assert_allclose(*values, rtol=1e-13)


@pytest.mark.parametrize("bad", (math.nan, math.inf))
def test_a_sample_that_is_not_finite(bad):
    x, y = correlated(20, 0.5)
    x[3] = bad
    for method in ("knn", "vasicek", "gaussian"):
        assert differential_entropy(x, method).isnan()
    for method in ("ksg1", "ksg2"):
        assert mutual_information_knn(x, y, method=method).isnan()
        assert mutual_information_knn(y, x, method=method).isnan()
    assert mutual_information_knn(y, y, z=x).isnan()
    assert mutual_information_knn(x, torch.arange(20) % 2, method="ross").isnan()
    assert kl_divergence_knn(x, y).isnan() and kl_divergence_knn(y, x).isnan()


def test_labels_of_which_none_repeats():
    value = mutual_information_knn(normal(5), torch.arange(5), method="ross")
    assert value.isnan()


X, L = torch.rand(5), torch.arange(5)
BAD = [
    (differential_entropy, (L,), {}, TypeError, "samples must .*int64"),
    (differential_entropy, ([1.0],), {}, TypeError, "samples must be a Tensor"),
    (differential_entropy, (torch.rand(5, 2, 2),), {}, RuntimeError, r"\(N, D\)"),
    (differential_entropy, (torch.rand(5, 0),), {}, RuntimeError, r"\(N, D\)"),
    (differential_entropy, (X, "kde"), {}, ValueError, "method.*'kde'"),
    (differential_entropy, (X,), {"norm": "l1"}, ValueError, "norm.*'l1'"),
    (differential_entropy, (X,), {"k": 5}, ValueError, "5 samples and k = 5"),
    (differential_entropy, (X,), {"k": 0}, ValueError, "k: expected at least 1"),
    (differential_entropy, (X[:1],), {}, ValueError, "1 samples"),
    (differential_entropy, (X[:0],), {}, ValueError, "0 samples"),
    (differential_entropy, (torch.rand(5, 2), "vasicek"), {}, RuntimeError, "one-dimensional"),
    (differential_entropy, (X, "vasicek"), {"window_length": 3}, ValueError, "5 samples, got 3"),
    (differential_entropy, (X[:1], "correa"), {}, ValueError, "1 samples"),
    (differential_entropy, (X[:0], "correa"), {}, ValueError, "0 samples"),
    (differential_entropy, (torch.rand(3, 3), "gaussian"), {}, ValueError, "dimensions = 3"),
    (mutual_information_knn, (X, X[:4]), {}, RuntimeError, "as many samples"),
    (mutual_information_knn, (X, L), {}, TypeError, "y must .*int64"),
    (mutual_information_knn, (X, X), {"k": 5}, ValueError, "k = 5"),
    (mutual_information_knn, (X, X), {"k": 1.0}, TypeError, "k"),
    (mutual_information_knn, (X, X), {"method": "ksg3"}, ValueError, "method"),
    (mutual_information_knn, (X, X), {"method": "ross"}, TypeError, "float32 and .*float32"),
    (mutual_information_knn, (X, X), {"method": "ksg2", "z": X}, ValueError, "z goes with"),
    (mutual_information_knn, (X, L[:4]), {"method": "ross"}, RuntimeError, "as many"),
    (mutual_information_knn, (X, L), {"method": "ross", "k": 0}, ValueError, "at least 1"),
    (mutual_information_knn, (X, X), {"base": 0}, ValueError, "base"),
    (kl_divergence_knn, (X, torch.rand(5, 2)), {}, RuntimeError, "one dimension"),
    (kl_divergence_knn, (X, X[:2]), {}, ValueError, "2 samples of y, got 3"),
    (kl_divergence_knn, (X[:3], X), {}, ValueError, "k = 3"),
]


@pytest.mark.parametrize(("function", "arguments", "options", "error", "message"), BAD)
def test_bad_input(function, arguments, options, error, message):
    with pytest.raises(error, match=f"{function.__name__}: .*{message}"):
        function(*arguments, **options)


def test_without_scipy():
    """Nothing of it is imported with the package, and what needs it says what to install."""
    program = """
import sys
import torch
import torch_infotheory
heavy = {"scipy", "sklearn", "torchmetrics"}
assert not heavy & {name.split(".")[0] for name in sys.modules}
from torch_infotheory import estimators
x = torch.rand(9)
estimators.differential_entropy(x, "vasicek")
estimators.entropy_from_labels(torch.arange(9))
assert not heavy & {name.split(".")[0] for name in sys.modules}
sys.modules["scipy"] = None
sys.modules["scipy.spatial"] = None
try:
    estimators.differential_entropy(x)
except ImportError as error:
    print(error)
"""
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    assert "pip install 'torch_infotheory[estimators]'" in run.stdout
