//! Accounts of a backup on real servers: made where they are missing, let be where they are, never shown.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use backup::create::CreateOptions;
use backup::restore::{Progress, RestoreError, RestoreOptions, Restored, Selection, Source, restore};
use backup::seal::Identities;
use flavor::Vendor;
use server::Connection;

use crate::harness::{Bench, run, vendors};
use crate::restore::{all, options};

/// Accounts with what servers know of them: a role, a grant on each level, a password, quotes in names.
fn accounts(vendor: Vendor) -> Vec<&'static str> {
    let mut statements = vec![
        "CREATE DATABASE shop",
        "CREATE TABLE shop.t (id INT PRIMARY KEY, a INT, b INT)",
        "CREATE FUNCTION shop.f() RETURNS INT DETERMINISTIC RETURN 1",
        "CREATE ROLE clerk",
        "CREATE USER 'o''neil'@'10.%' IDENTIFIED BY 'the secret word'",
        "CREATE USER kept@localhost IDENTIFIED BY 'another secret'",
        "CREATE USER bare@localhost",
        "GRANT SELECT ON shop.* TO clerk",
        "GRANT clerk TO 'o''neil'@'10.%'",
        "GRANT SELECT (a, b), UPDATE (a) ON shop.t TO 'o''neil'@'10.%' WITH GRANT OPTION",
        "GRANT EXECUTE ON FUNCTION shop.f TO 'o''neil'@'10.%'",
        "GRANT PROCESS ON *.* TO 'o''neil'@'10.%'",
        "GRANT SELECT ON shop.* TO kept@localhost",
    ];
    statements.push(match vendor {
        Vendor::MariaDb => "SET DEFAULT ROLE clerk FOR 'o''neil'@'10.%'",
        Vendor::MySql => "SET DEFAULT ROLE clerk TO 'o''neil'@'10.%'",
    });
    statements.push("CREATE DEFINER = bare@localhost VIEW shop.v AS SELECT id FROM shop.t");
    statements
}

async fn grants(connection: &mut Connection, account: &str) -> Vec<String> {
    let mut seen = all(connection, &format!("SHOW GRANTS FOR {account}")).await.concat();
    if !account.starts_with("'clerk") {
        seen.extend(all(connection, &format!("SHOW CREATE USER {account}")).await.concat());
    }
    seen.sort();
    seen
}

async fn with_accounts(
    bench: &Bench,
    folder: &Path,
    options: RestoreOptions,
) -> Result<Restored, RestoreError> {
    let folder = folder.to_owned();
    let read = tokio::task::spawn_blocking(move || {
        let source = Source::at_path(&folder, &Identities::default())?;
        let accounts = source.accounts()?;
        Ok::<_, RestoreError>((accounts, source.survey(&Selection::default(), 2, false)?))
    });
    let (accounts, survey) = read.await.unwrap()?;
    let options = RestoreOptions { accounts: Some(accounts), fixes: [].into(), ..options };
    restore(survey, &bench.target(), &options, Arc::new(Progress::default())).await
}

#[tokio::test(flavor = "multi_thread")]
async fn real_accounts_are_made_where_missing_and_never_changed() {
    let mut benches = Vec::new();
    for vendor in vendors().await {
        let bench = Bench::new(vendor).await;
        let mut connection = bench.connect().await;
        for statement in accounts(vendor) {
            run(&mut connection, &[statement]).await;
        }
        let gone = if vendor == Vendor::MariaDb {
            ["'clerk'", "'o''neil'@'10.%'", "bare@localhost"]
        } else {
            ["'clerk'@'%'", "'o''neil'@'10.%'", "bare@localhost"]
        };
        let mut before = BTreeMap::new();
        for account in gone {
            before.insert(account, grants(&mut connection, account).await);
        }
        let manifest = bench.create(&CreateOptions::new("accounts")).await.unwrap();
        let folder = bench.place_path().join(&manifest.id);
        let drop_role = if vendor == Vendor::MariaDb { "DROP ROLE clerk" } else { "DROP USER clerk" };
        run(
            &mut connection,
            &["DROP DATABASE shop", drop_role, "DROP USER 'o''neil'@'10.%'", "DROP USER bare@localhost"],
        )
        .await;
        run(&mut connection, &["REVOKE SELECT ON shop.* FROM kept@localhost"]).await;
        let kept = grants(&mut connection, "kept@localhost").await;

        let dry =
            with_accounts(&bench, &folder, RestoreOptions { dry_run: true, ..options() }).await.unwrap();
        assert_eq!(dry.accounts.len(), 3, "{dry:?}");
        assert!(
            !all(&mut connection, "SELECT user FROM mysql.user").await.concat().contains(&"bare".to_owned())
        );

        let done = with_accounts(&bench, &folder, options()).await.unwrap();
        assert_eq!(done.accounts.len(), 3, "{done:?}");
        assert!(done.accounts_kept.contains(&"'kept'@'localhost'".to_owned()), "{done:?}");
        assert!(done.left_out.is_empty() && done.changes.is_empty(), "{vendor}: {done:?}");
        for (account, was) in &before {
            assert_eq!(&grants(&mut connection, account).await, was, "{vendor}: {account}");
        }
        assert_eq!(grants(&mut connection, "kept@localhost").await, kept, "{vendor}");
        let shown = serde_json::to_string(&done).unwrap();
        assert!(!shown.contains("IDENTIFIED") && !shown.contains('*') && !shown.contains("$A$"), "{shown}");
        benches.push((vendor, bench, folder));
    }
    if let [(one, first, folder), (_, second, others)] = benches.as_slice() {
        for (bench, folder) in [(first, others), (second, folder)] {
            let error = with_accounts(bench, folder, options()).await.unwrap_err();
            assert!(error.to_string().contains("the backup's accounts are of"), "{one}: {error}");
        }
    }
    for (_, bench, _) in benches {
        bench.down().await;
    }
}
