# A thin front to the `mosam` command; every target makes the environment it needs, once.
#   make eval                                          the shipped benchmark, on this machine
#   make eval DATASET=davis ROOT=/data/DAVIS DEVICE=cuda
#   make test                                          the tests that need nothing from the system

SHELL := /bin/bash
PYTHON ?= python3
BIN := .venv/bin
INSTALLED := .venv/.installed

DATASET ?= toy
ROOT ?=
TRACKER ?=
MODEL ?=
DEVICE ?=
SPLIT ?=
JOBS ?=
ARGS ?=

OPTIONS = $(if $(ROOT),--root "$(ROOT)") $(if $(SPLIT),--split $(SPLIT)) $(if $(TRACKER),--tracker "$(TRACKER)") \
	$(if $(MODEL),--model "$(MODEL)") $(if $(DEVICE),--device $(DEVICE)) $(if $(JOBS),--jobs $(JOBS)) $(ARGS)

.PHONY: eval demo docs test test-slow lint bench gpu clean

eval: $(INSTALLED)
	@$(BIN)/mosam eval $(DATASET) $(OPTIONS)

# make demo VIDEO=clip.mp4 BOX=x,y,w,h; without a box a page opens to draw it
demo: $(INSTALLED)
	@$(BIN)/mosam demo "$(VIDEO)" $(if $(BOX),--box $(BOX),--pick) $(if $(TRACKER),--tracker "$(TRACKER)") \
		$(if $(MODEL),--model "$(MODEL)") $(if $(DEVICE),--device $(DEVICE)) $(ARGS)

# the suite's networks are too small to gain from threads, and lose much where the cores are busy
test test-slow: export OMP_NUM_THREADS ?= 1

test: $(INSTALLED)
	$(BIN)/python -m pytest -m "not slow and not gpu"

# pytest exits with 5 where nothing is marked
test-slow: $(INSTALLED)
	$(BIN)/python -m pytest -m slow || [ $$? -eq 5 ]

bench: $(INSTALLED)
	@for script in benchmarks/*.py; do echo "== $$script"; $(BIN)/python $$script || exit 1; done

gpu: $(INSTALLED)
	$(BIN)/python -m pytest -m gpu || [ $$? -eq 5 ]

# mypy knows packages by their place on disk, so it gets a tree of links laid out as the packages are installed.
TYPED := .venv/typed
lint: $(INSTALLED) typed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	cd $(TYPED) && $(CURDIR)/$(BIN)/mypy --config-file $(CURDIR)/pyproject.toml --cache-dir $(CURDIR)/.mypy_cache -p mosam

.PHONY: typed
typed:
	@rm -rf $(TYPED) && mkdir -p $(TYPED)/mosam
	@ln -s $(CURDIR)/mosam/* $(CURDIR)/datasets $(CURDIR)/evaluation $(TYPED)/mosam/

# site/index.html; a warning is an error
docs: $(INSTALLED) typed
	@$(BIN)/python -c "import mkdocs, mkdocstrings" 2>/dev/null || $(BIN)/python -m pip install --quiet -e '.[docs]'
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict --quiet

$(INSTALLED): pyproject.toml
	@[ -x $(BIN)/python ] || $(PYTHON) -m venv .venv
	@echo "installing mosam into .venv (only once)" >&2
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[dev]'
	@touch $@

clean:
	rm -rf .venv .mypy_cache .pytest_cache .ruff_cache .hypothesis build dist *.egg-info
