"""The recipe for TRL: what it replaces, function by function, and the trainers that call it.

A function is compared with TRL's and with float64. Of bfloat16 both have to be right within the
rounding that TRL's shows. A trainer trains twins: equal models by TRL and by the recipe.
"""

import os
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from test_docs import run
from test_recipes import (
    IGNORED,
    assert_near,
    assert_that_contenders_agree,
    entropy_of,
    log_prob_of,
    page,
    random,
)
from torch import Tensor
from torch.autograd import grad

os.environ.setdefault("HF_HUB_OFFLINE", "1")  # models are made here
os.environ.setdefault("TRL_EXPERIMENTAL_SILENCE", "1")
pytest.importorskip("trl", reason="TRL is not installed; make test-recipes does so")

import trl  # noqa: E402
import trl.trainer.distillation_trainer  # noqa: E402
import trl.trainer.grpo_trainer  # noqa: E402
import trl.trainer.utils as trl_utils  # noqa: E402
from datasets import Dataset  # noqa: E402
from tokenizers import Tokenizer, models, pre_tokenizers  # noqa: E402
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast  # noqa: E402
from trl.experimental.gkd import GKDConfig, GKDTrainer  # noqa: E402

# What the page assigns to: where, the name, and TRL's own.
REPLACED = [
    (trl.trainer.grpo_trainer, "add_fused_lm_head", trl_utils.add_fused_lm_head),
    (GKDTrainer, "generalized_jsd_loss", staticmethod(GKDTrainer.generalized_jsd_loss)),
    (
        trl.trainer.distillation_trainer,
        "_chunked_divergence_loss",
        trl.trainer.distillation_trainer._chunked_divergence_loss,
    ),
]
jsd_of_trl = GKDTrainer.generalized_jsd_loss
divergence_of_trl = trl.trainer.distillation_trainer._chunked_divergence_loss
WORDS = ["<pad>", "<eos>", "<unk>", *(f"w{i}" for i in range(30))]


def tokenizer() -> Any:
    words = Tokenizer(models.WordLevel({w: i for i, w in enumerate(WORDS)}, unk_token="<unk>"))
    words.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    of_words = PreTrainedTokenizerFast(
        tokenizer_object=words,
        pad_token="<pad>",
        eos_token="<eos>",
        unk_token="<unk>",
        padding_side="left",
        model_max_length=64,
    )
    of_words.chat_template = "{% for m in messages %}{{ m['content'] + ' ' }}{% endfor %}"
    return of_words


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A folder with a model, from which the GRPO trainer reads its reference model."""
    folder = str(tmp_path_factory.mktemp("model"))
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(WORDS),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=1,
        num_attention_heads=2,
        num_key_value_heads=2,
        max_position_embeddings=64,
        pad_token_id=0,
        eos_token_id=1,
        bos_token_id=None,
        initializer_range=0.2,
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    tokenizer().save_pretrained(folder)
    return folder


def another_model(saved: str) -> Any:
    torch.manual_seed(1)
    model = LlamaForCausalLM.from_pretrained(saved)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.1 * torch.randn_like(parameter)
    return model


def reward(completions: list[str], **_: Any) -> list[float]:
    return [float(len(set(completion.split()))) for completion in completions]


@pytest.fixture(scope="module")
def setting(saved: str, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What the trainers of the page are given."""
    common = {
        "output_dir": str(tmp_path_factory.mktemp("trainer")),
        "per_device_train_batch_size": 4,
        "max_steps": 3,
        "learning_rate": 0.05,
        "optim": "sgd",
        "logging_steps": 1,
        "save_strategy": "no",
        "report_to": [],
        "use_cpu": True,
        "bf16": False,
        "gradient_checkpointing": False,
    }
    texts = [" ".join(f"w{i * j % 30}" for j in range(1, 4 + i)) for i in range(8)]
    chats = [
        [
            {"role": "user", "content": f"w{i} w3"},
            {"role": "assistant", "content": " ".join(f"w{i + j}" for j in range(1 + i % 4))},
        ]
        for i in range(8)
    ]
    return {
        "policy": LlamaForCausalLM.from_pretrained(saved),
        "student": LlamaForCausalLM.from_pretrained(saved),
        "teacher": another_model(saved),
        "reward": reward,
        "tokenizer": tokenizer(),
        "prompts": Dataset.from_list([{"prompt": f"w{i} w{i + 1}"} for i in range(8)]),
        "texts": Dataset.from_list([{"text": text} for text in texts]),
        "chats": Dataset.from_list([{"messages": messages} for messages in chats]),
        "grpo_arguments": trl.GRPOConfig(
            num_generations=4,
            max_completion_length=6,
            beta=0.04,
            temperature=0.9,
            entropy_coef=0.01,
            **common,
        ),
        "sft_arguments": trl.SFTConfig(max_length=16, **common),
        "gkd_arguments": GKDConfig(max_length=16, lmbda=0.0, beta=0.3, **common),
        "distillation_arguments": trl.DistillationConfig(
            max_completion_length=6, beta=0.3, **common
        ),
    }


