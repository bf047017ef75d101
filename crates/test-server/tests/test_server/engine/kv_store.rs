//! The key-value store's timer and limit. `sockets::kv` tests its answers.

use zraft_kv::{Command, GetResult, Key, Query, Value};
use zraft_protocol::{Payload, ServerMessage};
use zraft_test_server::{KvStore, PeerId};

use crate::engine::rig::{Rig, config, payload, secs};

fn key(text: &str) -> Key {
    Key::new(text).expect("short")
}

fn set(to: &str, value: &str) -> Payload {
    let value = Value::new(value).expect("short");
    payload(&Command::Set { key: key(to), value }.encode())
}

fn watch(what: &str) -> Payload {
    payload(&Command::Watch { key: key(what) }.encode())
}

fn has(rig: &mut Rig, peer: PeerId, what: &str) -> bool {
    rig.received(peer);
    rig.query(peer, "q", payload(&Query::Get { key: key(what) }.encode()));
    match rig.received(peer).pop() {
        Some(ServerMessage::QueryResponse { result, .. }) => {
            GetResult::decode(result.as_bytes()).expect("decodes").value.is_some()
        }
        other => panic!("not answered: {other:?}"),
    }
}

#[test]
fn unwatched_keys_are_removed_every_five_minutes() {
    let mut config = config(1);
    config.session_timeout = secs(100_000);
    let mut rig = Rig::with(config, KvStore::new());
    let (peer, _) = rig.session();
    rig.after(secs(298));
    rig.command_of(peer, 1, 1, set("plain", "1"));
    rig.command_of(peer, 2, 2, set("watched", "1"));
    rig.command_of(peer, 3, 3, watch("watched"));
    rig.after(secs(1));
    assert!(has(&mut rig, peer, "plain") && has(&mut rig, peer, "watched"));
    rig.after(secs(2));
    assert!(!has(&mut rig, peer, "plain"), "seconds after its Set");
    assert!(has(&mut rig, peer, "watched"));
    rig.command_of(peer, 4, 4, set("plain", "2"));
    rig.after(secs(298));
    assert!(has(&mut rig, peer, "plain"));
    rig.after(secs(2));
    assert!(!has(&mut rig, peer, "plain"));
}

#[test]
fn key_watched_only_by_an_ended_session_is_removed() {
    let mut rig = Rig::with(config(1), KvStore::new());
    let (peer, _) = rig.session();
    rig.command_of(peer, 1, 1, set("a", "1"));
    rig.command_of(peer, 2, 2, watch("a"));
    rig.commit();
    rig.close_session(peer);
    rig.after(secs(301));
    let (peer, _) = rig.session();
    assert!(!has(&mut rig, peer, "a"));
}

#[test]
fn store_rejects_commands_beyond_its_limit() {
    let mut rig = Rig::with(config(1), KvStore::with_limit(1000));
    let (peer, session) = rig.session();
    for number in 1..=20 {
        rig.command_of(peer, number, number, set("same", &"x".repeat(500)));
    }
    rig.commit();
    assert_eq!(rig.received(peer).len(), 20, "a value replaced makes room");
    rig.command_of(peer, 21, 21, set("other", &"x".repeat(500)));
    rig.commit();
    assert!(rig.closed.contains_key(&peer));
    let peer = rig.resumed(&session);
    assert!(has(&mut rig, peer, "same") && !has(&mut rig, peer, "other"));
}
