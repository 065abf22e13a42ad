"""`validate=` and `set_validation`: what states no distribution is shown, and nothing else is."""

import inspect
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import test_linear
import torch
from ops import BASIC_CASES, Case, random
from torch import Tensor

import torch_infotheory
from torch_infotheory import nn
from torch_infotheory.nn import functional

LITERAL = [case for case in BASIC_CASES if set(case.kinds) & {"probs", "log_probs"}]
LOGITS = [case for case in BASIC_CASES if set(case.kinds) == {"logits"}]
ONE_OF_EACH = list({case.op.function: case for case in BASIC_CASES}.values())


def normalized(case: Case, dtype: torch.dtype = torch.float32) -> list[Tensor]:
    """The inputs of a case with their totals made 1 (the table's are 0.75 and 0.5)."""
    dims = tuple(case.axes)
    kinds = case.kinds or ("probs",) * len(case.numbers)
    inputs = []
    for x, kind in zip(case.inputs(torch.float64, "cpu"), kinds, strict=True):
        if kind == "probs":
            x = x / x.sum(dims, keepdim=True)
        elif kind == "log_probs":
            x = x - x.logsumexp(dims, keepdim=True)
        inputs.append(x.to(dtype))
    return inputs


@pytest.fixture
def validation() -> Iterator[None]:
    torch_infotheory.set_validation(True)
    yield
    torch_infotheory.set_validation(False)


@pytest.mark.parametrize("function", [case.op.function for case in ONE_OF_EACH])
def test_every_function_has_the_argument(function: Callable[..., Tensor]) -> None:
    parameter = inspect.signature(function).parameters["validate"]
    assert parameter.kind is parameter.KEYWORD_ONLY and parameter.default is None


@pytest.mark.parametrize("case", LITERAL, ids=str)
def test_totals(case: Case) -> None:
    """What is normalized passes with the same value; the totals of the table do not."""
    for dtype in (torch.float64, torch.float32, torch.bfloat16, torch.float16):
        good = normalized(case, dtype)
        assert torch.equal(case(*good, validate=True), case(*good))
    bad = case.inputs(torch.float64, "cpu")
    first = next(i for i, kind in enumerate(case.kinds) if kind != "logits")
    with pytest.raises(
        ValueError, match=rf"^{case.op.function.__name__}: the (log-)?prob"
    ) as caught:
        case(*bad, validate=True)
    assert f"the total {(0.75, 0.5)[first]:.1g}"[:12] in str(caught.value)
    for i, x in enumerate(normalized(case)):
        if case.kinds[i] != "logits":
            inputs = normalized(case)
            inputs[i] = x * 1.01 if case.kinds[i] == "probs" else x + 0.01
            with pytest.raises(ValueError, match=r"the total 1\.0[01]"):
                case(*inputs, validate=True)
            case(*inputs, validate=False)


@pytest.mark.parametrize("case", LOGITS, ids=str)
def test_logits_always_pass(case: Case) -> None:
    inputs = case.inputs(torch.float32, "cpu")
    assert torch.equal(case(*inputs, validate=True), case(*inputs))


def test_shows_the_first() -> None:
    p = torch.full((4, 3, 2), 0.5)
    p[2, 1, 0] = 0.75
    p[3, 2, 1] = 0.9
    with pytest.raises(
        ValueError, match=r"entropy: the probabilities p\[2, 1, :\] .* total 1\.25,"
    ):
        torch_infotheory.entropy(p, validate=True)
    with pytest.raises(ValueError, match=r"p\[2, :, 1\] .* total 1\.25"):
        torch_infotheory.entropy(p.transpose(1, 2), 1, validate=True)
    with pytest.raises(ValueError, match=r"joint\[2, :, :\] .* total 1\.08333"):
        torch_infotheory.mutual_information(p / 3, validate=True)
    p[1, 0] = torch.tensor([1.25, -0.25])
    with pytest.raises(ValueError, match=r"p\[1, 0, :\] has the negative probability -0\.25"):
        torch_infotheory.entropy(p, validate=True)
    p[0, 0, 0] = torch.nan
    with pytest.raises(ValueError, match=r"p\[0, 0, :\] have the total nan"):
        torch_infotheory.entropy(p, validate=True)
    with pytest.raises(ValueError, match=r"the probabilities p have the total 0\.5"):
        torch_infotheory.entropy(torch.tensor(0.5), validate=True)
    q = torch.tensor([0.5, 0.5])
    with pytest.raises(ValueError, match=r"kl_divergence: the probabilities q have|q\[:\] have"):
        torch_infotheory.kl_divergence(q, q / 2, validate=True)


def test_losses_of_torch() -> None:
    """What they state is fixed, and so is their class dimension."""
    logits = random(5, 4, 3).float()
    labels = torch.tensor([[0, 1, 2]]).expand(5, 3)
    probs = logits.softmax(1)
    calls: list[tuple[Callable[..., Tensor], tuple[Any, ...], tuple[Any, ...]]] = [
        (functional.cross_entropy, (logits, labels), ()),
        (functional.cross_entropy, (logits, probs), (logits, probs * 0.9)),
        (functional.nll_loss, (probs.log(), labels), (logits, labels)),
        (functional.kl_div, (probs.mT.log(), probs.mT), (logits.mT, probs.mT)),
        (functional.kl_div, (probs.mT.log(), probs.mT), (probs.mT.log(), probs.mT * 2)),
    ]
    for function, good, bad in calls:
        options: dict[str, Any] = {"reduction": "sum"}
        assert torch.equal(function(*good, validate=True, **options), function(*good, **options))
        if bad:
            function(*bad, **options)
            with pytest.raises(ValueError, match=rf"^{function.__name__}: .* total"):
                function(*bad, validate=True, **options)
    log_target = {"log_target": True, "reduction": "sum", "validate": True}
    functional.kl_div(probs.mT.log(), probs.mT.log(), **log_target)
    with pytest.raises(ValueError, match="kl_div: the log-probabilities target"):
        functional.kl_div(probs.mT.log(), logits.mT, **log_target)


