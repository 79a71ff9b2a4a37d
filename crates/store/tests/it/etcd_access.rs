//! Who may use etcd: authentication, certificates, settings that cannot work.

use std::time::Duration;

use etcd_client::{Client, PermissionType};
use rcgen::{BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair};
use secrecy::SecretString;
use store::{EtcdIdentity, EtcdOptions, EtcdTls, EtcdUser, Store, StoreError};

use crate::support::{Cluster, done, options, put, until_it_reads, with_etcd, write_file};

const PASSWORD: &str = "correct-horse";

/// Turns authentication on, with a user `mainstay` who may use the tests' prefix.
async fn with_users(cluster: &Cluster) {
    let mut client: Client = cluster.client().await;
    client.user_add("root", "root-password", None).await.unwrap();
    client.user_grant_role("root", "root").await.unwrap();
    client.role_add("mainstay").await.unwrap();
    let options = etcd_client::Permission::new(PermissionType::Readwrite, "/mainstay/test/").with_prefix();
    client.role_grant_permission("mainstay", options).await.unwrap();
    client.user_add("mainstay", PASSWORD, None).await.unwrap();
    client.user_grant_role("mainstay", "mainstay").await.unwrap();
    client.auth_enable().await.unwrap();
}

fn as_user(cluster: &Cluster, name: &str, password: &str) -> EtcdOptions {
    let user = EtcdUser { name: name.to_owned(), password: SecretString::from(password) };
    EtcdOptions { user: Some(user), ..cluster.options() }
}

/// A store that has time for etcd's slow hashing of passwords on a busy machine.
fn store(options: EtcdOptions) -> Store {
    Store::etcd(options).unwrap().with_request_timeout(Duration::from_secs(5))
}

#[tokio::test]
async fn real_etcd_with_authentication() {
    with_etcd!(async {
        let mut cluster = Cluster::one().await;
        with_users(&cluster).await;
        let user = as_user(&cluster, "mainstay", PASSWORD);
        assert!(!format!("{user:?}").contains(PASSWORD));
        let good = store(user.clone());
        assert!(!format!("{good:?}").contains(PASSWORD));
        done(good.commit(&[], &[put("a", "1")]).await);
        assert_eq!(good.snapshot().await.unwrap().entries.len(), 1);

        let elsewhere = EtcdOptions { prefix: "/elsewhere/".to_owned(), ..user.clone() };
        for (what, refused) in [
            ("no user", cluster.options()),
            ("a wrong password", as_user(&cluster, "mainstay", "wrong")),
            ("an unknown user", as_user(&cluster, "nobody", PASSWORD)),
            ("another prefix", elsewhere),
        ] {
            let store = store(refused);
            for error in [
                store.snapshot().await.unwrap_err(),
                store.commit(&[], &[put("a", "x")]).await.unwrap_err(),
                store.watch(0).await.unwrap_err(),
            ] {
                assert!(matches!(error, StoreError::Unauthorised { .. }), "{what}: {error:?}");
                assert!(!error.to_string().contains(PASSWORD), "{error}");
            }
        }

        // Tokens live in the member's memory: after a restart it knows none of them.
        let idle = store(user.clone());
        let mut revision = idle.snapshot().await.unwrap().revision;
        for first_call in ["commit", "watch", "snapshot"] {
            cluster.members[0].kill();
            cluster.spawn(0);
            until_it_reads(&store(user.clone()), Duration::from_secs(20)).await;
            match first_call {
                "commit" => revision = done(idle.commit(&[], &[put("a", "2")]).await),
                "watch" => {
                    let mut watch = idle.watch(revision).await.unwrap();
                    let next = done(good.commit(&[], &[put("a", "3")]).await);
                    let changed = tokio::time::timeout(Duration::from_secs(5), watch.changed()).await;
                    assert_eq!(changed.unwrap(), Ok(next));
                }
                _ => drop(idle.snapshot().await.unwrap()),
            }
        }
    });
}

#[tokio::test]
async fn real_etcd_renews_tokens_that_expire() {
    with_etcd!(async {
        let cluster = Cluster::start(1, &["--auth-token-ttl".to_owned(), "1".to_owned()]).await;
        with_users(&cluster).await;
        let store = store(as_user(&cluster, "mainstay", PASSWORD));
        let mut stale = Client::connect(
            cluster.urls(),
            Some(etcd_client::ConnectOptions::new().with_user("mainstay", PASSWORD)),
        )
        .await
        .unwrap();
        let first = done(store.commit(&[], &[put("a", "1")]).await);
        // Each use of a token prolongs it, so the wait is for another client's, which ages alike, to have expired.
        let mut pause = Duration::from_secs(2);
        loop {
            tokio::time::sleep(pause).await;
            match stale.get("/mainstay/test/a", None).await {
                Err(error) => break assert!(error.to_string().contains("invalid auth token"), "{error}"),
                Ok(_) => pause *= 2,
            }
            assert!(pause < Duration::from_secs(20), "tokens do not expire");
        }
        let mut watch = store.watch(first).await.unwrap();
        let second = done(store.commit(&[], &[put("a", "2")]).await);
        assert_eq!(watch.changed().await, Ok(second));
        assert_eq!(store.snapshot().await.unwrap().entries.len(), 1);
    });
}

