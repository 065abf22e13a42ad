"""Train a classifier of handwritten digits and measure in bits what it learns.

1. A teacher, a small convolutional network, is trained with
   ``torch.ops.torch_infotheory.cross_entropy_loss`` on the 8 x 8 digits that scikit-learn ships.
2. The same network is trained from the same seed with ``torch.nn.functional.cross_entropy``.
   The two runs agree up to rounding.
3. A student with a thirtieth of the parameters is trained without labels: it minimizes
   D(teacher || student), the divergence of its prediction from the teacher's.

Every epoch is measured on held-out digits; the last state of the student is drawn in one figure.

    python examples/digits.py --output build/digits.png
"""

import argparse
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import Tensor, nn
from tqdm import tqdm

import torch_infotheory as ti

Loss = Callable[[Tensor, Tensor], Tensor]

CLASSES = 10
SEED = 0
BATCH = 32
LEARNING_RATE = 5e-3
# Nats for training losses, bits for the held-out curve. The two libraries round a loss differently,
# by about 1e-7, and training carries that on: the teacher trained with torch's loss in float32 and
# in float64 drifts by up to 2e-6 nats, depending on SEED. More than 1e-5 is not rounding.
TOLERANCE = 1e-5


@dataclass(frozen=True)
class Digits:
    """Images (N, 1, 8, 8) in [0, 1] with labels (N), to train on and held out."""

    images: Tensor
    labels: Tensor
    held_out_images: Tensor
    held_out_labels: Tensor


@dataclass(frozen=True)
class Epoch:
    """What the model knows about the held-out digits; epoch 0 is the untrained model."""

    training_nats: float
    loss_nats: float
    entropy_bits: float
    information_bits: float
    ceiling_bits: float
    accuracy: float

    @property
    def loss_bits(self) -> float:
        return self.loss_nats / math.log(2)

    @property
    def perplexity(self) -> float:
        return math.exp(self.loss_nats)


@dataclass(frozen=True)
class Training:
    """A trained model, the loss of every step, and a measurement after every epoch."""

    model: nn.Module
    steps: list[float]
    epochs: list[Epoch]


def read_digits(samples: int | None) -> Digits:
    images, labels = load_digits(return_X_y=True)
    images, labels = images[:samples], labels[:samples]
    train, held_out = train_test_split(
        range(len(labels)), test_size=0.5, random_state=SEED, stratify=labels
    )
    x = torch.tensor(images, dtype=torch.float32).reshape(-1, 1, 8, 8) / 16
    y = torch.tensor(labels)
    return Digits(x[train], y[train], x[held_out], y[held_out])


def classifier(width: int) -> nn.Module:
    """Two convolutions and a linear layer; equal widths give equal weights."""
    # Smooth in the weights. At a kink of ReLU or max pooling the last bit of a weight decides where
    # the gradient goes, and two trainings that differ by rounding alone part by 1e-2 nats.
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(SEED)
        return nn.Sequential(
            nn.Conv2d(1, width, 3, padding=1),
            nn.GroupNorm(1, width),
            nn.GELU(),
            nn.AvgPool2d(2),
            nn.Conv2d(width, 2 * width, 3, padding=1),
            nn.GroupNorm(1, 2 * width),
            nn.GELU(),
            nn.AvgPool2d(2),
            nn.Flatten(),
            nn.Linear(8 * width, CLASSES),
        )


def parameters(model: nn.Module) -> int:
    return sum(p.numel() for p in model.parameters())


@torch.no_grad()
def predict(model: nn.Module, images: Tensor) -> Tensor:
    return model(images)


def confusion(labels: Tensor, predictions: Tensor) -> Tensor:
    """The joint distribution of label (rows) and prediction (columns)."""
    counts = torch.bincount(labels * CLASSES + predictions, minlength=CLASSES**2)
    return counts.reshape(CLASSES, CLASSES).double() / len(labels)


def measure(model: nn.Module, loss: Loss, digits: Digits, training_nats: float) -> Epoch:
    logits = predict(model, digits.held_out_images)
    predictions = logits.argmax(dim=1)
    joint = confusion(digits.held_out_labels, predictions)
    return Epoch(
        training_nats=training_nats,
        loss_nats=loss(logits, digits.held_out_labels).item(),
        entropy_bits=ti.entropy(logits, kind="logits", base=2).mean().item(),
        information_bits=ti.mutual_information(joint, base=2).item(),
        ceiling_bits=ti.entropy(joint.sum(dim=1), base=2).item(),
        accuracy=joint.trace().item(),
    )


