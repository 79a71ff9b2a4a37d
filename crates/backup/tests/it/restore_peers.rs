//! What mysqldump, mariadb-dump and mydumper wrote is restored: every type and object, equal in rows and definitions, on
//! the same server and on the other vendor's.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use backup::create::CreateOptions;
use backup::restore::{RestoreOptions, Restored};
use flavor::Vendor;
use server::{Connection, Endpoint, ServerProgram};

use crate::create_zoo;
use crate::harness::{Bench, mysql_root, run, value, vendors};
use crate::restore::{all, load_all, options, shared};

/// How a file is compressed.
#[derive(Clone, Copy, Debug)]
enum Packed {
    No,
    Gzip,
    Zstd,
    Xz,
    Lz4,
}

fn packed(path: PathBuf, text: &[u8], how: Packed) -> PathBuf {
    let mut file = File::create(&path).unwrap();
    match how {
        Packed::No => file.write_all(text).unwrap(),
        Packed::Gzip => {
            let mut out = flate2::write::GzEncoder::new(file, flate2::Compression::fast());
            out.write_all(text).unwrap();
            out.finish().unwrap();
        }
        Packed::Zstd => zstd::stream::copy_encode(text, file, 1).unwrap(),
        Packed::Xz => {
            let mut out = liblzma::write::XzEncoder::new(file, 1);
            out.write_all(text).unwrap();
            out.finish().unwrap();
        }
        Packed::Lz4 => {
            let mut out = lz4_flex::frame::FrameEncoder::new(file);
            out.write_all(text).unwrap();
            out.finish().unwrap();
        }
    }
    path
}

fn root_of(vendor: Vendor) -> Option<PathBuf> {
    if vendor == Vendor::MySql { mysql_root() } else { None }
}

/// The vendor's own dumping program, beside its client.
async fn dumper(vendor: Vendor) -> Option<Vec<String>> {
    let program = ServerProgram::find(root_of(vendor).as_deref(), vendor).await.unwrap();
    let mut command = program.client_command()?;
    let name = match vendor {
        Vendor::MariaDb => "mariadb-dump",
        Vendor::MySql => "mysqldump",
    };
    let path = Path::new(command.last()?).with_file_name(name);
    if !path.exists() {
        println!("skipped for {vendor}: {} is not there", path.display());
        return None;
    }
    *command.last_mut()? = path.to_string_lossy().into_owned();
    Some(command)
}

fn socket(bench: &Bench) -> String {
    match bench.target().endpoint {
        Endpoint::Socket(path) => path.to_string_lossy().into_owned(),
        Endpoint::Tcp { .. } => panic!("a lab's root has a socket"),
    }
}

/// Runs a program to its good end.
#[expect(clippy::disallowed_methods, reason = "the peer is run as its user runs it")]
fn ran(command: &[String], args: &[&str]) -> Output {
    let ran = Command::new(&command[0]).args(&command[1..]).args(args).output().unwrap();
    assert!(ran.status.success(), "{args:?}: {ran:?}");
    ran
}

fn dump(command: &[String], bench: &Bench, args: &[&str]) -> Vec<u8> {
    let socket = format!("--socket={}", socket(bench));
    ran(command, &[&["--no-defaults", &socket, "--user=root"], args].concat()).stdout
}

/// A folder of mydumper's. Its threads may wait for one another for ever, which is seen with one in ten of such dumps on
/// a busy machine: it is begun anew then.
#[expect(clippy::disallowed_methods, reason = "the peer is run as its user runs it")]
fn by_mydumper(args: &[&str], folder: &Path) {
    const TRIES: usize = 5;
    /// As `timeout` says that the time was over.
    const OVER: i32 = 124;
    for _ in 0..TRIES {
        let ran = Command::new("timeout").args(["20", "mydumper"]).args(args).output().unwrap();
        if ran.status.code() != Some(OVER) {
            assert!(ran.status.success(), "{args:?}: {ran:?}");
            return;
        }
        println!("mydumper came to no end: once more");
        std::fs::remove_dir_all(folder).unwrap();
    }
    panic!("mydumper came to no end {TRIES} times: {args:?}");
}

