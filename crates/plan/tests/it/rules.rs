//! Rules of planning, one a test: what must show, and what must not.

use std::path::PathBuf;

use facts::Seen;
use flavor::Vendor;
use plan::{Action, LoadMark, Options, PasswordMatch, Plan, Risk, SecretSeen, Severity};
use spec::RestartPolicy;

use crate::fixture::{account, applied, cloudstack_spec, database, fresh, plan_for, plan_with, server};

const VENDORS: [Vendor; 2] = [Vendor::MariaDb, Vendor::MySql];

fn ids(plan: &Plan) -> Vec<&str> {
    plan.steps.iter().map(|step| step.id.as_str()).collect()
}

#[test]
fn a_node_as_the_spec_says_has_an_empty_plan() {
    for vendor in VENDORS {
        let spec = cloudstack_spec(vendor);
        let plan = plan_for(&spec, &applied(&spec, vendor));
        assert_eq!(ids(&plan), Vec::<&str>::new(), "{vendor}");
        assert!(!plan.differs(), "{vendor}: {:?}", plan.findings);
    }
}

#[test]
fn every_dynamic_variable_set_by_hand_is_the_only_step() {
    for vendor in VENDORS {
        let spec = cloudstack_spec(vendor);
        let flavor = crate::fixture::flavor(vendor);
        for variable in flavor::VARIABLES.iter().filter(|row| row.exists(flavor) && row.dynamic(flavor)) {
            let mut seen = applied(&spec, vendor);
            server(&mut seen).variables.insert(variable.name.to_owned(), "7".to_owned());
            let plan = plan_for(&spec, &seen);
            if plan.steps.is_empty() {
                // A variable of another profile.
                assert_eq!(variable.name, "innodb_autoinc_lock_mode", "{vendor}");
                continue;
            }
            assert_eq!(ids(&plan), [format!("variable/{}", variable.name)], "{vendor}");
            assert!(!plan.steps[0].restarts);
        }
    }
}

#[test]
fn a_static_variable_waits_for_a_restart_that_is_not_allowed() {
    let mut spec = cloudstack_spec(Vendor::MariaDb);
    let mut seen = applied(&spec, Vendor::MariaDb);
    server(&mut seen).variables.insert("innodb_rollback_on_timeout".to_owned(), "OFF".to_owned());
    assert_eq!(ids(&plan_for(&spec, &seen)), ["service/restart"]);
    spec.service.restart = RestartPolicy::Never;
    let plan = plan_for(&spec, &seen);
    assert_eq!(ids(&plan), Vec::<&str>::new());
    assert_eq!(plan.findings[0].id, "variable/pending-restart");
    assert!(plan.differs());
}

#[test]
fn a_pool_beyond_what_was_reserved_waits_for_a_restart() {
    let spec = cloudstack_spec(Vendor::MariaDb);
    let mut seen = applied(&spec, Vendor::MariaDb);
    let running = server(&mut seen);
    running.variables.insert("innodb_buffer_pool_size".to_owned(), "134217728".to_owned());
    running.variables.insert("innodb_buffer_pool_size_max".to_owned(), "134217728".to_owned());
    assert_eq!(ids(&plan_for(&spec, &seen)), ["service/restart"]);
}

#[test]
fn a_persisted_value_is_removed() {
    let spec = cloudstack_spec(Vendor::MySql);
    let mut seen = applied(&spec, Vendor::MySql);
    server(&mut seen).persisted.insert("max_connections".to_owned(), "50".to_owned());
    assert_eq!(ids(&plan_for(&spec, &seen)), ["persisted/max_connections"]);
}

#[test]
fn a_variable_the_server_does_not_have_blocks() {
    let mut spec = cloudstack_spec(Vendor::MariaDb);
    spec.config.variables.insert("innodb_bufer_pool_dump_pct".to_owned(), "25".to_owned());
    let plan = plan_for(&spec, &applied(&spec, Vendor::MariaDb));
    assert!(
        plan.findings
            .iter()
            .any(|finding| finding.severity == Severity::Blocks && finding.sentence.contains("innodb_bufer"))
    );
}

