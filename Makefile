# make pareto   create .venv and run the study up to results/plots/pareto.pdf
# make report   the same, and the report of the whole study: results/report.html
# make bundle   the report, and the whole study as one archive that can be verified and run again: study.zip
# make test     run all tests that need nothing else
# make test-lmms-eval   run the tests of the benchmarks; installs lmms-eval, which `make test` skips without
# make test-slurm   run the tests of the cluster on a throw-away Slurm, which it does not install
# make lmms-eval   create .venv with lmms-eval, run the benchmarks of the configuration (docs/lmms-eval.md)
# make lint     check style and structure: ruff, snakefmt, import-linter, Snakemake's own lint
# make docs     regenerate what is generated in docs/
# make pictures RESULTS=path/to/results   copy the README's figures from a finished study (default: results)
# make environment   create .venv for the study, run nothing
# make constraints   pin every version again: envs/, from pyproject.toml
# make clean    remove .venv and everything that the study made

PYTHON ?= python3
VENV ?= .venv
RESULTS ?= results
BIN := $(VENV)/bin
export OMP_NUM_THREADS := 1

# One more than cores, because some tests wait; a few at most, because workflow tests use several cores themselves.
TEST_PROCESSES = $(shell $(PYTHON) -c 'import os; print(min(4, os.cpu_count() + 1))')

# lmms-eval brings torchvision as built for CUDA. Beside a torch for the CPU it cannot be imported, and then transformers
# cannot either; nothing here needs it.
WITHOUT_BROKEN_TORCHVISION = $(BIN)/python -c 'import torchvision' 2>/dev/null \
	|| $(BIN)/python -m pip uninstall --yes torchvision

# Every version of every environment. pip builds some packages, in environments of its own: up to pip 25.2 the first
# variable holds there too, since then the second does.
CONSTRAINTS := envs/constraints.txt
INSTALL = PIP_CONSTRAINT=$(CONSTRAINTS) PIP_BUILD_CONSTRAINT=$(CONSTRAINTS) $(BIN)/python -m pip install

# `make constraints` takes nothing that was uploaded later. To take newer versions, set this to some days ago (a broken
# release is mostly withdrawn within days), and the versions in pyproject.toml as you like.
PINNED_BEFORE := 2026-11-24
# One set of versions for all environments, systems and Python versions.
COMPILE = $(BIN)/uv pip compile pyproject.toml --python $(BIN)/python --no-python-downloads --python-version 3.11 --universal \
	--fork-strategy fewest --prerelease disallow --exclude-newer $(PINNED_BEFORE)T00:00:00Z --quiet

.PHONY: pareto report bundle test test-lmms-eval test-slurm lmms-eval lint docs pictures environment constraints clean

pareto: $(VENV)/study.stamp
	$(BIN)/snakemake --cores all results/plots/pareto.pdf

report: $(VENV)/study.stamp
	$(BIN)/snakemake --cores all results/report.html

bundle: report $(VENV)/bundle.stamp
	$(BIN)/adamolmo bundle study.zip

test: $(VENV)/test.stamp
	$(BIN)/pytest -q --numprocesses $(TEST_PROCESSES) --dist worksteal --ignore tests/slurm

lmms-eval: $(VENV)/lmms.stamp
	$(BIN)/snakemake --cores all lmms_eval

test-lmms-eval: $(VENV)/test.stamp $(VENV)/lmms.stamp
	$(BIN)/pytest -q tests/lmms_eval tests/workflow/test_lmms_eval.py tests/unit/test_environments.py

test-slurm: $(VENV)/test.stamp
	$(BIN)/pytest -q -rs tests/slurm

lint: $(VENV)/test.stamp
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/snakefmt --check .
	$(BIN)/lint-imports
	$(BIN)/snakemake --lint

docs: $(VENV)/study.stamp
	$(BIN)/python -m adamolmo.report.docs_pages docs

pictures:
	cp $(RESULTS)/plots/headline.png $(RESULTS)/plots/pareto.png docs/images/

environment: $(VENV)/study.stamp

# Snakemake gives conda a copy of its file that lies elsewhere, so the file cannot refer to the constraints: it has them.
constraints: | $(VENV)/pyvenv.cfg
	$(INSTALL) uv
	UV_CUSTOM_COMPILE_COMMAND='make constraints PINNED_BEFORE=$(PINNED_BEFORE)' \
		$(COMPILE) --all-extras --group tools --annotation-style line --upgrade --output-file $(CONSTRAINTS)
	$(call CONDA_FILE,study)
	$(call CONDA_FILE,lmms_eval,--extra lmms-eval)

define CONDA_FILE
	$(COMPILE) $(2) --constraints $(CONSTRAINTS) --no-annotate --no-header --output-file $(VENV)/$(1).txt >/dev/null
	sed --in-place '/- pip:$$/q' envs/$(1).yaml
	sed 's/^/      - /' $(VENV)/$(1).txt >>envs/$(1).yaml
endef

clean:
	rm -rf $(VENV) results logs .snakemake

$(VENV)/pyvenv.cfg:
	@$(PYTHON) -c 'import sys; ok = sys.version_info >= (3, 11); sys.exit(not ok and \
		f"error: $(PYTHON) is Python {sys.version.split()[0]}; AdaMolmo needs 3.11 or newer (make PYTHON=python3.12).")'
	$(PYTHON) -m venv $(VENV)

$(VENV)/study.stamp: pyproject.toml $(CONSTRAINTS) | $(VENV)/pyvenv.cfg
	$(INSTALL) --editable .
	touch $@

$(VENV)/test.stamp: $(VENV)/study.stamp
	$(INSTALL) --editable '.[test]'
	touch $@

$(VENV)/bundle.stamp: $(VENV)/study.stamp
	$(INSTALL) --editable '.[bundle]'
	touch $@

$(VENV)/lmms.stamp: $(VENV)/study.stamp
	$(INSTALL) --editable '.[lmms-eval]'
	$(WITHOUT_BROKEN_TORCHVISION)
	touch $@
