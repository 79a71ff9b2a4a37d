//! Filters of digests: any expression is understood or refused at a character.

#![no_main]

use digest::filter::Filter;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let _ = Filter::parse(text);
});
