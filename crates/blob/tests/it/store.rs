//! An S3-compatible server for a test, on a port of its own, with a bucket in it. It ends with the test.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use blob::{Address, Credentials, Patience, Place, S3Store};

/// The bucket that is made.
pub(crate) const BUCKET: &str = "backups";
pub(crate) const SECRET: &str = "only-for-this-test-9f2c";

/// A running server.
pub(crate) struct Store {
    child: Child,
    pub(crate) port: u16,
}

/// The server's program; `None`, with a word about it, when it is not there.
fn moto_server() -> Option<PathBuf> {
    let named = std::env::var_os("MAINSTAY_TEST_MOTO").map(PathBuf::from);
    let made = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/moto-venv/bin/moto_server");
    let path = named.unwrap_or(made);
    if path.exists() {
        return Some(path);
    }
    println!("skipped for S3: scripts/moto-venv.sh has not made {}", path.display());
    None
}

impl Store {
    /// Starts it and makes the bucket.
    pub(crate) fn start() -> Option<Self> {
        let store = Self::launch(&[])?;
        let began = Instant::now();
        let put = format!("PUT /{BUCKET} HTTP/1.0\r\nHost: s3\r\nContent-Length: 0\r\n\r\n");
        let answer = loop {
            match request(store.port, &put) {
                Ok(answer) => break answer,
                Err(error) => assert!(began.elapsed() < Duration::from_secs(30), "{error}"),
            }
        };
        assert!(answer.contains(" 200 "), "{answer}");
        Some(store)
    }

    /// Starts it, with these flags more.
    #[expect(clippy::disallowed_methods, reason = "the server under test is run as anybody would")]
    pub(crate) fn launch(flags: &[&str]) -> Option<Self> {
        let mut child = Command::new(moto_server()?)
            .args(["-H", "127.0.0.1", "-p", "0"])
            .args(flags)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        // It says its address once it listens, and one line for each request later.
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let port = lines
            .by_ref()
            .map_while(Result::ok)
            .find_map(|line| line.split("://127.0.0.1:").nth(1)?.trim().parse::<u16>().ok())
            .unwrap();
        std::thread::spawn(move || for _ in lines {});
        Some(Self { child, port })
    }

    pub(crate) fn place(&self, prefix: &str) -> Place {
        place_at(self.port, prefix, Patience::default())
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The bucket behind some port: the server's, or that of a proxy before it.
pub(crate) fn place_at(port: u16, prefix: &str, patience: Patience) -> Place {
    place_of(&S3Store { patience, ..S3Store::default() }, &format!("http://127.0.0.1:{port}"), prefix)
}

/// The bucket at some URL.
pub(crate) fn place_of(store: &S3Store, url: &str, prefix: &str) -> Place {
    let store = S3Store { endpoint: Some(url.to_owned()), is_path_style: true, ..store.clone() };
    let address = Address::parse(&format!("s3://{BUCKET}/{prefix}"), &store).unwrap();
    let text = format!("aws_access_key_id = AKIATEST\naws_secret_access_key = {SECRET}\n");
    Place::open(&address, Some(&Credentials::parse(&text).unwrap())).unwrap()
}

/// Sends one request and returns the whole answer.
fn request(port: u16, text: &str) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.set_read_timeout(Some(Duration::from_secs(30)))?;
    stream.write_all(text.as_bytes())?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}
