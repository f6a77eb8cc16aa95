# Every target sets up .venv from the hashed lock by itself; a fresh machine needs Python 3.11+ and make.
PYTHON ?= python3
BIN := .venv/bin
# Bytecode is kept, whatever the shell says: each of many processes would compile every module anew.
export PYTHONDONTWRITEBYTECODE =
READY := .venv/ready
COMPILE := $(BIN)/uv pip compile pyproject.toml --quiet --universal --python-version 3.11 \
	--generate-hashes --no-emit-index-url --no-emit-find-links --no-header --no-annotate

.PHONY: demo test test-all check lock sandbox run bench-daemon bench-sandbox bench-judging bench-scale bench-logs \
	bench-faults mutate torture simulate simulate-crashes simulate-bugs simulate-layers compat \
	test-browser help

help:  ## Show this list.
	@grep -hE '^[a-z-]+:.*##' Makefile | sed -E 's/:.*## /\t/' | expand -t 16

demo: $(READY)  ## Four versions of a RAG model, from registration to production or back.
	@$(BIN)/headgate demo

test: $(READY)  ## All tests that need wheels only.
	@$(BIN)/python -m pytest --numprocesses 4 --dist loadscope --no-loadscope-reorder

test-all: $(READY)  ## The same, and the thorough ones that take longer.
	@$(BIN)/python -m pytest --numprocesses 4 --dist loadscope --no-loadscope-reorder -m "thorough or not thorough"

test-browser: $(READY)  ## The daemon's pages in headless Chromium; pictures in build/browser.
	@$(BIN)/python -m tests.browser.chromium
	@$(BIN)/python -m pytest -q tests/browser/drive.py

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

MB ?= 1000
bench-logs: $(READY)  ## MB=1000 of log answered by status and explain, beside jq; LOG=FILE saves a demo's run.
	@$(BIN)/python -m tests.benchmarks.logs --mb $(MB) $(if $(LOG),--log $(LOG))

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

mutate: $(READY)  ## Mutation score of policies/ and states/, with every survivor; a day; SAMPLE=300 an hour.
	@$(BIN)/python -m tests.benchmarks.mutation $(if $(SAMPLE),--sample $(SAMPLE))

compat: $(READY)  ## The newest clients, and MLflow 2, against the sandbox; needs a package registry.
	@$(BIN)/python -m tests.compat.run

.PHONY: image-check
image-check: $(READY)  ## The container image, built and run; needs root, apt's buildah podman runc mmdebstrap.
	@$(BIN)/python -m tests.image.check

.PHONY: compose-check
compose-check: $(READY)  ## deploy/compose.yaml by podman-compose; also needs containernetworking-plugins.
	@$(BIN)/python -m tests.image.compose

.PHONY: upgrade-check
upgrade-check: $(READY)  ## REV=COMMIT rolled up to this version and back on one PostgreSQL; needs git's history.
	@$(BIN)/python -m tests.upgrade.history $(REV)
	@REV=$(REV) $(BIN)/python -m pytest -q -s tests/upgrade/drive.py

PROMTOOL ?= promtool
.PHONY: alerts-check
alerts-check:  ## Alert rules parse, fire on trouble and on nothing else; needs promtool (Debian: prometheus).
	@$(PROMTOOL) check rules deploy/prometheus/headgate.rules.yaml
	@$(PROMTOOL) test rules deploy/prometheus/headgate.rules.test.yaml

# Tools have environments of their own, of hashed pins: they and the daemon never meet.
TOOLS := build/tools
.SECONDARY:
$(TOOLS)/%/ready: deploy/tools/%.lock $(READY)
	@mkdir -p $(TOOLS) && $(BIN)/uv venv --quiet --clear --python $(BIN)/python $(TOOLS)/$*
	@$(BIN)/uv pip sync --quiet --require-hashes --python $(TOOLS)/$*/bin/python $(or $(WITH),) $<
	@touch $@

