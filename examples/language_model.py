"""Train a byte-level language model with torch's loss and ours, describe it in bits, distill it.

A small transformer in plain PyTorch learns to predict the next byte of the source code of Python's
standard library. It is trained three times from the same seed: with ``cross_entropy`` of
``torch.nn.functional``, with that of ``torch_infotheory.nn.functional``, and with
``linear_cross_entropy``, which takes hidden states and never holds the logits of all positions. The
losses of all steps are compared. The bar shows bits per byte, the loss in base 2: what a compressor
that used the model would need.

Then a model of an eighth of the size learns from the first one's predictions by ``linear_kl_div``,
and both are tested on text that neither has seen: ``linear_log_probs`` gives, of one reading, the
bits that a byte takes and the entropy of the prediction, the bits that the model expects it to
take. Where a model is calibrated the two agree.

The logits of bytes are small. For tokens of two bytes, of which there are 65,536, they are most of
what a training step takes, and the memory of a step is shown with each of the three losses.

    python examples/language_model.py --steps 50 --output language_model.png
"""

import argparse
import inspect
import json
import math
import os
import tempfile
import textwrap
from collections.abc import Callable, Sequence
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import torch
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn
from torch.nn import functional as F
from tqdm import trange

from torch_infotheory.nn import functional as ours

os.environ.setdefault("KINETO_LOG_LEVEL", "6")  # the profiler prints where it starts and stops
Loss = Callable[["LanguageModel", Tensor, Tensor], Tensor]

SOURCES = (argparse, inspect, json, textwrap)
BYTES = 256
CONTEXT = 64
BATCH = 16
WIDTH = 64
HELD_OUT = 20_000  # bytes
SEED = 0
# A step rounds differently in the two libraries, by about 1e-7, and training amplifies it; with
# this learning rate little enough.
LEARNING_RATE = 0.1
TOLERANCE = 1e-5


class LanguageModel(nn.Module):
    """Logits (N, L, 256) of the next byte after each of the bytes (N, L), or of other tokens."""

    def __init__(self, width: int = WIDTH, layers: int = 2, tokens: int = BYTES) -> None:
        super().__init__()
        self.byte = nn.Embedding(tokens, width)
        self.position = nn.Embedding(CONTEXT, width)
        layer = nn.TransformerEncoderLayer(
            width,
            nhead=4,
            dim_feedforward=4 * width,
            dropout=0.0,
            batch_first=True,
            norm_first=True,
        )
        self.layers = nn.TransformerEncoder(layer, num_layers=layers, enable_nested_tensor=False)
        self.norm = nn.LayerNorm(width)
        self.next_byte = nn.Linear(width, tokens)
        causal = nn.Transformer.generate_square_subsequent_mask(CONTEXT)
        self.register_buffer("causal", causal, persistent=False)

    def hidden(self, bytes: Tensor) -> Tensor:
        """The states (N, L, width) that the last layer makes logits of."""
        x = self.byte(bytes) + self.position.weight
        return self.norm(self.layers(x, mask=self.causal, is_causal=True))

    def forward(self, bytes: Tensor) -> Tensor:
        return self.next_byte(self.hidden(bytes))


def text() -> Tensor:
    """The source code of a few modules that come with Python, as bytes."""
    source = "".join(inspect.getsource(module) for module in SOURCES)
    return torch.tensor(list(source.encode()), dtype=torch.int64)


def passages(text: Tensor) -> Tensor:
    """A random batch: BATCH passages of CONTEXT bytes and the byte that follows."""
    starts = torch.randint(len(text) - CONTEXT, (BATCH, 1))
    return text[starts + torch.arange(CONTEXT + 1)]


def of_logits(cross_entropy: Callable[[Tensor, Tensor], Tensor]) -> Loss:
    # Class dimension 1, as both losses want it: (N, 256, L), a view that is not copied.
    return lambda model, bytes, next: cross_entropy(model(bytes).transpose(1, 2), next)


