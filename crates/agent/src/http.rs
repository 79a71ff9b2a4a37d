//! HTTP: health for proxies, and the API for people and for other agents.
//!
//! Health is plain HTTP with a status and a few words, answered from memory. The API is HTTPS with a bearer token;
//! it only asks the store for what an operator wants, and never acts itself.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{DefaultBodyLimit, Query, Request, State};
use axum::http::{StatusCode, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use axum_server::tls_rustls::RustlsConfig;
use ha::{Ask, NodeName};
use secrecy::{ExposeSecret as _, SecretString};
use serde::{Deserialize, Serialize};
use serde_json::json;
use store::Store;
use subtle::ConstantTimeEq as _;
use tokio::io::AsyncWriteExt as _;
use tokio::sync::Notify;

use crate::config::Config;
use crate::error::AgentError;
use crate::operate;
use crate::shown::{HealthReport, Role, Shown};

/// A look at the node older than this says nothing about it.
const STALE_MS: u64 = 10_000;
/// For an agent check, and after one that could not be taken, such as for want of file descriptors.
const CHECK_LIMIT: Duration = Duration::from_millis(200);
const BODY_BYTES_MAX: usize = 64 << 10;

/// What handlers need.
#[derive(Clone)]
pub(crate) struct Api {
    pub(crate) config: Arc<Config>,
    pub(crate) store: Store,
    pub(crate) shown: Arc<Shown>,
    pub(crate) wake: Arc<Notify>,
    pub(crate) token: SecretString,
}

/// Listens for health checks until dropped.
///
/// # Errors
/// An address cannot be listened on.
pub(crate) async fn serve_health(addresses: &[SocketAddr], shown: Arc<Shown>) -> Result<(), AgentError> {
    let app = health_routes(shown);
    for address in addresses {
        let listener = tokio::net::TcpListener::bind(address)
            .await
            .map_err(AgentError::system(format!("listening for health checks on {address}")))?;
        let app = app.clone();
        tokio::spawn(async move { axum::serve(listener, app).await });
    }
    Ok(())
}

/// Tells whoever connects, in HAProxy's words, whether this node is primary (HAProxy manual, `agent-check`).
///
/// # Errors
/// An address cannot be listened on.
pub(crate) async fn serve_agent_checks(
    addresses: &[SocketAddr],
    shown: &Arc<Shown>,
) -> Result<(), AgentError> {
    for address in addresses {
        let listener = tokio::net::TcpListener::bind(address)
            .await
            .map_err(AgentError::system(format!("listening for agent checks on {address}")))?;
        tokio::spawn(answer_agent_checks(listener, shown.clone()));
    }
    Ok(())
}

async fn answer_agent_checks(listener: tokio::net::TcpListener, shown: Arc<Shown>) {
    loop {
        match listener.accept().await {
            // One after the other: a few bytes fit what the kernel buffers, whether anybody reads them or not.
            Ok((mut stream, _)) => {
                let written = stream.write_all(agent_word(&shown).as_bytes());
                drop(tokio::time::timeout(CHECK_LIMIT, written).await);
            }
            Err(error) => {
                tracing::warn!(%error, "an agent check was not answered");
                tokio::time::sleep(CHECK_LIMIT).await;
            }
        }
    }
}

/// Listens for the API: over TLS with the node's certificate, or in the clear on loopback alone.
///
/// # Errors
/// An address cannot be listened on, the certificate cannot be used, or there is none and an address is not loopback.
pub(crate) async fn serve_api(addresses: &[SocketAddr], api: Api) -> Result<(), AgentError> {
    let tls = match &api.config.spec.tls {
        Some(tls) => {
            let (cert, key) = (tls.dir.join("server-cert.pem"), tls.dir.join("server-key.pem"));
            let config = RustlsConfig::from_pem_file(&cert, &key)
                .await
                .map_err(|error| AgentError::Tls(format!("{}: {error}", cert.display())))?;
            tokio::spawn(renew_certificate(config.clone(), cert, key));
            Some(config)
        }
        None => None,
    };
    let app = api_routes(api);
    for address in addresses {
        let listener = std::net::TcpListener::bind(address)
            .map_err(AgentError::system(format!("listening for the API on {address}")))?;
        listener.set_nonblocking(true).map_err(AgentError::system("listening for the API"))?;
        let service = app.clone().into_make_service();
        match &tls {
            Some(config) => {
                let server = axum_server::from_tcp_rustls(listener, config.clone())
                    .map_err(AgentError::system("listening for the API"))?;
                tokio::spawn(server.serve(service));
            }
            None if address.ip().is_loopback() => {
                let server =
                    axum_server::from_tcp(listener).map_err(AgentError::system("listening for the API"))?;
                tokio::spawn(server.serve(service));
            }
            None => {
                return Err(AgentError::config(
                    format!("the API would listen on {address} without TLS"),
                    "enable [tls], run `mainstay apply`, or bind it to loopback",
                ));
            }
        }
    }
    Ok(())
}

/// `mainstay apply` renews certificates in place: they are read again every hour.
async fn renew_certificate(config: RustlsConfig, cert: std::path::PathBuf, key: std::path::PathBuf) {
    loop {
        tokio::time::sleep(Duration::from_secs(3_600)).await;
        if let Err(error) = config.reload_from_pem_file(&cert, &key).await {
            tracing::warn!(%error, "the API's certificate was not read again");
        }
    }
}

fn health_routes(shown: Arc<Shown>) -> Router {
    Router::new()
        .route("/", get(primary))
        .route("/primary", get(primary))
        .route("/leader", get(primary))
        .route("/master", get(primary))
        .route("/read-write", get(primary))
        .route("/replica", get(replica))
        .route("/secondary", get(replica))
        .route("/read-only", get(read_only))
        .route("/health", get(health))
        .route("/liveness", get(liveness))
        .route("/readiness", get(readiness))
        .route("/agent-check", get(agent_check))
        .with_state(shown)
}

fn answer(good: bool, report: &HealthReport) -> Response {
    let status = if good { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(report)).into_response()
}

async fn primary(State(shown): State<Arc<Shown>>) -> Response {
    let report = shown.health();
    answer(report.role == Role::Primary, &report)
}

#[derive(Deserialize)]
struct Lag {
    lag: Option<String>,
}

/// Seconds, written as `10`, `10s` or `2m`.
fn seconds(text: &str) -> Option<u64> {
    let text = text.trim();
    if let Some(minutes) = text.strip_suffix('m') {
        return minutes.parse::<u64>().ok()?.checked_mul(60);
    }
    text.strip_suffix('s').unwrap_or(text).parse().ok()
}

async fn replica(State(shown): State<Arc<Shown>>, Query(query): Query<Lag>) -> Response {
    let report = shown.health();
    let Ok(limit) = query.lag.as_deref().map(|text| seconds(text).ok_or(())).transpose() else {
        return (StatusCode::BAD_REQUEST, "lag: seconds, such as 10 or 10s\n").into_response();
    };
    answer(is_replica(&report, limit), &report)
}

fn is_replica(report: &HealthReport, limit: Option<u64>) -> bool {
    let in_time = limit.is_none_or(|limit| report.lag_seconds.is_some_and(|lag| lag <= limit));
    report.role == Role::Replica && in_time && report.looked_ms_ago < STALE_MS
}

async fn read_only(State(shown): State<Arc<Shown>>, Query(query): Query<Lag>) -> Response {
    let report = shown.health();
    let limit = query.lag.as_deref().and_then(seconds);
    answer(report.role == Role::Primary || is_replica(&report, limit), &report)
}

async fn health(State(shown): State<Arc<Shown>>) -> Response {
    let report = shown.health();
    let runs = report.server == Some(ha::Health::Running) && report.looked_ms_ago < STALE_MS;
    answer(runs, &report)
}

async fn liveness(State(shown): State<Arc<Shown>>) -> Response {
    let report = shown.health();
    answer(report.looked_ms_ago < STALE_MS, &report)
}

async fn readiness(State(shown): State<Arc<Shown>>) -> Response {
    let report = shown.health();
    answer(report.role != Role::None, &report)
}

async fn agent_check(State(shown): State<Arc<Shown>>) -> &'static str {
    agent_word(&shown)
}

