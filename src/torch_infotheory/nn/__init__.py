"""`torch.nn` with losses that are right at the edges.

    from torch_infotheory import nn

can stand in place of ``from torch import nn``. `CrossEntropyLoss`, `NLLLoss`, `KLDivLoss`,
`LinearCrossEntropyLoss` and their functions in `nn.functional` are ours, `EntropyLoss`,
`JSDivLoss`, `LinearEntropyLoss`, `LinearKLDivLoss` and `LinearJSDivLoss` are new, and every other
name is torch's, looked up when it is used.
"""

from typing import TYPE_CHECKING, Any

import torch

from torch_infotheory.nn import functional, modules
from torch_infotheory.nn.modules import (
    CrossEntropyLoss,
    EntropyLoss,
    JSDivLoss,
    KLDivLoss,
    LinearCrossEntropyLoss,
    LinearEntropyLoss,
    LinearJSDivLoss,
    LinearKLDivLoss,
    NLLLoss,
)

if TYPE_CHECKING:
    # What programs subclass and annotate with; a type checker takes the other names as Any.
    from torch.nn import Module, ModuleDict, ModuleList, Parameter, Sequential

__all__ = [
    "CrossEntropyLoss",
    "EntropyLoss",
    "JSDivLoss",
    "KLDivLoss",
    "LinearCrossEntropyLoss",
    "LinearEntropyLoss",
    "LinearJSDivLoss",
    "LinearKLDivLoss",
    "Module",
    "ModuleDict",
    "ModuleList",
    "NLLLoss",
    "Parameter",
    "Sequential",
    "functional",
    "modules",
]
__all__ += [name for name in dir(torch.nn) if not name.startswith("_")]


def __getattr__(name: str) -> Any:
    return getattr(torch.nn, name)


def __dir__() -> list[str]:
    return sorted({*globals(), *dir(torch.nn)})
