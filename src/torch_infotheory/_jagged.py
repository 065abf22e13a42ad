"""Measures of jagged nested tensors, over the last dimension: what torch's own reductions over it
give, a jagged tensor with one value for each distribution.

Knows nested tensors; must not know ops.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor


def concerns(given: dict[str, Any]) -> bool:
    """Whether a call, by the names of its arguments, is that of such a measure."""
    tensors = [x for x in given.values() if isinstance(x, Tensor)]
    is_measure = "p" in given and "dim" in given and "mixture_dim" not in given
    return is_measure and any(x.layout == torch.jagged for x in tensors)


def call(called: str, op: Callable[..., Tensor], given: dict[str, Any]) -> Tensor:
    """Call an op, given its arguments by name, with the rows of all parts as one dense tensor."""
    p = given["p"]
    for name in given.keys() & {"p", "q"}:
        x = given[name]
        if x.layout != torch.jagged or x.shape[:2] != p.shape[:2]:
            raise NotImplementedError(
                f"{called}: expected p and q to be jagged tensors with the same offsets, got p "
                f"{_described(p)} and {name} {_described(x)}; pass the values() of both, the rows "
                "of all parts"
            )
        # Where the ragged dimension is not the second one, values() has the rows in another order.
        is_usual = x.dim() > 2 and isinstance(x.shape[1], torch.SymInt)
        if not is_usual or given["dim"] not in ([-1], [x.dim() - 1]):
            raise NotImplementedError(
                f"{called}: of a jagged tensor, expected dim to be the last dimension and not the "
                f"ragged one, got dim {given['dim']} and {name} {_described(x)}; pass its "
                "values(), the rows of all parts, or to_padded_tensor()"
            )
    rows = {name: given[name].values() for name in given.keys() & {"p", "q"}}
    value = op(*(given | rows | {"dim": [-1]}).values())
    return torch.nested.nested_tensor_from_jagged(value, p.offsets(), p.lengths())


def _described(x: Tensor) -> str:
    return f"of {x.layout} and shape {list(x.shape)}"
