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

.PHONY: eval plots test test-slow lint bench gpu clean

eval: $(INSTALLED)
	@$(BIN)/mosam eval $(DATASET) $(OPTIONS)

# Every kind of figure in four formats, from a few sequences of the generated benchmark, tracked the first time.
PLOTS ?= plots
PLOT_TRACKERS ?= sam2,samurai,mosam
PLOT_SEQUENCES ?= scale-1,rotation-1,partial_occlusion-1,full_occlusion-1,distractor-1,late-1
PLOT_STRIP ?= full_occlusion-1
plots: $(INSTALLED)
	@mkdir -p $(PLOTS)
	@$(BIN)/mosam run toy --tracker "$(PLOT_TRACKERS)" --sequences $(PLOT_SEQUENCES) --log --results $(PLOTS)/results >/dev/null
	@$(BIN)/mosam score toy --protocol toy-vot --results $(PLOTS)/results --json $(PLOTS)/toy-vot.json >/dev/null
	@$(BIN)/mosam score toy --results $(PLOTS)/results --parquet $(PLOTS)/toy-frames.parquet
	@$(BIN)/mosam plot all $(PLOTS)/results/toy/* --sequence $(PLOT_STRIP) --out $(PLOTS)/toy
	@for kind in eao ar eao-ar; do $(BIN)/mosam plot $$kind $(PLOTS)/toy-vot.json --out $(PLOTS)/toy-$$kind; done

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
lint: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	@rm -rf $(TYPED) && mkdir -p $(TYPED)/mosam
	@ln -s $(CURDIR)/mosam/* $(CURDIR)/datasets $(CURDIR)/evaluation $(TYPED)/mosam/
	cd $(TYPED) && $(CURDIR)/$(BIN)/mypy --config-file $(CURDIR)/pyproject.toml --cache-dir $(CURDIR)/.mypy_cache -p mosam

$(INSTALLED): pyproject.toml
	@[ -x $(BIN)/python ] || $(PYTHON) -m venv .venv
	@echo "installing mosam into .venv (only once)" >&2
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[dev]'
	@touch $@

clean:
	rm -rf .venv .mypy_cache .pytest_cache .ruff_cache .hypothesis build dist *.egg-info
