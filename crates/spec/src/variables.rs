//! `[config.variables]`: server variables of the operator's own.
//!
//! Whether the server has such a variable is not known here; planning asks it.

use std::collections::BTreeMap;

use toml::Spanned;
use toml::de::DeValue;

use crate::check::{Document, table_of};
use crate::problem::line_and_column;
use crate::read::{clip, integer, kind_of};

const VARIABLES_MAX: usize = 256;
const NAME_CHARS_MAX: usize = 64;

/// Variables that another key of the spec sets, and what to do instead.
const OWNED_VARIABLES: &[(&str, &str)] = &[
    ("server_id", "use `server_id` in [[node]]"),
    ("datadir", "use `data_dir` in [[node]]"),
    ("socket", "use `socket` in [[node]]"),
    ("port", "use `port` in [[node]]"),
    ("bind_address", "use `bind` in [config]"),
    ("skip_networking", "use `bind` in [config]"),
    ("require_secure_transport", "use `require` in [tls]"),
    ("user", "use `user` in [service]"),
    ("log_bin", "remove it: the binary log is always on"),
    ("skip_log_bin", "remove it: the binary log is always on"),
    ("disable_log_bin", "remove it: the binary log is always on"),
];

/// Variables whose value is a secret although their name does not end in a word for one.
const SECRET_VARIABLES: &[&str] = &["wsrep_sst_auth"];

/// Variables named after passwords whose value is none.
const HARMLESS_VARIABLES: &[&str] = &[
    "disconnect_on_expired_password",
    "mysql_native_password",
    "caching_sha2_password",
    "sha256_password",
    "validate_password",
];

impl Document<'_> {
    /// The variables by canonical name: lower case, underscores for dashes.
    pub(crate) fn variables(&self, value: &Spanned<DeValue<'_>>) -> BTreeMap<String, String> {
        let mut variables = BTreeMap::new();
        let Some(table) = table_of(value) else {
            self.problems.add(
                value.span(),
                "`variables` in [config] is not a section",
                "write [config.variables]",
            );
            return variables;
        };
        if table.len() > VARIABLES_MAX {
            self.problems.add(
                value.span(),
                format!("{} variables", table.len()),
                format!("at most {VARIABLES_MAX} are possible"),
            );
            return variables;
        }
        let mut lines: BTreeMap<String, usize> = BTreeMap::new();
        for (key, value) in table {
            let name = key.get_ref().to_lowercase().replace('-', "_");
            let line = line_and_column(self.text, key.span().start).0;
            if let Some((message, label)) = refusal(&name) {
                self.problems.add(key.span(), message, label);
            } else if let Some(first) = lines.insert(name.clone(), line) {
                self.problems.add(
                    key.span(),
                    format!("`{name}` is set twice in [config.variables]"),
                    format!("the other is in line {first}; `-` and `_` are the same"),
                );
            } else if let Some(text) = self.variable(&name, value) {
                variables.insert(name, text);
            }
        }
        variables
    }

    fn variable(&self, name: &str, value: &Spanned<DeValue<'_>>) -> Option<String> {
        let text = match value.get_ref() {
            DeValue::String(text) => text.to_string(),
            DeValue::Boolean(boolean) => if *boolean { "ON" } else { "OFF" }.to_owned(),
            DeValue::Integer(number) => {
                integer(number).map_or_else(|| number.as_str().to_owned(), |number| number.to_string())
            }
            DeValue::Float(number) => number.as_str().replace('_', ""),
            other @ (DeValue::Datetime(_) | DeValue::Array(_) | DeValue::Table(_)) => {
                let label = if matches!(other, DeValue::Table(_)) {
                    "a name with a dot is written in quotes, as \"validate_password.policy\""
                } else {
                    "expected text, a number, true or false"
                };
                self.problems.add(
                    value.span(),
                    format!("`{name}` in [config.variables] is {}", kind_of(other)),
                    label,
                );
                return None;
            }
        };
        if text.chars().any(char::is_control) {
            self.problems.add(
                value.span(),
                format!("the value of `{name}` holds control characters"),
                "an option is one line",
            );
            return None;
        }
        Some(text)
    }
}

/// Why a variable of this name cannot be set, and what to do instead.
fn refusal(name: &str) -> Option<(String, String)> {
    let fits = name.starts_with(|c: char| c.is_ascii_lowercase())
        && name.len() <= NAME_CHARS_MAX
        && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_' || c == '.');
    if !fits {
        let message = format!("`{}` is not the name of a variable", clip(name));
        return Some((message, format!("expected letters, digits, `_` and `.`, up to {NAME_CHARS_MAX}")));
    }
    // The server takes `loose_` before every option: it must not be a way around.
    let bare = name.strip_prefix("loose_").unwrap_or(name);
    let message = || format!("`{name}` cannot be set in [config.variables]");
    if let Some((_, instead)) = OWNED_VARIABLES.iter().find(|(owned, _)| *owned == bare) {
        return Some((message(), (*instead).to_owned()));
    }
    if bare.starts_with("ssl_") {
        return Some((message(), "certificates are set by [tls]".to_owned()));
    }
    let named_secret =
        ["password", "passwd", "passphrase", "secret", "token"].iter().any(|word| bare.ends_with(word));
    if SECRET_VARIABLES.contains(&bare) || (named_secret && !HARMLESS_VARIABLES.contains(&bare)) {
        return Some((message(), "secrets belong neither in the spec nor in the option file".to_owned()));
    }
    None
}
