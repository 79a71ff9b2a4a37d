//! `mainstay openstack`: each service's connection URLs, and where they go.

use std::fmt;

use cloudstack::openstack;
use host::secrets;
use secrecy::{ExposeSecret, SecretString};
use serde::Serialize;
use spec::{OpenStackService, Spec};

use crate::cli::OpenstackArgs;
use crate::context;
use crate::failure::{Failure, Outcome, Verb};
use crate::output::{self, Format};

/// Stands in a URL for a password that is not shown.
const MASK: &str = "******";

#[derive(Serialize)]
struct Urls {
    urls: Vec<Url>,
    masked: bool,
}

#[derive(Serialize)]
struct Url {
    service: String,
    database: String,
    file: String,
    section: String,
    option: String,
    remark: String,
    url: String,
}

impl fmt::Display for Urls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for url in &self.urls {
            writeln!(f, "# {}: database {}", url.service, url.database)?;
            if !url.remark.is_empty() {
                writeln!(f, "# {}", url.remark)?;
            }
            writeln!(f, "# {} [{}]", url.file, url.section)?;
            writeln!(f, "{} = {}\n", url.option, url.url)?;
        }
        if self.masked {
            writeln!(f, "# Passwords are masked; add --secrets to print them.")?;
        }
        Ok(())
    }
}

pub(crate) fn run(format: Format, args: &OpenstackArgs) -> Verb {
    let loaded = context::load(&args.spec)?;
    let spec = &loaded.spec;
    let Some(cloud) = &spec.openstack else {
        return Err(Failure::said(
            "the spec is not for OpenStack",
            "set `cloud = \"openstack\"` in [cluster]",
        ));
    };
    let unknown =
        args.services.iter().find(|name| cloud.services.iter().all(|service| service.name != **name));
    if let Some(name) = unknown {
        let names: Vec<&str> = cloud.services.iter().map(|service| service.name.as_str()).collect();
        return Err(Failure::said(
            format!("the spec has no service {name}"),
            format!("its services are {}", names.join(", ")),
        ));
    }
    let mut urls = Vec::new();
    for service in cloud
        .services
        .iter()
        .filter(|service| args.services.is_empty() || args.services.contains(&service.name))
    {
        urls.extend(service_urls(spec, service, args.secrets)?);
    }
    output::result(format, &Urls { urls, masked: !args.secrets });
    Ok(Outcome::Good)
}

fn service_urls(spec: &Spec, service: &OpenStackService, reveal: bool) -> Result<Vec<Url>, Failure> {
    let first = spec.nodes.first().ok_or_else(|| Failure::said("the spec has no node", "add a [[node]]"))?;
    let named = spec.openstack.as_ref().and_then(|openstack| openstack.db_host.as_deref());
    let entrance = spec.entrance(named, first);
    let ca = spec.tls.as_ref().map(|tls| tls.dir.join("ca.pem"));
    let password = if reveal { secrets::read(&service.password_file)? } else { SecretString::from("MASK") };
    let url = |database: &str| {
        let url = openstack::connection_url(
            &service.name,
            &password,
            &entrance.host,
            entrance.port,
            database,
            ca.as_deref(),
        );
        let text = url.expose_secret().to_owned();
        if reveal { text } else { text.replacen(":MASK@", &format!(":{MASK}@"), 1) }
    };
    let targets = openstack::targets(&service.name);
    Ok(service
        .databases
        .iter()
        .map(|database| {
            let target = targets.iter().find(|target| target.database == *database);
            Url {
                service: service.name.clone(),
                database: database.clone(),
                file: target
                    .map_or_else(|| format!("/etc/{0}/{0}.conf", service.name), |target| target.file.clone()),
                section: target.map_or_else(|| "database".to_owned(), |target| target.section.clone()),
                option: target.map_or_else(|| "connection".to_owned(), |target| target.option.clone()),
                remark: target.map_or_else(String::new, |target| target.remark.clone()),
                url: url(database),
            }
        })
        .collect())
}
