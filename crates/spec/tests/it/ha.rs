//! The `[ha]` section: its defaults, what is refused, and where that is said.

use std::fmt::Write;
use std::net::IpAddr;
use std::path::Path;

use spec::{Durability, HaStore, Listen, OutsideKeeper, Spec};

const GOOD: &str = r#"[cluster]
name = "zone1"
server = "mariadb"
topology = "replication"

[[node]]
name = "db1"
address = "10.0.0.11"

[[node]]
name = "db2"
address = "10.0.0.12"

[[node]]
name = "db3"
address = "10.0.0.13"

[ha]

[ha.store]
kind = "etcd"
endpoints = ["https://10.0.0.11:2379", "https://10.0.0.12:2379", "https://10.0.0.13:2379"]
"#;

/// The good spec with one text replaced by another.
fn with(from: &str, to: &str) -> String {
    assert!(GOOD.contains(from), "{from}");
    GOOD.replace(from, to)
}

/// The good spec with more keys in `[ha]`.
fn ha(keys: &str) -> String {
    with("[ha]\n", &format!("[ha]\n{keys}\n"))
}

/// The good spec with more sections at its end, or more keys in `[ha.store]`.
fn more(text: &str) -> String {
    format!("{GOOD}{text}\n")
}

/// The good spec with more keys for the third node.
fn third(keys: &str) -> String {
    with("address = \"10.0.0.13\"\n", &format!("address = \"10.0.0.13\"\n{keys}\n"))
}

fn store(text: &str) -> String {
    format!("{}[ha.store]\n{text}\n", before_store(GOOD))
}

fn before_store(text: &str) -> &str {
    text.split_once("[ha.store]").map_or(text, |(before, _)| before)
}

fn single(text: &str) -> String {
    format!(
        "[cluster]\nname = \"z\"\nserver = \"mariadb\"\n[[node]]\nname = \"a\"\naddress = \"10.0.0.1\"\n{text}\n"
    )
}

/// The good spec without its third node.
fn two(text: &str) -> String {
    text.replace("[[node]]\nname = \"db3\"\naddress = \"10.0.0.13\"\n", "")
}

fn parse(text: &str) -> (Spec, Vec<String>) {
    let (spec, warnings) =
        Spec::parse(text, "mainstay.toml").unwrap_or_else(|errors| panic!("{errors}\n{text}"));
    (spec, warnings.iter().map(ToString::to_string).collect())
}

#[test]
fn a_small_section_gets_its_defaults() {
    let (spec, warnings) = parse(GOOD);
    assert!(warnings.is_empty(), "{warnings:?}");
    let ha = spec.ha.unwrap();
    assert_eq!((ha.durability, ha.wait_for_acks, ha.max_loss_transactions), (Durability::Lossless, 1, 0));
    assert_eq!((ha.ttl_ms, ha.renew_ms, ha.hang_ms, ha.failovers_per_hour), (3000, 500, 2000, 6));
    assert!(ha.reseed && ha.address.is_none() && ha.watchdog.is_none() && ha.witnesses.is_empty());
    assert_eq!((ha.api.health_port, ha.api.api_port), (8008, 8009));
    assert_eq!(ha.api.token_file, Path::new("/etc/mainstay/secrets/api_token"));
    assert_eq!((ha.proxy.listen, ha.proxy.read_listen), (Listen { address: None, port: 3306 }, None));
    let HaStore::Etcd { endpoints, prefix, ca, user, .. } = ha.store else { panic!("not etcd") };
    assert_eq!((endpoints.len(), prefix.as_str(), ca, user), (3, "/mainstay/zone1/", None, None));
    for node in &spec.nodes {
        assert_eq!((node.promotion, node.acks, node.delay_seconds), (100, true, 0));
    }
}

#[test]
fn without_the_section_there_are_no_agents() {
    assert!(parse(&single("")).0.ha.is_none());
}

#[test]
fn all_of_it_is_read() {
    let text = more(
        r#"prefix = "/x/"
user = "mainstay"
password_file = "/etc/mainstay/secrets/etcd"
ca = "/ca"
cert = "/cert"
key = "/key"
[ha.address]
address = "10.0.0.100/24"
interface = "eth0"
[ha.watchdog]
[ha.hooks]
promoted = ["/bin/x", "--up", "two words"]
timeout_ms = 100
[[ha.witness]]
name = "w1"
address = "10.0.0.9"
[ha.proxy]
listen = "[2001:db8::1]:3310"
read_listen = ":3311""#,
    )
    .replace(
        "[ha]\n",
        "[ha]\ndurability = \"available\"\nmax_loss_transactions = 5\nreseed = false\nttl_ms = 1000\n",
    );
    let (spec, warnings) = parse(&text);
    assert!(warnings.is_empty(), "{warnings:?}");
    let ha = spec.ha.unwrap();
    assert_eq!((ha.durability, ha.max_loss_transactions, ha.reseed), (Durability::Available, 5, false));
    // Three renewals fit into the shorter lease.
    assert_eq!((ha.ttl_ms, ha.renew_ms), (1000, 166));
    let address = ha.address.unwrap();
    assert_eq!((address.network.to_string().as_str(), address.interface.as_str()), ("10.0.0.100/24", "eth0"));
    assert_eq!(address.network.addr(), IpAddr::from([10, 0, 0, 100]));
    assert_eq!(ha.watchdog.as_deref(), Some(Path::new("/dev/watchdog")));
    assert_eq!(ha.hooks.promoted, ["/bin/x", "--up", "two words"]);
    assert!(ha.hooks.demoted.is_empty() && ha.hooks.timeout_ms == 100);
    assert_eq!(ha.witnesses[0].name, "w1");
    assert_eq!(ha.proxy.listen.to_string(), "[2001:db8::1]:3310");
    assert_eq!(ha.proxy.read_listen.unwrap().to_string(), ":3311");
    let listen = toml::Value::try_from(ha.proxy.listen).unwrap();
    assert_eq!(listen.as_str(), Some("[2001:db8::1]:3310"));
}

