#!/usr/bin/env bash
# Every figure that wants a GPU, in one call of nine minutes at most, for a machine that reaches no network.
#
#   experiments/benchmarks/gpu.sh wheels DIR     here, before: what such a machine may lack, as wheels for its Python
#   experiments/benchmarks/gpu.sh [OUT]          there: each part writes OUT/<part>.txt as it ends, the most wanted first
#   experiments/benchmarks/gpu.sh --tiny [OUT]   the same at toy sizes on a CPU, to rehearse it
#
# PYTHON: the interpreter (default python3). PYTHON_VERSION, PLATFORM: for `wheels` (default 3.12, manylinux_2_28_x86_64).
# TIMES: a factor on all limits, for a slow rehearsal (default 1).
# A part that fails or outruns its seconds is named at the end and stops no other; the exit status is their number.
set -u
cd "$(dirname "$0")/../.."
python=${PYTHON:-python3}

if [ "${1:-}" = wheels ]; then
  folder=${2:?name a folder for the wheels}
  lacking="grain array_record tensorflow-datasets tensorflow-metadata immutabledict dm-tree promise toml termcolor
    importlib_resources googleapis-common-protos simple-parsing docstring_parser portpicker beartype tensorboardX"
  for name in $lacking; do
    pin=$(grep -i "^$name==" constraints.txt || echo "$name")
    "$python" -m pip download --quiet --no-deps --only-binary=:all: --python-version "${PYTHON_VERSION:-3.12}" \
      --platform "${PLATFORM:-manylinux_2_28_x86_64}" --platform manylinux_2_17_x86_64 --platform manylinux2014_x86_64 \
      -d "$folder" "$pin" || "$python" -m pip wheel --quiet --no-deps -w "$folder" "$pin" || echo "no wheel of $name"
  done
  du -sh "$folder"
  exit
fi

tiny=; if [ "${1:-}" = --tiny ]; then tiny=--tiny; shift; fi
out=${1:-gpu-figures}
mkdir -p "$out"
export PYTHONPATH="$PWD${PYTHONPATH:+:$PYTHONPATH}" PYTHONUNBUFFERED=1
export XLA_PYTHON_CLIENT_PREALLOCATE=false          # PyTorch shares the card
export JAX_COMPILATION_CACHE_DIR="$out/compiled" JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS=0
failed=

part() { # name, seconds, command
  local name=$1 limit=$(($2 * ${TIMES:-1})) status; shift 2
  echo "== $name ($(date +%T), at most $limit s)"
  timeout --kill-after=5 "$limit" "$@" > "$out/$name.txt" 2>&1
  status=$?
  tail -n 25 "$out/$name.txt"
  [ $status = 0 ] || { failed="$failed $name($status)"; echo "$name ended with $status"; }
}

tests="tests/network/test_ops.py tests/features/test_strongest.py tests/features/test_deconvnet.py
  tests/features/test_evolving.py tests/features/test_ranking.py tests/training/test_train.py"
here=experiments/benchmarks
part machine 20 "$python" -c 'import jax, sys; print(sys.version.split()[0], jax.__version__, jax.devices())'
part training 100 "$python" $here/gpu_training.py $tiny
part search 60 "$python" $here/gpu.py --only search $tiny
part projection 45 "$python" $here/gpu.py --only projection --no-peers $tiny
part agreement 45 "$python" $here/gpu_agreement.py $tiny
part resume 75 env XLA_FLAGS="${XLA_FLAGS:-} --xla_gpu_deterministic_ops=true" \
  "$python" experiments/faults.py --kills 2 --only kills
part precisions 40 "$python" $here/gpu.py --only precisions $tiny
part peer 90 "$python" $here/train_step.py --size 224 --batch 256 --compute bfloat16 --rounds 3 $tiny
part captum 45 "$python" $here/gpu.py --only projection $tiny
part demo 75 "$python" -m zfjax demo --workdir "$out/demo"
# shellcheck disable=SC2086
part tests 150 "$python" -m pytest -x -k "not devices and not process" $tests
echo "failed:${failed:- none}"
exit "$(wc -w <<< "$failed")"
