"""What every estimator asks of its arguments, and the errors that say so."""

import torch
from torch import Tensor

from torch_infotheory._arguments import nats_in

__all__ = ["a_tensor", "choice", "floating", "nats_in", "positive_int", "samples_of", "wide"]


def choice(function: str, name: str, value: object, allowed: tuple[str, ...]) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{function}: {name}: expected a string, got {value!r}")
    if value not in allowed:
        names = ", ".join(map(repr, allowed))
        raise ValueError(f"{function}: {name}: expected one of {names}, got {value!r}")
    return value


def a_tensor(function: str, name: str, value: object) -> Tensor:
    if not isinstance(value, Tensor):
        raise TypeError(f"{function}: {name} must be a Tensor, not {type(value).__name__}")
    return value


def floating(function: str, name: str, value: object) -> Tensor:
    tensor = a_tensor(function, name, value)
    if not tensor.is_floating_point():
        raise TypeError(f"{function}: {name} must have a floating dtype, got {tensor.dtype}")
    return tensor


def positive_int(function: str, name: str, value: object) -> int:
    if isinstance(value, bool) or not hasattr(value, "__index__"):
        raise TypeError(f"{function}: {name}: expected an integer, got {value!r}")
    number = value.__index__()
    if number < 1:
        raise ValueError(f"{function}: {name}: expected at least 1, got {number}")
    return number


def wide(device: torch.device) -> torch.dtype:
    """The dtype that estimates are computed in: float64 wherever the device has it."""
    return torch.float32 if device.type == "mps" else torch.float64


def samples_of(function: str, name: str, value: object) -> Tensor:
    """Samples as (N, D), in the dtype that they are computed in."""
    samples = floating(function, name, value)
    if samples.dim() not in (1, 2) or (samples.dim() == 2 and samples.shape[1] == 0):
        raise RuntimeError(
            f"{function}: {name}: expected samples of shape (N,) or (N, D), "
            f"got {list(samples.shape)}"
        )
    samples = samples.to(wide(samples.device))
    return samples.unsqueeze(1) if samples.dim() == 1 else samples
