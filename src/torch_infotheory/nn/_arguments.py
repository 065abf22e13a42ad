"""What the losses make of their arguments, in torch's words where torch has some."""

from torch import Tensor
from torch.nn import _reduction as _Reduction

_ENUM = {name: _Reduction.get_enum(name) for name in ("none", "mean", "sum")}
_MAY_BE_NONE = {"weight", "linear_bias", "mask", "target_weight", "target_bias"}


def _not_a_tensor(function: str, **arguments: object) -> TypeError:
    """Return torch's error for the first argument that is no tensor; some may be None."""
    name, value = next(
        (name, value)
        for name, value in arguments.items()
        if not isinstance(value, Tensor) and (name not in _MAY_BE_NONE or value is not None)
    )
    return TypeError(f"{function}: argument '{name}' must be Tensor, not {type(value).__name__}")


def _enum(function: str, reduction: str, *more: str) -> int:
    """Return torch's number of a reduction; ``function`` also takes ``more``, says the error."""
    if isinstance(reduction, str) and reduction in _ENUM:  # sooner than torch tells them apart
        return _ENUM[reduction]
    try:
        return _Reduction.get_enum(reduction)
    except ValueError as error:
        names = ", ".join(map(repr, (*_ENUM, *more)))
        raise ValueError(f"{error}: {function} takes {names}") from None
