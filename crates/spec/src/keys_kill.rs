//! The rows of the table of keys for `[kill]` and its rules.

use crate::keys::{Key, key};

pub(crate) const KILL_SECTIONS: &[(&str, &str)] = &[
    (
        "kill",
        "Sessions and queries ended by rules, by `mainstay kill` and by the agents; without this section, none.",
    ),
    (
        "kill.rule",
        "One rule, as `[[kill.rule]]`: every condition in it must hold. Names are matched whole, with `*` for anything, or as `/regular expressions/`.",
    ),
];

/// Keys of a rule that go together, for examples: all of them would contradict one another.
const TOGETHER: [&str; 7] = ["name", "match_user", "ignore_db", "blocks", "blocking_time", "victims", "kill"];

/// Whether an example of a section shows this key.
pub(crate) fn is_in_example(key: &Key) -> bool {
    key.section != "kill.rule" || TOGETHER.contains(&key.name)
}

const SPAN: &str = "time, such as `\"90s\"`, `\"5m\"`, `\"1h30m\"`";
const PATTERNS: &str = "list of patterns";

const fn rule(name: &'static str, kind: &'static str, example: &'static str, sentence: &'static str) -> Key {
    key("kill.rule", name, kind, "none", example, sentence)
}

pub(crate) const KILL_KEYS: &[Key] = &[
    key("kill", "interval", "time from `\"1s\"` to `\"1h\"`", "30s", "\"30s\"", "How often an agent looks."),
    key("kill", "dry_run", "boolean", "true", "true", "Agents say what they would end, and end nothing."),
    key(
        "kill",
        "on",
        "`primary`, `replicas` or `all`",
        "`primary`",
        "\"primary\"",
        "On which nodes agents look.",
    ),
    key(
        "kill",
        "protect",
        "list of `user` or `user@host`, as patterns",
        "none",
        "[\"backup\", \"root@localhost\"]",
        "Accounts that are never ended, beside the server's, replication's and Mainstay's own.",
    ),
    key(
        "kill",
        "allow",
        "list of `lock-holders`, `unknown-locks`, `login-account`, `replication`",
        "none",
        "[\"unknown-locks\"]",
        "What is protected by default and shall not be.",
    ),
    key("kill", "limit", "1 to 10000", "10", "10", "Victims of one look, at most."),
    key(
        "kill.rule",
        "name",
        "letters, digits, `-`, `_`, up to 32",
        "required",
        "\"stuck\"",
        "Name of the rule, for reports and the audit log.",
    ),
    rule("match_user", PATTERNS, "[\"cloud\", \"nova*\"]", "Only these users."),
    rule("match_host", PATTERNS, "[\"10.0.1.*\"]", "Only from these hosts."),
    rule("match_db", PATTERNS, "[\"cloud\"]", "Only in these databases."),
    rule("match_command", PATTERNS, "[\"Query\"]", "Only with these commands."),
    rule("match_state", PATTERNS, "[\"Sending data\"]", "Only in these states."),
    rule(
        "match_statement",
        "list of regular expressions",
        "[\"(?i)^select\"]",
        "Only running such statements.",
    ),
    rule("ignore_user", PATTERNS, "[\"report\"]", "Not these users; what is ignored wins."),
    rule("ignore_host", PATTERNS, "[\"10.0.9.*\"]", "Not from these hosts."),
    rule("ignore_db", PATTERNS, "[\"mysql\"]", "Not in these databases."),
    rule("ignore_command", PATTERNS, "[\"Binlog*\"]", "Not with these commands."),
    rule("ignore_state", PATTERNS, "[\"Locked\"]", "Not in these states."),
    rule("ignore_statement", "list of regular expressions", "[\"keep me\"]", "Not running such statements."),
    rule(
        "fingerprint",
        "list of statements or fingerprints",
        "[\"select sleep(?)\"]",
        "Only statements with one of these fingerprints.",
    ),
    rule(
        "query_id",
        "list of 32 or 16 hexadecimal digits",
        "[\"F9A57DD5A41825CA\"]",
        "Only statements with one of these query ids.",
    ),
    rule("busy_time", SPAN, "\"5m\"", "Runs a statement for so long."),
    rule("idle_time", SPAN, "\"1h\"", "Runs nothing for so long."),
    rule("transaction_time", SPAN, "\"10m\"", "Has a transaction that old."),
    rule("idle_transaction_time", SPAN, "\"2m\"", "Has a transaction, and runs nothing for so long."),
    rule("waiting_time", SPAN, "\"30s\"", "Waits for a lock for so long."),
    rule("blocks", "1 to 100000", "3", "So many sessions wait for it, also through others."),
    rule("blocking_time", SPAN, "\"30s\"", "Somebody waits for it for so long."),
    key(
        "kill.rule",
        "locks",
        "`any`, `rows` or `metadata`",
        "`any`",
        "\"metadata\"",
        "Which locks these three look at.",
    ),
    rule(
        "group_by",
        "`fingerprint`, `user`, `host`, `db`, `command` or `state`",
        "\"fingerprint\"",
        "What makes a class; without it all that match are one.",
    ),
    rule("class_count", "1 to 100000", "50", "A class has so many."),
    rule("any_busy_time", SPAN, "\"1m\"", "One of the class runs a statement for so long."),
    rule("each_busy_time", SPAN, "\"10s\"", "Each of the class does."),
    key(
        "kill.rule",
        "victims",
        "`oldest`, `all`, `all-but-oldest` or `blocker`",
        "`oldest`",
        "\"blocker\"",
        "Who of a class is ended; `blocker` is whoever they wait for in the end.",
    ),
    key(
        "kill.rule",
        "kill",
        "`query` or `connection`",
        "`connection` for what is idle, else `query`",
        "\"connection\"",
        "What is ended.",
    ),
];
