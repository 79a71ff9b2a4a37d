//! Dumps made to be misread, whole, in pieces, and damaged.

use proptest::prelude::*;

use super::*;
use crate::{InventoryMaker, ObjectKind, Taken};

/// Gives bytes in pieces of a size.
struct Pieces<'b>(&'b [u8], usize);

impl Read for Pieces<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.1.min(self.0.len()).min(buffer.len());
        buffer[..length].copy_from_slice(&self.0[..length]);
        self.0 = &self.0[length..];
        Ok(length)
    }
}

fn at(offset: u64) -> usize {
    usize::try_from(offset).unwrap()
}

fn statements(text: &[u8], piece: usize) -> Result<Vec<String>, DumpError> {
    let mut reader = DumpReader::new(Pieces(text, piece));
    let mut found = Vec::new();
    while let Some(statement) = reader.next()? {
        assert!(
            text[at(statement.offset)..at(statement.end)].starts_with(statement.text),
            "offsets are the text's"
        );
        found.push(String::from_utf8_lossy(statement.text).into_owned());
    }
    Ok(found)
}

const DUMP: &str = "/*M!999999\\- enable the sandbox mode */ \n-- MariaDB dump 10.19  Distrib 10.11.19-MariaDB\n--\n\
-- Host: localhost    Database: ed\n-- Server version\t10.11.19-MariaDB-log\n\n\
/*!40101 SET @OLD_SQL_MODE=@@SQL_MODE, SQL_MODE='NO_AUTO_VALUE_ON_ZERO' */;\nCHANGE MASTER TO MASTER_USE_GTID=slave_pos;\n\
CREATE DATABASE /*!32312 IF NOT EXISTS*/ `ed`;\nUSE `ed`;\n\
DROP TABLE IF EXISTS `we``ird.-- Table`;\nCREATE TABLE `we``ird.-- Table` (\n  `id` int COMMENT ';' -- no; end\n, b int # nor; here\n);\n\
LOCK TABLES `we``ird.-- Table` WRITE;\n\
INSERT INTO `we``ird.-- Table` VALUES\n(1,'a;b\\nINSERT INTO `t1` VALUES (1)',0x00FF27),\n(2,'it\\'s',\"d;\\\"q\"),(3,'''',';--');\n\
INSERT INTO `we``ird.-- Table` VALUES (4,'\n-- Table structure for table `x`\nCREATE TABLE `x` (`a` int);\n-- Dump completed on x\n',NULL);\n\
UNLOCK TABLES;\n/*!50003 SET sql_mode              = 'NO_BACKSLASH_ESCAPES' */ ;\nDELIMITER ;;\n\
/*!50003 CREATE*/ /*!50017 DEFINER=`root`@`localhost`*/ /*!50003 trigger tr1 before insert on `we``ird.-- Table` for each row begin select ';;' , '\\'; set new.v=upper(new.v); end \n*/;;\n\
DELIMITER ;\n/*!50003 SET sql_mode = @OLD_SQL_MODE */ ;\n/* plain; comment */\n\
CREATE TABLE `v1` (`a` int);\nDROP TABLE IF EXISTS `v1`;\n/*!50001 CREATE ALGORITHM=UNDEFINED */\n/*!50013 DEFINER=`root`@`localhost` SQL SECURITY DEFINER */\n/*!50001 VIEW `v1` AS select 1 */;\n\
SET GLOBAL gtid_slave_pos='0-1-15';\n\n-- Dump completed on 2026-11-21  2:25:58\n";

#[test]
fn statements_are_cut_where_the_client_cuts_them() {
    let whole = statements(DUMP.as_bytes(), usize::MAX).unwrap();
    assert_eq!(whole.len(), 17, "{whole:#?}");
    assert!(whole[5].ends_with("nor; here\n)"), "{}", whole[5]);
    assert!(whole[7].ends_with("(3,'''',';--')"), "{}", whole[7]);
    assert!(whole[8].starts_with("INSERT") && whole[8].ends_with("NULL)"), "{}", whole[8]);
    assert!(whole[11].starts_with("/*!50003 CREATE*/") && whole[11].ends_with("end \n*/"), "{}", whole[11]);
    // However the bytes come, also one by one.
    for piece in [1, 2, 3, 7, 64] {
        assert_eq!(statements(DUMP.as_bytes(), piece).unwrap(), whole, "{piece}");
    }
}

