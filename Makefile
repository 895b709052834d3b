# `make serve` and `make test` do all the set-up on a machine that has only Python 3.11+ and make.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
WORKERS ?= 4
# Whatever the shell says, compiled modules are kept: else each worker, and each program that a test starts, compiles
# all of them anew.
export PYTHONDONTWRITEBYTECODE :=

.PHONY: serve test suite check style types format bench bench-peers mutations clean

$(VENV)/.installed: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --editable .
	touch $@

$(VENV)/.tested: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --editable '.[test]'
	touch $@ $(VENV)/.installed

serve: $(VENV)/.installed
	$(BIN)/understudy serve

check: style types

style: $(VENV)/.tested
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports

types: $(VENV)/.tested
	$(BIN)/mypy

# The types are checked beside the tests: mypy has one core, and the tests wait for sockets now and then.
test: style
	$(MAKE) --no-print-directory --jobs=2 types suite

# pytest rewrites the assertions of each module of tests. Done once, here, all workers find what has come of it.
$(VENV)/.collected: $(VENV)/.tested $(shell find tests -name '*.py')
	$(BIN)/python -m pytest --collect-only -qq > $@.log || { cat $@.log; exit 1; }
	touch $@

suite: $(VENV)/.collected
	$(BIN)/coverage erase
	$(BIN)/coverage run -m pytest -n $(WORKERS) -q
	$(BIN)/coverage combine -q
	$(BIN)/python tests/coverage_floor.py

format: $(VENV)/.tested
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(VENV)/.tested
	$(BIN)/python -m bench

# The libraries that the kernel is measured against, each in an environment of its own under .bench/.
bench-peers: $(VENV)/.tested
	$(BIN)/python -m bench.peers

# Every recorded mutation of the kernel has to turn the tests of its clause red. Takes long.
mutations: $(VENV)/.tested
	$(BIN)/python -m tests.mutations

clean:
	rm -rf $(VENV) .coverage .coverage.* .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
