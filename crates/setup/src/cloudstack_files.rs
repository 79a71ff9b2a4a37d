//! CloudStack's files on this host: setup scripts, `db.properties` and the key file.
//!
//! What they should say is `cloudstack`'s; here they are only read, compared and written.

use std::path::Path;

use cloudstack::wanted::{self, Wanted};
use cloudstack::{CryptError, Encryptor, Properties, schema};
use facts::Seen;
use host::files::{self, Ownership};
use host::{secrets, users};
use plan::{CloudStackSeen, PropertyChange};
use rand::TryRngCore;
use rand::rngs::OsRng;
use secrecy::{ExposeSecret, SecretString};
use server::Connection;
use spec::{CloudStack, EncryptionType, Node, Spec};

use crate::error::SetupError;
use crate::schema::{SCHEMA_FILE_BYTES_MAX, management_servers, mark, version};

/// The largest `db.properties`; today's is 5 KiB.
pub(crate) const PROPERTIES_BYTES_MAX: usize = 1 << 20;

/// Looks at CloudStack's files, and at its databases when a server answers.
pub(crate) async fn observe(
    spec: &Spec,
    cloudstack: &CloudStack,
    node: &Node,
    connection: Option<&mut Connection>,
) -> CloudStackSeen {
    let (load, version, servers) = match connection {
        None => (Seen::Absent, Seen::Absent, Vec::new()),
        Some(connection) => (
            seen(mark(connection).await),
            seen(version(connection).await),
            // Only notes come of them: a login that may not read the table goes without.
            management_servers(connection).await.unwrap_or_default(),
        ),
    };
    let properties = cloudstack.properties.as_ref().map(|wanted| &wanted.file);
    let current = properties.map_or(Seen::Absent, |file| read_properties(file));
    let (changes, warnings, pools) = match &current {
        Seen::Known(current) => (
            changes(spec, cloudstack, node, current),
            warnings(current),
            wanted::pools(current).map_or(Seen::Absent, Seen::Known),
        ),
        Seen::Unknown(why) => (Seen::Unknown(why.clone()), Vec::new(), Seen::Unknown(why.clone())),
        Seen::Absent => (Seen::Absent, Vec::new(), Seen::Absent),
    };
    CloudStackSeen {
        load,
        version,
        schema_files: cloudstack.schema_dir.as_ref().map_or(Seen::Absent, |dir| schema_files(dir)),
        properties: changes,
        property_warnings: warnings,
        management_servers: servers,
        key_file: key_file(cloudstack),
        pools,
    }
}

fn seen<T, E: std::fmt::Display>(result: Result<Option<T>, E>) -> Seen<T> {
    match result {
        Ok(Some(value)) => Seen::Known(value),
        Ok(None) => Seen::Absent,
        Err(error) => Seen::Unknown(error.to_string()),
    }
}

fn schema_files(dir: &Path) -> Seen<Vec<(String, String)>> {
    if !dir.is_dir() {
        return Seen::Absent;
    }
    let mut contents = Vec::new();
    for file in schema::SETUP_FILES {
        match files::read_text(&dir.join(file.name), SCHEMA_FILE_BYTES_MAX) {
            Ok(text) => contents.push((file.name.to_owned(), text)),
            Err(error) if error.is_missing() && !file.required => {}
            Err(error) => return Seen::Unknown(error.to_string()),
        }
    }
    if let Some(problem) = schema::problems(&contents).into_iter().next() {
        return Seen::Unknown(problem);
    }
    Seen::Known(contents.into_iter().map(|(name, text)| (name, files::sha256_hex(text.as_bytes()))).collect())
}

fn read_properties(file: &Path) -> Seen<Properties> {
    match files::read_text(file, PROPERTIES_BYTES_MAX) {
        Ok(text) => Seen::Known(Properties::parse(&text)),
        Err(error) if error.is_missing() => Seen::Absent,
        Err(error) => Seen::Unknown(error.to_string()),
    }
}

fn warnings(current: &Properties) -> Vec<String> {
    let mut sentences = wanted::traps(current);
    sentences.extend(current.odd_lines().into_iter().map(|odd| {
        format!(
            "line {} of db.properties has no separator and is left as it is: {}",
            odd.line, odd.text_start
        )
    }));
    sentences
}

fn key_file(cloudstack: &CloudStack) -> Option<Seen<bool>> {
    let properties = cloudstack.properties.as_ref()?;
    if properties.encryption_type != EncryptionType::File {
        return None;
    }
    let present = match files::read_text(&properties.key_file, 4096) {
        Ok(text) => text,
        Err(error) if error.is_missing() => return Some(Seen::Absent),
        Err(error) => return Some(Seen::Unknown(error.to_string())),
    };
    let mode = match files::facts(&properties.key_file) {
        Seen::Known(facts) => facts.mode & 0o777,
        Seen::Unknown(why) => return Some(Seen::Unknown(why)),
        Seen::Absent => return Some(Seen::Absent),
    };
    let same = secrets::read(&properties.management_key_file)
        .is_ok_and(|key| present.lines().next() == Some(key.expose_secret()));
    Some(Seen::Known(same && mode & 0o137 == 0))
}

