# Every command of the project. A fresh machine needs Python 3.11+ and make; the rest goes into .venv.

PYTHON ?= $(firstword $(foreach name,python3 python3.14 python3.13 python3.12 python3.11,\
  $(shell $(name) -c 'import sys; print(sys.executable if sys.version_info >= (3, 11) else "")' 2>/dev/null)))
PIP = .venv/bin/pip install --quiet --disable-pip-version-check
LOCKED = $(PIP) --require-hashes --requirement
UV = .venv/uv/bin/uv pip compile --quiet --universal --generate-hashes --no-header --no-annotate --python-version 3.11 $(UPGRADE)
# Each process is given two tests at a time, so that none keeps a row of long ones while the others are done.
PYTEST = .venv/bin/python -m pytest --numprocesses auto --dist load --maxschedchunk 2
# What the files before it pin on every machine is not pinned twice.
BESIDE = $$(sed -En 's/^([a-z0-9._-]+)==[^;]*$$/--no-emit-package \1/p'

.DEFAULT_GOAL := help
.PHONY: help demo up env token doctor check check-tests test bench bench-check chaos lint schema reset install lock clean

help: ## list the commands
	@grep -hE '^[a-z-]+:.*## ' Makefile | sed -E 's/^([a-z-]+):.*## /make \1\t/' | expand -t 18

demo: .venv/run ## a picture from a prompt, on this machine (PROMPT="…" MODEL=…)
	@.venv/bin/python -m scripts.demo

up: .venv/run ## the local stack in the foreground, until Ctrl-C
	@.venv/bin/python -m scripts.up

env: .venv/run ## the local stack's address and keys as KEY=value
	@.venv/bin/python -m scripts.up env

token: .venv/run ## a user's access token for curl, from the running stack (EMAIL=… PASSWORD=…)
	@.venv/bin/python -m scripts.user_token

doctor: .venv/run ## what is wrong with a deployment, and the line to type (ARGS=--local: the stack of make up)
	@.venv/bin/python -m scripts.doctor $(ARGS)

test: .venv/test ## the whole test suite (ARGS="-k name")
	@$(PYTEST) $(ARGS)

# Beside each other: the linters run on one core for most of their time.
check: .venv/lint ## for every commit: lint, and the tests that are not slow (which would be is shown)
	@$(MAKE) --no-print-directory --jobs 2 lint check-tests

check-tests: .venv/test
	@$(PYTEST) --quiet -m "not slow" --durations 5 --durations-min 2 $(ARGS)

bench: .venv/run ## what queue and services cost, beside floors and peers (ROUNDS=5 PEERS=1 COMPARE=old.json)
	@.venv/bin/python -m scripts.bench

bench-check: .venv/run ## fails where a ratio to the floor got 30 % worse than scripts/bench/kept.json (KEEP=1 writes it)
	@.venv/bin/python -m scripts.bench.check

chaos: .venv/run ## three gateways under load while everything around them breaks (MINUTES=3 SEED=…)
	@.venv/bin/python -m scripts.chaos

lint: .venv/lint ## formatting, types, layering, SQL
	@.venv/bin/ruff check . && .venv/bin/ruff format --check .
	@.venv/bin/mypy
	@.venv/bin/basedpyright
	@.venv/bin/lint-imports --no-cache
	@.venv/bin/sqlfluff lint sql functions/_local/clock --processes 0

schema: .venv/run ## apply sql/ to a database (DB=postgresql://… before make, or its password shows in ps)
	@DB="$$DB" .venv/bin/python -m scripts.schema

reset: .venv/run ## wipe the local stack's data
	@.venv/bin/python -m scripts.reset

install: .venv/test .venv/lint ## everything a developer needs, without running anything

lock: .venv/bin/python ## pin the dependencies, with hashes, in constraints*.txt (UPGRADE=--upgrade for new versions)
	@test -x .venv/uv/bin/uv || { "$(PYTHON)" -m venv .venv/uv && .venv/uv/bin/pip install --quiet 'uv>=0.9,<1'; }
	@grep -oE 'setuptools>[^"]+' pyproject.toml | $(UV) pyproject.toml - --output-file constraints.txt
	@$(UV) pyproject.toml --extra test --constraint constraints.txt $(BESIDE) constraints.txt) \
	  --output-file constraints-test.txt
	@$(UV) pyproject.toml --extra test --extra lint --constraint constraints.txt --constraint constraints-test.txt \
	  $(BESIDE) constraints.txt constraints-test.txt) --output-file constraints-lint.txt

clean: ## remove .venv; the data stays
	@rm -rf .venv

.venv/bin/python:
	@test -n "$(PYTHON)" || { echo "Python 3.11 or newer is needed: install it, or name it with PYTHON=…" >&2; exit 1; }
	@"$(PYTHON)" -m venv .venv || { rm -rf .venv; \
	  echo "$(PYTHON) cannot make a virtual environment: install its venv package (Debian: python3-venv)" >&2; exit 1; }

# Each file is taken as it was when it was pinned, to the byte, or not at all. Only then the project itself, which brings
# nothing along: its build tool is among the pinned.
.venv/run: .venv/bin/python pyproject.toml constraints.txt
	@echo "Installing into .venv …" >&2 && $(LOCKED) constraints.txt && \
	  $(PIP) --no-deps --no-build-isolation --editable . && touch $@

.venv/test: .venv/run constraints-test.txt
	@echo "Installing the test tools into .venv …" >&2 && $(LOCKED) constraints-test.txt && touch $@

.venv/lint: .venv/test constraints-lint.txt
	@echo "Installing the lint tools into .venv …" >&2 && $(LOCKED) constraints-lint.txt && touch $@
