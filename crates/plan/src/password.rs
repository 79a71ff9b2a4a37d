//! Whether a password is the one a server checks, from what the server stores.
//!
//! An account limited to the management servers' network cannot be tried by logging in from the database host.
//! The stored form can be computed instead: it is deterministic (`mysql_native_password`, `ed25519`) or carries
//! its salt (`caching_sha2_password`). Nothing here can set a password.

use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use secrecy::{ExposeSecret, SecretString};
use sha1::Sha1;
use sha2::{Digest, Sha256, Sha512};

use crate::observation::PasswordMatch;

/// Checks `password` against the stored form `stored` of `plugin`.
#[must_use]
pub fn matches(plugin: &str, stored: &[u8], password: &SecretString) -> PasswordMatch {
    let password = password.expose_secret().as_bytes();
    let computed = match plugin {
        "mysql_native_password" => Some(native(password)),
        "ed25519" => Some(ed25519(password)),
        "caching_sha2_password" => caching_sha2(stored, password),
        _ => None,
    };
    match computed {
        None => PasswordMatch::Unknown,
        Some(computed) if constant_time_equal(computed.as_slice(), stored) => PasswordMatch::Same,
        Some(_) => PasswordMatch::Differs,
    }
}

fn constant_time_equal(left: &[u8], right: &[u8]) -> bool {
    left.len() == right.len() && left.iter().zip(right).fold(0, |differs, (a, b)| differs | (a ^ b)) == 0
}

/// `*` and the upper-case hex of SHA1(SHA1(password)).
fn native(password: &[u8]) -> Vec<u8> {
    let digest = Sha1::digest(Sha1::digest(password));
    let mut text = String::from("*");
    for byte in digest {
        text.push_str(&format!("{byte:02X}"));
    }
    text.into_bytes()
}

/// MariaDB's ed25519: the public key whose secret scalar is the clamped first half of SHA-512(password).
fn ed25519(password: &[u8]) -> Vec<u8> {
    let digest = Sha512::digest(password);
    let mut scalar = [0_u8; 32];
    for (to, from) in scalar.iter_mut().zip(digest.iter()) {
        *to = *from;
    }
    let public = curve25519_dalek::edwards::EdwardsPoint::mul_base_clamped(scalar).compress();
    STANDARD_NO_PAD.encode(public.as_bytes()).into_bytes()
}

/// `$A$RRR$` + 20 bytes of salt + 43 characters: SHA-256-crypt (Drepper's scheme) with RRR (hex) thousand rounds.
fn caching_sha2(stored: &[u8], password: &[u8]) -> Option<Vec<u8>> {
    const PREFIX: usize = 7;
    const SALT: usize = 20;
    let head = stored.get(..PREFIX)?;
    let rounds_text = std::str::from_utf8(head).ok()?.strip_prefix("$A$")?.strip_suffix('$')?;
    let rounds = u32::from_str_radix(rounds_text, 16).ok()?.checked_mul(1000)?;
    // The server accepts up to 0xFFF thousand; checking more than it can have made would only burn time.
    if rounds == 0 || rounds > 4_095_000 {
        return None;
    }
    let salt = stored.get(PREFIX..PREFIX + SALT)?;
    let mut out = stored.get(..PREFIX + SALT)?.to_vec();
    out.extend_from_slice(sha256_crypt(password, salt, rounds).as_bytes());
    Some(out)
}

/// SHA-256-crypt after U. Drepper, "Unix crypt using SHA-256 and SHA-512", step names as there.
fn sha256_crypt(password: &[u8], salt: &[u8], rounds: u32) -> String {
    let digest_b = Sha256::new().chain_update(password).chain_update(salt).chain_update(password).finalize();
    let mut a = Sha256::new().chain_update(password).chain_update(salt);
    a.update(repeated(&digest_b, password.len()));
    let mut bits = password.len();
    while bits > 0 {
        if bits & 1 == 1 {
            a.update(digest_b);
        } else {
            a.update(password);
        }
        bits >>= 1;
    }
    let digest_a = a.finalize();
    let mut dp = Sha256::new();
    for _ in 0..password.len() {
        dp.update(password);
    }
    let p = repeated(&dp.finalize(), password.len());
    let mut ds = Sha256::new();
    let times = 16 + usize::from(digest_a.first().copied().unwrap_or(0));
    for _ in 0..times {
        ds.update(salt);
    }
    let s = repeated(&ds.finalize(), salt.len());
    let mut c = digest_a;
    for round in 0..rounds {
        let mut next = Sha256::new();
        if round % 2 == 1 {
            next.update(&p);
        } else {
            next.update(c);
        }
        if round % 3 != 0 {
            next.update(&s);
        }
        if round % 7 != 0 {
            next.update(&p);
        }
        if round % 2 == 1 {
            next.update(c);
        } else {
            next.update(&p);
        }
        c = next.finalize();
    }
    crypt_base64(&c)
}

fn repeated(digest: &[u8], length: usize) -> Vec<u8> {
    digest.iter().copied().cycle().take(length).collect()
}

/// The scheme's own base64: its alphabet, its byte order, least significant six bits first.
fn crypt_base64(digest: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    let byte = |at: usize| u32::from(digest.get(at).copied().unwrap_or(0));
    let mut text = String::with_capacity(43);
    let mut push = |value: u32, count: u32| {
        for shift in 0..count {
            let index = usize::try_from((value >> (6 * shift)) & 63).unwrap_or(0);
            text.push(char::from(ALPHABET.get(index).copied().unwrap_or(b'.')));
        }
    };
    for (first, second, third) in [
        (0, 10, 20),
        (21, 1, 11),
        (12, 22, 2),
        (3, 13, 23),
        (24, 4, 14),
        (15, 25, 5),
        (6, 16, 26),
        (27, 7, 17),
        (18, 28, 8),
        (9, 19, 29),
    ] {
        push((byte(first) << 16) | (byte(second) << 8) | byte(third), 4);
    }
    push((byte(31) << 8) | byte(30), 3);
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Published vectors: the MySQL and MariaDB manuals for native, Drepper's own for SHA-256-crypt.
    #[test]
    fn computes_what_servers_store() {
        assert_eq!(native(b"password"), b"*2470C0C06DEE42FD1618BB99005ADCA2EC9D1E19");
        assert_eq!(
            sha256_crypt(b"Hello world!", b"saltstring", 5000),
            "5B8vYYiY.CVt1RlTTf8KbXBH3hsxY/GNooZaBBGWEc5"
        );
        assert_eq!(ed25519(b"secret"), b"ZIgUREUg5PVgQ6LskhXmO+eZLS0nC8be6HPjYWR4YJY");
    }

    #[test]
    fn tells_same_from_different_from_unknown() {
        let secret = SecretString::from("password");
        let stored = b"*2470C0C06DEE42FD1618BB99005ADCA2EC9D1E19";
        assert_eq!(matches("mysql_native_password", stored, &secret), PasswordMatch::Same);
        assert_eq!(matches("mysql_native_password", b"*00", &secret), PasswordMatch::Differs);
        assert_eq!(matches("unix_socket", b"", &secret), PasswordMatch::Unknown);
        assert_eq!(matches("caching_sha2_password", b"$A$005$short", &secret), PasswordMatch::Unknown);
    }
}
