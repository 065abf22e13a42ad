"""A batch gives what each of its rows gives alone, whatever the others hold."""

import math
from typing import Any

import pytest
import torch
from ops import OPS, TOTALS, X_AND_Y, Op, assert_near, random, state
from torch import Tensor
from torch.autograd import grad

from torch_infotheory.nn import functional as F

SIZES = (1, 2, 7, 40)
# What the rows hold in turn. The first ones fill a batch of 7, whose first row is one of those that
# are computed twice.
SORTS = ("close", "ordinary", "zeros", "nan", "close", "infinite", "inf")
IGNORED = 3
OPTIONS: dict[str, tuple[dict[str, Any], ...]] = {
    "cross_entropy_loss": (
        {},
        {"weight": True, "label_smoothing": 0.1},
        {"soft": True, "weight": True},
    ),
    "nll_loss": ({}, {"weight": True}),
    "kl_div": ({}, {"log_target": True}),
}
CALLS = [
    pytest.param(op, kinds, options, id="-".join((str(op), *dict.fromkeys(kinds), *options)))
    for op in OPS
    if op.options.get("reduction", "none") == "none"
    for kinds in op.kinds or [()]
    for options in OPTIONS.get(op.name, ({},))
]


def rows_of(kind: str, number: int, tables: bool, scaled: bool) -> Tensor:
    """As many rows as the largest batch has, of the sorts in turn, for the input of that number."""
    shape = (4, 5) if tables else (5,)
    dims = tuple(range(1, 1 + len(shape)))
    own = random(SIZES[-1], *shape, seed=number)
    of_x = random(SIZES[-1], *shape[:-1], 1, seed=2)
    of_y = random(SIZES[-1], *(1 for _ in shape[1:]), 5, seed=3)
    impossible = 0.0 if kind == "probs" else -math.inf
    rows = state(own, dims, kind, TOTALS[number] if scaled else 1.0)
    close = state(of_x + of_y + 0.01 * own, dims, kind)
    for i, row in enumerate(rows):
        sort = SORTS[i % len(SORTS)]
        last = row.view(-1, 5)[-1]  # a view
        if sort == "close":
            row.copy_(close[i])
        elif sort == "zeros":
            last[1] = impossible
            if number == 0:
                last[2] = impossible
        elif sort == "infinite" and number == 1:
            last[3] = impossible
        elif sort == "inf" and kind == "logits":
            last[i % 5] = math.inf
        elif sort == "nan" and i % 2 == number:
            last[i % 5] = math.nan
    return rows


def arguments_of(op: Op, kinds: tuple[str, ...], options: dict[str, Any]) -> list[Tensor]:
    """The inputs, all with rows along dimension 0; labels where the loss takes them."""
    if kinds:
        return [rows_of(k, n, op.dims == X_AND_Y, scaled=True) for n, k in enumerate(kinds)]
    input = rows_of("logits" if op.name == "cross_entropy_loss" else "log_probs", 1, False, False)
    if op.name == "kl_div":
        return [input, rows_of("log_probs" if "log_target" in options else "probs", 0, False, True)]
    if "soft" in options:
        return [input, rows_of("probs", 0, False, True)]
    return [input, torch.arange(len(input)) % 5]


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("op, kinds, options", CALLS)
def test_a_batch_is_its_rows(
    op: Op, kinds: tuple[str, ...], options: dict[str, Any], dtype: torch.dtype, device: str
) -> None:
    rows = [
        x.to(device, dtype if x.is_floating_point() else None)
        for x in arguments_of(op, kinds, options)
    ]
    labelled = not rows[-1].is_floating_point()
    given = op.options | ({"kind": kinds if len(kinds) > 1 else kinds[0]} if kinds else {})
    given |= {name: options[name] for name in ("label_smoothing", "log_target") if name in options}
    if not kinds:
        given["reduction"] = "none"
    if "weight" in options:
        given["weight"] = random(5, seed=4).exp().to(device, dtype)
    if labelled:
        given["ignore_index"] = IGNORED

    def call(inputs: list[Tensor], g: Tensor | None = None, **where: int) -> list[Tensor]:
        leaves = [x.clone().requires_grad_(x.is_floating_point()) for x in inputs]
        value = op.function(*leaves, **given, **where)
        g = torch.ones_like(value) if g is None else g
        return [value.detach(), *grad(value, [x for x in leaves if x.requires_grad], g)]

    alone = [call([x[i] for x in rows]) for i in range(SIZES[-1])]
    expected = [torch.stack(results) for results in zip(*alone, strict=True)]
    # The derivative of a root has the terms of the derivative of its square, over twice the root.
    values = expected[0][expected[0] > 0]
    terms = 1.0 + (0.5 / values.min().item() if op.is_root else 0)
    for n in SIZES:
        assert_alike(call([x[:n] for x in rows]), [x[:n] for x in expected], terms)
        if op.dims == {"dim": -1}:  # side by side
            inside = call([x[:n].t().contiguous() for x in rows], dim=0)
            turned = [x if x.dim() < 2 else x.t() for x in inside]
            assert_alike(turned, [x[:n] for x in expected], terms)


def assert_alike(batch: list[Tensor], alone: list[Tensor], terms: float) -> None:
    for i, (actual, expected) in enumerate(zip(batch, alone, strict=True)):
        gone = expected.isnan()
        assert torch.equal(actual.isnan(), gone)
        assert_near(
            actual.masked_fill(gone, 0),
            expected.masked_fill(gone, 0).cpu().double(),
            terms=terms if i else 1.0,
            roundings=2,  # a row alone is summed in another order than one of several
        )


@pytest.mark.parametrize("shape", [(65536, 3), (97, 10, 67)], ids=str)
@pytest.mark.parametrize("reduction", ["sum", "mean"])
@pytest.mark.parametrize("loss", ["cross_entropy", "nll_loss", "weighted_nll_loss", "js_div"])
def test_rounding_of_a_sum_over_many_rows(
    loss: str, reduction: str, shape: tuple[int, ...], device: str
) -> None:
    """Rows are added pairwise: the rounding does not grow with their number."""
    p, q = (random(*shape, seed=seed).to(device) for seed in (0, 1))
    weight = (torch.arange(shape[1], dtype=torch.float64) + 1).to(device)
    target = p.argmax(1)
    target[::3] = -100
    rows = {
        "cross_entropy": lambda how: F.cross_entropy(p, target, reduction=how),
        "nll_loss": lambda how: F.nll_loss(p, target, reduction=how),
        "weighted_nll_loss": lambda how: F.nll_loss(p, target, weight, reduction=how),
        "js_div": lambda how: F.js_div(p, q, dim=1, reduction=how),
    }[loss]
    values = rows("none").cpu().flatten().tolist()
    counts = (target != -100).flatten()
    if loss == "js_div":
        divisor = float(len(values))
    elif loss == "weighted_nll_loss":
        divisor = math.fsum(weight[target.flatten()[counts]].tolist())
    else:
        divisor = float(counts.sum())
    exact = math.fsum(values) / (divisor if reduction == "mean" else 1)
    allowed = 1.5 * torch.finfo(torch.float64).eps  # one after the other, up to 2.7
    assert float(rows(reduction)) == pytest.approx(exact, rel=allowed, abs=0)
