"""Mutual information of two volumes beside the dense formula: a table of its recipe's page.

    python benchmarks/histograms.py            print the table
    python benchmarks/histograms.py --write    put it into the page, between its marks

The peer forms the weight of every voxel in every bin, in operations of torch, and multiplies the
two matrices, as the losses of most libraries for registration do. Times are those of the processor,
on one thread, the least of several calls.
"""

import argparse
from pathlib import Path

import torch
from estimators import least, written
from report import table
from torch import Tensor
from tqdm import tqdm

from torch_infotheory import mutual_information, soft_joint_histogram

PAGE = Path(__file__).resolve().parents[1] / "docs/recipes/registration.md"
SIDE, BINS = 64, (32, 64)
REACH = {"linear": 0, "cubic": 1, "gaussian": 2}  # by which the range lies inside of the table


def window(kernel: str, distance: Tensor) -> Tensor:
    d = distance.abs()
    if kernel == "linear":
        return (1 - d).clamp(min=0)
    if kernel == "cubic":
        near = 2 / 3 - d**2 * (1 - d / 2)
        return torch.where(d < 1, near, (2 - d).clamp(min=0) ** 3 / 6)
    density = torch.exp(-(d**2) / 2) * (d <= 3)
    return density / density.sum(-1, keepdim=True)


def dense(x: Tensor, y: Tensor, bins: int, kernel: str) -> Tensor:
    weights = []
    for v in (x, y):
        low, high = v.detach().aminmax()
        place = REACH[kernel] + (v - low) / (high - low) * (bins - 1 - 2 * REACH[kernel])
        weights.append(window(kernel, place.unsqueeze(-1) - torch.arange(bins)))
    return weights[0].T @ weights[1] / len(x)


def here(x: Tensor, y: Tensor, bins: int, kernel: str) -> Tensor:
    return soft_joint_histogram(x, y, bins, kernel=kernel)


def volumes() -> list[Tensor]:
    """Two that vary smoothly, as images do."""
    line = torch.linspace(0, 6, SIDE)
    a, b, c = torch.meshgrid(line, line, line, indexing="ij")
    x = (a + torch.sin(b)).sin() + 0.1 * torch.randn(a.shape)
    y = (b + torch.sin(c)).cos() * x + 0.1 * torch.randn(a.shape)
    return [v.flatten().requires_grad_() for v in (x, y)]


def of_kernel(x: Tensor, y: Tensor, bins: int, kernel: str) -> list[str]:
    nanoseconds, values = [], []
    for joint, repeats in ((here, 20), (dense, 2)):

        def forward(joint=joint) -> Tensor:
            return mutual_information(joint(x, y, bins, kernel))

        def both(forward=forward) -> None:
            torch.autograd.grad(forward(), (x, y))

        values.append(forward())
        nanoseconds += [1e6 * least(call, repeats) / x.numel() for call in (forward, both)]
    torch.testing.assert_close(*values, rtol=1e-4, atol=1e-6)
    ratio = nanoseconds[3] / nanoseconds[1]
    return [f"{number:.3g}" for number in (*nanoseconds, ratio)]


def times() -> str:
    torch.set_num_threads(1)
    torch.manual_seed(0)
    x, y = volumes()
    cases = [(kernel, bins) for kernel in REACH for bins in BINS]
    rows = [
        [kernel, str(bins), *of_kernel(x, y, bins, kernel)]
        for kernel, bins in tqdm(cases, leave=False)
    ]
    head = ["kernel", "bins", "forward", "and backward", "dense forward", "and backward"]
    return table([*head, "times as fast"], rows, words=1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--write", action="store_true", help=f"change {PAGE.name}")
    text = times()
    if parser.parse_args().write:
        PAGE.write_text(written(PAGE.read_text(), "times", text))
    print(text)


if __name__ == "__main__":
    main()
