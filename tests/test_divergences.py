"""The measures of section "Measures with an order": limits, identities and edges of their own."""

import math
from collections.abc import Callable

import numpy as np
import pytest
import scipy.spatial.distance
import torch
from ops import KINDS, random, state
from torch import Tensor

import torch_infotheory as ti
from torch_infotheory.nn import functional as F

INF = math.inf
CLASSES = 6


def distributions(kind: str = "probs", rows: int = 4, seed: int = 0) -> Tensor:
    return state(random(rows, CLASSES, seed=seed), -1, kind)


def close(a: Tensor, b: Tensor, rtol: float = 1e-12, atol: float = 1e-14) -> None:
    torch.testing.assert_close(a, b, rtol=rtol, atol=atol)


ENTROPIES = {
    "renyi": lambda x, alpha, kind="probs": ti.renyi_entropy(x, alpha, kind=kind),
    "tsallis": lambda x, alpha, kind="probs": ti.tsallis_entropy(x, alpha, kind=kind),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ENTROPIES)
def test_entropies_are_continuous_at_1(name: str, kind: str) -> None:
    x = distributions(kind)
    at_1 = ENTROPIES[name](x, 1, kind)
    close(at_1, ti.entropy(x, kind=kind))
    for step in (1e-3, 1e-6, 1e-9, 1e-12):
        for order in (1 - step, 1 + step):
            near = ENTROPIES[name](x, order, kind)
            assert ((near - at_1).abs() <= 2 * step + 4e-15).all()
            assert ((near < at_1) == (order > 1)).all() or step < 1e-9


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("edge", [0.75, 1.25])
def test_renyi_entropy_does_not_jump_where_its_form_changes(kind: str, edge: float) -> None:
    x = distributions(kind)
    below, above = (ti.renyi_entropy(x, edge * (1 + s), kind=kind) for s in (-1e-13, 1e-13))
    close(below, above)


@pytest.mark.parametrize("edge", [0.999, 1.001])
def test_renyi_divergence_does_not_jump_where_its_form_changes(edge: float) -> None:
    p, q = distributions(), distributions(seed=1)
    below, above = (ti.renyi_divergence(p, q, edge * (1 + s)) for s in (-1e-13, 1e-13))
    close(below, above, rtol=1e-11)


def test_special_orders_of_the_entropies() -> None:
    p = torch.tensor([[0.5, 0.25, 0.25, 0.0], [1.0, 0.0, 0.0, 0.0]], dtype=torch.float64)
    close(ti.renyi_entropy(p, 0), torch.tensor([3.0, 1.0], dtype=torch.float64).log())
    close(ti.renyi_entropy(p, INF), torch.tensor([2.0, 1.0], dtype=torch.float64).log())
    close(ti.renyi_entropy(p, 1e-12), ti.renyi_entropy(p, 0), atol=1e-11)
    close(ti.renyi_entropy(p, 1e4), ti.renyi_entropy(p, INF), rtol=1e-3)
    close(ti.tsallis_entropy(p, 0), torch.tensor([2.0, 0.0], dtype=torch.float64))
    close(ti.tsallis_entropy(p, 2), 1 - (p**2).sum(-1))
    close(ti.renyi_entropy(p, 2, base=2), -(p**2).sum(-1).log2())


def test_large_orders_do_not_underflow() -> None:
    logits = torch.zeros(1, 1000)
    close(ti.renyi_entropy(logits, 1000.0, kind="logits"), torch.tensor([math.log(1000)]), 1e-6)
    p, q = torch.tensor([0.999, 0.001]), torch.tensor([0.001, 0.999])
    value = ti.renyi_divergence(p, q, 500.0)
    exact = (500 * math.log(0.999) - 499 * math.log(0.001)) / 499
    close(value, torch.tensor(exact), 1e-6)


