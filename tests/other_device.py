"""A device without kernels, made of torch's CPU operations: what the ops say and compute there.

Run as a program, because torch has room for one such device in a process. `python other_device.py
no_float64` makes one that refuses float64, as MPS does. Prints how many calls agree.
"""

import sys
import warnings
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch
from ops import BASIC_CASES, TOLERANCE, Case, assert_near, exact, random
from torch.utils import _pytree as pytree
from torch.utils import backend_registration

import torch_infotheory
from torch_infotheory.nn import functional

DEVICE = "elsewhere"
HAS_FLOAT64 = "no_float64" not in sys.argv


# The numbers of a tensor of the device, by its storage, which shallow copies share.
NUMBERS: dict[int, tuple[torch.UntypedStorage, torch.Tensor]] = {}


def numbers_of(x: torch.Tensor) -> torch.Tensor:
    return NUMBERS[x.untyped_storage()._cdata][1]


def moved_there(numbers: torch.Tensor) -> torch.Tensor:
    if numbers.dtype == torch.float64 and not HAS_FLOAT64:
        raise TypeError(f"{DEVICE} has no float64")
    there = torch._C._acc.create_empty_tensor(tuple(numbers.shape), numbers.dtype)
    storage = there.untyped_storage()
    NUMBERS[storage._cdata] = storage, numbers
    return there


def run_on_cpu(op: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """The kernel of every operator of torch. Of torch alone: ours have none."""
    assert op.namespace == "aten", f"the fallback of the device was asked for {op}"
    known = {}

    def numbers(x: Any) -> Any:
        if isinstance(x, torch.Tensor) and x.device.type == DEVICE:
            known[id(numbers_of(x))] = x
            return numbers_of(x)
        return torch.device("cpu") if isinstance(x, torch.device) and x.type == DEVICE else x

    if op is torch.ops.aten._copy_from.default:
        source, target = map(numbers, args[:2])
        target.copy_(source)
        return args[1]
    goes_back = "cpu" in str(kwargs.get("device"))
    args, kwargs = pytree.tree_map(numbers, (args, kwargs))
    results = op(*args, **kwargs)
    if goes_back:
        return results
    return pytree.tree_map_only(
        torch.Tensor, lambda t: known[id(t)] if id(t) in known else moved_there(t), results
    )


def register(every: torch.library.Library, aten: torch.library.Library) -> None:
    every.fallback(run_on_cpu, "PrivateUse1")
    # Some operators have kernels for every device, which know nothing of the numbers.
    for name in torch._C._dispatch_get_registrations_for_dispatch_key("CompositeExplicitAutograd"):
        namespace, _, name = name.partition("::")
        packet, _, overload = name.partition(".")
        if namespace != "aten":
            continue
        op = getattr(getattr(torch.ops.aten, packet), overload or "default")
        if not op._schema.is_mutable:
            aten.impl(op, partial(run_on_cpu, op), "PrivateUse1")


def back(x: torch.Tensor) -> torch.Tensor:
    assert x.device.type == DEVICE
    return numbers_of(x)


def check(case: Case, dtype: torch.dtype) -> None:
    inputs = [moved_there(x).requires_grad_() for x in case.inputs(dtype, "cpu")]
    options = {
        name: moved_there(x) if isinstance(x, torch.Tensor) else x
        for name, x in case.options_like(torch.empty((), dtype=dtype)).items()
    }
    result = case.op.function(*inputs, **options)
    assert result.dtype == dtype
    # Without float64, divergences keep fewer digits.
    accepted = dtype if HAS_FLOAT64 else None
    if not HAS_FLOAT64:
        TOLERANCE[torch.float32] = (2e-5, 2e-5)
    assert_near(back(result.detach()), case.value, accepted)
    wanted = case.gradient
    cotangent = moved_there(case.cotangent.to(dtype))
    for gradient, expected in zip(
        torch.autograd.grad(result, inputs, cotangent), wanted, strict=True
    ):
        assert gradient.dtype == dtype
        scale = np.abs(expected[np.isfinite(expected)]).max(initial=0)
        assert_near(back(gradient), expected, terms=max(scale, 1 / case.classes))


def check_other_ops() -> None:
    """What is made of several row ops, against the same on the CPU."""
    dtype = torch.float64 if HAS_FLOAT64 else torch.float32
    logits, states, weight = (
        exact(random(*shape, seed=3)).to(dtype) for shape in ((4, 7), (4, 5), (7, 5))
    )
    labels = torch.tensor([2, 0, -100, 6])
    x, y = (random(2, 50, seed=seed).to(dtype) for seed in (4, 5))
    calls: dict[str, tuple[Callable[..., torch.Tensor], list[torch.Tensor]]] = {
        "log_probs": (lambda z, t: sum(torch_infotheory.log_probs(z, t)), [logits, labels]),
        "linear_cross_entropy": (functional.linear_cross_entropy, [states, weight, labels]),
        "linear_entropy": (functional.linear_entropy, [states, weight]),
        "soft_joint_histogram": (
            lambda a, b: torch_infotheory.mutual_information(
                torch_infotheory.soft_joint_histogram(a, b, 8)
            ),
            [x, y],
        ),
        "joint_table": (lambda t: torch_infotheory.joint_table(t, t, 7, 7), [labels]),
        "counts": (
            lambda t: torch_infotheory.entropy(t, kind="counts"),
            [torch.tensor([[1, 2, 3]])],
        ),
        "mixture_divergence": (
            lambda z: torch_infotheory.mixture_divergence(z, 0, kind="logits"),
            [logits],
        ),
        "renyi_divergence": (
            lambda z, w: torch_infotheory.renyi_divergence(z, w, 0.5, kind="logits"),
            [logits, logits.flip(0)],
        ),
        "kl_estimate": (torch_infotheory.kl_estimate, [logits, logits.flip(0)]),
    }
    for name, (function, inputs) in calls.items():
        results = []
        for move in (torch.Tensor.clone, moved_there):
            given = [move(t).requires_grad_(t.is_floating_point()) for t in inputs]
            value = function(*given)
            wrt = [t for t in given if t.requires_grad]
            gradients = torch.autograd.grad(value.sum(), wrt) if wrt else ()
            results.append([value.detach(), *gradients])
        for expected, actual in zip(*results, strict=True):
            assert expected.abs().sum() > 0, name
            tolerance = 1e-12 if HAS_FLOAT64 else 2e-5
            torch.testing.assert_close(back(actual), expected, rtol=tolerance, atol=tolerance)


def main() -> None:
    backend_registration._setup_privateuseone_for_python_backend(DEVICE)
    library = torch.library.Library("_", "IMPL"), torch.library.Library("aten", "IMPL")
    register(*library)
    # All types are tried on the device `composed`.
    dtypes = (torch.float64, torch.bfloat16) if HAS_FLOAT64 else (torch.float32,)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for case in BASIC_CASES:
            for dtype in dtypes:
                try:
                    check(case, dtype)
                except Exception as error:
                    raise RuntimeError(f"{case} in {dtype}") from error
        check_other_ops()
    ours = [str(w.message) for w in caught if "torch_infotheory" in str(w.message)]
    assert len(ours) == 1 and f"no kernels for {DEVICE} tensors" in ours[0], ours
    print(len(BASIC_CASES), "cases agree")


if __name__ == "__main__":
    main()
