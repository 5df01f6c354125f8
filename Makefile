VENV := .venv
PYTHON := $(VENV)/bin/python
PROTOS := $(wildcard proto/metasim/v1/*.proto)

.PHONY: help setup protos lint test demo clean
.DEFAULT_GOAL := help

help: ## What can be made
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*##/ :/' | column -t -s:

setup: $(VENV)/.ready ## Create .venv with both halves and the developer's tools

$(VENV)/.ready: pyproject.toml constraints.txt
	python3.11 -m venv $(VENV)
	$(VENV)/bin/pip install --quiet --constraint constraints.txt --editable '.[trainer,render,dev]'
	touch $@

protos: setup ## Generate the Python code of the wire contract
	$(PYTHON) -m grpc_tools.protoc --proto_path=proto --plugin=protoc-gen-mypy=$(VENV)/bin/protoc-gen-mypy \
	    --python_out=proto --grpc_python_out=proto --mypy_out=proto $(PROTOS)

lint: setup ## Check style and types
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy

test: setup ## Pass all tests
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy
	$(VENV)/bin/pytest

clean: ## Remove what make and the tools have created, except runs
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis
