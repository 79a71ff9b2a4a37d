//! Restores that are run again: after they were abandoned, failed, or lost sessions, with the server still at what they had
//! sent.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use backup::restore::{Progress, RestoreError, Restored, Selection};

use crate::archive_faults::write;
use crate::harness::{Bench, run, value, vendors};
use crate::restore::{all, load, load_all, load_to, options, pieces};

/// Looks again and again until something is so, for a minute at most.
async fn until(pause_ms: u64, is_so: impl AsyncFn() -> bool) {
    let waited = tokio::time::timeout(Duration::from_secs(60), async {
        while !is_so().await {
            tokio::time::sleep(Duration::from_millis(pause_ms)).await;
        }
    });
    waited.await.unwrap();
}

/// Restores until so many rows of this run are loaded, and abandons it then.
async fn abandon_at(bench: &Bench, path: &Path, rows: u64) -> Option<Result<Restored, RestoreError>> {
    let progress = Arc::new(Progress::default());
    let (options, target) = (options(), bench.target());
    let watched = Arc::clone(&progress);
    tokio::select! {
        biased;
        // Not at the very end: with its last step the notes go.
        () = until(1, async || {
            let standing = watched.standing();
            standing.rows_done >= rows && standing.phase == "loading rows"
        }) => None,
        done = load_to(&target, path, Selection::default(), &options, progress) => Some(done),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn real_an_abandoned_restore_goes_on() {
    for vendor in vendors().await {
        let bench = Bench::with(vendor, &["local-infile = ON"]).await;
        let path = pieces(bench.folder.path(), 4, 60);
        let mut abandoned = 0;
        // Each try gets further, as what was committed stays.
        let done = loop {
            assert!(abandoned < 200, "it does not get further");
            match abandon_at(&bench, &path, 1 + 200 * abandoned).await {
                Some(Ok(done)) => break done,
                Some(Err(error)) => panic!("{error}"),
                None => abandoned += 1,
            }
        };
        println!("{vendor}: done after {abandoned} abandoned tries");
        assert!(abandoned > 3 && done.resumed);
        let mut connection = bench.connect().await;
        for table in 0..4 {
            let counts =
                format!("SELECT CONCAT(COUNT(*), ' ', COUNT(DISTINCT id), ' ', SUM(id)) FROM many.t{table}");
            assert_eq!(value(&mut connection, &counts).await, "3000 3000 4498500", "{vendor}");
        }
        drop(connection);
        bench.down().await;
    }
}

/// The server may commit what a killed run sent when the next run has read the notes already. The table has no key that
/// would keep rows from being there twice.
#[tokio::test(flavor = "multi_thread")]
async fn real_what_a_killed_run_still_commits_is_not_loaded_twice() {
    for vendor in vendors().await {
        let bench = Bench::with(vendor, &["local-infile = ON"]).await;
        let path = pieces(bench.folder.path(), 1, 600);
        let keyless = std::fs::read_to_string(&path).unwrap().replace("PRIMARY KEY (`id`), ", "");
        write(&path, keyless.as_bytes());
        assert!(abandon_at(&bench, &path, 1).await.is_none());
        let mut straggler = bench.connect().await;
        let id = value(&mut straggler, "SELECT restore FROM mainstay_restore.done LIMIT 1").await;
        let note = format!("INSERT INTO mainstay_restore.done VALUES ('{id}', 'rows:0:599')");
        let rows: Vec<String> = (29950..30000).map(|id| format!("({id}, 'late')")).collect();
        let rows = format!("INSERT INTO many.t0 VALUES {}", rows.join(","));
        run(&mut straggler, &["START TRANSACTION", &note, &rows]).await;

        let watcher = tokio::sync::Mutex::new(bench.connect().await);
        let next = options();
        let next = load(&bench, &path, Selection::default(), &next);
        let let_go = async {
            let waiting = "SELECT COUNT(*) FROM information_schema.INNODB_TRX WHERE trx_state = 'LOCK WAIT'";
            // What this shows is older than a tenth of a second, and kept while it is asked for more often.
            until(300, async || value(&mut *watcher.lock().await, waiting).await == "1").await;
            let third = load(&bench, &path, Selection::default(), &options()).await.unwrap_err();
            assert!(third.to_string().contains("there with KILL "), "{third}");
            run(&mut straggler, &["COMMIT"]).await;
        };
        let (done, ()) = tokio::join!(next, let_go);
        assert!(done.unwrap().resumed, "{vendor}");
        let counts = "SELECT CONCAT(COUNT(*), ' ', SUM(id), ' ', SUM(v = 'late')) FROM many.t0";
        assert_eq!(value(&mut straggler, counts).await, "30000 449985000 50", "{vendor}");
        drop((straggler, watcher));
        bench.down().await;
    }
}

/// What somebody else made of the name meanwhile stays as it is, however often the restore is run.
#[tokio::test(flavor = "multi_thread")]
async fn real_a_table_that_no_note_tells_of_is_let_be() {
    for vendor in vendors().await {
        for engine in ["InnoDB", "MyISAM"] {
            let bench = Bench::with(vendor, &["local-infile = ON"]).await;
            let path = pieces(bench.folder.path(), 2, 3);
            let sound = std::fs::read_to_string(&path).unwrap().replace("InnoDB", engine);
            let write = |text: &str| write(&path, text.as_bytes());
            let (first, second) = sound.split_at(sound.find("CREATE TABLE `t1`").unwrap());
            write(&format!("{first}{}", second.replacen("PRIMARY KEY (`id`)", "PRIMARY KEY (`ix`)", 1)));
            let failed = load(&bench, &path, Selection::default(), &options()).await.unwrap_err();
            assert!(format!("{failed:?}").contains("1072"), "{failed:?}");
            let mut connection = bench.connect().await;
            let theirs = format!("CREATE TABLE many.t1 (id INT, v VARCHAR(40)) ENGINE={engine}");
            run(&mut connection, &[&theirs, "INSERT INTO many.t1 VALUES (7, 'theirs')"]).await;
            write(&sound);
            for _ in 0..2 {
                let refused = load(&bench, &path, Selection::default(), &options()).await.unwrap_err();
                assert!(refused.to_string().contains("has to be dropped first"), "{vendor}: {refused}");
                let rows = "SELECT CONCAT(COUNT(*), ' ', MAX(v)) FROM many.t1";
                assert_eq!(value(&mut connection, rows).await, "1 theirs", "{vendor}");
            }
            run(&mut connection, &["DROP TABLE many.t1"]).await;
            assert!(load_all(&bench, &path, &options()).await.resumed, "{vendor}");
            assert_eq!(value(&mut connection, "SELECT COUNT(*) FROM many.t1").await, "150", "{vendor}");
            drop(connection);
            bench.down().await;
        }
    }
}

/// A way to the server that can be cut where an `ALTER TABLE` went through.
struct Way {
    target: server::Target,
    cut: Arc<tokio::sync::Notify>,
}

impl Way {
    fn to(bench: &Bench) -> Self {
        use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, copy};
        use tokio::net::{UnixListener, UnixStream};
        let mut target = bench.target();
        let server::Endpoint::Socket(server) = target.endpoint.clone() else { panic!("no socket") };
        let path = bench.folder.path().join("way.sock");
        let (listener, cut) = (UnixListener::bind(&path).unwrap(), Arc::new(tokio::sync::Notify::new()));
        target.endpoint = server::Endpoint::Socket(path);
        let cuts = Arc::clone(&cut);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let (server, cut) = (UnixStream::connect(&server).await.unwrap(), Arc::clone(&cuts));
                tokio::spawn(async move {
                    let ((mut asks, mut hears), (mut answers, mut told)) =
                        (client.into_split(), server.into_split());
                    let back = tokio::spawn(async move { copy(&mut answers, &mut hears).await.map(drop) });
                    let (mut bytes, mut altered) = (vec![0; 1 << 16], false);
                    loop {
                        let count = tokio::select! {
                            () = cut.notified(), if altered => break,
                            count = asks.read(&mut bytes) => count.unwrap_or(0),
                        };
                        altered |= bytes[..count].windows(11).any(|part| part == b"ALTER TABLE");
                        if count == 0 || told.write_all(&bytes[..count]).await.is_err() {
                            break;
                        }
                    }
                    back.abort();
                });
            }
        });
        Self { target, cut }
    }
}

