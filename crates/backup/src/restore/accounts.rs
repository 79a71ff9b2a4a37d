//! Accounts of a backup, and what they may, made on a server that does not have them. An account that is there is never
//! changed.
//!
//! Statements hold hashes of passwords: they are secrets, and are named by their account alone.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read as _;

use base16ct::lower::encode_string;
use dump::SessionContext;
use dump::layout::FileName;
use dump::manifest::FileRole;
use flavor::Vendor;
use secrecy::{ExposeSecret as _, SecretString};
use server::{Loader, ServerError, Sql};
use sha2::{Digest as _, Sha256};
use sqltext::{GrantError, Splitter, Token, lex, parse_grant, quote_account, unquote};

use super::error::RestoreError;
use super::input::{SourceFile, Summed};
use super::session::Sessions;
use super::state::State;
use super::survey::{Folder, check, failed};
use super::target::Here;

/// Accounts of a backup.
#[derive(Clone, Debug)]
pub struct Accounts {
    vendor: Vendor,
    /// In the order of the file: roles come before those that have them.
    accounts: Vec<Account>,
}

#[derive(Clone, Debug)]
struct Account {
    /// `user@host`, as servers list it.
    name: String,
    /// Quoted.
    shown: String,
    make: SecretString,
    /// Grants and the like.
    then: Vec<SecretString>,
}

/// What the accounts of any control plane take by far.
const ACCOUNTS_BYTES_MAX: u64 = 64 << 20;

impl Accounts {
    /// Those that a backup has.
    ///
    /// # Errors
    /// If there are none, or their file is damaged or another than the manifest says.
    pub(crate) fn of(folder: &Folder) -> Result<Self, RestoreError> {
        let manifest = folder.manifest.as_ref();
        let record = manifest
            .and_then(|manifest| manifest.files.iter().find(|record| record.role == FileRole::Accounts));
        let (Some(manifest), Some(record)) = (manifest, record) else {
            return Err(RestoreError::Refused(format!("{} holds no accounts", folder.name)));
        };
        let stored = &record.name;
        let place = folder.files.iter().find(|(name, _)| name == stored);
        let (Some((_, origin)), Some(name)) = (place, FileName::parse(stored)) else {
            let problem = "is in the manifest and not in the folder".to_owned();
            return Err(RestoreError::Differs { file: stored.clone(), problem });
        };
        let file = SourceFile::new(origin.clone(), folder.sealing_of(&name, stored)?);
        let file = file.map_err(failed(stored))?;
        let (raw, sum) = Summed::new(file.raw().map_err(failed(stored))?);
        let mut text = String::new();
        let read = file.text_of(Box::new(raw)).map_err(failed(stored))?;
        let mut bounded = read.take(ACCOUNTS_BYTES_MAX);
        bounded.read_to_string(&mut text).map_err(failed(stored))?;
        check(stored, &(record.sha256.clone(), record.bytes), &sum)?;
        Self::read(manifest.server.vendor, stored, &text.into())
    }

    /// Reads the file of accounts of a backup.
    ///
    /// # Errors
    /// If a statement is not about an account that the file makes.
    pub(crate) fn read(vendor: Vendor, file: &str, text: &SecretString) -> Result<Self, RestoreError> {
        let wrong = |line: u32| RestoreError::Differs {
            file: file.to_owned(),
            problem: format!("has a statement in line {line} that is about none of its accounts"),
        };
        let mut accounts: Vec<Account> = Vec::new();
        let mut numbers = BTreeMap::new();
        for statement in Splitter::new(text.expose_secret()) {
            let statement = statement.map_err(|error| wrong(error.line))?;
            let Some((is_made, user, host)) = subject(statement.text) else {
                return Err(wrong(statement.line));
            };
            if user.is_empty() && host.is_empty() {
                continue;
            }
            let name = format!("{user}@{host}");
            let known = numbers.get(&name).and_then(|number: &usize| accounts.get_mut(*number));
            match (is_made, known) {
                (true, None) => {
                    let quoted = if host.is_empty() {
                        sqltext::quote_string(&user)
                    } else {
                        quote_account(&user, &host)
                    };
                    let shown = quoted.map_err(|_| wrong(statement.line))?;
                    numbers.insert(name.clone(), accounts.len());
                    let make = statement.text.into();
                    accounts.push(Account { name, shown, make, then: Vec::new() });
                }
                (false, Some(account)) => account.then.push(statement.text.into()),
                (true, Some(_)) | (false, None) => return Err(wrong(statement.line)),
            }
        }
        Ok(Self { vendor, accounts })
    }

