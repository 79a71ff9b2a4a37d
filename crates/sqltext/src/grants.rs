//! One line of `SHOW GRANTS`, of either server, read into what it grants on what to whom.
//!
//! Passwords in the line are passed over and appear in no result and no error. What a privilege means, and which
//! ones an account should have, is not its business.

use std::collections::BTreeSet;
use std::fmt;

use serde::Serialize;

use crate::{Token, TokenKind, lex, unquote};

/// A stored program.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum RoutineKind {
    /// `PROCEDURE`.
    Procedure,
    /// `FUNCTION`.
    Function,
    /// `PACKAGE` (MariaDB).
    Package,
    /// `PACKAGE BODY` (MariaDB).
    PackageBody,
}

impl fmt::Display for RoutineKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Procedure => "PROCEDURE",
            Self::Function => "FUNCTION",
            Self::Package => "PACKAGE",
            Self::PackageBody => "PACKAGE BODY",
        })
    }
}

/// What a grant is on. Names are without their quotes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub enum GrantObject {
    /// `*.*`.
    Global,
    /// `db.*`. It is a pattern, as the server prints it: `_` and `%` are wildcards unless behind a backslash.
    Schema(String),
    /// A table or view: database, name.
    Table(String, String),
    /// A stored program.
    Routine {
        /// Which kind.
        kind: RoutineKind,
        /// Its database.
        schema: String,
        /// Its name.
        name: String,
    },
    /// The right to be another account.
    Proxy {
        /// That account's user.
        user: String,
        /// That account's host.
        host: String,
    },
    /// Roles: `name`, or `name@host` where the host is not `%`.
    Role(Vec<String>),
}

/// One grant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Grant {
    /// Privileges in upper case, a column list behind its privilege as in ``SELECT (`a`, `b`)``. `ALL` is written
    /// `ALL PRIVILEGES`. Empty for roles and proxies.
    pub privileges: BTreeSet<String>,
    /// What they are on.
    pub object: GrantObject,
    /// User of the account they are granted to; a role's name.
    pub user: String,
    /// Host of that account; empty for a role of MariaDB.
    pub host: String,
    /// With the right to grant them on (`GRANT OPTION`, or `ADMIN OPTION` for roles).
    pub grant_option: bool,
    /// What stands behind `REQUIRE`, as `SSL` or `X509`; MySQL prints it elsewhere.
    pub require: Option<String>,
}

/// Why a line is no grant.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GrantError {
    /// MariaDB's `SET DEFAULT ROLE`: it grants nothing.
    #[error("the line sets the default role {role:?}, it grants nothing")]
    DefaultRole {
        /// That role.
        role: String,
    },
    /// MySQL's `REVOKE`: what a global grant leaves out here (`partial_revokes`).
    #[error("the line revokes a part of a global grant")]
    PartialRevoke(Box<Grant>),
    /// Nothing known.
    #[error("expected {expected} at byte {offset} of the grant")]
    Malformed {
        /// What should stand there.
        expected: &'static str,
        /// Where, in bytes.
        offset: usize,
    },
}

/// Reads one line of `SHOW GRANTS`.
///
/// # Errors
/// When the line is a statement of another kind, or of a form no supported server prints.
pub fn parse_grant(line: &str) -> Result<Grant, GrantError> {
    let tokens: Vec<Token<'_>> = lex(line).filter(Token::is_significant).collect();
    let mut parser = Parser { tokens: &tokens, end: line.len() };
    if parser.take("SET") {
        parser.expect("DEFAULT")?;
        parser.expect("ROLE")?;
        return Err(GrantError::DefaultRole { role: parser.name()? });
    }
    if parser.take("REVOKE") {
        return Err(GrantError::PartialRevoke(Box::new(parser.grant("FROM")?)));
    }
    parser.expect("GRANT")?;
    parser.grant("TO")
}

struct Parser<'a> {
    tokens: &'a [Token<'a>],
    end: usize,
}

impl<'a> Parser<'a> {
    fn malformed(&self, expected: &'static str) -> GrantError {
        let offset = self.tokens.first().map_or(self.end, |token| token.offset);
        GrantError::Malformed { expected, offset }
    }

