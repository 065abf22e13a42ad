"""How many machine instructions the reductions and gradients spend on each number they read.

Counted in the code of a card, as cuobjdump shows it: the innermost loops that load packs of 16
bytes, and how many numbers one turn of them loads. What is not in such a loop (the ends of a row,
the sums across threads, the slow path of a division) is not counted; what a turn only does in some
cases is.
"""

import re
import shutil
import subprocess
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import ptx

# The enumerators of core/rows.h, as they stand in the names of kernels.
FLOAT, BFLOAT16 = 0, 2
LOGITS, LABELS = 2, 3
NUMBERS_OF_A_PACK = {FLOAT: 4, BFLOAT16: 8}


@dataclass(frozen=True)
class Kernel:
    name: str
    readings: int  # loops over the row
    budget: int  # instructions for each number

    def of(self, dtype: int) -> str:
        return self.name.format(type=f"float, {dtype}")


KERNELS = {
    "cross_entropy_of_labels": Kernel(
        f"forward_rows<CrossEntropy, {{type}}, {LABELS}, {LOGITS}>", 1, 9
    ),
    "its gradient": Kernel(
        f"backward_rows<CrossEntropy, {{type}}, {LABELS}, {LOGITS}, true>", 1, 17
    ),
    "entropy": Kernel(f"forward_rows<Entropy, {{type}}, {LOGITS}, {LOGITS}>", 1, 14),
    "cross_entropy": Kernel(f"forward_rows<CrossEntropy, {{type}}, {LOGITS}, {LOGITS}>", 1, 13),
    "kl_divergence": Kernel(f"forward_rows<KlDivergence, {{type}}, {LOGITS}, {LOGITS}>", 1, 13),
    # Three branches, of which a call takes one: equal weights, other weights, and a weight of 0.
    "js_divergence": Kernel(f"forward_rows<JsDivergence, {{type}}, {LOGITS}, {LOGITS}>", 2, 65),
}


def disassembler() -> str | None:
    """The toolkit's cuobjdump, or that of Triton, which the CUDA build of torch brings."""
    try:
        import triton
    except ImportError:
        return shutil.which("cuobjdump")
    beside_triton = Path(triton.__file__).parent / "backends" / "nvidia" / "bin" / "cuobjdump"
    return shutil.which("cuobjdump") or (str(beside_triton) if beside_triton.is_file() else None)


@cache
def code_of_kernels(folder: Path, architecture: str) -> dict[str, list[tuple[int, str]]]:
    """The address and text of every instruction, by kernel."""
    command = disassembler()
    assert command
    code: dict[str, list[tuple[int, str]]] = {}
    for path in sorted(folder.glob(f"{architecture}_*.cubin")):
        said = subprocess.run(
            [command, "-sass", path], env=ptx.PLAIN, capture_output=True, text=True, check=True
        ).stdout
        functions = re.split(r"\n\s*Function : ", said)[1:]
        names = ptx.plain_names(function.partition("\n")[0].strip() for function in functions)
        for name, function in zip(names, functions, strict=True):
            lines = re.findall(r"/\*([0-9a-f]{4,})\*/\s+([^;]+);", function)
            code[name] = [(int(address, 16), text) for address, text in lines]
    return code


def loops(code: list[tuple[int, str]]) -> list[list[str]]:
    """The innermost ones: from the target of a jump back to that jump."""
    ranges = []
    for address, text in code:
        target = re.search(r"\bBRA\b.*?0x([0-9a-f]+)", text)
        if target and int(target[1], 16) < address:
            ranges.append((int(target[1], 16), address))
    return [
        [text for address, text in code if first <= address <= last]
        for first, last in ranges
        if not any(first <= a and b <= last for a, b in ranges if (a, b) != (first, last))
    ]


def loads(loop: list[str]) -> int:
    return sum(bool(re.search(r"\bLDG\.E\S*\.128", text)) for text in loop)


def instructions_of_a_number(
    folder: Path, architecture: str, kernel: Kernel, dtype: int
) -> tuple[int, float]:
    """The number of readings and the instructions of all of them together.

    A reading has a loop for several packs at once and may have another for what is left.
    """
    found = loops(code_of_kernels(folder, architecture)[kernel.of(dtype)])
    most = max(map(loads, found))
    main = [loop for loop in found if loads(loop) == most]
    return len(main), sum(map(len, main)) / (most * NUMBERS_OF_A_PACK[dtype])


def doubles_in_loops(folder: Path, architecture: str) -> dict[str, int]:
    """By kernel that computes in float: the double additions, products and comparisons in its loops
    over a row, of which each class would have its own.
    """
    in_float = re.compile(r"(?:forward|backward)_rows<\w+, float, |refine_rows<\w+, NearSums>")

    def is_over_classes(loop: list[str]) -> bool:
        """And not over rows, which may be innermost where another loop lies out of line."""
        loads, shuffles = (any(word in text for text in loop) for word in ("LDG", "SHFL"))
        return loads and not shuffles

    return {
        name: sum(
            bool(re.search(r"\bD(?:ADD|MUL|FMA|SETP|MNMX)\b", text))
            for loop in filter(is_over_classes, loops(code))
            for text in loop
        )
        for name, code in code_of_kernels(folder, architecture).items()
        if in_float.match(name)
    }
