"""InfoNCE, by blocks of rows: the matrix of all similarities never exists at once."""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

# As many similarities exist together.
BLOCK = 2**22


def info_nce(
    query: Tensor,
    key: Tensor,
    temperature: float = 0.1,
    *,
    negatives: Tensor | None = None,
    symmetric: bool = False,
) -> Tensor:
    """Return the InfoNCE loss: how badly each query picks its own key among the others.

    ::

        loss = -(1/N) sum_i log(exp(s_ii) / sum_j exp(s_ij)),  s_ij = query_i . key_j / temperature

    log N - loss is a lower bound of the mutual information of query and key.

    Args:
        query: N vectors, shape (..., N, D). They are taken as they are: normalize them before (and
            the others too) if the similarity is to be the cosine.
        key: The positive key of each query, shape (..., N, D).
        temperature: A number above 0.
        negatives: Keys that are wrong, instead of the other queries' keys: (..., M, D) for all
            queries, or (..., N, M, D), where each query has M of its own.
        symmetric: Whether to average with the loss of keys that pick their query. Not with
            ``negatives``.

    Returns:
        Tensor without dimensions: the mean over all queries, of the dtype that the inputs promote
        to. 16-bit inputs are computed in float32.

    Domain:
        Without any negative (N = 1) the loss is 0. NaN gives NaN.

    Gradient:
        To query, key and negatives, of any order, in forward mode and under torch.func. For the
        first order nothing but blocks of 2^22 similarities exists, which the backward pass computes
        again; a graph of the backward pass keeps them all.

    Raises:
        TypeError: An input is no floating tensor, or ``temperature`` no number.
        RuntimeError: Shapes do not fit.
        ValueError: ``temperature`` is not above 0; ``symmetric`` with ``negatives``.

    Example:
        Of 2 keys that look the same each query has to guess: log 2.

        >>> import torch
        >>> from torch_infotheory.nn import functional as F
        >>> F.info_nce(torch.eye(2), torch.ones(2, 2))
        tensor(0.6931)

    Reference:
        van den Oord, Li and Vinyals (2018). Representation learning with contrastive predictive
        coding. arXiv:1807.03748.

    See also:
        `torch_infotheory.estimators.mutual_information_bound`, from the table of scores.
    """
    _check(query, key, temperature, negatives, symmetric)
    inputs = (query, key) if negatives is None else (query, key, negatives)
    dtype = query.dtype
    for tensor in inputs:
        dtype = torch.promote_types(dtype, tensor.dtype)
    wide = torch.promote_types(dtype, torch.float32)
    if torch.is_autocast_enabled(query.device.type):
        dtype = wide
    with torch.autocast(query.device.type, enabled=False):
        q, k = query.to(wide) / temperature, key.to(wide)
        positive = (q * k).sum(-1)
        if negatives is not None:
            others = [_log_sum(q, negatives.to(wide), query.dim())]
        else:
            pairs = [(q, k), (k, q)] if symmetric else [(q, k)]
            others = [LogSumExpOfProduct.apply(*pair, True) for pair in pairs]
        # Without any negative, all of `others` is -inf.
        if query.shape[-2] == 1 if negatives is None else negatives.shape[-2] == 0:
            return (positive * 0).mean().to(dtype)
        # log(1 + exp(others - positive)): no digits are lost where the positive key stands out.
        losses = [torch.logaddexp(other - positive, torch.zeros_like(other)) for other in others]
        return torch.stack(losses).mean().to(dtype)


