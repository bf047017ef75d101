//! Helpers that the tests share.

use std::time::Duration;

use zraft_client::{ClientBuilder, Event, Events, RaftClient};
use zraft_interop::within;

/// Returns settings with a short resend interval and without members.
pub(crate) fn builder() -> ClientBuilder {
    RaftClient::builder()
        .capability("kind", "interop")
        .connection_timeout(Duration::from_secs(5))
        .resend_interval(Duration::from_millis(300))
        .request_timeout(Duration::from_secs(25))
}

/// Adds a member on loopback.
pub(crate) fn member(builder: ClientBuilder, id: &str, port: u16) -> ClientBuilder {
    builder.member(id, format!("tcp://127.0.0.1:{port}"))
}

/// Waits for an event for which `pick` returns a value, and returns the value.
pub(crate) async fn event<T>(events: &mut Events, mut pick: impl FnMut(&Event) -> Option<T>) -> T {
    within(async {
        loop {
            let event = events.next().await.expect("the client lives");
            if let Some(picked) = pick(&event) {
                return picked;
            }
        }
    })
    .await
}

/// Waits until the session has lost its connection. Returns the reason.
pub(crate) async fn disconnected(events: &mut Events) -> &'static str {
    event(events, |event| match event {
        Event::Disconnected { reason, .. } => Some(reason.name()),
        _ => None,
    })
    .await
}

/// Waits until the session is connected again. It must be resumed.
pub(crate) async fn resumed(events: &mut Events) {
    let resumed = event(events, |event| match event {
        Event::Connected { resumed, .. } => Some(*resumed),
        _ => None,
    })
    .await;
    assert!(resumed);
}

/// Splits an answer into the position that the peer gave the command, and the command's payload.
pub(crate) fn position(answer: &[u8]) -> (u64, &[u8]) {
    let (position, payload) = answer.split_first_chunk::<8>().unwrap();
    (u64::from_be_bytes(*position), payload)
}

/// Returns bytes as hexadecimal digits, the form of the line protocol.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
