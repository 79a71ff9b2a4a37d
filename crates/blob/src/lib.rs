//! Where backups live: named objects in a folder or in an S3-compatible store, written once and verified.
//!
//! It does not know what an object means.
