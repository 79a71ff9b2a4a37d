//! Physical backups put back and rehearsed from the command line: a server that is lost comes back, and nothing half made
//! or hostile becomes a data directory.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write as _;
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::bench::{Bench, Ran, mysql_root, run, servers, tool, write};
use crate::real_binlog::logging;

const LIMIT: Duration = Duration::from_secs(60);
const ROWS: &str = "SELECT * FROM shop.t ORDER BY id; SELECT * FROM shop.late";
const WORK: &str = "INSERT INTO shop.t (n, v) VALUES (7, 'later'); UPDATE shop.t SET n = n + 1 WHERE id < 100; \
    DELETE FROM shop.t WHERE id = 3; CREATE TABLE shop.late (id INT PRIMARY KEY); INSERT INTO shop.late VALUES (1), (2)";

/// A server with a physical backup in a place of its own.
struct Backed {
    bench: Bench,
    id: String,
}

impl Backed {
    fn new(server: &'static str, more: &[&str]) -> Self {
        let bench = logging(server, "");
        let mut sql = "CREATE DATABASE shop; CREATE TABLE shop.t (id INT PRIMARY KEY AUTO_INCREMENT, n INT NOT NULL, \
            v VARCHAR(200), KEY (v)); INSERT INTO shop.t (n, v) VALUES (1, REPEAT('a', 150)), (2, 'b'), (3, NULL), (4, 'ü');"
            .to_owned();
        for _ in 0..10 {
            sql.push_str("INSERT INTO shop.t (n, v) SELECT n + 1, v FROM shop.t;");
        }
        sql.push_str(
            "CREATE USER clerk@localhost IDENTIFIED BY 'hush'; GRANT SELECT ON shop.* TO clerk@localhost",
        );
        bench.sql(&sql);
        let mut backed = Self { bench, id: String::new() };
        fs::create_dir(backed.path("place")).unwrap();
        let (place, scratch) = (backed.text("place"), backed.text(""));
        let socket = backed.socket();
        let create = ["--json", "backup", "create", "--physical", "--quiet", "--place", &place];
        let on = ["--scratch", &scratch, "--socket", &socket];
        let made = backed.bench.run(&[&create[..], &on, more].concat()).json(0);
        backed.id = made["id"].as_str().unwrap().to_owned();
        backed
    }

    fn path(&self, name: &str) -> PathBuf {
        self.bench.folder.path().join(name)
    }

    fn text(&self, name: &str) -> String {
        self.path(name).to_string_lossy().into_owned()
    }

    fn socket(&self) -> String {
        self.bench.node_path("socket").to_string_lossy().into_owned()
    }

    fn source(&self) -> String {
        self.text(&format!("place/{}", self.id))
    }

    /// The one file with the server's files.
    fn stored(&self) -> PathBuf {
        let files = fs::read_dir(self.path("place").join(&self.id)).unwrap().map(|it| it.unwrap().path());
        files.into_iter().find(|path| path.to_string_lossy().contains("mainstay-physical")).unwrap()
    }

    /// Options without which MySQL is not found.
    fn root(&self) -> Vec<String> {
        match mysql_root() {
            Some(root) if self.bench.server == "mysql" => {
                vec!["--server-root".to_owned(), root.to_string_lossy().into_owned()]
            }
            Some(_) | None => Vec::new(),
        }
    }

