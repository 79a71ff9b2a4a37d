//! Situations of a cluster as scripts, each with every decision that it leads to. How the scripts are read is in
//! `script`; this file only says which there are.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test fails by panicking, and a scenario that names what is not there has to"
)]

mod golden;
mod script;
mod world;
