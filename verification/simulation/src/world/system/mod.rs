//! The system behind the clients. The world carries its messages and time, and knows nothing else of it.
//!
//! A system addresses a client's connection by its [`Line`], and a member by its place in the configuration, from 0 on.

pub(crate) mod live;

use std::collections::BTreeMap;

use bytes::Bytes;
use zraft_core::Instant;
use zraft_protocol::{ClientMessage, Payload, RequestId, ServerMessage, SessionId};

use crate::world::{fault::Fault, net::Line, sim::Sim};
use live::{Live, LiveMend, LivePlan};

/// What a seed draws of the system.
#[derive(Debug, Clone)]
pub(crate) enum SystemPlan {
    Live(LivePlan),
}

/// The members of a run, and everything between them.
pub(crate) enum System {
    /// The model of the live Scala system: the embedded server's engine.
    Live(Live),
}

/// The end of a fault of the members, or its next part.
#[derive(Debug, Clone, Copy)]
pub(crate) enum SystemMend {
    Live(LiveMend),
}

/// A task for the world. Tasks must be carried out in order.
#[derive(Debug)]
pub(crate) enum Output {
    Send {
        line: Line,
        message: ServerMessage,
    },
    /// The member closes the connection. The system has forgotten it.
    Close {
        line: Line,
        how: CloseHow,
    },
    /// The process reads nothing and answers no PING until `ResumeReading`.
    StopReading {
        line: Line,
    },
    ResumeReading {
        line: Line,
    },
    Listen {
        member: usize,
        listening: Listening,
    },
}

/// How a member closes a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CloseHow {
    /// It sends the queued messages first.
    Flush,
    /// It resets the connection. Queued messages are lost.
    Reset,
}

/// The state of a member's port.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Listening {
    /// The process accepts connections.
    Open,
    /// The system accepts connections, the process does not.
    Held,
    /// The system refuses connections.
    Closed,
}

/// A command that the system's application executed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Execution<'a> {
    /// Its place in the order of execution, from 0 on.
    pub(crate) position: u64,
    pub(crate) session: &'a SessionId,
    pub(crate) request_id: RequestId,
    pub(crate) payload: &'a Bytes,
}

impl System {
    pub(crate) fn new(plan: &SystemPlan, now: Instant) -> Self {
        match plan {
            SystemPlan::Live(plan) => Self::Live(Live::new(plan, now)),
        }
    }

    /// Returns the live system, if it is the one behind the clients.
    pub(crate) fn live(&mut self) -> Option<&mut Live> {
        match self {
            Self::Live(live) => Some(live),
        }
    }

    /// A connection has completed its ZMTP handshake. Returns false if the member refuses it.
    pub(crate) fn connected(&mut self, now: Instant, line: Line, member: usize) -> bool {
        match self {
            Self::Live(live) => live.connected(now, line, member),
        }
    }

    pub(crate) fn received(&mut self, now: Instant, line: Line, message: ClientMessage) {
        match self {
            Self::Live(live) => live.received(now, line, message),
        }
    }

    /// The connection has ended at the member.
    pub(crate) fn disconnected(&mut self, now: Instant, line: Line) {
        match self {
            Self::Live(live) => live.disconnected(now, line),
        }
    }

    /// Returns true if the member takes messages of the connection.
    pub(crate) fn reads(&self, line: Line) -> bool {
        match self {
            Self::Live(live) => live.reads(line),
        }
    }

