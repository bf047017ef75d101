//! The client, and SERVERs that others wrote which are killed, restarted, frozen, or no SERVERs.

use std::time::Duration;

use futures_util::future::join_all;
use zraft_client::{ClientBuilder, ConnectionCause, Event};
use zraft_interop::{Make, Peer, State, within};

use crate::support::{builder, disconnected, event, hex, member, position, resumed};

/// PING every 100 ms, and 500 ms of patience.
fn impatient() -> ClientBuilder {
    builder()
        .heartbeat_interval(Duration::from_millis(100))
        .heartbeat_timeout(Duration::from_millis(500))
}

#[tokio::test]
async fn a_server_killed_and_restarted_on_its_port_resumes_the_session_and_applies_all_once() {
    for make in Make::ready() {
        let state = State::new();
        let (mut peer, port) = Peer::server_keeping(make, &state, None).await;
        let client = member(builder(), "node-1", port).build().unwrap();
        let mut events = client.events();
        within(client.connect()).await.unwrap();
        let session = client.session_id();
        within(client.submit_command("before")).await.unwrap();

        // Two were received and lost, the others are applied or not when it dies.
        peer.tell("drop 2").await;
        let pending: Vec<_> =
            (0..100_u8).map(|n| client.try_submit_command(vec![n]).unwrap()).collect();
        peer.report("dropped 3").await;
        peer.kill().await;
        assert_eq!(disconnected(&mut events).await, "connectionLost");
        let (mut peer, _) = Peer::server_keeping(make, &state, Some(port)).await;
        resumed(&mut events).await;
        assert_eq!(client.session_id(), session);

        for (n, answer) in (0..100_u8).zip(within(join_all(pending)).await) {
            assert_eq!(position(&answer.unwrap()).1, [n]);
        }
        let mut log = peer.log().await;
        log.sort_unstable();
        let mut expected = vec![(1, hex(b"before"))];
        expected.extend((0..100_u8).map(|n| (u64::from(n) + 2, hex(&[n]))));
        assert_eq!(log, expected, "every command is applied once");
        assert_eq!(client.stats().reconnects, 1);
        within(client.disconnect()).await;
    }
}

#[tokio::test]
async fn a_successor_that_knows_no_sessions_ends_the_session() {
    for make in Make::ready() {
        let (peer, port) = Peer::server(make, None).await;
        let client = member(builder(), "node-1", port).build().unwrap();
        let mut events = client.events();
        within(client.connect()).await.unwrap();
        within(client.ping()).await.unwrap();
        peer.kill().await;
        assert_eq!(disconnected(&mut events).await, "connectionLost");
        // The new process knows no sessions: said again after five seconds, that is believed of a lone member.
        let (_peer, _) = Peer::server(make, Some(port)).await;
        event(&mut events, |event| matches!(event, Event::SessionExpired { .. }).then_some(()))
            .await;
        within(client.connect()).await.unwrap();
        within(client.submit_command("anew")).await.unwrap();
        within(client.disconnect()).await;
    }
}

#[tokio::test]
async fn a_frozen_server_is_noticed_by_heartbeat_and_its_session_resumed() {
    for make in Make::ready() {
        let (mut peer, port) = Peer::server(make, None).await;
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
        assert_eq!(peer.log().await.len(), 2, "the command is applied once");
        within(client.disconnect()).await;
    }
}

#[tokio::test]
async fn a_frozen_leader_is_left_for_another_member_and_the_session_with_it() {
    for make in Make::ready() {
        let state = State::new();
        let (frozen, frozen_port) = Peer::server_keeping(make, &state, None).await;
        let (mut new, new_port) = Peer::server_keeping(make, &state, None).await;
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
async fn a_server_frozen_for_less_than_the_heartbeat_timeout_keeps_its_connection() {
    for make in Make::ready() {
        let (mut peer, port) = Peer::server(make, None).await;
        let client = member(builder(), "node-1", port)
            .heartbeat_interval(Duration::from_millis(100))
            .heartbeat_timeout(Duration::from_secs(20))
            .build()
            .unwrap();
        within(client.connect()).await.unwrap();
        within(client.submit_command("before")).await.unwrap();
        peer.freeze();
        let during = client.try_submit_command("during").unwrap();
        // It was sent again at least once: that much time has passed.
        within(async {
            while client.stats().resent == 0 {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        })
        .await;
        peer.thaw();
        assert_eq!(position(&within(during).await.unwrap()), (2, &b"during"[..]));
        assert_eq!(client.stats().reconnects, 0);
        assert_eq!(peer.log().await.len(), 2, "the copies are not applied");
        within(client.disconnect()).await;
    }
}

#[tokio::test]
async fn a_router_is_told_from_a_member_and_the_next_one_is_asked() {
    for make in Make::ready() {
        let (_router, router_port) = Peer::server_with(make, &["type=ROUTER"]).await;
        let (_peer, port) = Peer::server(make, None).await;
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
        // Whichever of the two sees the other's type first.
        let refused = cause.to_string().contains("ROUTER");
        assert!(refused || cause == ConnectionCause::ClosedBeforeFirstMessage, "{cause}");
        within(client.disconnect()).await;
    }
}

#[tokio::test]
async fn a_server_that_never_answers_is_told_from_one_that_is_not_there() {
    for make in Make::ready() {
        // A SERVER that shakes hands and says nothing we understand: its Raft port, say.
        let (mut peer, port) = Peer::server(make, None).await;
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
        // It speaks again: the client is still asking.
        peer.tell("leader").await;
        within(connect).await.unwrap();
        within(client.disconnect()).await;
    }
}
