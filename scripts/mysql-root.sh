#!/usr/bin/env bash
# Makes target/servers/mysql, a folder tree with Debian sid's MySQL server, and prints its path. Debian's stable
# releases have no MySQL of their own. Without root, debootstrap or a network it says why and exits 0; the tests
# that need the tree then skip, with their reason.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."
tree=$PWD/target/servers/mysql
partial=$tree.partial

skip() {
  echo "mysql-root.sh: skipped, the tests on MySQL will skip too: $1" >&2
  exit 0
}

if [[ -x $tree/usr/sbin/mysqld ]]; then
  echo "$tree"
  exit 0
fi

((EUID == 0)) || skip "making the tree needs root"
command -v debootstrap >/dev/null || skip "debootstrap is not installed (scripts/setup-debian.sh --tests)"
mirror=$(scripts/debian-mirror.sh) || skip "apt on this machine has no Debian archive to take packages from"

mkdir -p "$(dirname "$tree")"
exec 9>"$tree.lock"
# A killed run's debootstrap may live on; it holds the lock too, so that nothing is removed under it.
flock -w 1200 9 || skip "another run has been making the tree for 20 minutes"
# Another run may have made it while this one waited.
if [[ -x $tree/usr/sbin/mysqld ]]; then
  echo "$tree"
  exit 0
fi

# debootstrap mounts /proc and /sys inside; a killed run leaves them there, and removing must not walk into them.
remove() {
  local folder=$1 mounted
  findmnt -rno TARGET | awk -v under="$folder/" 'index($0, under) == 1' | sort -r | while read -r mounted; do
    umount "$mounted"
  done
  rm -rf --one-file-system "$folder"
}
remove "$partial"
remove "$tree"

# debootstrap fetches with wget, which does not read apt's proxy.
if [[ -z ${http_proxy:-} ]]; then
  eval "$(apt-config shell http_proxy Acquire::http::Proxy)"
  [[ -z ${http_proxy:-} ]] || export http_proxy
fi

echo "mysql-root.sh: fetching MySQL from Debian sid, about a minute" >&2
log=$tree.log
if ! timeout 900 debootstrap --variant=minbase --include=mysql-server-core,mysql-client-core \
  sid "$partial" "$mirror" >"$log" 2>&1; then
  remove "$partial"
  skip "debootstrap failed: $(tail -n 1 "$log") (all of it: $log)"
fi
if [[ ! -x $partial/usr/sbin/mysqld ]]; then
  remove "$partial"
  skip "the tree has no usr/sbin/mysqld (what debootstrap said: $log)"
fi
rm -rf "$partial"/var/cache/apt/archives/*.deb "$partial"/var/lib/apt/lists/*
mv "$partial" "$tree"
echo "$tree"
