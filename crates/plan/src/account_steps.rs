//! The steps from the accounts a server has to the ones it should have.
//!
//! What an account should be stands in the table of `accounts`. Passwords never get here: only whether the one in
//! the file is the server's.

use std::collections::BTreeSet;
use std::path::Path;

use facts::{AccountFacts, Seen, ServerFacts};
use flavor::Flavor;
use spec::{Spec, Unmanaged};
use sqltext::{Grant, GrantError, GrantObject};

use crate::accounts::{GrantObjectWanted, WantedAccount, agent_account, roles};
use crate::observation::{Observation, PasswordMatch, SecretSeen};
use crate::step::{Action, Change, Finding, Risk, Severity, Step};

/// Steps and findings for accounts.
pub(crate) struct AccountSteps {
    pub(crate) steps: Vec<Step>,
    pub(crate) findings: Vec<Finding>,
}

/// From the accounts a server has (none, on one that does not run yet) to the wanted ones.
pub(crate) fn account_steps(
    spec: &Spec,
    flavor: Flavor,
    observation: &Observation,
    wanted: &[WantedAccount],
) -> AccountSteps {
    let mut out = AccountSteps { steps: Vec::new(), findings: Vec::new() };
    let empty = Vec::new();
    let found: &[AccountFacts] = match &observation.state.server {
        Seen::Known(ServerFacts { accounts: Seen::Known(accounts), .. }) => accounts,
        Seen::Known(ServerFacts { accounts: Seen::Unknown(why), .. }) => {
            out.findings.push(Finding {
                id: "account/unreadable".to_owned(),
                severity: Severity::Blocks,
                sentence: format!("the login may not read the server's accounts: {why}"),
                fix: "run as root over the socket, or name a login with `admin_defaults_file` in [accounts]"
                    .to_owned(),
            });
            return out;
        }
        Seen::Known(_) | Seen::Unknown(_) | Seen::Absent => &empty,
    };
    close_root(observation, found, spec, &mut out);
    for account in wanted {
        let present =
            found.iter().find(|seen| !seen.is_role && seen.user == account.user && seen.host == account.host);
        match present {
            None => create(account, &mut out.steps),
            Some(seen) => align(account, seen, observation, &mut out),
        }
    }
    for seen in found {
        let managed = wanted.iter().any(|account| account.user == seen.user && account.host == seen.host);
        if !managed {
            leftover(spec, flavor, seen, &mut out);
        }
    }
    out
}

fn name(user: &str, host: &str) -> String {
    format!("{user}@{host}")
}

fn create(account: &WantedAccount, steps: &mut Vec<Step>) {
    let name = name(&account.user, &account.host);
    steps.push(Step {
        id: format!("account/{name}/create"),
        title: format!("create account {name}"),
        reason: format!("for {}", account.purpose),
        source: None,
        risk: Risk::None,
        restarts: false,
        changes: vec![change(
            &name,
            None,
            Some(format!("{}, password in {}", account.plugin, account.password_file.display())),
        )],
        action: Action::CreateAccount {
            user: account.user.clone(),
            host: account.host.clone(),
            plugin: account.plugin.to_owned(),
            password_file: account.password_file.clone(),
            require_tls: account.require_tls,
        },
    });
    for (object, privileges) in &account.grants {
        steps.push(grant(account, object, privileges.iter().map(|name| (*name).to_owned()).collect()));
    }
}

fn change(what: &str, found: Option<String>, wanted: Option<String>) -> Change {
    Change { what: what.to_owned(), found, wanted, why: String::new() }
}

fn object_text(object: &GrantObjectWanted) -> String {
    match object {
        GrantObjectWanted::Global => "*.*".to_owned(),
        GrantObjectWanted::Database(database) => format!("{database}.*"),
    }
}

fn grant(account: &WantedAccount, object: &GrantObjectWanted, privileges: Vec<String>) -> Step {
    let name = name(&account.user, &account.host);
    let on = object_text(object);
    let list = privileges.join(", ");
    Step {
        id: format!("account/{name}/grant/{on}"),
        title: format!("grant {list} on {on} to {name}"),
        reason: format!("needed by {}", account.purpose),
        source: None,
        risk: Risk::None,
        restarts: false,
        changes: vec![change(&format!("{name} on {on}"), None, Some(list))],
        action: Action::Grant {
            user: account.user.clone(),
            host: account.host.clone(),
            privileges,
            database: match object {
                GrantObjectWanted::Global => None,
                GrantObjectWanted::Database(database) => Some(database.clone()),
            },
        },
    }
}

