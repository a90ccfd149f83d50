# Each target sets itself up: the first one that needs it makes .venv.
# TORCH overrides the version under test: make test TORCH=torch==2.6.0

TORCH ?= torch==2.13.0
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

# One stamp per torch, so that another TORCH installs again and the same one does not.
TORCH_NAME := $(subst =,-,$(TORCH))
PLAIN := $(VENV)/.plain-$(TORCH_NAME)
DEVELOPER := $(VENV)/.developer-$(TORCH_NAME)
PIP := $(BIN)/python -m pip install -qq --no-input --disable-pip-version-check

.DEFAULT_GOAL := help
.PHONY: help demo test lint types imports check zoo nonfinite simulations bench bench-lab lab-test gallery corpus calibrate score pages readme clean

# Tiny networks: two threads are slower than one, and far slower on a machine that is shared.
test zoo nonfinite lab-test gallery corpus calibrate score pages: export OMP_NUM_THREADS ?= 1

help: ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 10

demo: $(PLAIN) ## a broken network, what is wrong with it, and the same one healthy
	@$(BIN)/headwater demo

test: $(DEVELOPER) ## the tests, among them ten architectures of the zoo
	$(BIN)/python -m pytest

lint: $(DEVELOPER) ## ruff: rules and formatting
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(DEVELOPER) ## mypy --strict
	$(BIN)/mypy

imports: $(DEVELOPER) ## the import contract: downwards only, no torch where runs are judged
	$(BIN)/lint-imports

check: lint types imports test ## all of the above

zoo: $(DEVELOPER) ## the observer's effect on every architecture of the zoo; slow
	$(BIN)/python -m pytest -m zoo tests/zoo

nonfinite: $(DEVELOPER) ## every program whose numbers break, and who names its line; minutes
	$(BIN)/python -m pytest -m "nonfinite or not nonfinite" tests/nonfinite
	$(BIN)/python benchmarks/nonfinite_peers.py

simulations: $(DEVELOPER) ## networks drawn by the hundred against what the theory says; minutes
	$(BIN)/python -m pytest -m slow tests

bench: $(DEVELOPER) ## the cost of observing; wants a quiet machine
	$(BIN)/python benchmarks/overhead.py
	$(BIN)/python benchmarks/full_record.py

bench-lab: $(DEVELOPER) ## ensembles against plain loops, and how their cost grows
	$(BIN)/python benchmarks/lab_throughput.py

lab-test: $(DEVELOPER) ## every experiment's bands; SEEDS=60 and OFFSET=0 choose the seeds
	LAB_SEEDS=$(or $(SEEDS),60) LAB_OFFSET=$(or $(OFFSET),0) \
		$(BIN)/python -m pytest -m lab tests/lab

gallery: $(DEVELOPER) ## run all experiments and write docs/gallery; half an hour
	$(BIN)/python docs/fill_gallery.py

corpus: $(DEVELOPER) ## train and record the labelled corpus; about twenty minutes, goes on
	$(BIN)/python -m corpus.recording

calibrate: corpus ## count on the tune half how often alarms are right, for their confidence
	$(BIN)/python -m corpus.calibrating

score: corpus ## judge the corpus and write docs/accuracy.md; two minutes
	$(BIN)/python -m corpus.scoring

pages: corpus ## write docs/rules, a page for each code and cause; two minutes
	PYTHONPATH=. $(BIN)/python docs/fill_pages.py

readme: $(PLAIN) ## paste the demo's real output into README.md
	$(BIN)/python docs/fill_readme.py

clean: ## remove the environment and all caches
	rm -rf $(VENV) build dist src/*.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis \
		.import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# torch comes first and alone: the exact pin keeps its variant, where a bare "torch" in the
# dependencies could bring another of several gigabytes. Naming it again holds later steps to it.
$(PLAIN): pyproject.toml
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@rm -f $(VENV)/.plain-* $(VENV)/.developer-*
	@echo "Installing $(TORCH) and headwater into $(VENV)" >&2
	@$(PIP) "$(TORCH)"
	@$(PIP) "$(TORCH)" -e .
	@touch $@

$(DEVELOPER): $(PLAIN)
	@echo "Installing the developer's tools into $(VENV)" >&2
	@$(PIP) "$(TORCH)" -e ".[dev,test-zoo]"
	@touch $@
