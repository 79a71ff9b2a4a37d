//! CloudStack's properties files: any text.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let _ = cloudstack::Properties::parse(text);
});