def train(
    name: str,
    model: nn.Module,
    objective: Loss,
    targets: Tensor,
    digits: Digits,
    epochs: int,
    held_out_loss: Loss = torch.ops.torch_infotheory.cross_entropy_loss,
) -> Training:
    """Minimise ``objective(logits, targets)``; the order of the batches depends on SEED only."""
    optimizer = torch.optim.Adam(model.parameters(), lr=LEARNING_RATE)
    generator = torch.Generator().manual_seed(SEED)
    training = Training(model, [], [measure(model, held_out_loss, digits, math.nan)])
    batches = math.ceil(len(targets) / BATCH)
    with tqdm(total=epochs * batches, desc=name, unit="step", mininterval=0.5) as bar:
        for _ in range(epochs):
            total = 0.0
            for batch in torch.randperm(len(targets), generator=generator).split(BATCH):
                loss = objective(model(digits.images[batch]), targets[batch])
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                training.steps.append(loss.item())
                total += training.steps[-1] * len(batch)
                bar.update()
            training.epochs.append(measure(model, held_out_loss, digits, total / len(targets)))
            bar.set_postfix(bits=f"{training.epochs[-1].loss_bits:.3f}", refresh=False)
    return training


def divergence_from(logits: Tensor, teacher_logits: Tensor) -> Tensor:
    """Mean D(teacher || student) in nats."""
    return ti.kl_divergence(teacher_logits, logits, kind="logits").mean()


def largest_difference(a: Sequence[float], b: Sequence[float]) -> float:
    return max(abs(x - y) for x, y in zip(a, b, strict=True))


# ------------------------------------------------------------------------------------ the table


def table(title: str, objective: str, epochs: Sequence[Epoch]) -> Table:
    ceiling = epochs[-1].ceiling_bits
    result = Table(
        title=f"\n{title}",
        caption="mean H: entropy of the prediction\n"
        "I: mutual information of label and prediction, from the confusion table\n"
        f"ceiling of I: H(label) = {ceiling:.4f} bits\n",
        caption_justify="left",
        box=SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
        pad_edge=False,
    )
    for heading in (
        "\n\nepoch",
        f"training\n{objective}\nnats",
        "held-out\nloss\nnats",
        "held-out\nloss\nbits",
        "\nper-\nplexity",
        "\nmean H\nbits",
        "\nI\nbits",
        "I /\nH(label)\n%",
        "\nright\n%",
    ):
        result.add_column(heading, justify="right", no_wrap=True)
    for number, epoch in enumerate(epochs):
        result.add_row(
            str(number),
            f"{epoch.training_nats:.4f}" if number else "-",
            f"{epoch.loss_nats:.4f}",
            f"{epoch.loss_bits:.4f}",
            f"{epoch.perplexity:.4f}",
            f"{epoch.entropy_bits:.4f}",
            f"{epoch.information_bits:.4f}",
            f"{100 * epoch.information_bits / epoch.ceiling_bits:.1f}",
            f"{100 * epoch.accuracy:.1f}",
        )
    return result


# ----------------------------------------------------------------------------------- the figure

TEACHER, TORCH, STUDENT = "#0072B2", "#F5C26B", "#7B4FA3"
RIGHT, WRONG = "#00875F", "#D55E00"
INK, DARK, GREY = "#333333", "#5F6B76", "#D4D4D4"
STYLE: dict[Any, Any] = {
    "font.size": 11,
    "axes.titlesize": 13,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.titlepad": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": INK,
    "legend.frameon": False,
    "legend.fontsize": 10,
}


def draw_learning_curves(
    axes: Axes, residual: Axes, teacher: Training, reference: Training, student: Training
) -> None:
    teacher_bits, reference_bits, student_bits = (
        [epoch.loss_bits for epoch in training.epochs] for training in (teacher, reference, student)
    )
    axes.set_title("Learning curves on held-out digits")
    axes.plot(reference_bits, color=TORCH, lw=7, label="teacher, torch.nn.functional")
    axes.plot(teacher_bits, color=TEACHER, lw=2, label="teacher, torch_infotheory")
    axes.plot(student_bits, color=STUDENT, lw=2, label="student, $D$(teacher $\\|$ student)")
    axes.axhline(math.log2(CLASSES), color=INK, lw=1, ls=":", label="uniform guess, log$_2$ 10")
    axes.set_yscale("log", base=2)
    axes.yaxis.set_major_formatter(lambda bits, _: f"{bits:g}")
    axes.set_ylabel("cross-entropy (bits)")
    axes.tick_params(labelbottom=False)
    axes.legend(loc="upper right", bbox_to_anchor=(1, 0.94))

    difference = [a - b for a, b in zip(teacher_bits, reference_bits, strict=True)]
    residual.axhline(0, color=TORCH, lw=5)
    residual.plot(difference, ".-", color=TEACHER)
    residual.ticklabel_format(axis="y", style="sci", scilimits=(0, 0))
    residual.xaxis.set_major_locator(MaxNLocator(integer=True, steps=(1, 2, 5, 10)))
    residual.set_xlabel("epoch")
    residual.set_ylabel("ours $-$ torch\n(bits)")


