"""The loss of a model that learns from another's predictions.

`torch_infotheory.nn.functional` exports it.
"""

import torch
from torch import Tensor
from torch.overrides import handle_torch_function, has_torch_function

from torch_infotheory._ops import functions as _functions
from torch_infotheory.measures import Kind
from torch_infotheory.nn._arguments import _enum, _not_a_tensor

_ops = _functions(["distillation_loss"])


def distillation_loss(
    input: Tensor,
    target: Tensor | tuple[Tensor, Tensor],
    *,
    divergence: str = "kl",
    kind: Kind = "logits",
    weight: float = 0.5,
    temperature: float = 1.0,
    mask: Tensor | None = None,
    base: float | None = None,
    reduction: str = "mean",
    dtype: torch.dtype | None = None,
) -> Tensor:
    """Return the divergence between a model's predictions and a teacher's.

    ::

        p = softmax(input / temperature)
        loss = sum_c t_c log(t_c / p_c)                  "kl"
        loss = sum_c p_c log(p_c / t_c)                  "reverse_kl"
        loss = (1 - w) KL(p, m) + w KL(t, m)             "js", with m = (1 - w) p + w t

    for each row; t is the teacher, and w ``weight``.

    Args:
        input: The model's logits, shape (..., C).
        target: The teacher: distributions of shape (..., C); or its best k classes, a pair of their
            indices and their log-probabilities, both of shape (..., k). Then the probability that
            is left counts as one class more, and the model's remaining classes as that class.
        divergence: ``"kl"``, ``"reverse_kl"`` or ``"js"``.
        kind: How ``target`` states all classes: ``"logits"``, which ``temperature`` divides too,
            ``"log_probs"`` or ``"probs"``, which are taken as they are.
        weight: The share of the teacher in the mixture of ``"js"``, from 0 to 1.
        temperature: What logits are divided by. The gradient is that of the loss, without the
            factor temperature^2 that some multiply by.
        mask: Booleans, shape (...). Rows with False contribute nothing, to the mean's divisor
            neither, and have gradient 0.
        base: Base of the logarithm: None gives nats, 2 gives bits.
        reduction: ``"none"``, ``"mean"`` over the rows that count, or ``"sum"``.
        dtype: Data type of the result. None keeps the type that ``input`` and ``target`` promote
            to.

    Returns:
        ``"none"``: a tensor of shape (...), 0 where ``mask`` is False. Otherwise a tensor without
        dimensions.

    Domain:
        As for `torch_infotheory.kl_divergence` and `torch_infotheory.js_divergence`.

    Gradient:
        To both, the teacher's too. Of ``"kl"`` by the logits: (p - t) / temperature.

    Raises:
        ValueError: If ``divergence``, ``kind`` or ``reduction`` is unknown, or ``weight``,
            ``temperature`` or ``base`` out of its range.
        IndexError: If an index of the teacher's best classes is outside [0, C).
        RuntimeError: If the shapes do not fit.
        TypeError: If a tensor is of another type.

    Example:
        The teacher gives 3/4 to the second class; the model is undecided between two.

        >>> import torch
        >>> from torch_infotheory.nn import functional as F
        >>> F.distillation_loss(torch.zeros(1, 2), torch.tensor([[0.25, 0.75]]), kind="probs")
        tensor(0.1308)
        >>> best = (torch.tensor([[1]]), torch.tensor([[0.75]]).log())
        >>> F.distillation_loss(torch.zeros(1, 2), best)
        tensor(0.1308)

    Reference:
        Hinton, Vinyals and Dean (2015). Distilling the knowledge in a neural network.
        arXiv:1503.02531.

    See also:
        `linear_kl_div` and `linear_js_div`, from hidden states; `torch_infotheory.kl_estimate`,
        from samples.
    """
    pair = isinstance(target, tuple | list) and len(target) == 2
    indices, stated = target if pair else (None, target)
    if has_torch_function((input, stated, indices, mask)):
        return handle_torch_function(
            distillation_loss,
            (input, stated, indices, mask),
            input,
            target,
            divergence=divergence,
            kind=kind,
            weight=weight,
            temperature=temperature,
            mask=mask,
            base=base,
            reduction=reduction,
            dtype=dtype,
        )
    function = "distillation_loss"
    for name, x in (("input", input), ("target", stated)):
        if not isinstance(x, Tensor):
            raise _not_a_tensor(function, **{name: x})
    if pair and not isinstance(indices, Tensor):
        raise _not_a_tensor(function, target=indices)
    return _ops.distillation_loss(
        input,
        stated,
        indices,
        divergence,
        kind,
        weight,
        temperature,
        mask,
        base,
        _enum(function, reduction),
        dtype,
    )
