#!/usr/bin/env bash
# Restoring the same dump with the server's client, with myloader and with mainstay, by turns, into one server.
# usage: bench-restore.sh BINARY SOCKET DUMP [ROUNDS]
# DUMP is plain SQL of one database without USE. Only databases whose names begin with mainstay_bench_ are made, and
# dropped. myloader is left out where it or mydumper is not installed.
set -euo pipefail

binary=$(realpath "$1") socket=$2 dump=$(realpath "$3") rounds=${4:-3}
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

sql() { mysql --user=root --socket="$socket" --execute="$1"; }
fresh() { sql "DROP DATABASE IF EXISTS mainstay_bench_$1; CREATE DATABASE mainstay_bench_$1"; }
gone() { sql "DROP DATABASE IF EXISTS mainstay_bench_$1"; }
timed() {
    local name=$1 begun ended
    shift
    begun=$(date +%s.%N)
    "$@" >"$folder/out" 2>&1 || { cat "$folder/out"; exit 1; }
    ended=$(date +%s.%N)
    awk -v name="$name" -v begun="$begun" -v ended="$ended" 'BEGIN { printf "%-12s %7.1f s\n", name, ended - begun }'
}
client() { mysql --user=root --socket="$socket" mainstay_bench_client <"$dump"; }

peer=no
if command -v mydumper >/dev/null && command -v myloader >/dev/null; then
    peer=yes
fi
for ((round = 1; round <= rounds; round++)); do
    fresh client
    timed client client
    if [[ $peer == yes ]]; then
        [[ -d $folder/dump ]] || mydumper --threads 2 --user root --socket "$socket" --database mainstay_bench_client --outputdir "$folder/dump"
    fi
    gone client
    if [[ $peer == yes ]]; then
        timed myloader myloader --threads 2 --user root --socket "$socket" --directory "$folder/dump" --database mainstay_bench_peer
        gone peer
    fi
    timed mainstay "$binary" restore "$dump" --into mainstay_bench_own --socket "$socket" --no-index
    gone own
done
