"""Nearest neighbors, and how many points lie within a radius: what the k-NN estimators ask.

Distances are compared as they are in floating point, |a - b| with one rounding, so that a point at
exactly the distance of the k-th neighbor is never inside by rounding. On the CPU a KDTree of SciPy
answers; on other devices, blocks of distances. Points are (N, D) of float64.
"""

from typing import Any

import torch
from torch import Tensor

_TREES = True  # what the tests turn off to run the blocks on the CPU
_BLOCK = 2**22  # distances that exist together


def _tree_of(points: Tensor) -> Any:
    try:
        from scipy.spatial import KDTree  # type: ignore[import-untyped]
    except ImportError:
        raise ImportError(
            "torch_infotheory.estimators needs SciPy for nearest neighbors on the CPU: "
            "pip install 'torch_infotheory[estimators]'"
        ) from None
    return KDTree(points.detach().numpy())


def _has_trees(points: Tensor) -> bool:
    return _TREES and points.device.type == "cpu"


def nearest(points: Tensor, queries: Tensor, k: int, norm: float) -> Tensor:
    """Return which points are the k nearest of each query, nearest first, shape (M, k)."""
    if _has_trees(points):
        tree = _tree_of(points)
        # Queries in the order of the tree's leaves, where they are its points, walk less.
        order = torch.from_numpy(tree.indices).to(torch.int64) if queries is points else None
        asked = queries if order is None else queries[order]
        ranks, workers = list(range(1, k + 1)), torch.get_num_threads()
        found = tree.query(asked.detach().numpy(), ranks, p=norm, workers=workers)[1]
        indices = torch.from_numpy(found).to(torch.int64)
        return (
            indices if order is None else torch.empty_like(indices).index_copy_(0, order, indices)
        )
    blocks = queries.detach().split(max(1, _BLOCK // len(points)))
    found = [_distances(block, points, norm).topk(k, largest=False).indices for block in blocks]
    return torch.cat(found)


def kth_neighbor(points: Tensor, k: int, norm: float) -> Tensor:
    """Return which other point is the k-th nearest of each, shape (N,).

    Where more than k points coincide it may be the point itself, whose distance is the same 0.
    """
    return nearest(points, points, k + 1, norm)[:, k]


def count_within(points: Tensor, radius: Tensor, *, strictly: bool) -> Tensor:
    """Return how many other points lie within each point's radius, in the maximum norm."""
    points, radius = points.detach(), radius.detach()
    if points.shape[1] == 1:
        return _count_on_a_line(points.squeeze(1), radius, strictly)
    if _has_trees(points):
        reach = torch.nextafter(radius, torch.zeros_like(radius)) if strictly else radius
        found = _tree_of(points).query_ball_point(
            points.numpy(),
            reach.numpy(),
            p=torch.inf,
            workers=torch.get_num_threads(),
            return_length=True,
        )
        others = torch.from_numpy(found).to(torch.int64) - 1
    else:
        counts = []
        size = max(1, _BLOCK // len(points))
        for block, reach in zip(points.split(size), radius.unsqueeze(1).split(size), strict=True):
            distance = _distances(block, points, torch.inf)
            inside = distance < reach if strictly else distance <= reach
            counts.append(inside.sum(1))
        others = torch.cat(counts) - 1
    return torch.where(radius > 0, others, 0) if strictly else others


def _distances(queries: Tensor, points: Tensor, norm: float) -> Tensor:
    # By way of the matrix product, the distances of near points would be noise.
    return torch.cdist(
        queries, points.detach(), p=norm, compute_mode="donot_use_mm_for_euclid_dist"
    )


def _count_on_a_line(x: Tensor, radius: Tensor, strictly: bool) -> Tensor:
    ordered, order = x.sort()
    reach = radius[order]
    right = _first_beyond(ordered, reach, strictly)
    left = _first_beyond(-ordered.flip(0), reach.flip(0), strictly).flip(0)
    inside = (right + left - len(x) - 1).clamp_min(0)  # without the point itself
    return torch.empty_like(inside).scatter_(0, order, inside)


def _first_beyond(ordered: Tensor, radius: Tensor, strictly: bool) -> Tensor:
    """The rank of the first number that is too far above each of the ordered numbers.

    Where x + radius is rounded, the rank that it has may be off by those that lie in between. So
    the search is for a little less and a little more, and bisection decides what lies between.
    """
    end = ordered + radius
    slack = 4 * torch.finfo(end.dtype).eps * torch.maximum(ordered.abs(), radius)
    low = torch.searchsorted(ordered, end - slack)
    high = torch.searchsorted(ordered, end + slack, right=True)
    while bool((low < high).any()):
        middle = (low + high) // 2
        distance = ordered[middle.clamp_max(len(ordered) - 1)] - ordered
        inside = distance < radius if strictly else distance <= radius
        open_ = low < high
        low = torch.where(open_ & inside, middle + 1, low)
        high = torch.where(open_ & ~inside, middle, high)
    return low
