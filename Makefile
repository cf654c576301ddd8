# Two commands set everything up: `make demo` and `make test`.
PYTHON ?= python3
VENV ?= .venv
# Processes of the tests; each may need 6 GB.
WORKERS ?= 2
BIN := $(VENV)/bin
SHELL := /bin/bash
.SHELLFLAGS := -o pipefail -c

.PHONY: demo test lint docs site install clean

demo: install ## train a detector on the embedded benchmark under replay and naive, and compare them
	@echo "simple_cnn on the embedded benchmark, with replay and without; an interrupted demo goes on where it was"
	@mkdir -p runs
	$(BIN)/dfbench eval --detector simple_cnn --strategy replay | tee runs/demo-replay.txt
	$(BIN)/dfbench eval --detector simple_cnn --strategy naive | tee runs/demo-naive.txt
	$(BIN)/dfbench compare $$(sed -n 's/^record: //p' runs/demo-replay.txt runs/demo-naive.txt) --figure runs/demo.png
	@$(BIN)/python -c 'import dfbench.records.record as r, pathlib, sys; \
	  n = {r.Record.read(pathlib.Path(p)).environment.threads for p in sys.argv[1:]}; \
	  print("ran on", *n, "thread(s). The rows on the leaderboard with the same names ran on 1: with other threads, versions", \
	        "or processors the figures are others. OMP_NUM_THREADS=1 make demo comes nearest (after rm -r runs).")' \
	  $$(sed -n 's/^record: //p' runs/demo-replay.txt runs/demo-naive.txt)

test: install ## all tests but the slow ones
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -n $(WORKERS) --dist loadfile

lint: install
	$(BIN)/ruff check dfbench plugins tests perf tools
	$(BIN)/ruff format --check dfbench plugins tests perf tools
	$(BIN)/mypy

docs: install ## write the generated parts of the docs, and their figures
	$(BIN)/python -m tools.tables
	$(BIN)/python -m tools.drift
	$(BIN)/python -m tools.constraints
	$(BIN)/python -m cogapp -r --verbosity=1 docs/*.md README.md

install: $(VENV)/.installed

# Rebuilt when the dependencies change; an interrupted installation leaves no stamp.
$(VENV)/.installed: pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "error: dfbench needs Python 3.11 or newer; set PYTHON=python3.11"; exit 2; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --disable-pip-version-check -q -e '.[dev]'
	@touch $@

site: install ## the documentation as a site, in build/site/html
	$(BIN)/python -m tools.site

clean:
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache
