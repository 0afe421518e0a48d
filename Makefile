# Each target sets up all it needs: .venv with the versions of constraints.txt, and the default dataset in the cache.
PYTHON ?= python3
SEEDS ?= 3
BIN := .venv/bin

.PHONY: study peers test lab readme clean

study: .venv/ready
	@$(BIN)/scvae study founding --seeds $(SEEDS) --out runs/founding

# scvi-tools on the same matrices. DATA_DIR=folder adds the datasets there (baron_human.h5ad, ...); PEERS_OUT=folder takes the rows.
peers: .venv/ready .venv-peers/ready
	@$(BIN)/scvae study peers --seeds $(SEEDS) --out "$(or $(PEERS_OUT),runs/peers)" $(if $(DATA_DIR),--data-dir "$(DATA_DIR)")

test: .venv/ready
	@OMP_NUM_THREADS=1 NUMBA_NUM_THREADS=1 $(BIN)/nbdev_test --n_workers 2
	@$(BIN)/python -m pytest -q tests

lab: .venv/ready
	@$(BIN)/jupyter lab nbs

readme: .venv/ready
	@$(BIN)/python tools/readme.py

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

clean:
	rm -rf .venv .venv-peers runs _docs _proc
