//! CloudStack's own formats: encrypted values, `db.properties`, setup scripts; and where OpenStack's URLs go.
//!
//! Byte-compatible with what a management server reads and writes. Pure: nonces come in as values, no file is
//! touched here, and no error holds a key or a plaintext.

pub mod crypt;
pub mod openstack;
pub mod parity;
pub mod properties;
pub mod schema;
pub mod version;
pub mod wanted;

pub use crypt::{CryptError, Encryptor, decrypt, encrypt};
pub use properties::{Odd, Properties};
