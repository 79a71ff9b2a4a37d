//! One database server on one host: its folder, its configuration file, its process.
//!
//! How servers are joined into a cluster is not known here.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use flavor::Vendor;
use host::command::Command;
use host::files::{Ownership, ensure_dir, write_atomic};
use server::{Connection, Limits, Row, ServerProcess, ServerProgram, Signal, Sql, Target};

use crate::hosts::Host;

/// How often something awaited is looked at.
pub(crate) const POLL: Duration = Duration::from_millis(50);

/// How long a server may take to answer after its start, crash recovery included.
const START_LIMIT: Duration = Duration::from_secs(120);

/// How long a server may take to stop when asked.
const STOP_LIMIT: Duration = Duration::from_secs(60);

/// Of a log, in an error.
const LAST_LINES: usize = 15;

const COPY_LIMIT: Duration = Duration::from_secs(120);

/// For the harness's own statements.
const LIMITS: Limits = Limits { connect: Duration::from_secs(3), statement: Duration::from_secs(30) };

/// One server of a cluster.
#[derive(Clone, Debug)]
pub struct Node {
    /// Where it runs.
    pub host: Host,
    /// Its `server_id`.
    pub server_id: u32,
    /// Everything of it is below.
    pub folder: PathBuf,
    /// The program.
    pub program: ServerProgram,
}

impl Node {
    /// A node with an empty folder `FOLDER/HOST`.
    ///
    /// # Errors
    /// If the folder cannot be created.
    pub fn create(host: &Host, server_id: u32, folder: &Path, program: &ServerProgram) -> Result<Self> {
        let folder = folder.join(&host.name);
        ensure_dir(&folder.join("tmp"), &Ownership::mode(0o700))?;
        Ok(Self { host: host.clone(), server_id, folder, program: program.clone() })
    }

    /// Its data directory.
    #[must_use]
    pub fn datadir(&self) -> PathBuf {
        self.folder.join("data")
    }

    /// Its socket, which the harness logs in through as root.
    #[must_use]
    pub fn socket(&self) -> PathBuf {
        self.folder.join("mysqld.sock")
    }

    /// Its configuration file.
    #[must_use]
    pub fn defaults_file(&self) -> PathBuf {
        self.folder.join("my.cnf")
    }

    /// Its log.
    #[must_use]
    pub fn log(&self) -> PathBuf {
        self.folder.join("error.log")
    }

    /// Writes the configuration: durable commits, row format, and `lines` of the cluster's kind.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn configure(&self, lines: &[String]) -> Result<()> {
        let mut text = format!(
            "[mysqld]\ndatadir = {}\nsocket = {}\npid-file = {}\nlog-error = {}\ntmpdir = {}\nport = 3306\n\
             bind-address = 0.0.0.0\nskip-name-resolve = ON\nuser = root\nserver-id = {}\n\
             innodb-buffer-pool-size = 64M\ninnodb-flush-log-at-trx-commit = 1\nsync-binlog = 1\n\
             binlog-format = ROW\n",
            self.datadir().display(),
            self.socket().display(),
            self.folder.join("mysqld.pid").display(),
            self.log().display(),
            self.folder.join("tmp").display(),
            self.server_id,
        );
        text.push_str(match self.program.flavor().vendor {
            Vendor::MariaDb => "innodb-log-file-size = 32M\n",
            Vendor::MySql => "mysqlx = OFF\ninnodb-redo-log-capacity = 64M\n",
        });
        for line in lines {
            text.push_str(line);
            text.push('\n');
        }
        write_atomic(&self.defaults_file(), text.as_bytes(), &Ownership::mode(0o600))?;
        Ok(())
    }

    /// Makes the system tables.
    ///
    /// # Errors
    /// If the server's own initialisation fails.
    pub async fn initialise(&self) -> Result<()> {
        Ok(self.program.initialise(&self.datadir(), "root").await?)
    }

    /// Takes a copy of a stopped server's data.
    ///
    /// # Errors
    /// If it cannot be copied.
    pub async fn copy_data(&self, from: &Self) -> Result<()> {
        let command = Command::new("cp").arg("-a").arg(from.datadir()).arg(self.datadir());
        command.timeout(COPY_LIMIT).run().await?;
        Ok(())
    }

    /// Starts the server with further options, on its host.
    ///
    /// # Errors
    /// If it cannot be started.
    pub async fn start(&self, options: &[String]) -> Result<ServerProcess> {
        server::clear_dead_socket_lock(&self.socket())?;
        let argv =
            [self.host.enter(), self.program.command(&self.defaults_file()), options.to_vec()].concat();
        let started = ServerProcess::spawn(&argv, &self.folder, &self.folder.join("output.log")).await;
        started.with_context(|| format!("cannot start the server of {}", self.host.name))
    }

    /// Starts the server and waits until it answers.
    ///
    /// # Errors
    /// If it does not within two minutes, or ends.
    pub async fn start_and_wait(&self, options: &[String]) -> Result<Connection> {
        let process = self.start(options).await?;
        let deadline = Instant::now() + START_LIMIT;
        loop {
            let error = match self.connect().await {
                Ok(connection) => return Ok(connection),
                Err(error) => error,
            };
            let gone = process.state() == server::ProcessState::Gone;
            if gone || Instant::now() > deadline {
                bail!(
                    "{} does not start: {error:#}; the end of its log:\n{}",
                    self.host.name,
                    self.last_words()
                );
            }
            tokio::time::sleep(POLL).await;
        }
    }

    /// The end of the server's log.
    #[must_use]
    pub fn last_words(&self) -> String {
        let text = std::fs::read(self.log()).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let lines: Vec<&str> = text.lines().collect();
        lines.get(lines.len().saturating_sub(LAST_LINES)..).unwrap_or_default().join("\n")
    }

    /// Asks the server to stop and waits for it.
    ///
    /// # Errors
    /// If it still runs after a minute.
    pub async fn stop(&self) -> Result<()> {
        for process in self.processes()? {
            process.signal(Signal::TERM)?;
            ensure!(process.wait_gone(STOP_LIMIT).await, "{} does not stop", self.host.name);
        }
        Ok(())
    }

    /// Sends every process of the server a signal.
    ///
    /// # Errors
    /// If the kernel refuses.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        for process in self.processes()? {
            process.signal(signal)?;
        }
        Ok(())
    }

    /// The server's processes: none when it is down.
    ///
    /// # Errors
    /// If /proc cannot be read.
    pub fn processes(&self) -> Result<Vec<ServerProcess>> {
        Ok(ServerProcess::find_all(&self.folder)?)
    }

    /// A session as root.
    ///
    /// # Errors
    /// If the server refuses or does not answer.
    pub async fn connect(&self) -> Result<Connection> {
        Ok(Connection::open(&Target::socket(self.socket(), "root"), &LIMITS).await?)
    }

    /// Runs statements as root.
    ///
    /// # Errors
    /// If one fails.
    pub async fn execute(&self, statements: &[String]) -> Result<()> {
        let mut connection = self.connect().await?;
        for statement in statements {
            let run = connection.execute(&Sql::plain(statement.as_str())).await;
            run.with_context(|| format!("on {}", self.host.name))?;
        }
        connection.close().await;
        Ok(())
    }

    /// The rows of one question, asked as root.
    ///
    /// # Errors
    /// If the server does not answer.
    pub async fn ask(&self, question: &str) -> Result<Vec<Row>> {
        let mut connection = self.connect().await?;
        let rows = connection.query(&Sql::plain(question)).await?;
        connection.close().await;
        Ok(rows)
    }
}
