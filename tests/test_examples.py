"""The examples run, what they print is true, and the figures they write are figures."""

import importlib.util
import io
import math
import platform
import re
from collections import Counter
from contextlib import redirect_stdout
from pathlib import Path
from types import ModuleType

import matplotlib.image
import numpy as np
import pytest
import scipy.special
import scipy.stats
import sklearn.datasets
import sklearn.feature_selection
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


# features.py

FEATURES, WINES = 13, 178


@pytest.fixture(scope="module")
def features_printed(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    path = tmp_path_factory.mktemp("features") / "features.png"
    return printed_by(load("features"), "--output", str(path)), path


@pytest.fixture(scope="module")
def features_table(features_printed: tuple[str, Path]) -> dict[str, list[float]]:
    row = re.compile(r"^ *(\S.*?) +((?:-?[\d.]+ +)*-?[\d.]+) *$", re.MULTILINE)
    found = row.findall(features_printed[0])
    return {name: [float(bits) for bits in numbers.split()] for name, numbers in found}


def test_features_are_what_the_formulas_say(features_table: dict[str, list[float]]) -> None:
    data = sklearn.datasets.load_wine()
    names = [
        name.removesuffix("_of_diluted_wines").replace("_", " ") for name in data.feature_names
    ]
    assert sorted(names) == sorted(name for name in features_table if "shuffled" not in name)
    ordered = [features_table[name][0] for name in features_table if "shuffled" not in name]
    assert ordered == sorted(ordered, reverse=True)
    nearest = sklearn.feature_selection.mutual_info_classif(
        data.data, data.target, n_neighbors=3, random_state=1
    )
    for name, x, others in zip(names, data.data.T, nearest, strict=True):
        neighbors, bins, gaussian, scikit_learn = features_table[name]
        # The noise that tells ties apart, in theirs and in ours, is another one.
        assert abs(neighbors - others / math.log(2)) < 0.06
        assert abs(scikit_learn - others / math.log(2)) < 0.06
        edges = np.quantile(x, [0.2, 0.4, 0.6, 0.8])
        expected = sklearn.metrics.mutual_info_score(np.digitize(x, edges), data.target)
        assert abs(bins - expected / math.log(2)) < 0.03  # what lies on an edge
        # The share of the variance between the groups is the squared canonical correlation.
        groups = [x[data.target == label] for label in range(3)]
        within = sum(((group - group.mean()) ** 2).sum() for group in groups)
        total = ((x - x.mean()) ** 2).sum()
        assert abs(gaussian - math.log2(total / within) / 2) < 5.1e-4


def test_features_of_shuffled_labels_tell_nothing_but_by_bins(
    features_table: dict[str, list[float]],
) -> None:
    neighbors, bins, gaussian = features_table["shuffled labels"]
    # A table of independent labels has (5 - 1) (3 - 1) / 2N nats too much, a regression 2 / 2N.
    assert abs(neighbors) < 0.01
    assert abs(bins - 8 / (2 * WINES) / math.log(2)) < 0.01
    assert abs(gaussian - 2 / (2 * WINES) / math.log(2)) < 0.004


def test_features_that_tell_most_together(features_printed: tuple[str, Path]) -> None:
    pairs = re.findall(r"^([\d.]+) bits together: (.*), (.*)$", features_printed[0], re.MULTILINE)
    bits = [float(pair[0]) for pair in pairs]
    assert len(bits) == 3 and bits == sorted(bits, reverse=True)
    assert 0.97 < bits[0] < 1.5668
    assert "H(grower) = 1.5668 bits" in features_printed[0]


def test_features_figure_is_drawn(features_printed: tuple[str, Path]) -> None:
    image = matplotlib.image.imread(features_printed[1])[..., :3]
    height, width, _ = image.shape
    assert height >= 400 and width >= 1200
    for panel in (image[:, : width // 3], image[:, width // 2 :]):
        assert (np.ptp(panel, axis=-1) > 0.2).mean() > 0.03


def test_features_recipe_shows_what_is_printed(
    features_printed: tuple[str, Path], features_table: dict[str, list[float]]
) -> None:
    page = (EXAMPLES.parent / "docs" / "recipes" / "features.md").read_text()
    rows = {"flavanoids": "flavanoids, best", "ash": "ash, worst", "shuffled labels": "mean with"}
    for name, row in rows.items():
        line = next(line for line in page.splitlines() if line.startswith(f"| {row}"))
        shown = [float(number) for number in re.findall(r"\d\.\d{3}", line)]
        assert shown == pytest.approx(features_table[name][:3], abs=0.0011)
    for shown in ("1.5668 bits", "1.369 bits", "1.112 bits"):
        assert shown in features_printed[0] and shown in page


# registration.py


@pytest.fixture(scope="module")
def registration_printed(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    path = tmp_path_factory.mktemp("registration") / "registration.png"
    return printed_by(load("registration"), "--output", str(path)), path


def test_registration_finds_what_was_done(registration_printed: tuple[str, Path]) -> None:
    row = re.compile(r"^ *(\w[a-z ]*?) +((?:-?\d+\.\d\d +)+)$", re.MULTILINE)
    rows = {
        name: [float(x) for x in numbers.split()]
        for name, numbers in row.findall(registration_printed[0])
    }
    degrees, right, down, _ = rows["truth"]
    assert rows["start"] == [0, 0, 0, pytest.approx(30.3, abs=0.1)]
    found = rows["mutual information"]
    np.testing.assert_allclose(found[:3], [degrees, right, down], atol=0.1)
    assert found[3] < 0.1
    assert rows["squared error"][3] > 20


def test_registration_raises_the_information(registration_printed: tuple[str, Path]) -> None:
    printed = dict(re.findall(r"mutual information (\w+): ([\d.]+) bits", registration_printed[0]))
    table = np.histogram2d(
        *(picture.flatten() for picture in load("registration").make_pictures()),
        bins=30,
        range=[[0, 1], [0, 1]],
    )[0]
    hard = sklearn.metrics.mutual_info_score(None, None, contingency=table) / math.log(2)
    # Windows of four bins blur the table, and so tell less.
    assert hard - 0.15 < float(printed["before"]) < hard
    assert float(printed["after"]) > 2 * float(printed["before"])
    page = (EXAMPLES.parent / "docs" / "recipes" / "registration.md").read_text()
    for bits in printed.values():
        assert f"{float(bits):.2f} bits" in page


def test_registration_figure_is_drawn(registration_printed: tuple[str, Path]) -> None:
    image = matplotlib.image.imread(registration_printed[1])[..., :3]
    height, width, _ = image.shape
    assert height >= 500 and width >= 1000
    for line in (image[: height // 2], image[height // 2 :]):
        for panel in np.array_split(line[:, : width - 100], 4, axis=1):
            assert len(np.unique(panel.reshape(-1, 3), axis=0)) > 50


# word_pairs.py


@pytest.fixture(scope="module")
def word_pairs() -> ModuleType:
    return load("word_pairs")


@pytest.fixture(scope="module")
def word_pairs_printed(
    word_pairs: ModuleType, tmp_path_factory: pytest.TempPathFactory
) -> tuple[str, Path]:
    path = tmp_path_factory.mktemp("word_pairs") / "word_pairs.png"
    return printed_by(word_pairs, "--output", str(path)), path


@pytest.fixture(scope="module")
def followers(word_pairs: ModuleType) -> Counter[tuple[str, str]]:
    words, text = word_pairs.read_text()
    known = set(words)
    assert len(known) == word_pairs.WORDS and "" not in known
    return Counter(pair for pair in zip(text, text[1:], strict=False) if known.issuperset(pair))


def test_word_pairs_are_what_the_formulas_say(
    word_pairs: ModuleType,
    word_pairs_printed: tuple[str, Path],
    followers: Counter[tuple[str, str]],
) -> None:
    printed, _ = word_pairs_printed
    n = followers.total()
    assert f"{n} pairs of the {word_pairs.WORDS} most frequent ones" in printed
    first, second = Counter(), Counter()
    for (x, y), seen in followers.items():
        first[x] += seen
        second[y] += seen
    pmi = {(x, y): math.log2(c * n / (first[x] * second[y])) for (x, y), c in followers.items()}
    rows = re.findall(r"^ *([a-z]+) ([a-z]+) +(\d+) +([\d.]+) +([\d.]+) *$", printed, re.MULTILINE)
    assert len(rows) == 3 * 8
    for x, y, *values in rows:
        seen, bits, normalized = map(float, values)
        assert seen == followers[x, y]
        assert abs(bits - pmi[x, y]) < 0.0051
        assert abs(normalized - pmi[x, y] / math.log2(n / seen)) < 0.0051
    assert [row[2] for row in rows[:8]] == [str(c) for _, c in followers.most_common(8)]
    often = sorted((pmi[pair] for pair, c in followers.items() if c >= word_pairs.LEAST))
    assert [float(row[3]) for row in rows[8:16]] == pytest.approx(often[:-9:-1], abs=0.0051)

    whole, chance = map(float, re.findall(r"(\d\.\d{3})(?= bits about|$)", printed, re.MULTILINE))
    assert abs(whole - sum(c / n * pmi[pair] for pair, c in followers.items())) < 5.1e-4
    assert 0 < chance < whole
    of_any, of_often = map(float, re.findall(r"([\d.]+) (?=bits of any|of pairs seen)", printed))
    assert 0 < of_often < of_any


def test_word_pairs_have_company(word_pairs_printed: tuple[str, Path]) -> None:
    company = dict(re.findall(r"^the company of (\w+): (.*)$", word_pairs_printed[0], re.MULTILINE))
    assert "except" in company["try"] and "module" in company["import"]
    assert "false" in company["true"]
    assert all(word not in others.split(", ") for word, others in company.items())


def test_word_pairs_figure_is_drawn(word_pairs_printed: tuple[str, Path]) -> None:
    image = matplotlib.image.imread(word_pairs_printed[1])[..., :3]
    height, width, _ = image.shape
    assert height >= 400 and width >= 1200
    for panel in (image[:, : width // 2], image[:, width // 2 :]):
        assert (np.ptp(panel, axis=-1) > 0.2).mean() > 0.01


def test_word_pairs_recipe_shows_what_is_printed(word_pairs_printed: tuple[str, Path]) -> None:
    page = (EXAMPLES.parent / "docs" / "recipes" / "word_pairs.md").read_text()
    if f"Python {platform.python_version()}" not in page:
        pytest.skip("the page is of the text of another Python")
    printed = " ".join(word_pairs_printed[0].split())
    shown = re.findall(
        r"^\| ([a-z]+ [a-z]+) \| (\d+) \| ([\d.]+) \| ([\d.]+) \|$", page, re.MULTILINE
    )
    assert len(shown) >= 6
    for row in shown:
        assert " ".join(row) in printed
    for number in re.findall(r"\d\.\d{3} bits|\d\.\d\d bits", page):
        assert number.removesuffix(" bits") in printed
