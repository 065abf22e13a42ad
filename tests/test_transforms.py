"""torch.func: what each transform makes of an op is what it makes of the op's composition.

Both sides are transformed by the same lines. Slow paths are off, so that an op without a batching
rule raises an error.
"""

from collections.abc import Callable, Iterable, Iterator
from itertools import combinations, product
from typing import Any

import pytest
import torch
from composites import composite
from ops import BASIC_CASES, CASES, Case, random
from torch import Tensor
from torch.func import (
    functional_call,
    functionalize,
    grad,
    hessian,
    jacfwd,
    jacrev,
    jvp,
    stack_module_state,
    vjp,
    vmap,
)
from torch.utils._pytree import tree_leaves, tree_map

from torch_infotheory.nn import functional

Function = Callable[..., Tensor]
Inputs = tuple[Tensor, ...]
Numbers = tuple[int, ...]  # of inputs: those with a derivative, in front
Transform = Callable[[Function, Inputs, Numbers], Any]
InDims = tuple[int | None, ...]


@pytest.fixture(autouse=True)
def no_fallback() -> Iterator[None]:
    """Without it, vmap would call an op that it does not know once for each sample."""
    enabled = torch._C._functorch._is_vmap_fallback_enabled()
    torch._C._functorch._set_vmap_fallback_enabled(False)
    yield
    torch._C._functorch._set_vmap_fallback_enabled(enabled)


class Pair:
    """An op and its composition, as functions of the same tensors: inputs, labels and weights."""

    def __init__(self, case: Case, device: str) -> None:
        inputs = case.inputs(torch.float64, device)
        options = case.options_like(inputs[0])
        names = [name for name, option in options.items() if isinstance(option, Tensor)]
        self.inputs: Inputs = (*inputs, *(options.pop(name) for name in names))
        self.numbers: Numbers = tuple(range(len(inputs)))

        def of_tensors(function: Function) -> Function:
            def call(*tensors: Tensor) -> Tensor:
                more = dict(zip(names, tensors[len(inputs) :], strict=True))
                return function(*tensors[: len(inputs)], **options, **more)

            return call

        # A single class has probability 1, whatever its logit; |p - q| has no second derivative.
        self.is_constant = case.shape == () and set(case.kinds) == {"logits"}
        self.is_constant |= case.op.name == "total_variation_distance"
        self.ours, self.theirs = of_tensors(case.op.function), of_tensors(composite(case))

    def assert_same(self, transform: Transform) -> None:
        expected = transform(self.theirs, self.inputs, self.numbers)
        actual = transform(self.ours, self.inputs, self.numbers)
        torch.testing.assert_close(actual, expected, rtol=1e-9, atol=1e-11)
        assert self.is_constant or any(x.count_nonzero() for x in tree_leaves(expected))


def cube(f: Function) -> Function:
    """A scalar whose third derivative is not zero, though `f` may be linear."""
    return lambda *x: f(*x).pow(3).sum()


def total(x: Inputs) -> Tensor:
    return torch.stack([cube(torch.clone)(t) for t in x]).sum()


def tangents(x: Inputs) -> Inputs:
    """Without torch's random numbers, which vmap would have to be told of."""
    count = torch.arange
    return tuple(count(t.numel()).view(t.shape).add(i).cos().to(t) for i, t in enumerate(x))


def partial(f: Function, x: Inputs, n: Numbers) -> Function:
    """`f` of the inputs in `n` alone."""
    return lambda *some: f(*(some[n.index(i)] if i in n else t for i, t in enumerate(x)))


def push(f: Function, x: Inputs, n: Numbers) -> Any:
    """By all inputs, and by each alone."""
    parts = [n, *((i,) for i in n)] if len(n) > 1 else [n]
    return [
        jvp(partial(f, x, part), inputs, tangents(inputs))
        for part in parts
        for inputs in [tuple(x[i] for i in part)]
    ]


def pull(f: Function, x: Inputs, n: Numbers) -> Any:
    value, back = vjp(partial(f, x, n), *(x[i] for i in n))
    return value, back(tangents((value,))[0])


def second(f: Function, x: Inputs, n: Numbers) -> Any:
    return grad(lambda *y: total(grad(cube(f), n)(*y)), n)(*x)


def third(f: Function, x: Inputs, n: Numbers) -> Any:
    gradient = grad(cube(f), n)
    return grad(lambda *y: total(grad(lambda *z: total(gradient(*z)), n)(*y)), n)(*x)


def backward_through(f: Function, x: Inputs, n: Numbers) -> Any:
    """torch.autograd through a gradient that torch.func has taken."""
    inputs = tuple(t.clone().requires_grad_() if i in n else t for i, t in enumerate(x))
    return torch.autograd.grad(total(grad(cube(f), n)(*inputs)), inputs[: len(n)])


