"""`torch.nn` with losses that are right at the edges.

    from torch_infotheory import nn

can stand in place of ``from torch import nn``. `CrossEntropyLoss`, `NLLLoss`, `KLDivLoss`,
`LinearCrossEntropyLoss` and their functions in `nn.functional` are ours, `EntropyLoss`,
`JSDivLoss`, `DistillationLoss`, `LinearEntropyLoss`, `LinearKLDivLoss`, `LinearJSDivLoss` and
`MutualInformationLoss` are new, and every other name is torch's, looked up when it is used. `patch`
gives torch's own modules, and all other code of the process, our functions.
"""

from typing import TYPE_CHECKING, Any

import torch

from torch_infotheory.nn import functional, modules
from torch_infotheory.nn._patch import Patch, patch
from torch_infotheory.nn.modules import (
    CrossEntropyLoss,
    DistillationLoss,
    EntropyLoss,
    JSDivLoss,
    KLDivLoss,
    LinearCrossEntropyLoss,
    LinearEntropyLoss,
    LinearJSDivLoss,
    LinearKLDivLoss,
    MutualInformationLoss,
    NLLLoss,
)

__all__ = [
    "CrossEntropyLoss",
    "DistillationLoss",
    "EntropyLoss",
    "JSDivLoss",
    "KLDivLoss",
    "LinearCrossEntropyLoss",
    "LinearEntropyLoss",
    "LinearJSDivLoss",
    "LinearKLDivLoss",
    "MutualInformationLoss",
    "NLLLoss",
    "Patch",
    "functional",
    "modules",
    "patch",
]

if TYPE_CHECKING:
    # Of one name twice mypy takes the first and pyright the last: ours stand around torch's.
    from torch.nn import *  # type: ignore[no-redef, assignment]  # noqa: F403

    from torch_infotheory.nn import functional as functional
    from torch_infotheory.nn import modules as modules
    from torch_infotheory.nn.modules import CrossEntropyLoss as CrossEntropyLoss
    from torch_infotheory.nn.modules import KLDivLoss as KLDivLoss
    from torch_infotheory.nn.modules import NLLLoss as NLLLoss
else:
    # The other names are looked up when they are used.
    def __getattr__(name: str) -> Any:
        return getattr(torch.nn, name)


def __dir__() -> list[str]:
    return sorted({*globals(), *dir(torch.nn)})
