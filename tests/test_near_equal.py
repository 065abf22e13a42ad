"""Divergences of nearly equal distributions keep their digits and are never below 0."""

import math
from collections.abc import Callable
from functools import partial
from itertools import product

import numpy as np
import pytest
import reference
import torch
from ops import DTYPES, KINDS, random, state
from torch import Tensor

import torch_infotheory as ti

Measure = Callable[..., Tensor]
Exact = Callable[[np.ndarray, np.ndarray, str], float]

LOW = tuple(dtype for dtype in DTYPES if dtype != torch.float64)
DISTANCES = (1e-1, 1e-2, 1e-3, 1e-4, 1e-5)  # of the logits; a divergence is about its square
SHAPES = ((2, 3), (5, 8), (20, 33))
DIVERGENCES = (
    pytest.param(ti.kl_divergence, reference.exact_kl_divergence, id="kl_divergence"),
    pytest.param(ti.js_divergence, reference.exact_js_divergence, id="js_divergence"),
    pytest.param(
        partial(ti.js_divergence, weight=0.25),
        partial(reference.exact_js_divergence, weight=0.25),
        id="js_divergence_0.25",
    ),
    *(
        pytest.param(getattr(ti, name), getattr(reference, f"exact_{name}"), id=name)
        for name in ("jeffreys_divergence", "squared_hellinger_distance", "chi_squared_divergence")
    ),
    *(
        pytest.param(
            partial(getattr(ti, name), alpha=alpha),
            partial(getattr(reference, f"exact_{name}"), alpha=alpha),
            id=f"{name}_{alpha}",
        )
        for name, alphas in (
            ("alpha_divergence", (-0.5, 0.25, 0.75, 3)),
            ("renyi_divergence", (0.5, 0.9995, 2)),
        )
        for alpha in alphas
    ),
)


def numbers(x: Tensor) -> np.ndarray:
    return x.double().cpu().numpy()


def check(value: Tensor, expected: float) -> None:
    """A relative error of 1e-3 down to 1e-9 in float32, a few epsilon in float64; never below 0."""
    epsilon = torch.finfo(torch.float64).eps
    allowed = 8 * epsilon if value.dtype == torch.float64 else 1e-3 * max(expected, 1e-9)
    assert value >= 0
    assert abs(float(value) - expected) <= allowed


def step_of(dtype: torch.dtype) -> float:
    """The least relative step of the dtype, but one whose square float32 still tells from 0."""
    return max(torch.finfo(dtype).eps, 2**-12)


def neighbors(dtype: torch.dtype, kind: str, classes: int, distance: float) -> list[Tensor]:
    """Two distributions whose logits differ by about `distance`, as exactly as the dtype can."""
    # Half types tell only small logits apart.
    spread = 1.0 if dtype in (torch.float64, torch.float32) else 4 * distance
    p = spread * random(classes, seed=1)
    q = p + distance * random(classes, seed=2)
    return [state(x, -1, kind).to(dtype) for x in (p, q)]


@pytest.mark.parametrize("classes", [3, 10, 700])
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("function, exact", DIVERGENCES)
def test_logits(
    function: Measure, exact: Exact, dtype: torch.dtype, classes: int, device: str
) -> None:
    result = torch.promote_types(dtype, torch.float32)
    offsets = (0, 64) if result == dtype else (0,)  # which no softmax should see
    for distance, offset in product(DISTANCES, offsets):
        p, q = neighbors(dtype, "logits", classes, distance)
        q = q + offset
        value = function(p.to(device), q.to(device), kind="logits", dtype=result)
        check(value, exact(numbers(p), numbers(q), "logits"))


@pytest.mark.parametrize("classes", [3, 10, 700])
@pytest.mark.parametrize("kind", ["probs", "log_probs"])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
@pytest.mark.parametrize("function, exact", DIVERGENCES)
def test_normalized_up_to_rounding(
    function: Measure, exact: Exact, dtype: torch.dtype, kind: str, classes: int, device: str
) -> None:
    for distance in DISTANCES:
        p, q = neighbors(dtype, kind, classes, distance)
        check(function(p.to(device), q.to(device), kind=kind), exact(numbers(p), numbers(q), kind))


