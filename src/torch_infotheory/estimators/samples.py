"""Entropy, mutual information and divergence of real-valued samples.

By nearest neighbors, by the spacings of ordered numbers, or as if the samples were Gaussian.
`neighbors` finds the neighbors; distances are computed here, from the samples, so that they have
gradients. Samples are computed in float64 as they come: no noise is added and nothing is scaled.
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from torch_infotheory.estimators import _arguments
from torch_infotheory.estimators.neighbors import count_within, kth_neighbor, nearest

__all__ = ["differential_entropy", "kl_divergence_knn", "mutual_information_knn"]

NORMS = {"euclidean": 2.0, "max": math.inf}


def differential_entropy(
    samples: Tensor,
    method: str = "knn",
    *,
    k: int = 3,
    norm: str = "euclidean",
    window_length: int | None = None,
    base: float | None = None,
) -> Tensor:
    """Return an estimate of the differential entropy of the density that the samples come from.

    With ε_i the distance of sample i to its k-th neighbor, c_D the volume of the unit ball, ψ the
    digamma function, and x_(i) the ordered samples, those before the first and after the last
    being equal to it::

        knn       h = ψ(N) - ψ(k) + log c_D + (D/N) sum log ε_i
        vasicek   h = (1/N) sum log(N / (2m) (x_(i+m) - x_(i-m)))
        van_es    h = (1/(N-m)) sum log((N+1)/m (x_(i+m) - x_(i))) + sum_{k=m..N} 1/k
                      + log(m / (N+1))
        ebrahimi  h = vasicek, with 2 replaced by 1 + (i-1)/m for i <= m, 1 + (N-i)/m at the end
        correa    h = -(1/N) sum log b_i / N,  b_i the slope of j over x_(j), |j - i| <= m
        gaussian  h = (1/2) log det(2 π e S),  S the sample covariance with divisor N - 1

    Args:
        samples: N samples, shape (N,) or (N, D), floating; D is 1 for the methods with spacings.
        method: One of the names above.
        k: Which neighbor, below N (``"knn"``).
        norm: ``"euclidean"`` or ``"max"`` (``"knn"``).
        window_length: m, at least 1 and below N/2; None takes sqrt(N) rounded (the methods with
            spacings, as ``scipy.stats.differential_entropy``).
        base: The base of the logarithm: None gives nats, 2 gives bits.

    Returns:
        Tensor without dimensions, of the samples' dtype; it may well be negative.

    Domain:
        A sample that is not finite gives NaN. Where distances are 0 because samples coincide, the
        density is infinite there and the estimate -inf.

    Gradient:
        By the samples, of any order, with the neighbors and the order as they are.

    Raises:
        TypeError: ``samples`` is no floating tensor.
        RuntimeError: The shape is another one.
        ValueError: An option is unknown, or too large for the number of samples.
        ImportError: SciPy is not there (``"knn"`` on the CPU).

    Example:
        For k = 1 every distance is 1, and the unit ball on a line has length 2.

        >>> import torch
        >>> from torch_infotheory import estimators
        >>> estimators.differential_entropy(torch.tensor([0.0, 1.0, 2.0]), k=1)  # 1 + 1/2 + log 2
        tensor(2.1931)

    Reference:
        Kozachenko and Leonenko (1987). Sample estimate of the entropy of a random vector. Problems
        of Information Transmission 23.
        Vasicek (1976). A test for normality based on sample entropy. Journal of the Royal
        Statistical Society B 38.
        van Es (1992). Estimating functionals related to a density by a class of statistics based on
        spacings. Scandinavian Journal of Statistics 19.
        Ebrahimi, Pflughoeft and Soofi (1994). Two measures of sample entropy. Statistics and
        Probability Letters 20.
        Correa (1995). A new estimator of entropy. Communications in Statistics 24.

    See also:
        `torch_infotheory.estimators.mutual_information_knn`, which is more than three of these;
        `torch_infotheory.entropy`, of discrete distributions.
    """
    name = "differential_entropy"
    x = _arguments.samples_of(name, "samples", samples)
    _arguments.choice(name, "method", method, ("knn", *SPACINGS, "gaussian"))
    p = NORMS[_arguments.choice(name, "norm", norm, tuple(NORMS))]
    nats = _arguments.nats_in(name, base)
    if method == "knn":
        estimate = _finite_or_nan(
            lambda x: _kozachenko_leonenko(x, k, p), x, needs=_more_than(name, k)
        )
    elif method == "gaussian":
        estimate = _finite_or_nan(_gaussian, x, needs=_more_than(name, x.shape[1], "dimensions"))
    else:
        if x.shape[1] != 1:
            raise RuntimeError(
                f"{name}: method {method!r} takes one-dimensional samples, "
                f"got {list(samples.shape)}"
            )
        m = _window(name, window_length, len(x))
        estimate = _finite_or_nan(lambda x: SPACINGS[method](x.squeeze(1).sort().values, m), x)
    return (estimate / nats).to(samples.dtype)


def mutual_information_knn(
    x: Tensor,
    y: Tensor,
    k: int = 3,
    *,
    method: str = "ksg1",
    z: Tensor | None = None,
    base: float | None = None,
    clip: bool = False,
) -> Tensor:
    """Return an estimate of the mutual information of two variables by nearest neighbors.

    ε_i is the distance of pair i to its k-th neighbor in the maximum norm, n_x(i) the number of
    other points whose x is nearer than that, and <> the mean over the pairs::

        ksg1   I = ψ(k) + ψ(N) - <ψ(n_x + 1) + ψ(n_y + 1)>
        ksg2   I = ψ(k) - 1/k + ψ(N) - <ψ(n_x) + ψ(n_y)>,  n_x(i) the points whose x is not further
               than that of any of the k neighbors, and n_y(i) likewise
        ross   I = <ψ(k_i)> + ψ(N) - <ψ(N_i) + ψ(m_i)>,  N_i the number of points with the label of
               point i, k_i = min(k, N_i - 1), m_i the number of other points not further than
               its k_i-th neighbor among those with its label
        z      I = ψ(k) - <ψ(n_xz + 1) + ψ(n_yz + 1) - ψ(n_z + 1)>,  the information given Z, with
               neighbors of triples

    Args:
        x: Samples of the first variable, shape (N,) or (N, D).
        y: Samples of the second variable, shape (N,) or (N, E). With ``"ross"`` one of the two
            is a tensor of integers, the labels (N,) of a discrete variable.
        k: Which neighbor, below N.
        method: ``"ksg1"``, ``"ksg2"`` or ``"ross"``.
        z: Samples of a third variable that is given, shape (N,) or (N, F), for ``"ksg1"``.
        base: The base of the logarithm: None gives nats, 2 gives bits.
        clip: Whether an estimate below 0 becomes 0.

    Returns:
        Tensor without dimensions, of the dtype that the samples promote to.

    Domain:
        A sample that is not finite gives NaN. Points whose label is unique are left out by
        ``"ross"``, and N counts the others; if there is none the estimate is NaN. Variables are
        compared as they are: bring them to one scale, and add noise to repeated values, before.

    Gradient:
        None: the estimates are counts.

    Raises:
        TypeError: Dtypes do not suit the method.
        RuntimeError: Shapes or devices do not fit.
        ValueError: An option is unknown, or k is not below the number of samples.
        ImportError: SciPy is not there (samples on the CPU).

    Example:
        Of 3 points on a diagonal each has 1 neighbor at distance 1 and none nearer:
        ψ(1) + ψ(3) - 2 ψ(1) = 3/2.

        >>> import torch
        >>> from torch_infotheory import estimators
        >>> x = torch.tensor([0.0, 1.0, 2.0])
        >>> estimators.mutual_information_knn(x, x, k=1)
        tensor(1.5000)

    Reference:
        Kraskov, Stoegbauer and Grassberger (2004). Estimating mutual information. Physical Review
        E 69, equations 8 and 9.
        Ross (2014). Mutual information between discrete and continuous data sets. PLoS ONE 9.
        Frenzel and Pompe (2007). Partial mutual information for coupling analysis of multivariate
        time series. Physical Review Letters 99.

    See also:
        `torch_infotheory.estimators.mutual_information_from_labels`, for two discrete variables;
        `torch_infotheory.estimators.mutual_information_bound`, with a gradient.
    """
    name = "mutual_information_knn"
    _arguments.choice(name, "method", method, ("ksg1", "ksg2", "ross"))
    nats = _arguments.nats_in(name, base)
    if z is not None and method != "ksg1":
        raise ValueError(f"{name}: z goes with method 'ksg1', not {method!r}")
    if method == "ross":
        samples, labels = _one_discrete(name, x, y)
        dtype = samples.dtype
        samples = _arguments.samples_of(name, "samples", samples)
        _same_number(name, samples=samples, labels=labels)
        _arguments.positive_int(name, "k", k)
        estimate = _finite_or_nan(lambda samples: _ross(samples, labels, k), samples)
    else:
        given = {"x": x, "y": y} if z is None else {"x": x, "y": y, "z": z}
        variables = {key: _arguments.samples_of(name, key, value) for key, value in given.items()}
        dtype = (
            torch.result_type(x, y) if x.dim() == y.dim() else torch.promote_types(x.dtype, y.dtype)
        )
        _same_number(name, **variables)
        of = {"ksg1": _ksg1 if z is None else _frenzel_pompe, "ksg2": _ksg2}[method]
        estimate = _finite_or_nan(
            lambda *variables: of(k, *variables), *variables.values(), needs=_more_than(name, k)
        )
    return ((estimate.clamp_min(0) if clip else estimate) / nats).to(dtype)


def kl_divergence_knn(
    x: Tensor, y: Tensor, k: int = 3, *, base: float | None = None, clip: bool = False
) -> Tensor:
    """Return an estimate of the Kullback-Leibler divergence of two densities from their samples.

    ρ_i is the Euclidean distance of x_i to its k-th neighbor among the other x, and ν_i to its k-th
    neighbor among the y::

        D(p || q) = (D/N) sum log(ν_i / ρ_i) + log(M / (N - 1))

    Args:
        x: N samples of p, shape (N,) or (N, D).
        y: M samples of q, shape (M,) or (M, D).
        k: Which neighbor, below N and at most M.
        base: The base of the logarithm: None gives nats, 2 gives bits.
        clip: Whether an estimate below 0 becomes 0.

    Returns:
        Tensor without dimensions, of the dtype that the samples promote to.

    Domain:
        A sample that is not finite gives NaN. Samples of x that coincide give +inf, samples of x
        and y that coincide -inf, and both together NaN. Where q has no mass near p the true
        divergence is infinite; the estimate is finite and grows with the number of samples.

    Gradient:
        By x and y, of any order, with the neighbors as they are.

    Raises:
        TypeError: ``x`` or ``y`` is no floating tensor.
        RuntimeError: Shapes or devices do not fit.
        ValueError: k is not below N, or above M.
        ImportError: SciPy is not there (samples on the CPU).

    Example:
        The others of x are at distance 1, those of y at distance 2, and M = N - 1.

        >>> import torch
        >>> from torch_infotheory import estimators
        >>> p, q = torch.tensor([0.0, 1.0]), torch.tensor([2.0])
        >>> estimators.kl_divergence_knn(p, q, k=1)  # (log 2) / 2
        tensor(0.3466)

    Reference:
        Wang, Kulkarni and Verdu (2009). Divergence estimation for multidimensional densities via
        k-nearest-neighbor distances. IEEE Transactions on Information Theory 55, equation 14.

    See also:
        `torch_infotheory.kl_divergence`, of discrete distributions.
    """
    name = "kl_divergence_knn"
    of_p = _arguments.samples_of(name, "x", x)
    of_q = _arguments.samples_of(name, "y", y)
    nats = _arguments.nats_in(name, base)
    if of_p.shape[1] != of_q.shape[1] or of_p.device != of_q.device:
        raise RuntimeError(
            f"{name}: expected samples of one dimension and device, "
            f"got x {list(x.shape)} on {x.device} and y {list(y.shape)} on {y.device}"
        )
    _arguments.positive_int(name, "k", k)
    if len(of_q) < k:
        raise ValueError(f"{name}: k: expected at most the {len(of_q)} samples of y, got {k}")
    estimate = _finite_or_nan(
        lambda x, y: _wang_kulkarni_verdu(x, y, k), of_p, of_q, needs=_more_than(name, k)
    )
    return ((estimate.clamp_min(0) if clip else estimate) / nats).to(
        torch.promote_types(x.dtype, y.dtype)
    )


# Arguments


def _more_than(function: str, bound: int, what: str = "k") -> Callable[[int], None]:
    _arguments.positive_int(function, what, bound)

    def check(samples: int) -> None:
        if samples <= bound:
            raise ValueError(
                f"{function}: expected more samples than {what}, "
                f"got {samples} samples and {what} = {bound}"
            )

    return check


def _finite_or_nan(
    estimate: Callable[..., Tensor],
    *variables: Tensor,
    needs: Callable[[int], None] = lambda samples: None,
) -> Tensor:
    needs(len(variables[0]))
    if all(bool(x.isfinite().all()) for x in variables):
        return estimate(*variables)
    return sum(x.sum() for x in variables) * torch.nan  # type: ignore[return-value]


def _same_number(function: str, **variables: Tensor) -> None:
    numbers = {len(samples) for samples in variables.values()}
    devices = {samples.device for samples in variables.values()}
    if len(numbers) > 1 or len(devices) > 1:
        came = ", ".join(f"{key} {list(x.shape)} on {x.device}" for key, x in variables.items())
        raise RuntimeError(f"{function}: expected as many samples of each, on one device: {came}")


def _one_discrete(function: str, x: object, y: object) -> tuple[Tensor, Tensor]:
    pair = [_arguments.a_tensor(function, name, value) for name, value in (("x", x), ("y", y))]
    samples = [tensor for tensor in pair if tensor.is_floating_point()]
    labels = [tensor for tensor in pair if not tensor.is_floating_point()]
    if len(samples) != 1 or labels[0].is_complex():
        raise TypeError(
            f"{function}: method 'ross' takes one floating tensor and one of integers, "
            f"got {pair[0].dtype} and {pair[1].dtype}"
        )
    if labels[0].dim() != 1:
        raise RuntimeError(f"{function}: expected labels (N,), got {list(labels[0].shape)}")
    return samples[0], labels[0]


def _window(function: str, window_length: object, samples: int) -> int:
    if window_length is None:
        window_length = math.floor(math.sqrt(samples) + 0.5)
    m = _arguments.positive_int(function, "window_length", window_length) if samples else 0
    if not 2 <= 2 * m < samples:
        raise ValueError(
            f"{function}: window_length: expected at least 1 and less than half of the {samples} "
            f"samples, got {m}"
        )
    return m


# Entropy


def _log_unit_ball(dimensions: int, p: float) -> float:
    """The volume of the ball of radius 1."""
    if p == math.inf:
        return dimensions * math.log(2)
    return dimensions / 2 * math.log(math.pi) - math.lgamma(dimensions / 2 + 1)


def _digamma(number: int) -> float:
    return float(torch.tensor(float(number), dtype=torch.float64).digamma())


def _log_distance(x: Tensor, y: Tensor, p: float) -> Tensor:
    gap = x - y
    return gap.abs().amax(1).log() if p == math.inf else gap.square().sum(1).log() / 2


def _kozachenko_leonenko(x: Tensor, k: int, p: float) -> Tensor:
    samples, dimensions = x.shape
    log_radius = _log_distance(x, x[kth_neighbor(x, k, p)], p)
    constant = _digamma(samples) - _digamma(k) + _log_unit_ball(dimensions, p)
    return dimensions * log_radius.mean() + constant


def _gaussian(x: Tensor) -> Tensor:
    dimensions = x.shape[1]
    covariance = x.T.cov().reshape(dimensions, dimensions)
    return (dimensions * math.log(2 * math.pi * math.e) + covariance.logdet()) / 2


def _padded(x: Tensor, m: int) -> Tensor:
    return torch.cat([x[:1].expand(m), x, x[-1:].expand(m)])


def _vasicek(x: Tensor, m: int) -> Tensor:
    padded = _padded(x, m)
    return ((padded[2 * m :] - padded[: -2 * m]) * (len(x) / (2 * m))).log().mean()


def _van_es(x: Tensor, m: int) -> Tensor:
    n = len(x)
    harmonic = torch.arange(m, n + 1, dtype=x.dtype, device=x.device).reciprocal().sum()
    spacings = (x[m:] - x[:-m]) * ((n + 1) / m)
    return spacings.log().mean() + harmonic + math.log(m / (n + 1))


def _ebrahimi(x: Tensor, m: int) -> Tensor:
    n, padded = len(x), _padded(x, m)
    rank = torch.arange(n, dtype=x.dtype, device=x.device)
    width = 1 + torch.minimum(rank, n - 1 - rank).clamp_max(m) / m
    return (n * (padded[2 * m :] - padded[: -2 * m]) / (width * m)).log().mean()


def _correa(x: Tensor, m: int) -> Tensor:
    windows = _padded(x, m).unfold(0, 2 * m + 1, 1)
    rank = torch.arange(-m, m + 1, dtype=x.dtype, device=x.device)
    gap = windows - windows.mean(1, keepdim=True)
    squares = len(x) * gap.square().sum(1)
    # Equal numbers have an infinite density, and so an infinite slope.
    slope = (gap * rank).sum(1) / torch.where(squares > 0, squares, 1.0)
    return -torch.where(squares > 0, slope, torch.inf).log().mean()


SPACINGS: dict[str, Callable[[Tensor, int], Tensor]] = {
    "vasicek": _vasicek,
    "van_es": _van_es,
    "ebrahimi": _ebrahimi,
    "correa": _correa,
}


# Mutual information and divergence


def _radius(x: Tensor, neighbor: Tensor) -> Tensor:
    return (x - x[neighbor]).abs().amax(1)


def _mean_digamma(counts: Tensor, like: Tensor) -> Tensor:
    return counts.to(like.dtype).digamma().mean()


def _ksg1(k: int, x: Tensor, y: Tensor) -> Tensor:
    x, y = x.detach(), y.detach()
    pair = torch.cat([x, y], 1)
    radius = _radius(pair, kth_neighbor(pair, k, math.inf))
    of_x, of_y = (_mean_digamma(count_within(v, radius, strictly=True) + 1, x) for v in (x, y))
    return _digamma(k) + _digamma(len(x)) - of_x - of_y


def _ksg2(k: int, x: Tensor, y: Tensor) -> Tensor:
    x, y = x.detach(), y.detach()
    pair = torch.cat([x, y], 1)
    # The point itself may be among them, at distance 0.
    neighbors = nearest(pair, pair, k + 1, math.inf)
    of_x, of_y = (
        _mean_digamma(count_within(v, _extent(v, neighbors), strictly=False), x) for v in (x, y)
    )
    return _digamma(k) - 1 / k + _digamma(len(x)) - of_x - of_y


def _extent(x: Tensor, neighbors: Tensor) -> Tensor:
    return (x.unsqueeze(1) - x[neighbors]).abs().amax((1, 2))


def _frenzel_pompe(k: int, x: Tensor, y: Tensor, z: Tensor) -> Tensor:
    x, y, z = x.detach(), y.detach(), z.detach()
    triple = torch.cat([x, y, z], 1)
    radius = _radius(triple, kth_neighbor(triple, k, math.inf))
    of_xz, of_yz, of_z = (
        _mean_digamma(count_within(v, radius, strictly=True) + 1, x)
        for v in (torch.cat([x, z], 1), torch.cat([y, z], 1), z)
    )
    return _digamma(k) - of_xz - of_yz + of_z


def _ross(x: Tensor, labels: Tensor, k: int) -> Tensor:
    x = x.detach()
    codes, sizes = torch.unique(labels, return_inverse=True, return_counts=True)[1:]
    kept = sizes[codes] > 1
    x, codes = x[kept], codes[kept]
    if len(x) == 0:
        return x.new_full((), torch.nan)
    radius = torch.empty_like(x[:, 0])
    for code in torch.unique(codes).tolist():
        members = (codes == code).nonzero().squeeze(1)
        same = x[members]
        radius[members] = _radius(same, kth_neighbor(same, min(k, len(same) - 1), math.inf))
    own = sizes[codes]
    within = count_within(x, radius, strictly=False)
    return (
        _mean_digamma((own - 1).clamp_max(k), x)
        + _digamma(len(x))
        - _mean_digamma(own, x)
        - _mean_digamma(within, x)
    )


def _wang_kulkarni_verdu(x: Tensor, y: Tensor, k: int) -> Tensor:
    (samples, dimensions), p = x.shape, 2.0
    among_x = _log_distance(x, x[kth_neighbor(x, k, p)], p)
    among_y = _log_distance(x, y[nearest(y, x, k, p)[:, k - 1]], p)
    return dimensions * (among_y - among_x).mean() + math.log(len(y) / (samples - 1))
