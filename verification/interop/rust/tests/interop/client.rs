//! Tests the client against SERVERs that others wrote.

use futures_util::future::join_all;
use zraft_client::Event;
use zraft_interop::{Library, Peer, State, within};
use zraft_protocol::{Payload, RequestId, ServerMessage, Timestamp};

use crate::support::{builder, disconnected, event, hex, member, position, resumed};

#[tokio::test]
async fn a_session_runs_from_create_to_close() {
    for library in Library::ready() {
        let (mut peer, port) = Peer::server(library, None).await;
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
    for library in Library::ready() {
        let (_peer, port) = Peer::server(library, None).await;
        let client = member(builder(), "node-1", port).build().unwrap();
        within(client.connect()).await.unwrap();
        let payload: Vec<u8> = (0..1 << 20).map(|n: u32| (n % 251) as u8).collect();
        let answer = within(client.submit_command(payload.clone())).await.unwrap();
        assert_eq!(position(&answer), (1, &payload[..]));
        within(client.disconnect()).await;
    }
}

#[tokio::test]
async fn ten_thousand_commands_are_each_executed_once_and_in_order() {
    for library in Library::ready() {
        let (mut peer, port) = Peer::server(library, None).await;
        let client = member(builder(), "node-1", port).build().unwrap();
        within(client.connect()).await.unwrap();
        // Commands are queued in the order in which they are polled first.
        let answers = within(join_all(
            (0..10_000_u32).map(|n| client.submit_command(n.to_be_bytes().to_vec()).into_future()),
        ))
        .await;
        for (n, answer) in (0..10_000_u32).zip(&answers) {
            let payload = n.to_be_bytes();
            assert_eq!(position(answer.as_ref().unwrap()), (u64::from(n) + 1, &payload[..]));
        }
        let log: Vec<_> =
            (0..10_000_u32).map(|n| (u64::from(n) + 1, hex(&n.to_be_bytes()))).collect();
        assert!(peer.log().await == log, "the peer executed other commands");
        within(client.disconnect()).await;
    }
}

#[tokio::test]
async fn client_follows_the_hint_of_a_follower() {
    for library in Library::ready() {
        let (mut follower, first) = Peer::server(library, None).await;
        let (_leader, third) = Peer::server(library, None).await;
        let (_other, second) = Peer::server(library, None).await;
        follower.tell("follower node-3").await;
        let client = member(builder(), "node-1", first);
        let client = member(member(client, "node-2", second), "node-3", third).build().unwrap();
        within(client.connect()).await.unwrap();
        assert_eq!(client.member_id().unwrap().as_str(), "node-3");
        within(client.disconnect()).await;
    }
}

#[tokio::test]
async fn client_goes_from_a_follower_without_a_hint_to_the_next_member() {
    for library in Library::ready() {
        let (mut first, first_port) = Peer::server(library, None).await;
        let (_second, second_port) = Peer::server(library, None).await;
        first.tell("follower -").await;
        let client = member(builder(), "node-1", first_port);
        let client = member(client, "node-2", second_port).build().unwrap();
        within(client.connect()).await.unwrap();
        assert_eq!(client.member_id().unwrap().as_str(), "node-2");
        within(client.disconnect()).await;
    }
}

#[tokio::test]
async fn client_follows_a_leader_that_steps_down_to_the_named_member_in_the_same_session() {
    for library in Library::ready() {
        let state = State::new();
        let (mut old, old_port) = Peer::server_keeping(library, &state, None).await;
        let (_bystander, bystander_port) = Peer::server_with(library, &[]).await;
        let (mut new, new_port) = Peer::server_keeping(library, &state, None).await;
        let client = member(builder(), "node-1", old_port);
        let client = member(client, "node-2", bystander_port);
        let client = member(client, "node-3", new_port).build().unwrap();
        let mut events = client.events();
        within(client.connect()).await.unwrap();
        within(client.submit_command("one")).await.unwrap();
        let session = client.session_id();

        // The client resends the command that the old leader received and did not execute.
        old.tell("drop 1").await;
        let lost = client.try_submit_command("two").unwrap();
        old.report("dropped 2").await;
        new.tell("leader").await;
        old.tell("follower node-3").await;
        old.tell("close 2 node-3").await;
        assert_eq!(disconnected(&mut events).await, "notLeader");
        resumed(&mut events).await;
        assert_eq!(client.member_id().unwrap().as_str(), "node-3");
        assert_eq!(client.session_id(), session);
        assert_eq!(position(&within(lost).await.unwrap()), (2, &b"two"[..]));
        assert_eq!(new.log().await, [(1, hex(b"one")), (2, hex(b"two"))]);
        within(client.disconnect()).await;
    }
}

#[tokio::test]
async fn lone_leader_that_steps_down_and_leads_again_keeps_the_session() {
    for library in Library::ready() {
        let (mut peer, port) = Peer::server(library, None).await;
        let client = member(builder(), "node-1", port).build().unwrap();
        let mut events = client.events();
        within(client.connect()).await.unwrap();
        within(client.submit_command("one")).await.unwrap();
        peer.tell("close 2 -").await;
        assert_eq!(disconnected(&mut events).await, "notLeader");
        resumed(&mut events).await;
        let answer = within(client.submit_command("two")).await.unwrap();
        assert_eq!(position(&answer), (2, &b"two"[..]));
        within(client.disconnect()).await;
    }
}

#[tokio::test]
async fn session_that_the_server_ends_is_reported() {
    for library in Library::ready() {
        let (mut peer, port) = Peer::server(library, None).await;
        let client = member(builder(), "node-1", port).build().unwrap();
        let mut events = client.events();
        within(client.connect()).await.unwrap();
        peer.tell("drop 1").await;
        let lost = client.try_submit_command("dropped").unwrap();
        peer.report("dropped 1").await;
        peer.tell("close 5 -").await;
        event(&mut events, |event| matches!(event, Event::SessionExpired { .. }).then_some(()))
            .await;
        let error = within(lost).await.unwrap_err();
        assert_eq!((error.code(), error.maybe_executed()), ("SESSION_EXPIRED", true));
        // connect() begins a new session.
        within(client.connect()).await.unwrap();
        within(client.submit_command("again")).await.unwrap();
        within(client.disconnect()).await;
    }
}

#[tokio::test]
async fn server_requests_arrive_in_order_and_are_acknowledged() {
    for library in Library::ready() {
        let (mut peer, port) = Peer::server(library, None).await;
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
async fn server_requests_out_of_order_wait_and_a_copy_is_acknowledged_again() {
    for library in Library::ready() {
        let (mut peer, port) = Peer::server(library, None).await;
        let client = member(builder(), "node-1", port).build().unwrap();
        let mut requests = client.server_requests().unwrap();
        within(client.connect()).await.unwrap();
        for number in [3, 2, 1] {
            peer.tell(&format!("raw {}", server_request(number))).await;
        }
        for number in 1..=3 {
            let request = within(requests.next()).await.unwrap();
            assert_eq!(request.request_id.get(), number);
            assert_eq!(request.payload[..], [number as u8]);
        }
        peer.report("ack 3").await;
        peer.tell(&format!("raw {}", server_request(1))).await;
        peer.report("ack 3").await;
        assert_eq!(client.stats().duplicates, 1);
        // The copy was not delivered: the next one is new.
        peer.tell(&format!("raw {}", server_request(4))).await;
        assert_eq!(within(requests.next()).await.unwrap().request_id.get(), 4);
        within(client.disconnect()).await;
    }
}

fn server_request(number: u64) -> String {
    let mut frame = Vec::new();
    ServerMessage::ServerRequest {
        request_id: RequestId::new(number).unwrap(),
        payload: Payload::new(vec![number as u8]).unwrap(),
        created_at: Timestamp::from_millis(1),
    }
    .encode(&mut frame);
    hex(&frame)
}

#[tokio::test]
async fn command_that_the_server_drops_is_resent_and_executed_once() {
    for library in Library::ready() {
        let (mut peer, port) = Peer::server(library, None).await;
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
async fn undecodable_message_is_skipped_and_reported() {
    for library in Library::ready() {
        let (mut peer, port) = Peer::server(library, None).await;
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
