//! Some thousands of seeds in every test run; `cargo xtask simulate --seeds N` runs as many as wanted.

use sim::{Config, search};

#[test]
fn no_seed_breaks_an_invariant() {
    let config = Config::default();
    let found = search(0..4_000, &config);
    assert_eq!(found.runs, 4_000);
    assert!(found.acked > 0);
    let first = found.violations.first().map(|(seed, _)| *seed);
    assert_eq!(first, None, "look with: cargo xtask simulate --trace SEED");
}