#[test]
fn another_password_is_set_from_the_file() {
    let spec = cloudstack_spec(Vendor::MariaDb);
    let mut seen = applied(&spec, Vendor::MariaDb);
    seen.state.passwords.insert("cloud@localhost".to_owned(), PasswordMatch::Differs);
    assert_eq!(ids(&plan_for(&spec, &seen)), ["account/cloud@localhost/password"]);
}

#[test]
fn a_clients_account_without_its_password_file_blocks() {
    let spec = cloudstack_spec(Vendor::MariaDb);
    let mut seen = applied(&spec, Vendor::MariaDb);
    let file = spec.cloudstack.as_ref().unwrap().password_file.clone();
    seen.state.secrets.insert(file, SecretSeen::Absent);
    let plan = plan_for(&spec, &seen);
    assert!(
        plan.findings
            .iter()
            .any(|finding| finding.id == "secret/cloud/unknown" && finding.severity == Severity::Blocks)
    );
}

#[test]
fn stray_grants_are_revoked_exactly() {
    let spec = cloudstack_spec(Vendor::MariaDb);
    for (line, revoked) in [
        ("GRANT SELECT ON `mysql`.* TO `cloud`@`localhost`", "SELECT ON `mysql`.*"),
        ("GRANT ALL PRIVILEGES ON *.* TO `cloud`@`localhost`", "ALL PRIVILEGES ON *.*"),
        ("GRANT INSERT ON `other`.`t` TO `cloud`@`localhost`", "INSERT ON `other`.`t`"),
        ("GRANT PROCESS, FILE ON *.* TO `cloud`@`localhost`", "FILE ON *.*"),
        ("GRANT USAGE ON `other`.* TO `cloud`@`localhost` WITH GRANT OPTION", "GRANT OPTION ON `other`.*"),
    ] {
        let mut seen = applied(&spec, Vendor::MariaDb);
        let Seen::Known(accounts) = &mut server(&mut seen).accounts else { panic!() };
        let cloud =
            accounts.iter_mut().find(|seen| seen.user == "cloud" && seen.host == "localhost").unwrap();
        cloud.grants.push(line.to_owned());
        let plan = plan_for(&spec, &seen);
        let grants: Vec<&str> = plan
            .steps
            .iter()
            .map(|step| {
                let Action::Revoke { grant, .. } = &step.action else { panic!("{line}: {step:?}") };
                grant.as_str()
            })
            .collect();
        assert_eq!(grants, [revoked], "{line}");
    }
}

#[test]
fn a_missing_grant_is_given_back() {
    let spec = cloudstack_spec(Vendor::MySql);
    let mut seen = applied(&spec, Vendor::MySql);
    let Seen::Known(accounts) = &mut server(&mut seen).accounts else { panic!() };
    let cloud = accounts.iter_mut().find(|seen| seen.user == "cloud" && seen.host == "localhost").unwrap();
    cloud.grants.retain(|line| !line.contains("cloud\\_usage"));
    assert_eq!(ids(&plan_for(&spec, &seen)), ["account/cloud@localhost/grant/cloud_usage.*"]);
}

#[test]
fn a_passwordless_root_is_closed_only_by_the_os_root() {
    for vendor in VENDORS {
        let spec = cloudstack_spec(vendor);
        let mut seen = applied(&spec, vendor);
        let Seen::Known(accounts) = &mut server(&mut seen).accounts else { panic!() };
        accounts[0] = account("root", "localhost", "caching_sha2_password", &[]);
        accounts.push(account("root", "db1", "mysql_native_password", &[]));
        assert_eq!(
            ids(&plan_for(&spec, &seen)),
            ["account/root@localhost/socket", "account/root@db1/drop"],
            "{vendor}"
        );
        seen.state.run_as_root = false;
        assert_eq!(ids(&plan_for(&spec, &seen)), ["account/root@db1/drop"], "{vendor}");
    }
}

