//! The handshake: READY, ERROR, and input that fails it.

use std::time::Duration;

use crate::common::{
    COMMAND, MORE, at, command, events, failure, feed, frame, greeting, header, message, ping,
    pong, property, ready, written,
};
use bytes::Bytes;
use zraft_zmtp::{Config, Connection, Error, Event, NotReady, SocketType};

/// Returns a connection that has written its greeting and READY and read the peer's greeting.
fn greeted(config: Config) -> Connection {
    let mut connection = Connection::new(config, at(0));
    written(&mut connection);
    assert_eq!(feed(&mut connection, at(0), &greeting()), []);
    connection
}

fn client() -> Connection {
    greeted(Config::client())
}

fn server() -> Connection {
    greeted(Config::server())
}

fn is_ready(events: &[Event]) -> bool {
    matches!(events, [Event::Ready(_)])
}

// ---- our side

#[test]
fn nothing_can_be_sent_before_the_peers_ready() {
    let mut connection = Connection::new(Config::client(), at(0));
    let all = |connection: &mut Connection| {
        [
            connection.send(b"early"),
            connection.send_shared(Bytes::from_static(&[7; 20_000])),
            connection.begin_message(3),
        ]
    };
    assert_eq!(all(&mut connection), [Err(NotReady); 3]);
    assert_eq!(written(&mut connection).len(), 64 + ready("CLIENT").len());
    feed(&mut connection, at(1), &greeting());
    assert_eq!(all(&mut connection), [Err(NotReady); 3]);
    let ready = ready("SERVER");
    feed(&mut connection, at(2), &ready[..ready.len() - 1]);
    assert_eq!(all(&mut connection), [Err(NotReady); 3]);
    assert!(!connection.is_ready());
    assert_eq!(written(&mut connection), b"", "no byte must be queued after READY");

    assert!(is_ready(&feed(&mut connection, at(3), &ready[ready.len() - 1..])));
    assert!(connection.is_ready());
    assert_eq!(connection.send(b"now"), Ok(()));
    assert_eq!(written(&mut connection), message(b"now"));
}

#[test]
fn no_ping_is_sent_before_the_peers_ready() {
    let mut connection = client();
    for millis in [1000, 2000, 4999] {
        connection.handle_timeout(at(millis));
    }
    assert_eq!(written(&mut connection), b"");
}

#[test]
fn our_ready_contains_only_the_socket_type_in_its_exact_case() {
    let bytes = written(&mut Connection::new(Config::client(), at(0)));
    assert_eq!(bytes[64..], *b"\x04\x1c\x05READY\x0bSocket-Type\x00\x00\x00\x06CLIENT");
    let bytes = written(&mut Connection::new(Config::server(), at(0)));
    assert_eq!(bytes[64..], *b"\x04\x1c\x05READY\x0bSocket-Type\x00\x00\x00\x06SERVER");
    assert_eq!(SocketType::Client.name(), "CLIENT");
    assert_eq!(SocketType::Server.name(), "SERVER");
}

// ---- the peer's READY

#[test]
fn property_names_are_case_insensitive() {
    for name in ["Socket-Type", "socket-type", "SOCKET-TYPE", "sOCKET-tYPE"] {
        let bytes = command("READY", &property(name, b"SERVER"));
        assert!(is_ready(&feed(&mut client(), at(1), &bytes)), "{name}");
    }
}

#[test]
fn other_properties_of_ready_are_ignored() {
    let properties = [
        property("Identity", b""),
        property("X-Long", &[0xff; 300]),
        property("Socket-Type", b"CLIENT"),
        property("Resource", b"\0"),
    ];
    assert!(is_ready(&feed(&mut server(), at(1), &command("READY", &properties.concat()))));
}

#[test]
fn ready_with_a_long_header_is_read() {
    let short = ready("SERVER");
    let mut bytes = header(COMMAND, short.len() as u64 - 2);
    bytes.extend_from_slice(&short[2..]);
    assert!(is_ready(&feed(&mut client(), at(1), &bytes)));
}

#[test]
fn wrong_socket_type_sends_error_and_fails_with_its_name() {
    for name in ["DEALER", "ROUTER", "REQ", "PUB", "SERVER", "client", "CLIENT\0", "X"] {
        let mut connection = server();
        let events = feed(&mut connection, at(1), &ready(name));
        let Error::SocketType(reported) = failure(&events) else { panic!("{events:?}") };
        assert_eq!(reported, name.escape_default().to_string().replace("\\u{0}", "\\x00"));
        let sent = written(&mut connection);
        let reason = sent.strip_prefix(&[COMMAND, (sent.len() - 2) as u8][..]).unwrap();
        let reason = reason.strip_prefix(b"\x05ERROR").unwrap();
        assert_eq!(usize::from(reason[0]), reason.len() - 1);
        assert!(reason[1..].is_ascii() && reason.len() > 1);
    }
}

