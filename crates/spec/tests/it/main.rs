//! The spec as its writer meets it: good ones, bad ones, the template and the reference.

mod backup;
mod ha;
mod kill;
mod refused;

use std::fmt::Write;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use flavor::Vendor;
use spec::{Cloud, Found, Spec};

const GOOD: &str = r#"
[cluster]
name = "zone1"
server = "mariadb"
cloud = "cloudstack"

[[node]]
name = "db1"
address = "10.0.0.11"

[cloudstack]
networks = ["10.0.1.0/24"]
"#;

/// The good spec with one text replaced by another.
fn with(from: &str, to: &str) -> String {
    assert!(GOOD.contains(from), "{from}");
    GOOD.replace(from, to)
}

#[test]
fn a_small_spec_gets_its_defaults() {
    let (spec, warnings) = Spec::parse(GOOD, "mainstay.toml").unwrap();
    assert!(warnings.is_empty());
    let node = spec.node("db1").unwrap();
    assert_eq!(node.server_id, u32::from(std::net::Ipv4Addr::new(10, 0, 0, 11)));
    assert_eq!(node.port, 3306);
    let cloudstack = spec.cloudstack.as_ref().unwrap();
    assert_eq!(cloudstack.password_file, Path::new("/etc/mainstay/secrets/cloud"));
    assert_eq!(spec.tls.as_ref().unwrap().dir, Path::new("/etc/mainstay/tls"));
    assert!(spec.firewall.is_none() && spec.openstack.is_none() && !spec.package.install);
}

#[test]
fn bad_specs_say_where_and_what_instead() {
    let cases = [
        ("an unknown key", with("networks =", "managment_servers = 2\nnetworks =")),
        ("an unknown section", with("[cloudstack]", "[cloudstak]")),
        ("a wrong word", with("\"mariadb\"", "\"maria\"")),
        ("a wrong type", with("name = \"zone1\"", "name = 7")),
        ("a bad network", with("10.0.1.0/24", "10.0.1.5/24")),
        ("the whole Internet", with("10.0.1.0/24", "0.0.0.0/0")),
        ("an IPv6 network", with("10.0.1.0/24", "2001:db8::/64")),
        ("no network", with("networks = [\"10.0.1.0/24\"]", "user = \"cloud\"")),
        (
            "a duplicate node",
            with("[cloudstack]", "[[node]]\nname = \"db1\"\naddress = \"10.0.0.12\"\n[cloudstack]"),
        ),
        ("an address that is none", with("\"10.0.0.11\"", "\"10.0.0.256\"")),
        ("no address", with("address = \"10.0.0.11\"\n", "")),
        ("an impossible size", with("[cloudstack]", "[machine]\nmemory = \"3\"\n[cloudstack]")),
        ("a port out of range", with("address =", "port = 70000\naddress =")),
        ("a secret in the spec", with("networks =", "password = \"hunter2\"\nnetworks =")),
        ("a relative path", with("networks =", "schema_dir = \"setup\"\nnetworks =")),
        ("the wrong cloud", with("\"cloudstack\"", "\"openstack\"")),
        ("galera on MySQL", with("\"mariadb\"", "\"mysql\"\ntopology = \"galera\"")),
        ("an owned variable", with("[cloudstack]", "[config.variables]\nserver-id = 3\n[cloudstack]")),
        ("one bracket", with("[[node]]", "[node]")),
        ("two at once", with("10.0.1.0/24", "10.0.1").replace("zone1", "zone 1")),
        ("two mistakes in the syntax", with("name = \"zone1\"", "name = zone 1\nserver =")),
        ("a secret that is not TOML", with("networks =", "password = \"hunter2\nnetworks =")),
        (
            "a secret in one line with more",
            with("[cloudstack]", "tls = { db_password = \"hunter2\", x = 1 }\n[cloudstack]"),
        ),
        ("db.properties by mistake", "db.cloud.username=cloud\ndb.cloud.password=hunter2\n".to_owned()),
        ("binary garbage", "\u{0}\u{1}\u{7f}ELF\u{2}\n\u{1b}[2J\u{0}".to_owned()),
        (
            "a node that is the same in all",
            with("[cloudstack]", "[[node]]\nname = \"db1\"\naddress = \"10.0.0.11\"\n[cloudstack]"),
        ),
        ("not TOML", with("name = \"zone1\"", "name = \"zone1")),
        ("an empty file", String::new()),
        ("a dump by mistake", "-- MySQL dump 10.13\nCREATE TABLE `t` (x int);".to_owned()),
    ];
    let mut shown = String::new();
    for (what, text) in cases {
        let errors = Spec::parse(&text, "mainstay.toml").map(|_| ()).unwrap_err();
        writeln!(shown, "=== {what}\n{errors}").unwrap();
    }
    assert!(!shown.contains("hunter2"), "a secret is shown");
    insta::assert_snapshot!(shown);
}

#[test]
fn client_networks_are_listed_once() {
    let text = with(
        "networks =",
        "networks = [\"10.0.3.0/24\", \"10.0.2.0/24\", \"10.0.0.11\"]\n[accounts]\nnetworks =",
    );
    let (spec, _) = Spec::parse(&text, "mainstay.toml").unwrap();
    let shown: Vec<String> = spec.all_client_networks().iter().map(ToString::to_string).collect();
    assert_eq!(shown, ["10.0.0.11/32", "10.0.1.0/24", "10.0.2.0/24", "10.0.3.0/24"]);
}

