# Two targets for a stranger: `make demo` and `make test`. Both make their own environment.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check -qq

.PHONY: help demo test test-slow mutants bench docs lock clean

help:
	@echo "make demo       install into .venv and classify the photographs of tests/data/photos"
	@echo "make test       install, format, lint, type-check and test"
	@echo "make test-slow  the tests that take minutes"
	@echo "make mutants    make small mistakes and list those that no test notices (N=60 SEED=0)"
	@echo "make bench      compare with the nearest peers (BENCH='--images DIR --rounds 5')"
	@echo "make docs       renew docs/options.md and the Flex Template's parameters from the options"
	@echo "make lock       renew constraints.txt"

demo: $(VENV)/.installed
	@$(BIN)/python -m pipeline.demo

test: $(VENV)/.installed-dev
	@$(BIN)/ruff format --quiet .
	@$(BIN)/ruff check --quiet .
	@$(BIN)/mypy
	@$(BIN)/python -m pytest -m "not slow" --numprocesses auto --maxprocesses 4 --dist loadfile

test-slow: $(VENV)/.installed-dev
	@$(BIN)/python -m pytest -m slow

$(VENV)/bin/python:
	@echo "creating $(VENV)"
	@$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: pyproject.toml constraints.txt | $(VENV)/bin/python
	@echo "installing (a minute or two)"
	@$(PIP) install --constraint constraints.txt --editable .
	@touch $@

$(VENV)/.installed-dev: $(VENV)/.installed
	@echo "installing what the tests need"
	@$(PIP) install --constraint constraints.txt --editable '.[dev]'
	@touch $@

mutants: $(VENV)/.installed-dev
	@$(BIN)/python -m tests.mutants --number $(or $(N),60) --seed $(or $(SEED),0)

bench: $(VENV)/.installed
	@$(PIP) install --constraint constraints.txt --editable '.[bench]'
	@$(BIN)/python -m tests.benchmark $(BENCH)

docs: $(VENV)/.installed
	@$(BIN)/python -m pipeline.console.options_table
	@$(BIN)/python -m pipeline.dataflow.flex_template

lock: $(VENV)/.installed
	@$(PIP) install 'uv>=0.9'
	@$(BIN)/uv pip compile --quiet --universal --python-version 3.10 --extra dev --extra bench --extra gpu --no-header \
		--no-emit-index-url --no-emit-find-links --upgrade --output-file constraints.txt pyproject.toml

clean:
	rm -rf build dist *.egg-info .mypy_cache .pytest_cache .ruff_cache