def of_hidden_states(model: LanguageModel, bytes: Tensor, next: Tensor) -> Tensor:
    head = model.next_byte
    states = model.hidden(bytes).flatten(0, 1)
    return ours.linear_cross_entropy(states, head.weight, next.flatten(), linear_bias=head.bias)


def from_teacher(teacher: LanguageModel) -> Loss:
    """The divergence of a model's predictions from a teacher's; of neither there are logits."""
    of_teacher = teacher.next_byte.requires_grad_(False)

    def loss(model: LanguageModel, bytes: Tensor, next: Tensor) -> Tensor:
        with torch.no_grad():
            target = teacher.hidden(bytes)
        return ours.linear_kl_div(
            model.hidden(bytes),
            model.next_byte.weight,
            target,
            linear_bias=model.next_byte.bias,
            target_weight=of_teacher.weight,
            target_bias=of_teacher.bias,
        )

    return loss


def train(
    loss: Loss, steps: int, name: str, model: LanguageModel | None = None
) -> tuple[LanguageModel, list[float]]:
    """A model, and the loss in nats of every step."""
    torch.manual_seed(SEED)
    data = text()[:-HELD_OUT]
    model = model or LanguageModel()
    optimizer = torch.optim.SGD(model.parameters(), lr=LEARNING_RATE, momentum=0.9)
    curve = []
    with trange(steps, desc=f"{name:28}", unit="step") as bar:
        for _ in bar:
            batch = passages(data)
            value = loss(model, batch[:, :-1], batch[:, 1:])
            optimizer.zero_grad()
            value.backward()
            optimizer.step()
            curve.append(value.item())
            bar.set_postfix({"bits per byte": f"{curve[-1] / math.log(2):.3f}"})
    return model, curve


def peak(step: Callable[[], object]) -> int:
    """The bytes that torch's allocator has given out at once, at most, during a step."""
    with torch.profiler.profile(profile_memory=True) as profile:
        step()
    with tempfile.NamedTemporaryFile(suffix=".json") as file:
        profile.export_chrome_trace(file.name)
        events = json.loads(Path(file.name).read_text())["traceEvents"]
    memory = [event["args"] for event in events if event["name"] == "[memory]"]
    before = memory[0]["Total Allocated"] - memory[0]["Bytes"]
    return max(args["Total Allocated"] for args in memory) - before


def memory_of_pairs() -> dict[str, int]:
    """What a training step takes beyond the model, with each loss, for tokens of two bytes."""
    first, second = text()[: 2 * (len(text()) // 2)].view(-1, 2).unbind(1)
    batch = passages(first * BYTES + second)
    model = LanguageModel(tokens=BYTES**2)
    losses = {
        "torch, all logits": of_logits(F.cross_entropy),
        "torch_infotheory, all logits": of_logits(ours.cross_entropy),
        "from hidden states": of_hidden_states,
    }
    found = {}
    for name, loss in losses.items():
        model.zero_grad()
        found[name] = peak(lambda loss=loss: loss(model, batch[:, :-1], batch[:, 1:]).backward())
    return found


def predictions(model: LanguageModel) -> tuple[Tensor, Tensor]:
    """Bits that each byte of the text held out takes, and that the model expects it to take."""
    data = text()[-HELD_OUT:]
    windows = data.unfold(0, CONTEXT + 1, CONTEXT)
    with torch.no_grad():
        results = ours.linear_log_probs(
            model.hidden(windows[:, :-1]),
            model.next_byte.weight,
            windows[:, 1:],
            linear_bias=model.next_byte.bias,
        )
    return -results.log_prob.flatten() / math.log(2), results.entropy.flatten() / math.log(2)


def grouped(bits: Tensor, expected: Tensor, groups: int = 10) -> tuple[Tensor, Tensor]:
    """Means of equally many predictions, from the most certain to the least."""
    order = expected.argsort()
    parts = [part for part in order.tensor_split(groups) if len(part)]
    means = [torch.stack([x[part].mean() for part in parts]) for x in (expected, bits)]
    return means[0], means[1]


def draw(
    curve: Sequence[float],
    measured: dict[str, tuple[Tensor, Tensor]],
    to: Path,
) -> None:
    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.8), layout="constrained")
    left.plot([x / math.log(2) for x in curve], color="#0072B2")
    left.set(xlabel="step", ylabel="bits per byte", title="Training, from hidden states")
    most = 0.0
    for (name, (bits, expected)), color, marker in zip(
        measured.items(), ("#0072B2", "#D55E00"), "os", strict=True
    ):
        x, y = grouped(bits, expected)
        right.plot(x, y, marker, color=color, label=name)
        most = max(most, x.max().item(), y.max().item())
    right.plot([0, most], [0, most], color="0.6", linewidth=1, zorder=0)
    right.set(
        xlabel="bits that the model expects: entropy of the prediction",
        ylabel="bits that the byte takes",
        title="Text held out, in ten groups",
    )
    right.legend(frameon=False)
    for axes in (left, right):
        axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(to, dpi=120)
    plt.close(figure)