/// An agent that reads `address` alone can never take one that somebody else moves.
#[test]
fn an_address_has_one_keeper() {
    for (keeper, outside) in [
        ("agents", None),
        ("keepalived", Some(OutsideKeeper::Keepalived)),
        ("pacemaker", Some(OutsideKeeper::Pacemaker)),
    ] {
        let section = "[ha.address]\naddress = \"10.0.0.100/24\"\ninterface = \"eth0\"";
        let ha = parse(&more(&format!("{section}\nkeeper = \"{keeper}\""))).0.ha.unwrap();
        assert_eq!(ha.address.is_some(), outside.is_none(), "{keeper}");
        assert_eq!(ha.outside_address.map(|address| address.keeper), outside, "{keeper}");
    }
}

#[test]
fn a_delayed_node_has_no_part() {
    let (spec, _) = parse(&third("delay_seconds = 3600"));
    let node = spec.node("db3").unwrap();
    assert_eq!((node.promotion, node.acks, node.delay_seconds), (0, false, 3600));
    parse(&third("delay_seconds = 3600\npromotion = 0\nacks = false"));
}

#[test]
fn a_file_is_a_store_for_one_host() {
    let (spec, _) = parse(&single("[ha.store]\nkind = \"file\""));
    let store = spec.ha.unwrap().store;
    assert_eq!(store, HaStore::File { path: "/var/lib/mainstay/store".into() });
    let loopback = store_of_three("127.0.0.");
    parse(&loopback);
    let one =
        GOOD.replace("10.0.0.12\"\n", "10.0.0.11\"\nport = 3307\nsocket = \"/b\"\ndata_dir = \"/b/x\"\n");
    let one =
        one.replace("10.0.0.13\"\n", "10.0.0.11\"\nport = 3308\nsocket = \"/c\"\ndata_dir = \"/c/x\"\n");
    parse(&format!("{}[ha.store]\nkind = \"file\"\n", before_store(&one)));
}

fn store_of_three(network: &str) -> String {
    store("kind = \"file\"").replace("10.0.0.", network)
}

fn bad_stores() -> Vec<(&'static str, String)> {
    let endpoint = |url: &str| store(&format!("kind = \"etcd\"\nendpoints = [\"{url}\"]"));
    vec![
        ("no store", single("[ha]")),
        ("a misspelt section", with("[ha.store]", "[ha.stor]")),
        ("a store of no kind", with("kind = \"etcd\"\n", "")),
        ("a store of another kind", with("\"etcd\"", "\"consul\"")),
        ("no endpoint", store("kind = \"etcd\"\nendpoints = []")),
        ("endpoints left out", store("kind = \"etcd\"")),
        ("an endpoint that is no URL", endpoint("10.0.0.11:2379")),
        ("an endpoint without a port", endpoint("https://10.0.0.11")),
        ("an endpoint with a password", endpoint("https://root:hunter2@10.0.0.11:2379")),
        (
            "an endpoint twice",
            store("kind = \"etcd\"\nendpoints = [\"https://a:2379\", \"https://a:2379/\"]"),
        ),
        (
            "a password in the clear",
            endpoint("http://10.0.0.11:2379") + "user = \"m\"\npassword_file = \"/p\"\n",
        ),
        ("a user without a password", more("user = \"m\"")),
        ("a password in the spec", more("password = \"hunter2\"")),
        ("a key without a certificate", more("key = \"/k\"")),
        ("a CA without TLS", endpoint("http://10.0.0.11:2379") + "ca = \"/ca\"\n"),
        ("a prefix that is none", more("prefix = \"mainstay\"")),
    ]
}

fn bad_policies() -> Vec<(&'static str, String)> {
    vec![
        ("a lease renewed too late", ha("ttl_ms = 1400\nrenew_ms = 500")),
        ("a lease too short", ha("ttl_ms = 999")),
        ("a server with too little time", ha("hang_ms = 499")),
        ("a loss in lossless", ha("max_loss_transactions = 1")),
        ("a wrong word", ha("durability = \"lossles\"")),
        ("two acknowledgements on MariaDB", ha("wait_for_acks = 2")),
        ("too many acknowledgements", ha("wait_for_acks = 3").replace("mariadb", "mysql")),
        ("nobody acknowledges", GOOD.replace("[[node]]", "[[node]]\nacks = false")),
        ("nobody may be primary", GOOD.replace("[[node]]", "[[node]]\npromotion = 0")),
        ("a delayed node that may be primary", third("delay_seconds = 60\npromotion = 100")),
        ("a delayed node that acknowledges", third("delay_seconds = 60\nacks = true")),
    ]
}

