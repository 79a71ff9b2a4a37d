#!/usr/bin/env bash
# The main job on a bare host: in a fresh Debian 12 tree, `mainstay init`, `plan` and `apply` install the server,
# set it up for CloudStack and keep it running; then it is killed and must come back. Prints a transcript.
# usage: bare-host.sh BINARY      Needs root and a network. Everything is in a temporary folder and a mount and pid
# namespace of its own, so nothing stays mounted or running, whatever happens.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."
binary=$(realpath "$1")
base=$PWD/target/servers/bookworm

((EUID == 0)) || { echo "bare-host.sh: needs root" >&2; exit 77; }
command -v debootstrap >/dev/null || { echo "bare-host.sh: debootstrap is not installed" >&2; exit 77; }
mirror=$(scripts/debian-mirror.sh) || { echo "bare-host.sh: apt here has no Debian archive" >&2; exit 77; }

if [[ ! -e $base/etc/debian_version ]]; then
  echo "bare-host.sh: fetching Debian 12, about a minute" >&2
  rm -rf --one-file-system "$base.partial"
  mkdir -p "$(dirname "$base")"
  timeout 600 debootstrap --variant=minbase bookworm "$base.partial" "$mirror" >"$base.log" 2>&1 \
    || { echo "bare-host.sh: debootstrap failed: $(tail -n 1 "$base.log")" >&2; exit 77; }
  mv "$base.partial" "$base"
fi

folder=$(mktemp -d)
trap 'rm -rf --one-file-system "$folder"' EXIT
cp -a --reflink=auto "$base" "$folder/host"
install -m 0755 "$binary" "$folder/host/usr/local/bin/mainstay"
cp /etc/resolv.conf "$folder/host/etc/resolv.conf"
# The archive as this machine reaches it, with its proxy and certificates.
rm -f "$folder/host/etc/apt/sources.list"
cp -rL /etc/apt/apt.conf.d "$folder/host/etc/apt/" 2>/dev/null || true
echo "deb $mirror bookworm main" >"$folder/host/etc/apt/sources.list"

cat >"$folder/host/root/job.sh" <<'JOB'
set -euo pipefail
say() { printf '\n$ %s\n' "$*"; }
run() { say "$@"; "$@"; }
differs() { say "$@"; local code=0; "$@" >/tmp/out 2>&1 || code=$?; grep -E 'STOP|step|^ +[0-9]+\. (install|start|write)' /tmp/out || true; [[ $code == 2 ]] || { cat /tmp/out; echo "exit $code, expected 2"; exit 1; }; }

mount -t proc proc /proc
export DEBIAN_FRONTEND=noninteractive PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root
cd /root
apt-get update -qq
run mainstay init --cloud cloudstack
sed -i 's/^address = .*/address = "127.0.0.1"/; s/^port = .*/port = 13399/; s/^networks = .*/networks = ["127.0.0.0\/8"]/' mainstay.toml
sed -i 's/^#memory = .*/memory = "2G"/; s/^#disk_free_min = .*/disk_free_min = "1G"/' mainstay.toml
differs mainstay plan
say mainstay apply --yes
mainstay apply --yes >/tmp/out 2>&1 || { cat /tmp/out; exit 1; }
tail -n 3 /tmp/out
run mainstay plan --no-measure
run mainstay status

say "kill -9 the server"
pid=$(pgrep -x mariadbd)
kill -9 "$pid"
for _ in $(seq 300); do
  new=$(pgrep -x mariadbd || true)
  if [[ -n $new && $new != "$pid" ]] && mariadb -e 'SELECT 1' >/dev/null 2>&1; then
    echo "the supervisor started it again: pid $pid, then $new"
    run mainstay plan --no-measure
    echo "bare host: good"
    exit 0
  fi
  sleep 0.1
done
echo "the server did not come back"
exit 1
JOB

# A pid namespace: when the job ends, everything it started ends.
unshare --mount --pid --fork --kill-child chroot "$folder/host" bash /root/job.sh
