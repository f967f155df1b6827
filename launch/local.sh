#!/usr/bin/env bash
# Trains on this machine's devices, from the checkout's own environment (made when missing).
#   launch/local.sh --preset demo --workdir runs/demo
#   launch/local.sh evolve --workdir runs/demo
#   launch/local.sh --processes 2 --preset demo --workdir runs/demo     two processes that act as one, over loopback
#   launch/local.sh --dry-run --preset demo --workdir runs/demo         prints the command of each, runs nothing
# ZFJAX_PORT: where processes meet (default: a free port). ZFJAX_GRACE: seconds that they have to end after one has
# failed (default: 60).
set -euo pipefail
. "$(dirname "$0")/common.sh"

processes=1 dry_run=
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

if [ -n "$dry_run" ]; then
  for ((i = 0; i < processes; i++)); do
    command=("$program" "${words[@]}")
    if [ "$processes" -gt 1 ]; then member "$program" "127.0.0.1:${ZFJAX_PORT:-29400}" "$processes" "$i"; fi
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
  member "$program" "127.0.0.1:$port" "$processes" "$i"
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
      status=$code deadline=$((SECONDS + ${ZFJAX_GRACE:-60}))
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
