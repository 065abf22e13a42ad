"""Every option of the drop-in losses against torch, and what torch gets wrong or refuses.

Hypothesis draws the options; the numbers come from a seed it draws, exact in every dtype.
"""

import math
import re
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import torch
from dropin import LOW_PRECISION, assert_same, assert_same_error, value_and_gradients
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.autograd import forward_ad

from torch_infotheory.nn import functional as F

T = torch.nn.functional
INF = math.inf

DTYPES = (torch.float64, torch.float32, torch.bfloat16, torch.float16)
INDEX_DTYPES = (torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64)
REDUCTIONS = ("none", "mean", "sum")
# One class; fewer than a pack of lanes; one more than a pack; one more than the 64 classes up to
# which rows go side by side; one more than a block of 512.
CLASSES = (1, 3, 17, 65, 513)
# No batch dimension; an empty batch; one row; odd numbers of rows and of positions behind the class
# dimension, fewer and more than a pack.
SHAPES = ((), (0,), (1,), (5,), (37,), (0, 4), (3, 1), (3, 35), (2, 3, 5), (2, 2, 1, 3))

pytestmark = pytest.mark.filterwarnings("ignore:reduction. 'mean' divides:UserWarning")


# What the grid is made of


def exact(x: Tensor) -> Tensor:
    """Numbers near `x` that float16 and bfloat16 represent, so that all dtypes get the same."""
    return x.bfloat16().half().double()


def as_it_is(x: Tensor) -> Tensor:
    return x.contiguous()


def class_last(x: Tensor) -> Tensor:
    return x if x.dim() < 2 else x.movedim(1, -1).contiguous().movedim(-1, 1)


def stepped(x: Tensor) -> Tensor:
    """Every second number of memory; whoever reads the others meets a NaN, or a bad index."""
    other = torch.full_like(x, torch.nan if x.is_floating_point() else 99)
    return torch.stack((x, other), -1)[..., 0]


def shifted(x: Tensor) -> Tensor:
    """Contiguous, but one number off the alignment of a pack."""
    return torch.cat((x.new_zeros(1), x.flatten()))[1:].view(x.shape)


def expanded(x: Tensor) -> Tensor:
    return x[:1].expand_as(x) if x.dim() and x.size(0) else x


LAYOUTS = (as_it_is, class_last, stepped, shifted, expanded)


def with_classes(shape: tuple[int, ...], classes: int) -> tuple[int, ...]:
    """(C), (N, C) or (N, C, d1, ...)."""
    return (*shape[:1], classes, *shape[1:])


CLASSIFICATION = {
    "seed": st.integers(0, 2**16),
    "shape": st.sampled_from(SHAPES),
    "classes": st.sampled_from(CLASSES),
    "dtype": st.sampled_from(DTYPES),
    "layouts": st.tuples(*[st.sampled_from(LAYOUTS)] * 3),
    "log_probs": st.booleans(),
    "weight": st.sampled_from((None, "positive", "some zero", "negative")),
    "reduction": st.sampled_from(REDUCTIONS),
}
INDICES = CLASSIFICATION | {
    "ignore_index": st.sampled_from((-100, -1, 0, 16, 10**9)),
    "ignored": st.sampled_from((0.0, 0.3, 1.0)),
}
PROBABILITIES = CLASSIFICATION | {
    "other_dtypes": st.tuples(*[st.sampled_from(DTYPES)] * 2),
    "requires_grad": st.tuples(st.booleans(), st.booleans()),
}
SMOOTHING = {"label_smoothing": st.sampled_from((0.0, 0.1, 1.0, -0.5))}  # torch: below 0 is none
DIVERGENCE = {
    "seed": st.integers(0, 2**16),
    "shapes": st.sampled_from(
        [((5,), (5,)), ((), ()), ((0, 4), (0, 4)), ((3, 35), (3, 35)), ((2, 3, 17), (2, 3, 17))]
        + [((3, 35), (1, 35)), ((1, 35), (3, 35)), ((35,), (3, 35)), ((3, 35), ())]
    ),
    "dtypes": st.tuples(*[st.sampled_from(DTYPES)] * 2),
    "layouts": st.tuples(*[st.sampled_from(LAYOUTS)] * 2),
    "some_zero": st.booleans(),
    "log_target": st.booleans(),
    "reduction": st.sampled_from((*REDUCTIONS, "batchmean")),
}


