"""The private row ops, called as the public ones never call them: an error, never a stray read."""

import pytest
import torch
from ops import CASES, DTYPES, Case, random

import torch_infotheory  # noqa: F401

OPS = torch.ops.torch_infotheory
PROBS, LOG_PROBS, LOGITS, LABELS = range(4)
TERMS = 3  # the reduction that leaves single classes
REST = (0, -100, 0.0, 1.0, 0.0, 1.0)  # from reduction to temperature
X = torch.randn(3, 4)


@pytest.mark.parametrize(
    ("call", "error"),
    [
        (lambda: OPS._entropy(X, None, None, -1, LABELS, PROBS, *REST), RuntimeError),
        (lambda: OPS._entropy(X, X, None, -1, LOGITS, LOGITS, *REST), RuntimeError),
        (lambda: OPS._kl_divergence(X, None, None, -1, LOGITS, LOGITS, *REST), RuntimeError),
        (
            lambda: OPS._kl_divergence(X, X.to(torch.int8), None, -1, LOGITS, LOGITS, *REST),
            TypeError,
        ),
        (lambda: OPS._kl_divergence(X, X[:2], None, -1, LOGITS, LOGITS, *REST), RuntimeError),
        (lambda: OPS._cross_entropy(X, X, None, -1, LABELS, LOGITS, *REST), RuntimeError),
        (lambda: OPS._cross_entropy(X, X, torch.ones(5), -1, PROBS, PROBS, *REST), RuntimeError),
        # Only kl_div has values of single classes.
        (
            lambda: OPS._cross_entropy(X, X, None, -1, PROBS, LOG_PROBS, TERMS, *REST[1:]),
            RuntimeError,
        ),
        (lambda: OPS._entropy(X, None, None, -1, PROBS, PROBS, TERMS, *REST[1:]), RuntimeError),
    ],
)
def test_forward(call, error):
    with pytest.raises(error, match="entropy|kl_divergence"):
        call()


@pytest.mark.parametrize(
    ("g", "saved", "wrt"),
    [
        (torch.ones(2), torch.zeros(6, 3, dtype=torch.float64), 1),  # g of another shape
        (torch.ones(3), torch.zeros(6, 2, dtype=torch.float64), 1),  # saved of another shape
        (torch.ones(3), torch.zeros(6, 3, dtype=torch.float64), 0),  # labels have no derivative
        (torch.ones(3), torch.zeros(6, 3, dtype=torch.float64), 2),  # no such input
    ],
)
def test_backward(g, saved, wrt):
    labels = torch.tensor([0, 1, 2], dtype=torch.int8)
    with pytest.raises(RuntimeError, match="cross_entropy backward"):
        OPS._cross_entropy_backward(g, labels, X, None, saved, -1, LABELS, LOGITS, *REST, wrt)


def test_a_bad_label_writes_no_stray_gradient():
    labels = torch.tensor([0, 9, 2])
    saved = torch.zeros(6, 3, dtype=torch.float64)
    with pytest.raises(IndexError, match="Target 9 is out of bounds"):
        OPS._cross_entropy_backward(
            torch.ones(3), labels, X, None, saved, -1, LABELS, LOGITS, *REST, 1
        )


def test_a_bad_label_of_no_classes_is_noted():
    saved = torch.zeros(0, 3, dtype=torch.float64)
    with pytest.raises(IndexError, match="Target 1 is out of bounds"):
        OPS._cross_entropy_backward(
            torch.ones(3),
            torch.tensor([-100, 1, -100]),
            X[:, :0],
            None,
            saved,
            -1,
            LABELS,
            LOG_PROBS,
            *REST,
            1,
        )


@pytest.mark.parametrize("shape", [(4, 0, 3), (4, 3, 0)])
def test_the_gradient_of_tables_without_cells(shape):
    tables = torch.empty(4, 7, 9)[:, : shape[1], : shape[2]]
    saved = torch.zeros(3, 4, dtype=torch.float64)
    gradient = OPS._mutual_information_backward(
        torch.ones(4), tables, None, None, saved, -1, PROBS, PROBS, *REST, 0
    )
    assert gradient.shape == shape


# Autograd asks for both gradients at once, which the CPU computes in one pass.
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("case", [case for case in CASES if len(case.numbers) == 2], ids=str)
def test_both_gradients_are_each(case: Case, dtype: torch.dtype, device: str) -> None:
    inputs = case.inputs(dtype, device, requires_grad=True)
    value = case(*inputs)
    g = random(*value.shape, seed=3).to(value)
    together = torch.autograd.grad(value, inputs, g, retain_graph=True)
    for x, gradient in zip(inputs, together, strict=True):
        (alone,) = torch.autograd.grad(value, [x], g, retain_graph=True)
        assert gradient.stride() == alone.stride()
        torch.testing.assert_close(gradient, alone, rtol=0, atol=0, equal_nan=True)


@pytest.mark.parametrize("kinds", [(LOGITS, LOGITS), (PROBS, LOGITS)], ids=str)
def test_both_gradients_without_autograd(kinds: tuple[int, int], device: str) -> None:
    p, q = random(3, 4).softmax(-1).to(device), random(3, 4, seed=1).to(device)
    arguments = (-1, *kinds, *REST)
    _, saved = OPS._kl_divergence(p, q, None, *arguments)
    inputs = (torch.ones(3).to(p), p, q, None, saved, *arguments)
    both = OPS._kl_divergence_backward_both(*inputs)
    each = [OPS._kl_divergence_backward(*inputs, wrt) for wrt in (0, 1)]
    torch.testing.assert_close([*both], each, rtol=0, atol=0)
    assert both[0].abs().max() > 0
    torch.library.opcheck(OPS._kl_divergence_backward_both, inputs)
