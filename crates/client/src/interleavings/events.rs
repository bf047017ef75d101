//! Listening, while the driver publishes events.

use std::sync::Arc;

use shuttle::thread;
use zraft_protocol::{ServerMessage, Timestamp};

use super::rig::in_many_orders;
use crate::{Event, events::Hub};

fn message() -> Event {
    let timestamp = Timestamp::from_millis(1);
    Event::MessageReceived { message: ServerMessage::KeepAliveResponse { timestamp } }
}

#[test]
fn a_stream_that_wants_messages_is_not_forgotten_by_an_event_published_meanwhile() {
    in_many_orders(|| {
        let hub = Arc::new(Hub::default());
        // Messages are published, since this stream wants them until it goes away.
        let earlier = hub.listen().with_messages();
        let publishing = {
            let hub = hub.clone();
            thread::spawn(move || {
                hub.publish(&message());
                hub.publish(&message());
            })
        };
        let leaving = thread::spawn(move || drop(earlier));
        let _later = hub.listen().with_messages();
        publishing.join().unwrap();
        leaving.join().unwrap();
        assert!(hub.wants_messages(), "one stream still wants them");
    });
}