def draw_entropies(axes: Axes, bits: Tensor, right: Tensor) -> None:
    limit = math.log2(CLASSES)
    axes.set_title("The student's entropy when right and when wrong")
    for name, chosen, color in (("right", right, RIGHT), ("wrong", ~right, WRONG)):
        group = bits[chosen].tolist()
        mean = f", mean {sum(group) / len(group):.2f} bits" if group else ""
        axes.hist(
            group,
            bins=[limit * edge / 24 for edge in range(25)],
            weights=[100 / len(group) for _ in group],
            histtype="stepfilled",
            facecolor=color + "66",
            edgecolor=color,
            lw=1.6,
            label=f"{name}: {len(group)} digits{mean}",
        )
    axes.axvline(limit, color=INK, lw=1, ls=":", label="uniform, log$_2$ 10")
    axes.set_xlim(0, 1.02 * limit)
    axes.set_xlabel("entropy of the prediction (bits)")
    axes.set_ylabel("share of the group (%)")
    axes.legend()


def draw_information(axes: Axes, joint: Tensor) -> None:
    """The bars of MacKay, Information Theory, Inference, and Learning Algorithms, figure 8.1."""
    total = ti.joint_entropy(joint, base=2).item()
    label = ti.entropy(joint.sum(dim=1), base=2).item()
    prediction = ti.entropy(joint.sum(dim=0), base=2).item()
    shared = ti.mutual_information(joint, base=2).item()
    lost = ti.conditional_entropy(joint, x_dim=-1, y_dim=-2, base=2).item()
    spurious = ti.conditional_entropy(joint, base=2).item()

    axes.set_title(r"Information: label $Y$ and the student's prediction $\hat{Y}$")
    bars = (
        (3, 0, total, GREY, INK, r"$H(Y,\hat{Y})$"),
        (2, 0, label, DARK, "white", "$H(Y)$"),
        (1, total - prediction, prediction, STUDENT, "white", r"$H(\hat{Y})$"),
        (0, lost, shared, RIGHT, "white", r"$I(Y;\hat{Y})$"),
    )
    for row, left, width, color, ink, name in bars:
        axes.barh(row, width, left=left, height=0.56, color=color)
        axes.text(
            left + width / 2,
            row,
            f"{name} = {width:.3f} bits",
            ha="center",
            va="center",
            color=ink,
            fontsize=12,
        )
    remainders = (
        (0, lost, 0, "left", r"$H(Y\,|\,\hat{Y})$", "still open about the label"),
        (label, spurious, total, "right", r"$H(\hat{Y}\,|\,Y)$", "not about the label"),
    )
    for left, width, edge, side, name, meaning in remainders:
        axes.barh(0, width, left=left, height=0.56, color=WRONG)
        axes.text(
            edge,
            -0.4,
            f"{name} = {width:.3f} bits\n{meaning}",
            ha=side,
            va="top",
            color=WRONG,
            fontsize=12,
        )
    axes.vlines((lost, label), -0.28, 3.28, color=INK, lw=1, ls=":", zorder=0)
    axes.set_xlim(0, total)
    axes.set_ylim(-1.1, 3.4)
    axes.set_yticks([])
    axes.spines["left"].set_visible(False)
    axes.set_xlabel("bits")


def draw_pointwise_information(axes: Axes, joint: Tensor, samples: int) -> None:
    bits = ti.pointwise_mutual_information(joint, base=2)
    seen = bits.isfinite()
    limit = max(math.log2(CLASSES), bits[seen].abs().max().item())
    axes.set_title(r"Pointwise mutual information of $Y$ and $\hat{Y}$")
    axes.set_facecolor(GREY)
    image = axes.imshow(
        bits.masked_fill(~seen, math.nan).numpy(), "PuOr", aspect="auto", vmin=-limit, vmax=limit
    )
    for row, column in seen.nonzero().tolist():
        value = bits[row, column].item()
        count = round(joint[row, column].item() * samples)
        axes.text(
            column,
            row,
            f"${value:+.1f}$\n{count}\u00d7",
            ha="center",
            va="center",
            color="white" if abs(value) > 0.55 * limit else INK,
            fontsize=9,
        )
    axes.set_xticks(range(CLASSES))
    axes.set_yticks(range(CLASSES))
    axes.set_xticks([edge - 0.5 for edge in range(1, CLASSES)], minor=True)
    axes.set_yticks([edge - 0.5 for edge in range(1, CLASSES)], minor=True)
    axes.grid(which="minor", color="white", lw=1.2)
    axes.tick_params(which="both", length=0)
    axes.spines[:].set_visible(False)
    axes.set_xlabel(r"prediction $\hat{y}$")
    axes.set_ylabel("label $y$")
    bar = axes.figure.colorbar(
        image, ax=axes, label=r"$\log_2\,\dfrac{p(y,\,\hat{y})}{p(y)\;p(\hat{y})}$ (bits)"
    )
    bar.outline.set_visible(False)
    axes.legend(
        handles=[
            Patch(color=GREY, label="$-\\infty$: never seen together,  n\u00d7: seen n times")
        ],
        loc="upper center",
        bbox_to_anchor=(0.5, -0.1),
    )


