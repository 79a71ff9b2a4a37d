//! The `[backup]` section: what its words become, and what is refused.

use spec::{Backup, Spec};

const BEGIN: &str =
    "[cluster]\nname = \"z\"\nserver = \"mariadb\"\n[[node]]\nname = \"a\"\naddress = \"10.0.0.1\"\n";

fn backup(text: &str) -> Backup {
    let (spec, _) =
        Spec::parse(&format!("{BEGIN}[backup]\n{text}"), "f").unwrap_or_else(|errors| panic!("{errors}"));
    spec.backup.unwrap_or_else(|| panic!("no [backup]"))
}

fn told(text: &str) -> String {
    let parsed = Spec::parse(&format!("{BEGIN}[backup]\n{text}"), "f");
    parsed.map_or_else(|errors| errors.to_string(), |(spec, _)| panic!("taken: {:?}\n{text}", spec.backup))
}

#[test]
fn without_the_section_there_is_no_place() {
    assert_eq!(Spec::parse(BEGIN, "f").unwrap().0.backup, None);
}

#[test]
fn a_place_is_enough() {
    let small = backup("place = \"/backups\"");
    assert_eq!((small.place.as_str(), small.s3_path_style, small.keep_last), ("/backups", false, 0));
    assert_eq!((small.archive_segment_seconds, small.archive_purge_seconds), (10, None));
    assert_eq!((small.lag_max_seconds, small.running_max), (None, None));
}

#[test]
fn every_word_becomes_what_it_says() {
    let full = backup(
        "place = \"s3://backups/zone1\"\ns3_endpoint = \"https://s3.example\"\ns3_region = \"eu\"\n\
         s3_ca_file = \"/ca.pem\"\ncredentials_file = \"/s3\"\nrecipients = [\"age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p\"]\nidentity_file = \"/key\"\nmax_lag = \"10s\"\nmax_running = 40\nkeep_last = 1\n\
         keep_hourly = 2\nkeep_daily = 3\nkeep_weekly = 4\nkeep_monthly = 5\nrewind_days = 6\n\
         archive_segment_seconds = 7\narchive_purge_after = \"3d\"\n",
    );
    let wanted = Backup {
        place: "s3://backups/zone1".to_owned(),
        s3_endpoint: Some("https://s3.example".to_owned()),
        s3_region: Some("eu".to_owned()),
        s3_path_style: true,
        s3_ca_file: Some("/ca.pem".into()),
        credentials_file: Some("/s3".into()),
        recipients: vec!["age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p".to_owned()],
        identity_file: Some("/key".into()),
        lag_max_seconds: Some(10),
        running_max: Some(40),
        keep_last: 1,
        keep_hourly: 2,
        keep_daily: 3,
        keep_weekly: 4,
        keep_monthly: 5,
        rewind_days: 6,
        archive_segment_seconds: 7,
        archive_purge_seconds: Some(259_200),
    };
    assert_eq!(full, wanted);
}

#[test]
fn what_cannot_be_is_said() {
    for (text, said) in [
        ("keep_last = 3", "place"),
        ("place = \"backups\"", "absolute path"),
        ("place = \"s3://key:secret@bucket\"", "credentials_file"),
        ("place = \"/b\"\ns3_endpoint = \"s3.example\"", "https://"),
        ("place = \"/b\"\nkeep_daily = -1", "out of range"),
        ("place = \"/b\"\nrecipients = [\"age1ql3z7\"]", "58 letters"),
        ("place = \"/b\"\nkeep_dayly = 1", "keep_daily"),
        ("place = \"/b\"\narchive_segment_seconds = 0", "out of range"),
        ("place = \"/b\"\narchive_purge_after = \"soon\"", "soon"),
        ("place = \"/b\"\nmax_lag = \"late\"", "late"),
        ("place = \"/b\"\nmax_running = -1", "out of range"),
    ] {
        let told = told(text);
        assert!(told.contains(said), "{text}: {told}");
    }
}
