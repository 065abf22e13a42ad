"""`torch_infotheory.metrics`: however the data are split, the value is that of one pass over them.

The reference is NumPy, SciPy or scikit-learn over all data at once.
"""

import copy
import math
import pickle
import re
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.special
import scipy.stats
import sklearn.metrics
import torch
from ranks import Ranks
from torch import Tensor
from torch.nn.parallel import DistributedDataParallel
from torchmetrics import MetricCollection

from torch_infotheory import estimators, metrics

CLASSES = 7
SAMPLES = 60
IGNORED = -100
Batch = tuple[Tensor, ...]
SPLITS = {
    "one": [SAMPLES],
    "two": [20, 40],
    "uneven": [1, 0, 33, 7, 19],
    "single": [1] * SAMPLES,
}

pytestmark = [
    # Of a metric that has seen no data, or of one rank alone, in a collection.
    pytest.mark.filterwarnings("ignore:The ``compute`` method of metric"),
]


@dataclass(frozen=True)
class Case:
    make: Callable[[], metrics.Metric]
    data: Callable[[int], Batch]  # arguments of `update`, one for each sample along dimension 0
    expected: Callable[..., float]  # from all of them, as arrays
    empty: float = math.nan  # the value without data


def random(*shape: int, seed: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def labels(count: int, seed: int, size: int = CLASSES) -> Tensor:
    return torch.randint(size, (count,), generator=torch.Generator().manual_seed(seed))


def probabilities(count: int, seed: int) -> Tensor:
    return random(count, 3, CLASSES, seed=seed).double().softmax(-1)


def of_language(count: int) -> Batch:
    target = torch.stack([labels(count, seed) for seed in range(3)], 1)
    target[::3, 1] = IGNORED
    target[1::5] = IGNORED
    return 3 * random(count, 3, CLASSES, seed=1), target


def nats_and_tokens(logits: np.ndarray, target: np.ndarray) -> tuple[float, int]:
    log_p = scipy.special.log_softmax(logits.astype(np.float64), -1).reshape(-1, CLASSES)
    kept = target.reshape(-1) != IGNORED
    return -log_p[kept, target.reshape(-1)[kept]].sum(), kept.sum()


def perplexity(logits: np.ndarray, target: np.ndarray) -> float:
    nats, tokens = nats_and_tokens(logits, target)
    return math.exp(nats / tokens)


def bits_per_byte(logits: np.ndarray, target: np.ndarray, num_bytes: np.ndarray) -> float:
    return nats_and_tokens(logits, target)[0] / math.log(2) / num_bytes.sum()


def weighted_mean(values: np.ndarray, weight: np.ndarray | None = None) -> float:
    weights = None if weight is None else np.broadcast_to(weight, values.shape)
    return float(np.average(values, weights=weights))


def js_divergence(p: np.ndarray, q: np.ndarray) -> np.ndarray:
    m = (p + q) / 2
    return (scipy.stats.entropy(p, m, axis=-1) + scipy.stats.entropy(q, m, axis=-1)) / 2


def weights(count: int) -> Tensor:
    return random(count, 1, seed=9).exp() * (torch.arange(count)[:, None] % 4 > 0)


def pair(count: int) -> Batch:
    return probabilities(count, 1), probabilities(count, 2)


SIZES = (5, 8)


def clusterings(count: int) -> Batch:
    """Labels of pictures, with some left out; the last class of either does not occur."""
    x = torch.stack([labels(count, seed, SIZES[0] - 1) for seed in (1, 2)], 1)
    y = (x + labels(2 * count, 3, 4).view(count, 2)).to(torch.int32)
    x[::7, 0] = -1
    return x, y


def seen(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return x[x >= 0], y[x >= 0]


def joint_and_margins(x: np.ndarray, y: np.ndarray) -> list[float]:
    """H(X, Y), H(X) and H(Y)."""
    pairs = np.stack(seen(x, y))
    return [
        float(scipy.stats.entropy(np.unique(values, axis=-1, return_counts=True)[1]))
        for values in (pairs, pairs[0], pairs[1])
    ]


def occurring(x: np.ndarray, y: np.ndarray) -> list[int]:
    """How many different pairs, labels of x and labels of y there are."""
    pairs = np.stack(seen(x, y))
    return [np.unique(values, axis=-1).shape[-1] for values in (pairs, pairs[0], pairs[1])]


CASES = {
    "perplexity": Case(metrics.Perplexity, of_language, perplexity),
    "perplexity_of_all": Case(
        lambda: metrics.Perplexity(ignore_index=None),
        lambda n: (random(n, CLASSES, seed=1), labels(n, 2).to(torch.int32)),
        perplexity,
    ),
    "bits_per_byte": Case(
        metrics.BitsPerByte, lambda n: (*of_language(n), labels(n, 3) + 1), bits_per_byte
    ),
    "entropy": Case(
        lambda: metrics.Entropy(kind="logits", base=2),
        lambda n: (random(n, 3, CLASSES, seed=1),),
        lambda x: weighted_mean(scipy.stats.entropy(np.exp(x.astype(float)), axis=-1, base=2)),
    ),
    "weighted_entropy": Case(
        metrics.Entropy,
        lambda n: (probabilities(n, 1), weights(n)),
        lambda p, w: weighted_mean(scipy.stats.entropy(p, axis=-1), w),
    ),
    "kl_divergence": Case(
        lambda: metrics.KLDivergence(base=10),
        pair,
        lambda p, q: weighted_mean(scipy.stats.entropy(p, q, axis=-1, base=10)),
    ),
    "weighted_kl_divergence": Case(
        lambda: metrics.KLDivergence(kind=("probs", "log_probs")),
        lambda n: (pair(n)[0], pair(n)[1].log(), weights(n)),
        lambda p, q, w: weighted_mean(scipy.stats.entropy(p, np.exp(q), axis=-1), w),
    ),
    "js_divergence": Case(
        metrics.JSDivergence, pair, lambda p, q: weighted_mean(js_divergence(p, q))
    ),
    "mutual_information": Case(
        lambda: metrics.MutualInformation(*SIZES, base=2),
        clusterings,
        lambda x, y: sklearn.metrics.mutual_info_score(*seen(x, y)) / math.log(2),
    ),
    "mutual_information_by_miller_and_madow": Case(
        lambda: metrics.MutualInformation(*SIZES, "miller_madow"),
        clusterings,
        lambda x, y: (
            sklearn.metrics.mutual_info_score(*seen(x, y))
            + np.dot(occurring(x, y), [-1, 1, 1]) / (2 * len(seen(x, y)[0]))
            - 1 / (2 * len(seen(x, y)[0]))
        ),
    ),
    "conditional_entropy": Case(
        lambda: metrics.ConditionalEntropy(*SIZES),
        clusterings,
        lambda x, y: joint_and_margins(x, y)[0] - joint_and_margins(x, y)[1],
    ),
    "variation_of_information": Case(
        lambda: metrics.VariationOfInformation(*SIZES, base=2),
        clusterings,
        lambda x, y: np.dot(joint_and_margins(x, y), [2, -1, -1]) / math.log(2),
    ),
    "normalized_mutual_information": Case(
        lambda: metrics.NormalizedMutualInformation(*SIZES, "geometric"),
        clusterings,
        lambda x, y: sklearn.metrics.normalized_mutual_info_score(
            *seen(x, y), average_method="geometric"
        ),
        empty=1,
    ),
    "adjusted_mutual_information": Case(
        lambda: metrics.AdjustedMutualInformation(*SIZES),
        clusterings,
        lambda x, y: sklearn.metrics.adjusted_mutual_info_score(*seen(x, y)),
        empty=1,
    ),
}


def expected_of(case: Case, data: Sequence[Tensor]) -> float:
    return case.expected(*(x.numpy() for x in data))


def close(value: Tensor, expected: float) -> None:
    # A float32 reduction of a row is rounded; what comes after is not.
    assert value.shape == () and value.dtype == torch.float64
    assert float(value) == pytest.approx(expected, rel=1e-6)


def batches(data: Batch, sizes: Sequence[int]) -> Iterator[Batch]:
    return zip(*(x.split(list(sizes)) for x in data), strict=True)


def value_of(case: Case, parts: Sequence[Batch]) -> Tensor:
    metric = case.make()
    for part in parts:
        metric.update(*part)
    return metric.compute()


@pytest.mark.parametrize("split", SPLITS)
@pytest.mark.parametrize("name", CASES)
def test_is_one_pass_over_all_data(name: str, split: str) -> None:
    case = CASES[name]
    data = case.data(SAMPLES)
    value = value_of(case, list(batches(data, SPLITS[split])))
    close(value, expected_of(case, data))
    rounding = 1e-12 if data[0].dtype == torch.float64 else 1e-7  # of the rows' own values
    assert float(value) == pytest.approx(float(value_of(case, [data])), rel=rounding)


@pytest.mark.parametrize("name", CASES)
def test_forward_gives_the_batch_and_reset_forgets(name: str) -> None:
    case = CASES[name]
    data, metric = case.data(SAMPLES), case.make()
    for part in batches(data, [20, 40]):
        close(metric(*part), expected_of(case, part))
    close(metric.compute(), expected_of(case, data))
    metric.reset()
    assert float(metric.compute()) == pytest.approx(case.empty, nan_ok=True)
    part = case.data(5)
    metric.update(*part)
    close(metric.compute(), expected_of(case, part))


@pytest.mark.parametrize("name", CASES)
def test_goes_on_from_a_checkpoint_a_copy_and_a_pickle(name: str, tmp_path: Path) -> None:
    case = CASES[name]
    data = case.data(SAMPLES)
    first, second = batches(data, [25, 35])
    metric = case.make()
    metric.update(*first)
    torch.save(metric.state_dict(), tmp_path / "metric.pt")
    loaded = case.make()
    loaded.load_state_dict(torch.load(tmp_path / "metric.pt"))
    for resumed in (loaded, copy.deepcopy(metric), pickle.loads(pickle.dumps(metric))):
        resumed.update(*second)
        close(resumed.compute(), expected_of(case, data))
    close(metric.compute(), expected_of(case, first))


@pytest.mark.parametrize("name", CASES)
def test_merges_states(name: str) -> None:
    case = CASES[name]
    data = case.data(SAMPLES)
    parts = [case.make() for _ in range(3)]  # the last one stays empty
    for metric, part in zip(parts, batches(data, [25, 35]), strict=False):
        metric.update(*part)
    parts[0].merge_state(parts[1])
    parts[0].merge_state(parts[2].metric_state)
    close(parts[0].compute(), expected_of(case, data))


def test_collection() -> None:
    data = pair(SAMPLES)
    collection = MetricCollection(
        {
            "kl": metrics.KLDivergence(),
            "js": metrics.JSDivergence(),
            "bits": metrics.KLDivergence(base=2),
        }
    )
    # The first batch does not tell them apart, if one looks at values alone.
    equal = data[0][:1]
    collection.update(equal, equal)
    for part in batches(data, [20, 40]):
        collection.update(*part)
    values = collection.compute()
    pairs = 3 * SAMPLES
    kl, js = (
        scipy.stats.entropy(*data, axis=-1).sum(),
        js_divergence(*(x.numpy() for x in data)).sum(),
    )
    close(values["kl"], kl / (pairs + 3))
    close(values["bits"], kl / (pairs + 3) / math.log(2))
    close(values["js"], js / (pairs + 3))


def test_collection_counts_labels_once() -> None:
    names = [name for name, case in CASES.items() if case.data is clusterings]
    data = clusterings(SAMPLES)
    collection = MetricCollection({name: CASES[name].make() for name in names})
    for part in batches(data, [20, 40]):
        collection.update(*part)
    assert [sorted(group) for group in collection.compute_groups.values()] == [sorted(names)]
    for name, value in collection.compute().items():
        close(value, expected_of(CASES[name], data))


@pytest.mark.parametrize("name", CASES)
def test_states_are_few_numbers(name: str) -> None:
    metric = CASES[name].make()
    metric.update(*CASES[name].data(10 * SAMPLES))
    numbers = sum(state.numel() for state in metric.metric_state.values())
    assert numbers == (math.prod(SIZES) if CASES[name].data is clusterings else 2)


@pytest.mark.parametrize("estimator", ["grassberger", "chao_shen", "james_stein", "nsb"])
def test_estimates_are_those_of_the_labels(estimator: str) -> None:
    x, y = clusterings(SAMPLES)
    metric = metrics.MutualInformation(*SIZES, estimator)
    for part in batches((x, y), [20, 40]):
        metric.update(*part)
    expected = estimators.mutual_information_from_labels(
        x[x >= 0], y[x >= 0], estimator, alphabet=SIZES
    )
    close(metric.compute(), float(expected))


def test_all_ignored_is_nan() -> None:
    logits, target = of_language(4)
    metric = metrics.Perplexity()
    assert math.isnan(metric(logits, torch.full_like(target, IGNORED)))
    metric.update(logits, target)
    close(metric.compute(), perplexity(logits.numpy(), target.numpy()))


def test_nan_and_infinity_reach_the_value_if_they_count() -> None:
    logits, target = of_language(4)
    logits[0, 1] = math.nan  # which is ignored
    metric = metrics.Perplexity()
    assert math.isfinite(metric(logits, target))
    target[0, 1] = 0
    assert math.isnan(metric(logits, target))

    p = torch.tensor([[0.5, 0.5], [math.nan, 0.5], [0.5, 0.5]])
    q = torch.tensor([[0.5, 0.5], [0.5, 0.5], [0.0, 1.0]])
    divergence = metrics.KLDivergence()
    assert divergence(p, q, torch.tensor([1.0, 0.0, 0.0])) == 0
    assert divergence(p, q, torch.tensor([1.0, 0.0, 2.0])) == math.inf
    assert math.isnan(divergence(p, q))
    assert math.isnan(divergence.compute())


def test_value_of_a_batch_has_a_gradient() -> None:
    logits, target = of_language(6)
    logits.requires_grad_()
    metric = metrics.Perplexity()
    value = metric(logits, target)
    gradient = torch.autograd.grad(value, logits)[0]
    kept = target.flatten() != IGNORED
    loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1)[kept], target.flatten()[kept])
    expected = torch.autograd.grad(loss.exp(), logits)[0]
    torch.testing.assert_close(gradient, expected)
    assert not metric.compute().requires_grad


def test_a_number_weighs_a_whole_batch() -> None:
    metric = metrics.Entropy(base=2)
    metric.update(torch.tensor([[0.5, 0.5], [0.5, 0.5]]), weight=0.25)
    metric.update(torch.tensor([[1.0, 0.0]]), weight=1.5)
    close(metric.compute(), 0.25)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_types_add_up_in_float64(dtype: torch.dtype) -> None:
    p = torch.full((4000, 2), 0.5, dtype=dtype)
    metric = metrics.Entropy(base=2)
    for _ in range(3):
        metric.update(p)
    assert float(metric.compute()) == pytest.approx(1, rel=1e-6)
    half = metrics.Entropy().half()
    half.update(p)
    assert half.compute().dtype == torch.float64


@pytest.mark.parametrize(
    "call, error, says",
    [
        (lambda: metrics.Perplexity(ignore_index="pad"), TypeError, "Perplexity: .*ignore_index"),
        (lambda: metrics.Entropy(base=1), ValueError, "Entropy: expected base .*, got 1"),
        (lambda: metrics.Entropy(base="two"), TypeError, "base"),
        (
            lambda: metrics.Perplexity().update([1.0], torch.tensor(0)),
            TypeError,
            "Perplexity: .*list",
        ),
        (
            lambda: metrics.Perplexity().update(torch.zeros(2, 3, 7), torch.zeros(3, 2).long()),
            RuntimeError,
            r"Perplexity: .*\[2, 3, 7\].*\[3, 2\]",
        ),
        (
            lambda: metrics.Perplexity(ignore_index=None).update(
                torch.zeros(2, 7), torch.tensor([0, IGNORED])
            ),
            IndexError,
            "Target -100 is out of bounds",
        ),
        (lambda: metrics.Entropy(kind="bits").update(torch.ones(1)), ValueError, "kind"),
        (lambda: metrics.MutualInformation(0, 2), ValueError, "MutualInformation: num_x"),
        (lambda: metrics.MutualInformation(2, 2.0), TypeError, "MutualInformation: num_y"),
        (lambda: metrics.MutualInformation(2, 2, "guess"), ValueError, "estimator: .*'nsb'"),
        (lambda: metrics.AdjustedMutualInformation(2, 2, "mean"), ValueError, "average: .*'max'"),
        (
            lambda: metrics.ConditionalEntropy(2, 2).update(labels(3, 1, 2), labels(4, 1, 2)),
            RuntimeError,
            r"ConditionalEntropy: .*\[3\] and y \[4\]",
        ),
        (
            lambda: metrics.ConditionalEntropy(2, 2).update(torch.tensor([2]), torch.tensor([0])),
            IndexError,
            "2",
        ),
        (
            lambda: metrics.ConditionalEntropy(2, 2).update(torch.ones(3), labels(3, 1, 2)),
            TypeError,
            "got Float",
        ),
    ],
)
def test_errors(call: Callable[[], object], error: type[Exception], says: str) -> None:
    with pytest.raises(error, match=says):
        call()


# Several ranks.

RANKS = pytest.mark.skipif(
    not torch.distributed.is_gloo_available(), reason="this build of torch has no gloo"
)


@pytest.fixture(scope="module", params=[2, 3])
def ranks(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Ranks]:
    ranks = Ranks(request.param, tmp_path_factory.mktemp("ranks"))
    yield ranks
    ranks.stop()


# What each rank has: uneven shares; nothing at all on the last rank; all on the last one.
SHARES = {2: ([41, 19], [60, 0], [0, 60]), 3: ([10, 49, 1], [33, 27, 0], [0, 0, 60])}


def check_ranks(name: str) -> None:
    rank, size = torch.distributed.get_rank(), torch.distributed.get_world_size()
    warnings.simplefilter("ignore")
    case = CASES[name]
    data = case.data(SAMPLES)
    for shares in SHARES[size]:
        own = list(batches(data, shares))[rank]
        metric = case.make()
        for part in batches(own, [len(own[0]) // 3, len(own[0]) - len(own[0]) // 3]):
            if len(part[0]):  # a rank without data does not call update
                metric.update(*part)
        close(metric.compute(), expected_of(case, data))
        # The ranks have their own states back, and go on.
        metric.update(*own)
        twice = tuple(torch.cat((x, x)) for x in data)
        close(metric.compute(), expected_of(case, twice))
        # On resuming, each rank takes up its own state.
        resumed = case.make()
        resumed.load_state_dict(metric.state_dict())
        close(resumed.compute(), expected_of(case, twice))


@RANKS
@pytest.mark.parametrize("name", CASES)
def test_ranks_see_all_data(name: str, ranks: Ranks) -> None:
    ranks.run(check_ranks, name)


def check_ddp() -> None:
    """A model in DDP, whose metric is synchronised in every step; the batches are uneven."""
    rank, size = torch.distributed.get_rank(), torch.distributed.get_world_size()
    torch.manual_seed(0)
    model = DistributedDataParallel(torch.nn.Linear(4, CLASSES))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
    metric = metrics.Perplexity(dist_sync_on_step=True)
    collection = MetricCollection([metrics.Perplexity(), metrics.BitsPerByte()])
    points, target = random(SAMPLES, 4, seed=1), labels(SAMPLES, 2)
    shares = list(batches((points, target), [40, 20] if size == 2 else [40, 13, 7]))
    seen = []
    for _ in range(3):
        with torch.no_grad():
            seen.append((model.module(points), target))
        x, y = shares[rank]
        logits = model(x)
        value = metric(logits, y)
        close(value.detach(), perplexity(*(t.numpy() for t in seen[-1])))
        collection.update(logits=logits.detach(), target=y, num_bytes=2 * len(y))
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(logits, y).backward()
        optimizer.step()
    expected = [torch.cat(parts).numpy() for parts in zip(*seen, strict=True)]
    close(metric.compute(), perplexity(*expected))
    values = collection.compute()
    close(values["Perplexity"], perplexity(*expected))
    close(values["BitsPerByte"], bits_per_byte(*expected, np.array(2 * 3 * SAMPLES)))


@RANKS
def test_ddp(ranks: Ranks) -> None:
    ranks.run(check_ddp)


# Lightning.


def test_lightning_logs_and_resumes(tmp_path: Path) -> None:
    pl = pytest.importorskip("pytorch_lightning", reason="Lightning is not installed")

    class Model(pl.LightningModule):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.linear = torch.nn.Linear(4, CLASSES)
            self.perplexity = metrics.Perplexity()
            self.seen: list[Batch] = []

        def training_step(self, batch: Batch, index: int) -> Tensor:
            x, y = batch
            logits = self.linear(x)
            self.seen.append((logits.detach(), y))
            self.perplexity(logits, y)
            self.log("perplexity", self.perplexity, on_step=False, on_epoch=True)
            return torch.nn.functional.cross_entropy(logits, y)

        def configure_optimizers(self) -> torch.optim.Optimizer:
            return torch.optim.SGD(self.parameters(), lr=0.1)

    data = torch.utils.data.TensorDataset(random(SAMPLES, 4, seed=1), labels(SAMPLES, 2))
    loader = torch.utils.data.DataLoader(data, batch_size=25)  # the last batch is smaller

    def trainer(**options: Any) -> Any:
        return pl.Trainer(
            accelerator="cpu",
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            default_root_dir=tmp_path,
            **options,
        )

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about the number of workers
        model, fit = Model(), trainer(max_epochs=1)
        fit.fit(model, loader)
        logged = fit.callback_metrics["perplexity"]
        seen = [torch.cat(parts).numpy() for parts in zip(*model.seen, strict=True)]
        assert len(seen[0]) == SAMPLES
        assert float(logged) == pytest.approx(perplexity(*seen), rel=1e-6)

        # Within an epoch, a checkpoint has the sums so far.
        class Save(pl.Callback):  # type: ignore[misc, name-defined]
            def on_train_batch_end(
                self, trainer: Any, module: Any, outputs: Any, batch: Batch, index: int
            ) -> None:
                if index == 1:
                    trainer.save_checkpoint(tmp_path / "within.ckpt")

        model = Model()
        trainer(max_epochs=1, callbacks=[Save()]).fit(model, loader)
    resumed = Model()
    resumed.load_state_dict(torch.load(tmp_path / "within.ckpt", weights_only=False)["state_dict"])
    seen = [torch.cat(parts).numpy() for parts in zip(*model.seen[:2], strict=True)]
    assert len(seen[0]) == 50
    close(resumed.perplexity.compute(), perplexity(*seen))


# The import.


def run(program: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)


def test_package_does_not_import_torchmetrics() -> None:
    program = "import sys, torch_infotheory; sys.exit('torchmetrics' in sys.modules)"
    assert run(program).returncode == 0


def test_without_torchmetrics_one_sentence_says_what_to_install() -> None:
    program = "import sys; sys.modules['torchmetrics'] = None; import torch_infotheory.metrics"
    last = run(program).stderr.strip().splitlines()[-1]
    assert re.fullmatch(
        r"ImportError: torch_infotheory.metrics needs torchmetrics: "
        r"pip install torch_infotheory\[metrics\]",
        last,
    )
