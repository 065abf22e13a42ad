"""The losses of a whole process: `patch` puts ours in the place of torch's functions.

Knows names of functions; must not know what they compute.
"""

from collections.abc import Callable
from typing import Any

import torch

from torch_infotheory.nn import functional

_NAMES = ("cross_entropy", "nll_loss", "kl_div", "linear_cross_entropy")

# Patches that are in force, and torch's own functions, from before the first of them.
_in_force: list["Patch"] = []
_of_torch: dict[str, Callable[..., Any]] = {}


class Patch:
    """A patch of `torch.nn.functional`, and a context manager that ends with it.

    Ours stay in place while any patch is in force, in whichever order several are undone.
    """

    def __init__(self) -> None:
        if not _in_force:
            for name in _NAMES:
                if hasattr(torch.nn.functional, name):  # not in every release of torch
                    _of_torch[name] = getattr(torch.nn.functional, name)
                    setattr(torch.nn.functional, name, getattr(functional, name))
        _in_force.append(self)

    def undo(self) -> None:
        """End this patch. A second time does nothing."""
        if self not in _in_force:
            return
        _in_force.remove(self)
        if _in_force:
            return
        for name, function in _of_torch.items():
            # What somebody else has put there since is theirs to take away.
            if getattr(torch.nn.functional, name) is getattr(functional, name):
                setattr(torch.nn.functional, name, function)
        _of_torch.clear()

    def __enter__(self) -> "Patch":
        return self

    def __exit__(self, *_: object) -> None:
        self.undo()


def patch() -> Patch:
    """Let `torch.nn.functional` have the losses of `torch_infotheory.nn.functional`.

    From then on ``torch.nn.functional.cross_entropy``, ``nll_loss``, ``kl_div`` and, where torch
    has it, ``linear_cross_entropy`` are ours for the whole process, and so is whatever calls them:
    the modules of `torch.nn`, transformers, Lightning. A function that somebody has imported by its
    name before stays what it was.

    Returns:
        A `Patch`. Its ``undo()`` gives torch its functions back, and so does the end of a ``with``
        statement. Of several patches the last one that is undone does.

    Example:
        >>> import torch
        >>> from torch_infotheory import nn
        >>> logits, target = torch.tensor([[0.0, -torch.inf]]), torch.tensor([[1.0, 0.0]])
        >>> with nn.patch():
        ...     torch.nn.CrossEntropyLoss()(logits, target)
        tensor(0.)
        >>> torch.nn.CrossEntropyLoss()(logits, target)
        tensor(nan)
    """
    return Patch()
