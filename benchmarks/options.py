"""Every combination of options of the drop-in losses, as cases. Knows no clock."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from itertools import product
from typing import Any

import torch
from cases import Size, Work
from torch.nn import functional as theirs

from torch_infotheory.nn import functional as ours


@dataclass(frozen=True)
class Options:
    """A loss with one combination of its options."""

    function: str
    target: str  # "indices", "probabilities", "logarithms", or probabilities "with gradient"
    weight: bool = False
    ignore: bool = False
    smoothing: bool = False
    reduction: str = "mean"

    @property
    def name(self) -> str:
        words = [word for word in ("weight", "ignore", "smoothing") if getattr(self, word)]
        return ", ".join([self.function, self.target, *words, self.reduction])

    @property
    def chosen(self) -> int:
        """How many options differ from their defaults."""
        return self.weight + self.ignore + self.smoothing + (self.reduction != "mean")

    def work(self, size: Size, dtype: torch.dtype, device: str) -> Work:
        torch.manual_seed(0)
        shape = size.shape
        classes, rows = shape[1], (shape[0], *shape[2:])
        input = torch.randn(shape)
        if self.function != "cross_entropy":
            input = input.log_softmax(1)
        options: dict[str, Any] = {"reduction": self.reduction}
        if self.target == "indices":
            target = torch.randint(classes, rows)
        else:
            target = torch.randn(shape).softmax(1)
            target = (target.log() if self.target == "logarithms" else target).to(dtype)
        if self.function == "kl_div":
            options["log_target"] = self.target == "logarithms"
        if self.weight:
            options["weight"] = torch.rand(classes).to(device, dtype)
        if self.ignore:
            target[torch.rand(rows) < 0.3] = options["ignore_index"] = -1
        if self.smoothing:
            options["label_smoothing"] = 0.1
        tensors = [input.to(device, dtype), target.to(device)]
        split = 2 if self.target == "with gradient" else 1
        libraries = {"ours": ours, "eager": theirs}
        calls = {k: partial(getattr(lib, self.function), **options) for k, lib in libraries.items()}
        return Work(tensors[:split], tensors[split:], calls)


FLAGS = (False, True)
REDUCTIONS = ("mean", "sum", "none")


def combinations() -> Iterator[Options]:
    """Every combination that torch allows."""
    for weight, ignore, smoothing, reduction in product(FLAGS, FLAGS, FLAGS, REDUCTIONS):
        yield Options("cross_entropy", "indices", weight, ignore, smoothing, reduction)
    for target in ("probabilities", "with gradient"):
        for weight, smoothing, reduction in product(FLAGS, FLAGS, REDUCTIONS):
            yield Options("cross_entropy", target, weight, False, smoothing, reduction)
    for weight, ignore, reduction in product(FLAGS, FLAGS, REDUCTIONS):
        yield Options("nll_loss", "indices", weight, ignore, False, reduction)
    for target in ("probabilities", "logarithms", "with gradient"):
        for reduction in (*REDUCTIONS, "batchmean"):
            yield Options("kl_div", target, reduction=reduction)


OPTIONS = tuple(combinations())
EACH_ALONE = tuple(options for options in OPTIONS if options.chosen <= 1)
