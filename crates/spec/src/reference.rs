//! The reference of `mainstay.toml`, generated from the table of keys.

use crate::keys::{KEYS, SECTIONS, VARIABLE_EXAMPLES};
use crate::keys_kill::is_in_example;

/// `docs/spec.md`, whole.
#[must_use]
pub fn reference() -> String {
    let mut text = String::from(
        "# mainstay.toml\n\nGenerated from `crates/spec/src/keys.rs`; edit that.\n\n\
         `mainstay init` writes a commented file to start from. An unknown key, a wrong value or a contradiction is an \
         error that names the line, the column and the nearest right name. Sizes are bytes, or text with K, M, G or T \
         (powers of 1024). Networks are written `10.0.1.0/24`; one address is a network of its own. Secrets are never \
         in this file: keys that end in `_file` name the files they are in.\n",
    );
    for (section, sentence) in SECTIONS {
        let title = crate::keys::title(section);
        text.push_str(&format!("\n## {title}\n\n{sentence}\n"));
        let keys: Vec<_> = KEYS.iter().filter(|key| key.section == *section).collect();
        if keys.is_empty() {
            text.push_str(&format!("\n```toml\n{title}\n"));
            for (name, value) in VARIABLE_EXAMPLES {
                text.push_str(&format!("{name} = {value}\n"));
            }
            text.push_str(
                "```\n\nDashes are taken as underscores. Refused are variables that another key sets (`server_id`, \
                 `port`, `bind_address`, `ssl_*`, `require_secure_transport`, `datadir`, `socket`, `user`, `log_bin`), \
                 variables whose value is a secret, and variables that the server does not have, since it would not \
                 start with them.\n",
            );
            continue;
        }
        text.push_str("\n| key | value | default | meaning |\n|---|---|---|---|\n");
        for key in keys {
            text.push_str(&format!(
                "| `{}` | {} | {} | {} |\n",
                key.name, key.kind, key.default, key.sentence
            ));
        }
        text.push_str(&format!("\n```toml\n{title}\n"));
        for key in KEYS.iter().filter(|key| key.section == *section && is_in_example(key)) {
            text.push_str(&format!("{} = {}\n", key.name, key.example));
        }
        text.push_str("```\n");
    }
    text
}
