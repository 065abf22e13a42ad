"""A pytest plugin that lets the tests run where the CUDA device is a simulator.

The simulator has the kernels of this package and none of torch's own. What torch would compute on
the device, and the row ops that are written in operations of torch, are therefore computed on the
CPU and moved there. Ops with a kernel, and whatever only allocates or views memory, go to the
device as always.
"""

import re
from collections.abc import Generator
from typing import Any

import pytest
import torch
from ops import moved
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map_only


def with_wide_weight(op: Any, args: tuple[Any, ...]) -> tuple[Any, ...]:
    """Class weights of two bytes, as float32: a row op would have torch convert them."""
    names = [argument.name for argument in op._schema.arguments]
    place = names.index("weight") if op.namespace != "aten" and "weight" in names else -1
    weight = args[place] if place >= 0 else None
    if weight is None or weight.dtype.itemsize > 2:
        return args
    wide = moved(moved(weight, "cpu").float(), str(weight.device))
    return (*args[:place], wide, *args[place + 1 :])


class TorchOnCpu(TorchDispatchMode):
    def __torch_dispatch__(
        self, op: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        kwargs = dict(kwargs or {})
        name = op._schema.name
        if op.namespace == "aten":
            memory_only = ("aten::set_", "aten::copy_")
            to_device = op.is_view or "empty" in name or name in memory_only
        else:
            has_key = torch._C._dispatch_has_kernel_for_dispatch_key(name, "CUDA")
            to_device = has_key and not re.search("_(self|.*pointwise_mutual)_information", name)
        if to_device:
            return op(*with_wide_weight(op, args), **kwargs)
        inputs = [x for x in tree_leaves((args, kwargs)) if isinstance(x, Tensor) and x.is_cuda]
        device = torch.device(kwargs.get("device") or (inputs[0].device if inputs else "cpu"))
        if device.type != "cuda" and not inputs:
            return op(*args, **kwargs)
        if "device" in kwargs:
            kwargs["device"] = "cpu"
        on_cpu, options = tree_map_only(Tensor, lambda x: moved(x, "cpu"), (args, kwargs))
        result = op(*on_cpu, **options)
        if not op._schema.is_mutable:
            return tree_map_only(Tensor, lambda x: moved(x, str(device)), result)
        return args[0].copy_(on_cpu[0])


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, object, object]:
    with TorchOnCpu():
        return (yield)
