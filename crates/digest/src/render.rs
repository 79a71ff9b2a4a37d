//! Layouts of a report: for people, as one page of HTML, and the two that tools written for pt-query-digest read.

pub mod html;
pub mod pt_json;
pub mod pt_text;
pub mod text;
mod units;
