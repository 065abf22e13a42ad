"""The language model learns, and learns the same with either loss."""

import importlib.util
import math
import re
from pathlib import Path
from types import ModuleType

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
def curves(example: ModuleType) -> tuple[list[float], list[float]]:
    theirs = example.train(F.cross_entropy, STEPS, "torch")
    return theirs, example.train(ours.cross_entropy, STEPS, "torch_infotheory")


def test_the_curves_are_equal(curves: tuple[list[float], list[float]]) -> None:
    theirs, mine = curves
    assert len(theirs) == len(mine) == STEPS
    assert mine == pytest.approx(theirs, rel=0, abs=1e-5)


def test_the_model_learns(curves: tuple[list[float], list[float]]) -> None:
    _, mine = curves
    assert mine[0] == pytest.approx(math.log(256), abs=0.5)  # it starts without an opinion
    assert mine[-1] < 0.55 * mine[0]


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
def test_what_it_prints(example: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    assert example.main(["--steps", "3"]) == 0
    printed = capsys.readouterr()
    rows = re.findall(r"^\s+(\d+)\s+([\d.]+)\s+([\d.]+)\s+\S+", printed.out, re.MULTILINE)
    assert [row[0] for row in rows] == ["1", "2", "3"]
    assert all(theirs == mine for _, theirs, mine in rows)
    assert float(rows[0][1]) == pytest.approx(8, abs=0.5)  # bits
    assert "The curves agree" in printed.out
    assert "bits per byte=" in printed.err and "torch_infotheory" in printed.err
