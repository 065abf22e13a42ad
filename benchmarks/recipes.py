"""The figures of the recipes: time, peak of memory and error beside the functions they replace.

    python benchmarks/recipes.py                  print all tables for which the libraries are there
    python benchmarks/recipes.py --only trl       print those of one page
    python benchmarks/recipes.py --write          put them into the pages, between their marks

What is measured is the code of the pages: their blocks are run. All contenders of a table get the
same tensors, one thread, and take turns. Times are those of the processor, the least of several
calls; the peak of memory is that of torch's allocator beyond the inputs. The error is the largest
deviation of the values from float64, relative to the largest value; of 16 bits from float64 of the
same rounded tensors.
"""

import argparse
import json
import os
import re
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import NamedTemporaryFile, TemporaryDirectory
from types import SimpleNamespace
from typing import Any

import measure
import torch
import torch.distributed as dist
from estimators import written
from machine import facts
from report import table
from torch import Tensor, nn
from torch.nn import functional as F
from tqdm import tqdm

from torch_infotheory import log_probs
from torch_infotheory.nn import functional as ours

PAGES = Path(__file__).resolve().parents[1] / "docs/recipes"
os.environ.setdefault("KINETO_LOG_LEVEL", "6")  # the profiler prints where it starts and stops
IGNORED = -100
DTYPES = (torch.float32, torch.bfloat16)
SECONDS = 1.0
RANKS = 2


class Processor(measure.CpuClock):
    """Its time, which other work on the machine hardly changes."""

    def seconds(self, call: measure.Call, repeat: int) -> float:
        start = time.process_time()
        for _ in range(repeat):
            call()
        return (time.process_time() - start) / repeat

    def peak(self, call: measure.Call) -> int:
        """The bytes that torch's allocator has given out at once, at most, during a call.

        Unlike resident memory they are the same in every run.
        """
        with torch.profiler.profile(profile_memory=True) as profile:
            call()
        with NamedTemporaryFile(suffix=".json") as file:
            profile.export_chrome_trace(file.name)
            events = json.loads(Path(file.name).read_text())["traceEvents"]
        memory = [e["args"] for e in events if e["name"] == "[memory]"]
        before = memory[0]["Total Allocated"] - memory[0]["Bytes"]
        return max(x["Total Allocated"] for x in memory) - before


@dataclass(frozen=True)
class Size:
    """Sequences, positions of each, hidden features and classes."""

    n: int = 4
    length: int = 256
    features: int = 256
    classes: int = 32_000

    def __str__(self) -> str:
        shape = f"{self.n} x {self.length} positions"
        return f"{shape}, {self.features} features, {self.classes:,} classes"


@dataclass(frozen=True)
class Table:
    """Functions of the same inputs that have the same values, and the values in float64."""

    inputs: Sequence[Tensor]  # which the gradients are by
    calls: dict[str, Callable[..., Tensor]]
    exact: Callable[..., Tensor]


def code_of(name: str, **names: Any) -> SimpleNamespace:
    """What a page's blocks define. Blocks that only use it are left out."""
    text = (PAGES / f"{name}.md").read_text()
    names = {"__name__": name, **names}
    for block in re.findall(r"^```python\n(.*?)^```$", text, re.MULTILINE | re.DOTALL):
        if re.search(r"^(def|class) ", block, re.MULTILINE):
            # A training run at the end of a block takes time and prints.
            source = re.split(r"^\w[\w.]* = \w+\(|^torch\.manual_seed", block, flags=re.MULTILINE)
            exec(compile(source[0], name, "exec"), names)
    return SimpleNamespace(**names)


