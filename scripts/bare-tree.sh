# Sourced: makes bare Debian 12 trees with the binary in them. `make_host NAME` leaves $folder/NAME.
# Sets $folder, a temporary folder that goes when the script ends. Exit 77: something needed is missing here.

skip() {
  echo "$(basename "$0"): $1" >&2
  exit 77
}

cd "$(dirname "${BASH_SOURCE[0]}")/.."
base=$PWD/target/servers/bookworm

((EUID == 0)) || skip "needs root"
command -v debootstrap >/dev/null || skip "debootstrap is not installed"
mirror=$(scripts/debian-mirror.sh) || skip "apt here has no Debian archive"

exec 9>"$base.lock"
flock -w 600 9 || skip "another run has been fetching Debian for ten minutes"
if [[ ! -e $base/etc/debian_version ]]; then
  echo "$(basename "$0"): fetching Debian 12, about a minute" >&2
  rm -rf --one-file-system "$base.partial"
  timeout 600 debootstrap --variant=minbase bookworm "$base.partial" "$mirror" >"$base.log" 2>&1 \
    || skip "debootstrap failed: $(tail -n 1 "$base.log")"
  mv "$base.partial" "$base"
fi
exec 9>&-

folder=$(mktemp -d)
trap 'rm -rf --one-file-system "$folder"' EXIT

make_host() {
  local host=$folder/$1
  cp -a --reflink=auto "$base" "$host"
  install -m 0755 "$binary" "$host/usr/local/bin/mainstay"
  cp /etc/resolv.conf "$host/etc/resolv.conf"
  # The archive as this machine reaches it, with its proxy.
  cp -rL /etc/apt/apt.conf.d "$host/etc/apt/" 2>/dev/null || true
  echo "deb $mirror bookworm main" >"$host/etc/apt/sources.list"
}
