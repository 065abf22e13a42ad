"""The functions of the textbook chapter Dive into Deep Learning 22.11, "Information Theory".

They have the chapter's names, arguments and results (PyTorch edition), so that a reader can follow
the chapter and compare. They are deliberately literal: plain torch, base 2 except for
`cross_entropy`, one number whatever the shape, and every term that is NaN is left out of the sum.
Leaving NaN out gives the right value for ``0 log 0``, but it also hides negative "probabilities"
and missing data, and the gradient at a zero is NaN.

Some of the chapter's example calls do not compute what the text around them describes. Each
docstring says what the chapter prints, what is true, and which function of the package gives it;
``docs/chapter.md`` walks through the whole chapter. For anything but reading the chapter, use the
functions of `torch_infotheory` itself.

Reference: A. Zhang, Z. C. Lipton, M. Li, A. J. Smola, "Dive into Deep Learning", section 22.11,
https://d2l.ai/chapter_appendix-mathematics-for-deep-learning/information-theory.html
"""

import torch
from torch import Tensor

__all__ = [
    "conditional_entropy",
    "cross_entropy",
    "entropy",
    "joint_entropy",
    "kl_divergence",
    "mutual_information",
    "nansum",
    "self_information",
]


def nansum(x: Tensor) -> Tensor:
    """Return the sum of all entries that are not NaN.

    ::

        sum_i x_i,  over the i where x_i is not NaN

    The chapter defines it because ``0 * log2(0)`` is NaN in floating point. Torch has its own
    `torch.nansum` by now. The functions of the package need neither: they take ``0 log 0`` as 0 and
    let a real NaN through.

    Args:
        x: any shape.

    Returns:
        A 0-d tensor; 0 where every entry is NaN.

    Gradient:
        1 for each entry of ``x`` that is summed, 0 for the others. It does not protect what lies
        before it: through ``-p * log2(p)`` the gradient at ``p = 0`` is ``0 * inf``, which is NaN.

    Example:
        >>> import torch
        >>> from torch_infotheory import d2l
        >>> d2l.nansum(torch.tensor([1.0, float("nan"), 2.0]))
        tensor(3.)
    """
    return x[~x.isnan()].sum()


def self_information(p: float) -> float:
    """Return the information, in bits, of an event that has probability `p`.

    ::

        I(p) = -log2 p

    The chapter prints 6.0 for p = 1/64, and that is true: 64 is 2 to the power of 6.

    Args:
        p: a number, or a tensor with one element.

    Returns:
        A Python number.

    Gradient:
        None: the result is not a tensor.

    Example:
        >>> from torch_infotheory import d2l
        >>> d2l.self_information(1 / 64)
        6.0

    See also:
        `torch_infotheory.self_information` for tensors of any shape, with gradient; and, with
        ``kind="log_probs"``, for probabilities too small for floating point.
    """
    return -torch.log2(torch.as_tensor(p)).item()


def entropy(p: Tensor) -> Tensor:
    """Return the entropy, in bits, of a distribution.

    ::

        H(X) = -sum_i p_i log2 p_i

    The chapter prints 1.6855 for (0.1, 0.5, 0.1, 0.3), and that is true.

    Args:
        p: probabilities, any shape. All entries together are one distribution.

    Returns:
        A 0-d tensor.

    Domain:
        A negative entry is left out like any NaN, so that the result looks plausible.
        `torch_infotheory.entropy` gives NaN for it.

    Gradient:
        NaN at an entry that is 0. `torch_infotheory.entropy` gives 0 there.

    Example:
        >>> import torch
        >>> from torch_infotheory import d2l
        >>> d2l.entropy(torch.tensor([0.1, 0.5, 0.1, 0.3]))
        tensor(1.6855)

    See also:
        `torch_infotheory.entropy` with ``base=2``: one value per row.
    """
    return nansum(-p * torch.log2(p))


