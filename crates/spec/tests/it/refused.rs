//! What a spec must not hold, as a table; and that every key of the table of keys is really read.

use std::collections::BTreeMap;
use std::fmt::Write;

use spec::{KEYS, SPEC_BYTES_MAX, Spec};

const BEGIN: &str = "[cluster]\nname = \"z\"\nserver = \"mariadb\"\n";
const NODE: &str = "[[node]]\nname = \"a\"\naddress = \"10.0.0.1\"\n";

fn errors(text: &str) -> String {
    Spec::parse(text, "f")
        .map_or_else(|errors| errors.to_string(), |(spec, _)| panic!("taken: {spec:?}\n{text}"))
}

fn plain(text: &str) -> String {
    format!("{BEGIN}{NODE}{text}")
}

fn two_nodes(second: &str) -> String {
    format!("{BEGIN}topology = \"replication\"\n{NODE}port = 3307\n[[node]]\n{second}")
}

fn cloudstack(text: &str) -> String {
    format!("{BEGIN}cloud = \"cloudstack\"\n{NODE}[cloudstack]\n{text}\n")
}

fn openstack(text: &str) -> String {
    format!("{BEGIN}cloud = \"openstack\"\n{NODE}[openstack]\nnetworks = [\"10.0.1.0/24\"]\n{text}\n")
}

/// Each is one problem, no more: a second message would only follow from the first.
#[test]
fn a_problem_is_told_once() {
    let networks = "networks = [\"10.0.1.0/24\"]\n";
    let services: String = (0..65).map(|at| format!("[[openstack.service]]\nname = \"s{at}\"\n")).collect();
    let cases = [
        (format!("node = []\n{BEGIN}"), "there is no [[node]]"),
        (format!("node = [1]\n{BEGIN}"), "expected sections: [[node]]"),
        (format!("{BEGIN}[node]\nname = \"a\"\n"), "it is written [[node]]"),
        (plain("data_dir = \"/\""), "the root of all files"),
        (plain(&format!("socket = \"/{}\"", "s".repeat(120))), "at most 107 bytes"),
        (plain("").replace("10.0.0.1", "0.0.0.0"), "no host has this address"),
        (plain("").replace("10.0.0.1", "::ffff:10.0.0.1"), "did you mean 10.0.0.1?"),
        (plain("").replace("mariadb", "maria"), "did you mean `mariadb`?"),
        (
            two_nodes("name = \"b\"\naddress = \"10.0.0.2\"\n"),
            "it follows from the address, as that of a does",
        ),
        (two_nodes("name = \"b\"\naddress = \"10.0.0.1\"\nport = 3307\n"), "the first is in line 7"),
        (two_nodes("name = \"a\"\naddress = \"10.0.0.9\"\n"), "the first is in line 6"),
        (
            two_nodes("name = \"b\"\naddress = \"10.0.0.1\"\ndata_dir = \"/b\"\n"),
            "nodes a and b are on one host with one `socket`",
        ),
        (cloudstack(""), "nobody could log in"),
        (cloudstack("networks = []"), "nobody could log in"),
        (cloudstack("networks = \"10.0.1.0/24\""), "expected a list"),
        (cloudstack("networks = [3]"), "expected text in quotes"),
        (cloudstack(&format!("{networks}properties = 3")), "expected a section: [cloudstack.properties]"),
        (cloudstack(&format!("{networks}user = \"root\"")), "this account has another use"),
        (cloudstack(&format!("{networks}user = \"mainstay_repl\"")), "this account has another use"),
        (cloudstack("").replace("[cloudstack]", "[cloudstak]"), "did you mean [cloudstack]?"),
        (
            cloudstack(networks).replace("cloud = \"cloudstack\"", "cloud = \"clodstack\""),
            "did you mean `cloudstack`?",
        ),
        (openstack("service = [1]"), "expected sections: [[openstack.service]]"),
        (openstack("services = [\"nova\", \"nova\"]"), "service nova twice"),
        (openstack("services = [\"../x\"]"), "expected letters, digits"),
        (openstack("[[openstack.service]]\nname = \"x\"\ndatabases = [\"mysql\"]"), "the server's own"),
        (
            openstack("[[openstack.service]]\nname = \"x\"\n[[openstack.service]]\nname = \"x\""),
            "a second [[openstack.service]] named x",
        ),
        (openstack(&services), "at most 64 are possible"),
        (plain("[config.variables]\nmax-connections = 1\nmax_connections = 2\n"), "the other is in line 8"),
        (plain("[config.variables]\nBIND-ADDRESS = \"x\"\n"), "use `bind` in [config]"),
        (plain("[config.variables]\nloose_server_id = 1\n"), "use `server_id` in [[node]]"),
        (plain("[config.variables]\nssl_capath = \"/x\"\n"), "certificates are set by [tls]"),
        (plain("[config.variables]\n\"\" = 1\n"), "is not the name of a variable"),
        (plain("[config.variables]\nvalidate_password.policy = 1\n"), "written in quotes"),
        (plain("[config.variables]\ninit_connect = \"a\\nb\"\n"), "an option is one line"),
        (plain("[machine]\nmemory = \"65T\"\n"), "expected 512M to 64T"),
        (plain("[machine]\nmemory = \"12 parsecs\"\n"), "is not a size"),
        (plain("[tls]\ndays = 30\n"), "renewed on every run"),
        ("x".repeat(SPEC_BYTES_MAX + 1), "1048576 are possible"),
    ];
    for (text, expected) in cases {
        let shown = errors(&text);
        assert!(shown.contains(expected), "{expected}: {shown}");
        assert_eq!(shown.matches("error: ").count(), 1, "{shown}");
    }
}