def test_special_orders_of_the_divergences() -> None:
    p, q = distributions(), distributions(seed=1)
    close(ti.renyi_divergence(p, q, 1), ti.kl_divergence(p, q))
    close(ti.renyi_divergence(p, q, INF), (p / q).amax(-1).log())
    close(ti.renyi_divergence(p, q, 0), torch.zeros(4, dtype=torch.float64))
    close(ti.alpha_divergence(p, q, 1), ti.kl_divergence(p, q))
    close(ti.alpha_divergence(p, q, 0), ti.kl_divergence(q, p))
    close(ti.alpha_divergence(p, q, 0.5), 4 * ti.squared_hellinger_distance(p, q))
    close(ti.alpha_divergence(p, q, 2), ti.chi_squared_divergence(p, q) / 2)
    p[:, 0] = 0
    p /= p.sum(-1, keepdim=True)
    close(ti.renyi_divergence(p, q, 0), -(1 - q[:, 0]).log())
    close(ti.renyi_divergence(p, q, 1e-9), ti.renyi_divergence(p, q, 0), atol=1e-7)
    for step in (1e-6, 1e-9, 1e-12):
        for order in (1 - step, 1 + step):
            bound = 20 * step + 1e-14
            kl = ti.kl_divergence(p, q)
            assert ((ti.renyi_divergence(p, q, order) - kl).abs() <= bound).all()
            assert ((ti.alpha_divergence(p, q, order) - kl).abs() <= bound).all()


@pytest.mark.parametrize("kind", KINDS)
def test_identities(kind: str) -> None:
    p, q = distributions(kind), distributions(kind, seed=1)
    close(
        ti.jeffreys_divergence(p, q, kind=kind),
        ti.kl_divergence(p, q, kind=kind) + ti.kl_divergence(q, p, kind=kind),
    )
    coefficient = ti.bhattacharyya_coefficient(p, q, kind=kind)
    close(coefficient, 1 - ti.squared_hellinger_distance(p, q, kind=kind))
    close(ti.renyi_divergence(p, q, 0.5, kind=kind), -2 * coefficient.log())
    close(
        ti.hellinger_distance(p, q, kind=kind) ** 2, ti.squared_hellinger_distance(p, q, kind=kind)
    )
    close(ti.js_distance(p, q, kind=kind) ** 2, ti.js_divergence(p, q, kind=kind))
    for weight in (0.0, 0.25, 0.5, 1.0):
        both = torch.stack((p, q), 1)
        weights = torch.tensor([1 - weight, weight], dtype=torch.float64)
        js = ti.js_divergence(p, q, kind=kind, weight=weight)
        close(ti.mixture_divergence(both, 1, weights=weights, kind=kind), js, atol=1e-15)
        close(F.js_div(p, q, kind=kind, weight=weight, reduction="none"), js)
    tv = ti.total_variation_distance(p, q, kind=kind)
    squared = ti.squared_hellinger_distance(p, q, kind=kind)
    assert ((squared <= tv) & (tv <= (2 * squared).sqrt())).all()  # Le Cam


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("kind", ["probs", "log_probs"])
def test_jensen_shannon_of_no_mixture_is_0_at_zeros(
    kind: str, dtype: torch.dtype, device: str
) -> None:
    p, q = torch.tensor([[0.5, 0.5, 0], [0.5, 0, 0.5]], dtype=dtype, device=device)
    if kind == "log_probs":
        p, q = p.log(), q.log()
    p, q = p.requires_grad_(), q.requires_grad_()
    assert ti.js_divergence(p, q, kind=kind) > 0.3
    for weight in (0.0, 1.0):
        value = ti.js_divergence(p, q, kind=kind, weight=weight)
        assert value == 0
        assert not any(x.any() for x in torch.autograd.grad(value, (p, q)))


def test_orders_are_monotone() -> None:
    p, q = distributions(rows=20), distributions(rows=20, seed=1)
    orders = (0, 0.1, 0.5, 0.75, 0.99, 0.9995, 1, 1.0005, 1.01, 1.25, 2, 10, INF)
    entropies = torch.stack([ti.renyi_entropy(p, order) for order in orders])
    assert (entropies.diff(dim=0) <= 1e-14).all()
    divergences = torch.stack([ti.renyi_divergence(p, q, order) for order in orders])
    assert (divergences.diff(dim=0) >= -1e-14).all()


def test_js_distance_is_that_of_scipy() -> None:
    p, q = distributions(), distributions(seed=1)
    expected = scipy.spatial.distance.jensenshannon(p, q, base=2, axis=-1)
    close(ti.js_distance(p, q, base=2), torch.as_tensor(expected))


