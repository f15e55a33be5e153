# `make demo` and `make test` work on a fresh clone with nothing but Python 3.11 or later.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
EXTRAS ?= dev
TEST_PROCESSES ?= 3
NATIVE := $(shell find sptx_core/engine/native tests/sptx_core/engine/native -name '*.cpp' -o -name '*.h')

.PHONY: demo demo-checkpoint test fuzz check lint types wheel clean

# torch comes first and alone, so that a CPU build that is already there (see README.md) is kept.
$(VENV)/ready: pyproject.toml setup.py constraints.txt sptx_core/engine/native/sources.py $(NATIVE)
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet -c constraints.txt torch
	$(BIN)/python -m pip install --quiet -c constraints.txt -e ".[$(EXTRAS)]"
	$(BIN)/python -m compileall -q pipeline sptx_core benchmarks tests/material # as pip does with packages that it copies
	touch $@

demo: $(VENV)/ready
	PATH="$(abspath $(BIN)):$$PATH" $(BIN)/python workflows/demo.py demo

# Simulates, trains (46 minutes on two cores), measures, and puts the network where the package ships it.
demo-checkpoint: $(VENV)/ready
	PATH="$(abspath $(BIN)):$$PATH" $(BIN)/python workflows/demo_checkpoint.py demo-checkpoint --keep

# The documentation as a site, in build/site; every warning is an error.
.PHONY: docs
docs: $(VENV)/ready
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict

# Files of tests go to processes in the order in which they stand, so that the longest (benchmarks) begin first. One
# process gets all files that join one Ray (tests/material/standing_ray.py), before any other.
test: $(VENV)/ready
	$(BIN)/python -m pytest -q -n $(TEST_PROCESSES) --dist loadfile --no-loadscope-reorder -m "not operations"

# What operators rely on, with the real thing: three hosts by network namespaces (root on Linux), Slurm, a Ray job,
# Snakemake, rehearsals. Minutes, most of them waiting.
.PHONY: test-operations
test-operations: $(VENV)/ready
	$(BIN)/python -m pytest -q -m operations

# The readers of files, each on a thousand mutated inputs; takes many minutes.
fuzz: $(VENV)/ready
	SPTX_FUZZ_INPUTS=1000 $(BIN)/python -m pytest -q -n $(TEST_PROCESSES) --timeout 3000 \
		tests/pipeline/inputs tests/pipeline/test_settings.py tests/pipeline/test_coordinates.py \
		tests/pipeline/variants/test_vcf_writer.py

# All checks on a GPU, for a machine with one: needs PyTorch for CUDA, and of sptx only what the engine needs.
.PHONY: gpu-check
GPU_CHECK_PYTHON ?= $(PYTHON)
GPU_CHECK_OUTPUT ?= gpu-check
gpu-check:
	$(GPU_CHECK_PYTHON) benchmarks/gpu_check.py --output $(GPU_CHECK_OUTPUT) $(GPU_CHECK_FLAGS)

# What to run before each commit.
check: lint types
	$(BIN)/python -m pytest -q -n $(TEST_PROCESSES) --dist loadfile -m "not slow"

lint: $(VENV)/ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/clang-format --dry-run -Werror $(NATIVE)

types: $(VENV)/ready
	$(BIN)/mypy

# Builds source distribution and wheel, installs the wheel into an empty environment and runs the demo from there.
wheel: $(VENV)/ready
	rm -rf dist wheel-check
	$(BIN)/python -m build --outdir dist
	$(PYTHON) -m venv wheel-check/environment
	wheel-check/environment/bin/python -m pip install --quiet -c constraints.txt torch
	wheel-check/environment/bin/python -m pip install --quiet -c constraints.txt "$$(ls dist/*.whl)[plots,duckdb]"
	cp workflows/demo.py wheel-check/
	cd wheel-check && PATH="$$PWD/environment/bin:$$PATH" environment/bin/python demo.py demo
	cd wheel-check && environment/bin/sptx --version && environment/bin/sptx config 2>&1 | grep gpu-cluster

clean:
	rm -rf demo demo-checkpoint wheel-check build dist *.egg-info
