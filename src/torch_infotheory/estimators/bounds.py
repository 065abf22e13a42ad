"""Variational bounds of mutual information: what a critic's scores of pairs say about it."""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from torch_infotheory.estimators import _arguments

__all__ = ["mutual_information_bound"]


def mutual_information_bound(
    scores: Tensor, bound: str = "infonce", *, clip: float = 5.0, base: float | None = None
) -> Tensor:
    """Return a bound of the mutual information of X and Y from a critic's scores of N samples.

    f_ij is the score of x_i and y_j, so that the pairs on the diagonal come from the joint
    distribution and the others from the product of the marginals::

        infonce  I >= (1/N) sum_i [f_ii - log (1/N) sum_j exp f_ij]
        dv       I >= mean_i f_ii - log mean_{i != j} exp f_ij
        nwj      I >= mean_i f_ii - mean_{i != j} exp(f_ij - 1)
        js       2 JS - 2 log 2 >= mean_i log σ(f_ii) + mean_{i != j} log σ(-f_ij)
        smile    I ~ mean_i f_ii - log mean_{i != j} exp clip(f_ij, -c, c)
        club     I <= mean_i f_ii - mean_ij f_ij,  where f_ij = log p(y_j | x_i)

    σ is the logistic function, and JS the Jensen-Shannon divergence of the joint distribution and
    the product of the marginals, whose critic is trained more steadily than that of ``"dv"``.

    Args:
        scores: Scores, shape (..., N, N), floating.
        bound: One of the names above.
        clip: c, for ``"smile"``.
        base: The base of the logarithm: None gives nats, 2 gives bits.

    Returns:
        Tensor of shape (...), of the scores' dtype; float16 and bfloat16 are computed in float32.
        The inequalities hold for the mean over samples, and for ``"dv"`` in the limit of many.
        ``"infonce"`` never exceeds log N.

    Domain:
        N of at least 2, but 1 for ``"infonce"`` and ``"club"``. NaN in a table gives NaN for it. A
        score of -inf off the diagonal is a pair that the critic excludes.

    Gradient:
        By the scores, of any order.

    Raises:
        TypeError: ``scores`` is no floating tensor.
        RuntimeError: ``scores`` is not square.
        ValueError: ``bound`` or ``base`` is unknown, ``clip`` not above 0, or N too small.

    Example:
        A critic that is sure of every pair finds log 2 in 2 samples.

        >>> import torch
        >>> from torch_infotheory import estimators
        >>> scores = torch.tensor([[0.0, -torch.inf], [-torch.inf, 0.0]])
        >>> estimators.mutual_information_bound(scores, base=2)
        tensor(1.)

    Reference:
        van den Oord, Li and Vinyals (2018). Representation learning with contrastive predictive
        coding. arXiv:1807.03748.
        Donsker and Varadhan (1983); Belghazi et al. (2018). Mutual information neural estimation.
        ICML.
        Nguyen, Wainwright and Jordan (2010). Estimating divergence functionals and the likelihood
        ratio by convex risk minimization. IEEE Transactions on Information Theory 56.
        Nowozin, Cseke and Tomioka (2016). f-GAN. NeurIPS; Hjelm et al. (2019). Learning deep
        representations by mutual information estimation and maximization. ICLR.
        Song and Ermon (2020). Understanding the limitations of variational mutual information
        estimators. ICLR.
        Cheng et al. (2020). CLUB: a contrastive log-ratio upper bound of mutual information. ICML.

    See also:
        `torch_infotheory.nn.functional.info_nce`, the loss without the table of scores.
    """
    name = "mutual_information_bound"
    f = _arguments.floating(name, "scores", scores)
    if f.dim() < 2 or f.shape[-1] != f.shape[-2]:
        raise RuntimeError(f"{name}: expected scores (..., N, N), got {list(f.shape)}")
    _arguments.choice(name, "bound", bound, tuple(BOUNDS))
    nats = _arguments.nats_in(name, base)
    least = 1 if bound in ("infonce", "club") else 2
    if f.shape[-1] < least:
        raise ValueError(f"{name}: {bound!r} needs {least} samples or more, got {f.shape[-1]}")
    if isinstance(clip, bool) or not isinstance(clip, int | float):
        raise TypeError(f"{name}: clip: expected a number, got {clip!r}")
    if not clip > 0:
        raise ValueError(f"{name}: clip: expected a number above 0, got {clip}")
    f = f.to(torch.promote_types(f.dtype, torch.float32))
    return (BOUNDS[bound](f, clip) / nats).to(scores.dtype)


def _on_diagonal(f: Tensor) -> Tensor:
    return f.diagonal(dim1=-2, dim2=-1)


def _without_diagonal(f: Tensor) -> Tensor:
    """The N (N - 1) other scores of each table: of N + 1 in a row the first is on the diagonal."""
    n = f.shape[-1]
    rows = f.reshape(*f.shape[:-2], n * n)[..., 1:].unflatten(-1, (n - 1, n + 1))
    return rows[..., :-1].flatten(-2)


def _log_mean_exp(f: Tensor) -> Tensor:
    return f.logsumexp(-1) - math.log(f.shape[-1])


def _infonce(f: Tensor, clip: float) -> Tensor:
    # log_softmax takes the maximum off first, and so never rounds to above 0.
    return math.log(f.shape[-1]) + _on_diagonal(f.log_softmax(-1)).mean(-1)


def _dv(f: Tensor, clip: float) -> Tensor:
    return _on_diagonal(f).mean(-1) - _log_mean_exp(_without_diagonal(f))


def _nwj(f: Tensor, clip: float) -> Tensor:
    return _on_diagonal(f).mean(-1) - (_without_diagonal(f) - 1).exp().mean(-1)


def _log_sigmoid(f: Tensor) -> Tensor:
    return -torch.logaddexp(-f, torch.zeros_like(f))


def _js(f: Tensor, clip: float) -> Tensor:
    return _log_sigmoid(_on_diagonal(f)).mean(-1) + _log_sigmoid(-_without_diagonal(f)).mean(-1)


def _smile(f: Tensor, clip: float) -> Tensor:
    clipped = _without_diagonal(f).clamp(-clip, clip)
    return _on_diagonal(f).mean(-1) - _log_mean_exp(clipped)


def _club(f: Tensor, clip: float) -> Tensor:
    return _on_diagonal(f).mean(-1) - f.mean((-2, -1))


BOUNDS: dict[str, Callable[[Tensor, float], Tensor]] = {
    "infonce": _infonce,
    "dv": _dv,
    "nwj": _nwj,
    "js": _js,
    "smile": _smile,
    "club": _club,
}
