"""Losses from hidden states: the same as the loss of the logits that they never hold.

The composition that they are compared with is written here in torch's operations, on float64.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
import torch
from dropin import assert_same, assert_same_error, naming
from ranks import Ranks
from torch import Tensor
from torch.autograd import gradcheck, gradgradcheck
from torch.func import grad, hessian, jacfwd, jacrev, jvp, vmap
from torch.library import opcheck
from torch.testing._internal.common_methods_invocations import op_db
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map_only
from torch.utils.checkpoint import checkpoint

from torch_infotheory import nn
from torch_infotheory.nn import functional as F

N, H, C = 6, 4, 5
Tensors = dict[str, Tensor]
KINDS: dict[str, Callable[[Tensor], Tensor]] = {
    "logits": lambda z: z,
    "log_probs": lambda z: z.log_softmax(-1),
    "probs": lambda z: z.softmax(-1),
}


# ---- the composition ----


def logits(h: Tensor, weight: Tensor, bias: Tensor | None, o: dict[str, Any]) -> Tensor:
    z = torch.einsum("nh,c...h->nc...", h, weight)
    if bias is not None:
        z = z + bias
    if o.get("softcap"):
        z = o["softcap"] * torch.tanh(z / o["softcap"])
    return z / o.get("temperature", 1.0)


def reduced(value: Tensor, counts: Tensor, reduction: str) -> Tensor:
    value = torch.where(counts > 0, value, 0.0)
    if reduction == "none":
        return value
    return value.sum() / (counts.sum() if reduction == "mean" else 1)


def composed_cross_entropy(
    input: Tensor,
    linear_weight: Tensor,
    target: Tensor,
    linear_bias: Tensor | None = None,
    weight: Tensor | None = None,
    **o: Any,
) -> Tensor:
    if input.dim() == 1:
        value = composed_cross_entropy(
            input[None], linear_weight, target[None], linear_bias, weight, **o
        )
        return value[0] if o.get("reduction") == "none" else value
    log_p = logits(input, linear_weight, linear_bias, o).log_softmax(1)
    classes = log_p.shape[1]
    w = torch.ones(classes, dtype=log_p.dtype) if weight is None else weight.to(log_p.dtype)
    smoothing = o.get("label_smoothing", 0.0)
    if target.is_floating_point():
        hot, counts = target, torch.ones_like(target[:, 0])
    else:
        known = target != o.get("ignore_index", -100)
        label = torch.where(known, target, 0).long()
        hot = torch.nn.functional.one_hot(label, classes).movedim(-1, 1).to(log_p.dtype)
        counts = torch.where(known, w[label], 0.0)
        hot = hot * known.unsqueeze(1)
        log_p = torch.where(known.unsqueeze(1), log_p, 0.0)
    hot = (1 - smoothing) * hot + smoothing / classes
    w = w.view(-1, *[1] * (log_p.dim() - 2))
    value = -(w * hot * log_p).sum(1)
    reduction = o.get("reduction", "mean")
    if reduction != "mean":
        return value if reduction == "none" else value.sum()
    return value.sum() / counts.sum()


def composed_entropy(
    input: Tensor,
    linear_weight: Tensor,
    linear_bias: Tensor | None = None,
    mask: Tensor | None = None,
    **o: Any,
) -> Tensor:
    log_p = logits(input, linear_weight, linear_bias, o).log_softmax(-1)
    value = -(log_p.exp() * log_p).sum(-1) / math.log(o.get("base") or math.e)
    counts = torch.ones_like(value) if mask is None else mask.to(value.dtype)
    return reduced(value, counts, o.get("reduction", "mean"))


def teacher(
    target: Tensor, weight: Tensor | None, bias: Tensor | None, o: dict[str, Any]
) -> Tensor:
    if weight is not None:
        return logits(target, weight, bias, o).log_softmax(-1)
    kind = o.get("kind", "logits")
    if kind == "logits":
        return (target / o.get("temperature", 1.0)).log_softmax(-1)
    return target if kind == "log_probs" else target.log()


def composed_of_teacher(measure: Callable[..., Tensor]) -> Callable[..., Tensor]:
    def composed(
        input: Tensor,
        linear_weight: Tensor,
        target: Tensor,
        linear_bias: Tensor | None = None,
        target_weight: Tensor | None = None,
        target_bias: Tensor | None = None,
        mask: Tensor | None = None,
        **o: Any,
    ) -> Tensor:
        log_p = logits(input, linear_weight, linear_bias, o).log_softmax(-1)
        value = measure(log_p, teacher(target, target_weight, target_bias, o), o)
        counts = torch.ones_like(value) if mask is None else mask.to(value.dtype)
        return reduced(value, counts, o.get("reduction", "mean"))

    return composed


def kl(log_p: Tensor, log_q: Tensor, o: dict[str, Any]) -> Tensor:
    if o.get("direction", "forward") == "forward":
        log_p, log_q = log_q, log_p
    return (log_p.exp() * (log_p - log_q)).sum(-1)


def js(log_p: Tensor, log_q: Tensor, o: dict[str, Any]) -> Tensor:
    log_m = torch.logaddexp(log_p, log_q) - math.log(2)
    of_p, of_q = log_p.exp() * (log_p - log_m), log_q.exp() * (log_q - log_m)
    return (of_p + of_q).sum(-1) / 2


def log_probs_of_index(
    input: Tensor,
    linear_weight: Tensor,
    target: Tensor,
    linear_bias: Tensor | None = None,
    reduction: str = "mean",
    **o: Any,
) -> Tensor:
    """The three results of linear_log_probs, together reduced like a loss and rounded once."""
    dtype = o.pop("dtype", None) or input.dtype
    widest = torch.promote_types(input.dtype, torch.float32)
    o["dtype"] = torch.promote_types(dtype, widest)
    results = F.linear_log_probs(input, linear_weight, target, linear_bias=linear_bias, **o)
    each = torch.stack(results, -1)
    return (each if reduction == "none" else getattr(each, reduction)()).to(dtype)


def composed_log_probs(
    input: Tensor,
    linear_weight: Tensor,
    target: Tensor,
    linear_bias: Tensor | None = None,
    **o: Any,
) -> Tensor:
    z = logits(input, linear_weight, linear_bias, o)
    known = target != o.get("ignore_index", -100)
    log_p = z.log_softmax(1)
    of_class = log_p.gather(1, torch.where(known, target, 0).unsqueeze(1)).squeeze(1)
    results = (of_class, -(log_p.exp() * log_p).sum(1), z.logsumexp(1))
    each = torch.where(known.unsqueeze(-1), torch.stack(results, -1), 0.0)
    return reduced(each, torch.ones_like(each), o.get("reduction", "mean"))


# ---- cases ----


@dataclass(frozen=True)
class Case:
    name: str
    ours: Callable[..., Tensor]
    theirs: Callable[..., Tensor]
    options: dict[str, Any] = field(default_factory=dict)
    target: str = ""  # "labels", "some", "probs" of classes; a kind; "states"; "" for none
    more: tuple[str, ...] = ()  # further tensors
    places: tuple[int, ...] = ()  # d1, ..., dK

    def __str__(self) -> str:
        return self.name

    def tensors(
        self, dtype: torch.dtype = torch.float64, n: int = N, h: int = H, c: int = C
    ) -> Tensors:
        generator = torch.Generator().manual_seed(0)

        def random(*shape: int) -> Tensor:
            return torch.randn(shape, generator=generator, dtype=torch.float64)

        x = {"input": random(n, h), "linear_weight": random(c, *self.places, h)}
        if self.target in ("labels", "some"):
            target = torch.randint(c, (n, *self.places), generator=generator)
            if self.target == "some":
                target[1:3] = self.options.get("ignore_index", -100)
                target[-1] = self.options.get("ignore_index", -100)
            x["target"] = target
        elif self.target == "class_probs":
            x["target"] = random(n, c, *self.places).softmax(1)
        elif self.target == "states":
            x["target"], x["target_weight"] = random(n, h + 2), random(c, h + 2)
        elif self.target:
            x["target"] = KINDS[self.target](random(n, c))
        sizes = {"linear_bias": (c, *self.places), "target_bias": (c,), "weight": (c,)}
        for name in self.more:
            if name == "mask":
                x[name] = torch.arange(n) % 3 != 1
            else:
                x[name] = random(*sizes[name])
        if "weight" in x:
            x["weight"] = x["weight"].abs() + 0.5
        return {k: t.to(dtype) if t.is_floating_point() else t for k, t in x.items()}

    def by(self, x: Tensors) -> list[str]:
        """The names of what has a gradient."""
        return [k for k, t in x.items() if t.is_floating_point() and k != "weight"]

    def with_gradients(self, dtype: torch.dtype = torch.float64, **sizes: int) -> Tensors:
        x = self.tensors(dtype, **sizes)
        for name in self.by(x):
            x[name].requires_grad_()
        return x

    def function(self, f: Callable[..., Tensor], x: Tensors, **more: Any) -> Callable[..., Tensor]:
        """Of the tensors that have a gradient."""
        names = self.by(x)

        def call(*some: Tensor) -> Tensor:
            return f(**{**x, **dict(zip(names, some, strict=True))}, **self.options, **more)

        return call


def cases() -> Iterator[Case]:
    def ce(name: str, target: str = "labels", *more: str, places=(), **options: Any) -> Case:  # noqa: ANN001
        name = f"cross_entropy_{name}"
        theirs = composed_cross_entropy
        return Case(name, F.linear_cross_entropy, theirs, options, target, more, places)

    yield ce("plain")
    yield ce("some", "some", "linear_bias")
    yield ce("ignored_class", "some", ignore_index=2)
    yield ce("weighted", "some", "weight", "linear_bias", label_smoothing=0.2)
    yield ce("capped", "labels", "linear_bias", softcap=1.5, temperature=0.7)
    yield ce("warm", "labels", "linear_bias", temperature=1.7)
    yield ce("places", "some", "weight", "linear_bias", places=(2, 3), label_smoothing=0.1)
    yield ce("soft", "class_probs", "linear_bias")
    yield ce("soft_weighted", "class_probs", "weight", label_smoothing=0.3, softcap=2.0)
    yield ce("soft_places", "class_probs", "weight", places=(3,))

    def entropy(name: str, *more: str, **options: Any) -> Case:
        name = f"entropy_{name}"
        return Case(name, F.linear_entropy, composed_entropy, options, "", more)

    yield entropy("plain")
    yield entropy("masked", "mask", "linear_bias", base=2)
    yield entropy("capped", softcap=1.5, temperature=0.7)

    def kl_div(name: str, target: str, *more: str, **options: Any) -> Case:
        name = f"kl_div_{name}"
        if target in KINDS:
            options["kind"] = target
        return Case(name, F.linear_kl_div, composed_of_teacher(kl), options, target, more)

    for direction in ("forward", "reverse"):
        for kind in KINDS:
            yield kl_div(f"{direction}_{kind}", kind, direction=direction)
        yield kl_div(f"{direction}_states", "states", direction=direction)
        more = ("mask", "linear_bias", "target_bias")
        options = {"direction": direction, "softcap": 1.5, "temperature": 1.7}
        yield kl_div(f"{direction}_states_all", "states", *more, **options)
    yield kl_div("warm", "logits", "mask", temperature=1.7)

    def js_div(name: str, target: str, *more: str, **options: Any) -> Case:
        name = f"js_div_{name}"
        if target in KINDS:
            options["kind"] = target
        return Case(name, F.linear_js_div, composed_of_teacher(js), options, target, more)

    for kind in KINDS:
        yield js_div(kind, kind)
    yield js_div("states", "states", "mask", "linear_bias", "target_bias", softcap=3.0)

    def log_probs(name: str, target: str, *more: str, **options: Any) -> Case:
        name = f"log_probs_{name}"
        return Case(name, log_probs_of_index, composed_log_probs, options, target, more)

    yield log_probs("plain", "labels")
    yield log_probs("some", "some", "linear_bias", temperature=1.7)
    yield log_probs("capped", "some", "linear_bias", ignore_index=2, softcap=1.5)


CASES = list(cases())
NAMED = {case.name: case for case in CASES}
REDUCTIONS = ("none", "mean", "sum")
each_case = pytest.mark.parametrize("case", CASES, ids=str)
each_reduction = pytest.mark.parametrize("reduction", REDUCTIONS)
# One of each formula, with whatever a transform could stumble over.
SOME = [
    NAMED[name]
    for name in (
        "cross_entropy_weighted",
        "cross_entropy_places",
        "cross_entropy_soft_weighted",
        "entropy_masked",
        "kl_div_forward_states_all",
        "kl_div_reverse_logits",
        "js_div_states",
    )
]
each_of_some = pytest.mark.parametrize("case", SOME, ids=str)


# The error with which the gradient by logits is multiplied by factors of bfloat16, at most: for the
# gradients by the hidden states and by the weight.
GRADIENT_ERRORS = 2.0**-9, 2.0**-16


def cotangent(value: Tensor) -> Tensor:
    numbers = torch.linspace(0.5, 1.5, value.numel(), dtype=torch.float64).bfloat16()
    return numbers.view(value.shape).to(value.dtype)


def value_and_gradients(
    case: Case, f: Callable[..., Tensor], x: Tensors, **more: Any
) -> list[Tensor]:
    value = f(**x, **case.options, **more)
    by = [x[name] for name in case.by(x)]
    return [value, *torch.autograd.grad(value, by, cotangent(value))]


def assert_all_close(actual: Any, expected: Any, **tolerance: float) -> None:
    tolerance = tolerance or {"rtol": 1e-9, "atol": 1e-11}
    torch.testing.assert_close(actual, expected, **tolerance)


# ---- values and first derivatives ----


@each_reduction
@each_case
def test_float64(case: Case, reduction: str) -> None:
    x = case.with_gradients()
    actual = value_and_gradients(case, case.ours, x, reduction=reduction)
    expected = value_and_gradients(case, case.theirs, x, reduction=reduction)
    assert_all_close(actual, expected)
    assert all(t.count_nonzero() for t in expected)


@each_reduction
@each_case
def test_float32(case: Case, reduction: str) -> None:
    x = case.with_gradients(torch.float32)
    actual = value_and_gradients(case, case.ours, x, reduction=reduction)
    exact = {k: t.detach().double() if t.is_floating_point() else t for k, t in x.items()}
    for name in case.by(x):
        exact[name].requires_grad_()
    expected = value_and_gradients(case, case.theirs, exact, reduction=reduction)
    assert all(t.dtype == torch.float32 for t in actual)
    assert_all_close([t.double() for t in actual], expected, rtol=2e-5, atol=2e-6)


def error(actual: Tensor, exact: Tensor) -> float:
    return (actual.double() - exact).norm().item()


@pytest.mark.parametrize("dtype", (torch.bfloat16, torch.float16), ids=str)
@each_reduction
@each_case
def test_half_is_no_further_than_eager(case: Case, reduction: str, dtype: torch.dtype) -> None:
    """From float64 on the same rounded inputs, in the loss and in every gradient."""
    x = case.with_gradients(dtype, n=24, h=32, c=40)
    exact = {k: t.detach().double() if t.is_floating_point() else t for k, t in x.items()}
    for name in case.by(x):
        exact[name].requires_grad_()
    true = value_and_gradients(case, case.theirs, exact, reduction=reduction)
    theirs = value_and_gradients(case, case.theirs, x, reduction=reduction)
    ours = value_and_gradients(case, case.ours, x, reduction=reduction)
    for i, (a, e, t) in enumerate(zip(ours, theirs, true, strict=True)):
        assert a.dtype == dtype
        # What one rounding of the result leaves is nobody's fault.
        rounding = error(t.to(dtype), t)
        assert error(a, t) <= max(error(e, t), 1.05 * rounding) + 1e-6 * t.norm().item(), i


# Totals of half types are not those of distributions, and count as equal where torch's do not.
@pytest.mark.parametrize("dtype", (torch.bfloat16, torch.float16), ids=str)
@pytest.mark.parametrize(
    "case", [case for case in CASES if case.target not in ("probs", "log_probs")], ids=str
)
def test_a_float32_loss_of_half_operands_is_exact(case: Case, dtype: torch.dtype) -> None:
    x = case.tensors(dtype, n=64, h=64, c=500)
    loss = case.ours(**x, **case.options, reduction="none", dtype=torch.float32)
    wide = {k: t.double() if t.is_floating_point() else t for k, t in x.items()}
    exact = case.theirs(**wide, **case.options, reduction="none")
    assert loss.dtype == torch.float32
    assert error(loss, exact) < 2e-6 * exact.norm().item()


# ---- blocks of rows ----


class Blocks(torch.nn.Module):
    """What says how many rows a block has, on releases of torch without the class for it."""

    def __init__(self, rows: int) -> None:
        super().__init__()
        self.batch_chunk_size = rows


@pytest.mark.parametrize("rows", (1, 2, 4, 5, 100))
@pytest.mark.parametrize("name", [c.name for c in CASES if c.name.startswith("cross")])
def test_any_block_gives_the_same(name: str, rows: int) -> None:
    case = NAMED[name]
    for reduction in REDUCTIONS:
        x = case.with_gradients()
        actual = value_and_gradients(case, case.ours, x, reduction=reduction, options=Blocks(rows))
        expected = value_and_gradients(case, case.theirs, x, reduction=reduction)
        assert_all_close(actual, expected)


@pytest.mark.parametrize("reduction", ("none", "mean"))
@each_of_some
def test_several_blocks_by_the_sizes(case: Case, reduction: str) -> None:
    """So many classes that the logits of 64 MiB are those of 20 or 41 rows."""
    places = math.prod(case.places)
    x = case.with_gradients(n=61, h=3, c=200_000 // places)
    actual = value_and_gradients(case, case.ours, x, reduction=reduction)
    expected = value_and_gradients(case, case.theirs, x, reduction=reduction)
    assert_all_close(actual, expected, rtol=1e-8, atol=1e-11)


@each_of_some
def test_repeats_bit_for_bit(case: Case) -> None:
    x = case.with_gradients(torch.float32, n=61, h=8, c=300_000 // math.prod(case.places))
    first = value_and_gradients(case, case.ours, x)
    again = value_and_gradients(case, case.ours, x)
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))


class Products:
    """Counts matrix products in a profile."""

    def __enter__(self) -> "Products":
        self.profile = torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU])
        self.profile.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        self.profile.__exit__(*error)

    @property
    def count(self) -> int:
        names = ("aten::addmm", "aten::mm")
        return sum(e.count for e in self.profile.key_averages() if e.key in names)


@pytest.mark.parametrize(("reduction", "products"), (("mean", 3), ("sum", 3), ("none", 4)))
def test_number_of_products(reduction: str, products: int) -> None:
    case = NAMED["cross_entropy_some"]
    x = case.with_gradients()
    with Products() as seen:
        value_and_gradients(case, case.ours, x, reduction=reduction)
    assert seen.count == products
    with Products() as seen, torch.no_grad():
        case.ours(**x, **case.options, reduction=reduction)
    assert seen.count == 1


def test_only_the_gradients_that_are_asked_for() -> None:
    case = NAMED["cross_entropy_plain"]
    x = case.tensors()
    x["input"].requires_grad_()
    with Products() as seen:
        case.ours(**x).backward()
    assert seen.count == 2


def test_bad_labels_before_anything_is_multiplied() -> None:
    x = NAMED["cross_entropy_plain"].tensors()
    for bad in (-1, C, C + 3):
        x["target"][3] = bad
        with Products() as seen, pytest.raises(IndexError, match=f"Target {bad} is out of bounds."):
            F.linear_cross_entropy(**x)
        assert seen.count == 0


@pytest.mark.parametrize("reduction", ("none", "sum", "mean"))
def test_rows_that_do_not_count_are_not_read(reduction: str) -> None:
    for name in ("cross_entropy_some", "entropy_masked", "kl_div_forward_states_all"):
        case = NAMED[name]
        x = case.with_gradients()
        expected = value_and_gradients(case, case.theirs, x, reduction=reduction)
        left_out = x["target"] == -100 if name == "cross_entropy_some" else ~x["mask"]
        with torch.no_grad():
            x["input"][left_out] = math.nan
            if "target_weight" in x:
                x["target"][left_out] = math.inf
        actual = value_and_gradients(case, case.ours, x, reduction=reduction)
        assert_all_close(actual, expected)
        assert not actual[1][left_out].any()


@pytest.mark.parametrize("rows", (0, N))
def test_nothing_counts(rows: int) -> None:
    """The mean is torch's NaN, and the gradients are 0."""
    case = NAMED["cross_entropy_some"]
    x = case.with_gradients()
    x["target"] = torch.full((rows,), -100)
    x["input"] = x["input"][:rows].detach().requires_grad_()
    value, *gradients = value_and_gradients(case, case.ours, x)
    assert value.isnan()
    assert not any(t.any() for t in gradients)
    assert case.ours(**x, reduction="sum").item() == 0
    assert not case.ours(**x, reduction="none").any()


