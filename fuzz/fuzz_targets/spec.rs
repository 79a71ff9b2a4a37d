//! Specs: any text is a spec or a list of errors.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let _ = spec::Spec::parse(text, "mainstay.toml");
});
