//! The bounded record of the commands that the cluster executed.

use std::collections::VecDeque;

use zraft_protocol::{MemberId, Payload, RequestId, SessionId};
use zraft_session::detached;

/// One command that the application executed.
///
/// Resends that were answered from the cache or refused as evicted are not executions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Execution {
    /// The position in the order of execution, counted from 0 over the life of the cluster.
    pub position: u64,
    /// The session that sent the command.
    pub session: SessionId,
    /// The command's id within the session.
    pub request_id: RequestId,
    /// The command's payload.
    pub payload: Payload,
    /// The leader that committed the command.
    pub member: MemberId,
}

/// The executions of a cluster, in order. It holds a bounded number of executions and of payload bytes, and drops the
/// oldest beyond that.
#[derive(Clone, Debug)]
pub struct Journal {
    entries: VecDeque<Execution>,
    bytes: usize,
    max_entries: usize,
    max_bytes: usize,
    executed: u64,
}

impl Journal {
    pub(crate) fn new(max_entries: usize, max_bytes: usize) -> Self {
        Self { entries: VecDeque::new(), bytes: 0, max_entries, max_bytes, executed: 0 }
    }

    pub(crate) fn record(
        &mut self,
        session: &SessionId,
        request_id: RequestId,
        payload: &Payload,
        member: &MemberId,
    ) {
        let position = self.executed;
        self.executed += 1;
        // The payload shares a receive buffer, which the journal must not keep alive.
        let payload = detached(payload);
        self.bytes += payload.len();
        self.entries.push_back(Execution {
            position,
            session: session.clone(),
            request_id,
            payload,
            member: member.clone(),
        });
        while self.entries.len() > self.max_entries || self.bytes > self.max_bytes {
            let Some(oldest) = self.entries.pop_front() else { break };
            self.bytes -= oldest.payload.len();
        }
    }

    /// Returns the number of commands executed since the cluster started, dropped ones included.
    pub fn executed(&self) -> u64 {
        self.executed
    }

    /// Returns the number of executions that the journal has dropped.
    pub fn dropped(&self) -> u64 {
        self.executed - self.entries.len() as u64
    }

    /// Returns the executions that the journal holds, in order.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = &Execution> + ExactSizeIterator {
        self.entries.iter()
    }

    /// Returns the number of executions that the journal holds.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Returns true if the journal holds no execution.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }
}
