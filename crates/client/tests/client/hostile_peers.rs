//! Peers that are absent, silent, of another kind or malicious: the client reports a clear cause, uses limited memory,
//! and goes on to the next member.

use std::time::Duration;

use crate::support::raw::{Connection, Peer, connected};
use crate::support::{builder, next_event, reaches, within};
use zraft_client::{ConnectionCause, Error, Event, RaftClient, StateName};
use zraft_protocol::ServerMessage;

const SHORT: Duration = Duration::from_millis(700);

/// Returns a client of a bad member alone, and a client with a good member after the bad one.
fn clients(bad: &str, good: &Peer) -> (RaftClient, RaftClient) {
    let alone = builder().member("bad", bad);
    let both = alone.clone().member("good", good.endpoint());
    (alone.build().unwrap(), both.build().unwrap())
}

async fn connection_error(client: &RaftClient) -> (Option<String>, ConnectionCause) {
    match within(client.connect_within(SHORT)).await {
        Err(Error::Connection { endpoint, cause, .. }) => (endpoint, cause),
        other => panic!("expected a connection error: {other:?}"),
    }
}

/// Checks that connect() to `bad` alone fails and names it, and that a client with a good member after it gets a
/// session. Returns the cause that both reported.
async fn cause_of_a_bad_member(bad: &str) -> ConnectionCause {
    let good = Peer::bind().await;
    let (alone, both) = clients(bad, &good);
    let (endpoint, cause) = connection_error(&alone).await;
    assert_eq!(endpoint.as_deref(), Some(bad));
    assert_eq!(*alone.state().borrow(), StateName::Disconnected);

    let mut events = both.events();
    let connect = both.connect();
    let mut connection = good.accept_session("session").await;
    within(connect).await.unwrap();
    assert_eq!(both.member_id().unwrap().as_str(), "good");
    // A member that says nothing is overtaken, and reports no failure.
    if !matches!(cause, ConnectionCause::TimedOut | ConnectionCause::NeverAnswered) {
        let reported = next_event(&mut events, |event| match event {
            Event::ConnectionFailure { member_id, error } => {
                Some((member_id.as_str().to_owned(), error.clone()))
            }
            _ => None,
        });
        assert_eq!(reported.await, ("bad".to_owned(), cause.clone()));
    }

    let answer = both.try_submit_command("hello").unwrap();
    let (id, payload) = connection.command().await;
    assert_eq!(payload.as_ref(), b"hello");
    connection.answer(id, b"world").await;
    assert_eq!(within(answer).await.unwrap().as_ref(), b"world");
    cause
}

/// Does the same with a peer that treats every connection like this.
async fn cause_of_a_peer_that<F, R>(treat: F) -> ConnectionCause
where
    F: Fn(Connection) -> R + Send + Sync + 'static,
    R: Future<Output = ()> + Send + 'static,
{
    let bad = Peer::bind().await;
    let endpoint = bad.endpoint();
    let task = tokio::spawn(async move {
        loop {
            tokio::spawn(treat(bad.accept().await));
        }
    });
    let cause = cause_of_a_bad_member(&endpoint).await;
    task.abort();
    cause
}

#[tokio::test]
async fn closed_port_is_reported_as_refused() {
    let endpoint = Peer::bind().await.endpoint();
    assert_eq!(cause_of_a_bad_member(&endpoint).await, ConnectionCause::Refused);
}

#[tokio::test]
async fn unknown_host_is_reported_as_unknown() {
    let cause = cause_of_a_bad_member("tcp://no-such-host.invalid:7001").await;
    assert_eq!(cause, ConnectionCause::UnknownHost);
}

#[cfg(unix)]
#[tokio::test]
async fn missing_socket_file_is_reported_as_refused() {
    let cause = cause_of_a_bad_member("ipc:///nowhere/zraft.sock").await;
    assert_eq!(cause, ConnectionCause::Refused);
}

