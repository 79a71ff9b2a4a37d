//! Backups in a place: listed, verified, and pruned, with manifests made by hand.

use std::path::Path;

use backup::repository::{BackupId, Repository};
use blob::{Address, Place};
use bytes::Bytes;
use dump::manifest::{MANIFEST_NAME, Manifest};
use dump::{Fate, KeepRules, KeptFor, Proof};
use jiff::Timestamp;
use serde_json::json;
use sha2::{Digest as _, Sha256};

fn repository(folder: &Path) -> Repository {
    Repository::new(Place::open(&Address::Folder(folder.to_owned()), None).unwrap())
}

fn sha256(bytes: &[u8]) -> String {
    base16ct::lower::encode_string(&Sha256::digest(bytes))
}

/// A backup with two files, as `create` leaves one.
async fn backup(repository: &Repository, id: &str, is_whole: bool) {
    let files = [("metadata", b"when".as_slice()), ("shop.t.00000.sql.zst", b"rows")];
    for (name, content) in files {
        let name = format!("{id}/{name}");
        repository.place().put_all(&name, Bytes::from_static(content)).await.unwrap();
    }
    if !is_whole {
        return;
    }
    let at = id.parse::<BackupId>().unwrap().started().to_string();
    let record = |name: &str, role: &str, content: &[u8]| json!({"name": name, "role": role, "bytes": content.len(), "sha256": sha256(content)});
    let manifest = json!({
        "format": 1, "id": id, "mainstay": "0.1.0", "kind": "logical",
        "started": at, "finished": at, "snapshot_taken": at,
        "server": {
            "vendor": "mariadb", "version": "10.11.14-MariaDB", "comment": "", "server_id": 7, "uuid": null,
            "host": "db1", "sql_mode": "", "character_set": "utf8mb4", "collation": "utf8mb4_general_ci",
            "lower_case_table_names": 0, "max_allowed_packet_bytes": 16_777_216,
        },
        "coordinates": {"file": "binlog.000001", "position": 4, "gtid": "0-7-1"},
        "method": "backup-stage", "compression": "zstd",
        "options": {"threads": 1, "chunk_bytes": 1000, "statement_bytes": 1000},
        "files": [
            record("metadata", "metadata", files[0].1),
            record("shop.t.00000.sql.zst", "rows", files[1].1),
        ],
    });
    let text = serde_json::to_vec(&manifest).unwrap();
    Manifest::read(&text).unwrap();
    repository.place().put_all(&format!("{id}/{MANIFEST_NAME}"), Bytes::from(text)).await.unwrap();
}

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

const IDS: [&str; 4] =
    ["20261118T010000Z-shop", "20261119T010000Z-shop", "20261120T010000Z-shop", "20261121T010000Z-shop"];

async fn shelf() -> (tempfile::TempDir, Repository) {
    let folder = tempfile::tempdir().unwrap();
    let repository = repository(folder.path());
    for (number, id) in IDS.iter().enumerate() {
        backup(&repository, id, number != 0).await;
    }
    // Folders that are none.
    repository.place().put_all("lost+found/x", Bytes::new()).await.unwrap();
    (folder, repository)
}

#[tokio::test]
async fn backups_are_listed_newest_first_and_what_is_incomplete_is_said() {
    let (_folder, repository) = shelf().await;
    let listed = repository.list().await.unwrap();
    let ids: Vec<&str> = listed.iter().map(|backup| backup.id.as_str()).collect();
    assert_eq!(ids, [IDS[3], IDS[2], IDS[1], IDS[0]]);
    assert_eq!(listed[0].whole.as_ref().unwrap().manifest.stored_bytes(), 8);
    assert!(listed[3].whole.as_ref().unwrap_err().contains("incomplete"));
    // A manifest that is cut off, and one of another backup.
    let text = repository.place().get_all(&format!("{}/{MANIFEST_NAME}", IDS[3]), 1 << 20).await.unwrap();
    repository
        .place()
        .put_all(&format!("{}/{MANIFEST_NAME}", IDS[2]), Bytes::from(text.clone()))
        .await
        .unwrap();
    let cut = Bytes::from(text[..text.len() / 2].to_vec());
    repository.place().put_all(&format!("{}/{MANIFEST_NAME}", IDS[1]), cut).await.unwrap();
    let listed = repository.list().await.unwrap();
    assert!(listed[1].whole.as_ref().unwrap_err().contains(IDS[3]));
    assert!(listed[2].whole.as_ref().unwrap_err().contains("manifest"));
    let error = repository.find(&"20200101T000000Z-x".parse().unwrap()).await.unwrap_err();
    assert!(error.to_string().contains("no backup 20200101T000000Z-x"), "{error}");
}