/// Loads a plain dump with the server's own client.
#[expect(clippy::disallowed_methods, reason = "the peer is run as its user runs it")]
fn fed(client: &[String], bench: &Bench, dump: &Path) {
    let mut command = Command::new(&client[0]);
    command.args(&client[1..]).args(["--no-defaults", &format!("--socket={}", socket(bench)), "--user=root"]);
    command.arg("--force").stdin(File::open(dump).unwrap()).output().unwrap();
}

/// A server with the zoo on it. The definer of a trigger is there, so that nothing has to be changed.
pub(crate) async fn zoo(vendor: Vendor, own_of: Option<Vendor>) -> (Bench, Connection) {
    let mut lines = vec!["log-bin = binlog", "binlog-format = ROW", "server-id = 1", "local-infile = ON"];
    if vendor == Vendor::MySql {
        lines.extend(["gtid-mode = ON", "enforce-gtid-consistency = ON"]);
    }
    let bench = Bench::with(vendor, &lines).await;
    let mut connection = bench.connect().await;
    create_zoo::make(&mut connection, own_of).await;
    run(&mut connection, &["CREATE USER nobody@'10.%'"]).await;
    (bench, connection)
}

pub(crate) async fn looked(connection: &mut Connection) -> BTreeMap<String, String> {
    let mut seen = create_zoo::look(connection).await;
    let sequence =
        "SELECT 1 FROM information_schema.tables WHERE table_schema = 'zoo' AND table_name = 'seq'";
    if !all(connection, sequence).await.is_empty() {
        let next = value(connection, "SELECT next_not_cached_value FROM zoo.seq").await;
        seen.insert("value of seq".to_owned(), next);
    }
    seen
}

/// Drops the database, restores it from there, and says what is another than it was. Nothing may have to be changed.
pub(crate) async fn differing(
    bench: &Bench,
    vendor: Vendor,
    path: &Path,
    before: &BTreeMap<String, String>,
) -> (Restored, Vec<String>) {
    let mut connection = bench.connect().await;
    run(&mut connection, &["DROP DATABASE IF EXISTS zoo"]).await;
    let name = path.file_name().unwrap().to_string_lossy();
    // Dumps of one database say nothing of its collation, which its routines and triggers have from it.
    if ["complete", "bare", "replace"].iter().any(|one| name.starts_with(one)) {
        run(&mut connection, &["CREATE DATABASE zoo CHARACTER SET utf8mb4 COLLATE utf8mb4_bin"]).await;
    }
    let strict = RestoreOptions { fixes: [].into(), into: Some("zoo".to_owned()), ..options() };
    let done = load_all(bench, path, &strict).await;
    let after = looked(&mut connection).await;
    let mut differ = Vec::new();
    for what in before.keys().chain(after.keys()).collect::<BTreeSet<_>>() {
        let (was, is) = (before.get(what), after.get(what));
        if was != is {
            println!("{vendor}, {}: {what} was\n{was:?}\nis\n{is:?}", path.display());
            differ.push(what.clone());
        }
    }
    (done, differ)
}

