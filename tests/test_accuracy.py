"""No op is less accurate than the idiomatic PyTorch code, beyond a few units of the last place."""

import dataclasses
import gzip
import json
import math
import sys
from pathlib import Path

import pytest
import torch

sys.path.append(str(Path(__file__).resolve().parents[1] / "benchmarks"))
import accuracy  # noqa: E402
from accuracy import SCENARIOS, Scenario, Subject  # noqa: E402
from ops import random  # noqa: E402

import torch_infotheory  # noqa: E402

SUBJECTS = list(accuracy.subjects())
# More than one block of 512 and a rest; more than one pack and a rest.
SIZES = {False: ((10,), (1025,)), True: ((3, 3), (9, 20))}
DTYPES = (torch.float32, torch.bfloat16, torch.float16)
# A power of a probability is as exact as the logarithm that it is computed from. With a scale of 30
# those reach 130, where their rounding is 65 epsilons.
POWERS = ("alpha", "bhattacharyya", "chi_squared", "hellinger", "renyi", "squared_hellinger")
EPSILONS_OF_POWERS = 65
# The gradient of a root is the difference of a probability and such a power, divided by the root,
# which is small where p and q share one class: 205 epsilons, where torch's are 30.
EPSILONS_OF_ROOTS = 256


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.name)
@pytest.mark.parametrize("subject", SUBJECTS, ids=lambda s: f"{s.name}-{s.kinds[0]}")
def test_no_worse_than_torch(subject: Subject, scenario: Scenario) -> None:
    if not subject.applies(scenario):
        return
    for dtype in DTYPES:
        for size in SIZES[subject.tables]:
            errors = accuracy.trial(subject, scenario, (8, *size), dtype)
            assert errors["rows"] > 0 or dtype == torch.float16  # whose numbers end at 65504
            for what in ("", ", gradient"):
                assert math.isfinite(errors[f"ours{what}"])
                if scenario.scale > 1 and subject.name.startswith(POWERS):
                    is_root = what and subject.name == "hellinger_distance"
                    most = EPSILONS_OF_ROOTS if is_root else EPSILONS_OF_POWERS
                    assert errors[f"ours{what}"] < most
                else:
                    assert not accuracy.is_worse(errors, what), (dtype, size, what, errors)


@pytest.mark.parametrize(
    ("name", "kind", "size", "dtype"),
    [
        ("perplexity", "log_probs", (32000,), torch.float32),
        ("mutual_information", "logits", (512, 512), torch.float64),
    ],
)
def test_large_sums(name: str, kind: str, size: tuple[int, ...], dtype: torch.dtype) -> None:
    """Where the error of a large entropy would be that of a value many times: a few epsilons."""
    subject = next(s for s in SUBJECTS if (s.name, s.kinds) == (name, (kind,)))
    errors = accuracy.trial(subject, SCENARIOS[0], (2, *size), dtype)
    assert max(errors["ours"], errors.get("ours, gradient", 0)) < 6, errors


@pytest.mark.parametrize("name", ["jeffreys_divergence", "squared_hellinger_distance"])
def test_rows_of_two_logits(name: str) -> None:
    """A gradient is a derivative less a share of their total: the rounding of both has to cancel,
    where one class has nearly all of p and of q."""
    numbers = 4 * random(2, 20_000, 2)

    def gradients(dtype: torch.dtype) -> list[torch.Tensor]:
        p, q = (x.float().to(dtype).requires_grad_() for x in numbers)
        value = getattr(torch_infotheory, name)(p, q, kind="logits").sum()
        return [gradient.double() for gradient in torch.autograd.grad(value, (p, q))]

    for found, exact in zip(gradients(torch.float32), gradients(torch.float64), strict=True):
        errors = ((found - exact) / exact).abs().amax(1)
        assert (errors > 1e-3).sum() < 20  # with a total from elsewhere, more than 100


def test_the_errors_are_those_of_the_function() -> None:
    """A function that is off by a known factor has the error that it should have."""
    entropy = next(subject for subject in SUBJECTS if subject.name == "entropy")
    wrong = dataclasses.replace(entropy, ours=lambda p: entropy.ours(p) * (1 + 2**-13))
    errors = accuracy.trial(wrong, SCENARIOS[0], (4, 100), torch.float32)
    assert errors["ours"] == pytest.approx(2**10, rel=0.01)
    assert errors["ours, gradient"] == pytest.approx(2**10, rel=0.01)
    assert accuracy.is_worse(errors, "") and accuracy.is_worse(errors, ", gradient")


def test_the_page(tmp_path: Path) -> None:
    records = list(accuracy.trials(classes=(10, 65), cells=((3, 3),), dtypes=(torch.float32,)))
    near = list(accuracy.near_trials(classes=20, side=5))
    accuracy.write(tmp_path / "accuracy.md", records, near)
    page = (tmp_path / "accuracy.md").read_text()
    first_cells = {line.split(" | ")[0][2:] for line in page.splitlines()}
    assert {subject.name for subject in SUBJECTS} <= first_cells
    assert (tmp_path / "accuracy.png").stat().st_size > 10_000
    written = json.loads(gzip.decompress((tmp_path / "accuracy.json.gz").read_bytes()))
    assert len(written) == len(records + near)
    assert all(record["ours"] < 1e-3 for record in near)
