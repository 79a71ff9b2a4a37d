//! The built binary, and a lab server with a spec for it in a temporary folder.

use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use serde_json::Value;

/// What a run of the binary left.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) code: Option<i32>,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Ran {
    fn of(output: &Output) -> Self {
        Self {
            code: output.status.code(),
            out: String::from_utf8_lossy(&output.stdout).into_owned(),
            err: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// The result as JSON, after checking the exit code.
    pub(crate) fn json(&self, code: i32) -> Value {
        assert_eq!(self.code, Some(code), "{self:?}");
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}

#[expect(clippy::disallowed_methods, reason = "the binary under test is run as a user's shell runs it")]
fn binary() -> Command {
    Command::new(env!("CARGO_BIN_EXE_mainstay"))
}

/// Runs the binary with nothing on standard input.
pub(crate) fn run(args: &[&str]) -> Ran {
    run_with(args, "", &[])
}

/// Runs the binary with standard input and environment.
pub(crate) fn run_with(args: &[&str], input: &str, environment: &[(&str, &str)]) -> Ran {
    let mut command = binary();
    command.args(args).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command.env_remove("CLOUD_SECRET_KEY").env_remove("MAINSTAY_PASSWORD");
    for (name, value) in environment {
        command.env(name, value);
    }
    let mut child = command.spawn().unwrap();
    // It may end without reading.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    Ran::of(&child.wait_with_output().unwrap())
}

/// Runs any other program; `None` when it is not installed.
#[expect(clippy::disallowed_methods, reason = "tools that check the binary's output independently")]
pub(crate) fn tool(program: &str, args: &[&str]) -> Option<Ran> {
    Command::new(program).args(args).output().ok().map(|output| Ran::of(&output))
}

/// Writes a file of mode 0600.
pub(crate) fn write_secret(path: &Path, text: &str) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    let mut file = OpenOptions::new().create(true).truncate(true).write(true).mode(0o600).open(path).unwrap();
    file.write_all(text.as_bytes()).unwrap();
}

/// Writes any file.
pub(crate) fn write(path: &Path, text: &str) {
    write_secret(path, text);
}

/// A lab server and a spec for it. Dropping it takes the server down.
pub(crate) struct Bench {
    pub(crate) folder: tempfile::TempDir,
    pub(crate) server: &'static str,
    lab: String,
}

/// The servers that are here.
pub(crate) fn servers() -> Vec<&'static str> {
    let mut here = Vec::new();
    if Path::new("/usr/sbin/mariadbd").exists() {
        here.push("mariadb");
    } else {
        println!("skipped for mariadb: /usr/sbin/mariadbd is not installed");
    }
    if mysql_root().is_some() {
        here.push("mysql");
    } else {
        println!("skipped for mysql: scripts/mysql-root.sh has not made target/servers/mysql");
    }
    here
}

pub(crate) fn mysql_root() -> Option<PathBuf> {
    let named = std::env::var_os("MAINSTAY_TEST_MYSQL_ROOT").map(PathBuf::from);
    let made = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/servers/mysql");
    named.or(Some(made)).filter(|root| root.join("usr/sbin/mysqld").exists())
}

impl Bench {
    /// A fresh server, and `mainstay lab spec`'s spec for it with `more` at its end (in `[cloudstack]`).
    pub(crate) fn new(server: &'static str, more: &str) -> Self {
        Self::for_cloud(server, "cloudstack", more)
    }

    /// The same for any cloud.
    pub(crate) fn for_cloud(server: &'static str, cloud: &str, more: &str) -> Self {
        let bench = Self::up(server, &[]);
        let spec = bench.run(&["lab", "spec", "t", "--cloud", cloud]);
        assert_eq!(spec.code, Some(0), "{spec:?}");
        write(&bench.spec(), &format!("{}{more}", spec.out));
        bench
    }

    /// Three servers with agents; the spec is the first node's.
    pub(crate) fn with_agents(server: &'static str, cloud: &str) -> Self {
        let bench = Self::up(server, &["--topology", "replication", "--agents", "--cloud", cloud]);
        let spec = bench.own("node1/mainstay.toml");
        write(&bench.spec(), &std::fs::read_to_string(spec).unwrap());
        bench
    }

