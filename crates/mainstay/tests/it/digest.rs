//! `mainstay digest slow` and `general` from the command line: inputs, options, exit codes, bad input, following.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::bench::{Ran, run, run_with, tool, write};

/// A slow log of two kinds of statements: one is slow in the second half.
pub(crate) fn log(hours: std::ops::Range<u32>, slow_seconds: u32) -> String {
    let mut text = String::new();
    for hour in hours {
        for number in 0..20 {
            text.push_str(&format!(
                "# Time: 2026-11-21T{hour:02}:00:{number:02}.000000Z\n# User@Host: nova[nova] @ web1 [10.0.0.1]  Id: {number}\n\
                 # Query_time: 0.0010{number:02}  Lock_time: 0.000001 Rows_sent: 1  Rows_examined: {number}\n\
                 use nova;\nSET timestamp=1795226562;\nselect * from instances where id = {number};\n\
                 # Time: 2026-11-21T{hour:02}:00:{number:02}.500000Z\n# User@Host: cinder[cinder] @ web2 [10.0.0.2]  Id: {number}\n\
                 # Query_time: {slow_seconds}.5  Lock_time: 0.000001 Rows_sent: 0  Rows_examined: 7\n\
                 SET timestamp=1795226562;\nupdate volumes set size = {number};\n"
            ));
        }
    }
    text
}

fn path(folder: &Path, name: &str) -> String {
    folder.join(name).to_string_lossy().into_owned()
}

fn events(ran: &Ran) -> u64 {
    ran.json(0)["total"]["events"].as_u64().unwrap()
}

#[test]
fn plain_and_compressed_files_and_standard_input_say_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let text = log(0..20, 1);
    let plain = path(folder.path(), "slow.log");
    write(Path::new(&plain), &text);
    let mut inputs = vec![plain.clone()];
    for (program, suffix) in [("gzip", "gz"), ("zstd", "zst")] {
        match tool(program, &["-k", &plain]) {
            Some(ran) if ran.code == Some(0) => inputs.push(format!("{plain}.{suffix}")),
            Some(ran) => panic!("{ran:?}"),
            None => println!("skipped: {program} is not installed"),
        }
    }
    let answer = |args: &[&str], input: &str| {
        let mut report = run_with(&[&["digest", "slow", "--json"], args].concat(), input, &[]).json(0);
        report.as_object_mut().unwrap().remove("files");
        report
    };
    let expected = answer(&[&plain], "");
    assert_eq!(expected["total"]["events"], 800);
    assert_eq!(expected["classes_total"], 2);
    assert_eq!(expected["classes"][0]["item"], "UPDATE volumes");
    assert_eq!(expected["classes"][0]["metrics"]["Query_time"]["sum"], 600.0);
    for input in &inputs {
        for threads in ["1", "2", "5"] {
            assert_eq!(answer(&["--threads", threads, input], ""), expected, "{input} {threads}");
        }
    }
    assert_eq!(answer(&["-"], &text), expected);
    let two = run(&["digest", "slow", "--json", &plain, &inputs[inputs.len() - 1]]);
    assert_eq!((events(&two), two.json(0)["files"].as_array().unwrap().len()), (1600, 2));
}

#[test]
fn options_choose_and_order() {
    let folder = tempfile::tempdir().unwrap();
    let file = path(folder.path(), "slow.log");
    write(Path::new(&file), &log(0..4, 1));
    let with = |args: &[&str]| run(&[&["digest", "slow", "--json", &file], args].concat()).json(0);
    let keys = |report: &Value| -> Vec<String> {
        let classes = report["classes"].as_array().unwrap();
        classes.iter().map(|class| class["key"].as_str().unwrap().to_owned()).collect()
    };
    let (select, update) = ("select * from instances where id = ?", "update volumes set size = ?");
    assert_eq!(keys(&with(&["--limit", "2"])), [update, select]);
    assert_eq!(
        keys(&with(&["--order-by", "Rows_examined:sum", "--limit", "1", "--outliers", "none"])),
        [select]
    );
    assert_eq!(keys(&with(&["--limit", "1", "--outliers", "none"])), [update]);
    assert_eq!(with(&["--limit", "1", "--order-by", "Rows_sent:sum"])["classes"][1]["is_outlier"], true);
    for (by, expected) in [
        ("user", ["cinder", "nova"]),
        ("host", ["web2", "web1"]),
        ("tables", ["volumes", "instances"]),
        ("distill", ["UPDATE volumes", "SELECT instances"]),
    ] {
        assert_eq!(keys(&with(&["--group-by", by, "--limit", "5"])), expected, "{by}");
    }
    assert_eq!(keys(&with(&["--group-by", "db", "--limit", "5"])), ["nova"]);
    let count = |args: &[&str]| with(args)["total"]["events"].as_u64().unwrap();
    assert_eq!(count(&["--since", "2026-11-21 02:00"]), 80);
    assert_eq!(count(&["--until", "2026-11-21T01:00:05"]), 50);
    assert_eq!(count(&["--filter", "user = nova and Rows_examined >= 10"]), 40);
    assert_eq!(with(&["--filter", "user = nova"])["left_out"], 80);
    assert_eq!(count(&["--sample", "3"]), 6);
    let id = with(&[])["classes"][0]["query_id"].as_str().unwrap().to_owned();
    assert_eq!(count(&["--filter", &format!("id = '{id}'")]), 80);
    assert_eq!(count(&["--filter", &format!("id = '{}'", &id[16..])]), 80);
    let timeline = with(&["--timeline=60"])["timeline"].clone();
    assert_eq!((&timeline["slot_seconds"], &timeline["slots"][0]["events"]), (&60.into(), &40.into()));
}

#[test]
fn wrong_options_say_what_is_right() {
    for (args, says) in [
        (&["--filter", "user ="][..], "at character 7"),
        (&["--since", "yesterday"], "12h"),
        (&["--limit", "x"], "95%:20"),
        (&["--order-by", "a:b"], "p95"),
        (&["--outliers", "a:b"], "Query_time:1:10"),
        (&["--threads", "0"], "1..=64"),
        (&["--sample", "0"], "--sample"),
        (&["--timeline=0"], "--timeline"),
        (&["--unreviewed"], "--history-file"),
        (&["--history", "a", "--history-file", "b"], "cannot be used with"),
        (&["--output", "xml"], "pt-json"),
        (&["--follow", "--since", "1h"], "cannot be used with"),
    ] {
        let ran = run(&[&["digest", "slow", "x.log"], args].concat());
        assert!(ran.code == Some(2) && ran.err.contains(says), "{args:?}: {ran:?}");
    }
}

#[test]
fn a_baseline_shows_what_changed() {
    let folder = tempfile::tempdir().unwrap();
    let (before, after) = (path(folder.path(), "before.log"), path(folder.path(), "after.log"));
    write(Path::new(&before), &log(0..2, 1));
    let new = "# Time: 2026-11-21T09:00:00.000000Z\n# User@Host: a[a] @ h []\n# Query_time: 9  Lock_time: 0\ndelete from t;\n";
    write(Path::new(&after), &format!("{}{new}", log(2..4, 3)));
    let ran = run(&["digest", "slow", "--json", "--baseline", &before, &after]);
    let comparison = &ran.json(2)["comparison"];
    assert_eq!(comparison["new"][0]["key"], "delete from t");
    assert_eq!(comparison["slower"][0]["key"], "update volumes set size = ?");
    assert_eq!(comparison["slower"][0]["mean_ratio"], 3.5 / 1.5);
    assert_eq!(comparison["unchanged"], 1);
    // Two periods of one log.
    let both = path(folder.path(), "both.log");
    write(Path::new(&both), &format!("{}{}", log(0..2, 1), log(2..4, 3)));
    let args =
        ["digest", "slow", "--since", "2026-11-21 02:00", "--baseline-until", "2026-11-21 02:00", &both];
    let ran = run(&args);
    assert_eq!(ran.code, Some(2));
    assert!(ran.out.contains("\nslower:\n") && ran.out.contains("2.33"), "{}", ran.out);
    assert_eq!(run(&["digest", "slow", "--baseline", &after, &before]).code, Some(0));
}

#[test]
fn every_layout_is_written() {
    let folder = tempfile::tempdir().unwrap();
    let file = path(folder.path(), "slow.log");
    write(Path::new(&file), &log(0..2, 1));
    for (layout, says) in [
        ("text", "UPDATE volumes"),
        ("html", "<!doctype html>"),
        ("pt-text", "# Rank Query ID"),
        ("pt-json", "\"unique_query_count\":2"),
        ("json", "\"query_time_histogram\""),
    ] {
        let ran = run(&["digest", "slow", "--output", layout, &file]);
        assert!(ran.code == Some(0) && ran.out.contains(says), "{layout}: {ran:?}");
    }
}

#[test]
fn fingerprints_are_right_or_compatible() {
    let statement = "select 1 from t where a='it''s' and b='x'";
    let input = format!("# User@Host: a[a] @ h []\n# Query_time: 9  Lock_time: 0\n{statement};\n");
    for (compat, key) in [
        (None, "select ? from t where a=? and b=?"),
        (Some("pt-3.7"), "select ? from t where a=?'s?x'"),
        (Some("pt-3.2"), "select ? from t where a=?? and b=?"),
    ] {
        let mut args = vec!["digest", "slow", "--json", "-"];
        args.extend(compat.map(|_| "--compat").into_iter().chain(compat));
        assert_eq!(run_with(&args, &input, &[]).json(0)["classes"][0]["key"], key);
    }
}

#[test]
fn what_is_no_log_is_refused_with_what_it_is() {
    let folder = tempfile::tempdir().unwrap();
    for (name, bytes, says, hint) in [
        (
            "binlog.000001",
            &b"\xfebin\x01\x02\x03"[..],
            "is not a slow log: it seems to be a binary log",
            "digest binlog",
        ),
        (
            "general.log",
            b"240102  3:04:05\t     8 Query\tselect 1\n",
            "it seems to be a general log",
            "digest general",
        ),
        (
            "error.log",
            b"2024-01-02 03:04:05 0 [Note] InnoDB: started\n",
            "a server's error log",
            "slow_query_log_file",
        ),
        ("noise", b"\x01\x02\x03\x04 noise \x05\x06", "it seems to be no text", ""),
        ("text", b"hello\nworld\n", "some other text; 12 bytes were read", ""),
    ] {
        let file = folder.path().join(name);
        put(&file, bytes);
        for threads in ["1", "2"] {
            let ran = run(&["digest", "slow", "--threads", threads, &file.to_string_lossy()]);
            assert!(
                ran.code == Some(1) && ran.err.contains(says) && ran.err.contains(hint),
                "{name}: {ran:?}"
            );
        }
    }
    let ran = run(&["digest", "slow", &path(folder.path(), "none")]);
    assert!(ran.code == Some(1) && ran.err.contains("cannot open") && ran.err.contains("  -> "), "{ran:?}");
    assert_eq!(run(&["digest", "slow", &folder.path().to_string_lossy()]).code, Some(1));
    let empty = path(folder.path(), "empty");
    write(Path::new(&empty), "");
    let ran = run(&["digest", "slow", &empty]);
    assert!(ran.code == Some(0) && ran.out.contains("0 events"), "{ran:?}");
}

#[test]
fn what_is_skipped_is_shown() {
    let text = log(0..1, 1);
    let torn = format!("instances where id = 7;\n{}{}", text, "# User@Host: a[a] @ h []\n# Query_ti");
    let ran = run_with(&["digest", "slow", "-"], &torn, &[]);
    assert!(
        ran.code == Some(0) && ran.out.contains("a statement: 2\n") && ran.out.contains("no record: 59\n"),
        "{ran:?}"
    );
    // A compressed log that ends too early is read as far as it goes.
    let folder = tempfile::tempdir().unwrap();
    let file = path(folder.path(), "slow.log");
    write(Path::new(&file), &log(0..20, 1));
    if tool("gzip", &[&file]).is_none() {
        println!("skipped: gzip is not installed");
        return;
    }
    let file = format!("{file}.gz");
    let bytes = std::fs::read(&file).unwrap();
    put(&file, &bytes[..bytes.len() - 100]);
    for threads in ["1", "3"] {
        let ran = run(&["digest", "slow", "--threads", threads, "--json", &file]);
        assert_eq!(ran.code, Some(1));
        assert!(ran.err.contains("the rest is not"), "{}", ran.err);
        let report: Value = serde_json::from_str(&ran.out).unwrap();
        assert!(report["files"][0]["problem"].is_string(), "{}", report["files"]);
        assert!(report["total"]["events"].as_u64().unwrap() > 0);
    }
}

#[test]
fn a_statement_of_a_hundred_megabytes_is_one_event() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("slow.log");
    let mut out = std::io::BufWriter::new(std::fs::File::create(&file).unwrap());
    out.write_all(log(0..1, 1).as_bytes()).unwrap();
    out.write_all(b"# User@Host: a[a] @ h []\n# Query_time: 9  Lock_time: 0\ninsert into t values ('")
        .unwrap();
    for _ in 0..100 {
        out.write_all(&[b'x'; 1 << 20]).unwrap();
    }
    out.write_all(b"');\n").unwrap();
    out.write_all(log(1..2, 1).as_bytes()).unwrap();
    out.into_inner().unwrap();
    for threads in ["1", "2"] {
        let ran = run(&["digest", "slow", "--json", "--threads", threads, &file.to_string_lossy()]);
        let report = ran.json(0);
        assert_eq!(report["total"]["events"], 81, "{threads}");
        assert_eq!(report["skipped"]["long_statements"], 1);
        assert_eq!(report["skipped"]["records"], 0);
        assert_eq!(report["total"]["metrics"]["Query_length"]["max"], 100 * (1 << 20) + 25);
    }
}

/// Adds to a file as a server does.
fn append(file: &Path, text: &str) {
    let mut file = std::fs::OpenOptions::new().create(true).append(true).open(file).unwrap();
    file.write_all(text.as_bytes()).unwrap();
}

#[test]
#[expect(
    clippy::disallowed_methods,
    reason = "the binary under test is started as a user's shell does, and goes on"
)]
fn a_log_is_followed_through_rotation_and_truncation() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("slow.log");
    append(&file, &log(0..1, 1));
    let args = ["digest", "slow", "--follow", "--from-start", "--interval", "1", "--json"];
    let mut child = Command::new(env!("CARGO_BIN_EXE_mainstay"))
        .args(args)
        .arg(&file)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut reports = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut seen = 0;
    let mut until = |wanted: u64| {
        // Each report is a second's; many more than are needed are a failure.
        for _ in 0..60 {
            if seen >= wanted {
                break;
            }
            let report: Value = serde_json::from_str(&reports.next().unwrap().unwrap()).unwrap();
            seen += report["total"]["events"].as_u64().unwrap();
            assert_eq!(report["skipped"]["records"], 0, "{report}");
        }
        assert_eq!(seen, wanted);
    };
    until(40);
    // The server goes on with the old file for a while, and leaves a statement without an end in it.
    std::fs::rename(&file, folder.path().join("slow.log.1")).unwrap();
    append(&folder.path().join("slow.log.1"), &log(1..2, 1));
    append(&file, &log(2..3, 1));
    until(120);
    std::fs::OpenOptions::new().write(true).open(&file).unwrap().set_len(0).unwrap();
    append(&file, "# User@Host: a[a] @ h []\n# Query_time: 9  Lock_time: 0\nselect 1;\n");
    until(121);
    let ended = tool("kill", &["-INT", &child.id().to_string()]).unwrap();
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert_eq!(child.wait().unwrap().code(), Some(0));
    let mut told = String::new();
    child.stderr.take().unwrap().read_to_string(&mut told).unwrap();
    assert!(told.contains("was truncated"), "{told}");
}

/// A file for the binary to read.
fn put(path: impl AsRef<std::path::Path>, bytes: impl AsRef<[u8]>) {
    use std::io::Write as _;
    std::fs::File::create(path).unwrap().write_all(bytes.as_ref()).unwrap();
}

#[test]
fn history_is_kept_in_a_file_and_what_was_reviewed_is_hidden() {
    let folder = tempfile::tempdir().unwrap();
    let (file, book) = (path(folder.path(), "slow.log"), path(folder.path(), "history.sqlite"));
    let keep = |hours, more: &[&str]| {
        write(Path::new(&file), &log(hours, 1));
        let args = ["digest", "slow", "--json", "--limit", "100%", "--history-file", &book, &file];
        run(&[&args, more].concat()).json(0)["classes"].as_array().unwrap().len()
    };
    assert_eq!(keep(1..2, &[]), 2);
    assert_eq!(std::fs::metadata(&book).unwrap().permissions().mode() & 0o777, 0o600);
    // The same log again is the same rows, a later one other rows of the same kinds.
    assert_eq!(keep(1..2, &["--unreviewed"]), 2);
    assert_eq!(keep(0..1, &["--unreviewed"]), 2);
    let kept = rusqlite::Connection::open(&book).unwrap();
    let text = |sql: &str| -> String { kept.query_row(sql, [], |row| row.get(0)).unwrap() };
    assert_eq!(
        text(
            "SELECT count(*) || ' ' || sum(ts_cnt) || ' ' || round(sum(Query_time_sum), 6) FROM query_history"
        ),
        "4 80.0 60.04038"
    );
    assert_eq!(
        text(
            "SELECT fingerprint || ' ' || first_seen || ' ' || last_seen FROM query_review WHERE sample LIKE 'update%'"
        ),
        "update volumes set size = ? 2026-11-21 00:00:00 2026-11-21 01:00:19"
    );
    kept.execute("UPDATE query_review SET reviewed_by = 'me' WHERE sample LIKE 'update%'", []).unwrap();
    assert_eq!(keep(1..2, &["--unreviewed"]), 1);
    assert_eq!(keep(1..2, &[]), 2);

    // An older table has other columns; what is no database is left as it is.
    kept.execute_batch("ALTER TABLE query_history DROP COLUMN Lock_time_max").unwrap();
    assert_eq!(keep(2..3, &[]), 2);
    assert_eq!(text("SELECT count(*) || '' FROM query_history"), "6");
    let ran = run(&["digest", "slow", "--history-file", &file, &file]);
    assert!(ran.code == Some(1) && ran.err.contains("not a database"), "{ran:?}");
    assert_eq!(std::fs::read_to_string(&file).unwrap(), log(2..3, 1));
}

#[test]
fn what_no_event_can_have_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let file = path(folder.path(), "slow.log");
    write(Path::new(&file), &log(0..1, 1));
    for (args, code, says) in [
        (&["--order-by", "Rows_exemined:sum"][..], 0, "Query_time, Rows_examined"),
        (&["--filter", "Query_tim > 1 or user = nova"], 0, "no event has: Query_tim;"),
        (&["--since", "2026-11-21 02:00", "--until", "2026-11-21 01:00"], 1, "no event can be between"),
        (&["--since", "1h", "--until", "1d"], 1, "no event can be between"),
        (&["--baseline-since", "2026-11-21", "--baseline-until", "2026-11-20"], 1, "--baseline-until"),
    ] {
        let ran = run(&[&["digest", "slow", &file], args].concat());
        assert!(ran.code == Some(code) && ran.err.contains(says), "{args:?}: {ran:?}");
    }
    for args in [&["--order-by", "Rows_examined:max"][..], &["--filter", "Rows_examined > 1 and user = nova"]]
    {
        let ran = run(&[&["digest", "slow", &file], args].concat());
        assert!(ran.code == Some(0) && ran.err.is_empty(), "{args:?}: {ran:?}");
    }
}
