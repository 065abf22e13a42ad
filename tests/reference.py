"""Every quantity in float64, as a book prints it: the values the tests expect.

Knows NumPy and mpmath; must not know torch or the package under test. The formulas hold in
the interior of the domain and for probabilities of 0. They are analytic, so that `gradient` can
differentiate them by a complex step, whose error is rounding alone. What happens at infinities, NaN
and negative probabilities is written down case by case in test_edges.py.
"""

from collections.abc import Callable, Sequence
from functools import cache

import mpmath
import numpy as np

Array = np.ndarray
Axes = tuple[int, ...]


def xlogy(p: Array, q: Array) -> Array:
    """p log q, and 0 where p is, in the precision of the inputs."""
    return np.where(p == 0, 0, p * np.log(np.where(p == 0, 1, q)))


def distribution(x: Array, axes: Axes, kind: str) -> Array:
    """The probabilities that `x` states along `axes`."""
    if kind == "probs":
        return x
    if kind == "log_probs":
        return np.exp(x)
    if kind == "counts":
        return x / x.sum(axes, keepdims=True)
    weights = np.exp(x - x.real.max(axes, keepdims=True))
    return weights / weights.sum(axes, keepdims=True)


# Measures of one or two distributions along `axes`, which keep them as dimensions of size 1.


def self_information(p: Array, axes: Axes) -> Array:
    return -np.log(p)


def entropy(p: Array, axes: Axes) -> Array:
    return -xlogy(p, p).sum(axes, keepdims=True)


def perplexity(p: Array, axes: Axes) -> Array:
    return np.exp(entropy(p, axes))


def cross_entropy(p: Array, q: Array, axes: Axes) -> Array:
    return -xlogy(p, q).sum(axes, keepdims=True)


def kl_divergence(p: Array, q: Array, axes: Axes) -> Array:
    return cross_entropy(p, q, axes) - entropy(p, axes)


def js_divergence(p: Array, q: Array, axes: Axes, weight: float = 0.5) -> Array:
    m = (1 - weight) * p + weight * q
    return (1 - weight) * kl_divergence(p, m, axes) + weight * kl_divergence(q, m, axes)


def js_distance(p: Array, q: Array, axes: Axes) -> Array:
    return np.sqrt(js_divergence(p, q, axes))


def jeffreys_divergence(p: Array, q: Array, axes: Axes) -> Array:
    return kl_divergence(p, q, axes) + kl_divergence(q, p, axes)


def squared_hellinger_distance(p: Array, q: Array, axes: Axes) -> Array:
    return np.square(np.sqrt(p) - np.sqrt(q)).sum(axes, keepdims=True) / 2


def hellinger_distance(p: Array, q: Array, axes: Axes) -> Array:
    return np.sqrt(squared_hellinger_distance(p, q, axes))


def bhattacharyya_coefficient(p: Array, q: Array, axes: Axes) -> Array:
    return np.sqrt(p * q).sum(axes, keepdims=True)


def total_variation_distance(p: Array, q: Array, axes: Axes) -> Array:
    gap = p - q
    return (np.sign(gap.real) * gap).sum(axes, keepdims=True) / 2


def chi_squared_divergence(p: Array, q: Array, axes: Axes) -> Array:
    return unless_both_0(p, q, np.square(p - q) / q).sum(axes, keepdims=True)


# Measures of an order `alpha`.


def unless_both_0(p: Array, q: Array, term: Array) -> Array:
    return np.where((p == 0) & (q == 0), 0, term)


def mixed_powers(p: Array, q: Array, alpha: float) -> Array:
    return unless_both_0(p, q, p**alpha * q ** (1 - alpha))


def tsallis_entropy(p: Array, axes: Axes, alpha: float) -> Array:
    if alpha == 1:
        return entropy(p, axes)
    return (p - p**alpha).sum(axes, keepdims=True) / (alpha - 1)


def renyi_entropy(p: Array, axes: Axes, alpha: float) -> Array:
    total = p.sum(axes, keepdims=True)
    if alpha == 1:
        return entropy(p, axes) / total
    return np.log((p**alpha).sum(axes, keepdims=True) / total) / (1 - alpha)


def renyi_divergence(p: Array, q: Array, axes: Axes, alpha: float) -> Array:
    total = p.sum(axes, keepdims=True)
    if alpha == 1:
        return kl_divergence(p, q, axes) / total
    return np.log(mixed_powers(p, q, alpha).sum(axes, keepdims=True) / total) / (alpha - 1)


