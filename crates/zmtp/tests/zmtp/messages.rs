//! Messages taken as a batch.

use crate::common::{at, command, frame, message, open, open_client, quiet_client};
use zraft_zmtp::{Config, Connection, Event};

fn received(connection: &mut Connection, bytes: &[u8]) -> Vec<Vec<u8>> {
    connection.handle_bytes(at(1), bytes);
    let mut taken = Vec::new();
    while let Some(mut messages) = connection.poll_messages(at(1)) {
        while let Some(message) = messages.take_first() {
            taken.push(message.to_vec());
        }
    }
    taken
}

#[test]
fn take_place_returns_where_a_part_of_each_message_lies() {
    let mut connection = open_client();
    connection.handle_bytes(at(1), &[message(b"first"), message(b"second"), message(b"")].concat());
    let mut messages = connection.poll_messages(at(1)).expect("three whole messages");
    assert_eq!(messages.first(), Some(&b"first"[..]));
    let places = [messages.take_place(1..3), messages.take_place(3..6), messages.take_place(0..0)];
    assert_eq!(messages.first(), None);
    assert_eq!(messages.take_first(), None);
    let parts = places.map(|place| messages.bytes().slice(place));
    assert_eq!(parts, ["ir", "ond", ""]);
    assert_eq!(
        messages.into_bytes(),
        [message(b"first"), message(b"second"), message(b"")].concat()
    );
}

#[test]
#[should_panic(expected = "the part must lie within the message")]
fn take_place_beyond_the_message_panics() {
    let mut connection = open_client();
    connection.handle_bytes(at(1), &[message(b"first"), message(b"second")].concat());
    let _ = connection.poll_messages(at(1)).expect("two whole messages").take_place(0..6);
}

#[test]
fn batch_ends_before_the_first_frame_that_is_not_a_whole_message() {
    let others = [
        command("PONG", b""),
        frame(crate::common::MORE, b"part"),
        message(&[0; 400]),
        message(b"unfinished")[..5].to_vec(),
    ];
    for other in others {
        let config = Config { max_frame: 300, ..quiet_client() };
        let mut connection = open(config, at(0));
        let long = vec![7; 300];
        let stream = [message(b"a"), message(&long), other.clone()].concat();
        assert_eq!(received(&mut connection, &stream), [b"a".to_vec(), long], "{other:?}");
        assert_eq!(connection.received_messages(), 2);
        assert_eq!(connection.message_bytes_received(), 3 + 309);
        let next = connection.poll_event(at(1));
        assert!(!matches!(next, Some(Event::Message(_))), "{next:?}");
    }
}

#[test]
fn last_frame_of_a_multipart_message_is_not_in_a_batch() {
    let mut connection = open_client();
    connection.handle_bytes(at(1), &frame(crate::common::MORE, b"part"));
    assert_eq!(connection.poll_event(at(1)), None);
    assert_eq!(received(&mut connection, &[message(b"last"), message(b"next")].concat()), [b""; 0]);
    assert_eq!(connection.poll_event(at(1)), Some(Event::MultipartDiscarded));
    assert_eq!(received(&mut connection, b""), [b"next"]);
}