    fn args<'a>(&self, root: &'a [String], datadir: &'a str, source: &'a str) -> Vec<&'a str> {
        let mut args = vec!["restore", source, "--datadir", datadir];
        args.extend(root.iter().map(String::as_str));
        args
    }

    fn restore(&self, datadir: &str, more: &[&str]) -> Ran {
        let (root, source) = (self.root(), self.source());
        self.bench.run(&[&self.args(&root, datadir, &source)[..], more].concat())
    }

    fn rehearse(&self) -> Ran {
        let (place, work) = (self.text("place"), self.text("rehearsals"));
        let root = self.root();
        let mut args = vec![
            "--json",
            "backup",
            "rehearse",
            "--place",
            &place,
            "--work-dir",
            &work,
            "--memory-mib",
            "64",
        ];
        args.extend(root.iter().map(String::as_str));
        self.bench.run(&args)
    }

    fn archive(&self, more: &[&str]) {
        let (place, socket) = (self.text("place"), self.socket());
        let args = ["backup", "archive", "--once", "--place", &place, "--socket", &socket];
        let ran = self.bench.run(&[&args[..], more].concat());
        assert_eq!(ran.code, Some(0), "{ran:?}");
    }

    fn manifest(&self) -> PathBuf {
        self.path("place").join(&self.id).join("mainstay.json")
    }

    /// Makes the manifest say what the stored file is now.
    fn sign(&self) {
        let sum = tool("sha256sum", &[&self.stored().to_string_lossy()]).unwrap().out;
        let mut json: Value = serde_json::from_str(&fs::read_to_string(self.manifest()).unwrap()).unwrap();
        for file in json["files"].as_array_mut().unwrap() {
            if file["role"] == "physical" {
                file["bytes"] = Value::from(self.stored().metadata().unwrap().len());
                file["sha256"] = Value::from(sum.split(' ').next().unwrap());
            }
        }
        write(&self.manifest(), &json.to_string());
    }

    fn is_proven(&self) -> bool {
        fs::read_dir(self.path("place/marks")).is_ok_and(|mut marks| {
            marks.any(|it| it.unwrap().file_name().to_string_lossy().contains("restored"))
        })
    }
}

/// Files with their lengths, below a folder.
fn tree(folder: &Path) -> BTreeMap<String, u64> {
    let mut found = BTreeMap::new();
    let mut waiting = vec![folder.to_owned()];
    while let Some(at) = waiting.pop() {
        for entry in fs::read_dir(&at).unwrap() {
            let (path, seen) = entry.map(|it| (it.path(), it.metadata().unwrap())).unwrap();
            if seen.is_dir() {
                waiting.push(path);
            } else {
                let name = path.strip_prefix(folder).unwrap().to_string_lossy().into_owned();
                found.insert(name, seen.len());
            }
        }
    }
    found
}

fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(folder)
        .unwrap()
        .map(|it| it.unwrap().file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}

#[test]
fn real_a_lost_server_comes_back_from_its_files_and_the_archive() {
    lost(&[]);
}

#[test]
fn real_a_lost_server_comes_back_from_what_is_encrypted() {
    let folder = tempfile::tempdir().unwrap();
    let identity = folder.path().join("identity").to_string_lossy().into_owned();
    let made = run(&["backup", "keygen", "--out", &identity]);
    assert_eq!(made.code, Some(0), "{made:?}");
    lost(&["--identity-file", &identity]);
}

