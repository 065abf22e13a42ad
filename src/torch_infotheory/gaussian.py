"""The measures of multivariate normal distributions, in closed form.

Every function takes covariances of D variables and returns one value per distribution. It is the
continuous side of `torch_infotheory.measures`: an entropy here is a differential entropy, which may
be negative and changes with the unit of the variables; mutual information and divergence do not,
and are never below 0.

Shared arguments:
    covariance: Covariance matrices, shape (..., D, D), symmetric, which nothing checks; with
        ``diagonal`` variances, shape (..., D). None where ``scale_tril`` is given.
    x, y, z: The variables that make up X, Y and Z, each the number of one or a sequence of several;
        negative ones count from the end. The others are ignored (integrated out).
    scale_tril: Instead of the covariance L L^T its lower-triangular factor L, shape (..., D, D), as
        in `torch.distributions.MultivariateNormal`. The lower triangle is read.
    diagonal: Whether the covariances are diagonal, and stated by vectors of variances.
    base: The base of the logarithm, which sets the unit: None for nats, 2 for bits, 10 for
        hartleys. Any finite number above 0 but 1.

Covariances factor by Cholesky's method. Values are those of formulas in which nothing cancels, so
that mutual information near independence and the divergence of nearly equal distributions keep
their digits. float16 and bfloat16 are computed in float32; results have the type that the inputs
promote to.

Domain:
    Covariances that are positive definite to working precision. A NaN is an error too.

Gradient:
    The functions' docstrings give the derivative in nats, by a symmetric matrix. By a factor L it
    is the lower triangle of 2 (df/dcovariance) L. All functions can be differentiated any number of
    times, and in forward mode.

Raises:
    ValueError: ``base`` is not finite, not positive, or 1; a covariance is stated twice or not at
        all.
    TypeError: An argument has a wrong type; a tensor holds integers, booleans or complex numbers.
    IndexError: A variable is out of range.
    RuntimeError: Shapes do not fit; there are no variables; a variable is named twice.
    torch.linalg.LinAlgError, which is a RuntimeError: A covariance is not positive definite; a
        variance, or an entry on the diagonal of ``scale_tril``, is not positive.

Reference:
    Abramowitz and Stegun (1964). Handbook of Mathematical Functions.
    Cover and Thomas (2006). Elements of Information Theory, second edition. Wiley.
    Gelfand and Yaglom (1959). Calculation of the amount of information about a random function
        contained in another such function. American Mathematical Society Translations 12.
    Kingma and Welling (2014). Auto-encoding variational Bayes. ICLR.
    Kullback (1959). Information Theory and Statistics. Wiley.
"""

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

import torch
from torch import Tensor

from torch_infotheory._arguments import nats_in
from torch_infotheory._docstrings import explain_arguments as _explain_arguments

__all__ = [
    "entropy",
    "joint_entropy",
    "conditional_entropy",
    "mutual_information",
    "conditional_mutual_information",
    "kl_divergence",
    "kl_standard_normal",
]

Variables: TypeAlias = int | Sequence[int]


def entropy(
    covariance: Tensor | None = None,
    *,
    scale_tril: Tensor | None = None,
    diagonal: bool = False,
    base: float | None = None,
) -> Tensor:
    """Return the differential entropy of each normal distribution; its mean has no influence.

    ::

        h(X) = -E log f(X) = log det(2 pi e covariance) / 2

    Args:
        covariance, scale_tril, diagonal, base: Shared arguments, see `torch_infotheory.gaussian`.

    Returns:
        Tensor of the batch shape; any real number.

    Domain:
        As for every function.

    Gradient:
        dh/dcovariance = covariance^-1 / 2.

    Raises:
        The errors of every function.

    Example:
        A standard normal variable has log2(2 pi e) / 2 bits. A standard deviation of 1/8 takes 3
        bits off.

        >>> import torch
        >>> from torch_infotheory import gaussian
        >>> gaussian.entropy(torch.tensor([[1.0], [1 / 64]]), diagonal=True, base=2)
        tensor([ 2.0471, -0.9529])

    Reference:
        Cover and Thomas (2006), theorem 8.4.1.

    See also:
        `torch_infotheory.entropy`, of discrete distributions; `joint_entropy`, of some of the
        variables.
    """
    given = _covariance("entropy", covariance, scale_tril, diagonal)
    return _result("entropy", _entropy(given.deviations()), base, given.dtype)


