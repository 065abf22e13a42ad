"""The losses of `torch_infotheory.nn.functional` as modules, and that of two images.

Those that torch has subclass torch's own, so that ``isinstance``, saved state and code written for
torch's class keep working. All take ``dtype``, the data type of the loss, and ``validate``, whether
to check that distributions are given, as keywords. Every other name of `torch.nn.modules` is
reached through this module unchanged.
"""

import math
from typing import TYPE_CHECKING, Any, get_args

import torch
from torch import Tensor

from torch_infotheory.histograms import Range, soft_joint_histogram
from torch_infotheory.measures import Dim, Kind, mutual_information
from torch_infotheory.multivariate import Average, normalized_mutual_information
from torch_infotheory.nn import functional as F


def _options(**options: object) -> str:
    """Write the options of a module for its repr, those left at None omitted."""
    return ", ".join(f"{name}={value!r}" for name, value in options.items() if value is not None)


class CrossEntropyLoss(torch.nn.CrossEntropyLoss):
    """`torch_infotheory.nn.functional.cross_entropy` as a module.

    The arguments are those of `torch.nn.CrossEntropyLoss`, ``dtype``, ``temperature`` and
    ``validate``.

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
        temperature: float = 1.0,
        validate: bool | None = None,
    ) -> None:
        super().__init__(weight, size_average, ignore_index, reduce, reduction, label_smoothing)
        self.dtype = dtype
        self.temperature = temperature
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
            temperature=self.temperature,
            validate=self.validate,
        )

    def extra_repr(self) -> str:
        return _options(
            dtype=self.dtype,
            temperature=None if self.temperature == 1 else self.temperature,
            validate=self.validate,
        )


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

    A call may be given ``mask``.

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
        temperature: float = 1.0,
        validate: bool | None = None,
    ) -> None:
        super().__init__()
        self.dim = dim
        self.kind = kind
        self.base = base
        self.reduction = reduction
        self.dtype = dtype
        self.temperature = temperature
        self.validate = validate

    def forward(self, input: Tensor, mask: Tensor | None = None) -> Tensor:
        return F.entropy_loss(
            input,
            self.dim,
            kind=self.kind,
            base=self.base,
            reduction=self.reduction,
            dtype=self.dtype,
            temperature=self.temperature,
            mask=mask,
            validate=self.validate,
        )

    def extra_repr(self) -> str:
        return _options(
            dim=self.dim,
            kind=self.kind,
            base=self.base,
            reduction=self.reduction,
            dtype=self.dtype,
            temperature=None if self.temperature == 1 else self.temperature,
            validate=self.validate,
        )


class JSDivLoss(torch.nn.Module):
    """`torch_infotheory.nn.functional.js_div` as a module, with the same arguments.

    A call may be given ``mask``.

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
        temperature: float = 1.0,
        validate: bool | None = None,
    ) -> None:
        super().__init__()
        self.dim = dim
        self.kind = kind
        self.base = base
        self.reduction = reduction
        self.dtype = dtype
        self.weight = weight
        self.temperature = temperature
        self.validate = validate

    def forward(self, input: Tensor, target: Tensor, mask: Tensor | None = None) -> Tensor:
        return F.js_div(
            input,
            target,
            self.dim,
            kind=self.kind,
            base=self.base,
            reduction=self.reduction,
            dtype=self.dtype,
            weight=self.weight,
            temperature=self.temperature,
            mask=mask,
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
            temperature=None if self.temperature == 1 else self.temperature,
            validate=self.validate,
        )


# torch has had one since 2.13.
_TorchLinearCrossEntropyLoss: Any = getattr(
    torch.nn, "LinearCrossEntropyLoss", torch.nn.modules.loss._WeightedLoss
)


