//! The supervisor of a server where there is no systemd: starts it, starts it again when it dies, gives up when
//! it dies too often, and stops it when told to.
//!
//! There is one supervisor per service, held by a lock. A supervisor that was killed leaves its server running;
//! the next one adopts it. A server that was shut down from inside (exit code 0) is left down, as systemd's
//! `Restart=on-failure` does. Health beyond "the process runs" is not looked at here.

use std::collections::VecDeque;
use std::future::Future;
use std::io;
use std::time::{Duration, Instant};

use tokio::signal::unix::{SignalKind, signal};

use crate::files;
use crate::lock::{ApplyLock, LockError};
use crate::process::{ProcessId, Signal};
use crate::service::{ProcessService, ServiceError};

/// How long another supervisor's end is waited for.
const LOCK_WAIT: Duration = Duration::from_secs(1);

/// Pause between two tries for the lock.
const LOCK_PAUSE: Duration = Duration::from_millis(50);

/// When a server that dies is no longer started again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RestartLimit {
    /// So many deaths ...
    pub deaths_max: usize,
    /// ... within this time end the supervision.
    pub window: Duration,
    /// Pause before the first restart; each further one in the window doubles it.
    pub pause_first: Duration,
    /// Longest pause.
    pub pause_max: Duration,
}

impl Default for RestartLimit {
    /// Five deaths in five minutes; pauses from one second to 30.
    fn default() -> Self {
        Self {
            deaths_max: 5,
            window: Duration::from_secs(300),
            pause_first: Duration::from_secs(1),
            pause_max: Duration::from_secs(30),
        }
    }
}

/// Why supervision ended without an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// It was told to stop, and the server has ended.
    Stopped,
    /// The server was shut down from inside.
    ShutDown,
}

/// A future that ends with SIGTERM or SIGINT. The signals are caught from this call on, so that one which comes
/// before the future is first waited for is not lost.
///
/// # Errors
/// The signals cannot be listened to.
pub fn stop_signal() -> io::Result<impl Future<Output = ()>> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}

/// Supervises the service until `stop` comes (SIGTERM is then passed on and the server's end waited for, however
/// long it takes), the server shuts itself down, or it dies too often.
///
/// # Errors
/// Another supervisor is there, the server cannot be started, or it dies too often.
pub async fn supervise(
    service: &ProcessService,
    limit: &RestartLimit,
    stop: impl Future<Output = ()>,
) -> Result<Ended, ServiceError> {
    let _place = take_place(service).await?;
    let mut stop = Box::pin(stop);
    let mut deaths = Deaths::default();
    loop {
        let adopted = service.is_running()?;
        let server = service.start_detached()?;
        tracing::info!(pid = server.pid, adopted, "server runs");
        let exit_code = tokio::select! {
            () = &mut stop => return pass_on(service, server).await,
            ended = server.ended() => ended.map_err(|source| ServiceError::Process { pid: server.pid, source })?,
        };
        files::remove(&service.pid_file)?;
        if exit_code == Some(0) {
            tracing::info!(pid = server.pid, "server was shut down");
            return Ok(Ended::ShutDown);
        }
        let Some(pause) = deaths.pause(Instant::now(), limit) else {
            return Err(ServiceError::KeepsDying {
                deaths: limit.deaths_max,
                window_seconds: limit.window.as_secs(),
                log_file: service.log_file.clone(),
            });
        };
        tracing::warn!(
            pid = server.pid,
            ?exit_code,
            pause_ms = pause.as_millis(),
            "server died; starting it again"
        );
        tokio::select! {
            () = &mut stop => return Ok(Ended::Stopped),
            () = tokio::time::sleep(pause) => {}
        }
    }
}

/// Takes the supervisor's lock. Someone who looks whether it is held holds it for a moment, so it is tried again.
async fn take_place(service: &ProcessService) -> Result<ApplyLock, ServiceError> {
    let deadline = Instant::now() + LOCK_WAIT;
    loop {
        match ApplyLock::acquire(&service.supervisor_file(), Duration::ZERO) {
            Err(LockError::Held { .. }) if Instant::now() < deadline => {
                tokio::time::sleep(LOCK_PAUSE).await;
            }
            other => return Ok(other?),
        }
    }
}

async fn pass_on(service: &ProcessService, server: ProcessId) -> Result<Ended, ServiceError> {
    let lost = |source| ServiceError::Process { pid: server.pid, source };
    server.signal(Signal::TERM).map_err(lost)?;
    server.ended().await.map_err(lost)?;
    files::remove(&service.pid_file)?;
    tracing::info!(pid = server.pid, "server stopped");
    Ok(Ended::Stopped)
}

/// When the server died, as far back as the window reaches.
#[derive(Default)]
struct Deaths(VecDeque<Instant>);

