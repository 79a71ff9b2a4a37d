//! Throwaway clusters and connections, on the real servers this machine has.
//!
//! A server that is not here skips its tests with a line that says so.

mod clusters;
mod connections;
mod faults;
mod support;
mod tls;
