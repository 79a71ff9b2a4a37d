//! Dumps of any bytes: cut into statements, tables taken apart, rows read; and the names and manifests of backups.

#![no_main]

use dump::layout::{FileName, from_file, to_file};
use dump::manifest::Manifest;
use dump::tabledef::TableDef;
use dump::values::{InsertHead, Values};
use dump::DumpReader;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let mut reader = DumpReader::new(bytes).with_limit(1 << 16);
    while let Ok(Some(statement)) = reader.next() {
        let text = statement.text;
        if let Some(table) = std::str::from_utf8(text).ok().and_then(TableDef::parse) {
            // What is made of a table that was understood is a table again.
            assert!(TableDef::parse(&table.create_keyed("`t`")).is_some());
            let _ = (table.waiting_keys(), table.foreign_keys());
        }
        let Some(head) = InsertHead::parse(text) else { continue };
        let mut values = Values::new(text, head.rows_at, statement.quoting);
        while values.next_row() == Ok(true) {
            while let Ok((_, true)) = values.next_value() {}
        }
    }
    let _ = Manifest::read(bytes);
    if let Ok(text) = std::str::from_utf8(bytes) {
        if let Some(file) = FileName::parse(text) {
            assert_eq!(FileName::parse(&file.to_string()).as_ref(), Some(&file));
        }
        assert_eq!(from_file(&to_file(text)), text);
    }
});
