//! What `db.properties` should say for a database set-up, against what it says.
//!
//! Secrets are compared by decrypting what is there: a right file is not rewritten only because every encryption
//! of a value looks different.

use secrecy::{ExposeSecret, SecretString};

use crate::crypt::{CryptError, Encryptor, decrypt, encrypt, unwrap, wrap};
use crate::properties::Properties;

/// Stands for a secret in everything that is shown.
pub const MASK: &str = "******";

/// What the file should say, without the secrets.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// Database account.
    pub user: String,
    /// Host the management server connects to.
    pub db_host: String,
    /// Port there.
    pub db_port: u16,
    /// `cluster.node.IP`.
    pub management_ip: String,
    /// `region.id`.
    pub region_id: u32,
    /// `file`, `env` or `web`.
    pub encryption_type: &'static str,
    /// How values are encrypted.
    pub encryptor: Encryptor,
}

/// The secrets that go into it.
pub struct Keys<'a> {
    /// The account's password.
    pub password: &'a SecretString,
    /// The key that values in the file are encrypted with.
    pub management: &'a SecretString,
    /// The key that values in the database are encrypted with.
    pub database: &'a SecretString,
}

/// A key that differs; secrets are masked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// Which key.
    pub key: String,
    /// What the file has; `None` when it does not have the key.
    pub found: Option<String>,
    /// What it should have.
    pub wanted: String,
}

enum Value<'a> {
    Plain(String),
    Secret(&'a SecretString),
}

/// Every key, in the order in which the set-up script writes them.
fn values<'a>(wanted: &Wanted, keys: &Keys<'a>) -> Vec<(&'static str, Value<'a>)> {
    let plain = |text: &str| Value::Plain(text.to_owned());
    let port = wanted.db_port.to_string();
    vec![
        ("cluster.node.IP", plain(&wanted.management_ip)),
        ("db.cloud.username", plain(&wanted.user)),
        ("db.cloud.password", Value::Secret(keys.password)),
        ("db.cloud.host", plain(&wanted.db_host)),
        ("db.cloud.port", plain(&port)),
        ("db.usage.username", plain(&wanted.user)),
        ("db.usage.password", Value::Secret(keys.password)),
        ("db.usage.host", plain(&wanted.db_host)),
        ("db.usage.port", plain(&port)),
        ("region.id", plain(&wanted.region_id.to_string())),
        ("db.cloud.encryption.type", plain(wanted.encryption_type)),
        ("db.cloud.encrypt.secret", Value::Secret(keys.database)),
        ("db.cloud.encryptor.version", plain(&wanted.encryptor.to_string())),
    ]
}

/// What differs.
#[must_use]
pub fn differences(current: &Properties, wanted: &Wanted, keys: &Keys<'_>) -> Vec<Difference> {
    let mut differences = Vec::new();
    for (key, value) in values(wanted, keys) {
        let found = current.get(key);
        let difference =
            |found: Option<String>, wanted: String| Difference { key: key.to_owned(), found, wanted };
        match value {
            Value::Plain(text) if found == Some(text.as_str()) => {}
            Value::Plain(text) => differences.push(difference(found.map(str::to_owned), text)),
            Value::Secret(secret) if holds(found, secret, keys.management) => {}
            Value::Secret(_) => {
                let shown = found.map(|found| if found.is_empty() { String::new() } else { MASK.to_owned() });
                differences.push(difference(shown, MASK.to_owned()));
            }
        }
    }
    differences
}

fn holds(found: Option<&str>, secret: &SecretString, management: &SecretString) -> bool {
    let Some(inner) = found.and_then(unwrap) else { return false };
    match decrypt(None, management, inner) {
        Ok(present) => same(present.expose_secret().as_bytes(), secret.expose_secret().as_bytes()),
        Err(_) => false,
    }
}

/// Constant time in the content.
fn same(left: &[u8], right: &[u8]) -> bool {
    left.len() == right.len() && left.iter().zip(right).fold(0, |differs, (a, b)| differs | (a ^ b)) == 0
}

/// Sets the keys named in `only`. `nonce` is asked once for each secret.
///
/// # Errors
/// When a value cannot be encrypted.
pub fn apply(
    current: &mut Properties,
    wanted: &Wanted,
    keys: &Keys<'_>,
    only: &[String],
    nonce: &mut dyn FnMut() -> [u8; 12],
) -> Result<(), CryptError> {
    for (key, value) in
        values(wanted, keys).into_iter().filter(|(key, _)| only.iter().any(|name| name == key))
    {
        let text = match value {
            Value::Plain(text) => text,
            Value::Secret(secret) => wrap(&encrypt(wanted.encryptor, keys.management, secret, &nonce())?),
        };
        current.set(key, &text);
    }
    Ok(())
}

