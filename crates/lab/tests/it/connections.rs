//! Logins, limits and errors of connections to real servers.

use std::time::{Duration, Instant};

use flavor::Vendor;
use lab::{NodeState, Topology};
use secrecy::SecretString;
use server::{Connection, Limits, Param, ServerError, Sql, Target, Tls, TlsFailure};

use crate::support::{TestLab, root, run, up, value};

const PASSWORD: &str = "pä$s'w\"o\\r:d@1";

const LIMITS: Limits = Limits { connect: Duration::from_secs(10), statement: Duration::from_secs(20) };

fn tcp(node: &NodeState, user: &str, password: &str, tls: Tls) -> Target {
    Target::tcp(&node.host, node.port, user).with_password(SecretString::from(password)).with_tls(tls)
}

async fn create_user(connection: &mut Connection, user: &str, clause: &str) {
    let password = sqltext::quote_string(PASSWORD).unwrap();
    let sql = format!("CREATE USER {user} IDENTIFIED {}", clause.replace('?', &password));
    connection.execute(&Sql::secret(sql, "CREATE USER ...")).await.unwrap();
}

#[tokio::test]
async fn unreachable_servers_are_told_apart() {
    let test = TestLab::new();
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = nobody.local_addr().unwrap().port();
    let limits = Limits { connect: Duration::from_millis(300), statement: Duration::from_secs(1) };
    // Accepted by the kernel and never answered.
    let silent = Connection::open(&Target::tcp("127.0.0.1", port, "root"), &limits).await;
    assert!(matches!(silent, Err(ServerError::Timeout { limit_ms: 300, .. })), "{silent:?}");
    drop(nobody);
    let refused = Connection::open(&Target::tcp("127.0.0.1", port, "root"), &limits).await;
    assert!(matches!(refused, Err(ServerError::ConnectRefused { .. })), "{refused:?}");
    let missing = Connection::open(&Target::socket(test.path().join("none.sock"), "root"), &limits).await;
    assert!(matches!(missing, Err(ServerError::NoSocket { .. })), "{missing:?}");
    assert!(missing.unwrap_err().hint().is_some());
}

#[tokio::test]
async fn mariadb_logins() {
    let test = TestLab::new();
    let Some(cluster) = up(&test, "one", Topology::Single, Vendor::MariaDb, |_| {}).await else { return };
    let node = &cluster.nodes[0];
    let mut admin = root(node).await;
    run(&mut admin, "INSTALL SONAME 'auth_ed25519'").await;
    create_user(&mut admin, "ed@'127.0.0.1'", "VIA ed25519 USING PASSWORD(?)").await;
    create_user(&mut admin, "old@'127.0.0.1'", "BY ?").await;
    for user in ["ed", "old"] {
        let mut connection = Connection::open(&tcp(node, user, PASSWORD, Tls::Off), &LIMITS).await.unwrap();
        let me = value(&mut connection, "SELECT CURRENT_USER()").await;
        assert_eq!(me, Some(format!("{user}@127.0.0.1")));
        connection.close().await;
        let wrong = Connection::open(&tcp(node, user, "hunter2", Tls::Off), &LIMITS).await.unwrap_err();
        assert!(matches!(wrong, ServerError::AccessDenied { code: 1045, .. }), "{wrong}");
        assert!(!format!("{wrong} {wrong:?}").contains("hunter2"));
    }
    // Root has no password, and so must not be reachable over TCP.
    let remote_root = Target::tcp("127.0.0.1", node.port, "root").with_tls(Tls::Off);
    let refused = Connection::open(&remote_root, &LIMITS).await.unwrap_err();
    assert!(
        matches!(refused, ServerError::AccessDenied { .. } | ServerError::HostNotAllowed { .. }),
        "{refused}"
    );
    let no_tls = Connection::open(&tcp(node, "old", PASSWORD, Tls::default()), &LIMITS).await.unwrap_err();
    assert!(matches!(no_tls, ServerError::TlsFailed { failure: TlsFailure::NotOffered, .. }), "{no_tls}");
    let accounts = server::collect(&mut admin).await.unwrap().accounts;
    let ed = accounts.known().unwrap().iter().find(|account| account.user == "ed").unwrap();
    assert_eq!(ed.plugin, "ed25519");
    assert!(!ed.auth.expose().is_empty());
    assert!(ed.grants.iter().all(|grant| !grant.contains("IDENTIFIED")), "{:?}", ed.grants);
    admin.close().await;

    // A login without privileges sees accounts and sources as unknown, not as none.
    let mut low = Connection::open(&tcp(node, "old", PASSWORD, Tls::Off), &LIMITS).await.unwrap();
    let seen = server::collect(&mut low).await.unwrap();
    assert!(matches!(seen.accounts, facts::Seen::Unknown(_)), "{:?}", seen.accounts);
    assert!(matches!(seen.replication.sources, facts::Seen::Unknown(_)), "{:?}", seen.replication);
    low.close().await;
    test.lab.down("one").await.unwrap();
}

