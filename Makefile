PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PYTEST := $(BIN)/python -m pytest --numprocesses auto --dist loadscope --no-loadscope-reorder

.PHONY: demo test test-slow test-app check format docs audit versions package clean

demo: $(VENV)/installed
	$(BIN)/robustvit demo --out runs/demo

# The quick tests of every room, or of one: make test ROOM=masks
test: $(VENV)/installed
	$(PYTEST) -m "not slow" $(if $(ROOM),tests/$(ROOM))

# Kills, simulations, several processes, long property tests, the commands of the documents, the site and the notebook; pytest's 5 says that a room has none.
test-slow: $(VENV)/installed
	$(PYTEST) -m slow $(if $(ROOM),tests/$(ROOM) || test $$? -eq 5)

test-app: $(VENV)/installed
	$(BIN)/python -m pytest -m app tests/webapp/test_app_server.py tests/webapp/test_app_browser.py

check: $(VENV)/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/codespell
	$(BIN)/python scripts/check_words.py
	$(BIN)/mypy

docs: $(VENV)/installed
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

format: $(VENV)/installed
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# Unused and undeclared dependencies, then known vulnerabilities; this one asks a database on the network.
audit: $(VENV)/maintained
	$(BIN)/deptry src
	$(BIN)/python scripts/audit_dependencies.py

# The tests against the oldest and the newest versions that pyproject.toml allows, each in an environment of its own.
versions: $(VENV)/maintained
	$(BIN)/nox

package: $(VENV)/installed
	$(BIN)/python -m build

$(VENV)/maintained: $(VENV)/installed
	$(BIN)/python -m pip install --quiet --editable '.[dev,maintain]'
	touch $@

$(VENV)/installed: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	touch $@

clean:
	rm -rf $(VENV) runs dist .nox
