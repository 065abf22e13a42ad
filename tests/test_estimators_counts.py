"""Entropy from counts: formulas one bin at a time, exact expectations, and known distributions."""

import itertools
import math

import mpmath
import numpy as np
import pytest
import torch
from scipy.special import digamma, polygamma
from torch import Tensor
from torch.autograd import gradcheck, gradgradcheck

from torch_infotheory.estimators import entropy_from_counts

ESTIMATORS = (
    "plugin",
    "miller_madow",
    "grassberger_1988",
    "grassberger",
    "chao_shen",
    "james_stein",
    "nsb",
)
COUNTS = ([4, 2, 3, 0, 2, 4, 0, 0, 1, 2], [1, 1, 1], [10, 0], [1000, 1, 1, 5], [3], [7, 7, 7, 7])
INTEGERS = (torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64)


def grassberger_number(n: int) -> float:
    """G(n) by its recurrence: G_1 = -γ - log 2, G_2 = 2 - γ - log 2, and 2/(2m+1) from 2m on."""
    g = -np.euler_gamma - math.log(2)
    for even in range(2, n + 1, 2):
        g += 2 / (even - 1)
    return g


def reference(counts: list[int], estimator: str, alphabet: int) -> float:
    n = [count for count in counts if count]
    total = sum(n)
    plugin = -sum(count / total * math.log(count / total) for count in n)
    if estimator == "plugin":
        return plugin
    if estimator == "miller_madow":
        return plugin + (len(n) - 1) / (2 * total)
    if estimator == "grassberger_1988":
        return math.log(total) - sum(k * digamma(k) + (-1) ** k / (k + 1) for k in n) / total
    if estimator == "grassberger":
        return math.log(total) - sum(k * grassberger_number(k) for k in n) / total
    if estimator == "chao_shen":
        singletons = n.count(1)
        coverage = 1 - (total - 1 if singletons == total else singletons) / total
        p = [coverage * k / total for k in n]
        return -sum(q * math.log(q) / (1 - (1 - q) ** total) for q in p)
    assert estimator == "james_stein"
    u = [k / total for k in counts] + [0.0] * (alphabet - len(counts))
    squares = sum((1 / alphabet - q) ** 2 for q in u)
    weight = 1.0
    if total > 1 and squares > 0:
        weight = min(1.0, (1 - sum(q * q for q in u)) / ((total - 1) * squares))
    shrunk = [weight / alphabet + (1 - weight) * q for q in u]
    return -sum(q * math.log(q) for q in shrunk if q)


@pytest.mark.parametrize("estimator", ESTIMATORS[:-1])
@pytest.mark.parametrize("counts", COUNTS, ids=str)
def test_formula(counts, estimator):
    for alphabet in (len(counts), len(counts) + 7):
        value = entropy_from_counts(torch.tensor(counts), estimator, alphabet=alphabet)
        assert value.dtype == torch.float64
        expected = reference(counts, estimator, alphabet)
        np.testing.assert_allclose(value, expected, rtol=1e-13, atol=1e-14)


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_dtypes_batches_and_bases_agree(estimator):
    counts = torch.tensor([[[4, 2, 3], [1, 1, 1]], [[9, 0, 0], [5, 5, 0]]])
    value = entropy_from_counts(counts, estimator, alphabet=5)
    assert value.shape == (2, 2) and (value != 0).any()
    for i, j in itertools.product(range(2), range(2)):
        one = entropy_from_counts(counts[i, j], estimator, alphabet=5)
        torch.testing.assert_close(value[i, j], one, rtol=1e-14, atol=1e-15)
    for dtype in INTEGERS:
        assert torch.equal(entropy_from_counts(counts.to(dtype), estimator, alphabet=5), value)
    for dtype in (torch.float16, torch.float32):
        other = entropy_from_counts(counts.to(dtype), estimator, alphabet=5)
        assert other.dtype == dtype and torch.equal(other, value.to(dtype))
    bits = entropy_from_counts(counts, estimator, alphabet=5, base=2)
    torch.testing.assert_close(bits, value / math.log(2))
    strided = counts.movedim(-1, 0).contiguous().movedim(0, -1)
    assert torch.equal(entropy_from_counts(strided, estimator, alphabet=5), value)


