"""The examples run, what they print is true, and the figures they write are figures."""

import importlib.util
import io
import math
import re
from contextlib import redirect_stdout
from pathlib import Path
from types import ModuleType

import matplotlib.image
import numpy as np
import pytest
import scipy.special
import scipy.stats
import sklearn.metrics
import torch

EXAMPLES = Path(__file__).parents[1] / "examples"


def load(name: str) -> ModuleType:
    """Import examples/<name>.py, a script that belongs to no package."""
    spec = importlib.util.spec_from_file_location(f"example_{name}", EXAMPLES / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def printed_by(module: ModuleType, *arguments: str) -> str:
    """What main prints to a terminal of 80 columns; the bars go to stderr and are left out."""
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(io.StringIO()) as stdout:
        patch.setenv("COLUMNS", "80")
        patch.delenv("FORCE_COLOR", raising=False)
        module.main(arguments)
    return stdout.getvalue()


# digits.py

EPOCHS = 8
SAMPLES = 800  # half of them to train on: batches of 32, the last one partial


@pytest.fixture(scope="module")
def digits() -> ModuleType:
    return load("digits")


@pytest.fixture(scope="module")
def digits_arguments(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, ...]:
    path = tmp_path_factory.mktemp("digits") / "new_folder" / "digits.png"
    subset = ("--epochs", str(EPOCHS), "--samples", str(SAMPLES))
    return ("--output", str(path), *subset)


@pytest.fixture(scope="module")
def digits_printed(digits: ModuleType, digits_arguments: tuple[str, ...]) -> str:
    return printed_by(digits, *digits_arguments)


@pytest.fixture(scope="module")
def digits_tables(digits_printed: str) -> np.ndarray:
    """[table, epoch, column], the training loss of the untrained model being NaN."""
    lines = (line.split() for line in digits_printed.splitlines())
    rows = [
        [math.nan if word == "-" else float(word) for word in words]
        for words in lines
        if len(words) == 9 and words[0].isdigit() and "." in words[-1]
    ]
    return np.array(rows).reshape(2, EPOCHS + 1, 9)


def test_digits_two_runs_print_the_same(
    digits: ModuleType, digits_arguments: tuple[str, ...], digits_printed: str
) -> None:
    assert printed_by(digits, *digits_arguments) == digits_printed


def test_digits_units_of_the_tables_agree(digits_tables: np.ndarray) -> None:
    epoch, _, nats, bits, perplexity, entropy, information, share, right = np.moveaxis(
        digits_tables, -1, 0
    )
    assert (epoch == np.arange(EPOCHS + 1)).all()
    # Four printed decimals: half a unit of the last one on either side, times the slope.
    np.testing.assert_allclose(bits, nats / np.log(2), atol=1.3e-4)
    np.testing.assert_allclose(perplexity, np.exp(nats), rtol=1e-4)
    assert ((entropy > 0) & (entropy <= np.log2(10))).all()
    # 0 bits: an untrained model may predict one class for every digit.
    assert ((information >= 0) & (share < 100) & (right <= 100)).all()


def test_digits_information_is_compared_with_its_ceiling(
    digits: ModuleType, digits_printed: str, digits_tables: np.ndarray
) -> None:
    labels = digits.read_digits(SAMPLES).held_out_labels.numpy()
    ceiling = scipy.stats.entropy(np.bincount(labels), base=2)
    stated = [float(bits) for bits in re.findall(r"H\(label\) = ([\d.]+) bits", digits_printed)]
    np.testing.assert_allclose(stated, [ceiling, ceiling], atol=5.1e-5)
    np.testing.assert_allclose(
        digits_tables[..., 7], 100 * digits_tables[..., 6] / ceiling, atol=0.06
    )


def test_digits_both_models_learn(digits_tables: np.ndarray) -> None:
    first, last = digits_tables[:, 0], digits_tables[:, -1]
    assert (last[:, 2] < first[:, 2]).all()
    assert (last[:, 6] > first[:, 6]).all()
    assert (digits_tables[:, -1, 1] < digits_tables[:, 1, 1]).all()


def test_digits_torchs_own_loss_gives_the_same_curves(digits_printed: str) -> None:
    steps = EPOCHS * math.ceil(SAMPLES / 2 / 32)
    stated = re.search(
        rf"in {steps} training losses: (\S+) nats\n.*curve: (\S+) bits", digits_printed
    )
    assert stated is not None
    assert all(float(difference) < 1e-5 for difference in stated.groups())


def test_digits_rounding_alone_stays_within_the_tolerance(digits: ModuleType) -> None:
    """Torch's loss in float32 and in float64: what the comparison with ours is measured against."""
    data = digits.read_digits(SAMPLES)
    exact = torch.nn.functional.cross_entropy
    single, double = (
        digits.train("torch", digits.classifier(width=32), loss, data.labels, data, EPOCHS, loss)
        for loss in (exact, lambda logits, labels: exact(logits.double(), labels).float())
    )
    assert single.steps != double.steps
    assert digits.largest_difference(single.steps, double.steps) < digits.TOLERANCE / 5


def test_digits_losses_that_disagree_fail_the_run(
    digits: ModuleType, digits_arguments: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    exact = torch.nn.functional.cross_entropy
    monkeypatch.setattr(digits.F, "cross_entropy", lambda *args: 1.0001 * exact(*args))
    with pytest.raises(SystemExit, match="the losses disagree"):
        printed_by(digits, *digits_arguments)


def test_digits_measurement_against_numpy(digits: ModuleType) -> None:
    data = digits.read_digits(SAMPLES)
    model = digits.classifier(width=4)
    epoch = digits.measure(model, torch.ops.torch_infotheory.cross_entropy_loss, data, math.nan)
    labels = data.held_out_labels.numpy()
    logits = digits.predict(model, data.held_out_images).double().numpy()
    probabilities = scipy.special.softmax(logits, axis=1)
    predictions = logits.argmax(axis=1)

    information = sklearn.metrics.mutual_info_score(labels, predictions) / np.log(2)
    assert epoch.information_bits == pytest.approx(information, abs=1e-12)
    assert epoch.accuracy == pytest.approx((labels == predictions).mean(), abs=1e-12)
    entropies = scipy.stats.entropy(probabilities, axis=1, base=2)
    assert epoch.entropy_bits == pytest.approx(entropies.mean(), rel=1e-6)
    loss = -np.log(probabilities[np.arange(len(labels)), labels]).mean()
    assert epoch.loss_nats == pytest.approx(loss, rel=1e-6)


def test_digits_last_line_says_what_was_done(
    digits_printed: str, digits_arguments: tuple[str, ...]
) -> None:
    last = digits_printed.splitlines()[-1]
    assert last.startswith("Done: ")
    assert last.endswith(f"drew {digits_arguments[1]}")


@pytest.mark.usefixtures("digits_printed")
def test_digits_figure_has_four_panels(digits_arguments: tuple[str, ...]) -> None:
    image = matplotlib.image.imread(digits_arguments[1])[..., :3]
    height, width, _ = image.shape
    assert height >= 1000 and width >= 1000
    for rows in (slice(None, height // 2), slice(height // 2, None)):
        for columns in (slice(None, width // 2), slice(width // 2, None)):
            panel = image[rows, columns]
            drawn = (panel < 0.99).any(axis=-1).mean()
            colored = (np.ptp(panel, axis=-1) > 0.2).mean()
            assert 0.02 < drawn < 0.9
            assert colored > 0.005