@pytest.mark.parametrize("dtype", LOW, ids=str)
@pytest.mark.parametrize("function, exact", DIVERGENCES)
def test_probabilities_a_few_steps_apart(
    function: Measure, exact: Exact, dtype: torch.dtype, device: str
) -> None:
    """Two entries exchange a little mass, so that the totals stay exactly what they are."""
    for first, steps in product((0.2, 0.01, 0.003), (1, 2, 5)):
        p = torch.tensor([first, first, 0.25, 0.25, 0.5 - 2 * first], dtype=dtype)
        q = p.clone()
        q[0] += steps * step_of(dtype) * first
        q[1] -= q[0] - p[0]
        assert numbers(p).sum() == numbers(q).sum()
        value = function(p.to(device), q.to(device), dtype=torch.float32)
        check(value, exact(numbers(p), numbers(q), "probs"))


# The terms of divergences that lose nothing to cancellation, by p and d = log p - log q.
TERMS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "kl_divergence": lambda p, d: p * (torch.expm1(-d) + d),
    "js_divergence": lambda p, d: (
        -p
        * (torch.log1p(torch.expm1(-d) / 2) + torch.exp(-d) * torch.log1p(torch.expm1(d) / 2))
        / 2
    ),
    "jeffreys_divergence": lambda p, d: -p * torch.expm1(-d) * d,
    "squared_hellinger_distance": lambda p, d: p * torch.expm1(-d / 2).square() / 2,
    "chi_squared_divergence": lambda p, d: p * torch.exp(-d) * torch.expm1(d).square(),
}


@pytest.mark.parametrize("classes", [50, 32_000])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", TERMS)
def test_digits_of_float32(name: str, kind: str, classes: int, device: str) -> None:
    """A relative error of 2e-6 at values down to 1e-9, wherever the logits lie."""
    offsets = (0, 8, 1000) if kind == "logits" else (0,)
    for noise, offset in product((3e-2, 1e-2, 1e-3, 1e-4), offsets):
        logits = 2 * random(5, classes) + offset
        moved = logits + noise * random(5, classes, seed=1)
        p, q = (state(x, -1, kind).float() for x in (logits, moved))
        a, b = (x.double() if kind != "probs" else x.double().log() for x in (p, q))
        if kind == "logits":
            a, b = a.log_softmax(-1), b.log_softmax(-1)
        expected = TERMS[name](a.exp(), a - b).sum(-1)
        value = getattr(ti, name)(p.to(device), q.to(device), kind=kind).cpu().double()
        torch.testing.assert_close(value, expected, rtol=2e-6, atol=2e-15)
        assert expected.min() > 1e-10


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_mutual_information_of_logits(
    dtype: torch.dtype, shape: tuple[int, int], device: str
) -> None:
    result = torch.promote_types(dtype, torch.float32)
    for distance in DISTANCES:
        table = distance * random(*shape)
        if dtype == result:  # half types tell only small logits apart
            table = table + random(shape[0], 1, seed=1) + random(shape[1], seed=2)
        table = table.to(dtype)
        value = ti.mutual_information(table.to(device), kind="logits", dtype=result)
        check(value, reference.exact_mutual_information(numbers(table), "logits"))


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("kind", ["probs", "log_probs"])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
def test_mutual_information_normalized_up_to_rounding(
    dtype: torch.dtype, kind: str, shape: tuple[int, int], device: str
) -> None:
    independent = random(shape[0], 1, seed=1) + random(shape[1], seed=2)
    for distance in DISTANCES:
        table = state(independent + distance * random(*shape), (0, 1), kind).to(dtype)
        value = ti.mutual_information(table.to(device), kind=kind)
        check(value, reference.exact_mutual_information(numbers(table), kind))


