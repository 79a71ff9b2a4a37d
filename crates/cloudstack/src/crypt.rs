//! CloudStack's two ways to encrypt a value.
//!
//! V1 is jasypt's `PBEWithMD5AndDES`: `base64(salt[8] || DES-CBC-PKCS5(plain))` with key and IV from 1,000 rounds of
//! MD5 over key and salt. V2 (since 4.18) is AES-256-GCM under SHA-256 of the key:
//! `base64(iv[12] || ciphertext || tag[16])`. Sources: `utils/src/main/java/com/cloud/utils/crypt/` of
//! apache/cloudstack (LegacyBase64Encryptor, AeadBase64Encryptor), jasypt 1.9.3. `ENC(...)` wraps values in
//! properties files only; values in the database are bare.

use std::fmt;
use std::str::FromStr;

use aes_gcm::aead::{Aead, KeyInit};
use aes_gcm::{Aes256Gcm, Nonce};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use cbc::cipher::block_padding::Pkcs7;
use cbc::cipher::{BlockDecryptMut, BlockEncryptMut, KeyIvInit};
use des::Des;
use md5::Md5;
use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};

/// Which way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encryptor {
    /// PBEWithMD5AndDES, before 4.18.
    V1,
    /// AES-256-GCM.
    V2,
}

impl fmt::Display for Encryptor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::V1 => "V1",
            Self::V2 => "V2",
        })
    }
}

impl FromStr for Encryptor {
    type Err = CryptError;

    fn from_str(text: &str) -> Result<Self, CryptError> {
        match text.to_ascii_uppercase().as_str() {
            "V1" => Ok(Self::V1),
            "V2" => Ok(Self::V2),
            _ => Err(CryptError::UnknownVersion),
        }
    }
}

/// Why a value cannot be encrypted or decrypted. It never holds the key or the value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CryptError {
    /// It is neither V1 nor V2.
    #[error("the encryptor version is neither V1 nor V2")]
    UnknownVersion,
    /// The text is not base64.
    #[error("the value is not base64")]
    NotBase64,
    /// The text is too short to hold a value.
    #[error("the value is cut short")]
    TooShort,
    /// V1 takes ASCII keys only, as jasypt does.
    #[error("the key is not ASCII, and V1 takes no other")]
    KeyNotAscii,
    /// The key is empty.
    #[error("the key is empty")]
    NoKey,
    /// It does not decrypt: another key, or bytes were changed.
    #[error("the key is another one, or the value is damaged")]
    WrongKeyOrDamaged,
    /// The library refused; does not happen for values that fit in memory.
    #[error("the value cannot be encrypted")]
    Refused,
}

const SALT: usize = 8;
const IV: usize = 12;
const TAG: usize = 16;
/// Largest value: a key or a password, generously.
const TEXT_BYTES_MAX: usize = 1 << 20;

/// Encrypts a value. An empty one stays empty, as in CloudStack. V1 takes its salt from the nonce's first 8 bytes.
///
/// # Errors
/// When the key is empty, or not ASCII with V1.
pub fn encrypt(
    version: Encryptor,
    key: &SecretString,
    plain: &SecretString,
    nonce: &[u8; IV],
) -> Result<String, CryptError> {
    let text = plain.expose_secret();
    if text.is_empty() {
        return Ok(String::new());
    }
    let key = usable(key)?;
    let bytes = match version {
        Encryptor::V1 => {
            let (salt, _) = nonce.split_at(SALT);
            let (des_key, iv) = v1_key(key, salt)?;
            let cipher = cbc::Encryptor::<Des>::new(&des_key.into(), &iv.into());
            [salt, &cipher.encrypt_padded_vec_mut::<Pkcs7>(text.as_bytes())].concat()
        }
        Encryptor::V2 => {
            let sealed = aead(key).encrypt(Nonce::from_slice(nonce), text.as_bytes());
            [&nonce[..], &sealed.map_err(|_| CryptError::Refused)?].concat()
        }
    };
    Ok(STANDARD.encode(bytes))
}

