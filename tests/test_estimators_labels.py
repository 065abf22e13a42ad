"""Information of labels: beside scikit-learn, beside exact permutations, and by definition."""

import itertools
import math

import numpy as np
import pytest
import sklearn.metrics as peers
import torch
from sklearn.metrics.cluster import contingency_matrix
from sklearn.metrics.cluster import expected_mutual_information as peer_expected
from torch import Tensor

import torch_infotheory as ti
from torch_infotheory import estimators
from torch_infotheory.estimators import labels as module

AVERAGES = ("arithmetic", "geometric", "min", "max")
# Samples, classes of x and of y, and how many of the labels agree.
CLUSTERINGS = [
    (30, 3, 4, 0.5),
    (500, 10, 12, 0.3),
    (500, 2, 2, 0.0),
    (300, 300, 20, 0.5),  # about as many classes as samples
    (50, 1, 3, 0.0),
    (50, 3, 1, 0.0),
    (50, 1, 1, 0.0),
    (40, 5, 5, 1.0),
    (2, 2, 2, 1.0),
    (1, 1, 1, 0.0),
    (0, 1, 1, 0.0),
    (20_000, 40, 60, 0.1),
]


def clusterings(
    samples: int, classes_x: int, classes_y: int, agree: float
) -> tuple[Tensor, Tensor]:
    random = np.random.default_rng(samples + classes_x)
    x = random.integers(0, classes_x, samples)
    other = random.integers(0, classes_y, samples)
    y = np.where(random.random(samples) < agree, x % classes_y, other)
    return torch.from_numpy(x), torch.from_numpy(y)


@pytest.fixture(params=(True, False), ids=("dense", "sorted"))
def dense(request, monkeypatch):
    """By a table of all cells, and by sorting out those that occur."""
    monkeypatch.setattr(module, "_is_dense", lambda *sizes: request.param)
    return request.param


@pytest.mark.parametrize("case", CLUSTERINGS, ids=str)
def test_as_scikit_learn(case, dense):
    x, y = clusterings(*case)
    for average in AVERAGES:
        ours = estimators.adjusted_mutual_information_score(x, y, average)
        theirs = peers.adjusted_mutual_info_score(x, y, average_method=average)
        assert abs(ours - theirs) < 1e-10
        ours = estimators.normalized_mutual_information_score(x, y, average)
        theirs = peers.normalized_mutual_info_score(x, y, average_method=average)
        assert abs(ours - theirs) < 1e-10
    if len(x):
        ours = estimators.mutual_information_from_labels(x, y)
        assert abs(ours - peers.mutual_info_score(x, y)) < 1e-10
        ours = estimators.expected_mutual_information(x, y)
        theirs = peer_expected(contingency_matrix(x, y, sparse=True), len(x))
        assert abs(ours - theirs) < 1e-10


@pytest.mark.parametrize("average", AVERAGES)
def test_clusterings_without_room_for_chance(average):
    """Every point alone, on one side or on both: what is expected is all that there is."""
    alone, pairs = torch.arange(20), torch.arange(20) // 2
    for x, y in itertools.product((alone, pairs), repeat=2):
        ours = estimators.adjusted_mutual_information_score(x, y, average)
        theirs = peers.adjusted_mutual_info_score(x, y, average_method=average)
        if x is y:
            assert ours == 1 and abs(theirs - 1) < 1e-10
        elif average != "min":  # where the score is 0 / 0
            assert abs(ours - theirs) < 1e-10


def test_names_do_not_matter():
    x, y = clusterings(100, 4, 5, 0.5)
    names = torch.tensor([-7, 2**60, 3, -(2**50), 11])
    for function in (
        estimators.mutual_information_from_labels,
        estimators.normalized_mutual_information_score,
        estimators.adjusted_mutual_information_score,
        estimators.expected_mutual_information,
    ):
        assert abs(function(names[x], names[y]) - function(x, y)) < 1e-14
        assert abs(function(names[x], y.to(torch.int8)) - function(x, y)) < 1e-14
    value = estimators.entropy_from_labels(names[x])
    assert abs(value - estimators.entropy_from_labels(x)) < 1e-14
    logical = x > 1
    assert (
        abs(
            estimators.mutual_information_from_labels(logical, y)
            - peers.mutual_info_score(logical, y)
        )
        < 1e-12
    )


