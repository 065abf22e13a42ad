"""What may be given for an argument, and the error that says so.

Every check names the function, the argument, what is allowed and what came, where the dispatcher
would report that it cannot cast to a C++ type. NumPy's integers and floating-point numbers count as
Python's.
"""

import math
import operator
import reprlib
from collections.abc import Callable, Sequence
from numbers import Real
from typing import TypeAlias

import torch
from torch import Tensor

KINDS = "'probs', 'log_probs', 'logits' or 'counts'"
_KINDS_OF_A_TEACHER = "'probs', 'log_probs' or 'logits'"
_KINDS_OF_AN_EVENT = "'probs' or 'logits'"

# For tensors that were given to one argument and meant for another.
_HINTS = {
    ("perplexity", "dim"): "; the perplexity of predictions for class labels is "
    "torch_infotheory.nn.functional.cross_entropy(logits, labels).exp()",
    ("cross_entropy", "dim"): "; torch_infotheory.nn.functional.cross_entropy takes class labels",
}


def error(function: str, name: str, allowed: str, x: object, hint: str = "") -> TypeError:
    if isinstance(x, Tensor):
        came = f"a tensor of {x.dtype} and shape {list(x.shape)}"
    else:
        came = f"{reprlib.repr(x)} of type {type(x).__name__}"
    return TypeError(f"{function}: expected {name} to be {allowed}, got {came}{hint}")


def tensor(function: str, name: str, x: object) -> Tensor:
    # What has __torch_function__ answers for the op, such as a proxy of torch.fx.
    if isinstance(x, Tensor) or hasattr(type(x), "__torch_function__"):
        return x  # type: ignore[return-value]
    if isinstance(x, torch.distributions.Distribution):
        hint = "; give its probs or its logits, or call torch.distributions"
    elif isinstance(x, str):
        hint = "; kind is a keyword: kind=" + repr(x)
    elif hasattr(x, "__array__") or isinstance(x, Sequence):
        hint = "; torch.as_tensor makes one of it"
    else:
        hint = ""
    raise error(function, name, "a tensor", x, hint)


def integer(function: str, name: str, x: object, allowed: str = "an int") -> int:
    if type(x) is int:
        return x
    if isinstance(x, torch.SymInt):
        return x  # type: ignore[return-value]
    if not isinstance(x, bool | Tensor) and hasattr(type(x), "__index__"):
        try:
            return operator.index(x)  # type: ignore[arg-type]
        except TypeError:  # an array
            pass
    hint = _HINTS.get((function, name), "") if isinstance(x, Tensor) else ""
    if isinstance(x, str):
        hint = f"; kind is a keyword: kind={x!r}"
    raise error(function, name, allowed, x, hint)


def dims(function: str, name: str, x: object) -> list[int]:
    allowed = "an int or a tuple of ints"
    items = x if isinstance(x, tuple | list) else (x,)
    return [integer(function, name, item, allowed) for item in items]


def number(function: str, name: str, x: object) -> float:
    if type(x) is float:
        return x
    if isinstance(x, torch.SymFloat | torch.SymInt):
        return x  # type: ignore[return-value]
    if isinstance(x, Real) and not isinstance(x, bool):
        return float(x)
    raise error(function, name, "a number", x)


def numbers(function: str, name: str, x: object) -> list[float]:
    if not isinstance(x, tuple | list):
        raise error(function, name, "a tuple of numbers", x)
    return [number(function, name, item) for item in x]


def nats_in(function: str, base: object) -> float:
    """How many nats the unit of ``base`` has, for functions that are no ops."""
    x = math.e if base is None else number(function, "base", base)
    if not (math.isfinite(x) and x > 0 and x != 1):
        raise ValueError(
            f"{function}: expected base to be a finite number above 0 other than 1, got {x:g}"
        )
    return 1.0 if base is None else math.log(x)


def flag(function: str, name: str, x: object) -> bool:
    if x is True or x is False:
        return x
    if isinstance(x, torch.SymBool):
        return x  # type: ignore[return-value]
    if type(x).__name__ in ("bool", "bool_") and type(x).__module__ == "numpy":
        return bool(x)
    raise error(function, name, "a bool", x)


def kind(function: str, name: str, x: object, allowed: str = KINDS) -> str:
    if isinstance(x, str):
        return x  # the op says which there are
    raise error(function, name, allowed, x)


def string(function: str, name: str, x: object) -> str:
    if isinstance(x, str):
        return x  # likewise
    raise error(function, name, "a string", x)


def _kind_of_two(function: str, name: str, x: object) -> str:
    return kind(function, name, x, f"{KINDS}, or a pair of these")


def _kind_of_a_teacher(function: str, name: str, x: object) -> str:
    return kind(function, name, x, _KINDS_OF_A_TEACHER)


def _kind_of_an_event(function: str, name: str, x: object) -> str:
    return kind(function, name, x, _KINDS_OF_AN_EVENT)


def data_type(function: str, name: str, x: object) -> torch.dtype:
    if isinstance(x, torch.dtype):
        return x
    raise error(function, name, "a torch.dtype", x)


Check: TypeAlias = Callable[[str, str, object], object]


def _optional(check: Check) -> Check:
    def check_or_none(function: str, name: str, x: object) -> object:
        return None if x is None else check(function, name, x)

    return check_or_none


# By the types of a schema.
_CHECKS: dict[str, Check] = {
    "Tensor": tensor,
    "Optional[Tensor]": _optional(tensor),
    "List[int]": dims,
    "Optional[List[int]]": _optional(dims),
    "Optional[List[float]]": _optional(numbers),
    "int": integer,
    "Optional[int]": _optional(integer),
    "float": number,
    "Optional[float]": _optional(number),
    "bool": flag,
    "str": string,
    "Optional[str]": _optional(string),
    "Optional[ScalarType]": _optional(data_type),
}


def reader(
    called: str, schema: torch._C.FunctionSchema
) -> Callable[[Sequence[object]], tuple[object, ...]]:
    """Return what makes of all arguments of an op, by position, what the dispatcher takes."""
    kinds = [
        x.name for x in schema.arguments if x.name.endswith("kind") and "str" in str(x.real_type)
    ]
    of_kinds: Check = kind
    if schema.name.startswith("torch_infotheory::linear_"):
        of_kinds = _kind_of_a_teacher
    elif schema.name == "torch_infotheory::binary_entropy":
        of_kinds = _kind_of_an_event
    checks: list[tuple[str, Check]] = []
    for x in schema.arguments:
        if len(kinds) > 1 and x.name in kinds:  # one argument of the function, two of the op
            checks.append(("kind", _kind_of_two))
        elif x.name in kinds:
            checks.append((x.name, of_kinds))
        else:
            checks.append((x.name, _CHECKS[str(x.real_type)]))

    def read(values: Sequence[object]) -> tuple[object, ...]:
        return tuple(
            [check(called, name, x) for (name, check), x in zip(checks, values, strict=True)]
        )

    return read
