//! Which member of the etcd cluster is asked, and when another one is. What is asked is not known here.
//!
//! There is one client for each endpoint instead of one that balances, because a member behind a cut cable does not
//! refuse connections, it swallows requests: a read that has no answer after [`HEDGE`] is asked elsewhere as well, and
//! whoever answers is preferred from then on. A write must not be sent twice, so it goes only to an endpoint that has
//! just answered something. Connections that did not answer are dropped instead of being probed, because etcd ends
//! connections whose HTTP/2 pings come more often than every 5 s.

use std::collections::VecDeque;
use std::fmt;
use std::future::Future;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use etcd_client::{Client, ConnectOptions, Error};
use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use tokio::time::{Instant, sleep, sleep_until, timeout_at};

use super::answers::{Meaning, is_from_member, is_stale_token};
use crate::StoreError;

/// A read that has no answer for so long is sent to the next endpoint too.
const HEDGE: Duration = Duration::from_millis(200);
/// An endpoint that answered so recently may be sent a write. Longer than it takes to decide on a snapshot.
const FRESH: Duration = Duration::from_millis(250);
/// How many endpoints a write is offered to, as a multiple of how many there are.
const ROUNDS: usize = 2;
/// How long after its begin a read may ask someone for the second time, which is the last.
const ROUND_PAUSE: Duration = Duration::from_millis(50);

/// The members of one cluster, and the connections to them.
pub(super) struct Endpoints {
    slots: Vec<Slot>,
    preferred: AtomicUsize,
    connect: ConnectOptions,
}

struct Slot {
    url: String,
    state: Mutex<State>,
    /// Held while connecting, so that many requests at once authenticate once.
    connecting: tokio::sync::Mutex<()>,
}

#[derive(Default)]
struct State {
    client: Option<Client>,
    answered: Option<Instant>,
}

// Not derived: the options hold the password.
impl fmt::Debug for Endpoints {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_list().entries(self.slots.iter().map(|slot| &slot.url)).finish()
    }
}

impl Slot {
    fn state(&self) -> MutexGuard<'_, State> {
        // No code that can panic runs while it is held.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn client(&self, options: &ConnectOptions) -> Result<Client, Error> {
        let known = self.state().client.clone();
        if let Some(client) = known {
            return Ok(client);
        }
        let _turn = self.connecting.lock().await;
        let known = self.state().client.clone();
        if let Some(client) = known {
            return Ok(client);
        }
        let client = Client::connect([self.url.as_str()], Some(options.clone())).await?;
        self.state().client = Some(client.clone());
        Ok(client)
    }

    /// Connects afresh the next time. Requests that are under way keep their connection.
    fn forget(&self) {
        *self.state() = State::default();
    }

    /// What the error means. The connection is given up unless the member has answered on it.
    fn failed(&self, error: &Error) -> Meaning {
        if is_from_member(error) {
            self.state().answered = None;
        } else {
            self.forget();
        }
        Meaning::of(error)
    }

    fn answered(&self) {
        self.state().answered = Some(Instant::now());
    }

    fn is_fresh(&self) -> bool {
        self.state().answered.is_some_and(|when| when.elapsed() < FRESH)
    }

    /// Asks this endpoint, once more if it wants a new token.
    async fn ask<T, Call, Answer>(&self, options: &ConnectOptions, call: &Call) -> Result<T, Error>
    where
        Call: Fn(Client) -> Answer,
        Answer: Future<Output = Result<T, Error>>,
    {
        let client = self.client(options).await?;
        match Box::pin(call(client.clone())).await {
            Err(Error::GRpcStatus(status)) if is_stale_token(status.message()) => {
                client.refresh_token().await?;
                Box::pin(call(client)).await
            }
            other => other,
        }
    }
}

/// One request: until when, and what went wrong so far.
struct Attempt {
    began: Instant,
    timeout: Duration,
    reasons: Vec<String>,
}

