//! CloudStack's setup scripts: which files, in which order, and what becomes of each statement.
//!
//! Statements about accounts, grants and whole databases are left out: apply's own steps do that with least
//! privilege, and never drop what holds something. Anything else that reaches outside CloudStack's databases is
//! refused rather than run as the administrator.

use sqltext::{Kind, SplitErrorKind, Splitter, TokenKind, classify, lex};

/// A setup file.
#[derive(Clone, Copy, Debug)]
pub struct SetupFile {
    /// Its name in the setup folder.
    pub name: &'static str,
    /// Whether a set-up cannot do without it.
    pub required: bool,
}

/// The files, in the order in which they run.
pub const SETUP_FILES: &[SetupFile] = &[
    SetupFile { name: "create-database.sql", required: true },
    SetupFile { name: "create-schema.sql", required: true },
    SetupFile { name: "create-database-premium.sql", required: true },
    SetupFile { name: "create-schema-premium.sql", required: true },
    SetupFile { name: "server-setup.sql", required: true },
    SetupFile { name: "templates.sql", required: true },
    SetupFile { name: "schema-level.sql", required: false },
];

/// What becomes of a statement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Disposition {
    /// It runs.
    Run,
    /// It is left out, and why.
    Skip(&'static str),
    /// Nothing runs after it: it has no place in these files.
    Refuse(&'static str),
}

const ACCOUNTS: &str = "accounts and grants are apply's own steps";
const DATABASES: &str = "databases are created and dropped by apply's own steps";
const OUTSIDE: &str = "it reaches outside CloudStack's databases";
const OURS: [&str; 4] = ["cloud", "cloud_usage", "billing", "cloudbridge"];

/// Decides on one statement of a setup file.
#[must_use]
#[expect(clippy::wildcard_enum_match_arm, reason = "every other kind of statement is judged by its words")]
pub fn disposition(statement: &str) -> Disposition {
    match classify(statement) {
        Kind::CreateUser | Kind::DropUser | Kind::Grant | Kind::Revoke => Disposition::Skip(ACCOUNTS),
        Kind::AlterUser | Kind::SetPassword => Disposition::Refuse("it changes an account's password"),
        Kind::CreateDatabase { name } | Kind::DropDatabase { name, .. } if ours(&name) => {
            Disposition::Skip(DATABASES)
        }
        Kind::CreateDatabase { .. } | Kind::DropDatabase { .. } => Disposition::Refuse(OUTSIDE),
        Kind::Use { name } if name.eq_ignore_ascii_case("mysql") => Disposition::Skip(ACCOUNTS),
        Kind::Use { name } if ours(&name) => Disposition::Run,
        Kind::Use { .. } => Disposition::Refuse(OUTSIDE),
        Kind::Begin | Kind::Commit | Kind::Rollback => Disposition::Run,
        _ => by_words(statement),
    }
}

fn ours(name: &str) -> bool {
    OURS.iter().any(|known| name.eq_ignore_ascii_case(known))
}

/// Statements that act on the server and not on a database, by their first word.
const ON_THE_SERVER: &[&str] = &[
    "install",
    "uninstall",
    "shutdown",
    "restart",
    "kill",
    "purge",
    "reset",
    "change",
    "flush",
    "start",
    "stop",
    "backup",
    "rename",
    "import",
    "clone",
    "handler",
    "load",
    "execute",
    "prepare",
    "binlog",
];

/// Words in a row that read or write beside CloudStack's databases, wherever they stand.
const OUTWARD: &[&[&str]] = &[
    &["mysql", "."],
    &["performance_schema", "."],
    &["sys", "."],
    &["into", "outfile"],
    &["into", "dumpfile"],
    &["load_file", "("],
    &["data", "directory"],
    &["index", "directory"],
    &["@", "@", "global"],
    &["create", "server"],
    &["create", "role"],
    &["alter", "instance"],
];

/// Statements that `classify` has no kind for, by the words in them. What a string holds is no word.
fn by_words(statement: &str) -> Disposition {
    let words: Vec<String> = lex(statement)
        .filter(sqltext::Token::is_significant)
        .map(|token| match token.kind {
            TokenKind::String => String::new(),
            TokenKind::Word
            | TokenKind::QuotedIdent
            | TokenKind::Number
            | TokenKind::Punct
            | TokenKind::Comment
            | TokenKind::Hint
            | TokenKind::Executable
            | TokenKind::Space => sqltext::unquote(token.text).to_ascii_lowercase(),
        })
        .collect();
    // The scripts' own procedure in the server's database, which drops accounts.
    if words.iter().any(|word| word.starts_with("cloud_drop_user")) {
        return Disposition::Skip(ACCOUNTS);
    }
    let has = |sequence: &[&str]| {
        words.windows(sequence.len()).any(|window| window.iter().zip(sequence).all(|(a, b)| a == b))
    };
    let first = words.first().map_or("", String::as_str);
    let sets_for_all = first == "set"
        && words.iter().any(|word| matches!(word.as_str(), "global" | "persist" | "persist_only"));
    if sets_for_all || ON_THE_SERVER.contains(&first) || OUTWARD.iter().any(|sequence| has(sequence)) {
        Disposition::Refuse(OUTSIDE)
    } else {
        Disposition::Run
    }
}

/// What is wrong with a set of files (name and content), before any of them runs.
#[must_use]
pub fn problems(files: &[(String, String)]) -> Vec<String> {
    let mut problems: Vec<String> = SETUP_FILES
        .iter()
        .filter(|file| file.required && files.iter().all(|(name, _)| name != file.name))
        .map(|file| format!("{} is missing", file.name))
        .collect();
    for (name, text) in files {
        problems.extend(file_problem(name, text));
    }
    problems
}

fn file_problem(name: &str, text: &str) -> Option<String> {
    let mut statements = 0;
    let mut open = None;
    for statement in Splitter::new(text) {
        match statement {
            Ok(statement) => {
                statements += 1;
                open = (!statement.terminated).then_some(statement.line);
                if let Disposition::Refuse(why) = disposition(statement.text) {
                    return Some(format!("{name}:{}: refused: {why}", statement.line));
                }
            }
            Err(error) => {
                let cut = matches!(error.kind, SplitErrorKind::Unclosed(_));
                let hint = if cut { " (is the file cut short?)" } else { "" };
                return Some(format!("{name}:{}: {error}{hint}", error.line));
            }
        }
    }
    if let Some(line) = open {
        return Some(format!("{name}:{line}: the file is cut short: its last statement has no end"));
    }
    (statements == 0).then(|| format!("{name} holds no statement"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_statement_has_its_place() {
        for (text, wanted) in [
            ("CREATE TABLE `cloud`.`host` (id bigint)", Disposition::Run),
            ("INSERT INTO `cloud`.`domain` (id, name) VALUES (1, 'mysql.ROOT')", Disposition::Run),
            ("SET @OLD_SQL_MODE=@@SQL_MODE, SQL_MODE='ANSI'", Disposition::Run),
            ("SET foreign_key_checks = 0", Disposition::Run),
            ("use cloud", Disposition::Run),
            ("commit", Disposition::Run),
            ("CREATE USER cloud@`%` identified by 'cloud'", Disposition::Skip(ACCOUNTS)),
            ("GRANT ALL ON cloud.* to cloud@`localhost`", Disposition::Skip(ACCOUNTS)),
            ("USE `mysql`", Disposition::Skip(ACCOUNTS)),
            ("CALL `mysql`.`cloud_drop_user_if_exists`()", Disposition::Skip(ACCOUNTS)),
            ("DROP PROCEDURE IF EXISTS `mysql`.`cloud_drop_users_if_exists`", Disposition::Skip(ACCOUNTS)),
            (
                "CREATE PROCEDURE `mysql`.`cloud_drop_user_if_exists`() BEGIN DROP USER 'cloud'@'%' ; END",
                Disposition::Skip(ACCOUNTS),
            ),
            ("DROP DATABASE IF EXISTS `billing`", Disposition::Skip(DATABASES)),
            ("CREATE DATABASE `cloud_usage`", Disposition::Skip(DATABASES)),
            ("DROP DATABASE production", Disposition::Refuse(OUTSIDE)),
            ("DELETE FROM mysql.user", Disposition::Refuse(OUTSIDE)),
            ("LOAD DATA INFILE '/etc/passwd' INTO TABLE cloud.t", Disposition::Refuse(OUTSIDE)),
            ("SELECT 1 INTO OUTFILE '/tmp/x'", Disposition::Refuse(OUTSIDE)),
            ("SET GLOBAL max_connections = 1", Disposition::Refuse(OUTSIDE)),
            ("SET SESSION foreign_key_checks = 0, GLOBAL max_connections = 1", Disposition::Refuse(OUTSIDE)),
            ("INSERT INTO cloud.t VALUES (LOAD_FILE('/etc/passwd'))", Disposition::Refuse(OUTSIDE)),
            ("/*!50003 RENAME USER a TO b */", Disposition::Refuse(OUTSIDE)),
            ("INSTALL PLUGIN x SONAME 'x.so'", Disposition::Refuse(OUTSIDE)),
            ("INSERT INTO cloud.t VALUES ('cloud_drop_user', 'load', 'into outfile')", Disposition::Run),
            ("CREATE TABLE cloud.t (`global` int, data varchar(9), `load` int)", Disposition::Run),
        ] {
            assert_eq!(disposition(text), wanted, "{text}");
        }
    }

    #[test]
    fn files_are_judged_before_they_run() {
        let good: Vec<(String, String)> = SETUP_FILES
            .iter()
            .filter(|file| file.required)
            .map(|file| (file.name.to_owned(), "SELECT 1;\n-- end\n".to_owned()))
            .collect();
        assert_eq!(problems(&good), Vec::<String>::new());
        let with = |text: &str| {
            let mut files = good.clone();
            files[1].1 = text.to_owned();
            problems(&files)
        };
        assert_eq!(
            with("SELECT 1;\nCREATE TABLE t (\n"),
            ["create-schema.sql:2: the file is cut short: its last statement has no end"]
        );
        assert!(with("SELECT 1;\nINSERT INTO t VALUES ('abc")[0].contains("create-schema.sql:2"));
        assert_eq!(with("-- nothing\n"), ["create-schema.sql holds no statement"]);
        assert!(with("DROP DATABASE production;")[0].contains("refused"));
        assert_eq!(problems(&good[1..]), ["create-database.sql is missing"]);
    }
}