fn align(account: &WantedAccount, seen: &AccountFacts, observation: &Observation, out: &mut AccountSteps) {
    let name = name(&account.user, &account.host);
    let password = observation.state.passwords.get(&name).copied();
    let other_plugins = !seen.other_plugins.is_empty();
    if seen.plugin != account.plugin || other_plugins || password != Some(PasswordMatch::Same) {
        let found = if seen.plugin != account.plugin || other_plugins {
            let mut plugins = vec![seen.plugin.clone()];
            plugins.extend(seen.other_plugins.iter().cloned());
            plugins.join(" or ")
        } else {
            "another password".to_owned()
        };
        out.steps.push(Step {
            id: format!("account/{name}/password"),
            title: format!("set the password of {name} from {}", account.password_file.display()),
            reason: "the server checks another password than the one in the file".to_owned(),
            source: None,
            risk: Risk::Clients,
            restarts: false,
            changes: vec![change(
                &name,
                Some(found),
                Some(format!("{}, the file's password", account.plugin)),
            )],
            action: Action::SetPassword {
                user: account.user.clone(),
                host: account.host.clone(),
                plugin: account.plugin.to_owned(),
                password_file: account.password_file.clone(),
            },
        });
    }
    login_rules(account, seen, &name, &mut out.steps);
    grants(account, seen, &name, out);
}

fn login_rules(account: &WantedAccount, seen: &AccountFacts, name: &str, steps: &mut Vec<Step>) {
    let requires = !seen.tls.is_empty();
    let tls_differs = requires != account.require_tls;
    if !tls_differs && !seen.locked {
        return;
    }
    let mut changes = Vec::new();
    if tls_differs {
        let text = |on: bool| if on { "TLS required" } else { "TLS not required" }.to_owned();
        changes.push(change(name, Some(text(requires)), Some(text(account.require_tls))));
    }
    if seen.locked {
        changes.push(change(name, Some("locked".to_owned()), Some("unlocked".to_owned())));
    }
    steps.push(Step {
        id: format!("account/{name}/login"),
        title: format!("change how {name} logs in"),
        reason: format!("as {} needs it", account.purpose),
        source: None,
        risk: Risk::Clients,
        restarts: false,
        changes,
        action: Action::AlterAccount {
            user: account.user.clone(),
            host: account.host.clone(),
            require_tls: tls_differs.then_some(account.require_tls),
            unlock: seen.locked,
        },
    });
}

fn grants(account: &WantedAccount, seen: &AccountFacts, name: &str, out: &mut AccountSteps) {
    let mut missing: Vec<(GrantObjectWanted, BTreeSet<String>)> = account
        .grants
        .iter()
        .map(|(object, names)| (object.clone(), names.iter().map(|name| (*name).to_owned()).collect()))
        .collect();
    for line in &seen.grants {
        match sqltext::parse_grant(line) {
            Ok(grant) => stray(account, &grant, line, &mut missing, name, out),
            // Which role is active by default gives nothing by itself; the grant of the role is a line of its own.
            Err(GrantError::DefaultRole { .. }) => {}
            // MySQL's partial revokes only take away.
            Err(GrantError::PartialRevoke(_)) => {}
            Err(GrantError::Malformed { .. }) => out.findings.push(unreadable_grant(name, line)),
        }
    }
    for (object, names) in missing {
        if !names.is_empty() {
            out.steps.push(grant(account, &object, names.into_iter().collect()));
        }
    }
}

fn unreadable_grant(name: &str, line: &str) -> Finding {
    Finding {
        id: format!("account/{name}/grant-unreadable"),
        severity: Severity::Differs,
        sentence: format!("{name} has a grant that Mainstay does not understand: {line}"),
        fix: "revoke it by hand, if it is not wanted".to_owned(),
    }
}

/// A role in a `REVOKE`: MySQL's may have a host part, MariaDB's have none.
fn role_text(role: &str) -> Option<String> {
    match role.rsplit_once('@') {
        Some((name, host)) => sqltext::quote_account(name, host).ok(),
        None => sqltext::quote_ident(role).ok(),
    }
}