/// A server is lost and comes back, each command with the same options more.
fn lost(sealed: &[&str]) {
    for server in servers() {
        let it = Backed::new(server, sealed);
        let bench = &it.bench;
        let rows_then = bench.sql("SELECT * FROM shop.t ORDER BY id");
        let uuid = (server == "mysql").then(|| bench.sql("SELECT @@server_uuid"));
        bench.sql(WORK);
        it.archive(sealed);
        let model = bench.sql(ROWS);
        let data = bench.node_path("datadir");
        let datadir = data.to_string_lossy().into_owned();

        // While it is there nothing is done to it.
        let ran = it.restore(&datadir, sealed);
        assert!(ran.code == Some(1) && ran.err.contains("a server is running in"), "{ran:?}");
        assert_eq!(bench.run(&["lab", "stop", "t"]).code, Some(0));
        let ran = it.restore(&datadir, sealed);
        assert!(ran.code == Some(1) && ran.err.contains("is not empty: it has"), "{ran:?}");
        fs::remove_dir_all(&data).unwrap();

        let dry = it.restore(&datadir, &[&["--dry-run"], sealed].concat());
        assert!(dry.code == Some(2) && !data.exists(), "{dry:?}");
        let done = it.restore(&datadir, &[&["--json"], sealed].concat()).json(0);
        assert_eq!(done["resumed"], false, "{done}");
        assert!(done["coordinates"]["gtid"].as_str().unwrap().len() > 4, "{done}");
        assert!(!data.join("auto.cnf").exists(), "two servers would have one server_uuid");
        let owner = done["owner"].as_str().unwrap();
        let account = fs::read_to_string("/etc/passwd").unwrap();
        let line = account.lines().find(|line| line.starts_with(&format!("{owner}:"))).unwrap();
        let uid: u32 = line.split(':').nth(2).unwrap().parse().unwrap();
        for file in tree(&data).into_keys().map(|name| data.join(name)).chain([data.clone()]) {
            assert_eq!(file.metadata().unwrap().uid(), uid, "{}", file.display());
        }
        assert_eq!(names(data.parent().unwrap()).iter().filter(|name| name.contains("partial")).count(), 0);

        assert_eq!(bench.run(&["lab", "start", "t"]).code, Some(0));
        assert_eq!(bench.sql("SELECT * FROM shop.t ORDER BY id"), rows_then, "{server}");
        assert!(bench.sql("SHOW GRANTS FOR clerk@localhost").contains("SELECT ON `shop`"), "{server}");
        if let Some(uuid) = uuid {
            assert_ne!(bench.sql("SELECT @@server_uuid"), uuid);
        }

        let (socket, place) = (it.socket(), it.text("place"));
        let rewind = ["rewind", "--into", &socket, "--to", "end", "--place", &place, "--backup", &it.id];
        let rewind = [&rewind[..], sealed].concat();
        let unsaid = bench.run(&rewind);
        assert!(unsaid.code == Some(1) && unsaid.err.contains("with --restored"), "{unsaid:?}");
        let onto = [&rewind[..], &["--restored"]].concat();
        let done = bench.run(&[&onto[..], &["--json"]].concat()).json(0);
        assert_eq!(done["replayed"]["transactions"], 5, "{done}");
        assert_eq!(bench.sql(ROWS), model, "{server}");
        // A second time nothing is doubled, and a server that went its own way is refused.
        let again = bench.run(&onto);
        assert!(again.code == Some(0) || again.err.contains("beyond the backup already"), "{again:?}");
        assert_eq!(bench.sql(ROWS), model, "{server}");
        bench.sql("INSERT INTO shop.late VALUES (99)");
        let own = bench.run(&onto);
        assert!(own.code == Some(1) && own.err.contains("something of its own"), "{own:?}");
        assert!(!bench.sql("SHOW DATABASES").contains("mainstay"), "{server}");
    }
}

#[test]
fn real_a_physical_backup_is_rehearsed_and_a_damaged_one_loses_its_mark() {
    for server in servers() {
        let it = Backed::new(server, &[]);
        it.bench.sql(WORK);
        it.archive(&[]);
        if server == "mysql" {
            // A clone is of a later moment than its coordinates where the server was busy: nothing is to be done twice.
            let text = fs::read_to_string(it.manifest()).unwrap();
            let mut json: Value = serde_json::from_str(&text).unwrap();
            let gtid = json["coordinates"]["gtid"].as_str().unwrap().to_owned();
            let (uuid, _) = gtid.rsplit_once(':').unwrap();
            json["coordinates"]["gtid"] = Value::from(format!("{uuid}:1-4"));
            write(&it.manifest(), &json.to_string());
        }
        let done = it.rehearse().json(0);
        println!("{server}: {done}");
        assert_eq!(
            (&done["kind"], &done["verified"]),
            (&Value::from("physical"), &Value::from(true)),
            "{done}"
        );
        assert_eq!(done["replayed"]["transactions"], 5, "{done}");
        assert_eq!(done["tables"], 1, "{done}");
        assert!(done["files_bytes"].as_u64().unwrap() > 1 << 20, "{done}");
        assert!(it.is_proven());
        assert_eq!(names(&it.path("rehearsals/clusters")), Vec::<String>::new());

        let stored = it.stored();
        let mut bytes = fs::read(&stored).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        put(&stored, &bytes);
        let ran = it.rehearse();
        assert!(ran.code == Some(1) && ran.err.contains("mainstay-physical.zst"), "{ran:?}");
        assert!(!it.is_proven(), "{server}: it is still marked");
        assert!(!it.path("rehearsals/rehearsal-data").exists());
    }
}

