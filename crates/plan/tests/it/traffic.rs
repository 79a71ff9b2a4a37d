//! Configuration of other programs: as golden files, and as those programs judge it.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Output};

use plan::{Installed, RenderedFile, TrafficError, haproxy, keepalived, pacemaker, systemd};
use spec::Spec;

use crate::fixture;

/// The same with backups.
fn three_with(backup: &str) -> Spec {
    three_and("agents", &format!("[backup]\n{backup}\n"))
}

/// Three nodes of IPv4, every inner section written, the address kept by this program.
fn three(keeper: &str) -> Spec {
    three_and(keeper, "")
}

fn three_and(keeper: &str, more: &str) -> Spec {
    fixture::spec(&format!(
        r#"
[cluster]
name = "zone1"
server = "mariadb"
topology = "replication"
cloud = "cloudstack"

[[node]]
name = "db1"
address = "10.0.0.11"

[[node]]
name = "db2"
address = "10.0.0.12"

[[node]]
name = "db3"
address = "10.0.0.13"
port = 3310

[[node]]
name = "late"
address = "10.0.0.14"
delay_seconds = 3600

[cloudstack]
management_servers = 4
networks = ["10.0.1.0/24"]

[ha]
ttl_ms = 2000

[ha.store]
kind = "etcd"
endpoints = ["https://10.0.0.11:2379", "https://10.0.0.12:2379", "https://10.0.0.13:2379"]

[ha.api]
health_port = 9008

[ha.address]
address = "10.0.0.100/24"
interface = "eth0"
keeper = "{keeper}"

[ha.watchdog]
device = "/dev/watchdog1"

{more}

[ha.proxy]
listen = "127.0.0.1:3306"
read_listen = "127.0.0.1:3307"
"#
    ))
}

/// Two nodes and a witness, MySQL as a process, hardly anything written.
fn two_and_a_witness() -> Spec {
    fixture::spec(
        r#"
[cluster]
name = "small"
server = "mysql"
topology = "replication"

[[node]]
name = "a"
address = "10.0.0.1"
data_dir = "/srv/mysql"

[[node]]
name = "b"
address = "10.0.0.2"
data_dir = "/srv/mysql"

[service]
manager = "process"

[config]
file = "/srv/etc/mainstay.cnf"

[ha]
durability = "available"

[ha.store]
kind = "etcd"
endpoints = ["https://10.0.0.9:2379"]

[[ha.witness]]
name = "w"
address = "10.0.0.9"
"#,
    )
}

/// Two nodes of IPv6.
fn six(keeper: &str) -> Spec {
    fixture::spec(&format!(
        r#"
[cluster]
name = "six"
server = "mariadb"
topology = "replication"

[[node]]
name = "a"
address = "2001:db8::1"

[[node]]
name = "b"
address = "2001:db8::2"

[ha.store]
kind = "etcd"
endpoints = ["https://[2001:db8::9]:2379"]

[ha.address]
address = "2001:db8::6400/64"
interface = "bond0.100"
keeper = "{keeper}"

[ha.proxy]
read_listen = "[2001:db8::6401]:3307"
"#
    ))
}

fn installed() -> Installed {
    Installed::default()
}

fn files(files: &[RenderedFile]) -> String {
    files.iter().map(|file| format!("=== {}\n{}\n", file.path.display(), file.text)).collect()
}

#[test]
fn haproxy_of_three_nodes() {
    insta::assert_snapshot!(haproxy(&three("agents")).unwrap());
}

#[test]
fn haproxy_of_two_nodes_and_a_witness() {
    insta::assert_snapshot!(haproxy(&two_and_a_witness()).unwrap());
}

#[test]
fn haproxy_of_ipv6() {
    insta::assert_snapshot!(haproxy(&six("agents")).unwrap());
}

#[test]
fn keepalived_of_each_family() {
    let four = keepalived(&three("keepalived"), "db2", &installed()).unwrap();
    let six = keepalived(&six("keepalived"), "a", &installed()).unwrap();
    insta::assert_snapshot!(format!("{four}\n======\n{six}"));
}

#[test]
fn systemd_of_three_nodes() {
    insta::assert_snapshot!(files(&systemd(&three("agents"), "db1", &installed()).unwrap()));
}

