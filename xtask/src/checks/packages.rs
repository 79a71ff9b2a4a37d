//! The packages that are built: none that the project has decided against, permissive licences only, and each once
//! where that can be had.
//!
//! Asks cargo what is built rather than reading Cargo.lock, which also names packages behind features that
//! nothing switches on (ring, by way of rustls-webpki).

use anyhow::Result;

use crate::cargo::{self, Metadata};
use crate::spdx;
use crate::tree::{Finding, Report, Tree};

/// Packages the project has decided against, and why.
const BANNED: &[(&str, &str)] = &[
    ("ring", "one TLS provider for the whole tree, aws-lc-rs: choose the dependency's aws-lc-rs feature"),
    ("openssl", "TLS is rustls: choose the dependency's rustls feature"),
    ("openssl-sys", "TLS is rustls: choose the dependency's rustls feature"),
    ("native-tls", "TLS is rustls: choose the dependency's rustls feature"),
    ("chrono", "time is jiff"),
    ("time", "time is jiff"),
    ("nix", "system calls are rustix"),
];

/// Banned packages that come with something that is worth it: (package, what brings it).
const TOLERATED: &[(&str, &str)] = &[
    ("chrono", "object_store has dates of this type in its API"),
    ("time", "rcgen and x509-parser have dates of this type in their API"),
];

const LICENCES: &[&str] = &[
    "0BSD",
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "BSD-1-Clause",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "BSL-1.0",
    "CC0-1.0",
    "CDLA-Permissive-2.0",
    "ISC",
    "MIT",
    "MIT-0",
    "Unicode-3.0",
    "Unlicense",
    "Zlib",
];

/// Packages built twice for reasons outside the project; any other is noted, not failed.
const DUPLICATES: &[&str] =
    &["base64", "cpufeatures", "getrandom", "rand", "rand_core", "syn", "synstructure", "untrusted"];

pub(super) fn run(tree: &Tree) -> Result<Report> {
    let built = cargo::built(&tree.root)?;
    let mut report = Report { findings: banned(&built), notes: duplicates(&built) };
    report.findings.extend(licences(&cargo::resolved(&tree.root)?));
    Ok(report)
}

fn banned(built: &[(String, String)]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (name, version) in built {
        let tolerated = TOLERATED.iter().any(|(package, _)| package == name);
        if let Some((_, instead)) = BANNED.iter().find(|(package, _)| package == name)
            && !tolerated
        {
            let advice = format!("{name} {version} is built (`cargo tree -i {name}` says why): {instead}");
            findings.push(Finding::new("Cargo.toml", 1, advice));
        }
    }
    findings
}

fn duplicates(built: &[(String, String)]) -> Vec<String> {
    let mut notes = Vec::new();
    for pair in built.windows(2) {
        if let [(name, first), (other, second)] = pair
            && name == other
            && !DUPLICATES.contains(&name.as_str())
        {
            notes.push(format!(
                "{name} is built as {first} and {second}: align them where a release allows it"
            ));
        }
    }
    notes
}

fn licences(metadata: &Metadata) -> Vec<Finding> {
    let accepted = |licence: &str| LICENCES.contains(&licence);
    metadata
        .packages
        .iter()
        .filter(|package| package.source.is_some())
        .filter(|package| !package.license.as_deref().is_some_and(|text| spdx::can_be_met(text, &accepted)))
        .map(|package| {
            let licence = package.license.as_deref().unwrap_or("none");
            let advice = format!(
                "{} {} has the licence `{licence}`: use another package, or add the licence to \
                 xtask/src/checks/packages.rs if it is permissive",
                package.name, package.version
            );
            Finding::new("Cargo.toml", 1, advice)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cargo::Package;

    fn built(packages: &[(&str, &str)]) -> Vec<(String, String)> {
        packages.iter().map(|(name, version)| ((*name).into(), (*version).into())).collect()
    }

    #[test]
    fn a_banned_package_is_found() {
        let packages = [("ring", "0.17.14"), ("rustls", "0.23.0"), ("nix", "0.30.0"), ("chrono", "0.4.0")];
        let found = banned(&built(&packages));
        let told: Vec<String> = found.iter().map(ToString::to_string).collect();
        assert_eq!(told.len(), 2);
        assert!(told[0].starts_with("Cargo.toml:1: ring 0.17.14 is built"), "{told:?}");
    }

    #[test]
    fn a_second_version_is_noted_unless_known() {
        let notes =
            duplicates(&built(&[("syn", "1.0.0"), ("syn", "2.0.0"), ("toml", "0.9.0"), ("toml", "1.0.0")]));
        assert_eq!(notes, ["toml is built as 0.9.0 and 1.0.0: align them where a release allows it"]);
    }

    #[test]
    fn a_licence_that_is_not_permissive_is_found() {
        let package = |licence: Option<&str>, source: Option<&str>| Package {
            name: "a".into(),
            version: "1.0.0".into(),
            license: licence.map(str::to_owned),
            source: source.map(str::to_owned),
            dependencies: Vec::new(),
        };
        let packages = vec![
            package(Some("MIT OR Apache-2.0"), Some("registry")),
            package(Some("GPL-3.0-only"), Some("registry")),
            package(None, Some("registry")),
            package(None, None),
        ];
        let told: Vec<String> = licences(&Metadata { packages }).iter().map(ToString::to_string).collect();
        assert_eq!(told.len(), 2);
        assert!(told[0].contains("`GPL-3.0-only`") && told[1].contains("`none`"));
    }
}
