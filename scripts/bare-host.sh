#!/usr/bin/env bash
# The main job on a bare host: in a fresh Debian 12 tree, `mainstay init`, `plan` and `apply` install the server,
# set it up for CloudStack and keep it running; then it is killed and must come back. Prints a transcript.
# usage: bare-host.sh BINARY      Needs root and a network. Everything is in a temporary folder and a mount and pid
# namespace of its own, so nothing stays mounted or running, whatever happens.
set -euo pipefail

binary=$(realpath "$1")
. "$(dirname "${BASH_SOURCE[0]}")/bare-tree.sh"
make_host host

cat >"$folder/host/job.sh" <<'JOB'
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
unshare --mount --pid --fork --kill-child chroot "$folder/host" bash /job.sh
