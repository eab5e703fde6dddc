# `make demo` shows a cluster, `make test` proves the collection, `make clean` leaves nothing running.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

export ERLMCP_OPS_CACHE ?= /var/cache/erlmcp-ops
# Debian's, whatever else is first on the PATH.
PYTHON ?= /usr/bin/python3
key = $(shell (echo $(1); cat $(2)) | sha256sum | cut -c 1-12)
VENV := $(ERLMCP_OPS_CACHE)/venv-$(call key,$(PYTHON),requirements.txt)
COLLECTIONS := $(ERLMCP_OPS_CACHE)/collections/$(call key,$(CURDIR),/dev/null)
OPS := $(COLLECTIONS)/ansible_collections/erlmcp/ops
FAILURES := $(ERLMCP_OPS_CACHE)/failures
TIMES := $(ERLMCP_OPS_CACHE)/times
PARTS := $(ERLMCP_OPS_CACHE)/parts
HOSTS := $(VENV)/bin/python molecule/shared/hosts.py
# Scenarios side by side. Three at a time take each other's processors: tests took twice as long as two at a time.
WORKERS ?= 2
# The longest first: one that is left for the end has a processor idle beside it.
LONG := tls upgrade cluster partition rolling backup disaster_recovery variants firewall site hardening check
SCENARIOS := $(LONG) $(filter-out $(LONG),$(patsubst molecule/%/molecule.yml,%,$(wildcard molecule/*/molecule.yml)))

# Runs a command, and notes how long it took.
timed = $(CURDIR)/tests/timed.sh $(PARTS) $(1)

export PATH := $(VENV)/bin:$(PATH)
export ANSIBLE_COLLECTIONS_PATH := $(COLLECTIONS)
export ANSIBLE_CONFIG := $(CURDIR)/molecule/shared/ansible.cfg
export PYTHONPATH := $(CURDIR)/molecule/shared
export PYTHONDONTWRITEBYTECODE := 1

# Erlang, age and zstd are for the unit tests: Erlang judges what the filters write, reads and builds tables, talks TLS.
# wrk is the load on a balancer in the scenarios.
PACKAGES := age erlang-base erlang-mnesia erlang-ssl iproute2 make mmdebstrap openssh-client openssl python3-venv rsync \
  shellcheck systemd-container wrk zstd

.PHONY: help
help: ## Show this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

.PHONY: setup
setup: $(VENV)/.done $(OPS) packages ## Install what is needed: Debian packages, virtual environment

.PHONY: packages
packages:
	@[ "$$(id -u)" -eq 0 ] || { echo "make: run me as root: real systemd hosts need it" >&2; exit 1; }
	@missing=$$(for each in $(PACKAGES); do dpkg -s $$each > /dev/null 2>&1 || echo $$each; done); \
	  [ -z "$$missing" ] || { apt-get update -q && DEBIAN_FRONTEND=noninteractive apt-get install -qy --no-install-recommends $$missing; }

# Its name says of which requirements it is made; the file of a fresh clone is newer.
$(VENV)/.done: | packages
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/pip install -q --disable-pip-version-check -r requirements.txt
	touch $@

$(OPS):
	mkdir -p $(dir $(OPS))
	ln -sfn $(CURDIR) $(OPS)

.PHONY: releases
releases: setup
	@molecule/shared/build_releases.sh

.PHONY: demo
demo: releases ## Boot three hosts, provision them, show what is running
	@molecule/shared/demo.sh

.PHONY: test
test: ## Lint, unit tests, sanity tests, and every molecule scenario
	@rm -f $(PARTS)
	@$(MAKE) --no-print-directory --jobs 3 --output-sync=target lint unit sanity
	@$(MAKE) --no-print-directory scenarios
	@echo 'How long each part took, some of them side by side:'; sort -rn $(PARTS)

.PHONY: lint
lint: setup ## yamllint, ansible-lint (production), ruff, shellcheck, changelog
	@$(call timed,lint) tests/lint.sh

.PHONY: unit
unit: releases ## Unit tests
	cd $(OPS) && PYTHONPATH=$(COLLECTIONS) $(call timed,unit) python -m pytest -q -p no:cacheprovider --numprocesses 2 --dist loadfile tests/unit

.PHONY: sanity
sanity: setup ## ansible-test sanity
	@$(call timed,sanity) tests/sanity.sh

.PHONY: scenarios
scenarios: releases ## All molecule scenarios; one alone: make scenario-default
	@rm -rf $(FAILURES) $(TIMES)
	PYTEST_ADDOPTS="-p testreport" molecule test $(SCENARIOS:%=-s %) --workers $(WORKERS) --continue-on-failure --report \
	  || { cat $(FAILURES)/*.txt; exit 1; }
	@echo 'The slowest of the tests:'; sort -rn $(TIMES) | sed -n 1,20p

scenario-%: releases
	molecule test -s $*

.PHONY: bench
bench: releases ## Time of the first and the second run against fact gathering alone
	@python molecule/shared/bench.py

.PHONY: bench-backup
bench-backup: releases ## Time of a backup and a restore of 1 GB, against restic, borg, tar and the guide's script
	@python molecule/shared/bench_backup.py

.PHONY: soak
soak: releases ## What takes long: 1,000 damaged archives, 220 kills, ten nodes
	for each in backup/tests/test_loops.py backup/tests/test_attack.py cluster/tests disaster_recovery/tests \
	  partition/tests rolling/tests tls/tests upgrade/tests; do \
	  scenario=$${each%%/*}; \
	  $(HOSTS) reset molecule/$$scenario/inventory/hosts.yml; \
	  (cd molecule/$$scenario && ansible-playbook -i inventory converge.yml \
	    && ERLMCP_OPS_SOAK=1 python -m pytest -v -s -p no:cacheprovider --rootdir . $${each#*/}); \
	done

.PHONY: clean
clean: ## Stop and unmount everything; keep the caches
	@[ ! -x $(VENV)/bin/python ] || $(HOSTS) down

.PHONY: distclean
distclean: clean ## The same, and remove the caches
	rm -rf $(ERLMCP_OPS_CACHE)