/// Takes what the grant gives out of `missing`; what it gives beyond is revoked.
fn stray(
    account: &WantedAccount,
    grant: &Grant,
    line: &str,
    missing: &mut [(GrantObjectWanted, BTreeSet<String>)],
    name: &str,
    out: &mut AccountSteps,
) {
    let AccountSteps { steps, findings } = out;
    let object = match &grant.object {
        GrantObject::Global => Some(GrantObjectWanted::Global),
        GrantObject::Schema(schema) => {
            Some(GrantObjectWanted::Database(schema.replace("\\_", "_").replace("\\%", "%")))
        }
        GrantObject::Table(..)
        | GrantObject::Routine { .. }
        | GrantObject::Proxy { .. }
        | GrantObject::Role(_) => None,
    };
    let mut extra: BTreeSet<String> =
        grant.privileges.iter().filter(|privilege| privilege.as_str() != "USAGE").cloned().collect();
    if let Some(wanted) =
        object.as_ref().and_then(|object| missing.iter_mut().find(|(wanted, _)| wanted == object))
    {
        for privilege in wanted_of(account, object.as_ref()) {
            extra.remove(&privilege);
        }
        wanted.1.retain(|privilege| !grant.privileges.contains(privilege));
    }
    if let GrantObject::Role(roles) = &grant.object {
        for role in roles {
            match role_text(role) {
                Some(text) => steps.push(revoke(account, name, &format!("role {role}"), text)),
                None => findings.push(unreadable_grant(name, line)),
            }
        }
        return;
    }
    let Some(on) = revoke_object(&grant.object) else {
        findings.push(unreadable_grant(name, line));
        return;
    };
    if grant.grant_option {
        extra.insert("GRANT OPTION".to_owned());
    }
    if !extra.is_empty() {
        let list = extra.into_iter().collect::<Vec<_>>().join(", ");
        steps.push(revoke(account, name, &format!("{list} on {on}"), format!("{list} ON {on}")));
    }
}

fn wanted_of(account: &WantedAccount, object: Option<&GrantObjectWanted>) -> Vec<String> {
    account
        .grants
        .iter()
        .filter(|(wanted, _)| Some(wanted) == object)
        .flat_map(|(_, names)| names.iter().map(|name| (*name).to_owned()))
        .collect()
}

/// The object part of a `REVOKE`, quoted as `SHOW GRANTS` prints it (a schema pattern keeps its escapes).
fn revoke_object(object: &GrantObject) -> Option<String> {
    match object {
        GrantObject::Global => Some("*.*".to_owned()),
        GrantObject::Schema(schema) => Some(format!("{}.*", sqltext::quote_ident(schema).ok()?)),
        GrantObject::Table(schema, table) => {
            Some(format!("{}.{}", sqltext::quote_ident(schema).ok()?, sqltext::quote_ident(table).ok()?))
        }
        GrantObject::Routine { kind, schema, name } => Some(format!(
            "{kind} {}.{}",
            sqltext::quote_ident(schema).ok()?,
            sqltext::quote_ident(name).ok()?
        )),
        GrantObject::Proxy { .. } | GrantObject::Role(_) => None,
    }
}

fn revoke(account: &WantedAccount, name: &str, shown: &str, grant: String) -> Step {
    Step {
        id: format!("account/{name}/revoke/{shown}"),
        title: format!("revoke {shown} from {name}"),
        reason: "not in the account's row of the table of grants".to_owned(),
        source: None,
        risk: Risk::Clients,
        restarts: false,
        changes: vec![change(name, Some(shown.to_owned()), None)],
        action: Action::Revoke { user: account.user.clone(), host: account.host.clone(), grant },
    }
}

/// Logging in takes neither a password nor the right OS user.
fn no_password(seen: &AccountFacts) -> bool {
    seen.auth.expose().is_empty()
        && !seen.locked
        && seen.other_plugins.is_empty()
        && !matches!(seen.plugin.as_str(), "unix_socket" | "auth_socket")
}