@pytest.fixture(scope="module")
def recipe(setting: dict[str, Any]) -> SimpleNamespace:
    names = run(page("trl"), setting, shown=False)
    for where, name, theirs in REPLACED:
        assert getattr(where, name) is not theirs
        setattr(where, name, theirs)
    return SimpleNamespace(**names)


# Trainers


def trained(trainer: Any) -> tuple[list[dict[str, float]], list[Tensor]]:
    trainer.train()
    logged = [
        {name: entry[name] for name in ("loss", "grad_norm", "entropy", "kl") if name in entry}
        for entry in trainer.state.log_history
        if "loss" in entry
    ]
    return logged, [p.detach() for p in trainer.model.parameters()]


def make_grpo(recipe: SimpleNamespace, setting: dict[str, Any], saved: str) -> Any:
    return trl.GRPOTrainer(
        LlamaForCausalLM.from_pretrained(saved),
        reward_funcs=setting["reward"],
        args=setting["grpo_arguments"],
        train_dataset=setting["prompts"],
        processing_class=setting["tokenizer"],
    )


def make_sft(recipe: SimpleNamespace, setting: dict[str, Any], saved: str) -> Any:
    return recipe.SFTTrainer(
        LlamaForCausalLM.from_pretrained(saved),
        args=setting["sft_arguments"],
        train_dataset=setting["texts"],
        processing_class=setting["tokenizer"],
    )


def make_gkd(recipe: SimpleNamespace, setting: dict[str, Any], saved: str) -> Any:
    return GKDTrainer(
        LlamaForCausalLM.from_pretrained(saved),
        another_model(saved),
        args=setting["gkd_arguments"],
        train_dataset=setting["chats"],
        processing_class=setting["tokenizer"],
    )


def make_distillation(recipe: SimpleNamespace, setting: dict[str, Any], saved: str) -> Any:
    return trl.DistillationTrainer(
        LlamaForCausalLM.from_pretrained(saved),
        another_model(saved),
        args=setting["distillation_arguments"],
        train_dataset=setting["prompts"],
        processing_class=setting["tokenizer"],
    )


@pytest.mark.parametrize("make", [make_grpo, make_sft, make_gkd, make_distillation])
def test_a_trainer_trains_the_same_model(
    make: Callable[..., Any],
    recipe: SimpleNamespace,
    setting: dict[str, Any],
    saved: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    theirs, by_theirs = trained(make(recipe, setting, saved))
    for (where, name, _), ours in zip(
        REPLACED,
        (
            recipe.add_fused_lm_head,
            staticmethod(recipe.generalized_jsd_loss),
            recipe.chunked_divergence_loss,
        ),
        strict=True,
    ):
        monkeypatch.setattr(where, name, ours)
    if make is make_sft:
        recipe = SimpleNamespace(SFTTrainer=recipe.FromHiddenStates)
    ours, by_ours = trained(make(recipe, setting, saved))
    assert len(theirs) == len(ours) == 3
    for expected, actual in zip(theirs, ours, strict=True):
        assert expected["grad_norm"] > 1e-3
        # Trainers of TRL log means of many numbers, the recipe for SFT the loss alone.
        for name, value in actual.items():
            assert value == pytest.approx(expected[name], rel=1e-3, abs=1e-5), name
    torch.testing.assert_close(by_ours, by_theirs, rtol=1e-4, atol=1e-5)
    start = LlamaForCausalLM.from_pretrained(saved).parameters()
    moved = [(p - q).abs().max().item() for p, q in zip(by_ours, start, strict=True)]
    assert max(moved) > 1e-3


def test_the_page_trains(recipe: SimpleNamespace) -> None:
    for trainer in (recipe.grpo, recipe.sft, recipe.gkd, recipe.distillation):
        assert trainer.state.global_step == 3


# Functions


def logits_of(dtype: torch.dtype, seed: int = 0) -> Tensor:
    return (3 * random(3, 8, 200, seed=seed)).to(dtype)


def of_both(
    functions: tuple[Callable[..., Any], ...], inputs: list[Tensor], cotangent: Tensor
) -> list[tuple[Tensor, ...]]:
    """The value and the gradients of each function."""
    results = []
    for function in functions:
        leaves = [x.detach().clone().requires_grad_() for x in inputs]
        value = function(*leaves)
        results.append((value.detach(), *grad(value, leaves, cotangent.to(value))))
    return results


def assert_within_rounding(
    ours: tuple[Tensor, ...], theirs: tuple[Tensor, ...], exact: tuple[Tensor, ...]
) -> None:
    """Ours is as near to the exact numbers as theirs, or as their data type allows."""
    for actual, other, expected in zip(ours, theirs, exact, strict=True):
        largest = expected.abs().max().item()
        assert largest > 1e-5
        errors = [(x.double() - expected).abs().max().item() for x in (actual, other)]
        eps = torch.finfo(actual.dtype).eps
        assert errors[0] <= max(errors[1], 16 * eps * largest), errors
        assert (actual.double() - other.double()).abs().max() <= sum(errors)


DTYPES = pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)


