"""Compile a classifier and two measures of its predictions into one AOTInductor package.

    python examples/cpp/export_package.py classifier.pt2

``run_package.cpp`` runs the package in a program without Python.
"""

import sys

import torch
from torch import Tensor, nn

import torch_infotheory
from torch_infotheory.nn import functional as F

FEATURES, CLASSES = 4, 3


class MeasuredClassifier(nn.Module):
    """Maps features (N, 4) and labels (N) to the loss in nats and the N entropies in bits."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(FEATURES, CLASSES)

    def forward(self, features: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        logits = self.linear(features)
        loss = F.cross_entropy(logits, labels)
        return loss, torch_infotheory.entropy(logits, kind="logits", base=2)


def make_classifier() -> MeasuredClassifier:
    """A stand-in for a trained classifier: its weights are random, and the same in every run."""
    torch.manual_seed(0)
    return MeasuredClassifier()


def export_package(classifier: MeasuredClassifier, path: str) -> None:
    """Write the package of the classifier; it takes any number of points."""
    points = torch.export.Dim("points", min=2)
    example = (torch.zeros(5, FEATURES), torch.zeros(5, dtype=torch.int64))
    with torch.no_grad():
        exported = torch.export.export(
            classifier, example, dynamic_shapes=({0: points}, {0: points})
        )
        torch._inductor.aoti_compile_and_package(exported, package_path=path)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    export_package(make_classifier(), sys.argv[1])