@pytest.mark.parametrize("estimator", ("plugin", "miller_madow", "james_stein"))
def test_gradients(estimator):
    counts = torch.tensor([[3.0, 2, 1, 4], [1, 5, 2, 2]], dtype=torch.float64, requires_grad=True)

    def estimate(counts: Tensor) -> Tensor:
        return entropy_from_counts(counts, estimator, alphabet=6)

    assert gradcheck(estimate, counts, check_forward_ad=True)
    assert gradgradcheck(estimate, counts)
    batch = counts.detach()
    jacobian = torch.func.vmap(torch.func.grad(estimate))(batch)
    torch.testing.assert_close(jacobian, torch.autograd.grad(estimate(counts).sum(), counts)[0])


@pytest.mark.parametrize("estimator", ("plugin", "miller_madow", "james_stein"))
def test_gradient_at_bins_without_draws(estimator):
    counts = torch.tensor([4.0, 0.0, 2.0], requires_grad=True)
    (gradient,) = torch.autograd.grad(entropy_from_counts(counts, estimator, alphabet=3), counts)
    assert gradient.isfinite().all() and gradient.any()


# NSB


def nsb(counts: list[int], alphabet: int) -> tuple[float, float]:
    """Mean and deviation by the trapezoidal rule, and Wolpert and Wolf's moments given beta."""
    psi = mpmath.psi
    with mpmath.workdps(20):
        total = sum(counts)
        bins = sorted(counts + [0] * (alphabet - len(counts)))
        times = {n: bins.count(n) for n in set(bins)}
        sums = [mpmath.mpf(0)] * 3
        for i in range(-80, 80):
            beta = mpmath.exp(mpmath.mpf(i) / 4)
            a = alphabet * beta
            weight = beta * (alphabet * psi(1, a + 1) - psi(1, beta + 1))
            weight *= mpmath.gamma(a) / mpmath.gamma(total + a)
            for n, m in times.items():
                weight *= mpmath.rf(beta, n) ** m
            a += total
            of_total, slope = psi(0, a + 2), psi(1, a + 2)
            mean = psi(0, a + 1)
            first = squares = own = mpmath.mpf(0)
            for n, m in times.items():
                b = n + beta
                of_bin = psi(0, b + 1)
                mean -= m * b / a * of_bin
                first += m * b * (of_bin - of_total)
                squares += m * b**2 * ((of_bin - of_total) ** 2 - slope)
                gap = psi(0, b + 2) - of_total
                own += m * b * (b + 1) * (gap**2 + psi(1, b + 2) - slope)
            second = (first**2 - slope * a**2 - squares + own) / (a * (a + 1))
            sums = [s + weight * x for s, x in zip(sums, (1, mean, second), strict=True)]
        mean, second = sums[1] / sums[0], sums[2] / sums[0]
        return float(mean), float(mpmath.sqrt(second - mean**2))


@pytest.mark.parametrize(
    ("counts", "alphabet"),
    [
        ([4, 2, 3, 0, 2, 4, 0, 0, 1, 2], 10),
        ([1, 1, 1], 40),
        ([10, 0], 2),
        ([200, 200, 200], 3),
        ([50, 20, 10], 1000),
    ],
    ids=str,
)
def test_nsb(counts, alphabet):
    mean, std = entropy_from_counts(torch.tensor(counts), "nsb", alphabet=alphabet, return_std=True)
    expected = nsb(counts, alphabet)
    assert abs(mean.item() - expected[0]) < 1e-8
    assert abs(std.item() - expected[1]) < 1e-7


