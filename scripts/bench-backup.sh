#!/bin/sh
# Dump speed beside mydumper and mysqldump, and extracting one table beside grep, on sysbench's tables in a throwaway
# server. Prints one line a run:
#   what  seconds  processor seconds of the client  of the server  megabytes written
# The peers that pipe through gzip take ten times as long as all others together: GZIP_ROUNDS, else as many as ROUNDS.
# `scripts/setup-debian.sh --bench` installs the peers. Usage: scripts/bench-backup.sh [mariadb|mysql] [ROUNDS]
set -eu

server=${1:-mariadb}
rounds=${2:-3}
mainstay=${MAINSTAY:-target/release/mainstay}
rows=${ROWS:-1000000}
gzip_rounds=${GZIP_ROUNDS:-$rounds}
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

# Processor seconds so far: of all programs this shell has waited for, and of the server.
spent_here() { awk -F'[ms ]+' 'NR == 2 { printf "%.2f", $1 * 60 + $2 + $3 * 60 + $4 }' "$work/times"; }
server_pid=$(sql "SHOW VARIABLES LIKE 'pid_file'" | awk 'NR == 2 { print $2 }' | xargs cat)
spent_there() { awk -v hz="$(getconf CLK_TCK)" '{ sub(/.*\) /, ""); printf "%.2f", ($12 + $13) / hz }' "/proc/$server_pid/stat"; }

timed() {
    name=$1
    shift
    rm -rf "$work/out"
    mkdir "$work/out"
    # What the run before left to write is none of this one's.
    sync
    # Not in a shell of its own, which would have waited for nothing.
    times >"$work/times"
    here=$(spent_here)
    there=$(spent_there)
    before=$(date +%s.%N)
    "$@" >/dev/null 2>"$work/err" || { cat "$work/err" >&2; return 1; }
    after=$(date +%s.%N)
    times >"$work/times"
    printf '%-32s %6.2f %6.2f %6.2f %8.1f\n' "$name" "$(echo "$after - $before" | bc)" \
        "$(echo "$(spent_here) - $here" | bc)" "$(echo "$(spent_there) - $there" | bc)" \
        "$(du -sb "$work/out" | awk '{ print $1 / 1e6 }')"
}
create() { "$mainstay" backup create --socket "$socket" --place "$work/out" --databases sbtest --threads 2 --quiet "$@"; }
dump() { mysqldump --single-transaction -uroot -S "$socket" sbtest | $1 >"$work/out/dump"; }
mydump() { mydumper -u root -S "$socket" -B sbtest -t 2 -o "$work/out/d" "$@"; }
extract() { "$mainstay" extract "$work/dump.sql" --table sbtest2 --output "$work/out/script.sql"; }
# To nowhere: what is left is the reading, as with grep.
extract_away() { "$mainstay" extract "$work/dump.sql" --table sbtest2; }

mysqldump --single-transaction -uroot -S "$socket" sbtest >"$work/dump.sql"
round=0
while [ "$round" -lt "$rounds" ]; do
    timed 'mainstay zstd' create
    timed 'mysqldump | zstd -1' dump 'zstd -1 -q'
    timed 'mainstay gzip' create --compress gzip
    if [ "$round" -lt "$gzip_rounds" ]; then
        timed 'mydumper -t 2 -c' mydump -c
        timed 'mysqldump | gzip' dump gzip
    fi
    timed 'mainstay none' create --compress none
    timed 'mydumper -t 2' mydump
    timed 'mysqldump' dump cat
    timed 'grep -c, the same dump' grep -c 'INSERT INTO `sbtest2`' "$work/dump.sql"
    timed 'grep -c, only the name' grep -c sbtest2 "$work/dump.sql"
    rm -f "$work/dump.sql.mainstay-index"
    timed 'extract, reading the dump' extract
    timed 'extract, from the index' extract
    rm -f "$work/dump.sql.mainstay-index"
    timed 'extract, reading, to /dev/null' extract_away
    timed 'extract, index, to /dev/null' extract_away
    round=$((round + 1))
done
