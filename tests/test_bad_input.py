"""Bad input: which error, what it says, and that nothing else happens.

Every mistake is tried on every op that can make it, through the Python function and through the op
of the dispatcher.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import product
from typing import Any

import pytest
import torch
from ops import BASIC_CASES, CLASSES, Case, random
from torch import Tensor

EVERY_KIND = [
    case
    for case in BASIC_CASES
    if len(set(case.kinds)) == 1 and case.options.get("reduction", "mean") == "mean"
]
MEASURES = [case for case in EVERY_KIND if case.kinds[0] == "probs"]
PAIRS = [case for case in MEASURES if len(case.kinds) == 2]
TABLES = [case for case in MEASURES if "x_dim" in case.op.dims]
ROWS = [case for case in MEASURES if "dim" in case.op.dims]
LABELLED = [case for case in BASIC_CASES if case.op.name in ("cross_entropy_loss", "nll_loss")]

FUNCTION = (lambda case: case,)  # through the package
OP = (lambda case: case.dispatch,)  # through the dispatcher
Change = Callable[[list[Tensor]], list[Tensor]]


@dataclass(frozen=True)
class Mistake:
    name: str
    cases: list[Case]
    errors: type[Exception] | tuple[type[Exception], ...]
    says: tuple[str, ...]  # what the message names
    options: dict[str, Any]
    change: Change = list  # of the inputs
    names_op: bool = False
    routes: tuple[Callable[[Case], Callable[..., Tensor]], ...] = FUNCTION + OP


def every(change: Callable[[Tensor], Tensor]) -> Change:
    return lambda inputs: [change(x) for x in inputs]


def first(change: Callable[[Tensor], Tensor]) -> Change:
    return lambda inputs: [change(inputs[0]), *inputs[1:]]


def last(change: Callable[[Tensor], Tensor]) -> Change:
    return lambda inputs: [*inputs[:-1], change(inputs[-1])]


def wrong_type(name: str, cases: list[Case], value: object) -> Mistake:
    """Not through the dispatcher, which refuses wrong types itself, as for every op."""
    return Mistake(f"{name}_{value}", cases, TypeError, (name,), {name: value}, routes=FUNCTION)


def mistakes() -> Iterator[Mistake]:
    kinds = ("probs", "log_probs", "logits")
    for kind in ("bits", "", "Probs"):
        yield Mistake(f"kind_{kind}", MEASURES, ValueError, ("kind", kind, *kinds), {"kind": kind})
    for pair in (("bits", "probs"), ("probs", "bits")):
        says = ("kind", "bits", *kinds)
        yield Mistake(f"kinds_{'_'.join(pair)}", PAIRS, ValueError, says, {"kind": pair})
    for kind in (2, None, ("probs",) * 3):
        yield wrong_type("kind", MEASURES, kind)
    with_base = [case for case in MEASURES if case.op.takes("base")]
    for base in (0.0, -2.0, 1.0, math.inf, -math.inf, math.nan):
        says = ("base", f"{base:g}")
        yield Mistake(f"base_{base}", with_base, ValueError, says, {"base": base})
    for base in ("two", [2.0]):
        yield wrong_type("base", with_base, base)
    with_reduction = [case for case in BASIC_CASES if case.op.takes("reduction")]
    for reduction, says, routes in (
        ("avg", (), FUNCTION),
        (-1, ("reduction",), OP),
        (7, ("reduction",), OP),
    ):
        says, options = (*says, str(reduction)), {"reduction": reduction}
        name = f"reduction_{reduction}"
        yield Mistake(name, with_reduction, ValueError, says, options, routes=routes)

    for dim in (2, -3):
        for dims in (dim, (0, dim)):
            says = (str(dim), "[3, 5]")
            yield Mistake(f"dim_{dims}", ROWS, IndexError, says, {"dim": dims}, names_op=True)
    for dim in (1, -2):
        change = every(lambda x: x[0, 0])
        yield Mistake(f"scalar_dim_{dim}", ROWS, IndexError, ("[]",), {"dim": dim}, change, True)
    yield Mistake("dim_twice", ROWS, RuntimeError, (), {"dim": (1, -1)}, names_op=True)
    for name, dim in product(("x_dim", "y_dim"), (3, -4)):
        says = (str(dim), "[3, 4, 5]")
        yield Mistake(f"{name}_{dim}", TABLES, IndexError, says, {name: dim}, names_op=True)
    for dims in ({"x_dim": -1}, {"y_dim": 1}, {"x_dim": (0, 1), "y_dim": (1, 2)}):
        yield Mistake(f"overlap_{dims}", TABLES, RuntimeError, (), dims, names_op=True)
    yield Mistake("no_table", TABLES, IndexError, ("[5]",), {}, every(lambda x: x[0, 0]), True)
    for other, change in {
        "[3, 4]": lambda x: x[:, 1:],
        "[3, 1]": lambda x: x[:, :1],  # classes do not broadcast
        "[2, 5]": lambda x: x[1:],
        "[]": lambda x: x[0, 0],
    }.items():
        says = ("[3, 5]", other)
        yield Mistake(f"shape_{other}", PAIRS, RuntimeError, says, {}, last(change), True)
    on_meta = last(lambda x: x.to("meta"))
    yield Mistake("devices", PAIRS, RuntimeError, ("meta",), {}, on_meta, True)
    yield Mistake("no_classes", EVERY_KIND, RuntimeError, (), {}, every(lambda x: x[..., :0]))
    yield Mistake("nothing", EVERY_KIND, RuntimeError, (), {}, every(lambda x: x[:0, ..., :0]))

    refused = (TypeError, NotImplementedError)
    for dtype, shown in {
        torch.int64: "Long",
        torch.uint8: "Byte",
        torch.bool: "Bool",
        torch.complex64: "Complex",
    }.items():
        for where in (first, last):
            change = where(lambda x, dtype=dtype: x.to(dtype))
            yield Mistake(f"{where.__name__}_{shown}", MEASURES, refused, (shown,), {}, change)


@pytest.mark.parametrize("mistake", list(mistakes()), ids=lambda mistake: mistake.name)
def test_bad_input(mistake: Mistake, device: str) -> None:
    for case, route in product(mistake.cases, mistake.routes):
        inputs = mistake.change(case.inputs(torch.float32, device))
        inputs = [x.detach().requires_grad_(x.is_floating_point()) for x in inputs]
        before = [x.detach().clone() for x in inputs]
        says = (*mistake.says, case.op.name) if mistake.names_op else mistake.says
        with pytest.raises(mistake.errors) as caught:
            route(case)(*inputs, **mistake.options)
        message = str(caught.value).lower()
        assert [word for word in says if word.lower() not in message] == []
        assert all(x.is_meta or torch.equal(x, y) for x, y in zip(inputs, before, strict=True))


@pytest.fixture
def labels_are_checked(device: str) -> None:
    if device != "cpu":
        pytest.skip("on CUDA a bad label is a device assert, which ends the process")


@pytest.mark.parametrize("case", LABELLED, ids=str)
def test_bad_label(case: Case, device: str, labels_are_checked: None) -> None:
    (input,) = case.inputs(torch.float32, device, requires_grad=True)
    for label, ignored in product((CLASSES, CLASSES + 1000, -1, -101), (-100, 3)):
        target = torch.tensor([2, label, 6, 2], device=device)
        for call in (case, case.dispatch):
            with pytest.raises(IndexError, match=f"Target {label} is out of bounds."):
                call(input, target=target, ignore_index=ignored)


@pytest.mark.parametrize("case", LABELLED, ids=str)
def test_bad_label_among_many(
    case: Case, device: str, threads: None, labels_are_checked: None
) -> None:
    """Found by whichever thread meets it; afterwards everything works as before."""
    torch.set_num_threads(4)
    function = case.op.function
    input = random(30_011, CLASSES).float().log_softmax(1).to(device)
    labels = torch.arange(len(input), device=device) % CLASSES
    expected = function(input, labels)
    for row in (0, 12_345, len(input) - 1):
        for dtype in (torch.int64, torch.int32, torch.uint8):
            bad = labels.to(dtype, copy=True)
            bad[row] = 77
            for reduction in ("none", "mean", "sum"):
                with pytest.raises(IndexError, match="Target 77 is out of bounds."):
                    function(input, bad, reduction=reduction)
    assert torch.equal(function(input, labels), expected)
