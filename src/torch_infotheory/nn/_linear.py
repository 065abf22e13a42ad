"""Losses from hidden states: the last matrix product of a model and its loss in one operator.

`torch_infotheory.nn.functional` exports these functions. The logits of all rows never exist at
once; docs/linear.md says what that takes and what it gives.
"""

from typing import Any

import torch
from torch import Tensor
from torch.overrides import handle_torch_function, has_torch_function

from torch_infotheory._ops import functions as _functions
from torch_infotheory.language_models import LogProbs
from torch_infotheory.measures import Kind
from torch_infotheory.nn._arguments import _enum, _not_a_tensor

_ops = _functions(
    [
        "linear_cross_entropy",
        "linear_entropy",
        "linear_kl_div",
        "linear_js_div",
        "linear_log_probs",
    ]
)


def _are_tensors(first: tuple[object, ...], may_be_none: tuple[object, ...]) -> bool:
    return all(isinstance(x, Tensor) for x in first) and all(
        x is None or isinstance(x, Tensor) for x in may_be_none
    )


def linear_cross_entropy(
    input: Tensor,
    linear_weight: Tensor,
    target: Tensor,
    *,
    linear_bias: Tensor | None = None,
    weight: Tensor | None = None,
    reduction: str = "mean",
    ignore_index: int | None = None,
    label_smoothing: float = 0.0,
    options: Any = None,
    softcap: float | None = None,
    temperature: float = 1.0,
    dtype: torch.dtype | None = None,
) -> Tensor:
    """Return the cross-entropy of the logits that a linear map makes of hidden states.

    ::

        z = input @ linear_weight.T + linear_bias
        loss = cross_entropy(softcap tanh(z / softcap) / temperature, target)

    where ``softcap`` is left out if it is None. The logits are made, used and dropped for a block
    of rows at a time.

    Args:
        input: Hidden states, shape (H) or (N, H).
        linear_weight: The linear map, shape (C, H), or (C, d1, ..., dK, H) for N distributions over
            C classes at each of d1 x ... x dK places.
        target: Class indices of any integer type, shape (), (N) or (N, d1, ..., dK); or class
            probabilities, shape (C), (N, C) or (N, C, d1, ..., dK).
        linear_bias: Shape of ``linear_weight`` without H.
        weight: One factor for each class, shape (C).
        reduction: ``"none"``, ``"mean"`` or ``"sum"``, as in `cross_entropy`.
        ignore_index: Class index whose positions contribute nothing and, where all of a row are
            ignored, are not multiplied. None is -100. Only for class indices.
        label_smoothing: Between 0 and 1.
        options: A `torch.nn.LinearCrossEntropyOptions`, of which ``batch_chunk_size`` says how many
            rows a block has. What else it holds has no meaning here.
        softcap: Bound of the logits, or None.
        temperature: What the logits are divided by.
        dtype: Data type of the result. None keeps the type of ``input``, promoted with ``target``
            and ``weight`` for class probabilities.

    Returns:
        ``"none"``: a tensor of shape (), (N) or (N, d1, ..., dK). Otherwise a tensor without
        dimensions.

    Domain:
        As for `cross_entropy`. Logits of float16 and bfloat16 factors are float32, and never
        rounded to less.

    Gradient:
        To every floating argument but ``weight``, which has one with class probabilities only. With
        (softmax(z) - target) for each row: its products with ``linear_weight`` and ``input``, added
        up in float32 at least and rounded once.

    Raises:
        IndexError: "Target n is out of bounds." for a class index outside [0, C) that is not
            ``ignore_index``, before anything is multiplied.
        ValueError: If ``reduction`` is unknown, the batch sizes differ, or ``softcap`` or
            ``temperature`` is not finite and above 0.
        RuntimeError: If other sizes or the types do not fit, ``label_smoothing`` is above 1, or
            ``ignore_index`` is given with class probabilities.
        TypeError: If an argument that should be a tensor is not one.

    Example:
        Four equal logits: the loss is log 4 whatever the class.

        >>> import torch
        >>> from torch_infotheory.nn import functional as F
        >>> hidden, weight = torch.ones(3, 2), torch.ones(4, 2)
        >>> F.linear_cross_entropy(hidden, weight, torch.tensor([2, 0, -100]))
        tensor(1.3863)

    Reference:
        Wijmans et al. (2025). Cut your losses in large-vocabulary language models. ICLR.

    See also:
        `cross_entropy`, for logits that are there.
    """
    tensors = (input, linear_weight, target, linear_bias, weight)
    if has_torch_function(tensors):
        return handle_torch_function(
            linear_cross_entropy,
            tensors,
            input,
            linear_weight,
            target,
            linear_bias=linear_bias,
            weight=weight,
            reduction=reduction,
            ignore_index=ignore_index,
            label_smoothing=label_smoothing,
            options=options,
            softcap=softcap,
            temperature=temperature,
            dtype=dtype,
        )
    function = "linear_cross_entropy"
    if not _are_tensors(tensors[:3], tensors[3:]):
        raise _not_a_tensor(
            function,
            input=input,
            linear_weight=linear_weight,
            target=target,
            linear_bias=linear_bias,
            weight=weight,
        )
    return _ops.linear_cross_entropy(
        input,
        linear_weight,
        target,
        linear_bias,
        weight,
        _enum(function, reduction),
        ignore_index,
        label_smoothing,
        getattr(options, "batch_chunk_size", None),
        softcap,
        temperature,
        dtype,
    )


