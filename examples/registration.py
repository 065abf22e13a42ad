"""Register two pictures of different contrast by gradient descent on their mutual information.

1. A window of the photograph of a temple that scikit-learn ships is seen twice: as it is, and
   rotated, shifted, with noise and through a contrast that makes the middle tones bright and both
   ends dark, as another kind of camera might see it.
2. Rotation and shift are found again with `nn.MutualInformationLoss`, from coarse pictures to fine
   ones, by the gradient through `grid_sample`.
3. The same descent with the mean squared error, which expects equal brightness, goes astray.

    python examples/registration.py --output build/registration.png
"""

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
import torch.nn.functional as F
from matplotlib import rc_context
from matplotlib.figure import Figure
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from sklearn.datasets import load_sample_image
from torch import Tensor
from tqdm import tqdm

from torch_infotheory import mutual_information, nn, soft_joint_histogram

SIZE = 256  # pixels of a side of the window
ANGLE, SHIFT = 14.0, (18.0, -12.0)  # degrees and pixels, to be found
NOISE = 0.03
LEVELS = (8, 4, 2, 1)  # pixels that are averaged in one
STEPS = 60  # at each level
BINS = 32
SEED = 0
Loss = Callable[[Tensor, Tensor, Tensor], Tensor]  # of two pictures and a mask


def rotation(degrees: Tensor) -> Tensor:
    angle = torch.deg2rad(degrees)
    cos, sin = angle.cos(), angle.sin()
    return torch.stack([torch.stack([cos, -sin]), torch.stack([sin, cos])])


def places(size: int) -> Tensor:
    """(size, size, 2) places x, y of the pixels of the window, from -1 to 1."""
    line = (2 * torch.arange(size) + 1) / size - 1
    return torch.stack(torch.meshgrid(line, line, indexing="xy"), -1)


def seen_at(picture: Tensor, where: Tensor) -> Tensor:
    return F.grid_sample(picture[None, None], where[None], align_corners=False)[0, 0]


def make_pictures() -> tuple[Tensor, Tensor]:
    """The picture that stays, and the one to be moved, with values from 0 to 1."""
    photograph = torch.tensor(load_sample_image("china.jpg") / 255).float().mean(-1)
    height, width = photograph.shape
    # The window in units of the photograph, whose sides also go from -1 to 1.
    unit = torch.tensor([SIZE / width, SIZE / height])
    fixed = seen_at(photograph, places(SIZE) * unit)
    shift = torch.tensor(SHIFT) * 2 / SIZE
    moved = places(SIZE) @ rotation(torch.tensor(ANGLE)).T + shift
    moving = 1 - (2 * seen_at(photograph, moved * unit) - 1).abs()
    noise = torch.randn(moving.shape, generator=torch.Generator().manual_seed(SEED))
    return fixed, (moving + NOISE * noise).clamp(0, 1)


def moved_back(moving: Tensor, angle: Tensor, shift: Tensor) -> tuple[Tensor, Tensor]:
    """The picture rotated and shifted (in pixels of the window), and where there is one."""
    size = moving.shape[-1]
    where = (places(size) - shift * 2 / SIZE) @ rotation(-angle).T
    return seen_at(moving, where), (where.abs() < 1 - 1 / size).all(-1)


def pixels_off(angle: Tensor, shift: Tensor) -> float:
    """How far a pixel of the window is from where it belongs, on average."""
    found = places(SIZE) @ rotation(angle).T + shift * 2 / SIZE
    truth = places(SIZE) @ rotation(torch.tensor(ANGLE)).T + torch.tensor(SHIFT) * 2 / SIZE
    return (found - truth).norm(dim=-1).mean().item() * SIZE / 2


@dataclass
class Descent:
    angle: Tensor
    shift: Tensor
    off: list[float] = field(default_factory=list)  # pixels, before each step and in the end


def register(fixed: Tensor, moving: Tensor, loss: Loss, bar: tqdm) -> Descent:
    angle = torch.zeros((), requires_grad=True)
    shift = torch.zeros(2, requires_grad=True)
    descent = Descent(angle, shift)
    for level in LEVELS:
        coarse = [F.avg_pool2d(picture[None], level)[0] for picture in (fixed, moving)]
        # A step is of about a quarter of a pixel of the level.
        optimizer = torch.optim.Adam(
            [{"params": [angle], "lr": level / 8}, {"params": [shift], "lr": level / 4}]
        )
        slower = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, STEPS, level / 100)
        for _ in range(STEPS):
            descent.off.append(pixels_off(angle.detach(), shift.detach()))
            optimizer.zero_grad()
            loss(coarse[0], *moved_back(coarse[1], angle, shift)).backward()
            optimizer.step()
            slower.step()
            bar.update()
    descent.off.append(pixels_off(angle.detach(), shift.detach()))
    return descent


