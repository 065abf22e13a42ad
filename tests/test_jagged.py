"""Measures of jagged nested tensors, against the same measures of each part."""

import inspect
from collections.abc import Callable
from typing import Any

import pytest
import torch
from ops import BASIC_CASES, Case
from torch import Tensor

import torch_infotheory

LENGTHS = (3, 1, 4)
# Measures of distributions along `dim`; one case for every function and kind.
MEASURES = [
    case
    for case in BASIC_CASES
    if {"p", "dim"} <= inspect.signature(case.op.function).parameters.keys()
    and "reduction" not in case.op.options
]


def logits(seed: int, *shape: int) -> list[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [
        torch.randn(length, *shape, generator=generator, dtype=torch.float64) for length in LENGTHS
    ]


def stated(parts: list[Tensor], kind: str) -> list[Tensor]:
    if kind == "logits":
        return parts
    return [x.softmax(-1) if kind == "probs" else x.log_softmax(-1) for x in parts]


def jagged(parts: list[Tensor], like: Tensor | None = None) -> Tensor:
    if like is None:
        return torch.nested.nested_tensor(parts, layout=torch.jagged).requires_grad_()
    values = torch.cat(parts).requires_grad_()
    return torch.nested.nested_tensor_from_jagged(values, like.offsets())


def called(case: Case) -> tuple[Callable[..., Tensor], dict[str, Any]]:
    kind = case.kinds[0] if len(set(case.kinds)) == 1 else case.kinds
    return case.op.function, case.op.options | {"kind": kind}


@pytest.mark.parametrize("case", MEASURES, ids=str)
def test_values_and_gradients(case: Case) -> None:
    function, options = called(case)
    parts = [stated(logits(seed, 5), kind) for seed, kind in enumerate(case.kinds)]
    p = jagged(parts[0])
    inputs = [p, *(jagged(of, like=p) for of in parts[1:])]
    dense = [[x.clone().requires_grad_() for x in of] for of in parts]
    expected = [function(*row, **options) for row in zip(*dense, strict=True)]
    for dim in (-1, 2):
        value = function(*inputs, dim=dim, **options)
        assert value.layout == torch.jagged and value.size(1) == p.size(1)
        for actual, wanted in zip(value.unbind(), expected, strict=True):
            torch.testing.assert_close(actual, wanted)
            assert wanted.abs().sum() > 0
    gradients = torch.autograd.grad(value.values().sum(), inputs)
    for gradient, of in zip(gradients, dense, strict=True):
        wanted = torch.autograd.grad(sum(v.sum() for v in expected), of, retain_graph=True)
        torch.testing.assert_close(gradient.values(), torch.cat(wanted))


def test_more_dimensions_and_keepdim() -> None:
    parts = logits(0, 2, 5)
    value = torch_infotheory.entropy(jagged(parts), kind="logits", base=2, keepdim=True)
    for actual, x in zip(value.unbind(), parts, strict=True):
        assert actual.shape == (len(x), 2, 1)
        expected = torch.distributions.Categorical(logits=x).entropy() / torch.tensor(2).log()
        torch.testing.assert_close(actual[..., 0], expected)


def test_like_the_reductions_of_torch() -> None:
    x = jagged(logits(0, 5))
    value, sums = torch_infotheory.entropy(x, kind="logits"), x.sum(-1)
    assert value.shape == sums.shape
    assert (value + sums).shape == sums.shape  # their ragged dimensions are one


def test_what_is_refused() -> None:
    x = jagged(logits(0, 2, 5))
    for dim in (0, 1, 2, (2, 3), -2):
        with pytest.raises(NotImplementedError, match="entropy: of a jagged tensor, expected dim"):
            torch_infotheory.entropy(x, dim)
    with pytest.raises(NotImplementedError, match="expected dim"):
        torch_infotheory.entropy(x.transpose(1, 2))
    with pytest.raises(NotImplementedError, match="expected dim"):
        torch_infotheory.entropy(jagged(logits(0)))
    for q in (torch.ones(5), jagged(logits(1, 2, 5)), x.values()):
        with pytest.raises(NotImplementedError, match="with the same offsets"):
            torch_infotheory.kl_divergence(x, q, kind="logits")
    with pytest.raises(NotImplementedError, match="mutual_information: expected joint"):
        torch_infotheory.mutual_information(x)
