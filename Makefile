# Two commands do all the set-up: `make fraud` and `make test`.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
OLDEST := .venv-oldest

.PHONY: fraud test lint oldest docs clean

fraud: $(VENV)/core
	$(BIN)/python -m experiments.fraud --check-every 100

# Two processes with one thread each: with more, the many small products of the tests wait for each other.
test: export OPENBLAS_NUM_THREADS = 1
test: export OMP_NUM_THREADS = 1
# It starts a hundred processes: what one has compiled the others read, whatever the shell says of that.
test: export PYTHONDONTWRITEBYTECODE =
test: lint
	$(BIN)/python -m pytest -n 2 --dist worksteal

lint: $(VENV)/test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# README, docs and a reference of the public names as one site, build/site/index.html; a broken link or name ends it.
docs: $(VENV)/docs
	$(BIN)/python scripts/pages.py
	$(BIN)/python -m mkdocs build

$(VENV)/docs: $(VENV)/core
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[docs]'
	touch $@

$(VENV)/core: pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "backproof needs Python 3.11 or newer, found " + sys.version.split()[0] + ": try make PYTHON=python3.12")'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable .
	touch $@

$(VENV)/test: $(VENV)/core
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[test]'
	touch $@

# The suite with the oldest versions that pyproject.toml allows. They may find what they use of newer libraries deprecated:
# that is theirs, and no error here.
oldest: export OPENBLAS_NUM_THREADS = 1
oldest: export OMP_NUM_THREADS = 1
oldest: $(OLDEST)/installed
	$(OLDEST)/bin/python --version
	$(OLDEST)/bin/python -m pip freeze --disable-pip-version-check --exclude-editable
	$(OLDEST)/bin/python -m pytest -n 2 --dist worksteal -W ignore::DeprecationWarning

$(OLDEST)/installed: pyproject.toml scripts/oldest.py
	$(PYTHON) -m venv --clear $(OLDEST)
	$(PYTHON) scripts/oldest.py > $(OLDEST)/oldest.txt
	$(OLDEST)/bin/python -m pip install --quiet --disable-pip-version-check --requirement $(OLDEST)/oldest.txt --editable .
	touch $@

clean:
	rm -rf $(VENV) $(OLDEST) build *.egg-info .mypy_cache .ruff_cache .pytest_cache
