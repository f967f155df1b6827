#!/usr/bin/env bash
# Trains on this machine's devices, from the checkout's own environment (made when missing).
#   launch/local.sh --preset demo --workdir runs/demo
#   launch/local.sh evolve --workdir runs/demo
#   launch/local.sh --processes 2 --preset demo --workdir runs/demo     two processes that act as one, over loopback
#   launch/local.sh ablate --workdir runs/grid --preset demo --grid stems       one worker a GPU, or --processes of them
#   launch/local.sh --dry-run --preset demo --workdir runs/demo         prints the command of each, runs nothing
# ZFJAX_PORT: where processes meet (default: a free port). ZFJAX_GRACE: seconds that they have to end after one has
# failed (default: 60).
set -euo pipefail
. "$(dirname "$0")/common.sh"

processes= dry_run=
while [ $# -gt 0 ]; do
  case $1 in
    --dry-run) dry_run=yes && shift ;;
    --processes) number 1 "$@" && processes=$2 && shift 2 ;;
    -h | --help) usage ;;
    *) break ;;
  esac
done
zfjax_words "$@"
program=.venv/bin/zfjax
number 0 ZFJAX_GRACE "${ZFJAX_GRACE:-60}"
gpus=0
if [ "${words[0]}" = ablate ]; then gpus=$({ nvidia-smi --list-gpus 2>/dev/null || true; } | wc -l); fi
if [ -z "$processes" ]; then processes=$((gpus > 1 ? gpus : 1)); fi

# Sets `command` to that of process $1: one of many that act as one, or an equal worker with a GPU of its own.
one_of_all() {
  command=("$program" "${words[@]}")
  if [ "$processes" = 1 ]; then return; fi
  if [ "${words[0]}" = ablate ]; then
    worker "$program"
    if [ "$gpus" -gt 0 ]; then command=(env "CUDA_VISIBLE_DEVICES=$(($1 % gpus))" "${command[@]}"); fi
  else
    member "$program" "127.0.0.1:$port" "$processes" "$1"
  fi
}

if [ -n "$dry_run" ]; then
  port=${ZFJAX_PORT:-29400}
  for ((i = 0; i < processes; i++)); do
    one_of_all "$i"
    quoted "${command[@]}"
  done
  exit 0
fi
make --silent .venv/ready
if [ "$processes" = 1 ]; then exec "$program" "${words[@]}"; fi

free_port='import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'
port=${ZFJAX_PORT:-$(.venv/bin/python -c "$free_port")}
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

pids=() signalled=
pass_on() {
  for pid in ${pids[@]+"${pids[@]}"}; do kill -s "$1" "$pid" 2>/dev/null || true; done
}
trap 'signalled=yes; pass_on INT' INT
trap 'signalled=yes; pass_on TERM' TERM HUP
prefixed() {
  while IFS= read -r line || [ -n "$line" ]; do printf '[%s] %s\n' "$1" "$line"; done
}

# A process group each: Ctrl-C then reaches only this script, which passes it on once; a second would end them unsaved.
set -m
readers=()
for ((i = 0; i < processes; i++)); do
  if [ -n "$signalled" ]; then break; fi
  one_of_all "$i"
  if [ "$i" = 0 ]; then
    "${command[@]}" </dev/null &
  else
    mkfifo "$scratch/$i"
    prefixed "$i" <"$scratch/$i" >&2 &
    readers+=("$!")
    "${command[@]}" </dev/null >"$scratch/$i" 2>&1 &
  fi
  pids+=("$!")
done
set +m

status=0 deadline= running=${pids[*]-}
while [ -n "$running" ]; do
  sleep 0.1 || true
  still=
  for pid in $running; do
    if kill -0 "$pid" 2>/dev/null; then still="$still $pid" && continue; fi
    code=0
    wait "$pid" 2>/dev/null || code=$?
    if [ "$code" != 0 ] && [ "$status" = 0 ]; then
      status=$code
      # Workers are equal: what one could not do keeps no other from going on.
      if [ "${words[0]}" = ablate ] && [ -z "$signalled" ]; then continue; fi
      deadline=$((SECONDS + ${ZFJAX_GRACE:-60}))
      if [ -z "$signalled" ]; then pass_on TERM; fi
    fi
  done
  running=$still
  if [ -n "$deadline" ] && [ "$SECONDS" -ge "$deadline" ]; then pass_on KILL; fi
done
# What they may have left behind; their last lines are read to the end.
for pid in ${pids[@]+"${pids[@]}"}; do kill -s KILL -- "-$pid" 2>/dev/null || true; done
for reader in ${readers[@]+"${readers[@]}"}; do wait "$reader" || true; done
exit "$status"
