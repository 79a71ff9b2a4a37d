#!/usr/bin/env bash
# Compares `mainstay binlog stats` with mysqlbinlog and awk on a log of sysbench's, whose counts are known.
#   scripts/bench-binlog.sh target/release/mainstay mariadb|mysql [TRANSACTIONS] [ROUNDS]
# Makes a log of 300 MB or more with a lab server, in a temporary folder; KEEP_LOG=FILE keeps it and its truth
# (FILE.transactions), or takes them from there.
set -euo pipefail

mainstay=$(realpath "$1") server=$2 transactions=${3:-190000} rounds=${4:-5}
cd "$(dirname "${BASH_SOURCE[0]}")/.."
root=${MAINSTAY_TEST_MYSQL_ROOT:-$PWD/target/servers/mysql}
folder=$(mktemp -d)
log=${KEEP_LOG:-$folder/binlog.000001}
export MAINSTAY_LAB_DIR=$folder/lab

finish() {
  if [ -d "$folder/lab/clusters/bench" ]; then "$mainstay" lab down bench >/dev/null; fi
  rm -rf "$folder"
}
trap finish EXIT

if [ "$server" = mysql ]; then
  peer=("$root/lib64/ld-linux-x86-64.so.2" --library-path
    "$root/usr/lib/x86_64-linux-gnu:$root/lib/x86_64-linux-gnu:$root/usr/lib/mysql" "$root/usr/bin/mysqlbinlog")
  tree=(--server-root "$root")
else
  peer=(mariadb-binlog)
  tree=()
fi

# A transaction updates an indexed and another column, deletes a row and inserts it again: what sysbench counts as
# committed is the truth that both readers are held against.
make_log() {
  "$mainstay" lab up --name bench --server "$server" "${tree[@]}" >/dev/null
  local node=("$folder"/lab/clusters/bench/*/conf.d)
  printf '[mysqld]\nlog-bin=bin\nserver-id=1\nbinlog-format=ROW\nmax-binlog-size=1G\n' >"${node[0]}/bench.cnf"
  if [ "$server" = mysql ]; then
    printf 'gtid-mode=ON\nenforce-gtid-consistency=ON\n' >>"${node[0]}/bench.cnf"
  fi
  "$mainstay" lab stop bench >/dev/null
  "$mainstay" lab start bench >/dev/null
  local socket
  socket=$("$mainstay" lab list --json | grep -o '"socket": *"[^"]*"' | head -n 1 | cut -d '"' -f 4)
  local load=(sysbench oltp_write_only --db-driver=mysql --mysql-socket="$socket" --mysql-user=root
    --mysql-db=sbtest --tables=4 --table-size=20000 --threads=4)
  "$mainstay" lab shell bench --execute "CREATE DATABASE sbtest" >/dev/null
  "${load[@]}" prepare >/dev/null
  "$mainstay" lab shell bench --execute "FLUSH BINARY LOGS" >/dev/null
  "${load[@]}" --time=0 --events="$transactions" run |
    awk '/transactions:/ { print $2 }' >"$folder/transactions"
  "$mainstay" lab shell bench --execute "FLUSH BINARY LOGS" >/dev/null
  # The last but one: the last is the one just begun.
  local logs=("$(dirname "${node[0]}")"/*/bin.[0-9]*)
  cp "${logs[-2]}" "$log"
  cp "$folder/transactions" "$log.transactions"
}

[ -s "$log" ] || make_log
size=$(stat -c %s "$log")
if [ "$size" -lt 300000000 ]; then
  echo "the log has $size bytes, fewer than 300 MB: give more TRANSACTIONS than $transactions" >&2
  exit 1
fi
cat "$log" >/dev/null
committed=$(<"$log.transactions")
echo "log: $size bytes, $server, $committed transactions of sysbench"

counted_by_peer() {
  "${peer[@]}" -vv --base64-output=decode-rows "$log" | awk '
    /^### INSERT INTO / { seen[$4] = 1; inserted[$4]++ }
    /^### UPDATE / { seen[$3] = 1; updated[$3]++ }
    /^### DELETE FROM / { seen[$4] = 1; deleted[$4]++ }
    END { for (it in seen) { name = it; gsub("`", "", name)
                             print name, inserted[it] + 0, updated[it] + 0, deleted[it] + 0 } }' | sort
}

counted_by_mainstay() {
  "$mainstay" binlog stats --json "$log" | python3 -c '
import json, sys
for it in json.load(sys.stdin)["tables"]:
    print(it["database"] + "." + it["table"], it["rows_inserted"], it["rows_updated"], it["rows_deleted"])' | sort
}

truth="$committed $((2 * committed)) $committed"
for reader in peer mainstay; do
  counted=$("counted_by_$reader" | tee "$folder/counts-$reader" | awk '{ i += $2; u += $3; d += $4 } END { print i, u, d }')
  if [ "$counted" != "$truth" ]; then
    echo "$reader counts $counted rows inserted, updated, deleted; the truth is $truth" >&2
    exit 1
  fi
done
if ! diff "$folder/counts-peer" "$folder/counts-mainstay"; then
  echo "the counts of tables differ" >&2
  exit 1
fi
echo "both count the truth: $truth rows inserted, updated, deleted; by table"
cat "$folder/counts-mainstay"

# Seconds of one run, and of the processors' time in it.
TIMEFORMAT='%3R %3U %3S'
timed() {
  local into=$1
  shift
  { time "$@" >/dev/null; } 2>>"$into"
}

summary() {
  sort -n "$1" | awk '{ all[NR] = $1; cpu[NR] = $2 + $3 } END { half = int((NR + 1) / 2)
    for (i = 2; i <= NR; i++) for (j = i; j > 1 && cpu[j] < cpu[j - 1]; j--) { t = cpu[j]; cpu[j] = cpu[j - 1]; cpu[j - 1] = t }
    printf "median %.3f s (%.3f to %.3f), processor time %.3f s (%.3f to %.3f)\n", all[half], all[1], all[NR], cpu[half], cpu[1], cpu[NR] }'
}

for _ in $(seq "$rounds"); do
  timed "$folder/peer" counted_by_peer
  timed "$folder/own" "$mainstay" binlog stats --json "$log"
  timed "$folder/cat" cat "$log"
done
echo "mysqlbinlog and awk: $(summary "$folder/peer")"
echo "mainstay:            $(summary "$folder/own")"
echo "cat to /dev/null:    $(summary "$folder/cat")"
/usr/bin/time -f 'mainstay: %M KiB at most, %U s user, %S s system' "$mainstay" binlog stats --json "$log" >/dev/null