def logits_and_weight(case: dict[str, Any]) -> tuple[Tensor, dict[str, Any]]:
    """The input of a classification, and the options."""
    torch.manual_seed(case["seed"])
    input = 3 * torch.randn(with_classes(case["shape"], case["classes"]), dtype=torch.float64)
    if case["log_probs"]:
        input = input.log_softmax(1 if case["shape"] else 0)
    options = {k: case[k] for k in ("reduction", "label_smoothing", "ignore_index") if k in case}
    weight = exact(torch.rand(case["classes"]) + 0.5)
    if case["weight"] == "some zero":
        weight *= torch.rand(case["classes"]) < 0.5
    elif case["weight"] == "negative":
        weight *= -1
    if case["weight"]:
        options["weight"] = case["layouts"][2](weight).to(case["dtype"])
    return case["layouts"][0](exact(input).to(case["dtype"])).requires_grad_(), options


def with_indices(case: dict[str, Any]) -> tuple[tuple[Tensor, Tensor], dict[str, Any]]:
    input, options = logits_and_weight(case)
    target = torch.randint(case["classes"], case["shape"])
    target.masked_fill_(torch.rand(case["shape"]) < case["ignored"], case["ignore_index"])
    return (input, case["layouts"][1](target)), options


def with_probabilities(case: dict[str, Any]) -> tuple[tuple[Tensor, Tensor], dict[str, Any]]:
    input, options = logits_and_weight(case)
    (target_dtype, weight_dtype), requires_grad = case["other_dtypes"], case["requires_grad"]
    # The loss is linear in the target: it need be neither normalized nor positive.
    target = exact(torch.rand(input.shape) * 2 - 0.5).to(target_dtype)
    if "weight" in options:
        options["weight"] = options["weight"].to(weight_dtype).requires_grad_(requires_grad[1])
    return (input, case["layouts"][1](target).requires_grad_(requires_grad[0])), options


def divergence(case: dict[str, Any]) -> tuple[tuple[Tensor, Tensor], dict[str, Any]]:
    torch.manual_seed(case["seed"])
    input, target = (exact(torch.rand(shape) + 0.05) for shape in case["shapes"])
    # The gradient to a target of 0, and all at a target of log(0), is NaN in torch.
    some_zero = case["some_zero"] and not case["log_target"]
    if some_zero:
        target *= torch.rand(target.shape) < 0.8
    if case["log_target"]:
        target = target.log()
    input, target = (
        layout(exact(x).to(dtype))
        for x, dtype, layout in zip(
            (input.log(), target), case["dtypes"], case["layouts"], strict=True
        )
    )
    options = {k: case[k] for k in ("reduction", "log_target")}
    return (input.requires_grad_(), target.requires_grad_(not some_zero)), options


# The grid


def compare(
    function: str, device: str, arguments: tuple[Tensor, ...], options: dict[str, Any]
) -> None:
    ours, theirs = getattr(F, function), getattr(T, function)
    arguments = tuple(x.to(device) for x in arguments)
    options = {k: x.to(device) if isinstance(x, Tensor) else x for k, x in options.items()}
    if theirs(*arguments, **options).isnan().any():
        # The mean of nothing, or of targets without weight: no gradient means anything.
        assert options["reduction"] in ("mean", "batchmean")
        assert ours(*arguments, **options).isnan()
    else:
        assert_same(ours, theirs, *arguments, **options)


@given(case=st.fixed_dictionaries(INDICES | SMOOTHING))
@settings(max_examples=300)
def test_cross_entropy_with_indices(case: dict[str, Any], device: str) -> None:
    compare("cross_entropy", device, *with_indices(case))


@given(case=st.fixed_dictionaries(PROBABILITIES | SMOOTHING))
@settings(max_examples=300)
def test_cross_entropy_with_probabilities(case: dict[str, Any], device: str) -> None:
    compare("cross_entropy", device, *with_probabilities(case))


@given(case=st.fixed_dictionaries(INDICES))
@settings(max_examples=300)
def test_nll_loss(case: dict[str, Any], device: str) -> None:
    compare("nll_loss", device, *with_indices(case))


@given(case=st.fixed_dictionaries(DIVERGENCE))
@settings(max_examples=300)
def test_kl_div(case: dict[str, Any], device: str) -> None:
    compare("kl_div", device, *divergence(case))


@pytest.mark.parametrize("dtype", LOW_PRECISION, ids=str)
@pytest.mark.parametrize("classes", [1000, 32000])  # ImageNet; the vocabulary of a language model
@pytest.mark.parametrize(
    "options",
    [{}, {"label_smoothing": 0.1}, {"reduction": "sum"}, {"reduction": "none"}],
    ids=str,
)
def test_low_precision_errors_of_long_rows(
    dtype: torch.dtype, classes: int, options: dict[str, Any], device: str
) -> None:
    torch.manual_seed(0)
    input = (3 * torch.randn(8, classes, device=device)).to(dtype).requires_grad_()
    target = torch.randint(classes, (8,), device=device)
    probabilities = torch.randn(8, classes, device=device).softmax(1).to(dtype).requires_grad_()
    log_probs = input.detach().log_softmax(1).requires_grad_()
    assert_same(F.cross_entropy, T.cross_entropy, input, target, **options)
    assert_same(F.cross_entropy, T.cross_entropy, input, probabilities, **options)
    options = {k: v for k, v in options.items() if k != "label_smoothing"}
    assert_same(F.nll_loss, T.nll_loss, log_probs, target, **options)
    assert_same(F.kl_div, T.kl_div, log_probs, probabilities, **options)


# Targets


@pytest.mark.parametrize("dtype", INDEX_DTYPES, ids=str)
@pytest.mark.parametrize("shape", [(), (37,), (3, 35)], ids=str)
@pytest.mark.parametrize("function", [F.cross_entropy, F.nll_loss])
def test_every_integer_type_of_target(
    function: Any, shape: tuple[int, ...], dtype: torch.dtype, device: str
) -> None:
    torch.manual_seed(0)
    input = torch.randn(with_classes(shape, 100), device=device)
    target = torch.randint(100, shape, device=device)
    ignored = torch.iinfo(dtype).max  # a negative one would not fit all types
    if shape:
        target[0] = ignored if ignored < 2**31 else 2**31
    ignored = int(target.max()) if shape else -100
    options: list[dict[str, Any]] = [{}, {"weight": torch.rand(100, device=device)}]
    if function is F.cross_entropy:
        options += [{"label_smoothing": 0.1}]
    for chosen in options:
        for reduction in REDUCTIONS:
            keywords = {"ignore_index": ignored, "reduction": reduction, **chosen}
            expected = function(input, target, **keywords)
            actual = function(input, target.to(dtype), **keywords)
            torch.testing.assert_close(actual, expected, rtol=0, atol=0)
            assert shape == () or actual.abs().sum() > 0


def test_an_ignore_index_outside_the_targets_type_ignores_nothing(device: str) -> None:
    input = torch.randn(4, 200, device=device)
    # -100 as a byte is 156.
    target = torch.tensor([156, 0, 1, 2], device=device)
    loss = F.cross_entropy(input, target.to(torch.uint8), ignore_index=-100)
    torch.testing.assert_close(loss, T.cross_entropy(input, target))


def error_of(loss: Any, input: Tensor, target: Tensor, **options: Any) -> str:
    with pytest.raises(IndexError) as caught:
        loss(input, target, **options)
    assert caught.type is IndexError
    return str(caught.value).splitlines()[0]


def no_device_assert(device: str) -> None:
    if device == "cuda":
        pytest.skip("a bad target is a device assert on CUDA, which would end the process")


