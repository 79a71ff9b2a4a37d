//! Keystone as a client: its own tools over the URL that Mainstay prints, with TLS required.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use crate::bench::{Bench, servers, tool, write, write_secret};

/// What a URL, an option file, alembic and Latin-1 each have their own opinion of.
const PASSWORD: &str = r#"p$a${b}%c%(d)s"e'f\g@h:i/j?k#l&m=n o+p;q[r]é密"#;

/// `keystone-manage` of the environment that `scripts/keystone-venv.sh` makes.
fn keystone_manage() -> Option<PathBuf> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/keystone-venv/bin/keystone-manage");
    if path.exists() {
        return Some(path);
    }
    println!("skipped: scripts/keystone-venv.sh has not made {}", path.display());
    None
}

#[test]
fn real_keystone_syncs_and_bootstraps() {
    let Some(manage) = keystone_manage() else { return };
    for server in servers() {
        let bench = Bench::for_cloud(server, "openstack", "");
        let spec =
            std::fs::read_to_string(bench.spec()).unwrap().replace("[tls]\n", "[tls]\nrequire = true\n");
        write(&bench.spec(), &spec);
        write_secret(&bench.own("secrets").join("keystone"), PASSWORD);
        let ran = bench.on_spec(&["apply", "--yes"]);
        assert_eq!(ran.code, Some(0), "{server}: {ran:?}");
        assert!(
            !bench.on_spec(&["openstack"]).out.contains(&secret(&bench)),
            "a masked URL shows its password"
        );

        let config = configure(&bench);
        let run = |args: &[&str]| {
            let program = manage.to_string_lossy().into_owned();
            let config = config.to_string_lossy().into_owned();
            let ran = tool(&program, &[&["--config-file", &config][..], args].concat()).unwrap();
            let end: String = ran.out.lines().rev().take(4).collect();
            assert_eq!(ran.code, Some(0), "{server}: keystone-manage {args:?}: {end}");
        };
        run(&["db_sync"]);
        run(&["fernet_setup", "--keystone-user", "root", "--keystone-group", "root"]);
        run(&["credential_setup", "--keystone-user", "root", "--keystone-group", "root"]);
        run(&["bootstrap", "--bootstrap-password", "only-for-this-test"]);
        let found =
            bench.sql("SELECT CONCAT('projects=', COUNT(*)) FROM keystone.project WHERE name = 'admin'");
        assert!(found.contains("projects=1"), "{server}: {found}");
        assert_eq!(bench.planned(), Vec::<String>::new(), "{server}: a client's own tables are no drift");
        refused_in_the_clear(&bench);
    }
}

fn secret(bench: &Bench) -> String {
    std::fs::read_to_string(bench.own("secrets").join("keystone")).unwrap().trim_end().to_owned()
}

/// A program, ended with the test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[expect(clippy::disallowed_methods, reason = "a client and a proxy, which run beside the binary under test")]
fn start(program: &Path, args: &[&str]) -> Running {
    let mut command = Command::new(program);
    command.args(args).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    Running(command.spawn().unwrap())
}

/// HAProxy with the configuration that Mainstay renders; `None` where it cannot run as that says.
fn proxy(bench: &Bench) -> Option<Running> {
    let program = Path::new("/usr/sbin/haproxy");
    if !program.exists() || !host::users::is_root() {
        println!("skipped: HAProxy is not installed, or this is not root, which it begins as");
        return None;
    }
    let file = bench.folder.path().join("haproxy.cfg");
    let rendered = bench.on_spec(&["render", "haproxy"]);
    assert_eq!(rendered.code, Some(0), "{rendered:?}");
    // Other tests have a proxy too.
    let own = format!("stats socket {}/haproxy.sock", bench.folder.path().display());
    write(&file, &rendered.out.replace("stats socket /run/haproxy/mainstay.sock", &own));
    Some(start(program, &["-db", "-f", &file.to_string_lossy()]))
}

/// What the program that asks for tokens says: the tokens and the failures before and after the kill.
fn tokens(lines: &mut impl Iterator<Item = String>, wanted: &str, count: usize) -> Vec<String> {
    let mut seen = Vec::new();
    let mut matching = 0;
    while matching < count {
        let line = lines.next().unwrap_or_else(|| panic!("it ended: {seen:?}"));
        matching += usize::from(line.starts_with(wanted));
        seen.push(line);
        assert!(seen.len() < 3_000, "no {wanted} among {seen:?}");
    }
    seen
}

