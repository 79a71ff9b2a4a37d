//! SQL text: quoting, splitting scripts, tokens, what a statement is, its fingerprint, and lines of `SHOW GRANTS`.
//!
//! It is pure, knows no server and checks no grammar: text it does not understand stays text.

mod classify;
mod fingerprint;
mod grants;
mod lex;
mod quote;
mod scan;
mod split;

pub use classify::{Kind, classify};
pub use fingerprint::{Fingerprinter, QueryId, QueryIdError, Rules, distill, table_names};
pub use grants::{Grant, GrantError, GrantObject, RoutineKind, parse_grant};
pub use lex::{Lexer, Token, TokenKind, lex, unquote};
pub use quote::{QuoteError, hex_literal, quote_account, quote_ident, quote_string, schema_pattern};
pub use split::{SplitError, SplitErrorKind, Splitter, Statement, Unclosed};