@given(
    shape=st.sampled_from([shape for shape in SHAPES if 0 not in shape]),
    classes=st.sampled_from(CLASSES),
    bad=st.sampled_from((-(2**63), -101, -99, -1, "classes", 1000, 2**40, 2**63 - 1)),
    place=st.floats(0, 1, exclude_max=True),
    layouts=st.tuples(*[st.sampled_from(LAYOUTS[:-1])] * 2),
    reduction=st.sampled_from(REDUCTIONS),
    label_smoothing=st.sampled_from((0.0, 0.1)),
    weighted=st.booleans(),
)
@settings(max_examples=200)
def test_a_bad_target_is_torchs_index_error(
    shape: tuple[int, ...],
    classes: int,
    bad: Any,
    place: float,
    layouts: Any,
    reduction: str,
    label_smoothing: float,
    weighted: bool,
    device: str,
) -> None:
    no_device_assert(device)
    bad = classes if bad == "classes" else bad
    input = layouts[0](torch.randn(with_classes(shape, classes)))
    target = torch.randint(classes, shape)
    target.view(-1)[int(place * target.numel())] = bad
    target = layouts[1](target)
    options: dict[str, Any] = {"reduction": reduction}
    options["weight"] = torch.ones(classes) if weighted else None
    expected = f"Target {bad} is out of bounds."
    assert error_of(F.nll_loss, input, target, **options) == expected
    options["label_smoothing"] = label_smoothing
    assert error_of(F.cross_entropy, input, target, **options) == expected
    F.cross_entropy(input, target, **options | {"ignore_index": bad})  # harmless when ignored


@pytest.mark.parametrize("dtype", INDEX_DTYPES, ids=str)
def test_a_bad_target_of_every_integer_type(dtype: torch.dtype, device: str) -> None:
    no_device_assert(device)
    bad = torch.iinfo(dtype).max if dtype == torch.uint8 else -3
    target = torch.tensor([0, bad, 2], dtype=dtype)
    for function in (F.cross_entropy, F.nll_loss):
        assert error_of(function, torch.randn(3, 5), target) == f"Target {bad} is out of bounds."


@pytest.mark.usefixtures("threads")
@pytest.mark.parametrize("number", [1, 4])
@pytest.mark.parametrize("shape", [(60_000,), (4, 15_000)], ids=str)
def test_a_bad_target_is_found_by_any_thread(
    shape: tuple[int, ...], number: int, device: str
) -> None:
    no_device_assert(device)
    torch.set_num_threads(number)
    input = torch.randn(with_classes(shape, 4))  # enough rows to be shared among threads
    for place in (0, 30_000, 59_999):
        target = torch.zeros(shape, dtype=torch.int64)
        target.view(-1)[place] = 4
        for function in (F.cross_entropy, F.nll_loss):
            assert error_of(function, input, target) == "Target 4 is out of bounds."
            with ThreadPoolExecutor(1) as elsewhere:  # not torch's own thread
                message = elsewhere.submit(error_of, function, input, target).result()
            assert message == "Target 4 is out of bounds."
            function(input, target % 4)  # the next call is as good as ever


@pytest.mark.parametrize("function", ["cross_entropy", "nll_loss"])
def test_a_target_that_changed_before_the_backward_is_refused(function: str, device: str) -> None:
    """As by torch: the backward would read at an index that nothing has checked."""
    for library in (T, F):
        input = torch.randn(4, 3, device=device, requires_grad=True)
        target = torch.tensor([0, 1, 2, 1], device=device)
        loss = getattr(library, function)(input, target)
        target.fill_(10**9)
        with pytest.raises(RuntimeError, match="modified by an inplace operation"):
            loss.backward()


