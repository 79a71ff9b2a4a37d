//! Databases, CloudStack's schema and its `db.properties`.
//!
//! Mainstay creates what is missing and never touches a database that holds something, unless its own mark says
//! that it began the load and did not end it, or the operator typed the databases' names.

use facts::{DatabaseFacts, Seen, ServerFacts};
use spec::{CloudStack, EncryptionType, Spec};

use crate::observation::{CloudStackSeen, LoadMark, Observation};
use crate::step::{Action, Change, Finding, Options, Risk, SchemaFile, Severity, Step};

/// CloudStack's databases, both always on one server: the usage job reads one and writes the other in one statement.
pub(crate) const CLOUDSTACK_DATABASES: [&str; 2] = ["cloud", "cloud_usage"];

pub(crate) struct DatabaseSteps {
    pub(crate) steps: Vec<Step>,
    pub(crate) findings: Vec<Finding>,
}

/// Databases of the spec, and leftovers of an installation.
pub(crate) fn database_steps(spec: &Spec, observation: &Observation, options: &Options) -> DatabaseSteps {
    let mut out = DatabaseSteps { steps: Vec::new(), findings: Vec::new() };
    let none = Vec::new();
    let found = match &observation.state.server {
        Seen::Known(server) => &server.databases,
        Seen::Unknown(_) | Seen::Absent => &none,
    };
    leftover_test(found, &mut out);
    for service in spec.openstack.iter().flat_map(|openstack| &openstack.services) {
        for database in &service.databases {
            if !exists(found, database) {
                out.steps.push(create(spec, database, &format!("{} keeps its state in it", service.name)));
            }
        }
    }
    if let (Some(cloudstack), Some(seen)) = (&spec.cloudstack, &observation.state.cloudstack) {
        out.findings.extend(seen.management_servers.iter().enumerate().map(|(at, sentence)| Finding {
            id: format!("cloudstack/management-server/{at}"),
            severity: Severity::Note,
            sentence: sentence.clone(),
            fix: "start it, or remove its row once it is gone for good".to_owned(),
        }));
        cloudstack_databases(spec, cloudstack, seen, found, options, &mut out);
        properties(cloudstack, seen, &mut out);
    }
    out
}

fn exists(found: &[DatabaseFacts], name: &str) -> bool {
    found.iter().any(|database| database.name == name)
}

fn create(spec: &Spec, name: &str, reason: &str) -> Step {
    let setting = |variable: &str, ours: &str| {
        spec.config.variables.get(variable).cloned().unwrap_or_else(|| ours.to_owned())
    };
    let collation = setting("collation_server", "utf8mb4_general_ci");
    Step {
        id: format!("database/{name}/create"),
        title: format!("create database {name}"),
        reason: reason.to_owned(),
        source: None,
        risk: Risk::None,
        restarts: false,
        changes: vec![Change {
            what: name.to_owned(),
            found: None,
            wanted: Some(collation.clone()),
            why: String::new(),
        }],
        action: Action::CreateDatabase {
            name: name.to_owned(),
            charset: setting("character_set_server", "utf8mb4"),
            collation,
        },
    }
}

fn drop_database(name: &str, reason: String, found: String) -> Step {
    Step {
        id: format!("database/{name}/drop"),
        title: format!("drop database {name}"),
        reason,
        source: None,
        risk: Risk::DataLoss,
        restarts: false,
        changes: vec![Change { what: name.to_owned(), found: Some(found), wanted: None, why: String::new() }],
        action: Action::DropDatabase { name: name.to_owned() },
    }
}

fn leftover_test(found: &[DatabaseFacts], out: &mut DatabaseSteps) {
    let Some(test) = found.iter().find(|database| database.name == "test") else { return };
    if test.tables == 0 {
        let mut step = drop_database(
            "test",
            "a leftover of installation that anyone may write to".to_owned(),
            "empty".to_owned(),
        );
        step.risk = Risk::None;
        out.steps.push(step);
    } else {
        out.findings.push(Finding {
            id: "database/test".to_owned(),
            severity: Severity::Note,
            sentence: "database test is a leftover of installation and holds tables".to_owned(),
            fix: "drop it if nobody needs them".to_owned(),
        });
    }
}

