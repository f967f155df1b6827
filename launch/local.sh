#!/usr/bin/env bash
# Trains on this machine's devices, from the checkout's own environment (made when missing).
#   launch/local.sh --preset demo --workdir runs/demo
#   launch/local.sh --dry-run --preset demo --workdir runs/demo     prints the command, runs nothing
set -euo pipefail
cd "$(dirname "$0")/.."

if [ "${1:-}" = "--dry-run" ]; then
  shift
  echo ".venv/bin/zfjax train $*"
  exit 0
fi
make --silent .venv/ready
exec .venv/bin/zfjax train "$@"
