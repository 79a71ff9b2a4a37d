//! A whole cluster in network namespaces, broken a few times: nothing acknowledged is lost, nobody else writes, and
//! service comes back. The long runs are `cargo xtask chaos`.

use std::path::{Path, PathBuf};
use std::process::Command;

/// The binary under test, beside the one of this crate.
fn mainstay() -> Option<PathBuf> {
    let path = Path::new(env!("CARGO_BIN_EXE_chaos")).with_file_name("mainstay");
    path.exists().then_some(path)
}

/// Runs a few faults; the answer is the last line of the output.
#[expect(clippy::disallowed_methods, reason = "a test runs the program it tests")]
fn broken(server: &str, faults: &str, seed: &str) -> Option<serde_json::Value> {
    let Some(mainstay) = mainstay() else {
        eprintln!("skipped: the binary `mainstay` is not built beside this test");
        return None;
    };
    let is_root =
        std::fs::metadata("/proc/self").is_ok_and(|own| std::os::unix::fs::MetadataExt::uid(&own) == 0);
    if !is_root || which("etcd").is_none() || which("haproxy").is_none() || which("ip").is_none() {
        eprintln!("skipped: needs root, etcd, haproxy and ip");
        return None;
    }
    let output = Command::new(env!("CARGO_BIN_EXE_chaos"))
        .args([
            "run",
            "--server",
            server,
            "--faults",
            faults,
            "--seed",
            seed,
            "--only",
            "kill,switchover,cut",
        ])
        .arg("--mainstay")
        .arg(mainstay)
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{text}\n{said}");
    Some(serde_json::from_str(text.lines().last().unwrap_or_default()).unwrap())
}

fn which(program: &str) -> Option<PathBuf> {
    ["/usr/bin", "/usr/sbin", "/sbin", "/bin"]
        .iter()
        .map(|folder| Path::new(folder).join(program))
        .find(|path| path.exists())
}

fn assert_whole(report: &serde_json::Value) {
    for name in ["lost", "dual_writers", "not_restored"] {
        assert_eq!(report[name], 0, "{report}");
    }
    assert!(report["acked"].as_u64().unwrap() > 0, "{report}");
}

#[test]
fn real_mariadb_cluster_survives_faults() {
    if let Some(report) = broken("mariadb", "4", "5") {
        assert_whole(&report);
    }
}

#[test]
fn real_mysql_cluster_survives_faults() {
    let tree = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/servers/mysql");
    if !tree.exists() {
        eprintln!("skipped: there is no MySQL in target/servers (scripts/mysql-root.sh)");
        return;
    }
    if let Some(report) = broken("mysql", "3", "6") {
        assert_whole(&report);
    }
}
