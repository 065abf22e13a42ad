"""Losses that take the place of torch's own, and some that torch does not have.

`cross_entropy`, `nll_loss`, `kl_div` and `linear_cross_entropy` have the signatures, defaults,
results, warnings and errors of `torch.nn.functional`; `entropy_loss`, `js_div`, `info_nce`,
`distillation_loss`, `linear_entropy`, `linear_kl_div`, `linear_js_div` and `linear_log_probs` are
new. Every other name of
`torch.nn.functional` is reached through this module unchanged, so that

    from torch_infotheory.nn import functional as F

can stand in place of ``from torch.nn import functional as F``.

The arguments go to one operator each, which checks them, computes, reduces and differentiates. What
is left here is what Python programs see: names, defaults and deprecated arguments.
"""

import warnings
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn import _reduction as _Reduction
from torch.overrides import (
    handle_torch_function,
    has_torch_function_unary,
    has_torch_function_variadic,
)

from torch_infotheory._ops import functions as _functions
from torch_infotheory.measures import Dim, Kind, _kinds_of
from torch_infotheory.nn._arguments import _enum, _not_a_tensor
from torch_infotheory.nn._distillation import distillation_loss
from torch_infotheory.nn._linear import (
    linear_cross_entropy,
    linear_entropy,
    linear_js_div,
    linear_kl_div,
    linear_log_probs,
)
from torch_infotheory.nn.contrastive import info_nce

_ops = _functions(
    ["cross_entropy_loss", "nll_loss", "kl_div", "entropy_loss", "js_div"],
    cross_entropy_loss="cross_entropy",
)
_BATCHMEAN = 3  # after torch's own numbers, which end at 2


