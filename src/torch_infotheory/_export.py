"""Lets ``torch.export`` take the row ops apart.

``ExportedProgram.run_decompositions`` replaces an op by what its table has for it, unless the
device has a kernel for the op, which is what torch.compile should call. The ops are in that table
(their kernels of CompositeImplicitAutograd, csrc/dispatch/compositions.cpp); the rule here has it
obeyed.

Knows the modes of torch; must not know ops.
"""

from typing import Any

import torch
from torch._subclasses.functional_tensor import FunctionalTensorMode

_DECOMPOSITION = torch._C.DispatchKey.CompositeImplicitAutograd


def register() -> None:
    for name in torch._C._dispatch_get_registrations_for_dispatch_key("Meta"):
        if name.startswith("torch_infotheory::_"):
            torch.library.register_torch_dispatch(name, FunctionalTensorMode, _decompose)


def _decompose(
    mode: Any, op: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
) -> Any:
    if _DECOMPOSITION in op.py_kernels:  # what the table has, while run_decompositions runs
        with mode:
            result = op.decompose(*args, **(kwargs or {}))
        if result is not NotImplemented:  # the table leaves the op as it is
            return result
    return mode.__torch_dispatch__(op, types, args, kwargs)