    /// What `lab up` makes with these flags, without a spec.
    pub(crate) fn up(server: &'static str, flags: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let lab = folder.path().join("lab").to_string_lossy().into_owned();
        let bench = Self { folder, server, lab };
        let root = mysql_root().map(|root| root.to_string_lossy().into_owned()).unwrap_or_default();
        let mut args = vec!["lab", "up", "--name", "t", "--server", server, "--json"];
        args.extend(flags);
        if server == "mysql" {
            args.extend(["--server-root", &root]);
        }
        bench.run(&args).json(0);
        bench
    }

    pub(crate) fn spec(&self) -> PathBuf {
        self.folder.path().join("mainstay.toml")
    }

    /// Folder of Mainstay's own files for this server: `secrets`, `state`, `tls`.
    pub(crate) fn own(&self, name: &str) -> PathBuf {
        self.folder.path().join("lab/clusters/t/mainstay").join(name)
    }

    /// The one node, as `lab list --json` describes it.
    pub(crate) fn node(&self) -> Value {
        self.run(&["lab", "list", "--json"]).json(0)["clusters"][0]["nodes"][0].clone()
    }

    /// A path that the node's description names.
    pub(crate) fn node_path(&self, key: &str) -> PathBuf {
        PathBuf::from(self.node()[key].as_str().unwrap())
    }

    /// The steps of which the audit log has this event, in order.
    pub(crate) fn audited(&self, event: &str) -> Vec<String> {
        let text = std::fs::read_to_string(self.own("state").join("audit.jsonl")).unwrap();
        text.lines()
            .map(|line| serde_json::from_str::<Value>(line).unwrap())
            .filter(|line| line["event"] == event)
            .map(|line| line["step"].as_str().unwrap().to_owned())
            .collect()
    }

    pub(crate) fn run(&self, args: &[&str]) -> Ran {
        self.run_env(args, &[])
    }

    pub(crate) fn run_env(&self, args: &[&str], environment: &[(&str, &str)]) -> Ran {
        let mut all = environment.to_vec();
        all.push(("MAINSTAY_LAB_DIR", &self.lab));
        run_with(args, "", &all)
    }

    /// Starts a verb on the spec without waiting for its end.
    pub(crate) fn start(&self, verb: &[&str]) -> Child {
        let mut command = binary();
        command.args(verb).arg("--config").arg(self.spec()).env("MAINSTAY_LAB_DIR", &self.lab);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    }

    /// Starts a verb that has no spec, without waiting for its end.
    pub(crate) fn start_plain(&self, verb: &[&str]) -> Child {
        let mut command = binary();
        command.args(verb).env("MAINSTAY_LAB_DIR", &self.lab);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
    }

    /// The same, with what it says kept.
    pub(crate) fn start_piped(&self, verb: &[&str]) -> Child {
        let mut command = binary();
        command.args(verb).env("MAINSTAY_LAB_DIR", &self.lab);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    }

