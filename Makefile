# make demo   from a fresh machine (python3 and pip) to the whole pipeline at work, until Ctrl-C
# make test   everything checked: lint, types, boundaries, tests on real Kafka, Postgres and SMTP
# make lint   the checks alone        make fix    what ruff can mend by itself
# make bench  our worker beside other engines (ARGS=--quick)      make chaos  the long kill -9 tests
# make browser  the Chromium that the tests drive, installed where there is none

# A uv of our own where the machine has none: pip's --target needs neither root nor a virtual environment.
OWN_UV := .success/uv/bin/uv
UV := $(or $(shell command -v uv 2>/dev/null),$(OWN_UV))
BIN := .venv/bin

.DEFAULT_GOAL := help
.PHONY: help install demo test browser lint fix bench compiled test-compiled chaos

help:
	@sed -n 's/^# make/make/p' Makefile

install: $(UV)
	@$(UV) sync --frozen --quiet

$(OWN_UV):
	@echo "installing uv into .success/uv"
	@mkdir -p .success
	@python3 -m pip install --quiet --target .success/uv --upgrade uv \
	  || (python3 -m venv .success/uv && .success/uv/bin/pip install --quiet uv)

demo: install
	@$(BIN)/success demo

# Most tests wait for something: three processes keep two cores busy. The browser's tests share one event loop.
test: lint browser
	@$(BIN)/pytest -n 3 --dist loadfile --ignore tests/browser
	@$(BIN)/pytest tests/browser
	@if command -v cc > /dev/null; then $(MAKE) --no-print-directory test-compiled; \
	  else echo "no C compiler here: the compiled product is not tested"; fi

# The hot path's own tests with the compiled product before the sources.
test-compiled: compiled
	@$(BIN)/pytest -n 2 -o pythonpath=build/compiled tests/scoring tests/topics tests/agents/test_fold.py \
	  tests/run/test_equals_naive.py tests/bench/test_compiled.py

# The browser that tests/browser drives; its absence fails.
browser: install
	@$(BIN)/python -m tests.browser.chromium

lint: install
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

fix: install
	@$(BIN)/ruff check --fix . && $(BIN)/ruff format .

bench: install
	-@$(MAKE) --no-print-directory compiled
	@$(BIN)/python -m bench $(ARGS)

# A wheel whose hot path is compiled (Cython, a C compiler), and its contents in build/compiled.
compiled: install
	@rm -rf build/compiled && mkdir -p build/compiled
	@HATCH_BUILD_HOOK_ENABLE_CUSTOM=1 $(UV) build --quiet --wheel --python $(BIN)/python --out-dir build/compiled
	@cd build/compiled && python3 -m zipfile -e *.whl .

chaos: install
	@SUCCESS_LONG_TESTS=1 $(BIN)/pytest -m chaos
