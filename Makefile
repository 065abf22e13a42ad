# Makefile -- what developers and CI run. Python 3.11, a C++ compiler and make are enough: the rest
# is installed into .venv.
SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.NOTPARALLEL:
.PHONY: help build test test-cpp demo bench bench-full accuracy lint format docs clean

# The interpreter that .venv is made with; how many compilers and test processes run side by side.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
JOBS ?= 2

VENV := $(CURDIR)/.venv
PY := $(VENV)/bin/python
INSTALLED := $(VENV)/installed
BENCH_INSTALLED := $(VENV)/installed-bench
EXTENSION := torch_infotheory/_C.abi3.so
CXX_FILES = $(shell find csrc tests examples benchmarks -regextype egrep \
                    -regex '.*\.(h|inl|cpp|cuh|cu)' 2>/dev/null)
export PATH := $(VENV)/bin:$(PATH)
export MAX_JOBS ?= $(JOBS)

help:  ## list the verbs
	@grep -hE '^[a-z-]+:.*##' Makefile | sed -E 's/:.*##/\t/' | expand -t 14

# The .pth file puts the working tree on the path of .venv.
$(INSTALLED): pyproject.toml
	@echo "==> installing the pinned development dependencies into .venv"
	@$(PYTHON) -m venv $(VENV)
	@$(PY) -m pip install --quiet --disable-pip-version-check pip==26.3 # reads dependency groups
	@$(PY) -m pip install --group dev
	@$(PY) -c 'import site; print("$(CURDIR)", file=open(site.getsitepackages()[0] + "/tree.pth", "w"))'
	@touch $@

# Ninja prints whole command lines; one short line for each file is enough.
$(EXTENSION): $(INSTALLED) setup.py $(shell find csrc)
	@echo "==> building $@"
	@$(PY) setup.py --quiet build_ext --inplace 2>&1 \
	    | sed -uE 's@^(\[[0-9]+/[0-9]+\]) .* -c [^ ]*/(csrc/[^ ]+) -o .*@    \1 \2@'
	@touch $@

build: $(EXTENSION)  ## build the extension in place (incremental)
	@echo "make build: $(EXTENSION) is up to date"

test: test-cpp $(EXTENSION)  ## all tests
	@echo "==> testing the package, its docstrings and its pages"
	OMP_NUM_THREADS=1 $(PY) -m pytest -n $(JOBS)
	@echo "make test: the C++ tests and the Python tests passed"

test-cpp: $(INSTALLED)  ## the C++ tests of the lower half, without torch
	@echo "==> testing the lower half in C++"
	cmake -S . -B build/cpp -G Ninja -DTORCH_INFOTHEORY_WITH_TORCH=OFF --log-level=WARNING
	cmake --build build/cpp --parallel $(JOBS)
	ctest --test-dir build/cpp --no-tests=error --output-on-failure

demo: $(EXTENSION)  ## train a classifier on real digits with the losses of the package
	@echo "==> running examples/digits.py"
	@$(PY) examples/digits.py

$(BENCH_INSTALLED): $(INSTALLED)
	@$(PY) -m pip install --quiet --disable-pip-version-check --group bench
	@touch $@

bench: $(EXTENSION) $(BENCH_INSTALLED)  ## measure beside torch, torch.compile and others, 5 minutes
	$(PY) benchmarks/bench.py

bench-full: $(EXTENSION) $(BENCH_INSTALLED)  ## the same for all sizes; writes docs/performance.md
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
	$(PY) -m pytest torch_infotheory tests/test_docs.py tests/test_chapter.py
	@echo "make docs: every example gives what the page says"

clean:  ## remove what was built; .venv stays
	rm -rf build dist *.egg-info $(EXTENSION) .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find torch_infotheory tests examples benchmarks -name __pycache__ -prune -exec rm -r {} +
