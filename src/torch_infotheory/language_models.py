"""What the training of language models reads from logits and from samples."""

from typing import NamedTuple

import torch
from torch import Tensor

from torch_infotheory._ops import functions as _functions

__all__ = ["LogProbs", "kl_estimate", "log_probs"]

_ops = _functions(["log_probs", "kl_estimate"])


class LogProbs(NamedTuple):
    """The results of `log_probs`, one number for each row."""

    log_prob: Tensor
    entropy: Tensor
    logsumexp: Tensor


def log_probs(
    logits: Tensor,
    index: Tensor,
    dim: int = -1,
    *,
    temperature: float = 1.0,
    ignore_index: int = -100,
    dtype: torch.dtype | None = None,
) -> LogProbs:
    """Return the log-probability of a class, the entropy and the log-normalizer of each row.

    ::

        z = logits / temperature
        log_prob = z_index - logsumexp(z)
        entropy = -sum_c softmax(z)_c log softmax(z)_c
        logsumexp = log sum_c exp(z_c)

    The logits are read once, and there is one gradient of their size for whichever of the three are
    used. Under torch.compile, torch.func, forward mode and for DTensors, and for derivatives beyond
    the first, the same numbers come from several readings.

    Args:
        logits: Shape (..., C, ...).
        index: The class of each row, of any integer type; the shape of ``logits`` without ``dim``.
        dim: The class dimension.
        temperature: What the logits are divided by as they are read; a finite number above 0.
        ignore_index: Rows of this class have the results 0 and gradient 0.
        dtype: Data type of the results. None keeps the type of ``logits``. They are computed in
            float32 at least.

    Returns:
        `LogProbs` of three tensors of the shape of ``index``, in nats.

    Domain:
        As for `cross_entropy` and `entropy`: a logit of -inf contributes nothing; a row with a NaN
        or +inf, or of -inf alone, gives NaN.

    Gradient:
        By z: (1 at index) - p of the log-probability, -p (log p + H) of the entropy, p of the
        log-normalizer.

    Raises:
        IndexError: If an index is outside [0, C) and not ``ignore_index``, or ``dim`` out of range.
        ValueError: If ``temperature`` is not finite and above 0.
        RuntimeError: If the shapes do not fit.
        TypeError: If an argument has a wrong type.

    Example:
        >>> import torch, torch_infotheory
        >>> torch_infotheory.log_probs(torch.zeros(1, 4), torch.tensor([3]))
        LogProbs(log_prob=tensor([-1.3863]), entropy=tensor([1.3863]), logsumexp=tensor([1.3863]))

    See also:
        `torch_infotheory.nn.functional.linear_log_probs`, from hidden states.
    """
    return LogProbs(*_ops.log_probs(logits, index, dim, temperature, ignore_index, dtype))


def kl_estimate(log_p: Tensor, log_q: Tensor, estimator: str = "k3") -> Tensor:
    """Return an estimate of KL(p, q) for each sample of p.

    ::

        d = log_q - log_p
        k1 = -d
        k2 = d^2 / 2
        k3 = exp(d) - 1 - d

    k1 and k3 have the expectation KL(p, q); k3 is never below 0 and has the smaller variance where
    p and q are close. k2 is biased. The gradient of the mean of k3 by the parameters of p is not
    that of the divergence, because the samples depend on them as well:
    ``"k3_unbiased_gradient"`` has the value of k3, and the gradient

    ::

        (log_p - log_q) dlog_p - dlog_q

    whose expectation is that of KL(p, q).

    Args:
        log_p, log_q: Log-probabilities of the samples, of shapes that broadcast.
        estimator: ``"k1"``, ``"k2"``, ``"k3"`` or ``"k3_unbiased_gradient"``.

    Returns:
        A tensor of the broadcast shape, computed in float64 and rounded once.

    Domain:
        Any real numbers. A sample that q cannot produce, with log_q = -inf, gives +inf.

    Gradient:
        To both, as the formula states.

    Raises:
        ValueError: If ``estimator`` is unknown.
        TypeError: If an argument has a wrong type.

    Example:
        >>> import torch, torch_infotheory
        >>> log_p = torch.tensor([0.5, 0.25]).log()
        >>> torch_infotheory.kl_estimate(log_p, torch.tensor([0.25, 0.5]).log())
        tensor([0.1931, 0.3069])

    Reference:
        Schulman (2020). Approximating KL divergence.

    See also:
        `kl_divergence`, of whole distributions.
    """
    return _ops.kl_estimate(log_p, log_q, estimator)
