# make demo, make test: the first call sets everything up (init.sh), later ones do not.
#   VENV=DIR       where the virtual environment is or shall be
#   MXNET=NAME     mxnet (CPU) or mxnet-cu112 (NVIDIA GPU; brings CUDA 11); left out, init.sh looks for a GPU and decides
#   PYTHON=NAME    the interpreter to make the virtual environment with; left out, init.sh looks for one
#   ARGS='...'     more arguments for pytest
#   IMAGES=DIR     make compare: the folder demo of a clone of msracver/Deformable-ConvNets
VENV ?= .venv
MXNET ?= auto
PYTHON ?=

BIN := $(abspath $(VENV))/bin
READY := $(VENV)/.ready-$(MXNET)
BUILT := $(VENV)/.built
# What counts lines: from Python 3.12 on the interpreter itself, at next to no cost.
COUNTER = $$($(BIN)/python -c 'import sys; print("sysmon" if sys.version_info >= (3, 12) else "ctrace")')
SOURCES := $(shell find lib -name '*.pyx' -o -name '*.pxd')

.PHONY: help compare demo test test-slow test-pythons lint format faults fuzz bench build clean
.DELETE_ON_ERROR:

help:
	@sed -n 's/^#  //p' Makefile
	@echo
	@sed -n 's/^\([a-z-]*\):.*## /    make \1: /p' Makefile

demo: $(BUILT)  ## draw a data set, train a small R-FCN on it, evaluate it, show what it found
	PATH="$(BIN):$$PATH" PYTHON="$(BIN)/python" bash experiments/demo/run.sh

test: $(BUILT)  ## run the tests, two at a time, and print the line coverage of lib and rfcn
	COVERAGE_CORE=$(COUNTER) $(BIN)/python -m pytest -m 'not slow' -n 2 --dist worksteal --cov=lib --cov=rfcn --cov-report=term $(ARGS)

test-slow: $(BUILT)  ## run the tests that take more than 30 seconds each
	$(BIN)/python -m pytest -m slow $(ARGS)

test-pythons:  ## run the tests with each Python 3.8 to 3.14 that is here, in turn (ARGS='tests/lib' for a part of them)
	.ci/test_pythons.sh $(ARGS)

lint: $(BUILT)  ## check the style, and that shell scripts can be parsed
	$(BIN)/ruff check $(ARGS)
	@if [ -x $(BIN)/pip-audit ]; then timeout 120 $(BIN)/pip-audit --local --progress-spinner off \
		|| echo 'note: pip-audit found the faults above, or could not reach its list; neither fails this'; \
	else echo 'note: the packages were not audited: pip-audit is not installed ($(BIN)/pip install pip-audit)'; fi
	for script in init.sh .ci/*.sh data/*.sh experiments/*.sh experiments/*/*.sh; do bash -n $$script || exit 1; done

format: $(BUILT)  ## mend what lint finds and can be mended by itself; spaces and blank lines too
	$(BIN)/ruff check --fix $(ARGS)
	$(BIN)/autopep8 lib rfcn data experiments tests examples setup.py

faults: $(BUILT)  ## kill commands that write, and fail their calls, at a dozen of their changes to files: an hour
	$(BIN)/python tests/faults/run.py $(ARGS)

fuzz: $(BUILT)  ## 20,000 damaged and 20,000 unusual files: a result or one of our errors; two readings that agree (ARGS='COUNT --seed N')
	$(BIN)/python tests/fuzz/run.py $(ARGS)
	$(BIN)/python -W ignore tests/fuzz/oracle.py $(ARGS)

compare: $(BUILT)  ## compare with the original's numbers; IMAGES=DIR, its folder demo, for what needs its photographs
	$(BIN)/python -W ignore experiments/compare_release.py $(if $(IMAGES),--images "$(IMAGES)") $(ARGS)

bench: $(BUILT)  ## measure this machine, short form: inference, training, kernels, scaling (ARGS='infer' for one of them)
	$(BIN)/python -W ignore experiments/benchmark.py --short $(ARGS)

build: $(BUILT)  ## compile the Cython modules that changed

clean:  ## remove what was compiled and the caches; the virtual environment, data and output stay
	rm -rf build .editable/rfcn.egg-info .pytest_cache .ruff_cache .hypothesis .coverage $(BUILT)
	find lib -name '*.so' -delete
	find data experiments lib rfcn tests -name __pycache__ -prune -exec rm -rf {} +

$(READY): init.sh pyproject.toml constraints.txt setup.py
	VENV="$(VENV)" MXNET="$(MXNET)" PYTHON="$(PYTHON)" ./init.sh

# init.sh compiles as well; after it nothing is newer than $(BUILT).
$(BUILT): $(READY) setup.py $(SOURCES)
	@[ -e $@ ] && [ -z "$$(find $^ -newer $@)" ] || $(BIN)/python setup.py --quiet build_ext --inplace
	@touch $@
