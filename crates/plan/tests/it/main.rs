//! Plans as golden files: a spec and an observation in, the text a reviewer reads out.

mod fixture;
mod golden;
mod rules;
