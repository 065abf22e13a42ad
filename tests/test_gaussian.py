"""`torch_infotheory.gaussian` beside torch.distributions and 50 digits of mpmath."""

import math
from collections.abc import Callable
from typing import Any

import mpmath
import numpy as np
import pytest
import torch
from torch import Tensor, distributions
from torch.autograd import forward_ad

from torch_infotheory import gaussian

SIZE = 4
SETS = {"x": [2, 0], "y": -1, "z": [1]}


def random(*shape: int, seed: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def covariances(*batch: int, seed: int, size: int = SIZE) -> Tensor:
    a = random(*batch, size, size, seed=seed)
    return a @ a.mT + 0.5 * torch.eye(size, dtype=torch.float64)


def mp_matrix(x: Tensor | np.ndarray) -> mpmath.matrix:
    return mpmath.matrix(np.asarray(x, dtype=np.float64).tolist())


def block(s: mpmath.matrix, chosen: list[int]) -> mpmath.matrix:
    return mpmath.matrix([[s[i, j] for j in chosen] for i in chosen])


def exact_information(covariance: Tensor, x: list[int], y: list[int]) -> float:
    with mpmath.workdps(60):
        s = mp_matrix(covariance)
        determinants = [mpmath.det(block(s, chosen)) for chosen in (x, y, x + y)]
        return float(mpmath.log(determinants[0] * determinants[1] / determinants[2]) / 2)


def exact_divergence(mean_p: Tensor, p: Tensor, mean_q: Tensor, q: Tensor) -> float:
    with mpmath.workdps(60):
        s_p, s_q = mp_matrix(p), mp_matrix(q)
        gap = mp_matrix(mean_p[:, None]) - mp_matrix(mean_q[:, None])
        ratio = s_q**-1 * s_p
        trace = sum(ratio[i, i] for i in range(len(p)))
        square = (gap.T * s_q**-1 * gap)[0]
        return float((trace - len(p) - mpmath.log(mpmath.det(ratio)) + square) / 2)


# Each function of one distribution, by a combination of entropies of torch.distributions.
def torch_entropy(covariance: Tensor, *sets: Any) -> Tensor:
    chosen = [v % SIZE for s in sets for v in ([s] if isinstance(s, int) else s)]
    covariance = covariance[..., chosen, :][..., chosen]
    zero = torch.zeros(len(chosen), dtype=covariance.dtype)
    return distributions.MultivariateNormal(zero, covariance).entropy()


X, Y, Z = SETS.values()
H = torch_entropy
OF_ONE: dict[str, tuple[tuple[str, ...], Callable[[Tensor], Tensor]]] = {
    "entropy": ((), lambda s: H(s, range(SIZE))),
    "joint_entropy": (("x", "y"), lambda s: H(s, X, Y)),
    "conditional_entropy": (("x", "y"), lambda s: H(s, X, Y) - H(s, X)),
    "mutual_information": (("x", "y"), lambda s: H(s, X) + H(s, Y) - H(s, X, Y)),
    "conditional_mutual_information": (
        ("x", "y", "z"),
        lambda s: H(s, X, Z) + H(s, Y, Z) - H(s, X, Y, Z) - H(s, Z),
    ),
}


def call(name: str, covariance: Tensor, form: str = "covariance", **options: Any) -> Tensor:
    function = getattr(gaussian, name)
    sets = [SETS[s] for s in OF_ONE[name][0]]
    if form == "scale_tril":
        return function(None, *sets, scale_tril=torch.linalg.cholesky(covariance), **options)
    if form == "diagonal":
        return function(covariance.diagonal(dim1=-2, dim2=-1), *sets, diagonal=True, **options)
    return function(covariance, *sets, **options)


@pytest.mark.parametrize("form", ["covariance", "scale_tril", "diagonal"])
@pytest.mark.parametrize("name", OF_ONE)
def test_agrees_with_torch_distributions(name: str, form: str) -> None:
    given = covariances(2, 3, seed=1)
    if form == "diagonal":
        given = given.diagonal(dim1=-2, dim2=-1).diag_embed()
    expected = OF_ONE[name][1](given)
    torch.testing.assert_close(call(name, given, form), expected, rtol=1e-12, atol=1e-12)
    in_bits = call(name, given, form, base=2)
    torch.testing.assert_close(in_bits, expected / math.log(2), rtol=1e-12, atol=1e-12)


def two(form: str) -> tuple[list[Tensor], list[Tensor], dict[str, Any]]:
    """The arguments of kl_divergence, the covariances that they state, and the options."""
    mean_p, mean_q = random(3, SIZE, seed=1), random(2, 1, SIZE, seed=2)
    p, q = covariances(3, seed=3), covariances(2, 1, seed=4)
    if form == "diagonal":
        p, q = (s.diagonal(dim1=-2, dim2=-1) for s in (p, q))
        stated = [mean_p, p.diag_embed(), mean_q, q.diag_embed()]
        return [mean_p, p, mean_q, q], stated, {"diagonal": True}
    arguments: list[Any] = [mean_p, p, mean_q, q]
    options = {}
    for place, name in ((1, "scale_tril_p"), (3, "scale_tril_q")):
        if form in ("scale_tril", name):
            options[name] = torch.linalg.cholesky(arguments[place])
            arguments[place] = None
    return arguments, [mean_p, p, mean_q, q], options


@pytest.mark.parametrize(
    "form", ["covariance", "scale_tril", "scale_tril_p", "scale_tril_q", "diagonal"]
)
def test_divergence_agrees_with_torch_distributions(form: str) -> None:
    arguments, (mean_p, p, mean_q, q), options = two(form)
    normal = distributions.MultivariateNormal
    expected = distributions.kl_divergence(normal(mean_p, p), normal(mean_q, q))
    assert expected.shape == (2, 3)
    value = gaussian.kl_divergence(*arguments, **options)
    torch.testing.assert_close(value, expected, rtol=1e-12, atol=1e-12)
    in_bits = gaussian.kl_divergence(*arguments, **options, base=2)
    torch.testing.assert_close(in_bits, expected / math.log(2), rtol=1e-12, atol=1e-12)


def test_divergence_from_standard_normal_agrees_with_torch_distributions() -> None:
    mean, log_variance = random(5, 3, seed=1), 3 * random(5, 3, seed=2)
    p = distributions.Normal(mean, (log_variance / 2).exp())
    expected = distributions.kl_divergence(p, distributions.Normal(0.0, 1.0)).sum(-1)
    value = gaussian.kl_standard_normal(mean, log_variance)
    torch.testing.assert_close(value, expected, rtol=1e-12, atol=1e-12)
    in_bits = gaussian.kl_standard_normal(mean, log_variance, base=2)
    torch.testing.assert_close(in_bits, expected / math.log(2), rtol=1e-12, atol=1e-12)


def test_information_is_the_divergence_from_independence() -> None:
    s = covariances(3, seed=7)
    independent = s.clone()
    independent[:, :2, 2:] = independent[:, 2:, :2] = 0
    zero = torch.zeros(SIZE, dtype=torch.float64)
    torch.testing.assert_close(
        gaussian.mutual_information(s, [0, 1], [2, 3]),
        gaussian.kl_divergence(zero, s, zero, independent),
    )


def test_chain_rule_of_information() -> None:
    s = covariances(3, seed=8)
    torch.testing.assert_close(
        gaussian.mutual_information(s, 0, [1, 2, 3]),
        gaussian.mutual_information(s, 0, 3)
        + gaussian.conditional_mutual_information(s, 0, [2, 1], 3),
    )


# Digits where a difference of entropies has none.

DISTANCES = (0.5, 1e-1, 1e-2, 1e-3, 1e-4, 1e-5)
EPSILONS = {torch.float32: 2e-5, torch.float64: 1e-13}  # a few hundred epsilon: the condition


@pytest.mark.parametrize("x, y", [([0], [1]), ([0, 1], [2, 3, 4]), ([4, 0, 2], [1]), ([3], [0, 1])])
@pytest.mark.parametrize("distance", DISTANCES)
@pytest.mark.parametrize("dtype", EPSILONS)
def test_nearly_independent(
    dtype: torch.dtype, distance: float, x: list[int], y: list[int]
) -> None:
    s = covariances(seed=5, size=5).to(dtype)
    s[np.ix_(x, y)] *= distance
    s[np.ix_(y, x)] = s[np.ix_(x, y)].mT
    expected = exact_information(s, x, y)
    assert 0 < expected < (1 if distance == 0.5 else 40 * distance**2)
    factor = torch.linalg.cholesky(s)
    of_factor = exact_information((f := factor.double()) @ f.mT, x, y)
    for value, truth, condition in (
        (gaussian.mutual_information(s, x, y), expected, 1),
        # Of other variables than the first, the covariance is a difference of a factor's entries.
        (
            gaussian.mutual_information(None, x, y, scale_tril=factor),
            of_factor,
            1 if x + y == sorted(x + y) else 1 / distance,
        ),
    ):
        assert value.dtype == dtype
        assert float(value) == pytest.approx(truth, rel=condition * EPSILONS[dtype], abs=0)


@pytest.mark.parametrize("distance", DISTANCES)
@pytest.mark.parametrize("dtype", EPSILONS)
def test_nearly_independent_given_the_third(dtype: torch.dtype, distance: float) -> None:
    # X and Y are Z plus noise, and the noise is nearly independent.
    noise = torch.eye(2, dtype=torch.float64) + distance * (1 - torch.eye(2, dtype=torch.float64))
    s = torch.ones(3, 3, dtype=torch.float64)
    s[1:, 1:] += noise
    expected = -math.log1p(-(float(s.to(dtype)[2, 1] - 1) ** 2)) / 2
    value = gaussian.conditional_mutual_information(s.to(dtype), 1, 2, 0)
    assert float(value) == pytest.approx(expected, rel=EPSILONS[dtype], abs=0)


@pytest.mark.parametrize("noise", [1e-2, 1e-4, 1e-6, 1e-10])
def test_nearly_determined(noise: float) -> None:
    """A factor states noise that the entries of a covariance cannot hold."""
    factor = torch.tensor([[1.0, 0, 0], [0.5, 2, 0], [1, 1, noise]])
    with mpmath.workdps(60):
        lower = mp_matrix(factor.double())
        exact = lower * lower.T
        minor = mpmath.det(block(exact, [0, 1]))
        expected = float(mpmath.log(minor * exact[2, 2] / mpmath.det(exact)) / 2)
    value = gaussian.mutual_information(None, 2, [0, 1], scale_tril=factor)
    assert float(value) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("distance", (*DISTANCES, 1e-6))
@pytest.mark.parametrize("what", ["means", "covariances", "both"])
@pytest.mark.parametrize("dtype", EPSILONS)
def test_nearly_equal(dtype: torch.dtype, what: str, distance: float) -> None:
    mean_p, p = random(SIZE, seed=1), covariances(seed=2)
    mean_q, q = mean_p, p
    if what != "covariances":
        mean_q = mean_p + distance * random(SIZE, seed=3)
    if what != "means":
        q = p + distance * (a := random(SIZE, SIZE, seed=4) / 4) + distance * a.mT
    mean_p, p, mean_q, q = (t.to(dtype) for t in (mean_p, p, mean_q, q))
    check_divergence(mean_p, p, mean_q, q, EPSILONS[dtype])
    check_divergence(mean_q, q, mean_p, p, EPSILONS[dtype])


def check_divergence(mean_p: Tensor, p: Tensor, mean_q: Tensor, q: Tensor, rel: float) -> None:
    value = gaussian.kl_divergence(mean_p, p, mean_q, q)
    expected = exact_divergence(mean_p, p, mean_q, q)
    assert float(value) == pytest.approx(expected, rel=rel, abs=0)

    variances = [s.diagonal() for s in (p, q)]
    value = gaussian.kl_divergence(mean_p, variances[0], mean_q, variances[1], diagonal=True)
    expected = exact_divergence(mean_p, variances[0].diag(), mean_q, variances[1].diag())
    assert float(value) == pytest.approx(expected, rel=rel, abs=0)

    factors = [torch.linalg.cholesky(s) for s in (p, q)]
    f_p, f_q = (f.double() for f in factors)
    expected = exact_divergence(mean_p, f_p @ f_p.mT, mean_q, f_q @ f_q.mT)
    if p.dtype == torch.float64 and expected < 1e-8:
        return  # the products have no digit left to compare with
    value = gaussian.kl_divergence(
        mean_p, None, mean_q, None, scale_tril_p=factors[0], scale_tril_q=factors[1]
    )
    assert float(value) == pytest.approx(expected, rel=10 * rel, abs=0)


@pytest.mark.parametrize("ratio", [1e-12, 1e-6, 0.3, 0.7, 1.6, 3.0, 1e6, 1e12])
def test_far_from_equal(ratio: float) -> None:
    """Of one covariance many times the other, and of a switch of formulas between."""
    p, mean = covariances(seed=2).float(), torch.zeros(SIZE)
    q = p * ratio
    value = gaussian.kl_divergence(mean, p, mean, q)
    assert float(value) == pytest.approx(exact_divergence(mean, p, mean, q), rel=1e-5)


@pytest.mark.parametrize("size", [0.0, 1e-8, 1e-5, 1e-3, 0.1, 0.24, 0.26, 1.0, 30.0])
def test_nearly_standard_normal(size: float) -> None:
    mean = torch.tensor([size, 0.0, 0.0, -2 * size])
    log_variance = torch.tensor([0.0, size, -size, 0.3 * size])
    with mpmath.workdps(60):
        m, s = ([mpmath.mpf(v) for v in t.tolist()] for t in (mean, log_variance))
        terms = [a**2 + mpmath.expm1(b) - b for a, b in zip(m, s, strict=True)]
        expected = float(sum(terms) / 2)
    value = gaussian.kl_standard_normal(mean, log_variance)
    assert float(value) == pytest.approx(expected, rel=1e-6, abs=0)


def test_never_below_0() -> None:
    eye, zero = torch.eye(5), torch.zeros(5)
    a, b = (random(500, 5, 5, seed=seed) for seed in (1, 2))
    for distance in (1e-8, 1e-6, 1e-4):
        s = (eye + distance * (a + a.mT)).float()
        q = (s + distance * (b + b.mT)).float()
        assert (gaussian.mutual_information(s, [0, 1], [2, 3, 4]) >= 0).all()
        assert (gaussian.conditional_mutual_information(s, 0, [2, 3], [1, 4]) >= 0).all()
        assert (gaussian.kl_divergence(zero, s, zero, q) >= 0).all()
    assert gaussian.mutual_information(eye, [0, 1], 2) == 0
    s = covariances(seed=1).float()
    mean = random(SIZE, seed=1).float()
    assert gaussian.kl_divergence(mean, s, mean, s) == 0
    variances = s.diagonal()
    assert gaussian.kl_divergence(mean, variances, mean, variances, diagonal=True) == 0


# Gradients.

FACTOR = torch.linalg.cholesky(covariances(2, seed=3, size=3))


def symmetric(a: Tensor) -> Tensor:
    return a @ a.mT


GRADIENTS: dict[str, tuple[Callable[..., Tensor], tuple[Tensor, ...]]] = {
    "entropy": (lambda a: gaussian.entropy(symmetric(a)), (FACTOR,)),
    "joint_entropy": (lambda a: gaussian.joint_entropy(symmetric(a), 2, 0), (FACTOR,)),
    "conditional_entropy": (lambda a: gaussian.conditional_entropy(symmetric(a), 2, 0), (FACTOR,)),
    "mutual_information": (
        lambda a: gaussian.mutual_information(symmetric(a), 1, [2, 0]),
        (FACTOR,),
    ),
    "mutual_information_scale_tril": (
        lambda a: gaussian.mutual_information(None, [2, 0], 1, scale_tril=a),
        (FACTOR,),
    ),
    "independent": (
        lambda a: gaussian.mutual_information(symmetric(a), [0, 1], 2),
        (torch.eye(3, dtype=torch.float64),),
    ),
    "conditional_mutual_information": (
        lambda a: gaussian.conditional_mutual_information(symmetric(a), 0, 2, 1),
        (FACTOR,),
    ),
    "kl_divergence": (
        lambda m, a, n, b: gaussian.kl_divergence(m, symmetric(a), n, symmetric(b)),
        (random(3, seed=1), FACTOR[0], random(3, seed=2), FACTOR[1]),
    ),
    "kl_divergence_scale_tril": (
        lambda m, a, n, b: gaussian.kl_divergence(m, None, n, None, scale_tril_p=a, scale_tril_q=b),
        (random(3, seed=1), FACTOR[0], random(3, seed=2), FACTOR[1]),
    ),
    "equal": (
        lambda a, b: gaussian.kl_divergence(a[0], symmetric(a), b[0], symmetric(b)),
        (FACTOR[0], FACTOR[0]),
    ),
    "kl_divergence_diagonal": (
        lambda m, a, n, b: gaussian.kl_divergence(m, a, n, b, diagonal=True),
        (random(2, seed=1), random(2, seed=2).exp(), random(2, seed=3), random(2, seed=4).exp()),
    ),
    "kl_standard_normal": (
        gaussian.kl_standard_normal,
        (random(4, seed=1), torch.tensor([0, 0.1, 3, -3], dtype=torch.float64)),
    ),
}


@pytest.mark.parametrize("name", GRADIENTS)
def test_gradients(name: str) -> None:
    function, inputs = GRADIENTS[name]
    inputs = tuple(x.detach().clone().requires_grad_() for x in inputs)
    assert torch.autograd.gradcheck(function, inputs, check_forward_ad=True)
    assert torch.autograd.gradgradcheck(function, inputs)


@pytest.mark.parametrize("name", ["independent", "equal", "kl_standard_normal"])
def test_third_derivatives_at_0(name: str) -> None:
    """By the difference quotient of the second ones."""
    function, inputs = GRADIENTS[name]
    direction = tuple(random(*x.shape, seed=9) for x in inputs)

    def second(step: float) -> Tensor:
        moved = tuple(x + step * d for x, d in zip(inputs, direction, strict=True))

        def along(t: Tensor) -> Tensor:
            return function(*(x + t * d for x, d in zip(moved, direction, strict=True)))

        return torch.func.grad(torch.func.grad(along))(torch.zeros((), dtype=torch.float64))

    def along(t: Tensor) -> Tensor:
        return function(*(x + t * d for x, d in zip(inputs, direction, strict=True)))

    third = torch.func.grad(torch.func.grad(torch.func.grad(along)))
    quotient = (second(1e-4) - second(-1e-4)) / 2e-4
    assert float(third(torch.zeros((), dtype=torch.float64))) == pytest.approx(
        float(quotient), rel=1e-5
    )


def test_gradients_are_those_of_the_docstrings() -> None:
    s = covariances(seed=1, size=3).requires_grad_()
    grad = torch.autograd.grad(gaussian.mutual_information(s, [0, 1], 2), s)[0]
    inverse = torch.zeros(3, 3, dtype=torch.float64)
    inverse[:2, :2], inverse[2, 2] = s[:2, :2].inverse(), 1 / s[2, 2]
    torch.testing.assert_close(grad, (inverse - s.inverse()) / 2)

    p, far = s, covariances(seed=2, size=3)
    mean_p, mean_q = random(3, seed=3).requires_grad_(), random(3, seed=4).requires_grad_()
    for q in (far, p.detach() + 1e-4 * far):
        q.requires_grad_()
        inputs = (mean_p, p, mean_q, q)
        by_mean_p, by_p, by_mean_q, by_q = torch.autograd.grad(
            gaussian.kl_divergence(*inputs), inputs
        )
        gap = (mean_p - mean_q).detach()
        torch.testing.assert_close(by_mean_p, q.inverse() @ gap)
        torch.testing.assert_close(by_mean_q, -(q.inverse() @ gap))
        torch.testing.assert_close(by_p, (q.inverse() - p.inverse()) / 2)
        expected = (q.inverse() - q.inverse() @ (p + gap.outer(gap)) @ q.inverse()) / 2
        torch.testing.assert_close(by_q, expected)


# Transforms, types, batches.


def test_only_the_lower_triangle_of_a_factor_is_read() -> None:
    factor = torch.linalg.cholesky(covariances(2, seed=1))
    damaged = factor + torch.full_like(factor, math.nan).triu(1)
    for name in OF_ONE:
        sets, function = [SETS[s] for s in OF_ONE[name][0]], getattr(gaussian, name)
        leading = [None] if sets else []
        expected = function(*leading, *sets, scale_tril=factor)
        assert torch.equal(function(*leading, *sets, scale_tril=damaged), expected)


@pytest.mark.parametrize("form", ["covariance", "scale_tril", "diagonal"])
@pytest.mark.parametrize("name", OF_ONE)
def test_a_batch_is_its_elements_and_vmap(name: str, form: str) -> None:
    s = covariances(7, seed=1)
    value = call(name, s, form)
    torch.testing.assert_close(value, torch.stack([call(name, one, form) for one in s]))
    torch.testing.assert_close(value, torch.func.vmap(lambda one: call(name, one, form))(s))
    assert call(name, s[:0], form).shape == (0,)


def test_forward_mode_of_the_divergence() -> None:
    mean, s = random(3, seed=1), covariances(seed=2, size=3)
    with forward_ad.dual_level():
        dual = forward_ad.make_dual(mean, torch.ones_like(mean))
        value = gaussian.kl_divergence(dual, s, torch.zeros_like(mean), s)
        tangent = forward_ad.unpack_dual(value).tangent
    torch.testing.assert_close(tangent, (s.inverse() @ mean).sum())


@pytest.mark.parametrize("form", ["covariance", "scale_tril", "diagonal"])
def test_compiled_in_one_graph(form: str) -> None:
    mean, s = random(SIZE, seed=1), covariances(2, seed=1)

    def all_of_them(mean: Tensor, s: Tensor) -> list[Tensor]:
        divergence = gaussian.kl_divergence(mean, s[0], -mean, s[1])
        return [divergence, *(call(name, s, form) for name in OF_ONE)]

    compiled = torch.compile(all_of_them, fullgraph=True, backend="aot_eager")
    for value, expected in zip(compiled(mean, s), all_of_them(mean, s), strict=True):
        torch.testing.assert_close(value, expected)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_types_are_computed_in_float32(dtype: torch.dtype) -> None:
    s = covariances(2, seed=1).to(dtype)
    for name in OF_ONE:
        value = call(name, s)
        assert value.dtype == dtype
        assert torch.equal(value, call(name, s.float()).to(dtype))
    mean = random(SIZE, seed=1).to(dtype)
    value = gaussian.kl_standard_normal(mean, mean)
    assert torch.equal(value, gaussian.kl_standard_normal(mean.float(), mean.float()).to(dtype))
    mixed = gaussian.kl_divergence(mean, s.float(), -mean, s.double())
    expected = gaussian.kl_divergence(mean.double(), s.double(), -mean.double(), s.double())
    assert torch.equal(mixed, expected) and mixed.dtype == torch.float64


# Errors.

EYE, ONES = torch.eye(3), torch.ones(3)
NOT_POSITIVE = torch.tensor([[1.0, 2, 0], [2, 1, 0], [0, 0, 1]])
WITH_NAN = torch.tensor([[1.0, 0, 0], [0, math.nan, 0], [0, 0, 1]])
LINALG = torch.linalg.LinAlgError
Error = type[Exception]


@pytest.mark.parametrize(
    "call, error, says",
    [
        (lambda g: g.entropy(NOT_POSITIVE), LINALG, "entropy: covariance: .* order 2"),
        (lambda g: g.entropy(WITH_NAN), LINALG, "entropy: covariance: "),
        (lambda g: g.entropy(torch.stack([EYE, NOT_POSITIVE])), LINALG, "covariance: .*element 1"),
        (lambda g: g.mutual_information(NOT_POSITIVE, 0, 1), LINALG, "information: covariance: "),
        (lambda g: g.entropy(-ONES, diagonal=True), LINALG, "covariance, .* positive, got .*-1"),
        (lambda g: g.entropy(0 * ONES, diagonal=True), LINALG, "covariance, .*, to be positive"),
        (lambda g: g.entropy(scale_tril=WITH_NAN), LINALG, "diagonal of scale_tril to be pos"),
        (lambda g: g.kl_divergence(ONES, NOT_POSITIVE, ONES, EYE), LINALG, "covariance_p: "),
        (lambda g: g.kl_divergence(ONES, EYE, ONES, NOT_POSITIVE), LINALG, "covariance_q: "),
        (
            lambda g: g.kl_divergence(ONES, EYE, ONES, None, scale_tril_q=-EYE),
            LINALG,
            "diagonal of scale_tril_q",
        ),
        (lambda g: g.entropy(EYE, base=1), ValueError, "entropy: expected base .*, got 1"),
        (lambda g: g.entropy(EYE, base=math.nan), ValueError, "entropy: expected base .*, got nan"),
        (lambda g: g.entropy(EYE, base="two"), TypeError, "entropy: expected base to be a number"),
        (lambda g: g.entropy(), ValueError, "entropy: expected either covariance"),
        (lambda g: g.entropy(EYE, scale_tril=EYE), ValueError, "either covariance"),
        (lambda g: g.entropy(scale_tril=EYE, diagonal=True), ValueError, "either covariance"),
        (lambda g: g.kl_divergence(ONES, EYE, ONES, None), ValueError, "scale_tril_q"),
        (lambda g: g.entropy([[1.0]]), TypeError, "entropy: expected covariance .* list"),
        (
            lambda g: g.entropy(torch.eye(2, dtype=torch.int64)),
            TypeError,
            "covariance to be a floating .* torch.int64",
        ),
        (lambda g: g.entropy(EYE + 0j), TypeError, "covariance to be .* torch.complex64"),
        (lambda g: g.kl_standard_normal(ONES, 0.0), TypeError, "log_variance .* float"),
        (lambda g: g.entropy(ONES), RuntimeError, r"covariance .* shape \[3\]"),
        (lambda g: g.entropy(EYE[:2]), RuntimeError, r"covariance .* shape \[2, 3\]"),
        (lambda g: g.entropy(EYE[:0, :0]), RuntimeError, r"covariance .* shape \[0, 0\]"),
        (lambda g: g.entropy(torch.tensor(1.0), diagonal=True), RuntimeError, r"shape \[\]"),
        (
            lambda g: g.kl_divergence(ONES[:1], EYE, ONES, EYE),
            RuntimeError,
            r"\[1\], \[3\], \[3, 3\]",
        ),
        (lambda g: g.mutual_information(EYE, 0, 3), IndexError, r"y 3 .* shape \[3, 3\]"),
        (lambda g: g.mutual_information(EYE, [0, -4], 1), IndexError, "x -4 is out of range"),
        (lambda g: g.mutual_information(EYE, 0, -3), RuntimeError, "twice in x 0 and y -3"),
        (lambda g: g.joint_entropy(EYE, [0, 0], 1), RuntimeError, "twice in x"),
        (lambda g: g.joint_entropy(EYE, [], 1), RuntimeError, "x to name at least one"),
        (lambda g: g.joint_entropy(EYE, "x", 1), TypeError, "x to be an int or a sequence"),
        (lambda g: g.joint_entropy(EYE, 0, 1.0), TypeError, "y to be an int .* float"),
        (lambda g: g.joint_entropy(EYE, 0, None), TypeError, "y to be an int .* None"),
    ],
)
def test_errors(call: Callable[[Any], Tensor], error: Error, says: str) -> None:
    with pytest.raises(error, match=says) as raised:
        call(gaussian)
    assert type(raised.value) is error
