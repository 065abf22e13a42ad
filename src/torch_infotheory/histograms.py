"""From continuous samples to joint tables that have a gradient.

Each sample is spread over the cells around it by a window, so that the table moves smoothly with
the samples. What a table tells is for the measures to say.
"""

from collections.abc import Sequence

from torch import Tensor

from torch_infotheory import _arguments
from torch_infotheory._ops import functions as _functions

__all__ = ["soft_joint_histogram"]

_ops = _functions(__all__)

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
    ranges = _ranges("soft_joint_histogram", range)
    return _ops.soft_joint_histogram(x, y, bins, *ranges, kernel, mask, dim)


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
        intervals.append((low, high))
    return intervals
