//! A proxy before the store that does to requests what networks and stores do on a bad day.

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};

/// What happens to a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The connection is cut before the store hears of it.
    CutBefore,
    /// The store does it, the answer is cut off.
    CutAnswer,
    /// The answer's content is cut off after so many bytes.
    CutContent(usize),
    /// Answered with this status, the store hears nothing of it.
    Status(u16),
    /// Nothing is answered for so long.
    Stall(Duration),
    /// The store hears nothing of it, and the answer says that all is well.
    SayDone,
}

/// A method, a text of the first line, and what happens to such a request.
type Planned = (&'static str, &'static str, Fault);

/// Faults, each for the next request that begins with a method and has a text in its first line.
#[derive(Clone, Default)]
pub(crate) struct Faults {
    list: Arc<Mutex<VecDeque<Planned>>>,
    seen: Arc<Mutex<Vec<String>>>,
}

impl Faults {
    pub(crate) fn add(&self, method: &'static str, text: &'static str, fault: Fault) {
        self.list.lock().unwrap().push_back((method, text, fault));
    }

    fn take(&self, line: &str) -> Option<Fault> {
        self.seen.lock().unwrap().push(line.to_owned());
        let mut list = self.list.lock().unwrap();
        let fits = |(method, text, _): &Planned| line.starts_with(method) && line.contains(text);
        let at = list.iter().position(fits)?;
        list.remove(at).map(|(_, _, fault)| fault)
    }

    /// Whether all of them have happened.
    pub(crate) fn are_done(&self) -> bool {
        self.list.lock().unwrap().is_empty()
    }

    pub(crate) fn clear(&self) {
        self.list.lock().unwrap().clear();
    }
}

/// Starts the proxy; it ends with the test's runtime.
pub(crate) async fn start(store_port: u16) -> (u16, Faults) {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let faults = Faults::default();
    let known = faults.clone();
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            let faults = known.clone();
            tokio::spawn(async move {
                // A connection that breaks is what this is about.
                let _ = serve(client, store_port, faults).await;
            });
        }
    });
    (port, faults)
}

struct Message {
    head: String,
    body: Vec<u8>,
}

/// Reads a request or an answer with its content.
async fn message(stream: &mut BufReader<TcpStream>, has_no_body: bool) -> io::Result<Option<Message>> {
    let mut head = String::new();
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line).await? == 0 {
            return Ok(None);
        }
        head.push_str(&line);
        if line == "\r\n" {
            break;
        }
    }
    let lower = head.to_lowercase();
    let length = lower.split("content-length:").nth(1).and_then(|rest| rest.lines().next());
    let length = length.map_or(0, |text| text.trim().parse::<usize>().unwrap());
    let mut body = vec![0; if has_no_body { 0 } else { length }];
    stream.read_exact(&mut body).await?;
    Ok(Some(Message { head, body }))
}

async fn serve(client: TcpStream, store_port: u16, faults: Faults) -> io::Result<()> {
    let mut client = BufReader::new(client);
    while let Some(request) = message(&mut client, false).await? {
        let line = request.head.lines().next().unwrap_or_default().to_owned();
        let fault = faults.take(&line);
        match &fault {
            Some(Fault::CutBefore) => return Ok(()),
            Some(Fault::Stall(time)) => {
                tokio::time::sleep(*time).await;
                return Ok(());
            }
            Some(Fault::Status(status)) => {
                let body = "<Error><Code>InternalError</Code></Error>";
                let answer =
                    format!("HTTP/1.1 {status} Bad Day\r\nContent-Length: {}\r\n\r\n{body}", body.len());
                client.get_mut().write_all(answer.as_bytes()).await?;
                continue;
            }
            Some(Fault::SayDone) => {
                client
                    .get_mut()
                    .write_all(b"HTTP/1.1 200 OK\r\nETag: \"x\"\r\nContent-Length: 0\r\n\r\n")
                    .await?;
                continue;
            }
            Some(Fault::CutAnswer | Fault::CutContent(_)) | None => {}
        }
        // One connection a request: the server closes after each anyway when asked.
        let mut store = BufReader::new(TcpStream::connect(("127.0.0.1", store_port)).await?);
        store.get_mut().write_all(request.head.as_bytes()).await?;
        store.get_mut().write_all(&request.body).await?;
        let Some(answer) = message(&mut store, line.starts_with("HEAD")).await? else { return Ok(()) };
        match fault {
            Some(Fault::CutAnswer) => return Ok(()),
            Some(Fault::CutContent(bytes)) => {
                client.get_mut().write_all(answer.head.as_bytes()).await?;
                return client.get_mut().write_all(&answer.body[..bytes.min(answer.body.len())]).await;
            }
            _ => {}
        }
        client.get_mut().write_all(answer.head.as_bytes()).await?;
        client.get_mut().write_all(&answer.body).await?;
    }
    Ok(())
}