def random(size: Sequence[int], dtype: torch.dtype, seed: int, scale: float = 1.0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return (scale * torch.randn(size, generator=generator)).to(dtype)


def model_of(size: Size, dtype: torch.dtype, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Hidden states and the weight of the last layer, whose logits spread by 3."""
    states = random((size.n, size.length, size.features), dtype, seed)
    return states, random((size.classes, size.features), dtype, seed + 1, 3 * size.features**-0.5)


def tokens_of(size: Size) -> Tensor:
    generator = torch.Generator().manual_seed(9)
    return torch.randint(size.classes, (size.n, size.length), generator=generator)


def read_in_torch(logits: Tensor, tokens: Tensor) -> Tensor:
    log_p = logits.log_softmax(-1)
    log_prob = log_p.gather(-1, tokens.clamp(min=0).unsqueeze(-1)).squeeze(-1)
    both = torch.stack((log_prob, -(log_p.exp() * log_p).sum(-1)))
    return both.where(tokens != IGNORED, 0)


# The tables of each page, for a size and a data type.


def policy_gradient(size: Size, dtype: torch.dtype) -> list[Table]:
    tokens = tokens_of(size)

    def of(read: Callable[..., Sequence[Tensor]]) -> Callable[..., Tensor]:
        return lambda *x: torch.stack(tuple(read(*x))[:2])

    calls = {
        "`log_softmax`, `gather` and a sum": lambda h, w: read_in_torch(h @ w.T, tokens),
        "`log_probs` of logits": of(lambda h, w: log_probs(h @ w.T, tokens, dtype=torch.float32)),
        "`linear_log_probs`": of(
            lambda h, w: ours.linear_log_probs(h, w, tokens, dtype=torch.float32)
        ),
    }
    return [Table(model_of(size, dtype), calls, lambda h, w: read_in_torch(h @ w.T, tokens))]


def lightning(size: Size, dtype: torch.dtype) -> list[Table]:
    tokens = tokens_of(size).flatten()
    inputs = (*model_of(size, dtype), random((size.classes,), dtype, 2))

    def torch_loss(h: Tensor, w: Tensor, b: Tensor) -> Tensor:
        return F.cross_entropy(F.linear(h, w, b).flatten(0, 1), tokens)

    def loss(h: Tensor, w: Tensor, b: Tensor) -> Tensor:
        return ours.linear_cross_entropy(
            h.flatten(0, 1), w, tokens, linear_bias=b, dtype=torch.float32
        )

    calls = {"`cross_entropy` of torch": torch_loss, "`linear_cross_entropy`": loss}
    return [Table(inputs, calls, torch_loss)]


def transformers(size: Size, dtype: torch.dtype) -> list[Table]:
    from transformers import LlamaConfig
    from transformers.loss.loss_utils import ForCausalLMLoss

    code, tokens = code_of("transformers"), tokens_of(size)

    class OfStates(code.FromHiddenStates):
        config = LlamaConfig()

        def __init__(self, states: Tensor, weight: Tensor) -> None:
            self.base_model = lambda _: SimpleNamespace(last_hidden_state=states)
            self.get_output_embeddings = lambda: SimpleNamespace(weight=weight, bias=None)

    def exact(h: Tensor, w: Tensor) -> Tensor:
        return F.cross_entropy((h @ w.T)[:, :-1].flatten(0, 1), tokens[:, 1:].flatten())

    calls = {
        "`ForCausalLMLoss`": lambda h, w: ForCausalLMLoss(h @ w.T, tokens, size.classes),
        "`causal_lm_loss`": lambda h, w: code.causal_lm_loss(h @ w.T, tokens),
        "`FromHiddenStates`": lambda h, w: OfStates(h, w).forward(labels=tokens).loss,
    }
    return [Table(model_of(size, dtype), calls, exact)]


def divergence(student: Tensor, teacher: Tensor, beta: float) -> Tensor:
    log_s, log_t = student.log_softmax(-1), teacher.log_softmax(-1)
    log_m = (beta * log_t.exp() + (1 - beta) * log_s.exp()).log()
    of_teacher, of_student = (
        F.kl_div(log_m, x, reduction="none", log_target=True).sum(-1) for x in (log_t, log_s)
    )
    return beta * of_teacher + (1 - beta) * of_student


def trl(size: Size, dtype: torch.dtype) -> list[Table]:
    import trl.trainer.distillation_trainer as distillation
    import trl.trainer.utils as utils
    from trl.experimental.gkd import GKDTrainer

    code, tokens = code_of("trl", trainer=None), tokens_of(size)
    # Those that count: the second half, as of a prompt and an answer.
    labels = torch.where(torch.arange(size.length) >= size.length // 2, tokens, IGNORED)
    logits = [(h @ w.T).detach() for h, w in (model_of(size, dtype, s) for s in (0, 2))]

    def read(function: Callable[..., Any]) -> Callable[[Tensor], Tensor]:
        return lambda x: torch.stack(function(x, tokens))

    name = "`selective_log_softmax_and_entropy`"
    both = "selective_log_softmax_and_entropy"
    tables = [
        Table(
            logits[:1],
            {name: read(getattr(utils, both)), "`log_probs`": read(getattr(code, both))},
            lambda x: read_in_torch(x, tokens),
        )
    ]

    class Model(nn.Module):
        config = SimpleNamespace(get_text_config=lambda: SimpleNamespace(model_type=""))

        def forward(self) -> None: ...

    def fused(add: Callable[..., None]) -> Callable[[Tensor, Tensor], Tensor]:
        model = Model()
        add(model, outputs=("log_probs", "entropy"))

        def of(h: Tensor, w: Tensor) -> Tensor:
            model.base_model = lambda **_: SimpleNamespace(last_hidden_state=h)
            model.get_output_embeddings = lambda: SimpleNamespace(weight=w, bias=None)
            output = model.forward(labels=labels, fused_lm_head=True)
            return torch.stack((output.log_probs, output.entropy))

        return of

    tables.append(
        Table(
            model_of(size, dtype),
            {
                "`add_fused_lm_head`": fused(utils.add_fused_lm_head),
                "`linear_log_probs`": fused(code.add_fused_lm_head),
            },
            lambda h, w: read_in_torch((h @ w.T)[:, :-1], labels[:, 1:]),
        )
    )

    def jsd(function: Callable[..., Tensor]) -> Callable[[Tensor], Tensor]:
        return lambda x: function(x, logits[1], labels, beta=0.3)

    counts = labels != IGNORED
    tables.append(
        Table(
            logits[:1],
            {
                "`generalized_jsd_loss`": jsd(GKDTrainer.generalized_jsd_loss),
                "`distillation_loss`": jsd(code.generalized_jsd_loss),
            },
            lambda x: divergence(x, logits[1].double(), 0.3)[counts].mean(),
        )
    )
    states, weight = model_of(size, dtype, 2)

    def chunked(function: Callable[..., Any]) -> Callable[[Tensor, Tensor], Tensor]:
        return lambda h, w: function(h, states, w, weight, counts, 0.3)[0]

    of_teacher = states.double() @ weight.double().T
    tables.append(
        Table(
            model_of(size, dtype),
            {
                "`_chunked_divergence_loss`": chunked(distillation._chunked_divergence_loss),
                "`linear_js_div`": chunked(code.chunked_divergence_loss),
            },
            lambda h, w: divergence(h @ w.T, of_teacher, 0.3)[counts].mean(),
        )
    )
    return tables


TABLES = {
    "transformers": transformers,
    "trl": trl,
    "lightning": lightning,
    "policy_gradient": policy_gradient,
}


SIZES = {"trl": Size(n=1)}  # of many functions, some slow


def error_of(found: Tensor, exact: Tensor) -> float:
    return ((found.double() - exact).abs().max() / exact.abs().max()).item()


def figures(tables: Table, seconds: float) -> dict[str, list[str]]:
    """Of each contender: milliseconds, MiB and error."""
    steps = {
        name: measure.step(call, tables.inputs, (), True) for name, call in tables.calls.items()
    }
    clock = Processor()
    records = {r["contender"]: r for r in measure.times(steps, seconds, clock)}
    with torch.no_grad():
        exact = tables.exact(*(x.double() for x in tables.inputs))
        errors = {name: error_of(f(*tables.inputs), exact) for name, f in tables.calls.items()}
    return {
        name: [
            f"{1e3 * records[name]['least']:.0f}",
            f"{clock.peak(steps[name]) / 2**20:.0f}",
            f"{errors[name]:.0e}".replace("e-0", "e-"),
        ]
        for name in steps
    }


HEAD = ["", "float32: ms", "MiB", "error", "bfloat16: ms", "MiB", "error"]


def processor() -> str:
    return facts("/proc/cpuinfo").get("model name", "an unknown processor")


def of_page(name: str, size: Size, seconds: float) -> str:
    torch.set_num_threads(1)
    rows: dict[str, list[str]] = {}
    for dtype in DTYPES:
        for tables in TABLES[name](size, dtype):
            for contender, numbers in figures(tables, seconds).items():
                rows.setdefault(contender, []).extend(numbers)
    return f"{size}, one thread of {processor()}.\n\n" + table(
        HEAD, [[contender, *numbers] for contender, numbers in rows.items()], words=1
    )


# Two ranks, each with half of the classes.


class Sent(torch.utils._python_dispatch.TorchDispatchMode):
    """How many numbers this rank hands to collectives."""

    numbers = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        from torch.distributed.tensor import DTensor

        if DTensor in types:
            return NotImplemented
        collective = func.namespace in ("_c10d_functional", "c10d")
        if collective and not func._schema.name.endswith(("wait_tensor", "_wrap_tensor_autograd")):
            first = args[0][0] if isinstance(args[0], list) else args[0]
            self.numbers += first.numel()
        return func(*args, **(kwargs or {}))


def on_rank(rank: int, folder: str, size: Size, calls: int) -> None:
    os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
    torch.set_num_threads(1)
    dist.init_process_group(
        "gloo", init_method=f"file://{folder}/store", rank=rank, world_size=RANKS
    )
    from torch.distributed.tensor import DTensor, Shard, init_device_mesh
    from torchtitan.components.loss import compute_logprobs

    mesh = init_device_mesh("cpu", (RANKS,), mesh_dim_names=("tp",))
    code, tokens = code_of("sharded_log_probs"), tokens_of(size)
    shape = (size.n, size.length, size.classes // RANKS)
    clock, lines = Processor(), {}
    for dtype in DTYPES:
        local = random(shape, dtype, rank, 3).requires_grad_()

        def of_dtensor(function: Callable[..., Any], local: Tensor = local) -> Tensor:
            logits = DTensor.from_local(local, mesh, [Shard(2)])
            return torch.stack(function(logits, tokens, return_entropy=True))

        def of_local(local: Tensor = local) -> Tensor:
            log_prob, entropy = code.local_logprobs(local.flatten(0, 1), tokens.flatten())
            return torch.stack((log_prob, entropy.detach())).view(2, size.n, size.length)

        contenders = {
            "torchtitan's `compute_logprobs`": lambda f=of_dtensor: f(compute_logprobs),
            "`compute_logprobs` of this page": lambda f=of_dtensor: f(code.compute_logprobs),
            "`local_logprobs`": of_local,
        }
        whole = [random(shape, dtype, r, 3) for r in range(RANKS)]
        exact = read_in_torch(torch.cat(whole, -1).double(), tokens)
        for name, forward in contenders.items():

            def both(forward: Callable[[], Tensor] = forward, local: Tensor = local) -> None:
                torch.autograd.grad(forward()[0].sum(), local)

            both()
            with Sent() as sent:
                both()
            seconds = []
            for _ in range(calls):
                dist.barrier()
                seconds.append(clock.seconds(both, 1))
            slower = torch.tensor(seconds)
            dist.all_reduce(slower, dist.ReduceOp.MAX)
            peak = torch.tensor(clock.peak(both))
            dist.all_reduce(peak, dist.ReduceOp.MAX)
            line = lines.setdefault(name, [f"{sent.numbers / tokens.numel():,.0f}"])
            line += [f"{1e3 * slower.min():.0f}", f"{peak / 2**20:.0f}"]
            line.append(f"{error_of(forward().detach(), exact):.0e}".replace("e-0", "e-"))
    if rank == 0:
        rows = [[name, *numbers] for name, numbers in lines.items()]
        head = ["", "numbers sent per row", *HEAD[1:]]
        text = f"{size}, one thread of {processor()} for each rank.\n\n"
        Path(folder, "table").write_text(
            text.replace(f", {size.features} features", "") + table(head, rows, words=1)
        )
    dist.destroy_process_group()


def sharded(size: Size, calls: int = 3) -> str:
    import torchtitan  # noqa: F401  the ranks need it

    with TemporaryDirectory() as folder:
        torch.multiprocessing.spawn(on_rank, (folder, size, calls), nprocs=RANKS)
        return Path(folder, "table").read_text()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--write", action="store_true", help="change the pages")
    parser.add_argument("--only", choices=[*TABLES, "sharded"], help="the tables of one page")
    options = parser.parse_args()
    for name in tqdm([options.only] if options.only else [*TABLES, "sharded"], leave=False):
        try:
            text = (
                sharded(Size())
                if name == "sharded"
                else of_page(name, SIZES.get(name, Size()), SECONDS)
            )
        except ImportError as error:
            print(f"{name}: {error}", file=sys.stderr)
            continue
        if options.write:
            page = PAGES / ("sharded_log_probs.md" if name == "sharded" else f"{name}.md")
            page.write_text(written(page.read_text(), name, text))
        print(f"{name}: {text}")


if __name__ == "__main__":
    main()
