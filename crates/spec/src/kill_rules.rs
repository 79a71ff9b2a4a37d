//! The `[kill]` section: how often agents look, who is protected, and the rules.
//!
//! What a rule means, and when it contradicts itself, is the crate `kill`'s to say; flags of the command line make the
//! same rules.

use std::str::FromStr;

use kill::{Action, Allowed, GroupBy, Locks, Pattern, Policy, Rule, Span, Traits, Victims};
use serde::Serialize;

use crate::check::{Document, find_in, table_of};
use crate::read::{At, Section};
use crate::values;

const RULES_MAX: usize = 100;
const PATTERNS_MAX: usize = 256;
const INTERVAL_SECONDS: u32 = 30;
const INTERVAL_SECONDS_MAX: u32 = 3600;

/// `[kill]`: sessions and queries ended by rules.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Kill {
    /// How often an agent looks, 1 to 3600. Default 30.
    pub interval_seconds: u32,
    /// Agents only say what they would end. Default true.
    pub dry_run: bool,
    /// On which nodes agents look.
    pub on: KillOn,
    /// What holds for all rules.
    pub policy: Policy,
    /// `[[kill.rule]]`, at least one, names unique.
    pub rules: Vec<Rule>,
}

/// On which nodes agents end sessions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum KillOn {
    /// The primary.
    Primary,
    /// Every node but that.
    Replicas,
    /// Every node.
    All,
}

impl<'a> Document<'a> {
    pub(crate) fn kill(&self) -> Option<Kill> {
        let section = self.section("kill");
        if !section.is_there() {
            return None;
        }
        let places = [("primary", KillOn::Primary), ("replicas", KillOn::Replicas), ("all", KillOn::All)];
        let allowed = [
            ("lock-holders", Allowed::LockHolders),
            ("unknown-locks", Allowed::UnknownLocks),
            ("login-account", Allowed::LoginAccount),
            ("replication", Allowed::Replication),
        ];
        let allow = section.texts("allow", PATTERNS_MAX).into_iter().filter_map(|text| {
            let known = |text: &str| {
                let found = allowed.iter().find(|(word, _)| *word == text).map(|(_, allowed)| *allowed);
                found.ok_or_else(|| {
                    format!("expected one of {}", allowed.map(|(word, _)| format!("`{word}`")).join(", "))
                })
            };
            self.checked(text, known)
        });
        let policy = Policy {
            protect: self.parsed(section.texts("protect", PATTERNS_MAX)),
            allow: allow.collect(),
            limit: small(&section, "limit", 10_000).unwrap_or(Policy::LIMIT),
        };
        let rules = self.rules(&section);
        Some(Kill {
            interval_seconds: self.interval(&section),
            dry_run: section.boolean("dry_run").unwrap_or(true),
            on: section.word("on", &places).map_or(KillOn::Primary, |word| word.value),
            policy,
            rules,
        })
    }

    fn interval(&self, section: &Section<'_>) -> u32 {
        let Some(text) = section.text("interval") else { return INTERVAL_SECONDS };
        let seconds = |text: &str| {
            let span: Span = text.parse().map_err(|error: kill::SpanError| error.to_string())?;
            let fits = u32::try_from(span.seconds()).ok().filter(|seconds| *seconds <= INTERVAL_SECONDS_MAX);
            fits.ok_or_else(|| "expected \"1s\" to \"1h\"".to_owned())
        };
        self.checked(text, seconds).unwrap_or(INTERVAL_SECONDS)
    }

    fn rules(&self, outer: &Section<'_>) -> Vec<Rule> {
        let table = self.find("kill").and_then(|(value, _)| table_of(value));
        let Some((value, _)) = table.and_then(|table| find_in(table, "rule")) else {
            if self.inner_is_absent("kill", "rule") {
                outer.problem(
                    outer.span.clone(),
                    "[kill] without a [[kill.rule]]",
                    "add one, or remove [kill]",
                );
            }
            return Vec::new();
        };
        let mut rules: Vec<Rule> = Vec::new();
        for section in self.sections("kill.rule", value, RULES_MAX) {
            let before = self.problems.count();
            let Some(rule) = self.rule(&section) else { continue };
            if rules.iter().any(|other| other.name == rule.name) {
                let message = format!("a second [[kill.rule]] named {}", rule.name);
                section.problem(section.place("name"), message, "each needs a name of its own");
            }
            // What contradicts a wrong value is not told as well.
            if self.problems.count() == before
                && let Err(error) = rule.check()
            {
                section.problem(section.span.clone(), error.to_string(), "change or remove one of the two");
            }
            rules.push(rule);
        }
        rules
    }