impl Attempt {
    fn new(timeout: Duration) -> Self {
        Self { began: Instant::now(), timeout, reasons: Vec::new() }
    }

    fn deadline(&self) -> Instant {
        self.began + self.timeout
    }

    fn note(&mut self, url: &str, reason: &str) {
        let reason = format!("{url}: {reason}");
        if !self.reasons.contains(&reason) {
            self.reasons.push(reason);
        }
    }

    fn unreachable(&self) -> StoreError {
        StoreError::Unreachable { reason: self.reasons.join("; ") }
    }
}

impl Endpoints {
    pub(super) fn new(urls: &[String], connect: ConnectOptions) -> Arc<Self> {
        let slot = |url: &String| Slot {
            url: url.clone(),
            state: Mutex::default(),
            connecting: tokio::sync::Mutex::new(()),
        };
        let slots = urls.iter().map(slot).collect();
        Arc::new(Self { slots, preferred: AtomicUsize::new(0), connect })
    }

    /// Every endpoint, the preferred one first, with its number.
    fn in_order(&self) -> impl Iterator<Item = (usize, &Slot)> {
        let first = self.preferred.load(Ordering::Relaxed);
        self.slots.iter().enumerate().cycle().skip(first).take(self.slots.len())
    }

    /// Prefers the endpoint after this one, unless another one has been preferred meanwhile.
    fn avoid(&self, index: usize) {
        let next = (index + 1) % self.slots.len().max(1);
        // Failure means that it is not preferred any more, which is what was wanted.
        let _ = self.preferred.compare_exchange(index, next, Ordering::Relaxed, Ordering::Relaxed);
    }

    /// Asks until someone answers: the next one as soon as the last failed or was silent, and each at most twice. For
    /// what may safely be asked twice.
    pub(super) async fn read<T, Call, Answer>(&self, timeout: Duration, call: Call) -> Result<T, StoreError>
    where
        Call: Fn(Client) -> Answer,
        Answer: Future<Output = Result<T, Error>>,
    {
        let mut attempt = Attempt::new(timeout);
        // Nobody is asked again at once: most of what passes takes a moment.
        let (now, later) = (attempt.began, attempt.began + ROUND_PAUSE);
        let mut waiting: VecDeque<(usize, &Slot, Instant)> = VecDeque::new();
        for from in [now, later] {
            waiting.extend(self.in_order().map(|(index, slot)| (index, slot, from)));
        }
        let mut asked = FuturesUnordered::new();
        let mut silent: Vec<(usize, Instant)> = Vec::new();
        loop {
            // The last one has failed, or was silent for long enough. Who is still silent is not asked twice.
            let is_silent = |index: usize| silent.iter().any(|(other, _)| *other == index);
            while waiting.pop_front_if(|(index, ..)| is_silent(*index)).is_some() {}
            if let Some((index, slot, from)) = waiting.pop_front() {
                silent.push((index, Instant::now()));
                let call = &call;
                asked.push(async move {
                    sleep_until(from).await;
                    (index, slot, slot.ask(&self.connect, call).await)
                });
            }
            tokio::select! {
                biased;
                answer = asked.next() => {
                    let Some((index, slot, answer)) = answer else { return Err(attempt.unreachable()) };
                    silent.retain(|(other, _)| *other != index);
                    match answer.map_err(|error| slot.failed(&error)) {
                        Ok(value) => {
                            slot.answered();
                            self.preferred.store(index, Ordering::Relaxed);
                            self.give_up(&silent, timeout);
                            return Ok(value);
                        }
                        Err(Meaning::Final(error)) => return Err(error),
                        Err(Meaning::TryAnother(reason) | Meaning::Unsure(reason)) => {
                            attempt.note(&slot.url, &reason);
                            self.avoid(index);
                        }
                    }
                }
                () = sleep(HEDGE), if !waiting.is_empty() => {}
                () = sleep_until(attempt.deadline()) => {
                    self.give_up(&silent, timeout);
                    return Err(StoreError::Timeout { after: timeout });
                }
            }
        }
    }