#[tokio::test]
async fn mysql_logins() {
    let test = TestLab::new();
    let Some(cluster) = up(&test, "one", Topology::Single, Vendor::MySql, |_| {}).await else { return };
    let node = &cluster.nodes[0];
    let mut admin = root(node).await;
    create_user(&mut admin, "sha@'%'", "WITH caching_sha2_password BY ?").await;
    create_user(&mut admin, "sha@localhost", "WITH caching_sha2_password BY ?").await;
    let ca = node.datadir.join("ca.pem");
    // Each way first in full, then from the server's cache.
    for tls in [
        Tls::Insecure,
        Tls::Insecure,
        Tls::Off,
        Tls::Verify { ca: Some(ca.clone()), server_name: None, client_cert: None },
    ] {
        run(&mut admin, "FLUSH PRIVILEGES").await;
        match Connection::open(&tcp(node, "sha", PASSWORD, tls.clone()), &LIMITS).await {
            Ok(mut connection) => {
                assert_eq!(value(&mut connection, "SELECT CURRENT_USER()").await.as_deref(), Some("sha@%"));
                connection.close().await;
            }
            // The certificate that the server makes for itself names no host.
            Err(ServerError::TlsFailed {
                failure: TlsFailure::NameMismatch | TlsFailure::Other(_), ..
            }) if matches!(tls, Tls::Verify { .. }) => {}
            Err(error) => panic!("{tls:?}: {error}"),
        }
    }
    let socket = Target::socket(&node.socket, "sha").with_password(SecretString::from(PASSWORD));
    let mut connection = Connection::open(&socket, &LIMITS).await.unwrap();
    assert_eq!(value(&mut connection, "SELECT CURRENT_USER()").await.as_deref(), Some("sha@localhost"));
    connection.close().await;
    let wrong = Connection::open(&tcp(node, "sha", "hunter2", Tls::Insecure), &LIMITS).await.unwrap_err();
    assert!(matches!(wrong, ServerError::AccessDenied { code: 1045, .. }), "{wrong}");
    let strange = Connection::open(&tcp(node, "sha", PASSWORD, Tls::default()), &LIMITS).await.unwrap_err();
    assert!(
        matches!(strange, ServerError::TlsFailed { failure: TlsFailure::UnknownIssuer, .. }),
        "{strange}"
    );
    let facts = server::collect(&mut admin).await.unwrap();
    let account = facts.accounts.known().unwrap().iter().find(|account| account.user == "sha").unwrap();
    assert_eq!(account.plugin, "caching_sha2_password");
    assert!(account.auth.expose().starts_with(b"$A$"));
    assert!(facts.tls.enabled && facts.tls.not_after.known().is_some());
    run(&mut admin, "SET PERSIST max_connections = 99").await;
    let facts = server::collect(&mut admin).await.unwrap();
    assert_eq!(facts.persisted.get("max_connections").map(String::as_str), Some("99"));
    run(&mut admin, "SET GLOBAL require_secure_transport = ON").await;
    let plain = Connection::open(&tcp(node, "sha", PASSWORD, Tls::Off), &LIMITS).await.unwrap_err();
    assert!(matches!(plain, ServerError::TlsFailed { failure: TlsFailure::Required, .. }), "{plain}");
    admin.close().await;
    test.lab.down("one").await.unwrap();
}

