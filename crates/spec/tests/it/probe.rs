use spec::Spec;
use std::time::Instant;
const G: &str = "[cluster]\nname = \"z\"\nserver = \"mariadb\"\n";
const N: &str = "[[node]]\nname = \"a\"\naddress = \"10.0.0.1\"\n";
fn show(what: &str, text: &str) {
    let t = Instant::now();
    let r = Spec::parse(text, "f");
    let took = t.elapsed().as_millis();
    match r {
        Ok((s, w)) => println!(
            "## {what}: OK nodes={} os={:?} cs={:?} warn={} vars={:?} ({took}ms)",
            s.nodes.len(),
            s.openstack.map(|o| o.services.len()),
            s.cloudstack.map(|c| c.password_file),
            w.len(),
            s.config.variables
        ),
        Err(e) => {
            let t = e.to_string();
            println!(
                "## {what}: ERR n={} len={} ({took}ms)\n{}",
                e.count(),
                t.len(),
                t.chars().take(900).collect::<String>()
            )
        }
    }
}
#[test]
fn probe() {
    show("no nodes", &format!("node = []\n{G}"));
    show("nodes of numbers", &format!("node = [1, 2]\n{G}"));
    let cs = |x: &str| format!("{G}cloud = \"cloudstack\"\n{N}[cloudstack]\n{x}\n");
    show("properties = 3", &cs("networks=[\"10.0.1.0/24\"]\nproperties = 3"));
    show("user ..", &cs("networks=[\"10.0.1.0/24\"]\nuser = \"..\""));
    show("networks text", &cs("networks=\"10.0.1.0/24\""));
    show("networks number", &cs("networks=[3]"));
    let os = |x: &str| format!("{G}cloud = \"openstack\"\n{N}[openstack]\nnetworks=[\"10.0.1.0/24\"]\n{x}\n");
    show("service = [1]", &os("service = [1]"));
    show("dup services", &os("services = [\"nova\", \"nova\"]"));
    let many: String = (0..70).map(|i| format!("[[openstack.service]]\nname = \"s{i}\"\n")).collect();
    show("70 services", &os(&many));
    show("dup vars", &format!("{G}{N}[config.variables]\nmax-connections = 1\nmax_connections = 2\n"));
    show(
        "validate_password",
        &format!(
            "{G}{N}[config.variables]\ndefault_password_lifetime = 1\n\"validate_password.length\" = 2\n"
        ),
    );
    show("sst auth", &format!("{G}{N}[config.variables]\nwsrep_sst_auth = \"u:p\"\n"));
    show("root dir", &format!("{G}{N}data_dir = \"/\"\n"));
    show(
        "same host same dir",
        &format!("{G}topology = \"replication\"\n{N}{}port=3307\n", N.replace("\"a\"", "\"b\"")),
    );
    show(
        "collide",
        &format!(
            "{G}topology = \"replication\"\n{N}port = 3307\n[[node]]\nname=\"b\"\naddress=\"10.0.0.2\"\n"
        ),
    );
    show("syntax secret", "[cloudstack]\npassword = \"hunter2\n");
    show("inline secret", "cloudstack = { password = \"hunter2\", usr = 3 }\n");
    show("far column", &format!("x = \"{}\"; y", "a".repeat(3000)));
    show("garbage", "\u{0}\u{1}\u{7f}ELF\u{2}\n\u{0}");
    show("two syntax", "a = \nb = \nc = 1\n[x\n");
    show("deep", &format!("a = {}", "[".repeat(100_000)));
    show(
        "many",
        &(0..120_000)
            .map(|i| format!("k{i}=1\n"))
            .collect::<String>()
            .chars()
            .take(1 << 20)
            .collect::<String>(),
    );
    show("unspecified", &format!("{G}{}", N.replace("10.0.0.1", "0.0.0.0")));
    show("v4 mapped", &format!("{G}{}", N.replace("10.0.0.1", "::ffff:10.0.0.1")));
}
