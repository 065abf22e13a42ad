"""The opt-in check that a tensor states distributions.

Knows tensors and kinds; must not know how an op computes.
"""

from typing import Any

import torch
from torch import Tensor

# Where a call says how a tensor states distributions. Losses of torch fix it.
_KIND_OF = {"p": "kind", "q": "q_kind", "joint": "kind", "input": "kind", "target": "target_kind"}
_FIXED_KINDS = {
    "cross_entropy_loss": {"input": "logits", "target": "probs"},
    "nll_loss": {"input": "log_probs", "target": "labels"},
    "kl_div": {"input": "log_probs"},
    "binary_entropy": {},  # each entry is a distribution of its own
}
_DIMS = ("dim", "x_dim", "y_dim", "z_dim", "dims")


def check(called: str, op: str, given: dict[str, Any]) -> None:
    """Raise ValueError for the first distribution given to an op that is none."""
    if torch.compiler.is_compiling():
        return  # there are no numbers to look at
    for name in _KIND_OF.keys():
        x = given.get(name)
        kind = _kind(op, name, given)
        if isinstance(x, Tensor) and (x.is_floating_point() or kind == "counts") and not x.is_meta:
            if kind in ("probs", "log_probs", "counts"):  # logits always state one
                with torch.no_grad():
                    _check_numbers(called, name, x, _dims(op, given), kind)


def _kind(op: str, name: str, given: dict[str, Any]) -> str | None:
    if op == "kl_div" and name == "target":
        return "log_probs" if given["log_target"] else "probs"
    if op in _FIXED_KINDS:
        return _FIXED_KINDS[op].get(name)
    return given.get(_KIND_OF[name]) or given.get("kind")


def _dims(op: str, given: dict[str, Any]) -> list[int]:
    """The class dimensions of a call."""
    dims = [d for name in _DIMS for d in given.get(name, ())]
    # torch's losses have the classes in the second dimension; kl_div has none, and is used with the
    # last one.
    return dims or [1 if op != "kl_div" and given["input"].dim() > 1 else -1]


def _check_numbers(function: str, name: str, x: Tensor, dims: list[int], kind: str) -> None:
    if hasattr(x, "full_tensor"):  # of all ranks
        x = x.full_tensor()
    rank = max(x.dim(), 1)
    if any(not -rank <= d < rank for d in dims) or x.numel() == 0:
        return
    p = x.detach().reshape(x.shape or (1,))
    p = p.double() if p.device.type in ("cpu", "cuda") else p.cpu().double()
    p = p.exp() if kind == "log_probs" else p
    dims = sorted(d % rank for d in dims)
    classes = 1
    for d in dims:
        classes *= p.size(d)
    totals, least = p.sum(dims, keepdim=True), p.amin(dims, keepdim=True)
    if kind == "counts":
        normal = totals > 0
    else:
        # As the divergences allow, and what torch's softmax of so many classes is off by.
        normal = (totals - 1).abs() <= (8 + classes / 500) * torch.finfo(x.dtype).eps
    wrong = normal.logical_and(least >= 0).logical_not()
    if not bool(wrong.any()):
        return
    row = wrong.nonzero()[0].tolist()
    at = ", ".join(":" if d in dims else str(i) for d, i in enumerate(row))
    where = f"{name}[{at}]" if x.dim() else name
    total, negative = totals[tuple(row)].item(), least[tuple(row)].item()
    if negative < 0:
        what = "count" if kind == "counts" else "probability"
        raise ValueError(f"{function}: {where} has the negative {what} {negative:.9g}")
    if kind == "counts":
        raise ValueError(f"{function}: the counts {where} have the total {total:.9g}")
    stated = "log-probabilities" if kind == "log_probs" else "probabilities"
    raise ValueError(f"{function}: the {stated} {where} have the total {total:.9g}, which is not 1")
