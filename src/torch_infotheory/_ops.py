"""The ops as Python functions of positional arguments, reached without a detour.

``torch.ops`` reads the schema of an op at every call, which takes longer than a small reduction.
The extension has the same ops as typed functions. They take plain arguments; whatever else comes,
``torch.ops`` serves: subclasses of tensors, unless a rule is registered for them, modes, symbolic
sizes. So does the tracer of torch.compile, which knows ops but no functions of an extension. Types
are checked on that way only, so that a plain call does not wait for it.
"""

from collections.abc import Callable, Iterable
from types import SimpleNamespace
from typing import Any, TypeAlias

import torch
from torch import Tensor
from torch.compiler import is_dynamo_compiling

from torch_infotheory import _C, _arguments, _jagged, _validation


class Ops(SimpleNamespace):
    """Ops by name. They take all arguments of the schema in its order.

    The overload "table.columns" has the name ``table_columns``.
    """

    def __init__(self, names: Iterable[str], called: dict[str, str]) -> None:
        self._ways = {
            validates: {
                name.replace(".", "_"): _function(name, called.get(name, name), validates)
                for name in names
            }
            for validates in (False, True)
        }
        self._take(_validates)
        _all.append(self)

    def _take(self, validates: bool) -> None:
        self.__dict__.update(self._ways[validates])

    def that(self, validates: bool) -> SimpleNamespace:
        """Return the ops that look, or do not look, whether they are given distributions."""
        return SimpleNamespace(**self._ways[_arguments.flag("validate", "validate", validates)])


def functions(names: Iterable[str], **called: str) -> Ops:
    """Return the ops of these names; ``called`` has names of functions that differ from them."""
    return Ops(tuple(names), called)


# What is called in the place of an op, with the op and its arguments, if one of these is such a
# tensor. For ops that are composites, where torch.library.register_torch_dispatch comes too late:
# autograd then records the parts of the composite.
Rule: TypeAlias = Callable[[Any, dict[str, Any]], Any]
_rules: dict[str, tuple[type, Rule]] = {}


def register_rule(name: str, of: type, rule: Rule) -> None:
    """Let a rule answer for an op where a tensor is of a subclass; torch.ops does not ask it."""
    _rules[name] = of, rule


_all: list[Ops] = []
_validates = False


def set_validation(on: bool) -> None:
    """Let all measures and losses check that they are given distributions, or no longer.

    With it, a tensor whose probabilities or log-probabilities have a negative entry or another
    total than 1 is a `ValueError` that shows the first such distribution and its total. A total
    may be off by 8 + C / 500 epsilon of the data type for C classes, because torch's softmax is.
    Counts must not be negative, nor all 0. Logits always state a distribution.
    For a single call, ``validate=True`` or ``False`` decides.

    The check reads the tensors once more and, on a GPU, waits for them; off, which is the default,
    it costs nothing. Tensors without numbers are not checked: on the meta device, under
    torch.compile.

    Args:
        on: Whether to check from now on, in all threads.

    Raises:
        TypeError: If ``on`` is no bool.

    Example:
        >>> import torch, torch_infotheory
        >>> torch_infotheory.entropy(torch.tensor([[0.5, 0.5], [0.5, 0.6]]), validate=True)
        Traceback (most recent call last):
        ValueError: entropy: the probabilities p[1, :] have the total 1.10000002, which is not 1
    """
    global _validates
    _validates = _arguments.flag("set_validation", "on", on)
    for ops in _all:
        ops._take(_validates)


def _function(name: str, called: str, validates: bool) -> Callable[..., Tensor]:
    packet, _, overload = name.partition(".")
    op = getattr(torch.ops.torch_infotheory, packet)
    schema = getattr(op, overload or "default")._schema
    arguments = [argument.name for argument in schema.arguments]
    typed = None if validates else getattr(_C, name, None)
    read = _arguments.reader(called, schema)

    def call(*values: object) -> Tensor:
        if not is_dynamo_compiling():
            if typed is not None:
                result = typed(*values)
                if result is not NotImplemented:
                    return result
            values = read(values)
            given = dict(zip(arguments, values, strict=True))
            if _jagged.concerns(given):
                return _jagged.call(called, call, given)
            if validates:
                _validation.check(called, name, given)
            of, rule = _rules.get(name, ((), None))
            if rule is not None and any(isinstance(x, of) for x in values):
                return rule(op, given)
        return op(**dict(zip(arguments, values, strict=True)))

    return call
