"""The ops as Python functions of positional arguments, reached without a detour.

``torch.ops`` reads the schema of an op at every call, which takes longer than a small reduction.
The extension has the same ops as typed functions. They take plain arguments; whatever else comes,
``torch.ops`` serves: subclasses of tensors, modes, symbolic sizes, wrong types. So does the
tracer of torch.compile, which knows ops but no functions of an extension.
"""

from collections.abc import Callable, Iterable
from types import SimpleNamespace

import torch
from torch import Tensor
from torch.compiler import is_dynamo_compiling

from torch_infotheory import _C


def functions(names: Iterable[str]) -> SimpleNamespace:
    """Return the ops of these names. They take all arguments of the schema in its order."""
    return SimpleNamespace(**{name: _function(name) for name in names})


def _function(name: str) -> Callable[..., Tensor]:
    op = getattr(torch.ops.torch_infotheory, name)
    arguments = [argument.name for argument in op.default._schema.arguments]
    typed = getattr(_C, name, None)

    def call(*values: object) -> Tensor:
        if typed is not None and not is_dynamo_compiling():
            result = typed(*values)
            if result is not NotImplemented:
                return result
        return op(**dict(zip(arguments, values, strict=True)))

    return call
