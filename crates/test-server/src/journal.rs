//! The bounded record of what was executed.

use std::collections::VecDeque;

use crate::application::detached;
use zraft_protocol::{MemberId, Payload, RequestId, SessionId};

/// One command that the application executed.
///
/// A copy answered from the response cache, and one refused as evicted, are not here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Execution {
    /// Its place in the order of execution, from 0, over the whole life of the cluster.
    pub position: u64,
    /// The session that sent it.
    pub session: SessionId,
    /// Its id within that session.
    pub request_id: RequestId,
    /// Its payload.
    pub payload: Payload,
    /// The leader whose log it came through.
    pub member: MemberId,
}

/// What was executed, in order. It holds a bounded number of executions and of payload bytes; the
/// oldest give way.
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
        // A payload is a part of a receive buffer, which the journal must not keep alive.
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

    /// How many commands were executed since the cluster started, those no longer held included.
    pub fn executed(&self) -> u64 {
        self.executed
    }

    /// How many executions gave way to newer ones.
    pub fn dropped(&self) -> u64 {
        self.executed - self.entries.len() as u64
    }

    /// The executions held, in order.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = &Execution> + ExactSizeIterator {
        self.entries.iter()
    }

    /// How many executions are held.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether none is held.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }
}
