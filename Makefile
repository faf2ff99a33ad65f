# Every target sets itself up: an environment in .venv from exact pins, made again only when the pins change.
# PYTHON=python3.12 takes that one; without, the newest on PATH that fits.
MODEL ?= ghostnetv2
ARGS ?=
VENV := .venv
# What is installed, and for what: an export needs no development tools.
EXPORT := $(VENV)/.for-export
LIBRARY = $(firstword $(subst :, ,$(MODEL)))
LIBRARIES := timm torchvision hf
DOCS := $(VENV)/.for-docs
DEVELOPMENT := $(VENV)/.for-development
BIN := $(VENV)/bin
PYTEST := $(BIN)/python -m pytest
PROCESSES := -n 2 --dist worksteal
ZOO ?=
ZOO_SIZE ?=

# Another Python makes the environment anew.
version = $(shell $(1) -c 'import sys; print(sys.version_info[:2])' 2>&1)
ifneq ($(PYTHON),)
ifneq ($(call version,$(PYTHON)),$(call version,$(BIN)/python))
.PHONY: $(EXPORT)
endif
endif

.PHONY: help export test test-fast test-zoo check format docs setup clean

help:
	@echo "make export MODEL=ghostnetv2   export a model to artifacts/ (ARGS=--force replaces one)"
	@echo "make test                      run all tests but those of the zoo (ARGS for pytest)"
	@echo "make test-fast                 run those without conversions, about 3 minutes"
	@echo "make test-zoo ZOO=ghostnet     run the tests of whole models (without ZOO, of each family)"
	@echo "make check                     run lint, types and layer contracts"
	@echo "make format                    format the code, as make check wants it"
	@echo "make docs                      build the documentation as a site: site/index.html"
	@echo "make setup                     make .venv with what an export needs; the others do it themselves"
	@echo "PYTHON=python3.12              with any of them: the Python to take, else the newest that fits"

export: $(if $(findstring :,$(MODEL)),$(if $(filter $(LIBRARIES),$(LIBRARY)),$(VENV)/.for-$(LIBRARY),$(EXPORT)),$(EXPORT))
	@$(BIN)/mobilekit export $(MODEL) $(ARGS)

test: $(DEVELOPMENT)
	@$(PYTEST) $(PROCESSES) $(ARGS)

test-fast: $(DEVELOPMENT)
	@$(PYTEST) $(PROCESSES) -m "not slow and not zoo" $(ARGS)

# Bundles in artifacts/ are taken, others made.
test-zoo: $(DEVELOPMENT)
	@MOBILEKIT_BUNDLES=artifacts MOBILEKIT_ZOO="$(ZOO)" MOBILEKIT_ZOO_SIZE="$(ZOO_SIZE)" \
	$(PYTEST) $(PROCESSES) -m zoo $(ARGS) tests/zoo

check: $(DEVELOPMENT)
	$(BIN)/ruff check .
	@$(BIN)/ruff format --check . || { echo "\`make format\` formats them."; exit 1; }
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(DEVELOPMENT)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: $(DOCS)
	@NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --quiet --strict
	@echo "site/index.html is written; \`$(BIN)/python -m http.server -d site\` shows it with its search."

setup: $(EXPORT)

$(EXPORT): pyproject.toml $(wildcard constraints/python*.txt)
	@PYTHON="$(PYTHON)" sh .ci/setup $(VENV) export
	@touch $@

$(addprefix $(VENV)/.for-,$(LIBRARIES) docs): $(EXPORT)
	@sh .ci/setup $(VENV) $(@:$(VENV)/.for-%=%)
	@touch $@

$(DEVELOPMENT): $(EXPORT)
	@sh .ci/setup $(VENV) development
	@touch $@

clean:
	rm -rf $(VENV) artifacts dist site
