//! The language of the scenarios: a command a line, `#` begins a comment, and lines that begin with `>` are what the
//! command above them led to. `scenarios/README.md` lists the commands. A word that is not known is an error.

use std::fmt::Write;

use flavor::{GtidSet, Vendor};
use ha::{Ask, Durability, Following, Health, NodeName, ReplicationError, Request, Shared};

use crate::world::{Node, Reach, START_MS, World, describe, following, stop};

type Done = Result<(), String>;

const TEXT_BYTES_MAX: usize = 64 << 10;
const RUN_MAX_MS: u64 = 60_000;
/// An agent looks this often.
const TICK_MS: u64 = 250;

/// Runs a script and returns it with what it led to, in place of what it says it leads to.
///
/// # Errors
/// `FILE:LINE: what is wrong`, also when a decision does what none may.
pub(crate) fn run(file: &str, text: &str) -> Result<String, String> {
    if text.len() > TEXT_BYTES_MAX {
        return Err(format!("{file}: longer than {TEXT_BYTES_MAX} bytes"));
    }
    let mut stage = Stage { world: World::new(), out: String::new() };
    for (index, line) in text.lines().enumerate().filter(|(_, line)| !line.starts_with('>')) {
        stage.out.push_str(line);
        stage.out.push('\n');
        let line = line.trim();
        if !line.is_empty() && !line.starts_with('#') {
            stage.command(line).map_err(|why| format!("{file}:{}: {why}: {line}", index + 1))?;
        }
    }
    Ok(stage.out)
}

struct Stage {
    world: World,
    out: String,
}

impl Stage {
    fn command(&mut self, line: &str) -> Done {
        let words: Vec<&str> = line.split_whitespace().collect();
        if let Some(rest) = line.strip_prefix("node ") {
            let (names, properties) = rest.split_once(": ").ok_or("no `: ` after the node")?;
            for name in names.split_whitespace() {
                let name = self.node(name)?;
                for property in properties.split(", ") {
                    let words: Vec<&str> = property.split_whitespace().collect();
                    set(&mut self.world, &name, &words)?;
                }
            }
            return Ok(());
        }
        match *words.as_slice() {
            ["at", ms] => self.advance(START_MS + number::<u64>(ms)?),
            ["run", "to", ms] => self.run_to(number(ms)?),
            ["tick", ref names @ ..] if !names.is_empty() => self.each(names, false),
            ["act", ref names @ ..] if !names.is_empty() => self.each(names, true),
            ["store", ref rest @ ..] => self.store(rest),
            ["ask", ref rest @ ..] => self.ask(rest),
            ["copied", node, "from", donor] => {
                let (node, donor) = (self.node(node)?, self.node(donor)?);
                self.world.end_copy(&node, &donor);
                Ok(())
            }
            ["wall", seconds] => {
                let seconds: i64 = seconds.parse().map_err(|_| "no number")?;
                self.world.wall_seconds =
                    self.world.wall_seconds.checked_add_signed(seconds).ok_or("no time")?;
                Ok(())
            }
            _ => self.set_up(&words),
        }
    }

    fn set_up(&mut self, words: &[&str]) -> Done {
        let policy = &mut self.world.policy;
        match *words {
            ["servers", vendor, version] => {
                self.world.flavor = flavor(vendor, version)?;
            }
            ["nodes", ref names @ ..] if !names.is_empty() => {
                names.iter().for_each(|name| self.world.add(name, false));
            }
            ["witness", name] => self.world.add(name, true),
            ["policy", "available", max] => {
                policy.durability = Durability::Available { max_loss_transactions: number(max)? };
            }
            ["policy", "wait_for_acks", need] => policy.need = number(need)?,
            ["policy", "failovers_per_hour", most] => policy.failovers_per_hour = number(most)?,
            ["policy", "reseed", "false"] => policy.reseed = false,
            ["agreed:", primary, "leads", "epoch", epoch, "holding", gtids] => {
                if self.world.shared.state.is_some() || self.world.now != START_MS {
                    return Err("only at the beginning".to_owned());
                }
                let (primary, end) = (self.node(primary)?, self.out.len());
                self.world.now = 0;
                self.world.agree(&primary, number(epoch)?, &gtid_set(gtids)?);
                self.run_to(0)?;
                self.out.truncate(end);
            }
            _ => return Err("unknown command".to_owned()),
        }
        Ok(())
    }

    fn node(&self, name: &str) -> Result<NodeName, String> {
        let name = NodeName::new(name);
        if self.world.nodes.contains_key(&name) { Ok(name) } else { Err(format!("no node {name}")) }
    }

    fn advance(&mut self, now: u64) -> Done {
        self.check_time(now)?;
        self.world.now = now;
        Ok(())
    }

    fn check_time(&self, end: u64) -> Done {
        let is_bounded = end > self.world.now && end - self.world.now <= RUN_MAX_MS;
        is_bounded.then_some(()).ok_or_else(|| format!("not later, or by more than {RUN_MAX_MS} ms"))
    }