@DTYPES
@pytest.mark.parametrize("temperature", [1.0, 0.7])
@pytest.mark.parametrize("masked", [False, True])
def test_selective_log_softmax(
    masked: bool, temperature: float, dtype: torch.dtype, recipe: SimpleNamespace
) -> None:
    index = torch.arange(24).view(3, 8) * 7 % 200
    mask = torch.arange(24).view(3, 8) % 3 != 0 if masked else None
    counts = torch.ones_like(index) if mask is None else mask

    def exact(x: Tensor) -> Tensor:
        return log_prob_of(x / temperature, index) * counts

    functions = [
        lambda x, f=f: f(x, index, temperature=temperature, row_mask=mask)
        for f in (recipe.selective_log_softmax, trl_utils.selective_log_softmax)
    ]
    logits, g = logits_of(dtype), random(3, 8, seed=1)
    ours, theirs = of_both(tuple(functions), [logits], g)
    assert ours[0].dtype == theirs[0].dtype == dtype
    assert_within_rounding(ours, theirs, *of_both((exact,), [logits.double()], g))


@DTYPES
def test_entropy_from_logits(dtype: torch.dtype, recipe: SimpleNamespace) -> None:
    logits, g = logits_of(dtype), random(3, 8, seed=1)
    functions = (recipe.entropy_from_logits, trl_utils.entropy_from_logits)
    ours, theirs = of_both(functions, [logits], g)
    assert_within_rounding(ours, theirs, *of_both((entropy_of,), [logits.double()], g))


@DTYPES
@pytest.mark.parametrize("with_gradient", [False, True])
def test_selective_log_softmax_and_entropy(
    with_gradient: bool, dtype: torch.dtype, recipe: SimpleNamespace
) -> None:
    index = torch.arange(24).view(3, 8) * 7 % 200
    mask = torch.arange(24).view(3, 8) % 3 != 0
    logits, g = logits_of(dtype), random(3, 8, seed=1)

    def total(function: Callable[..., Any]) -> Callable[[Tensor], Tensor]:
        def of(x: Tensor) -> Tensor:
            log_prob, entropy = function(
                x, index, entropy_requires_grad=with_gradient, row_mask=mask
            )
            assert entropy.requires_grad == with_gradient
            return (log_prob + 0.5 * entropy).double()

        return of

    def exact(x: Tensor) -> Tensor:
        entropy = entropy_of(x)
        return (
            log_prob_of(x, index) + 0.5 * (entropy if with_gradient else entropy.detach())
        ) * mask

    names = ("selective_log_softmax_and_entropy",) * 2
    functions = tuple(total(getattr(m, n)) for m, n in zip((recipe, trl_utils), names, strict=True))
    ours, theirs = of_both(functions, [logits], g)
    assert_near(ours[0], theirs[0], 2**-6 if dtype == torch.bfloat16 else 1e-6)
    (wanted,) = of_both((exact,), [logits.double()], g)
    assert_near(ours[0], wanted[0], 2**-8 if dtype == torch.bfloat16 else 1e-6)
    assert_within_rounding(ours[1:], theirs[1:], wanted[1:])


