//! GTID sets of both vendors: what is parsed is written so that it is read as the same.

#![no_main]

use flavor::GtidSet;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    if let Ok(set) = GtidSet::parse(text) {
        assert_eq!(GtidSet::parse(&set.to_string()).ok().as_ref(), Some(&set));
    }
});