    fn each(&mut self, names: &[&str], acts: bool) -> Done {
        for name in names {
            let name = self.node(name)?;
            let text = self.tell(&name, acts)?;
            let _ = write!(self.out, "> {name}: {text}");
            self.world.nodes.get_mut(&name).ok_or("no such node")?.told = mask(&text);
        }
        Ok(())
    }

    /// What a node decides, and does if it is to.
    fn tell(&mut self, name: &NodeName, acts: bool) -> Result<String, String> {
        let decision = self.world.decide(name)?;
        let mut text = format!("{}\n", decision.sentence);
        for action in &decision.actions {
            let _ = writeln!(text, ">   - {}", describe(action));
        }
        for veto in &decision.vetoes {
            let _ = writeln!(text, ">   ! {veto}");
        }
        for action in decision.actions.iter().filter(|_| acts) {
            match self.world.act(name, action) {
                Ok(()) => {}
                Err(why) if why.starts_with("FORBIDDEN") => return Err(why),
                Err(why) => {
                    let _ = writeln!(text, ">   refused: {why}");
                    break;
                }
            }
        }
        Ok(text)
    }

    /// All agents look and act, each after the other; what is new is told.
    fn run_to(&mut self, ms: u64) -> Done {
        self.check_time(START_MS + ms)?;
        while self.world.now < START_MS + ms {
            self.advance((self.world.now + TICK_MS).min(START_MS + ms))?;
            let runs = self.world.nodes.iter().filter(|(_, node)| node.runs);
            let names: Vec<NodeName> = runs.map(|(name, _)| name.clone()).collect();
            for name in names {
                let text = self.tell(&name, true)?;
                let now = self.world.now;
                let told = &mut self.world.nodes.get_mut(&name).ok_or("no such node")?.told;
                if *told != mask(&text) {
                    *told = mask(&text);
                    let _ = write!(self.out, "> {} {name}: {text}", now.saturating_sub(START_MS));
                }
            }
        }
        Ok(())
    }

    fn store(&mut self, words: &[&str]) -> Done {
        let shared = &mut self.world.shared;
        match *words {
            ["paused"] => shared.paused = true,
            ["resumed"] => shared.paused = false,
            ["maintenance", node, "on"] => drop(shared.maintenance.insert(NodeName::new(node))),
            ["maintenance", node, "off"] => drop(shared.maintenance.remove(&NodeName::new(node))),
            ["wiped"] => *shared = Shared { revision: 1, ..Shared::default() },
            ["saved"] => self.world.saved = Some(shared.clone()),
            ["restored"] => *shared = self.world.saved.clone().ok_or("nothing was saved")?,
            [reach] => {
                let reach = self::reach(reach)?;
                self.world.nodes.values_mut().for_each(|node| node.reach = reach);
            }
            ["failovers", ref ago @ ..] if !ago.is_empty() => {
                let mut state = shared.state.clone().ok_or("no state")?.value;
                for seconds in ago {
                    state.failovers.push(self.world.wall() - number::<u64>(seconds)?);
                }
                self.world.write_state(state);
            }
            _ => return Err("unknown word of the store".to_owned()),
        }
        Ok(())
    }

    fn ask(&mut self, words: &[&str]) -> Done {
        let state = self.world.shared.state.as_ref().ok_or("no state")?;
        let mut epoch = state.value.epoch;
        let mut words = words;
        if let [head @ .., "in", "epoch", of] = words {
            (words, epoch) = (head, number(of)?);
        }
        let ask = match *words {
            ["switchover"] => Ask::Switchover { to: None },
            ["switchover", "to", to] => Ask::Switchover { to: Some(NodeName::new(to)) },
            ["failover", "to", to] => Ask::Failover { to: self.node(to)? },
            ["reinit", "of", node] => Ask::Reinit { node: self.node(node)? },
            _ => return Err("unknown request".to_owned()),
        };
        let value = Request { id: "r1".to_owned(), by: "operator".to_owned(), epoch, ask };
        let modified = self.world.next_revision();
        self.world.shared.request = Some(ha::Versioned { value, modified });
        Ok(())
    }
}