class LinearCrossEntropyLoss(_TorchLinearCrossEntropyLoss):
    """`torch_infotheory.nn.functional.linear_cross_entropy` as a module with the linear map in it.

    The arguments are those of `torch.nn.LinearCrossEntropyLoss`, and ``softcap``, ``temperature``
    and ``loss_dtype``, the data type of the result (``dtype`` is that of the linear map). The map
    is ``linear``, a `torch.nn.Linear`; its parameters may be those of another module.

    Example:
        >>> import torch
        >>> from torch_infotheory import nn
        >>> loss = nn.LinearCrossEntropyLoss(in_features=2, num_classes=4)
        >>> _ = torch.nn.init.zeros_(loss.linear.weight)
        >>> loss(torch.ones(1, 2), torch.tensor([2]))
        tensor(1.3863, grad_fn=<LinearLossBackward>)
    """

    def __init__(
        self,
        in_features: int,
        num_classes: int,
        *,
        out_features: tuple[int, ...] = (),
        bias: bool = False,
        device: Any = None,
        dtype: torch.dtype | None = None,
        reduction: str = "mean",
        weight: Tensor | None = None,
        ignore_index: int | None = None,
        label_smoothing: float = 0.0,
        options: Any = None,
        softcap: float | None = None,
        temperature: float = 1.0,
        loss_dtype: torch.dtype | None = None,
    ) -> None:
        if weight is not None and weight.shape != (num_classes,):
            raise RuntimeError(
                f"expected weight shape to be {(num_classes,)}, got {tuple(weight.shape)}"
            )
        if label_smoothing < 0 or label_smoothing > 1:
            raise RuntimeError(
                f"expected label_smoothing to be in range [0, 1], got {label_smoothing}"
            )
        # Not torch's own, which is not everywhere and knows fewer arguments.
        torch.nn.modules.loss._WeightedLoss.__init__(self, weight, reduction=reduction)
        self.num_classes = num_classes
        self.out_features = out_features
        self.ignore_index = ignore_index
        self.label_smoothing = label_smoothing
        self.linear = torch.nn.Linear(
            in_features, math.prod(out_features, start=num_classes), bias, device, dtype
        )
        self.options = options
        self.softcap = softcap
        self.temperature = temperature
        self.loss_dtype = loss_dtype

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        weight: Tensor = self.linear.weight
        bias: Tensor | None = self.linear.bias
        if self.out_features:
            shape = (self.num_classes, *self.out_features)
            weight = weight.reshape(*shape, self.linear.in_features)
            bias = bias if bias is None else bias.reshape(shape)
        return F.linear_cross_entropy(
            input,
            weight,
            target,
            linear_bias=bias,
            weight=self.weight,
            reduction=self.reduction,
            ignore_index=self.ignore_index,
            label_smoothing=self.label_smoothing,
            options=self.options,
            softcap=self.softcap,
            temperature=self.temperature,
            dtype=self.loss_dtype,
        )

    def extra_repr(self) -> str:
        return _options(
            in_features=self.linear.in_features,
            num_classes=self.num_classes,
            out_features=self.out_features,
            bias=self.linear.bias is not None,
            reduction=self.reduction,
            ignore_index=self.ignore_index,
            label_smoothing=self.label_smoothing,
            options=self.options,
            softcap=self.softcap,
            temperature=self.temperature,
            loss_dtype=self.loss_dtype,
        )


