//! `mainstay.toml`: what is wanted of a cluster, from text to checked values.

mod model;

pub use model::*;
