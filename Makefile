# Everything begins here. `make test` and `make run` need Python 3.11+, git and make, nothing else.
SHELL := /bin/bash
.DEFAULT_GOAL := help
PYTHON := .venv/bin/python

.PHONY: help install run test lint types tests fmt docs sim bench campaign mutants clean ratchet

help:     ## what can be made
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 18

install:  ## the virtual environment in .venv, once per pyproject.toml
	@tools/install

run: install  ## circusd on examples/hello.toml and its live event stream, until Ctrl-C
	@tools/run examples/hello.toml

test: install  ## lint, types, a short simulation, a short fault campaign and all tests; ends with pytest's summary line
	@$(PYTHON) tools/check.py lint types cores sim campaign tests

lint: install  ## ruff, import-linter, codespell, mypy and pyright
	@$(PYTHON) tools/check.py lint types

types: install  ## mypy and pyright alone
	@$(PYTHON) tools/check.py types

tests: install  ## pytest alone
	@$(PYTHON) tools/check.py tests

fmt: install  ## format, and fix what can be fixed safely
	@.venv/bin/ruff format . && .venv/bin/ruff check --fix-only --exit-zero .

docs: install  ## print the diagrams, and check that the pages, the code and the links agree
	@$(PYTHON) tests/test_docs.py && $(PYTHON) -m pytest -q --no-cov tests/test_docs.py

sim: install  ## worlds of fresh seeds; SECONDS=60 or STEPS=, SEED=, JOBS=, MUTANT=, JSON=
	@$(PYTHON) -m circus.replay soak $(if $(SECONDS),--seconds $(SECONDS)) \
	  $(if $(STEPS),--steps $(STEPS)) $(if $(SEED),--seed $(SEED)) $(if $(JOBS),--jobs $(JOBS)) \
	  $(if $(MUTANT),--mutant $(MUTANT)) $(if $(JSON),--json $(JSON))

bench: install  ## all benchmarks, peers and the bare loop interleaved; writes docs/performance.md
	@$(PYTHON) -m bench

campaign: install  ## faults against the real thing; ONLY=F1,F8, SECONDS=210, SEED=, COUNT=, N=1, TABLE=1, JSON=, WRITE=1
	@ONLY='$(ONLY)' SECONDS='$(SECONDS)' SEED='$(SEED)' COUNT='$(COUNT)' BEFORE='$(BEFORE)' \
	  N='$(N)' TABLE='$(TABLE)' JSON='$(JSON)' WRITE='$(WRITE)' $(PYTHON) -m campaign

mutants: install  ## hunt every mutant in the simulated world; a survivor fails
	@$(PYTHON) -m circus.replay.mutants --all

ratchet: install  ## write down today's breaches of the house rules (never upwards without a reason)
	@$(PYTHON) tests/test_tidy.py

clean:    ## remove what was made, the virtual environment included
	@rm -rf .venv build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .import_linter_cache \
	  .hypothesis .coverage .coverage.*
	@find . -name __pycache__ -type d -not -path './.git/*' -prune -exec rm -rf {} +