class DistillationLoss(torch.nn.Module):
    """`torch_infotheory.nn.functional.distillation_loss` as a module, with the same arguments.

    A call takes the model's logits, the teacher and, if some rows do not count, ``mask``.

    Example:
        >>> import torch
        >>> from torch_infotheory import nn
        >>> loss = nn.DistillationLoss(temperature=2.0)
        >>> loss(torch.zeros(1, 4), torch.zeros(1, 4))
        tensor(0.)
    """

    def __init__(
        self,
        *,
        divergence: str = "kl",
        kind: Kind = "logits",
        weight: float = 0.5,
        temperature: float = 1.0,
        base: float | None = None,
        reduction: str = "mean",
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        self.divergence = divergence
        self.kind = kind
        self.weight = weight
        self.temperature = temperature
        self.base = base
        self.reduction = reduction
        self.dtype = dtype

    def forward(
        self,
        input: Tensor,
        target: Tensor | tuple[Tensor, Tensor],
        mask: Tensor | None = None,
    ) -> Tensor:
        return F.distillation_loss(
            input,
            target,
            divergence=self.divergence,
            kind=self.kind,
            weight=self.weight,
            temperature=self.temperature,
            mask=mask,
            base=self.base,
            reduction=self.reduction,
            dtype=self.dtype,
        )

    def extra_repr(self) -> str:
        return _options(
            divergence=self.divergence,
            kind=self.kind,
            weight=self.weight,
            temperature=self.temperature,
            base=self.base,
            reduction=self.reduction,
            dtype=self.dtype,
        )


class _LinearLoss(torch.nn.Module):
    """The linear map of a loss from hidden states, and what these losses have in common."""

    def __init__(
        self,
        in_features: int,
        num_classes: int,
        *,
        bias: bool = False,
        device: Any = None,
        dtype: torch.dtype | None = None,
        softcap: float | None = None,
        temperature: float = 1.0,
        reduction: str = "mean",
        loss_dtype: torch.dtype | None = None,
        **own: Any,
    ) -> None:
        super().__init__()
        self.linear = torch.nn.Linear(in_features, num_classes, bias, device, dtype)
        self.options = {
            "softcap": softcap,
            "temperature": temperature,
            "reduction": reduction,
            "dtype": loss_dtype,
            **own,
        }

    def extra_repr(self) -> str:
        return _options(**self.options)


class LinearEntropyLoss(_LinearLoss):
    """`torch_infotheory.nn.functional.linear_entropy` as a module with the linear map in it.

    The first arguments are those of `torch.nn.Linear`, without a bias unless ``bias`` is True, and
    the map is ``linear``. The others are those of the function; its ``dtype`` is ``loss_dtype``.

    Example:
        >>> import torch
        >>> from torch_infotheory import nn
        >>> loss = nn.LinearEntropyLoss(2, 4, base=2)
        >>> _ = torch.nn.init.zeros_(loss.linear.weight)
        >>> loss(torch.ones(3, 2)).item()
        2.0
    """

    def __init__(
        self, in_features: int, num_classes: int, *, base: float | None = None, **common: Any
    ) -> None:
        super().__init__(in_features, num_classes, base=base, **common)

    def forward(self, input: Tensor, mask: Tensor | None = None) -> Tensor:
        linear = self.linear
        return F.linear_entropy(
            input, linear.weight, linear_bias=linear.bias, mask=mask, **self.options
        )


class LinearKLDivLoss(_LinearLoss):
    """`torch_infotheory.nn.functional.linear_kl_div` as a module with the model's linear map in it.

    The arguments are those of `LinearEntropyLoss` and of the function. A call takes the teacher, by
    ``kind`` or as hidden states with their own linear map.

    Example:
        >>> import torch
        >>> from torch_infotheory import nn
        >>> loss = nn.LinearKLDivLoss(2, 2, kind="probs")
        >>> _ = torch.nn.init.zeros_(loss.linear.weight)
        >>> round(loss(torch.ones(1, 2), torch.tensor([[0.25, 0.75]])).item(), 4)
        0.1308
    """

    def __init__(
        self,
        in_features: int,
        num_classes: int,
        *,
        kind: Kind = "logits",
        direction: str = "forward",
        **common: Any,
    ) -> None:
        super().__init__(in_features, num_classes, kind=kind, direction=direction, **common)

    def forward(
        self,
        input: Tensor,
        target: Tensor,
        target_weight: Tensor | None = None,
        target_bias: Tensor | None = None,
        mask: Tensor | None = None,
    ) -> Tensor:
        return F.linear_kl_div(
            input,
            self.linear.weight,
            target,
            linear_bias=self.linear.bias,
            target_weight=target_weight,
            target_bias=target_bias,
            mask=mask,
            **self.options,
        )


class LinearJSDivLoss(_LinearLoss):
    """`torch_infotheory.nn.functional.linear_js_div` as a module with the model's linear map in it.

    The arguments are those of `LinearEntropyLoss` and of the function. A call takes the teacher, by
    ``kind`` or as hidden states with their own linear map.

    Example:
        >>> import torch
        >>> from torch_infotheory import nn
        >>> loss = nn.LinearJSDivLoss(2, 2, kind="probs")
        >>> _ = torch.nn.init.zeros_(loss.linear.weight)
        >>> round(loss(torch.ones(1, 2), torch.tensor([[1.0, 0.0]])).item(), 4)
        0.2158
    """

    def __init__(
        self,
        in_features: int,
        num_classes: int,
        *,
        kind: Kind = "logits",
        weight: float = 0.5,
        **common: Any,
    ) -> None:
        super().__init__(in_features, num_classes, kind=kind, weight=weight, **common)

    def forward(
        self,
        input: Tensor,
        target: Tensor,
        target_weight: Tensor | None = None,
        target_bias: Tensor | None = None,
        mask: Tensor | None = None,
    ) -> Tensor:
        return F.linear_js_div(
            input,
            self.linear.weight,
            target,
            linear_bias=self.linear.bias,
            target_weight=target_weight,
            target_bias=target_bias,
            mask=mask,
            **self.options,
        )


class MutualInformationLoss(torch.nn.Module):
    """The negative mutual information of two images or other variables, to be minimized.

    ::

        loss = -I(X; Y) of soft_joint_histogram(x, y, bins, range, kernel=kernel), in nats

    All elements of the two tensors are samples of one joint distribution, but for the leading
    ``batch_dims`` dimensions, each entry of which has a table of its own.

    Args:
        bins, kernel, range: As for `torch_infotheory.soft_joint_histogram`. Without a ``range``
            each call takes the smallest and the largest values that it is given: state one where
            these change from step to step.
        normalized: None, or an ``average`` of `torch_infotheory.normalized_mutual_information`:
            the loss is minus that value, as with ``"studholme"``, -(H(X) + H(Y)) / H(X, Y), from -2
            to -1, which depends less on how much of the images overlaps.
        batch_dims: So many leading dimensions are of images, and not of their elements.
        reduction: ``"none"``, ``"mean"`` or ``"sum"``, over the tables.

    A call takes x and y of one shape and ``mask``, booleans of that shape or None: elements with
    False are left out. The gradient is by x and y.

    Example:
        Two values of the same frequency tell each other, log 2; the negated image does as well.

        >>> import torch
        >>> from torch_infotheory import nn
        >>> loss = nn.MutualInformationLoss(bins=2, kernel="linear")
        >>> image = torch.tensor([[0.0, 1.0], [1.0, 0.0]])
        >>> loss(image, -image)
        tensor(-0.6931)
        >>> nn.MutualInformationLoss(2, "linear", normalized="studholme")(image, image)
        tensor(-2.)
    """

    def __init__(
        self,
        bins: int = 32,
        kernel: str = "cubic",
        *,
        normalized: Average | None = None,
        range: Range | None = None,
        batch_dims: int = 0,
        reduction: str = "mean",
    ) -> None:
        super().__init__()
        if normalized is not None and normalized not in get_args(Average):
            names = ", ".join(map(repr, get_args(Average)))
            raise ValueError(
                f"MutualInformationLoss: expected normalized to be None or one of {names}, "
                f"got {normalized!r}"
            )
        if reduction not in ("none", "mean", "sum"):
            raise ValueError(
                "MutualInformationLoss: expected reduction to be 'none', 'mean' or 'sum', "
                f"got {reduction!r}"
            )
        self.bins = bins
        self.kernel = kernel
        self.normalized = normalized
        self.range = range
        self.batch_dims = batch_dims
        self.reduction = reduction

    def forward(self, x: Tensor, y: Tensor, mask: Tensor | None = None) -> Tensor:
        if x.shape != y.shape or (mask is not None and mask.shape != x.shape):
            shapes = [list(t.shape) for t in (x, y, mask) if t is not None]
            raise RuntimeError(f"MutualInformationLoss: expected one shape, got {shapes}")
        x, y, *rest = (
            t.reshape(*t.shape[: self.batch_dims], -1) for t in (x, y, mask) if t is not None
        )
        joint = soft_joint_histogram(
            x, y, self.bins, self.range, kernel=self.kernel, mask=rest[0] if rest else None
        )
        if self.normalized is None:
            loss = -mutual_information(joint)
        else:
            loss = -normalized_mutual_information(joint, average=self.normalized)
        if self.reduction == "none":
            return loss
        return loss.sum() if self.reduction == "sum" else loss.mean()

    def extra_repr(self) -> str:
        return _options(
            bins=self.bins,
            kernel=self.kernel,
            normalized=self.normalized,
            range=self.range,
            batch_dims=self.batch_dims,
            reduction=self.reduction,
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