def test_expected_mutual_information_over_all_permutations():
    x, y = torch.tensor([0, 0, 0, 1, 1, 2]), torch.tensor([0, 1, 1, 1, 1, 2])
    shuffled = torch.stack([y[list(order)] for order in itertools.permutations(range(6))])
    values = estimators.mutual_information_from_labels(x.expand_as(shuffled), shuffled)
    expected = estimators.expected_mutual_information(x, y)
    assert expected > 0.1
    assert abs(values.mean() - expected) < 1e-12
    assert (
        abs(expected / math.log(2) - estimators.expected_mutual_information(x, y, base=2)) < 1e-14
    )


def test_expected_mutual_information_of_large_margins():
    """Thousands of counts for each cell, of which those near the mean are looked at."""
    x, y = torch.arange(200_000) % 2, torch.arange(200_000) // 60_000
    ours = estimators.expected_mutual_information(x, y)
    # E[I] = (R - 1) (C - 1) / 2N + O(1/N^2), from the expansion of the logarithm.
    assert abs(ours - 1 * 3 / 400_000) < 1e-9
    theirs = peer_expected(contingency_matrix(x, y, sparse=True), 200_000)
    assert abs(ours - theirs) < 1e-10


@pytest.mark.parametrize("classes", (2, 40))
def test_conditional_information_as_weighted_mean(classes, dense):
    x, y = clusterings(400, classes, classes, 0.5)
    z = clusterings(400, 5, 5, 0.0)[0] * 10 - 3
    expected = sum(
        (z == c).sum().item() / 400 * peers.mutual_info_score(x[z == c], y[z == c])
        for c in z.unique()
    )
    ours = estimators.conditional_mutual_information_from_labels(x, y, z)
    assert abs(ours - expected) < 1e-12
    bits = estimators.conditional_mutual_information_from_labels(x, y, z, base=2)
    assert abs(bits - ours / math.log(2)) < 1e-14


def test_chain_rule():
    x, y = clusterings(300, 4, 4, 0.5)
    z = (x + y) % 3
    both = y * 3 + z
    left = estimators.mutual_information_from_labels(x, both)
    right = estimators.mutual_information_from_labels(x, z)
    right = right + estimators.conditional_mutual_information_from_labels(x, y, z)
    assert abs(left - right) < 1e-13


def test_nearly_independent_labels_keep_their_digits(dense):
    """A table of 250000 for each pair but for one more in two cells and one less in the others."""
    counts = torch.tensor([250_001, 249_999, 249_999, 250_001])
    x, y = (torch.repeat_interleave(torch.tensor(c), counts) for c in ([0, 0, 1, 1], [0, 1, 0, 1]))
    d = 1 / 250_000
    expected = 2 * (0.25 * (1 + d) * math.log1p(d) + 0.25 * (1 - d) * math.log1p(-d))
    value = estimators.mutual_information_from_labels(x, y)
    assert 0 < value and abs(value - expected) < 1e-15
    independent = estimators.mutual_information_from_labels(
        torch.arange(600) % 2, torch.arange(600) // 2 % 3
    )
    assert 0 <= independent < 1e-15


@pytest.mark.parametrize("estimator", ("miller_madow", "grassberger", "chao_shen", "nsb"))
def test_information_is_a_sum_of_entropies(estimator, dense):
    x, y = clusterings(60, 3, 4, 0.5)
    sizes = (5, 6) if estimator == "nsb" else None
    value = estimators.mutual_information_from_labels(x, y, estimator, alphabet=sizes)
    table = ti.joint_table(x, y)
    h_x, h_y, h_xy = (
        estimators.entropy_from_counts(counts, estimator, alphabet=size)
        for counts, size in zip(
            (table.sum(1), table.sum(0), table[table > 0]), (5, 6, 30), strict=True
        )
    )
    assert abs(value - (h_x + h_y - h_xy)) < 1e-12
    assert abs(value - estimators.mutual_information_from_labels(x, y)) > 1e-6


def test_james_stein_information_is_that_of_the_shrunk_table():
    x, y = clusterings(60, 3, 4, 0.5)
    value = estimators.mutual_information_from_labels(x, y, "james_stein", alphabet=(5, 6))
    u = np.zeros((5, 6))
    np.add.at(u, (x.numpy(), y.numpy()), 1 / 60)
    weight = (1 - np.square(u).sum()) / (59 * np.square(1 / 30 - u).sum())
    p = weight / 30 + (1 - weight) * u
    expected = (p * np.log(p / np.outer(p.sum(1), p.sum(0)))).sum()
    assert 0 < weight < 1
    assert abs(value - expected) < 1e-12


