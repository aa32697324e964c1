# Everything sets itself up: `make test` and `make gameday` need nothing before them.
PYTHON ?= python3
VENV ?= .venv
RUNS ?= 5
SHOP ?= shop
QUICK ?=
AUTO ?=
SCENARIO ?=
SEED ?=
PODS ?= 2400
PYTEST_ARGS ?=
BIN := $(VENV)/bin
export QUICK

.PHONY: install test check testbed gameday prove-hitless prove-enrolment prove-policies prove-tables prove-crash prove-faults prove-api prove-experiments prove-schedule bench-ansible bench-fleet bench-storm bench-sim historic clean

install: $(VENV)/.installed

$(VENV)/.installed: pyproject.toml
	$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || (apt-get update -qq && apt-get install -y -qq python3-venv)
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	touch $@

test: check
	$(BIN)/python -m pytest $(PYTEST_ARGS)

check: install
	$(BIN)/ruff format --check --quiet .
	$(BIN)/ruff check --quiet .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo

testbed: install
	$(BIN)/python -m testbed up

# AUTO=1: it plays itself
gameday: install
	$(BIN)/meshguard gameday $(if $(AUTO),--auto) $(if $(SCENARIO),--scenario $(SCENARIO)) $(if $(SEED),--seed $(SEED))

bench-sim: install
	$(BIN)/python -m bench.simulator

historic: install
	$(BIN)/python -m bench.historic

# SHOP=kinds: the same for one workload of every kind
prove-hitless: install
	$(BIN)/python -m testbed.proofs.$(if $(filter kinds,$(SHOP)),kinds,hitless) $(RUNS)

prove-enrolment prove-policies prove-tables prove-crash prove-faults prove-api prove-experiments prove-schedule: prove-%: install
	$(BIN)/python -m testbed.proofs.$*

bench-storm: install
	$(BIN)/python -m bench.storm $(PROXIES)

# PODS=2400: fake pods, on a quiet machine; writes docs/performance.md
bench-fleet: install
	$(BIN)/python -m bench.fleet $(PODS) $(RUNS)

bench-ansible: install
	$(BIN)/python -m bench.ansible_layer $(RUNS)

clean:
	rm -rf $(VENV) build dist *.egg-info src/*.egg-info
