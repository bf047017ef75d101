//! The client against SERVERs that others wrote.

#![allow(clippy::unwrap_used)]

use std::time::Duration;

use futures_util::future::join_all;
use zraft_client::{ClientBuilder, Event, Events, RaftClient};
use zraft_interop::{Make, Peer, within};

fn builder() -> ClientBuilder {
    RaftClient::builder()
        .capability("kind", "interop")
        .connection_timeout(Duration::from_secs(5))
        .resend_interval(Duration::from_millis(300))
        .request_timeout(Duration::from_secs(25))
}

fn member(builder: ClientBuilder, id: &str, port: u16) -> ClientBuilder {
    builder.member(id, format!("tcp://127.0.0.1:{port}"))
}

async fn event<T>(events: &mut Events, mut pick: impl FnMut(&Event) -> Option<T>) -> T {
    within(async {
        loop {
            let event = events.next().await.expect("the client lives");
            if let Some(picked) = pick(&event) {
                return picked;
            }
        }
    })
    .await
}

async fn disconnected(events: &mut Events) -> &'static str {
    event(events, |event| match event {
        Event::Disconnected { reason, .. } => Some(reason.name()),
        _ => None,
    })
    .await
}

/// Waits for the session's next connection, which must be a resumed one.
async fn resumed(events: &mut Events) {
    let resumed = event(events, |event| match event {
        Event::Connected { resumed, .. } => Some(*resumed),
        _ => None,
    })
    .await;
    assert!(resumed);
}

/// The position that the peer gave the command, and its payload.
fn position(answer: &[u8]) -> (u64, &[u8]) {
    let (position, payload) = answer.split_first_chunk::<8>().unwrap();
    (u64::from_be_bytes(*position), payload)
}

#[tokio::test]
async fn a_session_runs_from_create_to_close() {
    for make in Make::ready() {
        let (mut peer, port) = Peer::server(make, None).await;
        let client = member(builder(), "node-1", port).build().unwrap();
        within(client.connect()).await.unwrap();
        let commands = (0..200).map(|n| {
            let client = client.clone();
            async move {
                let payload = format!("command {n}");
                let answer = client.submit_command(payload.clone()).await.unwrap();
                assert_eq!(position(&answer).1, payload.as_bytes());
                position(&answer).0
            }
        });
        let mut positions = within(join_all(commands)).await;
        positions.sort_unstable();
        assert_eq!(positions, (1..=200).collect::<Vec<_>>());
        assert_eq!(within(client.submit_query("a query")).await.unwrap(), "a query");
        within(client.ping()).await.unwrap();
        within(client.disconnect()).await;
        peer.report("closed").await;
        let ids: Vec<u64> = peer.log().await.into_iter().map(|(id, _)| id).collect();
        assert_eq!(ids, (1..=200).collect::<Vec<_>>());
    }
}

#[tokio::test]
async fn a_mebibyte_goes_both_ways() {
    for make in Make::ready() {
        let (_peer, port) = Peer::server(make, None).await;
        let client = member(builder(), "node-1", port).build().unwrap();
        within(client.connect()).await.unwrap();
        let payload: Vec<u8> = (0..1 << 20).map(|n: u32| (n % 251) as u8).collect();
        let answer = within(client.submit_command(payload.clone())).await.unwrap();
        assert_eq!(position(&answer), (1, &payload[..]));
        within(client.disconnect()).await;
    }
}

#[tokio::test]
async fn a_followers_hint_is_followed() {
    for make in Make::ready() {
        let (mut follower, first) = Peer::server(make, None).await;
        let (_leader, third) = Peer::server(make, None).await;
        let (_other, second) = Peer::server(make, None).await;
        follower.tell("follower node-3").await;
        let client = member(builder(), "node-1", first);
        let client = member(member(client, "node-2", second), "node-3", third).build().unwrap();
        within(client.connect()).await.unwrap();
        assert_eq!(client.member_id().unwrap().as_str(), "node-3");
        within(client.disconnect()).await;
    }
}

#[tokio::test]
async fn a_leader_that_steps_down_is_left_for_the_one_it_names_and_the_session_follows() {
    for make in Make::ready() {
        let (mut peer, port) = Peer::server(make, None).await;
        let client = member(builder(), "node-1", port).build().unwrap();
        let mut events = client.events();
        within(client.connect()).await.unwrap();
        within(client.submit_command("one")).await.unwrap();
        // The only member steps down and leads again at once.
        peer.tell("close 2 -").await;
        assert_eq!(disconnected(&mut events).await, "notLeader");
        resumed(&mut events).await;
        let answer = within(client.submit_command("two")).await.unwrap();
        assert_eq!(position(&answer), (2, &b"two"[..]));
        within(client.disconnect()).await;
    }
}

#[tokio::test]
async fn server_requests_arrive_in_order_and_are_acknowledged() {
    for make in Make::ready() {
        let (mut peer, port) = Peer::server(make, None).await;
        let client = member(builder(), "node-1", port).build().unwrap();
        let mut requests = client.server_requests().unwrap();
        within(client.connect()).await.unwrap();
        for payload in ["aa", "bb", "cc"] {
            peer.tell(&format!("push {payload}")).await;
        }
        for (number, payload) in [(1, 0xaa), (2, 0xbb), (3, 0xcc)] {
            let request = within(requests.next()).await.unwrap();
            assert_eq!((request.request_id.get(), &request.payload[..]), (number, &[payload][..]));
        }
        peer.report("ack 3").await;
        within(client.disconnect()).await;
    }
}

#[tokio::test]
async fn a_command_that_the_server_drops_is_sent_again_and_applied_once() {
    for make in Make::ready() {
        let (mut peer, port) = Peer::server(make, None).await;
        let client = member(builder(), "node-1", port).build().unwrap();
        within(client.connect()).await.unwrap();
        peer.tell("drop 1").await;
        let answer = within(client.submit_command("dropped once")).await.unwrap();
        assert_eq!(position(&answer), (1, &b"dropped once"[..]));
        peer.report("dropped 1").await;
        assert_eq!(peer.log().await.len(), 1);
        assert!(client.stats().resent >= 1);
        within(client.disconnect()).await;
    }
}

#[tokio::test]
async fn an_undecodable_message_is_skipped_and_told() {
    for make in Make::ready() {
        let (mut peer, port) = Peer::server(make, None).await;
        let client = member(builder(), "node-1", port).build().unwrap();
        let mut events = client.events();
        within(client.connect()).await.unwrap();
        peer.tell("raw 7a72616674016300").await;
        event(&mut events, |event| matches!(event, Event::ProtocolError { .. }).then_some(()))
            .await;
        within(client.submit_command("goes on")).await.unwrap();
        within(client.disconnect()).await;
    }
}

#[tokio::test]
async fn a_killed_server_is_noticed_at_once_and_its_successor_found() {
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
        let client = member(builder(), "node-1", port)
            .heartbeat_interval(Duration::from_millis(100))
            .heartbeat_timeout(Duration::from_millis(500))
            .build()
            .unwrap();
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
