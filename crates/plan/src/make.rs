//! Making a plan: a list of named parts, each from the same observation, in the order they must happen.
//!
//! Files first, then the server, then what is inside it, then the firewall: nothing is opened before it is safe,
//! and a plan cut short at any step leaves a host that the next plan completes.

use std::path::{Path, PathBuf};

use facts::{Seen, ServerFacts};
use flavor::Flavor;
use spec::{Node, RestartPolicy, ServiceManager, Spec};

use crate::account_steps::{account_steps, password_files, unknown_passwords};
use crate::accounts::{agent_secrets, wanted_accounts};
use crate::databases::{database_steps, encrypted_already};
use crate::observation::{Observation, SecretSeen};
use crate::settings::{Inputs, WantedSetting, wanted_settings};
use crate::sizing::{Demand, Sizing, SizingError, demand, size};
use crate::step::{Action, Change, Finding, Options, Plan, Risk, Severity, Step, server_text};
use crate::value::{same, sql_literal};
use crate::{config_file, firewall, preflight, tls};

/// Makes the plan for `node`.
#[must_use]
pub fn make(spec: &Spec, node: &Node, observation: &Observation, options: &Options) -> Plan {
    let flavor = observation.flavor().filter(|flavor| flavor.vendor == spec.cluster.server);
    let pools = observation.state.cloudstack.as_ref().and_then(|seen| seen.pools.known().copied());
    let demand = demand(spec, pools);
    let sizing = flavor.map(|flavor| sized(spec, observation, flavor, &demand));
    let mut plan = Plan {
        cluster: spec.cluster.name.clone(),
        node: node.name.clone(),
        server: server_text(flavor),
        observed_at: observation.taken_at,
        observation: observation.digest(),
        preflight: preflight::checks(spec, node, observation, sizing.as_ref()),
        steps: Vec::new(),
        findings: Vec::new(),
        notes: Vec::new(),
        continues: None,
    };
    if plan.stops().next().is_some() {
        plan.notes.push("nothing is planned until the checks marked STOP are mended".to_owned());
        return plan;
    }
    install(spec, observation, &mut plan);
    let (Some(flavor), Some(Ok(sizing))) = (flavor, sizing) else {
        plan.continues = Some("the rest is planned once the server's version is known".to_owned());
        return plan;
    };
    let part = Part { spec, node, observation, flavor, sizing: &sizing, demand: &demand };
    part.everything(options, &mut plan);
    plan
}

fn sized(
    spec: &Spec,
    observation: &Observation,
    flavor: Flavor,
    demand: &Demand,
) -> Result<Sizing, SizingError> {
    let memory = spec.machine.memory_bytes.unwrap_or(observation.state.host.memory_bytes);
    let limit = spec.config.variables.get("max_connections").and_then(|text| text.parse::<u32>().ok());
    // An operator's own limit is the limit, not a demand to add a margin to.
    let connections = limit.map_or(demand.connections, |limit| limit.saturating_sub(20) / 6 * 5);
    let cpus = spec.machine.cpus.unwrap_or(observation.state.host.cpus);
    size(flavor, memory, spec.machine.share, connections, cpus)
}

fn install(spec: &Spec, observation: &Observation, plan: &mut Plan) {
    let missing: Vec<String> = observation
        .state
        .packages
        .iter()
        .filter(|package| package.installed.is_absent())
        .map(|package| package.name.clone())
        .collect();
    if !spec.package.install || missing.is_empty() {
        return;
    }
    let Seen::Known(manager) = observation.state.host.package_manager else {
        plan.findings.push(Finding {
            id: "package/manager".to_owned(),
            severity: Severity::Blocks,
            sentence: "packages are missing, and this host has neither apt nor dnf".to_owned(),
            fix: format!("install {} by hand and set `install = false`", missing.join(", ")),
        });
        return;
    };
    plan.steps.push(Step {
        id: "package/install".to_owned(),
        title: format!("install {}", missing.join(", ")),
        reason: "the spec asks for it, and it is not installed".to_owned(),
        source: None,
        risk: Risk::None,
        restarts: false,
        changes: observation
            .state
            .packages
            .iter()
            .filter(|package| package.installed.is_absent())
            .map(|package| Change {
                what: package.name.clone(),
                found: None,
                wanted: Some(package.candidate.known().cloned().unwrap_or_else(|| "latest".to_owned())),
                why: String::new(),
            })
            .collect(),
        action: Action::InstallPackages { manager, names: missing },
    });
}

