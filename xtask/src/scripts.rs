//! Tests of what in `scripts/` can be tested without root or a network: that it parses, and what it decides.
//!
//! Each runs the real script with its outside replaced: a folder in place of /etc/apt, programs of our own on PATH.

#![expect(clippy::disallowed_methods, reason = "tests of scripts start them and write what they read")]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use crate::tree::Tree;

/// A folder that goes when the test ends.
struct Folder(PathBuf);

impl Folder {
    fn new(test: &str) -> Self {
        let path = std::env::temp_dir().join(format!("xtask-{test}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn write(&self, name: &str, text: &str) {
        let path = self.0.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn script(name: &str) -> PathBuf {
    crate::workspace_root().unwrap().join("scripts").join(name)
}

fn mirror(folder: &Path) -> (bool, String) {
    let output = Command::new(script("debian-mirror.sh")).arg(folder).output().unwrap();
    (output.status.success(), String::from_utf8(output.stdout).unwrap())
}

#[test]
fn every_script_parses_and_stops_at_its_first_error() {
    let tree = Tree::read(&crate::workspace_root().unwrap()).unwrap();
    let scripts = || tree.files.iter().filter(|file| file.text.starts_with("#!/usr/bin/env bash\n"));
    assert!(scripts().count() >= 6, "the scripts were not found");
    for file in scripts() {
        let parsed = Command::new("bash").arg("-n").arg(tree.root.join(&file.path)).output().unwrap();
        assert!(parsed.status.success(), "{}: {}", file.path, String::from_utf8_lossy(&parsed.stderr));
        assert!(file.text.contains("\nset -euo pipefail\n"), "{}: add `set -euo pipefail`", file.path);
        let mode = tree.root.join(&file.path).metadata().unwrap().permissions().mode();
        assert!(mode & 0o111 != 0, "{}: make it executable", file.path);
    }
}

#[test]
fn the_mirror_is_the_one_apt_uses() {
    let cases = [
        (
            "sources.list.d/debian.sources",
            "Types: deb\nURIs: http://a.example/debian/\nSuites: x\n",
            "http://a.example/debian\n",
        ),
        // The security archive stands first, a source archive second, one that is switched off third.
        (
            "sources.list.d/debian.sources",
            "Types: deb\nURIs: http://a.example/debian-security\n\nTypes: deb-src\nURIs: http://b.example/debian\n\n\
             Enabled: no\nTypes: deb\nURIs: http://c.example/debian\n\n# Types: deb\nTypes: deb deb-src\n\
             URIs: http://d.example/other\n  https://e.example/linux/debian\n",
            "https://e.example/linux/debian\n",
        ),
        (
            "sources.list",
            "# deb http://a.example/debian x main\ndeb-src http://b.example/debian x main\n\
             deb [arch=amd64 signed-by=/k] http://c.example/debian/ x main\n",
            "http://c.example/debian\n",
        ),
        ("sources.list.d/extra.list", "deb http://a.example/debian x main\n", "http://a.example/debian\n"),
        ("sources.list.d/extra.list.disabled", "deb http://a.example/debian x main\n", ""),
        ("sources.list", "deb http://a.example/ubuntu x main\n", ""),
    ];
    for (index, (name, text, wanted)) in cases.into_iter().enumerate() {
        let folder = Folder::new(&format!("mirror-{index}"));
        folder.write(name, text);
        assert_eq!(mirror(&folder.0), (!wanted.is_empty(), wanted.to_owned()), "of {name}: {text}");
    }
}

/// Runs the set-up script with `dpkg-query` saying that `installed` is all there is and `apt-get` refusing.
fn setup(test: &str, installed: &str, arguments: &[&str]) -> Output {
    let folder = Folder::new(test);
    folder.write(
        "dpkg-query",
        &format!("#!/bin/sh\nfor name in {installed}; do echo \"$name ii \"; done\nexit 1\n"),
    );
    folder.write("apt-get", "#!/bin/sh\necho \"refused: $*\"\nexit 100\n");
    folder.write("apt-cache", "#!/bin/sh\necho '  Candidate: 1.0'\n");
    folder.write("sudo", "#!/bin/sh\nexec \"$@\"\n");
    // The script keeps its hands off a policy it did not write; this one stands in for the machine's.
    let text = fs::read_to_string(script("setup-debian.sh")).unwrap();
    let policy = folder.0.join("policy-rc.d");
    folder.write("setup.sh", &text.replace("/usr/sbin/policy-rc.d", policy.to_str().unwrap()));
    let path = format!("{}:{}", folder.0.display(), std::env::var("PATH").unwrap());
    let output = Command::new(folder.0.join("setup.sh")).args(arguments).env("PATH", path).output().unwrap();
    assert!(!policy.exists(), "the policy that stops services from starting was left behind");
    output
}

#[test]
fn nothing_missing_asks_apt_nothing() {
    let output = setup("installed", "gcc libc6-dev make protobuf-compiler libprotobuf-dev", &[]);
    assert!(output.status.success());
    assert!(output.stdout.is_empty() && output.stderr.is_empty(), "{output:?}");
}

#[test]
fn what_is_missing_is_asked_for_and_a_refusal_is_told() {
    let output = setup(
        "missing",
        "gcc libc6-dev make protobuf-compiler libprotobuf-dev mariadb-server galera-4 rsync etcd-server etcd-client haproxy",
        &["--demo"],
    );
    let told = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{told}");
    assert!(told.contains("installing mariadb-backup\n"), "{told}");
    assert!(told.contains("refused: "), "what apt said is not shown: {told}");
}

#[test]
fn an_unknown_argument_is_refused() {
    assert_eq!(setup("argument", "", &["--everything"]).status.code(), Some(64));
}