#[test]
fn doubtful_specs_warn() {
    let text = with("cloud = \"cloudstack\"", "cloud = \"cloudstack\"\ntopology = \"replication\"");
    let (_, warnings) = Spec::parse(&text, "mainstay.toml").unwrap();
    assert!(warnings[0].to_string().contains("replication with one node"), "{}", warnings[0]);
    let second = "[[node]]\nname = \"db2\"\naddress = \"10.0.0.12\"\n[cloudstack]";
    let text = text.replace("\"replication\"", "\"galera\"").replace("[cloudstack]", second);
    let (_, warnings) = Spec::parse(&text, "mainstay.toml").unwrap_or_else(|errors| panic!("{errors}"));
    assert!(warnings[0].to_string().contains("galera with 2 nodes"), "{}", warnings[0]);
}

fn found() -> Found {
    Found {
        hostname: "db1.example.org".to_owned(),
        address: Some(IpAddr::from([10, 0, 0, 11])),
        vendor: Vendor::MySql,
        installed: None,
        port: 3306,
        socket: PathBuf::from("/run/mysqld/mysqld.sock"),
        data_dir: PathBuf::from("/var/lib/mysql"),
        memory_bytes: 32 << 30,
        cpus: 8,
        network: "10.0.0.0/24".parse().ok(),
        cloudstack_schema_dir: Some(PathBuf::from("/usr/share/cloudstack-management/setup")),
        properties_file: Some(PathBuf::from("/etc/cloudstack/management/db.properties")),
    }
}

#[test]
fn the_template_is_a_spec() {
    for cloud in [Cloud::None, Cloud::Cloudstack, Cloud::Openstack] {
        let text = spec::template(cloud, &found());
        let (spec, warnings) =
            Spec::parse(&text, "template").unwrap_or_else(|errors| panic!("{errors}\n{text}"));
        assert!(warnings.is_empty());
        assert_eq!(spec.cluster.cloud, cloud);
        assert_eq!(spec.cluster.server, Vendor::MySql);
        let node = &spec.nodes[0];
        assert_eq!(
            (node.name.as_str(), node.address, node.port),
            ("db1", IpAddr::from([10, 0, 0, 11]), 3306)
        );
        assert!(spec.package.install && spec.tls.is_some());
        let networks = vec!["10.0.0.0/24".parse().unwrap()];
        assert_eq!(
            spec.cloudstack.map(|it| it.networks),
            (cloud == Cloud::Cloudstack).then(|| networks.clone())
        );
        assert_eq!(spec.openstack.map(|it| it.networks), (cloud == Cloud::Openstack).then_some(networks));
    }
    insta::assert_snapshot!(spec::template(Cloud::Cloudstack, &found()));
}

#[test]
fn the_template_is_a_spec_whatever_was_found() {
    let strange = Found {
        hostname: "..".to_owned(),
        address: "0.0.0.0".parse().ok(),
        installed: Some("10.11\n[cluster]".to_owned()),
        port: 0,
        socket: PathBuf::from("a\nb"),
        data_dir: PathBuf::from("/var/\"lib\\x"),
        network: "2001:db8::5/64".parse().ok(),
        cloudstack_schema_dir: Some(PathBuf::from("../x")),
        properties_file: None,
        ..found()
    };
    let with_host_bits = Found { network: "10.77.0.5/24".parse().ok(), ..found() };
    for cloud in [Cloud::None, Cloud::Cloudstack, Cloud::Openstack] {
        for found in [&strange, &with_host_bits] {
            let text = spec::template(cloud, found);
            Spec::parse(&text, "template").unwrap_or_else(|errors| panic!("{errors}\n{text}"));
        }
    }
    assert!(spec::template(Cloud::Cloudstack, &strange).contains("change this example"));
    assert!(spec::template(Cloud::Cloudstack, &with_host_bits).contains("\nnetworks = [\"10.77.0.0/24\"]"));
}

#[test]
fn every_commented_example_is_a_good_value() {
    for cloud in [Cloud::Cloudstack, Cloud::Openstack] {
        let text: String = spec::template(cloud, &found())
            .lines()
            .map(|line| {
                let example = line
                    .strip_prefix('#')
                    .filter(|rest| rest.starts_with(|c: char| c.is_ascii_lowercase() || c == '['));
                format!("{}\n", example.unwrap_or(line))
            })
            .collect();
        // Agents want a second node.
        let text = text.replace("topology = \"single\"", "topology = \"replication\"")
            + "[[node]]\nname = \"db2\"\naddress = \"10.0.0.12\"\n";
        let (spec, _) = Spec::parse(&text, "template").unwrap_or_else(|errors| panic!("{errors}"));
        assert!(spec.ha.is_some_and(|ha| ha.watchdog.is_some() && !ha.witnesses.is_empty()));
    }
}

/// `MAINSTAY_UPDATE=1` writes it anew.
#[test]
fn the_reference_is_up_to_date() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/spec.md");
    let wanted = spec::reference();
    if std::env::var_os("MAINSTAY_UPDATE").is_some() {
        let mut file = std::fs::File::create(&path).unwrap();
        std::io::Write::write_all(&mut file, wanted.as_bytes()).unwrap();
    }
    let present = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(present == wanted, "docs/spec.md is stale: run MAINSTAY_UPDATE=1 cargo nextest run -p spec");
}

proptest::proptest! {
    #[test]
    fn no_text_makes_it_panic(text in ".{0,400}") {
        let _ = Spec::parse(&text, "x").map_err(|errors| errors.to_string());
    }

    #[test]
    fn no_change_of_a_good_spec_makes_it_panic(at in 0_usize..200, insert in "[\\[\\]\"=\\.#\n\tа-я0-9a-z]{0,6}") {
        let mut text = GOOD.to_owned();
        let at = at.min(text.len());
        if text.is_char_boundary(at) {
            text.insert_str(at, &insert);
        }
        let _ = Spec::parse(&text, "x").map_err(|errors| errors.to_string());
    }
}
