#!/usr/bin/env bash
# Makes target/moto-venv, a Python environment with an S3-compatible server (moto), which the tests use as a place for
# backups, and prints its path. When that fails it says why and exits 0; the tests that need it then skip, with their
# reason.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."
venv=$PWD/target/moto-venv
wanted=scripts/moto-requirements.txt
# Written last: an environment without it is unfinished.
stamp=$venv/.requirements

skip() {
  echo "moto-venv.sh: skipped, the tests with S3 will skip too: $1" >&2
  exit 0
}

mkdir -p target
exec 9>"$venv.lock"
# A killed run's pip may live on; it holds the lock too.
flock -w 1200 9 || skip "another run has been making the environment for 20 minutes"
if cmp -s "$wanted" "$stamp"; then
  echo "$venv"
  exit 0
fi

log=$venv.log
: >"$log"
# The first python3 may lack venv, as Debian's does without its package, while another has it.
made=
for python in python3 /usr/bin/python3; do
  rm -rf "$venv"
  if command -v "$python" >/dev/null && "$python" -m venv "$venv" >>"$log" 2>&1; then
    made=$python
    break
  fi
done
[[ -n $made ]] || skip "no python3 with venv (scripts/setup-debian.sh --tests)"

echo "moto-venv.sh: installing moto, about half a minute" >&2
if ! timeout 600 "$venv/bin/pip" install --quiet --disable-pip-version-check --requirement "$wanted" >>"$log" 2>&1; then
  rm -rf "$venv"
  skip "pip failed: $(tail -n 1 "$log") (all of it: $log)"
fi
if ! "$venv/bin/moto_server" --help >>"$log" 2>&1; then
  rm -rf "$venv"
  skip "moto_server does not start (what it said: $log)"
fi
cp "$wanted" "$stamp"
echo "$venv"
