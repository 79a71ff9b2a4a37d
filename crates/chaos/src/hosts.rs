//! Hosts as network namespaces around one switch: cut off, partitioned, healed, and removed at the end.
//!
//! Every link joins two namespaces made here, so a packet reaches nothing else. What runs on a host is not
//! known here; whatever still runs there when the network is dropped is killed.

use std::fmt::Write as _;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result};
use host::command::Command;
use host::process::{ProcessId, Signal};

use crate::disk;

/// Namespaces are named `mchaos-PID-HOST`: PID tells whose they are.
const PREFIX: &str = "mchaos";

/// The switch's own namespace.
const SWITCH: &str = "switch";

/// Making a namespace takes milliseconds; a loaded machine may take seconds.
const LIMIT: Duration = Duration::from_secs(20);

/// How long killed processes of a host may take to go.
const KILL_LIMIT: Duration = Duration::from_secs(10);

/// One host: a namespace with one link and one address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Host {
    /// Short name, such as `db1`.
    pub name: String,
    /// Its address.
    pub address: Ipv4Addr,
    /// Name of its network namespace.
    pub namespace: String,
}

impl Host {
    /// The words that run a program on this host when they stand in front of it.
    #[must_use]
    pub fn enter(&self) -> Vec<String> {
        ["ip", "netns", "exec", &self.namespace].map(str::to_owned).to_vec()
    }

    /// A command that runs `words` on this host.
    ///
    /// # Errors
    /// If there are no words.
    pub fn command(&self, words: &[String]) -> Result<Command> {
        Command::from_words(&[self.enter(), words.to_vec()].concat()).context("no program")
    }

    /// The file that stands for the host's namespace.
    #[must_use]
    pub fn namespace_file(&self) -> PathBuf {
        namespace_file(&self.namespace)
    }
}

/// Hosts and the switch between them. Dropping it ends everything that runs on them and removes them.
#[derive(Debug)]
pub struct Network {
    subnet: u8,
    switch: String,
    hosts: Vec<Host>,
}

/// Which packets between two sets of hosts are lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// All of them.
    Both,
    /// Those from the first set to the second.
    OneWay,
}

impl Network {
    /// Makes hosts with these names, all of which reach one another, with addresses 10.77.S.11 and up.
    ///
    /// # Errors
    /// If this process is not root or the kernel refuses; what was made is removed again.
    pub async fn create(names: &[&str]) -> Result<Self> {
        let pid = std::process::id();
        let subnet = u8::try_from(pid % 250 + 1).unwrap_or(1);
        let hosts = names.iter().zip(11u8..).map(|(name, last)| Host {
            name: (*name).to_owned(),
            address: Ipv4Addr::new(10, 77, subnet, last),
            namespace: format!("{PREFIX}-{pid}-{name}"),
        });
        let network = Self { subnet, switch: format!("{PREFIX}-{pid}-{SWITCH}"), hosts: hosts.collect() };
        let switch = &network.switch;
        let mut batch = format!("netns add {switch}\n");
        for host in &network.hosts {
            writeln!(batch, "netns add {}", host.namespace)?;
        }
        ip_batch(batch).await?;
        // A second batch: the namespaces' names must exist before a link can be put there.
        let mut batch = format!("-n {switch} link add br0 type bridge\n-n {switch} link set dev br0 up\n");
        for Host { name, address, namespace } in &network.hosts {
            writeln!(batch, "link add eth0 netns {namespace} type veth peer name {name} netns {switch}")?;
            writeln!(batch, "-n {switch} link set dev {name} master br0")?;
            writeln!(batch, "-n {switch} link set dev {name} up")?;
            writeln!(batch, "-n {namespace} addr add {address}/24 dev eth0")?;
            writeln!(batch, "-n {namespace} link set dev eth0 up")?;
            writeln!(batch, "-n {namespace} link set dev lo up")?;
        }
        for line in batch.lines() {
            ip(&line.split(' ').collect::<Vec<_>>()).await?;
        }
        Ok(network)
    }

    /// The hosts, in the order of their names at creation.
    #[must_use]
    pub fn hosts(&self) -> &[Host] {
        &self.hosts
    }

    /// A host by its name.
    ///
    /// # Errors
    /// If there is none.
    pub fn host(&self, name: &str) -> Result<&Host> {
        self.hosts.iter().find(|host| host.name == name).with_context(|| format!("no host {name}"))
    }

    /// An address that no host has: the floating one.
    #[must_use]
    pub const fn floating_address(&self) -> Ipv4Addr {
        Ipv4Addr::new(10, 77, self.subnet, 100)
    }

    /// Pulls the host's cable out of the switch.
    ///
    /// # Errors
    /// If the kernel refuses.
    pub async fn cut(&self, host: &Host) -> Result<()> {
        ip(&["-n", &self.switch, "link", "set", "dev", &host.name, "down"]).await
    }

    /// Puts the host's cable back.
    ///
    /// # Errors
    /// If the kernel refuses.
    pub async fn restore(&self, host: &Host) -> Result<()> {
        ip(&["-n", &self.switch, "link", "set", "dev", &host.name, "up"]).await
    }

    /// Loses what one set of hosts sends to another, on arrival. Adds to earlier partitions.
    ///
    /// # Errors
    /// If nft refuses.
    pub async fn partition(&self, from: &[Host], to: &[Host], direction: Direction) -> Result<()> {
        for receiver in to {
            drop_from(receiver, from).await?;
        }
        if direction == Direction::Both {
            for receiver in from {
                drop_from(receiver, to).await?;
            }
        }
        Ok(())
    }