DERIVATIVES = {
    "grad": lambda f, x, n: grad(cube(f), n)(*x),
    "vjp": pull,
    "jvp": push,
    "jacrev": lambda f, x, n: jacrev(f, n)(*x),
    "jacfwd": lambda f, x, n: jacfwd(f, n)(*x),
    "hessian": lambda f, x, n: hessian(cube(f), n)(*x),  # forward over reverse
    "jacrev of jacrev": lambda f, x, n: jacrev(jacrev(cube(f), n), n)(*x),
    "jacrev of jacfwd": lambda f, x, n: jacrev(jacfwd(cube(f), n), n)(*x),
    "jacfwd of jacfwd": lambda f, x, n: jacfwd(jacfwd(cube(f), n), n)(*x),
    "grad of grad": second,
    "grad of grad of grad": third,
    "jacfwd of hessian": lambda f, x, n: jacfwd(hessian(cube(f)))(*x),
    "backward of grad": backward_through,
    "functionalize": lambda f, x, n: functionalize(f)(*x),
}

# vmap


def batch(x: Tensor) -> Tensor:
    """`x`, and twice its numbers in another order and of another size."""
    samples = [x.flatten().roll(7 * i).view(x.shape) for i in range(3)]
    if x.is_floating_point():
        samples = [sample * (1 + 0.125 * i) for i, sample in enumerate(samples)]
    return torch.stack(samples)


def batched(x: Inputs, which: Iterable[int]) -> tuple[Inputs, InDims]:
    """Batches of some inputs, the batch dimension in front and at the end by turns."""
    dims = tuple((0, -1)[i % 2] if i in which else None for i in range(len(x)))
    batches = (
        t if dim is None else batch(t).movedim(0, dim) for t, dim in zip(x, dims, strict=True)
    )
    return tuple(batches), dims


def mapped(f: Function, x: Inputs, which: Iterable[int]) -> Any:
    """`f` over batches of the inputs in `which`."""
    batches, dims = batched(x, which)
    return vmap(f, in_dims=dims)(*batches) if any(dim is not None for dim in dims) else f(*x)


def choices(x: Inputs) -> list[Numbers]:
    return [c for size in range(1, len(x) + 1) for c in combinations(range(len(x)), size)]


def nested(transform: Callable[..., Function]) -> Callable[..., Any]:
    """Over two levels, each input batched at the outer one, the inner one or both."""

    def all_ways(f: Function, x: Inputs, n: Numbers) -> list[Any]:
        out = []
        for levels in product(("outer", "inner", "both"), repeat=len(x)):
            inner = [i for i, level in enumerate(levels) if level != "outer"]
            outer = [i for i, level in enumerate(levels) if level != "inner"]
            inside, dims = batched(x, inner)
            scale = torch.arange(1.0, 4.0, dtype=x[0].dtype, device=x[0].device)

            # Batched at the inner level even where no input is.
            def one(k: Tensor, *y: Tensor) -> Any:
                return tree_map(lambda t: t * k, transform(f, n)(*y))

            def inner_level(*y: Tensor, dims: InDims = dims, scale: Tensor = scale) -> Any:
                return vmap(one, in_dims=(0, *dims))(scale, *y)

            out.append(mapped(inner_level, inside, outer))
        return out

    return all_ways


def summed(f: Function) -> Function:
    return lambda *x: vmap(cube(f))(*x).sum()


def every(x: Inputs) -> Inputs:
    return tuple(map(batch, x))


VMAPS = {
    "vmap": lambda f, x, n: [mapped(f, x, c) for c in choices(x)],
    "vmap of grad": lambda f, x, n: [mapped(grad(cube(f), n), x, c) for c in choices(x)],
    "vmap of jvp": lambda f, x, n: [mapped(lambda *y: push(f, y, n), x, c) for c in choices(x)],
    "vmap of jacrev": lambda f, x, n: mapped(jacrev(f, n), x, range(len(x))),
    "vmap of hessian": lambda f, x, n: mapped(hessian(cube(f), n), x, range(len(x))),
    "grad of vmap": lambda f, x, n: grad(summed(f), n)(*every(x)),
    "hessian of vmap": lambda f, x, n: hessian(summed(f), n)(*every(x)),
    "vmap of grad of vmap": lambda f, x, n: vmap(grad(summed(f), n))(*every(every(x))),
    "vmap of vmap": nested(lambda f, n: f),
    "vmap of vmap of grad": nested(lambda f, n: grad(cube(f), n)),
}

LAYOUTS = {"dim_0", "several_dims", "broadcast_both", "batch_inside", "scalar"}


def is_sample(case: Case) -> bool:
    """One of each op and kind, more layouts as logits, and every loss of labels."""
    if not case.op.kinds:
        return True
    if set(case.kinds) == {"logits"} or case.kinds == ("probs", "logits"):
        return case in BASIC_CASES or case.name in LAYOUTS
    return set(case.kinds) == {"probs"} and case.name in {"rows", "tables", "scalar"}


# The distance of two scalars is 0, where a root has no derivative.
SAMPLES = [c for c in CASES if is_sample(c) and not (c.op.is_root and c.name == "scalar")]


def columns(transforms: dict[str, Transform]) -> list[Any]:
    return [
        pytest.param(transform, marks=pytest.mark.transform(name), id=name.replace(" ", "_"))
        for name, transform in transforms.items()
    ]


