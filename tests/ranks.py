"""Processes that run a test's checks together, as the ranks of a gloo group.

They are started once and wait for checks, because importing torch takes each of them seconds. A
check that fails on some ranks only leaves the others in a collective call; then all are ended, and
the next check gets new ones.
"""

import os
import time
import traceback
from collections.abc import Callable
from datetime import timedelta
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import Tensor
from torch.torch_version import TorchVersion
from torch.utils._python_dispatch import TorchDispatchMode

# For tests that flatten DTensors with torch's own function.
since_2_12 = pytest.mark.skipif(
    TorchVersion(torch.__version__) < (2, 12),
    reason="torch 2.11 cannot flatten dimensions of which the second is sharded",
)

START = 180  # seconds until all ranks have come up, on a machine with other work to do
LIMIT = 240  # seconds for one check, likewise
GRACE = 5  # seconds for the other ranks once one has failed


class Traffic(TorchDispatchMode):
    """Records what this rank sends, the largest tensor that it makes, and its matrix products."""

    LOCAL = ("wait_tensor", "_wrap_tensor_autograd")

    def __init__(self) -> None:
        super().__init__()
        self.sent: list[tuple[str, int]] = []  # the collective, and how many numbers
        self.made = 0
        self.products = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        from torch.distributed.tensor import DTensor

        if DTensor in types:
            return NotImplemented  # its parts come here later
        name = func.overloadpacket.__name__
        if func.namespace in ("_c10d_functional", "c10d") and name not in self.LOCAL:
            self.sent.append((name, args[0].numel()))
        self.products += name in ("mm", "addmm")
        out = func(*args, **(kwargs or {}))
        memory = {x.untyped_storage().data_ptr() for x in args if self.is_real(x)}
        for x in out if isinstance(out, tuple) else (out,):
            if self.is_real(x) and x.untyped_storage().data_ptr() not in memory:
                self.made = max(self.made, x.numel())
        return out

    @staticmethod
    def is_real(x: Any) -> bool:
        return type(x) is Tensor and not x.is_meta

    @property
    def largest(self) -> int:
        return max((numbers for _, numbers in self.sent), default=0)

    @property
    def calls(self) -> set[str]:
        return {name for name, _ in self.sent}


def serve(rank: int, size: int, store: str, pipe: Connection) -> None:
    """The life of one rank."""
    torch.set_num_threads(1)
    os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")  # the name of the host may not resolve
    dist.init_process_group(
        "gloo",
        init_method=f"file://{store}",
        rank=rank,
        world_size=size,
        timeout=timedelta(seconds=LIMIT),
    )
    pipe.send(None)
    while (message := pipe.recv()) is not None:
        check, args = message
        try:
            check(*args)
            pipe.send(None)
        except BaseException:
            pipe.send(traceback.format_exc())
    dist.destroy_process_group()


class Ranks:
    """`size` ranks; `folder` is for the file by which they find each other."""

    def __init__(self, size: int, folder: Path) -> None:
        self.size, self.folder = size, folder
        self.started = 0
        self.processes: list[Any] = []
        self.pipes: list[Connection] = []

    def start(self) -> None:
        self.started += 1
        store = str(self.folder / f"store-{self.started}")
        context = mp.get_context("spawn")
        for rank in range(self.size):
            here, there = context.Pipe()
            process = context.Process(
                target=serve, args=(rank, self.size, store, there), daemon=True
            )
            process.start()
            there.close()  # so that the end of the process is the end of the pipe
            self.processes.append(process)
            self.pipes.append(here)
        if answers := self.answers(START):
            raise RuntimeError(f"the ranks did not start:\n{answers}")

    def run(self, check: Callable[..., None], *args: Any) -> None:
        """Call `check` on all ranks; raise what the first rank that failed has to say."""
        if not self.processes:
            self.start()
        for pipe in self.pipes:
            pipe.send((check, args))
        if text := self.answers(LIMIT):
            raise AssertionError(text)

    def answers(self, seconds: float) -> str:
        """What went wrong on the first rank where something did. Ends ranks that do not answer."""
        failure, silent = "", False
        end = time.monotonic() + seconds
        for rank, pipe in enumerate(self.pipes):
            try:
                left = GRACE if failure else end - time.monotonic()
                if not pipe.poll(max(left, 0)):
                    answer, silent = f"no answer in {seconds} s", True
                else:
                    answer = pipe.recv()
            except EOFError:
                answer, silent = "the process has ended", True
            if answer and not failure:
                failure = f"rank {rank} of {self.size}: {answer}"
                end = time.monotonic() + GRACE
        if silent:
            self.end()
        return failure

    def stop(self) -> None:
        """Let the ranks finish; whoever does not is ended."""
        for pipe in self.pipes:
            try:
                pipe.send(None)
            except OSError:
                pass
        for process in self.processes:
            process.join(GRACE)
        self.end()

    def end(self) -> None:
        for process in self.processes:
            process.kill()
            process.join()
        for pipe in self.pipes:
            pipe.close()
        self.processes, self.pipes = [], []