/// A step that ties a passwordless root to the OS's root, when it is the OS's root that runs Mainstay: the same
/// login goes on working, and nobody else's does.
fn close_root(observation: &Observation, found: &[AccountFacts], spec: &Spec, out: &mut AccountSteps) {
    let open = found.iter().find(|seen| seen.user == "root" && seen.host == "localhost" && no_password(seen));
    let over_socket = spec.accounts.admin_defaults_file.is_none() && spec.accounts.admin_user == "root";
    if open.is_none() || !over_socket || !observation.state.run_as_root {
        return;
    }
    out.steps.push(Step {
        id: "account/root@localhost/socket".to_owned(),
        title: "have root@localhost log in by the OS's root only".to_owned(),
        reason: "anyone on this host may log in as root without a password".to_owned(),
        source: None,
        risk: Risk::Clients,
        restarts: false,
        changes: vec![change(
            "root@localhost",
            Some("no password".to_owned()),
            Some("OS user root, over the socket".to_owned()),
        )],
        action: Action::SocketLogin { user: "root".to_owned(), host: "localhost".to_owned() },
    });
}

fn leftover(spec: &Spec, flavor: Flavor, seen: &AccountFacts, out: &mut AccountSteps) {
    let own = flavor.own_accounts().iter().any(|(user, host)| *user == seen.user && *host == seen.host);
    let admin = seen.user == spec.accounts.admin_user;
    let local = matches!(seen.host.as_str(), "localhost" | "127.0.0.1" | "::1");
    let open_root = seen.user == "root" && seen.host != "localhost" && no_password(seen);
    let of_agents = spec.ha.is_some() && spec.nodes.iter().any(|node| agent_account(&node.name) == seen.user);
    if own || (admin && local && !open_root) || seen.is_role || of_agents {
        return;
    }
    let name = name(&seen.user, &seen.host);
    let anonymous = seen.user.is_empty();
    // A managed user from a host the spec no longer names still opens the door it was made for.
    let stale = roles(spec).iter().any(|role| role.user == seen.user);
    if anonymous || open_root || stale || spec.accounts.unmanaged == Unmanaged::Drop {
        let reason = if anonymous {
            "anyone may log in with it"
        } else if open_root {
            "a leftover of installation: root over TCP without a password"
        } else if stale {
            "the spec does not let this user in from this host"
        } else {
            "not in the spec, and `unmanaged = \"drop\"`"
        };
        out.steps.push(Step {
            id: format!("account/{name}/drop"),
            title: if anonymous {
                format!("drop the anonymous account @{}", seen.host)
            } else {
                format!("drop account {name}")
            },
            reason: reason.to_owned(),
            source: None,
            risk: Risk::Clients,
            restarts: false,
            changes: vec![change(&name, Some(seen.plugin.clone()), None)],
            action: Action::DropAccount { user: seen.user.clone(), host: seen.host.clone() },
        });
        return;
    }
    out.findings.push(Finding {
        id: format!("account/{name}/unmanaged"),
        severity: Severity::Differs,
        sentence: format!("account {name} is on the server and not in the spec"),
        fix: "drop it, or set `unmanaged = \"drop\"` in [accounts] to have apply drop such accounts"
            .to_owned(),
    });
}

/// Every secret file the accounts need, once each.
pub(crate) fn password_files(accounts: &[WantedAccount]) -> BTreeSet<&Path> {
    accounts.iter().map(|account| account.password_file.as_path()).collect()
}

/// Clients' accounts that exist while the file that should hold their password does not: a generated one would
/// lock the clients out, so the operator must bring the password.
pub(crate) fn unknown_passwords(accounts: &[WantedAccount], observation: &Observation) -> Vec<Finding> {
    let Seen::Known(ServerFacts { accounts: Seen::Known(found), .. }) = &observation.state.server else {
        return Vec::new();
    };
    let mut findings: Vec<Finding> = accounts
        .iter()
        .filter(|account| !account.ours)
        .filter(|account| {
            !matches!(observation.state.secrets.get(&account.password_file), Some(SecretSeen::Present))
        })
        .filter(|account| found.iter().any(|seen| seen.user == account.user && !seen.is_role))
        .map(|account| Finding {
            id: format!("secret/{}/unknown", account.user),
            severity: Severity::Blocks,
            sentence: format!(
                "account {} exists on the server, and {} does not hold its password",
                account.user,
                account.password_file.display()
            ),
            fix: format!(
                "put the password its clients use there (mode 0600), or drop the accounts of {} first",
                account.user
            ),
        })
        .collect();
    findings.dedup();
    findings
}
