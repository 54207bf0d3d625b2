# The project's commands. `make help` lists them.
#
# `make setup` runs once by itself before what needs it; a second time it does nothing until the pins change.
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.altgrad-installed
# The peers of the benchmarks, apart from what the package runs with; and options, for example BENCH="peers --quick".
PEERS := $(VENV)/bench
BENCH ?=
export PATH := $(CURDIR)/$(BIN):$(PATH)
# Processes for the tests; each keeps to one thread.
TEST_PROCESSES ?= 2
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.PHONY: help setup demo test check format schema figures bench clean distclean

help: ## List the commands
	@grep -E '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## (.*)/  make \1\t\2/' | expand -t 20

setup: $(STAMP) ## Make .venv and install the pinned packages into it

$(STAMP): envs/requirements.txt pyproject.toml
	@python=$$(command -v $(PYTHON) || command -v python3) \
	  || { echo "make: error: there is no Python here. Install Python 3.11 or later, or say PYTHON=..." >&2; exit 2; }; \
	"$$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "make: error: $$python is $$("$$python" --version). Install 3.11 or later, or say PYTHON=..." >&2; exit 2; }; \
	test -x $(BIN)/python || { echo "Making $(VENV) with $$("$$python" --version)"; "$$python" -m venv $(VENV); }
	@echo "Installing the pinned packages (torch is large: this takes some minutes the first time)"
	@$(BIN)/python -m pip install --disable-pip-version-check --quiet --requirement envs/requirements.txt
	@PYTHONWARNINGS=ignore $(BIN)/python -m pip install --disable-pip-version-check --quiet --no-deps --no-build-isolation --editable .
	@touch $@

demo: $(STAMP) ## Run the demonstration study to its reports: two CPU cores, no GPU, no network
	snakemake --workflow-profile profiles/demo all
	@echo; echo "The reports:"; ls -1 reports/demo/*.md reports/demo/*.html | sed 's/^/  /'

test: check ## Run all checks and all tests
	python -m pytest -q -n $(TEST_PROCESSES)

check: $(STAMP) ## Run the checks that need no tests: lint, format, types, workflow
	ruff check .
	ruff format --check .
	mypy
	snakefmt --check Snakefile workflow
	snakemake --lint

format: $(STAMP) ## Format Python and the workflow
	ruff check --fix .
	ruff format .
	snakefmt Snakefile workflow

schema: $(STAMP) ## Write the config's schema anew, after a change in altgrad/study/config.py
	altgrad config schema --out workflow/schemas/config.schema.json

figures: $(STAMP) ## Draw the pictures of the README and of docs/ anew (needs graphviz)
	altgrad formats E0M7 E2M5 E3M4 E4M3 E5M2 E6M1 E7M0 --plot docs/images/formats.png > /dev/null
	altgrad formats --plot 'docs/images/formats/{name}.png' > /dev/null
	snakemake --workflow-profile profiles/demo --rulegraph | dot -Grankdir=LR -Tsvg > docs/images/rulegraph.svg

bench: $(STAMP) $(PEERS)/.installed ## Measure against peers and targets; results/bench (about 15 minutes)
	PATH="$(CURDIR)/$(PEERS)/bin:$$PATH" PYTHONPATH="$(CURDIR)/$(PEERS)" python -m benchmarks $(BENCH)

$(PEERS)/.installed: $(STAMP) envs/requirements-bench.txt
	@echo "Installing the peers"
	@rm -rf $(PEERS)
	@$(BIN)/python -m pip install --disable-pip-version-check --quiet --no-deps --target $(PEERS) \
	  --requirement envs/requirements-bench.txt
	@touch $@

clean: ## Remove the demonstration's results and the tools' caches
	rm -rf results/demo reports/demo .pytest_cache .mypy_cache .ruff_cache .hypothesis

distclean: clean ## Remove .venv too
	rm -rf $(VENV)
