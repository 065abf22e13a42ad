"""Writes the figures of docs/cuda.md: what the simulator counts, and what the assemblers report.

Run by tests/cuda_sim/run_simulator.py --page, in the process that has the simulator.
"""

import os
import re
from pathlib import Path

import instructions
import registers
import test_traffic as traffic
import torch
from ops import moved

from torch_infotheory.nn import functional

PAGE = Path(__file__).parents[2] / "docs" / "cuda.md"
FOLDER = Path(os.environ["FAKECUDA_PTX"].split(":")[0]).parent
ARCHITECTURES = ("sm_80", "sm_90", "sm_100")
SHAPES = [(160, 1000), (130, 32000), (2, 131072)]  # a warp for a row, a block, several blocks
NAMES = {torch.float32: "float32", torch.bfloat16: "bfloat16"}
# Read by the kernel that learns types, kinds and options when it runs.
SMOOTHED = {
    "cross_entropy_of_smoothed_labels": (
        1,
        lambda x, y, t: functional.cross_entropy(x, t, reduction="none", label_smoothing=0.1),
    )
}


def table(head: list[str], rows: list[list[object]]) -> str:
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines)


def row_of(what: str, launches: list, logits: int, floor: int) -> list[object]:
    read, written = (traffic.total(launches, f"global_bytes_{k}") for k in ("read", "written"))
    packs = traffic.total(launches, "global_loads_16b") * traffic.PACK or read
    sectors = traffic.total(launches, "sectors") / max(1, traffic.total(launches, "sectors_ideal"))
    shape = ", ".join(f"{launch.grid} x {launch.block}" for launch in launches)
    return [
        what,
        shape,
        f"{packs / floor:.3f}",
        f"{(read - packs) / floor:.3f}",
        f"{written / floor:.3f}",
        f"{sectors:.2f}",
        f"{traffic.total(launches, 'instructions') / logits:.1f}",
    ]


def traffic_table() -> str:
    rows = []
    for name, (operands, function) in (traffic.FORWARD | SMOOTHED).items():
        for count, classes in SHAPES:
            for dtype in traffic.TYPES:
                x = traffic.matrix(count, classes, dtype)
                y = traffic.matrix(count, classes, dtype, seed=1)
                labels = moved(torch.arange(count) % classes, "cuda")
                logits, size = operands * count * classes, count * classes * dtype.itemsize
                value, forward = traffic.measure(function, x, y, labels)
                g = moved(torch.ones(count, dtype=value.dtype), "cuda")
                _, backward = traffic.measure(traffic.grad_by_x, value, x, g)
                what = f"{name}, {NAMES[dtype]}, {count} x {classes}"
                rows.append(row_of(what, forward, logits, operands * size))
                rows.append(row_of("its gradient by the logits", backward, logits, operands * size))
    head = ["call", "grid x block", "rows read", "numbers", "written", "sectors", "instructions"]
    return table(head, rows)


def register_table() -> str:
    found: dict[str, dict[str, list[registers.Resources]]] = {}
    for architecture in ARCHITECTURES:
        for kernel in registers.of_kernels(FOLDER, architecture):
            name = kernel.kernel.partition("<")[0]
            found.setdefault(name, {}).setdefault(architecture, []).append(kernel)
    rows = []
    for name, by_card in sorted(found.items()):
        most = [max(k.registers for k in by_card[a]) for a in ARCHITECTURES]
        spilled = sum(k.spilled for kernels in by_card.values() for k in kernels)
        rows.append([f"`{name}`", len(by_card["sm_80"]), *most, spilled])
    return table(["kernel", "instances", *ARCHITECTURES, "bytes spilled"], rows)


def instruction_table() -> str:
    rows = []
    for name, kernel in instructions.KERNELS.items():
        for dtype, written in (
            (instructions.FLOAT, "float32"),
            (instructions.BFLOAT16, "bfloat16"),
        ):
            spent = [
                instructions.instructions_of_a_number(FOLDER, architecture, kernel, dtype)[1]
                for architecture in ARCHITECTURES
            ]
            figures = [f"{number:.1f}" for number in spent]
            rows.append([f"{name}, {written}", kernel.readings, *figures, kernel.budget])
    return table(["call", "readings", *ARCHITECTURES, "at most"], rows)


def fill(page: str, name: str, text: str) -> str:
    mark = rf"(<!-- {name}: written by tests/cuda_sim/figures.py -->\n).*?(\n<!-- end -->)"
    filled, count = re.subn(mark, lambda m: m[1] + text + m[2], page, flags=re.DOTALL)
    assert count == 1
    return filled


def main() -> None:
    torch.empty(1, device="cuda")
    traffic.simulator.set_option("coalescing", 1)
    page = fill(PAGE.read_text(), "traffic", traffic_table())
    page = fill(page, "instructions", instruction_table())
    PAGE.write_text(fill(page, "registers", register_table()))


if __name__ == "__main__":
    main()