/// What to do about CloudStack's databases.
enum Case {
    /// They hold a schema: leave them.
    Present,
    /// Create what is missing; load when files are named.
    Fresh,
    /// Drop, create, load: why.
    Again(String),
    /// Refuse: why.
    Refuse(String),
}

fn case(seen: &CloudStackSeen, found: &[DatabaseFacts], options: &Options) -> Case {
    let asked = CLOUDSTACK_DATABASES.iter().all(|name| options.recreate.iter().any(|typed| typed == name));
    let holding: Vec<&DatabaseFacts> = found
        .iter()
        .filter(|database| CLOUDSTACK_DATABASES.contains(&database.name.as_str()) && database.tables > 0)
        .collect();
    if asked && CLOUDSTACK_DATABASES.iter().any(|name| exists(found, name)) {
        return Case::Again("the operator typed their names to have them made anew".to_owned());
    }
    if let Seen::Known(LoadMark { finished: false, at }) = &seen.load {
        return Case::Again(format!("the load that began at {at} did not end"));
    }
    if holding.is_empty() {
        return Case::Fresh;
    }
    match &seen.version {
        Seen::Known(_) => Case::Present,
        Seen::Unknown(why) => Case::Refuse(format!("its version table cannot be read: {why}")),
        Seen::Absent => {
            let names: Vec<String> = holding
                .iter()
                .map(|database| format!("{} ({} tables)", database.name, database.tables))
                .collect();
            Case::Refuse(format!("{} and no version table: not a CloudStack database", names.join(", ")))
        }
    }
}

fn cloudstack_databases(
    spec: &Spec,
    cloudstack: &CloudStack,
    seen: &CloudStackSeen,
    found: &[DatabaseFacts],
    options: &Options,
    out: &mut DatabaseSteps,
) {
    let load = match case(seen, found, options) {
        Case::Refuse(why) => {
            out.findings.push(Finding {
                id: "database/cloud".to_owned(),
                severity: Severity::Blocks,
                sentence: format!("there is something in CloudStack's databases: {why}"),
                fix: "move it away, or destroy it with `mainstay apply --recreate cloud,cloud_usage`"
                    .to_owned(),
            });
            return;
        }
        Case::Present => {
            half_upgraded(seen, out);
            false
        }
        Case::Fresh => cloudstack.schema_dir.is_some(),
        Case::Again(why) => {
            for name in CLOUDSTACK_DATABASES {
                if let Some(database) = found.iter().find(|database| database.name == name) {
                    out.steps.push(drop_database(name, why.clone(), format!("{} tables", database.tables)));
                }
            }
            cloudstack.schema_dir.is_some()
        }
    };
    let dropped = |name: &str| out.steps.iter().any(|step| step.id == format!("database/{name}/drop"));
    let missing: Vec<&str> =
        CLOUDSTACK_DATABASES.into_iter().filter(|name| !exists(found, name) || dropped(name)).collect();
    for name in missing {
        out.steps.push(create(spec, name, "CloudStack keeps its state in both, on one server"));
    }
    if load {
        load_schema(cloudstack, seen, out);
    }
}

fn half_upgraded(seen: &CloudStackSeen, out: &mut DatabaseSteps) {
    if let Seen::Known((version, false)) = &seen.version {
        out.findings.push(Finding {
            id: "cloudstack/half-upgraded".to_owned(),
            severity: Severity::Differs,
            sentence: format!(
                "the schema's upgrade to {version} did not complete, and CloudStack cannot resume one"
            ),
            fix: "restore the backup made before the upgrade, then start one management server".to_owned(),
        });
    }
}