    /// Drops the connections of endpoints that were silent for half of the request timeout.
    fn give_up(&self, silent: &[(usize, Instant)], timeout: Duration) {
        for (index, since) in silent {
            if since.elapsed() >= timeout / 2
                && let Some(slot) = self.slots.get(*index)
            {
                slot.forget();
                self.avoid(*index);
            }
        }
    }

    /// Sends a write to one endpoint, and to another one only if the first has certainly not done it. `probe` is a
    /// harmless read that finds an endpoint to write to.
    pub(super) async fn write<T, Call, Answer, Probe, Probed>(
        &self,
        timeout: Duration,
        probe: Probe,
        call: Call,
    ) -> Result<T, StoreError>
    where
        Call: Fn(Client) -> Answer,
        Answer: Future<Output = Result<T, Error>>,
        Probe: Fn(Client) -> Probed,
        Probed: Future<Output = Result<(), Error>>,
    {
        let mut attempt = Attempt::new(timeout);
        for _ in 0..ROUNDS * self.slots.len() {
            let fresh = self.in_order().next().is_some_and(|(_, slot)| slot.is_fresh());
            if !fresh {
                // Nothing is sent yet: its errors are those of the write.
                let left = attempt.deadline().saturating_duration_since(Instant::now());
                self.read(left, &probe).await.map_err(|error| not_sent(error, timeout))?;
            }
            let Some((index, slot)) = self.in_order().next() else { break };
            match self.write_to(index, slot, &mut attempt, &call).await? {
                Some(value) => return Ok(value),
                None => self.avoid(index),
            }
        }
        Err(attempt.unreachable())
    }

    /// `None`: certainly not done by this endpoint.
    async fn write_to<T, Call, Answer>(
        &self,
        index: usize,
        slot: &Slot,
        attempt: &mut Attempt,
        call: &Call,
    ) -> Result<Option<T>, StoreError>
    where
        Call: Fn(Client) -> Answer,
        Answer: Future<Output = Result<T, Error>>,
    {
        let connected = timeout_at(attempt.deadline(), slot.client(&self.connect)).await;
        let connected = connected.map_err(|_| StoreError::Timeout { after: attempt.timeout })?;
        let answer = match connected {
            Ok(client) => timeout_at(attempt.deadline(), Box::pin(call(client))).await,
            Err(error) => {
                // To connect is to authenticate at most, so that also an unsure failure has written nothing.
                return match slot.failed(&error) {
                    Meaning::Final(error) => Err(error),
                    Meaning::TryAnother(reason) | Meaning::Unsure(reason) => {
                        attempt.note(&slot.url, &reason);
                        Ok(None)
                    }
                };
            }
        };
        let Ok(answer) = answer else {
            slot.forget();
            self.avoid(index);
            let reason = format!("{}: no answer within {} ms", slot.url, attempt.timeout.as_millis());
            return Err(StoreError::Unknown { reason });
        };
        match answer.map_err(|error| slot.failed(&error)) {
            Ok(value) => {
                slot.answered();
                Ok(Some(value))
            }
            Err(Meaning::Final(error)) => Err(error),
            Err(Meaning::TryAnother(reason)) => {
                attempt.note(&slot.url, &reason);
                Ok(None)
            }
            Err(Meaning::Unsure(reason)) => {
                self.avoid(index);
                Err(StoreError::Unknown { reason: format!("{}: {reason}", slot.url) })
            }
        }
    }
}

/// What the probe's failure is for the write: the same, with the write's own time limit.
fn not_sent(error: StoreError, timeout: Duration) -> StoreError {
    if matches!(error, StoreError::Timeout { .. }) { StoreError::Timeout { after: timeout } } else { error }
}