def test_mixture_of_an_ensemble() -> None:
    """H(mean) - mean H, and the mutual information of prediction and member."""
    p = state(random(3, 5, CLASSES), -1, "probs")
    value = ti.mixture_divergence(p, 0)
    close(value, ti.entropy(p.mean(0)) - ti.entropy(p).mean(0))
    close(value, ti.mutual_information((p / 3).movedim(0, 1)))
    weights = torch.tensor([0.5, 0.5, 0.0], dtype=torch.float64, requires_grad=True)
    x = p.clone().requires_grad_()
    torch.autograd.gradcheck(
        lambda x, w: ti.mixture_divergence(x, 0, weights=w.softmax(0)), (x, weights)
    )
    alike = (0.1 * random(1, CLASSES) + 1e-4 * random(3, CLASSES, seed=2)).float()
    exact = ti.mixture_divergence(alike.double(), 0, kind="logits")
    close(ti.mixture_divergence(alike, 0, kind="logits").double(), exact, 1e-6)


PAIRS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "squared_hellinger": ti.squared_hellinger_distance,
    "hellinger": ti.hellinger_distance,
    "bhattacharyya": ti.bhattacharyya_coefficient,
    "total_variation": ti.total_variation_distance,
    "js_distance": ti.js_distance,
    "js_0.25": lambda p, q: ti.js_divergence(p, q, weight=0.25),
    "alpha_0.5": lambda p, q: ti.alpha_divergence(p, q, 0.5),
    "renyi_0.5": lambda p, q: ti.renyi_divergence(p, q, 0.5),
}
INFINITE: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "chi_squared": ti.chi_squared_divergence,
    "jeffreys": ti.jeffreys_divergence,
    "alpha_2": lambda p, q: ti.alpha_divergence(p, q, 2),
    "renyi_2": lambda p, q: ti.renyi_divergence(p, q, 2),
    "renyi_1": lambda p, q: ti.renyi_divergence(p, q, 1),
    "renyi_inf": lambda p, q: ti.renyi_divergence(p, q, INF),
}


@pytest.mark.parametrize("name", PAIRS)
def test_zeros_are_finite(name: str) -> None:
    """No gradient is NaN where the value is finite, on either side and where both are 0."""
    p = torch.tensor([0.5, 0.5, 0.0, 0.0], dtype=torch.float64, requires_grad=True)
    q = torch.tensor([0.5, 0.0, 0.5, 0.0], dtype=torch.float64, requires_grad=True)
    value = PAIRS[name](p, q)
    assert value.isfinite() and value > 0
    for gradient in torch.autograd.grad(value, (p, q)):
        assert gradient.isfinite().all()


@pytest.mark.parametrize("name", INFINITE)
def test_impossible_classes_cost_infinitely_much(name: str) -> None:
    p = torch.tensor([[0.5, 0.5, 0.0], [0.5, 0.5, 0.0]], dtype=torch.float64)
    q = torch.tensor([[1.0, 0.0, 0.0], [0.25, 0.75, 0.0]], dtype=torch.float64)
    value = INFINITE[name](p, q)
    assert value[0] == INF and value[1].isfinite()


@pytest.mark.parametrize("name", [*PAIRS, *INFINITE])
def test_equal_distributions(name: str) -> None:
    function = (PAIRS | INFINITE)[name]
    p = distributions().float().requires_grad_()
    value = function(p, p.detach())
    if name == "bhattacharyya":
        close(value, torch.ones(4), 1e-6)
        return
    assert ((value >= 0) & (value < 1e-15)).all()
    if name == "renyi_inf":
        return  # a maximum has no derivative where all classes tie
    (gradient,) = torch.autograd.grad(value.sum(), p)
    # That of the literal sum, which is one number for all classes where they have none by itself.
    assert ((gradient - gradient[..., :1]).abs() < 1e-6).all()