    fn next(&mut self, expected: &'static str) -> Result<Token<'a>, GrantError> {
        let (first, rest) = self.tokens.split_first().ok_or_else(|| self.malformed(expected))?;
        self.tokens = rest;
        Ok(*first)
    }

    fn take_if(&mut self, matches: impl Fn(&Token<'_>) -> bool) -> bool {
        match self.tokens.split_first() {
            Some((first, rest)) if matches(first) => {
                self.tokens = rest;
                true
            }
            Some(_) | None => false,
        }
    }

    fn take(&mut self, keyword: &str) -> bool {
        self.take_if(|token| token.is_word(keyword))
    }

    fn take_punct(&mut self, punct: &str) -> bool {
        self.take_if(|token| token.is_punct(punct))
    }

    fn expect(&mut self, keyword: &'static str) -> Result<(), GrantError> {
        if self.take(keyword) { Ok(()) } else { Err(self.malformed(keyword)) }
    }

    fn name(&mut self) -> Result<String, GrantError> {
        if self.tokens.first().is_some_and(|token| token.kind == TokenKind::Punct) {
            return Err(self.malformed("a name"));
        }
        Ok(unquote(self.next("a name")?.text))
    }

    /// A user and host. The host is empty where none is given.
    fn account(&mut self) -> Result<(String, String), GrantError> {
        let user = self.name()?;
        let host = if self.take_punct("@") { self.name()? } else { String::new() };
        Ok((user, host))
    }

    /// What follows `GRANT` or `REVOKE`, with the word before the grantee.
    fn grant(mut self, before_grantee: &'static str) -> Result<Grant, GrantError> {
        let on = self.tokens.iter().position(|token| token.is_word("ON"));
        let grantee = self.tokens.iter().position(|token| token.is_word(before_grantee));
        let is_role = match (on, grantee) {
            (_, None) => return Err(GrantError::Malformed { expected: before_grantee, offset: self.end }),
            (None, Some(_)) => true,
            (Some(on), Some(grantee)) => on > grantee,
        };
        let (privileges, object) = if is_role {
            (BTreeSet::new(), GrantObject::Role(self.roles()?))
        } else {
            let privileges = self.privileges()?;
            self.expect("ON")?;
            if privileges.len() == 1 && privileges.contains("PROXY") {
                let (user, host) = self.account()?;
                (BTreeSet::new(), GrantObject::Proxy { user, host })
            } else {
                (privileges, self.object()?)
            }
        };
        self.expect(before_grantee)?;
        let (user, host) = self.account()?;
        Ok(Grant {
            privileges,
            object,
            user,
            host,
            grant_option: self.grant_option(),
            require: self.require(),
        })
    }

    fn roles(&mut self) -> Result<Vec<String>, GrantError> {
        let mut roles = Vec::new();
        loop {
            let (name, host) = self.account()?;
            roles.push(if host.is_empty() || host == "%" { name } else { format!("{name}@{host}") });
            if !self.take_punct(",") {
                return Ok(roles);
            }
        }
    }

    fn privileges(&mut self) -> Result<BTreeSet<String>, GrantError> {
        let mut privileges = BTreeSet::new();
        loop {
            let mut words = Vec::new();
            while let Some(token) = self.tokens.first() {
                if token.kind != TokenKind::Word || token.is_word("ON") {
                    break;
                }
                words.push(self.next("a privilege")?.text.to_ascii_uppercase());
            }
            if words.is_empty() {
                return Err(self.malformed("a privilege"));
            }
            let mut privilege = words.join(" ");
            if privilege == "ALL" {
                "ALL PRIVILEGES".clone_into(&mut privilege);
            }
            if self.take_punct("(") {
                let mut columns = Vec::new();
                loop {
                    columns.push(format!("`{}`", self.name()?.replace('`', "``")));
                    if self.take_punct(")") {
                        break;
                    }
                    if !self.take_punct(",") {
                        return Err(self.malformed("a comma or a closing parenthesis"));
                    }
                }
                privilege = format!("{privilege} ({})", columns.join(", "));
            }
            privileges.insert(privilege);
            if !self.take_punct(",") {
                return Ok(privileges);
            }
        }
    }

    fn object(&mut self) -> Result<GrantObject, GrantError> {
        let routine = self.routine_kind();
        if routine.is_none() && self.take_punct("*") {
            if !(self.take_punct(".") && self.take_punct("*")) {
                return Err(self.malformed(".*"));
            }
            return Ok(GrantObject::Global);
        }
        let schema = self.name()?;
        if !self.take_punct(".") {
            return Err(self.malformed("a dot"));
        }
        if routine.is_none() && self.take_punct("*") {
            return Ok(GrantObject::Schema(schema));
        }
        let name = self.name()?;
        Ok(match routine {
            Some(kind) => GrantObject::Routine { kind, schema, name },
            None => GrantObject::Table(schema, name),
        })
    }

    /// The kind of object before its name, unless the word is the name itself.
    fn routine_kind(&mut self) -> Option<RoutineKind> {
        if self.tokens.get(1).is_some_and(|token| token.is_punct(".")) {
            return None;
        }
        if self.take("PROCEDURE") {
            return Some(RoutineKind::Procedure);
        }
        if self.take("FUNCTION") {
            return Some(RoutineKind::Function);
        }
        if self.take("PACKAGE") {
            let is_body = self.take("BODY");
            return Some(if is_body { RoutineKind::PackageBody } else { RoutineKind::Package });
        }
        self.take("TABLE");
        None
    }

    fn grant_option(&self) -> bool {
        self.tokens.windows(2).any(|pair| match pair {
            [first, second] => (first.is_word("GRANT") || first.is_word("ADMIN")) && second.is_word("OPTION"),
            _ => false,
        })
    }

    fn require(&self) -> Option<String> {
        let behind = self.tokens.iter().skip_while(|token| !token.is_word("REQUIRE")).skip(1);
        let words: Vec<&str> =
            behind.take_while(|token| !token.is_word("WITH")).map(|token| token.text).collect();
        (!words.is_empty()).then(|| words.join(" "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// One grant on a line: privileges | object | grantee | options.
    fn shown(line: &str) -> String {
        let grant = match parse_grant(line) {
            Ok(grant) => grant,
            Err(GrantError::PartialRevoke(grant)) => *grant,
            Err(error @ (GrantError::DefaultRole { .. } | GrantError::Malformed { .. })) => {
                return error.to_string();
            }
        };
        let privileges: Vec<&str> = grant.privileges.iter().map(String::as_str).collect();
        let object = match grant.object {
            GrantObject::Global => "*.*".to_owned(),
            GrantObject::Schema(schema) => format!("{schema}.*"),
            GrantObject::Table(schema, table) => format!("{schema}.{table}"),
            GrantObject::Routine { kind, schema, name } => format!("{kind} {schema}.{name}"),
            GrantObject::Proxy { user, host } => format!("proxy of [{user}]@[{host}]"),
            GrantObject::Role(roles) => format!("roles {}", roles.join(";")),
        };
        let mut options = grant.require.unwrap_or_default();
        if grant.grant_option {
            options.push_str(" +grant");
        }
        format!(
            "{} | {object} | [{}]@[{}] | {}",
            privileges.join(";"),
            grant.user,
            grant.host,
            options.trim()
        )
    }

    #[test]
    fn privileges_as_mariadb_10_11_prints_them() {
        for (line, expected) in [
            ("GRANT USAGE ON *.* TO `mariadb.sys`@`localhost`", "USAGE | *.* | [mariadb.sys]@[localhost] | "),
            (
                "GRANT SELECT, DELETE ON `mysql`.`global_priv` TO `mariadb.sys`@`localhost`",
                "DELETE;SELECT | mysql.global_priv | [mariadb.sys]@[localhost] | ",
            ),
            (
                "GRANT ALL PRIVILEGES ON *.* TO `root`@`localhost` IDENTIFIED VIA mysql_native_password USING 'invalid' \
              OR unix_socket WITH GRANT OPTION",
                "ALL PRIVILEGES | *.* | [root]@[localhost] | +grant",
            ),
            (
                "GRANT USAGE ON *.* TO `cloud`@`%` IDENTIFIED BY PASSWORD \
              '*D821809F681A40A6E379B50D0463EFAE20BDD122' REQUIRE SSL WITH GRANT OPTION",
                "USAGE | *.* | [cloud]@[%] | SSL +grant",
            ),
            (
                "GRANT SELECT (`a`, `b`), INSERT (`a`) ON `cloud`.`t` TO `cloud`@`%`",
                "INSERT (`a`);SELECT (`a`, `b`) | cloud.t | [cloud]@[%] | ",
            ),
            (
                "GRANT PROCESS, REPLICATION SLAVE, BINLOG MONITOR, SLAVE MONITOR ON *.* TO `mon`@`localhost` IDENTIFIED \
              VIA unix_socket OR mysql_native_password USING '*B69027D4' REQUIRE X509",
                "BINLOG MONITOR;PROCESS;REPLICATION SLAVE;SLAVE MONITOR | *.* | [mon]@[localhost] | X509",
            ),
            (
                r"GRANT ALL PRIVILEGES ON `nova\_cell0`.* TO `mon`@`localhost`",
                r"ALL PRIVILEGES | nova\_cell0.* | [mon]@[localhost] | ",
            ),
            (
                "GRANT USAGE ON *.* TO `we``ird'u`@`%` IDENTIFIED BY PASSWORD '*3F' WITH GRANT OPTION \
              MAX_USER_CONNECTIONS 5",
                "USAGE | *.* | [we`ird'u]@[%] | +grant",
            ),
            ("GRANT SELECT ON `da``b`.* TO `we``ird'u`@`%`", "SELECT | da`b.* | [we`ird'u]@[%] | "),
            (
                "GRANT ALL PRIVILEGES ON *.* TO `sub`@`%` REQUIRE ISSUER '/CN=b' SUBJECT '/CN=a' CIPHER 'c' WITH GRANT \
              OPTION",
                "ALL PRIVILEGES | *.* | [sub]@[%] | ISSUER '/CN=b' SUBJECT '/CN=a' CIPHER 'c' +grant",
            ),
            ("GRANT USAGE ON *.* TO ``@`localhost`", "USAGE | *.* | []@[localhost] | "),
            (
                "GRANT ALL PRIVILEGES ON `nova`.* TO mon@localhost",
                "ALL PRIVILEGES | nova.* | [mon]@[localhost] | ",
            ),
        ] {
            assert_eq!(shown(line), expected, "{line}");
        }
    }

    #[test]
    fn proxies_roles_and_routines_as_mariadb_10_11_prints_them() {
        for (line, expected) in [
            (
                "GRANT PROXY ON ``@`%` TO `root`@`localhost` WITH GRANT OPTION",
                " | proxy of []@[%] | [root]@[localhost] | +grant",
            ),
            (
                "GRANT PROXY ON ''@'%' TO 'root'@'localhost' WITH GRANT OPTION",
                " | proxy of []@[%] | [root]@[localhost] | +grant",
            ),
            (
                "GRANT `r 2` TO `cloud`@`10.0.0.0/255.255.255.0` WITH ADMIN OPTION",
                " | roles r 2 | [cloud]@[10.0.0.0/255.255.255.0] | +grant",
            ),
            (
                "GRANT `r1` TO `cloud`@`10.0.0.0/255.255.255.0`",
                " | roles r1 | [cloud]@[10.0.0.0/255.255.255.0] | ",
            ),
            (
                "GRANT EXECUTE ON PROCEDURE `cloud`.`p` TO `cloud`@`%`",
                "EXECUTE | PROCEDURE cloud.p | [cloud]@[%] | ",
            ),
            (
                "GRANT EXECUTE, ALTER ROUTINE ON FUNCTION `cloud`.`f` TO `cloud`@`%` WITH GRANT OPTION",
                "ALTER ROUTINE;EXECUTE | FUNCTION cloud.f | [cloud]@[%] | +grant",
            ),
            (
                "GRANT EXECUTE ON PACKAGE BODY `cloud`.`f` TO `cloud`@`%`",
                "EXECUTE | PACKAGE BODY cloud.f | [cloud]@[%] | ",
            ),
            ("GRANT USAGE ON *.* TO `r1`", "USAGE | *.* | [r1]@[] | "),
            ("GRANT SELECT ON *.* TO PUBLIC", "SELECT | *.* | [PUBLIC]@[] | "),
            (
                "SET DEFAULT ROLE `r1` FOR `cloud`@`%`",
                "the line sets the default role \"r1\", it grants nothing",
            ),
        ] {
            assert_eq!(shown(line), expected, "{line}");
        }
    }

    #[test]
    fn lines_of_mysql_9_7() {
        for (line, expected) in [
            (
                "GRANT SELECT, INSERT, PROCESS, REPLICATION SLAVE, REPLICATION CLIENT ON *.* TO `mon`@`localhost` WITH \
              GRANT OPTION",
                "INSERT;PROCESS;REPLICATION CLIENT;REPLICATION SLAVE;SELECT | *.* | [mon]@[localhost] | +grant",
            ),
            (
                "GRANT BACKUP_ADMIN,CLONE_ADMIN ON *.* TO `mon`@`localhost` WITH GRANT OPTION",
                "BACKUP_ADMIN;CLONE_ADMIN | *.* | [mon]@[localhost] | +grant",
            ),
            (
                "GRANT CREATE TEMPORARY TABLES, LOCK TABLES, TRIGGER ON `cloud`.* TO `cloud`@`10.0.0.0/24`",
                "CREATE TEMPORARY TABLES;LOCK TABLES;TRIGGER | cloud.* | [cloud]@[10.0.0.0/24] | ",
            ),
            (
                "GRANT PROXY ON ``@`` TO `root`@`localhost` WITH GRANT OPTION",
                " | proxy of []@[] | [root]@[localhost] | +grant",
            ),
            (
                "GRANT `r1`@`%`,`r2`@`localhost` TO `cloud`@`10.0.0.0/24`",
                " | roles r1;r2@localhost | [cloud]@[10.0.0.0/24] | ",
            ),
            (
                "GRANT `r1`@`%` TO `root`@`localhost` WITH ADMIN OPTION",
                " | roles r1 | [root]@[localhost] | +grant",
            ),
            ("GRANT USAGE ON *.* TO `r1`@`%`", "USAGE | *.* | [r1]@[%] | "),
            ("REVOKE INSERT ON `cloud`.* FROM `mon`@`localhost`", "INSERT | cloud.* | [mon]@[localhost] | "),
        ] {
            assert_eq!(shown(line), expected, "{line}");
        }
        assert!(matches!(
            parse_grant("REVOKE INSERT ON `a`.* FROM `b`@`c`"),
            Err(GrantError::PartialRevoke(_))
        ));
    }

    #[test]
    fn quoted_words_are_names_and_not_keywords() {
        for (line, expected) in [
            ("GRANT SELECT ON `on`.`to` TO `to`@`on`", "SELECT | on.to | [to]@[on] | "),
            ("GRANT SELECT ON `procedure`.`p` TO `u`@`h`", "SELECT | procedure.p | [u]@[h] | "),
            ("GRANT SELECT ON procedure.* TO `u`@`h`", "SELECT | procedure.* | [u]@[h] | "),
            ("GRANT `on` TO `u`@`h`", " | roles on | [u]@[h] | "),
            (
                "GRANT USAGE ON *.* TO `u`@`h` IDENTIFIED BY PASSWORD 'WITH GRANT OPTION REQUIRE SSL'",
                "USAGE | *.* | [u]@[h] | ",
            ),
            ("grant all on *.* to u@h", "ALL PRIVILEGES | *.* | [u]@[h] | "),
        ] {
            assert_eq!(shown(line), expected, "{line}");
        }
    }

    #[test]
    fn what_is_no_grant_is_refused_at_its_place_without_its_text() {
        for (line, expected) in [
            ("", "expected GRANT at byte 0 of the grant"),
            ("CREATE USER u", "expected GRANT at byte 0 of the grant"),
            ("GRANT", "expected TO at byte 5 of the grant"),
            ("GRANT ON *.* TO u", "expected a privilege at byte 6 of the grant"),
            (
                "GRANT SELECT (a ON b.c TO u",
                "expected a comma or a closing parenthesis at byte 16 of the grant",
            ),
            ("GRANT SELECT ON *.t TO u", "expected .* at byte 18 of the grant"),
            ("GRANT SELECT ON t TO u", "expected a dot at byte 18 of the grant"),
            ("GRANT SELECT ON *.* TO", "expected a name at byte 22 of the grant"),
            ("GRANT SELECT ON *.* x TO u", "expected TO at byte 20 of the grant"),
            ("SET ROLE r", "expected DEFAULT at byte 4 of the grant"),
        ] {
            assert_eq!(parse_grant(line).unwrap_err().to_string(), expected, "{line}");
        }
    }

    proptest! {
        #[test]
        fn any_names_come_back(schema in "[^\0]{1,20}", user in "[^\0]{0,20}", host in "[^\0]{1,20}") {
            let quoted = |name: &str| format!("`{}`", name.replace('`', "``"));
            let line = format!("GRANT SELECT ON {}.* TO {}@{}", quoted(&schema), quoted(&user), quoted(&host));
            let grant = parse_grant(&line).unwrap();
            prop_assert_eq!((grant.object, grant.user, grant.host), (GrantObject::Schema(schema), user, host));
        }

        #[test]
        fn no_line_breaks_the_parser(words in proptest::collection::vec(prop_oneof![
            Just("GRANT"), Just("REVOKE"), Just("SET DEFAULT ROLE"), Just("SELECT"), Just("("), Just(")"), Just(","),
            Just("ON"), Just("*"), Just("."), Just("`a`"), Just("@"), Just("TO"), Just("FROM"), Just("PROXY"),
            Just("REQUIRE"), Just("WITH"), Just("OPTION"), Just("'"), Just("PACKAGE")], 0..20)
        ) {
            if let Ok(grant) = parse_grant(&words.join(" ")) {
                prop_assert!(words.contains(&"GRANT") && words.contains(&"TO"));
                prop_assert!(!grant.privileges.contains("ALL"));
            }
        }
    }
}
