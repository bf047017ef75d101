//! Listeners that come and go while the driver publishes events.

use std::sync::Arc;

use shuttle::thread;
use zraft_protocol::{ServerMessage, Timestamp};

use super::rig::in_many_orders;
use crate::{Event, events::EventHub};

fn message() -> Event {
    let timestamp = Timestamp::from_millis(1);
    Event::MessageReceived { message: ServerMessage::KeepAliveResponse { timestamp } }
}

#[test]
fn new_listener_for_messages_is_kept_while_events_are_published() {
    in_many_orders(|| {
        let hub = Arc::new(EventHub::default());
        // This stream wants messages until it is dropped, so messages are published.
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
        assert!(hub.wants_messages(), "one stream still wants messages");
    });
}
