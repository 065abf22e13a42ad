# Makefile -- what developers and CI run. Python 3.11, a C++ compiler and make are enough: the rest
# is installed into .venv.
SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.NOTPARALLEL:
.PHONY: help build test test-cpp test-compilers test-library test-sanitizers test-cuda-sim \
        cuda-figures test-gpu test-python test-recipes fuzz test-2.11 test-2.12 test-2.14 demo bench bench-full \
        accuracy lint format docs site clean

# The interpreter that .venv is made with; how many compilers and test processes run side by side.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
JOBS ?= 2

VENV := $(CURDIR)/.venv
PY := $(VENV)/bin/python
INSTALLED := $(VENV)/installed
BENCH_INSTALLED := $(VENV)/installed-bench
DOCS_INSTALLED := $(VENV)/installed-docs
EXTENSION := src/torch_infotheory/_C$(shell $(PYTHON) -c 'import sysconfig; \
    print(sysconfig.get_config_var("EXT_SUFFIX"))')
CXX_FILES = $(shell find csrc tests examples benchmarks -regextype egrep \
                    -regex '.*\.(h|inl|cpp|cuh|cu)' 2>/dev/null)
# The library for C++ and the extensions for two builds of torch have most objects in common. Where
# ccache is installed they are compiled once: Debian's and Fedora's folders of its compilers.
CCACHE := $(firstword $(wildcard /usr/lib/ccache /usr/lib64/ccache))
export CCACHE_DIR ?= $(CURDIR)/build/ccache
export PATH := $(VENV)/bin:$(if $(CCACHE),$(CCACHE):)$(PATH)
export MAX_JOBS ?= $(JOBS)

help:  ## list the verbs
	@grep -hE '^[a-z0-9. -]+:.*##' Makefile | sed -E 's/:.*##/\t/' | expand -t 30

# The .pth file puts the working tree on the path of .venv.
$(INSTALLED): pyproject.toml
	@echo "==> installing the pinned development dependencies into .venv"
	@$(PYTHON) -m venv $(VENV)
	@$(PY) -m pip install --quiet --disable-pip-version-check pip==26.3 # reads dependency groups
	@$(PY) -m pip install --group dev
	@$(PY) -c 'import site; print("$(CURDIR)/src", file=open(site.getsitepackages()[0] + "/tree.pth", "w"))'
	@touch $@

# Ninja prints whole command lines; one short line for each file is enough.
$(EXTENSION): $(INSTALLED) setup.py $(shell find csrc cmake)
	@echo "==> building $@"
	@$(PY) setup.py --quiet build_ext --inplace 2>&1 \
	    | sed -uE 's@^(\[[0-9]+/[0-9]+\]) .* -c [^ ]*/(csrc/[^ ]+) -o .*@    \1 \2@'
	@touch $@

build: $(EXTENSION)  ## build the extension in place (incremental)
	@echo "make build: $(EXTENSION) is up to date"

test: test-cpp test-library test-python  ## all tests
	@echo "make test: the C++ tests and the Python tests passed"

# The CUDA kernels, compiled by the C++ compiler: one more device of the tests.
EMULATION := build/cuda_emulation.so
$(EMULATION): $(EXTENSION) $(shell find tests/cuda_emulation -type f -not -name 'test_*')
	@$(PY) tests/cuda_emulation/emulate.py $@

test-python: $(EXTENSION) $(EMULATION)  ## the package, its docstrings, its pages and programs in C++
	@echo "==> testing the package, its docstrings, its pages and programs in C++"
	OMP_NUM_THREADS=1 $(PY) -m pytest -n $(JOBS) --dist worksteal

# The libraries have many dependencies, and some pin those of .venv to other releases.
RECIPES := $(CURDIR)/.venv-recipes
$(RECIPES)/installed: pyproject.toml
	@echo "==> installing transformers, TRL and torchtitan into .venv-recipes"
	@$(PYTHON) -m venv $(RECIPES)
	@$(RECIPES)/bin/python -m pip install --quiet --disable-pip-version-check pip==26.3
	@$(RECIPES)/bin/python -m pip install --group recipes
	@touch $@

test-recipes: $(EXTENSION) $(RECIPES)/installed  ## the recipes with transformers, TRL and torchtitan; figures: benchmarks/recipes.py
	@echo "==> testing the recipes with the libraries that they are for"
	OMP_NUM_THREADS=1 PYTHONPATH=$(CURDIR)/src $(RECIPES)/bin/python -m pytest -n $(JOBS) \
	    $(wildcard tests/test_recipes*.py)

fuzz: $(EXTENSION) $(EMULATION)  ## random calls against float64: SECONDS=60 of them, SEED=a new one
	@echo "==> comparing random calls with float64"
	@$(PY) tests/test_fuzz.py --seconds $(or $(SECONDS),60) $(if $(SEED),--seed $(SEED))

test-sanitizers: $(EXTENSION)  ## the CUDA kernels on the CPU under ASan, UBSan and TSan
	@echo "==> testing the CUDA kernels on the CPU under sanitizers"
	@$(PY) tests/cuda_emulation/sanitize.py

test-cuda-sim: $(INSTALLED)  ## the CUDA half on a simulator of the code nvcc generates, if it is there
	@PYTHONPATH=tests JOBS=$(JOBS) $(PY) tests/cuda_sim/run_simulator.py

cuda-figures: $(INSTALLED)  ## write the figures of docs/cuda.md, which the simulator counts
	@PYTHONPATH=tests JOBS=$(JOBS) $(PY) tests/cuda_sim/run_simulator.py --page

