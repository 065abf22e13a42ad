"""Compiles CUDA sources with the C++ compiler: kernels then run on fibers, see engine.h.

    python tests/cuda_emulation/emulate.py OUT.so [address|thread]

makes of csrc/cuda a library that torch loads. Sources are compiled unchanged; the headers of this
folder come first in the search for includes and stand in for those of the CUDA toolkit. The second
argument names a sanitizer: AddressSanitizer with UndefinedBehaviorSanitizer, or ThreadSanitizer.
"""

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

HERE = Path(__file__).parent
CSRC = HERE.parents[1] / "csrc"
COMPILER = os.environ.get("CXX", "c++")
SANITIZERS = {
    "": [],
    "address": ["-fsanitize=address,undefined", "-fno-sanitize-recover=undefined"],
    "thread": ["-fsanitize=thread"],
}


def build(
    out: Path, sources: list[Path], sanitizer: str, compiling: list[str], linking: list[str]
) -> None:
    options = ["-std=c++20", "-fPIC", "-O1", "-g1", "-Wno-psabi", *compiling]
    options += [f"-I{path}" for path in (HERE, CSRC, CSRC / "include")]
    instrument = SANITIZERS[sanitizer]
    engine = [f"-DEMULATION_{sanitizer.upper()}"] if sanitizer else []
    folder = out.with_suffix(".objects")
    folder.mkdir(parents=True, exist_ok=True)

    def compile_one(source: Path) -> str:
        target = str(folder / f"{source.name}.o")
        special = engine if source.name == "engine.cpp" else instrument
        command = [COMPILER, *options, *special, "-x", "c++", "-c", str(source), "-o", target]
        subprocess.run(command, check=True)
        return target

    with ThreadPoolExecutor(int(os.environ.get("MAX_JOBS", "2"))) as pool:
        objects = list(pool.map(compile_one, [HERE / "engine.cpp", *sources]))
    subprocess.run([COMPILER, *instrument, *objects, *linking, "-o", str(out)], check=True)


def build_library(out: Path, sanitizer: str) -> None:
    from torch.utils import cpp_extension

    build(
        out,
        [HERE / "switch.cpp", *sorted((CSRC / "cuda").glob("*.cu"))],
        sanitizer,
        ["-fvisibility=hidden", *(f"-I{path}" for path in cpp_extension.include_paths())],
        [
            "-shared",
            *(f"-L{path}" for path in cpp_extension.library_paths()),
            *("-ltorch", "-ltorch_cpu", "-lc10"),
        ],
    )


if __name__ == "__main__":
    arguments = [*sys.argv[1:], ""]
    print("==> compiling the CUDA kernels for the CPU", arguments[1], flush=True)
    build_library(Path(arguments[0]).absolute(), arguments[1])
