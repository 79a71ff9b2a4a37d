//! Definitions of both vendors, taken apart and put together again.

use super::*;

const ZOO: &str = "CREATE TABLE `zo``o` (
  `id` bigint(20) unsigned NOT NULL AUTO_INCREMENT COMMENT 'a, (b) ) KEY `x` (`y`)',
  `v` varchar(50) CHARACTER SET latin1 DEFAULT 'it''s, \\'(',
  `vb` varbinary(20) DEFAULT NULL,
  `e` enum('a,b','c)') DEFAULT 'a,b',
  `bi` bit(9) DEFAULT b'101',
  `g` int(11) GENERATED ALWAYS AS (`id` + length(concat(`v`,','))) VIRTUAL,
  `hidden` int(11) INVISIBLE DEFAULT 5,
  `j` longtext CHARACTER SET utf8mb4 COLLATE utf8mb4_bin DEFAULT NULL CHECK (json_valid(`j`)),
  `p` point NOT NULL /*!80003 SRID 4326 */,
  PRIMARY KEY (`id`,`v`(10)) USING BTREE,
  UNIQUE KEY `u` (`v`) COMMENT 'u, (x)',
  KEY `k,1` (`e`,`bi`) /*!80000 INVISIBLE */,
  FULLTEXT KEY `ft` (`j`) /*!50100 WITH PARSER `ngram` */ ,
  FULLTEXT KEY `ft2` (`v`),
  SPATIAL KEY `sp` (`p`),
  KEY `desc` (`id` DESC,`v`(5)) IGNORED,
  CONSTRAINT `fk_a` FOREIGN KEY (`e`) REFERENCES `other` (`x`) ON DELETE CASCADE,
  CONSTRAINT `chk` CHECK (`id` > 0 and `v` <> 'KEY (a)')
) ENGINE=InnoDB AUTO_INCREMENT=7 DEFAULT CHARSET=utf8mb4 COMMENT='(x), y'
/*!50100 PARTITION BY RANGE (`id`)
(PARTITION p0 VALUES LESS THAN (10) ENGINE = InnoDB,
 PARTITION p1 VALUES LESS THAN MAXVALUE ENGINE = InnoDB) */";

fn texts(clauses: &[Clause]) -> Vec<&str> {
    clauses.iter().map(|clause| clause.text.as_str()).collect()
}

#[test]
fn keys_wait_and_the_rest_stays_to_the_byte() {
    let table = TableDef::parse(ZOO).unwrap();
    assert_eq!(table.name.name, "zo`o");
    assert_eq!(table.primary_key, ["id", "v"]);
    assert!(table.is_transactional());
    let groups = table.waiting_keys();
    assert_eq!(
        groups.iter().map(|group| texts(group)).collect::<Vec<_>>(),
        [
            vec![
                "UNIQUE KEY `u` (`v`) COMMENT 'u, (x)'",
                "KEY `k,1` (`e`,`bi`) /*!80000 INVISIBLE */",
                "SPATIAL KEY `sp` (`p`)",
                "KEY `desc` (`id` DESC,`v`(5)) IGNORED",
            ],
            vec!["FULLTEXT KEY `ft` (`j`) /*!50100 WITH PARSER `ngram` */"],
            vec!["FULLTEXT KEY `ft2` (`v`)"],
        ]
    );
    assert_eq!(groups[0][1].name.as_deref(), Some("k,1"));
    let foreign = table.foreign_keys();
    assert_eq!(foreign[0].name.as_deref(), Some("fk_a"));
    let bare = table.create_bare("`d`.`t`");
    assert!(bare.starts_with("CREATE TABLE `d`.`t` (\n  `id` bigint(20)"), "{bare}");
    assert!(bare.contains("PRIMARY KEY (`id`,`v`(10)) USING BTREE,\n  CONSTRAINT `chk`"), "{bare}");
    assert!(bare.ends_with(") */") && !bare.contains("FULLTEXT") && !bare.contains("fk_a"), "{bare}");
    let keyed = table.create_keyed("`t`");
    assert!(keyed.contains("SPATIAL KEY") && !keyed.contains("fk_a"), "{keyed}");
    assert_eq!(
        alter_add("`t`", &groups[1]),
        "ALTER TABLE `t`\n  ADD FULLTEXT KEY `ft` (`j`) /*!50100 WITH PARSER `ngram` */"
    );
}