#[test]
fn an_inventory_names_everything() {
    let mut reader = DumpReader::new(DUMP.as_bytes());
    let mut maker = InventoryMaker::new();
    let mut rows = 0;
    while let Some(statement) = reader.next().unwrap() {
        rows += usize::from(matches!(maker.see(&statement).unwrap(), Taken::Rows(0)));
    }
    let offset = reader.offset();
    let inventory = maker.finish(reader.header(), offset);
    assert_eq!(rows, 2);
    assert_eq!(inventory.bytes, DUMP.len() as u64);
    let header = &inventory.header;
    assert!(header.has_sandbox_line);
    assert_eq!(header.database.as_deref(), Some("ed"));
    assert_eq!(header.server_version.as_deref(), Some("10.11.19-MariaDB-log"));
    assert_eq!(header.completed.as_deref(), Some("on 2026-11-21  2:25:58"));
    assert_eq!(
        header.positions,
        ["CHANGE MASTER TO MASTER_USE_GTID=slave_pos", "SET GLOBAL gtid_slave_pos='0-1-15'"]
    );
    assert_eq!(inventory.databases[0].name, "ed");
    let names: Vec<String> = inventory.tables.iter().map(|table| table.name.to_string()).collect();
    assert_eq!(names, ["ed.we`ird.-- Table"], "the stand-in of a view is no table");
    let run = &inventory.tables[0].runs[0];
    let text = &DUMP[at(run.offset)..at(run.offset + run.length)];
    assert!(text.starts_with("INSERT") && text.ends_with("NULL);") && run.statements == 2, "{text}");
    let objects: Vec<(ObjectKind, String)> =
        inventory.objects.iter().map(|object| (object.kind, object.name.to_string())).collect();
    assert_eq!(objects, [(ObjectKind::Trigger, "ed.tr1".to_owned()), (ObjectKind::View, "ed.v1".to_owned())]);
    let mode = |number: usize| inventory.contexts[number].context.sql_mode.clone();
    assert_eq!(mode(inventory.objects[0].context).as_deref(), Some("NO_BACKSLASH_ESCAPES"));
    assert_eq!(inventory.objects[0].table.as_deref(), Some("we`ird.-- Table"));
    assert_eq!(mode(inventory.tables[0].context).as_deref(), Some("NO_AUTO_VALUE_ON_ZERO"));
    let json = serde_json::to_string(&inventory).unwrap();
    assert_eq!(serde_json::from_str::<crate::Inventory>(&json).unwrap(), inventory);
}

#[test]
fn a_cut_dump_is_told() {
    for end in 0..DUMP.len() - 40 {
        let cut = statements(&DUMP.as_bytes()[..end], usize::MAX);
        // Before its program's name, it may be a dump that never says that it is complete.
        if end > 90 {
            assert!(cut.is_err(), "cut at {end}: {cut:?}");
        }
    }
    let error = statements(b"SELECT 1;\nINSERT INTO t VALUES ('a;", usize::MAX).unwrap_err();
    assert_eq!(
        error.to_string(),
        "ends inside the statement that begins at byte 10: INSERT INTO t VALUES ('a;"
    );
    let error = statements(b"-- MySQL dump 10.13\nSELECT 1;\n", usize::MAX).unwrap_err();
    assert!(error.to_string().contains("without the line `-- Dump completed`"), "{error}");
}

#[test]
fn a_statement_without_end_takes_no_memory_without_end() {
    let text = vec![b'x'; 4 << 20];
    let mut reader = DumpReader::new(Pieces(&text, 1 << 16)).with_limit(1 << 20);
    assert!(matches!(reader.next(), Err(DumpError::TooLong { offset: 0, limit_bytes: 1_048_576 })));
}

/// Pieces of SQL that the client takes for part of a statement, and that hold what ends one elsewhere.
fn fragment() -> impl Strategy<Value = String> {
    prop_oneof![
        "[a-z0-9(),=+ \n]{0,12}",
        "[a-z;#\n`/*-]{0,8}".prop_map(|text| format!("'{text}'")),
        "[a-z;#\n'/*-]{0,8}".prop_map(|text| format!("`{text}`")),
        "[a-z;#\n'/*-]{0,8}".prop_map(|text| format!("\"{text}\"")),
        "[a-z;'\"`]{0,8}".prop_map(|text| format!("/* {text} */")),
        "[a-z;'\"`]{0,8}".prop_map(|text| format!("-- {text}\n")),
        "[a-z;'\"`]{0,8}".prop_map(|text| format!("#{text}\n")),
        "[a-z0-9 ]{0,8}".prop_map(|text| format!("/*!50003 {text} */")),
        Just("'\\'\\';'".to_owned()),
        Just("'\\\\'".to_owned()),
        Just("a--b".to_owned()),
        Just("a-b/c".to_owned()),
    ]
}

proptest! {
    #[test]
    fn made_statements_come_back(
        made in proptest::collection::vec(proptest::collection::vec(fragment(), 0..6), 0..8), piece in 1_usize..40,
    ) {
        let made: Vec<String> = made.into_iter().map(|parts| format!("SELECT{}x", parts.concat())).collect();
        let text: String = made.iter().map(|statement| format!("{statement};\n-- between; them\n")).collect();
        prop_assert_eq!(statements(text.as_bytes(), piece).unwrap(), made);
    }

    #[test]
    fn damaged_dumps_do_no_harm(
        changes in proptest::collection::vec((0..DUMP.len(), any::<u8>()), 1..6), cut in 0..DUMP.len(),
    ) {
        let mut bytes = DUMP.as_bytes().to_vec();
        for (at, byte) in changes {
            bytes[at] = byte;
        }
        bytes.truncate(cut.max(1));
        let mut reader = DumpReader::new(Pieces(&bytes, 13));
        let mut maker = InventoryMaker::new();
        let mut offset = 0;
        while let Ok(Some(statement)) = reader.next() {
            prop_assert!(statement.offset >= offset && statement.end <= bytes.len() as u64);
            offset = statement.end;
            maker.see(&statement).unwrap();
        }
    }
}
