//! No text shows the session id or the value of a capability.

use crate::common::*;
use zraft_core::{Config, Event, Failure};
use zraft_protocol::{CorrelationId, ServerMessage, SessionCloseReason};

const VALUE: &str = "a-bearer-token";

fn config() -> zraft_core::ConfigBuilder {
    Config::builder()
        .member("node-1", "tcp://127.0.0.1:7001")
        .member("node-2", "tcp://127.0.0.1:7002")
        .capability("token", VALUE)
}

fn shows_nothing(text: &str) {
    assert!(!text.contains(SESSION), "{text}");
    assert!(!text.contains(&SESSION[..8]), "{text}");
    assert!(!text.contains(VALUE), "{text}");
}

#[test]
fn debug_forms_of_events_completions_and_the_machine_mask_the_secrets() {
    let mut world = World::new(config());
    world.machine.observe_messages(true);
    world.connect();
    let shown = format!("{:?}", world.machine);
    shows_nothing(&shown);
    assert!(shown.contains("ConnectingNewSession") && shown.contains("stats"), "{shown}");
    let conn = world.accept("node-1");
    world.create(conn);
    world.command("x");
    world.answer_keep_alive(conn);
    world.closed(conn, SessionCloseReason::NotLeaderAnymore, None);
    let conn = world.accept("node-2");
    world.resume(conn);
    shows_nothing(&format!("{:?} {:#?}", world.machine, world.machine));
    shows_nothing(&format!("{:?}", world.machine.config()));
    shows_nothing(&format!("{:?}", world.machine.session_id()));
    world.closed(conn, SessionCloseReason::SessionExpired, None);
    let failure = world
        .machine
        .submit(world.now, zraft_core::RequestKind::Command, "x".into(), Default::default())
        .unwrap_err();
    shows_nothing(&format!("{failure:?} {failure}"));
    for event in &world.events {
        shows_nothing(&format!("{event:?} {event:#?}"));
    }
    for completion in &world.completions {
        shows_nothing(&format!("{completion:?} {completion:#?}"));
    }
    shows_nothing(&format!("{:?}", world.machine));
    // The secrets were there to be shown.
    assert!(world.events.iter().any(|event| matches!(event, Event::SessionExpired { .. })));
    let sent = world.events.iter().filter(|event| matches!(event, Event::MessageSent { .. }));
    assert!(sent.count() >= 4);
}

#[test]
fn accessors_give_the_session_id() {
    let (mut world, conn) = World::connected(config());
    assert_eq!(world.machine.session_id().map(zraft_protocol::SessionId::as_str), Some(SESSION));
    world.closed(conn, SessionCloseReason::SessionExpired, None);
    let failure = world
        .machine
        .submit(world.now, zraft_core::RequestKind::Command, "x".into(), Default::default())
        .unwrap_err();
    match failure {
        Failure::SessionExpired { session_id: Some(id), .. } => assert_eq!(id.as_str(), SESSION),
        other => panic!("{other:?}"),
    }
}

#[test]
fn payloads_are_shown_by_their_length_only() {
    let mut world = World::new(config());
    world.machine.observe_messages(true);
    world.connect();
    let conn = world.accept("node-1");
    world.create(conn);
    world.command("private words");
    world.query("private words");
    world.server_request(conn, 1, "private words");
    let correlation_id = CorrelationId::new("c").unwrap();
    let result = payload("private words");
    world.say(conn, ServerMessage::QueryResponse { correlation_id, result });
    for event in &world.events {
        assert!(!format!("{event:?}").contains("private"), "{event:?}");
    }
    assert!(!format!("{:?}", world.machine).contains("private"));
}
