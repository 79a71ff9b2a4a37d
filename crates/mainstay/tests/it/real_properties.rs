//! `db.properties` written by apply, as a management server reads it.

use crate::bench::{Bench, run, servers, write};

const BEFORE: &str = "# management server\r\ncluster.node.IP=127.0.0.1\r\nan odd line\r\ndb.cloud.password=cloud\r\n\
    db.cloud.url.params=prepStmtCacheSize=517&sessionVariables=sql_mode='STRICT_TRANS_TABLES'&serverTimezone=UTC\r\n";

#[test]
fn real_properties_are_written_once_and_read_back() {
    for server in servers() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("db.properties");
        write(&file, BEFORE);
        let more = format!("[cloudstack.properties]\nfile = {file:?}\nmanagement_ip = \"10.0.1.5\"\n");
        let bench = Bench::new(server, &more);
        let ran = bench.on_spec(&["apply", "--yes"]);
        assert_eq!(ran.code, Some(0), "{server}: {ran:?}");
        assert_eq!(bench.planned(), Vec::<String>::new(), "{server}: a right file is not written again");

        let after = std::fs::read_to_string(&file).unwrap();
        assert!(
            after.starts_with(
                "# management server\r\ncluster.node.IP=10.0.1.5\r\nan odd line\r\ndb.cloud.password=ENC("
            ),
            "{after}"
        );
        assert!(after.contains("db.cloud.url.params=prepStmtCacheSize=517&sessionVariables=sql_mode='STRICT_TRANS_TABLES'&serverTimezone=UTC\r\n"));

        let secret = |name: &str| {
            std::fs::read_to_string(bench.own("secrets").join(name)).unwrap().trim_end().to_owned()
        };
        let path = file.to_string_lossy().into_owned();
        let masked = run(&["cloudstack", "show-properties", "--file", &path]);
        assert!(masked.out.contains("******") && !masked.out.contains(&secret("cloud")), "{masked:?}");
        let shown = run(&["cloudstack", "show-properties", "--file", &path, "--secrets"]);
        for (key, name) in [
            ("db.cloud.password", "cloud"),
            ("db.usage.password", "cloud"),
            ("db.cloud.encrypt.secret", "cloudstack-database-key"),
        ] {
            let line = shown
                .out
                .lines()
                .find(|line| line.starts_with(key))
                .unwrap_or_else(|| panic!("{key}: {shown:?}"));
            assert!(line.ends_with(&format!("= {}", secret(name))), "{server}: {key}");
        }
        let key = std::fs::read_to_string(folder.path().join("key")).unwrap();
        assert_eq!(key, secret("cloudstack-management-key"));

        // Somebody points it at another server: that key alone is drift.
        write(&file, &after.replace("db.cloud.host=127.0.0.1", "db.cloud.host=10.9.9.9"));
        assert_eq!(bench.planned(), ["cloudstack/properties"], "{server}");
        let plan = bench.on_spec(&["plan", "--no-measure"]);
        assert!(plan.out.contains("db.cloud.host: 10.9.9.9 -> 127.0.0.1"), "{}", plan.out);
        assert_eq!(bench.on_spec(&["apply", "--yes"]).code, Some(0));
        assert_eq!(std::fs::read_to_string(&file).unwrap(), after, "{server}: nothing else was rewritten");
    }
}
