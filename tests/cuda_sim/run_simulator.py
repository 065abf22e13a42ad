"""Runs the CUDA half without a GPU: the built extension on a simulator of the code nvcc generates.

    make test-cuda-sim        # PTXSIM: the simulator's folder, by default ../shared/ptxsim
    make cuda-figures         # builds, and writes the figures of docs/cuda.md

1. builds the extension for the CUDA build of torch and keeps the PTX for three cards in it;
2. runs the table of tests with device="cuda": dispatcher, device guard, stream and launch are the
   real ones, memory and kernels are the simulator's, which checks bounds, races and barriers;
3. runs the tests of this folder: registers, instructions, traffic, large tensors, two devices,
   planted faults.
"""

import itertools
import os
import subprocess
import sys
from pathlib import Path

import cuda_build
import ptx

HERE = Path(__file__).resolve().parent
WORK = cuda_build.ROOT / "build" / "cuda_sim"
SIMULATOR = Path(os.environ.get("PTXSIM") or cuda_build.ROOT.parent / "shared" / "ptxsim")
ARCHITECTURES = ("sm_80", "sm_90", "sm_100")
TABLE = ["tests/test_values.py", "tests/test_gradients.py", "tests/test_cuda.py"]
HISTOGRAMS = ["tests/test_soft_histogram.py"]
AUTOCAST = ["tests/test_citizen.py", "tests/test_dtypes.py", "tests/test_dropin_grid.py"]
# They try the wiring of autograd by hundreds of calls; on the CPU, as the kernels do not matter.
NOT_IN_SIMULATOR = "not gradcheck and not gradgradcheck"


def skip(reason: str) -> None:
    print(f"make test-cuda-sim: SKIPPED, all of it: {reason}")
    sys.exit(0)


def build_simulator(cuda: Path) -> None:
    cuda_build.say("building the simulator")
    WORK.mkdir(parents=True, exist_ok=True)
    log = WORK / "simulator.log"
    command = ["make", "-C", SIMULATOR, f"-j{cuda_build.JOBS}", f"BUILD={WORK / 'ptxsim'}"]
    with log.open("w") as out:
        done = subprocess.run(
            [*map(str, command), f"CUDA_HOME={cuda}", "all", "fakecuda"], stdout=out, stderr=out
        )
    if done.returncode:
        sys.exit(f"make test-cuda-sim: the simulator does not build, see {log}")
    cuda_build.run(
        *("g++", "-std=c++17", "-O1", "-shared", "-fPIC", f"-I{SIMULATOR}/src"),
        *(HERE / "recorder.cpp", "-o", WORK / "librecorder.so", "-ldl"),
    )


def simulated(modules: list[Path]) -> dict[str, object]:
    """What makes the simulator the CUDA device of a process."""
    return {
        "LD_PRELOAD": f"{WORK / 'librecorder.so'} {WORK / 'ptxsim' / 'libfakecuda.so'}",
        "LD_LIBRARY_PATH": f"{WORK / 'ptxsim'}:{os.environ.get('LD_LIBRARY_PATH', '')}",
        "FAKECUDA_PTX": ":".join(map(str, modules)),
        "PYTORCH_NO_CUDA_MEMORY_CACHING": 1,
    }


def test(what: str, modules: list[Path], *arguments: object, **environment: object) -> None:
    cuda_build.say(f"testing {what}")
    cuda_build.test(WORK, "-p", "plugin", *arguments, **simulated(modules), **environment)


def main() -> None:
    if not (SIMULATOR / "Makefile").is_file():
        skip(f"the simulator's folder {SIMULATOR} is not there")
    cuda = cuda_build.toolkit()
    if not cuda:
        skip("there is no nvcc")
    cuda_build.build_environment()
    build_simulator(cuda)
    keep = [f"-gencode=arch=compute_{a[3:]},code=compute_{a[3:]}" for a in ARCHITECTURES[1:]]
    library = cuda_build.build_extension(
        cuda,
        WORK,
        TORCH_CUDA_ARCH_LIST="8.0+PTX",
        NVCC_APPEND_FLAGS=" ".join(["-lineinfo", "--no-compress", *keep]),
    )
    modules = ptx.extract(library, WORK)
    if set(modules) != set(ARCHITECTURES):
        sys.exit(f"make test-cuda-sim: the extension has PTX for {sorted(modules)}")
    cuda_build.say("assembling for " + ", ".join(ARCHITECTURES))
    ptx.assemble_all(itertools.chain(*modules.values()), int(cuda_build.JOBS))
    if "--page" in sys.argv:
        cuda_build.say("writing the figures of docs/cuda.md")
        return cuda_build.run_python(WORK, HERE / "figures.py", **simulated(modules["sm_80"]))
    workers = ("-n", cuda_build.JOBS)
    sm_80, sm_90 = modules["sm_80"], modules["sm_90"]
    test("the table on sm_80", sm_80, *TABLE, *workers, "-k", NOT_IN_SIMULATOR)
    test("soft histograms", sm_80, *HISTOGRAMS, *workers, "-k", "test_kernels or no_number")
    test("autocast", sm_80, *AUTOCAST, *workers, "-k", "autocast")
    test(
        "the table on sm_90, threads in random order, approximate instructions off by their error",
        *(sm_90, "tests/test_cuda.py", *workers),
        CUDA_SIM_OPTIONS="schedule=random approx_error=1",
    )
    test(
        "registers, instructions, traffic, large tensors, two devices, planted faults",
        *(sm_80, HERE, *workers),
        FAKECUDA_DEVICES=2,
    )
    cuda_build.say("make test-cuda-sim: passed; not run: anything on a GPU, see make test-gpu")


if __name__ == "__main__":
    main()
