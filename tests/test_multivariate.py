"""Measures of several variables, beside sums of entropies in float64."""

import itertools
import math

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.autograd import gradcheck, gradgradcheck

import torch_infotheory as ti

KINDS = ("probs", "log_probs", "logits", "counts")
SIZES = (2, 3, 4)


def random(*shape: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(*shape, generator=generator, dtype=torch.float64)


def tables(*shape: int, variables: int = 3, seed: int = 0) -> Tensor:
    """Probabilities in which some cells are 0; the last dimensions are the variables."""
    p = random(*shape, seed=seed)
    p = torch.where(p < 0.2, 0.0, p)
    return p / p.sum(list(range(-variables, 0)), keepdim=True)


def stated(p: Tensor, kind: str) -> Tensor:
    return {
        "probs": lambda: p,
        "log_probs": lambda: p.log(),
        "logits": lambda: p.log() + 3,
        "counts": lambda: 17 * p,
    }[kind]()


def entropy(p: Tensor, *kept: int, variables: int = 3) -> np.ndarray:
    """Of the variables, numbered from the end: -1 is the last."""
    others = tuple(v for v in range(-variables, 0) if v not in kept)
    marginal = p.numpy().sum(others) if others else p.numpy()
    marginal = marginal.reshape(*p.shape[: p.dim() - variables], -1)
    with np.errstate(divide="ignore", invalid="ignore"):
        return -np.where(marginal > 0, marginal * np.log(marginal), 0).sum(-1)


X, Y, Z = -3, -2, -1


def conditional(p: Tensor) -> np.ndarray:
    return entropy(p, X, Z) + entropy(p, Y, Z) - entropy(p, X, Y, Z) - entropy(p, Z)


def total(p: Tensor) -> np.ndarray:
    return entropy(p, X) + entropy(p, Y) + entropy(p, Z) - entropy(p, X, Y, Z)


def dual(p: Tensor) -> np.ndarray:
    pairs = entropy(p, X, Y) + entropy(p, X, Z) + entropy(p, Y, Z)
    return pairs - 2 * entropy(p, X, Y, Z)


def shared(p: Tensor) -> np.ndarray:
    singles = entropy(p, X) + entropy(p, Y) + entropy(p, Z)
    pairs = entropy(p, X, Y) + entropy(p, X, Z) + entropy(p, Y, Z)
    return singles - pairs + entropy(p, X, Y, Z)


OF_THREE = {
    "conditional_mutual_information": (conditional, lambda x, y, z: (x, y, z)),
    "total_correlation": (total, lambda *dims: (dims,)),
    "dual_total_correlation": (dual, lambda *dims: (dims,)),
    "co_information": (shared, lambda *dims: (dims,)),
}
of_three = pytest.mark.parametrize("name", OF_THREE)


@of_three
@pytest.mark.parametrize("kind", KINDS)
def test_three_variables(name, kind):
    reference, arguments = OF_THREE[name]
    function = getattr(ti, name)
    p = tables(5, *SIZES)
    expected = reference(p)
    assert (np.abs(expected) > 1e-3).all()
    value = function(stated(p, kind), *arguments(-3, -2, -1), kind=kind)
    np.testing.assert_allclose(value, expected, rtol=1e-11, atol=1e-13)
    bits = function(stated(p, kind), *arguments(1, 2, 3), kind=kind, base=2)
    np.testing.assert_allclose(bits * math.log(2), expected, rtol=1e-11, atol=1e-13)
    # The dimensions in another order, and one variable in two of them.
    moved = stated(p, kind).permute(2, 0, 3, 1)
    value = function(moved, *arguments(3, 0, 2), kind=kind, keepdim=True)
    assert value.shape == (1, 5, 1, 1)
    np.testing.assert_allclose(value.flatten(), expected, rtol=1e-11, atol=1e-13)
    split = stated(p, kind).unflatten(-1, (2, 2)).movedim(-1, 1)
    value = function(split, *arguments(2, 3, (4, 1)), kind=kind)
    np.testing.assert_allclose(value, expected, rtol=1e-11, atol=1e-13)


@of_three
def test_dtypes(name):
    reference, arguments = OF_THREE[name]
    function, dims = getattr(ti, name), arguments(-3, -2, -1)
    p = tables(5, *SIZES)
    for dtype, error in ((torch.float32, 1e-6), (torch.float16, 3e-3), (torch.bfloat16, 2e-2)):
        value = function(p.to(dtype), *dims)
        assert value.dtype == dtype
        torch.testing.assert_close(
            value.double(), torch.tensor(reference(p)), rtol=error, atol=error
        )
        assert function(p.to(dtype), *dims, dtype=torch.float32).dtype == torch.float32
    counts = torch.randint(0, 9, (5, *SIZES), generator=torch.Generator().manual_seed(0))
    expected = reference(counts / counts.sum((1, 2, 3), keepdim=True).double())
    value = function(counts, *dims, kind="counts")
    assert value.dtype == torch.float32
    np.testing.assert_allclose(value, expected, rtol=1e-5, atol=1e-6)


@of_three
@pytest.mark.parametrize("kind", KINDS)
def test_derivatives(name, kind):
    _, arguments = OF_THREE[name]
    function, dims = getattr(ti, name), arguments(-3, -2, -1)
    p = random(2, 2, 2, 3) + 0.1
    joint = stated(p / p.sum((1, 2, 3), keepdim=True), kind).requires_grad_()

    def value(joint: Tensor) -> Tensor:
        return function(joint, *dims, kind=kind)

    assert gradcheck(value, joint, check_forward_ad=True)
    assert gradgradcheck(value, joint)
    together = torch.autograd.grad(value(joint).sum(), joint)[0]
    assert together.abs().max() > 1e-3
    one_by_one = torch.func.vmap(torch.func.grad(value))(joint.detach())
    torch.testing.assert_close(one_by_one, together)


@of_three
@pytest.mark.parametrize("kind", ("probs", "log_probs", "logits"))
def test_gradient_where_cells_are_empty(name, kind):
    """0 there, and elsewhere that of the table with a trace in the empty cells."""
    _, arguments = OF_THREE[name]
    function, dims = getattr(ti, name), arguments(-3, -2, -1)
    p = tables(2, *SIZES)
    p[0, :, :, 1] = 0  # a z that never occurs
    p = p / p.sum((1, 2, 3), keepdim=True)

    def gradient(p: Tensor) -> Tensor:
        joint = stated(p, kind).requires_grad_()
        return torch.autograd.grad(function(joint, *dims, kind=kind).sum(), joint)[0]

    found, empty = gradient(p), p == 0
    assert empty.any() and found.isfinite().all()
    assert not found[empty].any() and found[~empty].any()
    near = gradient(p.clamp_min(1e-12))
    torch.testing.assert_close(found[~empty], near[~empty], rtol=1e-5, atol=1e-7)


@of_three
def test_never_below_0_and_digits_near_independence(name):
    """Of second order in the distance from independence; float32 holds the table only."""
    reference, arguments = OF_THREE[name]
    function, dims = getattr(ti, name), arguments(-3, -2, -1)
    margins = [random(n, seed=n) + 0.5 for n in SIZES]
    independent = torch.einsum("i,j,k->ijk", *(m / m.sum() for m in margins))
    for step in (0.0, 1e-7, 1e-5, 1e-3):
        wave = torch.randn(*SIZES, generator=torch.Generator().manual_seed(0)).double()
        p = independent * (1 + step * wave)
        p = (p / p.sum()).float()
        value = function(p, *dims)
        if name != "co_information":
            assert value >= 0
        if step >= 1e-5:
            exact = p.double() / p.double().sum()
            # To the first order in d = p / q - 1 nothing is left; the second is a mean of squares.
            expected = function(exact, *dims)
            assert abs(value - expected) <= 1e-3 * abs(expected)
            assert abs(expected) < step**2 * 10
    if name != "co_information":
        many = tables(2000, *SIZES, seed=3).float()
        assert (function(many, *dims) >= 0).all()


def test_every_formulation_agrees():
    p = tables(7, *SIZES)
    information = ti.conditional_mutual_information(p)
    chain = ti.mutual_information(p, -3, (-2, -1)) - ti.mutual_information(p.sum(-2), -2, -1)
    torch.testing.assert_close(information, chain, rtol=1e-12, atol=1e-14)
    swapped = ti.conditional_mutual_information(p, -2, -3, -1)
    torch.testing.assert_close(information, swapped, rtol=1e-12, atol=1e-14)
    without = ti.conditional_mutual_information(p, -3, -2, ())
    torch.testing.assert_close(without.shape, torch.Size([7, 4]))
    assert (without >= 0).all()


@pytest.mark.parametrize("function", (ti.total_correlation, ti.dual_total_correlation))
def test_two_variables_are_mutual_information(function):
    p = tables(6, 3, 4, variables=2)
    expected = ti.mutual_information(p)
    torch.testing.assert_close(function(p, (-2, -1)), expected)
    torch.testing.assert_close(ti.co_information(p, (-2, -1)), expected)
    assert not function(p, (-1,)).any()


def test_four_variables():
    p = tables(3, 2, 2, 3, 2, variables=4)
    h = {
        kept: ti.entropy(p.sum([d for d in range(1, 5) if d not in kept]).flatten(1))
        if len(kept) < 4
        else ti.entropy(p.flatten(1))
        for size in range(1, 5)
        for kept in itertools.combinations(range(1, 5), size)
    }
    every = h[1, 2, 3, 4]
    co = -sum((-1) ** len(kept) * value for kept, value in h.items())
    torch.testing.assert_close(ti.co_information(p, (1, 2, 3, 4)), co, rtol=1e-10, atol=1e-12)
    singles = sum(value for kept, value in h.items() if len(kept) == 1)
    torch.testing.assert_close(ti.total_correlation(p, (1, 2, 3, 4)), singles - every)
    triples = sum(value for kept, value in h.items() if len(kept) == 3)
    torch.testing.assert_close(ti.dual_total_correlation(p, (4, 2, 1, 3)), triples - 3 * every)


def test_exclusive_or():
    joint = torch.zeros(2, 2, 2)
    for x, y in itertools.product(range(2), repeat=2):
        joint[x, y, x ^ y] = 0.25
    dims = (0, 1, 2)
    assert ti.co_information(joint, dims, base=2) == -1
    assert ti.conditional_mutual_information(joint, base=2) == 1
    assert ti.total_correlation(joint, dims, base=2) == 1
    assert ti.dual_total_correlation(joint, dims, base=2) == 2


@of_three
def test_a_nan_and_a_negative_cell_stay_in_their_table(name):
    _, arguments = OF_THREE[name]
    function, dims = getattr(ti, name), arguments(-3, -2, -1)
    for kind, bad in (("probs", math.nan), ("probs", -0.1), ("counts", -1.0), ("logits", math.nan)):
        joint = stated(tables(3, *SIZES), kind).clone()
        joint[1, 0, 1, 2] = bad
        assert function(joint, *dims, kind=kind).isnan().tolist() == [False, True, False]
    for kind, nothing in (("counts", 0.0), ("logits", -math.inf)):
        joint = stated(tables(3, *SIZES), kind).clone()
        joint[1] = nothing
        assert function(joint, *dims, kind=kind).isnan().tolist() == [False, True, False]


# Two variables

AVERAGES = ("arithmetic", "geometric", "min", "max", "joint", "studholme")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("average", AVERAGES)
def test_normalized_mutual_information(average, kind):
    p = tables(5, 3, 4, variables=2)
    h_x, h_y, h_xy = (entropy(p, *kept, variables=2) for kept in ((-2,), (-1,), (-2, -1)))
    divisor = {
        "arithmetic": (h_x + h_y) / 2,
        "geometric": np.sqrt(h_x * h_y),
        "min": np.minimum(h_x, h_y),
        "max": np.maximum(h_x, h_y),
    }.get(average, h_xy)
    numerator = h_x + h_y if average == "studholme" else h_x + h_y - h_xy
    value = ti.normalized_mutual_information(stated(p, kind), average=average, kind=kind)
    np.testing.assert_allclose(value, numerator / divisor, rtol=1e-11)
    turned = stated(p, kind).permute(1, 2, 0)
    value = ti.normalized_mutual_information(turned, 0, 1, average=average, kind=kind, keepdim=True)
    assert value.shape == (1, 1, 5)
    np.testing.assert_allclose(value.flatten(), numerator / divisor, rtol=1e-11)


@pytest.mark.parametrize("average", AVERAGES)
def test_normalized_mutual_information_at_the_edges(average):
    sure = torch.tensor([[0.0, 1.0], [0.0, 0.0]], requires_grad=True)
    value = ti.normalized_mutual_information(sure, average=average)
    assert value == 1
    assert torch.autograd.grad(value, sure)[0].isfinite().all()
    half_sure = torch.tensor([[0.5, 0.5], [0.0, 0.0]], requires_grad=True)
    value = ti.normalized_mutual_information(half_sure, average=average)
    assert value == (1 if average == "studholme" else 0)
    assert torch.autograd.grad(value, half_sure)[0].isfinite().all()
    equal = ti.normalized_mutual_information(torch.eye(3) / 3, average=average)
    assert abs(equal - (2 if average == "studholme" else 1)) < 1e-6
    assert ti.normalized_mutual_information(torch.full((2, 2), math.nan), average=average).isnan()
    joint = (tables(2, 3, 3, variables=2) + 0.01).requires_grad_()
    assert gradcheck(lambda p: ti.normalized_mutual_information(p, average=average), joint)
    assert gradgradcheck(lambda p: ti.normalized_mutual_information(p, average=average), joint)


@pytest.mark.parametrize("kind", KINDS)
def test_lautum_information(kind):
    p = random(5, 3, 4) + 0.1
    p = p / p.sum((1, 2), keepdim=True)
    q = (p.sum(2, keepdim=True) * p.sum(1, keepdim=True)).numpy()
    expected = (q * np.log(q / p.numpy())).sum((1, 2))
    assert (expected > 1e-3).all()
    joint = stated(p, kind).requires_grad_()
    value = ti.lautum_information(joint, kind=kind)
    np.testing.assert_allclose(value.detach(), expected, rtol=1e-11)
    bits = ti.lautum_information(joint.movedim(0, -1), 0, 1, kind=kind, base=2, keepdim=True)
    np.testing.assert_allclose(bits.detach().flatten() * math.log(2), expected, rtol=1e-11)
    assert gradcheck(lambda j: ti.lautum_information(j, kind=kind), joint, check_forward_ad=True)
    assert gradgradcheck(lambda j: ti.lautum_information(j, kind=kind), joint)


def test_lautum_information_at_the_edges():
    assert ti.lautum_information(torch.eye(2) / 2) == math.inf
    never = torch.tensor([[0.5, 0.5], [0.0, 0.0]], requires_grad=True)
    value = ti.lautum_information(never)
    assert value == 0
    assert torch.autograd.grad(value, never)[0].isfinite().all()
    margins = random(4) + 0.5, random(5, seed=1) + 0.5
    p = torch.outer(*(m / m.sum() for m in margins))
    p = p * (1 + 1e-5 * torch.randn(4, 5, generator=torch.Generator().manual_seed(0)))
    p = (p / p.sum()).float()
    value, exact = ti.lautum_information(p), ti.mutual_information(p.double() / p.double().sum())
    assert 0 < exact < 1e-9 and abs(value - exact) < 1e-3 * exact  # equal to the second order


@pytest.mark.parametrize("kind", KINDS)
def test_positive_pointwise_mutual_information(kind):
    p = tables(5, 3, 4, variables=2)
    q = (p.sum(2, keepdim=True) * p.sum(1, keepdim=True)).numpy()
    with np.errstate(divide="ignore"):
        expected = np.maximum(np.log(p.numpy() / q), 0)
    assert (expected > 0).any() and (expected == 0).any()
    value = ti.positive_pointwise_mutual_information(
        stated(p, kind), kind=kind, dtype=torch.float64
    )
    np.testing.assert_allclose(value, expected, rtol=1e-11, atol=1e-13)
    counts = torch.tensor([[3, 1], [0, 4]])
    value = ti.positive_pointwise_mutual_information(counts, kind="counts", base=2)
    np.testing.assert_allclose(value, [[1, 0], [0, math.log2(0.5 / (0.5 * 0.625))]], rtol=1e-6)
    joint = (p + 0.01).requires_grad_()
    assert gradcheck(ti.positive_pointwise_mutual_information, joint)
    found = torch.autograd.grad(
        ti.positive_pointwise_mutual_information(p.requires_grad_()).sum(), p
    )[0]
    assert found.isfinite().all() and found.any()


# One event


def test_binary_entropy():
    p = torch.tensor([1e-30, 1e-5, 0.3, 0.5, 0.9, 1 - 1e-9], dtype=torch.float64)
    q = p.numpy()
    expected = -q * np.log(q) - (1 - q) * np.log1p(-q)
    np.testing.assert_allclose(ti.binary_entropy(p), expected, rtol=1e-14)
    np.testing.assert_allclose(ti.binary_entropy(p, base=2), expected / math.log(2), rtol=1e-14)
    value = ti.binary_entropy(p.logit(), kind="logits")
    np.testing.assert_allclose(value[:-1], expected[:-1], rtol=1e-12)
    both = ti.entropy(torch.stack([p, 1 - p], -1))
    torch.testing.assert_close(ti.binary_entropy(p), both)
    # h = (l + 1) e^-l for large l: no difference of numbers of the size of l.
    for logit in (40.0, -40.0, 300.0):
        value = ti.binary_entropy(torch.tensor(logit, dtype=torch.float64), kind="logits")
        assert abs(value / ((abs(logit) + 1) * math.exp(-abs(logit))) - 1) < 1e-12


@pytest.mark.parametrize("kind", ("probs", "logits"))
def test_derivatives_of_binary_entropy(kind):
    x = torch.tensor([0.1, 0.5, 0.8], dtype=torch.float64)
    if kind == "logits":
        x = torch.tensor([-2.0, 0.0, 3.0], dtype=torch.float64)
    x.requires_grad_()

    def value(x: Tensor) -> Tensor:
        return ti.binary_entropy(x, kind=kind)

    # At a logit of 0 numbers on both sides of the branch are compared.
    assert gradcheck(value, x, check_forward_ad=True)
    assert gradgradcheck(value, x)


def test_binary_entropy_at_the_edges():
    p = torch.tensor([0.0, 1.0, -0.1, 1.1, math.nan], requires_grad=True)
    value = ti.binary_entropy(p)
    assert value[:2].tolist() == [0, 0] and value[2:].isnan().all()
    assert torch.autograd.grad(value[:2].sum(), p)[0][:2].tolist() == [0, 0]
    logits = torch.tensor([math.inf, -math.inf], requires_grad=True)
    value = ti.binary_entropy(logits, kind="logits")
    assert value.tolist() == [0, 0]
    assert torch.autograd.grad(value.sum(), logits)[0].tolist() == [0, 0]
    for dtype in (torch.float16, torch.bfloat16):
        assert ti.binary_entropy(torch.tensor([0.5], dtype=dtype)).dtype == dtype
    assert ti.binary_entropy(torch.rand(3).half(), dtype=torch.float32).dtype == torch.float32


def test_compile():
    p = tables(4, *SIZES)

    def every(p: Tensor) -> Tensor:
        return (
            ti.conditional_mutual_information(p)
            + ti.total_correlation(p, (1, 2, 3))
            + ti.dual_total_correlation(p, (1, 2, 3))
            + ti.co_information(p.log(), (1, 2, 3), kind="log_probs")
            + ti.normalized_mutual_information(p, (1, 2), 3)
        )

    compiled = torch.compile(every, backend="eager", fullgraph=True)
    torch.testing.assert_close(compiled(p), every(p))


@pytest.mark.parametrize("dynamic", (False, True))
@pytest.mark.parametrize("name", OF_THREE)
def test_compile_with_gradients(name: str, dynamic: bool):
    """In one graph, in which the number of tables stays open."""
    _, arguments = OF_THREE[name]
    torch._dynamo.reset()

    def value(joint: Tensor) -> Tensor:
        return getattr(ti, name)(joint, *arguments(1, 2, 3), kind="logits")

    compiled = torch.compile(value, backend="aot_eager", fullgraph=True, dynamic=dynamic)
    for n in (2, 5):
        logits = tables(n, *SIZES).log().requires_grad_()
        found = compiled(logits)
        torch.testing.assert_close(found, value(logits))
        (gradient,) = torch.autograd.grad(found.sum(), logits)
        torch.testing.assert_close(gradient, torch.autograd.grad(value(logits).sum(), logits)[0])
        assert gradient.any()


OPS = torch.ops.torch_infotheory
OP_CALLS = [
    (OPS.conditional_mutual_information.default, (), {}),
    (OPS.total_correlation.default, ([1, 2, 3],), {}),
    (OPS.dual_total_correlation.default, ([3, 1, 2], [1, 2]), {"keepdim": True}),
    (OPS.co_information.default, ([1, 2, 3],), {"base": 2.0}),
    (OPS.normalized_mutual_information.default, (), {"average": "geometric"}),
    (OPS.lautum_information.default, ([1], [2, 3]), {"dtype": torch.float32}),
    (OPS.positive_pointwise_mutual_information.default, (), {}),
    (OPS.binary_entropy.default, (), {}),
]


@pytest.mark.parametrize("op, arguments, options", OP_CALLS, ids=str)
def test_opcheck_and_meta(op, arguments, options):
    joint = (tables(2, *SIZES) + 0.01).requires_grad_()
    torch.library.opcheck(op, (joint, *arguments), options)
    value = op(joint, *arguments, **options)
    on_meta = op(joint.detach().to("meta"), *arguments, **options)
    assert (on_meta.shape, on_meta.dtype) == (value.shape, value.dtype)


def test_lengths_of_the_ops():
    """Schemas have no lists of lists: how many of the dimensions each variable has."""
    p = tables(*SIZES)
    expected = ti.mutual_information(p, (0, 2), 1)
    torch.testing.assert_close(OPS.total_correlation(p, [0, 2, 1], [2, 1]), expected)
    for lengths in ([2], [2, 2], [4, -1], []):
        with pytest.raises(ValueError, match="^total_correlation: expected lengths to say"):
            OPS.total_correlation(p, [0, 2, 1], lengths)


def test_no_tables_and_constant_variables():
    for kind in KINDS:
        none = torch.empty(0, *SIZES, requires_grad=True)
        for name, (_, arguments) in OF_THREE.items():
            value = getattr(ti, name)(none, *arguments(1, 2, 3), kind=kind)
            assert value.shape == (0,)
            assert torch.autograd.grad(value.sum(), none)[0].shape == none.shape
        assert ti.normalized_mutual_information(none, 1, (2, 3), kind=kind).shape == (0,)
    p = tables(2, *SIZES).requires_grad_()
    for value in (ti.total_correlation(p, ((1, 2, 3),)), ti.co_information(p, ((1, 2, 3), ()))):
        assert value.tolist() == [0, 0]
        assert not torch.autograd.grad(value.sum(), p)[0].any()


@pytest.mark.parametrize("name", OF_THREE)
def test_autocast_widens(name):
    _, arguments = OF_THREE[name]
    p = tables(2, *SIZES).bfloat16()
    with torch.autocast("cpu", torch.bfloat16):
        value = getattr(ti, name)(p, *arguments(1, 2, 3))
        assert ti.binary_entropy(p).dtype == torch.float32
    assert value.dtype == torch.float32
    expected = getattr(ti, name)(p, *arguments(1, 2, 3), dtype=torch.float32)
    assert torch.equal(value, expected)


def test_validation_looks_at_what_was_given():
    p = tables(*SIZES)
    p[:, :, 1] = 0  # a z that never occurs
    p = p / p.sum()
    ti.set_validation(True)
    try:
        ti.conditional_mutual_information(p)
        ti.co_information(p, (0, (1, 2)))
        ti.binary_entropy(p)
        for name, (_, arguments) in OF_THREE.items():
            with pytest.raises(ValueError, match=f"^{name}: the probabilities joint.* total 2"):
                getattr(ti, name)(2 * p, *arguments(0, 1, 2))
    finally:
        ti.set_validation(False)


P = torch.full((2, 2, 2), 0.125)
BAD = [
    ("conditional_mutual_information", ([0.5],), {}, TypeError, "joint to be a tensor"),
    ("conditional_mutual_information", (P, 0, 1, 3), {}, IndexError, "z_dim 3 is out of range"),
    ("conditional_mutual_information", (P, 0, 1, 1), {}, RuntimeError, "named twice"),
    ("conditional_mutual_information", (P,), {"kind": "prob"}, ValueError, "kind.*'prob'"),
    ("conditional_mutual_information", (P.long(),), {}, TypeError, "got Long"),
    ("conditional_mutual_information", (P,), {"kind": 2}, TypeError, "kind to be 'probs'"),
    ("conditional_mutual_information", (P,), {"base": 1}, ValueError, "base to be"),
    ("conditional_mutual_information", (P,), {"dtype": torch.int}, TypeError, "dtype to be"),
    ("total_correlation", (P, (0, 1.0)), {}, TypeError, "dims to be an int"),
    ("total_correlation", (P, "01"), {}, TypeError, "dims to be a dimension, or a tuple"),
    ("dual_total_correlation", (P, ((0, 0), 1)), {}, RuntimeError, "twice in dims"),
    ("normalized_mutual_information", (P,), {"average": 2}, TypeError, "average to be a string"),
    ("lautum_information", (P.to_sparse(),), {}, NotImplementedError, "joint to be a dense"),
    ("binary_entropy", (P,), {"kind": 2}, TypeError, "kind to be 'probs' or 'logits', got 2"),
    ("conditional_mutual_information", (P[:0],), {}, RuntimeError, "at least one class"),
    ("total_correlation", (P, 1), {}, TypeError, "dims"),
    ("co_information", (P, (0,)), {}, ValueError, "at least 2"),
    ("normalized_mutual_information", (P,), {"average": "mean"}, ValueError, "average.*'mean'"),
    ("binary_entropy", (P.long(),), {}, TypeError, "got Long"),
    ("binary_entropy", (0.5,), {}, TypeError, "p to be a tensor"),
    ("binary_entropy", (P,), {"kind": "log_probs"}, ValueError, "kind"),
    ("binary_entropy", (P,), {"base": 1}, ValueError, "base"),
]


@pytest.mark.parametrize(("name", "arguments", "options", "error", "message"), BAD)
def test_bad_input(name, arguments, options, error, message):
    with pytest.raises(error, match=f"{name}: .*{message}"):
        getattr(ti, name)(*arguments, **options)