def cross_entropy(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    size_average: bool | None = None,
    ignore_index: int = -100,
    reduce: bool | None = None,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
    *,
    dtype: torch.dtype | None = None,
    temperature: float = 1.0,
    validate: bool | None = None,
) -> Tensor:
    """Return the cross-entropy of logits against class indices or class probabilities.

    ::

        loss = -sum_c w_c ((1 - e) t_c + e / C) log softmax(input)_c

    w are the class weights, 1 without ``weight``; e is the label smoothing; t are the target
    probabilities, 1 at a class index and 0 elsewhere. A mean over class indices divides by the sum
    of the weights of the targets that are not ignored, a mean over class probabilities by the
    number of distributions.

    Args:
        input: Logits, shape (C), (N, C) or (N, C, d1, ..., dK). The class dimension is read in
            place.
        target: Class indices of any integer type from uint8 and int8 to int64, shape (), (N) or
            (N, d1, ..., dK); or class probabilities in ``input``'s shape, normalized or not.
        weight: One factor for each class, shape (C).
        size_average, reduce: Deprecated in favor of ``reduction``, which they override.
        ignore_index: Class index whose positions contribute nothing, to the mean's divisor neither.
            Only for class indices.
        reduction: ``"none"``, ``"mean"`` or ``"sum"``.
        label_smoothing: e, between 0 and 1.
        dtype: Data type of the result. None keeps the type of ``input``, promoted with ``target``
            and ``weight`` for class probabilities. A float32 loss of half or bfloat16 logits takes
            no float32 copy of them.
        temperature: What ``input`` is divided by; a finite number above 0.
        validate: Whether to check that class probabilities sum to 1. None does as
            `torch_infotheory.set_validation` says, which is not to.

    Returns:
        ``"none"``: a tensor of shape (), (N) or (N, d1, ..., dK). Otherwise a tensor without
        dimensions.

    Domain:
        0 * (-inf) = 0: a target probability or a class weight of 0 on a logit of -inf contributes
        nothing, where torch returns NaN. A positive one gives +inf. The mean of a batch that is
        empty or ignored throughout is NaN, as in torch.

    Gradient:
        To ``input``: with v_c = w_c ((1 - e) t_c + e / C), softmax(input)_c sum_k v_k - v_c. To
        class probabilities: -(1 - e) w_c log softmax(input)_c, and 0 where that is infinite. At a
        logit of -inf with v_c = 0 it is 0. Class weights have one with class probabilities only.

    Raises:
        IndexError: "Target n is out of bounds." for a class index outside [0, C) that is not
            ``ignore_index``.
        ValueError: If ``reduction`` is unknown or the batch sizes differ.
        RuntimeError: If other sizes or the types do not fit, ``weight`` does not have C elements,
            ``label_smoothing`` is above 1, or ``ignore_index`` is given with class probabilities.
        TypeError: If an argument has a wrong type.
        NotImplementedError: If a tensor is sparse or nested.

    Example:
        Four equal logits: the loss is log 4 whatever the class.

        >>> import torch
        >>> from torch_infotheory.nn import functional as F
        >>> F.cross_entropy(torch.zeros(1, 4), torch.tensor([2]))
        tensor(1.3863)

        A class that is masked out with -inf and has probability 0 leaves log 2 for the other two,
        and a gradient without NaN:

        >>> logits = torch.tensor([[0.0, 0.0, -torch.inf]], requires_grad=True)
        >>> target = torch.tensor([[0.25, 0.75, 0.0]])
        >>> loss = F.cross_entropy(logits, target)
        >>> round(loss.item(), 4)
        0.6931
        >>> loss.backward()
        >>> logits.grad
        tensor([[ 0.2500, -0.2500,  0.0000]])
        >>> torch.nn.functional.cross_entropy(logits.detach(), target)
        tensor(nan)

    Reference:
        Szegedy et al. (2016). Rethinking the Inception architecture for computer vision. CVPR
        (label smoothing).

    See also:
        `torch_infotheory.cross_entropy`, the same quantity as a measure of two distributions;
        `nll_loss` for log-probabilities.
    """
    if has_torch_function_variadic(input, target, weight):
        return handle_torch_function(
            cross_entropy,
            (input, target, weight),
            input,
            target,
            weight=weight,
            size_average=size_average,
            ignore_index=ignore_index,
            reduce=reduce,
            reduction=reduction,
            label_smoothing=label_smoothing,
            dtype=dtype,
            temperature=temperature,
            validate=validate,
        )
    if not (
        isinstance(input, Tensor)
        and isinstance(target, Tensor)
        and (weight is None or isinstance(weight, Tensor))
    ):
        raise _not_a_tensor("cross_entropy", input=input, target=target, weight=weight)
    if size_average is not None or reduce is not None:
        reduction = _Reduction.legacy_get_string(size_average, reduce)
    code = _enum("cross_entropy", reduction)
    ops = _ops if validate is None else _ops.that(validate)
    return ops.cross_entropy_loss(
        input, target, weight, code, ignore_index, label_smoothing, dtype, temperature
    )


