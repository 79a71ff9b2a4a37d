//! `extract`: out of plain dumps of every compression, by their index, and out of folders. Needs no server.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use backup::extract::{self, Extracted};
use backup::restore::{RestoreError, Selection, Source};
use backup::seal::Identities;
use dump::{DumpReader, InventoryMaker};

const DUMP: &str = "-- MySQL dump 10.13\n-- Host: localhost    Database: a\n/*!40101 SET NAMES utf8mb4 */;\n\
    CREATE DATABASE `a`;\nUSE `a`;\nDROP TABLE IF EXISTS `t`;\nCREATE TABLE `t` (`id` int);\n\
    INSERT INTO `t` VALUES (1),\n(2);\nINSERT INTO `t` VALUES (3);\nDELIMITER ;;\n\
    /*!50003 CREATE*/ /*!50003 TRIGGER `tr` BEFORE INSERT ON `t` FOR EACH ROW begin set @a=1; end */;;\nDELIMITER ;\n\
    CREATE TABLE `u` (`v` text);\nINSERT INTO `u` VALUES ('-- Table structure for table `t`\nCREATE TABLE `t` (`x` int);\n');\n\
    CREATE DATABASE `b`;\nUSE `b`;\nCREATE TABLE `t` (`other` int);\nINSERT INTO `t` VALUES (9);\n\
    CREATE TABLE `empty` (`id` int);\nCREATE VIEW `v` AS select 1;\n-- Dump completed on x\n";

fn put(path: &Path, bytes: &[u8]) {
    std::fs::File::create(path).unwrap().write_all(bytes).unwrap();
}

fn selection(tables: &[&str], databases: &[&str]) -> Selection {
    Selection {
        databases: databases.iter().map(|name| (*name).to_owned()).collect(),
        tables: tables.iter().map(|name| Selection::name(name)).collect(),
    }
}

fn taken(path: &Path, selection: &Selection) -> Result<(Extracted, String), RestoreError> {
    let mut out = Vec::new();
    let done = match Source::at_path(path, &Identities::default())? {
        Source::Plain(origin) => extract::plain(origin, selection, true, &mut out)?,
        Source::Folder(folder) => extract::folder(&folder, selection, 2, &mut out)?,
        Source::Physical(_) => panic!("it is a dump"),
    };
    Ok((done, String::from_utf8(out).unwrap()))
}

fn at(offset: u64) -> usize {
    usize::try_from(offset).unwrap()
}

/// Tables of a script with their rows' text, and its objects.
fn held(script: &str) -> (Vec<(String, String)>, Vec<String>) {
    let mut reader = DumpReader::new(script.as_bytes());
    let mut maker = InventoryMaker::new();
    while let Some(statement) = reader.next().unwrap() {
        maker.see(&statement).unwrap();
    }
    let inventory = maker.finish(reader.header(), reader.offset());
    let rows = |table: &dump::TableEntry| {
        let texts = table.runs.iter().map(|run| &script[at(run.offset)..at(run.offset + run.length)]);
        (table.name.to_string(), texts.collect::<String>())
    };
    (
        inventory.tables.iter().map(rows).collect(),
        inventory.objects.iter().map(|object| object.name.to_string()).collect(),
    )
}

