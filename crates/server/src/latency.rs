//! How long commands take in this member.

use std::{collections::HashMap, time::Duration};

use zraft_protocol::RequestId;
use zraft_replica::ConnectionId;

/// Measures the time from a command to its answer, of one command of each connection at a time.
///
/// So it holds one number for each connection, and costs the same however many commands are under way. A command that is never
/// answered, for example because the member loses its leadership, ends with its connection.
#[derive(Debug, Default)]
pub(crate) struct Latency {
    waiting: HashMap<ConnectionId, (RequestId, Duration)>,
}

impl Latency {
    /// A client has sent a command.
    pub(crate) fn asked(&mut self, connection: ConnectionId, request: RequestId, now: Duration) {
        self.waiting.entry(connection).or_insert((request, now));
    }

    /// Returns when the command was sent that is answered now, if it is the one that is measured.
    pub(crate) fn answered(
        &mut self,
        connection: ConnectionId,
        request: RequestId,
    ) -> Option<Duration> {
        let (measured, at) = *self.waiting.get(&connection)?;
        if measured != request {
            return None;
        }
        self.waiting.remove(&connection);
        Some(at)
    }

    /// The connection has ended.
    pub(crate) fn forget(&mut self, connection: ConnectionId) {
        self.waiting.remove(&connection);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(number: u64) -> RequestId {
        RequestId::new(number).expect("not 0")
    }

    #[test]
    fn one_command_of_a_connection_is_measured_at_a_time() {
        let mut latency = Latency::default();
        let (first, second) = (ConnectionId(1), ConnectionId(2));
        let at = Duration::from_millis;
        latency.asked(first, id(1), at(10));
        latency.asked(first, id(2), at(11));
        latency.asked(second, id(2), at(12));
        // A copy of the command is not another command.
        latency.asked(first, id(1), at(20));
        assert_eq!(latency.answered(first, id(2)), None);
        assert_eq!(latency.answered(second, id(2)), Some(at(12)));
        assert_eq!(latency.answered(first, id(1)), Some(at(10)));
        assert_eq!(latency.answered(first, id(1)), None, "a copy of the answer");
        latency.asked(first, id(3), at(30));
        assert_eq!(latency.answered(first, id(3)), Some(at(30)));
        latency.asked(first, id(4), at(40));
        latency.forget(first);
        assert_eq!(latency.answered(first, id(4)), None);
        assert!(latency.waiting.is_empty());
    }
}
