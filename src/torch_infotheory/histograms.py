"""From continuous samples to joint tables that have a gradient.

Each sample is spread over the cells around it by a window, so that the table moves smoothly with
the samples. What a table tells is for the measures to say.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from torch_infotheory import _arguments

__all__ = ["soft_joint_histogram"]

# Their numbers in the ops, and how many cells they reach in one dimension.
KERNELS = {"linear": (0, 2), "cubic": (1, 4), "gaussian": (2, 6)}
_ops = torch.ops.torch_infotheory

Interval = tuple[float, float]
Range = Interval | tuple[Interval | None, Interval | None]


def soft_joint_histogram(
    x: Tensor,
    y: Tensor,
    bins: int,
    range: Range | None = None,
    *,
    kernel: str = "cubic",
    mask: Tensor | None = None,
    dim: int = -1,
) -> Tensor:
    """Return the joint table of two continuous variables, each sample spread by a Parzen window.

    ::

        table[a, b] = (1 / N) sum_n w(u(x_n) - a) w(u(y_n) - b)

    where u maps the range of a variable linearly to the places of its cells, and w is the window.

    Args:
        x: Samples of the first variable, shape (..., N), of a floating dtype.
        y: Samples of the second variable; broadcasts against x in every dimension but ``dim``.
        bins: The number of cells of each variable.
        range: (low, high) of both variables, or a pair of them, one for each variable. The lower
            end lies so many cells inside the table that no window reaches over its edge: 0, 1 or 2
            for the three kernels, and the upper end likewise. None takes the smallest and the
            largest sample of each table, as constants.
        kernel: The window: ``"linear"`` between two cells; ``"cubic"``, the B-spline of four cells;
            ``"gaussian"``, the normal density with the standard deviation of one cell, truncated at
            three and divided by its total, of six cells.
        mask: Booleans, shape (..., N); broadcasts against x. Samples with False are left out.
        dim: The dimension along which the N samples run, of every tensor.

    Returns:
        Tensor of shape (..., bins, bins), x along the first of the two: probabilities of total 1,
        float64 if x or y is, float32 otherwise, because 16 bits would lose the cells of few
        samples.

    Domain:
        A sample outside of ``range`` counts as one at its nearer end. Constant samples lie at the
        lower end. Without any sample, and with a sample that is NaN, the table is NaN. Sums are
        taken in float64 and repeat bit for bit, on the CPU whatever the number of threads.

    Gradient:
        By x and y, of any order and in forward mode, with no memory but that of the gradients and
        of a few tables; 0 outside of ``range``. Of the windows, ``"linear"`` has a first derivative
        that jumps, and ``"gaussian"`` has derivatives up to order 8. On devices other than the CPU
        and CUDA the table is composed of torch's operations, which take a few numbers for each
        sample.

    Raises:
        TypeError: x or y is no floating tensor, ``mask`` is no tensor of booleans.
        ValueError: ``kernel`` is unknown, ``bins`` are fewer than the window has cells, or a range
            is not finite with low below high.
        RuntimeError: Shapes or devices do not fit.

    Example:
        The second sample is halfway between two cells in x, and in the last cell of y.

        >>> import torch, torch_infotheory
        >>> x, y = torch.tensor([0.0, 1.5]), torch.tensor([0.0, 2.0])
        >>> torch_infotheory.soft_joint_histogram(x, y, 3, (0, 2), kernel="linear")
        tensor([[0.5000, 0.0000, 0.0000],
                [0.0000, 0.0000, 0.2500],
                [0.0000, 0.0000, 0.2500]])

    Reference:
        Mattes, Haynor, Vesselle, Lewellen and Eubank (2003). PET-CT image registration in the chest
        using free-form deformations. IEEE Transactions on Medical Imaging 22.

    See also:
        `torch_infotheory.mutual_information`, of the table; `torch_infotheory.joint_table`, which
        counts labels; `torch_infotheory.nn.MutualInformationLoss`.
    """
    function = "soft_joint_histogram"
    for name, tensor in (("x", x), ("y", y)):
        _check_samples(function, name, _arguments.tensor(function, name, tensor))
    bins = _arguments.integer(function, "bins", bins)
    window, support = _kernel(function, kernel)
    if bins < support:
        raise ValueError(
            f"{function}: expected bins to be at least {support} for kernel={kernel!r}, got {bins}"
        )
    ranges = _ranges(function, range)
    dim = _arguments.integer(function, "dim", dim)
    if mask is not None and (not isinstance(mask, Tensor) or mask.dtype != torch.bool):
        raise _arguments.error(function, "mask", "a tensor of booleans", mask)
    tensors = _rows(function, [x, y] if mask is None else [x, y, mask], dim)
    batch, samples = tensors[0].shape[:-1], tensors[0].shape[-1]
    wide = torch.float64 if torch.float64 in (x.dtype, y.dtype) else torch.float32
    ends = [end for i in (0, 1) for end in _ends(tensors[i], ranges[i], tensors[2:], wide)]
    interval = torch.stack(ends, -1)
    rows = [rows.reshape(batch.numel(), samples) for rows in tensors]
    counted = rows[2] if mask is not None else None
    table = _ops._soft_histogram(
        rows[0], rows[1], None, counted, interval.reshape(batch.numel(), 4), bins, window, 0, 0
    )
    total = samples if counted is None else counted.sum(-1).to(wide).view(-1, 1, 1)
    return (table / total).reshape(*batch, bins, bins)


def _check_samples(function: str, name: str, x: Tensor) -> None:
    if x.dtype not in (torch.float16, torch.bfloat16, torch.float32, torch.float64):
        raise TypeError(f"{function}: expected {name} of a floating dtype, got {x.dtype}")
    if x.dim() == 0:
        raise RuntimeError(f"{function}: expected samples along a dimension, got {name} without")


def _kernel(function: str, kernel: object) -> tuple[int, int]:
    if not isinstance(kernel, str) or kernel not in KERNELS:
        names = ", ".join(map(repr, KERNELS))
        raise ValueError(f"{function}: expected kernel to be one of {names}, got {kernel!r}")
    return KERNELS[kernel]


def _ranges(function: str, range: object) -> list[Interval | None]:
    """Of each variable."""
    allowed = "(low, high), a pair of these, or None"
    if range is None:
        return [None, None]
    if not isinstance(range, Sequence) or len(range) != 2:
        raise _arguments.error(function, "range", allowed, range)
    each = range if any(x is None or isinstance(x, Sequence) for x in range) else [range] * 2
    intervals: list[Interval | None] = []
    for interval in each:
        if interval is None:
            intervals.append(None)
            continue
        if not isinstance(interval, Sequence) or len(interval) != 2:
            raise _arguments.error(function, "range", allowed, range)
        low, high = (_arguments.number(function, "range", end) for end in interval)
        if not (math.isfinite(low) and math.isfinite(high) and low < high):
            raise ValueError(
                f"{function}: expected a finite range with low below high, got ({low:g}, {high:g})"
            )
        intervals.append((low, high))
    return intervals


def _rows(function: str, tensors: list[Tensor], dim: int) -> list[Tensor]:
    """The samples last, and broadcast."""
    devices = {tensor.device for tensor in tensors}
    if len(devices) > 1:
        raise RuntimeError(f"{function}: expected one device, got {sorted(map(str, devices))}")
    moved = [tensor.movedim(dim, -1) for tensor in tensors]
    if any(tensor.shape[-1] != moved[0].shape[-1] for tensor in moved):
        raise RuntimeError(
            f"{function}: expected as many samples along dim {dim}, got {_shapes(tensors)}"
        )
    try:
        return list(torch.broadcast_tensors(*moved))
    except RuntimeError:
        raise RuntimeError(f"{function}: {_shapes(tensors)} do not broadcast") from None


def _shapes(tensors: list[Tensor]) -> str:
    return " and ".join(str(list(tensor.shape)) for tensor in tensors)


def _ends(
    x: Tensor, interval: Interval | None, mask: list[Tensor], dtype: torch.dtype
) -> Sequence[Tensor]:
    """The lower and the upper end of each row's range."""
    x = x.detach()
    rows = x.shape[:-1]
    if interval is not None:
        return [x.new_full(rows, end, dtype=dtype) for end in interval]
    if x.shape[-1] == 0:
        return [x.new_zeros(rows, dtype=dtype)] * 2
    if not mask:
        return [end.to(dtype) for end in torch.aminmax(x, dim=-1)]
    low = x.masked_fill(~mask[0], math.inf).amin(-1)
    return [low.to(dtype), x.masked_fill(~mask[0], -math.inf).amax(-1).to(dtype)]
