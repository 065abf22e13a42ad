"""What the package was built from, and what of it runs here."""

from pathlib import Path

import torch

from torch_infotheory import _C

# What CMAKE_PREFIX_PATH of a C++ project has to hold, beside torch.utils.cmake_prefix_path.
cmake_prefix_path = str(Path(_C.__file__).parent / "share" / "cmake")


def show_config() -> str:
    """Return the versions, the compiler and the kernels of this build, a line for each.

    ``python -m torch_infotheory`` prints it. A report of a defect wants it.

    Example:
        >>> import torch_infotheory
        >>> print(torch_infotheory.show_config().splitlines()[0])
        torch_infotheory 0.1.0
    """
    from torch_infotheory import __version__

    build = _C._build()
    cuda = build["cuda"] or f"none, because {build['why_not_cuda']}"
    return "\n".join(
        (
            f"torch_infotheory {__version__}",
            f"torch {torch.__version__}, compiled for {build['torch']}",
            f"compiler: {build['compiler']}",
            f"CPU kernels: {build['instruction_sets']}; {build['instruction_set']} runs here",
            f"CUDA kernels: {cuda}",
        )
    )
