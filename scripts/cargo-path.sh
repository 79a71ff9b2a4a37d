# shellcheck shell=bash
# Sourced: puts cargo on PATH where rustup has installed it for this user only.
if ! command -v cargo >/dev/null && [[ -f ${CARGO_HOME:-$HOME/.cargo}/env ]]; then
  # shellcheck disable=SC1091
  . "${CARGO_HOME:-$HOME/.cargo}/env"
fi
if ! command -v cargo >/dev/null; then
  echo "cargo is not on PATH: install Rust 1.95 or newer, then run this again" >&2
  exit 1
fi
