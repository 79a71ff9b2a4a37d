//! Commands: every program Mainstay runs is run here, with a time limit, bounded output and a log line.
//!
//! A program is started without a shell, in a process group of its own, so that a time limit ends it with
//! everything it started. What goes to its standard input is never logged: that is where secrets go, because
//! argv is readable by every user of the host. What a program prints is not interpreted here.

use std::borrow::Cow;
use std::ffi::{OsStr, OsString};
use std::fs::OpenOptions;
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use secrecy::{ExposeSecret as _, SecretString};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};

use crate::process::ProcessId;
use crate::users::User;

/// Bytes kept of each output stream: the first ones of stdout, the last ones of stderr.
pub const OUTPUT_BYTES_MAX: usize = 1 << 20;

/// Time limit of a command that sets none.
const TIMEOUT_DEFAULT: Duration = Duration::from_secs(60);

/// How long a command that is out of time may take to end by itself after SIGTERM.
const TERM_GRACE: Duration = Duration::from_secs(2);

/// How long output is waited for after the program ended, when something it started still holds the pipe.
const DRAIN_GRACE: Duration = Duration::from_millis(500);

/// Lines of stderr that an error shows.
const ERROR_LINES: usize = 5;

/// Folders of administration programs, which are missing from the PATH of ordinary users.
const ADMIN_FOLDERS: [&str; 3] = ["/usr/local/sbin", "/usr/sbin", "/sbin"];

/// Why a command did not do what it was for.
#[derive(Debug, thiserror::Error)]
pub enum CommandError {
    /// No such program.
    #[error("the program `{program}` is not installed")]
    NotFound {
        /// The program asked for.
        program: String,
    },
    /// It could not be started.
    #[error("cannot start `{program}`")]
    Start {
        /// The program.
        program: String,
        /// The refusal.
        source: io::Error,
    },
    /// It was running and could not be followed.
    #[error("lost track of `{program}`")]
    Lost {
        /// The program.
        program: String,
        /// Why.
        source: io::Error,
    },
    /// It took too long and was ended.
    #[error("`{program}` did not end within {timeout_seconds} s and was stopped{}", said(stderr))]
    TimedOut {
        /// The program.
        program: String,
        /// The limit.
        timeout_seconds: u64,
        /// Last lines of its stderr.
        stderr: String,
    },
    /// It ended with a failure.
    #[error("`{program}` failed ({status}){}", said(stderr))]
    Failed {
        /// The program.
        program: String,
        /// How it ended, such as `exit status: 1`.
        status: ExitStatus,
        /// Last lines of its stderr.
        stderr: String,
    },
}

fn said(stderr: &str) -> String {
    if stderr.is_empty() { String::new() } else { format!(": {}", stderr.replace('\n', " | ")) }
}

impl CommandError {
    /// The next thing to do.
    #[must_use]
    pub fn hint(&self) -> String {
        match self {
            Self::NotFound { program } => format!("install the package that has `{program}`, or extend PATH"),
            Self::Start { program, .. } => format!("look with `ls -l \"$(command -v {program})\"`"),
            Self::Lost { .. } => "run again".to_owned(),
            Self::TimedOut { program, .. } => {
                format!("see what `{program}` waits for by running it by hand, then run again")
            }
            Self::Failed { program, .. } => {
                format!(
                    "run `{program}` by hand as its message says; `MAINSTAY_LOG=debug` logs its arguments"
                )
            }
        }
    }
}

/// How a command ended and what it printed.
#[derive(Clone, Debug)]
pub struct Output {
    /// How it ended.
    pub status: ExitStatus,
    /// The first [`OUTPUT_BYTES_MAX`] bytes of its standard output.
    pub stdout: Vec<u8>,
    /// The last [`OUTPUT_BYTES_MAX`] bytes of its standard error.
    pub stderr: Vec<u8>,
    /// Something was printed beyond these limits.
    pub truncated: bool,
}