#[test]
fn a_load_cut_short_is_made_anew() {
    let spec = cloudstack_spec(Vendor::MariaDb);
    let mut seen = applied(&spec, Vendor::MariaDb);
    let cloudstack = seen.state.cloudstack.as_mut().unwrap();
    cloudstack.load = Seen::Known(LoadMark { finished: false, at: "2026-11-21 02:59:00".to_owned() });
    cloudstack.version = Seen::Absent;
    let plan = plan_for(&spec, &seen);
    assert_eq!(
        ids(&plan),
        [
            "database/cloud/drop",
            "database/cloud_usage/drop",
            "database/cloud/create",
            "database/cloud_usage/create",
            "cloudstack/schema"
        ]
    );
    assert_eq!(plan.steps[0].risk, Risk::DataLoss);
}

#[test]
fn somebody_elses_database_is_refused_until_its_name_is_typed() {
    let spec = cloudstack_spec(Vendor::MariaDb);
    let mut seen = fresh(Vendor::MariaDb);
    server(&mut seen).databases = vec![database("cloud", 3)];
    let plan = plan_for(&spec, &seen);
    assert!(
        plan.findings
            .iter()
            .any(|finding| finding.id == "database/cloud" && finding.severity == Severity::Blocks)
    );
    assert!(!ids(&plan).contains(&"cloudstack/schema"));
    let typed = Options { recreate: vec!["cloud".to_owned(), "cloud_usage".to_owned()] };
    let plan = plan_with(&spec, &seen, &typed);
    assert!(ids(&plan).contains(&"database/cloud/drop") && ids(&plan).contains(&"cloudstack/schema"));
    let half = Options { recreate: vec!["cloud".to_owned()] };
    assert!(!ids(&plan_with(&spec, &seen, &half)).contains(&"database/cloud/drop"));
}

#[test]
fn a_certificate_near_its_end_is_renewed_and_read_again() {
    let spec = cloudstack_spec(Vendor::MariaDb);
    let mut seen = applied(&spec, Vendor::MariaDb);
    let soon = seen.taken_at.as_second() + 20 * 86_400;
    server(&mut seen).tls.enabled = true;
    if let Some(tls) = &mut seen.state.tls
        && let Seen::Known(certificate) = &mut tls.server
    {
        certificate.not_after_epoch_seconds = soon;
    }
    assert_eq!(ids(&plan_for(&spec, &seen)), ["tls/server", "tls/reload"]);
}

#[test]
fn a_certificate_that_was_issued_and_not_read_is_read() {
    let spec = cloudstack_spec(Vendor::MariaDb);
    let mut seen = applied(&spec, Vendor::MariaDb);
    server(&mut seen).tls.enabled = true;
    seen.state.tls.as_mut().unwrap().unread = true;
    assert_eq!(ids(&plan_for(&spec, &seen)), ["tls/reload"]);
}

#[test]
fn a_key_the_server_cannot_read_changes_its_owner() {
    let spec = cloudstack_spec(Vendor::MariaDb);
    let mut seen = applied(&spec, Vendor::MariaDb);
    let tls = seen.state.tls.as_mut().unwrap();
    tls.server_key = tls.ca_key.clone();
    assert_eq!(ids(&plan_for(&spec, &seen)), ["tls/key-owner"]);
    seen.state.run_as_root = false;
    assert_eq!(ids(&plan_for(&spec, &seen)), Vec::<&str>::new());
}

#[test]
fn a_replica_gets_no_accounts() {
    let spec = cloudstack_spec(Vendor::MariaDb);
    let mut seen = applied(&spec, Vendor::MariaDb);
    let running = server(&mut seen);
    running.accounts = Seen::Known(Vec::new());
    running.read_only = true;
    running.replication.sources = Seen::Known(vec![facts::ReplicationSource {
        channel: String::new(),
        host: "10.0.0.12".to_owned(),
        port: 3306,
        io_running: true,
        sql_running: true,
        lag_seconds: Seen::Known(0),
        last_error: String::new(),
    }]);
    let plan = plan_for(&spec, &seen);
    assert_eq!(ids(&plan), Vec::<&str>::new());
    assert!(plan.notes[0].contains("10.0.0.12:3306"));
}

