"""`nn.patch`: torch's own functions and modules compute what ours do, until it is undone."""

import itertools
from collections.abc import Iterator

import pytest
import torch
from torch import Tensor

from torch_infotheory.nn import Patch, functional, patch

NAMES = [
    name
    for name in ("cross_entropy", "nll_loss", "kl_div", "linear_cross_entropy")
    if hasattr(torch.nn.functional, name)
]
OF_TORCH = {name: getattr(torch.nn.functional, name) for name in NAMES}


def are_ours() -> bool:
    found = {getattr(torch.nn.functional, name) is getattr(functional, name) for name in NAMES}
    assert len(found) == 1
    if found == {False}:
        assert all(getattr(torch.nn.functional, name) is OF_TORCH[name] for name in NAMES)
    return found == {True}


@pytest.fixture(autouse=True)
def undone() -> Iterator[None]:
    assert not are_ours()
    yield
    assert not are_ours()


def test_until_it_is_undone() -> None:
    patched = patch()
    assert isinstance(patched, Patch) and are_ours()
    patched.undo()
    assert not are_ours()
    patched.undo()
    assert not are_ours()


def test_as_a_context_manager() -> None:
    with pytest.raises(ZeroDivisionError), patch() as patched:
        assert are_ours() and isinstance(patched, Patch)
        raise ZeroDivisionError
    assert not are_ours()


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
def test_several_in_any_order(order: tuple[int, ...]) -> None:
    patches = [patch() for _ in order]
    for number in order:
        assert are_ours()
        patches[number].undo()
    assert not are_ours()


def test_the_function_of_somebody_else_stays() -> None:
    patched = patch()
    try:
        torch.nn.functional.nll_loss = len
        patched.undo()
        assert torch.nn.functional.nll_loss is len
    finally:
        torch.nn.functional.nll_loss = OF_TORCH["nll_loss"]


LOGITS = torch.randn(4, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
LABELS = torch.tensor([1, -100, 4, 0])
PROBS = LOGITS.flip(0).softmax(-1)
CALLS = {
    "cross_entropy": (torch.nn.CrossEntropyLoss(label_smoothing=0.1), LABELS),
    "cross_entropy of probabilities": (torch.nn.CrossEntropyLoss(reduction="sum"), PROBS),
    "nll_loss": (torch.nn.NLLLoss(weight=torch.arange(1.0, 6).double()), LABELS),
    "kl_div": (torch.nn.KLDivLoss(reduction="batchmean"), PROBS),
}


@pytest.mark.parametrize("module, target", CALLS.values(), ids=CALLS)
def test_modules_of_torch(module: torch.nn.Module, target: Tensor) -> None:
    """They give torch's values and gradients, by our ops and no function of torch."""
    x = LOGITS.log_softmax(-1).requires_grad_()
    expected = module(x, target)
    (expected_gradient,) = torch.autograd.grad(expected, x)
    assert expected != 0
    with patch(), torch.profiler.profile() as profile:
        value = module(x, target)
        (gradient,) = torch.autograd.grad(value, x)
    torch.testing.assert_close(value, expected)
    torch.testing.assert_close(gradient, expected_gradient)
    names = {event.key for event in profile.key_averages()}
    assert any(name.startswith("torch_infotheory::") for name in names)
    assert not names & {"aten::nll_loss", "aten::cross_entropy_loss", "aten::kl_div"}


@pytest.mark.skipif("linear_cross_entropy" not in NAMES, reason="this torch has no such function")
def test_linear_cross_entropy() -> None:
    weight = torch.randn(7, 5, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    expected = torch.nn.functional.cross_entropy(LOGITS @ weight.T, LABELS)
    with patch(), torch.profiler.profile() as profile:
        value = torch.nn.functional.linear_cross_entropy(LOGITS, weight, LABELS)
    torch.testing.assert_close(value, expected)
    assert any(e.key == "torch_infotheory::_linear_loss" for e in profile.key_averages())


@pytest.mark.parametrize("name", NAMES)
def test_ours_do_not_call_themselves(name: str) -> None:
    """Also where __torch_function__ sees the call, and from the modules of ours."""

    class Seen(torch.Tensor):
        calls: list[str] = []

        @classmethod
        def __torch_function__(cls, func, types, args=(), kwargs=None):
            cls.calls.append(getattr(func, "__name__", str(func)))
            return super().__torch_function__(func, types, args, kwargs or {})

    x = LOGITS.log_softmax(-1).as_subclass(Seen)
    weight = torch.eye(5, dtype=torch.float64)
    arguments = {
        "cross_entropy": (LABELS,),
        "nll_loss": (LABELS,),
        "kl_div": (PROBS,),
        "linear_cross_entropy": (weight, LABELS),
    }[name]
    expected = OF_TORCH[name](LOGITS.log_softmax(-1), *arguments)
    Seen.calls.clear()
    with patch():
        value = getattr(torch.nn.functional, name)(x, *arguments)
    torch.testing.assert_close(value.as_subclass(torch.Tensor), expected)
    assert Seen.calls.count(name) == 1
