//! `mainstay.toml`: what is wanted of a cluster, from text to checked values.
//!
//! Every problem of a text is found in one go, each with its line, column and the nearest right name. The table in
//! `keys` is the one list of what may be written: checks, template and reference come from it. No file is read here.

mod backup_rules;
mod check;
mod clouds;
mod entrance;
mod ha;
mod ha_model;
mod keys;
mod keys_backup;
mod keys_ha;
mod keys_kill;
mod kill_rules;
mod model;
mod nodes;
mod problem;
mod read;
mod reference;
mod template;
mod values;
mod variables;

pub use backup_rules::Backup;
pub use check::SPEC_BYTES_MAX;
pub use entrance::Entrance;
pub use ha_model::*;
pub use keys::{KEYS, Key};
pub use kill_rules::{Kill, KillOn};
pub use model::*;
pub use problem::{SpecErrors, Warning};
pub use reference::reference;
pub use template::{Found, template};