impl Deaths {
    /// Notes a death. Returns the pause before the next start, or `None` when there is to be none.
    fn pause(&mut self, now: Instant, limit: &RestartLimit) -> Option<Duration> {
        self.0.push_back(now);
        while self.0.front().is_some_and(|first| now.duration_since(*first) > limit.window) {
            self.0.pop_front();
        }
        let doublings = u32::try_from(self.0.len().saturating_sub(1)).unwrap_or(u32::MAX).min(16);
        let pause = limit.pause_first.saturating_mul(1 << doublings).min(limit.pause_max);
        (self.0.len() < limit.deaths_max).then_some(pause)
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use tokio::sync::oneshot;

    use super::*;

    const QUICK: RestartLimit = RestartLimit {
        deaths_max: 3,
        window: Duration::from_secs(60),
        pause_first: Duration::from_millis(10),
        pause_max: Duration::from_millis(20),
    };

    fn service(folder: &Path, script: &str) -> ProcessService {
        ProcessService {
            command: ["sh", "-c", script].map(str::to_owned).to_vec(),
            pid_file: folder.join("server.pid"),
            log_file: folder.join("server.log"),
            user: None,
        }
    }

    async fn running(service: &ProcessService, not: Option<ProcessId>) -> ProcessId {
        let deadline = Instant::now() + Duration::from_secs(10);
        loop {
            match service.pid().unwrap() {
                Some(process) if Some(process) != not => return process,
                Some(_) | None => assert!(Instant::now() < deadline, "the server does not run"),
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    #[test]
    fn pauses_double_and_end() {
        let limit = RestartLimit::default();
        let start = Instant::now();
        let mut deaths = Deaths::default();
        let pauses: Vec<Option<u64>> = (0..5)
            .map(|n| deaths.pause(start + Duration::from_secs(n), &limit).map(|p| p.as_secs()))
            .collect();
        assert_eq!(pauses, [Some(1), Some(2), Some(4), Some(8), None]);
        let later = start + Duration::from_secs(400);
        assert_eq!(deaths.pause(later, &limit), Some(Duration::from_secs(1)), "old deaths are forgotten");
    }

    #[tokio::test]
    async fn a_killed_server_is_started_again_and_stopped_on_request() {
        let folder = tempfile::tempdir().unwrap();
        let service = service(folder.path(), "exec sleep 100");
        let (stop, stopped) = oneshot::channel::<()>();
        let supervised = supervise(&service, &QUICK, async { drop(stopped.await) });
        let operator = async {
            let first = running(&service, None).await;
            first.signal(Signal::KILL).unwrap();
            let second = running(&service, Some(first)).await;
            assert_eq!(service.supervisor().unwrap(), Some(ProcessId::own().unwrap()));
            let rival = supervise(&service, &QUICK, std::future::pending()).await;
            assert!(matches!(rival, Err(ServiceError::Lock(_))), "{rival:?}");
            stop.send(()).unwrap();
            second
        };
        let (ended, second) = tokio::join!(supervised, operator);
        assert_eq!(ended.unwrap(), Ended::Stopped);
        assert!(!second.is_alive());
        assert_eq!(service.supervisor().unwrap(), None);
        assert!(!service.pid_file.exists());
    }

    #[tokio::test]
    async fn a_server_that_keeps_dying_is_given_up() {
        let folder = tempfile::tempdir().unwrap();
        let service = service(folder.path(), "echo started; exit 1");
        let error = supervise(&service, &QUICK, std::future::pending()).await.unwrap_err();
        assert!(matches!(error, ServiceError::KeepsDying { deaths: 3, .. }), "{error}");
        let log = std::fs::read_to_string(&service.log_file).unwrap();
        assert_eq!(log, "started\n".repeat(3));
    }

    #[tokio::test]
    async fn a_server_shut_down_from_inside_stays_down() {
        let folder = tempfile::tempdir().unwrap();
        let service = service(folder.path(), "exit 0");
        let ended = supervise(&service, &QUICK, std::future::pending()).await.unwrap();
        assert_eq!(ended, Ended::ShutDown);
    }

    #[tokio::test]
    async fn a_running_server_is_adopted() {
        let folder = tempfile::tempdir().unwrap();
        let service = service(folder.path(), "exec sleep 100");
        let before = service.start_detached().unwrap();
        let ended = supervise(&service, &QUICK, std::future::ready(())).await.unwrap();
        assert_eq!(ended, Ended::Stopped);
        assert!(!before.is_alive(), "the adopted server is the one that was stopped");
    }

    /// Not a test by itself: the process that the next test starts as its supervisor.
    #[tokio::test]
    async fn acts_as_supervisor() {
        let Some(folder) = std::env::var_os("MAINSTAY_TEST_SUPERVISE") else { return };
        let stop = stop_signal().unwrap();
        let service = service(Path::new(&folder), "exec sleep 100");
        let ended = supervise(&service, &QUICK, stop).await;
        assert_eq!(ended.unwrap(), Ended::Stopped);
    }

    #[tokio::test]
    async fn stopping_the_service_ends_supervisor_and_server() {
        let folder = tempfile::tempdir().unwrap();
        let service = service(folder.path(), "exec sleep 100");
        let words = [
            "env",
            &format!("MAINSTAY_TEST_SUPERVISE={}", folder.path().display()),
            &std::env::current_exe().unwrap().display().to_string(),
            "--exact",
            "supervise::tests::acts_as_supervisor",
        ]
        .map(str::to_owned);
        let supervisor = service.start_supervised(&words).await.unwrap();
        assert_ne!(supervisor.pid, std::process::id());
        assert_eq!(service.start_supervised(&words).await.unwrap(), supervisor, "there is one already");
        let server = running(&service, None).await;
        let facts::Seen::Known(facts) = service.facts() else { panic!("{:?}", service.facts()) };
        assert!(facts.running && facts.enabled);
        service.stop(Duration::from_secs(20)).await.unwrap();
        assert!(!supervisor.is_alive() && !server.is_alive());

        let broken = ["sh", "-c", "echo no such verb; exit 2"].map(str::to_owned);
        let error = service.start_supervised(&broken).await.unwrap_err();
        assert!(matches!(error, ServiceError::NoSupervisor { .. }), "{error}");
        assert!(std::fs::read_to_string(&service.log_file).unwrap().contains("no such verb"));
    }
}
