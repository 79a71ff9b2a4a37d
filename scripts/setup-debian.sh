#!/usr/bin/env bash
# Installs by apt what building, the demo or the tests need; when nothing is missing it changes nothing and asks
# the network nothing. Starts no service and leaves those there are as they are.
# usage: setup-debian.sh [--demo] [--tests] [--bench] [--web]
set -euo pipefail

# The compiler of protocols only recommends the library that has the types every protocol imports.
build=(gcc libc6-dev make protobuf-compiler libprotobuf-dev)
demo=(mariadb-server galera-4 mariadb-backup rsync etcd-server etcd-client haproxy)
tests=(age keepalived nftables iproute2 openssh-server openssh-client debootstrap openssl python3-venv tmux mydumper zstd)
bench=(sysbench percona-toolkit gzip)
web=(nodejs npm)

wanted=("${build[@]}")
for argument in "$@"; do
  case $argument in
    --demo) wanted+=("${demo[@]}") ;;
    --tests) wanted+=("${demo[@]}" "${tests[@]}") ;;
    --bench) wanted+=("${demo[@]}" "${tests[@]}" "${bench[@]}") ;;
    # Node may have come from elsewhere, and Debian's package would shadow it.
    --web) command -v node npm >/dev/null || wanted+=("${web[@]}") ;;
    *) echo "setup-debian.sh: unknown argument $argument; use --demo, --tests, --bench or --web" >&2; exit 64 ;;
  esac
done

if ! command -v dpkg-query >/dev/null || ! command -v apt-get >/dev/null; then
  echo "setup-debian.sh: not a Debian machine; install what these packages hold and go on: ${wanted[*]}" >&2
  exit 0
fi

installed=$(dpkg-query -W -f '${Package} ${db:Status-Abbrev}\n' "${wanted[@]}" 2>/dev/null | awk '$2 == "ii" { print $1 }') || true
missing=()
for package in "${wanted[@]}"; do
  grep -qxF "$package" <<<"$installed" || missing+=("$package")
done
((${#missing[@]})) || exit 0

as_root=()
if ((EUID != 0)); then
  if ! command -v sudo >/dev/null; then
    echo "setup-debian.sh: run this as root, then go on: apt-get install ${missing[*]}" >&2
    exit 1
  fi
  as_root=(sudo)
fi

# Debian starts a service when its package is installed, unless this file says no. One that is there already stays;
# one left by a killed run is known by its mark.
policy=/usr/sbin/policy-rc.d
mark='# by mainstay setup-debian.sh, removed when it ends'
log=$(mktemp)
finish() {
  rm -f "$log"
  if grep -qxF "$mark" "$policy" 2>/dev/null; then "${as_root[@]}" rm -f "$policy"; fi
}
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP
if [[ ! -e $policy ]]; then
  printf '#!/bin/sh\n%s\nexit 101\n' "$mark" | "${as_root[@]}" tee "$policy" >/dev/null
  "${as_root[@]}" chmod 755 "$policy"
fi

update() { "${as_root[@]}" apt-get -qq update >"$log" 2>&1; }
# --no-remove: a server of another vendor may be installed, and is not ours to replace.
install() {
  "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends --no-remove \
    -o DPkg::Lock::Timeout=300 "${missing[@]}" >"$log" 2>&1
}
candidates_known() {
  local package
  for package in "${missing[@]}"; do
    apt-cache policy "$package" 2>/dev/null | grep -q 'Candidate: [^(]' || return 1
  done
}

echo "setup-debian.sh: installing ${missing[*]}" >&2
candidates_known || update || { cat "$log" >&2; exit 1; }
# Old package lists name files that mirrors no longer have: one more try with new lists.
install || { update && install; } || {
  cat "$log" >&2
  echo "setup-debian.sh: apt could not install ${missing[*]}; its words are above" >&2
  exit 1
}
