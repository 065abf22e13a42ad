"""What type checkers know of the package: torch's names behind ours, with their types."""

import importlib
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from torch_infotheory import nn
from torch_infotheory.nn import functional, modules

ROOT = Path(__file__).resolve().parents[1]
# The right types pass, and each line with an ignored error has this one, or mypy --strict complains
# of an ignore that is not needed.
PROGRAM = """
import torch
import torch_infotheory as ti
from torch_infotheory import nn
from torch_infotheory.nn import functional as F
from typing_extensions import assert_type

assert_type(nn.Linear(2, 3), torch.nn.Linear)
assert_type(nn.modules.Linear(2, 3), torch.nn.Linear)
assert_type(nn.Parameter(torch.zeros(2)), torch.nn.Parameter)
assert_type(F.relu(torch.zeros(2)), torch.Tensor)
assert_type(nn.functional.relu(torch.zeros(2)), torch.Tensor)
assert_type(ti.entropy(torch.zeros(2), validate=True), torch.Tensor)
assert_type(ti.show_config(), str)

# ours: torch's take no dtype
assert_type(F.cross_entropy(torch.zeros(2), torch.zeros(2), dtype=torch.float64), torch.Tensor)
assert_type(F.kl_div(torch.zeros(2), torch.zeros(2), dtype=torch.float64), torch.Tensor)
assert_type(F.nll_loss(torch.zeros(2), torch.tensor(1), dtype=torch.float64), torch.Tensor)
assert_type(F.js_div(torch.zeros(2), torch.zeros(2)), torch.Tensor)
loss: torch.nn.CrossEntropyLoss = nn.CrossEntropyLoss(dtype=torch.float64)
losses = [nn.NLLLoss(dtype=torch.float64), nn.KLDivLoss(dtype=torch.float64)]
losses_from_modules = [nn.modules.NLLLoss(dtype=torch.float64), nn.modules.JSDivLoss()]

class Model(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.relu(x)

ti.entropy("probs")  # type: ignore[arg-type]
ti.entropy(torch.zeros(2), kind="odds")  # type: ignore[arg-type]
nn.Linear("2", 3)  # type: ignore[arg-type]
nn.Linaer(2, 3)  # type: ignore[attr-defined]
F.realu(torch.zeros(2))  # type: ignore[attr-defined]
"""


def test_mypy_knows_the_names_of_torch(tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    done = subprocess.run(
        [
            *(sys.executable, "-m", "mypy", "--strict", "--follow-imports=silent"),
            *("--config-file=", f"--cache-dir={ROOT / '.mypy_cache' / 'tests'}", str(program)),
        ],
        env={"MYPYPATH": str(ROOT / "src"), "PATH": ""},
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert done.stdout.startswith("Success"), done.stdout + done.stderr


@pytest.mark.parametrize("ours", [nn, functional, modules], ids=lambda module: module.__name__)
def test_names_at_run_time(ours: object) -> None:
    """All names of torch are there, also for completion; a star import brings ours alone."""
    theirs = importlib.import_module(ours.__name__.replace("torch_infotheory", "torch"))
    public = {name for name in dir(theirs) if not name.startswith("_")}
    assert public <= set(dir(ours))
    assert all(hasattr(ours, name) for name in public)
    with pytest.raises(AttributeError):
        ours.no_such_name  # noqa: B018


def test_all_has_our_names_only() -> None:
    losses = ["cross_entropy", "entropy_loss", "js_div", "kl_div", "nll_loss"]
    classes = {"CrossEntropyLoss", "EntropyLoss", "JSDivLoss", "KLDivLoss", "NLLLoss"}
    assert set(losses) <= set(functional.__all__)
    assert classes <= set(nn.__all__)
    for name in functional.__all__:
        assert getattr(functional, name).__module__.startswith("torch_infotheory")
    for name in nn.__all__:
        assert getattr(nn, name) is not getattr(torch.nn, name, None)
