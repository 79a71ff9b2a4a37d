#!/bin/sh
# Dump speed beside mydumper and mysqldump, on sysbench's tables in a throwaway server. Prints one line a run:
#   what  seconds  megabytes stored
# Needs sysbench, mydumper, and the server's client programs. Usage: scripts/bench-backup.sh [mariadb|mysql] [ROUNDS]
set -eu

server=${1:-mariadb}
rounds=${2:-3}
mainstay=${MAINSTAY:-target/release/mainstay}
rows=${ROWS:-1000000}
work=$(mktemp -d /var/tmp/bench-backup.XXXXXX)
export MAINSTAY_LAB_DIR="$work/lab"
trap '"$mainstay" lab down bench >/dev/null 2>&1 || true; rm -rf "$work"' EXIT INT TERM

root=
[ "$server" = mysql ] && root="--server-root ${MAINSTAY_TEST_MYSQL_ROOT:-target/servers/mysql}"
# shellcheck disable=SC2086 # two words or none
"$mainstay" lab up --name bench --server "$server" $root >/dev/null
node="$MAINSTAY_LAB_DIR/clusters/bench/node1"
printf '[mysqld]\nlog-bin=binlog\nserver-id=1\ninnodb-buffer-pool-size=1500M\n' >"$node/conf.d/bench.cnf"
"$mainstay" lab stop bench >/dev/null
"$mainstay" lab start bench >/dev/null
socket="$node/mysql.sock"
sql() { mysql -uroot -S "$socket" -e "$1"; }
sql 'CREATE DATABASE sbtest'
sysbench oltp_read_write --mysql-socket="$socket" --mysql-user=root --tables=4 --table-size="$rows" --threads=2 \
    prepare >/dev/null
sql 'ANALYZE TABLE sbtest.sbtest1, sbtest.sbtest2, sbtest.sbtest3, sbtest.sbtest4' >/dev/null

timed() {
    name=$1
    shift
    rm -rf "$work/out"
    mkdir "$work/out"
    before=$(date +%s.%N)
    "$@" >/dev/null 2>"$work/err" || { cat "$work/err" >&2; return 1; }
    after=$(date +%s.%N)
    printf '%-32s %6.2f %8.1f\n' "$name" "$(echo "$after - $before" | bc)" \
        "$(du -sb "$work/out" | awk '{ print $1 / 1e6 }')"
}
create() { "$mainstay" backup create --socket "$socket" --place "$work/out" --databases sbtest --threads 2 --quiet "$@"; }
dump() { mysqldump --single-transaction -uroot -S "$socket" sbtest | $1 >"$work/out/dump"; }
mydump() { mydumper -u root -S "$socket" -B sbtest -t 2 -o "$work/out/d" "$@"; }

round=0
while [ "$round" -lt "$rounds" ]; do
    timed 'mainstay zstd' create
    timed 'mainstay gzip' create --compress gzip
    timed 'mainstay none' create --compress none
    timed 'mydumper -t 2' mydump
    timed 'mydumper -t 2 -c' mydump -c
    timed 'mysqldump' dump cat
    timed 'mysqldump | zstd -1' dump 'zstd -1 -q'
    round=$((round + 1))
done
