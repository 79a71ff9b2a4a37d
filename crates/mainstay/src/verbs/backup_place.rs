//! The place that options or the spec name, opened. It looks into none.

use std::path::Path;

use backup::seal::{Identities, Recipients};
use blob::{Address, BlobError, Credentials, Place, S3Store};
use secrecy::{ExposeSecret as _, SecretString};
use spec::Backup;

use crate::cli::{KeptArgs, RecipientArgs, SpecArgs};
use crate::context;
use crate::failure::Failure;

/// A file of authorities.
const PEM_BYTES_MAX: usize = 4 << 20;
/// A login's file is short.
const CREDENTIALS_BYTES_MAX: usize = 64 << 10;
/// Some hundreds of identities.
const IDENTITIES_BYTES_MAX: usize = 64 << 10;

/// A place, and what the spec says about it.
#[derive(Debug)]
pub(crate) struct Kept {
    pub(crate) place: Place,
    /// `[backup]`, where there is a spec with it and no other place is named.
    pub(crate) backup: Option<Backup>,
}

impl Kept {
    /// What encrypted files are opened with: the identities of the file that is named, else of the spec's.
    pub(crate) fn identities(&self, named: Option<&Path>) -> Result<Identities, Failure> {
        match named {
            Some(path) => identities(path),
            None => identities_of(self.backup.as_ref()),
        }
    }

    /// To whom is encrypted: to those that are named, else to the spec's, else to those whose identities are named.
    pub(crate) fn recipients(&self, args: &RecipientArgs) -> Result<Recipients, Failure> {
        let spec = self.backup.as_ref();
        let texts = spec.map_or(&args.recipient, |backup| &backup.recipients);
        let texts = if args.recipient.is_empty() { texts } else { &args.recipient };
        let recipients = Recipients::parse(texts)
            .map_err(|error| Failure::said(error, "`mainstay backup keygen` makes one with its identity"))?;
        let of_spec = spec.and_then(|backup| backup.identity_file.as_deref());
        match args.identity_file.as_deref().or(of_spec) {
            Some(path) if recipients.is_empty() => Ok(identities(path)?.recipients()),
            Some(_) | None => Ok(recipients),
        }
    }
}

/// The identities in a file.
pub(crate) fn identities(path: &Path) -> Result<Identities, Failure> {
    let text = host::secrets::read_lines(path, IDENTITIES_BYTES_MAX)?;
    Identities::parse(&text).map_err(|error| Failure::said(error, format!("check {}", path.display())))
}

/// Those that the spec names, where this host has them: one spec is for all hosts, and not all are to open backups.
pub(crate) fn identities_of(backup: Option<&Backup>) -> Result<Identities, Failure> {
    match backup.and_then(|backup| backup.identity_file.as_deref()) {
        Some(path) if path.exists() => identities(path),
        Some(_) | None => Ok(Identities::default()),
    }
}

/// Opens the place that is named, else the spec's.
pub(crate) fn open(args: &KeptArgs) -> Result<Kept, Failure> {
    if let Some(place) = &args.place {
        let mut store = S3Store {
            endpoint: args.s3_endpoint.clone(),
            is_path_style: args.s3_endpoint.is_some(),
            ca_pem: authorities(args.s3_ca_file.as_deref())?,
            ..S3Store::default()
        };
        if let Some(region) = &args.s3_region {
            store.region.clone_from(region);
        }
        let place = place_at(place, &store, args.credentials_file.as_deref())?;
        return Ok(Kept { place, backup: None });
    }
    let from = SpecArgs { config: args.config.clone(), node: None };
    let unnamed = || Failure::said("no place is named", "name one with --place, or in [backup] of the spec");
    if !context::is_there(&from) {
        return Err(unnamed());
    }
    let loaded = context::load(&from)?;
    let backup = loaded.spec.backup.ok_or_else(unnamed)?;
    let place = place_of(&backup, &backup.place)?;
    Ok(Kept { place, backup: Some(backup) })
}

/// Opens what an `s3://` address names: as the options say, else as the spec says where it is below the spec's place.
pub(crate) fn open_address(address: &str, args: &KeptArgs) -> Result<Place, Failure> {
    let is_described = args.s3_endpoint.is_some()
        || args.s3_region.is_some()
        || args.s3_ca_file.is_some()
        || args.credentials_file.is_some();
    let from = SpecArgs { config: args.config.clone(), node: None };
    if !is_described
        && context::is_there(&from)
        && let Some(backup) = context::load(&from)?.spec.backup
        && is_below(address, &backup.place)
    {
        return place_of(&backup, address);
    }
    Ok(open(&KeptArgs { place: Some(address.to_owned()), ..args.clone() })?.place)
}

