"""Bounds of mutual information from scores, and InfoNCE without the table of scores."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.autograd import gradcheck, gradgradcheck

from torch_infotheory.estimators import mutual_information_bound
from torch_infotheory.nn import contrastive
from torch_infotheory.nn import functional as F

BOUNDS = ("infonce", "dv", "nwj", "js", "smile", "club")


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def reference(f: np.ndarray, bound: str, clip: float) -> float:
    n = len(f)
    joint, product = np.diagonal(f), f[~np.eye(n, dtype=bool)]
    if bound == "infonce":
        return np.mean([f[i, i] - math.log(np.exp(f[i]).mean()) for i in range(n)])
    if bound == "dv":
        return joint.mean() - math.log(np.exp(product).mean())
    if bound == "nwj":
        return joint.mean() - np.exp(product - 1).mean()
    if bound == "js":
        return -np.log1p(np.exp(-joint)).mean() - np.log1p(np.exp(product)).mean()
    if bound == "smile":
        return joint.mean() - math.log(np.exp(np.clip(product, -clip, clip)).mean())
    assert bound == "club"
    return joint.mean() - f.mean()


@pytest.mark.parametrize("bound", BOUNDS)
def test_formula(bound):
    scores = random(2, 3, 6, 6)
    value = mutual_information_bound(scores, bound, clip=0.5)
    expected = [[reference(f, bound, 0.5) for f in row] for row in scores.numpy()]
    np.testing.assert_allclose(value, expected, rtol=1e-12)
    bits = mutual_information_bound(scores, bound, clip=0.5, base=2)
    torch.testing.assert_close(bits * math.log(2), value)
    half = mutual_information_bound(scores.bfloat16(), bound, clip=0.5)
    assert half.dtype == torch.bfloat16
    torch.testing.assert_close(half.double(), value, rtol=3e-2, atol=3e-2)


@pytest.mark.parametrize("bound", BOUNDS)
def test_gradients(bound):
    scores = random(2, 5, 5).requires_grad_()

    def value(scores: Tensor) -> Tensor:
        return mutual_information_bound(scores, bound, clip=0.8)

    assert gradcheck(value, scores, check_forward_ad=True)
    assert gradgradcheck(value, scores)


def log_ratios(rho: float, samples: int, seed: int) -> tuple[Tensor, Tensor]:
    """log p(y_j | x_i) / p(y_j) and log p(y_j | x_i) of a Gaussian pair: the best critics."""
    x, noise = random(2, samples, seed=seed)
    y = rho * x + math.sqrt(1 - rho**2) * noise
    variance = 1 - rho**2
    given = -((y - rho * x.unsqueeze(1)) ** 2) / (2 * variance) - math.log(variance) / 2
    return given + y**2 / 2, given


@pytest.mark.parametrize("bound", BOUNDS)
def test_best_critic_of_gaussians(bound):
    rho, values = 0.7, []
    truth = -math.log(1 - rho**2) / 2
    for seed in range(20):
        ratio, given = log_ratios(rho, 300, seed)
        if bound == "js":
            # What it bounds, from samples that know the densities: 2 JS - 2 log 2.
            scores, off = ratio, ~torch.eye(300, dtype=torch.bool)
            truth = -(1 + torch.exp(-scores.diagonal())).log().mean()
            truth = (truth - (1 + scores[off].exp()).log().mean()).item()
        else:
            scores = {"club": given, "nwj": ratio + 1}.get(bound, ratio)
        values.append(mutual_information_bound(scores, bound).item() - truth)
    error = np.std(values) / math.sqrt(20)
    if bound == "club":
        # An upper bound: with the marginal of y it is E[y x] / (1 - rho^2) = rho^2 / (1 - rho^2).
        assert abs(np.mean(values) + truth - rho**2 / (1 - rho**2)) < 4 * error
    else:
        assert abs(np.mean(values)) < 4 * error + 0.01
    if bound == "js":
        assert max(map(abs, values)) < 1e-12


def test_infonce_is_at_most_log_n():
    sure = 1e3 * torch.eye(8)
    assert abs(mutual_information_bound(sure) - math.log(8)) < 1e-6
    assert mutual_information_bound(torch.zeros(1, 1)) == 0
    assert mutual_information_bound(torch.full((5, 5), 3.0)).abs() < 1e-6


def test_large_scores_do_not_overflow():
    scores = torch.tensor([[1000.0, 900.0], [950.0, 1000.0]])
    for bound in ("infonce", "dv", "js", "smile"):
        assert mutual_information_bound(scores, bound).isfinite()
        assert mutual_information_bound(-scores, bound).isfinite()
    excluded = torch.tensor([[0.0, -math.inf], [-math.inf, 0.0]], requires_grad=True)
    value = mutual_information_bound(excluded, "infonce")
    assert abs(value - math.log(2)) < 1e-6
    assert torch.autograd.grad(value, excluded)[0].isfinite().all()


def test_nan_stays_in_its_table():
    scores = random(3, 4, 4)
    scores[1, 2, 0] = math.nan
    for bound in BOUNDS:
        assert mutual_information_bound(scores, bound).isnan().tolist() == [False, True, False]


S = torch.rand(3, 3)
BAD = [
    (([[0.0]],), {}, TypeError, "scores must be a Tensor"),
    ((S.long(),), {}, TypeError, "int64"),
    ((torch.rand(3, 4),), {}, RuntimeError, r"\[3, 4\]"),
    ((S, "mine"), {}, ValueError, "bound.*'mine'"),
    ((S[:1, :1], "dv"), {}, ValueError, "'dv' needs 2"),
    ((S[:0, :0],), {}, ValueError, "'infonce' needs 1"),
    ((S, "smile"), {"clip": 0}, ValueError, "clip"),
    ((S, "smile"), {"clip": None}, TypeError, "clip"),
    ((S,), {"base": 1}, ValueError, "base"),
]


@pytest.mark.parametrize(("arguments", "options", "error", "message"), BAD)
def test_bad_scores(arguments, options, error, message):
    with pytest.raises(error, match=f"mutual_information_bound: .*{message}"):
        mutual_information_bound(*arguments, **options)


# InfoNCE


@pytest.fixture(params=(2**22, 7), ids=("one block", "a row at a time"))
def block(request, monkeypatch):
    monkeypatch.setattr(contrastive, "BLOCK", request.param)


def composed(query: Tensor, key: Tensor, temperature: float, symmetric: bool = False) -> Tensor:
    scores = query @ key.mT / temperature
    loss = -scores.log_softmax(-1).diagonal(dim1=-2, dim2=-1).mean()
    if symmetric:
        loss = (loss - scores.log_softmax(-2).diagonal(dim1=-2, dim2=-1).mean()) / 2
    return loss


def pick(query: Tensor, key: Tensor, negatives: Tensor, temperature: float) -> Tensor:
    """Each query's own key beside its negatives (N, M, D)."""
    positive = (query * key).sum(-1, keepdim=True)
    others = (negatives * query.unsqueeze(-2)).sum(-1)
    scores = torch.cat([positive, others], -1) / temperature
    return -scores.log_softmax(-1)[..., 0].mean()


@pytest.mark.parametrize("symmetric", (False, True))
def test_info_nce(symmetric, block):
    query, key = (x.requires_grad_() for x in random(2, 5, 3))

    def ours(query: Tensor, key: Tensor) -> Tensor:
        return F.info_nce(query, key, 0.7, symmetric=symmetric)

    def theirs(query: Tensor, key: Tensor) -> Tensor:
        return composed(query, key, 0.7, symmetric)

    torch.testing.assert_close(ours(query, key), theirs(query, key))
    assert gradcheck(ours, (query, key), check_forward_ad=True, check_batched_grad=True)
    assert gradgradcheck(ours, (query, key))
    for transform in (torch.func.grad, torch.func.hessian, torch.func.jacfwd, torch.func.jacrev):
        torch.testing.assert_close(transform(ours)(query, key), transform(theirs)(query, key))
    third = torch.func.grad(lambda q, k: torch.func.hessian(ours)(q, k).sin().sum())(query, key)
    other = torch.func.grad(lambda q, k: torch.func.hessian(theirs)(q, k).sin().sum())(query, key)
    torch.testing.assert_close(third, other)
    stacks = random(4, 5, 3, seed=1), random(4, 5, 3, seed=2)
    vmapped = torch.func.vmap(ours)(*stacks)
    torch.testing.assert_close(vmapped, torch.func.vmap(theirs)(*stacks))
    torch.testing.assert_close(ours(*stacks), vmapped.mean())


@pytest.mark.parametrize("own", (False, True), ids=("shared", "own"))
def test_negatives(own, block):
    query, key = (x.requires_grad_() for x in random(2, 5, 3))
    negatives = random(*((5, 4, 3) if own else (4, 3)), seed=1).requires_grad_()

    def ours(query: Tensor, key: Tensor, negatives: Tensor) -> Tensor:
        return F.info_nce(query, key, 0.7, negatives=negatives)

    value = ours(query, key, negatives)
    torch.testing.assert_close(value, pick(query, key, negatives.expand(5, 4, 3), 0.7))
    assert gradcheck(ours, (query, key, negatives), check_forward_ad=True)
    assert gradgradcheck(ours, (query, key, negatives))


