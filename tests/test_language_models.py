"""Several quantities of one reading, distillation, estimates; temperature and masks."""

import math
import random as stdlib_random
from collections.abc import Callable
from typing import Any

import pytest
import torch
from ops import TOLERANCE, assert_near, moved, random
from test_memory import numbers_kept
from torch import Tensor
from torch.autograd import grad, gradcheck, gradgradcheck
from torch.func import jacfwd, jacrev, vmap
from torch.library import opcheck

import torch_infotheory
from torch_infotheory import kl_estimate, log_probs, nn
from torch_infotheory.nn import functional as F

IGNORED = -100
DTYPES = (torch.float64, torch.float32, torch.bfloat16, torch.float16)


# ---- log_probs ----


def reference(logits: Tensor, index: Tensor, dim: int, temperature: float) -> tuple[Tensor, ...]:
    """In float64, where it is needed from what torch has."""
    z = logits.double() / temperature
    counts = index != IGNORED
    z = torch.where(counts.unsqueeze(dim), z, 0.0)
    log_p = z.log_softmax(dim)
    one_hot = torch.nn.functional.one_hot(index.long() * counts, z.shape[dim]).movedim(-1, dim)
    results = (
        torch.where(one_hot == 1, log_p, 0.0).sum(dim),
        -(log_p.exp() * log_p).sum(dim),
        z.logsumexp(dim),
    )
    return tuple(torch.where(counts, x, 0.0) for x in results)


@pytest.mark.parametrize("seed", range(60))
def test_log_probs_of_random_calls(seed: int, device: str) -> None:
    draws = stdlib_random.Random(seed)
    classes = draws.choice((1, 2, 3, 15, 17, 64, 65, 513, 1025, 5000))
    rows = [draws.choice((1, 2, 3, 7, 17)) for _ in range(draws.choice((0, 1, 2)))]
    if classes > 1000:
        rows = rows[:1]
    dim = draws.randrange(len(rows) + 1)
    shape = [*rows[:dim], classes, *rows[dim:]]
    dtype = draws.choice(DTYPES)
    order = draws.sample(range(len(shape)), len(shape))
    wider = [shape[d] + draws.choice((0, 3)) for d in order]
    memory = (draws.choice((1, 4)) * random(*wider, seed=seed)).to(dtype)
    for d, size in enumerate(shape):
        memory = memory.narrow(order.index(d), 0, size)
    logits = memory.permute([order.index(d) for d in range(len(shape))])
    index = torch.tensor(draws.choices(range(classes), k=math.prod(rows))).view(rows)
    index = torch.where(random(*rows, seed=seed + 1) > draws.choice((0.5, 9.0)), IGNORED, index)
    index = index.to(torch.int32 if draws.random() < 0.3 else torch.int64)
    temperature = draws.choice((1.0, 1.0, 0.5, 3.0))
    weights = [draws.choice((0.0, 1.0, 1.0, 1e-6)) for _ in range(3)]
    used = [i for i in range(3) if draws.random() < 0.7] or [0]
    g = [(w * random(*rows, seed=seed + 2 + i)).to(dtype) for i, w in enumerate(weights)]

    x = moved(logits, device).detach().requires_grad_()
    results = log_probs(x, moved(index, device), dim, temperature=temperature)
    exact = logits.double().requires_grad_()
    expected = reference(exact, index, dim, temperature)
    assert isinstance(results, torch_infotheory.LogProbs)
    for actual, wanted in zip(results, expected, strict=True):
        assert actual.dtype == dtype and actual.shape == index.shape
        assert_near(actual, wanted.detach())
    (found,) = grad([results[i] for i in used], x, [moved(g[i], device) for i in used])
    (wanted,) = grad([expected[i] for i in used], exact, [g[i].double() for i in used])
    # Relative to what the derivatives by the results of a row come to.
    terms = max(g[i].abs().max().item() for i in used) * (5 if 1 in used else 1) / temperature
    assert found.dtype == dtype and not found.isnan().any()
    rtol, atol = TOLERANCE[dtype]
    least = torch.finfo(dtype).smallest_normal
    torch.testing.assert_close(found.cpu().double(), wanted, rtol=rtol, atol=atol * terms + least)