@pytest.mark.parametrize("shape", [(), (5,), (3, 35)], ids=str)
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_a_batch_that_is_ignored_throughout(
    shape: tuple[int, ...], weighted: bool, smoothing: float, dtype: torch.dtype, device: str
) -> None:
    input = torch.randn(with_classes(shape, 3), device=device).to(dtype).requires_grad_()
    target = torch.full(shape, -100, device=device)
    weight = torch.ones(3, dtype=dtype, device=device) if weighted else None
    for loss in (
        lambda reduction: F.nll_loss(input, target, weight, reduction=reduction),
        lambda reduction: F.cross_entropy(
            input, target, weight, reduction=reduction, label_smoothing=smoothing
        ),
    ):
        for reduction in REDUCTIONS:
            value = loss(reduction)
            assert value.shape == (shape if reduction == "none" else ())
            assert value.isnan().all() if reduction == "mean" else value.eq(0).all()
            (gradient,) = torch.autograd.grad(value.sum(), input)
            assert gradient.eq(0).all()  # as torch has it, for the mean too


# 0 * (-inf) = 0, where torch has NaN

MASKED = [
    ("one class", [False, True, True, True]),
    ("some classes", [True, False, True, False]),
    ("no class", [True, True, True, True]),
]


def derivatives(loss: Any, *inputs: Tensor) -> list[Tensor]:
    """The gradients, the gradients of their sum, and a directional derivative."""
    inputs = tuple(x.detach().requires_grad_() for x in inputs)
    first = torch.autograd.grad(loss(*inputs).sum(), inputs, create_graph=True)
    second = torch.autograd.grad(sum(g.sum() for g in first), inputs)
    with forward_ad.dual_level():
        dual = [forward_ad.make_dual(x, torch.ones_like(x)) for x in inputs]
        forward = forward_ad.unpack_dual(loss(*dual)).tangent
    return [*first, *second, forward]


@pytest.mark.parametrize("keep", [pytest.param(k, id=name) for name, k in MASKED])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
def test_probability_0_on_a_logit_of_minus_infinity(
    keep: list[bool], weighted: bool, reduction: str, dtype: torch.dtype, device: str
) -> None:
    """The loss and all its derivatives are those without the class."""
    torch.manual_seed(0)
    kept = torch.tensor(keep, device=device)
    input = torch.randn(5, 4, dtype=dtype, device=device).masked_fill(~kept, -INF)
    target = torch.rand(5, 4, dtype=dtype, device=device) * kept
    weight = torch.rand(4, dtype=dtype, device=device) + 0.5 if weighted else None

    def ours(input: Tensor, target: Tensor) -> Tensor:
        return F.cross_entropy(input, target, weight, reduction=reduction)

    def without(input: Tensor, target: Tensor) -> Tensor:
        kept_weight = None if weight is None else weight[kept]
        return T.cross_entropy(input, target, kept_weight, reduction=reduction)

    torch.testing.assert_close(ours(input, target), without(input[:, kept], target[:, kept]))
    if not all(keep):
        assert T.cross_entropy(input, target, weight, reduction=reduction).isnan().all()
    input_gradient, target_gradient, *rest = derivatives(ours, input, target)
    expected, expected_target, *_ = derivatives(without, input[:, kept], target[:, kept])
    torch.testing.assert_close(input_gradient[:, kept], expected)
    torch.testing.assert_close(target_gradient[:, kept], expected_target)
    assert input_gradient[:, ~kept].eq(0).all()
    assert all(x.isfinite().all() for x in (target_gradient, *rest))


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_weight_0_on_a_logit_of_minus_infinity(
    reduction: str, smoothing: float, device: str
) -> None:
    """A class that a weight of 0 takes out is out, with label smoothing too."""
    torch.manual_seed(0)
    logits = torch.randn(5, 4, dtype=torch.float64, device=device)
    logits[:, 1] = -INF
    weight = torch.tensor([1.0, 0.0, 2.0, 0.5], dtype=torch.float64, device=device)
    target = torch.tensor([0, 1, 2, 3, 0], device=device)
    options: dict[str, Any] = {"label_smoothing": smoothing, "reduction": reduction}
    input = logits.clone().requires_grad_()
    actual = value_and_gradients(F.cross_entropy, [input, target, weight], options)
    # The same in the limit: a logit far below the others that its weight takes out of the loss.
    far = logits.nan_to_num(neginf=-200.0).requires_grad_()
    expected = value_and_gradients(T.cross_entropy, [far, target, weight], options)
    torch.testing.assert_close(actual, expected)
    log_probs = logits.log_softmax(1).requires_grad_()
    options = {"reduction": reduction}
    actual = value_and_gradients(F.nll_loss, [log_probs, target, weight], options)
    finite = log_probs.detach().nan_to_num(neginf=-200.0).requires_grad_()
    expected = value_and_gradients(T.nll_loss, [finite, target, weight], options)
    torch.testing.assert_close(actual, expected)