/// What HAProxy's `agent-check` is told.
fn agent_word(shown: &Shown) -> &'static str {
    if shown.is_primary() { "up ready\n" } else { "down\n" }
}

fn api_routes(api: Api) -> Router {
    Router::new()
        .route("/cluster", get(cluster))
        .route("/explain", get(explain))
        .route("/history", get(history))
        .route("/switchover", post(switchover))
        .route("/failover", post(failover))
        .route("/reinit", post(reinit))
        .route("/pause", post(pause))
        .route("/resume", post(resume))
        .route("/maintenance", post(maintenance))
        .route("/cancel", post(cancel))
        .route("/failsafe", post(failsafe))
        .route("/seed", get(crate::reseed::seed))
        .layer(from_fn_with_state(api.clone(), only_with_token))
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .with_state(api)
}

async fn only_with_token(State(api): State<Api>, request: Request<Body>, next: Next) -> Response {
    let given = request
        .headers()
        .get(header::AUTHORIZATION)
        .and_then(|value| value.as_bytes().strip_prefix(b"Bearer "))
        .unwrap_or_default();
    let wanted = api.token.expose_secret().as_bytes();
    if bool::from(given.ct_eq(wanted)) {
        return next.run(request).await;
    }
    failure(StatusCode::UNAUTHORIZED, "the token is missing or wrong")
}

