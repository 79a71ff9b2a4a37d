//! The verbs of high availability, as far as they need no server: nobody answers, or what is asked is pure.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::path::Path;

use crate::bench::{Ran, run, write, write_secret};

/// A port that nobody listens on.
fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// A spec of three nodes and a witness, and its token. Ports are those given.
fn spec(folder: &Path, health_port: u16, api_port: u16) -> String {
    let place = folder.display();
    let token = folder.join("api_token");
    write_secret(&token, "a-token-of-the-test\n");
    let mut text = format!(
        "[cluster]\nname = \"t\"\nserver = \"mariadb\"\ntopology = \"replication\"\n\
         [paths]\nstate = \"{place}/state\"\nsecrets = \"{place}/secrets\"\n\
         [tls]\nenabled = false\n\
         [ha]\n[ha.store]\nkind = \"file\"\npath = \"{place}/store\"\n\
         [ha.api]\nhealth_port = {health_port}\napi_port = {api_port}\ntoken_file = \"{}\"\n\
         [[ha.witness]]\nname = \"w1\"\naddress = \"127.0.0.9\"\n",
        token.display()
    );
    for number in 1..=3 {
        text.push_str(&format!(
            "[[node]]\nname = \"db{number}\"\naddress = \"127.0.0.{number}\"\nserver_id = {number}\n"
        ));
    }
    let path = folder.join("mainstay.toml");
    write(&path, &text);
    path.display().to_string()
}

fn refused(ran: &Ran, error: &str, hint: &str) {
    assert_eq!(ran.code, Some(1), "{ran:?}");
    assert!(ran.err.contains(error), "{ran:?}");
    assert!(ran.err.contains("  -> ") && ran.err.contains(hint), "{ran:?}");
}

#[test]
fn haproxy_is_rendered_with_every_node() {
    let folder = tempfile::tempdir().unwrap();
    let spec = spec(folder.path(), 8008, 8009);
    let ran = run(&["render", "haproxy", "--config", &spec]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    for address in ["127.0.0.1:3306", "127.0.0.2:3306", "127.0.0.3:3306"] {
        assert!(ran.out.contains(address), "{address}: {}", ran.out);
    }
    assert!(ran.out.contains("/primary") && !ran.out.contains("127.0.0.9"), "{}", ran.out);
    let json = run(&["render", "haproxy", "--json", "--config", &spec]).json(0);
    assert_eq!(json["files"][0]["text"], ran.out.as_str());
}

#[test]
fn units_are_rendered_of_nodes_and_witnesses() {
    let folder = tempfile::tempdir().unwrap();
    let spec = spec(folder.path(), 8008, 8009);
    let out = folder.path().join("out");
    let out = out.to_str().unwrap();
    let shown = run(&["render", "systemd", "--config", &spec, "--node", "db2"]);
    assert_eq!(shown.code, Some(0), "{shown:?}");
    assert!(shown.out.starts_with("# /") && shown.out.contains("--node db2"), "{}", shown.out);
    let files = run(&["render", "systemd", "--config", &spec, "--node", "db2", "--json"]).json(0);
    let written = run(&["render", "systemd", "--config", &spec, "--node", "db2", "--out", out]);
    assert_eq!(written.code, Some(0), "{written:?}");
    for file in files["files"].as_array().unwrap() {
        let path = format!("{out}{}", file["path"].as_str().unwrap());
        assert_eq!(file["text"], std::fs::read_to_string(&path).unwrap().as_str(), "{path}");
    }
    let witness = run(&["render", "systemd", "--config", &spec, "--node", "w1"]);
    assert!(witness.code == Some(0) && witness.out.contains("agent --config"), "{witness:?}");
    refused(&run(&["render", "systemd", "--config", &spec, "--node", "db9"]), "db9", "--node");
    refused(&run(&["render", "pacemaker", "--config", &spec]), "keeper", "[ha.address]");
}

#[test]
fn without_agents_every_request_fails_and_says_why() {
    let folder = tempfile::tempdir().unwrap();
    let spec = spec(folder.path(), free_port(), free_port());
    for verb in [
        &["switchover", "--yes"][..],
        &["failover", "db2", "--yes"],
        &["reinit", "db2", "--yes"],
        &["pause"],
        &["resume"],
        &["maintenance", "db2", "on"],
        &["history"],
    ] {
        let args = [verb, &["--config", &spec, "--node", "db1"]].concat();
        refused(&run(&args), "no agent of the cluster answers", "mainstay agent");
    }
    let explained = run(&["explain", "--json", "--config", &spec, "--node", "db1"]).json(2);
    let hosts = explained["hosts"].as_array().unwrap();
    assert_eq!(hosts.len(), 4, "{explained}");
    assert!(hosts.iter().all(|host| host["error"].is_string()), "{explained}");
    let status = run(&["status", "--json", "--config", &spec, "--node", "db1"]).json(2);
    let error = status["ha"]["error"].as_str().unwrap();
    assert!(error.starts_with("no agent of the cluster answers"), "{status}");
}

#[test]
fn a_spec_without_agents_is_told_apart() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("mainstay.toml");
    write(
        &path,
        "[cluster]\nname = \"a\"\nserver = \"mariadb\"\n\n[[node]]\nname = \"n\"\naddress = \"127.0.0.1\"\n",
    );
    let spec = path.to_str().unwrap();
    for verb in [&["agent"][..], &["fencer"], &["health"], &["switchover", "--yes"], &["explain"]] {
        refused(&run(&[verb, &["--config", spec]].concat()), "no [ha] section", "docs/spec.md");
    }
    refused(&run(&["render", "haproxy", "--config", spec]), "no [ha]", "docs/spec.md");
    let status = run(&["status", "--json", "--config", spec]).json(2);
    assert!(status.get("ha").is_none(), "{status}");
}

