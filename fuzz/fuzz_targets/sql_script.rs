//! SQL scripts: cut into statements, classified and lexed, whatever they are.

#![no_main]

use libfuzzer_sys::fuzz_target;
use sqltext::{Splitter, classify, lex};

fuzz_target!(|script: &str| {
    for statement in Splitter::new(script).map_while(Result::ok) {
        let _ = classify(statement.text);
    }
    let tokens: usize = lex(script).map(|token| token.text.len()).sum();
    assert!(tokens <= script.len());
});