#[test]
fn client_accepts_only_a_server() {
    for name in ["CLIENT", "ROUTER", "DEALER", "REP"] {
        let events = feed(&mut client(), at(1), &ready(name));
        assert_eq!(failure(&events), Error::SocketType(name.to_owned()));
    }
}

#[test]
fn ready_without_a_socket_type_fails() {
    for data in [vec![], property("Identity", b"SERVER")] {
        let events = feed(&mut client(), at(1), &command("READY", &data));
        assert_eq!(failure(&events), Error::SocketType(String::new()));
    }
}

#[test]
fn malformed_properties_fail() {
    let whole = property("Socket-Type", b"SERVER");
    for length in 1..whole.len() {
        let events = feed(&mut client(), at(1), &command("READY", &whole[..length]));
        assert!(matches!(failure(&events), Error::Protocol(_)), "{length} bytes: {events:?}");
    }
    let mut huge = property("Socket-Type", b"SERVER");
    huge[12..16].fill(0xff);
    let events = feed(&mut client(), at(1), &command("READY", &huge));
    assert!(matches!(failure(&events), Error::Protocol(_)));
}

#[test]
fn second_ready_fails() {
    let mut connection = client();
    let events = feed(&mut connection, at(1), &[ready("SERVER"), ready("SERVER")].concat());
    assert!(
        matches!(&events[..], [Event::Ready(_), Event::Failed(Error::Protocol(_))]),
        "{events:?}"
    );
}

#[test]
fn messages_in_the_same_read_as_ready_are_delivered_after_it() {
    let bytes = [ready("SERVER"), message(b"first"), message(b"second")].concat();
    let events = feed(&mut client(), at(1), &bytes);
    assert!(matches!(events[0], Event::Ready(_)));
    assert_eq!(
        events[1..],
        [crate::common::message_event("first"), crate::common::message_event("second")]
    );
}

// ---- other input before READY

#[test]
fn message_before_ready_fails() {
    for bytes in [message(b""), message(b"early"), frame(MORE, b"a"), message(&[0; 300])] {
        for mut connection in [client(), server()] {
            let events = feed(&mut connection, at(1), &bytes);
            assert!(matches!(failure(&events), Error::Protocol(_)), "{events:?}");
        }
    }
}

#[test]
fn command_with_several_frames_fails() {
    let events = feed(&mut client(), at(1), &frame(COMMAND | MORE, b"\x05READY"));
    assert!(matches!(failure(&events), Error::Protocol(_)), "{events:?}");
}

#[test]
fn command_with_an_incomplete_name_fails() {
    for body in [&b""[..], b"\x05", b"\x05READ"] {
        let events = feed(&mut client(), at(1), &frame(COMMAND, body));
        assert!(matches!(failure(&events), Error::Protocol(_)), "{body:?}: {events:?}");
    }
}

#[test]
fn unknown_commands_and_heartbeats_before_ready_are_ignored() {
    let mut connection = client();
    let bytes = [
        command("HELLO", b"any"),
        command("ready", b""),
        command("", b""),
        ping(300, b""),
        pong(b""),
        ready("SERVER"),
    ];
    assert!(is_ready(&feed(&mut connection, at(1), &bytes.concat())));
    assert_eq!(written(&mut connection), b"");
}

#[test]
fn unknown_commands_after_ready_are_ignored() {
    let mut connection = crate::common::open_client();
    let bytes = [command("SUBSCRIBE", b"x"), command("WHAT", &[0; 4000]), message(b"m")].concat();
    assert_eq!(feed(&mut connection, at(1), &bytes), [crate::common::message_event("m")]);
}

// ---- ERROR and closes

#[test]
fn failure_contains_the_peers_error_text() {
    let events = feed(&mut client(), at(1), &command("ERROR", b"\x13Invalid socket type"));
    assert_eq!(failure(&events), Error::PeerError("Invalid socket type".to_owned()));
    let events = feed(&mut client(), at(1), &command("ERROR", b"\x00"));
    assert_eq!(failure(&events), Error::PeerError(String::new()));
}

#[test]
fn peers_error_text_is_escaped() {
    let events = feed(&mut client(), at(1), &command("ERROR", b"\x04a\n\xff\x1b"));
    assert_eq!(failure(&events), Error::PeerError("a\\n\\xff\\x1b".to_owned()));
}

#[test]
fn truncated_error_command_is_a_protocol_violation() {
    for data in [&b""[..], b"\x05abc"] {
        let events = feed(&mut client(), at(1), &command("ERROR", data));
        assert!(matches!(failure(&events), Error::Protocol(_)));
    }
}

#[test]
fn error_command_after_ready_ends_the_connection() {
    let mut connection = crate::common::open_client();
    let events = feed(&mut connection, at(1), &command("ERROR", b"\x03bye"));
    assert_eq!(failure(&events), Error::PeerError("bye".to_owned()));
}

