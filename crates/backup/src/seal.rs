//! Encryption of files at rest: each is an age file (<https://age-encryption.org/v1>) for X25519 recipients, which `age -d`
//! opens. It reads no file of keys and knows no layout.
//!
//! Whoever has only recipients writes what it cannot read itself.

use std::io::{self, Read, Write};
use std::sync::Arc;

use age::stream::{StreamReader, StreamWriter};
use age::x25519::{Identity, Recipient};
use age::{DecryptError, Decryptor, Encryptor};
use secrecy::{ExposeSecret as _, SecretString};
use thiserror::Error;

/// Within so many bytes a file's head has to end.
const HEAD_BYTES_MAX: usize = 64 << 10;
/// What the head's last line begins with.
const HEAD_END: &[u8] = b"\n--- ";
/// Their heads are far from being too long.
const RECIPIENTS_MAX: usize = 100;

/// Why something cannot be sealed or opened. Nothing of an identity is ever shown.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum SealError {
    /// Not a recipient.
    #[error("a recipient is a public key, as `age1` and 58 letters and digits{}", shown(text))]
    NotARecipient {
        /// What was given.
        text: String,
    },
    /// Too many of them.
    #[error("there are {count} recipients, at most {RECIPIENTS_MAX} can be")]
    TooMany {
        /// How many.
        count: usize,
    },
    /// Not an identity.
    #[error("line {line} is neither an identity (`AGE-SECRET-KEY-1...`) nor a comment")]
    NotAnIdentity {
        /// Which line, from 1.
        line: usize,
    },
    /// A file of identities without any.
    #[error("it holds no identity (`AGE-SECRET-KEY-1...`)")]
    Empty,
    /// It is encrypted, and no identity was given.
    #[error("encrypted to {}, and no identity is named", recipients.join(", "))]
    NoIdentity {
        /// Whose identities read it.
        recipients: Vec<String>,
    },
    /// It is encrypted to others.
    #[error("encrypted to {}, whose identities were not given", recipients.join(", "))]
    WrongIdentity {
        /// Whose identities read it.
        recipients: Vec<String>,
    },
}

/// What is no public key may be a secret one.
fn shown(text: &str) -> String {
    if text.starts_with("age1") { format!(", not `{text}`") } else { String::new() }
}

/// Public keys, to which files are encrypted: whoever has the identity of one reads them. None: nothing is encrypted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recipients(Vec<Recipient>);

impl Recipients {
    /// Reads recipients. One that is there twice is one.
    ///
    /// # Errors
    /// If one is none, or there are more than [`RECIPIENTS_MAX`].
    pub fn parse(texts: &[String]) -> Result<Self, SealError> {
        let mut recipients = Vec::new();
        for text in texts {
            let recipient: Recipient =
                text.trim().parse().map_err(|_| SealError::NotARecipient { text: text.clone() })?;
            if !recipients.contains(&recipient) {
                recipients.push(recipient);
            }
        }
        match recipients.len() {
            ..=RECIPIENTS_MAX => Ok(Self(recipients)),
            count => Err(SealError::TooMany { count }),
        }
    }

    /// Whether there are none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// As they are written: `age1...`.
    #[must_use]
    pub fn names(&self) -> Vec<String> {
        self.0.iter().map(ToString::to_string).collect()
    }

    /// These and others.
    #[must_use]
    pub fn and(&self, others: &Self) -> Self {
        Self(self.0.iter().chain(&others.0).cloned().collect())
    }

    /// Begins a file: encrypted, or as it is where there are no recipients.
    ///
    /// # Errors
    /// If `inner` takes no bytes.
    pub fn seal<W: Write>(&self, inner: W) -> io::Result<Sealed<W>> {
        if self.is_empty() {
            return Ok(Sealed::No(inner));
        }
        let recipients = self.0.iter().map(|recipient| recipient as &dyn age::Recipient);
        let encryptor = Encryptor::with_recipients(recipients).map_err(io::Error::other)?;
        Ok(Sealed::Yes(Box::new(encryptor.wrap_output(inner)?)))
    }
}

/// A file on its way out. Without [`Sealed::finish`] an encrypted one cannot be opened to its end.
pub enum Sealed<W: Write> {
    /// As it is.
    No(W),
    /// Encrypted.
    Yes(Box<StreamWriter<W>>),
}

impl<W: Write> Sealed<W> {
    /// Ends the file.
    ///
    /// # Errors
    /// If `inner` takes no bytes.
    pub fn finish(self) -> io::Result<W> {
        match self {
            Self::No(inner) => Ok(inner),
            Self::Yes(writer) => writer.finish(),
        }
    }
}

impl<W: Write> Write for Sealed<W> {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        match self {
            Self::No(inner) => inner.write(buffer),
            Self::Yes(writer) => writer.write(buffer),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::No(inner) => inner.flush(),
            Self::Yes(writer) => writer.flush(),
        }
    }
}

