//! What somebody changes by hand shows in the next plan, exactly that, and is mended by the next apply.

use flavor::{ValueKind, Vendor};
use server::Sql;

use crate::harness::{Bench, CLOUDSTACK, vendors};

async fn ids(bench: &Bench) -> Vec<String> {
    let plan = bench.plan().await;
    assert!(plan.findings.is_empty(), "{plan}");
    plan.steps.iter().map(|step| step.id.clone()).collect()
}

/// Another value that the server accepts for a variable that has `now`.
fn another(name: &str, kind: ValueKind, now: &str) -> String {
    match (name, kind) {
        ("binlog_format", _) => "'MIXED'".to_owned(),
        ("binlog_row_image", _) => "'MINIMAL'".to_owned(),
        ("binlog_row_metadata", _) => "'MINIMAL'".to_owned(),
        ("character_set_server", _) => "'latin1'".to_owned(),
        ("collation_server", _) => "'latin1_bin'".to_owned(),
        ("sql_mode", _) => "'ANSI'".to_owned(),
        ("tls_version", _) => "'TLSv1.3'".to_owned(),
        ("innodb_flush_log_at_trx_commit", _) => "2".to_owned(),
        (_, ValueKind::Bool) => if now == "ON" { "OFF" } else { "ON" }.to_owned(),
        (_, ValueKind::Number) => match now.parse::<u64>().unwrap() {
            // Sizes stay multiples of any grain, limits stay useful.
            large if large > 1 << 20 => (large / 2).to_string(),
            buffer if buffer >= 1 << 16 => (buffer * 2).to_string(),
            small => (small + 1024).to_string(),
        },
        (_, ValueKind::Text | ValueKind::Set | ValueKind::Path) => panic!("{name} needs a value here"),
    }
}

#[tokio::test]
async fn real_every_managed_variable_set_by_hand_shows_alone() {
    for vendor in vendors().await {
        let bench = Bench::new(vendor, CLOUDSTACK).await;
        bench.converge().await;
        let mut connection = bench.connection().await;
        let flavor = connection.flavor();
        let mut tried = 0;
        for variable in flavor::VARIABLES.iter().filter(|row| row.exists(flavor) && row.dynamic(flavor)) {
            let name = variable.name;
            // Certificates are covered by their own tests; TLS reloads would follow here.
            if name.starts_with("ssl_") || name == "innodb_autoinc_lock_mode" {
                continue;
            }
            let read = Sql::plain(format!("SELECT @@GLOBAL.{name} AS value"));
            let now = connection.query(&read).await.unwrap()[0].text("value").unwrap_or_default().to_owned();
            let now = if variable.kind == ValueKind::Bool && now == "1" { "ON".to_owned() } else { now };
            let other = another(name, variable.kind, &now);
            if name == "collation_server" || name == "character_set_server" {
                // Each drags the other along.
                continue;
            }
            connection
                .execute(&Sql::plain(format!("SET GLOBAL {name} = {other}")))
                .await
                .unwrap_or_else(|error| panic!("{vendor} {name} = {other}: {error}"));
            assert_eq!(ids(&bench).await, [format!("variable/{name}")], "{vendor}");
            let plan = bench.plan().await;
            let applied = bench.apply(&plan).await.unwrap_or_else(|error| panic!("{vendor} {name}: {error}"));
            assert!(!applied.remaining.differs(), "{vendor}: {}", applied.remaining);
            tried += 1;
        }
        assert!(tried > 20, "{vendor}: only {tried} variables were tried");
        connection.close().await;
        bench.down().await;
    }
}

#[tokio::test]
async fn real_grants_accounts_and_files_changed_by_hand_show_alone() {
    for vendor in vendors().await {
        let bench = Bench::new(vendor, CLOUDSTACK).await;
        bench.converge().await;

        bench.run(&["GRANT SELECT ON mysql.* TO 'cloud'@'localhost'"]).await;
        assert_eq!(ids(&bench).await, ["account/cloud@localhost/revoke/SELECT on `mysql`.*"], "{vendor}");
        bench.converge().await;

        bench.run(&["REVOKE PROCESS ON *.* FROM 'cloud'@'localhost'"]).await;
        assert_eq!(ids(&bench).await, ["account/cloud@localhost/grant/*.*"], "{vendor}");
        bench.converge().await;

        let password =
            if vendor == Vendor::MySql { "IDENTIFIED BY 'Other-1'" } else { "IDENTIFIED BY 'other'" };
        bench.run(&[&format!("ALTER USER 'cloud'@'localhost' {password}")]).await;
        assert_eq!(ids(&bench).await, ["account/cloud@localhost/password"], "{vendor}");
        bench.converge().await;

        bench.run(&["DROP USER 'mainstay_backup'@'localhost'"]).await;
        assert_eq!(
            ids(&bench).await,
            ["account/mainstay_backup@localhost/create", "account/mainstay_backup@localhost/grant/*.*"],
            "{vendor}"
        );
        bench.converge().await;

        let file = bench.lab_node().conf_dir.join("zz-mainstay.cnf");
        let text = std::fs::read_to_string(&file).unwrap();
        std::fs::OpenOptions::new()
            .append(true)
            .open(&file)
            .and_then(|mut file| std::io::Write::write_all(&mut file, b"max_connections = 12\n"))
            .unwrap();
        assert_eq!(ids(&bench).await, ["config/file"], "{vendor}");
        bench.converge().await;
        assert_eq!(std::fs::read_to_string(&file).unwrap(), text);

        bench.run(&["CREATE USER 'intern'@'%'"]).await;
        let plan = bench.plan().await;
        assert!(plan.steps.is_empty() && plan.differs(), "{plan}");
        assert_eq!(plan.findings[0].id, "account/intern@%/unmanaged");
        bench.down().await;
    }
}