async fn limits(vendor: Vendor) {
    let test = TestLab::new();
    let Some(cluster) = up(&test, "one", Topology::Single, vendor, |_| {}).await else { return };
    let node = &cluster.nodes[0];
    let mut holder = root(node).await;
    run(&mut holder, "CREATE DATABASE a").await;
    run(&mut holder, "CREATE TABLE a.t (id INT PRIMARY KEY, v VARCHAR(50)) CHARACTER SET utf8mb4").await;

    // A SELECT, which both servers stop by themselves.
    let mut connection = root(node).await;
    run(&mut holder, "CREATE TABLE a.n (n INT) SELECT 1 AS n FROM information_schema.COLLATIONS").await;
    let busy = Sql::plain("SELECT COUNT(*), SUM(a.n + b.n) FROM a.n a, a.n b, a.n c, a.n d, a.n e, a.n f");
    let started = Instant::now();
    let error = connection.with_limit(Duration::from_millis(300)).query(&busy).await.unwrap_err();
    assert!(matches!(error, ServerError::StatementTimeout { limit_ms: 300, .. }), "{error}");
    assert!(started.elapsed() < Duration::from_secs(10), "{:?}", started.elapsed());

    // A write behind a table lock, which MySQL stops only when told to; the session survives it.
    run(&mut holder, "LOCK TABLES a.t WRITE").await;
    let insert = Sql::plain("INSERT INTO a.t VALUES (1, 'late')");
    let started = Instant::now();
    let error = connection.with_limit(Duration::from_millis(300)).execute(&insert).await.unwrap_err();
    assert!(matches!(error, ServerError::StatementTimeout { .. }), "{error}");
    assert!(started.elapsed() < Duration::from_secs(10), "{:?}", started.elapsed());
    run(&mut holder, "UNLOCK TABLES").await;
    assert_eq!(value(&mut connection, "SELECT COUNT(*) FROM a.t").await.as_deref(), Some("0"));
    let waiting = "SELECT COUNT(*) FROM information_schema.processlist WHERE info LIKE 'INSERT%'";
    assert_eq!(value(&mut holder, waiting).await.as_deref(), Some("0"));

    // Values bound to a statement arrive as they are.
    let insert = Sql::plain("INSERT INTO a.t VALUES (?, ?)");
    let done = connection.exec(&insert, vec![Param::Int(2), Param::from(PASSWORD)]).await.unwrap();
    assert_eq!(done.affected_rows, 1);
    assert_eq!(value(&mut connection, "SELECT v FROM a.t").await.as_deref(), Some(PASSWORD));

    // A read-only server, seen by a login without special rights.
    create_user(&mut holder, "low@localhost", "BY ?").await;
    run(&mut holder, "GRANT INSERT ON a.* TO low@localhost").await;
    run(&mut holder, "SET GLOBAL read_only = ON").await;
    let low = Target::socket(&node.socket, "low").with_password(SecretString::from(PASSWORD));
    let mut low = Connection::open(&low, &LIMITS).await.unwrap();
    let error = low.execute(&Sql::plain("INSERT INTO a.t VALUES (9, '')")).await.unwrap_err();
    assert!(matches!(error, ServerError::ReadOnly { code: 1290, .. }), "{error}");

    // A secret statement shows nothing of itself, whatever is wrong with it.
    let secret = Sql::secret("SET PASSWORD FOR x@y = 'hunter2' oops", "SET PASSWORD ...");
    let error = connection.execute(&secret).await.unwrap_err();
    assert!(!format!("{error} {error:?}").contains("hunter2"), "{error}");
    assert!(error.to_string().contains("SET PASSWORD ..."), "{error}");
    connection.ping().await.unwrap();

    // A session that dies says so, and stays dead.
    run(&mut holder, &format!("KILL {}", connection.connection_id())).await;
    let error = connection.query(&Sql::plain("SELECT 1")).await.unwrap_err();
    assert!(error.is_connection_gone(), "{error}");
    assert!(connection.query(&Sql::plain("SELECT 1")).await.unwrap_err().is_connection_gone());
    test.lab.down("one").await.unwrap();
}

#[tokio::test]
async fn limits_hold_on_mariadb() {
    limits(Vendor::MariaDb).await;
}

#[tokio::test]
async fn limits_hold_on_mysql() {
    limits(Vendor::MySql).await;
}
