//! Tests against whole clusters of real servers.
#![cfg(test)]

mod cluster;