def joint_entropy(
    covariance: Tensor | None,
    x: Variables,
    y: Variables,
    *,
    scale_tril: Tensor | None = None,
    diagonal: bool = False,
    base: float | None = None,
) -> Tensor:
    """Return the joint differential entropy of X and Y.

    ::

        h(X, Y) = -E log f(X, Y) = log det(2 pi e covariance_xy) / 2

    Args:
        covariance, x, y, scale_tril, diagonal, base: Shared arguments, see
            `torch_infotheory.gaussian`.

    Returns:
        Tensor of the batch shape; any real number.

    Domain:
        As for every function.

    Gradient:
        dh/dcovariance_xy = covariance_xy^-1 / 2, and 0 for the variables that are ignored.

    Raises:
        The errors of every function.

    Example:
        The determinant is 1 * 1 - 0.6^2 = 0.8^2: log2(0.8) = -0.3219 bits beside two independent
        variables, of log2(2 pi e) = 4.0942 bits.

        >>> import torch
        >>> from torch_infotheory import gaussian
        >>> gaussian.joint_entropy(torch.tensor([[1.0, 0.6], [0.6, 1.0]]), 0, 1, base=2)
        tensor(3.7723)

    Reference:
        Cover and Thomas (2006), theorem 8.4.1.

    See also:
        `entropy`, of all variables; `conditional_entropy`, `mutual_information`.
    """
    op = "joint_entropy"
    given = _covariance(op, covariance, scale_tril, diagonal)
    factor, _ = given.factor(x=x, y=y)
    return _result(op, _entropy(_diagonal(factor)), base, given.dtype)


def conditional_entropy(
    covariance: Tensor | None,
    x: Variables,
    y: Variables,
    *,
    scale_tril: Tensor | None = None,
    diagonal: bool = False,
    base: float | None = None,
) -> Tensor:
    """Return the conditional differential entropy of Y given X.

    ::

        h(Y | X) = h(X, Y) - h(X) = log det(2 pi e covariance_(y|x)) / 2

    Args:
        covariance, x, y, scale_tril, diagonal, base: Shared arguments, see
            `torch_infotheory.gaussian`. Exchange x and y for h(X | Y).

    Returns:
        Tensor of the batch shape; any real number.

    Domain:
        As for every function. covariance_y|x is what the best linear prediction of Y by X leaves.

    Gradient:
        dh/dcovariance_xy = (covariance_xy^-1 - covariance_x^-1) / 2, the second term for the block
        of X alone.

    Raises:
        The errors of every function.

    Example:
        X leaves Y a variance of 1 - 0.6^2 = 0.8^2: log2(0.8) + log2(2 pi e) / 2 bits.

        >>> import torch
        >>> from torch_infotheory import gaussian
        >>> gaussian.conditional_entropy(torch.tensor([[1.0, 0.6], [0.6, 1.0]]), 0, 1, base=2)
        tensor(1.7252)

    Reference:
        Cover and Thomas (2006), section 8.4.

    See also:
        `joint_entropy`, `mutual_information`; `torch_infotheory.conditional_entropy`, of tables.
    """
    op = "conditional_entropy"
    given = _covariance(op, covariance, scale_tril, diagonal)
    factor, (known, _) = given.factor(x=x, y=y)
    return _result(op, _entropy(_diagonal(factor)[..., known:]), base, given.dtype)


