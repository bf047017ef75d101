//! The replicated system: real members in `crate::cluster`, and what strikes them.

mod faults;
mod machines;

use bytes::Bytes;
use zraft_core::Instant;
use zraft_protocol::{ClientMessage, SessionId};
use zraft_replica::ConnectionId;

use super::{Execution, Lines, Output};
use crate::{
    cluster::{self, Cluster, ClusterPlan},
    world::net::Line,
};
pub(crate) use faults::ClusterMend;

pub(crate) struct Replicated {
    pub(crate) cluster: Cluster,
    lines: Lines<ConnectionId>,
    strikes: faults::Strikes,
}

impl Replicated {
    pub(super) fn new(plan: &ClusterPlan, now: Instant, words: bool) -> Self {
        let cluster = Cluster::new(plan.clone(), now, words);
        Self { cluster, lines: Lines::new(), strikes: faults::Strikes::default() }
    }

    pub(super) fn connected(&mut self, now: Instant, line: Line, member: usize) -> bool {
        let peer = self.cluster.connected(now, member);
        if let Some(peer) = peer {
            self.lines.insert(line, peer);
        }
        peer.is_some()
    }

    pub(super) fn received(&mut self, now: Instant, line: Line, message: ClientMessage) {
        if let Some(peer) = self.lines.peer(line) {
            self.cluster.received(now, peer, message);
        }
    }

    pub(super) fn disconnected(&mut self, now: Instant, line: Line) {
        if let Some(peer) = self.lines.remove_line(line) {
            self.cluster.disconnected(now, peer);
        }
    }

    pub(super) fn reads(&self, line: Line) -> bool {
        self.lines.peer(line).is_some_and(|peer| self.cluster.reads(peer))
    }

    pub(super) fn poll_output(&mut self) -> Option<Output> {
        loop {
            let output = self.cluster.poll_output()?;
            if let Some(output) = self.translated(output) {
                return Some(output);
            }
        }
    }

    /// Returns the task in the world's words, unless its connection has ended.
    fn translated(&mut self, output: cluster::Output) -> Option<Output> {
        use cluster::Output as Of;
        Some(match output {
            Of::Send { peer, message } => Output::Send { line: self.lines.line(peer)?, message },
            Of::Close { peer, how } => Output::Close { line: self.lines.remove_peer(peer)?, how },
            Of::StopReading { peer } => Output::StopReading { line: self.lines.line(peer)? },
            Of::ResumeReading { peer } => Output::ResumeReading { line: self.lines.line(peer)? },
            Of::Listen { member, listening } => Output::Listen { member, listening },
        })
    }

    pub(super) fn leader_changes(&self) -> u64 {
        self.cluster.facts.leaderships.saturating_sub(1)
    }

    /// Returns true if the leader knows the connection. One that is not bound ends with the next message on it.
    pub(super) fn is_bound(&self, line: Line) -> bool {
        let peer = self.lines.peer(line);
        peer.is_some_and(|peer| self.cluster.place_of(peer) == self.cluster.leader())
    }

    pub(super) fn unacknowledged(&self, session: &str) -> Option<usize> {
        self.cluster.unacknowledged(&SessionId::new(session).ok()?)
    }

    pub(super) fn may_have_lost_close(&self, session: &str) -> bool {
        SessionId::new(session).is_ok_and(|session| self.cluster.may_have_lost_close(&session))
    }

    pub(super) fn executions(&self) -> Vec<Execution<'_>> {
        let executions =
            self.cluster.journal().iter().zip(0..).map(|(execution, position)| Execution {
                position,
                session: &execution.session,
                request_id: execution.request_id,
                payload: &execution.payload,
            });
        executions.collect()
    }

    pub(super) fn pushed(&self, session: &str) -> &[Bytes] {
        self.cluster.pushed(session)
    }
}
