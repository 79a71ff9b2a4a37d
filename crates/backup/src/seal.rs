//! Encryption of files at rest: AES-256-GCM in frames, so that files of any length are written and read as streams.
//! It reads no key file and knows no layout.
//!
//! The format, `aes-256-gcm-frames-1`:
//!
//! ```text
//! file  = "MSEAL001" nonce[16] frame*
//! frame = header[4] ciphertext[length] tag[16]
//! ```
//!
//! A header is the length of the frame's text (at most 65,536) as a little-endian number, with its highest bit set in
//! the last frame, which every file has. A file's key is SHA-256 over `mainstay file key 1`, the backup's key, the
//! backup's salt, the file's nonce and its name: frames cannot be moved to another file, nor a file to another name. The
//! frame's number is the nonce of AES-GCM (big-endian, 12 bytes), its header the associated data: no frame can be left
//! out, moved or cut off.

use std::io::{self, Read, Write};

use aes_gcm::aead::rand_core::RngCore as _;
use aes_gcm::aead::{Aead as _, KeyInit as _, OsRng, Payload};
use aes_gcm::{Aes256Gcm, Nonce};
use dump::manifest::Encryption;
use secrecy::{ExposeSecret as _, SecretBox};
use sha2::{Digest as _, Sha256};
use thiserror::Error;

/// The scheme's name in manifests.
pub const SCHEME: &str = "aes-256-gcm-frames-1";
const MAGIC: &[u8; 8] = b"MSEAL001";
const NONCE_BYTES: usize = 16;
const FRAME_BYTES: usize = 64 << 10;
const TAG_BYTES: usize = 16;
const LAST: u32 = 1 << 31;

/// A key of 256 bits. Never shown.
#[derive(Debug)]
pub struct Key(SecretBox<[u8; 32]>);

/// Why something cannot be sealed or opened.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum SealError {
    /// Not a key.
    #[error("an encryption key is 64 hexadecimal digits, as `openssl rand -hex 32` writes them")]
    NotAKey,
    /// Another key than the backup was made with.
    #[error("the encryption key is not the one that the backup was made with")]
    WrongKey,
    /// A scheme that is not known here.
    #[error("the backup is encrypted as `{scheme}`, known here is `{SCHEME}`: use a newer Mainstay")]
    UnknownScheme {
        /// What the manifest says.
        scheme: String,
    },
    /// The file was changed, cut off, or is another one.
    #[error("{name} is damaged, cut off, or not the file that was written: {problem}")]
    Damaged {
        /// The file.
        name: String,
        /// What does not fit.
        problem: &'static str,
    },
}

impl Key {
    /// Reads a key: 64 hexadecimal digits, with blanks around them.
    ///
    /// # Errors
    /// If it is anything else.
    pub fn parse(text: &str) -> Result<Self, SealError> {
        let mut key = [0; 32];
        read_hex(text.trim(), &mut key)?;
        Ok(Self(SecretBox::new(Box::new(key))))
    }

    /// Encryption of a new backup: its salt, and what tells a wrong key.
    #[must_use]
    pub fn begin(&self) -> (Encryption, Sealing) {
        let mut salt = [0; 16];
        OsRng.fill_bytes(&mut salt);
        let sealing = self.sealing(salt);
        let encryption =
            Encryption { scheme: SCHEME.to_owned(), salt: hex(&salt), key_check: sealing.key_check() };
        (encryption, sealing)
    }

    /// Encryption of an existing backup.
    ///
    /// # Errors
    /// If the scheme is not known, or the key is another one.
    pub fn resume(&self, encryption: &Encryption) -> Result<Sealing, SealError> {
        if encryption.scheme != SCHEME {
            return Err(SealError::UnknownScheme { scheme: encryption.scheme.clone() });
        }
        let mut salt = [0; 16];
        read_hex(&encryption.salt, &mut salt).map_err(|_| SealError::WrongKey)?;
        let sealing = self.sealing(salt);
        if sealing.key_check() == encryption.key_check { Ok(sealing) } else { Err(SealError::WrongKey) }
    }

    fn sealing(&self, salt: [u8; 16]) -> Sealing {
        Sealing { key: SecretBox::new(Box::new(*self.0.expose_secret())), salt }
    }
}

/// A backup's key with its salt: seals and opens its files.
#[derive(Debug)]
pub struct Sealing {
    key: SecretBox<[u8; 32]>,
    salt: [u8; 16],
}

impl Sealing {
    fn key_check(&self) -> String {
        let digest = Sha256::new()
            .chain_update(b"mainstay key check 1")
            .chain_update(self.key.expose_secret())
            .chain_update(self.salt)
            .finalize();
        hex(digest.get(..8).unwrap_or_default())
    }

    fn cipher(&self, nonce: [u8; NONCE_BYTES], name: &str) -> Aes256Gcm {
        let key = Sha256::new()
            .chain_update(b"mainstay file key 1")
            .chain_update(self.key.expose_secret())
            .chain_update(self.salt)
            .chain_update(nonce)
            .chain_update(name.as_bytes())
            .finalize();
        Aes256Gcm::new(&key)
    }