def linear_entropy(
    input: Tensor,
    linear_weight: Tensor,
    *,
    linear_bias: Tensor | None = None,
    softcap: float | None = None,
    temperature: float = 1.0,
    mask: Tensor | None = None,
    base: float | None = None,
    reduction: str = "mean",
    dtype: torch.dtype | None = None,
) -> Tensor:
    """Return the entropy of the distributions that a linear map makes of hidden states.

    ::

        z = input @ linear_weight.T + linear_bias
        p = softmax(softcap tanh(z / softcap) / temperature)
        loss = -sum_c p_c log p_c

    where ``softcap`` is left out if it is None.

    Args:
        input: Hidden states, shape (..., H).
        linear_weight: The linear map, shape (C, H).
        linear_bias: Shape (C).
        softcap: Bound of the logits, or None.
        temperature: What the logits are divided by.
        mask: Booleans, shape (...). Rows with False are not multiplied and contribute nothing, to
            the mean's divisor neither.
        base: Base of the logarithm: None gives nats, 2 gives bits.
        reduction: ``"none"``, ``"mean"`` over the rows that count, or ``"sum"``.
        dtype: Data type of the result. None keeps the type of ``input``.

    Returns:
        ``"none"``: a tensor of shape (...), 0 where ``mask`` is False. Otherwise a tensor without
        dimensions.

    Domain:
        As for `entropy_loss`. Logits of float16 and bfloat16 factors are float32.

    Gradient:
        To ``input``, ``linear_weight`` and ``linear_bias``, through the logits' -p_c (log p_c + H).

    Raises:
        ValueError: If ``reduction`` is unknown, or ``base``, ``softcap`` or ``temperature`` out of
            its range.
        RuntimeError: If the shapes do not fit.
        TypeError: If a tensor is of another type.

    Example:
        Four equal logits are two bits.

        >>> import torch
        >>> from torch_infotheory.nn import functional as F
        >>> F.linear_entropy(torch.ones(3, 2), torch.ones(4, 2), base=2)
        tensor(2.)

    Reference:
        Grandvalet and Bengio (2004). Semi-supervised learning by entropy minimization. NeurIPS.

    See also:
        `entropy_loss`, for logits that are there.
    """
    tensors = (input, linear_weight, linear_bias, mask)
    if has_torch_function(tensors):
        return handle_torch_function(
            linear_entropy,
            tensors,
            input,
            linear_weight,
            linear_bias=linear_bias,
            softcap=softcap,
            temperature=temperature,
            mask=mask,
            base=base,
            reduction=reduction,
            dtype=dtype,
        )
    function = "linear_entropy"
    if not _are_tensors(tensors[:2], tensors[2:]):
        raise _not_a_tensor(
            function, input=input, linear_weight=linear_weight, linear_bias=linear_bias, mask=mask
        )
    return _ops.linear_entropy(
        input,
        linear_weight,
        linear_bias,
        mask,
        softcap,
        temperature,
        base,
        _enum(function, reduction),
        dtype,
    )


