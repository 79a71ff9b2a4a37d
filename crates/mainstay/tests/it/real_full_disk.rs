//! A place on a disk that is full: said, and nothing is lost once there is room again.
//!
//! The disk is a memory of a megabyte, mounted for the commands under test alone.

use crate::bench::{servers, tool};
use crate::real_binlog::logging;

const SCRIPT: &str = r#"
mount -t tmpfs -o size=1m tmpfs "$2" || exit 77
on() { "$1" backup "$2" --place "$3" --socket "$4" ${5:-} 2>&1; echo "$2 ended with $?"; }
on "$1" create "$2" "$3"
"$1" backup list --place "$2" 2>&1
echo "listed with $?"
on "$1" archive "$2" "$3" --once
mount -o remount,size=64m "$2"
on "$1" archive "$2" "$3" --once
"$1" backup archive --status --verify --place "$2" 2>&1
echo "status ended with $?"
on "$1" create "$2" "$3"
"$1" backup verify --place "$2" 2>&1
echo "verify ended with $?"
"#;

#[test]
fn real_a_full_disk_is_said_and_costs_nothing() {
    let Some(server) = servers().first().copied() else { return };
    let bench = logging(server, "max-binlog-size=1M\n");
    bench.sql("CREATE DATABASE s; CREATE TABLE s.t (id INT PRIMARY KEY AUTO_INCREMENT, v LONGBLOB)");
    // What no compression makes smaller.
    for _ in 0..4 {
        let half = "(RANDOM_BYTES(1024))".to_owned();
        let rows = vec![half; 512].join(",");
        bench.sql(&format!("INSERT INTO s.t (v) VALUES {rows}"));
    }
    let place = bench.folder.path().join("place");
    std::fs::create_dir(&place).unwrap();
    let (place, socket) = (place.to_string_lossy(), bench.node_path("socket"));
    let args =
        ["-m", "sh", "-c", SCRIPT, "sh", env!("CARGO_BIN_EXE_mainstay"), &place, &socket.to_string_lossy()];
    let Some(ran) = tool("unshare", &args).filter(|ran| ran.code == Some(0)) else {
        println!("skipped: unshare cannot mount a small disk here");
        return;
    };
    println!("{}", ran.out);
    let said = |from: &str, to: &str| {
        let rest = ran.out.split_once(from).unwrap_or_else(|| panic!("{from}: {ran:?}")).1;
        rest.split_once(to).unwrap_or_else(|| panic!("{to}: {ran:?}")).0.to_owned()
    };
    let created = ran.out.split_once("create ended with 1").unwrap_or_else(|| panic!("{ran:?}")).0;
    assert!(created.contains("No space left on device") && created.contains("make room"), "{created}");
    let archived = said("listed with", "archive ended with 1");
    assert_eq!(archived.matches("No space").count(), 1, "{archived}");
    assert!(archived.contains("No space left on device") && archived.contains("make room"), "{archived}");
    let listed = said("create ended with 1", "listed with");
    assert!(!listed.contains("whole") && !listed.contains("read back"), "{listed}");
    let rest = said("archive ended with 1", "verify ended with 0");
    for end in ["archive ended with 0", "status ended with 0", "create ended with 0"] {
        assert!(rest.contains(end), "{end}: {rest}");
    }
}
