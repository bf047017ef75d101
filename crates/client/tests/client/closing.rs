//! How the client closes the connection of its session.

use std::time::Duration;

use crate::support::{next_event, raw, within};
use zraft_client::{Event, RaftClient};
use zraft_protocol::{ClientMessage, ServerMessage, Timestamp};

/// A CloseSession followed by a full close can be lost. The client therefore sends a FIN and goes on reading: the
/// server's own close then shows that it has read everything. The test sets all intervals to at least ten minutes, so
/// that no heartbeat or timer can be what sends the FIN.
#[tokio::test]
async fn client_shuts_down_its_write_half_after_close_session_and_goes_on_reading() {
    let hour = Duration::from_secs(3600);
    let settings = RaftClient::builder()
        .capability("kind", "test")
        .heartbeat_interval(Duration::from_secs(600))
        .heartbeat_timeout(Duration::from_secs(1000))
        .keep_alive_interval(hour)
        .session_timeout(hour * 3);
    let (_peer, mut connection, client) = raw::connected(settings).await;
    let mut events = client.events().with_messages();

    let closing = client.disconnect();
    let closing = tokio::spawn(closing);
    assert!(matches!(connection.message().await, ClientMessage::CloseSession { .. }));
    connection.until_shut_down().await;
    // If the client had closed both halves, it would not receive this.
    let last_message = ServerMessage::KeepAliveResponse { timestamp: Timestamp::from_millis(7) };
    connection.send(&last_message).await;
    drop(connection);
    within(closing).await.unwrap();

    let mut received = false;
    next_event(&mut events, |event| match event {
        Event::MessageReceived { message, .. } => {
            received |= *message == last_message;
            None
        }
        Event::Disconnected { .. } => Some(()),
        _ => None,
    })
    .await;
    assert!(received, "the client closed both halves of the connection");
}