def test_log_probs_far_from_zero(device: str) -> None:
    logits = random(3, 5).float()
    index = torch.tensor([0, 3, 4])
    for offset in (1e3, -1e5, 1e7):
        x = moved(logits + offset, device).requires_grad_()
        exact = (logits + offset).double().requires_grad_()
        results, expected = log_probs(x, moved(index, device)), reference(exact, index, -1, 1.0)
        assert_near(results.log_prob, expected[0].detach())
        assert_near(results.entropy, expected[1].detach())
        found, wanted = grad(results[0].sum(), x)[0], grad(expected[0].sum(), exact)[0]
        assert_near(found, wanted)


def test_what_an_ignored_row_holds_is_not_seen(device: str) -> None:
    logits = random(4, 5).float()
    logits[1], logits[2, 0] = math.nan, math.inf
    index = torch.tensor([1, IGNORED, IGNORED, 0])
    x = moved(logits, device).requires_grad_()
    results = log_probs(x, moved(index, device))
    (found,) = grad(sum(r.sum() for r in results), x)
    clean = torch.where((index == IGNORED).unsqueeze(1), 0.0, logits).double().requires_grad_()
    expected = reference(clean, index, 1, 1.0)
    for actual, wanted in zip(results, expected, strict=True):
        assert_near(actual, wanted.detach())
    assert_near(found, grad(sum(r.sum() for r in expected), clean)[0])


def test_derivatives_and_transforms_of_log_probs() -> None:
    index = torch.tensor([1, IGNORED, 4])

    def call(x: Tensor) -> tuple[Tensor, ...]:
        return tuple(log_probs(x, index, temperature=1.5))

    x = random(3, 5).requires_grad_()
    assert gradcheck(call, x, check_forward_ad=True, check_batched_grad=True)
    assert gradgradcheck(call, x)

    def total(x: Tensor) -> Tensor:
        log_prob, entropy, logsumexp = call(x)
        return (log_prob * entropy + logsumexp.square()).sum()

    x = x.detach()
    by_engine = torch.autograd.functional.jacobian(total, x)
    assert by_engine.abs().sum() > 1
    for transform in (jacrev, jacfwd):
        torch.testing.assert_close(transform(total)(x), by_engine)
    torch.testing.assert_close(
        jacfwd(jacrev(total))(x), torch.autograd.functional.hessian(total, x)
    )
    batch, labels = random(4, 3, 5, seed=1), torch.arange(12).view(4, 3) % 5
    alone = [log_probs(b, i) for b, i in zip(batch, labels, strict=True)]
    together = vmap(lambda b, i: tuple(log_probs(b, i)))(batch, labels)
    for k, result in enumerate(together):
        torch.testing.assert_close(result, torch.stack([results[k] for results in alone]))
    opcheck(torch.ops.torch_infotheory.log_probs, (x, index))


@pytest.mark.parametrize("name", ["log_probs", "distillation_loss"])
def test_compiled_as_in_eager_mode(name: str) -> None:
    index, teacher = torch.tensor([1, IGNORED, 4]), random(3, 5, seed=1).float()

    def call(x: Tensor) -> Tensor:
        if name == "log_probs":
            return sum(r.sum() for r in log_probs(x, index, temperature=2.0))
        return F.distillation_loss(x, teacher, temperature=2.0, mask=index > 0)

    expected, found = [], []
    for function, into in (
        (call, expected),
        (torch.compile(call, backend="aot_eager", fullgraph=True), found),
    ):
        x = random(3, 5).float().requires_grad_()
        value = function(x)
        into += [value.detach(), grad(value, x)[0]]
    assert expected[1].abs().sum() > 0.1
    torch.testing.assert_close(found, expected)


def test_one_gradient_of_full_size() -> None:
    """Of all three results, as of one loss."""

    def most_at_once(loss: Callable[[Tensor], Tensor]) -> int:
        x = random(256, 1000).float().requires_grad_()
        value = loss(x)
        with torch.profiler.profile(profile_memory=True) as profile:
            value.backward()
        sizes = [event.cpu_memory_usage for event in profile.events()]
        return sum(size for size in sizes if size >= x.numel() * 4)

    index = torch.arange(256)
    alone = most_at_once(lambda x: F.cross_entropy(x, index))
    assert alone > 0
    assert most_at_once(lambda x: sum(r.sum() for r in log_probs(x, index))) <= alone


