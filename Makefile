# `make image` and `make test` need nothing set up beforehand; `make help` lists the rest.
# one target, e.g. debian-13/snp/libvirt+debug; for a profile, run `podvm-build build PROFILE`
TARGET ?= debian-13/snp/libvirt
OUT ?= out
COMPONENTS ?= selftest
PYTEST_ARGS ?=

BIN := .venv/bin
PODVM_BUILD := $(BIN)/podvm-build
# the output folder of a target, as Target.folder in podvm_builder/model/axes.py
FOLDER := $(OUT)/$(subst _,-,$(subst +,-,$(subst :,-,$(subst /,-,$(TARGET)))))

.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help image test check e2e bench bench-boot golden docs clean setup setup-dev

help: ## List the targets
	@sed -n 's/^\([a-z0-9-]*\):.*## /\1|/p' $(MAKEFILE_LIST) | awk -F '|' '{printf "%-10s %s\n", $$1, $$2}'

image: setup ## Build TARGET (a target, not a profile) and boot it; ends with its measurements and where the reference values are
	@mkdir -p $(OUT)
	$(PODVM_BUILD) build $(TARGET) -o $(OUT) --components $(COMPONENTS) >$(FOLDER).txt.new
	@mv $(FOLDER).txt.new $(FOLDER).txt
	$(PODVM_BUILD) boot $(FOLDER); status=$$?; echo; cat $(FOLDER).txt; exit $$status

test: setup-dev ## Run the tests, an image build and a boot among them (PYTEST_ARGS passes through)
	$(PODVM_BUILD) tools make
	$(BIN)/python -m pytest -n auto $(PYTEST_ARGS)

check: setup-dev ## Lint, types, layers, and whether what is generated is up to date
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python scripts/generate.py --check

e2e: setup-dev ## Build and boot the wider matrix, and write its tables into docs/ (half an hour)
	@rm -rf build/e2e
	$(BIN)/python -m pytest -m e2e $(PYTEST_ARGS); status=$$?; $(BIN)/python scripts/boot_tables.py; exit $$status

bench: setup-dev ## Print the benchmarks
	@set -e; for bench in tests/bench/bench_*.py; do echo "== $$bench"; $(BIN)/python $$bench; done

bench-boot: setup-dev ## Boot our image against one in the incumbent's shape (some ten minutes)
	$(BIN)/python tests/bench/boot_against_incumbent.py

golden: setup-dev ## Write the golden files anew; say in the commit why they changed
	$(BIN)/python -m tests.golden.regenerate

docs: setup-dev ## Write anew what is generated: docs, schema, support matrix, reference recipes
	$(BIN)/python scripts/generate.py

clean: ## Remove outputs and caches of the project's folder; the tools tree stays (podvm-build tools remove)
	rm -rf out dist build .venv .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis

setup:
	@scripts/setup run

setup-dev:
	@scripts/setup dev