#[test]
fn a_stopped_server_with_data_is_started_and_planned_again() {
    let spec = cloudstack_spec(Vendor::MariaDb);
    let mut seen = applied(&spec, Vendor::MariaDb);
    seen.state.server = Seen::Absent;
    seen.state.installed_flavor = Seen::Known(crate::fixture::flavor(Vendor::MariaDb));
    let plan = plan_for(&spec, &seen);
    assert_eq!(plan.continues.as_deref(), Some("accounts and databases are planned once the server runs"));
    assert!(ids(&plan).contains(&"service/start"));
}

#[test]
fn another_vendor_stops() {
    let spec = cloudstack_spec(Vendor::MySql);
    let plan = plan_for(&spec, &fresh(Vendor::MariaDb));
    assert_eq!(plan.stops().map(|check| check.id.as_str()).collect::<Vec<_>>(), ["server"]);
    assert!(plan.steps.is_empty());
}

#[test]
fn a_missing_database_key_of_an_upgraded_schema_blocks() {
    let mut spec = cloudstack_spec(Vendor::MariaDb);
    let text = "[cluster]\nname = \"z\"\nserver = \"mariadb\"\ncloud = \"cloudstack\"\n[[node]]\nname = \"db1\"\naddress = \"10.0.0.11\"\n\
                [cloudstack]\nnetworks = [\"10.0.1.0/24\"]\n[cloudstack.properties]\nmanagement_ip = \"10.0.1.5\"\n";
    let with = crate::fixture::spec(text);
    spec.cloudstack.as_mut().unwrap().properties = with.cloudstack.unwrap().properties;
    let key = spec.cloudstack.as_ref().unwrap().properties.as_ref().unwrap().database_key_file.clone();
    let mut seen = applied(&spec, Vendor::MariaDb);
    seen.state.cloudstack.as_mut().unwrap().version = Seen::Known(("4.22.0.0".to_owned(), true));
    let plan = plan_for(&spec, &seen);
    let blocks = |plan: &Plan, path: &PathBuf| {
        plan.findings.iter().any(|finding| {
            finding.severity == Severity::Blocks && finding.sentence.contains(&*path.to_string_lossy())
        })
    };
    assert!(blocks(&plan, &key));
    seen.state.secrets.insert(key.clone(), SecretSeen::Present);
    assert!(!blocks(&plan_for(&spec, &seen), &key));
}

#[test]
fn a_management_servers_own_key_is_never_replaced() {
    let text = "[cluster]\nname = \"z\"\nserver = \"mariadb\"\ncloud = \"cloudstack\"\n[[node]]\nname = \"db1\"\naddress = \"10.0.0.11\"\n\
                [cloudstack]\nnetworks = [\"10.0.1.0/24\"]\n[cloudstack.properties]\nmanagement_ip = \"10.0.1.5\"\n";
    let spec = crate::fixture::spec(text);
    let mut seen = fresh(Vendor::MariaDb);
    let key = |plan: &Plan| plan.steps.iter().any(|step| step.id.ends_with("cloudstack-management-key"));
    seen.state.cloudstack.as_mut().unwrap().key_file = Some(Seen::Absent);
    assert!(key(&plan_for(&spec, &seen)), "a new installation gets one");
    seen.state.cloudstack.as_mut().unwrap().key_file = Some(Seen::Known(false));
    let plan = plan_for(&spec, &seen);
    assert!(!key(&plan));
    assert!(
        plan.findings
            .iter()
            .any(|finding| finding.severity == Severity::Blocks && finding.fix.contains("install -m 0600"))
    );
}

#[test]
fn the_digest_ignores_what_moves_and_sees_what_counts() {
    let spec = cloudstack_spec(Vendor::MariaDb);
    let base = applied(&spec, Vendor::MariaDb);
    let mut idle = base.clone();
    let running = server(&mut idle);
    running.replication.gtid_position = "0-1-99".to_owned();
    running.variables.insert("gtid_current_pos".to_owned(), "0-1-99".to_owned());
    running.databases[0].tables = 343;
    idle.measured.port_taken_by = Seen::Known("x".to_owned());
    assert_eq!(base.digest(), idle.digest());
    let mut drifted = base.clone();
    server(&mut drifted).variables.insert("max_connections".to_owned(), "50".to_owned());
    assert_ne!(base.digest(), drifted.digest());
}