/// Secret keys that open what was encrypted to their recipients; none where none were given.
#[derive(Clone, Default)]
pub struct Identities(Arc<Vec<Identity>>);

impl std::fmt::Debug for Identities {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Identities of {:?}", self.recipients().0)
    }
}

impl Identities {
    /// Reads a file of identities, as `age-keygen` writes it: one a line, with empty lines and comments between.
    ///
    /// # Errors
    /// If a line is anything else, or there is none.
    pub fn parse(text: &SecretString) -> Result<Self, SealError> {
        let lines = text.expose_secret().lines().map(str::trim).zip(1..);
        let identities = lines
            .filter(|(text, _)| !text.is_empty() && !text.starts_with('#'))
            .map(|(text, line)| text.parse().map_err(|_| SealError::NotAnIdentity { line }));
        let identities: Vec<Identity> = identities.collect::<Result<_, _>>()?;
        if identities.is_empty() { Err(SealError::Empty) } else { Ok(Self(Arc::new(identities))) }
    }

    /// A new one.
    #[must_use]
    pub fn generate() -> Self {
        Self(Arc::new(vec![Identity::generate()]))
    }

    /// As [`Identities::parse`] reads them, one a line.
    #[must_use]
    pub fn text(&self) -> SecretString {
        let lines = self.0.iter().map(Identity::to_string);
        lines.fold(String::new(), |text, line| text + line.expose_secret() + "\n").into()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Their public keys.
    #[must_use]
    pub fn recipients(&self) -> Recipients {
        Recipients(self.0.iter().map(Identity::to_public).collect())
    }

    /// Whether what was encrypted to these recipients can be opened. What is not encrypted always can.
    ///
    /// # Errors
    /// If it cannot, with whose identity is wanted.
    pub fn check(&self, recipients: &[String]) -> Result<(), SealError> {
        let own = self.recipients().names();
        if recipients.is_empty() || recipients.iter().any(|recipient| own.contains(recipient)) {
            return Ok(());
        }
        let recipients = recipients.to_vec();
        Err(if self.is_empty() {
            SealError::NoIdentity { recipients }
        } else {
            SealError::WrongIdentity { recipients }
        })
    }

    /// Opens an encrypted file. No byte is given that was not checked; what does not fit comes as an error of the kind
    /// `InvalidData`, a file that was cut off as `UnexpectedEof`.
    ///
    /// # Errors
    /// If `inner` gives no bytes, is no such file, or is for others.
    pub fn open<R: Read>(&self, mut inner: R) -> io::Result<StreamReader<impl Read + use<R>>> {
        let invalid = |problem: String| io::Error::new(io::ErrorKind::InvalidData, problem);
        // age bounds no head.
        let mut head = Vec::new();
        inner.by_ref().take(HEAD_BYTES_MAX as u64).read_to_end(&mut head)?;
        if !head.windows(HEAD_END.len()).any(|bytes| bytes == HEAD_END) {
            return Err(invalid("it does not begin as an encrypted file".to_owned()));
        }
        let identities = self.0.iter().map(|identity| identity as &dyn age::Identity);
        let file = io::BufReader::with_capacity(HEAD_BYTES_MAX, io::Cursor::new(head).chain(inner));
        Decryptor::new_buffered(file).and_then(|file| file.decrypt(identities)).map_err(|error| {
            if let DecryptError::Io(error) = error {
                error
            } else if matches!(error, DecryptError::NoMatchingKeys) {
                invalid("it is encrypted to others".to_owned())
            } else {
                invalid(error.to_string())
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHUNK_BYTES: usize = 64 << 10;
    const TAG_BYTES: usize = 16;

    /// Another one before these, as a file of both has them.
    fn two(second: &Identities) -> Identities {
        let first = Identities::generate().text();
        Identities::parse(&format!("{}{}", first.expose_secret(), second.text().expose_secret()).into())
            .unwrap()
    }

    fn sealed(recipients: &Recipients, text: &[u8]) -> Vec<u8> {
        let mut writer = recipients.seal(Vec::new()).unwrap();
        writer.write_all(text).unwrap();
        writer.finish().unwrap()
    }

    fn opened(identities: &Identities, file: &[u8]) -> Result<Vec<u8>, String> {
        let mut text = Vec::new();
        let mut reader = identities.open(file).map_err(|error| error.to_string())?;
        reader.read_to_end(&mut text).map_err(|error| error.to_string())?;
        Ok(text)
    }

    #[test]
    fn files_of_every_length_come_back_for_each_recipient() {
        let (one, other) = (Identities::generate(), Identities::generate());
        let both = one.recipients().and(&other.recipients());
        for length in [0, 1, CHUNK_BYTES - 1, CHUNK_BYTES, CHUNK_BYTES + 1, 3 * CHUNK_BYTES] {
            let text: Vec<u8> = (0_u8..=255).cycle().take(length).collect();
            let file = sealed(&both, &text);
            for identities in [&one, &other, &two(&other)] {
                assert!(opened(identities, &file).unwrap() == text, "{length}");
            }
            let refused = opened(&Identities::generate(), &file).unwrap_err();
            assert_eq!(refused, "it is encrypted to others");
            assert_eq!(sealed(&Recipients::default(), &text), text);
        }
    }

    #[test]
    fn no_part_of_a_file_can_be_changed_cut_off_or_added() {
        let identities = Identities::generate();
        let file = sealed(&identities.recipients(), &vec![7; CHUNK_BYTES + 100]);
        let last = file.len() - 100 - TAG_BYTES;
        let first = last - CHUNK_BYTES - TAG_BYTES;
        for at in [0, 30, 60, first - 1, first, first + 50, last - 1, last, file.len() - 1] {
            let mut changed = file.clone();
            changed[at] ^= 0x40;
            assert!(opened(&identities, &changed).is_err(), "{at}");
        }
        for end in [0, 7, 60, first - 1, first, first + 50, last, file.len() - 1] {
            assert!(opened(&identities, &file[..end]).is_err(), "{end}");
        }
        let doubled: Vec<u8> = file.iter().chain(&file[last..]).copied().collect();
        assert!(opened(&identities, &doubled).is_err());
        let without_first: Vec<u8> = file[..first].iter().chain(&file[last..]).copied().collect();
        assert!(opened(&identities, &without_first).is_err());
    }

    #[test]
    fn a_head_without_end_is_not_read() {
        /// Counts what is read of endless lines.
        struct Endless(usize);
        impl Read for Endless {
            fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
                self.0 += buffer.len();
                buffer.fill(b'x');
                Ok(buffer.len())
            }
        }
        let mut endless = Endless(0);
        let begin = b"age-encryption.org/v1\n-> X25519 ".as_slice();
        assert!(Identities::generate().open(begin.chain(&mut endless)).is_err());
        assert!(endless.0 <= 2 * HEAD_BYTES_MAX, "{} bytes were read", endless.0);
    }

    #[test]
    fn files_of_age_keygen_are_read() {
        let text = "# created: 2026-11-22T00:00:00Z\r\n\
             # public key: age1zvkyg2lqzraa2lnjvqej32nkuu0ues2s82hzrye869xeexvn73equnujwj\r\n\r\n\
             AGE-SECRET-KEY-1GFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPQ4EGAEX\r\n";
        let identities = Identities::parse(&text.into()).unwrap();
        let names = identities.recipients().names();
        assert_eq!(names, ["age1zvkyg2lqzraa2lnjvqej32nkuu0ues2s82hzrye869xeexvn73equnujwj"]);
        let twice = Recipients::parse(&[names[0].clone(), format!(" {}\n", names[0])]).unwrap();
        assert_eq!(twice, identities.recipients());
        assert_eq!(two(&identities).recipients().names()[1..], names);
        assert!(!format!("{identities:?}").to_lowercase().contains("secret"));
    }

    #[test]
    fn what_is_no_key_is_refused_and_no_secret_is_shown() {
        let secret = Identities::generate().text();
        let secret = secret.expose_secret().trim();
        let error = Recipients::parse(&[secret.to_owned()]).unwrap_err();
        assert!(!error.to_string().contains(&secret[16..]), "{error}");
        let mistyped = "age1zvkyg2lqzraa2lnjvqej32nkuu0ues2s82hzrye869xeexvn73equnujwk";
        assert!(Recipients::parse(&[mistyped.to_owned()]).unwrap_err().to_string().contains(mistyped));
        let many: Vec<String> =
            (0..=RECIPIENTS_MAX).flat_map(|_| Identities::generate().recipients().names()).collect();
        assert_eq!(Recipients::parse(&many).unwrap_err(), SealError::TooMany { count: 101 });
        let wrong = format!("# a comment\n{secret}x\n");
        assert_eq!(Identities::parse(&wrong.into()).unwrap_err(), SealError::NotAnIdentity { line: 2 });
        assert_eq!(Identities::parse(&"# none\n".into()).unwrap_err(), SealError::Empty);
    }

    #[test]
    fn who_can_open_is_told_before_anything_is_read() {
        let (own, other) = (Identities::generate(), Identities::generate());
        let recipients = own.recipients().and(&other.recipients()).names();
        assert_eq!(own.check(&recipients), Ok(()));
        assert_eq!(Identities::default().check(&[]), Ok(()));
        let told = Identities::default().check(&recipients).unwrap_err();
        assert_eq!(told, SealError::NoIdentity { recipients: recipients.clone() });
        assert!(told.to_string().contains(&recipients[1]));
        let told = Identities::generate().check(&recipients).unwrap_err();
        assert_eq!(told, SealError::WrongIdentity { recipients });
    }
}
