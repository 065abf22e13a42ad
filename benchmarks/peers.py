"""The same quantities by others: idiomatic eager PyTorch, SciPy, torchmetrics, Liger-Kernel.

Every function takes what the op of the package takes and returns the same numbers; the tests
compare them. SciPy reads the memory of the tensors, without a copy. Knows no op of the package.
"""

from math import log

import numpy as np
import scipy.spatial.distance
import scipy.special
import scipy.stats
import torch
from torch import Tensor
from torch.nn import functional as F

# Eager PyTorch, as one would write it without the package.


def probability_and_logarithm(x: Tensor, dim: int | tuple[int, int], kind: str) -> list[Tensor]:
    if kind == "probs":
        return [x, x.log()]
    if kind == "logits" and isinstance(dim, int):
        x = x.log_softmax(dim)
    elif kind == "logits":
        x = x - x.logsumexp(dim, keepdim=True)
    return [x.exp(), x]


def self_information(p: Tensor, dim: int = -1, kind: str = "logits") -> Tensor:
    return -probability_and_logarithm(p, dim, kind)[1]


def entropy(p: Tensor, dim: int = -1, kind: str = "logits") -> Tensor:
    p, log_p = probability_and_logarithm(p, dim, kind)
    return -(p * log_p).sum(dim)


def perplexity(p: Tensor, dim: int = -1, kind: str = "logits") -> Tensor:
    return entropy(p, dim, kind).exp()


def cross_entropy(p: Tensor, q: Tensor, dim: int = -1, kind: str = "logits") -> Tensor:
    p, _ = probability_and_logarithm(p, dim, kind)
    _, log_q = probability_and_logarithm(q, dim, kind)
    return -(p * log_q).sum(dim)


def log_probs(x: Tensor, index: Tensor) -> Tensor:
    log_p = x.log_softmax(1)
    entropy = -(log_p.exp() * log_p).sum(1)
    return log_p.gather(1, index.unsqueeze(1)).squeeze(1) + entropy + x.logsumexp(1)


def kl_divergence(p: Tensor, q: Tensor, dim: int = -1, kind: str = "logits") -> Tensor:
    p, log_p = probability_and_logarithm(p, dim, kind)
    _, log_q = probability_and_logarithm(q, dim, kind)
    if kind == "probs":
        return F.kl_div(log_q, p, reduction="none").sum(dim)
    return F.kl_div(log_q, log_p, reduction="none", log_target=True).sum(dim)


def js_divergence(
    p: Tensor, q: Tensor, dim: int = -1, kind: str = "logits", weight: float = 0.5
) -> Tensor:
    p, log_p = probability_and_logarithm(p, dim, kind)
    q, log_q = probability_and_logarithm(q, dim, kind)
    if kind == "probs":
        log_m = ((1 - weight) * p + weight * q).log()
    else:
        log_m = torch.logaddexp(log_p + log(1 - weight), log_q + log(weight))
    return ((1 - weight) * p * (log_p - log_m) + weight * q * (log_q - log_m)).sum(dim)


def js_distance(p: Tensor, q: Tensor, dim: int = -1, kind: str = "logits") -> Tensor:
    return js_divergence(p, q, dim, kind).sqrt()


def jeffreys_divergence(p: Tensor, q: Tensor, dim: int = -1, kind: str = "logits") -> Tensor:
    p, log_p = probability_and_logarithm(p, dim, kind)
    q, log_q = probability_and_logarithm(q, dim, kind)
    return ((p - q) * (log_p - log_q)).sum(dim)


def squared_hellinger_distance(p: Tensor, q: Tensor, dim: int = -1, kind: str = "logits") -> Tensor:
    if kind == "probs":
        roots = p.sqrt() - q.sqrt()
    else:
        _, log_p = probability_and_logarithm(p, dim, kind)
        _, log_q = probability_and_logarithm(q, dim, kind)
        roots = (log_p / 2).exp() - (log_q / 2).exp()
    return roots.square().sum(dim) / 2


def hellinger_distance(p: Tensor, q: Tensor, dim: int = -1, kind: str = "logits") -> Tensor:
    return squared_hellinger_distance(p, q, dim, kind).sqrt()


def bhattacharyya_coefficient(p: Tensor, q: Tensor, dim: int = -1, kind: str = "logits") -> Tensor:
    return sum_of_powers(p, q, 0.5, dim, kind)


def total_variation_distance(p: Tensor, q: Tensor, dim: int = -1, kind: str = "logits") -> Tensor:
    p, _ = probability_and_logarithm(p, dim, kind)
    q, _ = probability_and_logarithm(q, dim, kind)
    return (p - q).abs().sum(dim) / 2


def chi_squared_divergence(p: Tensor, q: Tensor, dim: int = -1, kind: str = "logits") -> Tensor:
    p, _ = probability_and_logarithm(p, dim, kind)
    q, _ = probability_and_logarithm(q, dim, kind)
    return ((p - q).square() / q).sum(dim)


def total(x: Tensor, dim: int, kind: str) -> Tensor | float:
    if kind == "logits":
        return 1.0
    return (x if kind == "probs" else x.exp()).sum(dim)


def sum_of_powers(p: Tensor, q: Tensor, alpha: float, dim: int, kind: str) -> Tensor:
    """The sum of p^alpha q^(1 - alpha)."""
    if kind == "probs":
        return (p**alpha * q ** (1 - alpha)).sum(dim)
    _, log_p = probability_and_logarithm(p, dim, kind)
    _, log_q = probability_and_logarithm(q, dim, kind)
    return (alpha * log_p + (1 - alpha) * log_q).exp().sum(dim)


