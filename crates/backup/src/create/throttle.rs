//! Holding back while the server suffers: one session that looks once a second. It ends nothing, and holds nothing back
//! for ever.

use std::sync::Arc;
use std::time::Duration;

use server::{Connection, Limits, ServerError, Sql, Target, sessions};
use tokio::time::Instant;

use super::error::{CreateError, During};
use super::options::Throttle;
use super::progress::Progress;

const LOOK: Duration = Duration::from_secs(1);
/// Longest that a look may take.
const LOOK_LIMIT: Duration = Duration::from_secs(10);
/// Longest that the dump stands still at a stretch: what its snapshot keeps the server from forgetting is a load as well.
const HELD_MAX: Duration = Duration::from_secs(600);
/// The same while the server cannot be looked at: where it is gone, only the dump finds out.
const UNSEEN_MAX: Duration = Duration::from_secs(30);
/// How long the dump then reads, however the server does.
const READ_LEAST: Duration = Duration::from_secs(60);

/// Looks until it is dropped.
#[derive(Debug)]
pub(crate) struct Watch {
    task: Option<tokio::task::JoinHandle<()>>,
}

impl Drop for Watch {
    fn drop(&mut self) {
        if let Some(task) = &self.task {
            task.abort();
        }
    }
}

/// Begins to look, where there is something to look for. The sessions that read are none of the load.
///
/// # Errors
/// The login may not see what it has to look at.
pub(crate) async fn watch(
    target: &Target,
    limits: &Limits,
    throttle: Throttle,
    readers: &[Connection],
    progress: &Arc<Progress>,
) -> Result<Watch, CreateError> {
    if throttle == Throttle::default() {
        return Ok(Watch { task: None });
    }
    let mut watcher = Watcher {
        target: target.clone(),
        limits: Limits { statement: LOOK_LIMIT, ..*limits },
        throttle,
        readers: readers.iter().map(|reader| u64::from(reader.connection_id())).collect(),
        connection: None,
        has_said_unseen: false,
        has_said_let_go: false,
    };
    let seen = watcher.suffers().await.during(|| "see how busy the server is, to hold back".to_owned())?;
    let (begun, progress) = (Instant::now(), Arc::clone(progress));
    let mut stand = Stand::Reads.after(Sight::of(seen), Duration::ZERO);
    progress.hold_back(stand.is_held());
    let task = tokio::spawn(async move {
        loop {
            tokio::time::sleep(LOOK).await;
            let sight = watcher.look().await;
            let next = stand.after(sight, begun.elapsed());
            if matches!((stand, next), (Stand::Held { .. }, Stand::LetGo { .. })) {
                watcher.say_let_go(sight);
            }
            stand = next;
            progress.hold_back(stand.is_held());
        }
    });
    Ok(Watch { task: Some(task) })
}

/// What a look has shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sight {
    Well,
    Suffers,
    Unseen,
}

impl Sight {
    const fn of(suffers: bool) -> Self {
        if suffers { Self::Suffers } else { Self::Well }
    }
}

/// What the dump does, and since when, as the time from the beginning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stand {
    Reads,
    Held { since: Duration },
    LetGo { since: Duration },
}

impl Stand {
    const fn is_held(self) -> bool {
        matches!(self, Self::Held { .. })
    }

    /// What it does after a look.
    fn after(self, sight: Sight, now: Duration) -> Self {
        let longest = match sight {
            Sight::Well => return Self::Reads,
            Sight::Suffers => HELD_MAX,
            Sight::Unseen => UNSEEN_MAX,
        };
        match self {
            Self::Held { since } if now.saturating_sub(since) < longest => self,
            Self::Held { .. } => Self::LetGo { since: now },
            Self::LetGo { since } if now.saturating_sub(since) < READ_LEAST => self,
            Self::Reads | Self::LetGo { .. } => Self::Held { since: now },
        }
    }
}

struct Watcher {
    target: Target,
    limits: Limits,
    throttle: Throttle,
    /// The sessions that read, by the server's numbers.
    readers: Vec<u64>,
    /// None before the first look, and after one that failed.
    connection: Option<Connection>,
    has_said_unseen: bool,
    has_said_let_go: bool,
}

