"""The recipe for transformers: its losses, and models that the Trainer trains by them.

The Trainer of transformers trains twins: equal models by the recipe and by transformers' own loss.
"""

import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from test_docs import run
from test_recipes import (
    IGNORED,
    assert_near,
    assert_that_contenders_agree,
    log_prob_of,
    page,
    random,
)
from torch import Tensor
from torch.autograd import grad

os.environ.setdefault("HF_HUB_OFFLINE", "1")  # models are made here
transformers = pytest.importorskip(
    "transformers", reason="transformers is not installed; make test-recipes does so"
)
pytest.importorskip("accelerate", reason="accelerate is not installed; make test-recipes does so")
from transformers.loss import loss_utils  # noqa: E402

THEIRS = loss_utils.fixed_cross_entropy
VOCABULARY = 61


def config_of(**options: Any) -> Any:
    return transformers.LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        num_key_value_heads=2,
        max_position_embeddings=32,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=2,
        **options,
    )


def model_of(kind: type | None = None) -> Any:
    torch.manual_seed(0)
    return (kind or transformers.LlamaForCausalLM)(config_of())


def data() -> list[dict[str, Tensor]]:
    """Sequences of several lengths, so that micro-batches count different numbers of labels."""
    rows = []
    for i in range(12):
        tokens = torch.randint(3, VOCABULARY, (10,), generator=torch.Generator().manual_seed(i))
        labels = torch.where(torch.arange(10) < 3 + i % 8, tokens, IGNORED)
        rows.append({"input_ids": tokens, "labels": labels, "attention_mask": (labels >= 0).long()})
    return rows