    /// Begins a file, with its name as it stands in the manifest.
    ///
    /// # Errors
    /// If `inner` takes no bytes.
    pub fn seal<W: Write>(&self, name: &str, mut inner: W) -> io::Result<SealWriter<W>> {
        let mut nonce = [0; NONCE_BYTES];
        OsRng.fill_bytes(&mut nonce);
        inner.write_all(MAGIC)?;
        inner.write_all(&nonce)?;
        Ok(SealWriter {
            inner,
            cipher: self.cipher(nonce, name),
            frame: Vec::with_capacity(FRAME_BYTES),
            number: 0,
        })
    }

    /// Opens a file, with its name as it stands in the manifest. What does not fit comes as an [`io::Error`] of kind
    /// `InvalidData` around a [`SealError`].
    ///
    /// # Errors
    /// If `inner` gives no bytes, or is no such file.
    pub fn open<R: Read>(&self, name: &str, mut inner: R) -> io::Result<SealReader<R>> {
        let mut head = [0; MAGIC.len() + NONCE_BYTES];
        let problem = "it does not begin as an encrypted file";
        read_whole(&mut inner, &mut head, name, problem)?;
        let (magic, nonce) = head.split_at(MAGIC.len());
        let nonce: [u8; NONCE_BYTES] = nonce.try_into().map_err(|_| damaged(name, problem))?;
        if magic != MAGIC {
            return Err(damaged(name, problem));
        }
        let cipher = self.cipher(nonce, name);
        let name = name.to_owned();
        Ok(SealReader { inner, cipher, name, text: Vec::new(), at: 0, number: 0, is_last: false })
    }
}

fn frame_nonce(number: u64) -> [u8; 12] {
    let mut nonce = [0; 12];
    for (byte, of_number) in nonce.iter_mut().skip(4).zip(number.to_be_bytes()) {
        *byte = of_number;
    }
    nonce
}

fn damaged(name: &str, problem: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, SealError::Damaged { name: name.to_owned(), problem })
}

fn read_whole(inner: &mut impl Read, buffer: &mut [u8], name: &str, problem: &'static str) -> io::Result<()> {
    let is_short = |error: &io::Error| error.kind() == io::ErrorKind::UnexpectedEof;
    inner.read_exact(buffer).map_err(|error| if is_short(&error) { damaged(name, problem) } else { error })
}

/// A file that is being sealed. Without [`SealWriter::finish`] it cannot be opened to its end.
pub struct SealWriter<W: Write> {
    inner: W,
    cipher: Aes256Gcm,
    frame: Vec<u8>,
    number: u64,
}

impl<W: Write> SealWriter<W> {
    /// Where the file goes.
    pub const fn inner_mut(&mut self) -> &mut W {
        &mut self.inner
    }

    /// Writes the last frame.
    ///
    /// # Errors
    /// If `inner` takes no bytes.
    pub fn finish(mut self) -> io::Result<W> {
        self.write_frame(LAST)?;
        Ok(self.inner)
    }

    fn write_frame(&mut self, mark: u32) -> io::Result<()> {
        let length = u32::try_from(self.frame.len()).map_err(io::Error::other)?;
        let header = (length | mark).to_le_bytes();
        let nonce = Nonce::from(frame_nonce(self.number));
        let sealed = self
            .cipher
            .encrypt(&nonce, Payload { msg: &self.frame, aad: &header })
            .map_err(|_| io::Error::other("a frame is too long to be sealed"))?;
        self.inner.write_all(&header)?;
        self.inner.write_all(&sealed)?;
        self.number += 1;
        self.frame.clear();
        Ok(())
    }
}

impl<W: Write> Write for SealWriter<W> {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        // A full frame waits for more: only then it is known not to be the last one.
        if self.frame.len() == FRAME_BYTES {
            self.write_frame(0)?;
        }
        let taken = buffer.len().min(FRAME_BYTES - self.frame.len());
        self.frame.extend_from_slice(buffer.get(..taken).unwrap_or_default());
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

impl<W: Write> std::fmt::Debug for SealWriter<W> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SealWriter").field("number", &self.number).finish_non_exhaustive()
    }
}

/// A file that is being opened. It gives no byte of a frame that was not checked.
pub struct SealReader<R: Read> {
    inner: R,
    cipher: Aes256Gcm,
    name: String,
    text: Vec<u8>,
    at: usize,
    number: u64,
    is_last: bool,
}

impl<R: Read> SealReader<R> {
    fn read_frame(&mut self) -> io::Result<()> {
        const CUT_OFF: &str = "it ends before its last frame";
        let mut header = [0; 4];
        read_whole(&mut self.inner, &mut header, &self.name, CUT_OFF)?;
        let mark = u32::from_le_bytes(header);
        self.is_last = mark & LAST != 0;
        let length = usize::try_from(mark & !LAST).unwrap_or(usize::MAX);
        if length > FRAME_BYTES {
            return Err(damaged(&self.name, "a frame is longer than frames are"));
        }
        let mut sealed = vec![0; length + TAG_BYTES];
        read_whole(&mut self.inner, &mut sealed, &self.name, CUT_OFF)?;
        let nonce = Nonce::from(frame_nonce(self.number));
        self.text = self
            .cipher
            .decrypt(&nonce, Payload { msg: &sealed, aad: &header })
            .map_err(|_| damaged(&self.name, "a frame does not fit its key, place and checksum"))?;
        self.at = 0;
        self.number += 1;
        if self.is_last && self.inner.read(&mut [0])? != 0 {
            return Err(damaged(&self.name, "something stands behind its last frame"));
        }
        Ok(())
    }
}