def mutual_information(
    covariance: Tensor | None,
    x: Variables,
    y: Variables,
    *,
    scale_tril: Tensor | None = None,
    diagonal: bool = False,
    base: float | None = None,
) -> Tensor:
    """Return the mutual information of X and Y.

    ::

        I(X; Y) = h(X) + h(Y) - h(X, Y) = -sum_i log(1 - rho_i^2) / 2

    where rho_i are the canonical correlations of X and Y.

    Args:
        covariance, x, y, scale_tril, diagonal, base: Shared arguments, see
            `torch_infotheory.gaussian`.

    Returns:
        Tensor of the batch shape.

    Domain:
        As for every function. Never below 0, and accurate also where X and Y are nearly
        independent; from a factor, that is where X are its first variables and Y the next ones.

    Gradient:
        dI/dcovariance_xy = (covariance_x^-1 + covariance_y^-1 - covariance_xy^-1) / 2, the first
        two terms for the blocks of X and of Y alone.

    Raises:
        The errors of every function.

    Example:
        -log2(1 - 0.6^2) / 2 = -log2(0.8) bits.

        >>> import torch
        >>> from torch_infotheory import gaussian
        >>> gaussian.mutual_information(torch.tensor([[1.0, 0.6], [0.6, 1.0]]), 0, 1, base=2)
        tensor(0.3219)

    Reference:
        Gelfand and Yaglom (1959); Cover and Thomas (2006), example 8.5.1.

    See also:
        `conditional_mutual_information`; `torch_infotheory.mutual_information`, of tables.
    """
    op = "mutual_information"
    given = _covariance(op, covariance, scale_tril, diagonal)
    factor, (size, _) = given.factor(x=x, y=y)
    return _result(op, _information(factor, size), base, given.dtype)


def conditional_mutual_information(
    covariance: Tensor | None,
    x: Variables,
    y: Variables,
    z: Variables,
    *,
    scale_tril: Tensor | None = None,
    diagonal: bool = False,
    base: float | None = None,
) -> Tensor:
    """Return the conditional mutual information of X and Y given Z.

    ::

        I(X; Y | Z) = h(X | Z) + h(Y | Z) - h(X, Y | Z) = -sum_i log(1 - rho_i^2) / 2

    where rho_i are the canonical correlations of what the best linear prediction by Z leaves of X
    and of Y, the partial correlation where both are single variables.

    Args:
        covariance, x, y, z, scale_tril, diagonal, base: Shared arguments, see
            `torch_infotheory.gaussian`.

    Returns:
        Tensor of the batch shape.

    Domain:
        As for every function. Never below 0, and accurate also where X and Y are nearly
        independent given Z.

    Gradient:
        dI/dcovariance = (covariance_xz^-1 + covariance_yz^-1 - covariance_xyz^-1 -
        covariance_z^-1) / 2, each term for its own block.

    Raises:
        The errors of every function.

    Example:
        X and Y are Z plus independent noise of variance 1 each: all that they share is Z. What they
        share of a sum Z = X + Y of independent variables, nothing, becomes much once Z is known.

        >>> import torch
        >>> from torch_infotheory import gaussian
        >>> fork = torch.tensor([[2.0, 1.0, 1.0], [1.0, 2.0, 1.0], [1.0, 1.0, 1.0]])
        >>> gaussian.conditional_mutual_information(fork, 0, 1, 2)
        tensor(0.)
        >>> noisy_sum = torch.tensor([[1.0, 0.0, 1.0], [0.0, 1.0, 1.0], [1.0, 1.0, 3.0]])
        >>> gaussian.conditional_mutual_information(noisy_sum, 0, 1, 2, base=2)  # correlation -1/2
        tensor(0.2075)

    Reference:
        Gelfand and Yaglom (1959); Cover and Thomas (2006), section 8.5.

    See also:
        `mutual_information`.
    """
    op = "conditional_mutual_information"
    given = _covariance(op, covariance, scale_tril, diagonal)
    factor, (known, size, _) = given.factor(z=z, x=x, y=y)
    return _result(op, _information(factor[..., known:, known:], size), base, given.dtype)


