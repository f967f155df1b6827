#!/usr/bin/env bash
# Submits a run to Slurm: one process a GPU, or one a node where there are none. The checkout with its environment lies
# on a file system that all nodes see.
#   launch/slurm.sh --nodes 2 --gpus-per-node 8 --time 1-00:00:00 --preset imagenet --workdir /shared/runs/zf
#   launch/slurm.sh --nodes 2 --gpus-per-node 8 evolve --workdir /shared/runs/zf
#   launch/slurm.sh --workers 8 ablate --workdir /shared/runs/grid --preset imagenet --grid stems
#   --workers N          of an ablation: an array of N jobs of one process each, all GPUs of one node (default 1)
#   --no-locks           each worker a part of the runs, where locks do not hold between machines
#   --nodes N            (default 1)
#   --gpus-per-node N    (default 1; 0: none)
#   --cpus-per-task N    cores of each process (default: the cluster's, often 1)
#   --time LIMIT, --partition NAME     as in sbatch; others by sbatch's variables, such as SBATCH_ACCOUNT
#   --dry-run            prints the submission, then the command of each process, runs nothing
set -euo pipefail
. "$(dirname "$0")/common.sh"

nodes=1 gpus=1 workers= no_locks= dry_run= options=()
while [ $# -gt 0 ]; do
  case $1 in
    --dry-run) dry_run=yes && shift ;;
    --nodes) number 1 "$@" && nodes=$2 && shift 2 ;;
    --workers) number 1 "$@" && workers=$2 && shift 2 ;;
    --no-locks) no_locks=yes && shift ;;
    --gpus-per-node) number 0 "$@" && gpus=$2 && shift 2 ;;
    --cpus-per-task) number 1 "$@" && options+=("$1=$2") && shift 2 ;;
    --time | --partition) value "$@" && options+=("$1=$2") && shift 2 ;;
    -h | --help) usage ;;
    *) break ;;
  esac
done
zfjax_words "$@"

if [ "${words[0]}" = ablate ]; then
  if [ "$nodes" != 1 ]; then fail "--nodes $nodes: an ablation takes --workers, one node each."; fi
  if [ "$gpus" != 0 ]; then options=("--gpus-per-node=$gpus" ${options[@]+"${options[@]}"}); fi
  # The job puts its own number in the place of @.
  if [ -n "$no_locks" ]; then words=(ablate --work "@/${workers:-1}" "${words[@]:1}"); fi
  worker .venv/bin/zfjax
  submit=(sbatch "--array=1-${workers:-1}" --nodes=1 --ntasks-per-node=1 ${options[@]+"${options[@]}"})
  submit+=(launch/slurm.sbatch "${command[@]:1}")
  if [ -n "$dry_run" ]; then
    quoted "${submit[@]}"
    for ((i = 1; i <= ${workers:-1}; i++)); do quoted "${command[@]/#@\//$i/}"; done
    exit 0
  fi
  make --silent .venv/ready
  exec "${submit[@]}"
fi
if [ -n "$workers$no_locks" ]; then fail "--workers and --no-locks are for ablate; a run takes --nodes."; fi

# JAX gives each task of Slurm one local device, its local id: as many tasks a node as GPUs, all of which each may see.
tasks=$gpus
if [ "$gpus" = 0 ]; then tasks=1; else options=("--gpus-per-node=$gpus" ${options[@]+"${options[@]}"}); fi
submit=(sbatch "--nodes=$nodes" "--ntasks-per-node=$tasks" ${options[@]+"${options[@]}"})
submit+=(launch/slurm.sbatch "${words[@]}")

if [ -n "$dry_run" ]; then
  quoted "${submit[@]}"
  member .venv/bin/zfjax auto
  for ((i = 0; i < nodes * tasks; i++)); do quoted "${command[@]}"; done
  exit 0
fi
make --silent .venv/ready
exec "${submit[@]}"
