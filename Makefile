# Every target sets up .venv from the hashed lock by itself; a fresh machine needs Python 3.11+ and make.
PYTHON ?= python3
BIN := .venv/bin
# Bytecode is kept, whatever the shell says: each of many processes would compile every module anew.
export PYTHONDONTWRITEBYTECODE =
READY := .venv/ready
COMPILE := $(BIN)/uv pip compile pyproject.toml --quiet --universal --python-version 3.11 \
	--generate-hashes --no-emit-index-url --no-emit-find-links --no-header --no-annotate

.PHONY: demo test test-all check lock sandbox run bench-daemon bench-sandbox bench-judging bench-scale \
	bench-faults mutate torture simulate simulate-crashes simulate-bugs simulate-layers compat help

help:  ## Show this list.
	@grep -hE '^[a-z-]+:.*##' Makefile | sed -E 's/:.*## /\t/' | expand -t 16

demo: $(READY)  ## Four versions of a RAG model, from registration to production or back.
	@$(BIN)/headgate demo

test: $(READY)  ## All tests that need wheels only.
	@$(BIN)/python -m pytest --numprocesses 3 --dist loadscope --no-loadscope-reorder

test-all: $(READY)  ## The same, and the thorough ones that take longer.
	@$(BIN)/python -m pytest --numprocesses 3 --dist loadscope --no-loadscope-reorder -m "thorough or not thorough"

check: $(READY)  ## Lint, format and types.
	@$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/mypy

sandbox: $(READY)  ## An emulated Databricks workspace on loopback, until Ctrl-C.
	@$(BIN)/headgate sandbox

bench-daemon: $(READY)  ## Start-up time and memory of the daemon, with requirements.lock alone.
	@$(BIN)/python -m tests.benchmarks.daemon

bench-sandbox: $(READY)  ## Requests/s, latency and memory of the sandbox beside `mlflow models serve`.
	@$(BIN)/python -m tests.benchmarks.sandbox

bench-judging: $(READY)  ## Headgate and its peers on the same traces; an hour or more.
	@$(BIN)/python -u -m tests.benchmarks.judging

bench-scale: $(READY)  ## 10 to 10,000 applications, durable transitions, rollbacks in a crowd; an hour.
	@$(BIN)/python -m tests.benchmarks.durable
	@$(BIN)/python -m tests.benchmarks.urgency
	@$(BIN)/python -m tests.benchmarks.scale

bench-faults: $(READY)  ## Which gate stops each kind of faulty candidate, and how many users met it.
	@$(BIN)/python -m pytest -q -m "thorough or not thorough" tests/end_to_end/test_faults.py
	@$(BIN)/python -m tests.end_to_end.faults

KILLS ?= 100
torture: $(READY)  ## KILLS=100 times kill -9 at random moments, on each store; replicas that lose each other.
	@HEADGATE_KILLS=$(KILLS) HEADGATE_OUTAGE_S=60 $(BIN)/python -m pytest -q -s \
		tests/end_to_end/test_kills.py tests/end_to_end/test_replicas.py

N ?= 2000
SEED ?= 1
simulate: $(READY)  ## N=2000 seeds from SEED=1: real passes and store, faults everywhere, on all cores.
	@$(BIN)/python -m tests.simulation campaign --runs $(N) --seed $(SEED)

simulate-crashes: $(READY)  ## A death at every place that a good and a bad release pass.
	@$(BIN)/python -m tests.simulation crashes

simulate-bugs: $(READY)  ## Which seed finds each bug that is put in on purpose, and how soon.
	@$(BIN)/python -m tests.simulation bugs

simulate-layers: $(READY)  ## Each layer of safety alone, the others off; and with itself off too.
	@$(BIN)/python -m tests.simulation layers

mutate: $(READY)  ## Mutation score of policies/ and states/, with every survivor; an hour or two.
	@$(BIN)/python -m tests.benchmarks.mutation

compat: $(READY)  ## The newest clients, and MLflow 2, against the sandbox; needs a package registry.
	@$(BIN)/python -m tests.compat.run

.PHONY: image-check
image-check: $(READY)  ## The container image, built and run; needs root, apt's buildah podman runc mmdebstrap.
	@$(BIN)/python -m tests.image.check

.PHONY: compose-check
compose-check: $(READY)  ## deploy/compose.yaml by podman-compose; also needs apt's netavark aardvark-dns.
	@$(BIN)/python -m tests.image.compose

.PHONY: reference
reference: $(READY)  ## The pages of commands and configuration, and the editors' schema, made anew.
	@$(BIN)/python -m controller.console.reference

CONFIG ?= headgate.yaml
run: $(READY)  ## The daemon, with CONFIG=headgate.yaml.
	@$(BIN)/headgate run --config $(CONFIG)

lock: $(READY)  ## Resolve the locks anew; add UPGRADE=--upgrade to move every version.
	@$(COMPILE) $(UPGRADE) --output-file requirements.lock
	@$(COMPILE) $(UPGRADE) --extra sandbox --group dev --constraint requirements.lock --output-file requirements-dev.lock
	@echo uv | $(BIN)/uv pip compile - --quiet --universal --python-version 3.11 --generate-hashes \
		--no-emit-index-url --no-emit-find-links --no-header --no-annotate \
		--constraint requirements-dev.lock --output-file requirements-uv.lock

$(READY): requirements-dev.lock requirements-uv.lock pyproject.toml
	@echo "setting up .venv (once)"
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Headgate needs Python 3.11 or later: make PYTHON=python3.11")'
	@$(PYTHON) -m venv .venv
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --requirement requirements-uv.lock
	@$(BIN)/uv pip sync --quiet --require-hashes requirements-dev.lock
	@$(BIN)/uv pip install --quiet --no-deps --no-build-isolation --editable .
	@touch $@