def linear_kl_div(
    input: Tensor,
    linear_weight: Tensor,
    target: Tensor,
    *,
    linear_bias: Tensor | None = None,
    target_weight: Tensor | None = None,
    target_bias: Tensor | None = None,
    kind: Kind = "logits",
    direction: str = "forward",
    softcap: float | None = None,
    temperature: float = 1.0,
    mask: Tensor | None = None,
    reduction: str = "mean",
    dtype: torch.dtype | None = None,
) -> Tensor:
    """Return the Kullback-Leibler divergence between a teacher and what a linear map predicts.

    ::

        z = input @ linear_weight.T + linear_bias
        p = softmax(softcap tanh(z / softcap) / temperature)
        loss = sum_c q_c log(q_c / p_c)     forward
        loss = sum_c p_c log(p_c / q_c)     reverse

    q is the teacher, which ``target`` states by ``kind``, or by hidden states of its own.

    Args:
        input: Hidden states, shape (..., H).
        linear_weight: The linear map, shape (C, H).
        target: The teacher: distributions of shape (..., C), or with ``target_weight`` its hidden
            states, of shape (..., H').
        linear_bias: Shape (C).
        target_weight, target_bias: The teacher's linear map, shapes (C, H') and (C). Its logits
            are made block by block too, and bounded and divided as the model's are.
        kind: How ``target`` states distributions: ``"logits"``, which ``temperature`` divides too,
            ``"log_probs"`` or ``"probs"``, which are taken as they are.
        direction: ``"forward"``, KL(teacher, model), which covers what the teacher does; or
            ``"reverse"``, KL(model, teacher), which keeps to what the teacher does most.
        softcap: Bound of the logits that are made here, or None.
        temperature: What logits are divided by. The gradient is that of the loss, without the
            factor temperature^2 that some multiply by.
        mask: Booleans, shape (...). Rows with False are not multiplied and contribute nothing, to
            the mean's divisor neither.
        reduction: ``"none"``, ``"mean"`` over the rows that count, or ``"sum"``.
        dtype: Data type of the result. None keeps the type that ``input`` and ``target`` promote
            to.

    Returns:
        ``"none"``: a tensor of shape (...), 0 where ``mask`` is False. Otherwise a tensor without
        dimensions.

    Domain:
        As for `torch_infotheory.kl_divergence`. Logits of float16 and bfloat16 factors are float32.

    Gradient:
        To every floating argument, the teacher's too. Where the teacher is not trained, its tensors
        should not require one, because each costs a matrix product.

    Raises:
        ValueError: If ``kind``, ``direction`` or ``reduction`` is unknown, ``softcap`` or
            ``temperature`` out of its range, or ``target_bias`` is given without
            ``target_weight``.
        RuntimeError: If the shapes do not fit.
        TypeError: If a tensor is of another type.

    Example:
        A model of two equal logits, taught by a coin with 1/4: log 2 - H(1/4).

        >>> import torch
        >>> from torch_infotheory.nn import functional as F
        >>> hidden, weight = torch.ones(1, 2), torch.ones(2, 2)
        >>> F.linear_kl_div(hidden, weight, torch.tensor([[0.25, 0.75]]), kind="probs")
        tensor(0.1308)

    Reference:
        Hinton, Vinyals and Dean (2015). Distilling the knowledge in a neural network.
        arXiv:1503.02531.

    See also:
        `torch_infotheory.kl_divergence`, for logits that are there; `linear_js_div`.
    """
    tensors = (input, linear_weight, target, linear_bias, target_weight, target_bias, mask)
    if has_torch_function(tensors):
        return handle_torch_function(
            linear_kl_div,
            tensors,
            input,
            linear_weight,
            target,
            linear_bias=linear_bias,
            target_weight=target_weight,
            target_bias=target_bias,
            kind=kind,
            direction=direction,
            softcap=softcap,
            temperature=temperature,
            mask=mask,
            reduction=reduction,
            dtype=dtype,
        )
    if not isinstance(direction, str):
        raise TypeError(
            f"linear_kl_div: expected direction to be a string, got {direction!r} of type "
            f"{type(direction).__name__}"
        )
    function = "linear_kl_div"
    if not _are_tensors(tensors[:3], tensors[3:]):
        raise _of_teacher_error(function, *tensors)
    return _ops.linear_kl_div(
        *tensors[:6],
        kind,
        direction,
        mask,
        softcap,
        temperature,
        _enum(function, reduction),
        dtype,
    )


