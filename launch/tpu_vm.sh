#!/usr/bin/env bash
# Runs on every worker of a Cloud TPU VM, over ssh: one process a worker, which find each other by themselves.
#   launch/tpu_vm.sh --name my-tpu --zone us-east5-a --share 10.0.0.2:/zfjax --setup      installs this commit, once
#   launch/tpu_vm.sh --name my-tpu --zone us-east5-a --share 10.0.0.2:/zfjax --preset imagenet --workdir /mnt/zfjax/zf
#   launch/tpu_vm.sh --name my-tpu --zone us-east5-a --stop      saves the state and ends the run
#   --share HOST:/PATH   an NFS export (Filestore), which every worker mounts at /mnt/zfjax; or mount one yourself
#   --dry-run            prints the commands from here, then that of each worker, runs nothing
set -euo pipefail
. "$(dirname "$0")/common.sh"

name='' zone='' share='' setup='' stop='' dry_run=''
while [ $# -gt 0 ]; do
  case $1 in
    --dry-run) dry_run=yes && shift ;;
    --setup) setup=yes && shift ;;
    --stop) stop=yes && shift ;;
    --name) value "$@" && name=$2 && shift 2 ;;
    --zone) value "$@" && zone=$2 && shift 2 ;;
    --share) value "$@" && share=$2 && shift 2 ;;
    -h | --help) usage ;;
    *) break ;;
  esac
done
if [ -z "$name" ] || [ -z "$zone" ]; then fail "Say which TPU: --name TPU --zone ZONE."; fi
words=()
if [ -z "$setup$stop" ] || [ $# -gt 0 ]; then zfjax_words "$@" && shared_workdir; fi
if [ "${words[0]-}" = ablate ]; then
  fail "ablate: the workers of a TPU VM act as one process of many; start equal workers with kubernetes.sh or skypilot.sh."
fi

run() {
  if [ -n "$dry_run" ]; then quoted "$@"; else "$@"; fi
}
on_workers() {
  run gcloud compute tpus tpu-vm ssh "$name" "--zone=$zone" --worker=all "--command=$1"
}

mount=
if [ -n "$share" ]; then
  mount="mountpoint -q /mnt/zfjax || { sudo mkdir -p /mnt/zfjax && sudo mount -t nfs -o lookupcache=positive $(quoted "$share") /mnt/zfjax; }; "
fi

# Whether the process that a worker has noted is still a zfjax.
running='grep -qs zfjax "/proc/$(cat zfjax/.pid)/cmdline"'
if [ -n "$stop" ]; then
  # The shell that wrote the file became zfjax. TERM: it saves and exits 143.
  on_workers "$running && kill -TERM \"\$(cat zfjax/.pid)\""
  exit 0
fi
if [ -n "$setup" ]; then
  # The images have an older Python than zfjax needs; uv brings one along.
  archive=zfjax-checkout.tar.gz
  trap 'rm -f "$archive"' EXIT
  run git archive --format=tar.gz "--output=$archive" HEAD
  run gcloud compute tpus tpu-vm scp "$archive" "$name:" "--zone=$zone" --worker=all
  on_workers "set -e
command -v mount.nfs >/dev/null || { sudo apt-get -qq update; sudo apt-get -qqy install nfs-common; }
${mount}python3 -m pip install --quiet --user uv; python3 -m uv python install --quiet 3.12
python=\$(python3 -m uv python find --no-project --system 3.12); mkdir -p zfjax; tar -xzf $archive -C zfjax; cd zfjax
make PYTHON=\"\$python\" .venv/ready; .venv/bin/pip install --quiet -c constraints.txt -e '.[tpu]'"
fi
if [ ${#words[@]} -gt 0 ]; then
  member .venv/bin/zfjax auto
  busy="if $running; then echo 'zfjax is running on this worker; --stop ends it.' >&2; exit 1; fi"
  on_workers "set -e; $busy; ${mount}cd zfjax && echo \$\$ >.pid && exec $(quoted "${command[@]}")"
  if [ -n "$dry_run" ]; then quoted "${command[@]}"; fi
fi