def test_nsb_of_many_draws_and_large_alphabets():
    counts = torch.randint(1, 2000, (1000,), generator=torch.Generator().manual_seed(0))
    mean, std = entropy_from_counts(counts, "nsb", alphabet=1000, return_std=True)
    # The plug-in estimate is close, Miller and Madow's closer; the deviation is that of sampling.
    p = counts / counts.sum()
    sampling = (((p * p.log().square()).sum() - (p * p.log()).sum() ** 2) / counts.sum()).sqrt()
    assert abs(mean - entropy_from_counts(counts, "miller_madow")) < std
    assert 0.9 < std / sampling < 1.1
    # Nemenman (2011), equation 24: in a huge alphabet, Δ coincidences in N draws tell
    # γ - log 2 + 2 log N - ψ(Δ) and sqrt(ψ'(Δ)).
    pairs = torch.cat([torch.full((20,), 2), torch.ones(960, dtype=torch.int64)])
    mean, std = entropy_from_counts(pairs, "nsb", alphabet=2**80, return_std=True)
    expected = np.euler_gamma - math.log(2) + 2 * math.log(1000) - digamma(20)
    assert abs(mean - expected) < 0.05
    assert abs(std - math.sqrt(polygamma(1, 20))) < 0.02
    assert entropy_from_counts(torch.tensor([3]), "nsb", alphabet=1) == 0


# What is expected over all samples


def draws(p: list[float], total: int) -> tuple[Tensor, Tensor]:
    """All counts that total, and their multinomial probabilities."""
    every = [n for n in itertools.product(range(total + 1), repeat=len(p)) if sum(n) == total]
    counts = torch.tensor(every)
    log_probability = math.lgamma(total + 1) - torch.lgamma(counts.double() + 1).sum(1)
    log_probability += (counts * torch.tensor(p, dtype=torch.float64).log()).sum(1)
    return counts, log_probability.exp()


def test_exact_bias_is_smaller_than_that_of_plugin():
    p = [0.5, 0.3, 0.2]
    entropy = -sum(q * math.log(q) for q in p)
    counts, probability = draws(p, 20)
    assert abs(probability.sum() - 1) < 1e-12
    bias = {}
    for estimator in ESTIMATORS:
        estimates = entropy_from_counts(counts, estimator, alphabet=3)
        bias[estimator] = ((estimates * probability).sum() - entropy).item()
    plugin = bias.pop("plugin")
    assert -0.06 < plugin < -0.04  # about -(3 - 1) / (2 * 20)
    assert all(abs(value) < abs(plugin) for value in bias.values()), bias
    assert abs(bias["miller_madow"]) < 5e-3
    # Grassberger's are for Poisson counts. That the total is known leaves log N - ψ(N).
    for name in ("grassberger", "grassberger_1988"):
        assert abs(bias[name] - (math.log(20) - digamma(20))) < 1e-3


@pytest.mark.parametrize("name", ("grassberger_1988", "grassberger"))
def test_bias_of_poisson_counts_vanishes_with_the_rate(name):
    """E[n ψ(n)] is λ log λ + λ E_1(λ) for Poisson n: both corrections take most of the rest."""
    rate = 8.0
    n = torch.arange(1, 80)
    probability = torch.exp(n * math.log(rate) - rate - torch.lgamma(n + 1.0).double())
    # Of counts (n, m) the estimate is log N - (t(n) + t(m)) / N: solve for t with m = n.
    value = entropy_from_counts(torch.stack([n, n], 1), name)
    term = ((2.0 * n).log() - value) * n
    plain = (probability * n * n.double().digamma()).sum() - rate * math.log(rate)
    corrected = (probability * term).sum() - rate * math.log(rate)
    assert abs(corrected) < abs(plain) / 2