def alpha_divergence(p: Array, q: Array, axes: Axes, alpha: float) -> Array:
    excess = (p - q).sum(axes, keepdims=True)
    if alpha == 1:
        return kl_divergence(p, q, axes) - excess
    if alpha == 0:
        return kl_divergence(q, p, axes) + excess
    mixed = mixed_powers(p, q, alpha) - alpha * p - (1 - alpha) * q
    return mixed.sum(axes, keepdims=True) / (alpha * (alpha - 1))


# Measures of a joint distribution of X, along the axes `x`, and Y, along the axes `y`.


def joint_entropy(p: Array, x: Axes, y: Axes) -> Array:
    return entropy(p, x + y)


def marginal_entropy(p: Array, x: Axes, y: Axes) -> Array:
    return entropy(p.sum(y, keepdims=True), x)


def conditional_entropy(p: Array, x: Axes, y: Axes) -> Array:
    return joint_entropy(p, x, y) - marginal_entropy(p, x, y)


def mutual_information(p: Array, x: Axes, y: Axes) -> Array:
    return marginal_entropy(p, x, y) + marginal_entropy(p, y, x) - joint_entropy(p, x, y)


def variation_of_information(p: Array, x: Axes, y: Axes) -> Array:
    return conditional_entropy(p, x, y) + conditional_entropy(p, y, x)


def pointwise_mutual_information(p: Array, x: Axes, y: Axes) -> Array:
    return np.log(p / (p.sum(y, keepdims=True) * p.sum(x, keepdims=True)))


def normalized_pointwise_mutual_information(p: Array, x: Axes, y: Axes) -> Array:
    return pointwise_mutual_information(p, x, y) / -np.log(p)


def evaluate(
    formula: Callable[..., Array],
    inputs: Sequence[Array],
    axes: Sequence[Axes],
    kinds: Sequence[str],
    *,
    base: float | None = None,
    keepdim: bool = False,
    elementwise: bool = False,
    is_root: bool = False,
    reduction: str = "none",
) -> Array:
    """`formula` of the inputs, with the options that the functions of the package take."""
    arrays = [np.atleast_1d(x) for x in inputs]  # a 0-d input is a distribution with one class
    dims = tuple(dim for group in axes for dim in group)
    value = formula(
        *(distribution(x, dims, kind) for x, kind in zip(arrays, kinds, strict=True)), *axes
    )
    if all(x.ndim == 0 for x in inputs):
        value = value[0]
    elif not (keepdim or elementwise):
        value = value.squeeze(dims)
    if base is not None:
        value = value / (np.sqrt(np.log(base)) if is_root else np.log(base))
    return reduce(value, reduction)


# Losses over classes along dimension 1, or 0 where the input has no batch.


def nll_loss(
    input: Array,
    target: Array,
    weight: Array | None = None,
    *,
    reduction: str = "mean",
    ignore_index: int = -100,
    label_smoothing: float = 0.0,
) -> Array:
    axis = min(1, input.ndim - 1)
    classes = input.shape[axis]
    w = np.ones(classes) if weight is None else weight
    if target.ndim < input.ndim:  # class indices
        kept = target != ignore_index
        index = np.where(kept, target, 0)
        p, total = np.moveaxis(np.eye(classes)[index], -1, axis), (kept * w[index]).sum()
    else:
        kept, p, total = True, target, input.size / classes
    p = (1 - label_smoothing) * p + label_smoothing / classes
    terms = p * np.moveaxis(np.moveaxis(input, axis, -1) * w, -1, axis)
    return reduce(kept * -terms.sum(axis), reduction, total)


def cross_entropy_loss(input: Array, *arguments: Array, **options: object) -> Array:
    axis = min(1, input.ndim - 1)
    return nll_loss(np.log(distribution(input, (axis,), "logits")), *arguments, **options)


def kl_div(
    input: Array, target: Array, *, reduction: str = "mean", log_target: bool = False
) -> Array:
    p = np.exp(target) if log_target else target
    return reduce(xlogy(p, p) - p * input, reduction)


def reduce(losses: Array, reduction: str, total: float | None = None) -> Array:
    if reduction == "none":
        return losses
    return losses.sum() / {"sum": 1, "mean": losses.size if total is None else total}[reduction]