# With GPU_PYTHON nothing is installed, and the clone needs no network.
test-gpu: $(if $(GPU_PYTHON),,$(INSTALLED))  ## the CUDA half on a GPU, if there is one; GPU_PYTHON=python3: with that torch
	@PYTHONPATH=tests GPU_PYTHON=$(GPU_PYTHON) $(or $(GPU_PYTHON),$(PY)) tests/cuda_gpu/run_gpu.py

# One build tree for the C++ tests and for the library, which share the objects of the kernels.
# TorchConfig.cmake warns of libraries that the wheels do not have.
build/cmake/build.ninja: $(INSTALLED) CMakeLists.txt
	cmake -S . -B build/cmake -G Ninja --log-level=ERROR -Wno-dev \
	    -DCMAKE_PREFIX_PATH="$$($(PY) -c 'import torch; print(torch.utils.cmake_prefix_path)')"
	@touch $@

test-cpp: build/cmake/build.ninja  ## the C++ tests of the lower half, which is built without torch
	@echo "==> testing the lower half in C++"
	cmake --build build/cmake --parallel $(JOBS) --target lower_half_tests
	ctest --parallel $(JOBS) --test-dir build/cmake --no-tests=error --output-on-failure -L lower_half

# The oldest g++ that the sources allow, clang, and a g++ for 64-bit Arm, whose programs run in an
# emulator.
COMPILERS := g++-11 clang++ aarch64-linux-gnu-g++
test-compilers: $(INSTALLED)  ## the C++ tests of the lower half with g++-11, clang and for Arm, if they are there
	@echo "==> testing the lower half in C++ with $(COMPILERS)"
	@printf '%s\n' $(COMPILERS) | xargs -P $(JOBS) -n 1 tests/cpp/with_compiler.sh

test-library: build/cmake/build.ninja  ## the C++ tests of the library for programs without Python
	@echo "==> testing the library for C++"
	cmake --build build/cmake --parallel $(JOBS)
	ctest --parallel $(JOBS) --test-dir build/cmake --no-tests=error --output-on-failure -L torch_infotheory

# The Python tests with another torch: in a copy of the tree, because the extension is built in
# place, and with a virtual environment that is kept (several GB of CUDA packages; CPU tensors).
# The one of 2.14 is shared with the CUDA tests, so the path to the copy does not come from it.
test-2.11: TORCH := 2.11.0
test-2.12: TORCH := 2.12.0
test-2.14: TORCH := 2.14.1
test-2.11 test-2.12: OTHER_VENV = $(CURDIR)/.venv-$@
test-2.11 test-2.12: PINS := s/"setuptools==.*"/"setuptools==81.0.0"/ # the last that they allow
test-2.14: OTHER_VENV := $(CURDIR)/.venv-cuda
test-2.11 test-2.12 test-2.14:  ## the Python tests with that release of torch
	@echo "==> copying the tree to build/$@, for torch $(TORCH)"
	@mkdir -p build/$@
	@find build/$@ -mindepth 1 -maxdepth 1 ! -name build -exec rm -r {} +
	@git ls-files -z --cached --others --exclude-standard \
	    | tar --create --null --files-from=- --ignore-failed-read | tar --extract --directory build/$@
	@sed -i 's/"torch==2.13.0"/"torch==$(TORCH)"/; $(PINS)' build/$@/pyproject.toml
	@touch -r pyproject.toml build/$@/pyproject.toml
	FORCE_CUDA=0 PYTHONPATH=$(CURDIR)/build/$@/src \
	    $(MAKE) -C build/$@ VENV=$(OTHER_VENV) test-python

demo: $(EXTENSION)  ## train a classifier on real digits with the losses of the package
	@echo "==> running examples/digits.py"
	@$(PY) examples/digits.py

$(BENCH_INSTALLED): $(INSTALLED)
	@$(PY) -m pip install --quiet --disable-pip-version-check --group bench
	@touch $@

bench: $(EXTENSION) $(BENCH_INSTALLED)  ## measure beside torch, torch.compile and others, 5 minutes
	$(PY) benchmarks/bench.py

bench-full: $(EXTENSION) $(BENCH_INSTALLED)  ## the same for all sizes; writes docs/performance.md and a table of README.md
	$(PY) benchmarks/bench.py --full

accuracy: $(EXTENSION)  ## measure the errors beside those of torch; writes docs/accuracy.md
	$(PY) benchmarks/accuracy.py

lint: $(INSTALLED)  ## formatting, style, types and the layer rules
	@echo "==> checking formatting, style, types and layers"
	clang-format --dry-run --Werror $(CXX_FILES)
	ruff check
	ruff format --check
	mypy
	$(PY) tools/check_layers.py
	@echo "make lint: nothing to complain about"

format: $(INSTALLED)  ## format C++ and Python as lint wants them
	clang-format -i $(CXX_FILES)
	ruff check --fix-only --quiet
	ruff format

docs: $(EXTENSION)  ## run the examples in the pages and in the docstrings
	$(PY) -m pytest src tests/test_docs.py tests/test_chapter.py
	@echo "make docs: every example gives what the page says"

$(DOCS_INSTALLED): $(INSTALLED)
	@$(PY) -m pip install --quiet --disable-pip-version-check --group docs
	@touch $@

site: $(EXTENSION) $(DOCS_INSTALLED)  ## the documentation as a site, in build/site; RELEASE=1: that of a release
	@echo "==> building the documentation site"
	@$(PY) -m sphinx --quiet --fail-on-warning --keep-going $(if $(RELEASE),-t release) \
	    -b html -c docs -d build/doctrees . build/site
	@echo "make site: build/site/index.html is up to date"

clean:  ## remove what was built; .venv stays
	rm -rf build dist docs/reference *.egg-info src/*.egg-info $(EXTENSION) src/torch_infotheory/{lib,include,share} .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find src tests examples benchmarks -name __pycache__ -prune -exec rm -r {} +
