//! Dumps as text and as a set of files: their layout, their manifest, their statements, and what of a table is loaded first and what after.
//!
//! It is pure: bytes come in as values or as a reader; it opens no file and asks no server.