def test_the_penalty_of_grpo(recipe: SimpleNamespace) -> None:
    new, reference = random(3, 8).requires_grad_(), random(3, 8, seed=1)
    theirs = torch.exp(reference - new) - (reference - new) - 1  # as GRPOTrainer writes it
    ours = recipe.torch_infotheory.kl_estimate(new, reference, "k3")
    assert_near(ours, theirs, 1e-6)
    assert_near(grad(ours.sum(), new)[0], grad(theirs.sum(), new)[0], 1e-6)


def exact_divergence(student: Tensor, teacher: Tensor, beta: float) -> Tensor:
    """KL(teacher, student), KL(student, teacher), or between them as the paper of GKD has it."""
    log_s, log_t = student.log_softmax(-1), teacher.log_softmax(-1)
    if beta == 0:
        return (log_t.exp() * (log_t - log_s)).sum(-1)
    if beta == 1:
        return (log_s.exp() * (log_s - log_t)).sum(-1)
    log_m = (beta * log_t.exp() + (1 - beta) * log_s.exp()).log()
    of_teacher = (log_t.exp() * (log_t - log_m)).sum(-1)
    return beta * of_teacher + (1 - beta) * (log_s.exp() * (log_s - log_m)).sum(-1)


@DTYPES
@pytest.mark.parametrize("beta", [0, 0.1, 0.5, 0.8, 1])
@pytest.mark.parametrize("options", ["labels", "items", "sum", "all"])
def test_generalized_jsd_loss(
    options: str, beta: float, dtype: torch.dtype, recipe: SimpleNamespace
) -> None:
    labels = torch.where(torch.arange(24).view(3, 8) % 3 == 0, IGNORED, 5)
    given: dict[str, Any] = {"beta": beta, "temperature": 1.5, "labels": labels}
    counts, number = labels != IGNORED, (labels != IGNORED).sum()
    if options == "all":
        del given["labels"]
        counts, number = torch.ones_like(counts), torch.tensor(3)
    if options == "items":
        given["num_items_in_batch"] = number = torch.tensor(11)
    if options == "sum":
        given["reduction"], number = "sum", torch.tensor(1)
    inputs = [logits_of(dtype, seed) for seed in (0, 1)]

    def exact(student: Tensor, teacher: Tensor) -> Tensor:
        each = exact_divergence(student / 1.5, teacher / 1.5, beta)
        return (each * counts).sum() / number

    functions = tuple(
        lambda s, t, f=f: f(s, t, **given) for f in (recipe.generalized_jsd_loss, jsd_of_trl)
    )
    g = torch.ones(())
    ours, theirs = of_both(functions, inputs, g)
    (wanted,) = of_both((exact,), [x.double() for x in inputs], g)
    assert_within_rounding(ours, theirs, wanted)


def test_jsd_of_nothing_and_of_unknown_reductions(recipe: SimpleNamespace) -> None:
    logits, nothing = logits_of(torch.float32), torch.full((3, 8), IGNORED)
    others = logits_of(torch.float32, seed=1)
    assert recipe.generalized_jsd_loss(logits, others, nothing) == 0
    assert jsd_of_trl(logits, others, nothing) == 0
    with pytest.raises(ValueError, match="no reduction 'mean'"):
        recipe.generalized_jsd_loss(logits, others, reduction="mean")


def test_equal_predictions_are_not_apart(recipe: SimpleNamespace) -> None:
    logits = logits_of(torch.float32)
    for beta in (0, 0.3, 1):
        assert recipe.generalized_jsd_loss(logits, logits.clone(), beta=beta) == 0
    noise = 1e-4 * random(3, 8, 200, seed=2)
    ours = recipe.generalized_jsd_loss(logits, logits + noise, beta=0.3)
    exact = exact_divergence(logits.double(), (logits + noise).double(), 0.3).sum() / 3
    assert ours.item() == pytest.approx(exact.item(), rel=1e-3) and exact > 1e-9