fn bad_surroundings() -> Vec<(&'static str, String)> {
    let witness = |name: &str, address: &str| {
        more(&format!("[[ha.witness]]\nname = \"{name}\"\naddress = \"{address}\""))
    };
    let floating =
        |address: &str| more(&format!("[ha.address]\naddress = \"{address}\"\ninterface = \"eth0\""));
    vec![
        ("galera", with("\"replication\"", "\"galera\"")),
        ("one node and etcd", single("[ha.store]\nkind = \"etcd\"\nendpoints = [\"https://10.0.0.1:2379\"]")),
        (
            "replication with one node",
            single("[ha.store]\nkind = \"file\"").replace("[[", "topology = \"replication\"\n[["),
        ),
        ("a file for several hosts", store_of_three("10.0.0.")),
        ("no encryption", more("[tls]\nenabled = false")),
        ("nobody may start the server", more("[service]\nmanager = \"none\"")),
        ("a floating address that is a node's", floating("10.0.0.12/24")),
        (
            "a floating address that is a witness's",
            floating("10.0.0.9/24") + &witness("w", "10.0.0.9")[GOOD.len()..],
        ),
        ("a floating address without a length", floating("10.0.0.100")),
        ("a floating address that is a network", floating("10.0.0.0/24")),
        ("a floating address on no interface", more("[ha.address]\naddress = \"10.0.0.100/24\"")),
        ("a witness named as a node", witness("db1", "10.0.0.9")),
        ("a witness on a node", witness("w", "10.0.0.11")),
        ("one bracket", more("[ha.witness]\nname = \"w\"\naddress = \"10.0.0.9\"")),
        ("two things on a port", more("[ha.api]\napi_port = 8008")),
        ("the server's port", more("[ha.api]\nhealth_port = 3306")),
        ("a hook that is looked for", more("[ha.hooks]\npromoted = [\"x\"]")),
        ("a token in the spec", more("[ha.api]\ntoken = \"hunter2\"")),
        ("a proxy without a port", more("[ha.proxy]\nlisten = \"10.0.0.100\"")),
        ("a proxy at port 0", more("[ha.proxy]\nlisten = \":0\"")),
        ("a proxy on all addresses", more("[ha.proxy]\nlisten = \"0.0.0.0:3306\"")),
        ("a proxy where a server is", more("[ha.proxy]\nlisten = \"10.0.0.11:3306\"")),
        ("readers and writers", more("[ha.proxy]\nread_listen = \"10.0.0.100:3306\"")),
        ("not a section", with("[ha]\n", "").replace("[cluster]", "ha = true\n[cluster]")),
    ]
}

#[test]
fn bad_agents_are_told_where_and_what_instead() {
    let cases = [bad_stores(), bad_policies(), bad_surroundings()].concat();
    let mut shown = String::new();
    for (what, text) in cases {
        let errors = Spec::parse(&text, "mainstay.toml")
            .map_or_else(|errors| errors, |(spec, _)| panic!("{what}: taken: {:?}", spec.ha));
        writeln!(shown, "=== {what}\n{errors}").unwrap();
        assert!(
            errors.count() == 1 || matches!(what, "not a section"),
            "{what}: a second message only follows from the first: {errors}"
        );
    }
    assert!(!shown.contains("hunter2"), "a secret is shown");
    insta::assert_snapshot!(shown);
}

#[test]
fn doubtful_agents_warn() {
    let cases = [
        ("two nodes, lossless", two(GOOD), Some("with db1 as primary, all 1 acknowledging")),
        ("two nodes, available", two(&ha("durability = \"available\"")), None),
        ("three nodes", GOOD.to_owned(), None),
        ("one of them does not acknowledge", third("acks = false"), Some("with db1 as primary, all 1")),
        (
            "one may be primary",
            GOOD.replace("db2\"", "db2\"\npromotion = 0").replace("db3\"", "db3\"\npromotion = 0"),
            Some("only db1 may be primary"),
        ),
        ("a path and etcd", more("path = \"/x\""), Some("`path` does nothing with `kind = \"etcd\"`")),
        (
            "endpoints and a file",
            single("[ha.store]\nkind = \"file\"\nendpoints = []"),
            Some("`endpoints` does nothing with `kind = \"file\"`"),
        ),
    ];
    for (what, text, expected) in cases {
        let (_, warnings) = parse(&text);
        assert_eq!(warnings.len(), usize::from(expected.is_some()), "{what}: {warnings:?}");
        assert!(
            warnings.iter().all(|warning| warning.contains(expected.unwrap_or(""))),
            "{what}: {warnings:?}"
        );
    }
}