    /// Their names, as `user@host`.
    pub(crate) fn names(&self) -> impl Iterator<Item = &String> {
        self.accounts.iter().map(|account| &account.name)
    }

    /// Checks that the target can be given them.
    ///
    /// # Errors
    /// If it is another vendor's, or does not show its own accounts.
    pub(crate) fn check(&self, here: &Here) -> Result<(), RestoreError> {
        let (from, to) = (self.vendor, here.vendor());
        if from != to {
            return Err(RestoreError::Refused(format!(
                "the backup's accounts are of {from}, and {to} has other statements and other hashes for them: restore \
                 without --accounts, and make them there anew"
            )));
        }
        if here.accounts.is_none() {
            let why = "this login may not see which accounts the target has (SELECT on mysql.user), so none can be made";
            return Err(RestoreError::Refused(why.to_owned()));
        }
        Ok(())
    }
}

/// Whether a statement makes an account, and whose it is. Empty names: it is about none in particular.
fn subject(text: &str) -> Option<(bool, String, String)> {
    let tokens: Vec<Token<'_>> = lex(text).filter(Token::is_significant).collect();
    let is = |at: usize, word: &str| tokens.get(at).is_some_and(|token| token.is_word(word));
    let account = |at: usize| {
        let user = unquote(tokens.get(at)?.text);
        let has_host = tokens.get(at + 1).is_some_and(|token| token.is_punct("@"));
        let host = if has_host { unquote(tokens.get(at + 2)?.text) } else { String::new() };
        Some((user, host))
    };
    let of = |is_made: bool, at: usize| account(at).map(|(user, host)| (is_made, user, host));
    if is(0, "CREATE") && (is(1, "USER") || is(1, "ROLE")) {
        return of(true, if is(2, "IF") { 5 } else { 2 });
    }
    if is(0, "ALTER") && is(1, "USER") {
        return of(false, if is(2, "IF") { 4 } else { 2 });
    }
    if is(0, "FLUSH") || (is(0, "SET") && !is(1, "DEFAULT")) {
        return Some((false, String::new(), String::new()));
    }
    match parse_grant(text) {
        Ok(grant) => Some((false, grant.user, grant.host)),
        Err(GrantError::PartialRevoke(grant)) => Some((false, grant.user, grant.host)),
        Err(GrantError::DefaultRole { .. }) => {
            of(false, tokens.iter().rposition(|token| token.is_word("FOR"))? + 1)
        }
        Err(GrantError::Malformed { .. }) => None,
    }
}

/// Which accounts are to be made, and which stay as they are.
#[derive(Clone, Debug, Default)]
pub(crate) struct Choice<'a> {
    make: Vec<&'a Account>,
    /// Quoted names of those that are there.
    pub(crate) kept: Vec<String>,
}

/// Chooses: what is there stays, unless an earlier run of this restore had begun to make it.
pub(crate) fn choose<'a>(
    accounts: Option<&'a Accounts>,
    there: &BTreeSet<String>,
    state: &State,
) -> Choice<'a> {
    let mut choice = Choice::default();
    for account in accounts.into_iter().flat_map(|accounts| &accounts.accounts) {
        if there.contains(&account.name) && !state.done.contains(&item(account)) {
            choice.kept.push(account.shown.clone());
        } else {
            choice.make.push(account);
        }
    }
    choice
}

/// An account in the notes, which take letters and digits alone.
fn item(account: &Account) -> String {
    let sum = Sha256::digest(account.name.as_bytes());
    format!("account:{}", encode_string(sum.get(..16).unwrap_or_default()))
}