def show(theirs: Sequence[float], mine: Sequence[float], hidden: Sequence[float]) -> None:
    names = ("torch", "torch_infotheory", "from hidden states", "difference in nats")
    table = Table("step", *names, box=SIMPLE_HEAD)
    for column in table.columns:
        column.justify = "right"
    every = max(1, (len(mine) - 1) // 5)
    for i in range(0, len(mine), every):
        three = (theirs[i], mine[i], hidden[i])
        bits = [f"{x / math.log(2):.4f}" for x in three]
        table.add_row(str(i + 1), *bits, f"{max(three) - min(three):.1e}")
    console = Console()
    console.print("Bits per byte", table)
    largest = max(max(three) - min(three) for three in zip(theirs, mine, hidden, strict=True))
    verdict = "agree" if largest <= TOLERANCE else "DIFFER"
    console.print(
        f"The curves {verdict}: {largest:.1e} nats at most between two of them,"
        f" {TOLERANCE:.0e} allowed.",
        highlight=False,
    )


def describe(measured: dict[str, tuple[Tensor, Tensor]]) -> None:
    names = ("bits per byte", "bits expected", "difference in ten groups")
    table = Table("text held out", *names, box=SIMPLE_HEAD)
    for name, (bits, expected) in measured.items():
        x, y = grouped(bits, expected)
        means = (bits.mean(), expected.mean(), (x - y).abs().mean())
        table.add_row(name, *(f"{mean.item():.3f}" for mean in means))
    Console().print(table)


def show_memory(found: dict[str, int]) -> None:
    table = Table("tokens of two bytes", "MiB of a step", box=SIMPLE_HEAD)
    table.columns[1].justify = "right"
    for name, count in found.items():
        table.add_row(name, f"{count / 2**20:.0f}")
    logits = BATCH * CONTEXT * BYTES**2 * 4
    console = Console()
    console.print("Memory: the most that torch's allocator has given out at once", table)
    console.print(f"All logits take {logits / 2**20:.0f} MiB.", highlight=False)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--steps", type=int, default=50, help="optimizer steps (default 50)")
    parser.add_argument("--output", type=Path, help="where the picture goes")
    options = parser.parse_args(arguments)
    steps = options.steps
    torch.set_num_threads(1)  # the model is so small that threads would wait for each other
    _, theirs = train(of_logits(F.cross_entropy), steps, "torch")
    _, mine = train(of_logits(ours.cross_entropy), steps, "torch_infotheory")
    model, hidden = train(of_hidden_states, steps, "from hidden states")
    show(theirs, mine, hidden)
    small = LanguageModel(WIDTH // 2, layers=1)
    student, _ = train(from_teacher(model), steps, "a student, from a teacher", small)
    measured = {"model": predictions(model), "student": predictions(student)}
    describe(measured)
    show_memory(memory_of_pairs())
    if options.output:
        draw(hidden, measured, options.output)
        print(f"The picture is {options.output}.")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