def squared_error(x: Tensor, y: Tensor, mask: Tensor) -> Tensor:
    return (x - y)[mask].square().mean()


def joint_of(fixed: Tensor, moved: Tensor, mask: Tensor) -> Tensor:
    flat = (picture.flatten() for picture in (fixed, moved))
    return soft_joint_histogram(*flat, BINS, (0, 1), mask=mask.flatten())


def checkerboard(a: Tensor, b: Tensor, tile: int = SIZE // 8) -> Tensor:
    line = torch.arange(SIZE) // tile
    return torch.where((line[:, None] + line) % 2 == 0, a, b)


def draw(
    path: Path, fixed: Tensor, moving: Tensor, pairs: dict[str, Tensor], runs: dict[str, Descent]
) -> None:
    joints = {name: joint_of(fixed, *pair) for name, pair in pairs.items()}
    style = {"font.size": 10, "axes.spines.top": False, "axes.spines.right": False}
    with rc_context(style):
        figure = Figure(figsize=(13, 6.6), dpi=80, layout="constrained")
        (above, below) = figure.subplots(2, 4)
        pictures = {"fixed": fixed, "moving": moving}
        for name, (moved, _) in pairs.items():
            pictures[f"tiles of both, {name}"] = checkerboard(fixed, moved)
        for axes, (title, picture) in zip(above, pictures.items(), strict=True):
            axes.imshow(picture.numpy(), "gray", vmin=0, vmax=1)
            axes.set_title(title)
            axes.axis("off")
        for axes, (name, joint) in zip(below, joints.items(), strict=False):
            axes.imshow(joint.T.sqrt().numpy(), "magma", origin="lower", extent=(0, 1, 0, 1))
            bits = mutual_information(joint, base=2).item()
            axes.set_title(f"{name}: {bits:.2f} bits")
            axes.set_xlabel("fixed")
            axes.set_ylabel("moving")
        wide = figure.add_subplot(below[2].get_subplotspec().get_gridspec()[1, 2:])
        for axes in below[2:]:
            axes.remove()
        for (name, run), color in zip(runs.items(), ("#1f6f8b", "#e08e45"), strict=True):
            wide.semilogy(run.off, color=color, label=name)
        for i, level in enumerate(LEVELS):
            wide.axvline(i * STEPS, color="gray", lw=0.5)
            wide.text(
                i * STEPS + 1, 0.99, f"1 / {level}", va="top", transform=wide.get_xaxis_transform()
            )
        wide.set_xlabel("step")
        wide.set_ylabel("pixels off")
        wide.legend(loc="lower left")
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, default=Path("build/registration.png"))
    options = parser.parse_args(arguments)

    fixed, moving = make_pictures()
    losses: dict[str, Loss] = {
        "mutual information": nn.MutualInformationLoss(BINS, range=(0, 1)),
        "squared error": squared_error,
    }
    with tqdm(total=len(losses) * len(LEVELS) * STEPS, desc="descent", leave=False) as bar:
        runs = {name: register(fixed, moving, loss, bar) for name, loss in losses.items()}

    found = runs["mutual information"]
    start = torch.zeros(()), torch.zeros(2)
    with torch.no_grad():
        pairs = {
            "before": moved_back(moving, *start),
            "after": moved_back(moving, found.angle, found.shift),
        }
    console = Console()
    table = Table(box=SIMPLE_HEAD, title="found by descent")
    for column in ("loss", "degrees", "pixels right", "pixels down", "pixels off"):
        table.add_column(column, justify="left" if column == "loss" else "right")
    table.add_row("truth", f"{ANGLE:.2f}", *(f"{s:.2f}" for s in SHIFT), "0.00")
    table.add_row("start", "0.00", "0.00", "0.00", f"{found.off[0]:.2f}")
    for name, run in runs.items():
        numbers = (run.angle.item(), *run.shift.tolist(), run.off[-1])
        table.add_row(name, *(f"{number:.2f}" for number in numbers))
    console.print(table)
    for name, pair in pairs.items():
        bits = mutual_information(joint_of(fixed, *pair), base=2).item()
        console.print(f"mutual information {name}: {bits:.3f} bits", highlight=False)
    draw(options.output, fixed, moving, pairs, runs)
    console.print(f"Done: drew {options.output}", highlight=False, soft_wrap=True)


if __name__ == "__main__":
    main()
