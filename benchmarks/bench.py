"""Times the ops against the idiomatic eager PyTorch, one thread, float32: `make bench`.

Both sides run alternately in one process, and the least time counts: a busy machine can only add to
it. The last column of each pair says how many times faster the op is.
"""

from collections.abc import Callable
from math import log
from time import perf_counter

import torch
import torch.nn.functional as F
from rich.console import Console
from rich.table import Table
from torch import Tensor
from tqdm import tqdm

import torch_infotheory as it

SHAPES = [(64, 10), (65536, 10), (8192, 1000), (512, 32000)]
SECONDS = 0.5  # for each cell of the table


def entropy(p: Tensor) -> Tensor:
    log_p = F.log_softmax(p, -1)
    return -(log_p.exp() * log_p).sum(-1)


def kl_divergence(p: Tensor, q: Tensor) -> Tensor:
    log_p, log_q = F.log_softmax(p, -1), F.log_softmax(q, -1)
    return F.kl_div(log_q, log_p, reduction="none", log_target=True).sum(-1)


def js_divergence(p: Tensor, q: Tensor) -> Tensor:
    log_p, log_q = F.log_softmax(p, -1), F.log_softmax(q, -1)
    log_m = torch.logaddexp(log_p, log_q) - log(2)
    return (log_p.exp() * (log_p - log_m) + log_q.exp() * (log_q - log_m)).sum(-1) / 2


def cases(rows: int, classes: int) -> dict[str, tuple[Callable, Callable, list[Tensor]]]:
    """Name, op, eager code, and the tensors that both take."""
    p, q = torch.randn(2, rows, classes).unbind()
    labels = torch.randint(classes, (rows,))
    logits = {"kind": "logits"}
    return {
        "cross_entropy_loss": (
            lambda x: torch.ops.torch_infotheory.cross_entropy_loss(x, labels),
            lambda x: F.cross_entropy(x, labels),
            [p],
        ),
        "entropy": (lambda x: it.entropy(x, **logits), entropy, [p]),
        "kl_divergence": (lambda x, y: it.kl_divergence(x, y, **logits), kl_divergence, [p, q]),
        "js_divergence": (lambda x, y: it.js_divergence(x, y, **logits), js_divergence, [p, q]),
    }


def seconds(functions: list[Callable], tensors: list[Tensor], backward: bool) -> list[float]:
    """The least time of each function, called in turn."""
    inputs = [t.detach().requires_grad_(backward) for t in tensors]
    least = [float("inf")] * len(functions)
    end = perf_counter() + SECONDS
    calls = 0
    while calls < 3 or perf_counter() < end:
        for i, function in enumerate(functions):
            start = perf_counter()
            value = function(*inputs)
            if backward:
                torch.autograd.grad(value.sum(), inputs)
            least[i] = min(least[i], perf_counter() - start)
        calls += 1
    return least


def main() -> None:
    torch.manual_seed(0)
    torch.set_num_threads(1)
    table = Table(title=f"Least time in microseconds, one thread, torch {torch.__version__}")
    for column in ("op, from logits", "rows x classes"):
        table.add_column(column)
    for column in ("forward", "eager", "", "forward + backward", "eager", ""):
        table.add_column(column, justify="right")
    todo = [(shape, *case) for shape in SHAPES for case in cases(*shape).items()]
    for (rows, classes), name, (op, eager, tensors) in tqdm(todo):
        cells = []
        for backward in (False, True):
            ours, theirs = seconds([op, eager], tensors, backward)
            cells += [f"{ours * 1e6:.1f}", f"{theirs * 1e6:.1f}", f"{theirs / ours:.1f}x"]
        table.add_row(name, f"{rows} x {classes}", *cells)
    Console(width=110).print(table)


if __name__ == "__main__":
    main()
