"""Where the compiled extension is, and whether it fits the torch that is there.

Knows files; must not know ops.
"""

import mmap
import re
import sys
from importlib.machinery import PathFinder
from pathlib import Path

import torch

_NAME = "torch_infotheory._C"
_RECORD = re.compile(rb"torch_infotheory: compiled for torch (\d+)\.(\d+)")  # in csrc/module.cpp


def find(package: list[str]) -> None:
    """Make the extension importable from the package's search path, or say what to do.

    An editable install has it in a folder of its own, where pip removes it, and not in the source
    tree.
    """
    folders = [Path(entry, "torch_infotheory") for entry in sys.path]
    apart = [str(folder) for folder in folders if not (folder / "__init__.py").exists()]
    spec = PathFinder.find_spec(_NAME, [*apart, *package])
    if spec is None or spec.origin is None:
        python = f"{sys.version_info.major}.{sys.version_info.minor}"
        raise ImportError(
            f"torch_infotheory: {package[0]} has no compiled extension for Python {python}; run "
            "`pip install --no-build-isolation .` in the source tree, or `make build` to work in it"
        )
    _check(spec.origin)
    folder = str(Path(spec.origin).parent)
    if folder not in package:
        package.insert(0, folder)


def _check(extension: str) -> None:
    """Compare minor releases before loading: with another one, loading may end the process."""
    with (
        open(extension, "rb") as file,
        mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content,
    ):
        found = _RECORD.search(content)
        built = b".".join(found.groups()).decode() if found else "another release"
    installed = ".".join(torch.__version__.split(".")[:2])
    if built != installed:
        raise ImportError(
            f"torch_infotheory: the extension was compiled for torch {built}, but torch "
            f"{torch.__version__} is installed; run `pip install --no-build-isolation .` in the "
            "source tree again"
        )