impl Watcher {
    async fn look(&mut self) -> Sight {
        match self.suffers().await {
            Ok(suffers) => Sight::of(suffers),
            Err(error) => {
                if !std::mem::replace(&mut self.has_said_unseen, true) {
                    tracing::warn!(%error, "cannot see how busy the server is: holding back, and trying again");
                }
                Sight::Unseen
            }
        }
    }

    fn say_let_go(&mut self, sight: Sight) {
        if sight == Sight::Suffers && !std::mem::replace(&mut self.has_said_let_go, true) {
            let (held, reads) = (HELD_MAX.as_secs(), READ_LEAST.as_secs());
            tracing::warn!(
                "the server has been over the limits for {held} s: an old snapshot burdens it too, so {reads} s are \
                 read now, and again after each {held} s"
            );
        }
    }

    /// Whether the server is over a limit. A session that failed is not used again.
    async fn suffers(&mut self) -> Result<bool, ServerError> {
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => self.open().await?,
        };
        let suffers = self.is_over(&mut connection).await?;
        self.connection = Some(connection);
        Ok(suffers)
    }

    async fn open(&self) -> Result<Connection, ServerError> {
        let mut connection = Connection::open(&self.target, &self.limits).await?;
        if self.throttle.running_max.is_some() {
            sessions::see_everybody(&mut connection).await?;
        }
        Ok(connection)
    }

    async fn is_over(&self, connection: &mut Connection) -> Result<bool, ServerError> {
        if let Some(most) = self.throttle.running_max
            && sessions::running(connection, &self.readers).await? > most
        {
            return Ok(true);
        }
        let Some(most) = self.throttle.lag_max else { return Ok(false) };
        let statements = connection.flavor().statements();
        let rows = connection.query(&Sql::plain(statements.replica_status())).await?;
        let column = statements.replica_columns().seconds_behind;
        // NULL is a replica that does not run: it has no lag that waiting would help.
        let lag = rows.iter().filter_map(|row| row.parsed::<u64>(column)).max().unwrap_or(0);
        if Duration::from_secs(lag) <= most {
            return Ok(false);
        }
        // A change of a definition may wait until the dump has ended: holding back for it would hold it up.
        Ok(!sessions::waits_for_others(connection).await?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the dump does in each second of one sight after the other, as letters.
    fn told(looks: &[(Sight, u64)]) -> String {
        let (mut stand, mut now, mut told) = (Stand::Reads, 0, String::new());
        for &(sight, seconds) in looks {
            for _ in 0..seconds {
                stand = stand.after(sight, Duration::from_secs(now));
                now += 1;
                told.push(match stand {
                    Stand::Reads => 'r',
                    Stand::Held { .. } => 'h',
                    Stand::LetGo { .. } => 'l',
                });
            }
        }
        told
    }

    #[test]
    fn it_holds_back_while_the_server_suffers_and_never_for_ever() {
        assert_eq!(told(&[(Sight::Well, 2), (Sight::Suffers, 3), (Sight::Well, 1)]), "rrhhhr");
        let long = told(&[(Sight::Suffers, 1400)]);
        assert_eq!(
            long,
            ["h".repeat(600), "l".repeat(60), "h".repeat(600), "l".repeat(60), "h".repeat(80)].concat()
        );
    }

    #[test]
    fn what_is_not_seen_is_held_back_but_not_for_long() {
        let unseen = told(&[(Sight::Unseen, 100)]);
        assert_eq!(unseen, ["h".repeat(30), "l".repeat(60), "h".repeat(10)].concat());
        // It may be gone: what waits for it is to find out.
        assert_eq!(
            told(&[(Sight::Suffers, 40), (Sight::Unseen, 2)]),
            ["h".repeat(40), "ll".to_owned()].concat()
        );
        // Seen again while it reads on, it is done as is seen.
        assert_eq!(
            told(&[(Sight::Unseen, 32), (Sight::Well, 1), (Sight::Suffers, 1)]),
            ["h".repeat(30), "llrh".to_owned()].concat()
        );
    }
}