@pytest.mark.parametrize("dtype", LOW, ids=str)
def test_mutual_information_a_few_steps_from_independence(dtype: torch.dtype, device: str) -> None:
    """A uniform table, where four cells exchange a little mass: the marginals stay uniform."""
    for size, steps in product((4, 16), (1, 2, 8)):
        table = torch.full((size, size), size**-2, dtype=torch.float64)
        exchanged = steps * step_of(dtype) * size**-2
        table[:2, :2] += exchanged * torch.tensor([[1, -1], [-1, 1]])
        assert torch.equal(table, table.to(dtype).double())
        value = ti.mutual_information(table.to(device, dtype), dtype=torch.float32)
        check(value, reference.exact_mutual_information(table.numpy(), "probs"))


@pytest.mark.parametrize("classes", [2, 5, 64, 1000])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_never_below_zero(dtype: torch.dtype, kind: str, classes: int, device: str) -> None:
    logits = 3 * random(100, classes)
    moved = logits + 1e-7 * random(100, classes, seed=1)
    p, q = (state(x, -1, kind).to(device, dtype) for x in (logits, moved))
    for function, other in product((ti.kl_divergence, ti.js_divergence), (p, q)):
        assert (function(p, other, kind=kind) >= 0).all()
        assert (function(p, other.roll(1, -1), kind=kind) > 0).all()
    independent = random(100, 3, 1) + random(100, 1, classes, seed=1)
    table = state(independent, (1, 2), kind).to(device, dtype)
    assert (ti.mutual_information(table, kind=kind) >= 0).all()


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
def test_other_totals_are_taken_literally(dtype: torch.dtype, device: str) -> None:
    """D(p || q) where p = (1 + s) q is (1 + s) log(1 + s), also below 0."""
    q = state(random(6), -1, "probs").to(device, dtype)
    for s in (64 * torch.finfo(dtype).eps, -64 * torch.finfo(dtype).eps, 1e-3, -1e-3):
        p = (1 + s) * q
        total, other = p.double().sum(), q.double().sum()
        value = ti.kl_divergence(p, q)
        literal = total * torch.log(total / other)
        torch.testing.assert_close(value.double(), literal, rtol=0.2, atol=0)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
def test_the_gradient_is_that_of_the_literal_sum(dtype: torch.dtype, device: str) -> None:
    p, q = (x.to(device).requires_grad_() for x in neighbors(dtype, "probs", 10, 1e-5))
    by_p, by_q = torch.autograd.grad(ti.kl_divergence(p, q), (p, q))
    torch.testing.assert_close(by_p, (p / q).log() + 1)
    torch.testing.assert_close(by_q, -p / q)


@pytest.mark.parametrize("q_kind", ["logits", "log_probs"])
@pytest.mark.parametrize("dtype", LOW, ids=str)
def test_the_gradient_by_logits_is_that_of_the_literal_sum(
    q_kind: str, dtype: torch.dtype, device: str
) -> None:
    """Also where the log-probabilities do not sum to 1, by as much as they are rounded."""
    p = (0.01 * random(3, 200)).to(device, dtype).requires_grad_()
    q = torch.full((3, 200), -math.log(200), dtype=dtype, device=device)
    (actual,) = torch.autograd.grad(ti.kl_divergence(p, q, kind=("logits", q_kind)).sum(), p)
    x = p.detach().cpu().double().requires_grad_()
    log_p, log_q = x.log_softmax(-1), q.cpu().double()
    if q_kind == "logits":
        log_q = log_q.log_softmax(-1)
    (expected,) = torch.autograd.grad((log_p.exp() * (log_p - log_q)).sum(), x)
    atol = max(1e-3, torch.finfo(dtype).eps) * float(expected.abs().max())
    torch.testing.assert_close(actual.cpu().double(), expected, rtol=0, atol=atol)