def joint_entropy(p_xy: Tensor) -> Tensor:
    """Return the entropy, in bits, of a pair of variables.

    ::

        H(X, Y) = -sum_xy p(x, y) log2 p(x, y)

    The chapter prints 1.6855 for ((0.1, 0.5), (0.1, 0.3)), and that is true. It is the entropy of
    the same four numbers as a single distribution. (The chapter's TensorFlow edition sums each row
    by itself and prints two numbers, 0.8321928 and 0.8532826; their sum is the joint entropy.)

    Args:
        p_xy: the joint probabilities, any shape.

    Returns:
        A 0-d tensor.

    Gradient:
        As for `entropy`.

    Example:
        >>> import torch
        >>> from torch_infotheory import d2l
        >>> d2l.joint_entropy(torch.tensor([[0.1, 0.5], [0.1, 0.3]]))
        tensor(1.6855)

    See also:
        `torch_infotheory.joint_entropy` with ``base=2``: one value per table of a batch.
    """
    return entropy(p_xy)


def conditional_entropy(p_xy: Tensor, p_x: Tensor) -> Tensor:
    """Return the entropy, in bits, that is left in Y once X is known.

    ::

        H(Y | X) = -sum_xy p(x, y) log2 (p(x, y) / p(x))

    The chapter prints 0.8635 for the table ((0.1, 0.5), (0.2, 0.3)) and p_x = (0.2, 0.8). That is
    no conditional entropy, for the table sums to 1.1 and p_x is not its marginal. The table of
    `joint_entropy`, with 0.1 in place of 0.2, sums to 1 and fits p_x; for it the true value is
    0.9635, and this function gives it too.

    Args:
        p_xy: the joint probabilities.
        p_x: the probabilities of X. The division broadcasts, so a vector belongs to the last
            dimension of ``p_xy``: X is the column and Y the row. Where X is the row, ``p_x`` needs
            the shape (X, 1).

    Returns:
        A 0-d tensor.

    Domain:
        ``p_x`` has to be the marginal of ``p_xy``; nothing checks it. The package takes the table
        alone and sums it itself.

    Gradient:
        NaN at a cell that is 0.

    Example:
        >>> import torch, torch_infotheory
        >>> from torch_infotheory import d2l
        >>> p_x = torch.tensor([0.2, 0.8])
        >>> d2l.conditional_entropy(torch.tensor([[0.1, 0.5], [0.2, 0.3]]), p_x)
        tensor(0.8635)
        >>> joint = torch.tensor([[0.1, 0.5], [0.1, 0.3]])
        >>> torch_infotheory.conditional_entropy(joint, x_dim=-1, y_dim=-2, base=2)
        tensor(0.9635)

    See also:
        `torch_infotheory.conditional_entropy` with ``base=2``.
    """
    return nansum(-p_xy * torch.log2(p_xy / p_x))


def mutual_information(p_xy: Tensor, p_x: Tensor, p_y: Tensor) -> Tensor:
    """Return the information, in bits, that X and Y share.

    ::

        I(X; Y) = sum_xy p(x, y) log2 (p(x, y) / (p(x) p(y)))

    The chapter prints 0.7195 for the table ((0.1, 0.5), (0.1, 0.3)), p_x = (0.2, 0.8) and
    p_y = ((0.75, 0.25),). The true value is 0.0074 bits: X and Y are nearly independent. Two things
    go wrong in the call. ``p_y`` has shape (1, 2), so it is broadcast along the wrong axis: it runs
    over the columns, as ``p_x`` does already, where the rows are meant. And the table's rows sum to
    (0.6, 0.4), not to (0.75, 0.25). With p_y = ((0.6,), (0.4,)) this function gives 0.0074 too.

    Args:
        p_xy: the joint probabilities.
        p_x: the probabilities of X, of a shape that broadcasts along X's dimension only.
        p_y: the probabilities of Y, of a shape that broadcasts along Y's dimension only.

    Returns:
        A 0-d tensor.

    Domain:
        ``p_x`` and ``p_y`` have to be the marginals of ``p_xy``; nothing checks it. The package
        takes the table alone and sums it itself.

    Gradient:
        NaN at a cell that is 0.

    Example:
        >>> import torch, torch_infotheory
        >>> from torch_infotheory import d2l
        >>> joint = torch.tensor([[0.1, 0.5], [0.1, 0.3]])
        >>> d2l.mutual_information(joint, torch.tensor([0.2, 0.8]), torch.tensor([[0.75, 0.25]]))
        tensor(0.7195)
        >>> torch_infotheory.mutual_information(joint, base=2)
        tensor(0.0074)

    See also:
        `torch_infotheory.mutual_information` with ``base=2``.
    """
    return nansum(p_xy * torch.log2(p_xy / (p_x * p_y)))


