"""What every estimator asks of its arguments, and the errors that say so."""

import math

import torch
from torch import Tensor


def nats_in(function: str, base: object) -> float:
    """Return how many nats the unit of ``base`` has."""
    if base is None:
        return 1.0
    if isinstance(base, bool) or not isinstance(base, int | float):
        raise TypeError(
            f"{function}: base: expected a number or None, got {base!r} of type "
            f"{type(base).__name__}"
        )
    if not (math.isfinite(base) and base > 0 and base != 1):
        raise ValueError(
            f"{function}: base: expected None or a finite number > 0 other than 1, got {base}"
        )
    return math.log(base)


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
