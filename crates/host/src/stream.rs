//! Programs whose output or input is a stream too large to hold: a backup on its way to another host.
//!
//! Ended with the stream: dropping either end kills the program.

use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::process::Stdio;

use tokio::process::{Child, ChildStdin, ChildStdout};

use crate::command::{Command, CommandError};

/// A program at one end of a stream.
#[derive(Debug)]
pub struct Streaming {
    child: Child,
    program: String,
}

impl Command {
    /// Starts it with its standard output as a stream; what it says goes to the end of `log`.
    ///
    /// # Errors
    /// The log cannot be opened or the program not be started.
    pub fn stream_out(self, log: &Path) -> Result<(ChildStdout, Streaming), CommandError> {
        let mut streaming = self.start_streaming(log, Stdio::null(), Stdio::piped())?;
        let stdout = streaming.child.stdout.take();
        let stdout = stdout.ok_or_else(|| CommandError::NotFound { program: streaming.program.clone() })?;
        Ok((stdout, streaming))
    }

    /// Starts it with its standard input as a stream; what it says goes to the end of `log`.
    ///
    /// # Errors
    /// The log cannot be opened or the program not be started.
    pub fn stream_in(self, log: &Path) -> Result<(ChildStdin, Streaming), CommandError> {
        let mut streaming = self.start_streaming(log, Stdio::piped(), Stdio::null())?;
        let stdin = streaming.child.stdin.take();
        let stdin = stdin.ok_or_else(|| CommandError::NotFound { program: streaming.program.clone() })?;
        Ok((stdin, streaming))
    }

    fn start_streaming(self, log: &Path, stdin: Stdio, stdout: Stdio) -> Result<Streaming, CommandError> {
        let program = self.program_name();
        let start = |source| CommandError::Start { program: program.clone(), source };
        let errors = OpenOptions::new().append(true).create(true).mode(0o640).open(log).map_err(start)?;
        let mut command = tokio::process::Command::from(self.prepare(&program)?);
        let child =
            command.stdin(stdin).stdout(stdout).stderr(errors).kill_on_drop(true).spawn().map_err(start)?;
        Ok(Streaming { child, program })
    }
}

impl Streaming {
    /// Waits for its end, which has to be a good one.
    ///
    /// # Errors
    /// It ended with anything but success.
    pub async fn finish(mut self) -> Result<(), CommandError> {
        let program = self.program.clone();
        let lost = |source| CommandError::Start { program: program.clone(), source };
        let status = self.child.wait().await.map_err(lost)?;
        if status.success() {
            return Ok(());
        }
        Err(CommandError::Failed { program: self.program, status, stderr: "its log says why".to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    #[tokio::test]
    async fn bytes_go_through_and_a_bad_end_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("log");
        let (mut out, source) =
            Command::new("sh").args(["-c", "printf abc; echo no >&2; exit 3"]).stream_out(&log).unwrap();
        let mut text = String::new();
        out.read_to_string(&mut text).await.unwrap();
        assert_eq!(text, "abc");
        assert!(matches!(source.finish().await, Err(CommandError::Failed { .. })));
        assert_eq!(std::fs::read_to_string(&log).unwrap(), "no\n");
        let copy = folder.path().join("copy");
        let script = format!("cat > {}", copy.display());
        let (mut input, sink) = Command::new("sh").args(["-c", &script]).stream_in(&log).unwrap();
        input.write_all(b"xyz").await.unwrap();
        drop(input);
        sink.finish().await.unwrap();
        assert_eq!(std::fs::read_to_string(copy).unwrap(), "xyz");
    }
}