fn is_below(address: &str, place: &str) -> bool {
    let rest = address.strip_prefix(place.trim_end_matches('/'));
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// The place at an address, reached as the spec says of its own.
fn place_of(backup: &Backup, address: &str) -> Result<Place, Failure> {
    let mut store = S3Store {
        endpoint: backup.s3_endpoint.clone(),
        is_path_style: backup.s3_path_style,
        ca_pem: authorities(backup.s3_ca_file.as_deref())?,
        ..S3Store::default()
    };
    if let Some(region) = &backup.s3_region {
        store.region.clone_from(region);
    }
    place_at(address, &store, backup.credentials_file.as_deref())
}

fn authorities(file: Option<&Path>) -> Result<Option<Vec<u8>>, Failure> {
    let Some(path) = file else { return Ok(None) };
    let pem = host::files::read_text(path, PEM_BYTES_MAX)?;
    // The store's client takes a file without any for no wish at all.
    if !pem.contains("-----BEGIN CERTIFICATE-----") {
        let what = format!("{} has no certificate in PEM", path.display());
        return Err(Failure::said(what, "name the file of the authority's certificate"));
    }
    Ok(Some(pem.into_bytes()))
}

fn place_at(place: &str, store: &S3Store, credentials_file: Option<&Path>) -> Result<Place, Failure> {
    let address = Address::parse(place, store).map_err(failed)?;
    let credentials = match credentials_file {
        Some(path) => {
            let text = SecretString::from(host::files::read_text(path, CREDENTIALS_BYTES_MAX)?);
            Some(Credentials::parse(text.expose_secret()).map_err(failed)?)
        }
        None => Credentials::from_environment(),
    };
    Place::open(&address, credentials.as_ref()).map_err(failed)
}

fn failed(error: BlobError) -> Failure {
    let hint = error.hint();
    Failure::new(error, hint)
}

/// A failure of a repository or an archive with its hint.
pub(crate) fn repository_failed(error: backup::repository::RepositoryError) -> Failure {
    match error.hint() {
        Some(hint) => Failure::new(error, hint),
        None => error.into(),
    }
}

/// The same for the archive alone.
pub(crate) fn archive_failed(error: backup::archive::ArchiveError) -> Failure {
    match error.hint() {
        Some(hint) => Failure::new(error, hint),
        None => error.into(),
    }
}

/// Bytes as people read them.
pub(crate) fn size(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
    let mut whole = bytes;
    let mut tenths = 0;
    let mut unit = 0;
    while whole >= 1024 && unit + 1 < UNITS.len() {
        tenths = whole % 1024 * 10 / 1024;
        whole /= 1024;
        unit += 1;
    }
    let name = UNITS.get(unit).copied().unwrap_or_default();
    if unit == 0 { format!("{whole} {name}") } else { format!("{whole}.{tenths} {name}") }
}

/// A stretch of time as people read it.
pub(crate) fn age(seconds: u64) -> String {
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7200 => format!("{} min", seconds / 60),
        7200..172_800 => format!("{} h", seconds / 3600),
        _ => format!("{} d", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_specs_settings_are_for_what_is_below_its_place() {
        for (address, place, expected) in [
            ("s3://b/cloud/20261121T173000Z-x", "s3://b/cloud", true),
            ("s3://b/cloud/20261121T173000Z-x", "s3://b/cloud/", true),
            ("s3://b/cloud", "s3://b/cloud", true),
            ("s3://b/cloudy/x", "s3://b/cloud", false),
            ("s3://other/cloud/x", "s3://b/cloud", false),
            ("s3://b/cloud/x", "/backups", false),
        ] {
            assert_eq!(is_below(address, place), expected, "{address} {place}");
        }
    }

    #[test]
    fn sizes_and_ages_are_short() {
        for (bytes, shown) in [(0, "0 B"), (1023, "1023 B"), (1536, "1.5 KiB"), (5 << 30, "5.0 GiB")] {
            assert_eq!(size(bytes), shown);
        }
        for (seconds, shown) in [(5, "5 s"), (600, "10 min"), (7200, "2 h"), (864_000, "10 d")] {
            assert_eq!(age(seconds), shown);
        }
    }
}