@DTYPES
@pytest.mark.parametrize("beta", [0, 0.3, 1])
def test_chunked_divergence_loss(beta: float, dtype: torch.dtype, recipe: SimpleNamespace) -> None:
    inputs = [
        (scale * random(*shape, seed=i)).to(dtype)
        for i, (scale, *shape) in enumerate(
            [(1, 3, 8, 16), (1, 3, 8, 24), (0.5, 200, 16), (0.5, 200, 24), (1, 200), (1, 200)]
        )
    ]
    mask = torch.arange(24).view(3, 8) % 3 != 0
    names = ("student_lm_head_bias", "teacher_lm_head_bias")
    options = {"beta": beta, "temperature": 1.5}
    caps = ("student_final_logit_softcapping", "teacher_final_logit_softcapping")
    options |= dict.fromkeys(caps, 4.0)
    values = []
    for function in (recipe.chunked_divergence_loss, divergence_of_trl):
        leaves = [x.clone().requires_grad_(i % 2 == 0) for i, x in enumerate(inputs)]
        of_bias = dict(zip(names, leaves[4:], strict=True))
        loss, entropy, count = function(*leaves[:4], mask, **options, **of_bias)
        assert loss.dtype == entropy.dtype == torch.float32 and count == mask.sum()
        values.append((loss, entropy, *grad(loss, leaves[::2])))

    exact = [x.double().requires_grad_(i % 2 == 0) for i, x in enumerate(inputs)]
    logits = [exact[i] @ exact[2 + i].t() + exact[4 + i] for i in (0, 1)]
    student, teacher = (4 * torch.tanh(z / 4) / 1.5 for z in logits)
    loss = (exact_divergence(student, teacher, beta) * mask).sum() / mask.sum()
    wanted = (loss, (entropy_of(student) * mask).sum(), *grad(loss, exact[::2]))
    tolerance = 1e-5 if dtype == torch.float32 else 2**-7
    for ours, theirs, expected in zip(*values, wanted, strict=True):
        assert_near(ours, expected, tolerance if ours.dtype == dtype else 1e-5)
        assert_near(ours, theirs, tolerance)

    scaled = recipe.chunked_divergence_loss(*inputs[:4], mask, beta, num_items_in_batch=5)[0]
    expected = divergence_of_trl(*inputs[:4], mask, beta, num_items_in_batch=5)[0]
    assert_near(scaled, expected, tolerance)
    with pytest.raises(NotImplementedError):
        recipe.chunked_divergence_loss(*inputs[:4], mask, beta, student_logit_scale=2.0)


@DTYPES
@pytest.mark.parametrize("items", [None, 5])
@pytest.mark.parametrize("cast", [False, True])
def test_fused_lm_head(
    cast: bool, items: int | None, dtype: torch.dtype, recipe: SimpleNamespace, saved: str
) -> None:
    tokens = torch.randint(3, len(WORDS), (4, 9), generator=torch.Generator().manual_seed(0))
    labels = torch.where(torch.arange(9) > 3, tokens, IGNORED)
    found = []
    for add in (recipe.add_fused_lm_head, trl_utils.add_fused_lm_head):
        model = LlamaForCausalLM.from_pretrained(saved).to(dtype)
        if cast:
            model.lm_head.float()  # as the trainers do
        add(model, 0.7, cast, outputs=("log_probs", "entropy"))
        output = model(tokens, labels=labels, fused_lm_head=True, num_items_in_batch=items)
        total = output.log_probs.sum() + 0.1 * output.entropy.sum()
        gradients = grad(total, [model.lm_head.weight, model.model.norm.weight])
        found.append((output.loss, output.log_probs, output.entropy, *gradients))
        assert torch.equal(output.label_mask, labels[:, 1:] != IGNORED)
        if dtype == model.lm_head.weight.dtype:
            assert model(tokens).logits.shape == (4, 9, len(WORDS))
            assert model(tokens, labels=labels).loss > 0
        states = model.model(tokens).last_hidden_state[:, :-1]
        weight = model.lm_head.weight
    assert found[0][1].dtype == found[0][2].dtype == torch.float32
    logits = states.double() @ weight.double().t() / 0.7
    log_prob, counts = log_prob_of(logits, labels[:, 1:]), labels[:, 1:] != IGNORED
    number = counts.sum() if items is None else items
    wanted = (-log_prob.sum() / number, log_prob, entropy_of(logits) * counts)
    for ours, expected in zip(found[0], wanted, strict=False):
        assert_near(ours, expected)
    for ours, theirs in zip(*found, strict=True):
        assert_near(ours, theirs, 1e-4 if dtype == torch.float32 else 2**-5)


def test_the_figures_are_of_equal_functions() -> None:
    assert_that_contenders_agree("trl")


def test_the_recipe_is_of_the_installed_release() -> None:
    assert f"TRL {'.'.join(trl.__version__.split('.')[:2])}" in page("trl").read_text()