/// The file in a data directory by which the agents know whose data it is.
pub const CLUSTER_FILE: &str = "mainstay-cluster";

/// What differs between a node's `server_id` as a primary and as a replica, on MariaDB: a former primary would skip its
/// own events when they come back to it.
pub const REPLICA_ID_BIT: u32 = 1 << 31;

/// The node that the agents will found the cluster from, when this one is another and holds nothing: what were written
/// here would be transactions of its own, and the two could not be joined.
pub(crate) fn joins<'s>(spec: &'s Spec, node: &Node, observation: &Observation) -> Option<&'s str> {
    spec.ha.as_ref()?;
    let first = spec.nodes.iter().find(|node| node.promotion > 0)?;
    let holds_data = match &observation.state.server {
        Seen::Known(server) => server.databases.iter().any(|database| database.name != "test"),
        Seen::Unknown(_) | Seen::Absent => false,
    };
    (first.name != node.name && !holds_data).then_some(first.name.as_str())
}

/// Everything a part of the plan looks at.
struct Part<'a> {
    spec: &'a Spec,
    node: &'a Node,
    observation: &'a Observation,
    flavor: Flavor,
    sizing: &'a Sizing,
    demand: &'a Demand,
}

impl Part<'_> {
    fn everything(&self, options: &Options, plan: &mut Plan) {
        let accounts = match wanted_accounts(self.spec, self.flavor) {
            Ok(accounts) => accounts,
            Err(problems) => {
                plan.findings.extend(problems.into_iter().map(|sentence| Finding {
                    id: "account/network".to_owned(),
                    severity: Severity::Blocks,
                    sentence,
                    fix: "edit `networks` in the spec".to_owned(),
                }));
                return;
            }
        };
        let replica = self.replicates_from();
        let mut files: Vec<PathBuf> = password_files(&accounts).into_iter().map(Path::to_path_buf).collect();
        files.extend(agent_secrets(self.spec));
        self.secrets(files, plan);
        plan.findings.extend(unknown_passwords(&accounts, self.observation));
        let tls = tls::tls_steps(self.spec, self.node, self.observation);
        plan.steps.extend(tls.steps);
        plan.findings.extend(tls.findings);
        self.config_file(plan);
        self.service_and_variables(tls.server_certificate_changes, plan);
        let stopped_with_data = self.observation.state.server.known().is_none()
            && self.observation.state.data_dir_in_use.known() != Some(&false)
            && !self.observation.state.data_dir_in_use.is_absent();
        if stopped_with_data {
            plan.continues = Some("accounts and databases are planned once the server runs".to_owned());
        } else if let Some(why) = self.replication_unknown() {
            plan.findings.push(Finding {
                id: "replication/unknown".to_owned(),
                severity: Severity::Blocks,
                sentence: format!("whether this server is a replica cannot be seen: {why}"),
                fix: "log in as root over the socket, or give the login the privilege the message names"
                    .to_owned(),
            });
        } else if let Some(source) = replica {
            plan.notes.push(format!(
                "accounts and databases come from {source} by replication and are not planned here"
            ));
        } else if let Some(first) = joins(self.spec, self.node, self.observation) {
            plan.notes.push(format!(
                "accounts and databases come from {first} once `mainstay agent` runs, and are not planned here"
            ));
        } else {
            let inside = account_steps(self.spec, self.flavor, self.observation, &accounts);
            plan.steps.extend(inside.steps);
            plan.findings.extend(inside.findings);
            let databases = database_steps(self.spec, self.observation, options);
            // Accounts' grants may precede their databases, but a load needs both: databases come after.
            plan.steps.extend(databases.steps);
            plan.findings.extend(databases.findings);
        }
        self.firewall(plan);
    }

    fn replicates_from(&self) -> Option<String> {
        let source = self.observation.state.server.known()?.replication.known_sources().first()?;
        Some(format!("{}:{}", source.host, source.port))
    }

    /// Accounts written on a replica would break its replication, so not knowing is not taken for no.
    fn replication_unknown(&self) -> Option<&str> {
        match &self.observation.state.server.known()?.replication.sources {
            Seen::Unknown(why) => Some(why),
            Seen::Known(_) | Seen::Absent => None,
        }
    }

    fn secrets(&self, mut files: Vec<PathBuf>, plan: &mut Plan) {
        let properties = self.spec.cloudstack.as_ref().and_then(|cloudstack| cloudstack.properties.as_ref());
        if let Some(properties) = properties {
            files.push(properties.management_key_file.clone());
            files.push(properties.database_key_file.clone());
        }
        files.sort();
        files.dedup();
        let first = joins(self.spec, self.node, self.observation);
        for path in files {
            let is_database_key = properties.is_some_and(|properties| properties.database_key_file == path);
            let is_management_key =
                properties.is_some_and(|properties| properties.management_key_file == path);
            match self.observation.state.secrets.get(&path) {
                Some(SecretSeen::Present) => {}
                Some(SecretSeen::Unusable(why)) => plan.findings.push(Finding {
                    id: format!("secret/{}", path.display()),
                    severity: Severity::Blocks,
                    sentence: format!("{} cannot be used: {why}", path.display()),
                    fix: format!("`chmod 0600 {}`, one line of text in it", path.display()),
                }),
                Some(SecretSeen::Absent) | None if first.is_some() => plan.findings.push(Finding {
                    id: format!("secret/{}", path.display()),
                    severity: Severity::Blocks,
                    sentence: format!("{} is missing, and all nodes have the same", path.display()),
                    fix: format!(
                        "`mainstay apply --all` on {} brings it here, or copy it from there",
                        first.unwrap_or_default()
                    ),
                }),
                Some(SecretSeen::Absent) | None if is_database_key && encrypted_already(self.observation) => {
                    plan.findings.push(Finding {
                        id: format!("secret/{}", path.display()),
                        severity: Severity::Blocks,
                        sentence: format!(
                            "{} is missing, and values in the database are encrypted with that key",
                            path.display()
                        ),
                        fix: "put the key there: `mainstay cloudstack show-properties --secrets` decrypts it from a kept db.properties".to_owned(),
                    });
                }
                Some(SecretSeen::Absent) | None if is_management_key && self.has_a_key() => {
                    let key_file = properties.map(|properties| properties.key_file.display().to_string());
                    let key_file = key_file.unwrap_or_default();
                    plan.findings.push(Finding {
                        id: format!("secret/{}", path.display()),
                        severity: Severity::Blocks,
                        sentence: format!(
                            "{} is missing, and {key_file} holds a key that values are encrypted with",
                            path.display()
                        ),
                        fix: format!("keep using it: `install -m 0600 {key_file} {}`", path.display()),
                    });
                }
                Some(SecretSeen::Absent) | None => plan.steps.push(Step {
                    id: format!("secret/{}", path.display()),
                    title: format!("generate a secret into {}", path.display()),
                    reason: "it is not there; put your own there first to choose it".to_owned(),
                    source: None,
                    risk: Risk::None,
                    restarts: false,
                    changes: Vec::new(),
                    action: Action::CreateSecret { path },
                }),
            }
        }
    }

    /// A management server has its key already: another one would make its other values unreadable.
    fn has_a_key(&self) -> bool {
        let seen = self.observation.state.cloudstack.as_ref().and_then(|seen| seen.key_file.as_ref());
        matches!(seen, Some(Seen::Known(_) | Seen::Unknown(_)))
    }

    fn inputs(&self) -> Inputs<'_> {
        Inputs {
            spec: self.spec,
            node: self.node,
            flavor: self.flavor,
            sizing: self.sizing,
            demand: self.demand,
            binlog_base: self.binlog_base(),
        }
    }

    fn binlog_base(&self) -> Option<&str> {
        let server = self.observation.state.server.known()?;
        server.variables.get("log_bin_basename").map(String::as_str).filter(|base| !base.is_empty())
    }

    fn config_file(&self, plan: &mut Plan) {
        let content = config_file::render(&self.inputs());
        let path = &self.observation.state.config_path;
        let found = match &self.observation.state.config_content {
            Seen::Known(found) => Some(found),
            Seen::Absent => None,
            Seen::Unknown(why) => {
                plan.findings.push(Finding {
                    id: "config/unreadable".to_owned(),
                    severity: Severity::Blocks,
                    sentence: format!("{} cannot be read: {why}", path.display()),
                    fix: "run as root, or mend the file".to_owned(),
                });
                return;
            }
        };
        if found == Some(&content) {
            return;
        }
        plan.steps.push(Step {
            id: "config/file".to_owned(),
            title: format!("write {}", path.display()),
            reason: match found {
                None => "it is not there".to_owned(),
                Some(_) => "its content is not what the spec renders".to_owned(),
            },
            source: None,
            risk: Risk::None,
            restarts: false,
            changes: line_changes(found.map_or("", String::as_str), &content),
            action: Action::WriteConfig { path: path.clone(), content },
        });
    }

    fn settings(&self) -> Vec<WantedSetting> {
        wanted_settings(self.spec, self.node, self.flavor, self.sizing, self.demand, self.binlog_base())
    }

    fn service_and_variables(&self, certificate_changes: bool, plan: &mut Plan) {
        let manager = self.observation.state.service_manager;
        let enabled = self.observation.state.service.known().is_some_and(|service| service.enabled);
        if manager == ServiceManager::Systemd && !enabled {
            plan.steps.push(service_step(
                "service/enable",
                "have the server start at boot",
                "it is not enabled",
                Action::EnableService,
            ));
        }
        match &self.observation.state.server {
            Seen::Known(server) => self.variables(server, certificate_changes, plan),
            Seen::Unknown(_) | Seen::Absent if manager == ServiceManager::None => {
                plan.findings.push(Finding {
                    id: "service/stopped".to_owned(),
                    severity: Severity::Blocks,
                    sentence:
                        "the server does not run, and `manager = \"none\"` says that it is not started here"
                            .to_owned(),
                    fix: "start it, then plan again".to_owned(),
                });
            }
            // Whoever else started it might open an old primary.
            Seen::Unknown(_) | Seen::Absent if self.observation.state.kept_by_agent => {
                plan.findings.push(Finding {
                    id: "service/stopped".to_owned(),
                    severity: Severity::Blocks,
                    sentence: "the server does not run, and only its agent may start it".to_owned(),
                    fix: "start `mainstay agent`; `mainstay explain` says why it does not start the server"
                        .to_owned(),
                });
            }
            Seen::Unknown(_) | Seen::Absent => {
                plan.steps.push(service_step(
                    "service/start",
                    "start the server",
                    "it does not run",
                    Action::StartService,
                ));
            }
        }
    }

    fn variables(&self, server: &ServerFacts, certificate_changes: bool, plan: &mut Plan) {
        let mut live = Vec::new();
        let mut pending = Vec::new();
        for setting in self.settings() {
            if let Some(persisted) = server.persisted.get(&setting.name)
                && !same(setting.kind, persisted, &setting.value)
            {
                plan.steps.push(reset_persist(&setting, persisted));
            }
            match server.variables.get(&setting.name) {
                None => unknown_variable(&setting, self.flavor, plan),
                Some(found) if same(setting.kind, found, &setting.value) => {}
                Some(found) if self.is_replica_id(&setting.name, found) => {}
                Some(found) if setting.dynamic && fits_live(&setting, server) => {
                    live.push((setting, found.clone()));
                }
                Some(found) => pending.push((setting, found.clone())),
            }
        }
        let may_restart = self.spec.service.restart == RestartPolicy::WhenNeeded
            && !self.observation.state.kept_by_agent
            && self.observation.state.service_manager != ServiceManager::None;
        if !pending.is_empty() && may_restart {
            plan.steps.push(restart(pending.iter().chain(&live), server));
            return;
        }
        if !pending.is_empty() {
            let names: Vec<&str> = pending.iter().map(|(setting, _)| setting.name.as_str()).collect();
            plan.findings.push(Finding {
                id: "variable/pending-restart".to_owned(),
                severity: Severity::Differs,
                sentence: format!("take effect at the next restart: {}", names.join(", ")),
                fix: if self.observation.state.kept_by_agent {
                    "hand over first if it is the primary (`mainstay switchover`), then stop the server: its agent starts it again"
                } else {
                    "set `restart = \"when-needed\"` in [service] to have apply restart the server, or restart it when it suits"
                }
                .to_owned(),
            });
        }
        plan.steps.extend(live.iter().map(|(setting, found)| set_global(setting, found, server)));
        plan.steps.extend(tls::reload(self.observation, server, certificate_changes).filter(|_| {
            // A server without TLS reads no certificates again; it needs the restart above.
            server.tls.enabled && pending.iter().all(|(setting, _)| !setting.name.starts_with("ssl_"))
        }));
    }

    /// On MariaDB the agent gives a replica an id of its own: see [`REPLICA_ID_BIT`].
    fn is_replica_id(&self, name: &str, found: &str) -> bool {
        self.observation.state.kept_by_agent
            && name == "server_id"
            && found.parse() == Ok(self.node.server_id ^ REPLICA_ID_BIT)
    }

    fn firewall(&self, plan: &mut Plan) {
        let Some(seen) = &self.observation.state.firewall else { return };
        let ruleset = firewall::ruleset(self.spec, self.node);
        let found = match seen {
            Seen::Known(found) if firewall::same_rules(found, &ruleset) => return,
            Seen::Known(found) => Some(found.as_str()),
            Seen::Absent => None,
            Seen::Unknown(why) => {
                plan.findings.push(Finding {
                    id: "firewall/unreadable".to_owned(),
                    severity: Severity::Blocks,
                    sentence: format!("nftables cannot be read: {why}"),
                    fix: "install nftables and run as root, or set `enabled = false` in [firewall]"
                        .to_owned(),
                });
                return;
            }
        };
        plan.steps.push(Step {
            id: "firewall/table".to_owned(),
            title: format!("replace nftables table inet {}", firewall::TABLE),
            reason: "only the listed networks reach the database's ports".to_owned(),
            source: None,
            risk: Risk::Clients,
            restarts: false,
            changes: line_changes(found.unwrap_or(""), &ruleset),
            action: Action::ApplyFirewall { ruleset },
        });
    }
}