def _of_teacher_error(function: str, *tensors: object) -> TypeError:
    names = ("input", "linear_weight", "target", "linear_bias", "target_weight", "target_bias")
    return _not_a_tensor(function, **dict(zip((*names, "mask"), tensors, strict=True)))


def linear_js_div(
    input: Tensor,
    linear_weight: Tensor,
    target: Tensor,
    *,
    linear_bias: Tensor | None = None,
    target_weight: Tensor | None = None,
    target_bias: Tensor | None = None,
    kind: Kind = "logits",
    weight: float = 0.5,
    softcap: float | None = None,
    temperature: float = 1.0,
    mask: Tensor | None = None,
    reduction: str = "mean",
    dtype: torch.dtype | None = None,
) -> Tensor:
    """Return the Jensen-Shannon divergence of a teacher and what a linear map predicts.

    ::

        z = input @ linear_weight.T + linear_bias
        p = softmax(softcap tanh(z / softcap) / temperature)
        loss = (1 - w) D(p || m) + w D(q || m),    m = (1 - w) p + w q

    q is the teacher, which ``target`` states by ``kind``, or by hidden states of its own.

    Args:
        input: Hidden states, shape (..., H).
        linear_weight: The linear map, shape (C, H).
        target: The teacher: distributions of shape (..., C), or with ``target_weight`` its hidden
            states, of shape (..., H').
        linear_bias: Shape (C).
        target_weight, target_bias: The teacher's linear map, as in `linear_kl_div`.
        kind: How ``target`` states distributions, as in `linear_kl_div`.
        weight: The share w of the teacher in the mixture, from 0 to 1.
        softcap, temperature, mask, reduction, dtype: As in `linear_kl_div`.

    Returns:
        ``"none"``: a tensor of shape (...), 0 where ``mask`` is False. Otherwise a tensor without
        dimensions.

    Domain:
        As for `torch_infotheory.js_divergence`. Logits of float16 and bfloat16 factors are float32.

    Gradient:
        To every floating argument, the teacher's too.

    Raises:
        ValueError: If ``weight`` is not between 0 and 1, and as in `linear_kl_div`.
        RuntimeError: If the shapes do not fit.
        TypeError: If a tensor is of another type.

    Example:
        The teacher knows the class, the model does not: (log(4/3) + log(2/3) / 2 + log(2) / 2) / 2
        for two classes.

        >>> import torch
        >>> from torch_infotheory.nn import functional as F
        >>> hidden, weight = torch.ones(1, 2), torch.ones(2, 2)
        >>> F.linear_js_div(hidden, weight, torch.tensor([[1.0, 0.0]]), kind="probs")
        tensor(0.2158)

    Reference:
        Lin (1991). Divergence measures based on the Shannon entropy. IEEE Transactions on
        Information Theory 37.

    See also:
        `js_div`, for logits that are there; `linear_kl_div`.
    """
    tensors = (input, linear_weight, target, linear_bias, target_weight, target_bias, mask)
    if has_torch_function(tensors):
        return handle_torch_function(
            linear_js_div,
            tensors,
            input,
            linear_weight,
            target,
            linear_bias=linear_bias,
            target_weight=target_weight,
            target_bias=target_bias,
            kind=kind,
            weight=weight,
            softcap=softcap,
            temperature=temperature,
            mask=mask,
            reduction=reduction,
            dtype=dtype,
        )
    function = "linear_js_div"
    if not _are_tensors(tensors[:3], tensors[3:]):
        raise _of_teacher_error(function, *tensors)
    return _ops.linear_js_div(
        *tensors[:6],
        kind,
        weight,
        mask,
        softcap,
        temperature,
        _enum(function, reduction),
        dtype,
    )


