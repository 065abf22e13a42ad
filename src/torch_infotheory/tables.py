"""From labels to joint tables: how often each combination of labels occurs.

The one place that counts labels. What a table tells is for the measures to say.
"""

from collections.abc import Sequence
from typing import overload

import torch
from torch import Tensor

from torch_infotheory import _arguments
from torch_infotheory._ops import functions as _functions

__all__ = ["joint_table"]

_ops = _functions(
    ["joint_table", "joint_table.columns", "_number_of_classes"],
    **{"joint_table.columns": "joint_table"},
)


@overload
def joint_table(
    x: Tensor,
    y: Tensor,
    num_x: int | None = None,
    num_y: int | None = None,
    *,
    weight: Tensor | None = None,
    dim: int = -1,
    dtype: torch.dtype | None = None,
) -> Tensor: ...


@overload
def joint_table(
    x: Tensor,
    y: Sequence[int],
    *,
    weight: Tensor | None = None,
    dim: int = -1,
    dtype: torch.dtype | None = None,
) -> Tensor: ...


def joint_table(
    x: Tensor,
    y: Tensor | Sequence[int],
    num_x: int | None = None,
    num_y: int | None = None,
    *,
    weight: Tensor | None = None,
    dim: int = -1,
    dtype: torch.dtype | None = None,
) -> Tensor:
    """Return the joint table of two label sequences: how often each pair of labels occurs.

    ::

        table[a, b] = sum_n weight_n [x_n = a and y_n = b]

    ``joint_table(columns, sizes)`` counts the combinations of more than two variables.

    Args:
        x: Labels 0, 1, ... of the first variable, shape (..., N), of any integer dtype or bool. Or
            the labels of V variables at once, shape (..., V, N).
        y: Labels of the second variable; broadcasts against x in every dimension but ``dim``. Or
            the number of classes of each of the V variables.
        num_x, num_y: The numbers of classes. None takes the largest label plus one, which on a GPU
            waits for it.
        weight: What each pair counts, shape (..., N); broadcasts against the labels. None counts 1.
        dim: The dimension along which the N pairs run, of every tensor. Of V variables it is one
            dimension; the variables run along the last of the others.
        dtype: The data type of the table. None takes int64, or that of ``weight``. Weights of
            16 bits are added in float32.

    Returns:
        Tensor of shape (..., num_x, num_y), or ``(..., *sizes)``.

    Domain:
        A pair with a label below 0 is left out. The counts do not depend on the number of threads.

    Gradient:
        By ``weight``, in which the table is linear.

    Raises:
        TypeError: Labels are no tensors of integers; ``weight`` is no floating tensor.
        IndexError: On the CPU, a label is at least the number of classes. On a GPU this ends in a
            device-side assertion, as torch's losses have it.
        RuntimeError: Shapes or devices do not fit.

    Example:
        The pair (1, 2) occurs twice; the last pair is left out.

        >>> import torch, torch_infotheory as ti
        >>> x = torch.tensor([0, 1, 1, 1])
        >>> y = torch.tensor([0, 2, 2, -1])
        >>> ti.joint_table(x, y)
        tensor([[1, 0, 0],
                [0, 0, 2]])
        >>> ti.joint_table(torch.stack([x, y]), (2, 3), weight=torch.tensor([0.5, 0.25, 0.25, 1.0]))
        tensor([[0.5000, 0.0000, 0.0000],
                [0.0000, 0.0000, 0.5000]])

    Reference:
        Pearson (1904). On the theory of contingency and its relation to association and normal
        correlation. Drapers' Company Research Memoirs.

    See also:
        `torch_infotheory.mutual_information`, which takes the table as ``kind="counts"``;
        `torch_infotheory.estimators.mutual_information_from_labels`.
    """
    if isinstance(y, Tensor):
        if torch.compiler.is_compiling():  # the tracer does not look for sizes inside an op
            num_x = int(_ops._number_of_classes(x)) if num_x is None else num_x
            num_y = int(_ops._number_of_classes(y)) if num_y is None else num_y
        return _ops.joint_table(x, y, num_x, num_y, weight, dim, dtype)
    if num_x is not None or num_y is not None:
        raise TypeError("joint_table: num_x and num_y go with two tensors of labels")
    if not isinstance(y, Sequence):
        allowed = "a tensor of labels, or the number of classes of each variable"
        raise _arguments.error("joint_table", "y", allowed, y)
    return _ops.joint_table_columns(x, y, weight, dim, dtype)
