# Every target sets itself up: an environment in .venv from exact pins, made again only when the pins change.
MODEL ?= ghostnetv2
ARGS ?=
VENV := .venv
STAMP := $(VENV)/.installed
BIN := $(VENV)/bin
PYTEST := $(BIN)/python -m pytest
PROCESSES := -n 2 --dist worksteal
ZOO ?=
ZOO_SIZE ?=

.PHONY: help export test test-fast test-zoo check setup clean

help:
	@echo "make export MODEL=ghostnetv2   export a model to artifacts/ (ARGS=--force replaces one)"
	@echo "make test                      run all tests but those of the zoo (ARGS for pytest)"
	@echo "make test-fast                 run those without conversions"
	@echo "make test-zoo ZOO=ghostnet     run the tests of whole models (without ZOO, of each family)"
	@echo "make check                     run lint, types and layer contracts"

export: $(STAMP)
	@$(BIN)/mobilekit export $(MODEL) $(ARGS)

test: $(STAMP)
	@$(PYTEST) $(PROCESSES) $(ARGS)

test-fast: $(STAMP)
	@$(PYTEST) $(PROCESSES) -m "not slow and not zoo" $(ARGS)

# Bundles in artifacts/ are taken, others made.
test-zoo: $(STAMP)
	@MOBILEKIT_BUNDLES=artifacts MOBILEKIT_ZOO="$(ZOO)" MOBILEKIT_ZOO_SIZE="$(ZOO_SIZE)" \
	$(PYTEST) $(PROCESSES) -m zoo $(ARGS) tests/zoo

check: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

setup: $(STAMP)

$(STAMP): pyproject.toml constraints.txt
	@sh .ci/setup $(VENV)
	@touch $@

clean:
	rm -rf $(VENV) artifacts dist