impl Output {
    /// Standard output as text.
    #[must_use]
    pub fn stdout_text(&self) -> Cow<'_, str> {
        String::from_utf8_lossy(&self.stdout)
    }

    /// Standard error as text.
    #[must_use]
    pub fn stderr_text(&self) -> Cow<'_, str> {
        String::from_utf8_lossy(&self.stderr)
    }
}

enum Stdin {
    Empty,
    Bytes(Vec<u8>),
    Secret(SecretString),
}

/// A program to run, its arguments and its limits.
pub struct Command {
    program: OsString,
    args: Vec<OsString>,
    env: Vec<(OsString, OsString)>,
    clear_env: bool,
    folder: Option<PathBuf>,
    user: Option<User>,
    stdin: Stdin,
    timeout: Duration,
}

impl Command {
    /// A program by path, or by name in PATH and the administration folders.
    #[must_use]
    pub fn new(program: impl AsRef<OsStr>) -> Self {
        Self {
            program: program.as_ref().to_owned(),
            args: Vec::new(),
            env: Vec::new(),
            clear_env: false,
            folder: None,
            user: None,
            stdin: Stdin::Empty,
            timeout: TIMEOUT_DEFAULT,
        }
    }

    /// The program is the first of these words, the rest its arguments; `None` when there are none.
    #[must_use]
    pub fn from_words<S: AsRef<OsStr>>(words: &[S]) -> Option<Self> {
        let (program, args) = words.split_first()?;
        Some(Self::new(program).args(args))
    }

    /// One more argument. Never a secret: every user of the host can read arguments.
    #[must_use]
    pub fn arg(mut self, arg: impl AsRef<OsStr>) -> Self {
        self.args.push(arg.as_ref().to_owned());
        self
    }

    /// More arguments.
    #[must_use]
    pub fn args<S: AsRef<OsStr>>(mut self, args: impl IntoIterator<Item = S>) -> Self {
        self.args.extend(args.into_iter().map(|arg| arg.as_ref().to_owned()));
        self
    }

    /// Sets a variable of its environment.
    #[must_use]
    pub fn env(mut self, key: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Self {
        self.env.push((key.as_ref().to_owned(), value.as_ref().to_owned()));
        self
    }

    /// Gives it only PATH and what [`Self::env`] sets, not this process's environment.
    #[must_use]
    pub const fn clear_env(mut self) -> Self {
        self.clear_env = true;
        self
    }

    /// The folder it runs in.
    #[must_use]
    pub fn folder(mut self, folder: impl AsRef<Path>) -> Self {
        self.folder = Some(folder.as_ref().to_owned());
        self
    }

    /// Runs it as this user, if this process is root; else as who runs this process.
    #[must_use]
    pub fn user(mut self, user: &User) -> Self {
        self.user = crate::users::is_root().then(|| user.clone());
        self
    }

    /// What it reads from standard input. Never logged.
    #[must_use]
    pub fn stdin(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.stdin = Stdin::Bytes(bytes.into());
        self
    }

    /// A secret it reads from standard input; should the program print it back, no error shows it.
    #[must_use]
    pub fn secret_stdin(mut self, secret: SecretString) -> Self {
        self.stdin = Stdin::Secret(secret);
        self
    }

    /// How long it may take; 60 s unless set.
    #[must_use]
    pub const fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Runs it to its end. Dropping the future kills it.
    ///
    /// # Errors
    /// It cannot be started, runs out of time, or ends with anything but success.
    pub async fn run(self) -> Result<Output, CommandError> {
        let program = self.program_name();
        let secret = self.secret();
        let output = self.run_any_status().await?;
        if output.status.success() {
            Ok(output)
        } else {
            let stderr = last_lines(&output.stderr, secret.as_ref());
            Err(CommandError::Failed { program, status: output.status, stderr })
        }
    }

    /// Runs it to its end, however it ends. Dropping the future kills it.
    ///
    /// # Errors
    /// It cannot be started or runs out of time.
    pub async fn run_any_status(self) -> Result<Output, CommandError> {
        let program = self.program_name();
        let secret = self.secret();
        let timeout = self.timeout;
        let mut prepared = tokio::process::Command::from(self.prepare(&program)?);
        prepared.process_group(0).kill_on_drop(true);
        let has_input = !matches!(self.stdin, Stdin::Empty);
        prepared.stdin(if has_input { Stdio::piped() } else { Stdio::null() });
        prepared.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child =
            prepared.spawn().map_err(|source| CommandError::Start { program: program.clone(), source })?;
        let mut group = Group::of(child.id());
        let (input, output, error) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
        let mut stdout = Kept::first();
        let mut stderr = Kept::last();
        let mut talk = Box::pin(async {
            tokio::join!(feed(input, &self.stdin), drain(output, &mut stdout), drain(error, &mut stderr));
        });
        let ended = tokio::time::timeout(timeout, async {
            tokio::select! {
                status = child.wait() => (status, false),
                () = &mut talk => (child.wait().await, true),
            }
        })
        .await;
        let timed_out = ended.is_err();
        let (status, talked) = match ended {
            Ok(ended) => ended,
            Err(_) => (group.end(&mut child).await, false),
        };
        if !talked {
            // A daemon that the program left behind may hold its pipes for ever; what it says is not ours.
            drop(tokio::time::timeout(DRAIN_GRACE, &mut talk).await);
        }
        drop(talk);
        group.disarm();
        let status = status.map_err(|source| CommandError::Lost { program: program.clone(), source })?;
        if timed_out {
            let stderr = last_lines(&stderr.bytes, secret.as_ref());
            return Err(CommandError::TimedOut { program, timeout_seconds: timeout.as_secs(), stderr });
        }
        let truncated = stdout.truncated || stderr.truncated;
        Ok(Output { status, stdout: stdout.bytes, stderr: stderr.bytes, truncated })
    }

    /// Runs it on this process's terminal, without a time limit: for programs a person talks to.
    ///
    /// # Errors
    /// It cannot be started or followed.
    pub async fn run_on_terminal(self) -> Result<ExitStatus, CommandError> {
        let program = self.program_name();
        let mut child = tokio::process::Command::from(self.prepare(&program)?)
            .kill_on_drop(true)
            .spawn()
            .map_err(|source| CommandError::Start { program: program.clone(), source })?;
        child.wait().await.map_err(|source| CommandError::Lost { program, source })
    }

    /// Starts it to outlive this process: in a group of its own, without input, its output appended to `log`
    /// (created with mode 0640).
    ///
    /// # Errors
    /// The log cannot be opened or the program not be started.
    pub fn start_detached(self, log: &Path) -> Result<ProcessId, CommandError> {
        let program = self.program_name();
        let start = |source| CommandError::Start { program: program.clone(), source };
        let output = OpenOptions::new().append(true).create(true).mode(0o640).open(log).map_err(start)?;
        let errors = output.try_clone().map_err(start)?;
        if let Some(user) = &self.user {
            let (uid, gid) = (rustix::fs::Uid::from_raw(user.uid), rustix::fs::Gid::from_raw(user.gid));
            rustix::fs::fchown(&output, Some(uid), Some(gid)).map_err(|errno| start(errno.into()))?;
        }
        let child = self
            .prepare(&program)?
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(output)
            .stderr(errors)
            .spawn()
            .map_err(start)?;
        ProcessId::of(child.id()).map_err(|source| CommandError::Lost { program, source })
    }

    #[expect(clippy::disallowed_methods, reason = "this is the one place that starts processes")]
    pub(crate) fn prepare(&self, program: &str) -> Result<std::process::Command, CommandError> {
        let path = find_program(&self.program)
            .ok_or_else(|| CommandError::NotFound { program: program.to_owned() })?;
        tracing::debug!(program = %path.display(), args = ?self.args, "running");
        let mut command = std::process::Command::new(path);
        command.args(&self.args);
        if self.clear_env {
            command.env_clear().env("PATH", search_path());
        }
        // Output is parsed, so it must not be translated.
        command.env("LC_ALL", "C.UTF-8").envs(self.env.iter().map(|(key, value)| (key, value)));
        if let Some(folder) = &self.folder {
            command.current_dir(folder);
        }
        if let Some(user) = &self.user {
            command.uid(user.uid).gid(user.gid);
        }
        Ok(command)
    }

    pub(crate) fn program_name(&self) -> String {
        self.program.to_string_lossy().into_owned()
    }

    fn secret(&self) -> Option<SecretString> {
        match &self.stdin {
            Stdin::Secret(secret) => Some(secret.clone()),
            Stdin::Empty | Stdin::Bytes(_) => None,
        }
    }
}

/// Finds a program by path, or by name in PATH and the administration folders.
#[must_use]
pub fn find_program(name: impl AsRef<OsStr>) -> Option<PathBuf> {
    let here = std::env::current_dir().unwrap_or_else(|_| PathBuf::from("/"));
    which::which_in(name, Some(search_path()), here).ok()
}

fn search_path() -> OsString {
    let mut path = std::env::var_os("PATH").unwrap_or_else(|| OsString::from("/usr/bin:/bin"));
    for folder in ADMIN_FOLDERS {
        path.push(":");
        path.push(folder);
    }
    path
}

/// The process group of a running command: killed when dropped before the command ended.
struct Group(Option<Pid>);

impl Group {
    fn of(pid: Option<u32>) -> Self {
        Self(pid.and_then(|pid| i32::try_from(pid).ok()).and_then(Pid::from_raw))
    }

