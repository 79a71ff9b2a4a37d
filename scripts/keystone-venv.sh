#!/usr/bin/env bash
# Makes target/keystone-venv, a Python environment with OpenStack Keystone, which the tests use as a real client of
# the databases Mainstay sets up, and prints its path. When that fails it says why and exits 0; the tests that need
# it then skip, with their reason.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."
venv=$PWD/target/keystone-venv
wanted=scripts/keystone-requirements.txt
# Written last: an environment without it is unfinished.
stamp=$venv/.requirements

skip() {
  echo "keystone-venv.sh: skipped, the tests with Keystone will skip too: $1" >&2
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

echo "keystone-venv.sh: installing Keystone, about half a minute" >&2
if ! timeout 600 "$venv/bin/pip" install --quiet --disable-pip-version-check --requirement "$wanted" >>"$log" 2>&1; then
  rm -rf "$venv"
  skip "pip failed: $(tail -n 1 "$log") (all of it: $log)"
fi
if ! "$venv/bin/keystone-manage" --version >>"$log" 2>&1; then
  rm -rf "$venv"
  skip "keystone-manage does not start (what it said: $log)"
fi
cp "$wanted" "$stamp"
echo "$venv"