def _check(
    query: object, key: object, temperature: object, negatives: object, symmetric: bool
) -> None:
    for name, tensor in (("query", query), ("key", key), ("negatives", negatives)):
        if tensor is None and name == "negatives":
            continue
        if not isinstance(tensor, Tensor):
            raise TypeError(f"info_nce: {name} must be a Tensor, not {type(tensor).__name__}")
        if not tensor.is_floating_point():
            raise TypeError(f"info_nce: {name} must have a floating dtype, got {tensor.dtype}")
    assert isinstance(query, Tensor) and isinstance(key, Tensor)
    if isinstance(temperature, bool) or not isinstance(temperature, int | float):
        raise TypeError(f"info_nce: temperature: expected a number, got {temperature!r}")
    if not temperature > 0:
        raise ValueError(f"info_nce: temperature: expected a number above 0, got {temperature}")
    if query.dim() < 2 or query.shape != key.shape:
        raise RuntimeError(
            f"info_nce: expected query and key of one shape (..., N, D), "
            f"got {list(query.shape)} and {list(key.shape)}"
        )
    if isinstance(negatives, Tensor):
        if symmetric:
            raise ValueError("info_nce: symmetric: the keys have no negatives of their own")
        shared, own = query.shape[:-2], query.shape[:-1]
        if negatives.shape[-1:] != query.shape[-1:] or negatives.shape[:-2] not in (shared, own):
            raise RuntimeError(
                f"info_nce: expected negatives (..., M, D) or (..., N, M, D) for query "
                f"{list(query.shape)}, got {list(negatives.shape)}"
            )


def _log_sum(q: Tensor, negatives: Tensor, dimensions: int) -> Tensor:
    """log of the sum over a query's negatives of exp(q . negative)."""
    if negatives.dim() > dimensions:
        return (negatives @ q.unsqueeze(-1)).squeeze(-1).logsumexp(-1)
    return LogSumExpOfProduct.apply(q, negatives, False)


class LogSumExpOfProduct(torch.autograd.Function):
    """log sum_j exp(q_i . k_j), j != i if `skip_diagonal`: (..., N, D), (..., M, D) -> (..., N).

    A function of its own so that autograd keeps q, k and the result alone. Its derivatives are
    written in operations that have derivatives, which makes those of higher order right.
    """

    generate_vmap_rule = True

    @staticmethod
    def forward(q: Tensor, k: Tensor, skip_diagonal: bool) -> Tensor:
        # Overwritten below, and so for the gradient: the pieces of a list would lie where blocks
        # have been, and keep the C library from using their memory again.
        log_sum = q.sum(-1) + k.sum((-2, -1)).unsqueeze(-1)
        for start, size, s in _blocks(q, k, skip_diagonal):
            log_sum.narrow(-1, start, size).copy_(s.logsumexp(-1))
        return log_sum

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor, bool], output: Tensor) -> None:
        q, k, ctx.skip_diagonal = inputs
        ctx.save_for_backward(q, k, output)
        ctx.save_for_forward(q, k, output)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, None]:
        q, k, log_sum = ctx.saved_tensors
        grad_q, grad_k = grad.unsqueeze(-1) * q, torch.zeros_like(k)
        for start, size, s in _blocks(q, k, ctx.skip_diagonal):
            share = (s - log_sum.narrow(-1, start, size).unsqueeze(-1)).exp()
            weight = share * grad.narrow(-1, start, size).unsqueeze(-1)
            grad_q.narrow(-2, start, size).copy_(weight @ k)
            grad_k = grad_k + weight.mT @ q.narrow(-2, start, size)
        return grad_q, grad_k, None

    @staticmethod
    def jvp(ctx: Any, dq: Tensor | None, dk: Tensor | None, _: None) -> Tensor:
        q, k, log_sum = ctx.saved_tensors
        moved = []
        for start, size, s in _blocks(q, k, ctx.skip_diagonal):
            share = (s - log_sum.narrow(-1, start, size).unsqueeze(-1)).exp()
            change = torch.zeros_like(s)
            if dq is not None:
                change = change + dq.narrow(-2, start, size) @ k.mT
            if dk is not None:
                change = change + q.narrow(-2, start, size) @ dk.mT
            moved.append((share * change).sum(-1))
        return torch.cat(moved, -1)


def _blocks(q: Tensor, k: Tensor, skip_diagonal: bool) -> Iterator[tuple[int, int, Tensor]]:
    """The first row of each block, the number of its rows, and their products with all of k.

    The diagonal that is skipped is -inf.
    """
    batch, n, m = q.shape[:-2].numel(), q.shape[-2], k.shape[-2]
    rows = max(1, BLOCK // max(1, batch * m))
    columns = torch.arange(m, device=q.device)
    for start in range(0, max(n, 1), rows):
        size = min(rows, n - start)
        s = q.narrow(-2, start, size) @ k.mT
        if skip_diagonal:
            s = s.masked_fill(columns[start : start + size].unsqueeze(1) == columns, -torch.inf)
        yield start, size, s
