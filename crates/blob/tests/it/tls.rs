//! A store that is reached by TLS, with a certificate of a private authority: believed where that is named, and not else.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use blob::{Patience, Place, S3Store};
use bytes::Bytes;
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};

use crate::store::{BUCKET, Store, place_of};

fn write(folder: &Path, name: &str, text: &str) -> PathBuf {
    let path = folder.join(name);
    std::io::Write::write_all(&mut std::fs::File::create(&path).unwrap(), text.as_bytes()).unwrap();
    path
}

struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
}

fn authority(name: &str) -> Authority {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.distinguished_name.push(DnType::CommonName, name);
    let key = KeyPair::generate().unwrap();
    let pem = params.self_signed(&key).unwrap().pem();
    Authority { issuer: Issuer::new(params, key), pem }
}

/// A store whose certificate is for these names, and its bucket.
async fn store(folder: &Path, authority: &Authority, names: &[&str]) -> Option<Store> {
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new(names).unwrap().signed_by(&key, &authority.issuer).unwrap();
    let certificate = write(folder, "store.pem", &certificate.pem());
    let key = write(folder, "store.key", &key.serialize_pem());
    let store = Store::launch(&["-c", certificate.to_str().unwrap(), "-k", key.to_str().unwrap()])?;
    drop(rustls::crypto::aws_lc_rs::default_provider().install_default());
    let client = reqwest::Client::builder().tls_danger_accept_invalid_certs(true).build().unwrap();
    let (url, began) = (format!("https://127.0.0.1:{}/{BUCKET}", store.port), Instant::now());
    loop {
        match client.put(&url).send().await {
            Ok(answer) => {
                assert!(answer.status().is_success(), "{answer:?}");
                return Some(store);
            }
            Err(error) => assert!(began.elapsed() < Duration::from_secs(30), "{error:?}"),
        }
    }
}

fn place(store: &Store, authorities: Option<&str>) -> Place {
    let patience = Patience { retries: 2, retrying: Duration::from_secs(20), ..Patience::default() };
    let ca_pem = authorities.map(|pem| pem.as_bytes().to_vec());
    let url = format!("https://127.0.0.1:{}", store.port);
    place_of(&S3Store { ca_pem, patience, ..S3Store::default() }, &url, "x")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_private_authority_is_believed_where_it_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let (ours, theirs) = (authority("ours"), authority("theirs"));
    let Some(store) = store(folder.path(), &ours, &["127.0.0.1"]).await else { return };
    // Two in one file, as when one takes the other's place.
    for named in [ours.pem.clone(), format!("{}{}", theirs.pem, ours.pem)] {
        let place = place(&store, Some(&named));
        let written = place.put_all("a", Bytes::from_static(b"content")).await.unwrap();
        place.verify("a", &written).await.unwrap();
    }
    for named in [None, Some(theirs.pem.as_str())] {
        let error = place(&store, named).put_all("b", Bytes::from_static(b"content")).await.unwrap_err();
        let (said, hint) = (error.to_string(), error.hint());
        assert!(said.contains("certificate"), "{said}");
        assert!(hint.contains("s3_ca_file"), "{hint}");
    }
    assert!(place(&store, Some(&ours.pem)).digest("b").await.unwrap_err().is_not_found());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_for_another_name_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let ours = authority("ours");
    let Some(store) = store(folder.path(), &ours, &["s3.example"]).await else { return };
    let error =
        place(&store, Some(&ours.pem)).put_all("a", Bytes::from_static(b"content")).await.unwrap_err();
    assert!(error.to_string().contains("not valid for name"), "{error}");
}
