#!/usr/bin/env bash
# Compares `mainstay checksum` of a primary and its replica with CHECKSUM TABLE and pt-table-checksum.
#   scripts/bench-checksum.sh target/release/mainstay mariadb|mysql [ROWS] [ROUNDS]
# Makes the servers and sysbench's table in a temporary folder; takes them away again.
set -euo pipefail

mainstay=$(realpath "$1") server=$2 rows=${3:-1000000} rounds=${4:-5}
cd "$(dirname "${BASH_SOURCE[0]}")/.."
root=${MAINSTAY_TEST_MYSQL_ROOT:-$PWD/target/servers/mysql}
folder=$(mktemp -d)
export MAINSTAY_LAB_DIR=$folder/lab

finish() {
  if [ -d "$folder/lab/clusters/bench" ]; then "$mainstay" lab down bench >/dev/null; fi
  rm -rf "$folder"
}
trap finish EXIT

tree=()
if [ "$server" = mysql ]; then tree=(--server-root "$root"); fi
"$mainstay" lab up --name bench --server "$server" --topology replication --nodes 2 "${tree[@]}" >/dev/null
mapfile -t sockets < <("$mainstay" lab list --json | grep -o '"socket": *"[^"]*"' | cut -d '"' -f 4)
source=${sockets[0]} target=${sockets[1]}
for node in node1 node2; do
  "$mainstay" lab shell bench $node --execute "SET GLOBAL innodb_buffer_pool_size = 1 << 30" >/dev/null
done
"$mainstay" lab shell bench --execute "CREATE DATABASE sbtest" >/dev/null
sysbench oltp_read_write --db-driver=mysql --mysql-socket="$source" --mysql-user=root --mysql-db=sbtest --tables=1 \
  --table-size="$rows" prepare >/dev/null
# The replica has to have it all, and both have to have it in memory.
"$mainstay" checksum --source "$source" --target "$target" --databases sbtest

checksum_table() { mariadb --no-defaults -uroot -S "$1" -BNe 'CHECKSUM TABLE sbtest.sbtest1' >/dev/null; }
both() {
  checksum_table "$source" &
  checksum_table "$target"
  wait $!
}
compare() { "$mainstay" checksum --source "$source" --target "$target" --databases sbtest "$@" >/dev/null; }
percona() {
  pt-table-checksum --no-version-check --socket "$source" --user root --databases sbtest --recursion-method none \
    --no-check-binlog-format --quiet >/dev/null
}

names=() commands=()
peer() {
  names+=("$1")
  commands+=("$2")
}
peer "CHECKSUM TABLE on the source" "checksum_table $source"
peer "CHECKSUM TABLE on both at once" both
peer "mainstay checksum" compare
peer "mainstay checksum --static" "compare --static"
peer "mainstay checksum --exact" "compare --exact"
peer "mainstay checksum --thorough" "compare --thorough"
# It needs STATEMENT format, and does the source's half alone here: what the replica then does is not in its time.
if [ "$server" = mariadb ] && command -v pt-table-checksum >/dev/null; then
  peer "pt-table-checksum, the source's half" percona
fi

echo "load before: $(cut -d ' ' -f 1-3 /proc/loadavg)"
# In turns, so that what else the machine does meets all alike. The first round only warms up.
for round in $(seq 0 "$rounds"); do
  for at in "${!names[@]}"; do
    began=$(date +%s%N)
    ${commands[at]}
    if [ "$round" -gt 0 ]; then echo $((($(date +%s%N) - began) / 1000000)) >>"$folder/$at"; fi
  done
done
for at in "${!names[@]}"; do
  sort -n "$folder/$at" | awk -v name="${names[at]}" \
    '{ at[NR] = $1 } END { printf "%-42s %6d ms (%d to %d)\n", name, at[int((NR + 1) / 2)], at[1], at[NR] }'
done
echo "load after: $(cut -d ' ' -f 1-3 /proc/loadavg)"