#[test]
fn secrets_are_refused_and_not_shown() {
    let unclosed = "[cloudstack]\npassword = \"\"\"\nhunter2";
    for text in [
        cloudstack("password = \"hunter2\"\nnetworks = [\"10.0.1.0/24\"]"),
        cloudstack("networks = [\"10.0.1.0/24\"]\ndb.password = \"hunter2\""),
        openstack("[[openstack.service]]\nname = \"x\"\nPassword = \"hunter2\""),
        plain("[accounts]\nadmin_password = 'hunter2'\n"),
        plain("[config.variables]\nwsrep_sst_auth = \"user:hunter2\"\n"),
        plain("[config.variables]\nreport-password = [\"hunter2\"]\n"),
        unclosed.to_owned(),
    ] {
        let shown = errors(&text);
        assert!(!shown.contains("hunter2"), "{shown}");
        assert!(shown.contains("(hidden)"), "{shown}");
    }
    // Neither the marks nor the column tell how long it is.
    let of = |secret: &str| errors(&format!("[cloudstack]\npassword = \"{secret}\na = {secret}"));
    let first = |shown: &str| shown.split("\n\n").next().unwrap().to_owned();
    assert_eq!(first(&of("x")), first(&of("hunter2")));
    assert!(errors(&plain("[accounts]\npassword = 1\n")).contains("name that with `admin_defaults_file`"));
}

#[test]
fn variables_named_after_passwords_may_be_set() {
    let text =
        plain("[config.variables]\ndefault-password-lifetime = 90\n\"validate_password.length\" = 0x10\n");
    let (spec, _) = Spec::parse(&text, "f").unwrap();
    let variables: Vec<_> =
        spec.config.variables.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    assert_eq!(variables, [("default_password_lifetime", "90"), ("validate_password.length", "16")]);
}

#[test]
fn a_secret_file_stays_in_its_folder() {
    for (user, file) in [("..", "_.."), ("a/b", "a_b"), (".x", "_.x"), ("cloud", "cloud")] {
        let text = cloudstack(&format!("user = \"{user}\"\nnetworks = [\"10.0.1.0/24\"]"));
        let (spec, _) = Spec::parse(&text, "f").unwrap();
        let expected = format!("/etc/mainstay/secrets/{file}");
        assert_eq!(spec.cloudstack.unwrap().password_file.to_str(), Some(expected.as_str()));
    }
}

