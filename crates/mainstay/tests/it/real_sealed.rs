//! Encrypted backups and archives as their user meets them: taken where nobody can read them, opened by Mainstay with the
//! identity, and by `age` and `zstdcat` without Mainstay.

use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::bench::{Bench, Ran, mysql_root, servers, tool, write};
use crate::real_binlog::logging;

/// A server whose spec encrypts to one recipient; its identity is in a file that the spec does not name.
struct Sealed {
    bench: Bench,
    place: PathBuf,
    recipient: String,
    identity: String,
    /// Another one, which opens nothing.
    wrong: String,
}

impl Sealed {
    fn new(server: &'static str) -> Self {
        let bench = logging(server, "");
        let folder = bench.folder.path();
        let place = folder.join("place");
        std::fs::create_dir(&place).unwrap();
        let made = |name: &str| {
            let path = folder.join(name).to_string_lossy().into_owned();
            let made = bench.run(&["backup", "keygen", "--out", &path]);
            assert_eq!(made.code, Some(0), "{made:?}");
            (path, made.out.trim().to_owned())
        };
        let ((identity, recipient), (wrong, _)) = (made("identity"), made("wrong"));
        let spec = std::fs::read_to_string(bench.spec()).unwrap();
        // One spec is for all hosts: this one does not have the file.
        let absent = folder.join("absent");
        let more = format!(
            "{spec}\n[backup]\nplace = {place:?}\nrecipients = [{recipient:?}]\nidentity_file = {absent:?}\n"
        );
        write(&bench.spec(), &more);
        Self { bench, place, recipient, identity, wrong }
    }

    /// A verb by the spec.
    fn on_spec(&self, args: &[&str]) -> Ran {
        self.bench.on_spec(args)
    }

    fn on_server(&self, args: &[&str]) -> Ran {
        let socket = self.bench.node_path("socket").to_string_lossy().into_owned();
        self.on_spec(&[args, &["--socket", &socket]].concat())
    }

