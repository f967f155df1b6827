#!/usr/bin/env bash
# Runs on machines that SkyPilot finds and starts: launch/skypilot.yaml, one process a node.
#   launch/skypilot.sh --nodes 2 --gpus H100:8 --share 10.0.0.2:/zfjax --preset imagenet --workdir /mnt/zfjax/runs/zf
#   launch/skypilot.sh --nodes 2 --gpus H100:8 --share 10.0.0.2:/zfjax evolve --workdir /mnt/zfjax/runs/zf
#   launch/skypilot.sh --workers 4 --gpus H100:1 --share 10.0.0.2:/zfjax ablate --workdir /mnt/zfjax/runs/grid --grid stems
#   --workers N          of an ablation: N managed jobs of a node each (default 1)
#   --nodes N            (default 1);  --gpus NAME:COUNT  of each node (default: none)
#   --share HOST:/PATH   an NFS export that every node mounts at /mnt/zfjax
#   --infra WHERE        a cloud, or CLOUD/REGION: where the share can be reached
#   --spot               a managed job on spot machines, started again after a preemption
#   --name NAME          of the cluster or job (default zfjax)
#   --dry-run            prints the sky command, then that of each process, runs nothing
set -euo pipefail
. "$(dirname "$0")/common.sh"

nodes=1 workers='' gpus='' share='' spot='' name=zfjax dry_run='' options=()
while [ $# -gt 0 ]; do
  case $1 in
    --dry-run) dry_run=yes && shift ;;
    --spot) spot=yes && shift ;;
    --nodes) number 1 "$@" && nodes=$2 && shift 2 ;;
    --workers) number 1 "$@" && workers=$2 && shift 2 ;;
    --gpus) value "$@" && gpus=$2 && options+=(--gpus "$2") && shift 2 ;;
    --infra) value "$@" && options+=(--infra "$2") && shift 2 ;;
    --share) value "$@" && share=$2 && shift 2 ;;
    --name) value "$@" && name=$2 && shift 2 ;;
    -h | --help) usage ;;
    *) break ;;
  esac
done
zfjax_words "$@"
shared_workdir
if [ -z "$share" ]; then fail "Say where runs and data live: --share HOST:/PATH, an NFS export."; fi

# What pip installs: '.[cuda]', '.[tpu]' or, without accelerators, what a checkout has anyway.
case $gpus in
  "") extra=test ;;
  tpu* | TPU*) extra=tpu ;;
  *) extra=cuda ;;
esac
if [ "${words[0]}" = ablate ]; then
  if [ "$nodes" != 1 ]; then fail "--nodes $nodes: an ablation takes --workers, one node each."; fi
  worker .venv/bin/zfjax
  words=("${command[@]:1}")
  # Managed jobs: each goes on from where it was on another machine.
  if [ -n "$spot" ]; then options+=(--use-spot); fi
  for ((i = 1; i <= ${workers:-1}; i++)); do
    launch=(sky jobs launch --detach-run --yes --name "$name-$i" ${options[@]+"${options[@]}"})
    launch+=(--env "ZFJAX_SHARE=$share" --env "ZFJAX_EXTRA=$extra")
    launch+=(--env "ZFJAX_WORDS=$(quoted "${words[@]}")" launch/skypilot.yaml)
    if [ -n "$dry_run" ]; then quoted "${launch[@]}"; else "${launch[@]}"; fi
  done
  if [ -n "$dry_run" ]; then
    for ((i = 1; i <= ${workers:-1}; i++)); do quoted "${command[@]}"; done
  fi
  exit 0
fi
if [ -n "$workers" ]; then fail "--workers is for ablate; a run takes --nodes."; fi
launch=(sky launch --cluster "$name")
if [ -n "$spot" ]; then launch=(sky jobs launch --name "$name" --use-spot); fi
launch+=(--num-nodes "$nodes" ${options[@]+"${options[@]}"} --env "ZFJAX_SHARE=$share" --env "ZFJAX_EXTRA=$extra")
launch+=(--env "ZFJAX_WORDS=$(quoted "${words[@]}")" launch/skypilot.yaml)

if [ -n "$dry_run" ]; then
  quoted "${launch[@]}"
  for ((i = 0; i < nodes; i++)); do
    member .venv/bin/zfjax FIRST_NODE_IP:29400 "$nodes" "$i"
    quoted "${command[@]}"
  done
  exit 0
fi
exec "${launch[@]}"
