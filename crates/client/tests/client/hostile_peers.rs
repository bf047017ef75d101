//! Peers that are absent, silent, of another kind, or out of their mind: a clear error, bounded
//! memory, and the client goes on with the next member.

use std::time::Duration;

use crate::support::raw::{Connection, Peer, connected};
use crate::support::{builder, next_event, reaches, within};
use zraft_client::{ConnectionCause, Error, Event, RaftClient, StateName};
use zraft_protocol::ServerMessage;

const SHORT: Duration = Duration::from_millis(700);

/// A client of a bad member, and the same with a good one after it.
fn clients(bad: &str, good: &Peer) -> (RaftClient, RaftClient) {
    let alone = builder().member("bad", bad);
    let both = alone.clone().member("good", good.endpoint());
    (alone.build().unwrap(), both.build().unwrap())
}

async fn connection_error(client: &RaftClient) -> (Option<String>, ConnectionCause) {
    match within(client.connect_within(SHORT)).await {
        Err(Error::Connection { endpoint, cause, .. }) => (endpoint, cause),
        other => panic!("a connection error was expected: {other:?}"),
    }
}

/// With `bad` alone, connect() fails and names it; with a good member after it, the client gets
/// there.
async fn names_the_cause_and_goes_on(bad: &str) -> ConnectionCause {
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
    let told = next_event(&mut events, |event| match event {
        Event::ConnectionFailure { member_id, error } => {
            Some((member_id.as_str().to_owned(), error.clone()))
        }
        _ => None,
    });
    assert_eq!(told.await, ("bad".to_owned(), cause.clone()));

    let answer = both.try_submit_command("hello").unwrap();
    let (id, payload) = connection.command().await;
    assert_eq!(payload.as_ref(), b"hello");
    connection.answer(id, b"world").await;
    assert_eq!(within(answer).await.unwrap().as_ref(), b"world");
    cause
}

/// As above, with a peer that treats every connection in the same way.
async fn a_peer_that<F, R>(treat: F) -> ConnectionCause
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
    let cause = names_the_cause_and_goes_on(&endpoint).await;
    task.abort();
    cause
}

#[tokio::test]
async fn a_refused_port_is_told_as_refused() {
    let endpoint = Peer::bind().await.endpoint();
    assert_eq!(names_the_cause_and_goes_on(&endpoint).await, ConnectionCause::Refused);
}

#[tokio::test]
async fn an_unknown_host_is_told_as_unknown() {
    let cause = names_the_cause_and_goes_on("tcp://no-such-host.invalid:7001").await;
    assert_eq!(cause, ConnectionCause::UnknownHost);
}

#[cfg(unix)]
#[tokio::test]
async fn a_missing_socket_file_is_told_as_refused() {
    let cause = names_the_cause_and_goes_on("ipc:///nowhere/zraft.sock").await;
    assert_eq!(cause, ConnectionCause::Refused);
}

#[tokio::test]
async fn a_peer_that_says_nothing_is_given_up_after_the_connection_timeout() {
    let cause = a_peer_that(Connection::until_closed).await;
    assert_eq!(cause, ConnectionCause::TimedOut);
}

#[tokio::test]
async fn a_peer_that_shakes_hands_and_never_answers_is_told_apart() {
    let cause = a_peer_that(|mut connection| async move {
        connection.shake_hands("SERVER").await;
        connection.until_closed().await;
    })
    .await;
    assert_eq!(cause, ConnectionCause::NeverAnswered);
}

#[tokio::test]
async fn a_peer_that_closes_at_once_is_told_apart() {
    let cause = a_peer_that(|connection| async move { drop(connection) }).await;
    assert_eq!(cause, ConnectionCause::ClosedBeforeFirstMessage);
}

#[tokio::test]
async fn a_peer_that_closes_after_the_handshake_is_told_apart() {
    let cause = a_peer_that(|mut connection| async move {
        connection.shake_hands("SERVER").await;
    })
    .await;
    assert_eq!(cause, ConnectionCause::ClosedBeforeFirstMessage);
}

#[tokio::test]
async fn a_peer_that_speaks_http_is_no_zmtp_peer() {
    let cause = a_peer_that(|mut connection| async move {
        connection.write(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n").await;
        connection.until_closed().await;
    })
    .await;
    assert!(matches!(cause, ConnectionCause::Zmtp(_)), "{cause:?}");
}

#[tokio::test]
async fn a_socket_of_the_wrong_type_is_refused_and_named() {
    let cause = a_peer_that(|mut connection| async move {
        connection.shake_hands("ROUTER").await;
        connection.until_closed().await;
    })
    .await;
    assert!(cause.to_string().contains("ROUTER"), "{cause}");
}

#[tokio::test]
async fn a_handshake_that_announces_a_gigabyte_is_refused() {
    let cause = a_peer_that(|mut connection| async move {
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

/// The start of an answer to a command.
fn answer_head(request_id: u64) -> Vec<u8> {
    [b"zraft\x01\x06".as_slice(), &request_id.to_be_bytes()].concat()
}

#[tokio::test]
async fn an_undecodable_message_is_an_event_and_the_connection_stays() {
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
async fn an_answer_that_cannot_be_read_fails_its_own_request_alone() {
    let (_peer, mut connection, client) = connected(builder()).await;
    let first = client.try_submit_command("first").unwrap();
    let second = client.try_submit_command("second").unwrap();
    let (first_id, _) = connection.command().await;
    let (second_id, _) = connection.command().await;
    // The result announces more bytes than there are.
    let mut broken = answer_head(first_id.get());
    broken.extend_from_slice(&[0, 0, 0, 9, 1]);
    connection.send_bytes(&broken).await;
    connection.answer(second_id, b"fine").await;
    let error = within(first).await.unwrap_err();
    assert_eq!((error.code(), error.maybe_executed()), ("PROTOCOL", true));
    assert_eq!(within(second).await.unwrap().as_ref(), b"fine");
}

#[tokio::test]
async fn an_answer_longer_than_allowed_is_read_past() {
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
async fn an_announced_answer_beyond_all_bounds_fails_its_request_and_drops_the_connection() {
    let (peer, mut connection, client) = connected(builder()).await;
    let first = client.try_submit_command("first").unwrap();
    let (id, _) = connection.command().await;
    // Sixteen tebibytes are announced, of which 64 bytes come.
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
    assert_eq!(payload.as_ref(), b"second", "the first counts as answered and is not sent again");
    connection.answer(id, b"fine").await;
    assert_eq!(within(second).await.unwrap().as_ref(), b"fine");
}

#[tokio::test]
async fn a_zmtp_violation_drops_the_connection_and_the_session_is_continued() {
    let (peer, mut connection, client) = connected(builder()).await;
    let mut events = client.events();
    let answer = client.try_submit_command("survives").unwrap();
    connection.command().await;
    // Reserved flag bits.
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
async fn a_peer_that_floods_does_not_stop_the_client() {
    let (_peer, mut connection, client) = connected(builder()).await;
    let answer = client.try_submit_command("heard in the noise").unwrap();
    let (id, _) = connection.command().await;
    let timestamp = zraft_protocol::Timestamp::from_millis(1);
    for _ in 0..20_000 {
        connection.send(&ServerMessage::KeepAliveResponse { timestamp }).await;
    }
    connection.answer(id, b"heard").await;
    assert_eq!(within(answer).await.unwrap().as_ref(), b"heard");
}