def kl_divergence(
    mean_p: Tensor,
    covariance_p: Tensor | None,
    mean_q: Tensor,
    covariance_q: Tensor | None,
    *,
    scale_tril_p: Tensor | None = None,
    scale_tril_q: Tensor | None = None,
    diagonal: bool = False,
    base: float | None = None,
) -> Tensor:
    """Return the Kullback-Leibler divergence of p from q, both normal distributions.

    ::

        D(p || q) = (tr(S_q^-1 S_p) - D - log det(S_q^-1 S_p) + d^T S_q^-1 d) / 2

    with the covariances S_p and S_q and the difference d of the means.

    Args:
        mean_p, mean_q: The means, shape (..., D).
        covariance_p, covariance_q: The covariances, see ``covariance`` in
            `torch_infotheory.gaussian`. All batch dimensions broadcast.
        scale_tril_p, scale_tril_q: Their factors, see ``scale_tril`` there. One distribution may
            be stated by its covariance and the other by its factor.
        diagonal, base: Shared arguments, see `torch_infotheory.gaussian`.

    Returns:
        Tensor of the broadcast batch shape. It is not symmetric in p and q.

    Domain:
        As for every function. Never below 0, and accurate also where p and q nearly agree.

    Gradient:
        dD/dmean_p = S_q^-1 (mean_p - mean_q), by mean_q its negative; dD/dS_p = (S_q^-1 - S_p^-1) /
        2; dD/dS_q = (S_q^-1 - S_q^-1 (S_p + d d^T) S_q^-1) / 2.

    Raises:
        The errors of every function.

    Example:
        N(0, 1) and N(1, 2^2), of the exercise in docs/chapter.md: log 2 + 2/8 - 1/2 nats, and
        -log 2 + 5/2 - 1/2 nats the other way round.

        >>> import torch
        >>> from torch_infotheory import gaussian
        >>> mean_p, variance_p = torch.tensor([0.0]), torch.tensor([1.0])
        >>> mean_q, variance_q = torch.tensor([1.0]), torch.tensor([4.0])
        >>> gaussian.kl_divergence(mean_p, variance_p, mean_q, variance_q, diagonal=True)
        tensor(0.4431)
        >>> gaussian.kl_divergence(mean_q, variance_q, mean_p, variance_p, diagonal=True)
        tensor(1.3069)

    Reference:
        Kullback (1959), chapter 9.

    See also:
        `kl_standard_normal`; `torch.distributions.kl_divergence`, the same for objects;
        `torch_infotheory.kl_divergence`, of discrete distributions.
    """
    op = "kl_divergence"
    p = _covariance(op, covariance_p, scale_tril_p, diagonal, "_p")
    q = _covariance(op, covariance_q, scale_tril_q, diagonal, "_q")
    means = [_checked(op, "mean_p", mean_p, 1), _checked(op, "mean_q", mean_q, 1)]
    given = (*means, p.tensor, q.tensor)
    if len({t.size(-1) for t in given}) > 1:
        shapes = [list(t.shape) for t in given]
        raise RuntimeError(
            f"{op}: expected as many variables in mean_p, mean_q, {p.argument} and {q.argument}, "
            f"got shapes {', '.join(map(str, shapes))}"
        )
    mean_p, mean_q, s_p, s_q = _promoted(*given)
    gap = mean_p - mean_q
    # With L_q^-1 L_p = I + E and its diagonal 1 + e_i the divergence is a sum of squares and more,
    # |E|^2 / 2 + sum_i (e_i - log(1 + e_i)) + |L_q^-1 d|^2 / 2: no term is below 0.
    if diagonal:
        scale_p, scale_q = s_p.sqrt(), s_q.sqrt()
        e = (s_p - s_q) / (scale_q * (scale_p + scale_q))
        squares = e.square().sum(-1) + (gap / scale_q).square().sum(-1)
    else:
        factor_p, factor_q = p.factor_of(s_p), q.factor_of(s_q)
        scale_p, scale_q = _diagonal(factor_p), _diagonal(factor_q)
        excess = torch.linalg.solve_triangular(factor_q, factor_p - factor_q, upper=False)
        if p.form == q.form == "covariance":
            excess = _excess_of_covariance(s_p - s_q, factor_q, excess)
        e = _diagonal(excess)
        standardised = torch.linalg.solve_triangular(factor_q, gap.unsqueeze(-1), upper=False)
        squares = excess.square().sum((-2, -1)) + standardised.square().sum((-2, -1))
    value = squares / 2 + _minus_log1p(e, (scale_p / scale_q).log()).sum(-1)
    return _result(op, value, base, _common_dtype(*means, p, q))