    fn rule(&self, section: &Section<'_>) -> Option<Rule> {
        let name = section.required_text("name").and_then(|text| self.checked(text, values::name))?;
        let span = |key: &'static str| -> Option<Span> {
            self.checked(section.text(key)?, |text| {
                text.parse().map_err(|error: kill::SpanError| error.to_string())
            })
        };
        let groups = [
            ("fingerprint", GroupBy::Fingerprint),
            ("user", GroupBy::User),
            ("host", GroupBy::Host),
            ("db", GroupBy::Db),
            ("command", GroupBy::Command),
            ("state", GroupBy::State),
        ];
        let locks = [("any", Locks::Any), ("rows", Locks::Rows), ("metadata", Locks::Metadata)];
        let victims = [
            ("oldest", Victims::Oldest),
            ("all", Victims::All),
            ("all-but-oldest", Victims::AllButOldest),
            ("blocker", Victims::Blocker),
        ];
        let actions = [("query", Action::Query), ("connection", Action::Connection)];
        Some(Rule {
            matches: self.traits(section, MATCHES),
            ignores: self.traits(section, IGNORES),
            fingerprints: section
                .texts("fingerprint", PATTERNS_MAX)
                .into_iter()
                .filter_map(|text| {
                    self.checked(text, |text| Rule::fingerprint_of(text).map_err(|error| error.to_string()))
                })
                .collect(),
            query_ids: self.parsed(section.texts("query_id", PATTERNS_MAX)),
            busy: span("busy_time"),
            idle: span("idle_time"),
            transaction: span("transaction_time"),
            idle_transaction: span("idle_transaction_time"),
            waiting: span("waiting_time"),
            blocks: small(section, "blocks", 100_000),
            blocking: span("blocking_time"),
            locks: section.word("locks", &locks).map_or(Locks::Any, |word| word.value),
            group_by: section.word("group_by", &groups).map(|word| word.value),
            class_count: small(section, "class_count", 100_000),
            any_busy: span("any_busy_time"),
            each_busy: span("each_busy_time"),
            victims: section.word("victims", &victims).map_or(Victims::Oldest, |word| word.value),
            action: section.word("kill", &actions).map(|word| word.value),
            ..Rule::new(name)
        })
    }

    fn traits(&self, section: &Section<'_>, keys: [&'static str; 6]) -> Traits {
        let [user, host, db, command, state, statement] = keys;
        let patterns = |key: &'static str| self.parsed(section.texts(key, PATTERNS_MAX));
        let statements = section.texts(statement, PATTERNS_MAX).into_iter().filter_map(|text| {
            self.checked(text, |text| Pattern::statement(text).map_err(|error| error.to_string()))
        });
        Traits {
            user: patterns(user),
            host: patterns(host),
            db: patterns(db),
            command: patterns(command),
            state: patterns(state),
            statement: statements.collect(),
        }
    }

    fn parsed<T>(&self, texts: Vec<At<String>>) -> Vec<T>
    where
        T: FromStr,
        T::Err: std::fmt::Display,
    {
        let parse = |text: &str| text.parse().map_err(|error: T::Err| error.to_string());
        texts.into_iter().filter_map(|text| self.checked(text, parse)).collect()
    }
}

const MATCHES: [&str; 6] =
    ["match_user", "match_host", "match_db", "match_command", "match_state", "match_statement"];
const IGNORES: [&str; 6] =
    ["ignore_user", "ignore_host", "ignore_db", "ignore_command", "ignore_state", "ignore_statement"];

fn small(section: &Section<'_>, name: &'static str, max: u64) -> Option<u32> {
    section.number(name, 1, max).and_then(|number| u32::try_from(number.value).ok())
}
