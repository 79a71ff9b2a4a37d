//! `mainstay cloudstack`: values and files encrypted as CloudStack encrypts them. Secrets come over standard
//! input, prompts, files or the environment.

use std::fmt;
use std::io::{IsTerminal, Read};
use std::path::Path;

use cloudstack::{Encryptor, crypt};
use host::secrets;
use rand::TryRngCore;
use rand::rngs::OsRng;
use secrecy::{ExposeSecret, SecretString};
use serde::Serialize;

use crate::cli::{CloudstackArgs, CryptArgs, ShowPropertiesArgs};
use crate::failure::{Failure, Outcome, Verb};
use crate::output::{self, Format};

/// A value is a password or a key.
const VALUE_BYTES_MAX: u64 = 64 << 10;

pub(crate) fn run(format: Format, args: &CloudstackArgs) -> Verb {
    match args {
        CloudstackArgs::Encrypt(args) => encrypt(format, args),
        CloudstackArgs::Decrypt(args) => decrypt(format, args),
        CloudstackArgs::ShowProperties(args) => show(format, args),
    }
}

#[derive(Serialize)]
struct Value {
    value: String,
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.value)
    }
}

fn encrypt(format: Format, args: &CryptArgs) -> Verb {
    let key = key(args.key_file.as_deref(), true)?;
    let plain = value("Value to encrypt: ")?;
    let mut nonce = [0_u8; 12];
    OsRng.try_fill_bytes(&mut nonce)?;
    let text = crypt::encrypt(args.encryptor.unwrap_or(Encryptor::V2), &key, &plain, &nonce)?;
    output::result(format, &Value { value: if args.wrap { crypt::wrap(&text) } else { text } });
    Ok(Outcome::Good)
}

fn decrypt(format: Format, args: &CryptArgs) -> Verb {
    let key = key(args.key_file.as_deref(), true)?;
    let text = value("Value to decrypt: ")?;
    let text = text.expose_secret();
    let inner = crypt::unwrap(text).unwrap_or(text);
    let plain = crypt::decrypt(args.encryptor, &key, inner).map_err(|error| {
        Failure::new(error, "check the key: values in db.properties use the management key, values in the database use the decrypted db.cloud.encrypt.secret")
    })?;
    output::result(format, &Value { value: plain.expose_secret().to_owned() });
    Ok(Outcome::Good)
}

#[derive(Serialize)]
struct Shown {
    file: String,
    properties: Vec<(String, String)>,
}

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = self.properties.iter().map(|(key, _)| key.len()).max().unwrap_or(0);
        for (key, value) in &self.properties {
            writeln!(f, "{key:width$} = {value}")?;
        }
        Ok(())
    }
}

fn show(format: Format, args: &ShowPropertiesArgs) -> Verb {
    let beside = args.file.parent().unwrap_or(Path::new("/")).join("key");
    let key = match &args.key_file {
        Some(path) => Some(key_from_file(path)?),
        None if std::env::var_os("CLOUD_SECRET_KEY").is_some() => key_from_environment()?,
        None if beside.exists() => Some(key_from_file(&beside)?),
        None => None,
    };
    let properties = setup::decrypt_properties(&args.file, key.as_ref(), args.secrets)?;
    output::result(format, &Shown { file: args.file.display().to_string(), properties });
    Ok(Outcome::Good)
}

fn key(file: Option<&Path>, prompt: bool) -> Result<SecretString, Failure> {
    if let Some(path) = file {
        return key_from_file(path);
    }
    if let Some(key) = key_from_environment()? {
        return Ok(key);
    }
    if prompt && std::io::stdin().is_terminal() {
        return Ok(SecretString::from(rpassword::prompt_password("Key: ")?));
    }
    Err(Failure::said("no key", "name its file with --key-file, or set CLOUD_SECRET_KEY"))
}

/// CloudStack's own key file is readable by its group, so the mode is not judged here: only the first line counts.
fn key_from_file(path: &Path) -> Result<SecretString, Failure> {
    match secrets::read(path) {
        Ok(key) => Ok(key),
        Err(secrets::SecretError::Exposed { .. }) => {
            let text = host::files::read_text(path, 4096)?;
            Ok(SecretString::from(text.lines().next().unwrap_or_default().to_owned()))
        }
        Err(error) => {
            let hint = error.hint();
            Err(Failure::new(error, hint))
        }
    }
}

fn key_from_environment() -> Result<Option<SecretString>, Failure> {
    match std::env::var("CLOUD_SECRET_KEY") {
        Ok(key) => Ok(Some(SecretString::from(key))),
        Err(std::env::VarError::NotPresent) => Ok(None),
        Err(std::env::VarError::NotUnicode(_)) => {
            Err(Failure::said("CLOUD_SECRET_KEY is not UTF-8", "CloudStack's keys are text; set it again"))
        }
    }
}

fn value(prompt: &str) -> Result<SecretString, Failure> {
    if std::io::stdin().is_terminal() {
        return Ok(SecretString::from(rpassword::prompt_password(prompt)?));
    }
    let mut text = String::new();
    std::io::stdin().lock().take(VALUE_BYTES_MAX).read_to_string(&mut text)?;
    let line = text.strip_suffix('\n').unwrap_or(&text);
    Ok(SecretString::from(line.strip_suffix('\r').unwrap_or(line).to_owned()))
}