#[test]
fn real_what_is_damaged_or_does_not_fit_leaves_nothing() {
    for server in servers() {
        let it = Backed::new(server, &["--compress", "none"]);
        let folder = it.path("servers");
        fs::create_dir(&folder).unwrap();
        let datadir = folder.join("data").to_string_lossy().into_owned();
        let refused = |words: &[&str], more: &[&str]| {
            let ran = it.restore(&datadir, more);
            let is_told = words.iter().any(|word| ran.err.contains(word));
            assert!(ran.code == Some(1) && is_told, "{server}, {words:?}: {ran:?}");
            assert_eq!(names(&folder), Vec::<String>::new(), "{server}, {words:?}");
        };
        let (stored, manifest) = (it.stored(), it.manifest());
        let sound = fs::read(&stored).unwrap();
        let text = fs::read_to_string(&manifest).unwrap();

        put(&stored, &sound[..sound.len() / 2]);
        refused(&["bytes with SHA-256"], &[]);
        let mut flipped = sound.clone();
        let at = flipped.iter().position(|byte| *byte == b'a').unwrap() + sound.len() / 3;
        flipped[at] ^= 1;
        put(&stored, &flipped);
        refused(&["bytes with SHA-256"], &[]);
        fs::remove_file(&stored).unwrap();
        refused(&["in the manifest and not in the folder"], &[]);
        put(&stored, &sound);

        let line = text.lines().find(|line| line.contains("\"version\":")).unwrap().to_owned();
        let version = line.split('"').nth(3).unwrap();
        let series = version.splitn(3, '.').take(2).collect::<Vec<_>>().join(".");
        let other = if server == "mysql" { "mariadb" } else { "mysql" };
        let vendor = format!("\"vendor\": \"{server}\"");
        for (changed, words) in [
            (text.replace(version, "4.1.22"), "under the same series"),
            (text.replace(version, &format!("{series}.999")), "which is older"),
            (text.replace(&vendor, &format!("\"vendor\": \"{other}\"")), "this host has no"),
            (
                text.replace("\"unpacked_bytes\": ", "\"unpacked_bytes\": 9000000000"),
                "MiB free, and the backup needs",
            ),
        ] {
            assert_ne!(changed, text, "{words}");
            write(&manifest, &changed);
            // The other vendor's server may be in no tree, or in the one that is named: either does not fit.
            refused(&[words, "under the same series"], &[]);
        }
        write(&manifest, &text);
        refused(&["no user `nobody-here`"], &["--owner", "nobody-here"]);

        // What is there stays as it is, a file in its way too.
        fs::create_dir(&datadir).unwrap();
        write(&folder.join("data/precious"), "mine");
        let ran = it.restore(&datadir, &[]);
        assert!(ran.code == Some(1) && ran.err.contains("it has precious"), "{ran:?}");
        assert_eq!(fs::read_to_string(folder.join("data/precious")).unwrap(), "mine");
        assert_eq!(names(&folder), ["data"]);
        fs::remove_file(folder.join("data/precious")).unwrap();

        // A dump makes no data directory, and files are not loaded.
        let (source, socket) = (it.source(), it.socket());
        let loaded = it.bench.run(&["restore", &source, "--socket", &socket]);
        assert!(loaded.code == Some(1) && loaded.err.contains("--datadir DIR"), "{loaded:?}");
        let dump = it.text("dump.sql");
        write(Path::new(&dump), "CREATE DATABASE d;\n-- Dump completed\n");
        let ran = it.bench.run(&["restore", &dump, "--datadir", &datadir]);
        assert!(ran.code == Some(1) && ran.err.contains("leave --datadir away"), "{ran:?}");
        assert_eq!(names(&folder.join("data")), Vec::<String>::new());
        // Into an empty folder it goes.
        assert_eq!(it.restore(&datadir, &[]).code, Some(0));
        assert_eq!(names(&folder), ["data"]);
    }
}