/// Whether a dynamic value can really be reached without a restart: the pool grows online only up to the size
/// reserved at start, where the server has such a bound.
fn fits_live(setting: &WantedSetting, server: &ServerFacts) -> bool {
    if setting.name != "innodb_buffer_pool_size" {
        return true;
    }
    let bound =
        server.variables.get("innodb_buffer_pool_size_max").and_then(|text| crate::value::number(text));
    match (bound, crate::value::number(&setting.value)) {
        (Some(bound), Some(wanted)) => wanted <= bound,
        (None, _) | (_, None) => true,
    }
}

fn service_step(id: &str, title: &str, reason: &str, action: Action) -> Step {
    Step {
        id: id.to_owned(),
        title: title.to_owned(),
        reason: reason.to_owned(),
        source: None,
        risk: Risk::None,
        restarts: false,
        changes: Vec::new(),
        action,
    }
}

fn variable_change(setting: &WantedSetting, found: &str, server: &ServerFacts) -> Change {
    let why = match server.variable_origins.get(&setting.name) {
        Some(origin) if origin.starts_with('/') => {
            format!("{}; the value found is from {origin}", setting.reason)
        }
        Some(_) | None => setting.reason.clone(),
    };
    Change {
        what: setting.name.clone(),
        found: Some(found.to_owned()),
        wanted: Some(setting.value.clone()),
        why,
    }
}