@pytest.mark.usefixtures("validation")
@pytest.mark.parametrize("case", test_linear.CASES, ids=str)
def test_losses_from_hidden_states(case: test_linear.Case) -> None:
    """Only the target can state distributions."""
    x = case.tensors(torch.float32)
    value = case.ours(**x, **case.options)
    torch_infotheory.set_validation(False)
    assert torch.equal(value, case.ours(**x, **case.options))
    torch_infotheory.set_validation(True)
    if case.target in ("class_probs", "probs", "log_probs"):
        x["target"] = x["target"] + 0.01
        with pytest.raises(ValueError, match=f"^{case.ours.__name__}: the .* target.* total"):
            case.ours(**x, **case.options)


@pytest.mark.usefixtures("validation")
@pytest.mark.parametrize("kind", ("logits", "log_probs", "probs", "best"))
def test_distillation(kind: str) -> None:
    logits = random(5, 4).float()
    target: Any = test_linear.KINDS.get(kind, test_linear.KINDS["log_probs"])(random(5, 4).float())
    if kind == "best":  # their total is less than 1
        best = target.topk(2)
        functional.distillation_loss(logits, (best.indices, best.values))
        return
    functional.distillation_loss(logits, target, kind=kind)
    if kind != "logits":
        with pytest.raises(ValueError, match="^distillation_loss: the .* target.* total"):
            functional.distillation_loss(logits, target + 0.01, kind=kind)


@pytest.mark.parametrize(
    "module, bad",
    [
        (nn.CrossEntropyLoss, (torch.zeros(2, 3), torch.ones(2, 3))),
        (nn.NLLLoss, (torch.zeros(2, 3), torch.tensor([0, 1]))),
        (nn.KLDivLoss, (torch.zeros(2, 3), torch.full((2, 3), 1 / 3))),
        (lambda **options: nn.EntropyLoss(kind="probs", **options), (torch.ones(2, 3),)),
        (lambda **options: nn.JSDivLoss(kind="probs", **options), (torch.ones(2, 3),) * 2),
    ],
)
def test_modules(module: Callable[..., torch.nn.Module], bad: tuple[Tensor, ...]) -> None:
    module()(*bad)
    with pytest.raises(ValueError, match="total"):
        module(validate=True)(*bad)
    assert "validate=True" in repr(module(validate=True))


def test_for_all_calls(validation: None) -> None:
    bad = torch.tensor([0.5, 0.6])
    with pytest.raises(ValueError, match=r"total 1\.1"):
        torch_infotheory.entropy(bad)
    with pytest.raises(ValueError, match=r"total 1\.1"):
        functional.entropy_loss(bad, kind="probs")
    expected = torch_infotheory.entropy(bad, validate=False)
    torch_infotheory.set_validation(False)
    assert torch.equal(torch_infotheory.entropy(bad), expected)
    with pytest.raises(TypeError, match="set_validation: expected on to be a bool"):
        torch_infotheory.set_validation("yes")  # type: ignore[arg-type]


def test_softmax_of_torch_passes() -> None:
    """Its rounding is allowed: more than 8 epsilon in float32 for 30,000 classes."""
    for classes in (2, 100, 30_000, 130_000):
        for dtype in (torch.float64, torch.float32, torch.bfloat16):
            x = (random(4, classes) / 10).to(dtype)
            torch_infotheory.entropy(x.softmax(-1), validate=True)
            torch_infotheory.entropy(x.log_softmax(-1), kind="log_probs", validate=True)


def test_other_errors_come_as_without_it() -> None:
    for error, p, dim in (
        (IndexError, torch.ones(3), 5),
        (TypeError, torch.tensor([1, 2]), -1),
        (TypeError, [1.0], -1),
        (RuntimeError, torch.ones(2, 0), -1),
    ):
        with pytest.raises(error):
            torch_infotheory.entropy(p, dim, validate=True)  # type: ignore[arg-type]


def test_gradients_are_the_same() -> None:
    case = next(case for case in LITERAL if case.op.name == "kl_divergence")
    inputs = [x.requires_grad_() for x in normalized(case)]
    plain = torch.autograd.grad(case(*inputs).sum(), inputs)
    checked = torch.autograd.grad(case(*inputs, validate=True).sum(), inputs)
    assert all(map(torch.equal, plain, checked))


def test_where_there_are_no_numbers(validation: None) -> None:
    """On meta, and while torch.compile traces."""
    assert torch_infotheory.entropy(torch.empty(3, 4, device="meta")).shape == (3,)
    bad = torch.tensor([0.5, 0.6])
    compiled = torch.compile(torch_infotheory.entropy, fullgraph=True, backend="eager")
    torch.testing.assert_close(compiled(bad), torch_infotheory.entropy(bad, validate=False))