    fn signal(&self, signal: Signal) {
        if let Some(group) = self.0 {
            // An error means that the group has just ended.
            let _ = kill_process_group(group, signal);
        }
    }

    /// Ends the group: asks first, then does not.
    async fn end(&self, child: &mut tokio::process::Child) -> io::Result<ExitStatus> {
        self.signal(Signal::TERM);
        let asked = tokio::time::timeout(TERM_GRACE, child.wait()).await;
        self.signal(Signal::KILL);
        match asked {
            Ok(status) => status,
            Err(_) => child.wait().await,
        }
    }

    const fn disarm(&mut self) {
        self.0 = None;
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.signal(Signal::KILL);
    }
}

/// Output kept within [`OUTPUT_BYTES_MAX`].
struct Kept {
    bytes: Vec<u8>,
    keep_last: bool,
    truncated: bool,
}

impl Kept {
    const fn first() -> Self {
        Self { bytes: Vec::new(), keep_last: false, truncated: false }
    }

    const fn last() -> Self {
        Self { bytes: Vec::new(), keep_last: true, truncated: false }
    }

    fn push(&mut self, more: &[u8]) {
        if self.keep_last {
            self.bytes.extend_from_slice(more);
            let over = self.bytes.len().saturating_sub(OUTPUT_BYTES_MAX);
            self.truncated |= over > 0;
            self.bytes.drain(..over);
        } else {
            let room = OUTPUT_BYTES_MAX.saturating_sub(self.bytes.len());
            self.truncated |= more.len() > room;
            self.bytes.extend(more.iter().take(room));
        }
    }
}

async fn feed(pipe: Option<tokio::process::ChildStdin>, stdin: &Stdin) {
    let Some(mut pipe) = pipe else { return };
    let bytes = match stdin {
        Stdin::Empty => return,
        Stdin::Bytes(bytes) => bytes.as_slice(),
        Stdin::Secret(secret) => secret.expose_secret().as_bytes(),
    };
    // A program may end without reading all of it; its exit status tells whether that was right.
    drop(pipe.write_all(bytes).await);
}

async fn drain<R: AsyncRead + Unpin>(pipe: Option<R>, kept: &mut Kept) {
    let Some(mut pipe) = pipe else { return };
    let mut buffer = vec![0_u8; 16 << 10];
    while let Ok(count) = pipe.read(&mut buffer).await {
        if count == 0 {
            return;
        }
        kept.push(buffer.get(..count).unwrap_or_default());
    }
}

fn last_lines(stderr: &[u8], secret: Option<&SecretString>) -> String {
    let text = String::from_utf8_lossy(stderr);
    let text = match secret.map(|secret| secret.expose_secret().trim()) {
        Some(secret) if !secret.is_empty() => Cow::Owned(text.replace(secret, "***")),
        Some(_) | None => text,
    };
    let lines: Vec<&str> = text.lines().map(str::trim_end).filter(|line| !line.is_empty()).collect();
    let skipped = lines.len().saturating_sub(ERROR_LINES);
    lines.iter().skip(skipped).copied().collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    fn shell(script: &str) -> Command {
        Command::new("sh").arg("-c").arg(script)
    }

    #[tokio::test]
    async fn input_arguments_and_environment_reach_the_program() {
        let output = shell(r#"cat; printf '%s|%s|%s' "$1" "$WORD" "${HOME-none}""#)
            .args(["sh", "a b$(c)"])
            .env("WORD", "w")
            .clear_env()
            .stdin("in:")
            .run()
            .await
            .unwrap();
        assert_eq!(output.stdout_text(), "in:a b$(c)|w|none");
        assert!(!output.truncated);
    }

    #[tokio::test]
    async fn a_failure_shows_the_last_lines_of_stderr_and_never_the_secret() {
        let error = shell("echo one >&2; for i in 1 2 3 4; do echo $i >&2; done; cat >&2; exit 3")
            .secret_stdin(SecretString::from("hunter2"))
            .run()
            .await
            .unwrap_err();
        assert_eq!(error.to_string(), "`sh` failed (exit status: 3): 1 | 2 | 3 | 4 | ***");
        assert!(!format!("{error:?}").contains("hunter2"));
        let missing = Command::new("no-such-program-here").run().await.unwrap_err();
        assert_eq!(missing.to_string(), "the program `no-such-program-here` is not installed");
    }

    #[tokio::test]
    async fn a_time_limit_ends_the_whole_group() {
        let folder = tempfile::tempdir().unwrap();
        let pid_file = folder.path().join("pid");
        let started = Instant::now();
        let error =
            shell(r#"trap '' TERM; sh -c 'trap "" TERM; echo $$ > "$0"; while :; do sleep 1; done' "$1""#)
                .arg("sh")
                .arg(&pid_file)
                .timeout(Duration::from_millis(300))
                .run()
                .await
                .unwrap_err();
        assert!(matches!(error, CommandError::TimedOut { .. }), "{error}");
        assert!(started.elapsed() < Duration::from_secs(10));
        let pid: u32 = std::fs::read_to_string(pid_file).unwrap().trim().parse().unwrap();
        let grandchild = ProcessId::of(pid);
        let gone = match grandchild {
            Ok(process) => process.wait_end(Duration::from_secs(5)).await.unwrap(),
            Err(_) => true,
        };
        assert!(gone, "the grandchild {pid} is still there");
    }

    #[tokio::test]
    async fn dropping_the_future_kills_the_command() {
        let folder = tempfile::tempdir().unwrap();
        let pid_file = folder.path().join("pid");
        let command =
            shell(r#"echo $$ > "$1.new"; mv "$1.new" "$1"; exec sleep 100"#).arg("sh").arg(&pid_file);
        let process = tokio::select! {
            _ = command.run() => panic!("it sleeps"),
            process = async {
                while !pid_file.exists() {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
                let pid = std::fs::read_to_string(&pid_file).unwrap().trim().parse().unwrap();
                ProcessId::of(pid).unwrap()
            } => process,
        };
        assert!(process.wait_end(Duration::from_secs(5)).await.unwrap());
    }

    #[tokio::test]
    async fn output_is_bounded_and_a_daemon_left_behind_is_not_waited_for() {
        let output = shell("head -c 3000000 /dev/zero; head -c 3000000 /dev/zero >&2; echo end >&2")
            .run()
            .await
            .unwrap();
        assert_eq!(output.stdout.len(), OUTPUT_BYTES_MAX);
        assert_eq!(output.stderr.len(), OUTPUT_BYTES_MAX);
        assert!(output.stderr.ends_with(b"end\n") && output.truncated);

        let started = Instant::now();
        let output = shell("sleep 30 & echo $!").run().await.unwrap();
        assert!(started.elapsed() < Duration::from_secs(10));
        let daemon = ProcessId::of(output.stdout_text().trim().parse().unwrap()).unwrap();
        daemon.signal(Signal::KILL).unwrap();
    }
}
