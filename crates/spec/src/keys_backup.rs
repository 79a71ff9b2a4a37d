//! The rows of the table of keys for `[backup]`.

use crate::keys::{Key, key};

pub(crate) const BACKUP_SECTIONS: &[(&str, &str)] = &[(
    "backup",
    "Where backups and the archive of binary logs live, and how many stay: for `mainstay backup`, where no place is named.",
)];

const COUNT: &str = "0 to 10000";

const fn rule(name: &'static str, example: &'static str, sentence: &'static str) -> Key {
    key("backup", name, COUNT, "0", example, sentence)
}

pub(crate) const BACKUP_KEYS: &[Key] = &[
    key(
        "backup",
        "place",
        "an existing folder, or `s3://BUCKET/PREFIX`",
        "required",
        "\"s3://backups/zone1\"",
        "Where they live.",
    ),
    key("backup", "s3_endpoint", "URL", "Amazon's", "\"https://s3.example\"", "The S3-compatible store."),
    key("backup", "s3_region", "text", "`us-east-1`", "\"us-east-1\"", "The store's region."),
    key(
        "backup",
        "s3_path_style",
        "boolean",
        "true with an endpoint",
        "true",
        "The bucket is in the path, not in the host's name.",
    ),
    key(
        "backup",
        "s3_ca_file",
        "absolute path",
        "none",
        "\"/etc/mainstay/s3-ca.pem\"",
        "Authorities to trust for the store, beside the system's.",
    ),
    key(
        "backup",
        "credentials_file",
        "absolute path",
        "the environment",
        "\"/etc/mainstay/secrets/s3\"",
        "`aws_access_key_id = ...` and `aws_secret_access_key = ...`, one a line.",
    ),
    key(
        "backup",
        "recipients",
        "list of public keys of age",
        "those of `identity_file`; with neither, nothing is encrypted",
        "[\"age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p\"]",
        "To whom backups and the archive are encrypted: whoever has the identity of one opens them.",
    ),
    key(
        "backup",
        "identity_file",
        "absolute path",
        "none",
        "\"/etc/mainstay/secrets/backup-identity\"",
        "Identities (secret keys) that open them, where this host has the file: for restoring, rewinding, rehearsing.",
    ),
    key(
        "backup",
        "max_lag",
        "time, such as `\"10s\"`",
        "none",
        "\"10s\"",
        "A backup reads nothing while its server, a replica, is further behind than this, unless it waits for a lock on a definition or of a backup. Not for `--physical`.",
    ),
    key(
        "backup",
        "max_running",
        "0 to 100000",
        "none",
        "40",
        "A backup reads nothing while more of others' sessions than this run a statement. Not for `--physical`.",
    ),
    rule("keep_last", "3", "Newest backups that stay."),
    rule("keep_hourly", "0", "The newest backup of each of so many hours stays."),
    rule("keep_daily", "7", "The newest backup of each of so many days stays."),
    rule("keep_weekly", "4", "The newest backup of each of so many weeks stays."),
    rule("keep_monthly", "6", "The newest backup of each of so many months stays."),
    rule(
        "rewind_days",
        "3",
        "Rewinding stays possible to any moment of so many days: the backup it begins at stays.",
    ),
    key(
        "backup",
        "archive_segment_seconds",
        "1 to 3600",
        "10",
        "10",
        "Age at which a piece of the archive is finished: what a lost host may cost, where no replica has it.",
    ),
    key(
        "backup",
        "archive_purge_after",
        "time, such as `\"3d\"`",
        "none: the server purges by itself",
        "\"3d\"",
        "The archive takes over the server's purging: logs go once they are archived and so old, never before.",
    ),
];
