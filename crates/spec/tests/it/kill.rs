//! The `[kill]` section: what its words become, and what is refused.

use kill::{Action, Allowed, Policy, Rule, Victims};
use spec::{Kill, KillOn, Spec};

const BEGIN: &str =
    "[cluster]\nname = \"z\"\nserver = \"mariadb\"\n[[node]]\nname = \"a\"\naddress = \"10.0.0.1\"\n";

fn kill(text: &str) -> Kill {
    let (spec, _) = Spec::parse(&format!("{BEGIN}{text}"), "f").unwrap_or_else(|errors| panic!("{errors}"));
    spec.kill.unwrap_or_else(|| panic!("no [kill]"))
}

fn told(text: &str) -> String {
    let parsed = Spec::parse(&format!("{BEGIN}{text}"), "f");
    parsed.map_or_else(|errors| errors.to_string(), |(spec, _)| panic!("taken: {:?}\n{text}", spec.kill))
}

fn rule(text: &str) -> String {
    format!("[kill]\n[[kill.rule]]\nname = \"r\"\n{text}\n")
}

#[test]
fn without_the_section_nobody_is_ended() {
    let (spec, _) = Spec::parse(BEGIN, "f").unwrap();
    assert_eq!(spec.kill, None);
}

#[test]
fn a_small_section_is_a_dry_run_on_the_primary() {
    let small = kill(&rule("busy_time = \"5m\""));
    assert_eq!((small.interval_seconds, small.dry_run, small.on), (30, true, KillOn::Primary));
    assert_eq!(small.policy, Policy::default());
    let wanted = Rule { busy: "300".parse().ok(), ..Rule::new("r") };
    assert_eq!(small.rules, [wanted]);
}

#[test]
fn every_word_becomes_what_it_says() {
    let full = kill(
        "[kill]\ninterval = \"10s\"\ndry_run = false\non = \"all\"\nprotect = [\"backup\", \"root@localhost\"]\n\
         allow = [\"lock-holders\"]\nlimit = 3\n\
         [[kill.rule]]\nname = \"blocker\"\nmatch_user = [\"nova*\"]\nignore_statement = [\"keep\"]\nblocks = 2\n\
         blocking_time = \"30s\"\nlocks = \"metadata\"\nvictims = \"blocker\"\nkill = \"connection\"\n\
         [[kill.rule]]\nname = \"id\"\nquery_id = [\"F9A57DD5A41825CA\"]\nfingerprint = [\"SELECT sleep(7)\"]\n\
         group_by = \"user\"\nclass_count = 5\n",
    );
    assert_eq!((full.interval_seconds, full.dry_run, full.on), (10, false, KillOn::All));
    assert_eq!((full.policy.limit, &full.policy.allow[..]), (3, &[Allowed::LockHolders][..]));
    let protected: Vec<String> = full.policy.protect.iter().map(ToString::to_string).collect();
    assert_eq!(protected, ["backup", "root@localhost"]);
    let blocker = &full.rules[0];
    assert_eq!((blocker.victims, blocker.action()), (Victims::Blocker, Action::Connection));
    assert!(
        blocker.matches.user[0].matches("nova_api") && blocker.ignores.statement[0].matches("/* keep */")
    );
    assert_eq!(full.rules[1].fingerprints, ["select sleep(?)"]);
}

#[test]
fn what_contradicts_itself_or_is_misspelt_is_told_where() {
    for (text, words) in [
        ("[kill]\n".to_owned(), "[kill] without a [[kill.rule]]"),
        ("[kill]\nrules = 1\n".to_owned(), "did you mean `rule`?"),
        (rule(""), "has no condition"),
        (rule("busy_time = \"5m\"\nidle_time = \"5m\""), "has an idle time and a busy time"),
        (rule("busy_time = \"5x\""), "`5x` is no time"),
        (rule("busy_time = 5"), "expected text in quotes"),
        (rule("match_user = [\"/a(/\"]"), "cannot be used: unclosed group"),
        (rule("match_statement = [\"a(\"]"), "cannot be used: unclosed group"),
        (rule("query_id = [\"xyz\"]"), "32 hexadecimal digits"),
        (rule("blocks = 0"), "expected 1 to 100000"),
        (rule("victims = \"blockers\""), "did you mean `blocker`?"),
        (
            rule("busy_time = \"1s\"\n[[kill.rule]]\nname = \"r\"\nbusy_time = \"2s\""),
            "a second [[kill.rule]] named r",
        ),
        (rule("fingerprint = [\" \"]"), "there is no statement in it"),
        (format!("{}[kill.x]\n", rule("busy_time = \"1s\"")), "unknown key `x` in [kill]"),
        (
            rule("busy_time = \"1s\"").replace("[kill]\n", "[kill]\ninterval = \"2h\"\n"),
            "expected \"1s\" to \"1h\"",
        ),
        (rule("busy_time = \"1s\"").replace("[kill]\n", "[kill]\nprotect = [\"a@%\"]\n"), "write `a@*`"),
        (
            rule("busy_time = \"1s\"").replace("[kill]\n", "[kill]\nallow = [\"all\"]\n"),
            "expected one of `lock-holders`",
        ),
        (rule("busy_time = \"1s\"").replace("[[kill.rule]]", "[kill.rule]"), "it is written [[kill.rule]]"),
    ] {
        let shown = told(&text);
        assert!(shown.contains(words), "{words}: {shown}");
        assert_eq!(shown.matches("error:").count(), 1, "{shown}");
    }
}
