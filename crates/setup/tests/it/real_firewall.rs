//! The firewall's table in a network namespace of the test's own: what nft prints back is what was planned, and it
//! lets in whom it should.

use std::time::Duration;

use facts::Seen;
use host::command::Command;
use host::firewall::Nftables;
use spec::Spec;

const SPEC: &str = r#"
[cluster]
name = "f"
server = "mariadb"
topology = "galera"
cloud = "cloudstack"
[[node]]
name = "a"
address = "10.77.0.1"
[[node]]
name = "b"
address = "10.77.0.2"
[[node]]
name = "c"
address = "2001:db8::3"
[firewall]
enabled = true
allow = ["10.77.0.0/24", "192.168.4.0/22", "192.168.5.0/24", "2001:db8:1::/48"]
[cloudstack]
networks = ["10.77.9.0/24", "10.77.8.0/24", "172.16.0.1"]
"#;

/// A network namespace with a veth pair to a second one; both go when this is dropped.
struct Namespaces {
    names: [String; 2],
}

async fn ip(words: &[&str]) -> Result<(), String> {
    let ran = Command::new("ip").args(words).timeout(Duration::from_secs(10)).run().await;
    ran.map(drop).map_err(|error| error.to_string())
}

impl Namespaces {
    async fn new() -> Result<Self, String> {
        let own = std::process::id();
        let names = [format!("ms-fw-{own}-in"), format!("ms-fw-{own}-out")];
        let made = Self { names };
        let [inside, outside] = [made.names[0].as_str(), made.names[1].as_str()];
        ip(&["netns", "add", inside]).await?;
        ip(&["netns", "add", outside]).await?;
        ip(&["link", "add", "v0", "netns", inside, "type", "veth", "peer", "name", "v1", "netns", outside])
            .await?;
        for (namespace, device, address) in [(inside, "v0", "10.77.0.1/16"), (outside, "v1", "10.77.9.9/16")]
        {
            ip(&["-n", namespace, "addr", "add", address, "dev", device]).await?;
            ip(&["-n", namespace, "link", "set", device, "up"]).await?;
        }
        ip(&["-n", outside, "addr", "add", "10.77.7.7/16", "dev", "v1"]).await?;
        Ok(made)
    }

    /// Whether a client at this source address gets any answer from the port (a refusal is one).
    async fn answers(&self, source: &str, port: u16) -> bool {
        let script = format!(
            "import socket,sys\ns=socket.socket();s.settimeout(1);s.bind(('{source}',0))\n\
             try: s.connect(('10.77.0.1',{port}))\nexcept ConnectionRefusedError: sys.exit(0)\n\
             except OSError: sys.exit(3)\nsys.exit(0)"
        );
        let words = ["netns", "exec", &self.names[1], "python3", "-c", &script];
        ip(&words).await.is_ok()
    }
}

impl Drop for Namespaces {
    fn drop(&mut self) {
        for name in self.names.clone() {
            // The runtime is still there when a test's values are dropped.
            std::thread::spawn(move || {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
                let _ = runtime.block_on(ip(&["netns", "del", &name]));
            })
            .join()
            .unwrap();
        }
    }
}

#[tokio::test]
async fn real_table_reads_back_as_planned_and_closes_the_port() {
    let namespaces = match Namespaces::new().await {
        Ok(namespaces) => namespaces,
        Err(why) => {
            println!("skipped: no network namespace: {why}");
            return;
        }
    };
    let (spec, _) = Spec::parse(SPEC, "spec").unwrap();
    let rules = plan::ruleset(&spec, &spec.nodes[0]);
    let nftables = Nftables::through(&["ip", "netns", "exec", &namespaces.names[0]]);
    assert!(namespaces.answers("10.77.7.7", 3306).await, "the port is open before");
    nftables.apply(&rules).await.unwrap();
    let Seen::Known(printed) = nftables.current_table().await else { panic!("no table") };
    assert!(plan::same_rules(&printed, &rules), "planned:\n{rules}\nprinted:\n{printed}");
    assert!(namespaces.answers("10.77.9.9", 3306).await, "a client's network is let in");
    assert!(!namespaces.answers("10.77.7.7", 3306).await, "a stranger is kept out");
    assert!(!namespaces.answers("10.77.9.9", 4567).await, "a client has no business at Galera's ports");
    assert!(namespaces.answers("10.77.7.7", 22).await, "other ports are not Mainstay's");
    let edited = printed.replace("10.77.8.0/23", "10.77.8.0/24");
    assert_ne!(edited, printed);
    assert!(!plan::same_rules(&edited, &rules), "an edit shows");
    nftables.delete().await.unwrap();
    assert!(namespaces.answers("10.77.7.7", 3306).await, "and there is a way back");
}
