//! An archive by one who cannot read it: encrypted, whole, made one of pieces, and closed to everybody else.

use std::path::PathBuf;

use backup::archive::{Archive, ArchiveError, ArchiveNews, archive_once};
use backup::seal::{Identities, SealError};
use flavor::Vendor;

use crate::archive::{Logged, work};
use crate::harness::{run, vendors};

/// Objects with content, by name.
fn contents(logged: &Logged) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![logged.folder.path().join("place/binlog")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|end| end != "json") {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

async fn problems(archive: &Archive) -> Vec<String> {
    archive.check().await.unwrap().problems
}

#[tokio::test(flavor = "multi_thread")]
async fn real_an_archive_is_made_by_one_who_cannot_read_it() {
    for vendor in vendors().await {
        let mut lines = vec!["max-binlog-size = 1M", "max-allowed-packet = 64M"];
        // MariaDB keeps statements' texts to itself unless a replica asks for them.
        if vendor == Vendor::MariaDb {
            lines.push("binlog-annotate-row-events = OFF");
        }
        let mut logged = Logged::up(vendor, 1, &lines).await;
        let identities = Identities::generate();
        let closed = logged.archive().with_recipients(identities.recipients());
        let mut connection = logged.connect(0).await;
        let (mut segments, mut merged) = (0, 0);
        for round in 0..3 {
            work(&mut connection, round).await;
            run(&mut connection, &["FLUSH BINARY LOGS"]).await;
            let (options, mut count) = (logged.options(0), 0);
            let mut tell = |news| count += u32::from(matches!(news, ArchiveNews::Merged { .. }));
            segments += archive_once(&closed, &options, &mut tell).await.unwrap().segments;
            merged += count;
        }
        let run = closed.last_run().await.unwrap().unwrap();
        assert!(
            merged >= 3 && run.segments.len() < usize::try_from(segments).unwrap(),
            "{merged} {segments}"
        );
        for path in contents(&logged) {
            assert_eq!(path.extension().unwrap(), "age");
            let bytes = std::fs::read(&path).unwrap();
            assert!(bytes.starts_with(b"age-encryption.org/v1\n"), "{}", path.display());
        }
        // What has become one is for nobody but the recipient, as its record says; all of it is what the server has.
        let all = closed.segments(&run.segments).await.unwrap();
        let whole: Vec<_> = all.iter().filter(|it| it.is_log_end && it.start == 0).collect();
        assert!(
            whole.iter().any(|it| it.merger.is_none()) && all.last().unwrap().merger.is_some(),
            "{all:?}"
        );
        logged.opener = Some(identities.clone());
        logged.compare(0).await;

        // Another process of the archiver reads nothing of it, and still sees what is stored.
        let check = logged.archive_of(None).check().await.unwrap();
        assert_eq!((check.problems.len(), check.unopened), (0, check.segments));
        let check = logged.archive().check().await.unwrap();
        assert_eq!((check.problems.len(), check.unopened), (0, 0));
        let other = logged.archive_of(Some(Identities::generate()));
        let refused = other.check().await.unwrap_err();
        let ArchiveError::Sealed { source, .. } = &refused else { panic!("{refused}") };
        assert_eq!(*source, SealError::WrongIdentity { recipients: identities.recipients().names() });

        // A piece in another one's place: both know it by its sum.
        let paths = contents(&logged);
        let [first, .., last] = paths.as_slice() else { panic!("{paths:?}") };
        std::fs::copy(last, first).unwrap();
        for archive in [logged.archive(), logged.archive_of(None)] {
            let found = problems(&archive).await;
            assert!(found.len() == 1 && found[0].contains("damaged"), "{found:?}");
        }
        println!("{vendor}: {segments} segments, {merged} times made one");
        connection.close().await;
        logged.down().await;
    }
}