@pytest.fixture(scope="module")
def arguments(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return transformers.TrainingArguments(
        output_dir=str(tmp_path_factory.mktemp("trainer")),
        per_device_train_batch_size=2,
        gradient_accumulation_steps=2,
        max_steps=3,
        learning_rate=0.1,
        optim="sgd",
        logging_steps=1,
        save_strategy="no",
        report_to=[],
        use_cpu=True,
    )


@pytest.fixture(scope="module")
def recipe(arguments: Any) -> SimpleNamespace:
    names = {"model": model_of(), "other_model": model_of(), "config": config_of()}
    names = run(
        page("transformers"), {**names, "arguments": arguments, "data": data()}, shown=False
    )
    loss_utils.fixed_cross_entropy = THEIRS
    return SimpleNamespace(**names)


def trained(model: Any, arguments: Any, **options: Any) -> tuple[list[float], list[Tensor], float]:
    """Losses of the steps, the parameters after them, and the loss of an evaluation."""
    trainer = transformers.Trainer(
        model, arguments, train_dataset=data(), eval_dataset=data(), **options
    )
    trainer.train()
    losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    evaluated = trainer.evaluate()["eval_loss"]
    return losses, [p.detach() for p in trainer.model.parameters()], evaluated


@pytest.fixture(scope="module")
def by_transformers(arguments: Any) -> tuple[list[float], list[Tensor], float]:
    return trained(model_of(), arguments)


@pytest.mark.parametrize("way", ["loss_function", "compute_loss_func", "FromHiddenStates"])
def test_the_trainer_trains_the_same_model(
    way: str, recipe: SimpleNamespace, arguments: Any, by_transformers: Any
) -> None:
    model, options = model_of(recipe.StatesForCausalLM if way == "FromHiddenStates" else None), {}
    if way == "loss_function":
        model.loss_function = recipe.causal_lm_loss
    if way == "compute_loss_func":
        options["compute_loss_func"] = recipe.compute_loss
    losses, parameters, evaluated = trained(model, arguments, **options)
    assert len(losses) == 3 and losses[0] > 3
    assert losses == pytest.approx(by_transformers[0], rel=1e-5)
    assert evaluated == pytest.approx(by_transformers[2], rel=1e-5)
    torch.testing.assert_close(parameters, by_transformers[1], rtol=1e-5, atol=1e-6)
    start = model_of().parameters()
    moved = [(p - q).abs().max() for p, q in zip(parameters, start, strict=True)]
    assert max(moved) > 1e-2 and all(moved)


def test_the_page_trains(recipe: SimpleNamespace) -> None:
    assert 3 < recipe.from_logits < 5 and 3 < recipe.from_states < 5
    start = next(model_of().parameters())
    for model in (recipe.model, recipe.other_model):
        assert not torch.equal(next(model.parameters()), start)


@pytest.mark.parametrize("items", [None, 7, torch.tensor(7)], ids=str)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("shifted", [False, True])
def test_causal_lm_loss(
    shifted: bool, dtype: torch.dtype, items: Any, recipe: SimpleNamespace
) -> None:
    labels = torch.stack([row["labels"] for row in data()])
    given = {"shift_labels": labels} if shifted else {}
    values, gradients = [], []
    for loss in (recipe.causal_lm_loss, loss_utils.ForCausalLMLoss):
        logits = (3 * random(*labels.shape, VOCABULARY)).to(dtype).requires_grad_()
        values.append(loss(logits, labels, VOCABULARY, num_items_in_batch=items, **given))
        gradients.append(grad(values[-1], logits)[0])
    targets = labels if shifted else torch.nn.functional.pad(labels[:, 1:], (0, 1), value=IGNORED)
    exact = logits.detach().double().requires_grad_()
    number = (targets != IGNORED).sum() if items is None else items
    expected = -log_prob_of(exact, targets).sum() / number
    assert values[0].dtype == values[1].dtype == torch.float32
    assert_near(values[0], expected, 1e-6)
    assert_near(values[0], values[1], 1e-6)
    rounding = 1e-6 if dtype == torch.float32 else 2**-8
    assert_near(gradients[0], grad(expected, exact)[0], rounding)
    assert_near(gradients[0], gradients[1], rounding)


def test_the_logits_are_not_copied(recipe: SimpleNamespace) -> None:
    kept = []
    logits = random(4, 10, VOCABULARY).bfloat16().requires_grad_()
    labels = torch.randint(VOCABULARY, (4, 10))
    with torch.autograd.graph.saved_tensors_hooks(lambda x: kept.append(x) or x, lambda x: x):
        loss = recipe.causal_lm_loss(logits, labels)
    assert_near(loss, -log_prob_of(logits[:, :-1], labels[:, 1:]).mean())
    of_that_size = [x for x in kept if x.numel() >= logits.numel()]
    assert all(x.data_ptr() == logits.data_ptr() for x in of_that_size)


@pytest.mark.parametrize("name", ["ForMaskedLMLoss", "ForTokenClassification"])
def test_losses_that_call_fixed_cross_entropy(
    name: str, recipe: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    logits, labels = random(3, 5, VOCABULARY), torch.randint(VOCABULARY, (3, 5))
    labels[0, :4] = IGNORED
    config = SimpleNamespace(num_labels=VOCABULARY)
    of = {"config": config} if name == "ForTokenClassification" else {"vocab_size": VOCABULARY}
    theirs = getattr(loss_utils, name)(logits, labels, **of)
    calls = []

    def noted(*args: Any, **options: Any) -> Tensor:
        calls.append(args)
        return recipe.fixed_cross_entropy(*args, **options)

    monkeypatch.setattr(loss_utils, "fixed_cross_entropy", noted)
    ours = getattr(loss_utils, name)(logits, labels, **of)
    assert len(calls) == 1
    assert_near(ours, theirs, 1e-6)


def test_a_model_from_hidden_states(recipe: SimpleNamespace) -> None:
    ours, theirs = model_of(recipe.StatesForCausalLM), model_of()
    rows = data()[:3]
    batch = {name: torch.stack([row[name] for row in rows]) for name in rows[0]}
    outputs = ours(**batch)
    assert outputs.logits is None
    assert_near(outputs.loss, theirs(**batch).loss, 1e-6)
    assert_near(
        ours(**batch, num_items_in_batch=5).loss, theirs(**batch, num_items_in_batch=5).loss
    )
    tokens = ours.generate(batch["input_ids"][:, :3], do_sample=False, max_new_tokens=4)
    expected = theirs.generate(batch["input_ids"][:, :3], do_sample=False, max_new_tokens=4)
    assert torch.equal(tokens, expected) and tokens.shape[1] > 3


def test_a_bounded_model(recipe: SimpleNamespace) -> None:
    """The cap that Gemma's configuration states."""
    model = recipe.StatesForCausalLM(config_of(final_logit_softcapping=0.01))
    tokens = torch.randint(3, VOCABULARY, (2, 6))
    hidden = model.model(tokens).last_hidden_state
    logits = 0.01 * torch.tanh(model.lm_head(hidden) / 0.01)
    expected = -log_prob_of(logits[:, :-1], tokens[:, 1:]).mean()
    plain = -log_prob_of(model.lm_head(hidden)[:, :-1], tokens[:, 1:]).mean()
    loss = model(tokens, labels=tokens).loss
    assert_near(loss, expected, 1e-6)
    assert (loss - plain).abs() > 1e-4


def test_hidden_states_in_bfloat16_are_nearer(recipe: SimpleNamespace) -> None:
    ours, theirs = model_of(recipe.StatesForCausalLM).bfloat16(), model_of().bfloat16()
    tokens = torch.randint(3, VOCABULARY, (8, 30), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        hidden = ours.model(tokens).last_hidden_state.double()
        logits = hidden @ ours.lm_head.weight.double().t()
        exact = -log_prob_of(logits[:, :-1], tokens[:, 1:]).mean()
        errors = [
            (
                recipe.F.linear_cross_entropy(
                    hidden[:, :-1].flatten(0, 1).bfloat16(),
                    ours.lm_head.weight,
                    tokens[:, 1:].flatten(),
                    dtype=torch.float32,
                )
                - exact
            ).abs(),
            (theirs(tokens, labels=tokens).loss - exact).abs(),
        ]
    assert errors[0] < 1e-5 * exact and errors[0] < errors[1]


def test_the_figures_are_of_equal_functions() -> None:
    assert_that_contenders_agree("transformers")


def test_the_recipe_is_of_the_installed_release() -> None:
    text = Path(page("transformers")).read_text()
    version = ".".join(transformers.__version__.split(".")[:2])
    assert f"transformers {version}" in text