    /// Ends every partition.
    ///
    /// # Errors
    /// If nft refuses.
    pub async fn heal(&self) -> Result<()> {
        for host in &self.hosts {
            let script = "table inet chaos\ndelete table inet chaos\n";
            nft(host, script.to_owned()).await?;
        }
        Ok(())
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        let mut names: Vec<String> = self.hosts.iter().map(|host| host.namespace.clone()).collect();
        names.push(self.switch.clone());
        if let Err(error) = block_on(async move { remove(&names).await }) {
            tracing::error!("cannot remove the namespaces: {error:#}");
        }
    }
}

/// Removes namespaces and folders of runs that are dead; the names removed.
///
/// # Errors
/// If the namespaces cannot be listed or one cannot be removed.
pub async fn remove_leftovers(folder: &Path) -> Result<Vec<String>> {
    let listed = Command::new("ip").args(["netns", "list"]).timeout(LIMIT).run().await?;
    let text = listed.stdout_text().into_owned();
    let names: Vec<String> = text
        .lines()
        .filter_map(|line| line.split_whitespace().next())
        .filter(|name| is_of_dead_run(name))
        .map(str::to_owned)
        .collect();
    remove(&names).await?;
    let mut removed = names;
    for entry in std::fs::read_dir(folder)?.flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if is_of_dead_run(&name) {
            disk::unmount_below(&entry.path()).await?;
            std::fs::remove_dir_all(entry.path()).with_context(|| format!("cannot remove {name}"))?;
            removed.push(name);
        }
    }
    Ok(removed)
}

/// A folder name that [`remove_leftovers`] knows as this process's.
#[must_use]
pub fn run_folder_name() -> String {
    format!("{PREFIX}-{}", std::process::id())
}

/// Removes a run's folder with the disks that are mounted there.
pub(crate) fn remove_folder(folder: &Path) -> Result<()> {
    let mounted = folder.to_owned();
    block_on(async move { disk::unmount_below(&mounted).await })?;
    std::fs::remove_dir_all(folder).with_context(|| format!("cannot remove {}", folder.display()))
}

/// On a thread of its own: this may be called inside a runtime, or during a panic.
fn block_on(work: impl Future<Output = Result<()>> + Send + 'static) -> Result<()> {
    let thread = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(work)
    });
    thread.join().map_err(|_| anyhow::anyhow!("the thread that removes failed"))?
}

fn is_of_dead_run(name: &str) -> bool {
    let Some(rest) = name.strip_prefix(PREFIX).and_then(|rest| rest.strip_prefix('-')) else { return false };
    let pid = rest.split('-').next().and_then(|pid| pid.parse().ok());
    pid.is_some_and(|pid| !ProcessId::of(pid).is_ok_and(|process| process.is_alive()))
}

async fn remove(namespaces: &[String]) -> Result<()> {
    for name in namespaces.iter().filter(|name| namespace_file(name).exists()) {
        for process in processes(name).await? {
            if process.signal(Signal::KILL)? && !process.wait_end(KILL_LIMIT).await? {
                tracing::warn!(pid = process.pid, "a process does not end");
            }
        }
        ip(&["netns", "del", name]).await?;
    }
    Ok(())
}

/// What runs on a host.
async fn processes(namespace: &str) -> Result<Vec<ProcessId>> {
    let listed = Command::new("ip").args(["netns", "pids", namespace]).timeout(LIMIT).run().await?;
    let own = std::process::id();
    let text = listed.stdout_text().into_owned();
    let pids = text.lines().filter_map(|line| line.trim().parse().ok()).filter(|pid| *pid != own);
    Ok(pids.filter_map(|pid| ProcessId::of(pid).ok()).collect())
}

async fn drop_from(receiver: &Host, senders: &[Host]) -> Result<()> {
    let addresses: Vec<String> = senders.iter().map(|host| host.address.to_string()).collect();
    if addresses.is_empty() {
        return Ok(());
    }
    let script = format!(
        "table inet chaos {{\n chain input {{\n type filter hook input priority 0;\n ip saddr {{ {} }} drop\n }}\n}}\n",
        addresses.join(", ")
    );
    nft(receiver, script).await
}

async fn nft(host: &Host, script: String) -> Result<()> {
    let words = ["nft", "-f", "-"].map(str::to_owned);
    host.command(&words)?.stdin(script).timeout(LIMIT).run().await?;
    Ok(())
}

async fn ip(args: &[&str]) -> Result<()> {
    Command::new("ip").args(args).timeout(LIMIT).run().await?;
    Ok(())
}

async fn ip_batch(lines: String) -> Result<()> {
    Command::new("ip").args(["-batch", "-"]).stdin(lines).timeout(LIMIT).run().await?;
    Ok(())
}

fn namespace_file(name: &str) -> PathBuf {
    Path::new("/run/netns").join(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_dead_runs_are_leftovers() {
        let own = std::process::id();
        assert!(!is_of_dead_run(&format!("{PREFIX}-{own}-db1")));
        // The largest pid is 2^22.
        assert!(is_of_dead_run(&format!("{PREFIX}-99999999-db1")));
        assert!(is_of_dead_run(&format!("{PREFIX}-99999999")));
        for name in ["other-99999999-db1", "mchaos-x-db1", "mchaos", "mchaosx-99999999"] {
            assert!(!is_of_dead_run(name), "{name}");
        }
    }
}