# ---- autograd ----


@each_case
def test_gradcheck(case: Case) -> None:
    x = case.with_gradients(n=4, h=2, c=3)
    by = [x[name] for name in case.by(x)]
    for reduction in ("none", "mean"):
        function = case.function(case.ours, x, reduction=reduction)
        assert gradcheck(function, by, check_forward_ad=True, check_batched_grad=True)


@each_of_some
def test_gradgradcheck(case: Case) -> None:
    x = case.with_gradients(n=4, h=2, c=3)
    by = [x[name] for name in case.by(x)]
    for reduction in ("none", "mean"):
        function = case.function(case.ours, x, reduction=reduction)
        assert gradgradcheck(function, by, check_fwd_over_rev=True, fast_mode=True)


def test_backward_twice_gives_the_same() -> None:
    case = NAMED["cross_entropy_some"]
    for dtype in (torch.float32, torch.bfloat16):
        for reduction in ("mean", "sum"):
            x = case.with_gradients(dtype)
            by = [x[name] for name in case.by(x)]
            loss = case.ours(**x, reduction=reduction)
            first = torch.autograd.grad(3 * loss, by, retain_graph=True)
            kept = [t.clone() for t in first]
            again = torch.autograd.grad(3 * loss, by)
            for a, b, c in zip(first, again, kept, strict=True):
                assert torch.equal(a, b) and torch.equal(a, c)
            with pytest.raises(RuntimeError, match="second time"):
                torch.autograd.grad(loss, by)


