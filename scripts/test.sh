#!/usr/bin/env bash
# Every check and test there is, after making what they need. Says how long each phase took; the last phase is the
# tests, whose own summary ends the output.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."

phase() {
  local name=$1 began=$SECONDS
  shift
  echo "== $name"
  "$@" || { echo "== $name: failed after $((SECONDS - began)) s" >&2; return 1; }
  echo "== $name: $((SECONDS - began)) s"
}

phase "packages" scripts/setup-debian.sh --tests
. scripts/cargo-path.sh
phase "MySQL" scripts/mysql-root.sh
phase "Keystone" scripts/keystone-venv.sh
phase "S3" scripts/moto-venv.sh
phase "format" cargo fmt --all --check
phase "lints" cargo clippy --workspace --all-targets --quiet -- -D warnings
if cargo nextest --version >/dev/null 2>&1; then
  phase "build" cargo nextest run --workspace --profile ci --no-run
  echo "== tests (with the project's own checks, crate xtask)"
  exec cargo nextest run --workspace --profile ci --no-fail-fast
fi
phase "build" cargo test --workspace --no-run
echo "== tests (with the project's own checks, crate xtask; cargo-nextest is not installed)"
exec cargo test --workspace --no-fail-fast