def nll_loss(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    size_average: bool | None = None,
    ignore_index: int = -100,
    reduce: bool | None = None,
    reduction: str = "mean",
    *,
    dtype: torch.dtype | None = None,
    validate: bool | None = None,
) -> Tensor:
    """Return the negative log-likelihood of class indices under log-probabilities.

    ::

        loss = -w_y input_y

    y is the class index; w are the class weights, 1 without ``weight``. The mean divides by the sum
    of the weights of the targets that are not ignored.

    Args:
        input: Log-probabilities, shape (C), (N, C) or (N, C, d1, ..., dK), taken literally. The
            class dimension is read in place.
        target: Class indices of any integer type from uint8 and int8 to int64, shape (), (N) or
            (N, d1, ..., dK).
        weight: One factor for each class, shape (C), of ``input``'s type.
        size_average, reduce: Deprecated in favor of ``reduction``, which they override.
        ignore_index: Class index whose positions contribute nothing, to the mean's divisor neither.
        reduction: ``"none"``, ``"mean"`` or ``"sum"``.
        dtype: Data type of the result. None keeps the type of ``input``.
        validate: Whether to check that the probabilities sum to 1. None does as
            `torch_infotheory.set_validation` says, which is not to.

    Returns:
        ``"none"``: a tensor of shape (), (N) or (N, d1, ..., dK). Otherwise a tensor without
        dimensions.

    Domain:
        0 * (-inf) = 0: a class of log-probability -inf and weight 0 contributes nothing, where
        torch returns NaN. With a positive weight it gives +inf. The mean of a batch that is empty
        or ignored throughout is NaN, as in torch.

    Gradient:
        To ``input``: -w_y at the class index, 0 elsewhere and at ignored positions. A mean divides
        it as it divides the loss.

    Raises:
        IndexError: "Target n is out of bounds." for a class index outside [0, C) that is not
            ``ignore_index``.
        ValueError: If ``reduction`` is unknown, the batch sizes differ, or ``input`` has no
            dimension.
        RuntimeError: If other sizes or the types do not fit, ``weight`` does not have C elements or
            requires a gradient.
        TypeError: If an argument has a wrong type.
        NotImplementedError: If a tensor is sparse or nested.

    Example:
        The second of three classes has probability 1/4: the loss is log 4.

        >>> import torch
        >>> from torch_infotheory.nn import functional as F
        >>> log_probs = torch.tensor([[0.5, 0.25, 0.25]]).log()
        >>> F.nll_loss(log_probs, torch.tensor([1]))
        tensor(1.3863)

        A class that cannot occur, and whose weight is 0, is left out:

        >>> log_probs = torch.tensor([[0.0, -torch.inf], [-torch.inf, 0.0]])
        >>> target, weight = torch.tensor([0, 0]), torch.tensor([0.0, 1.0])
        >>> F.nll_loss(log_probs, target, weight, reduction="sum")
        tensor(0.)
        >>> torch.nn.functional.nll_loss(log_probs, target, weight, reduction="sum")
        tensor(nan)

    Reference:
        Cover and Thomas (2006). Elements of Information Theory, second edition. Wiley, chapter 5.

    See also:
        `cross_entropy`, which takes logits; `torch_infotheory.self_information`, -log p of every
        class.
    """
    if has_torch_function_variadic(input, target, weight):
        return handle_torch_function(
            nll_loss,
            (input, target, weight),
            input,
            target,
            weight=weight,
            size_average=size_average,
            ignore_index=ignore_index,
            reduce=reduce,
            reduction=reduction,
            dtype=dtype,
            validate=validate,
        )
    if not (
        isinstance(input, Tensor)
        and isinstance(target, Tensor)
        and (weight is None or isinstance(weight, Tensor))
    ):
        raise _not_a_tensor("nll_loss", input=input, target=target, weight=weight)
    if size_average is not None or reduce is not None:
        reduction = _Reduction.legacy_get_string(size_average, reduce)
    code = _enum("nll_loss", reduction)
    ops = _ops if validate is None else _ops.that(validate)
    return ops.nll_loss(input, target, weight, code, ignore_index, dtype)


