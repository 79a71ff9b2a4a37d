#!/usr/bin/env bash
# Restoring the same dumps with the server's client, with myloader and with mainstay, by turns, into one server.
# usage: bench-restore.sh BINARY mariadb|mysql [ROUNDS] [ROWS] [small|wide]
# Starts a server of its own with the lab: `small` are sysbench's four tables of ROWS with their index, `wide` is one table
# of ROWS with five indexes, larger than the buffer pool of 256 MiB. All is taken away at the end. The client reads the dump
# of mysqldump, mainstay the same file, myloader what mydumper wrote (it reads no plain dump). As they come, the client and
# mainstay write the binary log, where the server has one, and myloader does not: both are run in the other way too.
set -euo pipefail

binary=$(realpath "$1") server=$2 rounds=${3:-3} rows=${4:-1000000} names=${5:-small wide}
cd "$(dirname "${BASH_SOURCE[0]}")/.."
folder=$(mktemp -d /var/tmp/bench-restore.XXXXXX)
export MAINSTAY_LAB_DIR=$folder/lab
down() {
    "$binary" lab down bench >/dev/null 2>&1 || true
    rm -rf "$folder"
}
trap down EXIT

tree=()
if [[ $server == mysql ]]; then tree=(--server-root "${MAINSTAY_TEST_MYSQL_ROOT:-$PWD/target/servers/mysql}"); fi
"$binary" lab up --name bench --server "$server" "${tree[@]}" --json >"$folder/lab.json"
field() { grep -o "\"$1\": *\"[^\"]*\"" "$folder/lab.json" | head -1 | cut -d'"' -f4; }
socket=$(field socket) data=$(field datadir)
printf '[mysqld]\ninnodb-buffer-pool-size=256M\ninnodb-flush-log-at-trx-commit=2\nlocal-infile=ON\n' \
    >"$(dirname "$data")/conf.d/bench.cnf"
"$binary" lab stop bench >/dev/null 2>&1
"$binary" lab start bench >/dev/null 2>&1
sql() { mariadb --no-defaults --user=root --socket="$socket" --batch --skip-column-names --execute="$1"; }
client() { mariadb --no-defaults --user=root --socket="$socket" "$@"; }

sql "CREATE DATABASE small; CREATE DATABASE wide"
sysbench oltp_read_write --db-driver=mysql --mysql-socket="$socket" --mysql-user=root --mysql-db=small --tables=4 \
    --threads=2 --table-size="$rows" prepare >/dev/null
sql "USE wide; CREATE TABLE wide.t (id INT PRIMARY KEY, a INT NOT NULL, b BIGINT NOT NULL, c CHAR(40) NOT NULL, d VARCHAR(80) NOT NULL,
    e DATETIME NOT NULL, KEY (a), KEY (b), KEY (c), KEY (d), KEY (e, a));
  INSERT INTO wide.t SELECT id, k, CONV(LEFT(SHA2(id, 256), 15), 16, 10), LEFT(SHA2(id + 1, 256), 40), SHA2(id + 2, 256),
    FROM_UNIXTIME(1700000000 + CRC32(id) % 100000000) FROM small.sbtest1"
for name in small wide; do
    mariadb-dump --no-defaults --user=root --socket="$socket" "$name" >"$folder/$name.sql"
    mydumper --threads 2 --user root --socket "$socket" --database "$name" --outputdir "$folder/$name.mydumper" 2>/dev/null
    sql "DROP DATABASE $name"
done

timed() {
    local name=$1 begun ended
    shift
    begun=$(date +%s.%N)
    "$@" >"$folder/out" 2>&1 || { cat "$folder/out"; exit 1; }
    ended=$(date +%s.%N)
    awk -v name="$name" -v begun="$begun" -v ended="$ended" 'BEGIN { printf "%-32s %7.1f s\n", name, ended - begun }'
}
by_client() { client "$1" <"$folder/$1.sql"; }
by_myloader() {
    myloader --threads 2 --user root --socket "$socket" --directory "$folder/$1.mydumper" --database "$1" "${@:2}"
}
by_mainstay() { "$binary" restore "$folder/$1.sql" --into "$1" --socket "$socket" --no-index "${@:2}"; }
one() {
    local name=$1
    shift
    sql "DROP DATABASE IF EXISTS $name; CREATE DATABASE $name"
    timed "$name, $*" "by_$1" "$name" "${@:2}"
    sql "DROP DATABASE $name"
}
for ((round = 1; round <= rounds; round++)); do
    for name in $names; do
        one "$name" client
        one "$name" mainstay
        one "$name" mainstay --no-binlog
        if command -v myloader >/dev/null; then
            one "$name" myloader --enable-binlog
            one "$name" myloader
        fi
    done
done