fn failure(status: StatusCode, reason: impl Into<String>) -> Response {
    (status, Json(json!({ "error": reason.into() }))).into_response()
}

fn answered<T: Serialize>(result: Result<T, AgentError>) -> Response {
    match result {
        Ok(value) => Json(value).into_response(),
        Err(error @ AgentError::Refused(_)) => failure(StatusCode::CONFLICT, error.to_string()),
        Err(error @ AgentError::Config { .. }) => failure(StatusCode::BAD_REQUEST, error.to_string()),
        Err(error) => failure(StatusCode::SERVICE_UNAVAILABLE, error.to_string()),
    }
}

async fn cluster(State(api): State<Api>) -> Response {
    answered(operate::view(&api.store).await)
}

async fn explain(State(api): State<Api>) -> Response {
    Json(api.shown.explained()).into_response()
}

async fn history(State(api): State<Api>) -> Response {
    answered(operate::history(&api.store).await)
}

/// Whom a request names.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Named {
    node: Option<String>,
    /// The epoch the asker looked at.
    epoch: Option<u64>,
    #[serde(default)]
    on: bool,
    #[serde(default)]
    by: String,
}

impl Named {
    fn node(&self) -> Result<NodeName, AgentError> {
        let name = self.node.as_deref().ok_or_else(|| AgentError::config("`node` is missing", "name it"))?;
        Ok(NodeName::new(name))
    }
}

async fn ask(api: &Api, named: &Named, ask: Ask) -> Response {
    let outcome = operate::ask(&api.store, &api.config, ask, named.epoch, &named.by).await;
    api.wake.notify_one();
    answered(outcome)
}

async fn switchover(State(api): State<Api>, Json(named): Json<Named>) -> Response {
    let to = named.node.as_deref().map(NodeName::new);
    ask(&api, &named, Ask::Switchover { to }).await
}

async fn failover(State(api): State<Api>, Json(named): Json<Named>) -> Response {
    match named.node() {
        Ok(to) => ask(&api, &named, Ask::Failover { to }).await,
        Err(error) => answered::<()>(Err(error)),
    }
}

async fn reinit(State(api): State<Api>, Json(named): Json<Named>) -> Response {
    match named.node() {
        Ok(node) => ask(&api, &named, Ask::Reinit { node }).await,
        Err(error) => answered::<()>(Err(error)),
    }
}

async fn pause(State(api): State<Api>) -> Response {
    answered(operate::pause(&api.store, true).await)
}

async fn resume(State(api): State<Api>) -> Response {
    answered(operate::pause(&api.store, false).await)
}

async fn cancel(State(api): State<Api>) -> Response {
    answered(operate::cancel(&api.store).await)
}

async fn maintenance(State(api): State<Api>, Json(named): Json<Named>) -> Response {
    match named.node() {
        Ok(node) => answered(operate::maintenance(&api.store, &api.config, &node, named.on).await),
        Err(error) => answered::<()>(Err(error)),
    }
}

/// The question of a primary that cannot reach the store.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct FailsafeQuestion {
    pub(crate) node: NodeName,
    pub(crate) epoch: u64,
}

async fn failsafe(State(api): State<Api>, Json(question): Json<FailsafeQuestion>) -> Response {
    match api.shown.agree(&question.node, question.epoch).await {
        Ok(()) => Json(json!({ "agreed": true })).into_response(),
        Err(why) => failure(StatusCode::CONFLICT, why),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use tokio::io::AsyncReadExt as _;

    use super::*;

    #[tokio::test]
    async fn whoever_connects_is_told_in_haproxys_words() {
        let me = NodeName::new("db1");
        let policy = ha::Policy {
            nodes: BTreeSet::from([me.clone()]),
            durability: ha::Durability::Lossless,
            ttl: 3_000,
            margin: 300,
            hang: 2_000,
            stall: 2_000,
            head_start: 3_000,
            patience: 1_500,
            broken: 1,
            need: 1,
            failovers_per_hour: 1,
            reseed: true,
        };
        let shown = Arc::new(Shown::new(&me, &policy, String::new()));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(answer_agent_checks(listener, shown.clone()));
        let ask = async || {
            let mut text = String::new();
            let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
            stream.read_to_string(&mut text).await.unwrap();
            text
        };
        assert_eq!(ask().await, "down\n");
        shown.open(7);
        shown.lease_until(Some(crate::time::now() + 60_000));
        assert_eq!(ask().await, "up ready\n");
    }

    #[test]
    fn lag_is_read_in_seconds_and_minutes() {
        for (text, wanted) in
            [("10", Some(10)), ("10s", Some(10)), ("2m", Some(120)), ("", None), ("-1", None), ("1h", None)]
        {
            assert_eq!(seconds(text), wanted, "{text}");
        }
    }
}
