# Every target makes .venv first when it is not there, and again when pyproject.toml has changed.
#   make demo                    train on the embedded example and write demo/report.html
#   make test ARGS='-k camera'   the suite, or a part of it
#   make test-slow               trainings that take half a minute and more each
#   make PYTHON=python3.12 ...   build .venv with another interpreter (3.11 or newer)
#   make PYTHON=python3.13 VENV=.venv-3.13 test-fast   beside the usual environment, another one
PYTHON ?= python3
VENV ?= .venv
ARGS ?=

BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
# One scan of the types per array function, in tests only: the package itself never imports beartype.
# Compiling is most of the work and fills one core: files are shared out over the cores, each file whole, so
# that its tests share what they compile; in the order of tests/conftest.py, which puts the dearest first.
PYTEST := $(BIN)/python -m pytest --jaxtyping-packages=jnrsfm,beartype.beartype -n auto --maxprocesses 4 \
  --dist loadfile --no-loadscope-reorder

.DEFAULT_GOAL := help
.PHONY: help venv demo test test-slow test-fast bench lint types docs format tables clean

help:
	@echo 'make demo        train on the embedded example, write demo/report.html (minutes)'
	@echo 'make test        the suite with shape checks (at most 10 minutes on 2 cores)'
	@echo 'make test-slow   trainings, kills and real data that take half a minute and more each'
	@echo 'make test-fast   the quick subset (under 2 minutes)'
	@echo 'make bench       speed and memory against the committed baseline'
	@echo 'make lint types  ruff; mypy'
	@echo 'make docs        the documentation with its gallery, into build/docs (minutes)'
	@echo 'make format      rewrite the sources in the project style'
	@echo 'make tables      rewrite the tables of README.md from the registry and the result files'
	@echo 'make clean       remove what the targets made, .venv included'

venv: $(STAMP)

$(STAMP): pyproject.toml
	@command -v $(PYTHON) >/dev/null 2>&1 || { \
	  echo "no '$(PYTHON)' here: install Python 3.11 or newer, or say make PYTHON=/path/to/python" >&2; exit 1; }
	@$(PYTHON) -c 'import sys; v = sys.version_info; sys.exit(None if v >= (3, 11) else \
	  f"jnrsfm needs Python 3.11 or newer and $(PYTHON) is {v[0]}.{v[1]}: say make PYTHON=/path/to/python3.11")'
	@$(BIN)/python -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1 || \
	  $(PYTHON) -m venv --clear $(VENV) || { \
	  echo "could not make $(VENV): on Debian and Ubuntu, apt-get install python3-venv" >&2; exit 1; }
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[dev,viz]'
	@touch $@

# demo/ belongs to this target: an earlier demonstration there is replaced.
demo: $(STAMP)
	rm -rf demo
	$(BIN)/jnrsfm demo --out demo/ $(ARGS)

test: $(STAMP)
	$(PYTEST) -m 'not slow' --durations=15 $(ARGS)

test-slow: $(STAMP)
	$(PYTEST) -m slow --durations=15 $(ARGS)

test-fast: $(STAMP)
	$(PYTEST) -m fast $(ARGS)

bench: $(STAMP)
	$(BIN)/python -m benchmarks $(ARGS)

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(STAMP)
	$(BIN)/mypy jnrsfm

# Warnings are errors. Pages need no network: begin at build/docs/index.html. The examples run once and are small, so
# most of their time would be spent on optimising programs.
docs: $(VENV)/.docs
	JAX_PLATFORMS=cpu JAX_DISABLE_MOST_OPTIMIZATIONS=1 $(BIN)/python -m sphinx -W --keep-going -q -b html -d build/doctrees docs build/docs $(ARGS)
	@echo open build/docs/index.html

$(VENV)/.docs: $(STAMP)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[dev,viz,docs]'
	@touch $@

format: $(STAMP)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

tables: $(STAMP)
	$(BIN)/python experiments/tables.py

clean:
	rm -rf $(VENV) .venv-3.* demo build dist docs/_made docs/api docs/gallery .pytest_cache .ruff_cache .mypy_cache .hypothesis .benchmarks
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