def kl_div(
    input: Tensor,
    target: Tensor,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
    log_target: bool = False,
    *,
    dtype: torch.dtype | None = None,
    validate: bool | None = None,
) -> Tensor:
    """Return the Kullback-Leibler divergence of log-probabilities from target probabilities.

    ::

        loss = t (log t - input)

    for every element, and then reduced; t is ``target``, or exp(target) with ``log_target``. The
    sum over a distribution is D(target || input): the arguments come in the order of a loss, not of
    the mathematical notation. ``"mean"`` divides by the number of elements and is therefore not a
    divergence; ``"batchmean"`` divides by the size of the first dimension.

    Args:
        input: Log-probabilities of any shape, taken literally.
        target: Probabilities, or log-probabilities with ``log_target``, of ``input``'s shape or a
            shape that broadcasts with it.
        size_average, reduce: Deprecated in favor of ``reduction``, which they override.
        reduction: ``"none"``, ``"mean"``, ``"batchmean"`` or ``"sum"``.
        log_target: Whether ``target`` is given as logarithms.
        dtype: Data type of the result. None keeps the type that ``input`` and ``target`` promote
            to.
        validate: Whether to check that the probabilities sum to 1 along the last
            dimension. None does as `torch_infotheory.set_validation` says, which is not to.

    Returns:
        ``"none"``: a tensor of the broadcast shape. Otherwise a tensor without dimensions.

    Domain:
        0 * (-inf) = 0: a target of 0 on an input of -inf contributes nothing, where torch returns
        NaN. A positive target there gives +inf, a negative one anywhere NaN.

    Gradient:
        To ``input``: -t. To ``target``: log t + 1 - input, or t (log t + 1 - input) with
        ``log_target``; where t = 0 it is 0.

    Raises:
        ValueError: If ``reduction`` is unknown.
        RuntimeError: If the shapes do not broadcast, or a tensor is neither real nor floating.
        TypeError: If an argument has a wrong type.
        NotImplementedError: If a tensor is sparse or nested.

    Example:
        A fair coin as the target, a coin with 1/4 as the model: D = log(2) / 2 + log(2/3) / 2.

        >>> import torch
        >>> from torch_infotheory.nn import functional as F
        >>> input = torch.tensor([[0.25, 0.75]]).log()
        >>> F.kl_div(input, torch.tensor([[0.5, 0.5]]), reduction="sum")
        tensor(0.1438)

        An outcome that neither can produce changes nothing:

        >>> input = torch.tensor([[0.25, 0.75, 0.0]]).log()
        >>> target = torch.tensor([[0.5, 0.5, 0.0]])
        >>> F.kl_div(input, target, reduction="batchmean")
        tensor(0.1438)
        >>> torch.nn.functional.kl_div(input, target, reduction="batchmean")
        tensor(nan)

    Reference:
        Kullback and Leibler (1951). On information and sufficiency. Annals of Mathematical
        Statistics 22.

    See also:
        `torch_infotheory.kl_divergence`, which also takes logits and returns one value for each
        distribution; `js_div`, which takes logits by default.
    """
    if has_torch_function_variadic(input, target):
        return handle_torch_function(
            kl_div,
            (input, target),
            input,
            target,
            size_average=size_average,
            reduce=reduce,
            reduction=reduction,
            log_target=log_target,
            dtype=dtype,
            validate=validate,
        )
    if not (isinstance(input, Tensor) and isinstance(target, Tensor)):
        raise _not_a_tensor("kl_div", input=input, target=target)
    if size_average is not None or reduce is not None:
        reduction = _Reduction.legacy_get_string(size_average, reduce)
    elif reduction == "mean" and not torch.compiler.is_compiling():
        warnings.warn(
            "reduction: 'mean' divides the total loss by both the batch size and the support size."
            "'batchmean' divides only by the batch size, and aligns with the KL div math "
            "definition.'mean' will be changed to behave the same as 'batchmean' in the next major "
            "release.",
            stacklevel=2,
        )
    code = _BATCHMEAN if reduction == "batchmean" else _enum("kl_div", reduction, "batchmean")
    ops = _ops if validate is None else _ops.that(validate)
    return ops.kl_div(input, target, code, log_target, dtype)