def test_no_table_is_kept():
    """Neither between forward and backward, nor at any time but for one block."""
    query, key = random(2, 600, 4).requires_grad_()
    kept = []
    with torch.autograd.graph.saved_tensors_hooks(
        lambda x: kept.append(x.numel()) or x, lambda x: x
    ):
        F.info_nce(query, key, symmetric=True)
    assert max(kept) <= 600 * 4


def test_no_block_is_larger_than_allowed(monkeypatch):
    monkeypatch.setattr(contrastive, "BLOCK", 6000)
    sizes = []

    class Sizes(torch.utils._python_dispatch.TorchDispatchMode):
        def __torch_dispatch__(self, function, types, arguments=(), options=None):
            result = function(*arguments, **(options or {}))
            sizes.extend(
                x.numel() for x in torch.utils._pytree.tree_leaves(result) if isinstance(x, Tensor)
            )
            return result

    query, key = (x.requires_grad_() for x in random(2, 600, 4))
    with Sizes():
        F.info_nce(query, key).backward()
    assert max(sizes) == 6000
    torch.testing.assert_close(query.grad, torch.autograd.grad(composed(query, key, 0.1), query)[0])


def test_digits_where_the_key_stands_out():
    """The loss is e^-200; a difference of logarithms is 0."""
    query = 10 * torch.eye(2, requires_grad=True)
    loss = F.info_nce(query, torch.eye(2), temperature=0.05)
    expected = math.exp(-200)  # below float32
    assert abs(F.info_nce(query.double(), torch.eye(2).double(), 0.05) / expected - 1) < 1e-12
    assert loss >= 0
    small = F.info_nce(torch.eye(2) * 3, torch.eye(2), temperature=0.1)
    assert abs(small / math.exp(-30) - 1) < 1e-5


def test_dtypes_and_autocast():
    query, key = random(2, 40, 8)
    value = composed(query.bfloat16().double(), key.bfloat16().double(), 0.5)
    half = F.info_nce(query.bfloat16(), key.bfloat16(), 0.5)
    assert half.dtype == torch.bfloat16
    assert abs(half.double() - value) < 2**-8 * value
    with torch.autocast("cpu", dtype=torch.bfloat16):
        wide = F.info_nce(query.bfloat16(), key.bfloat16(), 0.5)
    assert wide.dtype == torch.float32
    assert abs(wide - value) < 1e-5 * value
    assert F.info_nce(query.float(), key, 0.5).dtype == torch.float64


def test_edges():
    one = random(1, 3).requires_grad_()
    loss = F.info_nce(one, one)
    assert loss == 0 and not torch.autograd.grad(loss, one)[0].any()
    assert F.info_nce(one, one, negatives=one[:0]) == 0
    assert F.info_nce(one[:0], one[:0]).isnan()  # a mean over nothing
    bad = random(3, 3)
    bad[1, 1] = math.nan
    assert F.info_nce(bad, bad).isnan()
    equal = torch.ones(6, 2)
    assert abs(F.info_nce(equal, equal) - math.log(6)) < 1e-6


def test_compile():
    query, key = random(2, 9, 4)
    compiled = torch.compile(F.info_nce, backend="eager", fullgraph=True)
    torch.testing.assert_close(compiled(query, key), F.info_nce(query, key))


Q = torch.rand(4, 3)
BAD_INFO_NCE = [
    (([1.0], Q), {}, TypeError, "query must be a Tensor"),
    ((Q, Q.long()), {}, TypeError, "key must .*int64"),
    ((Q, Q, "1"), {}, TypeError, "temperature"),
    ((Q, Q, 0.0), {}, ValueError, "temperature"),
    ((Q, Q[:2]), {}, RuntimeError, r"\[4, 3\] and \[2, 3\]"),
    ((Q[0], Q[0]), {}, RuntimeError, r"\(..., N, D\)"),
    ((Q, Q), {"negatives": torch.rand(5, 2)}, RuntimeError, r"got \[5, 2\]"),
    ((Q, Q), {"negatives": torch.rand(2, 5, 3)}, RuntimeError, r"got \[2, 5, 3\]"),
    ((Q, Q), {"negatives": Q, "symmetric": True}, ValueError, "symmetric"),
]


@pytest.mark.parametrize(("arguments", "options", "error", "message"), BAD_INFO_NCE)
def test_bad_vectors(arguments, options, error, message):
    with pytest.raises(error, match=f"info_nce: .*{message}"):
        F.info_nce(*arguments, **options)