def kl_standard_normal(mean: Tensor, log_variance: Tensor, *, base: float | None = None) -> Tensor:
    """Return the Kullback-Leibler divergence of independent normal variables from standard ones.

    ::

        D(N(mean, exp(log_variance)) || N(0, 1)) = sum_i (m_i^2 + exp(s_i) - 1 - s_i) / 2

    It is the regulariser of a variational autoencoder.

    Args:
        mean: The means m, shape (..., D).
        log_variance: The natural logarithms s of the variances; broadcasts against the means.
        base: Shared argument, see `torch_infotheory.gaussian`.

    Returns:
        Tensor of the broadcast shape without the last dimension.

    Domain:
        All real numbers; a NaN gives NaN for its own distribution. Never below 0, and accurate also
        near the standard normal distribution.

    Gradient:
        dD/dm = m, dD/ds = (exp(s) - 1) / 2.

    Raises:
        The errors of every function, but for those of covariances.

    Example:
        Moving the mean by 1 costs 1/2 nat; a variance of 4 costs (4 - 1 - log 4) / 2.

        >>> import torch
        >>> from torch_infotheory import gaussian
        >>> mean, variance = torch.tensor([[1.0], [0.0]]), torch.tensor([[1.0], [4.0]])
        >>> gaussian.kl_standard_normal(mean, variance.log())
        tensor([0.5000, 0.8069])

    Reference:
        Kingma and Welling (2014), appendix B.

    See also:
        `kl_divergence`, between any two.
    """
    op = "kl_standard_normal"
    mean, log_variance = (
        _checked(op, "mean", mean, 1),
        _checked(op, "log_variance", log_variance, 1),
    )
    m, s = _promoted(mean, log_variance)
    value = (m.square() / 2 + _minus_log1p(s.expm1(), s) / 2).sum(-1)
    return _result(op, value, base, _common_dtype(mean, log_variance))


@dataclass(frozen=True)
class _Covariance:
    """Covariances as they were given: as matrices, as their factors, or as variances."""

    op: str
    argument: str
    tensor: Tensor  # in float32 at least
    form: Literal["covariance", "scale_tril", "variances"]
    dtype: torch.dtype  # as given

    def factor_of(self, matrices: Tensor) -> Tensor:
        """Return the lower-triangular factors of matrices in this form."""
        if self.form == "scale_tril":
            return matrices.tril()
        try:
            return torch.linalg.cholesky(matrices)
        except torch.linalg.LinAlgError as error:
            raise torch.linalg.LinAlgError(f"{self.op}: {self.argument}: {error}") from None

    def deviations(self) -> Tensor:
        """Return the standard deviation of each variable, given those before it."""
        if self.form == "variances":
            return self.tensor.sqrt()
        return _diagonal(self.factor_of(self.tensor))

    def factor(self, **sets: Variables) -> tuple[Tensor, list[int]]:
        """Return a lower-triangular factor, columns up to their signs, for the variables of these
        sets alone and in this order, and the size of each set."""
        numbers = {name: self.numbers_of(name, chosen) for name, chosen in sets.items()}
        order = [number for chosen in numbers.values() for number in chosen]
        if len(set(order)) < len(order):
            named = " and ".join(f"{name} {chosen}" for name, chosen in sets.items())
            raise RuntimeError(
                f"{self.op}: a variable appears twice in {named} for {self.argument} of shape "
                f"{list(self.tensor.shape)}"
            )
        index = torch.tensor(order, device=self.tensor.device)
        if self.form == "variances":
            factor = self.tensor.sqrt().index_select(-1, index).diag_embed()
        elif self.form == "covariance":
            factor = self.factor_of(self.tensor.index_select(-2, index).index_select(-1, index))
        else:  # rows A of the factor have the covariance A A^T = R^T R, where A^T = Q R
            factor = torch.linalg.qr(self.tensor.tril().index_select(-2, index).mT).R.mT
        return factor, [len(chosen) for chosen in numbers.values()]

    def numbers_of(self, name: str, chosen: object) -> list[int]:
        """The variables that an argument names, counted from the start."""
        numbers = [chosen] if isinstance(chosen, int) else chosen
        if not isinstance(numbers, Sequence) or not all(isinstance(n, int) for n in numbers):
            raise TypeError(
                f"{self.op}: expected {name} to be an int or a sequence of ints, got {chosen!r} of "
                f"type {type(chosen).__name__}"
            )
        if not numbers:
            raise RuntimeError(f"{self.op}: expected {name} to name at least one variable")
        size = self.tensor.size(-1)
        for number in numbers:
            if not -size <= number < size:
                raise IndexError(
                    f"{self.op}: {name} {number} is out of range for {self.argument} of shape "
                    f"{list(self.tensor.shape)}"
                )
        return [number % size for number in numbers]