#[test]
fn real_keystone_rides_over_a_failover() {
    let Some(manage) = keystone_manage() else { return };
    for server in servers() {
        let bench = Bench::with_agents(server, "openstack");
        let Some(_proxy) = proxy(&bench) else { return };
        let config = configure(&bench);
        let config = config.to_string_lossy().into_owned();
        let mut text = std::fs::read_to_string(&config).unwrap();
        // A token is a write then, not a read alone.
        text.push_str("[security_compliance]\ndisable_user_account_days_inactive = 90\n");
        write(Path::new(&config), &text);
        for args in [
            &["db_sync"][..],
            &["fernet_setup", "--keystone-user", "root", "--keystone-group", "root"],
            &["credential_setup", "--keystone-user", "root", "--keystone-group", "root"],
            &["bootstrap", "--bootstrap-password", "only-for-this-test"],
        ] {
            let ran =
                tool(&manage.to_string_lossy(), &[&["--config-file", &config][..], args].concat()).unwrap();
            assert_eq!(ran.code, Some(0), "{server}: keystone-manage {args:?}: {}", ran.err);
        }
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/keystone_tokens.py");
        let python = manage.with_file_name("python");
        let mut keystone = start(&python, &[&script.to_string_lossy(), &config]);
        let lines = BufReader::new(keystone.0.stdout.take().unwrap()).lines().map_while(Result::ok);
        // Keystone's own log comes on the same way.
        let mut lines = lines.filter(|line| line.starts_with("token") || line.starts_with("failed"));
        tokens(&mut lines, "token", 20);
        let before = bench.on_spec(&["history", "--json"]).json(0);
        let epoch = before["epochs"].as_array().unwrap().last().unwrap()["epoch"].as_u64().unwrap();
        let killed = bench.run(&["lab", "kill", "t", "node1"]);
        assert_eq!(killed.code, Some(0), "{killed:?}");
        let seen = tokens(&mut lines, "token", 40);
        let failed = seen.iter().filter(|line| line.starts_with("failed")).count();
        println!("{server}: 40 tokens after the kill, {failed} tries failed");
        let after = bench.on_spec(&["history", "--json"]).json(0);
        let last = after["epochs"].as_array().unwrap().last().unwrap().clone();
        assert!(last["epoch"].as_u64().unwrap() > epoch && last["primary"] != "node1", "{server}: {last}");
        assert_eq!(last["lost"], "", "{server}: {last}");
    }
}

/// The URL as Mainstay prints it, in Keystone's file; `$` and `%` mean something there and are not in URLs but as
/// percent-encoding, which oslo.config takes as it is.
fn configure(bench: &Bench) -> PathBuf {
    let urls = bench.on_spec(&["openstack", "--secrets", "--json", "keystone"]).json(0);
    let url = urls["urls"][0]["url"].as_str().unwrap();
    assert!(url.starts_with("mysql+pymysql://keystone:") && url.contains("ssl_ca="), "{url}");
    let folder = bench.folder.path().join("keystone");
    let keys = |name: &str| folder.join(name).display().to_string();
    for name in ["fernet", "credential"] {
        std::fs::create_dir_all(folder.join(name)).unwrap();
    }
    let path = folder.join("keystone.conf");
    write(
        &path,
        &format!(
            "[database]\nconnection = {url}\nmax_retries = 0\n[token]\nprovider = fernet\n[fernet_tokens]\nkey_repository = {}\n\
             [credential]\nkey_repository = {}\n",
            keys("fernet"),
            keys("credential")
        ),
    );
    path
}

/// TLS is required, so the same login without it fails: what worked above was encrypted.
fn refused_in_the_clear(bench: &Bench) {
    let port = bench.run(&["lab", "list", "--json"]).json(0)["clusters"][0]["nodes"][0]["port"].to_string();
    let file = bench.own("secrets").join("keystone").to_string_lossy().into_owned();
    let ran = bench.run(&[
        "facts",
        "--host",
        "127.0.0.1",
        "--port",
        &port,
        "--user",
        "keystone",
        "--password-file",
        &file,
        "--no-tls",
    ]);
    assert_eq!(ran.code, Some(1), "{ran:?}");
}
