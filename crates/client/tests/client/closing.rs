//! How a session's connection is ended.

use std::time::Duration;

use crate::support::{next_event, raw, within};
use zraft_client::{Event, RaftClient};
use zraft_protocol::{ClientMessage, ServerMessage, Timestamp};

/// A CloseSession that is followed by a plain close can be lost: only a FIN of our side alone tells that the server has read
/// it. Nothing else may be needed for that FIN to go: no heartbeat, no timer.
#[tokio::test]
async fn the_write_half_is_shut_down_behind_close_session_while_the_server_is_still_listened_to() {
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
    // What is said into a connection that is closed on both sides is not heard.
    let last_word = ServerMessage::KeepAliveResponse { timestamp: Timestamp::from_millis(7) };
    connection.send(&last_word).await;
    drop(connection);
    within(closing).await.unwrap();

    let mut heard = false;
    next_event(&mut events, |event| match event {
        Event::MessageReceived { message, .. } => {
            heard |= *message == last_word;
            None
        }
        Event::Disconnected { .. } => Some(()),
        _ => None,
    })
    .await;
    assert!(heard, "the client had closed its side of the connection altogether");
}