    fn opening<'a>(&'a self, args: &[&'a str]) -> Vec<&'a str> {
        [args, &["--identity-file", &self.identity]].concat()
    }

    /// Refused for want of an identity: by name, and with what to do.
    fn is_closed(&self, ran: &Ran) {
        assert!(
            ran.code == Some(1) && ran.err.contains(&self.recipient) && ran.err.contains("--identity-file"),
            "{ran:?}"
        );
    }

    fn create(&self) -> (String, PathBuf) {
        let created =
            self.on_server(&["--json", "backup", "create", "--quiet", "--databases", "shop"]).json(0);
        let id = created["id"].as_str().unwrap().to_owned();
        let folder = self.place.join(&id);
        (id, folder)
    }
}

fn good(ran: &Ran) {
    assert_eq!(ran.code, Some(0), "{ran:?}");
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> =
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

fn put(path: &Path, bytes: &[u8]) {
    std::fs::File::create(path).and_then(|mut file| file.write_all(bytes)).unwrap();
}

fn holds(bytes: &[u8], what: &[u8]) -> bool {
    bytes.windows(what.len()).any(|window| window == what)
}

/// What `age` and `zstdcat` make of a file; none where they are not installed.
fn by_hand(identity: &str, file: &Path) -> Option<String> {
    for (program, package) in [("age", "age"), ("zstdcat", "zstd")] {
        if tool(program, &["--version"]).is_none() {
            println!("skipped by hand: {package} is not installed");
            return None;
        }
    }
    let script = format!("set -o pipefail; age -d -i '{identity}' '{}' | zstdcat", file.display());
    let ran = tool("bash", &["-c", &script]).unwrap();
    good(&ran);
    Some(ran.out)
}

const TABLES: &str = "CREATE DATABASE shop; CREATE TABLE shop.a (id INT PRIMARY KEY, v VARCHAR(40)); \
    CREATE TABLE shop.b (id INT PRIMARY KEY, v VARCHAR(40)); \
    INSERT INTO shop.a VALUES (1, 'the plain word'), (2, NULL); INSERT INTO shop.b VALUES (1, 'another word'); \
    CREATE USER clerk@localhost IDENTIFIED BY 'hush'; GRANT SELECT ON shop.* TO clerk@localhost";
const SUMS: &str = "CHECKSUM TABLE shop.a, shop.b";

#[test]
fn real_a_host_without_the_identity_takes_backups_that_age_opens() {
    for server in servers() {
        let sealed = Sealed::new(server);
        let bench = &sealed.bench;
        let key = std::fs::read_to_string(&sealed.identity).unwrap();
        let again = bench.run(&["backup", "keygen", "--out", &sealed.identity]);
        assert!(again.code == Some(1) && again.err.contains("never overwritten"), "{again:?}");
        assert_eq!(std::fs::read_to_string(&sealed.identity).unwrap(), key);
        assert_eq!(std::fs::metadata(&sealed.identity).unwrap().permissions().mode() & 0o7777, 0o600);
        if let Some(public) = tool("age-keygen", &["-y", &sealed.identity]) {
            assert_eq!(public.out.trim(), sealed.recipient);
        }

        bench.sql(TABLES);
        let sums = bench.sql(SUMS);
        let (id, folder) = sealed.create();
        for path in files(&folder) {
            let (bytes, name) = (std::fs::read(&path).unwrap(), path.to_string_lossy().into_owned());
            let is_clear = name.ends_with("/metadata") || name.ends_with("/mainstay.json");
            assert!(is_clear != name.ends_with(".zst.age") && !holds(&bytes, b"word"), "{name}");
        }
        assert!(sealed.on_spec(&["backup", "list"]).out.contains("encrypted"));
        good(&sealed.on_spec(&["backup", "prune", "--keep-daily", "7"]));
        let verified = sealed.on_spec(&["backup", "verify"]);
        assert!(verified.code == Some(0) && verified.out.contains("were not opened"), "{verified:?}");
        let verified = sealed.on_spec(&sealed.opening(&["backup", "verify"]));
        assert!(verified.code == Some(0) && !verified.out.contains("were not opened"), "{verified:?}");
        let wrong = sealed.on_spec(&["backup", "verify", "--identity-file", &sealed.wrong]);
        sealed.is_closed(&wrong);

        bench.sql("DROP DATABASE shop; DROP USER clerk@localhost");
        let wanted = ["shop-schema-create", "shop.a-schema", "shop.b-schema", "shop.a.00000", "shop.b.00000"];
        let texts: Option<Vec<String>> = wanted
            .iter()
            .map(|name| by_hand(&sealed.identity, &folder.join(format!("{name}.sql.zst.age"))))
            .collect();
        if let Some(texts) = texts {
            let mut client = bench.shell("node1");
            let script = format!("{}USE shop;\n{}", texts[0], texts[1..].concat());
            client.stdin.take().unwrap().write_all(script.as_bytes()).unwrap();
            assert!(client.wait().unwrap().success(), "{script}");
            assert_eq!(bench.sql(SUMS), sums, "{server}: by hand");
            bench.sql("DROP DATABASE shop");
        }

        let stored = folder.to_string_lossy().into_owned();
        sealed.is_closed(&sealed.on_server(&["restore", &id]));
        sealed.is_closed(&bench.run(&["restore", &stored, "--identity-file", &sealed.wrong]));
        assert!(!bench.sql("SHOW DATABASES").contains("shop"), "{server}: something was restored");
        let extracted = bench.run(&sealed.opening(&["extract", &stored, "--table", "shop.a"]));
        assert!(extracted.code == Some(0) && extracted.out.contains("the plain word"), "{extracted:?}");
        let done = sealed.on_server(&sealed.opening(&["restore", &id, "--accounts"]));
        assert!(done.code == Some(0) && !done.out.contains("IDENTIFIED"), "{done:?}");
        assert_eq!(bench.sql(SUMS), sums, "{server}");
        assert!(bench.sql("SHOW GRANTS FOR clerk@localhost").contains("SELECT ON `shop`"), "{server}");
        by_the_spec(&sealed, &id);
        damaged(&sealed, &folder);
    }
}

/// What the spec says of recipients and identities, and what options say beside it.
fn by_the_spec(sealed: &Sealed, id: &str) {
    let bench = &sealed.bench;
    let absent = bench.folder.path().join("absent");
    let extract = ["extract", id, "--table", "shop.a"];
    sealed.is_closed(&sealed.on_spec(&extract));
    std::fs::copy(&sealed.identity, &absent).unwrap();
    let extracted = sealed.on_spec(&extract);
    assert!(extracted.code == Some(0) && extracted.out.contains("the plain word"), "{extracted:?}");
    std::fs::set_permissions(&absent, std::fs::Permissions::from_mode(0o640)).unwrap();
    let exposed = sealed.on_spec(&extract);
    assert!(exposed.code == Some(1) && exposed.err.contains("0640"), "{exposed:?}");
    std::fs::remove_file(&absent).unwrap();

    // Without recipients, nothing is written in the clear because the identity is not there.
    let spec = std::fs::read_to_string(bench.spec()).unwrap();
    let recipients = format!("recipients = [{:?}]\n", sealed.recipient);
    write(&bench.spec(), &spec.replace(&recipients, ""));
    let count = files(&sealed.place).len();
    let create = ["--json", "backup", "create", "--quiet", "--databases", "shop"];
    let refused = sealed.on_server(&create);
    assert!(refused.code == Some(1) && refused.err.contains("absent"), "{refused:?}");
    let key = std::fs::read_to_string(&sealed.identity).unwrap();
    let secret = key.lines().last().unwrap();
    let refused = sealed.on_server(&[&create[..], &["--recipient", secret]].concat());
    assert!(refused.code == Some(1) && !refused.err.contains(&secret[16..]), "{refused:?}");
    assert_eq!(files(&sealed.place).len(), count);
    let own = sealed.on_server(&sealed.opening(&create)).json(0);
    assert_eq!(own["manifest"]["recipients"][0], sealed.recipient.as_str());
    std::fs::remove_dir_all(sealed.place.join(own["id"].as_str().unwrap())).unwrap();
    write(&bench.spec(), &spec);
}

/// Files that are not what was written: each is named, and nothing is loaded.
fn damaged(sealed: &Sealed, folder: &Path) {
    let rows = |table: &str| folder.join(format!("shop.{table}.00000.sql.zst.age"));
    let (path, whole) = (rows("a"), std::fs::read(rows("a")).unwrap());
    let mut flipped = whole.clone();
    flipped[whole.len() - 20] ^= 1;
    let other = std::fs::read(rows("b")).unwrap();
    let cases = [("flipped", &flipped[..]), ("cut off", &whole[..whole.len() - 1]), ("swapped", &other)];
    for (what, bytes) in cases {
        put(&path, bytes);
        let found = sealed.on_spec(&["backup", "verify"]);
        assert!(found.code == Some(2) && found.out.contains("shop.a.00000"), "{what}: {found:?}");
        let again = ["restore", &folder.to_string_lossy(), "--rename-database", "shop=again"];
        let refused = sealed.on_server(&sealed.opening(&again));
        assert!(refused.code == Some(1) && refused.err.contains("shop.a.00000"), "{what}: {refused:?}");
        assert!(!sealed.bench.sql("SHOW DATABASES").contains("again"), "{what}");
    }
    // A manifest that was made to fit: sums tell nothing, and only who opens the file sees it.
    put(&path, &flipped);
    let manifest_path = folder.join("mainstay.json");
    let mut manifest: Value = serde_json::from_slice(&std::fs::read(&manifest_path).unwrap()).unwrap();
    let sum = tool("sha256sum", &[&path.to_string_lossy()]).unwrap().out;
    for file in manifest["files"].as_array_mut().unwrap() {
        if file["name"].as_str().unwrap().starts_with("shop.a.00000") {
            file["sha256"] = sum.split_whitespace().next().unwrap().into();
        }
    }
    put(&manifest_path, &serde_json::to_vec(&manifest).unwrap());
    good(&sealed.on_spec(&["backup", "verify"]));
    let found = sealed.on_spec(&sealed.opening(&["backup", "verify"]));
    assert!(found.code == Some(2) && found.out.contains("does not open"), "{found:?}");
    put(&path, &whole);
}

#[test]
fn real_an_encrypted_archive_is_rewound_and_rehearsed_with_its_identity() {
    for server in servers() {
        let sealed = Sealed::new(server);
        let bench = &sealed.bench;
        bench.sql(TABLES);
        sealed.create();
        for word in ["first", "second", "third"] {
            bench.sql(&format!(
                "INSERT INTO shop.a (id, v) SELECT MAX(id) + 1, 'the {word} word' FROM shop.a"
            ));
            good(&sealed.on_server(&["backup", "archive", "--once"]));
            bench.sql("FLUSH BINARY LOGS");
        }
        good(&sealed.on_server(&["backup", "archive", "--once"]));
        let mut pieces = 0;
        let mut folders = vec![sealed.place.join("binlog")];
        while let Some(folder) = folders.pop() {
            for path in files(&folder) {
                if path.is_dir() {
                    folders.push(path);
                } else if path.extension().is_some_and(|end| end == "age") {
                    pieces += 1;
                    assert!(!holds(&std::fs::read(&path).unwrap(), b"word"));
                    by_hand(&sealed.identity, &path);
                } else {
                    assert!(path.extension().is_some_and(|end| end == "json"), "{}", path.display());
                }
            }
        }
        assert!(pieces >= 3, "{pieces}");
        let status = sealed.on_spec(&["backup", "archive", "--status", "--verify"]);
        assert!(status.code == Some(0) && status.out.contains("were not opened"), "{status:?}");
        let status = sealed.on_spec(&sealed.opening(&["backup", "archive", "--status", "--verify"]));
        assert!(status.code == Some(0) && !status.out.contains("were not opened"), "{status:?}");

        let rewind = ["rewind", "--table", "shop.a", "--to", "2199-01-01 00:00:00"];
        // Records are in the clear: how far it leads is told without an identity.
        let late = sealed.on_server(&rewind);
        let end = late.err.split("--to-position ").nth(1).and_then(|rest| rest.split(';').next());
        let end = end.unwrap_or_else(|| panic!("{late:?}")).to_owned();
        let rewind = ["rewind", "--table", "shop.a", "--to-position", &end];
        sealed.is_closed(&sealed.on_server(&rewind));
        // It ends well only when the rewound table is what the live one is.
        good(&sealed.on_server(&sealed.opening(&rewind)));
        assert!(bench.sql("SELECT v FROM shop.a_rewound WHERE id = 5").contains("the third word"));

        let work_dir = bench.folder.path().join("rehearsals").to_string_lossy().into_owned();
        let root = mysql_root().map(|root| root.to_string_lossy().into_owned()).unwrap_or_default();
        let mut rehearse = vec!["backup", "rehearse", "--work-dir", &work_dir, "--memory-mib", "64"];
        if server == "mysql" {
            rehearse.extend(["--server-root", &root]);
        }
        sealed.is_closed(&sealed.on_spec(&rehearse));
        let rehearsed = sealed.on_spec(&sealed.opening(&rehearse));
        assert!(rehearsed.code == Some(0) && rehearsed.out.ends_with("verified\n"), "{rehearsed:?}");
        assert!(rehearsed.out.contains("replayed "), "{rehearsed:?}");
    }
}
