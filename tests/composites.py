"""Every op in operations of torch: what transforms and compilers make of an op is compared with
what they make of these.

The formulas are those of reference.py, evaluated on tensors. Must not know the package.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from ops import Case
from torch import Tensor

OTHER_NAMES = {"equal": "eq", "power": "pow"}  # in torch, of functions of NumPy


class Traced(np.lib.mixins.NDArrayOperatorsMixin):
    """A tensor that answers to NumPy as an array does."""

    def __init__(self, tensor: Tensor) -> None:
        self.tensor = tensor

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *arguments: Any) -> "Traced":
        return self.__array_function__(ufunc, (), arguments, {})

    def __array_function__(
        self, function: Any, types: Any, arguments: Sequence[Any], options: dict[str, Any]
    ) -> "Traced":
        assert not options
        name = OTHER_NAMES.get(function.__name__, function.__name__)
        traced = [x.tensor for x in arguments if isinstance(x, Traced)]
        like = next((x for x in traced if x.is_floating_point()), traced[0])
        return Traced(
            getattr(torch, name)(
                *(x.tensor if isinstance(x, Traced) else like.new_tensor(x) for x in arguments)
            )
        )

    def __getitem__(self, index: Any) -> "Traced":
        return Traced(self.tensor[index])

    def sum(self, axes: Sequence[int] = (), keepdims: bool = False) -> "Traced":
        return Traced(self.tensor.sum(axes, keepdims))

    def max(self, axes: Sequence[int], keepdims: bool) -> "Traced":
        return Traced(self.tensor.amax(axes, keepdims))

    def squeeze(self, axes: Sequence[int]) -> "Traced":
        return Traced(self.tensor.squeeze(axes))

    @property
    def real(self) -> "Traced":
        return self

    @property
    def ndim(self) -> int:
        return self.tensor.ndim

    @property
    def size(self) -> int:
        return self.tensor.numel()


# The losses of class indices, whose targets and weights are arguments of transforms too. Torch's
# own do not go through all of them.


def nll_loss(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    *,
    reduction: str = "mean",
    ignore_index: int = -100,
    label_smoothing: float = 0.0,
) -> Tensor:
    dim = min(1, input.ndim - 1)
    along = [-1 if d == dim else 1 for d in range(input.ndim)]
    w = input.new_ones(()) if weight is None else weight.view(along)
    kept, p, total = 1, target, input.numel() / input.shape[dim]
    if target.ndim < input.ndim:
        labels = target.unsqueeze(dim)
        kept = labels != ignore_index
        p = kept * (torch.arange(input.shape[dim], device=input.device).view(along) == labels)
        p = p.to(input.dtype)
        total = (p * w).sum()
    smoothed = kept * ((1 - label_smoothing) * p + label_smoothing / input.shape[dim])
    losses = -(smoothed * w * input).sum(dim)
    if reduction == "mean":
        return losses.sum() / total
    return losses.sum() if reduction == "sum" else losses


def cross_entropy_loss(input: Tensor, *arguments: Tensor, **options: Any) -> Tensor:
    return nll_loss(input.log_softmax(min(1, input.ndim - 1)), *arguments, **options)


OF_LABELS = {"nll_loss": nll_loss, "cross_entropy_loss": cross_entropy_loss}


def composite(case: Case) -> Callable[..., Tensor]:
    """What `case` computes, as a function of the same arguments."""
    if case.op.name in OF_LABELS:
        return OF_LABELS[case.op.name]
    return lambda *inputs, **options: case.evaluate(*map(Traced, inputs)).tensor
