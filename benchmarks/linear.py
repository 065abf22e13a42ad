"""Losses from hidden states, as cases: beside the loss of logits that are there, and the products.

A size is N x H x C: rows, hidden features, classes. Knows no clock.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from cases import Size, Work
from peers import kl_divergence
from torch import Tensor
from torch.nn import functional as F

from torch_infotheory.nn import functional as ours


def of_labels(h: Tensor, weight: Tensor, target: Tensor) -> Tensor:
    return F.cross_entropy(h @ weight.T, target)


def of_teacher(h: Tensor, weight: Tensor, states: Tensor, teacher: Tensor) -> Tensor:
    return kl_divergence(states @ teacher.T, h @ weight.T).mean()


def linear_kl_div(h: Tensor, weight: Tensor, states: Tensor, teacher: Tensor) -> Tensor:
    return ours.linear_kl_div(h, weight, states, target_weight=teacher)


def in_chunks(h: Tensor, weight: Tensor, target: Tensor) -> Tensor:
    """Torch's own function with the chunks that it chooses."""
    options = torch.nn.LinearCrossEntropyOptions()
    return F.linear_cross_entropy(h, weight, target, options=options)


def products(h: Tensor, weight: Tensor, *others: Tensor) -> Tensor:
    """The matrix products alone: one, and in backward two more."""
    return h @ weight.T


@dataclass(frozen=True)
class Linear:
    name: str
    ours: Callable[..., Tensor]
    eager: Callable[..., Tensor]
    labelled: bool = False

    def work(self, size: Size, dtype: torch.dtype, device: str) -> Work:
        n, h, c = size.shape
        generator = torch.Generator().manual_seed(0)

        def random(*shape: int) -> Tensor:
            return torch.randn(shape, generator=generator).to(device, dtype)

        inputs = [random(n, h), random(c, h) / h**0.5]
        if self.labelled:
            others = [torch.randint(c, (n,), generator=generator).to(device)]
        else:
            others = [random(n, h), random(c, h) / h**0.5]
        calls: dict[str, Callable[..., Any]] = {
            "ours": self.ours,
            "eager": self.eager,
            "compile": torch.compile(lambda *x: self.eager(*x), fullgraph=True, dynamic=False),
        }
        if self.labelled:
            calls["products"] = products
            if hasattr(torch.nn, "LinearCrossEntropyOptions"):
                calls["core"] = in_chunks
        return Work(inputs, others, calls)


LINEAR = (
    Linear("linear_cross_entropy", ours.linear_cross_entropy, of_labels, labelled=True),
    Linear("linear_kl_div", linear_kl_div, of_teacher),
)
