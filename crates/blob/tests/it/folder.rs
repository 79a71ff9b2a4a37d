//! What only folders have: mounts that are not there, full disks, permissions, files of others.

use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};

use blob::{Address, BlobError, Place, S3Store};
use bytes::Bytes;

fn place(path: &std::path::Path) -> Place {
    Place::open(&Address::parse(&path.to_string_lossy(), &S3Store::default()).unwrap(), None).unwrap()
}

#[tokio::test]
async fn a_folder_that_is_not_there_is_never_made() {
    let folder = tempfile::tempdir().unwrap();
    let absent = folder.path().join("mount");
    let place = place(&absent);
    for error in [
        place.put("a").await.unwrap_err(),
        place.list("").await.unwrap_err(),
        place.folders("").await.unwrap_err(),
        place.stat("a").await.unwrap_err(),
    ] {
        assert!(matches!(error, BlobError::NoFolder { .. }), "{error}");
        assert!(error.hint().contains("mkdir"), "{}", error.hint());
    }
    assert!(!absent.exists());
}

#[tokio::test]
async fn files_are_their_owners_alone_and_hidden_ones_are_not_listed() {
    let folder = tempfile::tempdir().unwrap();
    let place = place(folder.path());
    place.put_all("a/b", Bytes::from_static(b"x")).await.unwrap();
    let mode = |path: &str| std::fs::metadata(folder.path().join(path)).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode("a"), mode("a/b")), (0o700, 0o600));
    std::fs::create_dir(folder.path().join(".hidden")).unwrap();
    std::fs::copy(folder.path().join("a/b"), folder.path().join("a/.b.17-0")).unwrap();
    let names: Vec<String> = place.list("").await.unwrap().into_iter().map(|entry| entry.name).collect();
    assert_eq!(names, ["a/b"]);
    let entry = place.stat("a/b").await.unwrap().unwrap();
    assert_eq!(entry.modified_seconds, std::fs::metadata(folder.path().join("a/b")).unwrap().mtime());
}

#[tokio::test]
async fn what_killed_writers_left_is_cleared_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let place = place(folder.path());
    place.put_all("a/b", Bytes::from_static(b"x")).await.unwrap();
    let left = |name: &str| std::fs::copy(folder.path().join("a/b"), folder.path().join(name)).unwrap();
    for name in ["a/.b.17-0", "a/.b.sql.zst.4711-12", "a/.mine", "a/.b.17", "a/.b.17-x", "a/b.17-0"] {
        left(name);
    }
    std::fs::create_dir(folder.path().join("a/.d.17-0")).unwrap();
    place.clear("a").await.unwrap();
    let mut names: Vec<String> = std::fs::read_dir(folder.path().join("a"))
        .unwrap()
        .map(|it| it.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    assert_eq!(names, [".b.17", ".b.17-x", ".d.17-0", ".mine", "b", "b.17-0"]);
    // A folder with nothing else goes with it.
    std::fs::create_dir(folder.path().join("c")).unwrap();
    left("c/.b.17-0");
    place.clear("c").await.unwrap();
    assert!(!folder.path().join("c").exists());
    place.clear("absent").await.unwrap();
}

#[tokio::test]
async fn a_full_disk_leaves_nothing_behind() {
    let full = std::path::Path::new("/dev/full");
    if !full.exists() {
        println!("skipped: there is no /dev/full");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    // What cannot be written to stands where the temporary file of the first writer would.
    let place = place(folder.path());
    let mut failed = None;
    for number in 0..64 {
        let name = format!(".x.{}-{number}", std::process::id());
        std::os::unix::fs::symlink(full, folder.path().join(name)).unwrap();
    }
    for _ in 0..64 {
        let mut writer = place.put("x").await.unwrap();
        let outcome = match writer.write(Bytes::from(vec![1; 2 << 20])).await {
            Ok(()) => writer.finish().await.map(|_| ()),
            Err(error) => Err(error),
        };
        if let Err(error) = outcome {
            failed = Some(error);
            break;
        }
    }
    let error = failed.expect("no writer met the full disk");
    assert!(
        matches!(&error, BlobError::Io { error, .. } if error.kind() == std::io::ErrorKind::StorageFull),
        "{error}"
    );
    assert!(error.hint().contains("prune"), "{}", error.hint());
    assert_eq!(place.stat("x").await.unwrap(), None);
}

#[tokio::test]
async fn a_file_that_was_cut_off_is_not_given_out_as_whole() {
    let folder = tempfile::tempdir().unwrap();
    let place = place(folder.path());
    place.put_all("x", Bytes::from(vec![7; 3 << 20])).await.unwrap();
    let mut reader = place.get("x", None).await.unwrap();
    reader.next().await.unwrap().unwrap();
    let file = std::fs::OpenOptions::new().write(true).open(folder.path().join("x")).unwrap();
    file.set_len((2 << 20) - 5).unwrap();
    let error = loop {
        match reader.next().await {
            Ok(Some(_)) => {}
            Ok(None) => panic!("a file that was cut off ended well"),
            Err(error) => break error,
        }
    };
    assert!(matches!(error, BlobError::Short { expected_bytes, .. } if expected_bytes == 3 << 20), "{error}");
    let error = place.get("x", Some(0..3 << 20)).await.unwrap_err();
    assert!(matches!(error, BlobError::Short { .. }), "{error}");
}