def tsallis_entropy(p: Tensor, alpha: float, dim: int = -1, kind: str = "logits") -> Tensor:
    powers = probability_and_logarithm(p, dim, kind)[0] ** alpha
    return (total(p, dim, kind) - powers.sum(dim)) / (alpha - 1)


def renyi_entropy(p: Tensor, alpha: float, dim: int = -1, kind: str = "logits") -> Tensor:
    if alpha == 1:
        return entropy(p, dim, kind) / total(p, dim, kind)
    powers = probability_and_logarithm(p, dim, kind)[0] ** alpha
    return (powers.sum(dim) / total(p, dim, kind)).log() / (1 - alpha)


def renyi_divergence(
    p: Tensor, q: Tensor, alpha: float, dim: int = -1, kind: str = "logits"
) -> Tensor:
    if alpha == 1:
        return kl_divergence(p, q, dim, kind) / total(p, dim, kind)
    return (sum_of_powers(p, q, alpha, dim, kind) / total(p, dim, kind)).log() / (alpha - 1)


def alpha_divergence(
    p: Tensor, q: Tensor, alpha: float, dim: int = -1, kind: str = "logits"
) -> Tensor:
    if alpha == 1:
        return kl_divergence(p, q, dim, kind) - total(p, dim, kind) + total(q, dim, kind)
    totals = alpha * total(p, dim, kind) + (1 - alpha) * total(q, dim, kind)
    return (sum_of_powers(p, q, alpha, dim, kind) - totals) / (alpha * (alpha - 1))


CELLS = (-2, -1)


def joint_entropy(joint: Tensor, kind: str = "probs") -> Tensor:
    p, log_p = probability_and_logarithm(joint, CELLS, kind)
    return -(p * log_p).sum(CELLS)


def conditional_entropy(joint: Tensor, kind: str = "probs") -> Tensor:
    p, log_p = probability_and_logarithm(joint, CELLS, kind)
    return -(p * (log_p - p.sum(-1, keepdim=True).log())).sum(CELLS)


def mutual_information(joint: Tensor, kind: str = "probs") -> Tensor:
    p = joint if kind == "probs" else probability_and_logarithm(joint, CELLS, kind)[0]
    independent = p.sum(-1, keepdim=True) * p.sum(-2, keepdim=True)
    return torch.xlogy(p, p / independent).sum(CELLS)


def variation_of_information(joint: Tensor, kind: str = "probs") -> Tensor:
    return conditional_entropy(joint, kind) + conditional_entropy(joint.mT, kind)


def pointwise_mutual_information(
    joint: Tensor, kind: str = "probs", normalized: bool = False
) -> Tensor:
    p, log_p = probability_and_logarithm(joint, CELLS, kind)
    value = (p / (p.sum(-1, keepdim=True) * p.sum(-2, keepdim=True))).log()
    return -value / log_p if normalized else value


# SciPy.


def scipy_cross_entropy(x: Tensor, labels: Tensor) -> np.floating:
    log_p = scipy.special.log_softmax(x.numpy(), axis=1)
    return -np.take_along_axis(log_p, labels.numpy()[:, None], axis=1).mean()


def scipy_softmax(x: Tensor, dim: int) -> np.ndarray:
    return scipy.special.softmax(x.numpy(), axis=dim)


def scipy_entropy(p: Tensor, dim: int = -1) -> np.ndarray:
    return scipy.stats.entropy(scipy_softmax(p, dim), axis=dim)


def scipy_kl_divergence(p: Tensor, q: Tensor, dim: int = -1) -> np.ndarray:
    return scipy.stats.entropy(scipy_softmax(p, dim), scipy_softmax(q, dim), axis=dim)


def scipy_js_divergence(p: Tensor, q: Tensor, dim: int = -1) -> np.ndarray:
    distance = scipy.spatial.distance.jensenshannon
    return distance(scipy_softmax(p, dim), scipy_softmax(q, dim), axis=dim) ** 2


def scipy_mutual_information(joint: Tensor) -> np.ndarray:
    p = joint.numpy()
    independent = p.sum(-1, keepdims=True) * p.sum(-2, keepdims=True)
    return scipy.special.rel_entr(p, independent).sum(CELLS)


# Libraries of torch code. Each function imports its library, which need not be there.


def torchmetrics_cross_entropy(x: Tensor, labels: Tensor) -> Tensor:
    from torchmetrics.functional.text import perplexity

    return perplexity(x[None], labels[None]).log()


def torchmetrics_kl_divergence(p: Tensor, q: Tensor, dim: int = -1) -> Tensor:
    from torchmetrics.functional import kl_divergence

    return kl_divergence(p.log_softmax(dim), q.log_softmax(dim), log_prob=True, reduction="none")


def torchmetrics_js_divergence(p: Tensor, q: Tensor, dim: int = -1) -> Tensor:
    from torchmetrics.functional.regression import jensen_shannon_divergence

    return jensen_shannon_divergence(
        p.log_softmax(dim), q.log_softmax(dim), log_prob=True, reduction="none"
    )


def liger_cross_entropy(x: Tensor, labels: Tensor, label_smoothing: float = 0.0) -> Tensor:
    """Overwrites x with the gradient. Its divergences have a gradient by one operand only."""
    from liger_kernel.transformers.functional import liger_cross_entropy

    return liger_cross_entropy(x, labels, label_smoothing=label_smoothing)
