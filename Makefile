PORT ?=
PYTHON ?= python3
BIN = .venv/bin

.PHONY: help demo test check timing
help: ## list what can be done
	@grep -E '^[a-z]+:.*##' Makefile | sed -E 's/^([a-z]+):.*## (.*)/make \1\t\2/' | expand -t 14

demo: .venv/demo ## set up and serve the page on http://127.0.0.1:7860, or the next free port (PORT=8000 is that one)
	PORT=$(PORT) $(BIN)/python app.py

test: .venv/dev ## set up and run all tests (TESTS="tests/test_path.py -k steps" for some)
	$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder $(TESTS)

check: .venv/dev ## format, lint, types, and all tests
	$(BIN)/ruff format --check . && $(BIN)/ruff check . && $(BIN)/mypy
	$(MAKE) test

timing: .venv/dev ## how fast the page is in a browser (needs Chromium)
	$(BIN)/python -m tests.browser.timing

.venv/demo: requirements.lock
	$(PYTHON) -m venv .venv && $(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock && touch $@

.venv/dev: .venv/demo requirements.txt requirements-fast.txt requirements-dev.txt
	$(BIN)/pip install --quiet --disable-pip-version-check -r requirements-dev.txt && touch $@
