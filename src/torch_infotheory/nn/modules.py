"""The losses of `torch_infotheory.nn.functional` as modules.

Those that torch has subclass torch's own, so that ``isinstance``, saved state and code written for
torch's class keep working. All take ``dtype``, the data type of the loss, and ``validate``, whether
to check that distributions are given, as keywords. Every other name of `torch.nn.modules` is
reached through this module unchanged.
"""

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from torch_infotheory.measures import Dim, Kind
from torch_infotheory.nn import functional as F


def _options(**options: object) -> str:
    """Write the options of a module for its repr, those left at None omitted."""
    return ", ".join(f"{name}={value!r}" for name, value in options.items() if value is not None)


class CrossEntropyLoss(torch.nn.CrossEntropyLoss):
    """`torch_infotheory.nn.functional.cross_entropy` as a module.

    The arguments are those of `torch.nn.CrossEntropyLoss`, ``dtype`` and ``validate``.

    Example:
        >>> import torch
        >>> from torch_infotheory import nn
        >>> loss = nn.CrossEntropyLoss()
        >>> loss(torch.zeros(1, 4), torch.tensor([2]))
        tensor(1.3863)
        >>> isinstance(loss, torch.nn.CrossEntropyLoss)
        True
    """

    def __init__(
        self,
        weight: Tensor | None = None,
        size_average: bool | None = None,
        ignore_index: int = -100,
        reduce: bool | None = None,
        reduction: str = "mean",
        label_smoothing: float = 0.0,
        *,
        dtype: torch.dtype | None = None,
        validate: bool | None = None,
    ) -> None:
        super().__init__(weight, size_average, ignore_index, reduce, reduction, label_smoothing)
        self.dtype = dtype
        self.validate = validate

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        return F.cross_entropy(
            input,
            target,
            weight=self.weight,
            ignore_index=self.ignore_index,
            reduction=self.reduction,
            label_smoothing=self.label_smoothing,
            dtype=self.dtype,
            validate=self.validate,
        )

    def extra_repr(self) -> str:
        return _options(dtype=self.dtype, validate=self.validate)


class NLLLoss(torch.nn.NLLLoss):
    """`torch_infotheory.nn.functional.nll_loss` as a module.

    The arguments are those of `torch.nn.NLLLoss`, ``dtype`` and ``validate``.

    Example:
        >>> import torch
        >>> from torch_infotheory import nn
        >>> nn.NLLLoss()(torch.tensor([[0.5, 0.25, 0.25]]).log(), torch.tensor([1]))
        tensor(1.3863)
    """

    def __init__(
        self,
        weight: Tensor | None = None,
        size_average: bool | None = None,
        ignore_index: int = -100,
        reduce: bool | None = None,
        reduction: str = "mean",
        *,
        dtype: torch.dtype | None = None,
        validate: bool | None = None,
    ) -> None:
        super().__init__(weight, size_average, ignore_index, reduce, reduction)
        self.dtype = dtype
        self.validate = validate

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        return F.nll_loss(
            input,
            target,
            weight=self.weight,
            ignore_index=self.ignore_index,
            reduction=self.reduction,
            dtype=self.dtype,
            validate=self.validate,
        )

    def extra_repr(self) -> str:
        return _options(dtype=self.dtype, validate=self.validate)


class KLDivLoss(torch.nn.KLDivLoss):
    """`torch_infotheory.nn.functional.kl_div` as a module.

    The arguments are those of `torch.nn.KLDivLoss`, ``dtype`` and ``validate``.

    Example:
        >>> import torch
        >>> from torch_infotheory import nn
        >>> loss = nn.KLDivLoss(reduction="batchmean")
        >>> loss(torch.tensor([[0.25, 0.75]]).log(), torch.tensor([[0.5, 0.5]]))
        tensor(0.1438)
    """

    def __init__(
        self,
        size_average: bool | None = None,
        reduce: bool | None = None,
        reduction: str = "mean",
        log_target: bool = False,
        *,
        dtype: torch.dtype | None = None,
        validate: bool | None = None,
    ) -> None:
        super().__init__(size_average, reduce, reduction, log_target)
        self.dtype = dtype
        self.validate = validate

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        return F.kl_div(
            input,
            target,
            reduction=self.reduction,
            log_target=self.log_target,
            dtype=self.dtype,
            validate=self.validate,
        )

    def extra_repr(self) -> str:
        return _options(dtype=self.dtype, validate=self.validate)


class EntropyLoss(torch.nn.Module):
    """`torch_infotheory.nn.functional.entropy_loss` as a module, with the same arguments.

    Example:
        >>> import torch
        >>> from torch_infotheory import nn
        >>> nn.EntropyLoss(base=2)(torch.zeros(3, 4))
        tensor(2.)
    """

    def __init__(
        self,
        dim: Dim = -1,
        *,
        kind: Kind = "logits",
        base: float | None = None,
        reduction: str = "mean",
        dtype: torch.dtype | None = None,
        validate: bool | None = None,
    ) -> None:
        super().__init__()
        self.dim = dim
        self.kind = kind
        self.base = base
        self.reduction = reduction
        self.dtype = dtype
        self.validate = validate

    def forward(self, input: Tensor) -> Tensor:
        return F.entropy_loss(
            input,
            self.dim,
            kind=self.kind,
            base=self.base,
            reduction=self.reduction,
            dtype=self.dtype,
            validate=self.validate,
        )

    def extra_repr(self) -> str:
        return _options(
            dim=self.dim,
            kind=self.kind,
            base=self.base,
            reduction=self.reduction,
            dtype=self.dtype,
            validate=self.validate,
        )


class JSDivLoss(torch.nn.Module):
    """`torch_infotheory.nn.functional.js_div` as a module, with the same arguments.

    Example:
        >>> import torch
        >>> from torch_infotheory import nn
        >>> loss = nn.JSDivLoss(kind="probs", base=2)
        >>> loss(torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 1.0]]))
        tensor(1.)
    """

    def __init__(
        self,
        dim: Dim = -1,
        *,
        kind: Kind | tuple[Kind, Kind] = "logits",
        base: float | None = None,
        reduction: str = "mean",
        dtype: torch.dtype | None = None,
        weight: float = 0.5,
        validate: bool | None = None,
    ) -> None:
        super().__init__()
        self.dim = dim
        self.kind = kind
        self.base = base
        self.reduction = reduction
        self.dtype = dtype
        self.weight = weight
        self.validate = validate

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        return F.js_div(
            input,
            target,
            self.dim,
            kind=self.kind,
            base=self.base,
            reduction=self.reduction,
            dtype=self.dtype,
            weight=self.weight,
            validate=self.validate,
        )

    def extra_repr(self) -> str:
        return _options(
            dim=self.dim,
            kind=self.kind,
            base=self.base,
            reduction=self.reduction,
            dtype=self.dtype,
            weight=self.weight,
            validate=self.validate,
        )


if TYPE_CHECKING:
    # Of one name twice mypy takes the first and pyright the last: ours stand around torch's.
    from torch.nn.modules import *  # type: ignore[assignment]  # noqa: F403

    from torch_infotheory.nn.modules import CrossEntropyLoss as CrossEntropyLoss
    from torch_infotheory.nn.modules import KLDivLoss as KLDivLoss
    from torch_infotheory.nn.modules import NLLLoss as NLLLoss
else:
    # The other names are looked up when they are used.
    def __getattr__(name: str) -> Any:
        return getattr(torch.nn.modules, name)


def __dir__() -> list[str]:
    return sorted({*globals(), *dir(torch.nn.modules)})