/// The server goes on with an `ALTER TABLE` whose session was lost (MySQL; MariaDB ends it, as long as it waits).
#[tokio::test(flavor = "multi_thread")]
async fn real_keys_that_a_lost_session_still_builds_are_waited_for() {
    const WAITING: &str = "SELECT COUNT(*) FROM information_schema.PROCESSLIST \
        WHERE STATE = 'Waiting for table metadata lock' AND INFO LIKE 'ALTER TABLE%' AND ID > ";
    for vendor in vendors().await {
        let bench = Bench::with(vendor, &["local-infile = ON"]).await;
        let path = pieces(bench.folder.path(), 2, 60);
        let key = ", KEY `v` (`v`), CONSTRAINT `fk` FOREIGN KEY (`id`) REFERENCES `t0` (`id`))";
        let text = std::fs::read_to_string(&path).unwrap();
        let (first, second) = text.split_at(text.find("CREATE TABLE `t1`").unwrap());
        let text = format!("{first}{}", second.replacen(", KEY `v` (`v`))", key, 1));
        write(&path, text.as_bytes());
        assert!(abandon_at(&bench, &path, 1).await.is_none());
        let (mut reader, watcher) = (bench.connect().await, tokio::sync::Mutex::new(bench.connect().await));
        run(&mut reader, &["START TRANSACTION"]).await;
        value(&mut reader, "SELECT COUNT(*) FROM many.t1").await;

        let way = Way::to(&bench);
        let (options, progress) = (options(), Arc::new(Progress::default()));
        let restoring = load_to(&way.target, &path, Selection::default(), &options, progress);
        let let_go = async {
            let waits = async |after: &str| {
                let waiting = format!("{WAITING}{after}");
                until(20, async || value(&mut *watcher.lock().await, &waiting).await == "1").await;
            };
            waits("0").await;
            let last =
                value(&mut *watcher.lock().await, "SELECT MAX(ID) FROM information_schema.PROCESSLIST").await;
            way.cut.notify_waiters();
            waits(&last).await;
            run(&mut reader, &["COMMIT"]).await;
        };
        let (done, ()) = tokio::join!(restoring, let_go);
        assert!(done.unwrap().resumed, "{vendor}");
        let def = all(&mut reader, "SHOW CREATE TABLE many.t1").await[0][1].clone();
        assert_eq!(def.matches("CONSTRAINT").count(), 1, "{vendor}: {def}");
        drop((reader, watcher));
        bench.down().await;
    }
}

