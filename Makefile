# Two commands matter: `make demo` and `make test`. Both build .venv once and only again when a pin changes.
PYTHON ?= python3
BIN := .venv/bin
INSTALLED := .venv/.installed

.DEFAULT_GOAL := help
.PHONY: help install demo test style quality clean

help:
	@echo "make demo     open the demo on http://127.0.0.1:7860"
	@echo "make test     run the tests"
	@echo "make style    format and fix with ruff        make quality  check without changing"

install: $(INSTALLED)

$(INSTALLED): requirements.txt constraints.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed, this is %s: run `make PYTHON=/path/to/python3.11 ...`" % sys.version.split()[0])'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --progress-bar on --constraint constraints.txt --editable '.[dev]'
	@touch $@

demo: install
	$(BIN)/python app.py $(ARGS)

test: install
	$(BIN)/python -m pytest $(ARGS)

style: install
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

quality: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

clean:
	rm -rf .venv .pytest_cache .ruff_cache .hypothesis *.egg-info