impl<R: Read> Read for SealReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.at == self.text.len() {
            if self.is_last {
                return Ok(0);
            }
            self.read_frame()?;
        }
        let rest = self.text.get(self.at..).unwrap_or_default();
        let taken = rest.len().min(buffer.len());
        for (to, from) in buffer.iter_mut().zip(rest) {
            *to = *from;
        }
        self.at += taken;
        Ok(taken)
    }
}

impl<R: Read> std::fmt::Debug for SealReader<R> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SealReader")
            .field("name", &self.name)
            .field("number", &self.number)
            .finish_non_exhaustive()
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn read_hex(text: &str, into: &mut [u8]) -> Result<(), SealError> {
    if text.len() != into.len() * 2 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Err(SealError::NotAKey);
    }
    for (byte, pair) in into.iter_mut().zip(text.as_bytes().chunks(2)) {
        let pair = std::str::from_utf8(pair).map_err(|_| SealError::NotAKey)?;
        *byte = u8::from_str_radix(pair, 16).map_err(|_| SealError::NotAKey)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key() -> Key {
        Key::parse(&format!(" {}\n", "0123456789abcdef".repeat(4))).unwrap()
    }

    fn sealed(sealing: &Sealing, name: &str, text: &[u8]) -> Vec<u8> {
        let mut writer = sealing.seal(name, Vec::new()).unwrap();
        writer.write_all(text).unwrap();
        writer.finish().unwrap()
    }

    fn opened(sealing: &Sealing, name: &str, file: &[u8]) -> Result<Vec<u8>, String> {
        let mut text = Vec::new();
        let mut reader = sealing.open(name, file).map_err(|error| error.to_string())?;
        reader.read_to_end(&mut text).map_err(|error| error.to_string())?;
        Ok(text)
    }

    #[test]
    fn files_of_every_length_come_back() {
        let (encryption, sealing) = key().begin();
        let again = key().resume(&encryption).unwrap();
        for length in [0, 1, FRAME_BYTES - 1, FRAME_BYTES, FRAME_BYTES + 1, 3 * FRAME_BYTES] {
            let text: Vec<u8> = (0_u8..=255).cycle().take(length).collect();
            let file = sealed(&sealing, "t.sql.enc", &text);
            assert!(opened(&again, "t.sql.enc", &file).unwrap() == text, "{length}");
        }
    }

    #[test]
    fn no_part_of_a_file_can_be_changed_cut_off_or_moved() {
        let (_, sealing) = key().begin();
        let text = vec![7; FRAME_BYTES + 100];
        let file = sealed(&sealing, "a", &text);
        assert!(opened(&sealing, "b", &file).unwrap_err().contains("b is damaged"));
        let body = MAGIC.len() + NONCE_BYTES;
        let frame = 4 + FRAME_BYTES + TAG_BYTES;
        for at in [0, 9, body, body + 3, body + 50, body + frame, body + frame + 3, file.len() - 1] {
            let mut changed = file.clone();
            changed[at] ^= 0x40;
            assert!(opened(&sealing, "a", &changed).is_err(), "{at}");
        }
        for end in [0, 7, body, body + 2, body + frame, body + frame + 4, file.len() - 1] {
            assert!(opened(&sealing, "a", &file[..end]).is_err(), "{end}");
        }
        let doubled: Vec<u8> = file.iter().chain(&file[body + frame..]).copied().collect();
        assert!(opened(&sealing, "a", &doubled).unwrap_err().contains("behind its last frame"));
        let without_first: Vec<u8> = file[..body].iter().chain(&file[body + frame..]).copied().collect();
        assert!(opened(&sealing, "a", &without_first).is_err());
    }

    #[test]
    fn a_wrong_key_is_told_before_anything_is_read() {
        let (encryption, _) = key().begin();
        let other = Key::parse(&"00".repeat(32)).unwrap();
        assert_eq!(other.resume(&encryption).unwrap_err(), SealError::WrongKey);
        let unknown = Encryption { scheme: "rot13".to_owned(), ..encryption };
        assert!(key().resume(&unknown).unwrap_err().to_string().contains("rot13"));
        for text in ["", "12", &"g".repeat(64), &"0".repeat(65)] {
            assert_eq!(Key::parse(text).unwrap_err(), SealError::NotAKey);
        }
        assert!(!format!("{:?}", key()).contains("0123"));
    }

    #[test]
    fn equal_files_do_not_look_equal() {
        let (_, sealing) = key().begin();
        assert_ne!(sealed(&sealing, "a", b"text"), sealed(&sealing, "a", b"text"));
    }
}
