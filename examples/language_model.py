"""Train a byte-level language model with torch's cross-entropy and with ours: one curve.

A small transformer in plain PyTorch learns to predict the next byte of the source code of Python's
standard library. It is trained twice from the same seed, with ``cross_entropy`` of
``torch.nn.functional`` and of ``torch_infotheory.nn.functional``, and the losses of all steps are
compared. The bar shows bits per byte, the loss in base 2: what a compressor that used the model
would need.

    python examples/language_model.py --steps 50
"""

import argparse
import inspect
import json
import math
import textwrap
from collections.abc import Callable, Sequence

import torch
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn
from torch.nn import functional as F
from tqdm import trange

from torch_infotheory.nn import functional as ours

Loss = Callable[[Tensor, Tensor], Tensor]

SOURCES = (argparse, inspect, json, textwrap)
BYTES = 256
CONTEXT = 64
BATCH = 16
WIDTH = 64
SEED = 0
# A step rounds differently in the two libraries, by about 1e-7, and training amplifies it; with
# this learning rate little enough.
LEARNING_RATE = 0.1
TOLERANCE = 1e-5


class LanguageModel(nn.Module):
    """Logits (N, L, 256) of the next byte after each of the bytes (N, L)."""

    def __init__(self) -> None:
        super().__init__()
        self.byte = nn.Embedding(BYTES, WIDTH)
        self.position = nn.Embedding(CONTEXT, WIDTH)
        layer = nn.TransformerEncoderLayer(
            WIDTH,
            nhead=4,
            dim_feedforward=4 * WIDTH,
            dropout=0.0,
            batch_first=True,
            norm_first=True,
        )
        self.layers = nn.TransformerEncoder(layer, num_layers=2, enable_nested_tensor=False)
        self.norm = nn.LayerNorm(WIDTH)
        self.next_byte = nn.Linear(WIDTH, BYTES)
        causal = nn.Transformer.generate_square_subsequent_mask(CONTEXT)
        self.register_buffer("causal", causal, persistent=False)

    def forward(self, bytes: Tensor) -> Tensor:
        x = self.byte(bytes) + self.position.weight
        return self.next_byte(self.norm(self.layers(x, mask=self.causal, is_causal=True)))


def text() -> Tensor:
    """The source code of a few modules that come with Python, as bytes."""
    source = "".join(inspect.getsource(module) for module in SOURCES)
    return torch.tensor(list(source.encode()), dtype=torch.int64)


def passages(text: Tensor) -> Tensor:
    """A random batch: BATCH passages of CONTEXT bytes and the byte that follows."""
    starts = torch.randint(len(text) - CONTEXT, (BATCH, 1))
    return text[starts + torch.arange(CONTEXT + 1)]


def train(loss: Loss, steps: int, name: str) -> list[float]:
    """The loss in nats of every step."""
    torch.manual_seed(SEED)
    data = text()
    model = LanguageModel()
    optimizer = torch.optim.SGD(model.parameters(), lr=LEARNING_RATE, momentum=0.9)
    curve = []
    with trange(steps, desc=f"{name:16}", unit="step") as bar:
        for _ in bar:
            batch = passages(data)
            # Class dimension 1, as both losses want it: (N, 256, L), a view that is not copied.
            value = loss(model(batch[:, :-1]).transpose(1, 2), batch[:, 1:])
            optimizer.zero_grad()
            value.backward()
            optimizer.step()
            curve.append(value.item())
            bar.set_postfix({"bits per byte": f"{curve[-1] / math.log(2):.3f}"})
    return curve


def show(theirs: Sequence[float], mine: Sequence[float]) -> None:
    table = Table("step", "torch", "torch_infotheory", "difference in nats", box=SIMPLE_HEAD)
    for column in table.columns:
        column.justify = "right"
    every = max(1, (len(mine) - 1) // 5)
    for i in range(0, len(mine), every):
        bits = [f"{x / math.log(2):.4f}" for x in (theirs[i], mine[i])]
        table.add_row(str(i + 1), *bits, f"{abs(theirs[i] - mine[i]):.1e}")
    console = Console()
    console.print("Bits per byte", table)
    largest = max(abs(a - b) for a, b in zip(theirs, mine, strict=True))
    verdict = "agree" if largest <= TOLERANCE else "DIFFER"
    console.print(
        f"The curves {verdict}: {largest:.1e} nats at most between two steps,"
        f" {TOLERANCE:.0e} allowed.",
        highlight=False,
    )


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--steps", type=int, default=50, help="optimizer steps (default 50)")
    steps = parser.parse_args(arguments).steps
    torch.set_num_threads(1)  # the model is so small that threads would wait for each other
    theirs = train(F.cross_entropy, steps, "torch")
    mine = train(ours.cross_entropy, steps, "torch_infotheory")
    show(theirs, mine)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