#[tokio::test]
async fn silent_peer_is_overtaken_and_has_a_cause_where_it_is_alone() {
    let cause = cause_of_a_peer_that(Connection::until_closed).await;
    assert_eq!(cause, ConnectionCause::TimedOut);
}

#[tokio::test]
async fn peer_that_never_answers_after_the_handshake_has_its_own_cause() {
    let cause = cause_of_a_peer_that(|mut connection| async move {
        connection.shake_hands("SERVER").await;
        connection.until_closed().await;
    })
    .await;
    assert_eq!(cause, ConnectionCause::NeverAnswered);
}

#[tokio::test]
async fn peer_that_closes_at_once_has_its_own_cause() {
    let cause = cause_of_a_peer_that(|connection| async move { drop(connection) }).await;
    assert_eq!(cause, ConnectionCause::ClosedBeforeFirstMessage);
}

#[tokio::test]
async fn peer_that_closes_after_the_handshake_has_its_own_cause() {
    let cause = cause_of_a_peer_that(|mut connection| async move {
        connection.shake_hands("SERVER").await;
    })
    .await;
    assert_eq!(cause, ConnectionCause::ClosedBeforeFirstMessage);
}

#[tokio::test]
async fn peer_that_speaks_http_is_reported_as_not_zmtp() {
    let cause = cause_of_a_peer_that(|mut connection| async move {
        connection.write(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n").await;
        connection.until_closed().await;
    })
    .await;
    assert!(matches!(cause, ConnectionCause::Zmtp(_)), "{cause:?}");
}

#[tokio::test]
async fn wrong_socket_type_is_refused_and_named() {
    let cause = cause_of_a_peer_that(|mut connection| async move {
        connection.shake_hands("ROUTER").await;
        connection.until_closed().await;
    })
    .await;
    assert!(cause.to_string().contains("ROUTER"), "{cause}");
}

#[tokio::test]
async fn handshake_that_announces_a_gigabyte_is_refused() {
    let cause = cause_of_a_peer_that(|mut connection| async move {
        let mut greeting = [0; 64];
        greeting[..10].copy_from_slice(&[0xff, 0, 0, 0, 0, 0, 0, 0, 1, 0x7f]);
        greeting[10] = 3;
        greeting[12..16].copy_from_slice(b"NULL");
        connection.write(&greeting).await;
        connection.write(&[6, 0, 0, 0, 0, 0x40, 0, 0, 0]).await;
        connection.until_closed().await;
    })
    .await;
    assert!(matches!(cause, ConnectionCause::Zmtp(_)), "{cause:?}");
}

/// Returns the start of an answer to a command.
fn answer_head(request_id: u64) -> Vec<u8> {
    [b"zraft\x01\x06".as_slice(), &request_id.to_be_bytes()].concat()
}

#[tokio::test]
async fn undecodable_message_is_an_event_and_the_connection_stays() {
    let (_peer, mut connection, client) = connected(builder()).await;
    let mut events = client.events();
    for junk in [b"".as_slice(), b"junk", b"zraft\x01\x63", b"zraft\x02\x05", b"zraft\x01\x05\0"] {
        connection.send_bytes(junk).await;
        next_event(&mut events, |e| matches!(e, Event::ProtocolError { .. }).then_some(())).await;
    }
    let answer = client.try_submit_command("still there?").unwrap();
    let (id, _) = connection.command().await;
    connection.answer(id, b"yes").await;
    assert_eq!(within(answer).await.unwrap().as_ref(), b"yes");
    assert_eq!(client.stats().protocol_errors, 5);
    assert_eq!(client.stats().reconnects, 0);
}

#[tokio::test]
async fn undecodable_answer_fails_only_its_own_request() {
    let (_peer, mut connection, client) = connected(builder()).await;
    let first = client.try_submit_command("first").unwrap();
    let second = client.try_submit_command("second").unwrap();
    let (first_id, _) = connection.command().await;
    let (second_id, _) = connection.command().await;
    // The result announces more bytes than follow.
    let mut broken = answer_head(first_id.get());
    broken.extend_from_slice(&[0, 0, 0, 9, 1]);
    connection.send_bytes(&broken).await;
    connection.answer(second_id, b"fine").await;
    let error = within(first).await.unwrap_err();
    assert_eq!((error.code(), error.maybe_executed()), ("PROTOCOL", true));
    assert_eq!(within(second).await.unwrap().as_ref(), b"fine");
}

#[tokio::test]
async fn answer_above_the_limit_is_skipped_and_fails_only_its_own_request() {
    let (_peer, mut connection, client) = connected(builder().max_message_size(1000)).await;
    let first = client.try_submit_command("first").unwrap();
    let (id, _) = connection.command().await;
    let mut long = answer_head(id.get());
    long.extend_from_slice(&1_000_000_u32.to_be_bytes());
    long.resize(long.len() + 1_000_000, 7);
    connection.send_bytes(&long).await;
    let error = within(first).await.unwrap_err();
    assert_eq!((error.code(), error.maybe_executed()), ("PROTOCOL", true));

    let second = client.try_submit_command("second").unwrap();
    let (id, _) = connection.command().await;
    connection.answer(id, b"fine").await;
    assert_eq!(within(second).await.unwrap().as_ref(), b"fine");
    assert_eq!(client.stats().reconnects, 0);
}

#[tokio::test]
async fn announced_answer_of_16_tib_fails_its_request_and_drops_the_connection() {
    let (peer, mut connection, client) = connected(builder()).await;
    let first = client.try_submit_command("first").unwrap();
    let (id, _) = connection.command().await;
    // The peer announces 16 TiB and sends 64 bytes.
    let mut head = answer_head(id.get());
    head.resize(64, 0);
    connection.write(&[2, 0, 0, 0x10, 0, 0, 0, 0, 0]).await;
    connection.write(&head).await;
    let error = within(first).await.unwrap_err();
    assert_eq!((error.code(), error.maybe_executed()), ("PROTOCOL", true));
    within(connection.until_closed()).await;

    let (mut connection, session_id) = peer.accept_resume().await;
    assert_eq!(session_id.as_str(), "session-1");
    reaches(&client, StateName::Connected).await;
    let second = client.try_submit_command("second").unwrap();
    let (id, payload) = connection.command().await;
    assert_eq!(payload.as_ref(), b"second", "the first counts as answered and is not resent");
    connection.answer(id, b"fine").await;
    assert_eq!(within(second).await.unwrap().as_ref(), b"fine");
}

#[tokio::test]
async fn zmtp_violation_drops_the_connection_and_the_session_is_resumed() {
    let (peer, mut connection, client) = connected(builder()).await;
    let mut events = client.events();
    let answer = client.try_submit_command("survives").unwrap();
    connection.command().await;
    // A frame with reserved flag bits.
    connection.write(&[0xf8, 0]).await;
    let resumed = |event: &Event| match event {
        Event::Connected { resumed, .. } => Some(*resumed),
        _ => None,
    };
    let (mut connection, _) = peer.accept_resume().await;
    assert!(next_event(&mut events, resumed).await);
    let (id, payload) = connection.command().await;
    assert_eq!((id.get(), payload.as_ref()), (1, b"survives".as_slice()));
    connection.answer(id, b"answered").await;
    assert_eq!(within(answer).await.unwrap().as_ref(), b"answered");
}

#[tokio::test]
async fn peer_that_floods_does_not_stop_the_client() {
    let (_peer, mut connection, client) = connected(builder()).await;
    let answer = client.try_submit_command("in the flood").unwrap();
    let (id, _) = connection.command().await;
    let timestamp = zraft_protocol::Timestamp::from_millis(1);
    for _ in 0..20_000 {
        connection.send(&ServerMessage::KeepAliveResponse { timestamp }).await;
    }
    connection.answer(id, b"received").await;
    assert_eq!(within(answer).await.unwrap().as_ref(), b"received");
}
