//! The key-value store on a cluster.

use zraft_kv::{Command, GetResult, Key, Notification, Query, Value};
use zraft_protocol::{ClientMessage, Payload, ServerMessage};
use zraft_test_server::TestCluster;

use crate::sockets::peer::{Ended, Peer, payload};

fn key(text: &str) -> Key {
    Key::new(text).expect("short")
}

fn value(text: &str) -> Value {
    Value::new(text).expect("short")
}

fn set(to: &str, text: &str) -> Payload {
    payload(Command::Set { key: key(to), value: value(text) }.encode())
}

fn watch(what: &str) -> Payload {
    payload(Command::Watch { key: key(what) }.encode())
}

fn get(what: &str) -> Payload {
    payload(Query::Get { key: key(what) }.encode())
}

fn got(answer: &Payload) -> Option<Value> {
    GetResult::decode(answer.as_bytes()).expect("decodes").value
}

async fn notified(peer: &mut Peer) -> (u64, Notification) {
    match peer.receive().await {
        Ok(ServerMessage::ServerRequest { request_id, payload, .. }) => {
            let notification = Notification::decode(payload.as_bytes()).expect("decodes");
            (request_id.get(), notification)
        }
        other => panic!("not a notification: {other:?}"),
    }
}

async fn session(cluster: &TestCluster) -> Peer {
    let mut peer = Peer::connect(cluster, "node-1").await;
    peer.create().await.expect("created");
    peer
}

#[tokio::test]
async fn get_sees_the_set_before_it() {
    let cluster = TestCluster::builder().start().await.expect("starts");
    let mut peer = session(&cluster).await;
    assert_eq!(got(&peer.query(get("a")).await.expect("answered")), None);
    assert_eq!(peer.command(1, set("a", "1")).await.expect("answered"), payload(&b""[..]));
    assert_eq!(got(&peer.query(get("a")).await.expect("answered")), Some(value("1")));
}

#[tokio::test]
async fn watch_notifies_of_the_current_value_and_of_each_set() {
    let cluster = TestCluster::builder().start().await.expect("starts");
    let (mut watcher, mut writer) = (session(&cluster).await, session(&cluster).await);
    writer.command(1, set("a", "1")).await.expect("answered");
    watcher.command(1, watch("a")).await.expect("answered first");
    let now = |text| Notification { key: key("a"), value: value(text) };
    assert_eq!(notified(&mut watcher).await, (1, now("1")));
    writer.command(2, set("a", "2")).await.expect("answered");
    writer.command(3, set("b", "3")).await.expect("answered");
    assert_eq!(notified(&mut watcher).await, (2, now("2")));
    // A repeated Watch adds no second watch and notifies of the current value again.
    watcher.command(2, watch("a")).await.expect("answered");
    assert_eq!(notified(&mut watcher).await, (3, now("2")));
    writer.command(4, set("a", "4")).await.expect("answered");
    assert_eq!(notified(&mut watcher).await, (4, now("4")));
    let sessions = cluster.sessions();
    assert_eq!(sessions.iter().map(|session| session.unacknowledged).collect::<Vec<_>>(), [4, 0]);
}

#[tokio::test]
async fn set_is_answered_before_its_notification() {
    let cluster = TestCluster::builder().start().await.expect("starts");
    let mut peer = session(&cluster).await;
    peer.command(1, watch("a")).await.expect("answered");
    peer.command(2, set("a", "1")).await.expect("answered first");
    assert_eq!(notified(&mut peer).await.0, 1);
}

#[tokio::test]
async fn watches_end_with_the_session() {
    let cluster = TestCluster::builder().start().await.expect("starts");
    let (mut watcher, mut writer) = (session(&cluster).await, session(&cluster).await);
    watcher.command(1, watch("a")).await.expect("answered");
    let reason = zraft_protocol::CloseReason::ClientShutdown;
    watcher.send(&ClientMessage::CloseSession { reason }).await.expect("written");
    crate::sockets::peer::soon(cluster.wait_for(|engine| engine.sessions().count() == 1)).await;
    writer.command(1, set("a", "1")).await.expect("answered");
    assert_eq!(cluster.stats().engine.server_requests, 0);
}

#[tokio::test]
async fn foreign_payload_closes_only_its_connection() {
    let cluster = TestCluster::builder().start().await.expect("starts");
    let mut other = session(&cluster).await;
    for bad in [&b""[..], b"X", b"S\0\0\0\x05a", b"S\xff\xff\xff\xff", b"S\x7f\xff\xff\xff"] {
        let mut peer = session(&cluster).await;
        peer.send_command(1, payload(bad)).await.expect("written");
        assert!(matches!(peer.end().await, Ended::Eof | Ended::Reset));
    }
    assert_eq!(cluster.stats().engine.closed_rejected_payload, 5);
    other.command(1, set("a", "1")).await.expect("answered");
}