/// The secrets that `db.properties` is written with.
pub(crate) struct Keys {
    /// The database account's password.
    password: SecretString,
    /// The key for values in `db.properties`.
    management: SecretString,
    /// The key for values in the database.
    database: SecretString,
}

/// Reads them from the files the spec names.
///
/// # Errors
/// When one of them is missing or cannot be used.
pub(crate) fn read_keys(cloudstack: &CloudStack, properties: &spec::Properties) -> Result<Keys, SetupError> {
    Ok(Keys {
        password: secrets::read(&cloudstack.password_file)?,
        management: secrets::read(&properties.management_key_file)?,
        database: secrets::read(&properties.database_key_file)?,
    })
}

/// `db.properties` as key and value, secrets masked unless revealed.
///
/// # Errors
/// When the file cannot be read.
pub fn decrypt_properties(
    file: &Path,
    management_key: Option<&SecretString>,
    reveal: bool,
) -> Result<Vec<(String, String)>, SetupError> {
    let text = files::read_text(file, PROPERTIES_BYTES_MAX)?;
    Ok(wanted::shown(&Properties::parse(&text), management_key, reveal))
}

fn changes(
    spec: &Spec,
    cloudstack: &CloudStack,
    node: &Node,
    current: &Properties,
) -> Seen<Vec<PropertyChange>> {
    let Some(properties) = &cloudstack.properties else { return Seen::Known(Vec::new()) };
    let target = target(spec, cloudstack, properties, node);
    // While a secret is still to be made, nothing in the file can match it.
    let unset = || SecretString::from(String::new());
    let keys = read_keys(cloudstack, properties).unwrap_or_else(|_| Keys {
        password: unset(),
        management: unset(),
        database: unset(),
    });
    let differences = wanted::differences(current, &target, &borrowed(&keys));
    Seen::Known(
        differences
            .into_iter()
            .map(|difference| PropertyChange {
                key: difference.key,
                found: difference.found,
                wanted: difference.wanted,
            })
            .collect(),
    )
}

const fn borrowed(keys: &Keys) -> wanted::Keys<'_> {
    wanted::Keys { password: &keys.password, management: &keys.management, database: &keys.database }
}

fn target(spec: &Spec, cloudstack: &CloudStack, properties: &spec::Properties, node: &Node) -> Wanted {
    let entrance = spec.entrance(properties.db_host.as_deref(), node);
    Wanted {
        user: cloudstack.user.clone(),
        db_host: entrance.host,
        db_port: entrance.port,
        management_ip: properties.management_ip.to_string(),
        region_id: properties.region_id,
        encryption_type: match properties.encryption_type {
            EncryptionType::File => "file",
            EncryptionType::Env => "env",
            EncryptionType::Web => "web",
        },
        encryptor: match properties.encryptor {
            spec::Encryptor::V1 => Encryptor::V1,
            spec::Encryptor::V2 => Encryptor::V2,
        },
    }
}

/// Sets the named keys of `db.properties`, keeping everything else, its mode and its owner.
pub(crate) fn write_properties(
    spec: &Spec,
    node: &Node,
    path: &Path,
    only: &[String],
) -> Result<(), SetupError> {
    let Some((cloudstack, properties)) =
        spec.cloudstack.as_ref().and_then(|cloudstack| Some((cloudstack, cloudstack.properties.as_ref()?)))
    else {
        return Err(SetupError::refused(
            "the spec has no [cloudstack.properties]",
            "run `mainstay plan` again",
        ));
    };
    let keys = read_keys(cloudstack, properties)?;
    let mut current = Properties::parse(&files::read_text(path, PROPERTIES_BYTES_MAX)?);
    let mut nonce_failed = None;
    let mut nonce = || {
        let mut nonce = [0_u8; 12];
        if let Err(error) = OsRng.try_fill_bytes(&mut nonce) {
            nonce_failed = Some(error.to_string());
        }
        nonce
    };
    let target = target(spec, cloudstack, properties, node);
    let written = wanted::apply(&mut current, &target, &borrowed(&keys), only, &mut nonce);
    written.map_err(|error: CryptError| SetupError::Crypt {
        what: "db.properties".to_owned(),
        problem: error.to_string(),
    })?;
    if let Some(problem) = nonce_failed {
        return Err(SetupError::Crypt { what: "random numbers".to_owned(), problem });
    }
    let ownership = match files::facts(path) {
        Seen::Known(facts) => {
            Ownership { mode: facts.mode & 0o777, owner: Some(facts.owner), group: Some(facts.group) }
        }
        Seen::Unknown(_) | Seen::Absent => Ownership { mode: 0o640, owner: None, group: None },
    };
    files::write_atomic(path, current.to_string().as_bytes(), &ownership)?;
    Ok(())
}

/// Writes the management key where the management server reads it: no newline, readable by its group.
pub(crate) fn write_key(path: &Path, from: &Path, group: &str) -> Result<(), SetupError> {
    let key = secrets::read(from)?;
    // The group comes with the management server's package; without it only root can read the key.
    let group = users::group(group)?.map(|_| group.to_owned());
    let mode = if group.is_some() { 0o640 } else { 0o600 };
    files::write_atomic(path, key.expose_secret().as_bytes(), &Ownership { mode, owner: None, group })?;
    Ok(())
}
