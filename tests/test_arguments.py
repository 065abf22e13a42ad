"""Arguments of a wrong type: every argument of every function, and what NumPy has for numbers.

The error is a TypeError that names the function, the argument, what is allowed and what came.
"""

import inspect
import re
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch
from ops import BASIC_CASES, Case
from torch import Tensor

import torch_infotheory
from torch_infotheory.nn import functional

# Each function once, with its usual kind.
FUNCTIONS = list({case.op.function: case for case in reversed(BASIC_CASES)}.values())

P = torch.tensor([0.25, 0.75])
CATEGORICAL = torch.distributions.Categorical(P)
NO_TENSORS = [[0.25, 0.75], (0.25, 0.75), np.array([0.25, 0.75]), 0.5, "probs", None, CATEGORICAL]
NO_INTS = [1.0, "1", None, True, np.float64(1), torch.tensor(1), np.array([1, 2])]
NO_NUMBERS = ["2", [2.0], True, torch.tensor(2.0), np.array([2.0])]
NO_BOOLS = [1, 0.0, "yes", None, torch.tensor(True)]
NO_KINDS = [2, None, True, b"probs", ("probs",) * 3, ("probs", 2), torch.tensor(1.0)]
NO_DTYPES = ["float32", np.float32, np.dtype("float32"), 6, float, torch.tensor(1.0)]
WRONG: dict[str, list[Any]] = {
    **dict.fromkeys(("p", "q", "joint", "input", "target"), NO_TENSORS),
    "weight": [x for x in NO_TENSORS if x is not None],
    **dict.fromkeys(("dim", "x_dim", "y_dim"), [*NO_INTS, (0, 0.5), ["1"]]),
    "kind": NO_KINDS,
    "base": NO_NUMBERS,
    **dict.fromkeys(("keepdim", "normalized", "log_target"), NO_BOOLS),
    "dtype": NO_DTYPES,
    "validate": [x for x in NO_BOOLS if x is not None],
    "ignore_index": NO_INTS,
    **dict.fromkeys(("label_smoothing", "temperature", "alpha"), [*NO_NUMBERS, None]),
    **dict.fromkeys(("weights", "mask"), [x for x in NO_TENSORS if x is not None]),
    "mixture_dim": NO_INTS,
    "reduction": [1, None, ["sum"], True],
    # deprecated by torch, and taken for what they are worth, as there
    "size_average": [],
    "reduce": [],
}
# torch's own words for its own arguments
TORCH_SAYS = {"reduction": "not a valid value for reduction"}
ALLOWED = {
    **dict.fromkeys(("p", "q", "joint", "input", "target"), "[Tt]ensor"),
    **dict.fromkeys(("weight", "weights", "mask"), "[Tt]ensor|a number"),
    **dict.fromkeys(("dim", "x_dim", "y_dim"), "an int or a tuple of ints"),
    "kind": "'probs', 'log_probs', 'logits' or 'counts'",
    **dict.fromkeys(("base", "label_smoothing", "temperature", "alpha"), "a number"),
    **dict.fromkeys(("keepdim", "normalized", "log_target", "validate"), "a bool"),
    "dtype": "a torch.dtype",
    **dict.fromkeys(("ignore_index", "mixture_dim"), "an int"),
}


def arguments(case: Case) -> dict[str, Any]:
    """A call that is right, by name."""
    inputs = case.inputs(torch.float32, "cpu")
    names = list(inspect.signature(case.op.function).parameters)
    return dict(zip(names, inputs, strict=False)) | case.options_like(inputs[0])


def wrong_arguments() -> Iterator[Any]:
    for case in FUNCTIONS:
        for name, parameter in inspect.signature(case.op.function).parameters.items():
            # The weight of a mixture is a number, that of classes a tensor.
            wrong = WRONG["alpha"] if parameter.annotation is float else WRONG[name]
            for value in wrong:
                label = f"{case.op.function.__name__}-{name}-{type(value).__name__}"
                yield pytest.param(case, name, value, id=label)


@pytest.mark.parametrize("case, name, value", list(wrong_arguments()))
def test_wrong_type(case: Case, name: str, value: object) -> None:
    function = case.op.function
    with pytest.raises((TypeError, ValueError) if name == "reduction" else TypeError) as caught:
        function(**arguments(case) | {name: value})
    message = str(caught.value)
    if name in TORCH_SAYS:
        assert TORCH_SAYS[name] in message
        return
    # of a loss, `validate` is everybody's
    assert name == "validate" or message.startswith(f"{function.__name__}: ")
    assert re.search(rf"\b{name}\b", message)
    assert re.search(ALLOWED[name], message)
    items = [value, *(value if isinstance(value, tuple | list) else ())]
    assert any(type(item).__name__.lower() in message.lower() for item in items)
    assert "\n" not in message and "C++" not in message