#[test]
fn close_during_the_handshake_has_its_own_error() {
    let whole = [greeting(), ready("SERVER")].concat();
    for length in 0..whole.len() {
        let mut connection = Connection::new(Config::client(), at(0));
        assert_eq!(feed(&mut connection, at(1), &whole[..length]), []);
        connection.handle_eof(at(2));
        let events = events(&mut connection, at(2));
        assert_eq!(failure(&events), Error::ClosedDuringHandshake, "after {length} bytes");
    }
}

#[test]
fn message_count_shows_whether_the_peer_closed_before_its_first_message() {
    let mut connection = crate::common::open_client();
    connection.handle_eof(at(1));
    assert_eq!(failure(&events(&mut connection, at(1))), Error::Closed);
    assert_eq!(connection.received_messages(), 0);

    let mut connection = crate::common::open_client();
    feed(&mut connection, at(1), &message(b""));
    connection.handle_eof(at(2));
    assert_eq!(failure(&events(&mut connection, at(2))), Error::Closed);
    assert_eq!(connection.received_messages(), 1);
}

// ---- limits

#[test]
fn handshake_timeout_is_exact_and_not_extended_by_bytes() {
    for length in [0, 10, 64, 80] {
        let mut connection = Connection::new(Config::client(), at(100));
        let whole = [greeting(), ready("SERVER")].concat();
        feed(&mut connection, at(4000), &whole[..length]);
        assert_eq!(
            connection.poll_timeout(),
            Some(at(5100)),
            "received bytes must not extend the timeout"
        );
        let just_before = at(5100) - Duration::from_nanos(1);
        connection.handle_timeout(just_before);
        assert_eq!(events(&mut connection, just_before), []);
        connection.handle_timeout(at(5100));
        assert_eq!(failure(&events(&mut connection, at(5100))), Error::HandshakeTimeout);
        assert_eq!(connection.poll_timeout(), None);
    }
}

#[test]
fn handshake_timeout_ends_with_the_handshake() {
    let mut connection = crate::common::open(crate::common::quiet_client(), at(0));
    assert_eq!(connection.poll_timeout(), None);
    connection.handle_timeout(at(1_000_000));
    assert_eq!(events(&mut connection, at(1_000_000)), []);
}

#[test]
fn handshake_limit_is_exact() {
    // 64 bytes of greeting and 9 of header count towards the limit of 4,096.
    let filler = |length: usize| command("READY", &property("X", &vec![0; length]))[9..].to_vec();
    for (over, expected) in [(0, false), (1, true)] {
        let data = filler(4096 - 64 - 9 - 12 + over);
        let mut bytes = header(COMMAND, data.len() as u64);
        bytes.extend(&data);
        assert_eq!(64 + bytes.len(), 4096 + over);
        let events = feed(&mut client(), at(1), &bytes);
        assert_eq!(failure(&events) == Error::HandshakeTooLong, expected, "{events:?}");
    }
}

#[test]
fn overlong_handshake_fails_on_the_header() {
    for length in [4096, 1 << 30, (1 << 63) - 1, 1 << 63, u64::MAX] {
        let events = feed(&mut server(), at(1), &header(COMMAND, length));
        assert_eq!(failure(&events), Error::HandshakeTooLong, "{length}");
    }
}

#[test]
fn handshake_limit_counts_all_commands_together() {
    let mut connection = server();
    let (mut sent, mut reported) = (64, Vec::new());
    while reported.is_empty() {
        let bytes = command("X", b"");
        sent += bytes.len();
        reported = feed(&mut connection, at(1), &bytes);
        assert!(sent < 5000, "the limit was exceeded without a failure");
    }
    assert_eq!(failure(&reported), Error::HandshakeTooLong);
}

#[test]
fn handshake_limits_are_configurable() {
    let config = Config {
        handshake_timeout: Duration::from_millis(70),
        handshake_limit: 90,
        ..Config::server()
    };
    assert_eq!(Connection::new(config, at(5)).poll_timeout(), Some(at(75)));
    let events = feed(&mut greeted(config), at(1), &ready("CLIENT"));
    assert_eq!(failure(&events), Error::HandshakeTooLong);
}

#[test]
fn bytes_after_the_failure_are_dropped() {
    let mut connection = client();
    failure(&feed(&mut connection, at(1), &ready("DEALER")));
    for _ in 0..100 {
        assert_eq!(feed(&mut connection, at(2), &[0; 1000]), []);
    }
    assert_eq!(connection.recv_buffer().len(), 0);
    connection.handle_eof(at(3));
    connection.handle_timeout(at(100_000));
    connection.restart_timers(at(100_001));
    assert_eq!(events(&mut connection, at(100_001)), [], "the failure must be reported once");
    assert_eq!(connection.send(b"late"), Err(NotReady));
}