/// What a run sees of the target is how it is when the run's turn has come.
#[tokio::test(flavor = "multi_thread")]
async fn real_a_run_that_waited_for_another_looks_again() {
    for vendor in vendors().await {
        let bench = Bench::with(vendor, &["local-infile = ON"]).await;
        let path = pieces(bench.folder.path(), 2, 60);
        assert!(abandon_at(&bench, &path, 1).await.is_none());
        let (mut other, watcher) = (bench.connect().await, tokio::sync::Mutex::new(bench.connect().await));
        let id = value(&mut other, "SELECT restore FROM mainstay_restore.done LIMIT 1").await;
        assert_eq!(value(&mut other, &format!("SELECT GET_LOCK('mainstay_restore_{id}', 60)")).await, "1");
        let waiting =
            "SELECT COUNT(*) FROM information_schema.PROCESSLIST WHERE INFO LIKE 'SELECT GET_LOCK%'";
        let let_go = async {
            until(20, async || value(&mut *watcher.lock().await, waiting).await == "1").await;
            run(&mut other, &["DROP TABLE many.t0"]).await;
            value(&mut other, &format!("SELECT RELEASE_LOCK('mainstay_restore_{id}')")).await;
        };
        let options = options();
        let (done, ()) = tokio::join!(load_all(&bench, &path, &options), let_go);
        assert!(done.resumed, "{vendor}");
        for table in ["t0", "t1"] {
            let count = format!("SELECT COUNT(*) FROM many.{table}");
            assert_eq!(value(&mut other, &count).await, "3000", "{vendor}");
        }
        drop((other, watcher));
        bench.down().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn real_what_was_dropped_since_a_restore_failed_is_restored_anew() {
    for vendor in vendors().await {
        let bench = Bench::with(vendor, &["local-infile = ON"]).await;
        let path = pieces(bench.folder.path(), 2, 3);
        let sound = std::fs::read_to_string(&path).unwrap();
        // A key twice in the last piece, which fails, and all before it stays; and one in each table's first.
        let late = sound.replace("(149,'r''1;49')", "(148,'r''1;49')");
        let early = late.replace("(1,'r", "(0,'r");
        let write = |text: &str| write(&path, text.as_bytes());
        let mut connection = bench.connect().await;
        for dropped in ["DROP TABLE many.t0", "DROP DATABASE many"] {
            for (text, then) in [(&late, dropped), (&early, "DO 0")] {
                write(text);
                let error = load(&bench, &path, Selection::default(), &options()).await.unwrap_err();
                assert!(format!("{error:?}").contains("1062"), "{error:?}");
                run(&mut connection, &[then]).await;
            }
            write(&sound);
            assert!(load_all(&bench, &path, &options()).await.resumed, "{vendor}: {dropped}");
            for table in ["many.t0", "many.t1"] {
                let counts = format!("SELECT CONCAT(COUNT(*), ' ', SUM(id)) FROM {table}");
                assert_eq!(value(&mut connection, &counts).await, "150 11175", "{vendor}: {dropped}");
            }
            run(&mut connection, &["DROP DATABASE many"]).await;
        }
        drop(connection);
        bench.down().await;
    }
}
