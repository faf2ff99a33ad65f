# Every target sets itself up: an environment in .venv from exact pins, made again only when the pins change.
MODEL ?= ghostnetv2
ARGS ?=
VENV := .venv
STAMP := $(VENV)/.installed
BIN := $(VENV)/bin
PYTEST := $(BIN)/python -m pytest

.PHONY: help export test test-fast check setup clean

help:
	@echo "make export MODEL=ghostnetv2   export a model to artifacts/ (ARGS=--force replaces one)"
	@echo "make test                      run all tests"
	@echo "make test-fast                 run the tests that take less than 3 minutes together"
	@echo "make check                     run lint, types and layer contracts"

export: $(STAMP)
	@$(BIN)/mobilekit export $(MODEL) $(ARGS)

test: $(STAMP)
	@$(PYTEST) -n 2 --dist loadfile --no-loadscope-reorder -m "not alone" $(ARGS)
	@$(PYTEST) -m alone $(ARGS) || [ $$? = 5 ] # 5: ARGS leave none

test-fast: $(STAMP)
	@$(PYTEST) -n 2 --dist loadfile --no-loadscope-reorder -m "not slow and not alone" $(ARGS)

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
