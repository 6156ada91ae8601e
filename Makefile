PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: demo test test-app check format clean

demo: $(VENV)/installed
	$(BIN)/robustvit demo --out runs/demo

test: $(VENV)/installed
	$(BIN)/python -m pytest --numprocesses auto --dist loadscope

test-app: $(VENV)/installed
	$(BIN)/python -m pytest -m app tests/test_app_server.py tests/test_app_browser.py

check: $(VENV)/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(VENV)/installed
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

$(VENV)/installed: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	touch $@

clean:
	rm -rf $(VENV) runs