.PHONY: audit sbom fuzz fuzz-http
audit: $(TOOLS)/audit/ready  ## The locks against the known vulnerabilities; needs their database.
	@$(BIN)/python -m deploy.tools.audit $(TOOLS)/audit/bin/pip-audit requirements.lock requirements-dev.lock

sbom: $(TOOLS)/sbom/ready  ## What is inside, as CycloneDX: build/sbom.json.
	@$(BIN)/python -m deploy.tools.sbom $(TOOLS)/sbom/bin/cyclonedx-py requirements.lock build/sbom.json

SECONDS ?= 60
$(TOOLS)/fuzz/ready: WITH = requirements.lock
fuzz: $(TOOLS)/fuzz/ready  ## SECONDS=60 of atheris each on configuration, log and webhook; Python 3.11.
	@for target in configuration log webhook; do \
		$(TOOLS)/fuzz/bin/python -m tests.fuzz $$target $(SECONDS) || exit 1; done

EXAMPLES ?= 200
fuzz-http: $(TOOLS)/fuzz-http/ready  ## EXAMPLES=200 of schemathesis on each operation of the HTTP interface.
	@$(BIN)/python -m tests.fuzz.http $(TOOLS)/fuzz-http/bin/schemathesis $(EXAMPLES)

.PHONY: reference
RULES := deploy/kubernetes/components/monitoring/rules.yaml
reference: $(READY)  ## The pages of commands and configuration, the editors' schema, and the operator's rules, made anew.
	@$(BIN)/python -m controller.console.reference
	@{ printf '# Made of deploy/prometheus/headgate.rules.yaml by `make reference`: kustomize can name no file\n'; \
	  printf '# outside its folder, and the operator wants it wrapped.\n'; \
	  printf 'apiVersion: monitoring.coreos.com/v1\nkind: PrometheusRule\n'; \
	  printf 'metadata:\n  name: headgate\n  labels: {app.kubernetes.io/name: headgate}\nspec:\n'; \
	  sed -e '/^#/d' -e 's/^\(.\)/  \1/' deploy/prometheus/headgate.rules.yaml; } > $(RULES)

.PHONY: databricks-app deploy-check
databricks-app: $(READY)  ## Pack deploy/databricks/app, for `databricks bundle deploy`.
	@$(BIN)/python deploy/databricks/pack.py

DEPLOY := build/deploy
deploy-check: $(DEPLOY)/ready  ## Manifests and bundle against the published schemas, the app run; needs kubectl and a package registry.
	@command -v kubectl >/dev/null || { echo "make deploy-check needs kubectl, 1.27 or later: install it from your distribution or from kubernetes.io"; exit 1; }
	@$(DEPLOY)/venv/bin/python tests/deploy/published.py $(DEPLOY)/rendered
	@HEADGATE_RENDERED=$(DEPLOY)/rendered $(BIN)/python -m pytest -q tests/deploy/test_kubernetes.py
	@$(BIN)/python -m tests.deploy.app_run

$(DEPLOY)/ready: requirements-deploy.lock $(READY)
	@$(BIN)/uv venv --quiet --clear --python $(BIN)/python $(DEPLOY)/venv
	@$(BIN)/uv pip sync --quiet --require-hashes --python $(DEPLOY)/venv/bin/python requirements-deploy.lock \
		|| { echo "make deploy-check needs a package registry, once: the published schemas come in packages of requirements-deploy.lock"; exit 1; }
	@touch $@

CONFIG ?= headgate.yaml
run: $(READY)  ## The daemon, with CONFIG=headgate.yaml.
	@$(BIN)/headgate run --config $(CONFIG)

lock: $(READY)  ## Resolve the locks anew; add UPGRADE=--upgrade to move every version.
	@$(COMPILE) $(UPGRADE) --output-file requirements.lock
	@$(COMPILE) $(UPGRADE) --extra sandbox --group dev --constraint requirements.lock --output-file requirements-dev.lock
	@$(BIN)/uv pip compile --group pyproject.toml:deploy $(UPGRADE) --quiet --universal --python-version 3.11 --generate-hashes \
		--no-emit-index-url --no-emit-find-links --no-header --no-annotate --output-file requirements-deploy.lock
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
