//! Pure crates reach nothing outside: no clock, socket, file, process, async or randomness.
//!
//! Looks at what their manifests name and what their sources mention; tests are free.

use anyhow::Result;

use super::PURE;
use crate::cargo::{self, Metadata};
use crate::source::{has_word, numbered, production_code};
use crate::tree::{Finding, Report, Tree};

/// What pure crates may take from outside: each works on values alone, as it is used here.
const DEPENDENCIES: &[&str] = &[
    "aes-gcm",
    "base16ct",
    "base64",
    "cbc",
    "crc32fast",
    "curve25519-dalek",
    "des",
    "flate2",
    "ipnet",
    "jiff",
    "md-5",
    "memchr",
    "regex",
    "secrecy",
    "serde",
    "serde_json",
    "sha1",
    "sha2",
    "similar",
    "strsim",
    "thiserror",
    "toml",
    "url",
    "zeroize",
    "zstd",
];

/// What the sources of pure crates may not mention.
const MENTIONS: &[&str] = &[
    "std::env",
    "std::fs",
    "std::net::TcpListener",
    "std::net::TcpStream",
    "std::net::UdpSocket",
    "std::os::unix::net",
    "std::process",
    "std::thread",
    "Instant::now",
    "OsRng",
    "SystemTime",
    "TcpStream",
    "Timestamp::now",
    "UdpSocket",
    "Zoned::now",
    "async fn",
    "async move",
    "thread_rng",
    "tokio",
];

pub(super) fn run(tree: &Tree) -> Result<Report> {
    let mut findings = manifests(&cargo::workspace(&tree.root)?);
    findings.extend(sources(tree));
    Ok(findings.into())
}

fn manifests(metadata: &Metadata) -> Vec<Finding> {
    let ours = |name: &str| metadata.packages.iter().any(|package| package.name == name);
    let mut findings = Vec::new();
    for package in metadata.packages.iter().filter(|package| PURE.contains(&package.name.as_str())) {
        for dependency in package.dependencies.iter().filter(|dependency| !dependency.is_dev()) {
            let name = dependency.name.as_str();
            if !ours(name) && !DEPENDENCIES.contains(&name) {
                let advice = format!(
                    "the pure crate uses `{name}`: move that code to an adapter and pass the value in; if \
                     `{name}` has no clock, socket, file or randomness, add it to xtask/src/checks/purity.rs"
                );
                findings.push(Finding::new(&format!("crates/{}/Cargo.toml", package.name), 1, advice));
            }
        }
    }
    findings
}

fn sources(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in tree.rust() {
        let pure = file.crate_name().is_some_and(|name| PURE.contains(&name));
        if !pure || file.is_test_code() {
            continue;
        }
        for (line, text) in numbered(&production_code(&file.text)) {
            if let Some(mention) = MENTIONS.iter().find(|mention| has_word(text, mention)) {
                let advice = format!(
                    "a pure crate mentions `{mention}`: let the caller, in an adapter or at the edge, pass the \
                     value in"
                );
                findings.push(Finding::new(&file.path, line, advice));
            }
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cargo::{Dependency, Package};

    #[test]
    fn a_manifest_that_names_an_adapter_is_found() {
        let dependency =
            |name: &str, kind: Option<&str>| Dependency { name: name.into(), kind: kind.map(str::to_owned) };
        let package = |name: &str, dependencies| Package {
            name: name.into(),
            version: "0.1.0".into(),
            license: None,
            source: None,
            dependencies,
        };
        let uses =
            || vec![dependency("serde", None), dependency("tokio", None), dependency("insta", Some("dev"))];
        let metadata = Metadata { packages: vec![package("plan", uses()), package("host", uses())] };
        let told: Vec<String> = manifests(&metadata).iter().map(ToString::to_string).collect();
        assert_eq!(told.len(), 1);
        assert!(told[0].starts_with("crates/plan/Cargo.toml:1: the pure crate uses `tokio`"));
    }

    #[test]
    fn a_source_that_reaches_out_is_found() {
        let text = "//! It never calls std::fs.\nuse std::net::IpAddr;\nfn f() { std::fs::read(p); }\n\
            #[cfg(test)]\nmod tests { use std::fs; }\n";
        let tree = Tree::of(&[
            ("crates/plan/src/lib.rs", text),
            ("crates/plan/tests/it/main.rs", "use std::fs;"),
            ("crates/host/src/lib.rs", "use std::fs;"),
        ]);
        let told: Vec<String> = sources(&tree).iter().map(ToString::to_string).collect();
        assert_eq!(told.len(), 1);
        assert!(told[0].starts_with("crates/plan/src/lib.rs:3: a pure crate mentions `std::fs`"), "{told:?}");
    }

    #[test]
    fn every_mention_is_found() {
        for mention in MENTIONS {
            let text = format!("fn f() {{ {mention} }}");
            assert_eq!(sources(&Tree::of(&[("crates/spec/src/a.rs", &text)])).len(), 1, "{mention}");
        }
    }
}