def linear_log_probs(
    input: Tensor,
    linear_weight: Tensor,
    index: Tensor,
    *,
    linear_bias: Tensor | None = None,
    softcap: float | None = None,
    temperature: float = 1.0,
    ignore_index: int = -100,
    dtype: torch.dtype | None = None,
) -> LogProbs:
    """Return log-probability, entropy and log-normalizer of what a linear map predicts.

    ::

        z = softcap tanh((input @ linear_weight.T + linear_bias) / softcap) / temperature
        log_prob = z_index - logsumexp(z)
        entropy = -sum_c softmax(z)_c log softmax(z)_c
        logsumexp = log sum_c exp(z_c)

    where ``softcap`` is left out if it is None. The logits are made for a block of rows at a time,
    twice: once for the log-probability and once for the entropy.

    Args:
        input: Hidden states, shape (..., H).
        linear_weight: The linear map, shape (C, H).
        index: The class of each row, of any integer type, shape (...).
        linear_bias: Shape (C).
        softcap: Bound of the logits, or None.
        temperature: What the logits are divided by.
        ignore_index: Rows of this class have the results 0 and no gradient, and are not multiplied.
        dtype: Data type of the results. None keeps the type of ``input``.

    Returns:
        `torch_infotheory.LogProbs` of three tensors of shape (...), in nats.

    Domain:
        As for `torch_infotheory.log_probs`. Logits of float16 and bfloat16 factors are float32.

    Gradient:
        To ``input``, ``linear_weight`` and ``linear_bias``, by all three results. Those of float16
        and bfloat16 are rounded for each result before they are added.

    Raises:
        IndexError: For an index outside [0, C) that is not ``ignore_index``, before anything is
            multiplied.
        ValueError: If ``softcap`` or ``temperature`` is not finite and above 0.
        RuntimeError: If the shapes do not fit.
        TypeError: If a tensor is of another type.

    Example:
        Four equal logits of 2.

        >>> import torch
        >>> from torch_infotheory.nn import functional as F
        >>> F.linear_log_probs(torch.ones(1, 2), torch.ones(4, 2), torch.tensor([3]))
        LogProbs(log_prob=tensor([-1.3863]), entropy=tensor([1.3863]), logsumexp=tensor([3.3863]))

    See also:
        `torch_infotheory.log_probs`, for logits that are there; `linear_cross_entropy`.
    """
    tensors = (input, linear_weight, index, linear_bias)
    if has_torch_function(tensors):
        return handle_torch_function(
            linear_log_probs,
            tensors,
            input,
            linear_weight,
            index,
            linear_bias=linear_bias,
            softcap=softcap,
            temperature=temperature,
            ignore_index=ignore_index,
            dtype=dtype,
        )
    if not _are_tensors(tensors[:3], tensors[3:]):
        raise _not_a_tensor(
            "linear_log_probs",
            input=input,
            linear_weight=linear_weight,
            index=index,
            linear_bias=linear_bias,
        )
    return LogProbs(*_ops.linear_log_probs(*tensors, softcap, temperature, ignore_index, dtype))