fn set(world: &mut World, name: &NodeName, words: &[&str]) -> Done {
    let epoch = world.shared.state.as_ref().map_or(0, |state| state.value.epoch);
    if let ["gone"] | ["cut", "off"] = words {
        let followings = world.nodes.values_mut().filter_map(|node| node.local.server.following.as_mut());
        followings.filter(|following| following.node.as_ref() == Some(name)).for_each(|one| one.io = false);
    }
    let node = world.nodes.get_mut(name).ok_or("no such node")?;
    if set_agent(node, words)? || set_replication(node, epoch, words)? {
        return Ok(());
    }
    let server = &mut node.local.server;
    match *words {
        ["server", "down"] => stop(server),
        ["server", "running"] => server.health = Health::Running,
        ["server", "hung"] => server.health = Health::Hung,
        ["restarted"] => server.incarnation += 1,
        ["runs", vendor, version] => server.flavor = Some(flavor(vendor, version)?),
        ["cluster", "none"] => server.cluster = None,
        ["cluster", cluster] => server.cluster = Some(cluster.to_owned()),
        ["holds", gtids] => {
            server.executed = gtid_set(gtids)?;
            server.position.clone_from(&server.executed);
        }
        ["received" | "unacknowledged", gtids] => server.position.extend(&gtid_set(gtids)?),
        ["open"] => server.read_only = false,
        ["read-only"] => server.read_only = true,
        _ => return Err(format!("unknown property `{}`", words.join(" "))),
    }
    Ok(())
}

fn set_agent(node: &mut Node, words: &[&str]) -> Result<bool, String> {
    let local = &mut node.local;
    match *words {
        ["silent"] => node.runs = false,
        ["gone"] => (node.runs, node.is_cut_off) = (false, true),
        ["cut", "off"] => node.is_cut_off = true,
        ["back"] => (node.runs, node.is_cut_off) = (true, false),
        ["agent", "restarted"] => {
            node.memory = ha::Memory::default();
            (local.lease, local.frozen, local.promised_until) = (None, None, None);
        }
        ["store", how] => node.reach = reach(how)?,
        ["commits", "stalled", ms] => local.stalled_for = number(ms)?,
        ["disk", "full"] => local.server.disk_full = true,
        ["disk", "stalled", ms] => local.disk_stalled_for = number(ms)?,
        ["unanswered", ms] => local.unanswered_for = number(ms)?,
        ["promotion", order] => local.tags.promotion = number(order)?,
        ["acks", "false"] => local.tags.acks = false,
        ["delay", seconds] => local.tags.delay_seconds = number(seconds)?,
        ["epoch", epoch] => local.epoch = number(epoch)?,
        ["frozen", epoch] => local.frozen = Some(number(epoch)?),
        ["opened", epoch] => local.opened = Some(number(epoch)?),
        ["no", "trouble"] => local.trouble = None,
        ["trouble:", ref text @ ..] => local.trouble = Some(text.join(" ")),
        _ => return Ok(false),
    }
    Ok(true)
}

fn set_replication(node: &mut Node, epoch: u64, words: &[&str]) -> Result<bool, String> {
    let server = &mut node.local.server;
    match *words {
        ["follows", "nobody"] => (server.following, server.acks) = (None, false),
        ["follows", source] => {
            server.following = Some(following(&NodeName::new(source), epoch));
        }
        ["io", state] => replication(node)?.io = on(state)?,
        ["sql", state] => replication(node)?.sql = on(state)?,
        ["error", code, ref text @ ..] => fail(node, code, text, false)?,
        ["fatal", "error", code, ref text @ ..] => fail(node, code, text, true)?,
        _ => return Ok(false),
    }
    Ok(true)
}

fn fail(node: &mut Node, code: &str, text: &[&str], fatal: bool) -> Done {
    replication(node)?.error = Some(ReplicationError { code: number(code)?, text: text.join(" "), fatal });
    Ok(())
}

fn replication(node: &mut Node) -> Result<&mut Following, String> {
    node.local.server.following.as_mut().ok_or_else(|| "follows nobody".to_owned())
}

fn on(word: &str) -> Result<bool, String> {
    match word {
        "on" => Ok(true),
        "off" => Ok(false),
        _ => Err(format!("`{word}` is neither on nor off")),
    }
}

fn reach(word: &str) -> Result<Reach, String> {
    match word {
        "reachable" => Ok(Reach::Well),
        "slow" => Ok(Reach::ReadsOnly),
        "unreachable" => Ok(Reach::Not),
        _ => Err(format!("unknown word of the store `{word}`")),
    }
}

fn flavor(vendor: &str, version: &str) -> Result<flavor::Flavor, String> {
    let vendor = match vendor {
        "mariadb" => Vendor::MariaDb,
        "mysql" => Vendor::MySql,
        _ => return Err(format!("no vendor {vendor}")),
    };
    Ok(flavor::Flavor { vendor, version: version.parse().map_err(|_| "no version")? })
}

fn number<T: std::str::FromStr>(text: &str) -> Result<T, String> {
    text.parse().map_err(|_| format!("no number `{text}`"))
}

fn gtid_set(text: &str) -> Result<GtidSet, String> {
    GtidSet::parse(text).map_err(|error| error.to_string())
}

/// A sentence that only counts milliseconds on is not new.
fn mask(text: &str) -> String {
    let mut kept: Vec<&str> = Vec::new();
    for word in text.split(' ') {
        if word.starts_with("ms") && kept.last().is_some_and(|last| last.parse::<u64>().is_ok()) {
            kept.pop();
        }
        kept.push(word);
    }
    kept.join(" ")
}
