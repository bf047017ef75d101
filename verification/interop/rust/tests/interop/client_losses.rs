//! Tests the client against SERVERs that others wrote and that are killed, restarted or frozen, and against other sockets.

use std::time::Duration;

use futures_util::future::join_all;
use zraft_client::{ClientBuilder, ConnectionCause, Event};
use zraft_interop::{Library, Peer, State, within};

use crate::support::{builder, disconnected, event, hex, member, position, resumed};

/// Settings with a PING every 100 ms and a heartbeat timeout of 500 ms.
fn impatient() -> ClientBuilder {
    builder()
        .heartbeat_interval(Duration::from_millis(100))
        .heartbeat_timeout(Duration::from_millis(500))
}

#[tokio::test]
async fn session_resumes_at_a_server_restarted_on_its_port_and_each_command_is_executed_once() {
    for library in Library::ready() {
        let state = State::new();
        let (mut peer, port) = Peer::server_keeping(library, &state, None).await;
        let client = member(builder(), "node-1", port).build().unwrap();
        let mut events = client.events();
        within(client.connect()).await.unwrap();
        let session = client.session_id();
        within(client.submit_command("before")).await.unwrap();

        // The server drops two commands, and has executed some of the others when it is killed.
        peer.tell("drop 2").await;
        let pending: Vec<_> =
            (0..100_u8).map(|n| client.try_submit_command(vec![n]).unwrap()).collect();
        peer.report("dropped 3").await;
        peer.kill().await;
        assert_eq!(disconnected(&mut events).await, "connectionLost");
        let (mut peer, _) = Peer::server_keeping(library, &state, Some(port)).await;
        resumed(&mut events).await;
        assert_eq!(client.session_id(), session);

        for (n, answer) in (0..100_u8).zip(within(join_all(pending)).await) {
            assert_eq!(position(&answer.unwrap()).1, [n]);
        }
        let mut log = peer.log().await;
        log.sort_unstable();
        let mut expected = vec![(1, hex(b"before"))];
        expected.extend((0..100_u8).map(|n| (u64::from(n) + 2, hex(&[n]))));
        assert_eq!(log, expected, "each command is executed once");
        assert_eq!(client.stats().reconnects, 1);
        within(client.disconnect()).await;
    }
}

#[tokio::test]
async fn restarted_server_without_sessions_ends_the_session() {
    for library in Library::ready() {
        let (peer, port) = Peer::server(library, None).await;
        let client = member(builder(), "node-1", port).build().unwrap();
        let mut events = client.events();
        within(client.connect()).await.unwrap();
        within(client.ping()).await.unwrap();
        peer.kill().await;
        assert_eq!(disconnected(&mut events).await, "connectionLost");
        // The new process knows no session. The client believes a lone member that says so twice within five seconds.
        let (_peer, _) = Peer::server(library, Some(port)).await;
        event(&mut events, |event| matches!(event, Event::SessionExpired { .. }).then_some(()))
            .await;
        within(client.connect()).await.unwrap();
        within(client.submit_command("again")).await.unwrap();
        within(client.disconnect()).await;
    }
}

#[tokio::test]
async fn client_notices_a_frozen_server_by_heartbeat_and_resumes_the_session() {
    for library in Library::ready() {
        let (mut peer, port) = Peer::server(library, None).await;
        let client = member(impatient(), "node-1", port).build().unwrap();
        let mut events = client.events();
        within(client.connect()).await.unwrap();
        within(client.submit_command("before")).await.unwrap();
        peer.freeze();
        let during = client.try_submit_command("during").unwrap();
        assert_eq!(disconnected(&mut events).await, "heartbeatTimeout");
        peer.thaw();
        resumed(&mut events).await;
        within(during).await.unwrap();
        assert_eq!(peer.log().await.len(), 2, "the command is executed once");
        within(client.disconnect()).await;
    }
}