#[test]
fn a_flood_of_problems_is_cut() {
    let text: String = (0..20_000).fold(plain("[paths]\n"), |mut text, at| {
        writeln!(text, "k{at} = 1").unwrap();
        text
    });
    let found = Spec::parse(&text, "f").map(|_| ()).unwrap_err();
    assert_eq!(found.count(), 1000);
    assert_eq!(found.to_string().matches("-->").count(), 50);
    assert!(found.to_string().ends_with("error: and 950 more problems\n"));
}

/// A key that is in the table, the template and the reference, and that nothing reads, would be ignored in silence.
#[test]
fn every_key_is_read() {
    for key in KEYS {
        let cloud = key.section.split('.').next().filter(|name| name.ends_with("stack")).unwrap_or("none");
        let mut sections: BTreeMap<&str, BTreeMap<&str, &str>> = BTreeMap::from([
            ("cluster", BTreeMap::from([("name", "\"z\""), ("server", "\"mariadb\"")])),
            ("node", BTreeMap::from([("name", "\"a\""), ("address", "\"10.0.0.1\"")])),
        ]);
        if cloud != "none" {
            sections.entry(cloud).or_default().insert("networks", "[\"10.0.1.0/24\"]");
            sections
                .entry("cluster")
                .or_default()
                .insert("cloud", if cloud == "cloudstack" { "\"cloudstack\"" } else { "\"openstack\"" });
        }
        if key.section == "openstack.service" {
            sections.entry("openstack.service").or_default().insert("name", "\"heat\"");
        }
        if key.section.starts_with("ha") {
            sections.entry("ha.store").or_default().insert("kind", "\"file\"");
        }
        if key.section == "ha.address" {
            let address = BTreeMap::from([("address", "\"10.0.0.9/24\""), ("interface", "\"eth0\"")]);
            sections.insert("ha.address", address);
        }
        if key.section == "ha.witness" {
            let witness = BTreeMap::from([("name", "\"w\""), ("address", "\"10.0.0.9\"")]);
            sections.insert("ha.witness", witness);
        }
        if key.section.starts_with("kill") {
            let rule = BTreeMap::from([("name", "\"r\""), ("busy_time", "\"5m\"")]);
            sections.insert("kill.rule", rule);
        }
        if key.section == "backup" {
            sections.insert("backup", BTreeMap::from([("place", "\"/backups\"")]));
        }
        let etcd = key.section == "ha.store" && key.name != "path";
        if etcd {
            sections.entry("cluster").or_default().insert("topology", "\"replication\"");
            sections
                .entry("ha.store")
                .or_default()
                .extend([("kind", "\"etcd\""), ("endpoints", "[\"https://10.0.0.1:2379\"]")]);
        }
        let write = |sections: &BTreeMap<&str, BTreeMap<&str, &str>>| {
            let mut text = String::new();
            if etcd {
                text.push_str("[[node]]\nname = \"b\"\naddress = \"10.0.0.2\"\n");
            }
            for (section, keys) in sections {
                let several = matches!(*section, "node" | "openstack.service" | "ha.witness" | "kill.rule");
                writeln!(text, "{}", if several { format!("[[{section}]]") } else { format!("[{section}]") })
                    .unwrap();
                for (name, value) in keys {
                    writeln!(text, "{name} = {value}").unwrap();
                }
            }
            text
        };
        sections.entry(key.section).or_default();
        let good = write(&sections);
        Spec::parse(&good, "f").unwrap_or_else(|errors| panic!("{errors}\n{good}"));
        // No key is a date.
        sections.entry(key.section).or_default().insert(key.name, "1979-05-27");
        let shown = errors(&write(&sections));
        assert!(shown.contains(&format!("`{}` in ", key.name)) && shown.contains("is a date"), "{shown}");
    }
}