def _covariance(
    op: str, covariance: object, scale_tril: object, diagonal: bool, suffix: str = ""
) -> _Covariance:
    if (covariance is None) == (scale_tril is None) or (diagonal and scale_tril is not None):
        raise ValueError(
            f"{op}: expected either covariance{suffix}, with or without diagonal=True, or "
            f"scale_tril{suffix}"
        )
    form: Literal["covariance", "scale_tril", "variances"]
    if scale_tril is not None:
        form, argument, given = "scale_tril", f"scale_tril{suffix}", scale_tril
    else:
        form, argument, given = "covariance", f"covariance{suffix}", covariance
        if diagonal:
            form = "variances"
    tensor = _checked(op, argument, given, 1 if diagonal else 2)
    if not diagonal and tensor.size(-2) != tensor.size(-1):
        raise RuntimeError(
            f"{op}: expected {argument} to be square matrices, got shape {list(tensor.shape)}"
        )
    if form == "variances":
        _check_positive(op, f"{argument}, with diagonal=True,", tensor)
    elif form == "scale_tril":
        _check_positive(op, f"the diagonal of {argument}", _diagonal(tensor))
    return _Covariance(op, argument, _promoted(tensor)[0], form, tensor.dtype)


def _checked(op: str, argument: str, value: object, dimensions: int) -> Tensor:
    if not isinstance(value, Tensor):
        raise TypeError(
            f"{op}: expected {argument} to be a tensor, got {value!r} of type "
            f"{type(value).__name__}"
        )
    if not value.is_floating_point():
        raise TypeError(
            f"{op}: expected {argument} to be a floating point tensor, got {value.dtype}"
        )
    if value.dim() < dimensions or value.size(-1) == 0:
        raise RuntimeError(
            f"{op}: expected {argument} of at least {dimensions} dimensions and one variable, got "
            f"shape {list(value.shape)}"
        )
    return value


def _check_positive(op: str, what: str, values: Tensor) -> None:
    # Nobody can look into the tensors of a tracer. vmap lets one see whether all of them are true.
    if torch.compiler.is_compiling() or torch._is_all_true(values > 0):
        return
    raise torch.linalg.LinAlgError(f"{op}: expected {what} to be positive, got {values}")


def _common_dtype(*given: Tensor | _Covariance) -> torch.dtype:
    return functools.reduce(torch.promote_types, (t.dtype for t in given))


def _promoted(*tensors: Tensor) -> tuple[Tensor, ...]:
    """All of them in the one type that the computation takes."""
    dtype = torch.promote_types(_common_dtype(*tensors), torch.float32)
    return tuple(t.to(dtype) for t in tensors)


