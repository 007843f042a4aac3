# Thin: each recipe is one command that CI calls too. `make setup` needs Python 3.11, make and a package index.
SHELL := /bin/sh
.DEFAULT_GOAL := help
BIN := .venv/bin
# Most tests wait for real seconds to pass, so there may be more at once than there are cores.
WORKERS ?= 3

.PHONY: help setup demo test soak lint types contracts simulate bench bench-delivery bench-launch bench-pooler bench-fleet reference dashboards chart dist clean

help:  ## this list
	@grep -E '^[a-z-]+:.*##' Makefile | sed -E 's/:[^#]*## /\t/' | expand -t 14

setup: .venv/.ready  ## a .venv with everything from the lock

.venv/.ready: uv.lock pyproject.toml tools/setup.sh
	@sh tools/setup.sh
	@touch $@

demo: setup  ## a product launch against an embedded Postgres, and the page that comes before the refusal
	@$(BIN)/pgheadroom demo $(DEMO)

test: setup  ## everything, on real servers (TESTS="-k name" for a part, WORKERS=0 for one at a time)
	@sh tools/system-packages.sh
	@$(BIN)/pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder $(TESTS)

soak: setup  ## what takes long: killed at every 50 ms after a threshold is crossed
	@sh tools/system-packages.sh
	@SOAK=1 $(BIN)/pytest tests/acceptance/test_no_loss.py -k whole_grid $(TESTS)

lint: setup  ## ruff: rules and format
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .

types: setup  ## mypy, strict
	@$(BIN)/mypy

contracts: setup  ## who may import whom
	@$(BIN)/lint-imports

simulate: setup  ## the false pages and leads of docs/forecast.md
	@$(BIN)/python -m tools.simulation $(SIMULATE)

bench-pooler: setup  ## what a poll costs a PgBouncer
	@$(BIN)/python bench/pooler.py $(BENCH)

bench: setup  ## the figures of docs/performance.md
	@sh tools/system-packages.sh
	@$(BIN)/python bench/run.py $(BENCH)

bench-launch: setup  ## who pages before the first refusal, pgheadroom or the usual stack; 20 minutes
	@sh tools/system-packages.sh
	@$(BIN)/python bench/launch.py $(BENCH)

bench-delivery: setup  ## from a decision to the receiver, with the disk in between
	@$(BIN)/python bench/delivery.py $(BENCH)

bench-fleet: setup  ## what a fleet of 50, 200 and 400 servers costs
	@$(BIN)/python bench/fleet.py $(BENCH)

reference: setup  ## docs/configuration.md and docs/metrics.md, made from the code
	@$(BIN)/python tools/reference.py --write

dashboards: setup  ## dashboards/*.json, made from tools/dashboards
	@$(BIN)/python -m tools.dashboards --write

chart: setup  ## what helm/pgheadroom has of the rules, the dashboards, the schema and the values' comments
	@$(BIN)/python -m tools.chart --write

dist: setup  ## the wheel
	@.venv/bin/uv build --wheel --out-dir dist

clean:  ## remove what make made
	rm -rf .venv .cache dist build