#[tokio::test]
async fn verifying_reads_back_and_remembers_until_something_is_wrong() {
    let (folder, repository) = shelf().await;
    let id: BackupId = IDS[3].parse().unwrap();
    let now = at("2026-11-21T18:00:00Z");
    let mut told = Vec::new();
    let verified =
        repository.verify(&id, now, &mut |news| told.push((news.bytes, news.of_bytes))).await.unwrap();
    assert_eq!((verified.files, verified.bytes, verified.problems.len()), (2, 8, 0));
    assert_eq!(told, [(4, 8), (8, 8)]);
    let listed = repository.find(&id).await.unwrap();
    assert_eq!(listed.proof(), Proof::ReadBack);
    assert_eq!(listed.whole.unwrap().read_back.unwrap().at, now);
    let file = folder.path().join(IDS[3]).join("shop.t.00000.sql.zst");
    for (content, said) in
        [(Some("rowz"), "SHA-256"), (Some("row"), "has 3 bytes, not 4"), (None, "there is no")]
    {
        std::fs::remove_file(&file).ok();
        if let Some(content) = content {
            let name = format!("{}/shop.t.00000.sql.zst", IDS[3]);
            repository.place().put_all(&name, Bytes::from_static(content.as_bytes())).await.unwrap();
        }
        let verified = repository.verify(&id, now, &mut |_| {}).await.unwrap();
        assert_eq!(verified.problems.len(), 1);
        assert!(verified.problems[0].problem.contains(said), "{verified:?}");
        assert_eq!(repository.find(&id).await.unwrap().proof(), Proof::None, "it is no longer proven");
    }
    let incomplete = repository.verify(&IDS[0].parse().unwrap(), now, &mut |_| {}).await.unwrap_err();
    assert!(incomplete.to_string().contains("incomplete"), "{incomplete}");
}

#[tokio::test]
async fn pruning_removes_what_the_plan_says_and_nothing_else() {
    let (folder, repository) = shelf().await;
    let now = at("2026-11-21T18:00:00Z");
    repository.verify(&IDS[1].parse().unwrap(), now, &mut |_| {}).await.unwrap();
    let rules = KeepRules { last: 1, ..KeepRules::default() };
    let plan = repository.plan_prune(&rules, now).await.unwrap();
    let goes: Vec<&str> = plan
        .backups
        .iter()
        .filter(|(_, fate)| matches!(fate, Fate::Goes(_)))
        .map(|(backup, _)| backup.id.as_str())
        .collect();
    assert_eq!(goes, [IDS[2], IDS[0]]);
    assert_eq!(plan.backups[2].1, Fate::Stays(vec![KeptFor::NewestReadBack]));
    // Planning removes nothing.
    assert_eq!(repository.list().await.unwrap().len(), 4);
    // What it was writing when it was killed.
    let unfinished = folder.path().join(IDS[0]).join(".shop.t.00001.sql.zst.4711-7");
    std::fs::copy(folder.path().join(IDS[0]).join("metadata"), &unfinished).unwrap();
    let pruned = repository.prune(&plan).await.unwrap();
    assert_eq!(pruned.backups, [IDS[2], IDS[0]]);
    let left: Vec<String> =
        repository.list().await.unwrap().iter().map(|backup| backup.id.to_string()).collect();
    assert_eq!(left, [IDS[3], IDS[1]]);
    assert!(!folder.path().join(IDS[0]).exists(), "killed, and listed for ever");
    assert!(!folder.path().join(IDS[2]).exists() && folder.path().join("lost+found/x").exists());
    let again = repository.plan_prune(&rules, now).await.unwrap();
    assert!(again.backups.iter().all(|(_, fate)| matches!(fate, Fate::Stays(_))), "{again:?}");
}
