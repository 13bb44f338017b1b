# `make` lists what there is to do. Everything runs in .venv, which is set up and kept up to date by itself.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
BIN := .venv/bin
READY := .venv/.ready

.PHONY: help demo test live lint format check bench bench-quick bench-lock torture memory services docs screenshots lock clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-11s %s\n", $$1, $$2 }' Makefile

demo: $(READY) ## see it work: ships sample logs and shows what arrived
	@$(BIN)/python examples/demo/demo.py

test: $(READY) ## all tests; those against real servers only if `make services` got them
	@$(BIN)/pytest

live: services ## the tests against the real servers; a missing one is a failure
	@TAILRACE_LIVE=required $(BIN)/pytest tests/live

# mypy runs where the checkout is called `tailrace`, as the tests import it: a link in .venv gives it that name.
lint: $(READY) ## ruff and mypy
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@cd .venv/src && ../bin/mypy --config-file ../../pyproject.toml --exclude '^tailrace/(build|dist)/' tailrace

format: $(READY) ## let ruff lay the code out
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

check: lint ## lint, and the tests that need no server: before each commit
	@$(BIN)/pytest -m "not live"

bench: $(READY) ## speed, latency and memory beside the rivals that are here, into docs/performance.md (25 minutes)
	@benchmarks/all.sh

bench-quick: $(READY) ## fail if tailrace has become slow beside syslog-ng or rsyslog (two minutes)
	@benchmarks/sink/build.sh
	@$(BIN)/python -m tailrace.benchmarks.gate

bench-lock: $(READY) ## pin the newest matplotlib, which draws the picture of `make bench`
	@test -x $(BIN)/uv || $(BIN)/python -m pip install --quiet uv
	@$(BIN)/uv pip compile --quiet --upgrade --universal --generate-hashes --no-emit-index-url --no-annotate \
		--custom-compile-command 'make bench-lock' --python-version 3.11 --group bench \
		--constraint requirements-dev.lock -o benchmarks/requirements.lock

torture: services ## kill, rotate, spoil the network, and count every line: RUNS=20 SEED=1 make torture
	@$(BIN)/python -m tailrace.tests.live.torture --runs $${RUNS:-5} $${SEED:+--seed $$SEED}

memory: services ## what it takes while Loki is away for 10 minutes and logs go on: MINUTES=1 RATE=10 make memory
	@$(BIN)/python -m tailrace.benchmarks.outage_memory --minutes $${MINUTES:-10} --rate $${RATE:-10} \
		$${FOLDER:+--folder "$$FOLDER"}

services: $(READY) ## get the real servers for tests (once; kept in ~/.cache/tailrace)
	@$(BIN)/python -m tests.services install

docs: $(READY) ## write docs/reference anew from the code
	@mkdir -p docs/reference
	@$(BIN)/tailrace components > docs/reference/components.md.new
	@$(BIN)/tailrace schema > docs/reference/schema.json.new
	@cd docs/reference && mv components.md.new components.md && mv schema.json.new schema.json

screenshots: services ## make the pictures of the status page in docs/how-to anew
	@$(BIN)/python -m tailrace.tests.live.screenshots

lock: $(READY) ## pin the newest versions that pyproject.toml allows
	@test -x $(BIN)/uv || $(BIN)/python -m pip install --quiet uv
	@$(BIN)/python -c 'import tomllib; print(*tomllib.load(open("pyproject.toml", "rb"))["build-system"]["requires"], sep="\n")' \
		| $(BIN)/uv pip compile --quiet --upgrade --universal --generate-hashes --no-emit-index-url --no-annotate \
			--custom-compile-command 'make lock' --python-version 3.11 --group dev pyproject.toml - -o requirements-dev.lock

clean: ## remove what can be made again (not the servers)
	rm -rf .venv build dist *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# The lock holds everything, setuptools included, so that the editable install fetches nothing unpinned.
$(READY): requirements-dev.lock pyproject.toml
	@if ! $(BIN)/python -c 'import sys, pip; assert sys.version_info >= (3, 11)' 2> /dev/null; then \
		for python in $${PYTHON:-python3.13 python3.12 python3.11 python3}; do \
			if $$python -c 'import sys, venv, ensurepip; assert sys.version_info >= (3, 11)' 2> /dev/null; then break; fi; \
			python=; \
		done; \
		if [[ -z $$python ]]; then \
			echo 'tailrace needs Python 3.11 or newer with venv (on Debian: apt install python3-venv), or PYTHON=path' >&2; \
			exit 1; \
		fi; \
		$$python -m venv --clear .venv; \
	fi
	@echo "installing the locked packages into .venv ($$($(BIN)/python --version))"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-dev.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@mkdir -p .venv/src && ln -sfn ../.. .venv/src/tailrace
	@touch $@