/// Decrypts a value; without a version V2 is tried, then V1, as CloudStack does. An empty text stays empty.
///
/// # Errors
/// When the text is not such a value, or the key is another one.
pub fn decrypt(
    version: Option<Encryptor>,
    key: &SecretString,
    text: &str,
) -> Result<SecretString, CryptError> {
    if text.is_empty() {
        return Ok(SecretString::from(String::new()));
    }
    if text.len() > TEXT_BYTES_MAX {
        return Err(CryptError::NotBase64);
    }
    let key = usable(key)?;
    let bytes = STANDARD.decode(text.trim()).map_err(|_| CryptError::NotBase64)?;
    let plain = match version {
        Some(Encryptor::V1) => open_v1(key, &bytes),
        Some(Encryptor::V2) => open_v2(key, &bytes),
        // A value too short for V2 can only have been V1's, so V1's complaint is the one that helps.
        None => open_v2(key, &bytes).or_else(|v2| {
            open_v1(key, &bytes).map_err(|v1| if v2 == CryptError::TooShort { v1 } else { v2 })
        }),
    }?;
    // DES has no authentication: a wrong key that happens to leave good padding shows as bad UTF-8, mostly.
    String::from_utf8(plain).map(SecretString::from).map_err(|_| CryptError::WrongKeyOrDamaged)
}

/// Which way a value was encrypted, when the key opens it. An empty text was encrypted neither way.
#[must_use]
pub fn version_of(key: &SecretString, text: &str) -> Option<Encryptor> {
    // V2 first: it is authenticated, while V1 opens one foreign value in some hundreds to nonsense.
    let opens = |version: &Encryptor| !text.is_empty() && decrypt(Some(*version), key, text).is_ok();
    [Encryptor::V2, Encryptor::V1].into_iter().find(opens)
}

/// `ENC(...)` around an encrypted value, as properties files have it.
#[must_use]
pub fn wrap(text: &str) -> String {
    format!("ENC({text})")
}

/// What is inside `ENC(...)`; `None` for a value that is not encrypted. A blank around it makes it one that is not:
/// the management server then takes the whole text for the password.
#[must_use]
pub fn unwrap(text: &str) -> Option<&str> {
    text.strip_prefix("ENC(")?.strip_suffix(')')
}

fn usable(key: &SecretString) -> Result<&str, CryptError> {
    let key = key.expose_secret();
    if key.is_empty() { Err(CryptError::NoKey) } else { Ok(key) }
}

fn aead(key: &str) -> Aes256Gcm {
    Aes256Gcm::new(&Sha256::digest(key.as_bytes()))
}

fn open_v2(key: &str, bytes: &[u8]) -> Result<Vec<u8>, CryptError> {
    if bytes.len() < IV + TAG {
        return Err(CryptError::TooShort);
    }
    let (iv, sealed) = bytes.split_at(IV);
    aead(key).decrypt(Nonce::from_slice(iv), sealed).map_err(|_| CryptError::WrongKeyOrDamaged)
}

fn open_v1(key: &str, bytes: &[u8]) -> Result<Vec<u8>, CryptError> {
    if bytes.len() < 2 * SALT || !bytes.len().is_multiple_of(8) {
        return Err(CryptError::TooShort);
    }
    let (salt, sealed) = bytes.split_at(SALT);
    let (des_key, iv) = v1_key(key, salt)?;
    let cipher = cbc::Decryptor::<Des>::new(&des_key.into(), &iv.into());
    cipher.decrypt_padded_vec_mut::<Pkcs7>(sealed).map_err(|_| CryptError::WrongKeyOrDamaged)
}