# NumPy's numbers


@pytest.mark.parametrize("case", FUNCTIONS, ids=str)
def test_numbers_of_numpy(case: Case) -> None:
    """Each is taken for the number that it is."""
    given = arguments(case)
    expected = case.op.function(**given)
    tried = 0
    for name in inspect.signature(case.op.function).parameters:
        if name in ("dim", "x_dim", "y_dim"):
            index = {"x_dim": -2}.get(name, -1)
            for integer in (np.int64, np.int32, np.int8):
                for value in (integer(index), (integer(index),), [integer(index)]):
                    assert torch.equal(case.op.function(**given | {name: value}), expected)
                    tried += 1
        elif name == "base":
            for number in (np.float64(2), np.float32(2), np.float16(2), np.int64(2), 2):
                two = case.op.function(**given | {"base": 2.0})
                assert torch.equal(case.op.function(**given | {"base": number}), two)
                assert not torch.equal(two, expected)
                tried += 1
        elif name in ("keepdim", "normalized", "log_target"):
            true = case.op.function(**given | {name: True})
            assert torch.equal(case.op.function(**given | {name: np.True_}), true)
            tried += 1
        elif name == "ignore_index":
            if not given["target"].is_floating_point():
                two = case.op.function(**given | {name: 2})
                assert torch.equal(case.op.function(**given | {name: np.int64(2)}), two)
                tried += 1
        elif name == "label_smoothing":
            quarter = case.op.function(**given | {name: 0.25})
            assert torch.equal(case.op.function(**given | {name: np.float32(0.25)}), quarter)
            tried += 1
    assert tried


# Mistakes that are often made


def says(error: type[Exception], *parts: str) -> Any:
    return pytest.raises(error, match=".*".join(map(re.escape, parts)))


def test_positional_kind() -> None:
    with says(TypeError, "entropy: expected dim to be an int", "kind is a keyword: kind='probs'"):
        torch_infotheory.entropy(P, "probs")
    with says(TypeError, "kl_divergence: expected dim", "kind is a keyword: kind='logits'"):
        torch_infotheory.kl_divergence(P, P, "logits")


def test_labels_for_a_distribution() -> None:
    logits, labels = torch.randn(4, 3), torch.tensor([0, 2, 1, 1])
    loss = "torch_infotheory.nn.functional.cross_entropy"
    with says(TypeError, "cross_entropy: expected q to be", "Long", loss):
        torch_infotheory.cross_entropy(logits, labels)
    with says(TypeError, "kl_divergence: expected q to be", "Long"):
        torch_infotheory.kl_divergence(logits, labels)
    with says(TypeError, "perplexity: expected dim to be", "torch.int64", loss):
        torch_infotheory.perplexity(logits, labels)


def test_objects_of_distributions() -> None:
    with says(TypeError, "kl_divergence: expected p to be a tensor", "Categorical", "probs"):
        torch_infotheory.kl_divergence(CATEGORICAL, CATEGORICAL)


FLOAT8 = [torch.float8_e4m3fn, torch.float8_e5m2]


@pytest.mark.parametrize("dtype", FLOAT8, ids=str)
@pytest.mark.parametrize("case", FUNCTIONS, ids=str)
def test_narrow_floats(case: Case, dtype: torch.dtype) -> None:
    """As input and as result, they are refused in the name of the op."""
    given = arguments(case)
    first = next(iter(given))
    shown = str(dtype).removeprefix("torch.")
    for change in ({first: given[first].to(dtype)}, {"dtype": dtype}):
        for call in (case.op.function, case.op.overload):
            options = given | change
            if call is case.op.overload:
                options = case.op.dispatcher_options(options)
                options.pop("validate", None)
            with pytest.raises((TypeError, NotImplementedError, RuntimeError)) as caught:
                call(**options)
            message = str(caught.value)
            name = case.op.name
            assert re.match(f"_?({name}|{row_op(name)}|normalized_{name}): ", message), message
            assert shown.lower() in message.lower()
            assert "float16" in message or "floating point" in message


