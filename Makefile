# Each target sets up all it needs: .venv with the versions of constraints.txt, and the default dataset in the cache.
PYTHON ?= python3
SEEDS ?= 3
BIN := .venv/bin

# What the libraries are about to drop is an error in our own code, in notebooks as in pytest.ini.
STRICT := PYTHONWARNINGS=error::DeprecationWarning:__main__,error::FutureWarning:__main__

.PHONY: study peers integration jobs bench test test-all faults lab readme notebooks docs docs-test serve clean

study: .venv/ready
	@$(BIN)/scvae study founding --seeds $(SEEDS) --out runs/founding

# scvi-tools on the same matrices. DATA_DIR=folder adds the datasets there (baron_human.h5ad, ...); PEERS_OUT=folder takes the rows.
peers: .venv/ready .venv-peers/ready
	@$(BIN)/scvae study peers --seeds $(SEEDS) --out "$(or $(PEERS_OUT),runs/peers)" $(if $(DATA_DIR),--data-dir "$(DATA_DIR)")

# Batches joined by us, Harmony, ComBat and scvi-tools, judged by scib-metrics. DATA_DIR as above; INTEGRATION_OUT=file takes the rows.
integration: .venv/ready .venv-peers/ready .venv-scib/ready
	@$(if $(DATA_DIR),SCVAE_DATA="$(DATA_DIR)") OMP_NUM_THREADS=1 NUMBA_NUM_THREADS=1 $(BIN)/python -c \
		"from scvae.studies.integration import *; integration_study(range($(SEEDS)), out='$(or $(INTEGRATION_OUT),runs/integration.csv)')"

# Mapping, expression, new cells and denoising, each beside simple rivals and scvi-tools. DATA_DIR as above; JOBS_OUT=folder takes the rows.
jobs: .venv/ready .venv-peers/ready
	@$(if $(DATA_DIR),SCVAE_DATA="$(DATA_DIR)") OMP_NUM_THREADS=1 NUMBA_NUM_THREADS=1 $(BIN)/python -c \
		"from scvae.studies.jobs import *; jobs_study(range($(SEEDS)), folder='$(or $(JOBS_OUT),runs/jobs)')"

# Our engine against scvi-tools' and against this machine's limit; CELLS=3000,30000 and BENCH_OUT=file.csv change what is measured and where it goes.
bench: .venv/ready .venv-peers/ready
	@$(BIN)/scvae bench $(if $(CELLS),--cells $(CELLS)) --out "$(or $(BENCH_OUT),runs/benchmark.csv)"

# Every way we know to lose somebody's work, tried; what is recorded is not tried again. SHARE=0.01 tries a part.
faults: .venv/ready
	@OMP_NUM_THREADS=1 NUMBA_NUM_THREADS=1 $(BIN)/python -m scvae.studies.faults \
		--out "$(or $(FAULTS_OUT),runs/faults.csv)" $(if $(SHARE),--share $(SHARE))

# Every notebook, and the tests beside them; test-all has those too that kill, fill disks and start many processes.
# Two at a time, each on one thread: threads that share cores with others wait for each other.
test test-all: .venv/ready
	@$(STRICT) OMP_NUM_THREADS=1 NUMBA_NUM_THREADS=1 $(BIN)/nbdev_test --n_workers 2
	@OMP_NUM_THREADS=1 NUMBA_NUM_THREADS=1 $(BIN)/python -m pytest -q -n 2 --dist worksteal $(if $(filter test-all,$@),-m "") tests

lab: .venv/ready
	@MATPLOTLIBRC=$(CURDIR)/scvae/templates/scvae.mplstyle $(BIN)/jupyter lab nbs

readme: .venv/ready
	@$(BIN)/python tools/readme.py

# NB="02_model 05_train" (all without it) are executed, outputs stored, and what they came from noted.
notebooks: .venv/ready
	@OMP_NUM_THREADS=1 NUMBA_NUM_THREADS=1 $(BIN)/python tools/execute.py $(NB)

# The site, as _docs/index.html: the notebooks with the outputs they store. docs-test reads it in Chromium.
docs: .venv/docs-ready
	@$(BIN)/python tools/docs.py

# The site at http://127.0.0.1:8000, as a server would show it.
serve: docs
	@$(BIN)/python -m http.server --bind 127.0.0.1 --directory _docs 8000

docs-test: docs
	@$(BIN)/python -m pytest -q -p no:cacheprovider docs

.venv/ready: settings.ini setup.py constraints.txt
	@echo "Setting up .venv (a few minutes the first time) ..."
	@$(PYTHON) -m venv .venv
	@$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	@$(BIN)/scvae data zeisel4k
	@touch $@

.venv-peers/ready: peers/requirements.txt peers/constraints.txt
	@echo "Setting up .venv-peers for scvi-tools (a few minutes the first time) ..."
	@$(PYTHON) -m venv .venv-peers
	@.venv-peers/bin/pip install --quiet --disable-pip-version-check --constraint peers/constraints.txt --requirement peers/requirements.txt
	@touch $@

# scib-metrics needs JAX and other versions of what scvi-tools needs, so it stands by itself.
.venv-scib/ready: peers/scib-requirements.txt peers/scib-constraints.txt
	@echo "Setting up .venv-scib for scib-metrics (a few minutes the first time) ..."
	@$(PYTHON) -m venv .venv-scib
	@.venv-scib/bin/pip install --quiet --disable-pip-version-check --constraint peers/scib-constraints.txt --requirement peers/scib-requirements.txt
	@touch $@

# The reference is made from the docstrings of the imported package, so Sphinx is installed beside it.
.venv/docs-ready: .venv/ready docs/requirements.txt docs/constraints.txt
	@echo "Adding Sphinx to .venv for the documentation site ..."
	@$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt \
		--constraint docs/constraints.txt --requirement docs/requirements.txt
	@touch $@

clean:
	rm -rf .venv .venv-peers .venv-scib runs _docs _proc