# Edges


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_one_bin_and_one_draw(estimator):
    one = entropy_from_counts(torch.tensor([1]), estimator, alphabet=1)
    expected = {
        "grassberger_1988": np.euler_gamma + 0.5,
        "grassberger": np.euler_gamma + math.log(2),
    }.get(estimator, 0.0)
    assert abs(one - expected) < 1e-14
    assert torch.equal(one, entropy_from_counts(torch.tensor(1), estimator, alphabet=1))


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_no_draw(estimator):
    value = entropy_from_counts(torch.tensor([[0, 0], [1, 3]]), estimator, alphabet=2)
    assert value[1].isfinite()
    if estimator == "nsb":
        assert abs(value[0] - math.log(2) / 2) < 1e-13  # uniform between 0 and log 2
    else:
        assert value[0].isnan()


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_nan_and_negative_counts_stay_in_their_row(estimator):
    counts = torch.tensor([[math.nan, 3.0], [-1.0, 3.0], [2.0, 3.0]])
    value = entropy_from_counts(counts, estimator, alphabet=2)
    assert value.isnan().tolist() == [True, True, False]
    assert entropy_from_counts(torch.tensor([-1, 3]), estimator, alphabet=2).isnan()


@pytest.mark.parametrize("estimator", ("grassberger_1988", "grassberger", "nsb"))
def test_counts_that_are_not_whole(estimator):
    assert entropy_from_counts(torch.tensor([1.5, 3.0]), estimator, alphabet=2).isnan()


def test_more_bins_than_draws():
    counts = torch.zeros(1000, dtype=torch.int64)
    counts[:5] = 1
    for estimator in ESTIMATORS:
        alone = counts[:5] if estimator != "james_stein" else counts
        value = entropy_from_counts(counts, estimator, alphabet=1000)
        expected = entropy_from_counts(alone, estimator, alphabet=1000)
        torch.testing.assert_close(value, expected, rtol=1e-12, atol=1e-12)
        assert value >= math.log(5) - 1e-12


def test_clip():
    counts = torch.tensor([[2, 0], [9, 9]])
    raw = entropy_from_counts(counts, "grassberger")
    assert raw[0] < 0
    assert torch.equal(entropy_from_counts(counts, "grassberger", clip=True), raw.clamp_min(0))


def test_empty_batch():
    for estimator in ESTIMATORS:
        value = entropy_from_counts(torch.empty(0, 3, dtype=torch.int64), estimator, alphabet=3)
        assert value.shape == (0,)


BAD = [
    (([1, 2],), {}, TypeError, "counts must be a Tensor, not list"),
    ((torch.tensor([1j]),), {}, TypeError, "complex64"),
    ((torch.tensor([True]),), {}, TypeError, "bool"),
    ((torch.empty(2, 0),), {}, RuntimeError, "no bins"),
    ((torch.tensor([1]), "mle"), {}, ValueError, "estimator.*'plugin'.*'mle'"),
    ((torch.tensor([1]), None), {}, TypeError, "estimator"),
    ((torch.tensor([1]), "nsb"), {}, ValueError, "'nsb' needs alphabet"),
    ((torch.tensor([1]), "james_stein"), {}, ValueError, "needs alphabet"),
    ((torch.tensor([1, 2]),), {"alphabet": 1}, ValueError, "at least the 2 bins, got 1"),
    ((torch.tensor([1, 2]),), {"alphabet": 2.5}, TypeError, "alphabet"),
    ((torch.tensor([1, 2]),), {"base": 1}, ValueError, "base"),
    ((torch.tensor([1, 2]),), {"base": "2"}, TypeError, "base"),
    ((torch.tensor([1, 2]),), {"return_std": True}, ValueError, "return_std"),
]


@pytest.mark.parametrize(("arguments", "options", "error", "message"), BAD)
def test_bad_input(arguments, options, error, message):
    with pytest.raises(error, match=f"entropy_from_counts: .*{message}"):
        entropy_from_counts(*arguments, **options)