/// A chunk of a file as `mbstream` takes it.
fn chunks(name: &str, text: &[u8]) -> Vec<u8> {
    let head = |kind: u8| {
        let mut head = b"XBSTCK01\0".to_vec();
        head.push(kind);
        head.extend(u32::try_from(name.len()).unwrap().to_le_bytes());
        head.extend(name.as_bytes());
        head
    };
    let mut chunk = head(b'P');
    chunk.extend((text.len() as u64).to_le_bytes());
    chunk.extend(0_u64.to_le_bytes());
    // CRC-32, bit by bit.
    let sum = text.iter().fold(!0_u32, |sum, byte| {
        (0..8)
            .fold(sum ^ u32::from(*byte), |sum, _| (sum >> 1) ^ (0xedb8_8320 & (0_u32.wrapping_sub(sum & 1))))
    });
    chunk.extend((!sum).to_le_bytes());
    chunk.extend(text);
    chunk.extend(head(b'E'));
    chunk
}

#[test]
fn real_a_hostile_stream_stays_in_its_folder() {
    for server in servers() {
        let it = Backed::new(server, &["--compress", "none"]);
        let folder = it.path("servers");
        fs::create_dir(&folder).unwrap();
        let datadir = folder.join("data").to_string_lossy().into_owned();
        let outside = it.path("outside");
        write(&it.path("in/evil"), "evil");
        let (from, tar) = (it.text("in"), it.text("evil.tar"));
        let (up, absolute) = ("../../evil".to_owned(), outside.to_string_lossy().into_owned());
        let made = |args: &[&str]| {
            let ran = tool("tar", &[&["-C", &from, "-cPf", &tar], args].concat()).unwrap();
            assert_eq!(ran.code, Some(0), "{ran:?}");
            fs::read(&tar).unwrap()
        };
        let streams: Vec<(Vec<u8>, &str)> = if server == "mysql" {
            std::os::unix::fs::symlink(it.path(""), it.path("in/link")).unwrap();
            vec![
                (made(&["--transform", &format!("s|.*|{up}|"), "evil"]), "Removing leading"),
                (made(&["--transform", &format!("s|.*|{absolute}|"), "evil"]), "Removing leading"),
                (made(&["link"]), "has link, which is no plain file"),
            ]
        } else {
            vec![
                (chunks(&up, b"evil"), "invalid filename"),
                (chunks(&absolute, b"evil"), "invalid filename"),
                (chunks("t/../../../evil", b"evil"), "invalid filename"),
                (chunks("t.isl", b"/x"), "DATA DIRECTORY"),
            ]
        };
        let before = (names(&it.path("")), names(it.path("").parent().unwrap()).contains(&"evil".to_owned()));
        for (number, (stream, words)) in streams.into_iter().enumerate() {
            put(&it.stored(), &stream);
            it.sign();
            let ran = it.restore(&datadir, &[]);
            assert_eq!(ran.code, Some(1), "{server} {number}: {ran:?}");
            assert!(ran.err.contains(words), "{server} {number}: {ran:?}");
            assert_eq!(names(&folder), Vec::<String>::new(), "{server} {number}");
            let after =
                (names(&it.path("")), names(it.path("").parent().unwrap()).contains(&"evil".to_owned()));
            assert_eq!(after, before, "{server} {number}");
        }
    }
}

