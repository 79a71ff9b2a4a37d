#!/usr/bin/env bash
# Rewinding one table, and replaying the same logs with the servers' own tools, on one throwaway server.
# usage: bench-rewind.sh BINARY [TRANSACTIONS] [ROUNDS]
# Starts a MariaDB of its own with the lab (as an ordinary user), fills two tables, takes a backup, changes rows of
# both, and archives. The peer restores the same backup's table and pipes every archived log through mysqlbinlog for its
# database into the client, which is all that those tools can do; the restore is not in its time.
set -euo pipefail

binary=$(realpath "$1") transactions=${2:-200000} rounds=${3:-1}
folder=$(mktemp -d)
export MAINSTAY_LAB_DIR=$folder/lab
down() {
    "$binary" lab down bench >/dev/null 2>&1 || true
    rm -rf "$folder"
}
trap down EXIT
mkdir "$folder/place"

"$binary" lab up --name bench --json >"$folder/lab.json"
field() { grep -o "\"$1\": *\"[^\"]*\"" "$folder/lab.json" | head -1 | cut -d'"' -f4; }
socket=$(field socket) data=$(field datadir)
printf '[mysqld]\nlog-bin=bin\nbinlog-format=ROW\nserver-id=7\ninnodb-flush-log-at-trx-commit=2\n' >"$(dirname "$data")/conf.d/bench.cnf"
"$binary" lab stop bench >/dev/null 2>&1
"$binary" lab start bench >/dev/null 2>&1
sql() { mariadb --user=root --socket="$socket" --batch --skip-column-names --execute="$1"; }
timed() {
    local name=$1 begun ended
    shift
    begun=$(date +%s.%N)
    "$@" >"$folder/out" 2>&1 || [[ $? -eq 2 ]] || { cat "$folder/out"; exit 1; }
    ended=$(date +%s.%N)
    awk -v name="$name" -v begun="$begun" -v ended="$ended" 'BEGIN { printf "%-28s %7.1f s\n", name, ended - begun }'
}

sql "CREATE DATABASE shop; USE shop;
CREATE TABLE orders (id INT PRIMARY KEY, k INT NOT NULL, c CHAR(120) NOT NULL, pad CHAR(60) NOT NULL, KEY (k));
CREATE TABLE other LIKE orders;
INSERT INTO orders SELECT seq, seq % 5000, LEFT(SHA2(seq, 512), 120), SHA2(seq, 224) FROM seq_1_to_100000;
INSERT INTO other SELECT * FROM orders;"
"$binary" backup archive --once --place "$folder/place" --socket "$socket" >/dev/null
"$binary" backup create --place "$folder/place" --socket "$socket" >/dev/null
read -r file position < <(sql "SHOW MASTER STATUS" | cut -f1,2)
mariadb --user=root --socket="$socket" shop <<END
DELIMITER //
FOR i IN 1 .. $transactions DO
  UPDATE orders SET k = k + 1, c = LEFT(SHA2(i, 512), 120) WHERE id = (i * 7919) % 20000 + 1;
  UPDATE other SET k = k + 1 WHERE id = (i * 104729) % 100000 + 1;
END FOR//
END
read -r end_file end_position < <(sql "SHOW MASTER STATUS" | cut -f1,2)
"$binary" backup archive --once --place "$folder/place" --socket "$socket" >/dev/null
mapfile -t logs < <(sql "SHOW BINARY LOGS" | cut -f1 | awk -v from="$file" -v to="$end_file" '$1 >= from && $1 <= to')
echo "logs: ${#logs[@]} from $file:$position to $end_file:$end_position, $(cd "$data" && cat "${logs[@]}" | wc -c) bytes, $((transactions * 2)) transactions"

replay() {
    (cd "$data" && mariadb-binlog --start-position="$position" --stop-position="$end_position" --rewrite-db='shop->peer' \
        --disable-log-bin "${logs[@]}") | mariadb --user=root --socket="$socket"
}
for ((round = 1; round <= rounds; round++)); do
    sql "DROP TABLE IF EXISTS shop.orders_rewound"
    timed "mainstay rewind" "$binary" rewind --table shop.orders --to-position "$end_file:$end_position" \
        --place "$folder/place" --socket "$socket" --no-diff
    if ((round == 1)); then cat "$folder/out"; fi
    # The peer's way: the same content in a table of the same name elsewhere, then every change of the database.
    sql "DROP DATABASE IF EXISTS peer; CREATE DATABASE peer; USE peer;
    CREATE TABLE peer.orders LIKE shop.orders; CREATE TABLE peer.other LIKE shop.other;
    INSERT INTO peer.orders SELECT seq, seq % 5000, LEFT(SHA2(seq, 512), 120), SHA2(seq, 224) FROM seq_1_to_100000;
    INSERT INTO peer.other SELECT * FROM peer.orders;"
    timed "mariadb-binlog | mariadb" replay
    sql "CHECKSUM TABLE shop.orders_rewound, peer.orders, shop.orders"
done
