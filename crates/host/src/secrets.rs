//! Secrets: one per file, readable by its owner alone, one line.
//!
//! The value leaves this module only as a [`SecretString`], and no error shows any part of it. Which secrets a
//! cluster needs is not decided here.

use std::fs::Permissions;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use rand::TryRngCore as _;
use rand::rngs::OsRng;
use rustix::fs::OFlags;
use secrecy::{ExposeSecret as _, SecretString};

use crate::files::{self, FileError, Ownership};

/// Longest secret, in bytes.
pub const SECRET_BYTES_MAX: usize = 4096;

/// Characters of a generated secret.
pub const GENERATED_CHARS: usize = 32;

/// 64 characters, so that 6 bits of a random byte choose one without bias. None of them means anything to a
/// shell, to SQL, to a URL's user part, to Java properties, to YAML or to an option file.
const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._";

/// Why a secret could not be read, made or written.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// The file cannot be read or written.
    #[error(transparent)]
    File(#[from] FileError),
    /// Group or others may read it.
    #[error("the secret `{}` has mode {mode:04o}: others than its owner may use it", path.display())]
    Exposed {
        /// The file.
        path: PathBuf,
        /// Its mode.
        mode: u32,
    },
    /// The content is not one line of text.
    #[error("the secret `{}` {why}", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What is wrong, as the rest of a sentence.
        why: &'static str,
    },
    /// A file is there already.
    #[error("the secret `{}` exists and is never overwritten", path.display())]
    Exists {
        /// The file.
        path: PathBuf,
    },
    /// The kernel gave no randomness.
    #[error("the system gave no random bytes")]
    NoRandomness(#[source] io::Error),
}

impl SecretError {
    /// The next thing to do.
    #[must_use]
    pub fn hint(&self) -> String {
        match self {
            Self::File(error) => error.hint(),
            Self::Exposed { path, .. } => format!("`chmod 0600 {}`", path.display()),
            Self::Malformed { path, .. } => {
                format!(
                    "write it again as one line of UTF-8 text: `install -m 0600 /dev/stdin {}`",
                    path.display()
                )
            }
            Self::Exists { path } => {
                format!("to change it, move `{}` away first", path.display())
            }
            Self::NoRandomness(_) => "is /dev/urandom there? `head -c1 /dev/urandom | od`".to_owned(),
        }
    }

    /// `true` if the file is not there.
    #[must_use]
    pub fn is_missing(&self) -> bool {
        matches!(self, Self::File(error) if error.is_missing())
    }
}

/// Reads a secret. One newline at the end (as editors leave it) is not part of it.
///
/// # Errors
/// Others may read the file, or it is not one line of text of at most [`SECRET_BYTES_MAX`] bytes.
pub fn read(path: &Path) -> Result<SecretString, SecretError> {
    let text = read_lines(path, SECRET_BYTES_MAX + 2)?;
    let line = text.expose_secret();
    let line = line.strip_suffix('\n').map_or(line, |line| line.strip_suffix('\r').unwrap_or(line));
    check(line).map_err(|why| SecretError::Malformed { path: path.to_owned(), why })?;
    Ok(SecretString::from(line))
}

/// Reads a file of secrets that may have several lines, as it is.
///
/// # Errors
/// Others may read the file, or it is not text of at most so many bytes.
pub fn read_lines(path: &Path, bytes_max: usize) -> Result<SecretString, SecretError> {
    let file = files::open_regular(path, OFlags::NONBLOCK)?;
    let metadata = file.metadata().map_err(|source| FileError::Io {
        operation: "look at",
        path: path.to_owned(),
        source,
    })?;
    let mode = metadata.permissions().mode() & 0o7777;
    if mode & 0o077 != 0 {
        return Err(SecretError::Exposed { path: path.to_owned(), mode });
    }
    let bytes = files::read_open(path, file, bytes_max)?;
    let malformed = |_| SecretError::Malformed { path: path.to_owned(), why: "is not UTF-8" };
    Ok(String::from_utf8(bytes).map_err(malformed)?.into())
}

fn check(text: &str) -> Result<(), &'static str> {
    if text.is_empty() {
        Err("is empty")
    } else if text.len() > SECRET_BYTES_MAX {
        Err("is longer than 4096 bytes")
    } else if text.contains('\0') {
        Err("holds a NUL byte")
    } else if text.contains(['\n', '\r']) {
        Err("has more than one line")
    } else {
        Ok(())
    }
}

/// A new secret of [`GENERATED_CHARS`] characters (some 190 bits) that need no quoting anywhere.
///
/// It has an upper and a lower case letter, a digit and a punctuation mark, because password policies of
/// servers (`validate_password`, `simple_password_check`) ask for one of each.
///
/// # Errors
/// The system gives no random bytes.
pub fn generate() -> Result<SecretString, SecretError> {
    loop {
        let mut random = [0_u8; GENERATED_CHARS];
        OsRng
            .try_fill_bytes(&mut random)
            .map_err(|error| SecretError::NoRandomness(io::Error::other(error)))?;
        let text: String = random
            .iter()
            .filter_map(|byte| ALPHABET.get(usize::from(byte & 63)))
            .map(|byte| char::from(*byte))
            .collect();
        // About two in three have all four kinds.
        if has_all_kinds(&text) {
            return Ok(SecretString::from(text));
        }
    }
}

fn has_all_kinds(text: &str) -> bool {
    text.contains(|c: char| c.is_ascii_uppercase())
        && text.contains(|c: char| c.is_ascii_lowercase())
        && text.contains(|c: char| c.is_ascii_digit())
        && text.contains(|c: char| c.is_ascii_punctuation())
}

/// Writes a secret to a file that is not there yet, mode 0600.
///
/// # Errors
/// The file exists, the value is not one line of text, or the system refuses.
pub fn write_new(path: &Path, secret: &SecretString) -> Result<(), SecretError> {
    let text = secret.expose_secret();
    check(text).map_err(|why| SecretError::Malformed { path: path.to_owned(), why })?;
    write_new_lines(path, &format!("{text}\n").into())
}

/// Writes a file of secrets that is not there yet, as they are, mode 0600.
///
/// # Errors
/// The file exists, or the system refuses.
pub fn write_new_lines(path: &Path, secrets: &SecretString) -> Result<(), SecretError> {
    let text = secrets.expose_secret().as_bytes();
    // A hard link, unlike a rename, refuses to replace: two processes that both make the secret end with one.
    let written =
        files::write_through(path, text, &Ownership::mode(0o600), |from, to| std::fs::hard_link(from, to));
    match written {
        Err(FileError::Io { source, .. }) if source.kind() == io::ErrorKind::AlreadyExists => {
            Err(SecretError::Exists { path: path.to_owned() })
        }
        other => Ok(other?),
    }
}

/// Takes every right of group and others from a secret's file.
///
/// # Errors
/// The file is a link or not there, or the system refuses.
pub fn restrict(path: &Path) -> Result<(), SecretError> {
    let file = files::open_regular(path, OFlags::NOFOLLOW | OFlags::NONBLOCK)?;
    file.set_permissions(Permissions::from_mode(0o600)).map_err(|source| {
        SecretError::File(FileError::Io { operation: "change the mode of", path: path.to_owned(), source })
    })
}

#[cfg(test)]
mod tests {
    use facts::Seen;

    use super::*;

    fn written(content: &[u8], mode: u32) -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("password");
        files::write_atomic(&path, content, &Ownership::mode(mode)).unwrap();
        (folder, path)
    }

    #[test]
    fn what_is_written_is_read_and_never_overwritten() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("cloud");
        let secret = SecretString::from("p$a\"s's\\w@:r d ü");
        write_new(&path, &secret).unwrap();
        assert_eq!(read(&path).unwrap().expose_secret(), secret.expose_secret());
        let Seen::Known(facts) = files::facts(&path) else { panic!("written") };
        assert_eq!(facts.mode, 0o600);
        let error = write_new(&path, &generate().unwrap()).unwrap_err();
        assert!(matches!(error, SecretError::Exists { .. }), "{error}");
        assert_eq!(read(&path).unwrap().expose_secret(), secret.expose_secret());
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "no temporary file is left");
    }

    #[test]
    fn bad_secrets_are_refused_without_showing_them() {
        let long = vec![b'x'; SECRET_BYTES_MAX + 1];
        let cases: [(&[u8], &str); 7] = [
            (b"", "is empty"),
            (b"\n", "is empty"),
            (b"hunter2\nmore\n", "has more than one line"),
            (b"hunter2\n\n", "has more than one line"),
            (b"hunter2\0", "holds a NUL byte"),
            (b"hunter2\xff", "is not UTF-8"),
            (&long, "is longer than"),
        ];
        for (content, wanted) in cases {
            let (_folder, path) = written(content, 0o600);
            let error = read(&path).unwrap_err();
            assert!(error.to_string().contains(wanted), "{error}");
            assert!(!format!("{error:?}{error}{}", error.hint()).contains("hunter2"));
        }
    }

    #[test]
    fn one_line_end_is_not_part_of_the_secret() {
        for content in ["hunter2", "hunter2\n", "hunter2\r\n"] {
            let (_folder, path) = written(content.as_bytes(), 0o400);
            assert_eq!(read(&path).unwrap().expose_secret(), "hunter2");
        }
    }

    #[test]
    fn a_secret_others_can_read_is_refused_until_restricted() {
        for mode in [0o644, 0o640, 0o601] {
            let (_folder, path) = written(b"hunter2\n", mode);
            let error = read(&path).unwrap_err();
            assert!(error.hint().contains("chmod 0600"), "{error}");
            restrict(&path).unwrap();
            assert_eq!(read(&path).unwrap().expose_secret(), "hunter2");
        }
    }

    #[test]
    fn generated_secrets_differ_and_need_no_quoting() {
        let first = generate().unwrap();
        let second = generate().unwrap();
        assert_ne!(first.expose_secret(), second.expose_secret());
        assert_eq!(first.expose_secret().len(), GENERATED_CHARS);
        assert!(first.expose_secret().bytes().all(|byte| ALPHABET.contains(&byte)));
        assert!(has_all_kinds(first.expose_secret()));
        assert!(!has_all_kinds("NoMark1") && !has_all_kinds("no_upper1") && !has_all_kinds("No_digit"));
    }
}
