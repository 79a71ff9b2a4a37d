//! Certificates as a server may show them, and what the client makes of each.

use std::path::{Path, PathBuf};
use std::time::Duration;

use flavor::Vendor;
use lab::{NodeState, Topology};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, date_time_ymd};
use secrecy::SecretString;
use server::{Connection, Limits, ServerError, Sql, Target, Tls, TlsFailure};

use crate::support::{TestLab, root, run, up};

const LIMITS: Limits = Limits { connect: Duration::from_secs(10), statement: Duration::from_secs(20) };

/// A private authority.
struct Authority {
    issuer: Issuer<'static, KeyPair>,
    file: PathBuf,
}

fn write(path: &Path, text: &str) {
    std::io::Write::write_all(&mut std::fs::File::create(path).unwrap(), text.as_bytes()).unwrap();
}

fn authority(folder: &Path, name: &str) -> Authority {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.distinguished_name.push(rcgen::DnType::CommonName, name);
    let key = KeyPair::generate().unwrap();
    let file = folder.join(format!("{name}.pem"));
    write(&file, &params.self_signed(&key).unwrap().pem());
    Authority { issuer: Issuer::new(params, key), file }
}

/// Files of a certificate and its key.
fn certificate(
    folder: &Path,
    file: &str,
    authority: &Authority,
    names: &[&str],
    not_after_year: i32,
) -> (PathBuf, PathBuf) {
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let mut params = CertificateParams::new(names).unwrap();
    params.not_before = date_time_ymd(2020, 1, 1);
    params.not_after = date_time_ymd(not_after_year, 1, 1);
    let key = KeyPair::generate().unwrap();
    let paths = (folder.join(format!("{file}.pem")), folder.join(format!("{file}.key")));
    write(&paths.0, &params.signed_by(&key, &authority.issuer).unwrap().pem());
    write(&paths.1, &key.serialize_pem());
    paths
}

fn verify(ca: &Path, server_name: Option<&str>, client_cert: Option<(PathBuf, PathBuf)>) -> Tls {
    Tls::Verify { ca: Some(ca.to_owned()), server_name: server_name.map(str::to_owned), client_cert }
}

async fn connect(node: &NodeState, tls: Tls) -> Result<Connection, ServerError> {
    let target = Target::tcp(&node.host, node.port, "t").with_password(SecretString::from("Secret-1"));
    Connection::open(&target.with_tls(tls), &LIMITS).await
}

fn failure(result: Result<Connection, ServerError>) -> TlsFailure {
    match result {
        Err(ServerError::TlsFailed { failure, .. }) => failure,
        other => panic!("{other:?}"),
    }
}

async fn certificates(vendor: Vendor) {
    let test = TestLab::new();
    let folder = test.path();
    let ca = authority(folder, "ca");
    let stranger = authority(folder, "stranger");
    let good = certificate(folder, "good", &ca, &["127.0.0.1", "db.example"], 2035);
    let client = certificate(folder, "client", &ca, &["client"], 2035);
    let lines = |(certificate, key): &(PathBuf, PathBuf)| {
        vec![
            format!("ssl-ca = {}", ca.file.display()),
            format!("ssl-cert = {}", certificate.display()),
            format!("ssl-key = {}", key.display()),
        ]
    };
    let Some(cluster) =
        up(&test, "good", Topology::Single, vendor, |options| options.extra_config = lines(&good)).await
    else {
        return;
    };
    let node = &cluster.nodes[0];
    let mut admin = root(node).await;
    run(&mut admin, "CREATE USER t@'127.0.0.1' IDENTIFIED BY 'Secret-1'").await;
    // The address is in the certificate; so is a name that may stand in for it.
    for tls in [verify(&ca.file, None, None), verify(&ca.file, Some("db.example"), None), Tls::Insecure] {
        let mut connection = connect(node, tls).await.unwrap();
        let rows = connection.query(&Sql::plain("SHOW SESSION STATUS LIKE 'Ssl_cipher'")).await.unwrap();
        assert!(rows[0].text("Value").is_some_and(|cipher| !cipher.is_empty()));
        connection.close().await;
    }
    let other_name = failure(connect(node, verify(&ca.file, Some("other.example"), None)).await);
    assert_eq!(other_name, TlsFailure::NameMismatch);
    assert_eq!(failure(connect(node, verify(&stranger.file, None, None)).await), TlsFailure::UnknownIssuer);
    assert_eq!(failure(connect(node, Tls::default()).await), TlsFailure::UnknownIssuer);
    run(&mut admin, "ALTER USER t@'127.0.0.1' REQUIRE X509").await;
    let without = connect(node, verify(&ca.file, None, None)).await.unwrap_err();
    assert!(matches!(without, ServerError::AccessDenied { .. }), "{without}");
    connect(node, verify(&ca.file, None, Some(client))).await.unwrap().close().await;
    admin.close().await;
    test.lab.down("good").await.unwrap();

    let expired = certificate(folder, "expired", &ca, &["127.0.0.1"], 2021);
    let cluster =
        up(&test, "old", Topology::Single, vendor, |options| options.extra_config = lines(&expired)).await;
    let node = &cluster.unwrap().nodes[0];
    // MySQL sends hosts without an account away before there is any TLS.
    let mut admin = root(node).await;
    run(&mut admin, "CREATE USER t@'127.0.0.1' IDENTIFIED BY 'Secret-1'").await;
    admin.close().await;
    let seen = failure(connect(node, verify(&ca.file, None, None)).await);
    assert_eq!(seen, TlsFailure::Expired);
    test.lab.down("old").await.unwrap();
}

/// A certificate of version 1, which the library that makes the others cannot make.
fn version_1(folder: &Path) -> Option<(PathBuf, PathBuf)> {
    let (key, request, certificate) = (folder.join("v1.key"), folder.join("v1.csr"), folder.join("v1.pem"));
    let commands = [
        format!(
            "req -newkey rsa:2048 -nodes -subj /CN=v1 -keyout {} -out {}",
            key.display(),
            request.display()
        ),
        format!(
            "x509 -req -days 9 -in {} -signkey {} -out {}",
            request.display(),
            key.display(),
            certificate.display()
        ),
    ];
    for arguments in commands {
        #[expect(clippy::disallowed_methods, reason = "a test's own helper program")]
        let done = std::process::Command::new("openssl").args(arguments.split(' ')).output();
        if !done.is_ok_and(|done| done.status.success()) {
            println!("SKIPPED: openssl cannot make a certificate of version 1 here");
            return None;
        }
    }
    Some((certificate, key))
}

#[tokio::test]
async fn a_version_1_certificate_is_named() {
    let test = TestLab::new();
    let Some((certificate, key)) = version_1(test.path()) else { return };
    let cluster = up(&test, "v1", Topology::Single, Vendor::MariaDb, |options| {
        options.extra_config =
            vec![format!("ssl-cert = {}", certificate.display()), format!("ssl-key = {}", key.display())];
    });
    let Some(cluster) = cluster.await else { return };
    let mut admin = root(&cluster.nodes[0]).await;
    run(&mut admin, "CREATE USER t@'127.0.0.1' IDENTIFIED BY 'Secret-1'").await;
    admin.close().await;
    assert_eq!(failure(connect(&cluster.nodes[0], Tls::default()).await), TlsFailure::Version1);
    test.lab.down("v1").await.unwrap();
}

#[tokio::test]
async fn certificates_on_mariadb() {
    certificates(Vendor::MariaDb).await;
}

#[tokio::test]
async fn certificates_on_mysql() {
    certificates(Vendor::MySql).await;
}