#[tokio::test]
async fn client_moves_from_a_frozen_leader_to_another_member_in_the_same_session() {
    for library in Library::ready() {
        let state = State::new();
        let (frozen, frozen_port) = Peer::server_keeping(library, &state, None).await;
        let (mut new, new_port) = Peer::server_keeping(library, &state, None).await;
        let client = member(impatient(), "node-1", frozen_port);
        let client = member(client, "node-2", new_port).build().unwrap();
        let mut events = client.events();
        within(client.connect()).await.unwrap();
        within(client.submit_command("before")).await.unwrap();
        frozen.freeze();
        new.tell("leader").await;
        let during = client.try_submit_command("during").unwrap();
        assert_eq!(disconnected(&mut events).await, "heartbeatTimeout");
        resumed(&mut events).await;
        assert_eq!(client.member_id().unwrap().as_str(), "node-2");
        within(during).await.unwrap();
        assert_eq!(new.log().await, [(1, hex(b"before")), (2, hex(b"during"))]);
        within(client.disconnect()).await;
    }
}

#[tokio::test]
async fn connection_survives_a_freeze_shorter_than_the_heartbeat_timeout() {
    for library in Library::ready() {
        let (mut peer, port) = Peer::server(library, None).await;
        let client = member(builder(), "node-1", port)
            .heartbeat_interval(Duration::from_millis(100))
            .heartbeat_timeout(Duration::from_secs(20))
            .build()
            .unwrap();
        within(client.connect()).await.unwrap();
        within(client.submit_command("before")).await.unwrap();
        peer.freeze();
        let during = client.try_submit_command("during").unwrap();
        // Wait until the client has resent the command, which shows that the server was frozen for a while.
        within(async {
            while client.stats().resent == 0 {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        })
        .await;
        peer.thaw();
        assert_eq!(position(&within(during).await.unwrap()), (2, &b"during"[..]));
        assert_eq!(client.stats().reconnects, 0);
        assert_eq!(peer.log().await.len(), 2, "the copies are not executed");
        within(client.disconnect()).await;
    }
}

#[tokio::test]
async fn client_recognises_a_router_and_asks_the_next_member() {
    for library in Library::ready() {
        let (_router, router_port) = Peer::server_with(library, &["type=ROUTER"]).await;
        let (_peer, port) = Peer::server(library, None).await;
        let client = member(builder(), "node-1", router_port);
        let client = member(client, "node-2", port).build().unwrap();
        let mut events = client.events();
        within(client.connect()).await.unwrap();
        assert_eq!(client.member_id().unwrap().as_str(), "node-2");
        let cause = event(&mut events, |event| match event {
            Event::ConnectionFailure { member_id, error } if member_id.as_str() == "node-1" => {
                Some(error.clone())
            }
            _ => None,
        })
        .await;
        // Either side may see the other's type first.
        let refused = cause.to_string().contains("ROUTER");
        assert!(refused || cause == ConnectionCause::ClosedBeforeFirstMessage, "{cause}");
        within(client.disconnect()).await;
    }
}

#[tokio::test]
async fn server_that_never_answers_has_its_own_cause() {
    for library in Library::ready() {
        // A SERVER that completes the ZMTP handshake and never answers, such as the port for other members.
        let (mut peer, port) = Peer::server(library, None).await;
        peer.tell("mute").await;
        let client = member(builder(), "node-1", port)
            .connection_timeout(Duration::from_millis(300))
            .build()
            .unwrap();
        let mut events = client.events();
        let connect = client.connect();
        let cause = event(&mut events, |event| match event {
            Event::ConnectionFailure { error, .. } => Some(error.clone()),
            _ => None,
        })
        .await;
        assert_eq!(cause, ConnectionCause::NeverAnswered);
        // The client still asks when the server answers again.
        peer.tell("leader").await;
        within(connect).await.unwrap();
        within(client.disconnect()).await;
    }
}
