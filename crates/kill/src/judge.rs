//! From rules and what was seen to the verdict.
//!
//! Each rule in turn: who matches, who of these is protected, what classes the rest forms, and who of a class is the
//! victim. A session is a victim once, by the first rule that means it.

use std::collections::{BTreeMap, BTreeSet};

use facts::{Seen, Session, Sessions};
use sqltext::{Fingerprinter, QueryId, Rules};

use crate::graph::WaitGraph;
use crate::pattern::Pattern;
use crate::protect::{Policy, is_busy, is_idle};
use crate::rule::{Action, GroupBy, Locks, Rule, Traits, Victims};
use crate::span::Span;
use crate::verdict::{Identity, Kill, Spared, Verdict};

/// Sessions that a note names one by one.
const IDS_TOLD: usize = 10;

/// Judges what was seen. Rules are expected to have passed [`Rule::check`].
#[must_use]
pub fn judge(rules: &[Rule], policy: &Policy, seen: &Sessions) -> Verdict {
    let mut look = Look::new(seen, policy);
    let mut chosen: BTreeSet<u64> = BTreeSet::new();
    let (mut kills, mut spared) = (Vec::new(), Vec::new());
    for rule in rules {
        let victims = look.victims(rule, &mut spared);
        for session in victims {
            if chosen.insert(session.id) {
                kills.push(look.kill(rule, session));
            }
        }
    }
    let limit = usize::try_from(policy.limit).unwrap_or(usize::MAX);
    let beyond_limit = kills.len().saturating_sub(limit);
    kills.truncate(limit);
    spared.retain(|spared: &Spared| !kills.iter().any(|kill: &Kill| kill.id == spared.id));
    let notes = look.notes(rules);
    let waiters = look.graph(Locks::Any).waiters();
    Verdict { sessions: seen.sessions.len(), waiters, kills, spared, beyond_limit, notes }
}

/// What was seen, with what has been concluded from it so far.
struct Look<'a> {
    seen: &'a Sessions,
    policy: &'a Policy,
    graphs: BTreeMap<Locks, WaitGraph>,
    prints: BTreeMap<u64, Option<Print>>,
    without_session: bool,
}

/// What a statement is called.
#[derive(Clone)]
struct Print {
    fingerprint: String,
    id: QueryId,
}

impl<'a> Look<'a> {
    fn new(seen: &'a Sessions, policy: &'a Policy) -> Self {
        let mut maker = Fingerprinter::new(Rules::Own);
        let prints = seen.sessions.iter().map(|session| {
            let print = session.statement.as_ref().map(|statement| {
                let fingerprint = maker.fingerprint(statement.as_bytes());
                let id = QueryId::of(fingerprint);
                Print { fingerprint: String::from_utf8_lossy(fingerprint).into_owned(), id }
            });
            (session.id, print)
        });
        let prints = prints.collect();
        let graphs =
            [Locks::Any, Locks::Rows, Locks::Metadata].map(|locks| (locks, WaitGraph::new(seen, locks)));
        Self { seen, policy, graphs: graphs.into_iter().collect(), prints, without_session: false }
    }

    fn graph(&self, locks: Locks) -> &WaitGraph {
        static NONE: WaitGraph = WaitGraph::empty();
        self.graphs.get(&locks).unwrap_or(&NONE)
    }

    fn print(&self, session: &Session) -> Option<&Print> {
        self.prints.get(&session.id)?.as_ref()
    }