#[test]
fn a_table_comes_out_of_every_compression_and_by_its_index() {
    let folder = tempfile::tempdir().unwrap();
    let gzip = {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(DUMP.as_bytes()).unwrap();
        encoder.finish().unwrap()
    };
    let xz = {
        let mut encoder = liblzma::write::XzEncoder::new(Vec::new(), 1);
        encoder.write_all(DUMP.as_bytes()).unwrap();
        encoder.finish().unwrap()
    };
    let lz4 = {
        let mut encoder = lz4_flex::frame::FrameEncoder::new(Vec::new());
        encoder.write_all(DUMP.as_bytes()).unwrap();
        encoder.finish().unwrap()
    };
    let zstd = zstd::encode_all(DUMP.as_bytes(), 3).unwrap();
    for (name, bytes) in
        [("plain", DUMP.as_bytes()), ("gz", &gzip), ("zst", &zstd), ("xz", &xz), ("lz4", &lz4)]
    {
        let path = folder.path().join(name);
        put(&path, bytes);
        let wanted = selection(&["a.t"], &[]);
        let (first, script) = taken(&path, &wanted).unwrap();
        assert_eq!(
            (first.tables.as_slice(), first.objects, first.from_index),
            (&["a.t".to_owned()][..], 1, false),
            "{name}"
        );
        let (tables, objects) = held(&script);
        assert_eq!(
            tables,
            [("t".to_owned(), "INSERT INTO `t` VALUES (1),\n(2);\nINSERT INTO `t` VALUES (3);".to_owned())],
            "{name}"
        );
        assert_eq!(objects, ["tr"]);
        assert!(!script.contains("DROP") && !script.contains("`other`"), "{script}");
        // A second time, by the index where the file can be read anywhere.
        let (second, again) = taken(&path, &wanted).unwrap();
        assert_eq!(second.from_index, name == "plain", "{name}");
        assert_eq!(held(&again), held(&script), "{name}");
        // Cut off: named, and told.
        put(&path, &bytes[..bytes.len() - 9]);
        let error = taken(&path, &wanted).unwrap_err();
        assert!(error.to_string().contains(name), "{error}");
    }
}

#[test]
fn several_tables_and_databases_come_in_one_pass() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("d.sql");
    put(&path, DUMP.as_bytes());
    // Without a database, of any.
    let (_, script) = taken(&path, &selection(&["a.t", "b.t", "u"], &[])).unwrap();
    let (tables, _) = held(&script);
    let names: Vec<&str> = tables.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["a.t", "a.u", "b.t"], "{script}");
    let (_, script) = taken(&path, &selection(&[], &["b"])).unwrap();
    let (tables, objects) = held(&script);
    assert_eq!((tables.len(), objects.as_slice()), (2, &["b.v".to_owned()][..]), "{script}");
    assert!(script.contains("CREATE TABLE `empty`") && !script.contains("`u`"), "{script}");
    let error = taken(&path, &selection(&["c.t"], &[])).unwrap_err();
    assert!(error.to_string().contains("c.t"), "{error}");
    // An index is of one file only.
    let index: PathBuf = folder.path().join("d.sql.mainstay-index");
    assert!(index.exists());
    put(&path, DUMP.replace("(3)", "(4)").as_bytes());
    let (done, script) = taken(&path, &selection(&["a.t"], &[])).unwrap();
    assert!(!done.from_index && script.contains("VALUES (4)"), "{script}");
    put(&index, b"{\"format\":1");
    assert!(!taken(&path, &selection(&["a.t"], &[])).unwrap().0.from_index);
}

#[test]
fn a_table_comes_out_of_a_folder() {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in [
        ("metadata", "Started dump at: x\n"),
        ("shop-schema-create.sql", "CREATE DATABASE `shop`;\n"),
        ("shop.t-schema.sql", "/*!40101 SET NAMES binary*/;\nCREATE TABLE `t` (`id` int);\n"),
        ("shop.t.00000.sql", "/*!40101 SET NAMES binary*/;\nINSERT INTO `t` VALUES(1),\n(2);\n"),
        ("shop.t.00001.sql", "/*!40101 SET NAMES binary*/;\nINSERT INTO `t` VALUES(3);\n"),
        ("shop.u-schema.sql", "CREATE TABLE `u` (`id` int);\n"),
        ("shop.u.00000.sql", "INSERT INTO `u` VALUES(4"),
        (
            "shop.t-schema-triggers.sql",
            "CREATE TRIGGER `tr` BEFORE INSERT ON `t` FOR EACH ROW begin\nset @a=1; \nend;\n",
        ),
    ] {
        put(&folder.path().join(name), text.as_bytes());
    }
    let (done, script) = taken(folder.path(), &selection(&["shop.t"], &[])).unwrap();
    assert_eq!((done.tables.as_slice(), done.objects), (&["shop.t".to_owned()][..], 1));
    let (tables, objects) = held(&script);
    assert_eq!(tables[0].1.matches("VALUES").count(), 2, "{script}");
    assert_eq!(objects, ["tr"]);
    assert!(script.contains("set @a=1;\nend"), "{script}");
    // The other table's file is cut off.
    let error = taken(folder.path(), &selection(&["shop.u"], &[])).unwrap_err();
    assert!(error.to_string().contains("shop.u.00000.sql"), "{error}");
}
