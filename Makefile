# Everything a newcomer needs: `make demo`, then `make test`. Only make and a Python from 3.11 to 3.13 have to be there.
# PYTHON is a version (3.12) or a command; without it, the one with the smallest installation (tools/choose-python.sh).
PYTHON ?=
VENV ?= .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
# What depends on the releases of Python and Pyserini; the rest is the same on each.
PYSERINI_TESTS := tests/pyserini_plugin $(wildcard tests/serving) tests/test_java.py tests/test_doctor.py \
    tests/test_index.py tests/test_search.py tests/test_encode.py tests/test_rerank.py tests/test_wheel.py \
    tests/collections/test_topics.py tests/collections/test_embedded.py tests/exporting/test_parity.py \
    tests/exporting/test_merged.py tests/test_verbs_on_embedded.py tests/test_reference_scores.py \
    $(wildcard tests/test_pyserini_*.py)

.PHONY: help demo test test-pyserini regression lint bench install python-fits reproduce reproduce-train gpu gpu-collect \
    constraints clean

help:  ## list the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 16

demo: $(STAMP)  ## set everything up and run the main job on real text (about ten minutes on two cores)
	$(BIN)/python -m iaa_retrieval.quickstart

test: $(STAMP)  ## set everything up and run the checks and tests
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python -m pytest --numprocesses auto --maxprocesses 4 --dist loadfile --no-loadscope-reorder

# For a second Python: make test-pyserini PYTHON=3.12 VENV=.venv-3.12
test-pyserini: $(STAMP)  ## only the tests of what depends on the releases of Python and Pyserini
	$(BIN)/python -m pytest --numprocesses auto --maxprocesses 4 --dist loadfile --no-loadscope-reorder $(PYSERINI_TESTS)

regression: $(STAMP)  ## score rows without training and committed checkpoints again (about half an hour)
	$(BIN)/python -m pytest -m regression

lint: $(STAMP)  ## only the static checks
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: $(STAMP)  ## measure speed beside what users would otherwise run (about two hours on an idle machine)
	$(BIN)/python -m benchmarks

install: $(STAMP)  ## only set everything up, in .venv

# The stamp is made last, so an interrupted installation is taken up again.
$(STAMP): $(wildcard constraints/python*.txt) setup.cfg pyproject.toml | python-fits
	@tools/set-up.sh '$(PYTHON)' '$(VENV)'
	@touch $@

# Said and looked at each time: another Python may be asked for than the environment was made with.
python-fits:
	@python=$$(tools/choose-python.sh '$(PYTHON)' '$(VENV)') && echo "$$($$python --version), $$python"

reproduce: $(STAMP)  ## re-run every measured condition from the committed checkpoints, and check every score
	$(BIN)/python -m iaa_retrieval.reproduce --collection all --measured --from-checkpoint

reproduce-train: $(STAMP)  ## the same from nothing, training included
	$(BIN)/python -m iaa_retrieval.reproduce --collection all --measured

# NAMES and FLAGS as `python -m iaa_retrieval.remote bundle` takes them; docs/gpu.md says how it goes on.
NAMES ?= python-packages
gpu: $(STAMP)  ## pack reproductions for a machine with a GPU that reaches nothing outside (build/gpu, at most 60 MiB)
	$(BIN)/python -m iaa_retrieval.remote bundle $(NAMES) --output build/gpu $(FLAGS)

gpu-collect: $(STAMP)  ## take in what came back from it: make gpu-collect FROM=DIR
	$(BIN)/python -m iaa_retrieval.remote collect $(FROM) $(FLAGS)

constraints: $(STAMP)  ## write the versions that are installed now to the file of this Python in constraints/
	@file=constraints/python$$($(BIN)/python -c 'import sys; print("%d.%d" % sys.version_info[:2])').txt; \
	 { echo '# Every version that the tests passed with on this Python; made by `make constraints`.'; \
	   $(BIN)/python -m pip list --format=freeze --exclude iaa-retrieval | sed 's/+c[pu][0-9u]*$$//' | sort -f; } > $$file

clean:  ## remove what the other targets made
	rm -rf $(VENV) runs build *.egg-info .pytest_cache .mypy_cache .ruff_cache
