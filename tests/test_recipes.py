"""The code of the recipes gives what a float64 reference says. Its own files have the libraries."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from ranks import Ranks
from test_docs import ROOT, run
from test_dtensor import Traffic
from torch import Tensor
from torch.autograd import grad

import torch_infotheory

IGNORED = -100
SIZE = 2  # ranks


def page(name: str) -> Path:
    return ROOT / "docs" / "recipes" / f"{name}.md"


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def log_prob_of(logits: Tensor, tokens: Tensor) -> Tensor:
    """In float64, 0 where the token is ignored."""
    log_p = logits.double().log_softmax(-1)
    chosen = log_p.gather(-1, tokens.clamp(min=0).unsqueeze(-1)).squeeze(-1)
    return torch.where(tokens == IGNORED, 0.0, chosen)


def entropy_of(logits: Tensor) -> Tensor:
    log_p = logits.double().log_softmax(-1)
    return -(log_p.exp() * log_p).sum(-1)


def assert_near(actual: Tensor, expected: Tensor, tolerance: float = 1e-5) -> None:
    """To the expected values, none of which a test may let vanish."""
    actual, expected = actual.detach().double(), expected.detach().double()
    largest = expected.abs().max().item()
    assert largest > 1e-4
    torch.testing.assert_close(actual, expected, rtol=tolerance, atol=tolerance * largest)


# A policy-gradient step


@pytest.fixture(scope="module")
def policy_gradient() -> dict[str, Any]:
    return run(page("policy_gradient"))


def test_what_a_policy_reads(policy_gradient: dict[str, Any]) -> None:
    policy = policy_gradient["Policy"]()
    tokens = torch.randint(32, (3, 7), generator=torch.Generator().manual_seed(0))
    tokens[1, 4:] = IGNORED
    counts = tokens != IGNORED
    read = policy_gradient["read"](policy, tokens)
    logits = policy.head(policy.hidden(tokens.clamp(min=0)))
    assert_near(read.log_prob, log_prob_of(logits, tokens))
    assert_near(read.entropy, entropy_of(logits) * counts)

    parameters = list(policy.parameters())
    found = grad(read.log_prob.sum() - read.entropy.sum(), parameters, retain_graph=True)
    total = log_prob_of(logits, tokens).sum() - (entropy_of(logits) * counts).sum()
    for actual, expected in zip(found, grad(total, parameters), strict=True):
        assert_near(actual, expected)


def test_samples_are_drawn_from_the_policy(policy_gradient: dict[str, Any]) -> None:
    torch.manual_seed(0)
    policy = policy_gradient["Policy"](vocabulary=3, width=4)
    tokens = policy.sample(4000, 2)
    expected = policy_gradient["read"](policy, torch.tensor([[1, 2]])).log_prob.sum().exp()
    share = (tokens == torch.tensor([1, 2])).all(1).double().mean()
    assert share.item() == pytest.approx(expected.item(), abs=0.03) and 0.03 < share < 0.3


def test_the_policy_loss(policy_gradient: dict[str, Any]) -> None:
    log_prob, entropy = (random(4, 6, seed=i).double() for i in (0, 1))
    old = log_prob + 0.3 * random(4, 6, seed=2)
    reference = log_prob + 0.3 * random(4, 6, seed=3)
    advantages, counts = random(4, 1, seed=4).double(), random(4, 6, seed=5) > -1

    def leaves() -> list[Tensor]:
        return [x.clone().requires_grad_() for x in (log_prob, entropy)]

    inputs = leaves()
    read = torch_infotheory.LogProbs(*inputs, torch.zeros(()))
    value = policy_gradient["policy_loss"](read, old, reference, advantages, counts)
    x, h = leaves()
    ratio = (x - old).exp()
    clipped = torch.where(
        advantages > 0,
        torch.where(ratio > 1.2, 1.2 * torch.ones_like(ratio), ratio),
        torch.where(ratio < 0.8, 0.8 * torch.ones_like(ratio), ratio),
    )
    d = reference - x
    k3, k2 = d.exp() - 1 - d, d**2 / 2
    away = k2 + (k3 - k2).detach()  # the value of k3, the gradient (log p - log q) dlog p
    expected = (-clipped * advantages + 0.04 * away - 0.01 * h)[counts].mean()
    assert_near(value, expected, 1e-12)
    for actual, wanted in zip(grad(value, inputs), grad(expected, (x, h)), strict=True):
        assert_near(actual, wanted, 1e-10)


def test_a_policy_learns(policy_gradient: dict[str, Any]) -> None:
    policy, reference = policy_gradient["policy"], policy_gradient["reference"]
    share = (policy.sample(200, 12) % 2 == 0).double().mean()
    assert share > 0.8 and (reference.sample(200, 12) % 2 == 0).double().mean() < 0.6


def test_half_hidden_states_keep_the_digits_of_float32() -> None:
    hidden, weight = random(64, 32).bfloat16(), random(500, 32, seed=1).bfloat16()
    tokens = torch.arange(64)
    exact = log_prob_of(hidden.double() @ weight.double().t(), tokens)
    linear_log_probs = torch_infotheory.nn.functional.linear_log_probs
    from_states = linear_log_probs(hidden, weight, tokens, dtype=torch.float32).log_prob
    from_logits = log_prob_of(hidden @ weight.t(), tokens)
    errors = [(x.double() - exact).abs().max().item() for x in (from_states, from_logits)]
    assert 100 * errors[0] < errors[1]


# Lightning


@pytest.fixture(scope="module")
def lightning() -> dict[str, Any]:
    pytest.importorskip("pytorch_lightning", reason="pytorch-lightning is not installed")
    pytest.importorskip("torchmetrics", reason="torchmetrics is not installed")
    return run(page("lightning"), shown=False)


def test_the_metrics_are_those_of_one_pass(lightning: dict[str, Any]) -> None:
    model, tokens = lightning["model"], lightning["sequences"][200:]
    with torch.no_grad():
        logits, targets = model.head(model.hidden(tokens[:, :-1])), tokens[:, 1:]
    counts = targets != IGNORED
    assert 0 < counts.sum() < counts.numel() and len(tokens) % 24 != 0
    perplexity = (-log_prob_of(logits, targets).sum() / counts.sum()).exp()
    bits = entropy_of(logits)[counts].mean() / torch.tensor(2.0).log()
    metrics = lightning["trainer"].callback_metrics
    assert_near(metrics["perplexity"], perplexity, 1e-6)
    assert_near(metrics["bits expected"], bits, 1e-6)


def test_the_loss_of_a_training_step(lightning: dict[str, Any]) -> None:
    model, tokens = lightning["LanguageModel"](24), lightning["sequences"][:7]
    model.log = lambda *_: None
    loss = model.training_step(tokens, 0)
    logits, targets = model.head(model.hidden(tokens[:, :-1])), tokens[:, 1:]
    expected = -log_prob_of(logits, targets).sum() / (targets != IGNORED).sum()
    assert_near(loss, expected)
    parameters = list(model.parameters())
    for actual, wanted in zip(grad(loss, parameters), grad(expected, parameters), strict=True):
        assert_near(actual, wanted)


# A sharded vocabulary


@pytest.fixture(scope="module")
def ranks(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ranks]:
    if not torch.distributed.is_gloo_available():
        pytest.skip("this build of torch has no gloo")
    ranks = Ranks(SIZE, tmp_path_factory.mktemp("ranks"))
    yield ranks
    ranks.stop()


ROWS, CLASSES = (3, 4), 11  # of which the ranks have 6 and 5


def on_ranks() -> tuple[dict[str, Any], Tensor, Tensor, slice]:
    """The page's names, all logits, labels, and which classes this rank has."""
    logits = random(*ROWS, CLASSES).double()
    labels = torch.arange(12).view(ROWS) % CLASSES
    labels[1, 2] = IGNORED
    mine = [slice(0, 6), slice(6, 11)][torch.distributed.get_rank()]
    return run(page("sharded_log_probs")), logits, labels, mine


