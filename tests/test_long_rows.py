"""Few long rows, which the CPU cuts into segments: values and gradients, whatever the threads.

The rows are longer than two segments by a few classes; the largest logit lies in a segment of its
own in each row, one segment is all -inf, and a label lies at each end of a segment.
"""

import pytest
import reference
import torch
from torch.testing import assert_close

import torch_infotheory as ti

SEGMENT = 65536  # classes
CLASSES = 2 * SEGMENT + 5
LABELS = [0, SEGMENT - 1, SEGMENT, CLASSES - 1]


def rows(n: int, dtype: torch.dtype) -> torch.Tensor:
    x = torch.randn(n, CLASSES, dtype=dtype, generator=torch.Generator().manual_seed(n))
    for row in range(n):
        x[row, (row * SEGMENT + 3) % CLASSES] = 15
    x[0, SEGMENT : 2 * SEGMENT] = -torch.inf
    return x


MEASURES = {
    "entropy": (ti.entropy, reference.entropy, 1),
    "cross_entropy": (ti.cross_entropy, reference.cross_entropy, 2),
    "kl_divergence": (ti.kl_divergence, reference.kl_divergence, 2),
    "js_divergence": (ti.js_divergence, reference.js_divergence, 2),
}


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize("name", MEASURES)
def test_measures_of_long_rows(name: str, dtype: torch.dtype) -> None:
    measure, expected, arity = MEASURES[name]
    p, q = rows(3, dtype), rows(3, dtype) / 2
    inputs = [x.requires_grad_() for x in (p, q)[:arity]]
    value = measure(*inputs, kind="logits", dtype=torch.promote_types(dtype, torch.float32))
    exact = [x.detach().double().numpy() for x in inputs]
    distributions = [reference.distribution(x, (1,), "logits") for x in exact]
    tolerance = 1e-12 if dtype == torch.float64 else 2e-6
    torch_value = torch.from_numpy(expected(*distributions, (1,))[:, 0])
    assert_close(value.double(), torch_value, rtol=tolerance, atol=tolerance)

    # The gradient against that of the same rows, taken as more rows than are cut.
    gradients = torch.autograd.grad(value.sum(), inputs)
    many = [x.detach().repeat(3, 1).requires_grad_() for x in inputs]
    uncut = measure(*many, kind="logits", dtype=value.dtype)
    for got, whole in zip(gradients, torch.autograd.grad(uncut.sum(), many), strict=True):
        assert_close(got, whole[:3], rtol=max(1e-5, torch.finfo(dtype).eps), atol=1e-9)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("weighted", [False, True])
def test_labels_at_the_ends_of_segments(smoothing: float, weighted: bool) -> None:
    x = rows(len(LABELS), torch.float32).nan_to_num(neginf=-30.0).requires_grad_()
    target = torch.tensor(LABELS)
    weight = torch.linspace(0.5, 2, CLASSES) if weighted else None
    options = dict(weight=weight, label_smoothing=smoothing, reduction="none")
    loss = ti.nn.functional.cross_entropy(x, target, **options)
    (gradient,) = torch.autograd.grad(loss.sum(), x)

    wide = x.detach().double().requires_grad_()
    options["weight"] = weight.double() if weighted else None
    expected = torch.nn.functional.cross_entropy(wide, target, **options)
    (expected_gradient,) = torch.autograd.grad(expected.sum(), wide)
    assert_close(loss, expected.float(), rtol=2e-6, atol=2e-6)
    assert_close(gradient, expected_gradient.float(), rtol=1e-4, atol=1e-9)


@pytest.mark.parametrize("name", MEASURES)
def test_segments_do_not_depend_on_threads(name: str, threads: None) -> None:
    measure, _, arity = MEASURES[name]
    inputs = [x.requires_grad_() for x in (rows(2, torch.float32), rows(2, torch.float32) / 2)]
    results = []
    for n in (1, 2, 4):
        torch.set_num_threads(n)
        value = measure(*inputs[:arity], kind="logits")
        results.append([value, *torch.autograd.grad(value.sum(), inputs[:arity])])
    for other in results[1:]:
        for a, b in zip(results[0], other, strict=True):
            assert torch.equal(a, b)
