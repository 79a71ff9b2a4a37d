//! Accounts with their plugins, stored passwords and grants. Checks no password.

use facts::{AccountFacts, AuthHash, Seen};
use flavor::Vendor;
use serde_json::Value;

use super::readable;
use crate::connection::Connection;
use crate::error::ServerError;
use crate::row::Row;
use crate::sql::Sql;

const MARIADB: &str =
    "SELECT User AS user, Host AS host, Priv AS priv FROM mysql.global_priv ORDER BY User, Host LIMIT 10000";

/// In hexadecimal, because salts are bytes and the connection speaks UTF-8. MySQL makes a role as a locked
/// account whose password is empty and expired, and keeps no other mark.
const MYSQL: &str = "SELECT User AS user, Host AS host, plugin, HEX(authentication_string) AS auth, \
     ssl_type, account_locked, (account_locked = 'Y' AND password_expired = 'Y' AND authentication_string = '') \
     AS is_role FROM mysql.user ORDER BY User, Host LIMIT 10000";

/// ER_NONEXISTING_GRANT: the account went away meanwhile, or has no grant at all.
const NO_SUCH_GRANT: u16 = 1141;

pub(super) async fn collect(connection: &mut Connection) -> Result<Seen<Vec<AccountFacts>>, ServerError> {
    let vendor = connection.flavor().vendor;
    let statement = match vendor {
        Vendor::MariaDb => MARIADB,
        Vendor::MySql => MYSQL,
    };
    let rows = match readable(connection.query(&Sql::plain(statement)).await)? {
        Seen::Known(rows) => rows,
        Seen::Unknown(why) => return Ok(Seen::Unknown(why)),
        Seen::Absent => return Ok(Seen::Absent),
    };
    let mut accounts = Vec::with_capacity(rows.len());
    for row in rows {
        let account = match vendor {
            Vendor::MariaDb => from_global_priv(&row),
            Vendor::MySql => from_mysql_user(&row),
        };
        let Some(mut account) = account else { continue };
        match readable(grants(connection, vendor, &account).await)? {
            Seen::Known(grants) => account.grants = grants,
            Seen::Unknown(why) => return Ok(Seen::Unknown(why)),
            Seen::Absent => {}
        }
        accounts.push(account);
    }
    Ok(Seen::Known(accounts))
}

