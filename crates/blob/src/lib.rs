//! Where backups live: named objects in a folder or in an S3-compatible store, written once and verified.
//!
//! It does not know what an object means. An object appears whole under its name, or not at all; an object of the
//! same name is then replaced. Memory is bounded: a writer into a folder holds 1 MiB, one into a store up to 24 MiB.

mod address;
mod error;
mod folder;
mod name;
mod place;
mod s3;

pub use address::{Address, Credentials, Patience, S3Address, S3Store};
pub use error::BlobError;
pub use place::{Entry, Place, Reader, Writer, Written};
