//! Binary logs: every event, row and value of any bytes, forwards and backwards.

#![no_main]

use std::ops::ControlFlow;

use binlog::{OnDamage, ReadOptions, Tables, walk};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|log: &[u8]| {
    for (verifies_checksums, is_stream) in [(true, false), (false, false), (false, true)] {
        let options = ReadOptions { on_damage: OnDamage::Skip, verifies_checksums, is_stream };
        // What is wrong with the bytes is an error; only that it ends, and without a panic, is asked for.
        let _ = walk(log, options, &mut Tables::default(), |item| {
            if let Some((rows, table)) = item.rows()? {
                for row in rows.decode(table)? {
                    row?;
                }
            }
            if let binlog::Event::Query(query) = item.event()? {
                query.session()?;
            }
            Ok(ControlFlow::Continue(()))
        });
    }
});
