"""Holds the layers apart: which folder includes which, and what a layer must not know.

The folders of csrc/ are the layers. The lower half (core/ and the kernels) does not know that
PyTorch exists, so that it builds and tests in seconds. The upper half does not know any formula, so
that a new one needs no wiring. Comments and docstrings may say anything.
"""

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path

CSRC = Path("csrc")

# What each folder may include besides itself.
MAY_INCLUDE = {
    "core": set(),
    "cpu": {"core"},
    "cuda": {"core"},
    "dispatch": {"core", "include"},
    "include": set(),
    "": {"include"},  # module.cpp
}
# The files of dispatch/ that compute on tensors.
COMPOSED = [
    "tensor_arithmetic.h",
    "distributions.h",
    "reference.h",
    "maps.h",
    "maps.cpp",
    "derived.cpp",
    "log_probs.cpp",
    "log_probs_rows.cpp",
    "distillation.cpp",
    "multivariate.h",
]
# Where kernels meet tensors: the dispatch keys of the devices implement the ops of dispatch/.
KEYS_OF_CPU = ["cpu.cpp", "histogram.cpp", "products.cpp"]
KEYS_OF_CUDA = ["cuda.cu", "histogram.cu"]
KEYS = {CSRC / "cpu" / x for x in KEYS_OF_CPU} | {CSRC / "cuda" / x for x in KEYS_OF_CUDA}

FORMULAS = "|".join(
    name
    for names in re.findall(r"Formulas =\s+List<([^>]*)>", (CSRC / "core/formulas.h").read_text())
    for name in re.findall(r"\w+", names)
)
TORCH = r"\b(at|c10|torch|caffe2)::|[<\"](torch|ATen|c10)/|\b(TORCH|AT|C10)_[A-Z]"
LOGARITHMS = r"(?<!std::)\b(exp|expm1|log|log2|log1p|softmax|log_softmax|logsumexp)\("
MEMORY = r"\b(float|softmax|Kind|Operand|Rows)\b"
PYTHON = r"\bPy[A-Z_]\w*|Python\.h|pybind|torch/(extension|python)\.h"

STATED = ["formulas.h", "divergences.h", "orders.h"]  # where formulas are
# Where in csrc/, what must not stand there, what that would be knowing, and the files that may.
MUST_NOT_KNOW = [
    ("core/*", TORCH, "PyTorch", ()),
    ("core/*", r"\bcuda[A-Z]\w*|\b(thread|block)Idx\b", "a device", ()),
    ("core/*", rf"\b({FORMULAS})\b", "a formula by name", STATED),
    *((f"core/{name}", MEMORY, "memory or dtypes", ()) for name in ["formula.h", *STATED]),
    ("cpu/**/*", TORCH, "PyTorch", [*KEYS_OF_CPU, "threads.h", "huge_pages.h"]),
    ("cpu/**/*", rf"\b({FORMULAS})\b", "a formula by name", ()),
    ("cuda/*", TORCH, "PyTorch", [*KEYS_OF_CUDA, "stream.h"]),
    ("cuda/*", rf"\b({FORMULAS})\b", "a formula by name", ()),
    ("dispatch/*", LOGARITHMS, "arithmetic", COMPOSED),
    ("*/**/*", PYTHON, "Python", ()),
]

# The Python functions use these names of torch and compute nothing.
PYTHON_FILES = [
    Path("src/torch_infotheory/measures.py"),
    Path("src/torch_infotheory/nn/functional.py"),
]
TORCH_NAMES = {"Tensor", "dtype", "ops", "nn", "compiler"}
MATHEMATICS = {"exp", "log", "log2", "softmax", "log_softmax", "logsumexp", "sum", "mean"}


def folder(path: Path) -> str:
    parts = path.relative_to(CSRC).parts
    return parts[0] if len(parts) > 1 else ""


def wrong_includes(path: Path) -> Iterator[str]:
    allowed = {folder(path)} | MAY_INCLUDE[folder(path)] | ({"dispatch"} if path in KEYS else set())
    for number, line in enumerate(path.read_text().splitlines(), 1):
        found = re.match(r'\s*#\s*include\s+"([^"]+)"', line)
        if not found:
            continue
        roots = (CSRC, CSRC / "include", path.parent)
        targets = [root / found[1] for root in roots if (root / found[1]).is_file()]
        if not targets:
            yield f"{path}:{number}: {found[0]}: no such file in csrc/; foreign headers stand in <>"
        elif folder(targets[0]) not in allowed:
            yield f"{path}:{number}: {found[0]}: this folder may include {sorted(allowed)} only"


def without_comments(text: str) -> str:
    """C++ text with its comments blanked and its line numbers kept."""
    comment = re.compile(r"//[^\n]*|/\*.*?\*/", re.DOTALL)
    return comment.sub(lambda found: re.sub(r"[^\n]", " ", found[0]), text)


def wrong_words() -> Iterator[str]:
    for where, words, knowledge, exceptions in MUST_NOT_KNOW:
        for path in sorted(path for path in CSRC.glob(where) if path.is_file()):
            if path.name in exceptions:
                continue
            for number, line in enumerate(without_comments(path.read_text()).splitlines(), 1):
                if found := re.search(words, line):
                    yield f"{path}:{number}: {found[0]}: this file must not know {knowledge}"


def wrong_python(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        match node:
            case ast.Attribute(value=ast.Name(id="torch"), attr=name) if name not in TORCH_NAMES:
                yield f"{path}:{node.lineno}: torch.{name}: dtypes and devices are not for here"
            case ast.Attribute(attr=name) if name in MATHEMATICS:
                yield f"{path}:{node.lineno}: {name}: mathematics is not for here"


def main() -> int:
    sources = sorted(path for path in CSRC.rglob("*.*") if path.suffix != ".txt")
    complaints = [line for path in sources for line in wrong_includes(path)]
    complaints += wrong_words()
    complaints += [line for path in PYTHON_FILES for line in wrong_python(path)]
    print("\n".join(complaints) or f"Layers: {len(sources)} files of csrc/ know what they may.")
    return bool(complaints)


if __name__ == "__main__":
    sys.exit(main())