def test_sums_of_many_equal_terms(device: str) -> None:
    """One thread of a GPU reads these rows class by class."""
    step = float(torch.tensor(0.01))
    p = torch.zeros(4096, 256, device=device)
    q = step * torch.tensor([1.0, -1.0], device=device).repeat(2048)[:, None].expand_as(p)
    expected = step**2 / 2 - step**4 / 12 + step**6 / 45  # log cosh
    value = ti.kl_divergence(p, q, dim=0, kind="logits").cpu().double()
    torch.testing.assert_close(value / expected, torch.ones_like(value), rtol=3e-7, atol=0)


HALF = (torch.bfloat16, torch.float16)
# Of the logits; the values reach from 1e-5 to above 1e-1.
STEPS = torch.logspace(-2.5, 0, 200, dtype=torch.float64)


def stated(x: Tensor, kind: str) -> Tensor:
    """The probabilities, in float64, that the numbers state."""
    x = x.cpu().double()
    return x if kind == "probs" else x.exp() if kind == "log_probs" else x.softmax(-1)


def check_where_totals_agree(
    value: Tensor, expected: Tensor, one: Tensor, other: Tensor, dtype: torch.dtype
) -> None:
    agree = (one - other).abs() <= 8 * torch.finfo(dtype).eps * one
    assert agree.sum() > len(STEPS) / 2
    assert expected[agree].min() < 1e-4 and expected[agree].max() > 0.05
    torch.testing.assert_close(value.cpu().double()[agree], expected[agree], rtol=1e-3, atol=1e-8)


@pytest.mark.parametrize("classes", [5, 10, 30, 100])
@pytest.mark.parametrize("kinds", [("probs",) * 2, ("log_probs",) * 2, ("probs", "logits")])
@pytest.mark.parametrize("dtype", HALF, ids=str)
@pytest.mark.parametrize("function", [ti.kl_divergence, ti.js_divergence])
def test_no_jump_where_totals_are_off_by_rounding(
    function: Measure, dtype: torch.dtype, kinds: tuple[str, str], classes: int, device: str
) -> None:
    """At every size, D(p || q) is the sum of p log(p / q) - p + q; of JS these parts cancel."""
    logits = random(len(STEPS), classes)
    others = logits + STEPS[:, None] * random(len(STEPS), classes, seed=1)
    inputs = [
        state(x, -1, kind).to(device, dtype)
        for x, kind in zip((logits, others), kinds, strict=True)
    ]
    p, q = map(stated, inputs, kinds)
    if function is ti.kl_divergence:
        terms = p * (p / q).log() - p + q
    else:
        m = (p + q) / 2
        terms = (p * (p / m).log() + q * (q / m).log()) / 2
    value = function(*inputs, kind=kinds, dtype=torch.float32)
    check_where_totals_agree(value, terms.sum(-1), p.sum(-1), q.sum(-1), dtype)


@pytest.mark.parametrize("shape", [*SHAPES, (10, 10)], ids=str)
@pytest.mark.parametrize("kind", ["probs", "log_probs"])
@pytest.mark.parametrize("dtype", HALF, ids=str)
def test_no_jump_of_mutual_information(
    dtype: torch.dtype, kind: str, shape: tuple[int, int], device: str
) -> None:
    """The marginals of a table with the total T state a product with the total T^2."""
    n, (x, y) = len(STEPS), shape
    independent = random(n, x, 1, seed=1) + random(n, 1, y, seed=2)
    logits = independent + STEPS[:, None, None] * random(n, x, y)
    table = state(logits, (1, 2), kind).to(device, dtype)
    joint = stated(table, kind)
    product = joint.sum(2, keepdim=True) * joint.sum(1, keepdim=True)
    terms = joint * (joint / product).log() - joint + product
    value = ti.mutual_information(table, kind=kind, dtype=torch.float32)
    totals = joint.sum((1, 2)), product.sum((1, 2))
    check_where_totals_agree(value, terms.sum((1, 2)), *totals, dtype)