@pytest.mark.parametrize("log_target", [False, True])
@pytest.mark.parametrize("reduction", (*REDUCTIONS, "batchmean"))
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
def test_kl_div_of_an_outcome_that_neither_has(
    reduction: str, log_target: bool, dtype: torch.dtype, device: str
) -> None:
    torch.manual_seed(0)
    input = torch.randn(3, 4, dtype=dtype, device=device).log_softmax(1)
    target = torch.randn(3, 4, dtype=dtype, device=device).softmax(1)
    none = torch.zeros(3, 4, dtype=torch.bool, device=device)
    none[0, 1] = none[2, 3] = True
    target = target.masked_fill(none, 0)
    target = target.log() if log_target else target
    options = {"reduction": reduction, "log_target": log_target}

    def ours(input: Tensor, target: Tensor) -> Tensor:
        return F.kl_div(input, target, **options)

    pointwise = T.kl_div(input, target, reduction="none", log_target=log_target)
    pointwise = pointwise.masked_fill(none, 0)
    divisor = {"mean": 12, "batchmean": 3}.get(reduction, 1)
    expected = pointwise if reduction == "none" else pointwise.sum() / divisor
    for x in (input, input.masked_fill(none, -INF)):
        torch.testing.assert_close(ours(x, target), expected)
        input_gradient, target_gradient, *rest = derivatives(ours, x, target)
        assert input_gradient[none].eq(0).all() and target_gradient[none].eq(0).all()
        assert input_gradient[~none].lt(0).all() and target_gradient[~none].ne(0).any()
        assert all(t.isfinite().all() for t in rest)
    assert T.kl_div(x, target, **options).isnan().any()


def test_mass_on_a_class_that_cannot_occur_is_infinite(device: str) -> None:
    logits = torch.tensor([[0.0, -INF, 1.0]], device=device)
    log_probs = logits.log_softmax(1)
    some = torch.tensor([[0.5, 0.25, 0.25]], device=device)
    index = torch.tensor([1], device=device)
    for library in (T, F):
        assert library.cross_entropy(logits, some).item() == INF
        assert library.cross_entropy(logits, index).item() == INF
        assert library.cross_entropy(logits, index - 1, label_smoothing=0.1).item() == INF
        assert library.nll_loss(log_probs, index).item() == INF
        assert library.kl_div(log_probs, some, reduction="sum").item() == INF


def test_nan_stays_nan(device: str) -> None:
    """A zero takes away an infinity, not the sign that something went wrong."""
    nan = torch.tensor([[0.0, math.nan, 1.0]], device=device)
    zero = torch.tensor([[0.5, 0.0, 0.5]], device=device)
    for library in (T, F):
        assert library.cross_entropy(nan, zero).isnan()
        assert library.cross_entropy(zero, nan).isnan()
        assert library.cross_entropy(nan, torch.tensor([0], device=device)).isnan()
        assert library.kl_div(nan, zero, reduction="sum").isnan()
        assert library.kl_div(nan, zero, reduction="none").isnan().tolist() == [
            [False, True, False]
        ]
        assert library.kl_div(zero, nan, reduction="sum").isnan()
        assert library.kl_div(zero, -zero, reduction="sum").isnan()  # negative probabilities


# The type of the result


