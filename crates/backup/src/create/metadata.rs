//! mydumper's `metadata`: by it `myloader` knows a backup, and people find the coordinates. Mainstay reads its own
//! manifest instead.

use std::fmt::Write as _;

use dump::manifest::{Manifest, ObjectKind};
use flavor::Vendor;

/// The file's text. Newer mydumpers have `[section]`s and comments, which older ones do not read at all.
pub(crate) fn write(manifest: &Manifest) -> String {
    let mut text = String::new();
    let at = |time: jiff::Timestamp| time.strftime("%Y-%m-%d %H:%M:%S").to_string();
    // Writing to a String does not fail.
    let _ = writeln!(text, "# Started dump at: {}", at(manifest.snapshot_taken));
    let _ = writeln!(text, "[config]\nquote-character = BACKTICK");
    let sequences = manifest.objects.iter().filter(|object| object.kind == ObjectKind::Sequence).count();
    let _ = writeln!(text, "num-sequences = {sequences}");
    if let Some(coordinates) = &manifest.coordinates {
        let _ = writeln!(text, "\n[source]");
        let _ = writeln!(text, "# Channel_Name = ''");
        let _ = writeln!(text, "File = {}", coordinates.file);
        let _ = writeln!(text, "Position = {}", coordinates.position);
        let name = match manifest.server.vendor {
            Vendor::MariaDb => "executed_gtid_set",
            Vendor::MySql => "Executed_Gtid_Set",
        };
        let _ = writeln!(text, "{name} = \"{}\"", coordinates.gtid);
    }
    let mut tables: Vec<_> = manifest.tables.iter().collect();
    tables.sort_by(|a, b| (&a.database, &a.name).cmp(&(&b.database, &b.name)));
    for table in tables {
        let database = manifest
            .databases
            .iter()
            .find(|database| database.name == table.database)
            .map_or(&table.database, |database| &database.file_name);
        let _ = writeln!(text, "\n[`{database}`.`{}`]", table.file_name);
        let _ = writeln!(text, "real_table_name={}", table.name.replace('\n', "\\n"));
        let _ = writeln!(text, "rows = {}", table.rows);
    }
    let _ = writeln!(text, "# Finished dump at: {}", at(manifest.finished));
    text
}
