# Wallet Server. `make` alone lists the targets.
# Needs Python >= 3.11, make, and a package registry as pip and npm are set up on this machine.

SHELL := /bin/sh
.DEFAULT_GOAL := help
.NOTPARALLEL:
.DELETE_ON_ERROR:
.SUFFIXES:

VENV := .venv
BIN := $(VENV)/bin
STEP := @.ci/step
LOCK := --universal -p 3.11 --generate-hashes --no-emit-index-url --no-header -q $(LOCK_ARGS)
PYTEST_ARGS ?= -n 2 -q
CATALOGUES := $(wildcard wallet_server/locale/*/LC_MESSAGES/messages.po)

# A stamp says which set was installed. The development set holds the running set, so it satisfies both; it is
# taken when it is there already or when the target needs it.
DEV_GOALS := setup-dev test lint format peers messages
DEVELOPING := $(filter $(DEV_GOALS),$(MAKECMDGOALS))
SETUP_STAMP := $(VENV)/.setup
DEV_STAMP := $(VENV)/.dev
RUN_STAMP := $(if $(DEVELOPING)$(wildcard $(DEV_STAMP)),$(DEV_STAMP),$(VENV)/.run)
ALL_NODE_STAMP := node_modules/.all
RUN_NODE_STAMP := $(if $(DEVELOPING)$(wildcard $(ALL_NODE_STAMP)),$(ALL_NODE_STAMP),node_modules/.run)
PROJECT_STAMP := $(VENV)/.project
MANIFEST := var/static/vendor/manifest.json

.PHONY: help run setup setup-dev test lint format lock demo-data peers messages clean

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-11s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

run: setup ## Start everything with the demo program; Ctrl-C stops it
	@exec $(BIN)/wallet-server up --demo $(ARGS)

setup: $(RUN_STAMP) $(PROJECT_STAMP) $(RUN_NODE_STAMP) $(MANIFEST) $(CATALOGUES:.po=.mo) ## Install what running needs; repeats only what changed

setup-dev: $(DEV_STAMP) $(PROJECT_STAMP) $(ALL_NODE_STAMP) $(MANIFEST) $(CATALOGUES:.po=.mo) ## Install what working on it needs, too

test: setup-dev ## Check style, types, imports and migrations, then run every test
	$(STEP) "Find or install Chromium" $(BIN)/python -m tests.chromium
	$(STEP) "Find or install nghttpd and openssl" $(BIN)/python -m tests.tools
	@$(MAKE) --no-print-directory checks
	@exec $(BIN)/python -m pytest $(PYTEST_ARGS)

lint: setup-dev checks ## Check style, types, imports and migrations

.PHONY: checks
checks:
	$(STEP) "Lint Python (ruff)" $(BIN)/ruff check .
	$(STEP) "Check the format (ruff)" $(BIN)/ruff format --check .
	$(STEP) "Check types (mypy --strict)" $(BIN)/mypy
	$(STEP) "Lint templates (djlint)" $(BIN)/djlint --lint --quiet templates
	$(STEP) "Check who imports whom (import-linter)" $(BIN)/lint-imports
	$(STEP) "Check that migrations give the models" $(BIN)/wallet-server migrate --check

format: setup-dev ## Format Python and apply safe fixes
	$(STEP) "Fix Python (ruff)" $(BIN)/ruff check --fix .
	$(STEP) "Format Python (ruff)" $(BIN)/ruff format .

lock: $(SETUP_STAMP) ## Resolve the dependencies anew and write the lock files
	$(STEP) "Lock the development set" $(BIN)/uv pip compile pyproject.toml $(LOCK) --extra dev --extra demo-data -o requirements-dev.lock
	$(STEP) "Lock the running set" $(BIN)/uv pip compile pyproject.toml $(LOCK) -c requirements-dev.lock -o requirements.lock
	$(STEP) "Lock the demo data" $(BIN)/uv pip compile pyproject.toml $(LOCK) -c requirements-dev.lock --extra demo-data -o requirements-demo.lock
	$(STEP) "Lock the installer" $(BIN)/uv pip compile --group pyproject.toml:setup $(LOCK) -c requirements-dev.lock -o requirements-setup.lock
	$(STEP) "Lock Node.js" $(BIN)/uv pip compile --group pyproject.toml:node $(LOCK) -o requirements-node.lock
	$(STEP) "Lock other pass libraries" $(BIN)/uv pip compile --group pyproject.toml:peers $(LOCK) -o requirements-peers.lock
	$(STEP) "Lock the front-end packages" npm install --package-lock-only --ignore-scripts

demo-data: setup ## Install the grocery data set that the demo import reads
	$(STEP) "Install the demo data (about 32 MB)" $(BIN)/python .ci/install.py requirements-demo.lock

peers: setup-dev ## Install the pass libraries that the benchmark compares with
	$(STEP) "Install other pass libraries" $(BIN)/python .ci/install.py --target $(VENV)/peers requirements-peers.lock

messages: setup-dev ## Collect the texts to translate and update the catalogues
	$(STEP) "Collect texts" $(BIN)/pybabel extract -F pyproject.toml -k N_ -k gettext_noop --no-location --sort-output --project wallet-server -o var/messages.pot .
	$(STEP) "Update catalogues" $(BIN)/pybabel update -i var/messages.pot -d wallet_server/locale --no-fuzzy-matching --ignore-obsolete --ignore-pot-creation-date

clean: ## Remove what setup made; var/ with its data stays
	rm -rf $(VENV) node_modules var/static .mypy_cache .ruff_cache .pytest_cache .import_linter_cache

$(SETUP_STAMP): requirements-setup.lock
	@.ci/python >/dev/null
	$(STEP) "Make the virtual environment" .ci/venv
	@touch $@

$(VENV)/.run: requirements.lock | $(SETUP_STAMP)
	$(STEP) "Install Python packages" $(BIN)/python .ci/install.py requirements.lock
	@touch $@

$(DEV_STAMP): requirements-dev.lock | $(SETUP_STAMP)
	$(STEP) "Install Python packages for development" $(BIN)/python .ci/install.py requirements-dev.lock
	@touch $@

$(PROJECT_STAMP): pyproject.toml | $(SETUP_STAMP)
	$(STEP) "Install wallet-server itself" $(BIN)/uv pip install --offline --no-deps --no-build-isolation -e . --python $(BIN)/python
	@touch $@

node_modules/.run: package-lock.json package.json | $(SETUP_STAMP)
	$(STEP) "Install front-end packages" .ci/npm --omit=dev
	@touch $@

$(ALL_NODE_STAMP): package-lock.json package.json | $(SETUP_STAMP)
	$(STEP) "Install front-end packages for development" .ci/npm
	@touch $@

$(MANIFEST): wallet_server/assets.py $(RUN_NODE_STAMP) | $(RUN_STAMP)
	$(STEP) "Copy front-end files to var/static" $(BIN)/python -m wallet_server.assets
	@touch $@

%.mo: %.po | $(RUN_STAMP)
	$(STEP) "Compile the catalogue $(word 3,$(subst /, ,$<))" $(BIN)/pybabel compile -i $< -o $@
