//! What `db.properties` should say for a database set-up, against what it says.
//!
//! Secrets are compared by decrypting what is there: a right file is not rewritten only because every encryption
//! of a value looks different. All encrypted values of a file end in one version, since CloudStack reads all of
//! them with the version that fits the first one it happens on (`CloudStackEncryptor.decrypt`).

use std::collections::BTreeSet;

use secrecy::{ExposeSecret, SecretString};

use crate::crypt::{CryptError, Encryptor, decrypt, encrypt, unwrap, version_of, wrap};
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

const DATABASE_KEY: &str = "db.cloud.encrypt.secret";
const DATABASE_ENCRYPTOR: &str = "db.cloud.encryptor.version";

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
        (DATABASE_KEY, Value::Secret(keys.database)),
        (DATABASE_ENCRYPTOR, plain(&wanted.encryptor.to_string())),
    ]
}

/// What differs: the keys wanted, then every other encrypted value that is in another version than wanted.
///
/// `db.cloud.encryptor.version` is not turned to V2 in a file whose database key is the wanted one: values in the
/// database may still be V1's, and CloudStack could not read them any more. [`traps`] says so.
#[must_use]
pub fn differences(current: &Properties, wanted: &Wanted, keys: &Keys<'_>) -> Vec<Difference> {
    let mut differences = Vec::new();
    let values = values(wanted, keys);
    let names: BTreeSet<&str> = values.iter().map(|(key, _)| *key).collect();
    for (key, value) in values {
        let found = current.get(key);
        let difference =
            |found: Option<String>, wanted: String| Difference { key: key.to_owned(), found, wanted };
        match value {
            Value::Plain(text) if found == Some(text.as_str()) => {}
            Value::Plain(_) if key == DATABASE_ENCRYPTOR && keeps_encryptor(current, wanted, keys) => {}
            Value::Plain(text) => differences.push(difference(found.map(str::to_owned), text)),
            Value::Secret(secret) if holds(found, secret, keys.management, wanted.encryptor) => {}
            Value::Secret(_) => {
                let shown = found.map(|found| if found.is_empty() { String::new() } else { MASK.to_owned() });
                differences.push(difference(shown, MASK.to_owned()));
            }
        }
    }
    let others: BTreeSet<&str> =
        current.entries().map(|(key, _)| key).filter(|key| !names.contains(key)).collect();
    let in_another = others.into_iter().filter(|key| {
        let inner = current.get(key).and_then(unwrap).unwrap_or_default();
        version_of(keys.management, inner).is_some_and(|version| version != wanted.encryptor)
    });
    differences.extend(in_another.map(|key| Difference {
        key: key.to_owned(),
        found: Some(MASK.to_owned()),
        wanted: MASK.to_owned(),
    }));
    differences
}

/// Whether the file has the wanted secret, in the wanted version.
fn holds(
    found: Option<&str>,
    secret: &SecretString,
    management: &SecretString,
    encryptor: Encryptor,
) -> bool {
    let Some(inner) = found.and_then(unwrap) else { return false };
    if !inner.is_empty() && version_of(management, inner) != Some(encryptor) {
        return false;
    }
    match decrypt(Some(encryptor), management, inner) {
        Ok(present) => same(present.expose_secret().as_bytes(), secret.expose_secret().as_bytes()),
        Err(_) => false,
    }
}

/// Whether the database's values may be V1's: the file has had this database key before, and never V2.
fn keeps_encryptor(current: &Properties, wanted: &Wanted, keys: &Keys<'_>) -> bool {
    let key = current.get(DATABASE_KEY);
    let known = [Encryptor::V1, Encryptor::V2]
        .iter()
        .any(|either| holds(key, keys.database, keys.management, *either));
    wanted.encryptor == Encryptor::V2 && may_hold_v1(current) && known
}

/// A file that has a database key and says V1, or leaves the version open.
fn may_hold_v1(current: &Properties) -> bool {
    let version = current.get(DATABASE_ENCRYPTOR).unwrap_or_default();
    current.get(DATABASE_KEY).is_some_and(|key| !key.is_empty())
        && (version.is_empty() || version.eq_ignore_ascii_case("V1"))
}

/// Constant time in the content.
fn same(left: &[u8], right: &[u8]) -> bool {
    left.len() == right.len() && left.iter().zip(right).fold(0, |differs, (a, b)| differs | (a ^ b)) == 0
}