def test_gradients_accumulate() -> None:
    case = NAMED["cross_entropy_some"]
    x = case.with_gradients(torch.float32)
    for scale in (1.0, 65536.0):
        for name in case.by(x):
            x[name].grad = None
        for _ in range(2):
            (scale * case.ours(**x)).backward()
        for name, t in zip(case.by(x), value_and_gradients(case, case.theirs, x)[1:], strict=True):
            factor = 2 * scale / cotangent(torch.tensor(0.0)).item()
            assert_all_close(x[name].grad, factor * t, rtol=1e-5, atol=1e-5 * scale)


def test_float16_gradients_do_not_underflow() -> None:
    """Of a mean over many rows, before a scaler's factor has brought them into range."""
    generator = torch.Generator().manual_seed(0)
    h = torch.randn(4096, 8, generator=generator).half().requires_grad_()
    weight = torch.randn(64, 8, generator=generator).half().requires_grad_()
    target = torch.randint(64, (4096,), generator=generator)
    loss = F.linear_cross_entropy(h, weight, target, dtype=torch.float32)
    actual = torch.autograd.grad(loss * 65536, (h, weight))
    exact = [t.detach().double().requires_grad_() for t in (h, weight)]
    expected = torch.autograd.grad(composed_cross_entropy(*exact, target) * 65536, exact)
    for a, e in zip(actual, expected, strict=True):
        assert_all_close(a.double(), e, rtol=1e-3, atol=1e-7 * 65536)


