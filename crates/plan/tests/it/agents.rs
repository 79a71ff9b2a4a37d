//! Planning beside agents: what is theirs is left to them.

use facts::Seen;
use flavor::Vendor;
use plan::{Observation, Options, Plan, SecretSeen, Severity};
use spec::Spec;

use crate::fixture::{self, flavor, fresh, server};

fn ids(plan: &Plan) -> Vec<&str> {
    plan.steps.iter().map(|step| step.id.as_str()).collect()
}

/// The same cluster as three nodes with agents.
fn with_agents(vendor: Vendor) -> Spec {
    fixture::spec(&format!(
        r#"
[cluster]
name = "zone1"
server = "{}"
topology = "replication"
cloud = "cloudstack"
[[node]]
name = "db1"
address = "10.0.0.11"
[[node]]
name = "db2"
address = "10.0.0.12"
[[node]]
name = "db3"
address = "10.0.0.13"
[service]
restart = "when-needed"
[cloudstack]
management_servers = 2
networks = ["10.0.1.0/24"]
[ha.store]
kind = "etcd"
endpoints = ["https://10.0.0.11:2379"]
"#,
        vendor.name().to_lowercase()
    ))
}

fn plan_of(spec: &Spec, node: &str, seen: &Observation) -> Plan {
    plan::make(spec, spec.node(node).unwrap(), seen, &Options::default())
}

/// A node that was just installed, with the secrets it got from the first one.
fn fresh_with_secrets(spec: &Spec, vendor: Vendor) -> Observation {
    let mut seen = fresh(vendor);
    let wanted = plan::wanted_accounts(spec, flavor(vendor)).unwrap();
    let files = wanted.into_iter().map(|account| account.password_file).chain(plan::agent_secrets(spec));
    seen.state.secrets = files.map(|file| (file, SecretSeen::Present)).collect();
    seen
}

#[test]
fn a_node_that_will_join_gets_no_transactions_of_its_own() {
    for vendor in [Vendor::MariaDb, Vendor::MySql] {
        let spec = with_agents(vendor);
        let mut seen = fresh_with_secrets(&spec, vendor);
        server(&mut seen).read_only = true;
        let plan = plan_of(&spec, "db2", &seen);
        let inside = |id: &&str| id.starts_with("account/") || id.starts_with("database/");
        assert_eq!(ids(&plan).into_iter().find(inside), None, "{vendor:?}");
        assert!(plan.notes.iter().any(|note| note.contains("come from db1")), "{:?}", plan.notes);
        assert_eq!(plan.stops().count(), 0, "{:?}", plan.preflight);
        server(&mut seen).read_only = false;
        let first = plan_of(&spec, "db1", &seen);
        assert!(ids(&first).into_iter().any(|id| inside(&id)), "{vendor:?}");
    }
}

#[test]
fn a_node_that_will_join_makes_no_secrets_of_its_own() {
    let spec = with_agents(Vendor::MariaDb);
    let mut seen = fresh_with_secrets(&spec, Vendor::MariaDb);
    let token = spec.ha.as_ref().unwrap().api.token_file.clone();
    seen.state.secrets.insert(token.clone(), SecretSeen::Absent);
    let id = format!("secret/{}", token.display());
    assert!(ids(&plan_of(&spec, "db1", &seen)).contains(&id.as_str()));
    let second = plan_of(&spec, "db2", &seen);
    assert!(!ids(&second).contains(&id.as_str()));
    let finding = second.findings.iter().find(|finding| finding.id == id).unwrap();
    assert_eq!(finding.severity, Severity::Blocks);
    assert!(finding.fix.contains("apply --all` on db1"), "{}", finding.fix);
}

#[test]
fn what_agents_keep_is_left_to_them() {
    let spec = with_agents(Vendor::MariaDb);
    let mut seen = fresh_with_secrets(&spec, Vendor::MariaDb);
    seen.state.kept_by_agent = true;
    let node = spec.node("db1").unwrap();
    let replica_id = (node.server_id ^ plan::REPLICA_ID_BIT).to_string();
    server(&mut seen).variables.insert("server_id".to_owned(), replica_id);
    let account = facts::AccountFacts {
        user: plan::agent_account("db2"),
        host: "10.0.0.12".to_owned(),
        ..server(&mut seen).accounts.known().unwrap()[0].clone()
    };
    server(&mut seen).accounts = Seen::Known(vec![account]);
    let plan = plan_of(&spec, "db1", &seen);
    let named = |what: &str| {
        let steps = plan.steps.iter().flat_map(|step| &step.changes).any(|change| change.what == what);
        steps || plan.findings.iter().any(|finding| finding.id.contains(what))
    };
    assert!(!named("server_id") && !named(&plan::agent_account("db2")), "{plan}");
    assert!(!ids(&plan).contains(&"service/restart"), "{plan}");
    assert!(plan.findings.iter().any(|finding| finding.fix.contains("mainstay switchover")), "{plan}");
    seen.state.server = Seen::Absent;
    seen.state.installed_flavor = Seen::Known(flavor(Vendor::MariaDb));
    let stopped = plan_of(&spec, "db1", &seen);
    assert!(!ids(&stopped).contains(&"service/start"), "{stopped}");
    assert!(stopped.findings.iter().any(|finding| finding.severity == Severity::Blocks));
}

#[test]
fn agents_accounts_fit_and_are_nobody_elses() {
    assert_eq!(plan::agent_account("db1"), "mainstay_repl_db1");
    let long = plan::agent_account(&"n".repeat(60));
    assert!(long.len() <= 32 && long != plan::agent_account(&"n".repeat(61)), "{long}");
}
