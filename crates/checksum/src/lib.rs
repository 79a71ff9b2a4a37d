//! Whether nodes hold the same data: chunks summed at one moment of both, and the rows that differ.
//!
//! It changes nothing by itself.