@pytest.mark.parametrize("use_reentrant", (False, True))
@each_of_some
def test_checkpoint(case: Case, use_reentrant: bool) -> None:
    x = case.with_gradients()
    by = [x[name] for name in case.by(x)]
    loss = checkpoint(case.function(case.ours, x), *by, use_reentrant=use_reentrant)
    loss.backward()
    expected = torch.autograd.grad(case.function(case.theirs, x)(*by), by)
    assert_all_close([t.grad for t in by], list(expected))


def test_saved_tensors_are_the_operands_and_the_gradients() -> None:
    x = NAMED["cross_entropy_plain"].with_gradients()
    kept: dict[int, int] = {}

    def note(t: Tensor) -> Tensor:
        kept[t.untyped_storage().data_ptr()] = t.numel()
        return t

    for reduction, of_ours in (("none", 0), ("mean", N * H + C * H + 1)):
        kept.clear()
        with torch.autograd.graph.saved_tensors_hooks(note, lambda t: t):
            F.linear_cross_entropy(**x, reduction=reduction)
        for t in x.values():
            kept.pop(t.untyped_storage().data_ptr(), None)
        assert sum(kept.values()) == of_ours


# ---- torch.func ----


def tangents(by: list[Tensor]) -> tuple[Tensor, ...]:
    return tuple(torch.arange(t.numel()).view(t.shape).add(i).cos().to(t) for i, t in enumerate(by))