    pub(crate) fn poll_output(&mut self) -> Option<Output> {
        match self {
            Self::Live(live) => live.poll_output(),
        }
    }

    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        match self {
            Self::Live(live) => live.poll_timeout(),
        }
    }

    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        match self {
            Self::Live(live) => live.handle_timeout(now),
        }
    }

    /// Returns the member that leads.
    pub(crate) fn leader(&self) -> Option<usize> {
        match self {
            Self::Live(live) => live.leader(),
        }
    }

    /// Returns true if a leader commits.
    pub(crate) fn commits(&self) -> bool {
        match self {
            Self::Live(live) => live.commits(),
        }
    }

    /// Returns how often a member began to lead, without the first time.
    pub(crate) fn leader_changes(&self) -> u64 {
        match self {
            Self::Live(live) => live.leader_changes(),
        }
    }

    /// Returns true if the connection is bound to a session at the leader.
    pub(crate) fn is_bound(&self, line: Line) -> bool {
        match self {
            Self::Live(live) => live.is_bound(line),
        }
    }

    /// Returns how many server requests the session's client has not acknowledged, or `None` if there is no such session.
    pub(crate) fn unacknowledged(&self, session: &str) -> Option<usize> {
        match self {
            Self::Live(live) => live.unacknowledged(session),
        }
    }

    /// The system's application pushes a server request to a session. Returns false if it cannot.
    pub(crate) fn push(&mut self, now: Instant, session: &SessionId, payload: &Payload) -> bool {
        match self {
            Self::Live(live) => live.push(now, session, payload),
        }
    }

    /// Returns the commands that were executed, in order.
    pub(crate) fn executions(&self) -> Vec<Execution<'_>> {
        match self {
            Self::Live(live) => live.executions(),
        }
    }

    /// Returns how many executions the system no longer knows.
    pub(crate) fn forgotten(&self) -> u64 {
        match self {
            Self::Live(live) => live.forgotten(),
        }
    }

    /// The member's connections to clients end.
    pub(crate) fn cut_connections(&mut self, now: Instant, member: usize) {
        match self {
            Self::Live(live) => live.cut_connections(now, member),
        }
    }
}

impl Sim {
    /// Brings a fault of the members about. Returns true if that was possible.
    pub(crate) fn strike_system(&mut self, fault: Fault) -> bool {
        match self.system {
            System::Live(_) => self.strike_live(fault),
        }
    }

    /// Brings a change of leadership about. Returns the fault that it came from, or `None` if it was not possible.
    pub(crate) fn change_leader(&mut self) -> Option<Fault> {
        match self.system {
            System::Live(_) => self.change_live_leader(),
        }
    }

    /// Ends every fault of a member.
    pub(crate) fn heal_member(&mut self, member: usize) {
        match self.system {
            System::Live(_) => self.heal_live_member(member),
        }
    }

    /// Ends every fault of the system that is not one of a single member.
    pub(crate) fn heal_system(&mut self) {
        match self.system {
            System::Live(_) => self.heal_live(),
        }
    }

    /// Returns true if the message is more than the member bears. It does not reach the member's rules then.
    pub(crate) fn poisons(&mut self, member: usize, message: &ClientMessage) -> bool {
        match self.system {
            System::Live(_) => self.poisons_live(member, message),
        }
    }

    pub(crate) fn mend_system(&mut self, mend: SystemMend) {
        match mend {
            SystemMend::Live(mend) => self.mend_live(mend),
        }
    }
}

/// The connections of a system that numbers them in its own way.
#[derive(Debug)]
pub(crate) struct Lines<P> {
    peers: BTreeMap<Line, P>,
    lines: BTreeMap<P, Line>,
}

impl<P: Copy + Ord> Lines<P> {
    pub(crate) fn new() -> Self {
        Self { peers: BTreeMap::new(), lines: BTreeMap::new() }
    }

    pub(crate) fn insert(&mut self, line: Line, peer: P) {
        self.peers.insert(line, peer);
        self.lines.insert(peer, line);
    }

    pub(crate) fn peer(&self, line: Line) -> Option<P> {
        self.peers.get(&line).copied()
    }

    pub(crate) fn line(&self, peer: P) -> Option<Line> {
        self.lines.get(&peer).copied()
    }

    pub(crate) fn remove_line(&mut self, line: Line) -> Option<P> {
        let peer = self.peers.remove(&line)?;
        self.lines.remove(&peer);
        Some(peer)
    }

    pub(crate) fn remove_peer(&mut self, peer: P) -> Option<Line> {
        let line = self.lines.remove(&peer)?;
        self.peers.remove(&line);
        Some(line)
    }
}
