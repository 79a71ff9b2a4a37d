//! Slow logs: whatever was written, every event is counted or said to be skipped, in parts of any size.

#![no_main]

use digest::event::LogReader;
use digest::slow::SlowLog;
use digest::{Digest, Settings};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|log: &[u8]| {
    let Some((size, log)) = log.split_first() else { return };
    let counts = |part_bytes: usize| {
        let mut digest = Digest::new(Settings { timeline_seconds: Some(1), ..Settings::default() });
        let mut reader = SlowLog::default();
        log.chunks(part_bytes).for_each(|part| reader.feed(part, &mut digest));
        reader.finish(&mut digest);
        assert_eq!(digest.total().count() + digest.left_out(), reader.events());
        (reader.events(), digest.classes().len())
    };
    assert_eq!(counts(log.len().max(1)), counts(usize::from(*size) + 1));
});
