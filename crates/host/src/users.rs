//! Users and groups of the host, by reading `/etc/passwd` and `/etc/group`, and who this process is.
//!
//! Names that only a directory service knows are not found here: the accounts a database server runs as are
//! local ones. Creates and changes no account.

use std::path::Path;

use crate::files::{self, FileError};

/// Limit for the account files.
const ACCOUNTS_BYTES_MAX: usize = 4 << 20;

/// A user as `/etc/passwd` has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// Login name.
    pub name: String,
    /// User id.
    pub uid: u32,
    /// Primary group id.
    pub gid: u32,
    /// Home folder.
    pub home: String,
}

/// A group as `/etc/group` has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// Name.
    pub name: String,
    /// Group id.
    pub gid: u32,
}

/// Users in the text of a passwd file; lines that are not users are passed over.
#[must_use]
pub fn parse_passwd(text: &str) -> Vec<User> {
    text.lines()
        .filter_map(|line| {
            let fields: Vec<&str> = line.split(':').collect();
            let [name, _, uid, gid, _, home, _] = fields.as_slice() else { return None };
            Some(User {
                name: (*name).to_owned(),
                uid: uid.parse().ok()?,
                gid: gid.parse().ok()?,
                home: (*home).to_owned(),
            })
        })
        .collect()
}

/// Groups in the text of a group file; lines that are not groups are passed over.
#[must_use]
pub fn parse_group(text: &str) -> Vec<Group> {
    text.lines()
        .filter_map(|line| {
            let mut fields = line.split(':');
            let name = fields.next()?.to_owned();
            let gid = fields.nth(1)?.parse().ok()?;
            Some(Group { name, gid })
        })
        .collect()
}

/// The user of this name, `None` when the host has none.
///
/// # Errors
/// `/etc/passwd` cannot be read.
pub fn user(name: &str) -> Result<Option<User>, FileError> {
    Ok(users()?.into_iter().find(|user| user.name == name))
}

/// The group of this name, `None` when the host has none.
///
/// # Errors
/// `/etc/group` cannot be read.
pub fn group(name: &str) -> Result<Option<Group>, FileError> {
    Ok(groups()?.into_iter().find(|group| group.name == name))
}

/// Name of a user id, or the number where it has no name.
#[must_use]
pub fn user_name(uid: u32) -> String {
    let found = users().ok().and_then(|users| users.into_iter().find(|user| user.uid == uid));
    found.map_or_else(|| uid.to_string(), |user| user.name)
}

/// Name of a group id, or the number where it has no name.
#[must_use]
pub fn group_name(gid: u32) -> String {
    let found = groups().ok().and_then(|groups| groups.into_iter().find(|group| group.gid == gid));
    found.map_or_else(|| gid.to_string(), |group| group.name)
}

/// The effective user id of this process.
#[must_use]
pub fn current_uid() -> u32 {
    rustix::process::geteuid().as_raw()
}

/// `true` if this process is root.
#[must_use]
pub fn is_root() -> bool {
    current_uid() == 0
}

/// The host's name, as the kernel has it.
#[must_use]
pub fn hostname() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

fn users() -> Result<Vec<User>, FileError> {
    files::read_text(Path::new("/etc/passwd"), ACCOUNTS_BYTES_MAX).map(|text| parse_passwd(&text))
}

fn groups() -> Result<Vec<Group>, FileError> {
    files::read_text(Path::new("/etc/group"), ACCOUNTS_BYTES_MAX).map(|text| parse_group(&text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn account_files_are_read_and_odd_lines_passed_over() {
        let users = parse_passwd(
            "root:x:0:0:root:/root:/bin/bash\n+::::::\n\nmysql:x:107:115:MySQL Server,,,:/nonexistent:/bin/false\nshort:x:1\n",
        );
        assert_eq!(users.iter().map(|user| user.name.as_str()).collect::<Vec<_>>(), ["root", "mysql"]);
        assert_eq!(users[1].uid, 107);
        assert_eq!(users[1].gid, 115);
        assert_eq!(users[1].home, "/nonexistent");

        let groups = parse_group("root:x:0:\nadm:x:4:syslog,lala\nbroken:x:\n");
        assert_eq!(groups, [Group { name: "root".into(), gid: 0 }, Group { name: "adm".into(), gid: 4 }]);
    }

    #[test]
    fn root_is_known_and_a_stranger_is_not() {
        assert_eq!(user("root").unwrap().unwrap().uid, 0);
        assert_eq!(group("root").unwrap().unwrap().gid, 0);
        assert_eq!(user("no-such-user-here").unwrap(), None);
        assert_eq!(user_name(0), "root");
        assert_eq!(user_name(4_000_000_123), "4000000123");
        assert!(!hostname().is_empty());
    }
}