def test_entropy_of_labels():
    x = clusterings(200, 6, 2, 0.0)[0]
    counts = torch.bincount(x)
    for estimator in ("plugin", "miller_madow", "grassberger", "chao_shen"):
        ours = estimators.entropy_from_labels(x - 3, estimator, base=2)
        assert abs(ours - estimators.entropy_from_counts(counts, estimator, base=2)) < 1e-13
    ours = estimators.entropy_from_labels(x * 100, "nsb", alphabet=8)
    assert abs(ours - estimators.entropy_from_counts(counts, "nsb", alphabet=8)) < 1e-13
    one_class = estimators.entropy_from_labels(torch.full((9,), -4))
    assert one_class == 0


def test_batch():
    pairs = [clusterings(50, 4, 3, agree) for agree in (0.0, 0.3, 0.6, 0.9, 1.0, 0.2)]
    x, y = (torch.stack(side).view(2, 3, 50) for side in zip(*pairs, strict=True))
    z = x % 2
    for function, variables in (
        (estimators.entropy_from_labels, (x,)),
        (estimators.mutual_information_from_labels, (x, y)),
        (estimators.conditional_mutual_information_from_labels, (x, y, z)),
        (estimators.normalized_mutual_information_score, (x, y)),
        (estimators.adjusted_mutual_information_score, (x, y)),
        (estimators.expected_mutual_information, (x, y)),
    ):
        batch = function(*variables)
        assert batch.shape == (2, 3) and batch.any()
        for i, j in itertools.product(range(2), range(3)):
            assert abs(batch[i, j] - function(*(v[i, j] for v in variables))) < 1e-14
        assert function(*(v[:0] for v in variables)).shape == (0, 3)


def test_no_labels():
    none = torch.empty(0, dtype=torch.int64)
    assert estimators.entropy_from_labels(none).isnan()
    assert estimators.mutual_information_from_labels(none, none).isnan()
    assert estimators.mutual_information_from_labels(none, none, "grassberger").isnan()
    assert estimators.conditional_mutual_information_from_labels(none, none, none).isnan()
    assert estimators.expected_mutual_information(none, none) == 0
    prior = estimators.entropy_from_labels(none, "nsb", alphabet=4)
    assert abs(prior - math.log(4) / 2) < 1e-13


def test_clip():
    # Two labels that have nothing to do with each other.
    x, y = torch.tensor([0, 0, 1, 1]), torch.tensor([0, 1, 0, 1])
    raw = estimators.mutual_information_from_labels(x, y, "miller_madow")
    assert abs(raw + 1 / 8) < 1e-14  # (1 + 1 - 3) / (2 * 4)
    assert estimators.mutual_information_from_labels(x, y, "miller_madow", clip=True) == 0


def test_sizes_that_no_table_could_have():
    """A million classes each: a dense table would have 10^12 cells."""
    x = torch.arange(300_000) * 7
    y = torch.arange(300_000).flip(0) // 3
    value = estimators.mutual_information_from_labels(x, y)
    assert abs(value - math.log(100_000)) < 1e-9
    assert abs(estimators.normalized_mutual_information_score(x, y, "min") - 1) < 1e-12


X = torch.tensor([0, 1])
BAD = [
    ("entropy_from_labels", (torch.rand(3),), TypeError, "x must .*float32"),
    ("entropy_from_labels", ([0, 1],), TypeError, "x must be a Tensor, not list"),
    ("entropy_from_labels", (torch.tensor(1),), RuntimeError, "one label"),
    ("entropy_from_labels", (X, "mle"), ValueError, "estimator"),
    ("mutual_information_from_labels", (X, X[:1]), RuntimeError, r"\[2\], \[1\]"),
    ("mutual_information_from_labels", (X, X, "nsb"), ValueError, "needs alphabet"),
    ("mutual_information_from_labels", (X, X.float()), TypeError, "y must .*float32"),
    ("conditional_mutual_information_from_labels", (X, X, None), TypeError, "z must"),
    ("normalized_mutual_information_score", (X, X, "mean"), ValueError, "average.*'mean'"),
    ("adjusted_mutual_information_score", (X, X, 1), TypeError, "average"),
]


@pytest.mark.parametrize(("name", "arguments", "error", "message"), BAD)
def test_bad_input(name, arguments, error, message):
    with pytest.raises(error, match=f"{name}: .*{message}"):
        getattr(estimators, name)(*arguments)


@pytest.mark.parametrize(
    ("alphabet", "error"), ((3, TypeError), ((1, 2), ValueError), ((2.0, 2), TypeError))
)
def test_bad_alphabet(alphabet, error):
    with pytest.raises(error, match="alphabet"):
        estimators.mutual_information_from_labels(X, X, "james_stein", alphabet=alphabet)


def test_bad_base():
    with pytest.raises(ValueError, match="base"):
        estimators.mutual_information_from_labels(X, X, base=-2)
