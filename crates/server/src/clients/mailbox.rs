//! What waits for one client.

use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;
use zraft_protocol::ServerMessage;

/// How a connection is closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Close {
    /// After everything that was sent on it has been written.
    Flush,
    /// At once.
    Drop,
}

/// What became of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Push {
    Queued,
    /// The client does not read: more bytes wait than may.
    Overfull,
}

/// The messages for a client that its connection's task has not taken yet.
#[derive(Debug)]
pub(crate) struct Mailbox {
    state: Mutex<State>,
    wake: Notify,
    most_bytes: usize,
}

#[derive(Debug, Default)]
struct State {
    messages: Vec<ServerMessage>,
    bytes: usize,
    /// What the task had taken and not written when it last looked.
    unwritten: usize,
    close: Option<Close>,
}

impl Mailbox {
    pub(crate) fn new(most_bytes: usize) -> Self {
        Self { state: Mutex::default(), wake: Notify::new(), most_bytes }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn push(&self, message: ServerMessage) -> Push {
        let mut state = self.lock();
        let was_empty = state.messages.is_empty();
        state.bytes += size(&message);
        state.messages.push(message);
        let overfull = state.bytes + state.unwritten > self.most_bytes;
        drop(state);
        if was_empty {
            self.wake.notify_one();
        }
        if overfull { Push::Overfull } else { Push::Queued }
    }

    pub(crate) fn close(&self, how: Close) {
        self.lock().close = Some(how);
        self.wake.notify_one();
    }

    /// Moves the messages into an empty vector. `unwritten` is what was taken before and not written.
    pub(super) fn take(&self, unwritten: usize, into: &mut Vec<ServerMessage>) -> Option<Close> {
        let mut state = self.lock();
        std::mem::swap(&mut state.messages, into);
        state.unwritten = unwritten + state.bytes;
        state.bytes = 0;
        state.close
    }

    /// Waits until there may be something to take.
    pub(super) async fn woken(&self) {
        self.wake.notified().await;
    }
}

/// About the bytes that a waiting message occupies.
fn size(message: &ServerMessage) -> usize {
    size_of::<ServerMessage>()
        + match message {
            ServerMessage::ClientResponse { result, .. }
            | ServerMessage::QueryResponse { result, .. } => result.len(),
            ServerMessage::ServerRequest { payload, .. } => payload.len(),
            _ => 0,
        }
}

#[cfg(test)]
mod tests {
    use super::*;
    use zraft_protocol::Timestamp;

    fn message() -> ServerMessage {
        ServerMessage::KeepAliveResponse { timestamp: Timestamp::from_millis(1) }
    }

    #[test]
    fn what_was_taken_and_not_written_counts_towards_the_limit() {
        let mailbox = Mailbox::new(3 * size_of::<ServerMessage>());
        let mut taken = Vec::new();
        assert_eq!(mailbox.push(message()), Push::Queued);
        assert_eq!(mailbox.push(message()), Push::Queued);
        assert_eq!(mailbox.take(0, &mut taken), None);
        assert_eq!(taken.len(), 2);
        assert_eq!(mailbox.push(message()), Push::Queued);
        assert_eq!(mailbox.push(message()), Push::Overfull, "nothing was written meanwhile");
        taken.clear();
        mailbox.take(0, &mut taken);
        taken.clear();
        mailbox.take(0, &mut taken);
        assert_eq!(mailbox.push(message()), Push::Queued, "everything was written");
        mailbox.close(Close::Flush);
        assert_eq!(mailbox.take(0, &mut Vec::new()), Some(Close::Flush));
    }
}