def expected_of(logits: Tensor, labels: Tensor, g: Tensor) -> tuple[Tensor, ...]:
    logits = logits.clone().requires_grad_()
    log_prob = log_prob_of(logits, labels)
    (gradient,) = grad(log_prob, logits, g)
    return log_prob.detach(), entropy_of(logits).detach(), gradient


def as_dtensor(local: Tensor) -> Any:
    from torch.distributed.tensor import DTensor, Shard, init_device_mesh

    mesh = init_device_mesh("cpu", (SIZE,), mesh_dim_names=("tp",))
    shape, stride = (*ROWS, CLASSES), (ROWS[1] * CLASSES, CLASSES, 1)
    return DTensor.from_local(local, mesh, [Shard(2)], shape=shape, stride=stride)


def check_dtensors(compute: str) -> None:
    names, logits, labels, mine = on_ranks()
    local = logits[..., mine].float().contiguous().requires_grad_()
    g = random(*ROWS, seed=1)
    if compute == "torchtitan":
        from torchtitan.components.loss import compute_logprobs
    else:
        compute_logprobs = names["compute_logprobs"]
    with Traffic() as traffic:
        log_prob, entropy = compute_logprobs(as_dtensor(local), labels, return_entropy=True)
        (gradient,) = grad(log_prob, local, g)
    expected = expected_of(logits.float(), labels, g)
    for actual, wanted in zip((log_prob, entropy), expected, strict=False):
        assert_near(actual, wanted)
    assert_near(gradient, expected[2][..., mine])
    assert not entropy.requires_grad
    gathered = any("gather" in call for call in traffic.calls)  # torchtitan: the logits
    of_row = traffic.largest / labels.numel()
    assert gathered if compute == "torchtitan" else of_row <= 4, traffic.sent