/// Sets the keys named in `only`; one that is not of the wanted ones is encrypted anew as it is. `nonce` is asked
/// once for each secret.
///
/// # Errors
/// When a value cannot be encrypted, or what is there cannot be decrypted.
pub fn apply(
    current: &mut Properties,
    wanted: &Wanted,
    keys: &Keys<'_>,
    only: &[String],
    nonce: &mut dyn FnMut() -> [u8; 12],
) -> Result<(), CryptError> {
    let mut encrypted = |secret: &SecretString| {
        encrypt(wanted.encryptor, keys.management, secret, &nonce()).map(|text| wrap(&text))
    };
    let values = values(wanted, keys);
    for name in only.iter().filter(|name| values.iter().all(|(key, _)| key != name)) {
        let Some(inner) = current.get(name).and_then(unwrap) else { continue };
        let text = encrypted(&decrypt(None, keys.management, inner)?)?;
        current.set(name, &text);
    }
    for (key, value) in values.into_iter().filter(|(key, _)| only.iter().any(|name| name == key)) {
        let text = match value {
            Value::Plain(text) => text,
            Value::Secret(secret) => encrypted(secret)?,
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
    if ["db.cloud.uri", "db.usage.uri"].iter().any(|key| current.get(key).is_some_and(|uri| !uri.is_empty()))
    {
        say("db.cloud.uri or db.usage.uri is set: CloudStack then ignores host, port, name and url.params; \
             empty it, so that what Mainstay sets has an effect");
    }
    if may_hold_v1(current) {
        say(
            "db.cloud.encryptor.version is V1 or empty in a file that has a database key: it is not changed to V2, since \
             CloudStack could then not read V1 values in the database; re-encrypt them with \
             cloudstack-migrate-databases first",
        );
    }
    if current.entries().any(|(_, value)| value.starts_with("ENC(") && unwrap(value).is_none()) {
        say(
            "a value begins with ENC( and does not end with ): CloudStack takes all of it for the password, \
             a blank at its end included",
        );
    }
    let malformed = current.malformed_lines();
    if !malformed.is_empty() {
        let lines: Vec<String> = malformed.iter().map(usize::to_string).collect();
        say(&format!(
            "a \\u without four hexadecimal digits: CloudStack cannot read the file at all; correct line {}",
            lines.join(", ")
        ));
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
    fn every_encrypted_value_ends_in_one_version() {
        let [password, management, database] = ["p", "mkey", "dbkey"].map(SecretString::from);
        let keys = Keys { password: &password, management: &management, database: &database };
        let old = |plain: &SecretString| wrap(&encrypt(Encryptor::V1, &management, plain, &[3; 12]).unwrap());
        let mut file = Properties::parse(&format!(
            "db.cloud.password={}\ndb.cloud.encrypt.secret={}\ndb.cloud.keyStorePassword={}\nother=ENC(AAAA)\n",
            old(&password),
            old(&database),
            old(&SecretString::from("store"))
        ));
        let names = |file: &Properties, wanted: &Wanted| -> Vec<String> {
            differences(file, wanted, &keys).into_iter().map(|difference| difference.key).collect()
        };
        let v1 = Wanted { encryptor: Encryptor::V1, ..wanted() };
        let as_v1 = names(&file, &v1);
        for key in ["db.cloud.password", "db.cloud.encrypt.secret", "db.cloud.keyStorePassword"] {
            assert!(!as_v1.iter().any(|name| name == key), "{key} is right already");
        }
        let only = names(&file, &wanted());
        for key in ["db.cloud.password", "db.cloud.encrypt.secret", "db.cloud.keyStorePassword"] {
            assert!(only.iter().any(|name| name == key), "{key} is in another version");
        }
        apply(&mut file, &wanted(), &keys, &only, &mut || [5; 12]).unwrap();
        assert_eq!(names(&file, &wanted()), Vec::<String>::new());
        let store = file.get("db.cloud.keyStorePassword").and_then(unwrap).unwrap();
        assert_eq!(decrypt(Some(Encryptor::V2), &management, store).unwrap().expose_secret(), "store");
        assert_eq!(file.get("other"), Some("ENC(AAAA)"), "what the key does not open is left alone");
    }

    #[test]
    fn the_version_of_values_in_the_database_is_not_changed_under_them() {
        let [password, management, database, other] = ["p", "mkey", "dbkey", "other"].map(SecretString::from);
        let keys = Keys { password: &password, management: &management, database: &database };
        let secret = |key: &SecretString| wrap(&encrypt(Encryptor::V1, &management, key, &[3; 12]).unwrap());
        let changes = |text: &str| {
            differences(&Properties::parse(text), &wanted(), &keys)
                .iter()
                .any(|difference| difference.key == DATABASE_ENCRYPTOR)
        };
        let (used, foreign) = (secret(&database), secret(&other));
        for (text, expected) in [
            (String::new(), true),
            ("db.cloud.encrypt.secret=\ndb.cloud.encryptor.version=\n".to_owned(), true),
            (format!("db.cloud.encrypt.secret={foreign}\n"), true),
            (format!("db.cloud.encrypt.secret={used}\n"), false),
            (format!("db.cloud.encrypt.secret={used}\ndb.cloud.encryptor.version=v1\n"), false),
            (format!("db.cloud.encrypt.secret={used}\ndb.cloud.encryptor.version=V9\n"), true),
        ] {
            assert_eq!(changes(&text), expected, "{text}");
        }
        assert_eq!(traps(&Properties::parse(&format!("db.cloud.encrypt.secret={used}\n"))).len(), 1);
    }

    #[test]
    fn traps_are_named() {
        let file = Properties::parse(
            "db.ha.enabled=true\ndb.cloud.url.params=cachePrepStmts=true\ndb.cloud.slaves=localhost\ndb.cloud.maxActive=500\n",
        );
        assert_eq!(traps(&file).len(), 4);
        assert_eq!(pools(&file), Some((500, 100)));
        assert_eq!(pools(&Properties::parse("")), None);
        for (line, trap) in [
            ("db.usage.uri=jdbc:mysql://db/cloud_usage", "db.usage.uri"),
            ("db.cloud.password=ENC(AAAA) ", "blank at its end"),
            ("a=1\nb=\\u12", "line 2"),
        ] {
            let named = traps(&Properties::parse(line));
            assert!(named.len() == 1 && named[0].contains(trap), "{line}: {named:?}");
        }
        for fine in ["db.ha.enabled=false", "db.cloud.uri=", "db.cloud.encryptor.version=", "a=ENC()"] {
            assert_eq!(traps(&Properties::parse(fine)), Vec::<String>::new(), "{fine}");
        }
    }
}
