#!/usr/bin/env bash
# From a clean clone to a running demo: packages, build, `mainstay demo` with the arguments given here.
# The dev profile: it builds sooner than release, its dependencies are optimised, and the tests reuse it.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."
scripts/setup-debian.sh --demo
. scripts/cargo-path.sh
cargo build --package mainstay
exec "${CARGO_TARGET_DIR:-target}/debug/mainstay" demo "$@"