/// PKCS #5 v1.5 key derivation: 1,000 rounds of MD5; the first 8 bytes are the key, the others the IV.
fn v1_key(key: &str, salt: &[u8]) -> Result<([u8; 8], [u8; 8]), CryptError> {
    if !key.is_ascii() {
        return Err(CryptError::KeyNotAscii);
    }
    let mut digest = Md5::new().chain_update(key.as_bytes()).chain_update(salt).finalize();
    for _ in 1..1000 {
        digest = Md5::digest(digest);
    }
    let (mut des_key, mut iv) = ([0; 8], [0; 8]);
    let (first, second) = digest.split_at(8);
    des_key.copy_from_slice(first);
    iv.copy_from_slice(second);
    Ok((des_key, iv))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn secret(text: &str) -> SecretString {
        SecretString::from(text)
    }

    /// V1 texts were made by jasypt itself, V2 texts by javax.crypto in the same layout.
    const VECTORS: &[(Encryptor, &str, &str, &str)] = &[
        (Encryptor::V1, "password", "password", "O1XUdfNsaXc6ewYN9YkJA9t5aA07aJuM"),
        (Encryptor::V1, "password", "P@ssw0rd-é-ü", "ninu9GaZSkNxOhugD2JpsDMft9j44FlG"),
        (Encryptor::V1, "mgmt key 2", "cloud", "mIAlXhHP6MC1u6ddrWihoA=="),
        (Encryptor::V2, "password", "password", "FEBaAbivAKlKGw533BRO+8jk4ZgZpEX1klDVUxCqn3+tbbjB"),
        (Encryptor::V2, "mgmt key 2", "cloud", "SPzH3M7aKA45av4UtZwV7SBdaKaYHcWU/uZSNA6QqGOa"),
    ];

    #[test]
    fn decrypts_what_java_encrypted() {
        for (version, key, plain, text) in VECTORS {
            for version in [Some(*version), None] {
                assert_eq!(
                    decrypt(version, &secret(key), text).unwrap().expose_secret(),
                    *plain,
                    "{version:?} {text}"
                );
            }
        }
    }

    #[test]
    fn decrypts_the_recorded_vectors() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("../../../shared/data/cloudstack-encryption-vectors.txt");
        let Ok(text) = std::fs::read_to_string(&path) else {
            println!("skipped: {} is not here", path.display());
            return;
        };
        let mut tried = 0;
        for line in text.lines().filter(|line| line.starts_with('V')) {
            let fields: Vec<&str> = line.split('|').collect();
            let [version, key, plain, text, ..] = fields[..] else { panic!("{line}") };
            let version = version.parse().unwrap();
            assert_eq!(decrypt(Some(version), &secret(key), text).unwrap().expose_secret(), plain, "{line}");
            tried += 1;
        }
        assert!(tried > 0);
    }

    #[test]
    fn says_what_is_wrong_and_never_the_secret() {
        let good = encrypt(Encryptor::V2, &secret("key"), &secret("hunter2"), &[7; 12]).unwrap();
        let mut damaged = good.clone();
        damaged.replace_range(20..21, if damaged.as_bytes()[20] == b'A' { "B" } else { "A" });
        for (text, error) in [
            (good.as_str(), CryptError::WrongKeyOrDamaged),
            (damaged.as_str(), CryptError::WrongKeyOrDamaged),
            ("not base64!", CryptError::NotBase64),
            ("AAAA", CryptError::TooShort),
        ] {
            assert_eq!(decrypt(None, &secret("other"), text).unwrap_err(), error, "{text}");
        }
        assert_eq!(decrypt(None, &secret("key"), &damaged).unwrap_err(), CryptError::WrongKeyOrDamaged);
        assert_eq!(
            encrypt(Encryptor::V1, &secret("schlüssel"), &secret("x"), &[7; 12]).unwrap_err(),
            CryptError::KeyNotAscii
        );
        assert_eq!(
            encrypt(Encryptor::V2, &secret(""), &secret("x"), &[7; 12]).unwrap_err(),
            CryptError::NoKey
        );
        assert_eq!(decrypt(None, &secret("key"), "").unwrap().expose_secret(), "");
        let short = encrypt(Encryptor::V1, &secret("key"), &secret("cloud"), &[7; 12]).unwrap();
        assert_eq!(
            decrypt(None, &secret("other"), &short).unwrap_err(),
            CryptError::WrongKeyOrDamaged,
            "a V1 value is not called cut short for being shorter than any of V2"
        );
    }

    #[test]
    fn the_version_of_a_value_is_found() {
        let key = secret("key");
        for version in [Encryptor::V1, Encryptor::V2] {
            let text = encrypt(version, &key, &secret("a value of some length"), &[9; 12]).unwrap();
            assert_eq!(version_of(&key, &text), Some(version));
            assert_eq!(version_of(&secret("other"), &text), None);
        }
        assert_eq!(version_of(&key, ""), None);
    }

    #[test]
    fn only_the_exact_wrapping_is_one() {
        assert_eq!(unwrap(&wrap("QUJD")), Some("QUJD"));
        for text in ["ENC(QUJD) ", " ENC(QUJD)", "ENC(QUJD", "enc(QUJD)", "QUJD"] {
            assert_eq!(unwrap(text), None, "{text:?}");
        }
    }

    proptest::proptest! {
        #[test]
        fn what_is_encrypted_decrypts(key in "[ -~]{1,40}", plain in ".{1,80}", nonce: [u8; 12]) {
            for version in [Encryptor::V1, Encryptor::V2] {
                let text = encrypt(version, &secret(&key), &secret(&plain), &nonce).unwrap();
                let back = decrypt(Some(version), &secret(&key), &text).unwrap();
                proptest::prop_assert_eq!(back.expose_secret(), &plain);
            }
        }
    }
}
