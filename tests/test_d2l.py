"""torch_infotheory.d2l prints what the textbook chapter prints, and the package what is true."""

import inspect
import math

import numpy as np
import pytest
import torch
from torch import Tensor

import torch_infotheory
from torch_infotheory import d2l
from torch_infotheory.nn import functional

FOUR = torch.tensor([0.1, 0.5, 0.1, 0.3])
JOINT = torch.tensor([[0.1, 0.5], [0.1, 0.3]])
INCONSISTENT = torch.tensor([[0.1, 0.5], [0.2, 0.3]])
P_X = torch.tensor([0.2, 0.8])
P_Y = torch.tensor([[0.75, 0.25]])
LABELS = torch.tensor([0, 2])
PREDICTIONS = torch.tensor([[0.3, 0.6, 0.1], [0.2, 0.3, 0.5]])


def random_joint() -> Tensor:
    """Return a 3 x 4 table in float64, X the column as in the chapter, with one cell 0."""
    table = torch.rand(3, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    table[1, 2] = 0
    return table / table.sum()


def normal_samples() -> tuple[Tensor, Tensor, Tensor]:
    """Return the chapter's p, q1 and q2: drawn in this order, then sorted."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        p, q1, q2 = (torch.normal(mean, 1, (10000,)) for mean in (0, -1, 1))
    return p.sort()[0], q1.sort()[0], q2.sort()[0]


def numpy_terms(weight: np.ndarray, ratio: np.ndarray) -> float:
    """Return the sum of weight * log2(ratio) over the cells with a weight, in float64."""
    kept = weight > 0
    return float(np.sum(weight[kept] * np.log2(ratio[kept])))


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("nansum", ["x"]),
        ("self_information", ["p"]),
        ("entropy", ["p"]),
        ("joint_entropy", ["p_xy"]),
        ("conditional_entropy", ["p_xy", "p_x"]),
        ("mutual_information", ["p_xy", "p_x", "p_y"]),
        ("kl_divergence", ["p", "q"]),
        ("cross_entropy", ["y_hat", "y"]),
    ],
)
def test_names_and_arguments_are_the_chapters(name: str, arguments: list[str]) -> None:
    assert list(inspect.signature(getattr(d2l, name)).parameters) == arguments
    assert name in d2l.__all__


@pytest.mark.parametrize(
    ("result", "printed"),
    [
        (lambda: d2l.self_information(1 / 64), "6.0"),
        (lambda: d2l.entropy(FOUR), "tensor(1.6855)"),
        (lambda: d2l.joint_entropy(JOINT), "tensor(1.6855)"),
        (lambda: d2l.conditional_entropy(INCONSISTENT, P_X), "tensor(0.8635)"),
        (lambda: d2l.mutual_information(JOINT, P_X, P_Y), "tensor(0.7195)"),
        (lambda: d2l.cross_entropy(PREDICTIONS, LABELS), "tensor(0.9486)"),
    ],
)
def test_prints_what_the_chapter_prints(result, printed: str) -> None:
    assert repr(result()) == printed


def test_kl_divergence_of_samples_prints_what_the_chapter_prints() -> None:
    p, q1, q2 = normal_samples()
    results = [d2l.kl_divergence(a, b) for a, b in [(p, q1), (p, q2), (q2, p)]]
    printed = [8582.0341796875, 8828.3095703125, 14130.125]
    assert all(isinstance(result, float) for result in results)
    if torch.backends.cpu.get_cpu_capability() in ("AVX2", "AVX512"):
        assert results == printed
    else:  # without these instructions torch.normal rounds some samples differently
        assert results == pytest.approx(printed, rel=1e-6)
    pq1, pq2, q2p = results
    assert abs(pq1 - pq2) / ((pq1 + pq2) / 2) * 100 == pytest.approx(2.829, abs=1e-3)
    assert abs(q2p - pq2) / ((q2p + pq2) / 2) * 100 == pytest.approx(46.186, abs=1e-3)


def test_kl_divergence_hides_the_sign() -> None:
    p, _, q2 = normal_samples()
    total = np.nansum((p.double() * torch.log2(p.double() / q2.double())).numpy())
    assert total < 0
    assert d2l.kl_divergence(p, q2) == pytest.approx(-total, rel=1e-5)


def test_kl_divergence_of_distributions() -> None:
    p, q = np.array([0.5, 0.0, 0.5]), np.array([0.25, 0.25, 0.5])
    assert d2l.kl_divergence(torch.tensor(p), torch.tensor(q)) == pytest.approx(
        numpy_terms(p, p / q)
    )
    assert d2l.kl_divergence(torch.tensor(q), torch.tensor(p)) == math.inf


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_functions_agree_with_the_package_on_consistent_tables(dtype: torch.dtype) -> None:
    joint = random_joint().to(dtype)
    p_x, p_y = joint.sum(0), joint.sum(1, keepdim=True)
    table, x, y = (t.double().numpy() for t in (joint, p_x, p_y))
    ours = {
        "joint": torch_infotheory.joint_entropy(joint, base=2),
        "conditional": torch_infotheory.conditional_entropy(joint, -1, -2, base=2),
        "mutual": torch_infotheory.mutual_information(joint, base=2),
    }
    chapters = {
        "joint": d2l.joint_entropy(joint),
        "conditional": d2l.conditional_entropy(joint, p_x),
        "mutual": d2l.mutual_information(joint, p_x, p_y),
    }
    reference = {
        "joint": -numpy_terms(table, table),
        "conditional": -numpy_terms(table, table / x),
        "mutual": numpy_terms(table, table / (x * y)),
    }
    rel = 1e-5 if dtype == torch.float32 else 1e-12
    for name, value in reference.items():
        assert chapters[name].item() == pytest.approx(value, rel=rel)
        assert ours[name].item() == pytest.approx(value, rel=rel)


def test_true_values_of_the_chapters_examples() -> None:
    information = torch_infotheory.self_information(torch.tensor(1 / 64), base=2)
    assert information.item() == 6.0
    assert repr(torch_infotheory.entropy(FOUR, base=2)) == "tensor(1.6855)"
    assert repr(torch_infotheory.joint_entropy(JOINT, base=2)) == "tensor(1.6855)"
    conditional = torch_infotheory.conditional_entropy(JOINT, x_dim=-1, y_dim=-2, base=2)
    assert repr(conditional) == repr(d2l.conditional_entropy(JOINT, P_X)) == "tensor(0.9635)"
    assert repr(torch_infotheory.mutual_information(JOINT, base=2)) == "tensor(0.0074)"
    assert repr(functional.nll_loss(PREDICTIONS.log(), LABELS)) == "tensor(0.9486)"
    assert repr(functional.cross_entropy(PREDICTIONS.log(), LABELS)) == "tensor(0.9486)"


def test_nansum_leaves_out_nan_only() -> None:
    x = torch.tensor([1.0, math.nan, 2.0])
    assert d2l.nansum(x).item() == 3.0
    assert d2l.nansum(torch.tensor([1.0, math.inf])).item() == math.inf
    assert d2l.nansum(torch.full((3,), math.nan)).item() == 0.0


def test_zeros_and_negative_entries() -> None:
    certain = torch.tensor([0.0, 1.0], requires_grad=True)
    entropy = d2l.entropy(certain)
    assert entropy.item() == 0.0
    literal = torch.autograd.grad(entropy, certain)[0].tolist()
    assert math.isnan(literal[0]) and literal[1] == pytest.approx(-1 / math.log(2))
    ours = torch.autograd.grad(torch_infotheory.entropy(certain, base=2), certain)[0]
    assert ours.tolist() == [0.0, pytest.approx(-1 / math.log(2))]

    mistake = torch.tensor([-0.5, 0.5, 1.0])
    assert d2l.entropy(mistake).item() == 0.5
    assert torch_infotheory.entropy(mistake).isnan()


def test_cross_entropy_gradient() -> None:
    y_hat = PREDICTIONS.clone().requires_grad_()
    gradient = torch.autograd.grad(d2l.cross_entropy(y_hat, LABELS), y_hat)[0]
    expected = torch.zeros(2, 3)
    expected[[0, 1], LABELS] = -1 / (2 * PREDICTIONS[[0, 1], LABELS])
    torch.testing.assert_close(gradient, expected)
