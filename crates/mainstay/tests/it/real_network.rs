//! The firewall as apply keeps it, in a network namespace that has nothing but this test in it.

use crate::bench::{servers, tool};

const JOB: &str = r#"
set -euo pipefail
mainstay=$1 MAINSTAY_LAB_DIR=$2/lab
export MAINSTAY_LAB_DIR
ip link set lo up
trap '"$mainstay" lab down fw >/dev/null 2>&1' EXIT
"$mainstay" lab up --name fw --json >/dev/null
{ "$mainstay" lab spec fw; printf '[firewall]\nenabled = true\nallow = ["10.1.0.0/16"]\n'; } >"$2/spec.toml"
"$mainstay" apply --config "$2/spec.toml" --yes >"$2/out" 2>&1 || { cat "$2/out"; exit 1; }
echo "before: $("$mainstay" plan --config "$2/spec.toml" --no-measure --json | grep -c '"id": "firewall' || true) steps"
nft list table inet mainstay | grep -F 10.1.0.0/16
nft add element inet mainstay clients_v4 '{ 203.0.113.0/24 }'
{ "$mainstay" plan --config "$2/spec.toml" --no-measure || true; } | grep -F '203.0.113.0/24'
"$mainstay" apply --config "$2/spec.toml" --yes >"$2/out" 2>&1 || { cat "$2/out"; exit 1; }
nft list table inet mainstay | grep -c 203.0.113.0/24 || echo "the stranger is out again"
# A rule of somebody else's that hides the port: the new table must not stay.
nft delete table inet mainstay
nft 'table inet other { chain input { type filter hook input priority filter; policy accept; tcp dport 1024-65535 drop; }; }'
"$mainstay" apply --config "$2/spec.toml" --yes >"$2/out" 2>&1 && { echo "kept although nothing answers"; exit 1; }
grep -F 'they were taken back' "$2/out"
nft list table inet mainstay >/dev/null 2>&1 && { echo "the table stayed"; exit 1; }
nft delete table inet other
echo "firewall: good"
"#;

#[test]
fn real_firewall_is_kept_and_taken_back() {
    if !servers().contains(&"mariadb") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().to_string_lossy().into_owned();
    let inside = ["--net", "bash", "-c", JOB, "job", env!("CARGO_BIN_EXE_mainstay"), &path];
    let possible = tool("unshare", &["--net", "nft", "list", "ruleset"]);
    if possible.is_none_or(|ran| ran.code != Some(0)) {
        println!("skipped: no network namespace, or nft is not installed");
        return;
    }
    let ran = tool("unshare", &inside).unwrap();
    assert_eq!(ran.code, Some(0), "{}\n{}", ran.out, ran.err);
    assert!(
        ran.out.contains("before: 0 steps") && ran.out.contains("the stranger is out again"),
        "{}",
        ran.out
    );
    assert!(ran.out.ends_with("firewall: good\n"), "{}", ran.out);
}
