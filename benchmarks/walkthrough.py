"""Follows "Add a quantity" of CONTRIBUTING.md in a copy of the tree, for bench.py to measure there.

    python benchmarks/walkthrough.py    edit a copy, build it and run the tests of the quantity

The edits are the code blocks of that page. Knows the places where the page says they belong.
"""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from torch import Tensor

ROOT = Path(__file__).resolve().parents[1]
TREE = ROOT / "build" / "walkthrough"
QUANTITY = "beta_divergence"
BETA = 2
COPIED = ("csrc", "src", "tests", "benchmarks", "setup.py", "pyproject.toml")
COPIED += ("README.md", "CONTRIBUTING.md")

BLOCK = re.compile(r"^```\w+\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def eager(p: Tensor, q: Tensor, dim: int = -1) -> Tensor:
    """The quantity in PyTorch, from logits."""
    p, q = p.softmax(dim), q.softmax(dim)
    terms = p ** (1 + BETA) / BETA - (1 + 1 / BETA) * p * q**BETA + q ** (1 + BETA)
    return terms.sum(dim)


def copy(tree: Path) -> None:
    """Files that have not changed keep their times, so that building again is incremental."""
    for name in COPIED:
        source, target = ROOT / name, tree / name
        paths = source.rglob("*") if source.is_dir() else [source]
        target.parent.mkdir(parents=True, exist_ok=True)
        for path in paths:
            if path.is_file() and path.suffix not in (".so", ".pyc"):
                to = target / path.relative_to(source) if source.is_dir() else target
                to.parent.mkdir(parents=True, exist_ok=True)
                if not to.exists() or to.read_bytes() != path.read_bytes():
                    shutil.copy2(path, to)


def insert(path: Path, text: str, before: str = "", after: str = "") -> None:
    """Put `text` beside the one place of the file where the other text stands."""
    content = path.read_text()
    if text in content:
        return
    place = before or after
    if content.count(place) != 1:
        raise SystemExit(f"{path.name}: expected one {place!r}, found {content.count(place)}")
    path.write_text(content.replace(place, text + place if before else place + text))


def edit(tree: Path) -> None:
    """The edits that have a block of code on the page."""
    section = (tree / "CONTRIBUTING.md").read_text().split("## Add a quantity")[1]
    blocks = BLOCK.findall(section)
    struct, op, schema, impl, name, work, function, reference, row, typed, binding = blocks[:11]

    core = tree / "csrc" / "core"
    insert(core / "orders.h", f"{struct}\n", before="// Amari's alpha divergence")
    formula = re.search(r"struct (\w+)", struct)
    assert formula is not None
    insert(core / "formulas.h", f"{formula[1]}, ", before="RenyiDivergence>;")

    path = tree / "csrc" / "dispatch" / "measures.cpp"
    insert(path, f"{op}\n", before="TORCH_LIBRARY_FRAGMENT(")
    insert(path, schema, before='  def("tsallis_entropy(')
    insert(path, impl, before="  m.impl(TsallisEntropy::name")

    path = tree / "src" / "torch_infotheory" / "divergences.py"
    insert(path, name.partition("#")[0].rstrip() + "\n", after='    "alpha_divergence",\n')
    insert(path, work, before="    Bhattacharyya (1943). ")
    insert(path, f"{function}\n\n", before="def squared_hellinger_distance(")

    insert(tree / "tests" / "reference.py", f"{reference}\n\n", before="# Measures of an order")
    insert(tree / "tests" / "ops.py", row, after='    measure("perplexity", ONE),\n')
    header = tree / "csrc" / "include" / "torch_infotheory" / "measures.h"
    insert(header, f"{typed}\n", before="// The distributions along `mixture_dim`")
    insert(tree / "csrc" / "module.cpp", binding, after='    bound<&perplexity>("perplexity"),\n')


def build() -> Path:
    """The copy with the quantity, built and tested."""
    copy(TREE)
    edit(TREE)
    environment = os.environ | {"PYTHONPATH": str(TREE / "src")}

    def run(*command: str) -> None:
        subprocess.run([sys.executable, *command], cwd=TREE, env=environment, check=True)

    run("setup.py", "--quiet", "build_ext", "--inplace")
    run("-m", "pytest", "-q", "-k", QUANTITY, "tests", "src")
    return TREE


if __name__ == "__main__":
    print(build())