@pytest.mark.parametrize("name", [*PAIRS, *INFINITE])
def test_nan_and_negative_rows_alone_are_nan(name: str) -> None:
    p, q = distributions(), distributions(seed=1)
    p[1, 2], p[2, 0], q[3, 1] = math.nan, -0.1, -0.1
    value = (PAIRS | INFINITE)[name](p, q)
    assert value.isnan().tolist() == [False, True, True, True]


@pytest.mark.parametrize("alpha", [0, 0.5, 1, 2, INF])
def test_nan_rows_of_the_entropies(alpha: float) -> None:
    p = distributions()
    p[1, 2], p[2, 0] = math.nan, -0.1
    assert ti.renyi_entropy(p, alpha).isnan().tolist() == [False, True, True, False]
    if alpha < INF:
        assert ti.tsallis_entropy(p, alpha).isnan().tolist() == [False, True, True, False]


@pytest.mark.parametrize(
    ("call", "error", "says"),
    [
        (lambda p: ti.renyi_entropy(p, -0.5), ValueError, "alpha"),
        (lambda p: ti.renyi_entropy(p, math.nan), ValueError, "alpha"),
        (lambda p: ti.tsallis_entropy(p, INF), ValueError, "alpha"),
        (lambda p: ti.alpha_divergence(p, p, INF), ValueError, "alpha"),
        (lambda p: ti.renyi_divergence(p, p, -1), ValueError, "alpha"),
        (lambda p: ti.renyi_entropy(p, "2"), TypeError, "alpha"),
        (lambda p: ti.js_divergence(p, p, weight=1.5), ValueError, "weight"),
        (lambda p: F.js_div(p, p, weight=-0.5), ValueError, "weight"),
        (lambda p: ti.js_distance(p, p, base=0.5), ValueError, "base"),
        (lambda p: ti.mixture_divergence(p, -1), RuntimeError, "mixture_dim"),
        (lambda p: ti.mixture_divergence(p, 0, weights=torch.ones(3)), RuntimeError, "weights"),
        (lambda p: ti.renyi_entropy(p[:, :0], 2), RuntimeError, "class"),
    ],
)
def test_bad_arguments(call: Callable[[Tensor], Tensor], error: type, says: str) -> None:
    with pytest.raises(error, match=says):
        call(distributions())


def test_values_do_not_come_from_nowhere() -> None:
    """The tests above compare measures with each other: here with numbers computed by hand."""
    p, q = torch.tensor([[0.5, 0.5], [0.1, 0.9]], dtype=torch.float64)
    expected = {
        ti.squared_hellinger_distance: 1 - (math.sqrt(0.05) + math.sqrt(0.45)),
        ti.total_variation_distance: 0.4,
        ti.chi_squared_divergence: 0.16 / 0.1 + 0.16 / 0.9,
        ti.jeffreys_divergence: 0.4 * math.log(5) - 0.4 * math.log(5 / 9),
    }
    for function, value in expected.items():
        np.testing.assert_allclose(function(p, q), value, rtol=1e-14)
    np.testing.assert_allclose(
        ti.renyi_divergence(p, q, 3), math.log(0.125 / 0.01 + 0.125 / 0.81) / 2
    )
    np.testing.assert_allclose(ti.tsallis_entropy(q, 3), (1 - 0.001 - 0.729) / 2)


@pytest.mark.parametrize("weight", [0.3, 0.4, 0.9])
def test_a_probability_that_rounds_away_beside_the_mixture(weight: float) -> None:
    """(1 + x) log(1 + x) of x = -1, which rounding makes -1 - epsilon."""
    p, q = (torch.tensor([1.0, t], dtype=torch.float64) for t in (1.4285714285714285e-21, 0.0))
    for a, b in ((p, q), (q, p)):
        value = ti.js_divergence(a, b, weight=weight)
        torch.testing.assert_close(value, torch.zeros_like(value), rtol=0, atol=1e-20)
    x, y = (20 * random(20, 50, seed=i).float() for i in (0, 1))
    value, tangent = torch.func.jvp(
        lambda x: ti.js_divergence(x, y, kind="logits", weight=weight),
        (x,),
        (torch.ones_like(x),),
    )
    kernel = ti.js_divergence(x, y, kind="logits", weight=weight)
    torch.testing.assert_close(value, kernel)
    assert tangent.isfinite().all()
