//! What the filter takes and refuses; how it is written is in `parse`.

use super::*;
use proptest::prelude::*;

fn admits(filter: &str) -> bool {
    let mut names = Names::default();
    let rows = names.attribute(b"Rows_sent").unwrap();
    let odd = names.attribute(b"Odd").unwrap();
    let scan = names.attribute(b"Full_scan").unwrap();
    let amounts = [(Attribute::QUERY_TIME, Amount::from_millionths(500_000)), (rows, Amount::whole(12_000))];
    let flags = [(scan, true)];
    let texts = [(odd, 0..3)];
    let event = Event {
        user: Some(b"nova"),
        host: Some(b"10.0.0.1"),
        thread: Some(7),
        amounts: &amounts,
        flags: &flags,
        texts: &texts,
        source: b"foo",
        ..Event::new(b"SELECT c FROM t1 WHERE id=5")
    };
    Asked::new(Filter::parse(filter).unwrap(), Rules::Own).admits(&event, &names)
}

#[test]
fn filters_admit_events() {
    for filter in [
        "Query_time = 0.5",
        "Query_time >= 500ms and Rows_sent > 10k",
        "Query_time < 500000us or user = nova",
        "not (Query_time > 0.5)",
        "user = 'nova' AND host != \"x\"",
        "db != 'x'",
        "query ~ 'from T1'",
        "fingerprint = 'select c from t? where id=?'",
        "id = E6AB15BDB41DDBDD88DB9DC3C9B92A5A or query !~ insert",
        "host = 10.0.0.1 and host ~ 10 and host != 10",
        "thread = 7",
        "length > 26 and length < 28",
        "Full_scan = yes",
        "Full_scan != no",
        "Odd = foo",
        "admin = no",
    ] {
        assert!(admits(filter), "{filter}");
    }
    for filter in [
        "Query_time > 0.5",
        "db = x",
        "Missing > 0",
        "Missing < 1",
        "not user = nova",
        "Full_scan = no",
        "user = nova and (host = x or host = y)",
        "id = 'E81D0B3DB4FB31BC558CAEF5F387E929'",
        "admin = yes",
    ] {
        assert!(!admits(filter), "{filter}");
    }
    let id = QueryId::of(b"select c from t? where id=?");
    assert!(
        admits(&format!("id = {id}"))
            && admits(&format!("id != 558CAEF5F387E929 and id != {}", "1".repeat(16)))
    );
    assert!(admits(&format!("id = '{id}'")) && admits(&format!("id = '{}'", id.right_half())));
}

#[test]
fn a_filter_names_the_attributes_it_asks_for() {
    let filter = "Rows_sent > 1 and (user = x or not Full_scan = yes) and Odd = y and thread = 7 and Odd = z";
    assert_eq!(Filter::parse(filter).unwrap().attributes(), ["Full_scan", "Odd", "Rows_sent"]);
}

#[test]
fn errors_say_where_and_why() {
    for (filter, column, part) in [
        ("", 1, "a field"),
        ("Query_time", 11, "expected ="),
        ("Query_time >", 13, "a value"),
        ("Query_time > 5x", 14, "no number"),
        ("Query_time = fast", 14, "no number"),
        ("Other >= 5x", 10, "no number"),
        ("Query_time > 1 user = x", 16, "`and`"),
        ("(Query_time > 1", 16, "`)`"),
        ("user > x", 6, "texts are compared"),
        ("user = 'x", 8, "does not end"),
        ("id = abc", 6, "32 hexadecimal"),
        ("é = 1 and ;", 11, "means nothing"),
        ("admin = maybe", 9, "yes or no"),
    ] {
        let error = Filter::parse(filter).unwrap_err();
        assert_eq!(error.column, column, "{filter}: {error}");
        assert!(error.problem.contains(part), "{filter}: {error}");
    }
    let deep = "(".repeat(100_000);
    assert!(Filter::parse(&deep).unwrap_err().problem.contains("nested"));
}

proptest! {
    #[test]
    fn any_text_is_a_filter_or_an_error(text: String, pieces in "([(]|not |user|Query_time|=|>|~| and | or |5ms|'a'|[)]){0,20}") {
        for text in [text, pieces] {
            if let Err(error) = Filter::parse(&text) {
                prop_assert!(error.column >= 1 && error.column <= text.chars().count() + 1);
            }
        }
    }
}