/// Sentences about settings that break a control plane sooner or later and that nobody asked Mainstay to change.
#[must_use]
pub fn traps(current: &Properties) -> Vec<String> {
    let mut sentences = Vec::new();
    let mut say = |sentence: &str| sentences.push(sentence.to_owned());
    if current.get("db.ha.enabled").is_some_and(|value| value.eq_ignore_ascii_case("true")) {
        say(
            "db.ha.enabled is true: Connector/J goes back to the old primary by itself, and writes to it when it is not fenced; \
             set it to false and give CloudStack one address that moves",
        );
    }
    if let Some(params) = current.get("db.cloud.url.params") {
        if !params.contains("sql_mode") {
            say(
                "db.cloud.url.params sets no sql_mode: under ONLY_FULL_GROUP_BY CloudStack's queue query fails (error 1055)",
            );
        }
        if !params.contains("serverTimezone") {
            say(
                "db.cloud.url.params has no serverTimezone=UTC: times are stored in the management server's own zone",
            );
        }
    }
    let renamed = current
        .entries()
        .any(|(key, _)| key.ends_with(".slaves") || key.ends_with(".secondsBeforeRetryMaster"));
    if renamed {
        say(
            "db.*.slaves and db.*.secondsBeforeRetryMaster were renamed in 4.16 to replicas and secondsBeforeRetrySource; the old names are not read",
        );
    }
    sentences
}

/// `maxActive` of the cloud and usage pools, when the file has either; CloudStack's defaults for the other.
#[must_use]
pub fn pools(current: &Properties) -> Option<(u32, u32)> {
    let read = |key: &str| {
        current
            .get(key)
            .and_then(|value| value.trim().parse::<u32>().ok())
            .filter(|size| (1..=100_000).contains(size))
    };
    let (cloud, usage) = (read("db.cloud.maxActive"), read("db.usage.maxActive"));
    if cloud.is_none() && usage.is_none() {
        return None;
    }
    Some((cloud.unwrap_or(250), usage.unwrap_or(100)))
}

/// Every key with its value as the management server takes it, secrets masked unless revealed.
#[must_use]
pub fn shown(current: &Properties, management: Option<&SecretString>, reveal: bool) -> Vec<(String, String)> {
    current
        .entries()
        .map(|(key, value)| {
            let secret = unwrap(value).is_some()
                || ["password", "secret"].iter().any(|word| key.to_lowercase().contains(word));
            let text = match (unwrap(value), management) {
                (Some(inner), Some(management)) => match decrypt(None, management, inner) {
                    Ok(plain) if reveal => plain.expose_secret().to_owned(),
                    Ok(_) => MASK.to_owned(),
                    Err(error) => format!("cannot be decrypted: {error}"),
                },
                (Some(_), None) => "encrypted; no key to decrypt it with".to_owned(),
                (None, _) if secret && !reveal && !value.is_empty() => MASK.to_owned(),
                (None, _) => value.to_owned(),
            };
            (key.to_owned(), text)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted() -> Wanted {
        Wanted {
            user: "cloud".to_owned(),
            db_host: "10.0.0.5".to_owned(),
            db_port: 3306,
            management_ip: "10.0.0.11".to_owned(),
            region_id: 1,
            encryption_type: "file",
            encryptor: Encryptor::V2,
        }
    }

    #[test]
    fn a_file_once_written_is_right_and_shows_no_secret() {
        let [password, management, database] = ["p$\"'\\@:é", "mkey", "dbkey"].map(SecretString::from);
        let keys = Keys { password: &password, management: &management, database: &database };
        let mut file = Properties::parse("# CloudStack\nregion.id=1\ndb.cloud.password=cloud\nodd\n");
        let before = differences(&file, &wanted(), &keys);
        assert_eq!(before.len(), 12);
        assert!(
            before.iter().all(|difference| !difference.wanted.contains("p$")
                && difference.found.as_deref() != Some("cloud"))
        );
        let only: Vec<String> = before.into_iter().map(|difference| difference.key).collect();
        let mut count = 0;
        apply(&mut file, &wanted(), &keys, &only, &mut || {
            count += 1;
            [count; 12]
        })
        .unwrap();
        assert_eq!(differences(&file, &wanted(), &keys), []);
        assert!(file.to_string().starts_with("# CloudStack\nregion.id=1\ndb.cloud.password=ENC("));
        let values = shown(&file, Some(&management), false);
        assert!(values.iter().all(|(_, value)| !value.contains("p$") && !value.contains("dbkey")));
        let values = shown(&file, Some(&management), true);
        assert!(values.contains(&("db.usage.password".to_owned(), "p$\"'\\@:é".to_owned())));
    }

    #[test]
    fn another_key_makes_every_secret_differ() {
        let [password, management, database, other] = ["p", "mkey", "dbkey", "other"].map(SecretString::from);
        let keys = Keys { password: &password, management: &management, database: &database };
        let mut file = Properties::parse("");
        let all: Vec<String> =
            differences(&file, &wanted(), &keys).into_iter().map(|difference| difference.key).collect();
        apply(&mut file, &wanted(), &keys, &all, &mut || [1; 12]).unwrap();
        let keys = Keys { management: &other, ..keys };
        let names: Vec<String> =
            differences(&file, &wanted(), &keys).into_iter().map(|difference| difference.key).collect();
        assert_eq!(names, ["db.cloud.password", "db.usage.password", "db.cloud.encrypt.secret"]);
    }

    #[test]
    fn traps_are_named() {
        let file = Properties::parse(
            "db.ha.enabled=true\ndb.cloud.url.params=cachePrepStmts=true\ndb.cloud.slaves=localhost\ndb.cloud.maxActive=500\n",
        );
        assert_eq!(traps(&file).len(), 4);
        assert_eq!(pools(&file), Some((500, 100)));
        assert_eq!(pools(&Properties::parse("")), None);
        assert_eq!(traps(&Properties::parse("db.ha.enabled=false\n")), Vec::<String>::new());
    }
}
