//! General logs: as slow logs, whatever was written.

#![no_main]

use digest::event::LogReader;
use digest::general::GeneralLog;
use digest::{Digest, Settings};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|log: &[u8]| {
    let mut digest = Digest::new(Settings::default());
    let mut reader = GeneralLog::default();
    reader.feed(log, &mut digest);
    reader.finish(&mut digest);
    assert_eq!(digest.total().count() + digest.left_out(), reader.events());
});
