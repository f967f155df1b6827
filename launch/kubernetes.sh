#!/usr/bin/env bash
# Runs on Kubernetes: launch/kubernetes.yaml, filled in and given to kubectl. One process a pod.
#   launch/kubernetes.sh --image IMAGE --processes 2 --gpus 8 --preset imagenet --data.dir /data --workdir /runs/zf
#   launch/kubernetes.sh --image IMAGE --processes 2 --gpus 8 evolve --workdir /runs/zf
#   launch/kubernetes.sh --image IMAGE --processes 8 --gpus 1 ablate --workdir /runs/grid --preset imagenet --grid stems
#                        an indexed job (launch/kubernetes-ablate.yaml): a pod is one of --processes equal workers
#   --image IMAGE        a container image with zfjax installed
#   --processes N        pods (default 1);  --gpus N  of each (default 0)
#   --runs CLAIM         a ReadWriteMany volume claim, mounted at /runs (default zfjax-runs)
#   --data CLAIM         the same, mounted at /data (default zfjax-data)
#   --name NAME          of the JobSet (default zfjax);  --namespace NAME (default: kubectl's)
#   --restarts N         how often all start again when one fails or is preempted (default 10)
#   --render             prints the filled-in YAML, runs nothing
#   --dry-run            prints the kubectl command, then that of each process, runs nothing
set -euo pipefail
. "$(dirname "$0")/common.sh"

image='' processes=1 gpus=0 runs=zfjax-runs data=zfjax-data name=zfjax restarts=10 dry_run='' render=''
apply=(kubectl apply -f -)
while [ $# -gt 0 ]; do
  case $1 in
    --dry-run) dry_run=yes && shift ;;
    --render) render=yes && shift ;;
    --image) value "$@" && image=$2 && shift 2 ;;
    --processes) number 1 "$@" && processes=$2 && shift 2 ;;
    --gpus) number 0 "$@" && gpus=$2 && shift 2 ;;
    --runs) value "$@" && runs=$2 && shift 2 ;;
    --data) value "$@" && data=$2 && shift 2 ;;
    --name)
      value "$@" && name=$2 && shift 2
      case $name in *[!a-z0-9-]* | [!a-z]* | *-) fail "--name $name: small letters, digits and '-', a letter first." ;; esac
      ;;
    --namespace) value "$@" && apply=(kubectl apply "--namespace=$2" -f -) && shift 2 ;;
    --restarts) number 0 "$@" && restarts=$2 && shift 2 ;;
    -h | --help) usage ;;
    *) break ;;
  esac
done
zfjax_words "$@"
shared_workdir
if [ -z "$image" ]; then fail "Say which container image: --image IMAGE."; fi
coordinator="$name-worker-0-0.$name:29400"
# Sets `command` to that of pod $1.
pod() {
  if [ "${words[0]}" = ablate ]; then worker zfjax; else member zfjax "$coordinator" "$processes" "$1"; fi
}

if [ -n "$dry_run" ]; then
  quoted "${apply[@]}"
  for ((i = 0; i < processes; i++)); do
    pod "$i"
    quoted "${command[@]}"
  done
  exit 0
fi

# A JSON string, which is YAML too.
json() {
  local text=$1 pair from to
  for pair in '\=\\' '"=\"' $'\n=\\n' $'\t=\\t' $'\r=\\r'; do
    from=${pair%%=*} to=${pair#*=}
    text=${text//"$from"/"$to"}
  done
  printf '"%s"' "$text"
}
# Kubernetes fills $(JOB_COMPLETION_INDEX) in, in each pod; a dollar of the user's own is doubled to stay one.
list='' dollar='$'
pod INDEX
for word in "${command[@]}"; do list="$list, $(json "${word//"$dollar"/"$dollar$dollar"}")"; done
list="[${list#, }]"
index='"--process-index", "INDEX"'
list=${list/"$index"/'"--process-index", "$(JOB_COMPLETION_INDEX)"'}
limits='{}'
if [ "$gpus" != 0 ]; then limits="{\"limits\": {\"nvidia.com/gpu\": $gpus}}"; fi

template=kubernetes.yaml
if [ "${words[0]}" = ablate ]; then template=kubernetes-ablate.yaml; fi
text=$(cat "launch/$template")
fill() {
  local token="\${$1}"
  text=${text//"$token"/"$2"}
}
fill NAME "$(json "$name")"
fill IMAGE "$(json "$image")"
fill PROCESSES "$processes"
fill RESOURCES "$limits"
fill RUNS "$(json "$runs")"
fill DATA "$(json "$data")"
fill RESTARTS "$restarts"
fill COMMAND "$list"
if [ -n "$render" ]; then
  printf '%s\n' "$text"
else
  printf '%s\n' "$text" | "${apply[@]}"
fi
