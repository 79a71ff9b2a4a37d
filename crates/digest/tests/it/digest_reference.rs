//! Digests against the answers of pt-query-digest, number for number.

use std::io::Read as _;
use std::path::{Path, PathBuf};

use digest::event::LogReader as _;
use digest::report::{FileRead, Options, Report};
use digest::slow::SlowLog;
use digest::{Digest, Settings, render};
use serde_json::Value;

/// A file beside the workspace, if it is there.
fn shared(name: &str) -> Option<PathBuf> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data").join(name);
    path.exists().then_some(path)
}

/// What pt-query-digest 3.7.1 says about the log, and what is in the log.
#[test]
fn every_number_is_that_of_pt_query_digest() {
    let (Some(log), Some(answer)) =
        (shared("slow-mariadb1011.log.zst"), shared("slow-mariadb1011.pt371.json"))
    else {
        println!("skipped: there is no ../shared/data with a slow log and pt-query-digest's answer");
        return;
    };
    let mut theirs: Value = serde_json::from_slice(&std::fs::read(answer).unwrap()).unwrap();
    let mut bytes = zstd::Decoder::new(std::fs::File::open(log).unwrap()).unwrap();
    let mut digest = Digest::new(Settings::default());
    let mut slow = SlowLog::default();
    let mut block = vec![0; 1 << 20];
    let mut total = 0;
    loop {
        let read = bytes.read(&mut block).unwrap();
        if read == 0 {
            break;
        }
        total += read as u64;
        slow.feed(&block[..read], &mut digest);
    }
    slow.finish(&mut digest);
    digest.skip(slow.skipped());
    let name = theirs["global"]["files"][0]["name"].as_str().unwrap().to_owned();
    let options = Options {
        limit: "100%".parse().unwrap(),
        files: vec![FileRead { name, bytes: total, problem: None }],
        ..Options::default()
    };
    let ours = render::pt_json::render(&Report::new(&digest, options));
    // It also rewrites statements that change something, for EXPLAIN.
    for class in theirs["classes"].as_array_mut().unwrap() {
        class["example"].as_object_mut().unwrap().remove("as_select");
    }
    let (ours, theirs) = (flat("", &ours), flat("", &theirs));
    assert!(theirs.len() > 1500, "{} values are compared", theirs.len());
    let differing: Vec<_> = theirs.iter().filter(|pair| !ours.contains(pair)).collect();
    let surplus: Vec<_> = ours.iter().filter(|pair| !theirs.contains(pair)).collect();
    assert!(differing.is_empty() && surplus.is_empty(), "theirs {differing:#?}\nours {surplus:#?}");
}

/// Every value with the path to it.
fn flat(path: &str, value: &Value) -> Vec<(String, String)> {
    match value {
        Value::Object(map) => {
            map.iter().flat_map(|(key, value)| flat(&format!("{path}/{key}"), value)).collect()
        }
        Value::Array(list) => {
            list.iter().enumerate().flat_map(|(at, value)| flat(&format!("{path}/{at}"), value)).collect()
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {
            vec![(path.to_owned(), value.to_string())]
        }
    }
}