/// A certificate authority, and what it has signed.
struct Authority {
    pem: String,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    fn new() -> Self {
        let mut parameters = CertificateParams::new(Vec::new()).unwrap();
        parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let pem = parameters.self_signed(&key).unwrap().pem();
        Self { pem, issuer: Issuer::new(parameters, key) }
    }

    /// A certificate for this address, and its key.
    fn signed(&self, address: &str) -> (String, String) {
        let mut parameters = CertificateParams::new([address.to_owned()]).unwrap();
        parameters.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        let key = KeyPair::generate().unwrap();
        (parameters.signed_by(&key, &self.issuer).unwrap().pem(), key.serialize_pem())
    }

    fn tls(&self, client: Option<(String, String)>) -> EtcdTls {
        let identity = client
            .map(|(certificate_pem, key)| EtcdIdentity { certificate_pem, key_pem: SecretString::from(key) });
        EtcdTls { ca_pem: self.pem.clone(), identity }
    }
}

#[tokio::test]
async fn real_etcd_with_client_certificates() {
    with_etcd!(async {
        let folder = tempfile::tempdir().unwrap();
        let (authority, stranger) = (Authority::new(), Authority::new());
        let (certificate, key) = authority.signed("127.0.0.1");
        let mut arguments = vec!["--client-cert-auth".to_owned()];
        for (option, name, content) in [
            ("--cert-file", "server.pem", &certificate),
            ("--key-file", "server.key", &key),
            ("--trusted-ca-file", "ca.pem", &authority.pem),
        ] {
            let path = folder.path().join(name);
            write_file(&path, content.as_bytes());
            arguments.extend([option.to_owned(), path.to_str().unwrap().to_owned()]);
        }
        let cluster = Cluster::start(1, &arguments).await;
        let with = |tls: EtcdTls| store(EtcdOptions { tls: Some(tls), ..cluster.options() });

        let client = authority.signed("client.example");
        let good = with(authority.tls(Some(client.clone())));
        let first = done(good.commit(&[], &[put("a", "1")]).await);
        assert_eq!(good.snapshot().await.unwrap().revision, first);

        let unknown_client = stranger.signed("client.example");
        let strangers_tls = EtcdTls { ca_pem: stranger.pem.clone(), ..authority.tls(Some(client.clone())) };
        for (what, tls) in [
            ("no client certificate", authority.tls(None)),
            ("a stranger's client certificate", authority.tls(Some(unknown_client))),
            ("a stranger's authority", strangers_tls),
        ] {
            let store = with(tls);
            for error in
                [store.snapshot().await.unwrap_err(), store.commit(&[], &[put("a", "x")]).await.unwrap_err()]
            {
                println!("{what}: {error}");
                assert!(matches!(error, StoreError::Unreachable { .. }), "{what}: {error:?}");
            }
        }
        let (certificate, _) = client;
        let (_, other_key) = authority.signed("client.example");
        for tls in [
            authority.tls(Some(("no certificate".to_owned(), "no key".to_owned()))),
            authority.tls(Some((certificate, other_key))),
        ] {
            let error = with(tls).snapshot().await.unwrap_err();
            assert!(matches!(error, StoreError::Config { .. }), "{error:?}");
        }
        assert_eq!(good.snapshot().await.unwrap().revision, first);
    });
}

#[test]
fn settings_that_cannot_work_are_refused() {
    let tls = || Some(Authority::new().tls(None));
    let of = |urls: &[&str]| options(urls.iter().map(|url| (*url).to_owned()).collect());
    let rows = [
        ("no endpoint", of(&[])),
        ("no scheme", of(&["10.0.0.1:2379"])),
        ("a path", of(&["http://10.0.0.1:2379/v3"])),
        ("a password", of(&["http://user:password@10.0.0.1:2379"])),
        ("no host", of(&["http://"])),
        ("https without an authority", of(&["https://10.0.0.1:2379"])),
        ("TLS without https", EtcdOptions { tls: tls(), ..of(&["http://10.0.0.1:2379"]) }),
        ("mixed", EtcdOptions { tls: tls(), ..of(&["https://10.0.0.1:2379", "http://10.0.0.2:2379"]) }),
        ("an empty prefix", EtcdOptions { prefix: String::new(), ..of(&["http://10.0.0.1:2379"]) }),
        (
            "a prefix with a blank",
            EtcdOptions { prefix: "/a b/".to_owned(), ..of(&["http://10.0.0.1:2379"]) },
        ),
    ];
    for (what, options) in rows {
        let refused = Store::etcd(options).map(drop);
        assert!(matches!(refused, Err(StoreError::Config { .. })), "{what}: {refused:?}");
    }
    let good = EtcdOptions { tls: tls(), ..of(&["https://etcd-1.example:2379/", "https://[::1]:2379"]) };
    assert!(Store::etcd(good).is_ok());
}
