# Every word a developer, an operator or CI types. `make help` lists them.
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory
VENV := .venv/bin
# Workers share nothing: each starts servers of its own. A file stays whole, its costly fixtures are made once.
PYTEST := $(VENV)/pytest -q -n auto --maxprocesses 4 --dist loadfile
BROKER ?=
KILL ?=
S ?=
QUICK ?=
ARGS ?=
QUICK ?=
.PHONY: help setup demo up down test test-all mutants matrix faults fairness crash-grid simulate-cores check format contracts migrate run setup-debian locks ready ready-demo

help:  ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: ready  ## .venv with everything the locks say; instant when nothing changed
	@echo "ready: $(VENV)/outrider, $(VENV)/pytest"

ready:
	@.ci/setup requirements-dev.lock

ready-demo:
	@.ci/setup requirements-embedded.lock

demo: ready-demo  ## the whole house for a minute: BROKER=rabbitmq for real processes, KILL=1 to crash them on the way
	@$(VENV)/outrider demo $(if $(BROKER),--broker $(BROKER)) $(if $(KILL),--kill) $(ARGS)

up: ready-demo  ## the whole house, staying up; prints its addresses and where its key is
	@$(VENV)/outrider up $(if $(BROKER),--broker $(BROKER)) $(ARGS)

down: ready-demo  ## ends what `make up` started
	@$(VENV)/outrider down $(ARGS)

test: ready  ## all tests but the heavy ones; ARGS="-k name" for some
	@$(PYTEST) -m "not heavy" $(ARGS)

test-all: ready  ## all tests, also those which take minutes
	@$(PYTEST) $(ARGS)

mutants: ready  ## takes away each thing that keeps tenants apart; a test must fail each time. ARGS="--only role"
	@$(VENV)/python -m tests.security.mutants $(ARGS)

matrix: ready  ## everybody asks every service for everybody's objects: tests/security/matrix/table.txt says what they get
	@$(VENV)/python -m tests.security.matrix $(ARGS)

faults: ready  ## breaks the broker, the database, the network and the processes, and counts what came of it; QUICK=1: some rows; ARGS="--only F1"
	@$(VENV)/python -m tests.faults $(if $(QUICK),--quick) $(ARGS)

fairness: ready  ## what one organization's flood costs another, from webhook to visible; for a machine that does nothing else
	@$(VENV)/python -m tests.faults.fairness $(ARGS)

crash-grid: ready  ## crashes processes at every named place, in every way, on both transports; half an hour; ARGS="--only relay."
	@$(VENV)/python -m tests.crashes $(ARGS)

simulate-cores: ready  ## 10,000 seeded worlds for each pure core; minutes; ARGS="--core slots --seed 17" plays one again
	@$(VENV)/python -m tests.simulation $(ARGS)

# All four run, so that one look shows all there is to mend.
check: ready  ## style, types, who imports whom, locks without addresses
	@failed=; \
	$(VENV)/ruff check --quiet --output-format=concise . || failed="$$failed ruff"; \
	$(VENV)/ruff format --quiet --check . || failed="$$failed format(make_format)"; \
	$(VENV)/mypy --no-error-summary || failed="$$failed mypy"; \
	out=$$($(VENV)/lint-imports --no-cache 2>&1) || { echo "$$out"; failed="$$failed lint-imports"; }; \
	! grep -n '://' requirements*.lock || failed="$$failed locks-hold-addresses"; \
	$(VENV)/outrider contracts --check || failed="$$failed contracts"; \
	if [ -n "$$failed" ]; then echo "check failed:$$failed"; exit 1; fi; echo "check: all well"

format: ready  ## mends what can be mended without thinking
	@$(VENV)/ruff check --quiet --fix . ; $(VENV)/ruff format --quiet .

contracts: ready  ## writes contracts/ from the code; the diff is the review
	@$(VENV)/outrider contracts $(ARGS)

migrate: ready-demo  ## brings the database at DATABASE_URL to this version
	@$(VENV)/outrider migrate $(ARGS)

run: ready-demo  ## one service: make run S=gateway
	@test -n "$(S)" || { echo "which one? make run S=gateway"; exit 2; }
	@$(VENV)/python -m services.$(S) $(ARGS)

setup-debian:  ## as root on Debian or Ubuntu: installs RabbitMQ and PostgreSQL (their programs; tests start their own nodes)
	@test "$$(id -u)" = 0 || { echo "setup-debian wants root: sudo make setup-debian"; exit 1; }
	@echo "installing rabbitmq-server and postgresql with apt-get"
	@apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends rabbitmq-server postgresql >/dev/null

# The dev lock is solved first and binds the other two, so that a version is tested before it is run.
# No address may enter a lock: the machine's own index settings are left out, and so are headers and annotations.
UV := var/uv/bin/uv
COMPILE := env -u UV_INDEX -u UV_INDEX_URL -u UV_DEFAULT_INDEX -u UV_EXTRA_INDEX_URL -u UV_FIND_LINKS $(UV) --no-config pip compile \
	--quiet --generate-hashes --universal --python-version 3.11 --no-header --no-annotate $(ARGS) pyproject.toml --extra build
locks:  ## solves the three locks anew; ARGS=--upgrade for newer releases
	@test -x $(UV) || { python3 -m venv var/uv && var/uv/bin/pip install -qq uv; }
	@$(COMPILE) --extra embedded --extra dev -o requirements-dev.lock
	@$(COMPILE) --extra embedded -c requirements-dev.lock -o requirements-embedded.lock
	@$(COMPILE) -c requirements-dev.lock -o requirements.lock
	@! grep -n '://' requirements*.lock
