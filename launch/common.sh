# Sourced by the launch scripts: what they have in common. Sets `here` and goes to the checkout.
here=$(cd "$(dirname "$0")" && pwd)
cd "$here/.."

fail() {
  printf 'launch/%s: %s\n' "${0##*/}" "$*" >&2
  exit 2
}

# The comment at the top of the script.
usage() {
  sed -n '2,/^set /s/^# \{0,1\}//p' "$here/${0##*/}"
  exit 0
}

# value OPTION VALUE...: there must be one.
value() {
  if [ $# -lt 2 ] || [ -z "$2" ]; then fail "$1 needs a value."; fi
}

# number LEAST OPTION VALUE...: a whole number from LEAST.
number() {
  value "${@:2}"
  case $3 in *[!0-9]* | 0?*) fail "$2 $3: give a whole number from $1." ;; esac
  if [ "$3" -lt "$1" ]; then fail "$2 $3: give a whole number from $1."; fi
}

# The arguments as a shell would read them back, on one line.
quoted() {
  local line
  line=$(printf '%q ' "$@")
  printf '%s\n' "${line% }"
}

# Sets `words` to zfjax's own words, from `train`, `evolve` or `ablate` on. A mistyped option of the script must not reach
# zfjax, so without one of these words they begin with one of three options.
zfjax_words() {
  case ${1:-} in
    train | evolve | ablate) words=("$@") ;;
    --preset | --preset=* | --config | --config=* | --workdir | --workdir=*) words=(train "$@") ;;
    "") words=() ;;
    *) fail "$1 is not an option of this script; after its own come train, evolve, ablate, --preset, --config or --workdir." ;;
  esac
  if [ ${#words[@]} -lt 2 ]; then fail "Say what to run, such as --preset demo --workdir runs/demo."; fi
}

# Refuses a --workdir in `words` that each machine would look for on a disk of its own.
shared_workdir() {
  local word before=
  for word in "${words[@]}"; do
    case $word in --workdir=*) before=--workdir word=${word#*=} ;; esac
    if [ "$before" = --workdir ] && [ "${word#/}" = "$word" ]; then
      fail "--workdir $word: give the whole path of a folder that all machines share."
    fi
    before=$word
  done
}

# worker PROGRAM: sets `command` to that of each of many equal workers of an ablation.
worker() {
  command=("$1" ablate)
  case " ${words[*]} " in *" --work"[\ =]*) ;; *) command+=(--work) ;; esac
  command+=("${words[@]:1}")
}

# member PROGRAM ADDRESS COUNT INDEX: sets `command` to that of one process of many; COUNT and INDEX may be left out.
member() {
  command=("$1" "${words[0]}" --coordinator "$2")
  if [ $# -gt 2 ]; then command+=(--process-count "$3" --process-index "$4"); fi
  command+=("${words[@]:1}")
}