#[test]
fn columns_are_known() {
    let table = TableDef::parse(ZOO).unwrap();
    let kinds: Vec<(&str, ColumnKind)> =
        table.columns.iter().map(|column| (column.name.as_str(), column.kind)).collect();
    assert_eq!(
        kinds,
        [
            ("id", ColumnKind::Number),
            ("v", ColumnKind::Text),
            ("vb", ColumnKind::Bytes),
            ("e", ColumnKind::Choice),
            ("bi", ColumnKind::Bit),
            ("g", ColumnKind::Number),
            ("hidden", ColumnKind::Number),
            ("j", ColumnKind::Text),
            ("p", ColumnKind::Bytes),
        ]
    );
    assert!(table.column("G").unwrap().is_generated && !table.column("id").unwrap().is_generated);
    assert_eq!(table.visible_columns().count(), 8);
}

#[test]
fn what_orders_or_counts_rows_stays() {
    let waiting = |text: &str| {
        let table = TableDef::parse(text).unwrap();
        let names = table.waiting_keys().concat().into_iter().map(|clause| clause.name.unwrap());
        names.collect::<Vec<_>>().join(",")
    };
    for (elements, tail, expected) in [
        // The key that AUTO_INCREMENT needs, and all before it.
        (
            "`a` int NOT NULL, `i` int AUTO_INCREMENT, PRIMARY KEY (`a`), KEY `x` (`a`), KEY `i` (`i`), KEY `y` (`a`)",
            "",
            "y",
        ),
        ("`i` int AUTO_INCREMENT, `a` int, PRIMARY KEY (`i`), KEY `x` (`a`)", "", "x"),
        // Without a primary key, the first unique one without NULL.
        ("`a` int, `b` int NOT NULL, UNIQUE KEY `n` (`a`), UNIQUE KEY `u` (`b`), KEY `x` (`a`)", "", "x"),
        ("`a` int, UNIQUE KEY `n` (`a`), KEY `x` (`a`)", "", "n,x"),
        // Expressions, periods, vectors.
        ("`a` int PRIMARY KEY, KEY `x` (`a`), KEY `f` ((`a` + 1)), KEY `y` (`a`)", "", "y"),
        ("`a` int PRIMARY KEY, KEY `f` (`a`,(`a` + 1)), KEY `y` (`a`)", "", "y"),
        ("`a` int PRIMARY KEY, KEY `p` (`a`(5)), KEY `y` (`a`)", "", "p,y"),
        // Other engines, versioned tables.
        ("`a` int PRIMARY KEY, KEY `x` (`a`)", " ENGINE=MyISAM", ""),
        ("`a` int PRIMARY KEY, KEY `x` (`a`)", " ENGINE=InnoDB WITH SYSTEM VERSIONING", ""),
    ] {
        assert_eq!(waiting(&format!("CREATE TABLE `t` ({elements}){tail}")), expected, "{elements}");
    }
}

#[test]
fn columns_computed_from_a_counter_can_be_stored() {
    let text = "CREATE TABLE `t` (`id` int AUTO_INCREMENT, `g` int(11) GENERATED ALWAYS AS (`id` + (1)) VIRTUAL COMMENT 'x', \
                `h` int GENERATED ALWAYS AS (2) STORED, PRIMARY KEY (`id`))";
    let mut table = TableDef::parse(text).unwrap();
    assert_eq!(table.store_generated_from_auto_increment(), ["g"]);
    let made = table.create_bare("`t`");
    assert!(made.contains("`g` int(11)  COMMENT 'x'") && made.contains("(2) STORED"), "{made}");
    assert!(!table.column("g").unwrap().is_generated && table.column("h").unwrap().is_generated);
}

#[test]
fn other_statements_are_left_alone() {
    for text in [
        "CREATE TABLE a LIKE b",
        "CREATE TABLE a SELECT 1",
        "CREATE TABLE a (b int",
        "CREATE TABLE a (b int COMMENT 'x",
        "CREATE VIEW a AS SELECT 1",
        "CREATE TABLE",
        "",
    ] {
        assert_eq!(TableDef::parse(text), None, "{text}");
    }
    let table = TableDef::parse("CREATE TABLE IF NOT EXISTS `d`.`t` (\n`a` int\n)").unwrap();
    assert_eq!(table.name.to_string(), "d.t");
    assert_eq!(table.create_bare("`x`"), "CREATE TABLE IF NOT EXISTS `x` (\n  `a` int\n)");
}

#[test]
fn damaged_definitions_do_no_harm() {
    // Every prefix, and every byte of it replaced by what opens or closes something.
    for end in 0..ZOO.len() {
        let _ = ZOO.get(..end).and_then(TableDef::parse);
    }
    for at in 0..ZOO.len() {
        for byte in ["(", ")", "'", "`", ",", "/*", "\\"] {
            let Some((before, after)) = ZOO.get(..at).zip(ZOO.get(at + 1..)) else { continue };
            if let Some(table) = TableDef::parse(&format!("{before}{byte}{after}")) {
                let _ = (table.create_bare("`t`"), table.waiting_keys(), table.foreign_keys());
            }
        }
    }
}