FUNC: dict[str, Callable[[Callable[..., Tensor], list[Tensor]], Any]] = {
    "grad": lambda f, by: grad(lambda *t: f(*t).pow(2).sum(), tuple(range(len(by))))(*by),
    "jvp": lambda f, by: jvp(f, tuple(by), tangents(by)),
    "jacrev": lambda f, by: jacrev(f, tuple(range(len(by))))(*by),
    "jacfwd": lambda f, by: jacfwd(f, tuple(range(len(by))))(*by),
    "hessian": lambda f, by: hessian(lambda *t: f(*t).pow(2).sum(), tuple(range(len(by))))(*by),
    "jacrev of jacrev": lambda f, by: jacrev(jacrev(f))(*by),
    "grad of grad": lambda f, by: grad(
        lambda *t: grad(lambda *u: f(*u).pow(3).sum())(*t).pow(2).sum(),
        tuple(range(len(by))),
    )(*by),
    "vmap": lambda f, by: vmap(f)(*(torch.stack([t, 2 * t, -t]) for t in by)),
    "vmap of some": lambda f, by: vmap(f, (0, *[None] * (len(by) - 1)))(
        torch.stack([by[0], 2 * by[0]]), *by[1:]
    ),
    "vmap of grad": lambda f, by: vmap(
        grad(lambda *t: f(*t).pow(2).sum(), tuple(range(len(by)))), (0, *[None] * (len(by) - 1))
    )(torch.stack([by[0], 2 * by[0]]), *by[1:]),
    "grad of vmap": lambda f, by: grad(
        lambda *t: (
            vmap(f, (0, *[None] * (len(t) - 1)))(torch.stack([t[0], 2 * t[0]]), *t[1:]).pow(2).sum()
        ),
        tuple(range(len(by))),
    )(*by),
}


@pytest.fixture
def no_fallback() -> Iterator[None]:
    """Of vmap, which would call an op that it does not know once for each sample."""
    enabled = torch._C._functorch._is_vmap_fallback_enabled()
    torch._C._functorch._set_vmap_fallback_enabled(False)
    yield
    torch._C._functorch._set_vmap_fallback_enabled(enabled)


@pytest.mark.usefixtures("no_fallback")
@pytest.mark.parametrize("reduction", ("none", "mean"))
@pytest.mark.parametrize("transform", FUNC)
@each_of_some
def test_func(case: Case, transform: str, reduction: str) -> None:
    x = case.tensors(n=4, h=2, c=3)
    by = [x[name] for name in case.by(x)]
    if transform.startswith("vmap") and case.target == "class_probs":
        by = [t.abs() for t in by]
    results = [
        FUNC[transform](case.function(f, x, reduction=reduction), by)
        for f in (case.ours, case.theirs)
    ]
    assert_all_close(*results)


# ---- torch.compile, export, opcheck, autocast ----


@pytest.fixture
def compile_anew() -> Iterator[None]:
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


@pytest.mark.usefixtures("compile_anew")
@pytest.mark.parametrize("backend", ("aot_eager", "inductor"))
@each_of_some
def test_compile(case: Case, backend: str) -> None:
    if backend == "inductor" and case is not SOME[0]:
        pytest.skip("one case is enough for the compiler behind the graph")
    for reduction in ("none", "mean"):
        x = case.with_gradients()
        compiled = torch.compile(case.ours, backend=backend, fullgraph=True)
        actual = value_and_gradients(case, compiled, x, reduction=reduction)
        assert_all_close(actual, value_and_gradients(case, case.theirs, x, reduction=reduction))
        with torch.no_grad():
            assert_all_close(compiled(**x, **case.options, reduction=reduction), actual[0])


@pytest.mark.usefixtures("compile_anew")
def test_compile_with_open_sizes() -> None:
    case = NAMED["cross_entropy_some"]
    compiled = torch.compile(case.ours, backend="aot_eager", fullgraph=True, dynamic=True)
    for n in (5, 7, 9):
        x = case.with_gradients(n=n, h=n - 2, c=n + 1)
        actual = value_and_gradients(case, compiled, x)
        assert_all_close(actual, value_and_gradients(case, case.theirs, x))