def entropy_loss(
    input: Tensor,
    dim: Dim = -1,
    *,
    kind: Kind = "logits",
    base: float | None = None,
    reduction: str = "mean",
    dtype: torch.dtype | None = None,
    temperature: float = 1.0,
    mask: Tensor | None = None,
    validate: bool | None = None,
) -> Tensor:
    """Return the entropy of the predicted distributions, reduced over them.

    ::

        loss = -sum_c p_c log p_c

    p is the distribution that ``input`` states. As a loss it rewards confident predictions;
    subtracted from a loss it rewards undecided ones.

    Args:
        input: Distributions of C classes, shape (..., C, ...).
        dim: Class dimension, or a tuple of dimensions that together index the classes.
        kind: How ``input`` states them: ``"logits"``, ``"log_probs"``, ``"probs"`` or
            ``"counts"``.
        base: Base of the logarithm: None gives nats, 2 gives bits.
        reduction: ``"none"``, ``"mean"`` over distributions, or ``"sum"``.
        dtype: Data type of the result. None keeps the type of ``input``.
        temperature: What ``input`` is divided by, where it states logits; a finite number above 0.
        mask: Booleans, one for each distribution. Those with False contribute nothing, to the
            mean's divisor neither, and have gradient 0.
        validate: Whether to check that the probabilities sum to 1. None does as
            `torch_infotheory.set_validation` says, which is not to.

    Returns:
        ``"none"``: a tensor of ``input``'s shape without the class dimensions. Otherwise a tensor
        without dimensions.

    Domain:
        0 log 0 = 0, so a logit of -inf contributes nothing. A row of logits that is all -inf, or
        has +inf or NaN, gives NaN.

    Gradient:
        To logits: -p_c (log p_c + H), and 0 at -inf.

    Raises:
        ValueError: If ``kind`` or ``reduction`` is unknown, or ``base`` is not finite, not
            positive, or 1.
        TypeError: If an argument has a wrong type, or ``input`` is an integer or boolean tensor.
        NotImplementedError: If ``input`` is sparse or nested.
        IndexError: If ``dim`` is out of range.

    Example:
        Two equal logits are one bit, four are two; the mean is one and a half.

        >>> import torch
        >>> from torch_infotheory.nn import functional as F
        >>> logits = torch.tensor([[0.0, 0.0, -torch.inf, -torch.inf], [0.0, 0.0, 0.0, 0.0]])
        >>> F.entropy_loss(logits, base=2)
        tensor(1.5000)

    Reference:
        Grandvalet and Bengio (2004). Semi-supervised learning by entropy minimization. NeurIPS.

    See also:
        `torch_infotheory.entropy`, the measure.
    """
    if has_torch_function_unary(input):
        return handle_torch_function(
            entropy_loss,
            (input,),
            input,
            dim,
            kind=kind,
            base=base,
            reduction=reduction,
            dtype=dtype,
            temperature=temperature,
            mask=mask,
            validate=validate,
        )
    if not isinstance(input, Tensor):
        raise _not_a_tensor("entropy_loss", input=input)
    code = _enum("entropy_loss", reduction)
    ops = _ops if validate is None else _ops.that(validate)
    return ops.entropy_loss(input, dim, kind, base, code, dtype, temperature, mask)


