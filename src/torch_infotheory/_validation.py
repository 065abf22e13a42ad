"""The opt-in check that a tensor states distributions.

Knows tensors and kinds; must not know how an op computes.
"""

from typing import Any

import torch
from torch import Tensor

# How a tensor states distributions: what an argument of the call says, or always the same.
_KIND_OF = {"p": "kind", "q": "q_kind", "joint": "kind", "input": "kind", "target": "target_kind"}
_KIND_IN = {
    "cross_entropy_loss": {"input": "logits", "target": "probs"},
    "nll_loss": {"input": "log_probs", "target": "labels"},
    "kl_div": {"input": "log_probs"},
    "binary_entropy": {},  # each entry is a distribution of its own
    # The input is hidden states or logits.
    "linear_cross_entropy": {"target": "probs"},
    "linear_entropy": {},
    "linear_kl_div": {"target": "kind"},
    "linear_js_div": {"target": "kind"},
    "distillation_loss": {"target": "kind"},
}
# With these, the target is hidden states or some of the classes.
_OF_THE_TARGET = ("target_weight", "target_classes")
_CLASSES_SECOND = ("cross_entropy_loss", "nll_loss", "linear_cross_entropy")
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
    if name == "target" and any(given.get(other) is not None for other in _OF_THE_TARGET):
        return None
    if op in _KIND_IN:
        kind = _KIND_IN[op].get(name)
        return given.get(kind, kind) if kind else None
    return given.get(_KIND_OF[name]) or given.get("kind")


def _dims(op: str, given: dict[str, Any]) -> list[int]:
    """The class dimensions of a call."""
    dims = [d for name in _DIMS for d in given.get(name, ())]
    # The losses without the argument have the classes in the last dimension, unless torch's have
    # them in the second.
    return dims or [1 if op in _CLASSES_SECOND and given["input"].dim() > 1 else -1]


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
