//! Passwords of any kind work, and never show.

use std::collections::BTreeSet;
use std::path::Path;

use crate::bench::{Bench, servers, write_secret};

const PASSWORD: &str = r#"p$a"s's\w@o:r d-é%"#;

/// A part of it that no way of quoting changes: JSON and SQL put something before quotes and backslashes.
const UNQUOTED_PART: &str = "w@o:r d-";

/// Every secret in the secrets folder.
fn secrets(bench: &Bench) -> Vec<String> {
    let entries = std::fs::read_dir(bench.own("secrets")).unwrap();
    entries
        .map(|entry| std::fs::read_to_string(entry.unwrap().path()).unwrap().trim_end().to_owned())
        .collect()
}

/// Fails when a secret shows, as it is, quoted for JSON or SQL, or in hexadecimal.
fn assert_absent(what: &str, text: &str, secrets: &[String]) {
    assert!(!text.contains(UNQUOTED_PART), "{what} shows a secret, quoted");
    for secret in secrets {
        let hex: String = secret.bytes().map(|byte| format!("{byte:02x}")).collect();
        assert!(!text.to_lowercase().contains(&hex), "{what} shows a secret in hexadecimal");
        assert!(!text.contains(secret.as_str()), "{what} shows a secret");
    }
}

/// Command lines of all processes, once.
fn command_lines(into: &mut BTreeSet<String>) {
    for entry in std::fs::read_dir("/proc").unwrap().flatten() {
        if let Ok(bytes) = std::fs::read(entry.path().join("cmdline")) {
            into.insert(String::from_utf8_lossy(&bytes).replace('\0', " "));
        }
    }
}

#[test]
fn real_secrets_show_nowhere_and_log_in() {
    for server in servers() {
        let bench = Bench::new(server, "");
        let file = bench.own("secrets").join("cloud");
        write_secret(&file, PASSWORD);
        let plan_file = bench.folder.path().join("plan.json");
        let shown = bench.on_spec(&["plan", "--json", "-vv", "--out", &plan_file.to_string_lossy()]);
        assert_eq!(shown.code, Some(2), "{shown:?}");

        let mut child = bench.start(&["apply", "--yes", "-vv"]);
        let mut lines = BTreeSet::new();
        while child.try_wait().unwrap().is_none() {
            command_lines(&mut lines);
        }
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{server}: {}", String::from_utf8_lossy(&output.stderr));

        let secrets = secrets(&bench);
        assert!(secrets.contains(&PASSWORD.to_owned()) && secrets.len() >= 3);
        assert_absent("the plan", &shown.out, &secrets);
        assert_absent("plan's log", &shown.err, &secrets);
        assert_absent("the plan file", &std::fs::read_to_string(plan_file).unwrap(), &secrets);
        assert_absent("standard output", &String::from_utf8_lossy(&output.stdout), &secrets);
        assert_absent("standard error", &String::from_utf8_lossy(&output.stderr), &secrets);
        let audit = std::fs::read_to_string(bench.own("state").join("audit.jsonl")).unwrap();
        assert!(audit.contains("step-done"));
        assert_absent("the audit log", &audit, &secrets);
        let log = String::from_utf8_lossy(&std::fs::read(bench.node_path("log")).unwrap()).into_owned();
        assert!(log.contains("ready for connections"));
        assert_absent("the server's log", &log, &secrets);
        assert!(lines.iter().any(|line| line.contains("apply")), "no command line was sampled");
        assert_absent("a command line", &lines.into_iter().collect::<Vec<_>>().join("\n"), &secrets);

        logs_in(&bench, &file);
    }
}

/// As CloudStack would: over TCP and TLS, with the certificate verified under the cluster's CA.
fn logs_in(bench: &Bench, password_file: &Path) {
    let port = bench.node()["port"].to_string();
    let ca = bench.own("tls").join("ca.pem").to_string_lossy().into_owned();
    let file = password_file.to_string_lossy().into_owned();
    let base = ["facts", "--host", "127.0.0.1", "--port", &port, "--user", "cloud", "--json"];
    let good = bench.run(&[&base[..], &["--password-file", &file, "--tls-ca", &ca]].concat());
    assert_eq!(good.code, Some(0), "{}: {}", bench.server, good.err);
    assert_absent("facts", &format!("{}{}", good.out, good.err), &[PASSWORD.to_owned()]);
    let other = bench.folder.path().join("other");
    write_secret(&other, "not it");
    let bad =
        bench.run(&[&base[..], &["--password-file", &other.to_string_lossy(), "--tls-ca", &ca]].concat());
    assert_eq!(bad.code, Some(1));
    assert!(bad.err.contains("->"), "no hint: {}", bad.err);
}
