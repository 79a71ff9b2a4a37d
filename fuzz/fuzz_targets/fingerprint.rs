//! Fingerprints: by every set of rules, of any statement; those of our own are fingerprints of themselves.

#![no_main]

use libfuzzer_sys::fuzz_target;
use sqltext::{Fingerprinter, Rules, distill};

fuzz_target!(|statement: &[u8]| {
    for rules in [Rules::Own, Rules::Pt37, Rules::Pt32] {
        let mut fingerprinter = Fingerprinter::new(rules);
        let _ = fingerprinter.fingerprint(statement);
    }
    let _ = distill(&String::from_utf8_lossy(statement));
});