@pytest.mark.parametrize("case", SAMPLES, ids=str)
@pytest.mark.parametrize("transform", columns(DERIVATIVES | VMAPS))
def test_transform(transform: Transform, case: Case, device: str) -> None:
    Pair(case, device).assert_same(transform)


# Models


def linear(classes: int, seed: int = 0) -> torch.nn.Module:
    torch.manual_seed(seed)
    return torch.nn.Linear(6, classes, dtype=torch.float64)


def features(rows: int) -> Tensor:
    return random(rows, 6, seed=4)


def loss_of(model: torch.nn.Module, f: Function) -> Function:
    """Of parameters, features and targets: `f`, with the output of the model as its first input."""
    return lambda parameters, x, *rest: f(functional_call(model, parameters, (x,)), *rest)


def per_sample(f: Function, x: Inputs, n: Numbers) -> Any:
    """The gradient by the parameters of a model, for each row by itself."""
    rows, classes = x[0].shape
    model = linear(classes).to(x[0].device)
    dims = (0 if len(t) == rows else None for t in x[1:])  # class weights have no rows
    gradient = vmap(grad(loss_of(model, f)), in_dims=(None, 0, *dims))
    return gradient(dict(model.named_parameters()), features(rows).to(x[0].device), *x[1:])


def ensemble(f: Function, x: Inputs, n: Numbers) -> Any:
    """The gradients of several models, on the same rows."""
    rows, classes = x[0].shape
    models = [linear(classes, seed).to(x[0].device) for seed in range(3)]
    gradient = vmap(grad(loss_of(models[0], f)), in_dims=(0, *(None for _ in x)))
    return gradient(stack_module_state(models)[0], features(rows).to(x[0].device), *x[1:])


TRAINED = [
    case
    for case in SAMPLES
    if case.op.name in {"cross_entropy_loss", "nll_loss", "kl_div", "entropy_loss", "js_div"}
    if case.options.get("reduction", "mean") == "mean" and len(case.shape) == 2
    if set(case.kinds) <= {"logits"}  # which any output of a model states
    if "ignore_index" not in case.options  # the mean of a row that is ignored is NaN
]


@pytest.mark.parametrize("case", TRAINED, ids=str)
@pytest.mark.parametrize(
    "transform", columns({"per-sample gradients": per_sample, "ensemble": ensemble})
)
def test_model(transform: Transform, case: Case, device: str) -> None:
    Pair(case, device).assert_same(transform)


# Half precision


def test_vmap_rounds_once(device: str) -> None:
    """Neither the rows nor their number are rounded before the mean of a sample is taken."""
    x = random(3, 1001, 7).to(device, torch.bfloat16)
    labels = torch.arange(3 * 1001, device=device).view(3, 1001) % 7
    expected = [functional.cross_entropy(*sample) for sample in zip(x, labels, strict=True)]
    actual = vmap(functional.cross_entropy)(x, labels)
    assert actual.dtype == torch.bfloat16
    torch.testing.assert_close(actual, torch.stack(expected), rtol=2**-8, atol=0)  # one unit
    gradient = vmap(grad(functional.cross_entropy))(x, labels)
    expected = [grad(functional.cross_entropy)(*sample) for sample in zip(x, labels, strict=True)]
    torch.testing.assert_close(gradient, torch.stack(expected), rtol=2**-8, atol=0)


# Class weights


WEIGHTED = [case for case in SAMPLES if "weight" in case.options]


@pytest.mark.parametrize("case", WEIGHTED, ids=str)
def test_forward_mode_by_class_weights(case: Case, device: str) -> None:
    pair = Pair(case, device)
    weight = (len(pair.inputs) - 1,)  # the last of them
    pair.assert_same(lambda f, x, n: push(f, x, weight))
    pair.assert_same(lambda f, x, n: push(grad(cube(f), n), x, weight))


@pytest.mark.parametrize("case", WEIGHTED, ids=str)
def test_reverse_mode_by_class_weights(case: Case, device: str) -> None:
    """With class indices torch has no such gradient either; with probabilities there is one."""
    pair = Pair(case, device)
    weight = (len(pair.inputs) - 1,)
    for transform in (
        lambda f, x, n: grad(cube(f), weight)(*x),
        lambda f, x, n: mapped(grad(cube(f), weight), x, weight),
        lambda f, x, n: jacrev(grad(cube(f), n), weight)(*x),
    ):
        if pair.inputs[1].is_floating_point():
            pair.assert_same(transform)
        else:
            with pytest.raises(RuntimeError, match="cross_entropy: not differentiable .* weight"):
                transform(pair.ours, pair.inputs, pair.numbers)


def test_vmap_over_no_class_weights() -> None:
    input, labels = random(2, 3), torch.tensor([0, 1])
    with pytest.raises(RuntimeError, match="cross_entropy: vmap over no class weights"):
        vmap(lambda w: functional.cross_entropy(input, labels, w))(input[:0])