impl Choice<'_> {
    /// Quoted names of those that are to be made.
    pub(crate) fn made(&self) -> Vec<String> {
        self.make.iter().map(|account| account.shown.clone()).collect()
    }

    /// Makes the accounts, without any right. Takes out those that the server refuses, and says why.
    ///
    /// # Errors
    /// If the server is lost.
    pub(crate) async fn make(
        &mut self,
        loader: &mut Loader,
        sessions: &Sessions,
        state: &State,
    ) -> Result<Vec<String>, RestoreError> {
        let mut waiting = std::mem::take(&mut self.make);
        let failed = || RestoreError::server("making accounts");
        let set = sessions.statement(&SessionContext::default()).map_err(failed())?;
        loader.query(&set).await.map_err(failed())?;
        for account in &waiting {
            // Noted before: what is found on the next run with this note was made here.
            let noted = loader.run(state.note(&item(account)).as_bytes()).await;
            noted.map_err(RestoreError::server("keeping notes"))?;
        }
        loop {
            let before = waiting.len();
            let (mut left, mut refused) = (Vec::new(), Vec::new());
            for account in waiting {
                match run(loader, account, &account.make).await? {
                    None => self.make.push(account),
                    Some(why) => {
                        refused.push(format!("the account {}, {why}", account.shown));
                        left.push(account);
                    }
                }
            }
            // A default role may come after those that have it.
            if left.is_empty() || left.len() == before {
                return Ok(refused);
            }
            waiting = left;
        }
    }

    /// Grants what the accounts that were made may. Says what the server refuses.
    ///
    /// # Errors
    /// If the server is lost.
    pub(crate) async fn grant(&self, loader: &mut Loader) -> Result<Vec<String>, RestoreError> {
        let mut refused = Vec::new();
        for account in &self.make {
            for statement in &account.then {
                if let Some(why) = run(loader, account, statement).await? {
                    refused.push(format!("a grant to {}, {why}", account.shown));
                }
            }
        }
        Ok(refused)
    }
}

/// Runs a statement; why not, when the server refuses it.
async fn run(
    loader: &mut Loader,
    account: &Account,
    statement: &SecretString,
) -> Result<Option<String>, RestoreError> {
    let sql = Sql::secret(statement.expose_secret(), format!("a statement for {}", account.shown));
    match loader.query(&sql).await {
        Ok(_) => Ok(None),
        // The server's words would show the statement.
        Err(ServerError::Sql { code, state, .. }) => {
            Ok(Some(format!("which the server refuses with error {code} ({state})")))
        }
        Err(error) => Err(RestoreError::server(format!("making the account {}", account.shown))(error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Accounts, RestoreError> {
        Accounts::read(Vendor::MariaDb, "mainstay-accounts", &text.to_owned().into())
    }

    #[test]
    fn statements_are_told_apart_by_their_account() {
        let accounts = read(
            "/*!40101 SET NAMES utf8mb4*/;\nCREATE ROLE IF NOT EXISTS 'r';\n\
             CREATE USER IF NOT EXISTS `o'neil`@`10.%` IDENTIFIED BY PASSWORD '*SECRET; FOR TO';\n\
             GRANT SELECT ON `a`.* TO `r`;\nGRANT `r` TO `o'neil`@`10.%`;\nSET DEFAULT ROLE `r` FOR `o'neil`@`10.%`;\n\
             GRANT USAGE ON *.* TO `o'neil`@`10.%` IDENTIFIED BY PASSWORD '*SECRET';\nFLUSH PRIVILEGES;\n",
        )
        .unwrap();
        let names: Vec<(&str, usize)> =
            accounts.accounts.iter().map(|it| (it.name.as_str(), it.then.len())).collect();
        assert_eq!(names, [("r@", 1), ("o'neil@10.%", 3)]);
        assert!(!format!("{accounts:?}").contains("SECRET"));
        for wrong in
            ["DROP USER a", "GRANT SELECT ON a.* TO nobody", "CREATE USER a; CREATE USER a", "CREATE USER 'a"]
        {
            let error = read(wrong).unwrap_err();
            assert!(error.to_string().contains("mainstay-accounts has a statement in line 1"), "{error}");
        }
    }
}