fn restart<'a>(settings: impl Iterator<Item = &'a (WantedSetting, String)>, server: &ServerFacts) -> Step {
    Step {
        id: "service/restart".to_owned(),
        title: "restart the server".to_owned(),
        reason: "values that only a restart brings into effect, and with it the others".to_owned(),
        source: None,
        risk: Risk::Downtime,
        restarts: true,
        changes: settings.map(|(setting, found)| variable_change(setting, found, server)).collect(),
        action: Action::RestartService,
    }
}

fn set_global(setting: &WantedSetting, found: &str, server: &ServerFacts) -> Step {
    Step {
        id: format!("variable/{}", setting.name),
        title: format!("set {} to {}", setting.name, setting.value),
        reason: setting.reason.clone(),
        source: Some(setting.source.to_owned()),
        risk: Risk::Clients,
        restarts: false,
        changes: vec![Change { why: String::new(), ..variable_change(setting, found, server) }],
        action: Action::SetGlobal {
            variable: setting.name.clone(),
            value: sql_literal(setting.kind, &setting.value),
        },
    }
}

fn reset_persist(setting: &WantedSetting, persisted: &str) -> Step {
    Step {
        id: format!("persisted/{}", setting.name),
        title: format!("remove the persisted value of {}", setting.name),
        reason: "SET PERSIST wins over every option file at the next start".to_owned(),
        source: Some("MySQL manual, Persisted System Variables".to_owned()),
        risk: Risk::None,
        restarts: false,
        changes: vec![Change {
            what: setting.name.clone(),
            found: Some(persisted.to_owned()),
            wanted: None,
            why: String::new(),
        }],
        action: Action::ResetPersist { variable: setting.name.clone() },
    }
}

fn unknown_variable(setting: &WantedSetting, flavor: Flavor, plan: &mut Plan) {
    plan.findings.push(Finding {
        id: format!("variable/{}/unknown", setting.name),
        severity: Severity::Blocks,
        sentence: format!(
            "{flavor} has no variable {}, and would not start with it in its option file",
            setting.name
        ),
        fix: "correct or remove it in [config.variables]".to_owned(),
    });
}

/// Lines of two texts as changes: removed and added ones, without what stayed.
fn line_changes(found: &str, wanted: &str) -> Vec<Change> {
    let diff = similar::TextDiff::from_lines(found, wanted);
    diff.iter_all_changes()
        .filter_map(|change| {
            let line = change.value().trim_end().to_owned();
            let (found, wanted) = match change.tag() {
                similar::ChangeTag::Equal => return None,
                similar::ChangeTag::Delete => (Some(line), None),
                similar::ChangeTag::Insert => (None, Some(line)),
            };
            let text = found.as_deref().or(wanted.as_deref()).unwrap_or("");
            if text.trim().is_empty() || text.starts_with('#') {
                return None;
            }
            Some(Change { what: String::new(), found, wanted, why: String::new() })
        })
        .collect()
}
