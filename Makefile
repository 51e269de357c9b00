# A thin front to the `mosam` command; every target makes the environment it needs, once.
#   make eval                                          the shipped benchmark, on this machine
#   make eval DATASET=davis ROOT=/data/DAVIS DEVICE=cuda
#   make vot WORKSPACE=dir STACK=vot2022/shortterm     the VOT toolkit, in an environment of its own
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

WORKSPACE ?=
STACK ?=
EXPERIMENTS ?=

.PHONY: eval demo plots pictures paper results report docs test test-slow test-lowest lint bench gpu vot vot-asked vot-environment clean

eval: $(INSTALLED)
	@$(BIN)/mosam eval $(DATASET) $(OPTIONS)

# make demo VIDEO=clip.mp4 BOX=x,y,w,h; without a box a page opens to draw it
demo: $(INSTALLED)
	@$(BIN)/mosam demo "$(VIDEO)" $(if $(BOX),--box $(BOX),--pick) $(if $(TRACKER),--tracker "$(TRACKER)") \
		$(if $(MODEL),--model "$(MODEL)") $(if $(DEVICE),--device $(DEVICE)) $(ARGS)

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

# the pictures of the README and the gallery
pictures: $(INSTALLED)
	@$(BIN)/python docs/pictures.py

TABLE ?=
# the published tables beside our numbers; TABLE=mosam-sizes for one of them
paper: $(INSTALLED)
	@$(BIN)/mosam paper $(TABLE) $(if $(DEVICE),--device $(DEVICE)) $(if $(JOBS),--jobs $(JOBS)) $(ARGS)

# the shipped runs of the toy experiments and their tables, below experiments/; what is done is kept
results: $(INSTALLED)
	@for name in policies ablation; do \
	  $(BIN)/mosam experiment experiments/$$name.toml --results experiments/runs --format markdown $(ARGS) \
	    > experiments/.$$name.part && mv experiments/.$$name.part experiments/$$name.md || exit 1; \
	done

RESULTS ?= results
OUT ?= results/report.html
# one page of everything below RESULTS
report: $(INSTALLED)
	@$(BIN)/mosam report $(RESULTS) --out $(OUT) $(if $(ROOT),--root "$(ROOT)") $(if $(JOBS),--jobs $(JOBS)) $(ARGS)

# the suite's networks are too small to gain from threads, and lose much where the cores are busy
test test-slow test-lowest: export OMP_NUM_THREADS ?= 1

# a worker that crashed is not replaced: with whole files dealt out, those left would wait for its tests for ever
test: $(INSTALLED)
	$(BIN)/python -m pytest -n auto --dist loadfile --max-worker-restart 0 -m "not slow and not gpu"

# Ray, Slurm's submitter and the site's builder come with no other target; what cannot be had is skipped, with the reason.
# pytest exits with 5 where nothing is marked.
test-slow: $(INSTALLED)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[ray,slurm,docs]' || echo "could not install ray, slurm, docs" >&2
	$(BIN)/python -m pytest -m slow || [ $$? -eq 5 ]

# The lowest versions that pyproject.toml allows, in an environment of their own, and the tests that lean on them most.
LOWEST := .venv-lowest
LOWEST_TESTS := tests/test_cli.py tests/test_cli_demo.py tests/test_fuzz.py tests/datasets tests/model tests/motion \
	tests/commands/demo tests/commands/fetch tests/vot/test_trax_process.py tests/evaluation/figures tests/evaluation/test_frame_table.py
test-lowest: $(LOWEST)/.installed
	$(LOWEST)/bin/python -m pytest -n auto --dist loadfile --max-worker-restart 0 -m "not slow and not gpu" $(LOWEST_TESTS)

$(LOWEST)/.installed: pyproject.toml
	@rm -rf $(LOWEST) && $(PYTHON) -m venv $(LOWEST) && $(LOWEST)/bin/python -m pip install --quiet uv
	@$(LOWEST)/bin/uv pip install --quiet --python $(LOWEST)/bin/python --resolution lowest-direct -e '.[test]'
	@touch $@

# benchmarks/gpu_*.py are parts of gpu.py
bench: $(INSTALLED)
	@for script in $(filter-out benchmarks/gpu_%.py,$(wildcard benchmarks/*.py)); do echo "== $$script"; $(BIN)/python $$script || exit 1; done

# where there is a GPU, tests that did not run are a failure (pytest's exit code 5, tests/gpu/conftest.py)
gpu: $(INSTALLED)
	@if $(BIN)/python -c "import sys, torch; sys.exit(not torch.cuda.is_available())"; \
	then $(BIN)/python -m pytest -m gpu; else echo "no GPU"; fi

lint: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy -p mosam

# the tables of the pages from the registries, then site/index.html; a warning is an error
docs: $(INSTALLED)
	@$(BIN)/python -c "import mkdocs, mkdocstrings" 2>/dev/null || $(BIN)/python -m pip install --quiet -e '.[docs]'
	@$(BIN)/python docs/tables.py
	@$(BIN)/python docs/reference.py
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict --quiet

$(INSTALLED): pyproject.toml
	@[ -x $(BIN)/python ] || $(PYTHON) -m venv .venv
	@echo "installing mosam into .venv (only once)" >&2
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[dev]'
	@touch $@

# The toolkit is a program beside ours, in an environment of its own: 0.7.4 runs everything up to 2022, 0.9.0 what is VOTS
# (docs/vot.md says why). attributee 0.1.10, which pip would take, cannot be imported with either.
TOOLKIT ?= $(if $(findstring vots,$(STACK)),0.9.0,0.7.4)
VOT_ENV = .venv-vot$(if $(filter 0.7.%,$(TOOLKIT)),,s)
VOT_INSTALLED = $(VOT_ENV)/.installed-$(TOOLKIT)
VOT_OPTIONS = $(if $(STACK),--stack "$(STACK)") $(if $(ROOT),--root "$(ROOT)") $(if $(TRACKER),--tracker "$(TRACKER)") \
	$(if $(MODEL),--model "$(MODEL)") $(if $(DEVICE),--device $(DEVICE)) $(ARGS)

vot: vot-asked $(INSTALLED) $(VOT_INSTALLED)
	@$(BIN)/mosam vot init "$(WORKSPACE)" $(VOT_OPTIONS)
	@$(BIN)/mosam vot evaluate "$(WORKSPACE)" --toolkit $(VOT_ENV) $(if $(EXPERIMENTS),--experiments "$(EXPERIMENTS)")

vot-asked:
	@[ -n "$(WORKSPACE)" ] || { echo "make vot: expected WORKSPACE=dir and STACK=vot2022/shortterm, got no WORKSPACE" >&2; exit 2; }

vot-environment: $(VOT_INSTALLED)

.venv-vot/.installed-% .venv-vots/.installed-%:
	@[ -x $(@D)/bin/python ] || $(PYTHON) -m venv $(@D)
	@echo "installing vot-toolkit $* into $(@D) (only once)" >&2
	@$(@D)/bin/python -m pip install --quiet --disable-pip-version-check vot-toolkit==$* attributee==0.1.9
	@$(@D)/bin/python -c "import vot" && touch $@

clean:
	rm -rf .venv .venv-lowest .venv-vot .venv-vots .mypy_cache .pytest_cache .ruff_cache .hypothesis build dist *.egg-info
