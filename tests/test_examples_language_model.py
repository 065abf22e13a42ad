"""The language model learns, learns the same with every loss, and teaches a smaller one."""

import importlib.util
import math
import re
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from torch.nn import functional as F

from torch_infotheory.nn import functional as ours

PATH = Path(__file__).parents[1] / "examples" / "language_model.py"
STEPS = 50


@pytest.fixture(scope="module")
def example() -> ModuleType:
    spec = importlib.util.spec_from_file_location("example_language_model", PATH)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def trained(example: ModuleType) -> dict[str, tuple[Any, list[float]]]:
    return {
        "theirs": example.train(example.of_logits(F.cross_entropy), STEPS, "torch"),
        "mine": example.train(example.of_logits(ours.cross_entropy), STEPS, "torch_infotheory"),
        "hidden": example.train(example.of_hidden_states, STEPS, "from hidden states"),
    }


@pytest.mark.parametrize("name", ["mine", "hidden"])
def test_the_curves_are_equal(trained: dict[str, tuple[Any, list[float]]], name: str) -> None:
    theirs, curve = trained["theirs"][1], trained[name][1]
    assert len(theirs) == len(curve) == STEPS
    assert curve == pytest.approx(theirs, rel=0, abs=1e-5)


def test_the_model_learns(trained: dict[str, tuple[Any, list[float]]]) -> None:
    _, curve = trained["mine"]
    assert curve[0] == pytest.approx(math.log(256), abs=0.5)  # it starts without an opinion
    assert curve[-1] < 0.55 * curve[0]


def test_the_predictions(example: ModuleType, trained: dict[str, tuple[Any, list[float]]]) -> None:
    model, _ = trained["hidden"]
    bits, expected = example.predictions(model)
    data = example.text()[-example.HELD_OUT :]
    windows = data.unfold(0, example.CONTEXT + 1, example.CONTEXT)
    with torch.no_grad():
        log_p = model(windows[:, :-1]).double().log_softmax(-1)
    of_byte = -log_p.gather(-1, windows[:, 1:, None]).flatten() / math.log(2)
    entropy = -(log_p.exp() * log_p).sum(-1).flatten() / math.log(2)
    torch.testing.assert_close(bits.double(), of_byte, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(expected.double(), entropy, rtol=1e-4, atol=1e-4)
    x, y = example.grouped(bits, expected)
    assert len(x) == len(y) == 10 and x.diff().gt(0).all()
    torch.testing.assert_close(y.mean(), bits.mean(), rtol=0, atol=0.01)


def test_a_student_learns_from_the_teacher(
    example: ModuleType, trained: dict[str, tuple[Any, list[float]]]
) -> None:
    teacher, _ = trained["hidden"]
    weights = [p.clone() for p in teacher.parameters()]
    small = example.LanguageModel(32, layers=1)
    student, curve = example.train(example.from_teacher(teacher), STEPS, "student", small)
    assert student is small and 0 < curve[-1] < 0.25 * curve[0]
    assert all(torch.equal(a, b) for a, b in zip(weights, teacher.parameters(), strict=True))
    bits, _ = example.predictions(student)
    assert bits.mean() < 6  # of 8 without an opinion


def test_memory_of_a_step(example: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(example, "BATCH", 4)
    torch.manual_seed(0)
    theirs, mine, hidden = example.memory_of_pairs().values()
    logits = 4 * 4 * example.CONTEXT * example.BYTES**2
    assert 3 * logits < theirs and 2 * logits < mine < theirs - 0.9 * logits
    block, gradients = 2**25, 2 * 4 * example.WIDTH * example.BYTES**2
    assert block + gradients < hidden < mine - 0.5 * logits


def test_the_peak_is_of_what_is_there_at_once(example: ModuleType) -> None:
    def step() -> None:
        x = torch.zeros(1000)
        for _ in range(3):
            x = x + 1

    assert 8000 <= example.peak(step) < 9000


def test_the_text_comes_with_python(example: ModuleType) -> None:
    text = example.text()
    assert bytes(text[:40].tolist()).startswith(b"# Author: Steven J. Bethard")
    assert len(text) > 100_000 and 0 <= text.min() and text.max() < example.BYTES


def test_the_model_does_not_see_the_future(example: ModuleType) -> None:
    model = example.LanguageModel().eval()
    passage = torch.randint(256, (1, example.CONTEXT))
    changed = passage.clone()
    changed[0, 40:] = 0
    torch.testing.assert_close(model(passage)[:, :40], model(changed)[:, :40])


@pytest.mark.usefixtures("threads")
def test_what_it_prints(
    example: ModuleType, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    picture = tmp_path / "model.png"
    assert example.main(["--steps", "3", "--output", str(picture)]) == 0
    assert picture.read_bytes().startswith(b"\x89PNG") and picture.stat().st_size > 10_000
    printed = capsys.readouterr()
    number = r"\s+([\d.]+)"
    rows = re.findall(rf"^\s+(\d+){3 * number}\s+\S+", printed.out, re.MULTILINE)
    assert [row[0] for row in rows] == ["1", "2", "3"]
    assert all(theirs == mine == hidden for _, theirs, mine, hidden in rows)
    assert float(rows[0][1]) == pytest.approx(8, abs=0.5)  # bits
    assert "The curves agree" in printed.out
    assert re.search(r"student\s+\d\.\d{3}\s+\d\.\d{3}\s+\d\.\d{3}", printed.out)
    sizes = re.findall(r"(?:all logits|hidden states)\s+(\d+)\s*$", printed.out, re.MULTILINE)
    assert len(sizes) == 3 and "All logits take 256 MiB." in printed.out
    theirs, mine, hidden = map(int, sizes)
    assert theirs > 3 * 256 and theirs > mine > 2 * 256 and 0 < hidden < 256
    assert "bits per byte=" in printed.err and "torch_infotheory" in printed.err
