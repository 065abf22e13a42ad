"""The functions of the extension, which Python calls instead of torch.ops where it can."""

from collections.abc import Callable

import pytest
import torch
from ops import OPS
from torch import Tensor
from torch.overrides import TorchFunctionMode

import torch_infotheory
from torch_infotheory import _C, _ops, divergences, measures
from torch_infotheory.nn import functional

LOSSES = ["cross_entropy_loss", "nll_loss", "kl_div", "entropy_loss", "js_div"]
OTHERS = ["distillation_loss", "kl_estimate"]
# The functions of more variables take lists of lists, which no op does.
OF_TABLES = [
    "conditional_mutual_information",
    "normalized_mutual_information",
    "lautum_information",
    "positive_pointwise_mutual_information",
    "binary_entropy",
]
LINEAR = ["linear_cross_entropy", "linear_entropy", "linear_kl_div", "linear_js_div"]
NAMES = [*measures.__all__, *divergences.__all__, *LOSSES, *LINEAR, *OTHERS, *OF_TABLES]
P = torch.tensor([[0.25, 0.75], [0.5, 0.5]])
TABLE = torch.stack([P, P.T]) / 4


@pytest.mark.parametrize("name", NAMES)
def test_takes_the_arguments_of_the_op(name: str) -> None:
    op = getattr(torch.ops.torch_infotheory, name)
    labels = torch.tensor([1, 0])
    of_labels = name in ("cross_entropy_loss", "nll_loss")
    required = {"q": P.flip(0), "target": labels if of_labels else P.flip(0)}
    required |= {"alpha": 1.5, "mixture_dim": 0, "log_q": P.flip(0)}
    required |= {"joint": TABLE if name in OF_TABLES else P}
    given = {
        argument.name: argument.default_value
        if argument.has_default_value()
        else required.get(argument.name, P)
        for argument in op.default._schema.arguments
    }
    direct = getattr(_C, name)(*given.values())
    assert isinstance(direct, Tensor)
    assert torch.equal(direct, op(**given))
    assert direct.isfinite().all()
    assert direct.abs().sum() > 0


class Subclass(torch.Tensor):
    pass


def call(p: object = P, dim: object = -1, base: object = None, dtype: object = None) -> object:
    return _C.entropy(p, dim, "probs", base, False, dtype, 1.0)


@pytest.mark.parametrize("dim", [1, (1,), [0, 1]])
@pytest.mark.parametrize("dtype", [None, torch.float64])
def test_dimensions_and_dtypes(dim: object, dtype: torch.dtype | None) -> None:
    expected = torch.ops.torch_infotheory.entropy(P, dim, dtype=dtype)
    assert torch.equal(torch_infotheory.entropy(P, dim, dtype=dtype), expected)


@pytest.mark.parametrize(
    "arguments",
    [
        {"p": P.as_subclass(Subclass)},
        {"p": 1.0},
        {"p": None},
        {"dim": None},
        {"dim": "1"},
        {"dim": (1, 0.5)},
        {"dim": 2**70},
        {"base": True},
        {"base": 2**70},
        {"base": "2"},
        {"dtype": "float32"},
    ],
)
def test_leaves_what_is_not_plain_to_the_op(arguments: dict) -> None:
    assert call(**arguments) is NotImplemented


def test_takes_a_whole_number_for_a_float() -> None:
    assert torch.equal(call(base=2), call(base=2.0))
    assert not torch.equal(call(base=2), call())


def test_leaves_a_wrong_number_of_arguments_to_the_op() -> None:
    assert _C.entropy() is NotImplemented
    assert _C.entropy(P) is NotImplemented


def test_a_mode_sees_the_op() -> None:
    seen = []

    class Mode(TorchFunctionMode):
        def __torch_function__(
            self, func: Callable, types: object, args: tuple = (), kwargs: dict | None = None
        ) -> object:
            seen.append(func)
            return func(*args, **(kwargs or {}))

    with Mode():
        value = torch_infotheory.entropy(P)
    assert torch.ops.torch_infotheory.entropy in seen
    assert torch.equal(value, torch_infotheory.entropy(P))


def test_a_subclass_sees_the_op_and_gets_its_kind_back() -> None:
    value = torch_infotheory.entropy(P.as_subclass(Subclass))
    assert isinstance(value, Subclass)
    assert torch.equal(value.as_subclass(Tensor), torch_infotheory.entropy(P))


def test_a_parameter_is_plain() -> None:
    p = torch.nn.Parameter(P.clone())
    value = call(p)
    assert isinstance(value, Tensor)
    value.sum().backward()
    assert torch.allclose(p.grad, -(P.log() + 1))


def test_errors_are_those_of_the_op() -> None:
    with pytest.raises(IndexError, match=r"Target 7 is out of bounds\."):
        functional.nll_loss(P.log(), torch.tensor([0, 7]))
    with pytest.raises(IndexError, match="dim 5 is out of range"):
        torch_infotheory.entropy(P, 5)
    with pytest.raises(ValueError, match="expected kind"):
        torch_infotheory.entropy(P, kind="odds")


def test_a_function_without_a_binding_is_served_by_the_op() -> None:
    # a row op, which has none
    function = _ops.functions(["_entropy"])._entropy
    value, _ = function(P, None, None, 1, 0, 0, 0, -100, 0.0, 1.0, 0.0, 1.0, None)
    assert torch.equal(value, torch_infotheory.entropy(P))


def test_every_public_op_is_bound() -> None:
    bound = {name for name in dir(_C) if not name.startswith("_")}
    assert bound == set(NAMES)
    assert {op.name for op in OPS} <= bound
