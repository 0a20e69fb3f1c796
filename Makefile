# Everything a newcomer needs: `make demo`, then `make test`. Only Python 3.11 and make have to be there.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV ?= .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: help demo test regression lint bench reproduce reproduce-train constraints clean

help:  ## list the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 16

demo: $(STAMP)  ## set everything up and run the main job on real text (about ten minutes on two cores)
	$(BIN)/python -m iaa_retrieval.quickstart

test: $(STAMP)  ## set everything up and run the checks and tests
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python -m pytest --numprocesses auto --maxprocesses 4 --dist loadfile --no-loadscope-reorder

regression: $(STAMP)  ## score rows without training and committed checkpoints again (about three quarters of an hour)
	$(BIN)/python -m pytest -m regression

lint: $(STAMP)  ## only the static checks
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: $(STAMP)  ## measure speed beside what users would otherwise run (about two hours on an idle machine)
	$(BIN)/python -m benchmarks

install: $(STAMP)  ## only set everything up, in .venv

# The stamp is made last, so an interrupted installation is taken up again.
$(STAMP): constraints.txt setup.cfg pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt pip setuptools wheel
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $@

reproduce: $(STAMP)  ## re-run every measured condition from the committed checkpoints, and check every score
	$(BIN)/python -m iaa_retrieval.reproduce --collection all --measured --from-checkpoint

reproduce-train: $(STAMP)  ## the same from nothing, training included
	$(BIN)/python -m iaa_retrieval.reproduce --collection all --measured

constraints: $(STAMP)  ## write the versions that are installed now to constraints.txt
	@{ echo '# Every version that the tests passed with; made by `make constraints`.'; \
	   $(BIN)/python -m pip list --format=freeze --exclude iaa-retrieval | sed 's/+cpu$$//' | sort -f; } > constraints.txt

clean:  ## remove what the other targets made
	rm -rf $(VENV) runs build *.egg-info .pytest_cache .mypy_cache .ruff_cache
