# make demo: the main job on embedded data.  make test: the tests, in JOBS processes; make test FAST=1: those that take no
# processes and no whole run, in a minute.  make lint: ruff and mypy.  make proof: what is too long for the tests, under
# an hour; e.g. make proof KILLS=100 SYSCALLS=60 WORKER_KILLS=20.  Each sets up its own .venv first.
PYTHON ?= python3
BIN := .venv/bin

JOBS := 2
KILLS := 12
SIGNALS := 6
LOST := 3
SYSCALLS := 20
WORKER_KILLS := 200
NETWORKS := 500

.PHONY: demo test proof lint clean

demo: .venv/ready
	$(BIN)/zfjax demo

test: .venv/ready
	$(BIN)/python -m pytest -n $(JOBS) --dist loadfile $(if $(FAST),-m "not slow")

proof: .venv/ready
	$(BIN)/python experiments/faults.py --kills $(KILLS) --signals $(SIGNALS) --lost $(LOST)
	$(BIN)/python experiments/faults.py --syscalls $(SYSCALLS)
	$(BIN)/python experiments/ablation_faults.py --kills $(WORKER_KILLS)
	$(BIN)/python experiments/random_networks.py --count $(NETWORKS)

lint: .venv/ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

.venv/ready: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "zfjax needs Python 3.11 or newer; try: make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 1; }
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[test]'
	@touch $@

clean:
	rm -rf .venv