@pytest.mark.parametrize("dtype", LOW_PRECISION, ids=str)
@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_dtype_gives_a_float32_loss_of_low_precision_inputs(
    dtype: torch.dtype, reduction: str, device: str
) -> None:
    torch.manual_seed(0)
    input = torch.randn(5, 17, device=device).to(dtype)
    target = torch.randint(17, (5,), device=device)
    probabilities = torch.rand(5, 17, device=device).to(dtype)
    for function, other in (
        ("cross_entropy", target),
        ("cross_entropy", probabilities),
        ("nll_loss", target),
        ("kl_div", probabilities),
    ):
        low = input.clone().requires_grad_()
        single = input.float().requires_grad_()
        same = other.float() if other.is_floating_point() else other
        options = {"reduction": reduction}
        actual, gradient = value_and_gradients(
            getattr(F, function), [low, other], options | {"dtype": torch.float32}
        )
        expected, true = value_and_gradients(getattr(T, function), [single, same], options)
        assert actual.dtype == torch.float32 and gradient.dtype == dtype
        torch.testing.assert_close(actual, expected)
        torch.testing.assert_close(gradient, true.to(dtype), rtol=1e-2, atol=1e-4)  # one rounding


@pytest.mark.parametrize("function", ["cross_entropy", "nll_loss", "kl_div"])
def test_dtype_is_that_of_the_result_in_both_directions(function: str, device: str) -> None:
    input = torch.randn(5, 3, device=device).log_softmax(1)
    target = torch.rand(5, 3) if function == "kl_div" else torch.randint(3, (5,))
    for dtype in DTYPES:
        loss = getattr(F, function)(input, target.to(device), dtype=dtype)
        expected = getattr(T, function)(input, target.to(device))
        assert loss.dtype == dtype
        torch.testing.assert_close(loss, expected.to(dtype), rtol=1e-2, atol=1e-5)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_autocast_gives_float32(dtype: torch.dtype, device: str) -> None:
    input = torch.randn(5, 3, device=device).log_softmax(1).to(dtype)
    index, probabilities = torch.tensor([0, 1, 2, 1, 0]), torch.rand(5, 3).to(dtype)
    with torch.autocast(device, torch.bfloat16):
        losses = (
            F.cross_entropy(input, index.to(device)),
            F.cross_entropy(input, probabilities.to(device)),
            F.cross_entropy(input, probabilities.to(device), weight=input[0].exp()),
            F.nll_loss(input, index.to(device)),
            F.kl_div(input, probabilities.to(device)),
        )
    expected = torch.float64 if dtype == torch.float64 else torch.float32
    assert [loss.dtype for loss in losses] == [expected] * 5


# What torch refuses, we refuse with the same type of error and a sentence that says why

X = torch.zeros(4, 3)
Y = torch.tensor([0, 1, 2, 1])
P = torch.full((4, 3), 1 / 3)
DEEP = torch.zeros(4, 3, 5, 2)