    /// The victims of a rule, the longest at it first.
    fn victims(&mut self, rule: &Rule, spared: &mut Vec<Spared>) -> Vec<&'a Session> {
        let matched: Vec<&Session> = self.seen.sessions.iter().filter(|it| self.matches(rule, it)).collect();
        let candidates =
            if rule.victims == Victims::Blocker { self.blockers(rule, &matched) } else { matched };
        let (mut free, mut kept) = (Vec::new(), Vec::new());
        for session in candidates {
            match self.policy.protection(session, self.seen, rule.action()) {
                None => free.push(session),
                Some(why) => kept.push(Spared {
                    id: session.id,
                    user: session.user.clone(),
                    host: session.host.clone(),
                    rule: rule.name.clone(),
                    why,
                }),
            }
        }
        spared.extend(kept);
        let mut classes: BTreeMap<String, Vec<&Session>> = BTreeMap::new();
        for session in free {
            classes.entry(self.class(rule, session)).or_default().push(session);
        }
        let mut victims = Vec::new();
        for mut class in classes.into_values().filter(|class| is_class_meant(rule, class)) {
            class.sort_by_key(|session| (std::cmp::Reverse(self.age_ms(rule, session)), session.id));
            match rule.victims {
                Victims::Oldest => class.truncate(1),
                Victims::AllButOldest => drop(class.drain(..1)),
                Victims::All | Victims::Blocker => {}
            }
            victims.append(&mut class);
        }
        victims
    }

    /// Whoever the matched wait for in the end. Where the rule itself describes who blocks, only those it describes.
    fn blockers(&mut self, rule: &Rule, matched: &[&'a Session]) -> Vec<&'a Session> {
        let describes_blocker = rule.blocks.is_some() || rule.blocking.is_some();
        let graph = self.graph(rule.locks);
        let mut roots: BTreeSet<u64> = BTreeSet::new();
        for session in matched {
            let own = graph.roots(session.id);
            if describes_blocker {
                roots.extend(own.contains(&session.id).then_some(session.id));
            } else if !graph.is_in_the_dark(session.id) {
                roots.extend(own);
            }
        }
        self.without_session |= roots.contains(&0);
        self.seen.sessions.iter().filter(|session| roots.contains(&session.id)).collect()
    }

    fn matches(&self, rule: &Rule, session: &Session) -> bool {
        let is_known = |print: Option<&Print>| {
            let Some(print) = print else { return false };
            let by_text = rule.fingerprints.contains(&print.fingerprint);
            // An id made of a statement's beginning is no statement's.
            by_text || (!session.is_cut && rule.query_ids.iter().any(|id| id.matches(print.id)))
        };
        let names_statement = !rule.fingerprints.is_empty() || !rule.query_ids.is_empty();
        traits_match(&rule.matches, session)
            && !is_ignored(&rule.ignores, session)
            && (!names_statement || is_known(self.print(session)))
            && times_match(rule, session)
            && self.locks_match(rule, session)
    }

    fn locks_match(&self, rule: &Rule, session: &Session) -> bool {
        let graph = self.graph(rule.locks);
        if let Some(span) = rule.waiting
            && graph.waiting_ms(session.id).is_none_or(|waiting_ms| waiting_ms < span.ms())
        {
            return false;
        }
        if rule.blocks.is_none() && rule.blocking.is_none() {
            return true;
        }
        let (count, longest_ms) = graph.blocked(session.id);
        count >= u64::from(rule.blocks.unwrap_or(1)) && longest_ms >= rule.blocking.map_or(0, Span::ms)
    }

    fn class(&self, rule: &Rule, session: &Session) -> String {
        match rule.group_by {
            None => String::new(),
            Some(GroupBy::Fingerprint) => {
                self.print(session).map(|print| print.fingerprint.clone()).unwrap_or_default()
            }
            Some(GroupBy::User) => session.user.clone(),
            Some(GroupBy::Host) => session.host.clone(),
            Some(GroupBy::Db) => session.db.clone().unwrap_or_default(),
            Some(GroupBy::Command) => session.command.clone(),
            Some(GroupBy::State) => session.state.clone(),
        }
    }

    /// How long a session has been at what the rule is about.
    fn age_ms(&self, rule: &Rule, session: &Session) -> u64 {
        let transaction_ms = session.transaction.as_ref().map(|transaction| transaction.age_ms);
        let (count, longest_ms) = self.graph(rule.locks).blocked(session.id);
        if count > 0 && (rule.blocks.is_some() || rule.blocking.is_some()) {
            longest_ms
        } else if rule.transaction.is_some() {
            transaction_ms.unwrap_or(session.time_ms)
        } else {
            session.time_ms
        }
    }

    fn kill(&self, rule: &Rule, session: &Session) -> Kill {
        let print = self.print(session);
        let transaction = session.transaction.as_ref();
        Kill {
            id: session.id,
            user: session.user.clone(),
            host: session.host.clone(),
            db: session.db.clone(),
            command: session.command.clone(),
            state: session.state.clone(),
            time_ms: session.time_ms,
            transaction_ms: transaction.map(|transaction| transaction.age_ms),
            rows_modified: transaction.map(|transaction| transaction.rows_modified),
            blocked: self.graph(Locks::Any).blocked(session.id).0,
            rule: rule.name.clone(),
            action: rule.action(),
            reason: self.reason(session),
            fingerprint: print.map(|print| print.fingerprint.clone()),
            query_id: print.filter(|_| !session.is_cut).map(|print| print.id.to_string()),
            identity: Identity { seen: session.clone() },
        }
    }

    /// What is the matter with a session, in words.
    fn reason(&self, session: &Session) -> String {
        let seconds = |ms: u64| format!("{}.{} s", ms / 1000, ms % 1000 / 100);
        let mut parts = Vec::new();
        if is_idle(session) {
            parts.push(format!("idle for {}", seconds(session.time_ms)));
        } else {
            parts.push(format!("busy for {}", seconds(session.time_ms)));
        }
        if let Some(transaction) = &session.transaction {
            let changed = match transaction.rows_modified {
                0 => String::new(),
                1 => " with 1 changed row".to_owned(),
                rows => format!(" with {rows} changed rows"),
            };
            parts.push(format!("in a transaction for {}{changed}", seconds(transaction.age_ms)));
        }
        let graph = self.graph(Locks::Any);
        if let Some(waiting_ms) = graph.waiting_ms(session.id) {
            parts.push(format!("waiting for a lock for {}", seconds(waiting_ms)));
        }
        let (count, longest_ms) = graph.blocked(session.id);
        if count > 0 {
            let sessions = if count == 1 { "session" } else { "sessions" };
            parts.push(format!("blocking {count} {sessions} for up to {}", seconds(longest_ms)));
        }
        parts.join(", ")
    }

    fn notes(&self, rules: &[Rule]) -> Vec<String> {
        let mut notes = Vec::new();
        let looks = |rule: &Rule| rule.waiting.is_some() || rule.blocks.is_some() || rule.blocking.is_some();
        let wants = |locks: Locks| rules.iter().any(|rule| looks(rule) && rule.locks != locks);
        if let Seen::Unknown(why) = &self.seen.row_waits
            && wants(Locks::Metadata)
        {
            notes.push(format!("who waits for whose row locks is not known: {why}"));
        }
        if let Seen::Unknown(why) = &self.seen.metadata_locks
            && wants(Locks::Rows)
        {
            notes.push(format!("who waits for whose metadata locks is not known: {why}"));
        }
        if let Seen::Unknown(why) = &self.seen.user_locks
            && rules.iter().any(|rule| rule.action() == Action::Connection)
        {
            notes.push(format!("who holds locks of GET_LOCK is not known: {why}"));
        }
        let dark = self.seen.sessions.iter().filter(|it| self.graph(Locks::Any).is_in_the_dark(it.id));
        let dark: Vec<String> = dark.map(|session| session.id.to_string()).collect();
        if !dark.is_empty() && rules.iter().any(looks) {
            let (first, more) = dark.split_at(dark.len().min(IDS_TOLD));
            let more = if more.is_empty() { String::new() } else { format!(" and {} more", more.len()) };
            let first = first.join(", ");
            notes.push(format!("who holds the lock that {first}{more} waits for is not told by the server"));
        }
        if self.without_session {
            notes.push("a prepared transaction without a session is in the way: see XA RECOVER".to_owned());
        }
        if self.seen.skipped > 0 {
            notes.push(format!("{} rows of the server's answers were left out", self.seen.skipped));
        }
        notes
    }
}

fn any_matches(patterns: &[Pattern], text: &str) -> bool {
    patterns.iter().any(|pattern| pattern.matches(text))
}

/// The texts of a session, in the order of [`Traits::lists`].
fn texts(session: &Session) -> [Option<&str>; 6] {
    [
        Some(&session.user),
        Some(&session.host),
        session.db.as_deref(),
        Some(&session.command),
        Some(&session.state),
        session.statement.as_deref(),
    ]
}

fn traits_match(traits: &Traits, session: &Session) -> bool {
    traits.lists().into_iter().zip(texts(session)).all(|((_, patterns), text)| {
        patterns.is_empty() || text.is_some_and(|text| any_matches(patterns, text))
    })
}

fn is_ignored(traits: &Traits, session: &Session) -> bool {
    traits
        .lists()
        .into_iter()
        .zip(texts(session))
        .any(|((_, patterns), text)| text.is_some_and(|text| any_matches(patterns, text)))
}

fn times_match(rule: &Rule, session: &Session) -> bool {
    let lasts = |span: Option<Span>, is_so: bool, ms: u64| span.is_none_or(|span| is_so && ms >= span.ms());
    let transaction_ms = session.transaction.as_ref().map(|transaction| transaction.age_ms);
    let has_transaction = transaction_ms.is_some();
    lasts(rule.busy, is_busy(session), session.time_ms)
        && lasts(rule.idle, is_idle(session), session.time_ms)
        && lasts(rule.transaction, has_transaction, transaction_ms.unwrap_or(0))
        && lasts(rule.idle_transaction, has_transaction && is_idle(session), session.time_ms)
}

fn is_class_meant(rule: &Rule, class: &[&Session]) -> bool {
    let busy = |session: &&Session, span: Span| is_busy(session) && session.time_ms >= span.ms();
    rule.class_count.is_none_or(|count| class.len() >= usize::try_from(count).unwrap_or(usize::MAX))
        && rule.any_busy.is_none_or(|span| class.iter().any(|session| busy(session, span)))
        && rule.each_busy.is_none_or(|span| class.iter().all(|session| busy(session, span)))
}
