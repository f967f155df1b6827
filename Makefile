# make demo: the main job on embedded data.  make test: the tests, in JOBS processes; make test FAST=1: those that take no
# processes and no whole run, in a minute.  make lint: ruff and mypy.  make proof: what is too long for the tests, under
# an hour; e.g. make proof KILLS=100 SYSCALLS=20 WORKER_KILLS=20.  Each sets up its own .venv first, with the versions of
# constraints.txt.  make test CONSTRAINTS=newest: the same in a .venv-newest, with the newest JAX, Flax and all else that
# pyproject.toml allows; each call looks for newer ones.  .venv stays as it is.
PYTHON ?= python3
CONSTRAINTS ?= constraints.txt
ifeq ($(CONSTRAINTS),constraints.txt)
VENV := .venv
else ifeq ($(CONSTRAINTS),newest)
VENV := .venv-newest
else
$(error CONSTRAINTS is "$(CONSTRAINTS)"; it can be constraints.txt, which pins versions, or newest)
endif
BIN := $(VENV)/bin

JOBS := 2
KILLS := 12
SIGNALS := 6
LOST := 3
SYSCALLS := 5
WORKER_KILLS := 200
NETWORKS := 500

.PHONY: demo test proof lint clean

demo: $(VENV)/ready
	$(BIN)/zfjax demo

test: $(VENV)/ready
	$(BIN)/python -m pytest -n $(JOBS) --dist loadfile --no-loadscope-reorder $(if $(FAST),-m "not slow")

proof: $(VENV)/ready
	$(BIN)/python experiments/faults.py --kills $(KILLS) --signals $(SIGNALS) --lost $(LOST)
	$(BIN)/python experiments/faults.py --syscalls $(SYSCALLS)
	$(BIN)/python experiments/ablation_faults.py --kills $(WORKER_KILLS)
	$(BIN)/python experiments/random_networks.py --count $(NETWORKS)
	$(BIN)/python experiments/gallery.py --tiny

lint: $(VENV)/ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

.venv/ready: pyproject.toml constraints.txt
	$(call create,.venv)
	.venv/bin/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[test]'
	@touch $@

.PHONY: .venv-newest/ready
.venv-newest/ready:
	$(call create,.venv-newest)
	.venv-newest/bin/pip install --quiet --disable-pip-version-check --upgrade --upgrade-strategy eager -e '.[test]'
	@.venv-newest/bin/pip freeze --disable-pip-version-check | grep -iE '^(jax|jaxlib|flax|optax|orbax|numpy)'

define create
@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
  { echo "zfjax needs Python 3.11 or newer; try: make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 1; }
$(PYTHON) -m venv $(1)
endef

clean:
	rm -rf .venv .venv-newest