    /// Starts a daemon whose log goes to a file.
    pub(crate) fn start_daemon(&self, verb: &[&str], log: &Path) -> Child {
        let log = OpenOptions::new().create(true).append(true).open(log).unwrap();
        let mut command = binary();
        command.args(verb).env("MAINSTAY_LAB_DIR", &self.lab);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).spawn().unwrap()
    }

    /// Starts the server's own client on a node, which takes statements from its standard input.
    pub(crate) fn shell(&self, node: &str) -> Child {
        let mut command = binary();
        command.args(["lab", "shell", "t", node]).env("MAINSTAY_LAB_DIR", &self.lab);
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
    }

    /// Runs a verb on the spec.
    pub(crate) fn on_spec(&self, verb: &[&str]) -> Ran {
        let spec = self.spec().to_string_lossy().into_owned();
        let mut args = verb.to_vec();
        args.extend(["--config", &spec]);
        self.run(&args)
    }

    /// The ids of the steps planned now.
    pub(crate) fn planned(&self) -> Vec<String> {
        let ran = self.on_spec(&["plan", "--json", "--no-measure"]);
        assert!(matches!(ran.code, Some(0 | 2)), "{ran:?}");
        let plan: Value = serde_json::from_str(&ran.out).unwrap();
        plan["steps"].as_array().unwrap().iter().map(|step| step["id"].as_str().unwrap().to_owned()).collect()
    }

    /// Runs a statement as root and returns what the client prints.
    pub(crate) fn sql(&self, statement: &str) -> String {
        let ran = self.run(&["lab", "shell", "t", "--execute", statement]);
        assert_eq!(ran.code, Some(0), "{ran:?}");
        ran.out
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        // A test may have taken it down itself.
        if !self.folder.path().join("lab/clusters/t").exists() {
            return;
        }
        let ran = self.run(&["lab", "down", "t"]);
        if !std::thread::panicking() {
            assert_eq!(ran.code, Some(0), "{ran:?}");
        }
    }
}

/// Small setup files of CloudStack's shape: accounts and databases that apply leaves out, tables, a session mode.
pub(crate) fn write_setup_files(folder: &Path) {
    let create_database = "SET @OLD_SQL_MODE=@@SQL_MODE, SQL_MODE='ANSI';\nUSE `mysql`;\n\
        DROP PROCEDURE IF EXISTS `mysql`.`cloud_drop_user_if_exists` ;\nDELIMITER $$\n\
        CREATE PROCEDURE `mysql`.`cloud_drop_user_if_exists`()\nBEGIN\n  DROP USER 'cloud'@'%' ;\nEND $$\nDELIMITER ;\n\
        CALL `mysql`.`cloud_drop_user_if_exists`() ;\nSET SQL_MODE=@OLD_SQL_MODE ;\nDROP DATABASE IF EXISTS `cloud`;\n\
        CREATE DATABASE `cloud`;\nCREATE USER cloud@`%` identified by 'cloud';\nGRANT ALL ON cloud.* to cloud@`%`;\ncommit;\n";
    let mut create_schema = "-- a comment; with a semicolon\nUSE cloud;\nSET foreign_key_checks = 0;\n\
        CREATE TABLE `cloud`.`version` (`id` bigint unsigned NOT NULL auto_increment, `version` char(40) NOT NULL,\n\
        `updated` datetime NOT NULL, `step` char(32) NOT NULL, PRIMARY KEY (`id`)) ENGINE=InnoDB DEFAULT CHARSET=utf8;\n\
        INSERT INTO `version` (`version`, `updated`, `step`) VALUES('4.0.0', now(), 'Complete');\n"
        .to_owned();
    for table in 0..40 {
        create_schema.push_str(&format!("CREATE TABLE `cloud`.`t{table}` (`id` bigint PRIMARY KEY, `name` varchar(255) COMMENT 'a;b') ENGINE=InnoDB;\n"));
    }
    // Ends in a mode under which the next file's double quotes would be identifiers.
    create_schema.push_str("SET SQL_MODE='ANSI';\n");
    for (name, text) in [
        ("create-database.sql", create_database),
        ("create-schema.sql", create_schema.as_str()),
        (
            "create-database-premium.sql",
            "DROP DATABASE IF EXISTS `cloud_usage`;\nCREATE DATABASE `cloud_usage`;\nGRANT ALL ON cloud_usage.* to cloud@`%`;\n",
        ),
        (
            "create-schema-premium.sql",
            "USE cloud_usage;\nCREATE TABLE `cloud_usage`.`usage_job` (`id` bigint PRIMARY KEY) ENGINE=InnoDB;\n",
        ),
        ("server-setup.sql", "INSERT INTO `cloud`.`t0` (id, name) VALUES (1, 'ROOT');\n"),
        ("templates.sql", "INSERT INTO `cloud`.`t1` (id, name) VALUES (1, \"XenServer\");\n"),
    ] {
        write(&folder.join(name), text);
    }
}