def _diagonal(matrices: Tensor) -> Tensor:
    return matrices.diagonal(dim1=-2, dim2=-1)


def _result(op: str, nats: Tensor, base: object, dtype: torch.dtype) -> Tensor:
    return (nats / nats_in(op, base)).to(dtype)


def _entropy(deviations: Tensor) -> Tensor:
    of_standard_normal = (1 + math.log(2 * math.pi)) / 2
    return deviations.abs().log().sum(-1) + deviations.size(-1) * of_standard_normal


def _information(factor: Tensor, size: int) -> Tensor:
    """Return the mutual information of the first `size` variables and the others.

    The factor is [[L_x, 0], [W, L_y|x]]. Without any difference of large terms the information is
    log det(I + T T^T) / 2 with T = L_y|x^-1 W, because det(S + W W^T) / det S, where
    S = L_y|x L_y|x^T, is the ratio of Y's determinants without and with X.
    """
    t = torch.linalg.solve_triangular(
        factor[..., size:, size:], factor[..., size:, :size], upper=False
    )
    if t.size(-2) > t.size(-1):
        t = t.mT  # I + T^T T has the same determinant
    rows = t.size(-2)
    identity = torch.eye(rows, dtype=t.dtype, device=t.device).expand(*t.shape[:-2], rows, rows)
    # R^T R = I + T T^T. Its diagonal, R_ii^2 + sum_k<i R_ki^2 = 1 + |T_i|^2, gives R_ii^2 - 1 to
    # the last digits where that is small.
    r = torch.linalg.qr(torch.cat((identity, t.mT), -2)).R
    squares = t.square().sum(-1)
    small = squares < 1
    growth = torch.where(small, squares - r.triu(1).square().sum(-2), 0)
    return torch.where(small, growth.log1p() / 2, _diagonal(r).abs().log()).sum(-1)


def _excess_of_covariance(gap: Tensor, factor_q: Tensor, otherwise: Tensor) -> Tensor:
    """Return E = L_q^-1 L_p - I from the difference S_p - S_q, where p and q are near each other.

    The factors of two covariances that nearly agree differ by their rounding. The difference of the
    covariances themselves has no error: I + E is the factor of I + X, X = L_q^-1 gap L_q^-T.
    """
    x = torch.linalg.solve_triangular(factor_q, gap, upper=False)
    x = torch.linalg.solve_triangular(factor_q, x.mT, upper=False)
    near = x.detach().square().sum((-2, -1), keepdim=True) < 0.25
    x = torch.where(near, x, 0)
    identity = torch.eye(x.size(-1), dtype=x.dtype, device=x.device)
    factor = torch.linalg.cholesky(identity + x)
    # 1 + X_ii = R_ii^2 + sum_k<i R_ik^2, and so R_ii - 1 without a difference from 1.
    below = factor.tril(-1)
    on = (_diagonal(x) - below.square().sum(-1)) / (1 + _diagonal(factor))
    return torch.where(near, below + on.diag_embed(), otherwise)


def _minus_log1p(u: Tensor, log1p: Tensor) -> Tensor:
    """Return u - log(1 + u), which is about u^2 / 2 near 0, given the logarithm for other u.

    log(1 + u) = 2 (s + s^3 / 3 + s^5 / 5 + ...) with s = u / (2 + u), and so u - log(1 + u) =
    s u - 2 s^3 (1 / 3 + s^2 / 5 + ...).                    Abramowitz and Stegun (1964), 4.1.27.
    """
    near = u.abs() < 0.25
    v = torch.where(near, u, 0)
    s = v / (2 + v)
    square = s.square()
    series = torch.zeros_like(s)
    for odd in range(21, 1, -2):  # s^2 < 1 / 49: the next term is below the last digit of float64
        series = series * square + 1 / odd
    return torch.where(near, s * v - 2 * s * square * series, u - log1p)


_explain_arguments([globals()[name] for name in __all__], __doc__)
