# `make help` lists the commands. On Linux, PyPI's PyTorch brings CUDA with it, some 3 GB; its makers' CPU build is taken
# with PIP_EXTRA_INDEX_URL=https://download.pytorch.org/whl/cpu in the environment.

.DEFAULT_GOAL := help
.PHONY: help .venv demo test test-hosts lint format bench clean FORCE

PYTHON ?= $(shell for p in python3.11 python3 python3.12 python3.13 python3.14; do \
	$$p -c 'import sys, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && { echo $$p; break; }; done)
PY := .venv/bin/python
PIP := $(PY) -m pip --disable-pip-version-check install --quiet -c constraints.txt
PYTEST_ARGS ?= -n 2 --dist worksteal

# The environment is complete when this file says for which folder and which requirements it was built: a build that
# was broken off has none, and a folder that was moved does not match. Contents are compared, since dates change with
# every checkout.
STAMP := .venv/complete
REQUIREMENTS := $(shell cat pyproject.toml constraints.txt | cksum)
ifneq ($(shell cat $(STAMP) 2>/dev/null),$(CURDIR) $(REQUIREMENTS))
$(STAMP): FORCE
endif

help: ## this list
	@sed -n 's/^\([-.a-z]*\):.*## /\1|/p' $(MAKEFILE_LIST) | awk -F'|' '{ printf "make %-11s %s\n", $$1, $$2 }'

.venv: $(STAMP) ## the environment alone: everything that the other commands need, about 3 GB

$(STAMP):
	@test -n "$(PYTHON)" || { echo "Python 3.11 or newer, with its venv module, is needed; name yours by PYTHON=..." >&2; exit 1; }
	@case "$$(cat $@ 2>/dev/null)" in "$(CURDIR) "*) ;; *) rm -rf .venv ;; esac
	@rm -f $@
	@echo "Building .venv; PyTorch and JAX are the large part."
	@test -x $(PY) || $(PYTHON) -m venv .venv
	@$(PIP) 'pip>=25.1'  # the first that knows --group
	@$(PIP) --editable '.[demo,rl,dmc,sweep]' --group test --group oracles --group hosts
	@$(PIP) --no-deps timm  # its torchvision would bring a second PyTorch
	@echo "$(CURDIR) $(REQUIREMENTS)" > $@

demo: $(STAMP) ## train on real digits under a plan, against a constant learning rate; about two minutes
	@$(PY) examples/digits/train.py

test: $(STAMP) ## lint, then every test, doctest and layer contract; the tests run even if lint fails
	@status=0; $(MAKE) --no-print-directory lint || status=$$?; $(PY) -m pytest $(PYTEST_ARGS) || status=$$?; exit $$status

test-hosts: .venv/ray ## every host framework for real, RLlib too, and rollouts on a Ray cluster, which adds 400 MB
	@status=0; $(PY) -m pytest $(PYTEST_ARGS) tests/hosts tests/convert/test_convert_export.py tests/faults/test_faults_hosts.py || status=$$?; \
		$(PY) -m pytest tests/rl/test_ppo_ray.py || status=$$?; exit $$status

.venv/ray: $(STAMP)
	@$(PIP) --group ray
	@touch $@

lint: $(STAMP) ## ruff and pyright
	@$(PY) -m ruff check .
	@$(PY) -m ruff format --check .
	@$(PY) -m pyright

format: $(STAMP) ## put the code in order
	@$(PY) -m ruff check --fix-only --quiet .
	@$(PY) -m ruff format .

bench: $(STAMP) ## measure against the peers, side by side
	@$(PY) benchmarks/run.py
	@$(PY) benchmarks/pipeline.py

clean: ## remove the environment and the caches
	@rm -rf .venv .hypothesis .import_linter_cache .pytest_cache .ruff_cache build dist
	@find src tests examples benchmarks -name __pycache__ -prune -exec rm -rf {} + 2>/dev/null || true
