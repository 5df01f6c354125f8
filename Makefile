VENV := .venv
VISION_VENV := .venv-vision
# The interpreter that `make setup` takes: PYTHON=python3.13 for Blender 5.2, else 3.11 for Blender 4.5.
PYTHON := $(firstword $(shell command -v python3.11 python3.13 python3.12) python3.11)
CONSTRAINTS = $(if $(findstring 3.11,$(shell $(PYTHON) --version)),constraints.txt,constraints-3.13.txt)
METASIM := $(VENV)/bin/metasim
# Readers of datasets that `make test-vision` opens exports with; opencv-python 4.12 needs NumPy 2, which bpy 4.5 does not bear.
READERS := 'datasets>=4' 'ultralytics>=8.3' 'opencv-python<4.12'
PROTOS := $(wildcard proto/metasim/v1/*.proto)

.PHONY: help setup protos lint test test-gpu test-vision test-compose test-tutorial demo clean
.DEFAULT_GOAL := help

help: ## What can be made
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*##/ :/' | column -t -s:

setup: $(VENV)/.ready ## Create .venv with both halves and the developer's tools

$(VENV)/.ready: pyproject.toml constraints.txt constraints-3.13.txt
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/pip install --quiet --constraint $(CONSTRAINTS) --editable '.[trainer,natural,render,parquet,cloud,dev]'
	touch $@

protos: setup ## Generate the Python code of the wire contract
	$(VENV)/bin/python -m grpc_tools.protoc --proto_path=proto --plugin=protoc-gen-mypy=$(VENV)/bin/protoc-gen-mypy \
	    --python_out=proto --grpc_python_out=proto --mypy_out=proto $(PROTOS)

lint: setup ## Check style and types
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy

test: setup ## Pass all tests, in a process per core
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy
	$(VENV)/bin/pytest -n auto --dist loadfile --no-loadscope-reorder

test-gpu: setup ## Test and measure Blender on the GPU of this machine, beside its CPU
	VENV=$(CURDIR)/$(VENV) docker/gpu-check.sh

test-vision: $(VISION_VENV)/.ready ## Test with torchvision, ultralytics and datasets, in an environment of its own (5 GB)
	$(VISION_VENV)/bin/pytest -m vision tests/vision

test-compose: setup ## Test compose.yaml on the Docker engine of this machine: builds, trains, loses workers
	$(VENV)/bin/pytest -m compose tests/compose

test-tutorial: setup ## Do what docs/tutorial.md says, word for word: trains for minutes
	$(VENV)/bin/pytest -m tutorial tests/docs

# torchvision's wheel needs the build of torch that PyPI has: === takes no other, such as a local 2.13.0+cpu.
$(VISION_VENV)/.ready: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VISION_VENV)
	$(VISION_VENV)/bin/pip install --quiet --constraint constraints.txt 'torch===2.13.0' --editable '.[trainer,vision,render,parquet,dev]'
	$(VISION_VENV)/bin/pip install --quiet --constraint constraints.txt $(READERS)
	touch $@

demo: setup ## Train mnist-rot with Blender workers of its own, evaluate it, write a dataset and a report
	@$(METASIM) data mnist || echo 'MNIST is not to be had here: the digits of scikit-learn stand in for it.'
	$(METASIM) train $$([ -e runs/demo ] && echo --resume || echo mnist-rot) --out runs/demo
	$(METASIM) evaluate runs/demo --train-images 6000
	[ -e datasets/demo ] || $(METASIM) generate runs/demo --count 1000 --out datasets/demo
	@echo
	@echo 'Pictures  runs/demo/samples/'
	@echo 'Dataset   datasets/demo/'
	@echo 'Report    runs/demo/report.html'

clean: ## Remove what make and the tools have created, except runs
	rm -rf $(VENV) $(VISION_VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis
