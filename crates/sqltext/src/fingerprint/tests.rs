//! Fingerprints of ordinary and hostile statements, and where the old tools differ.

use super::*;
use proptest::prelude::*;

fn made(rules: Rules, statement: &str) -> String {
    String::from_utf8_lossy(Fingerprinter::new(rules).fingerprint(statement.as_bytes())).into_owned()
}

/// Statement, our fingerprint, and those of pt-query-digest 3.7.1 and 3.2.1 where they are others.
const CASES: &[(&str, &str, Option<&str>, Option<&str>)] = &[
    (
        "select * from t where a='it''s' and b='x'",
        "select * from t where a=? and b=?",
        Some("select * from t where a=?'s?x'"),
        Some("select * from t where a=?? and b=?"),
    ),
    ("select * from t where a='it\\'s' and b='x'", "select * from t where a=? and b=?", None, None),
    (
        "select * from t where a=\"C:\\\\\" and b=\"y\" and c=5",
        "select * from t where a=? and b=? and c=?",
        None,
        Some("select * from t where a=?y\" and c=?"),
    ),
    ("select * from t where a='' and b='x'", "select * from t where a=? and b=?", None, None),
    (
        "select c1,col2 from t_2010 where id in (1,2, 3) and x=-5 and y=+1.5e-10 and z=0xFF and w=b'0101' and n is null",
        "select c?,col? from t_? where id in(?+) and x=? and y=? and z=?ff and w=? and n is ?",
        None,
        None,
    ),
    (
        "select * from t where d='2020-01-01' /* comment */ limit 10, 20 -- tail",
        "select * from t where d=? limit ? ",
        None,
        None,
    ),
    (
        "insert into t(a,b) values (1,'a'),(2,'b') on duplicate key update a=values(a)",
        "insert into t(a,b) values(?+)",
        None,
        None,
    ),
    (
        "select a from t union select a from t union select a from t",
        "select a from t /*repeat union*/",
        None,
        None,
    ),
    (
        "select a union select aa",
        "select a union select aa",
        Some("select a /*repeat union*/a"),
        Some("select a /*repeat union*/a"),
    ),
    ("SELECT a FROM t ORDER BY a ASC, b ASC, c DESC", "select a from t order by a, b, c desc", None, None),
    (
        "select a from t order by a, ascii(b)",
        "select a from t order by a, ascii(b)",
        Some("select a from t order by a,ii(b)"),
        Some("select a from t order by a,ii(b)"),
    ),
    ("call foo.bar(1,2,3)", "call foo.bar", None, None),
    ("CALL foo(bar(1),2)", "call foo", Some("call foo(bar"), Some("call foo(bar")),
    (
        "update t set a=true, b=False where c=UUID_TO_BIN('6ccd780c-baba-1026-9564-5b8c656024db')",
        "update t set a=?, b=? where c=uuid_to_bin(?)",
        None,
        None,
    ),
    (
        "select * from db123.tbl_2 a1 join x2y on a1.id=x2y.id",
        "select * from d?tbl_? a? join ?y on a?id=?y.id",
        None,
        None,
    ),
    ("select 5-3, a-b, a - 1, 1e5, .5, 5., 0b01, x'4D'", "select ?, a?, a ? ?, ?, ?, ?, ?, ?", None, None),
    (
        "select * from t where a=N'abc' and b=_utf8'def' and c=_binary 'x\\0y'",
        "select * from t where a=n? and b=_utf?? and c=_binary ?",
        None,
        None,
    ),
    ("select /*+ MAX_EXECUTION_TIME(1000) */ * from t where a=1", "select * from t where a=?", None, None),
    (
        "select /*!40001 SQL_NO_CACHE */ * from t where a=1",
        "select /*!? sql_no_cache */ * from t where a=?",
        None,
        None,
    ),
    ("SELECT /*!40001 SQL_NO_CACHE */ * FROM `vm_instance`", "mysqldump", None, None),
    ("# leading comment\nselect 1", "select ?", None, None),
    (
        "select 1 # it's\nfrom t",
        "select ? from t",
        Some("select ? # it's from t"),
        Some("select ? # it's from t"),
    ),
    ("select a=5--3 and b=2", "select a=? and b=?", Some("select a=?"), Some("select a=?")),
    (
        "WITH RECURSIVE c AS (SELECT 1 AS n UNION ALL SELECT n+1 FROM c WHERE n<5) SELECT * FROM c",
        "with recursive c as (select ? as n union all select n? from c where n<?) select * from c",
        None,
        None,
    ),
    ("select `a'b`, 'c'", "select `a'b`, ?", Some("select `a?c'"), Some("select `a?c'")),
    ("select 'a", "select ?", Some("select 'a"), Some("select 'a")),
    ("'x' = a", "? = a", Some("'x' = a"), None),
    (
        "select a/**/ from t /* b */ where c",
        "select a from t where c",
        Some("select a where c"),
        Some("select a where c"),
    ),
    (
        "insert into t values (1,'a),('),(3,4)",
        "insert into t values(?+)",
        Some("insert into t values (?,'a)"),
        Some("insert into t values (?,'a)"),
    ),
    (
        "select null, true, Nullif(x), null1, a.null, -false",
        "select ?, ?, nullif(x), ??, a.?, ??",
        None,
        None,
    ),
    ("use foo", "use ?", None, None),
    ("administrator command: Init DB", "administrator command: Init DB", None, None),
    ("select a /*pt.table_checksum:1/2*/", "percona-toolkit", None, None),
    ("", "", None, None),
];

#[test]
fn statements_have_the_fingerprints_of_every_rule() {
    for (statement, own, newer, older) in CASES {
        assert_eq!(made(Rules::Own, statement), *own, "{statement}");
        assert_eq!(made(Rules::Pt37, statement), newer.unwrap_or(own), "3.7: {statement}");
        assert_eq!(made(Rules::Pt32, statement), older.unwrap_or(own), "3.2: {statement}");
    }
}

#[test]
fn ids_are_the_digest_of_the_fingerprint() {
    let id = QueryId::of(b"select c from sbtest? where id=?");
    assert_eq!(id.to_string(), "E81D0B3DB4FB31BC558CAEF5F387E929");
    assert_eq!(id.right_half().to_string(), "558CAEF5F387E929");
    for text in ["E81D0B3DB4FB31BC558CAEF5F387E929", "0x558caef5f387e929", "558CAEF5F387E929"] {
        assert!(text.parse::<QueryId>().unwrap().matches(id), "{text}");
        assert!(id.matches(text.parse().unwrap()), "{text}");
    }
    let other: QueryId = "00000000000000000000000000000001".parse().unwrap();
    assert!(!other.matches(id));
    for text in [
        "",
        "558CAEF5F387E92",
        "+58CAEF5F387E929",
        "0x0x8CAEF5F387E929",
        "558CAEF5F387E9290",
        "ö58CAEF5F387E92",
    ] {
        assert_eq!(text.parse::<QueryId>(), Err(QueryIdError), "{text}");
    }
}

#[test]
fn verbs_and_tables_are_told() {
    for (statement, distilled) in [
        ("select * from t1, t2 as b, db3.t4 c where x=1", "SELECT t? db?.t?"),
        ("select a from b union select c from d", "SELECT UNION b d"),
        ("insert into t1 (a) values (1) on duplicate key update a=2", "INSERT UPDATE t?"),
        ("update low_priority t set a=(select max(b) from c)", "UPDATE SELECT t c"),
        ("SET @a := (select 1 from t)", "SET SELECT t"),
        ("drop table if exists foo, bar", "DROP TABLE foo"),
        ("show full columns from t like 'x'", "SHOW COLUMNS"),
        ("show schemas", "SHOW DATABASES"),
        ("administrator command: Quit", "ADMIN QUIT"),
        ("CALL foo(1)", "CALL foo"),
        ("select * from `my table` x", "SELECT my table"),
        ("commit", "COMMIT"),
        ("'from x'", ""),
    ] {
        assert_eq!(distill(statement), distilled, "{statement}");
    }
    assert_eq!(table_names("select * from `a`.b1 join c where d in (select 1 from c)"), ["a.b1", "c"]);
}

/// Pieces of which statements are made, torn and whole.
fn pieces() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        Just("'"),
        Just("\""),
        Just("\\"),
        Just("`"),
        Just("''"),
        Just("\\'"),
        Just("/*"),
        Just("*/"),
        Just("/*!"),
        Just("-- "),
        Just("--"),
        Just("#"),
        Just("\n"),
        Just("\t"),
        Just(" "),
        Just("  "),
        Just("0x1F"),
        Just("1"),
        Just("-"),
        Just("a"),
        Just("x"),
        Just("b"),
        Just("."),
        Just(","),
        Just("("),
        Just(")"),
        Just("in"),
        Just("values"),
        Just("insert into"),
        Just("select a"),
        Just(" union "),
        Just("union all"),
        Just("limit 1,2"),
        Just("order by"),
        Just(" asc"),
        Just("null"),
        Just("true"),
        Just("call f("),
        Just("use d"),
        Just("é"),
    ];
    proptest::collection::vec(piece, 0..40).prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn any_bytes_have_a_fingerprint(bytes: Vec<u8>, text in pieces()) {
        for rules in [Rules::Own, Rules::Pt37, Rules::Pt32] {
            let mut fingerprinter = Fingerprinter::new(rules);
            fingerprinter.fingerprint(&bytes);
            let first = fingerprinter.fingerprint(text.as_bytes()).to_vec();
            // What was fingerprinted before leaves no trace.
            fingerprinter.fingerprint(&bytes);
            prop_assert_eq!(fingerprinter.fingerprint(text.as_bytes()), &first[..]);
            prop_assert!(std::str::from_utf8(&first).is_ok());
        }
        prop_assert!(!distill(&text).starts_with(char::is_whitespace));
        prop_assert!(table_names(&text).iter().all(|name| !name.is_empty()));
    }

    #[test]
    fn literals_leave_no_trace(one in "[^\\\\']{0,20}", two in "[^\\\\\"]{0,20}", number: i64) {
        let statement = format!("select a from t where b='{one}' and c=\"{two}\" and d={number}");
        prop_assert_eq!(made(Rules::Own, &statement), "select a from t where b=? and c=? and d=?");
        let escaped = format!("select '{}', '{}'", one.replace('\'', "''"), two.replace('\'', "\\'"));
        prop_assert_eq!(made(Rules::Own, &escaped), "select ?, ?");
    }

    #[test]
    fn ordinary_statements_have_the_same_fingerprint_by_all_rules(
        column in "[a-z_]{1,8}[0-9]{0,3}",
        word in "[A-Za-z0-9 .,:;@%-]{0,12}",
        number in -1000_i32..1000,
        count in 1_usize..6,
        tail in prop_oneof![Just(""), Just(" limit 5"), Just(" LIMIT 5, 6"), Just(" ORDER BY a ASC, b asc LIMIT 1")],
    ) {
        let list = vec![number.to_string(); count].join(", ");
        let statement = format!("SELECT  {column}, count(*) FROM `t{number}`\n\tWHERE {column} = '{word}' \
            AND b IN ({list}) and c > {number}.5 AND d IS NOT NULL{tail}");
        let own = made(Rules::Own, &statement);
        prop_assert_eq!(&own, &made(Rules::Pt37, &statement));
        prop_assert_eq!(&own, &made(Rules::Pt32, &statement));
    }
}
