# One word each: setup, demo, test, test-long, lint, bench, clean. Nothing outside the checkout is changed.
# PYTHON=/path/to/python3.12 chooses the interpreter; default: the first of python3, python3.12, python3.11 that fits.

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help setup setup-dev compile demo test test-long lint format bench ape-compile lock clean

VENV := .venv
BIN := $(VENV)/bin
PIP_INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check
export PYTHON

help:
	@echo "make setup      environment, locked Python and npm packages, compiled contracts"
	@echo "make demo       one real day, from offer to audit"
	@echo "make test       the test suite, reduced counts"
	@echo "make test-long  PROFILE=name: the full counts"
	@echo "make lint       ruff, mypy, import-linter, solhint"
	@echo "make bench      measurements into docs/benchmarks.json"
	@echo "make clean      remove what setup and the tools made"

setup: compile

setup-dev: setup $(VENV)/.stamp-dev

demo: setup
	$(BIN)/gridledger demo

test: setup-dev
	$(BIN)/pytest -m "not long" $(PYTEST_ARGS)

test-long: setup-dev
	@test -n "$(PROFILE)" || { echo "make test-long needs PROFILE=name" >&2; exit 2; }
	GRIDLEDGER_PROFILE="$(PROFILE)" $(BIN)/pytest -m long $(PYTEST_ARGS)

lint: setup-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo
	cd contracts && ../.toolchain/node node_modules/solhint/solhint.js --disc --noPoster --max-warnings 0 'src/**/*.sol'

format: setup-dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: setup-dev
	$(BIN)/gridledger bench --json docs/benchmarks.json

ape-compile: setup-dev
	scripts/ape.sh compile

lock:
	scripts/lock.sh

clean:
	rm -rf $(VENV) .toolchain .build .cache contracts/node_modules contracts/build
	rm -rf .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache

compile: contracts/node_modules/.stamp-npm
	@$(BIN)/python -m gridledger.chain.compiler

$(VENV)/.stamp-python:
	@python=$$(sh scripts/find_python.sh) && echo "environment from $$python" && "$$python" -m venv $(VENV)
	@touch $@

$(VENV)/.stamp-service: requirements/service.txt pyproject.toml $(VENV)/.stamp-python
	$(PIP_INSTALL) --require-hashes -r requirements/service.txt
	$(PIP_INSTALL) --no-deps --no-build-isolation --editable .
	@touch $@

$(VENV)/.stamp-dev: requirements/dev.txt $(VENV)/.stamp-service
	$(PIP_INSTALL) --require-hashes -r requirements/dev.txt
	@touch $@

$(VENV)/.stamp-node: scripts/setup_node.sh requirements/node.txt $(VENV)/.stamp-python
	@sh scripts/setup_node.sh
	@touch $@

contracts/node_modules/.stamp-npm: contracts/package.json contracts/package-lock.json scripts/install_npm.py \
		$(VENV)/.stamp-service $(VENV)/.stamp-node
	@$(BIN)/python scripts/install_npm.py
	@touch $@
