"""What is measured: calls of the package on random inputs, and who else computes the same.

The peers stand in peers.py, the options of the drop-in losses in options.py. Knows no clock.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from importlib.util import find_spec
from math import prod
from typing import Any

import peers
import torch
import walkthrough
from torch import Tensor
from torch.nn import functional as F

import torch_infotheory
from torch_infotheory.nn import functional


@dataclass(frozen=True)
class Size:
    shape: tuple[int, ...]
    dim: int = -1  # of the classes

    def __str__(self) -> str:
        text = " x ".join(map(str, self.shape))
        return text if self.dim == -1 else f"{text}, dim {self.dim}"

    @property
    def elements(self) -> int:
        return prod(self.shape)


@dataclass
class Work:
    """The inputs of a call, and what each contender does with them."""

    inputs: list[Tensor]  # the gradients are by these
    others: list[Tensor] = field(default_factory=list)  # and by those of these that require it
    calls: dict[str, Callable[..., Any]] = field(default_factory=dict)  # of inputs and others


@dataclass(frozen=True)
class Case:
    """A call of the package: on random logits, or on random joint tables."""

    name: str
    ours: Callable[..., Tensor]
    eager: Callable[..., Tensor]
    libraries: dict[str, Callable[..., Any]] = field(default_factory=dict)
    operands: int = 1
    labelled: bool = False
    tables: bool = False
    alike: bool = False  # the second operand is the first one, and a twentieth of noise

    def work(self, size: Size, dtype: torch.dtype, device: str) -> Work:
        generator = torch.Generator().manual_seed(0)
        inputs = [torch.randn(size.shape, generator=generator) for _ in range(self.operands)]
        if self.alike:
            inputs[1] = inputs[0] + 0.05 * inputs[1]
        others, options = [], {}
        if self.tables:
            inputs = [x.flatten(1).softmax(1).view(size.shape) for x in inputs]
        elif self.labelled:
            rows = list(size.shape)
            classes = rows.pop(size.dim)
            others = [torch.randint(classes, rows, generator=generator).to(device)]
        else:
            options = {"dim": size.dim}

        eager = partial(self.eager, **options)
        calls = {
            "ours": partial(self.ours, **options),
            "eager": eager,
            "compile": torch.compile(lambda *x: eager(*x), fullgraph=True, dynamic=False),
        }
        for name, function in self.libraries.items():
            if fits(name, size, dtype, device):
                calls[name] = partial(function, **options)
        return Work([x.to(device, dtype) for x in inputs], others, calls)


# Where each library is, and where it has no gradient or overwrites its inputs.
MODULES = {"scipy": "scipy", "torchmetrics": "torchmetrics", "liger": "liger_kernel"}
FORWARD_ONLY = {"scipy", "torchmetrics"}
OVERWRITING = {"liger"}
REFERENCE_ELEMENTS = 1 << 24  # at most, for SciPy and torchmetrics, which are slow


def fits(library: str, size: Size, dtype: torch.dtype, device: str) -> bool:
    """Whether the library is installed and is measured on these inputs."""
    if find_spec(MODULES[library]) is None or size.dim != -1:
        return False
    if library == "liger":
        return device == "cuda"
    return (
        device == "cpu"
        and dtype == torch.float32
        and torch.get_num_threads() == 1
        and size.elements <= REFERENCE_ELEMENTS
    )


def of_logits(name: str, operands: int, **parameters: float) -> Case:
    """A measure of the package; its peers have the same name."""
    libraries = {library: getattr(peers, f"{library}_{name}", None) for library in MODULES}
    return Case(
        ", ".join((name, *(f"{of} {value:g}" for of, value in parameters.items()))),
        partial(getattr(torch_infotheory, name), kind="logits", **parameters),
        partial(getattr(peers, name), **parameters),
        {} if parameters else {of: function for of, function in libraries.items() if function},
        operands,
    )


def log_probs(x: Tensor, index: Tensor) -> Tensor:
    """All three results are used."""
    read = torch_infotheory.log_probs(x, index, 1)
    return read.log_prob + read.entropy + read.logsumexp


MEASURES: tuple[Case, ...] = (
    Case(
        "cross_entropy",
        functional.cross_entropy,
        F.cross_entropy,
        {
            "scipy": peers.scipy_cross_entropy,
            "torchmetrics": peers.torchmetrics_cross_entropy,
            "liger": peers.liger_cross_entropy,
        },
        labelled=True,
    ),
    Case(
        "cross_entropy, smoothed",
        partial(functional.cross_entropy, label_smoothing=0.1),
        partial(F.cross_entropy, label_smoothing=0.1),
        {"liger": partial(peers.liger_cross_entropy, label_smoothing=0.1)},
        labelled=True,
    ),
    Case("log_probs", log_probs, peers.log_probs, labelled=True),
    of_logits("entropy", 1),
    of_logits("kl_divergence", 2),
    of_logits("js_divergence", 2),
    # These rows are read a second time.
    *(
        replace(of_logits(name, 2), name=f"{name}, alike", libraries={}, alike=True)
        for name in ("kl_divergence", "js_divergence")
    ),
)
if hasattr(torch_infotheory, walkthrough.QUANTITY):  # in the copy of the tree
    quantity = getattr(torch_infotheory, walkthrough.QUANTITY)
    added = partial(quantity, beta=walkthrough.BETA, kind="logits")
    MEASURES += (Case(walkthrough.QUANTITY, added, walkthrough.eager, operands=2),)
DIVERGENCES = (
    of_logits("tsallis_entropy", 1, alpha=2.5),
    of_logits("renyi_entropy", 1, alpha=0.5),
    of_logits("renyi_entropy", 1, alpha=2),
    of_logits("jeffreys_divergence", 2),
    of_logits("js_divergence", 2, weight=0.25),
    of_logits("squared_hellinger_distance", 2),
    of_logits("bhattacharyya_coefficient", 2),
    of_logits("total_variation_distance", 2),
    of_logits("chi_squared_divergence", 2),
    of_logits("alpha_divergence", 2, alpha=0.5),
    of_logits("renyi_divergence", 2, alpha=2),
)
TABLES = (
    Case(
        "mutual_information",
        torch_infotheory.mutual_information,
        peers.mutual_information,
        {"scipy": peers.scipy_mutual_information},
        tables=True,
    ),
)
