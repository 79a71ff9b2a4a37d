//! Whole plans, as text.

use facts::{PackageFacts, Seen};
use flavor::Vendor;

use crate::fixture::{applied, cloudstack_spec, database, fresh, plan_for, server, spec};

#[test]
fn cloudstack_on_a_fresh_mariadb() {
    let spec = cloudstack_spec(Vendor::MariaDb);
    insta::assert_snapshot!(plan_for(&spec, &fresh(Vendor::MariaDb)).to_string());
}

#[test]
fn cloudstack_on_a_fresh_mysql() {
    let spec = cloudstack_spec(Vendor::MySql);
    insta::assert_snapshot!(plan_for(&spec, &fresh(Vendor::MySql)).to_string());
}

#[test]
fn cloudstack_on_a_bare_host() {
    let text = "[cluster]\nname = \"zone1\"\nserver = \"mariadb\"\ncloud = \"cloudstack\"\n[[node]]\nname = \"db1\"\n\
                address = \"10.0.0.11\"\n[package]\ninstall = true\n[firewall]\nenabled = true\n\
                [cloudstack]\nnetworks = [\"10.0.1.0/24\"]\n";
    let spec = spec(text);
    let mut seen = fresh(Vendor::MariaDb);
    seen.state.server = Seen::Absent;
    seen.state.service = Seen::Absent;
    seen.state.data_dir_in_use = Seen::Known(false);
    seen.state.firewall = Some(Seen::Absent);
    seen.state.installed_flavor = Seen::Known(crate::fixture::flavor(Vendor::MariaDb));
    seen.state.packages = ["mariadb-server", "mariadb-backup", "nftables"]
        .map(|name| PackageFacts {
            name: name.to_owned(),
            installed: Seen::Absent,
            candidate: Seen::Known("1:10.11.19-0+deb12u1".to_owned()),
        })
        .to_vec();
    insta::assert_snapshot!(plan_for(&spec, &seen).to_string());
}

#[test]
fn openstack_on_a_fresh_mariadb() {
    let spec = spec(
        "[cluster]\nname = \"region1\"\nserver = \"mariadb\"\ncloud = \"openstack\"\n[[node]]\nname = \"db1\"\n\
         address = \"10.0.0.11\"\n[openstack]\nservices = [\"keystone\", \"nova\"]\nnetworks = [\"10.0.2.0/23\"]\nworkers = 24\n",
    );
    let mut seen = fresh(Vendor::MariaDb);
    seen.state.cloudstack = None;
    insta::assert_snapshot!(plan_for(&spec, &seen).to_string());
}

#[test]
fn drift_of_every_kind_at_once() {
    let spec = cloudstack_spec(Vendor::MariaDb);
    let mut seen = applied(&spec, Vendor::MariaDb);
    let content = seen
        .state
        .config_content
        .known()
        .unwrap()
        .replace("max_allowed_packet = 67108864", "max_allowed_packet = 1M");
    seen.state.config_content = Seen::Known(content);
    let running = server(&mut seen);
    running.variables.insert("max_connections".to_owned(), "50".to_owned());
    running.variables.insert("innodb_rollback_on_timeout".to_owned(), "OFF".to_owned());
    let Seen::Known(accounts) = &mut running.accounts else { panic!() };
    accounts.push(crate::fixture::account("", "localhost", "mysql_native_password", &[]));
    accounts.push(crate::fixture::account("intern", "%", "mysql_native_password", &[]));
    accounts[1].grants.push("GRANT SELECT, DELETE ON `mysql`.* TO `cloud`@`localhost`".to_owned());
    running.databases.push(database("test", 0));
    insta::assert_snapshot!(plan_for(&spec, &seen).to_string());
}

#[test]
fn a_host_that_is_not_fit() {
    let spec = cloudstack_spec(Vendor::MariaDb);
    let mut seen = fresh(Vendor::MariaDb);
    seen.state.host.memory_bytes = 1 << 30;
    seen.state.host.time_synchronised = Seen::Known(false);
    let Seen::Known(disk) = &mut seen.measured.disk else { panic!() };
    disk.free_bytes = 1 << 30;
    disk.write_iops = Seen::Known(900);
    insta::assert_snapshot!(plan_for(&spec, &seen).to_string());
}