def check_local_shards() -> None:
    names, logits, labels, mine = on_ranks()
    local = logits[..., mine].float().contiguous().requires_grad_()
    g = random(*ROWS, seed=1)
    with Traffic() as traffic:
        log_prob, entropy = names["local_logprobs"](local.flatten(0, 1), labels.flatten())
        (gradient,) = grad(log_prob, local, g.flatten(), retain_graph=True)
    expected = expected_of(logits.float(), labels, g)
    assert_near(log_prob, expected[0].flatten())
    assert_near(entropy, expected[1].flatten())
    assert_near(gradient, expected[2][..., mine])
    whole = logits.float().requires_grad_()
    (wanted,) = grad(entropy_of(whole).sum(), whole)
    assert_near(grad(entropy.sum(), local)[0], wanted[..., mine])
    reduced = traffic.calls - {"all_gather_into_tensor"}
    assert reduced == {"all_reduce"} or reduced == {"allreduce_"}, traffic.calls
    assert traffic.largest <= 4 * labels.numel()


def test_log_probs_of_dtensors(ranks: Ranks) -> None:
    ranks.run(check_dtensors, "ours")


def test_log_probs_of_local_shards(ranks: Ranks) -> None:
    ranks.run(check_local_shards)


def test_torchtitan_gives_the_same_and_gathers(ranks: Ranks) -> None:
    pytest.importorskip(
        "torchtitan", reason="torchtitan is not installed; make test-recipes does so"
    )
    ranks.run(check_dtensors, "torchtitan")


# Figures


def assert_that_contenders_agree(name: str) -> None:
    """What benchmarks/recipes.py measures for a page is what float64 says, by each function."""
    sys.path.append(str(ROOT / "benchmarks"))
    import recipes

    for table in recipes.TABLES[name](recipes.Size(2, 6, 8, 50), torch.float32):
        assert len(table.calls) >= 2
        exact = table.exact(*(x.double() for x in table.inputs))
        for call in table.calls.values():
            assert_near(call(*table.inputs), exact)


@pytest.mark.parametrize("name", ["lightning", "policy_gradient"])
def test_the_figures_are_of_equal_functions(name: str) -> None:
    pytest.importorskip("sklearn", reason="scikit-learn is not installed")
    if name == "lightning":
        pytest.importorskip("torchmetrics", reason="torchmetrics is not installed")
    assert_that_contenders_agree(name)


@pytest.mark.parametrize(
    "found", sorted((ROOT / "docs/recipes").glob("*.md")), ids=lambda p: p.stem
)
def test_every_recipe_is_listed(found: Path) -> None:
    assert f"docs/recipes/{found.name}" in (ROOT / "README.md").read_text()
