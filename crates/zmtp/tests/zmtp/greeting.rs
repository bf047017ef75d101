//! The greeting: the first 64 bytes of each side.

use crate::common::{at, events, failure, feed, greeting_of, ready, written};
use zraft_zmtp::{Config, Connection, Error, Event, Peer, SocketType};

fn client() -> Connection {
    Connection::new(Config::client(), at(0))
}

fn server() -> Connection {
    Connection::new(Config::server(), at(0))
}

#[test]
fn new_connection_queues_the_whole_greeting_and_ready() {
    for (mut connection, own) in [(client(), "CLIENT"), (server(), "SERVER")] {
        let expected = [greeting_of(3, 1, b"NULL"), ready(own)].concat();
        assert_eq!(connection.tx_queued(), expected.len());
        assert_eq!(written(&mut connection), expected);
    }
}

#[test]
fn greeting_and_ready_go_in_one_write() {
    let mut connection = client();
    let length = connection.tx_queued();
    assert_eq!(bytes::Buf::chunk(connection.tx()).len(), length);
}

#[test]
fn greeting_has_the_bytes_of_live_peers() {
    let bytes = written(&mut client());
    assert_eq!(bytes[..10], [0xff, 0, 0, 0, 0, 0, 0, 0, 1, 0x7f], "signature");
    assert_eq!(bytes[10..12], [3, 1], "version");
    assert_eq!(bytes[12..16], *b"NULL", "mechanism");
    assert_eq!(bytes[16..64], [0; 48], "padding of the mechanism, as-server, filler");
}

#[test]
fn peers_of_version_3_0_and_later_are_accepted_and_their_version_is_reported() {
    for version in [(3, 0), (3, 1), (3, 9), (4, 0)] {
        let mut connection = client();
        let bytes = [greeting_of(version.0, version.1, b"NULL"), ready("SERVER")].concat();
        let peer = Peer { version, socket_type: SocketType::Server };
        assert_eq!(feed(&mut connection, at(1), &bytes), [Event::Ready(peer)]);
    }
}

#[test]
fn bytes_within_the_signature_are_ignored() {
    let mut bytes = greeting_of(3, 1, b"NULL");
    bytes[1..9].fill(0xaa);
    bytes.extend(ready("SERVER"));
    assert_eq!(feed(&mut client(), at(1), &bytes).len(), 1);
}

#[test]
fn bytes_after_the_mechanism_are_ignored() {
    let mut bytes = greeting_of(3, 1, b"NULL");
    bytes[32..64].fill(0xaa);
    bytes.extend(ready("SERVER"));
    assert_eq!(feed(&mut client(), at(1), &bytes).len(), 1);
}

#[test]
fn wrong_first_byte_fails_at_once() {
    for first in [b'H', 0x00, 0x01, 0x16, 0x7f, 0xfe] {
        assert_eq!(failure(&feed(&mut client(), at(1), &[first])), Error::NotZmtp);
        assert_eq!(failure(&feed(&mut server(), at(1), &[first])), Error::NotZmtp);
    }
}

#[test]
fn wrong_last_byte_of_the_signature_fails_at_once() {
    let mut connection = server();
    assert_eq!(feed(&mut connection, at(1), &[0xff, 0, 0, 0, 0, 0, 0, 0, 1]), []);
    assert_eq!(failure(&feed(&mut connection, at(2), &[0x7e])), Error::NotZmtp);
}

#[test]
fn version_below_3_fails_at_once() {
    for major in [0, 1, 2] {
        let mut connection = server();
        assert_eq!(feed(&mut connection, at(1), &greeting_of(major, 0, b"NULL")[..10]), []);
        let events = feed(&mut connection, at(2), &[major]);
        assert_eq!(failure(&events), Error::UnsupportedVersion(major));
    }
}

#[test]
fn other_mechanism_fails_with_its_name() {
    for name in ["PLAIN", "CURVE", "GSSAPI", "null", "NULLX", "NUL", ""] {
        let mut connection = server();
        let bytes = greeting_of(3, 1, name.as_bytes());
        assert_eq!(feed(&mut connection, at(1), &bytes[..31]), [], "{name}");
        let events = feed(&mut connection, at(1), &bytes[31..32]);
        assert_eq!(failure(&events), Error::Mechanism(name.to_owned()));
    }
}

#[test]
fn mechanism_name_is_escaped_in_the_error() {
    let events = feed(&mut server(), at(1), &greeting_of(3, 1, b"\xff\n\"01234567890123456"));
    let Error::Mechanism(name) = failure(&events) else { panic!("{events:?}") };
    assert!(name.is_ascii() && !name.contains('\n'), "{name}");
}

#[test]
fn greeting_that_arrives_byte_by_byte_is_accepted() {
    let mut connection = client();
    let bytes = [greeting_of(3, 0, b"NULL"), ready("SERVER")].concat();
    let (last, rest) = bytes.split_last().unwrap();
    for (byte, now) in rest.iter().zip(1..) {
        assert_eq!(feed(&mut connection, at(now), &[*byte]), []);
    }
    assert!(matches!(feed(&mut connection, at(200), &[*last])[..], [Event::Ready(_)]));
}

#[test]
fn whole_greeting_is_queued_for_a_peer_that_sends_ten_bytes_and_waits() {
    let mut connection = client();
    let greeting = greeting_of(3, 0, b"NULL");
    assert_eq!(feed(&mut connection, at(1), &greeting[..10]), []);
    assert_eq!(
        written(&mut connection).len(),
        64 + ready("CLIENT").len(),
        "everything must be queued before the rest of the peer's greeting arrives"
    );
    assert_eq!(feed(&mut connection, at(2), &greeting[10..]), []);
    assert!(matches!(feed(&mut connection, at(3), &ready("SERVER"))[..], [Event::Ready(_)]));
    assert_eq!(events(&mut connection, at(3)), []);
    assert_eq!(written(&mut connection), b"", "nothing must be sent twice");
}
