//! `mainstay restore` and `extract` of an `s3://` address: reached as options or the spec say.

use crate::bench::{Bench, servers, write_secret};
use crate::store::{BUCKET, SECRET, Store};

#[test]
fn real_a_backup_is_restored_from_its_address() {
    for server in servers() {
        let Some(store) = Store::start() else { return };
        let secrets = tempfile::tempdir().unwrap();
        let credentials = secrets.path().join("s3");
        write_secret(
            &credentials,
            &format!("aws_access_key_id = AKIATEST\naws_secret_access_key = {SECRET}\n"),
        );
        let credentials = credentials.to_string_lossy().into_owned();
        let (endpoint, place) = (format!("http://127.0.0.1:{}", store.port), format!("s3://{BUCKET}/cloud"));
        let spec = format!(
            "\n[backup]\nplace = {place:?}\ns3_endpoint = {endpoint:?}\ns3_path_style = true\n\
             s3_region = \"eu-test-1\"\ncredentials_file = {credentials:?}\n"
        );
        let bench = Bench::new(server, &spec);
        let socket = bench.node_path("socket").to_string_lossy().into_owned();
        bench.sql("CREATE DATABASE shop; CREATE TABLE shop.t (id INT PRIMARY KEY); INSERT INTO shop.t VALUES (1), (2)");
        let made = bench
            .on_spec(&["--json", "backup", "create", "--socket", &socket, "--without-coordinates"])
            .json(0);
        let id = made["id"].as_str().unwrap_or_else(|| panic!("{made}")).to_owned();
        let address = format!("{place}/{id}");

        let to = |name: &str| format!("shop={name}");
        let restore = ["restore", &address, "--socket", &socket, "--databases", "shop", "--rename-database"];
        let by_spec = bench.on_spec(&[&restore[..], &[&to("one")]].concat());
        assert_eq!(by_spec.code, Some(0), "{server}: {by_spec:?}");
        let said =
            ["--s3-endpoint", &endpoint, "--s3-region", "eu-test-1", "--credentials-file", &credentials];
        let by_options = bench.run(&[&restore[..], &[&to("two")], &said].concat());
        assert_eq!(by_options.code, Some(0), "{server}: {by_options:?}");
        let counts =
            bench.sql("SELECT CONCAT('n', (SELECT COUNT(*) FROM one.t), (SELECT SUM(id) FROM two.t))");
        assert!(counts.contains("n23"), "{server}: {counts}");
        let extracted = bench.on_spec(&["extract", &address, "--table", "shop.t"]);
        assert!(
            extracted.code == Some(0) && extracted.out.contains("INSERT INTO `t`"),
            "{server}: {extracted:?}"
        );
        for ran in [by_spec, by_options, extracted] {
            assert!(!ran.err.contains(SECRET) && !ran.out.contains(SECRET), "{server}: {ran:?}");
        }

        // Nobody is believed because of a file that names nobody.
        let named = ["--s3-ca-file", &credentials];
        let refused = bench.run(&[&restore[..], &[&to("three")], &said, &named].concat());
        assert_eq!(refused.code, Some(1), "{server}: {refused:?}");
        assert!(refused.err.contains("s3 has no certificate in PEM"), "{server}: {refused:?}");

        // Credentials that are not there are missed before anything else.
        let none = bench.run(&[&restore[..], &[&to("three"), "--s3-endpoint", &endpoint]].concat());
        assert!(none.code == Some(1) && none.err.contains("credentials"), "{server}: {none:?}");
    }
}
