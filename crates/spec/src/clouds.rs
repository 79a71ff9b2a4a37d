//! The sections of the clouds: `[cloudstack]` and `[openstack]`.

use std::net::IpAddr;
use std::path::Path;

use ipnet::IpNet;

use crate::check::{Document, find_in, table_of};
use crate::keys::databases_of;
use crate::model::{
    Accounts, Cloud, CloudStack, EncryptionType, Encryptor, Node, OpenStack, OpenStackService, Paths,
    Properties,
};
use crate::read::{At, Section};
use crate::values::{self, NetworkUse};

const SERVICES_MAX: usize = 64;
const SERVICES: [&str; 6] = ["keystone", "glance", "placement", "nova", "neutron", "cinder"];

impl<'a> Document<'a> {
    /// The section of a cloud; `wanted` is `None` where it is not known which cloud it is.
    fn cloud_section(&self, name: &'static str, wanted: Option<bool>) -> Option<Section<'a>> {
        let section = self.section(name);
        if section.is_there() {
            if wanted == Some(false) {
                section.problem(
                    section.span.clone(),
                    format!("[{name}], and the cluster's cloud is another"),
                    format!("set `cloud = \"{name}\"` in [cluster], or remove this section"),
                );
            }
            return (wanted != Some(false)).then_some(section);
        }
        // A misspelt one, or one that is no section, has been told of.
        if wanted == Some(true) && self.find(name).is_none() && !self.misspelt(name) {
            self.problems.add(
                self.end..self.end,
                format!("`cloud = \"{name}\"`, and there is no [{name}]"),
                format!("add [{name}] with `networks = [\"10.0.1.0/24\"]`"),
            );
        }
        None
    }

    fn required_networks(&self, section: &Section<'_>) -> Vec<IpNet> {
        if !section.has("networks") || section.is_empty_list("networks") {
            section.problem(
                section.place("networks"),
                "no `networks`: nobody could log in",
                "add `networks = [\"10.0.1.0/24\"]`",
            );
        }
        self.networks(section, "networks", NetworkUse::Accounts)
    }

    pub(crate) fn cloudstack(
        &self,
        cloud: Option<Cloud>,
        paths: &Paths,
        accounts: &Accounts,
        first: Option<&Node>,
    ) -> Option<CloudStack> {
        let section = self.cloud_section("cloudstack", cloud.map(|cloud| cloud == Cloud::Cloudstack))?;
        let user = section
            .text("user")
            .and_then(|text| self.checked(text, |text| values::client_user(text, &accounts.admin_user)))
            .unwrap_or_else(|| "cloud".to_owned());
        let servers =
            section.number("management_servers", 1, 64).and_then(|number| u32::try_from(number.value).ok());
        Some(CloudStack {
            management_servers: servers.unwrap_or(1),
            separate_usage_server: section.boolean("separate_usage_server").unwrap_or(false),
            networks: self.required_networks(&section),
            password_file: self.path_or(&section, "password_file", paths.secrets.join(file_name(&user))),
            user,
            schema_dir: self.path(&section, "schema_dir"),
            properties: self.properties(paths, first),
        })
    }

    fn properties(&self, paths: &Paths, first: Option<&Node>) -> Option<Properties> {
        let section = self.inner("cloudstack", "properties", "cloudstack.properties");
        if !section.is_there() {
            return None;
        }
        let file = self.path_or(&section, "file", "/etc/cloudstack/management/db.properties");
        let types =
            [("file", EncryptionType::File), ("env", EncryptionType::Env), ("web", EncryptionType::Web)];
        let own = section.text("management_ip").and_then(|text| self.address(text));
        Some(Properties {
            key_file: self.path_or(&section, "key_file", file.parent().unwrap_or(Path::new("/")).join("key")),
            encryption_type: section
                .word("encryption_type", &types)
                .map_or(EncryptionType::File, |word| word.value),
            encryptor: section
                .word("encryptor", &[("V1", Encryptor::V1), ("V2", Encryptor::V2)])
                .map_or(Encryptor::V2, |word| word.value),
            management_key_file: self.path_or(
                &section,
                "management_key_file",
                paths.secrets.join("cloudstack-management-key"),
            ),
            database_key_file: self.path_or(
                &section,
                "database_key_file",
                paths.secrets.join("cloudstack-database-key"),
            ),
            management_ip: own
                .or_else(|| first.map(|node| node.address))
                .unwrap_or(IpAddr::from([127, 0, 0, 1])),
            region_id: section
                .number("region_id", 1, 255)
                .and_then(|id| u32::try_from(id.value).ok())
                .unwrap_or(1),
            db_host: section.text("db_host").and_then(|text| self.checked(text, values::word)),
            group: section
                .text("group")
                .and_then(|text| self.checked(text, values::word))
                .unwrap_or_else(|| "cloud".to_owned()),
            file,
        })
    }

    pub(crate) fn openstack(
        &self,
        cloud: Option<Cloud>,
        paths: &Paths,
        accounts: &Accounts,
    ) -> Option<OpenStack> {
        let section = self.cloud_section("openstack", cloud.map(|cloud| cloud == Cloud::Openstack))?;
        let mut services: Vec<OpenStackService> = Vec::new();
        for name in self.named_services(&section, &accounts.admin_user) {
            services.push(OpenStackService {
                databases: databases_of(&name),
                password_file: paths.secrets.join(file_name(&name)),
                name,
            });
        }
        for own in self.own_services(paths, &accounts.admin_user) {
            services.retain(|service| service.name != own.name);
            services.push(own);
        }
        if services.len() > SERVICES_MAX {
            section.problem(
                section.place("services"),
                format!("{} services", services.len()),
                format!("at most {SERVICES_MAX} are possible"),
            );
        }
        Some(OpenStack {
            services,
            networks: self.required_networks(&section),
            workers: section
                .number("workers", 1, 2000)
                .and_then(|number| u32::try_from(number.value).ok())
                .unwrap_or(20),
            db_host: section.text("db_host").and_then(|text| self.checked(text, values::word)),
        })
    }

    fn named_services(&self, section: &Section<'_>, admin: &str) -> Vec<String> {
        if !section.has("services") {
            return SERVICES.map(str::to_owned).to_vec();
        }
        let mut named: Vec<String> = Vec::new();
        for text in section.texts("services", SERVICES_MAX) {
            let span = text.span.clone();
            let Some(name) = self.service_name(text, admin) else { continue };
            if named.contains(&name) {
                section.problem(span, format!("service {name} twice in one list"), "remove one");
            } else {
                named.push(name);
            }
        }
        named
    }

    fn service_name(&self, text: At<String>, admin: &str) -> Option<String> {
        self.checked(text, |text| values::client_user(&values::name(text)?, admin))
    }

    fn own_services(&self, paths: &Paths, admin: &str) -> Vec<OpenStackService> {
        let table = self.find("openstack").and_then(|(value, _)| table_of(value));
        let Some((value, _)) = table.and_then(|table| find_in(table, "service")) else { return Vec::new() };
        let mut services: Vec<OpenStackService> = Vec::new();
        for section in self.sections("openstack.service", value, SERVICES_MAX) {
            let Some(text) = section.required_text("name") else { continue };
            let Some(name) = self.service_name(text, admin) else { continue };
            if services.iter().any(|service| service.name == name) {
                section.problem(
                    section.place("name"),
                    format!("a second [[openstack.service]] named {name}"),
                    "list all its databases in one",
                );
            }
            let databases: Vec<String> = section
                .texts("databases", SERVICES_MAX)
                .into_iter()
                .filter_map(|text| self.checked(text, values::client_database))
                .collect();
            services.push(OpenStackService {
                databases: if databases.is_empty() { databases_of(&name) } else { databases },
                password_file: self.path_or(&section, "password_file", paths.secrets.join(file_name(&name))),
                name,
            });
        }
        services
    }
}

/// A user's name as a file name: what could leave the folder is replaced.
fn file_name(user: &str) -> String {
    let name: String =
        user.chars().map(|c| if c.is_ascii_alphanumeric() || "-_.".contains(c) { c } else { '_' }).collect();
    if name.starts_with('.') { format!("_{name}") } else { name }
}