def js_div(
    input: Tensor,
    target: Tensor,
    dim: Dim = -1,
    *,
    kind: Kind | tuple[Kind, Kind] = "logits",
    base: float | None = None,
    reduction: str = "mean",
    dtype: torch.dtype | None = None,
    weight: float = 0.5,
    temperature: float = 1.0,
    mask: Tensor | None = None,
    validate: bool | None = None,
) -> Tensor:
    """Return the Jensen-Shannon divergence of predicted from target distributions, reduced.

    ::

        loss = (1 - w) D(p || m) + w D(q || m),    m = (1 - w) p + w q

    p and q are the distributions that ``input`` and ``target`` state. The divergence is finite for
    any two distributions and, with equal weights, symmetric and at most log 2.

    Args:
        input: Distributions of C classes, shape (..., C, ...).
        target: Distributions of as many classes; broadcasts with ``input`` in all dimensions but
            ``dim``.
        dim: Class dimension, or a tuple of dimensions that together index the classes.
        kind: How the two state them: ``"logits"``, ``"log_probs"``, ``"probs"`` or ``"counts"``, or
            a pair such as ``("logits", "probs")`` for ``input`` and ``target``. Other than
            `kl_div`, whose ``input`` states log-probabilities, this takes logits by default.
        base: Base of the logarithm: None gives nats, 2 gives bits.
        reduction: ``"none"``, ``"mean"`` over distributions, or ``"sum"``.
        dtype: Data type of the result. None keeps the type that the inputs promote to.
        weight: The share w of the target in the mixture, from 0 to 1.
        temperature: What logits are divided by; a finite number above 0. At least one of the
            distributions has to be stated by logits where it is not 1.
        mask: Booleans, one for each distribution. Those with False contribute nothing, to the
            mean's divisor neither, and have gradient 0.
        validate: Whether to check that the probabilities sum to 1. None does as
            `torch_infotheory.set_validation` says, which is not to.

    Returns:
        ``"none"``: a tensor of the broadcast shape without the class dimensions. Otherwise a tensor
        without dimensions.

    Domain:
        0 log 0 = 0. A row of logits that is all -inf, or has +inf or NaN, gives NaN.

    Gradient:
        To the logits of p: (1 - w) p_c (log(p_c / m_c) - D(p || m)), and 0 at -inf; likewise for q.

    Raises:
        ValueError: If ``kind`` or ``reduction`` is unknown, or ``base`` is not finite, not
            positive, or 1.
        TypeError: If an argument has a wrong type, or a tensor is an integer or boolean one.
        NotImplementedError: If a tensor is sparse or nested.
        RuntimeError: If the shapes do not fit.
        IndexError: If ``dim`` is out of range.

    Example:
        Two distributions without a common outcome are one bit apart, two equal ones are not apart.

        >>> import torch
        >>> from torch_infotheory.nn import functional as F
        >>> p = torch.tensor([[1.0, 0.0], [0.5, 0.5]])
        >>> q = torch.tensor([[0.0, 1.0], [0.5, 0.5]])
        >>> F.js_div(p, q, kind="probs", base=2, reduction="none")
        tensor([1., 0.])

    Reference:
        Lin (1991). Divergence measures based on the Shannon entropy. IEEE Transactions on
        Information Theory 37.

    See also:
        `torch_infotheory.js_divergence`, the measure; `kl_div`, which is not symmetric.
    """
    if has_torch_function_variadic(input, target):
        return handle_torch_function(
            js_div,
            (input, target),
            input,
            target,
            dim,
            kind=kind,
            base=base,
            reduction=reduction,
            dtype=dtype,
            weight=weight,
            temperature=temperature,
            mask=mask,
            validate=validate,
        )
    if not (isinstance(input, Tensor) and isinstance(target, Tensor)):
        raise _not_a_tensor("js_div", input=input, target=target)
    code = _enum("js_div", reduction)
    ops = _ops if validate is None else _ops.that(validate)
    return ops.js_div(
        input, target, dim, *_kinds_of(kind), base, code, dtype, weight, temperature, mask
    )


__all__ = [
    "cross_entropy",
    "distillation_loss",
    "entropy_loss",
    "info_nce",
    "js_div",
    "kl_div",
    "linear_cross_entropy",
    "linear_entropy",
    "linear_js_div",
    "linear_kl_div",
    "linear_log_probs",
    "nll_loss",
]

if TYPE_CHECKING:
    # Of one name twice mypy takes the first and pyright the last: ours stand around torch's.
    from torch.nn.functional import *  # type: ignore[assignment]  # noqa: F403

    from torch_infotheory.nn.functional import cross_entropy as cross_entropy
    from torch_infotheory.nn.functional import kl_div as kl_div
    from torch_infotheory.nn.functional import nll_loss as nll_loss
else:
    # The other names are looked up when they are used.
    def __getattr__(name: str) -> Any:
        return getattr(torch.nn.functional, name)


def __dir__() -> list[str]:
    return sorted({*globals(), *dir(torch.nn.functional)})