def row_op(name: str) -> str:
    """The quantity that a loss is made of."""
    losses = {
        "cross_entropy_loss": "cross_entropy",
        "nll_loss": "cross_entropy",
        "kl_div": "kl_divergence",
        "entropy_loss": "entropy",
        "js_div": "js_divergence",
    }
    return losses.get(name, name)


# Layouts without strides

SPARSE = {
    "sparse": lambda x: x.to_sparse(),
    "csr": lambda x: x.reshape(len(x), -1).to_sparse_csr(),
    "jagged": lambda x: torch.nested.nested_tensor(list(x), layout=torch.jagged),
    "nested": lambda x: torch.nested.nested_tensor(list(x)),
    "mkldnn": lambda x: x.to_mkldnn(),
}


def routes(case: Case) -> list[Callable[..., Tensor]]:
    return [case.op.function, lambda **o: case.op.overload(**case.op.dispatcher_options(o))]


@pytest.mark.parametrize("layout", SPARSE)
@pytest.mark.parametrize("case", FUNCTIONS, ids=str)
@pytest.mark.filterwarnings("ignore:.*(Sparse|prototype|nested)")
def test_layouts_without_strides(case: Case, layout: str) -> None:
    """Sparse and nested tensors, for every tensor of a call: what is wrong, and what to do."""
    given = arguments(case)
    tried = 0
    for name, x in given.items():
        if not isinstance(x, Tensor) or x.dim() == 0:
            continue
        if layout == "mkldnn" and not x.is_floating_point():
            continue
        if x.dim() == 1 and layout in ("csr", "jagged", "nested"):
            continue
        for requires_grad in {False, x.is_floating_point() and layout in ("sparse", "jagged")}:
            changed = SPARSE[layout](x).detach().requires_grad_(requires_grad)
            for call in routes(case):
                with pytest.raises(NotImplementedError) as caught:
                    call(**given | {name: changed})
                message = str(caught.value)
                assert message.startswith(case.op.name), message
                assert re.search(rf"\b{name}\b", message)
                assert ("values()" if layout in ("jagged", "nested") else "to_dense()") in message
                tried += 1
    assert tried


# The ops of the dispatcher

REDUCED = [case for case in FUNCTIONS if case.op.takes("reduction")]
WITH_KIND = [case for case in FUNCTIONS if case.op.takes("kind")]


@pytest.mark.parametrize("case", REDUCED, ids=str)
def test_an_op_says_that_it_takes_numbers_for_reductions(case: Case) -> None:
    op = getattr(torch.ops.torch_infotheory, case.op.name)
    given = case.op.dispatcher_options(arguments(case))
    for name in ("sum", "mean", "avg"):
        with says(
            TypeError, f"{case.op.name}: expected reduction to be", "2 (sum)", f"got '{name}'"
        ):
            op(**given | {"reduction": name})
    tensors = [x for x in given.values() if isinstance(x, Tensor)]
    if case.op.name in ("nll_loss", "cross_entropy_loss"):
        with says(TypeError, "expected reduction to be", "got 'sum'"):
            op(*tensors[:2], None, "sum")


@pytest.mark.parametrize("case", WITH_KIND, ids=str)
def test_an_op_says_that_it_takes_kinds_one_by_one(case: Case) -> None:
    op = getattr(torch.ops.torch_infotheory, case.op.name)
    given = case.op.dispatcher_options(arguments(case))
    second = {"js_div": "target_kind"}.get(case.op.name, "q_kind")
    for kind in (("probs", "logits"), ["probs", "logits"]):
        with says(TypeError, f"{case.op.name}: expected kind to be 'probs', 'log_probs'") as caught:
            op(**given | {"kind": kind})
        assert (second in str(caught.value)) == (len(case.kinds) == 2)


@pytest.mark.parametrize("case", FUNCTIONS, ids=str)
def test_the_refusing_overloads_change_nothing(case: Case) -> None:
    """The packet calls the op itself, whatever is left out."""
    given = case.op.dispatcher_options(arguments(case))
    packet = getattr(torch.ops.torch_infotheory, case.op.name)
    assert torch.equal(packet(**given), packet.default(**given))
    schema = packet.default._schema.arguments
    required = [given[x.name] for x in schema if not x.has_default_value()]
    assert torch.equal(packet(*required), packet.default(*required))


def test_names_of_the_losses() -> None:
    """Errors name the function that was called, not its op."""
    with says(TypeError, "cross_entropy: expected label_smoothing to be a number, got '0'"):
        functional.cross_entropy(torch.zeros(2, 3), torch.tensor([0, 1]), label_smoothing="0")
