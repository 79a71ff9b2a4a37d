#!/usr/bin/env bash
# Makes target/servers/mysql-router, a folder tree with Debian sid's MySQL Router, and prints its path; it runs with
# the libraries of target/servers/mysql. Without a network it says why and exits 0; what needs it then skips.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."
tree=$PWD/target/servers/mysql-router

skip() {
  echo "mysql-router.sh: skipped, what needs MySQL Router will skip too: $1" >&2
  exit 0
}

if [[ -x $tree/usr/bin/mysqlrouter ]]; then
  echo "$tree"
  exit 0
fi
mirror=$(scripts/debian-mirror.sh) || skip "apt on this machine has no Debian archive to take packages from"
mkdir -p "$(dirname "$tree")"
exec 9>"$tree.lock"
flock -w 600 9 || skip "another run has been making the tree for 10 minutes"
work=$(mktemp -d "$tree.XXXXXX")
trap 'rm -rf "$work"' EXIT
arch=$(dpkg --print-architecture)
curl -fsS --max-time 300 "$mirror/dists/sid/main/binary-$arch/Packages.xz" -o "$work/packages.xz" || skip "no list of packages"
read -r name sum < <(xz -dc "$work/packages.xz" | awk -v RS= '/^Package: mysql-router\n/ {
  n = split($0, line, "\n")
  for (i = 1; i <= n; i++) {
    if (line[i] ~ /^Filename: /) file = substr(line[i], 11)
    if (line[i] ~ /^SHA256: /) sum = substr(line[i], 9)
  }
  print file, sum
}') || skip "Debian sid has no mysql-router for $arch"
curl -fsS --max-time 300 "$mirror/$name" -o "$work/router.deb" || skip "the package cannot be fetched"
echo "$sum  $work/router.deb" | sha256sum --check --quiet || skip "the package is not what the list says"
dpkg-deb -x "$work/router.deb" "$work/tree"
rm -rf "$tree"
mv "$work/tree" "$tree"
echo "$tree"
