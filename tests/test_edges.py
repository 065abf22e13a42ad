"""The edge of the domain: zero probabilities, infinities, NaN, negative numbers, extreme logits.

Where a row is still a distribution, the reference gives the value and the gradients by its positive
entries, and the rules of the package give the gradients by the zero entries.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any

import pytest
import reference
import torch
from ops import BASIC_CASES, KINDS, OPS, Case, Layout, assert_near, exact, measure_case, random
from torch import Tensor, tensor
from torch.autograd import forward_ad, grad
from torch.nn.functional import pad

import torch_infotheory as ti
from torch_infotheory.nn import functional

INF, NAN = math.inf, math.nan
FLOATS = (torch.float64, torch.float32)
MEASURES = [case for case in BASIC_CASES if case.op.kinds]
WIDE_MEASURES = [
    measure_case(op, kinds, Layout("wide", (3, 2, 700) if "x_dim" in op.dims else (3, 1025)))
    for op in OPS
    for kinds in op.kinds
]

pytestmark = pytest.mark.filterwarnings("ignore:divide by zero", "ignore:invalid value")


def edited(case: Case, device: str, change: Callable[[int, str, Tensor], None]) -> list[Tensor]:
    """The inputs of the case after `change(number of the input, its kind, its numbers)`."""
    inputs = [x.to(device).clone() for x in case.numbers]
    for number, (x, kind) in enumerate(zip(inputs, case.kinds, strict=True)):
        change(number, kind, x)
    return [x.requires_grad_() for x in inputs]


def impossible(kind: str) -> float:
    return 0.0 if kind == "probs" else -INF


def with_zeros(case: Case, device: str) -> list[Tensor]:
    """p = 0 < q in one place, p = q = 0 in another, and in tables a column of zeros too."""

    def change(number: int, kind: str, x: Tensor) -> None:
        if number == 0 and not case.op.is_infinite_at_0:
            x[0, ..., 1] = impossible(kind)
        x[1, ..., 3] = impossible(kind)
        if "x_dim" in case.op.dims:
            x[2, 0, 0] = impossible(kind)

    return edited(case, device, change)


def finite_cotangent(value: Tensor) -> Tensor:
    """Random, and 0 where the value is infinite."""
    return exact(random(*value.shape, seed=5)).to(value.device) * value.detach().isfinite()


@pytest.mark.parametrize("case", MEASURES, ids=str)
def test_zero_probabilities(case: Case, device: str) -> None:
    inputs = with_zeros(case, device)
    arrays = [x.detach().cpu().numpy() for x in inputs]
    zeros = [array == impossible(kind) for array, kind in zip(arrays, case.kinds, strict=True)]
    expected = case.evaluate(*arrays)
    if "x_dim" in case.op.dims and case.op.elementwise:
        expected[zeros[0]] = -1.0 if "normalized" in case.options else -INF
    value = case(*inputs)
    assert_near(value, expected)
    cotangent = finite_cotangent(value)
    seen = cotangent.cpu().numpy().copy()
    if case.op.elementwise:
        seen[zeros[0]] = 0.0  # the value of a zero entry depends on nothing
    gradients = reference.gradient(case.evaluate, arrays, seen)
    for number, (gradient, zero) in enumerate(zip(gradients, zeros, strict=True)):
        if case.op.has_slope_at_0 and number == 0 and case.kinds[0] == "probs":
            zero = zero & zeros[1] if len(zeros) > 1 else False & zero
        gradient[zero] = 0.0
    both_0 = torch.from_numpy(zeros[0] & zeros[-1]) if case.op.has_slope_at_0 else None
    for actual, gradient in zip(grad(value, inputs, cotangent), gradients, strict=True):
        if both_0 is not None and len(zeros) > 1:  # where no limit is the derivative
            actual = actual.masked_fill(both_0.to(actual.device), 0)
        assert_near(actual, gradient)


def assert_forward_mode_agrees(
    case: Case, inputs: list[Tensor], gradients: Sequence[Tensor], cotangent: Tensor
) -> None:
    tangents = [random(*x.shape, seed=7).to(x) for x in inputs]
    with forward_ad.dual_level():
        duals = map(forward_ad.make_dual, inputs, tangents)
        forward = forward_ad.unpack_dual(case(*duals)).tangent
    backward = sum((x * t).sum() for x, t in zip(gradients, tangents, strict=True))
    assert_near((forward * cotangent)[cotangent != 0].sum(), backward.detach())


@pytest.mark.parametrize("case", MEASURES, ids=str)
def test_derivatives_of_every_kind_are_finite_at_zero_probabilities(
    case: Case, device: str
) -> None:
    inputs = with_zeros(case, device)
    value = case(*inputs)
    cotangent = finite_cotangent(value)
    first = grad(value, inputs, cotangent, create_graph=True)
    assert all(x.isfinite().all() and x.any() for x in first)
    weighted = sum((random(*x.shape, seed=6).to(x) * x).sum() for x in first)
    if weighted.requires_grad:  # not where the op is linear
        second = grad(weighted, inputs, allow_unused=True)
        assert all(x.isfinite().all() for x in second if x is not None)

    assert_forward_mode_agrees(case, inputs, first, cotangent)


# How many impossible classes lie before and behind the others: in rows of one block and of several.
PADDINGS = {"front": (3, 0), "end": (0, 4), "front_block": (512, 0), "around": (700, 600)}


@pytest.mark.parametrize("padding", PADDINGS.values(), ids=PADDINGS)
@pytest.mark.parametrize("case", [c for c in MEASURES if not c.op.elementwise], ids=str)
def test_impossible_classes_change_nothing(
    case: Case, padding: tuple[int, int], device: str
) -> None:
    # Masks are often finite; exp of the least number is 0 as well.
    finite = [] if "probs" in case.kinds else [(x, torch.finfo(x).min) for x in FLOATS]
    for dtype, lowest in [*((x, -INF) for x in FLOATS), *finite]:
        padded = [
            pad(x, padding, value=0.0 if kind == "probs" else lowest).requires_grad_()
            for x, kind in zip(case.inputs(dtype, device), case.kinds, strict=True)
        ]
        value = case(*padded)
        assert_near(value, case.value)
        gradients = grad(value, padded, case.cotangent.to(value))
        for actual, expected in zip(gradients, case.gradient, strict=True):
            if case.op.has_slope_at_0 and case.kinds[0] == "probs":
                actual = pad(pad(actual, [-n for n in padding]), padding)
            assert_near(actual, pad(tensor(expected), padding), terms=1 / case.classes)


def place(x: Tensor, entry: int) -> tuple[int, ...]:
    """An entry of the second distribution."""
    return (1, *(0,) * (x.dim() - 2), entry)


SPOILS = {
    "nan": (KINDS, lambda x, entry: x[place(x, entry)].fill_(NAN)),
    "negative": (("probs",), lambda x, entry: x[place(x, entry)].neg_()),
    "inf": (("logits",), lambda x, entry: x[place(x, entry)].fill_(INF)),
    "all_minus_inf": (("logits",), lambda x, entry: x[1].fill_(-INF)),
}


def spoilt_cases() -> list[Any]:
    return [
        pytest.param(case, number, spoil, id=f"{case}-{number}-{name}")
        for name, (kinds, spoil) in SPOILS.items()
        for case in (*MEASURES, *WIDE_MEASURES)
        if case.options.get("reduction", "none") == "none"
        for number, kind in enumerate(case.kinds)
        if kind in kinds
    ]


@pytest.mark.parametrize("case, number, spoil", spoilt_cases())
def test_what_is_no_distribution_gives_nan_and_spoils_no_other(
    case: Case, number: int, spoil: Callable[[Tensor, int], Tensor], device: str
) -> None:
    clean = case.inputs(torch.float32, device, requires_grad=True)
    clean_value = case(*clean)
    by_clean = grad(clean_value.sum(), clean)
    for entry in (0, 3, -1):
        inputs = [x.detach().clone() for x in clean]
        spoil(inputs[number], entry)
        inputs = [x.requires_grad_() for x in inputs]
        value = case(*inputs)
        whole = not case.op.elementwise or case.kinds[number] == "logits"
        assert value[1 if whole else place(value, entry)].isnan().all()
        assert_near(value[[0, 2]], clean_value[[0, 2]].detach().cpu())
        gradients = grad(value.sum(), inputs)
        for expected, actual in zip(by_clean, gradients, strict=True):
            assert_near(actual[[0, 2]], expected[[0, 2]].cpu())
        if case.kinds[number] == "logits":
            assert gradients[number][1].isnan().all()
        elif inputs[number].isnan().any():
            assert gradients[number][place(inputs[number], entry)].isnan()


@pytest.mark.parametrize("case", [c for c in MEASURES if len(c.kinds) == 2], ids=str)
def test_possible_under_p_and_impossible_under_q(case: Case, device: str) -> None:
    def change(number: int, kind: str, x: Tensor) -> None:
        if number == 1:
            x[1, 2] = impossible(kind)

    inputs = edited(case, device, change)
    arrays = [x.detach().cpu().numpy() for x in inputs]
    value, expected = case(*inputs), case.evaluate(*arrays)
    assert_near(value, expected)  # Jensen-Shannon is finite, the others are not
    cotangent = finite_cotangent(value)
    if cotangent.ndim == 0 and not cotangent:
        return  # one infinite term makes the mean infinite
    gradients = reference.gradient(case.evaluate, arrays, cotangent.cpu().numpy())
    if case.kinds[1] == "probs":
        of_row = cotangent.expand(len(arrays[1])).cpu()[1].item()
        gradients[1][1, 2] = case.op.slope_by_q_at_0 * of_row
    kept = [0, 1, 2] if value.isfinite().all() else [0, 2]
    first = grad(value, inputs, cotangent)
    for actual, gradient in zip(first, gradients, strict=True):
        assert_near(actual[kept], gradient[kept])
    if value.isfinite().all():
        assert_forward_mode_agrees(case, inputs, first, cotangent)


@pytest.mark.parametrize("dtype", FLOATS, ids=str)
@pytest.mark.parametrize("case", [c for c in MEASURES if set(c.kinds) == {"logits"}], ids=str)
def test_far_logits(case: Case, dtype: torch.dtype, device: str) -> None:
    """A common offset of the logits, and logits so far apart that most probabilities are 0."""
    moves = [lambda x: x + 1e4, lambda x: x - 1e4, lambda x: x * 50]
    if "normalized" in case.options:
        moves.pop()  # log p / log p loses its digits near p = 1
    if not 0 <= case.options.get("alpha", 0) <= 2:
        moves.pop()  # p^a q^(1 - a) is beyond float32, or has the rounding of a large exponent
    for move in moves:
        inputs = [move(x).detach().requires_grad_() for x in case.inputs(dtype, device)]
        arrays = [x.detach().cpu().double().numpy() for x in inputs]
        cotangent = case.cotangent.to(inputs[0])
        gradients = reference.gradient(case.evaluate, arrays, case.cotangent.numpy())
        value = case(*inputs)
        assert_near(value, case.evaluate(*arrays))
        for actual, expected in zip(grad(value, inputs, cotangent), gradients, strict=True):
            assert_near(actual, expected)


LOG2 = math.log(2)
HALF = math.log(0.5)
BY_HAND = [
    # function, inputs, options, value, gradient of the sum of the finite values
    (ti.entropy, [[0.5, 0.5, 0]], {}, LOG2, [[LOG2 - 1, LOG2 - 1, 0]]),
    (ti.entropy, [[-0.0, 1]], {}, 0, [[0, -1]]),
    (ti.entropy, [0.25], {}, LOG2 / 2, [2 * LOG2 - 1]),
    (ti.entropy, [[HALF, HALF, -INF]], {"kind": "log_probs"}, LOG2, [[LOG2 / 2 - 0.5] * 2 + [0]]),
    (ti.entropy, [[7, 7, -INF]], {"kind": "logits"}, LOG2, [[0, 0, 0]]),
    (ti.entropy, [[3e38, -3e38]], {"kind": "logits"}, 0, [[0, 0]]),
    (ti.perplexity, [[0.25, 0.25, 0.25, 0.25, 0]], {}, 4, [[8 * LOG2 - 4] * 4 + [0]]),
    (ti.self_information, [[0.5, 0, 1]], {}, [LOG2, INF, 0], [[-2, 0, -1]]),
    (ti.cross_entropy, [[1, 0], [0.5, 0.5]], {}, LOG2, [[LOG2, LOG2], [-2, 0]]),
    (ti.cross_entropy, [[1, 0, 0], [1, 0, 0]], {}, 0, [[0, 0, 0], [-1, 0, 0]]),
    (
        ti.cross_entropy,
        [[0.5, 0.5], [-1000, 0]],
        {"kind": ("probs", "log_probs")},
        500,
        [[1000, 0], [-0.5, -0.5]],
    ),
    (ti.kl_divergence, [[1, 0], [0.5, 0.5]], {}, LOG2, [[LOG2 + 1, 0], [-2, 0]]),
    (ti.kl_divergence, [[0.5, 0.5], [1, 1]], {}, -LOG2, [[1 - LOG2] * 2, [-0.5, -0.5]]),
    (ti.kl_divergence, [0.5, 0.25], {}, LOG2 / 2, [LOG2 + 1, -2]),
    (ti.js_divergence, [[1, 0], [0, 1]], {}, LOG2, [[LOG2 / 2, 0], [0, LOG2 / 2]]),
    # The least normal float32: half of it must not flush to zero.
    (ti.js_divergence, [[1, 1.2e-38], [1, 0]], {}, 0.6e-38 * LOG2, [[0, LOG2 / 2], [0, 0]]),
    (ti.joint_entropy, [[[0.5, 0], [0, 0.5]]], {}, LOG2, [[[LOG2 - 1, 0], [0, LOG2 - 1]]]),
    (ti.conditional_entropy, [[[0.5, 0], [0, 0.5]]], {}, 0, [[[0, 0], [0, 0]]]),
    (ti.mutual_information, [[[0.5, 0], [0, 0.5]]], {}, LOG2, [[[LOG2 - 1, 0], [0, LOG2 - 1]]]),
    (ti.variation_of_information, [[[0.5, 0], [0, 0.5]]], {}, 0, [[[0, 0], [0, 0]]]),
    (ti.mutual_information, [[[1]]], {}, 0, [[[-1]]]),
    (ti.pointwise_mutual_information, [[[1]]], {}, [[0]], [[[-1]]]),
    (
        ti.pointwise_mutual_information,
        [[[0.5, 0], [0, 0.5]]],
        {},
        [[LOG2, -INF], [-INF, LOG2]],
        [[[-2, 0], [0, -2]]],
    ),
]


@pytest.mark.parametrize("function, inputs, options, value, gradients", BY_HAND)
def test_by_hand(
    function: Callable[..., Tensor],
    inputs: list,
    options: dict[str, str],
    value: float | list,
    gradients: list,
    device: str,
) -> None:
    for dtype in FLOATS:
        tensors = [tensor(x, dtype=dtype, device=device, requires_grad=True) for x in inputs]
        actual = function(*tensors, **options)
        assert_near(actual, tensor(value, dtype=torch.float64))
        finite = actual.isfinite()
        for gradient, expected in zip(grad(actual[finite].sum(), tensors), gradients, strict=True):
            assert_near(gradient, tensor(expected, dtype=torch.float64))


def test_normalized_pointwise_mutual_information_by_hand(device: str) -> None:
    for joint, expected in (
        ([[0.5, 0.0], [0.0, 0.5]], [[1.0, -1.0], [-1.0, 1.0]]),
        ([[1.0, 0.0], [0.0, 0.0]], [[1.0, -1.0], [-1.0, -1.0]]),
        ([[0.25, 0.25], [0.25, 0.25]], [[0.0, 0.0], [0.0, 0.0]]),
    ):
        table = tensor(joint, dtype=torch.float64, device=device, requires_grad=True)
        value = ti.pointwise_mutual_information(table, normalized=True)
        assert_near(value, tensor(expected, dtype=torch.float64))
        assert grad(value.sum(), table)[0].isfinite().all()


@pytest.mark.parametrize("reduction", ["none", "sum"])
@pytest.mark.parametrize("weight", [None, torch.empty(0)], ids=["plain", "weight"])
def test_ignored_labels_of_no_classes(reduction: str, weight: Tensor | None) -> None:
    """There is no class that could be read in the place of one that does not count."""
    input = torch.empty(3, 0, requires_grad=True)
    value = functional.nll_loss(input, torch.full((3,), -100), weight, reduction=reduction)
    assert torch.equal(value, torch.zeros_like(value))
    (gradient,) = torch.autograd.grad(value.sum(), input)
    assert gradient.shape == input.shape
    with pytest.raises(IndexError, match=r"Target 0 is out of bounds\."):
        functional.nll_loss(input, torch.tensor([-100, 0, -100]), weight, reduction=reduction)