#[tokio::test(flavor = "multi_thread")]
async fn real_dumps_of_the_servers_own_programs_come_back() {
    for vendor in vendors().await {
        let Some(command) = dumper(vendor).await else { continue };
        let (bench, mut connection) = zoo(vendor, Some(vendor)).await;
        // LOAD DATA keeps the sign of a zero, which the client's INSERT loses.
        run(&mut connection, &["DELETE FROM zoo.numbers WHERE id = 9"]).await;
        let mut before = looked(&mut connection).await;
        let everything = ["--routines", "--events", "--triggers"];
        let kinds: [(&str, Packed, &[&str]); 6] = [
            ("plain.sql", Packed::No, &["--single-transaction", "--databases", "zoo"]),
            ("hex.sql.gz", Packed::Gzip, &["--hex-blob", "--skip-extended-insert", "--databases", "zoo"]),
            ("complete.sql.zst", Packed::Zstd, &["--complete-insert", "--skip-quote-names", "zoo"]),
            ("all.sql.xz", Packed::Xz, &["--hex-blob", "--all-databases", "--single-transaction"]),
            ("bare.sql.lz4", Packed::Lz4, &["--skip-comments", "--skip-opt", "--create-options", "zoo"]),
            ("replace.sql", Packed::No, &["--replace", "--order-by-primary", "--skip-add-locks", "zoo"]),
        ];
        let mut files = Vec::new();
        for (name, how, args) in kinds {
            let text = dump(&command, &bench, &[&everything[..], args].concat());
            assert!(text.len() > 100_000, "{name}: {} bytes", text.len());
            files.push(packed(bench.folder.path().join(name), &text, how));
        }
        // Servers print FLOAT with fewer digits than it has: of those, what the server's own client makes is right. It
        // goes on after errors, as it cannot make a view with a check of one that comes later.
        run(&mut connection, &["DROP DATABASE zoo"]).await;
        let program = ServerProgram::find(root_of(vendor).as_deref(), vendor).await.unwrap();
        fed(&program.client_command().unwrap(), &bench, &files[0]);
        let numbers = all(&mut connection, "CHECKSUM TABLE zoo.numbers").await;
        before.insert("rows of numbers".to_owned(), numbers[0][1].clone());
        for path in files {
            let (done, differ) = differing(&bench, vendor, &path, &before).await;
            assert_eq!(differ, Vec::<String>::new(), "{vendor}, {}", path.display());
            assert_eq!(done.databases, ["zoo"], "{}", path.display());
            let own = done.left_out.iter().any(|what| what.ends_with("own database mysql"));
            assert_eq!(own, path.ends_with("all.sql.xz"), "{:?}", done.left_out);
        }
        bench.down().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn real_folders_of_mydumper_come_back() {
    if host::command::find_program("mydumper").is_none() {
        println!("skipped: mydumper is not installed");
        return;
    }
    for vendor in vendors().await {
        let (bench, mut connection) = zoo(vendor, Some(vendor)).await;
        // mydumper 0.10 does not quote the first right, takes sequences for tables like any other, writes under SET NAMES
        // binary, where the text of a UUID is taken for its bytes, and leaves out invisible columns.
        let beyond = ["DROP TABLE `we``ird.-- na me;`", "DROP TABLE IF EXISTS of_seq, nets, gipk, invis"];
        run(&mut connection, &beyond).await;
        // It does not write the sql_mode of routines either.
        run(&mut connection, &["DROP PROCEDURE p2"]).await;
        let socket = socket(&bench);
        let dumped = |name: &str, more: &[&str]| {
            let folder = bench.folder.path().join(name);
            let to = folder.to_string_lossy().into_owned();
            let mut args =
                vec!["-S", &socket, "-u", "root", "-B", "zoo", "-t", "2", "-G", "-E", "-R", "-o", &to];
            args.extend(more);
            by_mydumper(&args, &folder);
            folder
        };
        let before = looked(&mut connection).await;
        let mut folders =
            vec![(dumped("plain", &[]), before.clone()), (dumped("gz", &["-c"]), before.clone())];
        // It divides ranges of keys by what statistics say, and comes to no end where that is nothing, or where a range is 64
        // bits wide: one sound table shows how pieces are read.
        run(&mut connection, &["ANALYZE TABLE gen, times, parent"]).await;
        for (name, more) in [("pieces", &["--rows", "1"][..]), ("both", &["-c", "-r", "1"])] {
            let folder = dumped(name, &[more, &["-T", "gen,times,parent"]].concat());
            let files = std::fs::read_dir(&folder).unwrap().filter_map(Result::ok);
            let pieces =
                files.filter(|file| file.file_name().to_string_lossy().contains(".times.0000")).count();
            if pieces < 3 {
                println!("skipped for {vendor}, {name}: this mydumper cuts no pieces there");
                assert_eq!(vendor, Vendor::MySql);
                continue;
            }
            let only = |(what, _): &(&String, &String)| {
                ["gen", "times", "parent"].iter().any(|table| what.ends_with(&format!(" {table}")))
            };
            let few = before.iter().filter(only).map(|(what, is)| (what.clone(), is.clone())).collect();
            folders.push((folder, few));
        }
        for (folder, before) in &folders {
            let (_, mut differ) = differing(&bench, vendor, folder, before).await;
            // It leaves out packages, the sessions that triggers and events were made in, and columns with an expression as
            // default on MySQL, which it takes for computed ones.
            let mut beyond = vec!["PACKAGE", "TRIGGER", "EVENT"];
            if vendor == Vendor::MySql {
                beyond.push("rows of docs");
            }
            // And digits of FLOAT.
            let mut lost: &[&str] = &["rows of numbers"];
            if !before.contains_key("TABLE numbers") {
                lost = &[];
                beyond.extend(["FUNCTION", "PROCEDURE"]);
            }
            differ.retain(|what| !beyond.iter().any(|kind| what.starts_with(kind)));
            assert_eq!(differ, lost, "{vendor}, {}", folder.display());
        }
        bench.down().await;
    }
}

/// Definitions and sums of all tables and views of CloudStack's databases.
async fn cloud(connection: &mut Connection) -> BTreeMap<String, String> {
    let tables = "SELECT TABLE_SCHEMA, TABLE_NAME, TABLE_TYPE FROM information_schema.TABLES WHERE TABLE_SCHEMA IN ('cloud', 'cloud_usage')";
    let mut seen = BTreeMap::new();
    for row in all(connection, tables).await {
        let (name, is_table) = (format!("`{}`.`{}`", row[0], row[1]), row[2] == "BASE TABLE");
        let made = all(connection, &format!("SHOW CREATE TABLE {name}")).await[0][1].clone();
        let sum = if is_table {
            all(connection, &format!("CHECKSUM TABLE {name} EXTENDED")).await[0][1].clone()
        } else {
            String::new()
        };
        seen.insert(name, format!("{made} {sum}"));
    }
    seen
}

#[tokio::test(flavor = "multi_thread")]
async fn real_a_cloudstack_dump_comes_back_as_the_client_loads_it() {
    let Some(path) = shared("cloudstack-4.23-mariadb10.11.sql.gz") else { return };
    if !vendors().await.contains(&Vendor::MariaDb) {
        return;
    }
    let bench = Bench::with(Vendor::MariaDb, &["local-infile = ON"]).await;
    let mut connection = bench.connect().await;
    run(&mut connection, &["CREATE USER cloud@localhost", "GRANT ALL ON *.* TO cloud@localhost"]).await;
    let strict = RestoreOptions { fixes: [].into(), ..options() };
    load_all(&bench, &path, &strict).await;
    let by_mainstay = cloud(&mut connection).await;
    assert!(by_mainstay.len() > 375, "{}", by_mainstay.len());
    run(&mut connection, &["DROP DATABASE cloud", "DROP DATABASE cloud_usage"]).await;
    let plain = bench.folder.path().join("cloud.sql");
    let mut text = flate2::read::MultiGzDecoder::new(File::open(path).unwrap());
    std::io::copy(&mut text, &mut File::create(&plain).unwrap()).unwrap();
    let program = ServerProgram::find(None, Vendor::MariaDb).await.unwrap();
    fed(&program.client_command().unwrap(), &bench, &plain);
    let by_client = cloud(&mut connection).await;
    for (name, is) in &by_client {
        assert_eq!(by_mainstay.get(name), Some(is), "{name}");
    }
    assert_eq!(by_mainstay.len(), by_client.len());
    drop(connection);
    bench.down().await;
}

/// The sums of all tables' rows, as a backup takes them.
async fn sums(bench: &Bench) -> BTreeMap<String, (u64, String)> {
    let manifest = bench.create(&CreateOptions::new("sums")).await.unwrap();
    manifest.tables.into_iter().map(|table| (table.name, (table.rows, table.digest))).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn real_dumps_come_back_on_the_other_vendors_server() {
    let vendors = vendors().await;
    for (from, to) in [(Vendor::MariaDb, Vendor::MySql), (Vendor::MySql, Vendor::MariaDb)] {
        if !(vendors.contains(&from) && vendors.contains(&to)) {
            continue;
        }
        let Some(command) = dumper(from).await else { continue };
        let (bench, connection) = zoo(from, None).await;
        drop(connection);
        let text = dump(&command, &bench, &["--routines", "--events", "--triggers", "--databases", "zoo"]);
        let before = sums(&bench).await;
        let (other, mut connection) = zoo(to, None).await;
        run(&mut connection, &["DROP DATABASE zoo"]).await;
        let path = packed(other.folder.path().join("zoo.sql"), &text, Packed::No);
        let done = load_all(&other, &path, &options()).await;
        println!("{from} to {to}: {:?}", done.changes);
        let after = sums(&other).await;
        let tables: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
        let differ: Vec<&String> =
            tables.into_iter().filter(|table| before.get(*table) != after.get(*table)).collect();
        // Servers print FLOAT with fewer digits than it has.
        assert_eq!(differ, ["numbers"], "{from} to {to}");
        bench.down().await;
        other.down().await;
    }
}