def gradient(
    function: Callable[..., Array], inputs: Sequence[Array], cotangent: Array, step: float = 1e-20
) -> list[Array]:
    """Of `(cotangent * function(*inputs)).sum()`: the imaginary part that a complex step leaves."""
    gradients, seen = [], cotangent != 0  # a value without cotangent may be infinite
    for number, x in enumerate(inputs):
        stepped_type = np.result_type(x, np.complex64)
        gradients.append(np.zeros(x.shape, stepped_type).real)
        for element in np.ndindex(x.shape):
            stepped = x.astype(stepped_type)
            stepped[element] += 1j * step
            value = function(*inputs[:number], stepped, *inputs[number + 1 :])
            gradients[-1][element] = (cotangent * value.imag)[seen].sum() / step
    return gradients


# Divergences in 50 digits, for distributions so close that float64 would lose them.


def exact_kl_divergence(p: Array, q: Array, kind: str) -> float:
    """Sum of p log(p / q) - p + q, from which the rounding of the totals of p and q cancels."""
    with mpmath.workdps(50):
        return float(_divergence(_exact(p, kind), _exact(q, kind)))


def exact_js_divergence(p: Array, q: Array, kind: str, weight: float = 0.5) -> float:
    with mpmath.workdps(50):
        p, q = _exact(p, kind), _exact(q, kind)
        m = [(1 - weight) * a + weight * b for a, b in zip(p, q, strict=True)]
        return float((1 - weight) * _divergence(p, m) + weight * _divergence(q, m))


def _exact_sum(term: Callable[[mpmath.mpf, mpmath.mpf], mpmath.mpf]) -> Callable[..., float]:
    def divergence(p: Array, q: Array, kind: str) -> float:
        with mpmath.workdps(50):
            return float(mpmath.fsum(map(term, _exact(p, kind), _exact(q, kind))))

    return divergence


exact_jeffreys_divergence = _exact_sum(lambda a, b: (a - b) * mpmath.log(a / b))
exact_squared_hellinger_distance = _exact_sum(
    lambda a, b: (mpmath.sqrt(a) - mpmath.sqrt(b)) ** 2 / 2
)
exact_chi_squared_divergence = _exact_sum(lambda a, b: (a - b) ** 2 / b)


def exact_alpha_divergence(p: Array, q: Array, kind: str, alpha: float) -> float:
    def term(a: mpmath.mpf, b: mpmath.mpf) -> mpmath.mpf:
        return a**alpha * b ** (1 - alpha) - alpha * a - (1 - alpha) * b

    return _exact_sum(term)(p, q, kind) / (alpha * (alpha - 1))


def exact_renyi_divergence(p: Array, q: Array, kind: str, alpha: float) -> float:
    """Without what the rounding of the totals adds, as the alpha divergence has it."""
    with mpmath.workdps(50):
        a, b = _exact(p, kind), _exact(q, kind)
        total, excess = mpmath.fsum(a), mpmath.fsum(b) - mpmath.fsum(a)
        power = mpmath.fsum(x**alpha * y ** (1 - alpha) for x, y in zip(a, b, strict=True))
        return float(mpmath.log((power - (1 - alpha) * excess) / total) / (alpha - 1))


def exact_mutual_information(joint: Array, kind: str) -> float:
    with mpmath.workdps(50):
        cells = np.array(_exact(joint.ravel(), kind)).reshape(joint.shape)
        independent = np.outer(cells.sum(1), cells.sum(0))
        return float(_divergence(cells.ravel(), independent.ravel()))


def _exact(x: Array, kind: str) -> Sequence[mpmath.mpf]:
    return _exact_numbers(x.astype(np.float64).tobytes(), kind)


@cache  # for all divergences and devices
def _exact_numbers(memory: bytes, kind: str) -> Sequence[mpmath.mpf]:
    numbers = [mpmath.mpf(float(value)) for value in np.frombuffer(memory)]
    if kind == "probs":
        return numbers
    weights = [mpmath.exp(value) for value in numbers]
    total = mpmath.fsum(weights) if kind == "logits" else 1
    return [weight / total for weight in weights]


def _divergence(p: Sequence[mpmath.mpf], q: Sequence[mpmath.mpf]) -> mpmath.mpf:
    return mpmath.fsum(a * mpmath.log(a / b) - a + b for a, b in zip(p, q, strict=True))