async fn grants(
    connection: &mut Connection,
    vendor: Vendor,
    account: &AccountFacts,
) -> Result<Vec<String>, ServerError> {
    let name = if vendor == Vendor::MariaDb && account.is_role {
        sqltext::quote_string(&account.user)
    } else {
        sqltext::quote_account(&account.user, &account.host)
    };
    let name = name.map_err(|error| ServerError::Other(format!("an account's name: {error}")))?;
    match connection.query(&Sql::plain(format!("SHOW GRANTS FOR {name}"))).await {
        Ok(rows) => Ok(rows.iter().filter_map(|row| row.text_at(0)).map(without_password).collect()),
        Err(error) if error.code() == Some(NO_SUCH_GRANT) => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

fn from_mysql_user(row: &Row) -> Option<AccountFacts> {
    Some(AccountFacts {
        user: row.text("user")?.to_owned(),
        host: row.text("host")?.to_owned(),
        plugin: row.text("plugin")?.to_owned(),
        auth: AuthHash::new(from_hex(row.text("auth").unwrap_or_default())),
        other_plugins: Vec::new(),
        tls: row.text("ssl_type").unwrap_or_default().to_owned(),
        locked: row.text("account_locked") == Some("Y"),
        is_role: row.text("is_role") == Some("1"),
        grants: Vec::new(),
    })
}

fn from_global_priv(row: &Row) -> Option<AccountFacts> {
    let document: Value = serde_json::from_str(row.text("priv")?).unwrap_or_default();
    // An empty object in the list stands for the plugin of the document itself.
    let own = vec![Value::Object(serde_json::Map::new())];
    let methods = document.get("auth_or").and_then(Value::as_array).unwrap_or(&own);
    let mut methods = methods.iter().map(|method| {
        let method =
            if method.as_object().is_some_and(|fields| !fields.is_empty()) { method } else { &document };
        let text = |name| method.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
        (text("plugin"), text("authentication_string"))
    });
    let (plugin, auth) = methods.next()?;
    let flag = |name| document.get(name).and_then(Value::as_bool).unwrap_or_default();
    let tls = match document.get("ssl_type").and_then(Value::as_u64) {
        Some(1) => "ANY",
        Some(2) => "X509",
        Some(3) => "SPECIFIED",
        Some(_) | None => "",
    };
    Some(AccountFacts {
        user: row.text("user")?.to_owned(),
        host: row.text("host")?.to_owned(),
        // The server takes an absent plugin for its oldest one.
        plugin: if plugin.is_empty() { "mysql_native_password".to_owned() } else { plugin },
        auth: AuthHash::new(auth.into_bytes()),
        other_plugins: methods.map(|(plugin, _)| plugin).collect(),
        tls: tls.to_owned(),
        locked: flag("account_locked"),
        is_role: flag("is_role"),
        grants: Vec::new(),
    })
}

fn from_hex(text: &str) -> Vec<u8> {
    text.as_bytes()
        .chunks(2)
        .filter_map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok())
        .collect()
}

/// A grant without MariaDB's `IDENTIFIED ...` clause, which holds the stored password. Names may hold any
/// text, so words count only outside quotes.
fn without_password(grant: &str) -> String {
    let mut kept = String::with_capacity(grant.len());
    let mut in_clause = false;
    let mut quote: Option<char> = None;
    for (at, char) in grant.char_indices() {
        match quote {
            Some(open) if char == open => quote = None,
            Some(_) => {}
            None if matches!(char, '`' | '\'' | '"') => quote = Some(char),
            None => {
                let rest = grant.get(at..).unwrap_or_default();
                if rest.starts_with(" IDENTIFIED BY ") || rest.starts_with(" IDENTIFIED VIA ") {
                    in_clause = true;
                } else if rest.starts_with(" REQUIRE ") || rest.starts_with(" WITH ") {
                    in_clause = false;
                }
            }
        }
        if !in_clause {
            kept.push(char);
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    fn row(pairs: &[(&str, &str)]) -> Row {
        let columns: Arc<[String]> = pairs.iter().map(|(name, _)| (*name).to_owned()).collect();
        Row::new(columns, pairs.iter().map(|(_, value)| (*value).into()).collect())
    }

    fn global_priv(document: &str) -> AccountFacts {
        from_global_priv(&row(&[("user", "u"), ("host", "h"), ("priv", document)])).unwrap()
    }

    #[test]
    fn mariadb_accounts_are_read_from_their_document() {
        let root = global_priv(
            r#"{"access":18446744073709551615,"plugin":"mysql_native_password","authentication_string":"invalid","auth_or":[{},{"plugin":"unix_socket"}]}"#,
        );
        assert_eq!(root.plugin, "mysql_native_password");
        assert_eq!(
            (root.auth.expose(), &root.other_plugins[..]),
            (&b"invalid"[..], &["unix_socket".to_owned()][..])
        );
        let first_other = global_priv(
            r#"{"plugin":"ed25519","authentication_string":"abc","auth_or":[{"plugin":"unix_socket"},{}],"ssl_type":1,"account_locked":true}"#,
        );
        assert_eq!(
            (first_other.plugin.as_str(), first_other.other_plugins),
            ("unix_socket", vec!["ed25519".to_owned()])
        );
        assert!(first_other.locked && first_other.tls == "ANY" && !first_other.is_role);
        assert!(global_priv(r#"{"access":0,"is_role":true}"#).is_role);
    }

    #[test]
    fn mysql_hashes_survive_as_bytes() {
        let account = from_mysql_user(&row(&[
            ("user", "u"),
            ("host", "%"),
            ("plugin", "caching_sha2_password"),
            ("auth", "2441247F00FF"),
            ("account_locked", "N"),
            ("is_role", "0"),
        ]))
        .unwrap();
        assert_eq!(account.auth.expose(), [0x24, 0x41, 0x24, 0x7f, 0x00, 0xff]);
    }

    #[test]
    fn grants_lose_only_the_password_clause() {
        for (grant, wanted) in [
            (
                "GRANT USAGE ON *.* TO `u`@`h` IDENTIFIED BY PASSWORD '*AB WITH X'",
                "GRANT USAGE ON *.* TO `u`@`h`",
            ),
            (
                "GRANT ALL PRIVILEGES ON *.* TO `u`@`h` IDENTIFIED VIA ed25519 USING 'x' OR unix_socket REQUIRE SSL WITH GRANT OPTION",
                "GRANT ALL PRIVILEGES ON *.* TO `u`@`h` REQUIRE SSL WITH GRANT OPTION",
            ),
            (
                "GRANT SELECT ON `a IDENTIFIED BY b`.* TO `u`@`h`",
                "GRANT SELECT ON `a IDENTIFIED BY b`.* TO `u`@`h`",
            ),
        ] {
            assert_eq!(without_password(grant), wanted);
        }
    }
}
