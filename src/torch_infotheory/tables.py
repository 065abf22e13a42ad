"""From labels to joint tables: how often each combination of labels occurs.

The one place that counts labels. What a table tells is for the measures to say.
"""

from collections.abc import Sequence
from functools import reduce
from typing import overload

import torch
from torch import Tensor

__all__ = ["joint_table"]


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
    columns, sizes = _columns_of(x, y, num_x, num_y, dim)
    if weight is not None:
        _check_weight(weight, columns[0], dim)
        *columns, weight = _broadcast(*columns, weight.movedim(dim, -1))
    counted = [_size_of(labels, size) for labels, size in zip(columns, sizes, strict=True)]
    checked = weight is None and _are_pairs_on_cpu(columns)
    left_out, beyond = (None, None) if checked else _outside(columns, counted)
    table = count(columns, counted, weight, left_out, beyond)
    if dtype is None and weight is not None:
        dtype = weight.dtype
    return table if dtype is None else table.to(dtype)


def count(
    columns: Sequence[Tensor],
    sizes: Sequence[int],
    weight: Tensor | None = None,
    left_out: Tensor | None = None,
    beyond: Tensor | None = None,
) -> Tensor:
    """Return the table of labels that are known to be below the sizes.

    The two masks, if any, say which samples do not count, and which have a label that they must not
    have. Pairs on the CPU are checked as they are counted.
    """
    if weight is None and left_out is None and _are_pairs_on_cpu(columns):
        return torch.ops.torch_infotheory._count_pairs(*columns, *sizes)
    batch = columns[0].shape[:-1]
    cells = batch.numel()
    for size in sizes:
        cells *= size
    flat = _flat(columns, sizes)
    if left_out is not None:
        flat = flat.masked_fill(left_out, cells)  # one more cell
    if beyond is not None:
        # No cell at all, so that the kernel that adds to the table asserts.
        flat = flat.masked_fill(beyond, cells + 1)
    flat = flat.reshape(-1)
    if weight is None:
        table = torch.zeros(cells + 1, dtype=torch.int64, device=flat.device)
        table = table.index_add(0, flat, torch.ones_like(table[:1]).expand(flat.shape))
    else:
        wide = torch.promote_types(weight.dtype, torch.float32)
        table = torch.zeros(cells + 1, dtype=wide, device=flat.device)
        table = _add_in_order(table, flat, weight.reshape(-1).to(wide))
    return table[:cells].view(*batch, *sizes)


def _columns_of(
    x: Tensor, y: Tensor | Sequence[int], num_x: int | None, num_y: int | None, dim: int
) -> tuple[list[Tensor], list[int | None]]:
    """The labels of every variable, samples last and of one shape, and their numbers of classes."""
    _check_labels("x", x)
    if not isinstance(y, Tensor):
        if num_x is not None or num_y is not None:
            raise TypeError("joint_table: num_x and num_y go with two tensors of labels")
        sizes: list[int | None] = list(y)
        if any(isinstance(size, bool) or not isinstance(size, int) for size in sizes):
            raise TypeError(f"joint_table: expected two tensors, or columns and sizes, got {y!r}")
        columns = x.movedim(dim, -1)
        if columns.dim() < 2 or columns.shape[-2] != len(sizes):
            raise RuntimeError(
                f"joint_table: {len(sizes)} sizes need columns of shape (..., {len(sizes)}, N), "
                f"got {list(x.shape)}"
            )
        return list(columns.unbind(-2)), sizes
    _check_labels("y", y)
    if x.dim() == 0 or y.dim() == 0 or x.shape[dim] != y.shape[dim]:
        raise RuntimeError(
            f"joint_table: expected as many labels in x as in y along dim {dim}, "
            f"got {list(x.shape)} and {list(y.shape)}"
        )
    if x.device != y.device:
        raise RuntimeError(f"joint_table: x is on {x.device} and y on {y.device}")
    return _broadcast(x.movedim(dim, -1), y.movedim(dim, -1)), [num_x, num_y]


def _broadcast(*tensors: Tensor) -> list[Tensor]:
    try:
        return list(torch.broadcast_tensors(*tensors))
    except RuntimeError:
        shapes = " and ".join(str(list(tensor.shape)) for tensor in tensors)
        raise RuntimeError(f"joint_table: {shapes}, samples last, do not broadcast") from None