#[test]
fn real_an_identity_is_not_taken_over() {
    if !servers().contains(&"mysql") {
        return;
    }
    let it = Backed::new("mysql", &["--compress", "none"]);
    write(&it.path("in/auto.cnf"), "[auto]\nserver-uuid=07070707-0707-0707-0707-070707070707\n");
    write(&it.path("in/other"), "stays");
    let stored = it.stored();
    let made = tool("tar", &["-C", &it.text("in"), "-cf", &stored.to_string_lossy(), "."]).unwrap();
    assert_eq!(made.code, Some(0), "{made:?}");
    it.sign();
    let ran = it.restore(&it.text("data"), &[]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert_eq!(names(&it.path("data")), ["other"]);
}

#[test]
fn real_a_restore_killed_at_any_moment_leaves_all_or_nothing() {
    for server in servers() {
        let it = Backed::new(server, &[]);
        let folder = it.path("servers");
        fs::create_dir(&folder).unwrap();
        let whole = folder.join("whole");
        let begun = Instant::now();
        assert_eq!(it.restore(&whole.to_string_lossy(), &[]).code, Some(0));
        let (took, model) = (begun.elapsed(), tree(&whole));
        let data = folder.join("data");
        let (root, source, datadir) = (it.root(), it.source(), data.to_string_lossy().into_owned());
        let (mut kills, mut with_leftovers) = (0, 0);
        // As long as it takes is known now: each kill meets another part of it, on any machine.
        for part in 1..16 {
            let mut child = it.bench.start_plain(&it.args(&root, &datadir, &source));
            std::thread::sleep(took * part / 16);
            child.kill().unwrap();
            kills += u32::from(child.wait().unwrap().signal() == Some(9));
            with_leftovers += usize::from(names(&folder).iter().any(|name| name.contains("partial")));
            if data.exists() {
                assert_eq!(tree(&data).len(), model.len(), "{server}: half a data directory");
                fs::remove_dir_all(&data).unwrap();
            }
        }
        assert!(kills > 4 && with_leftovers > 1, "{server}: {kills} kills, {with_leftovers} with leftovers");
        // Another's folder of a like name is none of ours.
        fs::create_dir(folder.join("data.mainstay-partial-mine")).unwrap();
        let begun = Instant::now();
        while !data.exists() {
            assert!(begun.elapsed() < LIMIT, "{server}: it never got whole");
            let ran = it.restore(&datadir, &[]);
            assert_eq!(ran.code, Some(0), "{ran:?}");
        }
        assert_eq!(names(&folder), ["data", "data.mainstay-partial-mine", "whole"], "{server}");
        assert_eq!(tree(&data).keys().collect::<Vec<_>>(), model.keys().collect::<Vec<_>>(), "{server}");
        println!("{server}: {took:?}, killed {kills} times, {with_leftovers} with something left");
    }
}

#[test]
fn real_a_sealed_backup_goes_back_with_its_identity_alone() {
    for server in servers() {
        let folder = tempfile::tempdir().unwrap();
        let made = |name: &str| {
            let path = folder.path().join(name).to_string_lossy().into_owned();
            assert_eq!(run(&["backup", "keygen", "--out", &path]).code, Some(0));
            path
        };
        let (identity, wrong) = (made("identity"), made("wrong"));
        let it = Backed::new(server, &["--identity-file", &identity]);
        let datadir = it.text("data");
        let ran = it.restore(&datadir, &[]);
        assert!(ran.code == Some(1) && ran.err.contains("--identity-file"), "{ran:?}");
        let ran = it.restore(&datadir, &["--identity-file", &wrong]);
        assert_eq!(ran.code, Some(1), "{ran:?}");
        assert!(!it.path("data").exists());
        let ran = it.restore(&datadir, &["--identity-file", &identity]);
        assert_eq!(ran.code, Some(0), "{ran:?}");
        assert!(it.path("data/shop/t.ibd").exists());
    }
}

fn put(path: &Path, bytes: &[u8]) {
    fs::File::create(path).and_then(|mut file| file.write_all(bytes)).unwrap();
}
