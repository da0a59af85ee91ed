SHELL := /bin/bash
VENV := .venv
BIN := $(VENV)/bin
PACKAGES := haproxy iproute2 odbc-postgresql openssh-client openssh-server postgresql unixodbc

.DEFAULT_GOAL := help

help: ## Show what can be made
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | column -t -s "$$(printf '\t')"

$(VENV)/.ready: requirements.txt scripts/venv
	@scripts/venv $(VENV) requirements.txt

packages:
	@scripts/system-packages $(PACKAGES)

setup: packages $(VENV)/.ready ## Install what the demo and the tests need

demo: setup ## Release the example shop under load (DB=postgresql, BREAK=1)
	@PYTHONPATH=. $(BIN)/python -m lab.demo --db $(or $(DB),sqlite) $(if $(BREAK),--broken)

lock: ## Renew requirements.txt from requirements.in
	@uv pip compile -q --universal --python-version 3.11 --no-annotate --custom-compile-command "make lock" requirements.in -o requirements.txt

.PHONY: help packages setup demo lock
