//! The files of the project as the checks see them: text, by path from the root.
//!
//! Reads what git tracks or would track, so that build output is never checked. Decides nothing.

use std::fmt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

/// A file larger than this is not source text and is not read.
const FILE_BYTES_MAX: u64 = 4 << 20;

/// One text file.
#[derive(Clone, Debug)]
pub(crate) struct File {
    /// From the root, with `/`.
    pub(crate) path: String,
    pub(crate) text: String,
}

impl File {
    /// The last part of the path.
    pub(crate) fn name(&self) -> &str {
        self.path.rsplit('/').next().unwrap_or(&self.path)
    }

    pub(crate) fn is_rust(&self) -> bool {
        self.name().ends_with(".rs")
    }

    /// The folder under `crates/` this file is in.
    pub(crate) fn crate_name(&self) -> Option<&str> {
        self.path.strip_prefix("crates/")?.split('/').next()
    }

    /// Whether the whole file is compiled only for tests, benches or examples.
    pub(crate) fn is_test_code(&self) -> bool {
        self.path.split('/').any(|part| matches!(part, "tests" | "benches" | "examples" | "fuzz"))
            || self.name() == "tests.rs"
    }
}

/// The project.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tree {
    pub(crate) root: PathBuf,
    pub(crate) files: Vec<File>,
}

impl Tree {
    /// Reads every text file that git tracks or would track.
    pub(crate) fn read(root: &Path) -> Result<Self> {
        let mut files = Vec::new();
        for path in listed(root)? {
            let full = root.join(&path);
            // A file deleted but not yet committed is still listed; a symbolic link is checked where it points.
            let Ok(meta) = full.symlink_metadata() else { continue };
            if !meta.is_file() || meta.len() > FILE_BYTES_MAX {
                continue;
            }
            let bytes = std::fs::read(&full).with_context(|| format!("read {path}"))?;
            if let Ok(text) = String::from_utf8(bytes) {
                files.push(File { path, text });
            }
        }
        files.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(Self { root: root.to_path_buf(), files })
    }

    pub(crate) fn file(&self, path: &str) -> Option<&File> {
        self.files.iter().find(|file| file.path == path)
    }

    pub(crate) fn rust(&self) -> impl Iterator<Item = &File> {
        self.files.iter().filter(|file| file.is_rust())
    }

    /// A tree that exists only in memory.
    #[cfg(test)]
    pub(crate) fn of(files: &[(&str, &str)]) -> Self {
        let files =
            files.iter().map(|(path, text)| File { path: (*path).into(), text: (*text).into() }).collect();
        Self { root: PathBuf::new(), files }
    }
}

#[expect(clippy::disallowed_methods, reason = "the product's command runner is no dependency of the checks")]
fn listed(root: &Path) -> Result<Vec<String>> {
    let git = Command::new("git")
        .current_dir(root)
        .args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"])
        .output();
    match git {
        Ok(output) if output.status.success() => {
            let names = String::from_utf8(output.stdout).context("a file name is not UTF-8")?;
            Ok(names.split('\0').filter(|name| !name.is_empty()).map(str::to_owned).collect())
        }
        // An unpacked archive of the source has no git folder.
        Ok(_) | Err(_) => walked(root),
    }
}

fn walked(root: &Path) -> Result<Vec<String>> {
    let mut found = Vec::new();
    let mut folders = vec![root.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in folder.read_dir().with_context(|| format!("list {}", folder.display()))? {
            let entry = entry?;
            let name = entry.file_name();
            let kind = entry.file_type()?;
            if kind.is_dir() && !["target", "node_modules", "dist", ".git"].iter().any(|skip| name == *skip) {
                folders.push(entry.path());
            } else if kind.is_file() {
                let Ok(path) = entry.path().strip_prefix(root).map(Path::to_path_buf) else {
                    bail!("{} is outside the root", entry.path().display());
                };
                found.push(path.to_string_lossy().into_owned());
            }
        }
    }
    Ok(found)
}

/// Something to put right, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Finding {
    path: String,
    line: usize,
    advice: String,
}

impl Finding {
    /// `line` counts from 1.
    pub(crate) fn new(path: &str, line: usize, advice: impl Into<String>) -> Self {
        Self { path: path.to_owned(), line, advice: advice.into() }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}:{}: {}", self.path, self.line, self.advice)
    }
}

/// What one check says.
#[derive(Clone, Debug, Default)]
pub(crate) struct Report {
    pub(crate) findings: Vec<Finding>,
    /// Worth knowing, not wrong.
    pub(crate) notes: Vec<String>,
}

impl From<Vec<Finding>> for Report {
    fn from(findings: Vec<Finding>) -> Self {
        Self { findings, notes: Vec::new() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn walking_finds_files_and_skips_build_output() {
        let root = workspace();
        let walked = walked(&root).unwrap();
        assert!(walked.iter().any(|path| path == "xtask/src/tree.rs"));
        assert!(!walked.iter().any(|path| path.starts_with("target/")));
    }

    #[test]
    fn reading_gives_paths_from_the_root() {
        let tree = Tree::read(&workspace()).unwrap();
        let own = tree.file("xtask/src/tree.rs").unwrap();
        assert!(own.text.starts_with("//! The files of the project"));
        assert!(own.is_rust());
        assert_eq!(own.crate_name(), None);
    }

    fn workspace() -> PathBuf {
        crate::workspace_root().unwrap()
    }
}