@pytest.mark.parametrize(
    "arguments, options, error, message",
    [
        ((random(2, 3), torch.tensor([0, 3])), {}, IndexError, "log_probs: class 3 is out of"),
        ((random(2, 3), torch.tensor([-1, 0])), {}, IndexError, "log_probs: class -1 is out of"),
        ((random(2, 3), torch.tensor([0.0, 1.0])), {}, TypeError, "index to have an integer"),
        ((random(2, 3), torch.tensor([0])), {}, RuntimeError, r"index of shape \[2\], got \[1\]"),
        ((random(2, 3), torch.tensor([0, 1]), 2), {}, IndexError, "dim 2 is out of range"),
        ((torch.tensor([1]), torch.tensor(0)), {}, TypeError, "log_probs: expected logits"),
        (
            (random(2, 3), torch.tensor([0, 1])),
            {"temperature": 0.0},
            ValueError,
            "expected temperature to be a finite number above 0, got 0",
        ),
        (([1.0], torch.tensor(0)), {}, TypeError, "log_probs: expected logits to be a tensor"),
    ],
)
def test_errors_of_log_probs(
    arguments: tuple[Any, ...], options: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        log_probs(*arguments, **options)


# ---- linear_log_probs ----


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("options", [{}, {"softcap": 2.0, "temperature": 0.7}], ids=str)
def test_linear_log_probs(options: dict[str, float], dtype: torch.dtype, device: str) -> None:
    h, w, b = (random(*s, seed=i).to(dtype) for i, s in enumerate([(2, 3, 4), (6, 4), (6,)]))
    index = torch.tensor([[0, 5, IGNORED], [3, 3, 1]])
    inputs = [moved(x, device).requires_grad_() for x in (h, w, b)]
    results = F.linear_log_probs(
        inputs[0], inputs[1], moved(index, device), linear_bias=inputs[2], **options
    )
    exact = [x.double().requires_grad_() for x in (h, w, b)]
    z = exact[0] @ exact[1].t() + exact[2]
    if options:
        z = 2.0 * torch.tanh(z / 2.0)
    expected = reference(z, index, -1, options.get("temperature", 1.0))
    for actual, wanted in zip(results, expected, strict=True):
        assert_near(actual, wanted.detach())
    found = grad([r.sum() for r in results], inputs)
    # The gradients by the results are rounded before they are added.
    rtol, atol = TOLERANCE[dtype] if dtype != torch.bfloat16 else (2**-7, 2**-7)
    for actual, wanted in zip(found, grad([r.sum() for r in expected], exact), strict=True):
        assert actual.dtype == dtype
        largest = wanted.abs().max().item()
        torch.testing.assert_close(
            actual.cpu().double(), wanted, rtol=rtol, atol=atol * max(1.0, largest)
        )
    if device == "cpu":
        with pytest.raises(IndexError, match="6 is out of bounds"):
            F.linear_log_probs(inputs[0], inputs[1], index.clamp(min=6))


def states_and_classes(
    n: int = 5, h: int = 3, c: int = 4, dtype: torch.dtype = torch.float64
) -> tuple[list[Tensor], Tensor]:
    inputs = [random(*s, seed=i).to(dtype) for i, s in enumerate([(n, h), (c, h), (c,)])]
    index = torch.arange(n) * 3 % c
    index[1] = IGNORED
    return [x.requires_grad_() for x in inputs], index


def of_states(h: Tensor, w: Tensor, b: Tensor, index: Tensor, **options: Any) -> tuple[Tensor, ...]:
    return tuple(F.linear_log_probs(h, w, index, linear_bias=b, **options))


@pytest.mark.parametrize("options", [{}, {"softcap": 2.0, "temperature": 0.7}], ids=str)
def test_derivatives_of_linear_log_probs(options: dict[str, float]) -> None:
    inputs, index = states_and_classes()

    def call(*x: Tensor) -> tuple[Tensor, ...]:
        return of_states(*x, index, **options)

    assert gradcheck(call, inputs, check_forward_ad=True, check_batched_grad=True)
    assert gradgradcheck(call, inputs)
    forward, reverse = (jac(call, argnums=(0, 1, 2))(*inputs) for jac in (jacfwd, jacrev))
    torch.testing.assert_close(forward, reverse)


@pytest.mark.parametrize("of", (0, 1, 2))
def test_each_result_of_linear_log_probs_alone(of: int, device: str) -> None:
    """In blocks of 262 rows and less, of which one row does not count."""
    inputs, index = states_and_classes(300, 2, 32000, torch.float32)
    result = of_states(*(moved(x, device) for x in inputs), moved(index, device))[of]
    exact = [x.detach().double().requires_grad_() for x in inputs]
    z = exact[0] @ exact[1].t() + exact[2]
    expected = reference(z, index, -1, 1.0)[of]
    g = random(300, seed=9)
    assert_near(result, expected.detach())
    found = grad(result, inputs, moved(g.float(), device))
    for actual, wanted in zip(found, grad(expected, exact, g), strict=True):
        largest = wanted.abs().max().item()
        torch.testing.assert_close(actual.cpu().double(), wanted, rtol=1e-4, atol=1e-5 * largest)


def test_linear_log_probs_may_be_written_over() -> None:
    inputs, index = states_and_classes()
    log_prob, entropy, logsumexp = of_states(*inputs, index)
    before = entropy.detach().clone()
    log_prob -= 1.0
    torch.testing.assert_close(entropy.detach(), before)
    assert all(x.is_contiguous() for x in (log_prob, entropy, logsumexp))


def test_transforms_of_linear_log_probs() -> None:
    inputs, index = states_and_classes()
    batch = torch.stack([inputs[0].detach(), 2 * inputs[0].detach()])
    weight, bias = (x.detach() for x in inputs[1:])
    together = vmap(lambda h: of_states(h, weight, bias, index))(batch)
    for i, h in enumerate(batch):
        alone = of_states(h, weight, bias, index)
        torch.testing.assert_close([x[i] for x in together], list(alone))
    compiled = torch.compile(of_states, fullgraph=True, backend="aot_eager")
    results, expected = compiled(*inputs, index), of_states(*inputs, index)
    torch.testing.assert_close(results, expected)
    sums = [sum((i + 1) * x.sum() for i, x in enumerate(r)) for r in (results, expected)]
    torch.testing.assert_close(grad(sums[0], inputs), grad(sums[1], inputs))


# ---- distillation_loss ----


def distilled(x: Tensor, log_t: Tensor, divergence: str, weight: float) -> Tensor:
    log_p = x.log_softmax(-1)
    p, t = log_p.exp(), log_t.exp()
    if divergence == "kl":
        return (t * (log_t - log_p)).sum(-1)
    if divergence == "reverse_kl":
        return (p * (log_p - log_t)).sum(-1)
    log_m = ((1 - weight) * p + weight * t).log()
    return (1 - weight) * (p * (log_p - log_m)).sum(-1) + weight * (t * (log_t - log_m)).sum(-1)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("divergence", ["kl", "reverse_kl", "js"])
@pytest.mark.parametrize("kind", ["logits", "log_probs", "probs", "best"])
@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("reduction", ["none", "mean", "sum"])
def test_distillation_loss(
    reduction: str, masked: bool, kind: str, divergence: str, dtype: torch.dtype, device: str
) -> None:
    temperature, k = 2.0, 3
    x, y = (2 * random(4, 9, seed=i).to(dtype) for i in (0, 1))
    mask = torch.tensor([True, False, True, True]) if masked else None
    options: dict[str, Any] = {"divergence": divergence, "weight": 0.25, "base": 2}
    student = x.double().requires_grad_()
    z = student / temperature
    if kind == "logits":
        stated: Any = y
        log_t = (y.double() / temperature).log_softmax(-1)
    elif kind == "best":
        log_best, classes = y.double().log_softmax(-1).topk(k)
        stated = (classes, log_best.to(dtype))
        rest = (1 - stated[1].double().exp().sum(-1, keepdim=True)).log()
        log_t = torch.cat((stated[1].double(), rest), -1)
        log_p = z.log_softmax(-1)
        p_best = log_p.gather(-1, classes)
        z = torch.cat((p_best, (1 - p_best.exp().sum(-1, keepdim=True)).log()), -1)
    else:
        log_t = y.double().log_softmax(-1)
        stated = (log_t if kind == "log_probs" else log_t.exp()).to(dtype)
        log_t = stated.double() if kind == "log_probs" else stated.double().log()
    value = distilled(z, log_t, divergence, 0.25) / math.log(2)
    counts = torch.ones(4, dtype=torch.bool) if mask is None else mask
    value = torch.where(counts, value, 0.0)
    if reduction != "none":
        value = value.sum() / (counts.sum() if reduction == "mean" else 1)

    input = moved(x, device).requires_grad_()
    stated = tuple(moved(s, device) for s in stated) if kind == "best" else moved(stated, device)
    kinds = {} if kind == "best" else {"kind": kind}
    found = F.distillation_loss(
        input,
        stated,
        temperature=temperature,
        mask=None if mask is None else moved(mask, device),
        reduction=reduction,
        **kinds,
        **options,
    )
    assert found.dtype == dtype
    # The total of a rounded teacher is not 1, which the divergences say in their own way.
    loose = dtype == torch.bfloat16 and kind != "logits"
    if loose:
        torch.testing.assert_close(found.cpu().double(), value.detach(), rtol=0.05, atol=0.05)
    else:
        assert_near(found, value.detach())
    (actual,), (wanted,) = grad(found.sum(), input), grad(value.sum(), student)
    if loose:
        torch.testing.assert_close(actual.cpu().double(), wanted, rtol=0.05, atol=0.05)
    else:
        assert_near(actual, wanted)
    if masked:
        assert actual[1].eq(0).all()
    module = nn.DistillationLoss(temperature=temperature, reduction=reduction, **kinds, **options)
    again = module(input, stated, None if mask is None else moved(mask, device))
    assert torch.equal(again, found)


def test_all_classes_as_the_best_ones() -> None:
    x, y = random(3, 5).requires_grad_(), random(3, 5, seed=1)
    log_t, classes = y.log_softmax(-1).topk(5)
    found = F.distillation_loss(x, (classes, log_t))
    expected = F.distillation_loss(x, y)
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(grad(found, x), grad(expected, x))
    assert gradcheck(lambda x: F.distillation_loss(x, (classes[:, :2], log_t[:, :2])), x)
    assert gradgradcheck(lambda x: F.distillation_loss(x, (classes[:, :2], log_t[:, :2])), x)


@pytest.mark.parametrize(
    "arguments, options, error, message",
    [
        ((random(2, 3), random(2, 4)), {}, RuntimeError, "of one shape"),
        ((random(2, 3), random(2, 3)), {"divergence": "mse"}, ValueError, "'kl', 'reverse_kl'"),
        ((random(2, 3), random(2, 3)), {"weight": 2.0}, ValueError, "weight to be between 0 and"),
        ((random(2, 3), random(2, 3)), {"temperature": -1.0}, ValueError, "temperature to be a"),
        ((random(2, 3), random(2, 3)), {"reduction": "all"}, ValueError, "distillation_loss takes"),
        ((random(2, 3), random(2, 3)), {"mask": torch.ones(2)}, TypeError, "a mask of booleans"),
        (
            (random(2, 3), random(2, 3)),
            {"mask": torch.ones(3, dtype=torch.bool)},
            RuntimeError,
            r"a mask of shape \[2\], got \[3\]",
        ),
        (
            (random(2, 3), (torch.tensor([[3], [0]]), random(2, 1))),
            {},
            IndexError,
            "distillation_loss: class 3 is out of bounds for 3 classes",
        ),
        ((random(2, 3), (random(2, 1), random(2, 1))), {}, TypeError, "of an integer dtype"),
        ((random(2, 3), [1.0, 2.0]), {}, TypeError, "argument 'target' must be Tensor"),
    ],
)
def test_errors_of_distillation_loss(
    arguments: tuple[Any, ...], options: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        F.distillation_loss(*arguments, **options)


# ---- kl_estimate ----


def test_kl_estimates() -> None:
    log_p, log_q = -random(50).abs(), -random(50, seed=1).abs()
    for step in (1.0, 1e-3, 1e-7):
        q = log_p + step * (log_q - log_p)
        d = q - log_p
        exact = sum(
            d**n / float(math.factorial(n)) for n in range(2, 30)
        )  # e^d - 1 - d by its series
        torch.testing.assert_close(kl_estimate(log_p, q, "k1"), -d)
        torch.testing.assert_close(kl_estimate(log_p, q, "k2"), d.square() / 2)
        torch.testing.assert_close(kl_estimate(log_p, q), exact, rtol=1e-10, atol=0)
        assert kl_estimate(log_p.float(), q.float()).dtype == torch.float32
    for estimator in ("k1", "k2", "k3"):
        inputs = (log_p.requires_grad_(), log_q.requires_grad_())
        assert gradcheck(lambda p, q: kl_estimate(p, q, estimator), inputs)  # noqa: B023
        assert gradgradcheck(lambda p, q: kl_estimate(p, q, estimator), inputs)  # noqa: B023
    with pytest.raises(ValueError, match="kl_estimate: expected estimator to be 'k1'"):
        kl_estimate(log_p, log_q, "k4")


def test_the_unbiased_gradient_is_that_of_the_divergence() -> None:
    """Summed over all outcomes with their probabilities, it is the gradient of KL(p, q)."""
    logits, other = random(6).requires_grad_(), random(6, seed=1).requires_grad_()
    log_p, log_q = logits.log_softmax(0), other.log_softmax(0)
    p = log_p.exp().detach()
    estimate = (p * kl_estimate(log_p, log_q, "k3_unbiased_gradient")).sum()
    exact = torch_infotheory.kl_divergence(logits, other, kind="logits")
    torch.testing.assert_close(estimate, exact)
    torch.testing.assert_close(grad(estimate, (logits, other)), grad(exact, (logits, other)))
    log_p, log_q = logits.log_softmax(0), other.log_softmax(0)
    (biased,) = grad((p * kl_estimate(log_p, log_q)).sum(), logits)
    (right,) = grad(torch_infotheory.kl_divergence(logits, other, kind="logits"), logits)
    assert (biased - right).norm() > 0.1


# ---- temperature and masks ----

TEMPERED: dict[str, Callable[..., Tensor]] = {
    "entropy": lambda x, y, **o: torch_infotheory.entropy(x, **o),
    "perplexity": lambda x, y, **o: torch_infotheory.perplexity(x, **o),
    "cross_entropy": torch_infotheory.cross_entropy,
    "kl_divergence": torch_infotheory.kl_divergence,
    "js_divergence": torch_infotheory.js_divergence,
    "jeffreys_divergence": torch_infotheory.jeffreys_divergence,
    "mixture_divergence": lambda x, y, **o: torch_infotheory.mixture_divergence(
        torch.stack((x, y)), 0, **o
    ),
    "entropy_loss": lambda x, y, **o: F.entropy_loss(x, **o),
    "js_div": F.js_div,
    "loss of labels": lambda x, y, kind, **o: F.cross_entropy(
        x, torch.arange(len(x), device=x.device), **o
    ),
    "loss of probabilities": lambda x, y, kind, **o: F.cross_entropy(
        x, y.detach().double().softmax(1).bfloat16().to(x.dtype), **o
    ),
}


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("name", TEMPERED)
def test_temperature_divides_logits(name: str, dtype: torch.dtype, device: str) -> None:
    call = TEMPERED[name]
    x, y = (random(4, 7, seed=i).to(dtype) for i in (0, 1))
    inputs = [moved(t, device).requires_grad_() for t in (x, y)]
    exact = [t.double().requires_grad_() for t in (x, y)]
    found = call(*inputs, kind="logits", temperature=2.5)
    # The target of the loss of probabilities is the rounded one in both.
    plain = call(exact[0] / 2.5, exact[1] if "loss of" in name else exact[1] / 2.5, kind="logits")
    assert found.dtype == dtype
    assert_near(found, plain.detach())
    for actual, wanted in zip(
        grad(found.sum(), inputs, allow_unused=True),
        grad(plain.sum(), exact, allow_unused=True),
        strict=True,
    ):
        assert (actual is None) == (wanted is None)
        if actual is not None:
            assert wanted.abs().sum() > 0
            assert_near(actual, wanted)


@pytest.mark.parametrize("heat", [2.0, 3.0])
@pytest.mark.parametrize("name", ["kl_divergence", "js_divergence", "jeffreys_divergence"])
def test_nearly_equal_logits_with_a_temperature(name: str, heat: float, device: str) -> None:
    """To the last digit of the quotients as they are rounded; the gradient fits to the value."""
    x = 3 * random(3, 700) + 1000
    x, y = x.float(), (x + 1e-3 * random(3, 700, seed=1)).float()
    p, q = ((t / heat).double().log_softmax(-1) for t in (x, y))
    if name == "kl_divergence":
        exact = (p.exp() * (p - q)).sum(-1)
    elif name == "jeffreys_divergence":
        exact = ((p.exp() - q.exp()) * (p - q)).sum(-1)
    else:
        m = torch.logaddexp(p, q) - math.log(2)
        exact = ((p.exp() * (p - m)).sum(-1) + (q.exp() * (q - m)).sum(-1)) / 2
    inputs = [moved(t, device).requires_grad_() for t in (x, y)]
    found = TEMPERED[name](*inputs, kind="logits", temperature=heat)
    assert 0 < exact.min() and exact.max() < 1e-6
    torch.testing.assert_close(found.detach().cpu().double(), exact, rtol=2e-5, atol=0)
    for gradient in grad(found.sum(), inputs):
        assert gradient.any() and gradient.double().sum(-1).abs().max() < 1e-6


@pytest.mark.parametrize("name", ["kl_divergence", "js_divergence", "jeffreys_divergence"])
def test_one_class_has_no_gradient(name: str, device: str) -> None:
    x, y = (moved(torch.tensor([[t]]), device).requires_grad_() for t in (10000.0, 77.0))
    found = TEMPERED[name](x, y, kind="logits", temperature=0.01)
    assert found == 0 and [t.item() for t in grad(found, (x, y))] == [0, 0]
    of_class = log_probs(x, moved(torch.zeros(1, dtype=torch.long), device), temperature=0.7)
    assert of_class.log_prob == 0


@pytest.mark.parametrize("heat", [2.0**126, 2.0**127, 1e-30])
def test_extreme_temperatures(heat: float, device: str) -> None:
    x = torch.tensor([[3e38, 0.0, -3e38]]) * min(1.0, heat)
    found = F.cross_entropy(moved(x, device), moved(torch.tensor([0]), device), temperature=heat)
    expected = torch.nn.functional.cross_entropy(x.double() / heat, torch.tensor([0]))
    torch.testing.assert_close(found.cpu().double(), expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("name", [n for n in TEMPERED if n != "mixture_divergence"])
def test_no_quotient_is_kept(name: str, device: str) -> None:
    x, y = (random(3, 500, seed=i).float().to(device) for i in (0, 1))
    x, y = x.requires_grad_(), y.softmax(-1) if "of" in name else y.requires_grad_()
    kept = numbers_kept(lambda: TEMPERED[name](x, y, kind="logits", temperature=2.5).sum(), (x, y))
    assert kept <= 60 + x.numel() * (name == "loss of probabilities")  # its target


@pytest.mark.parametrize("name", [n for n in TEMPERED if "of" not in n])
def test_temperature_is_for_logits(name: str) -> None:
    p = random(4, 7).softmax(-1)
    with pytest.raises(ValueError, match="expected kind to be 'logits' where temperature is not 1"):
        TEMPERED[name](p, p, kind="probs", temperature=2.0)
    with pytest.raises(ValueError, match="expected temperature to be a finite number above 0"):
        TEMPERED[name](p, p, kind="logits", temperature=0.0)
    mixed = ("probs", "logits")
    if name in ("cross_entropy", "kl_divergence", "js_divergence"):
        found = TEMPERED[name](p, random(4, 7, seed=1), kind=mixed, temperature=2.0)
        torch.testing.assert_close(found, TEMPERED[name](p, random(4, 7, seed=1) / 2, kind=mixed))


@pytest.mark.parametrize("name", ["entropy_loss", "js_div"])
@pytest.mark.parametrize("reduction", ["none", "mean", "sum"])
@pytest.mark.parametrize("dims", [(-1,), (0,), (0, 2)], ids=str)
def test_masks(dims: tuple[int, ...], reduction: str, name: str, device: str) -> None:
    x, y = random(3, 4, 5).float(), random(3, 4, 5, seed=1).float()
    rows = [size for d, size in enumerate(x.shape) if d not in [e % 3 for e in dims]]
    mask = random(*rows, seed=2) > 0
    assert 0 < mask.sum() < mask.numel()
    hidden = mask
    for d in sorted(e % 3 for e in dims):
        hidden = hidden.unsqueeze(d)
    x = torch.where(hidden, x, math.nan)
    call = TEMPERED[name]
    input = moved(x, device).requires_grad_()
    found = call(
        input, moved(y, device), dim=dims, kind="logits", reduction=reduction,
        mask=moved(mask, device),
    )  # fmt: skip
    exact = torch.where(hidden, x, 0.0).double().requires_grad_()
    value = call(exact, y.double(), dim=dims, kind="logits", reduction="none")
    value = torch.where(mask, value, 0.0)
    if reduction != "none":
        value = value.sum() / (mask.sum() if reduction == "mean" else 1)
    assert_near(found, value.detach())
    (actual,), (wanted,) = grad(found.sum(), input), grad(value.sum(), exact)
    assert_near(actual, wanted)
    assert actual.cpu().masked_select(~hidden.expand_as(x)).eq(0).all()