fn load_schema(cloudstack: &CloudStack, seen: &CloudStackSeen, out: &mut DatabaseSteps) {
    let Some(dir) = &cloudstack.schema_dir else { return };
    let files = match &seen.schema_files {
        Seen::Known(files) => files,
        Seen::Unknown(why) => {
            out.findings.push(schema_files_unusable(&format!("{}: {why}", dir.display())));
            return;
        }
        Seen::Absent => {
            out.findings.push(schema_files_unusable(&format!("there is no folder {}", dir.display())));
            return;
        }
    };
    out.steps.push(Step {
        id: "cloudstack/schema".to_owned(),
        title: format!("load CloudStack's base schema, {} files", files.len()),
        reason: "the first management server upgrades it to its own version when it starts".to_owned(),
        source: Some("cloudstack-setup-databases".to_owned()),
        risk: Risk::None,
        restarts: false,
        changes: files
            .iter()
            .map(|(name, sha256)| Change {
                what: name.clone(),
                found: None,
                wanted: Some(format!("sha256 {}", sha256.get(..12).unwrap_or(sha256))),
                why: String::new(),
            })
            .collect(),
        action: Action::LoadSchema {
            dir: dir.clone(),
            files: files
                .iter()
                .map(|(name, sha256)| SchemaFile { name: name.clone(), sha256: sha256.clone() })
                .collect(),
        },
    });
}

fn schema_files_unusable(why: &str) -> Finding {
    Finding {
        id: "cloudstack/schema-files".to_owned(),
        severity: Severity::Blocks,
        sentence: format!("the setup files cannot be loaded: {why}"),
        fix: "set `schema_dir` in [cloudstack] to the `setup` folder of an installed or unpacked management server".to_owned(),
    }
}

fn properties(cloudstack: &CloudStack, seen: &CloudStackSeen, out: &mut DatabaseSteps) {
    let Some(wanted) = &cloudstack.properties else { return };
    for (at, warning) in seen.property_warnings.iter().enumerate() {
        out.findings.push(Finding {
            id: format!("cloudstack/properties/{at}"),
            severity: Severity::Note,
            sentence: warning.clone(),
            fix: format!("edit {}", wanted.file.display()),
        });
    }
    if wanted.encryption_type == EncryptionType::File
        && seen.key_file.as_ref().and_then(Seen::known) != Some(&true)
    {
        out.steps.push(Step {
            id: "cloudstack/key".to_owned(),
            title: format!("write the management key to {}", wanted.key_file.display()),
            reason: "the management server reads it there to decrypt db.properties".to_owned(),
            source: None,
            risk: Risk::Clients,
            restarts: false,
            changes: Vec::new(),
            action: Action::WriteKeyFile {
                path: wanted.key_file.clone(),
                key_from: wanted.management_key_file.clone(),
                group: wanted.group.clone(),
            },
        });
    }
    match &seen.properties {
        Seen::Known(changes) if changes.is_empty() => {}
        Seen::Known(changes) => out.steps.push(Step {
            id: "cloudstack/properties".to_owned(),
            title: format!("set {} keys in {}", changes.len(), wanted.file.display()),
            reason: "the management server takes its database from it; restart cloudstack-management after"
                .to_owned(),
            source: None,
            risk: Risk::Clients,
            restarts: false,
            changes: changes
                .iter()
                .map(|change| Change {
                    what: change.key.clone(),
                    found: change.found.clone(),
                    wanted: Some(change.wanted.clone()),
                    why: String::new(),
                })
                .collect(),
            action: Action::WriteProperties {
                path: wanted.file.clone(),
                keys: changes.iter().map(|change| change.key.clone()).collect(),
            },
        }),
        Seen::Absent => out.findings.push(no_properties(wanted, "it is not there")),
        Seen::Unknown(why) => out.findings.push(no_properties(wanted, why)),
    }
}

fn no_properties(wanted: &spec::Properties, why: &str) -> Finding {
    Finding {
        id: "cloudstack/properties".to_owned(),
        severity: Severity::Blocks,
        sentence: format!("{} cannot be rewritten: {why}", wanted.file.display()),
        fix: "install the management server first, or name its db.properties in [cloudstack.properties]"
            .to_owned(),
    }
}

/// Whether CloudStack's databases already hold values encrypted with a database key.
pub(crate) fn encrypted_already(observation: &Observation) -> bool {
    let version = observation.state.cloudstack.as_ref().map(|seen| &seen.version);
    matches!(version, Some(Seen::Known((version, _))) if version != "4.0.0")
        && matches!(&observation.state.server, Seen::Known(ServerFacts { databases, .. }) if exists(databases, "cloud"))
}