def _check_labels(name: str, labels: object) -> None:
    if not isinstance(labels, Tensor):
        raise TypeError(f"joint_table: {name} must be a Tensor, not {type(labels).__name__}")
    if labels.is_floating_point() or labels.is_complex():
        raise TypeError(
            f"joint_table: {name} must have labels of an integer dtype, got {labels.dtype}"
        )


def _check_weight(weight: object, labels: Tensor, dim: int) -> None:
    if not isinstance(weight, Tensor):
        raise TypeError(f"joint_table: weight must be a Tensor, not {type(weight).__name__}")
    if not weight.is_floating_point():
        raise TypeError(f"joint_table: weight must have a floating dtype, got {weight.dtype}")
    if weight.dim() == 0 or weight.shape[dim] != labels.shape[-1]:
        raise RuntimeError(
            f"joint_table: expected a weight for each of {labels.shape[-1]} samples along dim "
            f"{dim}, got weight {list(weight.shape)}"
        )
    if weight.device != labels.device:
        raise RuntimeError(f"joint_table: weight is on {weight.device}, labels on {labels.device}")


def _size_of(labels: Tensor, size: int | None) -> int:
    if size is None:
        return max(int(labels.max()) + 1, 0) if labels.numel() else 0
    if size < 0:
        raise ValueError(f"joint_table: a number of classes cannot be {size}")
    return size


def _are_pairs_on_cpu(columns: Sequence[Tensor]) -> bool:
    return len(columns) == 2 and columns[0].device.type == "cpu"


def _outside(
    columns: Sequence[Tensor], sizes: Sequence[int]
) -> tuple[Tensor | None, Tensor | None]:
    """Which samples have a label below 0, and which one that is too large; None for none.

    On the CPU a label that is too large is an error. Elsewhere nobody waits to see.
    """
    if columns[0].device.type != "cpu":
        return _marked(columns, sizes)
    left_out = beyond = None
    for labels, size in zip(columns, sizes, strict=True):
        if labels.numel():
            least, most = (int(bound) for bound in labels.aminmax())
            if most >= size:
                raise IndexError(f"joint_table: label {most} is out of bounds: {size} classes")
            if least < 0:
                left_out = _either(left_out, labels < 0)
    return left_out, beyond


def _marked(columns: Sequence[Tensor], sizes: Sequence[int]) -> tuple[Tensor, Tensor]:
    wide = [labels.to(torch.int64) for labels in columns]
    left_out = [labels < 0 for labels in wide]
    beyond = [labels >= size for labels, size in zip(wide, sizes, strict=True)]
    return reduce(torch.logical_or, left_out), reduce(torch.logical_or, beyond)


@torch.library.impl("torch_infotheory::_count_pairs", "CompositeImplicitAutograd")
def _count_pairs(x: Tensor, y: Tensor, num_x: int, num_y: int) -> Tensor:
    """What torch.export takes where it is to leave nothing but torch's own operators."""
    columns, sizes = (x, y), (num_x, num_y)
    return count(columns, sizes, None, *_marked(columns, sizes))


def _either(mask: Tensor | None, other: Tensor) -> Tensor:
    return other if mask is None else mask | other


def _flat(columns: Sequence[Tensor], sizes: Sequence[int]) -> Tensor:
    """The number of each sample's cell, the tables of a batch lying one after another."""
    flat = None
    if columns[0].dim() > 1:
        batch = columns[0].shape[:-1]
        flat = torch.arange(batch.numel(), device=columns[0].device).view(*batch, 1)
    for labels, size in zip(columns, sizes, strict=True):
        labels = labels.to(torch.int64)
        flat = labels if flat is None else torch.add(labels, flat, alpha=size)
    assert flat is not None
    return flat


def _add_in_order(table: Tensor, cells: Tensor, weight: Tensor) -> Tensor:
    # On the CPU index_add runs through a vector in its order. On a GPU it adds in any order, while
    # index_put sorts the cells first, and so repeats bit for bit.
    if table.device.type == "cuda":
        return table.index_put((cells,), weight, accumulate=True)
    return table.index_add(0, cells, weight)
