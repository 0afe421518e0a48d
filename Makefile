# Each target sets up all it needs: .venv with the versions of constraints.txt, and the default dataset in the cache.
PYTHON ?= python3
SEEDS ?= 3
BIN := .venv/bin

.PHONY: study test lab readme clean

study: .venv/ready
	@$(BIN)/scvae study founding --seeds $(SEEDS) --out runs/founding

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

clean:
	rm -rf .venv runs _docs _proc