BOTH = [
    ("batch sizes differ", (X, Y[:2]), {}, "4.*2"),
    ("target of a batch without dimension", (X, Y[0]), {}, "batch"),
    ("target with a dimension too many", (X, Y[:, None]), {}, "target"),
    ("target with a dimension too few", (DEEP, Y[:, None].expand(4, 5)), {}, "target"),
    ("target without the inner dimension", (X[:, :, None], Y), {}, "target"),
    ("inner sizes differ", (DEEP, Y[:, None, None].expand(4, 2, 5)), {}, r"5, 2\]"),
    ("inner batch sizes differ", (DEEP, Y[:3, None, None].expand(3, 5, 2)), {}, "4.*3"),
    ("two targets of one row", (X[0], Y[:2]), {}, "2"),
    ("floating target", (X, P[:, 0]), {}, "(?i)target.*float"),
    ("boolean target", (X, Y > 1), {}, "(?i)target.*bool"),
    ("unsigned target of 16 bits", (X, Y.to(torch.uint16)), {}, "(?i)target.*uint16"),
    ("short weight", (X, Y, torch.ones(2)), {}, r"weight.*2"),
    ("short weight, inner dimensions", (X[..., None, None], Y[:, None, None], X[0, :2]), {}, "wei"),
    ("weight with two dimensions", (X, Y, torch.ones(3, 1)), {}, "weight"),
    ("weight without dimension", (X, Y, torch.tensor(1.0)), {}, "weight"),
    ("float64 weight", (X, Y, torch.ones(3).double()), {}, "(?i)float.*double|weight.*float64"),
    ("half weight", (X, Y, torch.ones(3).half()), {}, "(?i)float.*half|weight.*float16"),
    ("weight with gradient", (X, Y, torch.ones(3, requires_grad=True)), {}, "weight"),
    ("weight on another device", (X, Y, torch.ones(3, device="meta")), {}, "device"),
    ("target on another device", (X, Y.to("meta")), {}, "device"),
    ("integer input", (X.long(), Y), {}, "(?i)long|int64"),
    ("boolean input", (X > 0, Y), {}, "(?i)bool"),
    ("complex input", (X + 0j, Y), {}, "(?i)complex"),
    ("unknown reduction", (X, Y), {"reduction": "avg"}, "avg"),
    ("reduction of kl_div", (X, Y), {"reduction": "batchmean"}, "batchmean"),
    ("reduction that is no string", (X, Y), {"reduction": 1}, "1"),
    ("no target", (X, None), {}, "target.*NoneType"),
    ("input that is no tensor", ([[1.0]], Y), {}, "input.*list"),
    ("weight that is no tensor", (X, Y, [1.0, 1.0, 1.0]), {}, "weight.*list"),
    ("surplus argument", (X, Y), {"smoothing": 0.1}, "smoothing"),
]
NLL_LOSS = [("input without dimension", (X[0, 0], Y[0]), {}, "dimension")]
CROSS_ENTROPY = [
    ("smoothing above 1", (X, Y), {"label_smoothing": 1.5}, "label_smoothing.*1.5"),
    ("smoothing of probabilities above 1", (X, P), {"label_smoothing": 2.0}, "label_smoothing.*2"),
    ("ignored probabilities", (X, P), {"ignore_index": 1}, "ignore_index"),
    ("integer probabilities", (X, P.long()), {}, "(?i)probabilities.*(long|int64)"),
    ("one class, index in the input's shape", (X[0, :1], Y[:1]), {}, "(?i)probab.*(long|int64)"),
    ("short weight of probabilities", (X, P, torch.ones(2)), {}, "weight.*2"),
    ("integer input, probabilities", (X.long(), P), {}, "(?i)long|int64"),
    ("0-d input, index", (X[0, 0], Y[0]), {}, "."),
    ("0-d input, probability", (X[0, 0], P[0, 0]), {}, "(?i)dimension"),
]
KL_DIV = [
    ("shapes that do not broadcast", (X, P[:, :2]), {}, "3.*2|2.*3"),
    ("integer input", (X.long(), P), {}, "(?i)integ|long|int64"),
    ("integer target", (X, P.long()), {}, "(?i)integ|long|int64"),
    ("boolean input", (X > 0, P), {}, "(?i)integ|bool"),
    ("complex input", (X + 0j, P), {}, "(?i)complex"),
    ("target on another device", (X, P.to("meta")), {}, "device"),
    ("unknown reduction", (X, P), {"reduction": "avg"}, "avg"),
    ("no target", (X, None), {}, "target.*NoneType"),
]
ERRORS = [
    pytest.param(function, arguments, options, words, id=f"{function}: {name}")
    for function, cases in (
        ("cross_entropy", BOTH + CROSS_ENTROPY),
        ("nll_loss", BOTH + NLL_LOSS),
        ("kl_div", KL_DIV),
    )
    for name, arguments, options, words in cases
]


@pytest.mark.parametrize(("function", "arguments", "options", "words"), ERRORS)
def test_errors_are_torchs(
    function: str, arguments: tuple[Any, ...], options: dict[str, Any], words: str, device: str
) -> None:
    arguments = tuple(
        x.to(device) if isinstance(x, Tensor) and x.device.type == "cpu" else x for x in arguments
    )
    ours, theirs = getattr(F, function), getattr(T, function)
    error = assert_same_error(ours, theirs, *arguments, **options)
    assert re.search(words, str(error)), error
