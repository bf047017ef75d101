//! `zraft dev`: its incidents and its addresses.

use std::net::TcpListener;

use crate::support::{Running, run, stdout};
use zraft_client::{Error, RaftClient};

/// Starts a server on a free port. Tries another port if another program has taken it meanwhile.
pub(crate) fn dev(more: &[&str]) -> (Running, u16) {
    for _ in 0..20 {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let text = port.to_string();
        let mut server = Running::start(&[&["dev", "--port", &text], more].concat());
        if let Some(line) = server.next_line() {
            assert_eq!(line, format!("endpoints: node-1=tcp://127.0.0.1:{port}"));
            return (server, port);
        }
        assert_eq!(server.end().0, Some(2), "the port was taken");
    }
    panic!("no ports");
}

/// Submits a command that the key-value store cannot decode, until the client gives it up.
async fn send_undecodable(port: u16) {
    let client = RaftClient::builder()
        .member("node-1", format!("tcp://127.0.0.1:{port}"))
        .capability("app", "with a codec bug")
        .build()
        .unwrap();
    client.connect().await.unwrap();
    let error = client.submit_command("not of the store").await.unwrap_err();
    assert!(matches!(error, Error::Quarantined { .. }), "{error}");
    client.disconnect().await;
}

#[tokio::test]
async fn undecodable_payload_is_reported_with_its_sender() {
    let (mut server, port) = dev(&[]);
    send_undecodable(port).await;
    let line = server.complaint();
    assert!(line.starts_with("zraft: node-1 closed a connection from 127.0.0.1:"), "{line}");
    let why = "(session 1): command 1 was refused: the application cannot decode this payload";
    assert!(line.ends_with(why), "{line}");
    assert_eq!(server.interrupt(), Some(130));
}

#[tokio::test]
async fn quiet_server_reports_nothing() {
    let (server, port) = dev(&["-q"]);
    send_undecodable(port).await;
    let (code, complaints) = server.interrupted();
    assert_eq!((code, complaints.as_str()), (Some(130), ""));
}

#[test]
fn endpoints_are_one_object_of_json() {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port().to_string();
    let mut server = Running::start(&["dev", "--port", &port, "--json", "--quiet"]);
    let line: serde_json::Value = serde_json::from_str(&server.line()).unwrap();
    let endpoint = format!("tcp://127.0.0.1:{port}");
    assert_eq!(line["endpoints"], format!("node-1={endpoint}"));
    assert_eq!(line["members"], serde_json::json!([{ "member": "node-1", "endpoint": endpoint }]));
}

#[test]
fn only_an_address_other_than_loopback_causes_a_warning() {
    let (server, _) = dev(&["--bind", "127.0.0.1"]);
    assert_eq!(server.interrupted().1, "");
    let (mut server, port) = dev(&["--bind", "0.0.0.0", "--quiet"]);
    let warning = server.complaint();
    assert!(warning.contains("warning: listening on 0.0.0.0"), "{warning}");
    // The printed endpoint works for commands on this machine.
    let endpoint = format!("node-1=tcp://127.0.0.1:{port}");
    assert_eq!(stdout(&run(&["set", "-e", &endpoint, "key", "value"])), "OK\n");
    let (code, complaints) = server.interrupted();
    assert_eq!((code, complaints.as_str()), (Some(130), ""));
}