@each_of_some
def test_export(case: Case) -> None:
    x = case.tensors()

    class Loss(torch.nn.Module):
        def forward(self, x: Tensors) -> Tensor:
            return case.ours(**x, **case.options)

    rows = torch.export.Dim("rows", min=2)
    along = {"input", "target", "mask"}
    shapes = {"x": {k: {0: rows} if k in along else None for k in x}}
    program = torch.export.export(Loss(), (x,), dynamic_shapes=shapes)
    for n in (N, 2 * N):
        x = case.tensors(n=n)
        assert_all_close(program.module()(x), case.theirs(**x, **case.options))


class PrivateCalls(TorchDispatchMode):
    """Notes the calls that arrive below the composites."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[tuple[Any, tuple, dict]] = []

    def __torch_dispatch__(self, op, types, args=(), kwargs=None):  # noqa: ANN001, ANN204
        kwargs = kwargs or {}
        if op.namespace == "torch_infotheory" and op._opname.startswith("_linear"):
            self.seen.append((op, *tree_map_only(Tensor, fresh, (args, kwargs))))
        return op(*args, **kwargs)


def fresh(x: Tensor) -> Tensor:
    return x.detach().clone().requires_grad_(x.requires_grad)


@each_reduction
@each_of_some
def test_opcheck(case: Case, reduction: str) -> None:
    x = case.with_gradients(torch.float32)
    with PrivateCalls() as calls:
        value_and_gradients(case, case.ours, x, reduction=reduction)
    assert [call[0]._opname for call in calls.seen] == ["_linear_loss", "_linear_loss_backward"]
    for op, args, kwargs in calls.seen:
        opcheck(op, args, kwargs)


@pytest.mark.parametrize("dtype", (torch.float32, torch.bfloat16), ids=str)
@each_of_some
def test_autocast(case: Case, dtype: torch.dtype) -> None:
    """The result is float32, and as near as products of bfloat16 factors are."""
    x = case.with_gradients(dtype)
    with torch.autocast("cpu", torch.bfloat16):
        value = case.ours(**x, **case.options)
    assert value.dtype == torch.float32
    by = [x[name] for name in case.by(x)]
    gradients = torch.autograd.grad(value, by)
    assert [t.dtype for t in gradients] == [dtype] * len(by)
    exact = {k: t.detach().double() if t.is_floating_point() else t for k, t in x.items()}
    assert_all_close(value.double(), case.theirs(**exact, **case.options), rtol=3e-2, atol=3e-2)
    assert all(t.any() for t in gradients)


def test_autocast_leaves_float64() -> None:
    case = NAMED["cross_entropy_plain"]
    x = case.tensors()
    with torch.autocast("cpu", torch.bfloat16):
        value = case.ours(**x)
    assert_all_close(value, case.theirs(**x))


# ---- torch's own function ----

HAS_TORCHS = hasattr(torch.nn.functional, "linear_cross_entropy")
needs_torchs = pytest.mark.skipif(
    not HAS_TORCHS, reason="this torch has no linear_cross_entropy of its own"
)
TORCHS = [op for op in op_db if op.name == "nn.functional.linear_cross_entropy"]
each_of_torchs = pytest.mark.parametrize(
    "op", TORCHS, ids=lambda op: op.variant_test_name or "reference"
)


def of_logits(*args: Any, options: Any = None, **kwargs: Any) -> Tensor:
    return torch.nn.functional.linear_cross_entropy(*args, **kwargs)


@needs_torchs
def test_torch_has_samples() -> None:
    assert TORCHS


@pytest.mark.parametrize("dtype", (torch.float64, torch.float32, torch.bfloat16), ids=str)
@each_of_torchs
def test_samples_give_what_torch_gives(op: Any, dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    for sample in op.sample_inputs("cpu", dtype, requires_grad=True):
        with naming(sample.summary()):
            assert_same(
                F.linear_cross_entropy,
                of_logits,
                sample.input,
                *sample.args,
                arithmetic=(9 * GRADIENT_ERRORS[0], GRADIENT_ERRORS[1]),  # weights are below 9
                **sample.kwargs,
            )


@each_of_torchs
def test_errors_are_torchs(op: Any) -> None:
    if op.error_inputs_func is None:
        pytest.skip("torch lists no errors of this variant")
    for case in op.error_inputs("cpu"):
        sample = case.sample_input
        with pytest.raises(case.error_type, match=case.error_regex):
            F.linear_cross_entropy(sample.input, *sample.args, **sample.kwargs)


@needs_torchs
@pytest.mark.parametrize(
    "change",
    (
        {"target": torch.zeros(N - 1, dtype=torch.long)},
        {"target": torch.zeros(N, 2, dtype=torch.long)},
        {"target": torch.full((N,), C)},
        {"target": torch.zeros(N)},
        {"weight": torch.ones(C - 1, dtype=torch.float64)},
        {"reduction": "avg"},
        {"label_smoothing": 1.5},
        {"linear_bias": torch.zeros(C, 1, dtype=torch.float64)},
        {"linear_weight": torch.zeros(C, H)},
    ),
    ids=str,
)
def test_other_errors_are_torchs(change: dict[str, Any]) -> None:
    x: dict[str, Any] = NAMED["cross_entropy_plain"].tensors()
    assert_same_error(
        F.linear_cross_entropy, torch.nn.functional.linear_cross_entropy, **x | change
    )


def test_names_what_is_not_a_tensor() -> None:
    x: dict[str, Any] = NAMED["cross_entropy_plain"].tensors()
    with pytest.raises(TypeError, match="'input' must be Tensor, not list"):
        F.linear_cross_entropy(**x | {"input": [[1.0] * H] * N})


@needs_torchs
@pytest.mark.parametrize("places", ((), (2, 3)))
def test_module_gives_what_torchs_module_gives(places: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    options = {"out_features": places, "bias": True, "ignore_index": 1, "label_smoothing": 0.1}
    theirs = torch.nn.LinearCrossEntropyLoss(H, C, **options)
    ours = nn.LinearCrossEntropyLoss(H, C, **options)
    ours.load_state_dict(theirs.state_dict())
    assert isinstance(ours, torch.nn.LinearCrossEntropyLoss)
    input, target = torch.randn(N, H), torch.randint(C, (N, *places))
    assert_all_close(ours(input, target), theirs(input, target), rtol=1e-5, atol=1e-6)


def test_modules_call_the_functions() -> None:
    torch.manual_seed(0)
    input, target, mask = torch.randn(N, H), torch.randn(N, C), torch.arange(N) % 2 == 0
    common = {"bias": True, "softcap": 3.0, "temperature": 2.0}
    entropy = nn.LinearEntropyLoss(H, C, base=2, **common)
    kl_div = nn.LinearKLDivLoss(H, C, direction="reverse", **common)
    js_div = nn.LinearJSDivLoss(H, C, kind="probs", reduction="sum", **common)
    given = {
        entropy: ((), F.linear_entropy, {"base": 2}),
        kl_div: ((target,), F.linear_kl_div, {"direction": "reverse"}),
        js_div: ((target.softmax(1),), F.linear_js_div, {"kind": "probs", "reduction": "sum"}),
    }
    for module, (more, function, options) in given.items():
        linear = module.linear
        expected = function(
            input,
            linear.weight,
            *more,
            linear_bias=linear.bias,
            mask=mask,
            softcap=3.0,
            temperature=2.0,
            **options,
        )
        assert torch.equal(module(input, *more, mask=mask), expected)
        assert "softcap=3.0" in repr(module)


# ---- DTensor ----


@pytest.fixture(scope="module")
def ranks(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ranks]:
    ranks = Ranks(2, tmp_path_factory.mktemp("ranks"))
    yield ranks
    ranks.stop()


SHARDED = (
    "cross_entropy_some",
    "cross_entropy_weighted",
    "entropy_plain",
    "kl_div_reverse_logits",
    "kl_div_forward_states",
)


def check_shards(name: str, layout: str) -> None:
    from torch.distributed.tensor import Replicate, Shard, distribute_tensor, init_device_mesh

    mesh, case = init_device_mesh("cpu", (2,)), NAMED[name]
    rows = {"input": 0, "target": 0, "mask": 0}
    classes = {"linear_weight": 0, "linear_bias": 0, "target_weight": 0, "weight": 0}
    if case.target in KINDS:
        classes["target"] = 1
    dims = rows if layout == "rows" else classes
    for reduction in REDUCTIONS:
        x = case.with_gradients()
        expected = value_and_gradients(case, case.ours, x, reduction=reduction)
        places = {k: Shard(dims[k]) if k in dims else Replicate() for k in x}
        shards = {
            k: distribute_tensor(t.detach(), mesh, [places[k]]).requires_grad_(t.requires_grad)
            for k, t in x.items()
        }
        value = case.ours(**shards, **case.options, reduction=reduction)
        by = [shards[name] for name in case.by(shards)]
        given = distribute_tensor(cotangent(expected[0]), mesh, [Replicate()])
        gradients = torch.autograd.grad(value, by, given)
        assert_all_close([t.full_tensor() for t in (value, *gradients)], expected)


@pytest.mark.skipif(
    not torch.distributed.is_gloo_available(), reason="this build of torch has no gloo"
)
@pytest.mark.parametrize("layout", ("rows", "classes"))
@pytest.mark.parametrize("name", SHARDED)
def test_dtensor(ranks: Ranks, name: str, layout: str) -> None:
    ranks.run(check_shards, name, layout)


# ---- bad input, shapes ----


def test_leading_dimensions() -> None:
    case = NAMED["kl_div_reverse_logits"]
    x = case.tensors()
    flat = case.ours(**x, reduction="none")
    folded = {**x, "input": x["input"].view(2, 3, H), "target": x["target"].view(2, 3, C)}
    mask = torch.arange(N) % 2 == 0
    assert torch.equal(case.ours(**folded, reduction="none"), flat.view(2, 3))
    masked = case.ours(**folded, mask=mask.view(2, 3), reduction="none")
    assert_all_close(masked, torch.where(mask, flat, 0.0).view(2, 3))
    one = F.linear_entropy(x["input"][0], x["linear_weight"], reduction="none")
    assert one.shape == ()
    assert_all_close(one, composed_entropy(x["input"][:1], x["linear_weight"]))


@pytest.mark.parametrize(
    ("change", "error", "says"),
    (
        ({"softcap": 0.0}, ValueError, "softcap"),
        ({"softcap": math.inf}, ValueError, "softcap"),
        ({"temperature": 0.0}, ValueError, "temperature"),
        ({"temperature": math.nan}, ValueError, "temperature"),
        ({"temperature": "hot"}, TypeError, "temperature"),
        ({"softcap": [1.0]}, TypeError, "softcap"),
        ({"kind": "bits"}, ValueError, "bits"),
        ({"kind": None}, TypeError, "kind"),
        ({"direction": "both"}, ValueError, "both"),
        ({"direction": 1}, TypeError, "direction"),
        ({"reduction": "avg"}, ValueError, "avg"),
        ({"mask": torch.ones(N)}, TypeError, "mask"),
        ({"mask": torch.ones(N - 1, dtype=torch.bool)}, RuntimeError, r"mask of shape \[6\]"),
        ({"target": torch.ones(N, C + 1)}, RuntimeError, r"\[6, 5\].*\[6, 6\]"),
        ({"target": torch.ones(N, C).long()}, TypeError, "target"),
        ({"target": None}, TypeError, "target"),
        ({"target_bias": torch.ones(C)}, ValueError, "target_bias"),
        ({"linear_bias": torch.ones(C + 1)}, RuntimeError, "linear_bias"),
        ({"linear_weight": torch.ones(C, H + 1)}, RuntimeError, r"\[6, 4\].*\[5, 5\]"),
        ({"linear_weight": torch.ones(C, H).long()}, TypeError, "linear_weight"),
        ({"linear_weight": torch.ones(C, H).bfloat16()}, RuntimeError, "one dtype"),
        ({"target_weight": torch.ones(C + 1, C)}, RuntimeError, "target_weight"),
        ({"target_weight": torch.ones(C, C), "kind": "probs"}, ValueError, "kind"),
    ),
    ids=str,
)
def test_bad_input(change: dict[str, Any], error: type[Exception], says: str) -> None:
    x: dict[str, Any] = NAMED["kl_div_forward_logits"].tensors(torch.float32)
    with pytest.raises(error, match=says) as caught:
        F.linear_kl_div(**x | change)
    named = "kind" in change or "linear_kl_div" in str(caught.value) or "one dtype" in says
    assert named


@pytest.mark.parametrize("weight", [0.0, 0.25, 1.0])
def test_weights_of_js_div(weight: float) -> None:
    """With p the model and q the teacher."""
    x = NAMED["js_div_logits"].tensors()
    wanted = [x["input"].requires_grad_(), x["linear_weight"].requires_grad_()]
    value = F.linear_js_div(**x, weight=weight)
    bias = x.get("linear_bias")
    p = torch.nn.functional.linear(x["input"], x["linear_weight"], bias).softmax(-1)
    q = x["target"].softmax(-1)
    m = (1 - weight) * p + weight * q
    rows = (1 - weight) * (p * (p / m).log()).sum(-1) + weight * (q * (q / m).log()).sum(-1)
    expected = rows.mean()
    torch.testing.assert_close(value, expected, rtol=1e-10, atol=1e-14)
    assert_all_close(torch.autograd.grad(value, wanted), torch.autograd.grad(expected, wanted))


def test_weights_of_js_div_are_shares() -> None:
    x = NAMED["js_div_logits"].tensors()
    with pytest.raises(ValueError, match="between 0 and 1"):
        F.linear_js_div(**x, weight=1.5)


def test_gradient_by_class_weights() -> None:
    case = NAMED["cross_entropy_soft_weighted"]
    x = case.tensors()
    x["weight"].requires_grad_()
    actual, expected = (
        torch.autograd.grad(f(**x, **case.options), x["weight"]) for f in (case.ours, case.theirs)
    )
    assert_all_close(actual, expected)


# ---- factors of bfloat16, which some processors multiply themselves ----


def layouts(x: Tensor) -> dict[str, Tensor]:
    """The same matrix, as it may lie in memory."""
    n, m = x.shape
    padded = x.new_full((n, 2 * m + 3), math.nan)
    padded[:, 1 : m + 1] = x
    spread = x.new_full((n, 2 * m), math.nan)
    spread[:, ::2] = x
    return {
        "contiguous": x,
        "columns": x.t().contiguous().t(),
        "padded": padded[:, 1 : m + 1],
        "spread": spread[:, ::2],
    }


@pytest.mark.parametrize("of_weight", ("contiguous", "columns", "padded", "spread"))
@pytest.mark.parametrize("of_states", ("contiguous", "columns", "padded", "spread"))
def test_layouts_of_bfloat16_factors(of_states: str, of_weight: str) -> None:
    """The gradients are those of float64, rounded once or, by the hidden states, twice."""
    generator = torch.Generator().manual_seed(0)
    h = torch.randn(40, 33, generator=generator).bfloat16()
    weight = torch.randn(70, 33, generator=generator).bfloat16()
    target = torch.randint(70, (40,), generator=generator)
    exact = [x.double().requires_grad_() for x in (h, weight)]
    true = torch.autograd.grad(
        torch.nn.functional.cross_entropy(exact[0] @ exact[1].T, target), exact
    )
    x = [
        layouts(h)[of_states].requires_grad_(),
        layouts(weight)[of_weight].requires_grad_(),
    ]
    more: dict[str, Any] = {}
    if hasattr(torch.nn, "LinearCrossEntropyOptions"):  # from torch 2.13 on: in several blocks
        more["options"] = torch.nn.LinearCrossEntropyOptions(batch_chunk_size=16)
    ours = torch.autograd.grad(F.linear_cross_entropy(*x, target, **more), x)
    for a, t, factor_error in zip(ours, true, GRADIENT_ERRORS, strict=True):
        rounding = 2**-8 * t.abs() + factor_error * t.abs().max()
        assert bool(((a.double() - t).abs() <= rounding).all())


@pytest.mark.parametrize("incoming", (math.nan, math.inf, -math.inf))
def test_what_is_not_finite_stays_in_its_row(incoming: float) -> None:
    case = NAMED["cross_entropy_plain"]
    x = case.with_gradients(torch.bfloat16, n=8, h=16, c=24)
    g = torch.ones(8, dtype=torch.bfloat16)
    g[3] = incoming
    by_states = torch.autograd.grad(case.ours(**x, reduction="none"), x["input"], g)[0]
    assert not bool(by_states[3].isfinite().any())
    others = torch.arange(8) != 3
    assert bool(by_states[others].isfinite().all()) and bool((by_states[others] != 0).any())


def test_medium_precision_is_no_further_than_eager() -> None:
    case = NAMED["cross_entropy_plain"]
    x = case.with_gradients(torch.bfloat16, n=256, h=64, c=1000)
    exact = {k: t.detach().double() if t.is_floating_point() else t for k, t in x.items()}
    for name in case.by(x):
        exact[name].requires_grad_()
    true = value_and_gradients(case, case.theirs, exact)
    theirs = value_and_gradients(case, case.theirs, x)
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("medium")
    try:
        ours = value_and_gradients(case, case.ours, x)
    finally:
        torch.set_float32_matmul_precision(before)
    for a, e, t in zip(ours, theirs, true, strict=True):
        assert error(a, t) <= error(e, t)