def draw(
    path: Path, teacher: Training, reference: Training, student: Training, digits: Digits
) -> None:
    logits = predict(student.model, digits.held_out_images)
    predictions = logits.argmax(dim=1)
    joint = confusion(digits.held_out_labels, predictions)
    entropies = ti.entropy(logits, kind="logits", base=2)
    with rc_context(STYLE):
        layout = ConstrainedLayoutEngine(w_pad=0.12, h_pad=0.12, wspace=0.04, hspace=0.04)
        figure = Figure(figsize=(13, 10.5), dpi=150, layout=layout)
        figure.suptitle(
            f"Handwritten digits in bits: a teacher of {parameters(teacher.model):,} parameters "
            f"and its student of {parameters(student.model):,}, "
            f"on {len(predictions)} held-out images",
            fontsize=14,
        )
        grid = figure.add_gridspec(2, 2)
        curves = grid[0, 0].subgridspec(2, 1, height_ratios=(3.4, 1))
        top = figure.add_subplot(curves[0])
        draw_learning_curves(
            top, figure.add_subplot(curves[1], sharex=top), teacher, reference, student
        )
        draw_entropies(
            figure.add_subplot(grid[0, 1]), entropies, predictions == digits.held_out_labels
        )
        draw_information(figure.add_subplot(grid[1, 0]), joint)
        draw_pointwise_information(figure.add_subplot(grid[1, 1]), joint, len(predictions))
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path)


# --------------------------------------------------------------------------------------- the run


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Train on handwritten digits, measure in bits.")
    parser.add_argument("--output", type=Path, default=Path("build/digits.png"), help="the figure")
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--samples", type=int, default=None, help="use the first SAMPLES digits")
    options = parser.parse_args(argv)
    console = Console(markup=False, emoji=False, highlight=False)

    digits = read_digits(options.samples)
    console.print(
        f"{len(digits.labels)} digits to train on, {len(digits.held_out_labels)} held out"
    )

    teacher = train(
        "teacher",
        classifier(width=32),
        torch.ops.torch_infotheory.cross_entropy_loss,
        digits.labels,
        digits,
        options.epochs,
    )
    console.print(table("Teacher, trained on labels", "loss", teacher.epochs))

    reference = train(
        "teacher, torch's loss",
        classifier(width=32),
        F.cross_entropy,
        digits.labels,
        digits,
        options.epochs,
        held_out_loss=F.cross_entropy,
    )
    in_steps = largest_difference(teacher.steps, reference.steps)
    held_out = largest_difference(
        [epoch.loss_bits for epoch in teacher.epochs],
        [epoch.loss_bits for epoch in reference.epochs],
    )
    if not max(in_steps, held_out) < TOLERANCE:
        raise SystemExit(f"the losses disagree: by {in_steps:.1e} nats, {held_out:.1e} bits")
    console.print(
        "The same network trained with torch.nn.functional.cross_entropy agrees.\n"
        f"Largest difference in {len(teacher.steps)} training losses: {in_steps:.1e} nats\n"
        f"Largest difference in the held-out curve: {held_out:.1e} bits\n"
    )

    student = train(
        "student",
        classifier(width=4),
        divergence_from,
        predict(teacher.model, digits.images),
        digits,
        options.epochs,
    )
    console.print(
        table("Student, trained on D(teacher || student) alone", "D(T||S)", student.epochs)
    )
    divergence = divergence_from(
        predict(student.model, digits.held_out_images),
        predict(teacher.model, digits.held_out_images),
    ).item() / math.log(2)
    console.print(f"D(teacher || student) on held-out digits: {divergence:.4f} bits\n")

    draw(options.output, teacher, reference, student, digits)
    last = student.epochs[-1]
    console.print(
        f"Done: trained a teacher twice and a student of {parameters(student.model)} parameters "
        f"that knows {last.information_bits:.3f} of {last.ceiling_bits:.3f} bits about the label; "
        f"drew {options.output}",
        soft_wrap=True,
    )


if __name__ == "__main__":
    # The networks are too small to share out, and rounding depends on the number of threads.
    torch.set_num_threads(1)
    main()
