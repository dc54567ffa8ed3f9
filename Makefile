# A fresh machine with Python 3.11+, make and a package index: `make run` and `make test` do the rest.
# No root, no Docker, no compiler. Everything lands in $(VENV); every download is checked against requirements/*.txt.

PYTHON  ?= python3
VENV    ?= .venv
ARGS    ?=
WORKERS ?= 2

PACKAGES := core daemon adapters risk algos tca migrations
BIN      := $(VENV)/bin
UV       := $(BIN)/uv
# Wheels only: nothing is compiled, and no package runs code while it is installed.
INSTALL   = $(UV) pip install --quiet --python $(BIN)/python
LOCKED    = --require-hashes --only-binary :all:

# uv manages packages here, never interpreters.
export UV_PYTHON_DOWNLOADS = never
export UV_NO_PROGRESS = 1
export PIP_DISABLE_PIP_VERSION_CHECK = 1

# What is installed for development also serves to run: once the dev stamp exists it is the only one kept fresh.
READY := $(if $(wildcard $(VENV)/.dev),$(VENV)/.dev,$(VENV)/.run)

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.SUFFIXES:
MAKEFLAGS += --no-builtin-rules
.PHONY: help run test check fmt bench docs lock test-all install clean

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' Makefile
	@echo "  Variables: ARGS='...' is passed on, PYTHON=python3.12 picks an interpreter, VENV=.venv, WORKERS=2"

run: $(READY) ## Run the demonstration (ARGS='...' to `execd demo`)
	@$(BIN)/execd demo $(ARGS)

test: $(VENV)/.dev ## Run the tests (ARGS='-k halt' and the like)
	@$(BIN)/python -m pytest -n $(WORKERS) --dist worksteal $(ARGS)

check: $(VENV)/.dev ## Formatting, lint, types, architecture
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/python -m pytest -q -p no:cacheprovider tests/test_architecture.py

fmt: $(VENV)/.dev ## Format, and fix what lint can fix
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

bench: $(VENV)/.dev ## Measure (ARGS='stream', ARGS='halt' and the like: one thing)
	@OPENBLAS_NUM_THREADS=1 $(BIN)/python -m tests.bench $(ARGS)

docs: $(VENV)/.dev ## Regenerate the generated parts of docs/
	@$(BIN)/python -m docs.build $(ARGS)

test-all: ## Run the tests on Python 3.11, 3.12 and 3.13, where present
	@ran=0; for minor in 11 12 13; do \
	  python="python3.$$minor"; \
	  if ! "$$python" -c 'import venv' >/dev/null 2>&1; then echo "$$python: not here, skipped"; continue; fi; \
	  echo "$$python:"; ran=$$((ran + 1)); \
	  $(MAKE) --no-print-directory test PYTHON="$$python" VENV=".venv-3.$$minor" || exit 1; \
	done; test "$$ran" -gt 0 || { echo "found none of python3.11, python3.12, python3.13"; exit 1; }

install: $(VENV)/.dev ## Only install everything for development

# `make lock` keeps the pins that still fit; `make lock ARGS=--upgrade` takes the newest.
COMPILE = $(UV) pip compile --quiet --universal --python-version 3.11 --python $(BIN)/python --generate-hashes \
          --only-binary :all: --no-emit-index-url --no-emit-find-links --no-header $(ARGS)

lock: $(VENV)/.uv ## Pin all dependencies with hashes (ARGS=--upgrade for newer ones)
	@echo "locking uv";  $(COMPILE) --group pyproject.toml:bootstrap -o requirements/uv.txt
	@echo "locking run"; $(COMPILE) --extra demo --group build pyproject.toml -o requirements/run.txt
	@echo "locking dev"; $(COMPILE) --all-extras --group dev -c requirements/run.txt pyproject.toml \
	  -o requirements/dev.txt

clean: ## Remove environments, caches and build products
	rm -rf .venv .venv-3.* .mypy_cache .pytest_cache .ruff_cache .hypothesis .coverage* htmlcov build dist
	find $(PACKAGES) tests docs -type d -name __pycache__ -prune -exec rm -rf {} + 2>/dev/null || true

# ---------------------------------------------------------------------------------------------------- installation
# The stamps $(VENV)/.uv, .run and .dev say what the environment holds; a newer lock or pyproject.toml renews them.

$(VENV)/.uv: requirements/uv.txt
	@command -v "$(PYTHON)" >/dev/null 2>&1 || { \
	  echo "execd needs Python 3.11 or newer; there is no '$(PYTHON)' on PATH." >&2; \
	  echo "Install one, or name it: make PYTHON=/path/to/python3.12 $(MAKECMDGOALS)" >&2; exit 1; }
	@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "execd needs Python 3.11 or newer; '$(PYTHON)' is $$("$(PYTHON)" --version 2>&1)." >&2; \
	  for python in python3.14 python3.13 python3.12 python3.11; do \
	    if "$$python" -c 'import venv' >/dev/null 2>&1; then \
	      echo "This machine also has $$python: make PYTHON=$$python $(MAKECMDGOALS)" >&2; exit 1; fi; done; \
	  echo "Install a newer one and name it: make PYTHON=/path/to/python3.12 $(MAKECMDGOALS)" >&2; exit 1; }
	@"$(PYTHON)" -c 'import ensurepip, venv' 2>/dev/null || { \
	  echo "'$(PYTHON)' has no venv module; on Debian and Ubuntu it is the package python3-venv." >&2; exit 1; }
	@echo "creating $(VENV)"
	@"$(BIN)/python" -m pip --version >/dev/null 2>&1 || "$(PYTHON)" -m venv "$(VENV)"
	@"$(BIN)/python" -m pip install --quiet --require-hashes --only-binary :all: -r requirements/uv.txt
	@touch $@

$(VENV)/.run: requirements/run.txt pyproject.toml $(VENV)/.uv
	@echo "installing what the daemon needs"
	@$(INSTALL) $(LOCKED) -r requirements/run.txt
	@$(INSTALL) --no-build-isolation --no-deps -e .
	@touch $@

$(VENV)/.dev: requirements/dev.txt requirements/run.txt pyproject.toml $(VENV)/.uv
	@echo "installing what development needs"
	@$(INSTALL) $(LOCKED) -r requirements/dev.txt
	@$(INSTALL) --no-build-isolation --no-deps -e .
	@touch $@
