#!/usr/bin/env bash
# `mainstay apply --all` from one bare host to another over OpenSSH: the second gets the binary, the spec, the shared
# secrets and its certificates, and is set up by them. Prints a transcript.
# usage: two-hosts.sh BINARY      Needs root and a network. Mount and pid namespaces of its own, as bare-host.sh.
set -euo pipefail

binary=$(realpath "$1")
. "$(dirname "${BASH_SOURCE[0]}")/bare-tree.sh"
make_host a
make_host b
rm "$folder/b/usr/local/bin/mainstay"

cat >"$folder/job.sh" <<'JOB'
set -euo pipefail
a=$1/a b=$1/b
export DEBIAN_FRONTEND=noninteractive PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root
for host in "$a" "$b"; do mount -t proc proc "$host/proc"; done
mkdir -p "$b/dev/pts"
printf '#!/bin/sh\nexit 101\n' | tee "$a/usr/sbin/policy-rc.d" >"$b/usr/sbin/policy-rc.d"
chmod +x "$a/usr/sbin/policy-rc.d" "$b/usr/sbin/policy-rc.d"
(chroot "$a" apt-get update -qq && chroot "$a" apt-get install -y -qq --no-install-recommends openssh-client) >/dev/null 2>&1
(chroot "$b" apt-get update -qq && chroot "$b" apt-get install -y -qq --no-install-recommends openssh-server) >/dev/null 2>&1

# Shows what the run printed and what each server wrote, and ends.
failed() {
  cat "$1/out"
  local log
  for log in "$1"/[ab]/var/log/mysql/*.log "$1"/[ab]/var/lib/mysql/*.err "$1"/[ab]/var/lib/mainstay/*.log; do
    [[ ! -s $log ]] || { echo "--- ${log#"$1"/}"; tail -n 30 "$log"; }
  done
  exit 1
}

# Three ports in a row that nobody answers at.
for _ in $(seq 100); do
  port=$((20000 + RANDOM % 10000))
  taken=no
  for try in $port $((port + 1)) $((port + 2)); do
    for address in 127.0.0.1 127.0.0.2; do
      (exec 3<>"/dev/tcp/$address/$try") 2>/dev/null && taken=yes
    done
  done
  [[ $taken == yes ]] || break
done
# What ssh is given, as every user of the host could see it.
mv "$a/usr/bin/ssh" "$a/usr/bin/ssh.real"
printf '#!/bin/sh\nprintf "%%s\\n" "$*" >>/ssh-argv\nexec /usr/bin/ssh.real "$@"\n' >"$a/usr/bin/ssh"
chmod +x "$a/usr/bin/ssh"

chroot "$a" ssh-keygen -q -t ed25519 -N '' -f /root/.ssh/id_ed25519
install -d -m 0700 "$b/root/.ssh"
install -m 0600 "$a/root/.ssh/id_ed25519.pub" "$b/root/.ssh/authorized_keys"
mkdir -p "$b/run/sshd"
chroot "$b" /usr/sbin/sshd -o ListenAddress=127.0.0.1 -p "$port"
for _ in $(seq 100); do
  chroot "$a" ssh-keyscan -p "$port" 127.0.0.1 >"$a/root/.ssh/known_hosts" 2>/dev/null && break
  sleep 0.1
done

cat >"$a/pair.toml" <<SPEC
[cluster]
name = "pair"
server = "mariadb"
topology = "replication"
[[node]]
name = "a"
address = "127.0.0.1"
port = $((port + 1))
[[node]]
name = "b"
address = "127.0.0.2"
port = $((port + 2))
ssh = "root@127.0.0.1:$port"
[package]
install = true
[service]
restart = "when-needed"
[machine]
memory = "1G"
[preflight]
disk_free_min = "1G"
measure_disk = false
SPEC

echo '$ mainstay apply --all --yes'
chroot "$a" mainstay apply --config /pair.toml --node a --all --yes >"$1/out" 2>&1 || failed "$1"
grep -E '^(===|Done|wrote)' "$1/out"
echo '$ on b: mainstay plan'
chroot "$b" mainstay plan --config /etc/mainstay/mainstay.toml --node b --no-measure
chroot "$b" bash -c "stat -c '%a %U %n' /etc/mainstay/secrets/* /etc/mainstay/tls/*-key.pem" | sort
[[ ! -e $b/etc/mainstay/tls/ca-key.pem ]] || { echo "the CA's key left its node"; exit 1; }
for secret in "$a"/etc/mainstay/secrets/*; do
  cmp "$secret" "$b/etc/mainstay/secrets/$(basename "$secret")"
  ! grep -qF "$(cat "$secret")" "$1/out" || { echo "a secret is shown"; exit 1; }
  ! grep -qF "$(cat "$secret")" "$a/ssh-argv" || { echo "a secret is an argument"; exit 1; }
done
grep -q 'mainstay receive --node b$' "$a/ssh-argv" || { echo "no argument was recorded"; exit 1; }
cmp "$a/usr/local/bin/mainstay" "$b/usr/local/bin/mainstay"
[[ $(stat -c '%a %U' "$b/usr/local/bin/mainstay") == "755 root" ]] || { echo "the binary's mode is wrong"; exit 1; }
[[ $(stat -c %a "$b/etc/mainstay/secrets") == 700 ]] || { echo "the secrets' folder is open"; exit 1; }
echo '$ mainstay apply --all --yes, again'
chroot "$a" mainstay apply --config /pair.toml --node a --all --yes >"$1/out" 2>&1 || failed "$1"
grep -E '^(===|Nothing|Done|wrote)' "$1/out"
echo "two hosts: good"
JOB

unshare --mount --pid --fork --kill-child bash "$folder/job.sh" "$folder"
