"""Models exported to ONNX, and what they compute without torch."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

import torch_infotheory
from torch_infotheory.nn import functional

for module in ("onnx", "onnxscript", "onnxruntime"):
    pytest.importorskip(module, reason="the ONNX packages of the group `tools` are not installed")

LABELS = torch.tensor([1, -100, 4])


def log_softmax(x: Tensor) -> Tensor:
    return x.log_softmax(-1)


def kl_divergence(x: Tensor, y: Tensor) -> Tensor:
    return (x.softmax(-1) * (log_softmax(x) - log_softmax(y))).sum(-1)


def entropy(p: Tensor) -> Tensor:
    return -torch.special.xlogy(p, p).sum()


def mutual_information(joint: Tensor) -> Tensor:
    return entropy(joint.sum(0)) + entropy(joint.sum(1)) - entropy(joint)


CALLS: dict[str, tuple[Callable[..., Tensor], Callable[..., Tensor], int]] = {
    "entropy": (
        lambda x: torch_infotheory.entropy(x, kind="logits"),
        lambda x: -(x.softmax(-1) * log_softmax(x)).sum(-1),
        1,
    ),
    "kl_divergence": (
        lambda x, y: torch_infotheory.kl_divergence(x, y, kind="logits"),
        kl_divergence,
        2,
    ),
    "mutual_information": (
        lambda x: torch_infotheory.mutual_information(x.softmax(0) / x.shape[1]),
        lambda x: mutual_information(x.softmax(0) / x.shape[1]),
        1,
    ),
    "cross_entropy": (
        lambda x: functional.cross_entropy(x, LABELS, label_smoothing=0.1),
        lambda x: torch.nn.functional.cross_entropy(x, LABELS, label_smoothing=0.1),
        1,
    ),
    "linear_cross_entropy": (
        lambda x, w: functional.linear_cross_entropy(x, w, LABELS),
        lambda x, w: torch.nn.functional.cross_entropy(x @ w.T, LABELS),
        2,
    ),
}


class Model(torch.nn.Module):
    def __init__(self, function: Callable[..., Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, *inputs: Tensor) -> Tensor:
        return self.function(*inputs)


@pytest.mark.parametrize("name", CALLS)
def test_the_exported_model(name: str, tmp_path: Path) -> None:
    import onnxruntime

    ours, theirs, arity = CALLS[name]
    shapes = ((3, 6), (5, 6)) if name.startswith("linear") else ((3, 6), (3, 6))
    generator = torch.Generator().manual_seed(0)
    inputs = tuple(torch.randn(*shape, generator=generator) for shape in shapes[:arity])
    path = tmp_path / "model.onnx"
    torch.onnx.export(Model(ours), inputs, path, dynamo=True, verbose=False)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    names = [x.name for x in session.get_inputs()]
    values = session.run(None, {n: x.numpy() for n, x in zip(names, inputs, strict=True)})
    expected = theirs(*inputs)
    assert expected.abs().sum() > 0
    torch.testing.assert_close(torch.from_numpy(values[0]), expected, rtol=1e-5, atol=1e-6)
