//! Keystone as a client: its own tools over the URL that Mainstay prints, with TLS required.

use std::path::{Path, PathBuf};

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
