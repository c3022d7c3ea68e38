# make demo   the whole loop on the sample pictures
# make test   everything that has to pass before a change is accepted
# make torture   extractions and trainings killed at 300 moments, refused by the disk at every step, on disks of every
#                size, stopped, and their checkpoints tampered with (some parts: python -m tests.torture --help);
#                the browser under 5,000 page loads and 500 uploads
# All prepare .venv by themselves. Nothing is written outside this folder (except Debian packages for the tests,
# where root or sudo is there).
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DELETE_ON_ERROR:
.DEFAULT_GOAL := demo
.NOTPARALLEL:

PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
PY := $(VENV)/bin/python
INSTALLED := $(VENV)/installed
DEMO := build/demo
DETECTRON2 := build/detectron2
# The pair the lock holds: releases of torch and torchvision that were made for each other.
TORCH := torch==2.14.1
TORCHVISION := torchvision==0.29.1
EXTRAS := app cleaning dev java ray train-detector zstd

.PHONY: demo test install detectron2 system lint types unit e2e torture lock clean

install: $(INSTALLED)

$(INSTALLED): requirements.lock setup.cfg pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	    { echo "tushuo needs Python 3.11 or newer; name one: make PYTHON=/path/to/python3.11" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	@echo "Installing the locked packages into $(VENV) (about 6 GB, most of it torch)"
	$(PY) -m pip install --quiet --require-hashes -r requirements.lock
	$(PY) -m pip install --quiet --no-deps --no-build-isolation -e .
	@touch $@

demo: $(INSTALLED)
	@mkdir -p $(DEMO)
	@echo; echo "1. Regions of the sample pictures -> $(DEMO)/regions.h5"
	$(PY) -m features.extract --images examples/images --backend mini --out $(DEMO)/regions.h5
	@echo; echo "2. A minute of training on 12 captioned samples, to see it work; these weights are thrown away"
	@rm -rf $(DEMO)/run
	$(PY) -m captioning.train --config configs/mini.yaml --out $(DEMO)/run
	@rm -rf $(DEMO)/run
	@echo; echo "3. Captions of all samples by the bundled captioner -> $(DEMO)/captions.json"
	$(PY) -m captioning.caption --features $(DEMO)/regions.h5 --checkpoint mini --out $(DEMO)/captions.json \
	    --overwrite
	@echo; echo "4. Scores on the 19 samples that people captioned (n = 19, most with one reference: an illustration," \
	    "not a result; the bundled captioner was trained on none of them) -> $(DEMO)/report.html"
	$(PY) -m eval $(DEMO)/captions.json examples/images/captions.json --allow_extra \
	    --report $(DEMO)/report.html --images examples/images --regions $(DEMO)/regions.h5
	@echo; echo "5. The browser"
	@if [ "$${CI:-}" = true ] || [ ! -t 1 ]; then echo "To browse pictures, regions and captions: $(PY) -m app"; \
	else exec $(PY) -m app; fi

test: $(INSTALLED) detectron2 system lint types unit e2e

# The package that tests compare the c4 back end with, beside the environment: nothing but tests/detectron2 sees it.
detectron2: $(DETECTRON2)/installed

$(DETECTRON2)/installed: tests/detectron2/wheel.lock tests/detectron2/requirements.lock | $(INSTALLED)
	@rm -rf $(DETECTRON2)
	$(PY) -m pip install --quiet --no-deps --require-hashes --target $(DETECTRON2) --only-binary=:all: \
	    --implementation cp --python-version 3.10 -r tests/detectron2/wheel.lock
	$(PY) -m pip install --quiet --no-deps --require-hashes --target $(DETECTRON2) --no-build-isolation \
	    -r tests/detectron2/requirements.lock
	@touch $@

# Chromium, a Chinese font and a Java runtime, where they can be installed.
system:
	@tests/install_system_packages.sh

lint: $(INSTALLED)
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .

types: $(INSTALLED)
	$(PY) -m mypy

unit: $(INSTALLED) detectron2
	TUSHUO_DETECTRON2=$(DETECTRON2) $(PY) -m pytest tests --ignore tests/e2e

e2e: $(INSTALLED)
	$(PY) -m pytest tests/e2e

torture: $(INSTALLED)
	$(PY) -m tests.torture --out benchmarks/results/torture.json
	$(PY) -m tests.torture.soak --out benchmarks/results/browser_soak.json

# Renews requirements.lock, for every Python and system; releases that it holds stay unless setup.cfg asks for newer ones.
lock: $(INSTALLED)
	$(VENV)/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header \
	    --no-emit-index-url --no-emit-find-links $(EXTRAS:%=--extra %) --upgrade-package $(TORCH) \
	    --upgrade-package $(TORCHVISION) --output-file requirements.lock setup.cfg

clean:
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis
