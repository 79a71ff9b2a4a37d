//! Accounts and what they may, as statements. Passwords stand there as the server keeps them: hashed.

use flavor::Vendor;
use server::{Connection, Sql};

use super::catalog::literal;
use super::error::{CreateError, During};
use super::schema::HEADER;

/// Accounts that servers make for themselves.
const OWN: [&str; 4] = ["mysql.sys", "mysql.session", "mysql.infoschema", "mariadb.sys"];

/// The file's text; none where the account may not see accounts.
pub(crate) async fn read(control: &mut Connection) -> Result<Option<String>, CreateError> {
    let vendor = control.flavor().vendor;
    let sql = match vendor {
        Vendor::MariaDb => {
            "SELECT user AS user, host AS host, is_role AS is_role FROM mysql.user ORDER BY is_role DESC, user, host"
        }
        Vendor::MySql => {
            "SELECT user AS user, host AS host, 'N' AS is_role FROM mysql.user ORDER BY user, host"
        }
    };
    let rows = match control.query(&Sql::plain(sql)).await {
        Ok(rows) => rows,
        Err(error) if error.is_missing_privilege() => return Ok(None),
        Err(error) => return Err(error).during(|| "list accounts".to_owned()),
    };
    if vendor == Vendor::MySql {
        let sql = Sql::plain("SET SESSION print_identified_with_as_hex = ON");
        if let Err(error) = control.execute(&sql).await {
            // Before 8.0.17: hashes are shown as they are.
            tracing::debug!(%error, "hashes are shown as text");
        }
    }
    let mut makes = String::new();
    let mut grants = String::new();
    for row in &rows {
        let (user, host) = (row.text("user").unwrap_or_default(), row.text("host").unwrap_or_default());
        if OWN.contains(&user) || (vendor == Vendor::MariaDb && user == "PUBLIC") {
            continue;
        }
        let is_role = row.text("is_role") == Some("Y");
        let account = if is_role {
            literal(user)?
        } else {
            sqltext::quote_account(user, host)
                .map_err(|error| CreateError::NotShown { what: format!("an account ({error})") })?
        };
        if is_role {
            makes.push_str(&format!("CREATE ROLE IF NOT EXISTS {account};\n"));
        } else {
            let shown = lines(control, &format!("SHOW CREATE USER {account}"), &account).await?;
            for line in shown {
                makes.push_str(&line.replacen("CREATE USER ", "CREATE USER IF NOT EXISTS ", 1));
                makes.push_str(";\n");
            }
        }
        for line in lines(control, &format!("SHOW GRANTS FOR {account}"), &account).await? {
            grants.push_str(&line);
            grants.push_str(";\n");
        }
    }
    Ok(Some(format!("{HEADER}{makes}{grants}FLUSH PRIVILEGES;\n")))
}

async fn lines(control: &mut Connection, sql: &str, account: &str) -> Result<Vec<String>, CreateError> {
    let rows = control
        .query(&Sql::secret(sql, format!("SHOW ... {account}")))
        .await
        .during(|| format!("read the account {account}"))?;
    // A hash or an attribute could hold a newline, which would end the statement's line.
    Ok(rows.iter().filter_map(|row| row.text_at(0)).map(|line| line.replace(['\n', '\r'], " ")).collect())
}
