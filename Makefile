SHELL := /bin/bash
VENV := .venv
BIN := $(VENV)/bin
PACKAGES := apache2-bin haproxy iproute2 mariadb-server nginx odbc-mariadb odbc-postgresql openssh-client openssh-server postgresql tdsodbc unixodbc
REPORT_PACKAGES := chromium
STRATEGY_PACKAGES := busybox-static createrepo-c dnf podman python3-apt rpm runc
SUITES := story scenarios modules killed balancers molecule floor sanity lint
SCENARIOS := bad_version controller_killed host_dies lb_dies limit_forgotten slow_drain two_controllers
BENCH_PACKAGES := libdbd-pg-perl percona-toolkit postgresql-client sqitch

.DEFAULT_GOAL := setup

help: ## Show what can be made
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | column -t -s "$$(printf '\t')"

$(VENV)/.ready: requirements.txt scripts/venv
	@scripts/venv $(VENV) requirements.txt

packages:
	@scripts/system-packages $(PACKAGES)

setup: packages $(VENV)/.ready ## Install what the demo and most tests need

demo: setup ## Release the example shop under load (DB=postgresql, BREAK=1)
	@PYTHONPATH=. $(BIN)/python -m lab.demo --db $(or $(DB),sqlite) $(if $(BREAK),--broken)

.venv-floor/.ready: requirements-floor.txt scripts/venv
	@scripts/venv .venv-floor requirements-floor.txt

lint: setup ## Check style, playbooks, changelog fragments and plugin documentation
	@$(BIN)/ruff check -q
	@$(BIN)/ruff format --check -q
	@PATH="$$PWD/$(BIN):$$PATH" $(BIN)/ansible-lint -q
	@$(BIN)/antsibull-changelog lint
	@$(BIN)/python scripts/variables-doc --check
	@$(BIN)/python scripts/rules-doc --check
	@PATH="$$PWD/$(BIN):$$PATH" $(BIN)/antsibull-docs lint-collection-docs --plugin-docs --validate-collection-refs self .

modules: setup ## Run the unit tests and the integration tests of the modules on real servers
	@scripts/system-packages $(REPORT_PACKAGES)
	@$(BIN)/pytest -q tests/unit $(addprefix tests/integration/,app availability backfill contract health lint migrations release_ledger report shop soft_drop)

balancers: setup ## Run the suites of every balancer
	@$(BIN)/pytest -q tests/integration/lb

story: setup ## Run releases with all that goes wrong on the way, and the demo
	@scripts/system-packages $(STRATEGY_PACKAGES)
	@$(BIN)/pytest -q tests/integration/rollout tests/integration/demo

strategies: setup ## Run every step of the strategies on a real apt, dnf and podman
	@scripts/system-packages $(STRATEGY_PACKAGES)
	@$(BIN)/pytest -q tests/integration/strategies

killed: setup ## Run a release whose controller is killed at every step
	@$(BIN)/pytest -q tests/integration/kill

plain-path:
	@case "$$PWD" in *[[:space:]\'\"\$$\\]*) echo "the tests hand the path of their Python to shells, and the oldest ansible-core does not quote it:" \
	  "clone into a folder without spaces and quotes in its path (make demo runs in any)" >&2; exit 1;; esac

test: plain-path setup ## Run everything, as CI does: the longest first, in three lanes, of which those with single modules mostly wait
	@EVERUP_TESTS=short EVERUP_SCENARIOS=short $(MAKE) --no-print-directory -j3 --output-sync=target $(SUITES)

test-all: plain-path setup $(SUITES) strategies ## Run in full what CI runs in short, and what it leaves out (some two hours)

root:
	@[ "$$(id -u)" = 0 ] || { echo "this makes hosts out of namespaces, which only root may: run it as root" >&2; exit 1; }

molecule: setup root ## Release to real hosts made out of namespaces: three groups, a balancer, a database (needs root)
	@PATH="$$PWD/$(BIN):$$PATH" $(BIN)/molecule test

scenarios: setup root ## Let everything go wrong on such hosts, in full (EVERUP_SCENARIOS=short: in minutes; needs root)
ifeq ($(EVERUP_SCENARIOS),short)
	@$(BIN)/pytest -q molecule
else
	@PATH="$$PWD/$(BIN):$$PATH" $(BIN)/molecule test $(addprefix -s ,$(SCENARIOS))
endif

$(VENV)/.bench: benchmarks/requirements.txt $(VENV)/.ready
	@$(BIN)/python -m pip install -qq --disable-pip-version-check -r benchmarks/requirements.txt
	@touch $@

bench: setup $(VENV)/.bench ## Run one of benchmarks/, as in: make bench NAME=lock_stall SCALE=small
	@scripts/system-packages $(BENCH_PACKAGES)
	@PYTHONPATH=. $(BIN)/python benchmarks/$(NAME).py $(if $(SCALE),--scale $(SCALE))

sanity: setup ## Run ansible-test sanity on a copy, without containers
	@scripts/sanity $(VENV)

unit: $(VENV)/.ready ## Run the unit tests
	@$(BIN)/pytest -q tests/unit

floor: setup .venv-floor/.ready ## Run the tests of modules and plugins on the oldest ansible-core that is promised
	@.venv-floor/bin/pytest -q tests/unit/test_*.py tests/unit/lb tests/unit/release tests/integration/app tests/integration/health "tests/integration/rollout/test_rollback_and_secrets.py::test_a_release_says_nothing_of_the_password"

lock: ## Renew the lock files from requirements.in and requirements-floor.in
	@for name in requirements requirements-floor; do \
	  uv pip compile -q --universal --python-version 3.11 --no-annotate --custom-compile-command "make lock" $$name.in -o $$name.txt; \
	done

docs: $(VENV)/.ready ## Write docs/variables.md from the roles, and docs/rules.md from the linter's rules
	@$(BIN)/python scripts/variables-doc
	@$(BIN)/python scripts/rules-doc

.PHONY: help plain-path packages setup bench demo docs test test-all modules balancers story strategies killed root molecule scenarios lint sanity unit floor lock