#[test]
fn an_agent_is_of_a_node_or_witness() {
    let folder = tempfile::tempdir().unwrap();
    let spec = spec(folder.path(), free_port(), free_port());
    for verb in ["agent", "fencer"] {
        refused(&run(&[verb, "--config", &spec, "--node", "db9"]), "neither a node nor a witness db9", "w1");
    }
}

/// Answers one request with a status, and gives back the request's first line.
fn answer_once(listener: TcpListener, status: &'static str) -> std::thread::JoinHandle<String> {
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut bytes = [0; 1024];
        let read = stream.read(&mut bytes).unwrap();
        // At once: the asker hangs up as soon as it has read the status.
        let response = format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n");
        stream.write_all(response.as_bytes()).unwrap();
        String::from_utf8_lossy(&bytes[..read]).lines().next().unwrap().to_owned()
    })
}

#[test]
fn health_is_an_exit_code() {
    let folder = tempfile::tempdir().unwrap();
    for (status, code, node) in
        [("200 OK", 0, "db2"), ("503 Service Unavailable", 1, "db2"), ("200 OK", 0, "w1")]
    {
        let address = if node == "w1" { "127.0.0.9:0" } else { "127.0.0.2:0" };
        let listener = TcpListener::bind(address).unwrap();
        let spec = spec(folder.path(), listener.local_addr().unwrap().port(), 8009);
        let answered = answer_once(listener, status);
        let ran = run(&["health", "--config", &spec, "--node", node, "/replica?lag=10s"]);
        assert_eq!(answered.join().unwrap(), "GET /replica?lag=10s HTTP/1.1");
        assert_eq!((ran.code, ran.out.as_str(), ran.err.as_str()), (Some(code), "", ""));
    }
    let spec = spec(folder.path(), free_port(), 8009);
    let json = run(&["health", "--json", "--config", &spec, "--node", "db2"]).json(1);
    assert!(json["good"] == false && json["error"].is_string(), "{json}");
}