#[test]
fn systemd_of_two_nodes_and_a_witness() {
    let spec = two_and_a_witness();
    let node = files(&systemd(&spec, "a", &installed()).unwrap());
    let witness = files(&systemd(&spec, "w", &installed()).unwrap());
    insta::assert_snapshot!(format!("{node}\n======\n{witness}"));
}

#[test]
fn systemd_of_backups() {
    let with = |lines: &str| {
        let mut spec = fixture::cloudstack_spec(flavor::Vendor::MariaDb);
        spec.backup = three_with(lines).backup;
        spec
    };
    let store = with("place = \"s3://backups/zone1\"\narchive_purge_after = \"3d\"");
    let folder = with("place = \"/srv/backups\"");
    let name = store.nodes[0].name.clone();
    let store = files(&systemd(&store, &name, &installed()).unwrap());
    let folder = files(&systemd(&folder, &name, &installed()).unwrap());
    insta::assert_snapshot!(format!("{store}\n======\n{folder}"));
    // Beside the agents' own.
    let both = systemd(&three_with("place = \"/srv/backups\""), "db1", &installed()).unwrap();
    assert_eq!(both.len(), 8);
    let strange = with("place = \"/srv/a b\"");
    assert_eq!(systemd(&strange, &name, &installed()), Err(TrafficError::Unquotable("/srv/a b".into())));
    assert_eq!(systemd(&strange, "db9", &installed()), Err(TrafficError::NoMember("db9".to_owned())));
}

#[test]
fn pacemaker_of_three_nodes() {
    insta::assert_snapshot!(pacemaker(&three("pacemaker"), &installed()).unwrap());
}

#[test]
fn what_cannot_be_written_is_refused() {
    let plain = fixture::cloudstack_spec(flavor::Vendor::MariaDb);
    assert_eq!(haproxy(&plain), Err(TrafficError::NoAgents));
    assert_eq!(systemd(&plain, "db1", &installed()), Err(TrafficError::NoAgents));
    let spec = three("pacemaker");
    assert_eq!(keepalived(&spec, "db1", &installed()), Err(TrafficError::NotTheKeeper("keepalived")));
    assert_eq!(pacemaker(&three("agents"), &installed()), Err(TrafficError::NotTheKeeper("pacemaker")));
    assert_eq!(keepalived(&spec, "db9", &installed()), Err(TrafficError::NoMember("db9".to_owned())));
    assert_eq!(systemd(&spec, "db9", &installed()), Err(TrafficError::NoMember("db9".to_owned())));
    let witness = two_and_a_witness();
    assert_eq!(keepalived(&witness, "w", &installed()), Err(TrafficError::Witness("w".to_owned())));
    let strange = Installed { program: "/opt/a b/mainstay".into(), ..installed() };
    assert_eq!(systemd(&spec, "db1", &strange), Err(TrafficError::Unquotable("/opt/a b/mainstay".into())));
    let mut other = three("agents");
    other.service.unit = "../../x".to_owned();
    assert_eq!(systemd(&other, "db1", &installed()), Err(TrafficError::Unquotable("../../x".into())));
    let mut mixed = three("keepalived");
    mixed.nodes[1].address = "2001:db8::1".parse().unwrap();
    let refused = keepalived(&mixed, "db1", &installed()).unwrap_err().to_string();
    assert!(refused.contains("10.0.0.100 and node db2"), "{refused}");
}

/// A delayed node is behind on purpose, a witness has no database: no client is to get to them.
#[test]
fn clients_get_to_no_delayed_node_and_no_witness() {
    assert!(!haproxy(&three("agents")).unwrap().contains("server late"));
    assert!(!haproxy(&two_and_a_witness()).unwrap().contains("10.0.0.9"));
}

fn write(path: impl AsRef<Path>, text: impl AsRef<str>) {
    let mut file = std::fs::File::create(path).unwrap();
    file.write_all(text.as_ref().as_bytes()).unwrap();
}

/// Runs a program; `None`, said so, when it is not installed.
#[expect(clippy::disallowed_methods, reason = "a test judges with the very program, for a moment")]
fn run(program: &str, arguments: &[&str]) -> Option<Output> {
    match Command::new(program).args(arguments).env("LC_ALL", "C").output() {
        Ok(output) => Some(output),
        Err(error) => {
            println!("skipped: {program}: {error}");
            None
        }
    }
}

fn words(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

#[test]
fn real_haproxy_accepts_every_configuration() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("haproxy.cfg");
    for spec in [three("agents"), two_and_a_witness(), six("agents")] {
        let text = haproxy(&spec).unwrap();
        write(&file, &text);
        let Some(output) = run("/usr/sbin/haproxy", &["-c", "-f", file.to_str().unwrap()]) else { return };
        let words = words(&output);
        assert!(output.status.success(), "{words}\n{text}");
        assert!(!words.contains("WARNING") && !words.contains("ALERT"), "{words}\n{text}");
    }
    write(&file, haproxy(&three("agents")).unwrap().replace("option httpchk", "option httpchek"));
    let output = run("/usr/sbin/haproxy", &["-c", "-f", file.to_str().unwrap()]).unwrap();
    assert!(!output.status.success(), "it accepts anything");
}

/// An interface that VRRP can be spoken over.
fn interface() -> Option<String> {
    let entries = std::fs::read_dir("/sys/class/net").ok()?;
    let names = entries.filter_map(|entry| {
        let entry = entry.ok().filter(|entry| entry.path().join("ifindex").exists())?;
        entry.file_name().into_string().ok()
    });
    names.filter(|name| name != "lo").min()
}

#[test]
fn real_keepalived_accepts_every_configuration() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("keepalived.conf");
    // keepalived looks whether the program and the interface are there and who may change the program.
    let Some(interface) = interface() else {
        println!("skipped: this host has no network interface but lo");
        return;
    };
    let installed = Installed { program: "/usr/bin/env".into(), ..installed() };
    let check = |text: &str| {
        write(&file, text.replace("bond0.100", &interface).replace("eth0", &interface));
        run("/usr/sbin/keepalived", &["--log-console", "-t", "-f", file.to_str().unwrap()])
    };
    for (spec, node) in [(three("keepalived"), "db1"), (six("keepalived"), "b")] {
        let text = keepalived(&spec, node, &installed).unwrap();
        let Some(output) = check(&text) else { return };
        assert!(output.status.success() && words(&output).is_empty(), "{}\n{text}", words(&output));
    }
    let text = keepalived(&three("keepalived"), "db1", &installed).unwrap().replace("init_fail", "init_fall");
    let output = check(&text).unwrap();
    assert!(!output.status.success() || !words(&output).is_empty(), "it accepts anything");
}

/// The units and, beside them, the distribution's that the drop-in belongs to.
fn write_units(folder: &Path, files: &[RenderedFile]) {
    for file in files {
        let path = folder.join(file.path.strip_prefix("/etc/systemd/system").unwrap());
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        write(path, &file.text);
    }
    for server in ["mariadb", "mysql"] {
        let text = "[Unit]\nDescription=x\n[Service]\nExecStart=/usr/bin/env\nRestart=on-failure\n";
        write(folder.join(format!("{server}.service")), text);
    }
}

#[test]
fn real_systemd_accepts_the_units() {
    let installed = Installed { program: "/usr/bin/env".into(), ..installed() };
    for (spec, member, count) in [
        (three("agents"), "db1", 3),
        (three_with("place = \"/srv/backups\""), "db1", 8),
        (two_and_a_witness(), "a", 3),
        (two_and_a_witness(), "w", 1),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let files = systemd(&spec, member, &installed).unwrap();
        assert_eq!(files.len(), count);
        write_units(folder.path(), &files);
        let units: Vec<String> = files
            .iter()
            .map(|file| {
                let path = file.path.to_str().unwrap().trim_end_matches(".d/mainstay.conf");
                folder.path().join(Path::new(path).file_name().unwrap()).display().to_string()
            })
            .collect();
        let mut arguments = vec!["verify", "--man=no", "--generators=no"];
        arguments.extend(units.iter().map(String::as_str));
        let Some(output) = run("/usr/bin/systemd-analyze", &arguments) else { return };
        assert!(output.status.success() && words(&output).is_empty(), "{}", words(&output));
    }
}

#[test]
fn real_shell_accepts_the_pacemaker_script() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("pacemaker.sh");
    write(&file, pacemaker(&three("pacemaker"), &installed()).unwrap());
    let Some(output) = run("/bin/sh", &["-n", file.to_str().unwrap()]) else { return };
    assert!(output.status.success(), "{}", words(&output));
    let output = run("/bin/sh", &[file.to_str().unwrap()]).unwrap();
    assert_eq!(output.status.code(), Some(64), "{}", words(&output));
}