def kl_divergence(p: Tensor, q: Tensor) -> float:
    """Return the absolute value, in bits, of the Kullback-Leibler sum of `p` and `q`.

    ::

        | sum_i p_i log2 (p_i / q_i) |

    For two distributions this is D(p || q), and the absolute value changes nothing, for D(p || q)
    is never negative. The chapter calls it with sorted *samples* of normal distributions in the
    place of probabilities, and prints 8582.0341796875 for D(p || q1), 8828.3095703125 for
    D(p || q2) and 14130.125 for D(q2 || p). None of these is a divergence: the logarithm of a
    negative ratio is NaN and is left out, and the second of the sums is in truth negative. The
    divergence between N(0, 1) and N(-1, 1) or N(1, 1) is 0.7213 bits, in both directions.

    Args:
        p: probabilities, any shape; all entries together are one distribution.
        q: probabilities, same shape.

    Returns:
        A Python number; infinite where some p > 0 has q = 0.

    Gradient:
        None: the result is not a tensor.

    Example:
        >>> import torch, torch_infotheory
        >>> from torch_infotheory import d2l
        >>> p, q = torch.tensor([0.5, 0.5]), torch.tensor([0.25, 0.75])
        >>> round(d2l.kl_divergence(p, q), 4)  # 1 - log2(3) / 2
        0.2075
        >>> torch_infotheory.kl_divergence(p, q, base=2)
        tensor(0.2075)

    See also:
        `torch_infotheory.kl_divergence` with ``base=2`` for distributions;
        `torch.distributions.kl_divergence` for the closed form of two Gaussians (in nats).
    """
    return nansum(p * torch.log2(p / q)).abs().item()


def cross_entropy(y_hat: Tensor, y: Tensor) -> Tensor:
    """Return the mean cross-entropy, in nats, of class labels and predicted probabilities.

    ::

        -(1 / N) sum_n log y_hat[n, y[n]]

    The chapter prints 0.9486 for the labels (0, 2) and the predictions (0.3, 0.6, 0.1) and
    (0.2, 0.3, 0.5). That is true in nats, though the chapter announces bits throughout; in bits it
    is 1.3685.

    Args:
        y_hat: predicted probabilities (not logits), shape (N, C).
        y: class indices, shape (N,).

    Returns:
        A 0-d tensor.

    Gradient:
        ``-1 / (N * y_hat)`` at the predicted probability of each label, 0 elsewhere.

    Example:
        >>> import torch
        >>> from torch_infotheory import d2l
        >>> y_hat = torch.tensor([[0.3, 0.6, 0.1], [0.2, 0.3, 0.5]])
        >>> y = torch.tensor([0, 2])
        >>> d2l.cross_entropy(y_hat, y)  # -(ln 0.3 + ln 0.5) / 2
        tensor(0.9486)
        >>> from torch_infotheory.nn import functional
        >>> functional.nll_loss(y_hat.log(), y)
        tensor(0.9486)

    See also:
        `torch_infotheory.nn.functional.cross_entropy` for logits, `nll_loss` for log-probabilities,
        `torch_infotheory.cross_entropy` for two distributions, in any unit.
    """
    return -torch.log(y_hat[torch.arange(len(y_hat)), y]).mean()
