//! From a bare Debian 12 to a control plane's database, in a tree of its own.

use std::path::Path;

use crate::bench::tool;

#[test]
fn real_bare_host_is_set_up_and_kept_running() {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../scripts/bare-host.sh");
    let ran = tool("bash", &[&script.to_string_lossy(), env!("CARGO_BIN_EXE_mainstay")]).expect("bash");
    if ran.code == Some(77) {
        println!("skipped: {}", ran.err.lines().last().unwrap_or_default());
        return;
    }
    assert_eq!(ran.code, Some(0), "{}\n{}", ran.out, ran.err);
    assert!(
        ran.out.contains("the supervisor started it again") && ran.out.ends_with("bare host: good\n"),
        "{}",
        ran.out
    );
}
