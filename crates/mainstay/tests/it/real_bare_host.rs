//! From a bare Debian 12 to a control plane's database, in a tree of its own.

use std::path::Path;

use crate::bench::tool;

/// What a script of `scripts/` prints about the built binary; `None` when it cannot run here.
fn transcript(name: &str) -> Option<String> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../scripts").join(name);
    let ran = tool("bash", &[&script.to_string_lossy(), env!("CARGO_BIN_EXE_mainstay")]).expect("bash");
    if ran.code == Some(77) {
        println!("skipped: {}", ran.err.lines().last().unwrap_or_default());
        return None;
    }
    assert_eq!(ran.code, Some(0), "{}\n{}", ran.out, ran.err);
    Some(ran.out)
}

#[test]
fn real_bare_host_is_set_up_and_kept_running() {
    let Some(out) = transcript("bare-host.sh") else { return };
    assert!(out.contains("the supervisor started it again") && out.ends_with("bare host: good\n"), "{out}");
}

#[test]
fn real_second_host_is_set_up_over_ssh() {
    let Some(out) = transcript("two-hosts.sh") else { return };
    assert!(out.contains("600 mysql /etc/mainstay/tls/server-key.pem"), "{out}");
    assert!(out.ends_with("two hosts: good\n"), "{out}");
}
