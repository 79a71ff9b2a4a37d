//! The simulator's own tests.
#![cfg(test)]

mod seeds;
