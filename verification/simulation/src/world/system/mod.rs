//! The system behind the clients. The world carries its messages and time, and knows nothing else of it.
//!
//! A system addresses a client's connection by its [`Line`], and a member by its place in the configuration, from 0 on.

pub(crate) mod live;
pub(crate) mod replicated;

use std::collections::BTreeMap;

use bytes::Bytes;
use zraft_core::Instant;
use zraft_protocol::{ClientMessage, Payload, RequestId, ServerMessage, SessionId};

use crate::cluster::ClusterPlan;
use crate::world::{fault::Fault, net::Line, pipe::End, sim::Sim};
use live::{Live, LiveMend, LivePlan};
use replicated::{ClusterMend, Replicated};

/// Which system stands behind the clients.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SystemKind {
    /// The model of the live Scala system.
    #[default]
    Live,
    /// The replicated server of this repository.
    Replicated,
}

impl SystemKind {
    /// Returns the name that the command line takes.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Live => "live",
            Self::Replicated => "replicated",
        }
    }
}

/// What a seed draws of the system.
#[derive(Debug, Clone)]
pub(crate) enum SystemPlan {
    Live(Box<LivePlan>),
    Replicated(Box<ClusterPlan>),
}

/// The members of a run, and everything between them.
pub(crate) enum System {
    /// The model of the live Scala system: the embedded server's engine.
    Live(Box<Live>),
    /// Real members on simulated disks.
    Replicated(Box<Replicated>),
}

/// The end of a fault of the members, or its next part.
#[derive(Debug, Clone, Copy)]
pub(crate) enum SystemMend {
    Live(LiveMend),
    Replicated(ClusterMend),
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
    pub(crate) fn new(plan: &SystemPlan, now: Instant, words: bool) -> Self {
        match plan {
            SystemPlan::Live(plan) => Self::Live(Box::new(Live::new(plan, now))),
            SystemPlan::Replicated(plan) => {
                Self::Replicated(Box::new(Replicated::new(plan, now, words)))
            }
        }
    }

    pub(crate) fn kind(&self) -> SystemKind {
        match self {
            Self::Live(_) => SystemKind::Live,
            Self::Replicated(_) => SystemKind::Replicated,
        }
    }

    /// Returns the live system, if it is the one behind the clients.
    pub(crate) fn live(&mut self) -> Option<&mut Live> {
        match self {
            Self::Live(live) => Some(live),
            Self::Replicated(_) => None,
        }
    }

    /// Returns the replicated system, if it is the one behind the clients.
    pub(crate) fn replicated(&mut self) -> Option<&mut Replicated> {
        match self {
            Self::Replicated(replicated) => Some(replicated),
            Self::Live(_) => None,
        }
    }

    /// A connection has completed its ZMTP handshake. Returns false if the member refuses it.
    pub(crate) fn connected(&mut self, now: Instant, line: Line, member: usize) -> bool {
        match self {
            Self::Live(live) => live.connected(now, line, member),
            Self::Replicated(system) => system.connected(now, line, member),
        }
    }

    pub(crate) fn received(&mut self, now: Instant, line: Line, message: ClientMessage) {
        match self {
            Self::Live(live) => live.received(now, line, message),
            Self::Replicated(system) => system.received(now, line, message),
        }
    }

    /// The connection has ended at the member.
    pub(crate) fn disconnected(&mut self, now: Instant, line: Line) {
        match self {
            Self::Live(live) => live.disconnected(now, line),
            Self::Replicated(system) => system.disconnected(now, line),
        }
    }

    /// Returns true if the member takes messages of the connection.
    pub(crate) fn reads(&self, line: Line) -> bool {
        match self {
            Self::Live(live) => live.reads(line),
            Self::Replicated(system) => system.reads(line),
        }
    }

    pub(crate) fn poll_output(&mut self) -> Option<Output> {
        match self {
            Self::Live(live) => live.poll_output(),
            Self::Replicated(system) => system.poll_output(),
        }
    }

    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        match self {
            Self::Live(live) => live.poll_timeout(),
            Self::Replicated(system) => system.cluster.poll_timeout(),
        }
    }

    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        match self {
            Self::Live(live) => live.handle_timeout(now),
            Self::Replicated(system) => system.cluster.handle_timeout(now),
        }
    }

    /// Returns the member that leads.
    pub(crate) fn leader(&self) -> Option<usize> {
        match self {
            Self::Live(live) => live.leader(),
            Self::Replicated(system) => system.cluster.leader(),
        }
    }

    /// Returns true if a leader commits.
    pub(crate) fn commits(&self) -> bool {
        match self {
            Self::Live(live) => live.commits(),
            Self::Replicated(system) => system.cluster.leader().is_some(),
        }
    }

    /// Returns how often a member began to lead, without the first time.
    pub(crate) fn leader_changes(&self) -> u64 {
        match self {
            Self::Live(live) => live.leader_changes(),
            Self::Replicated(system) => system.leader_changes(),
        }
    }

    /// Returns true if the connection is bound to a session at the leader.
    pub(crate) fn is_bound(&self, line: Line) -> bool {
        match self {
            Self::Live(live) => live.is_bound(line),
            Self::Replicated(system) => system.is_bound(line),
        }
    }

    /// Returns how many server requests the session's client has not acknowledged, or `None` if there is no such session.
    pub(crate) fn unacknowledged(&self, session: &str) -> Option<usize> {
        match self {
            Self::Live(live) => live.unacknowledged(session),
            Self::Replicated(system) => system.unacknowledged(session),
        }
    }

    /// Returns true if the session's client closed it in order and the system may have lost that.
    pub(crate) fn may_have_lost_close(&self, session: &str) -> bool {
        match self {
            Self::Live(_) => false,
            Self::Replicated(system) => system.may_have_lost_close(session),
        }
    }

    /// The system's application pushes a server request to a session. Returns false if it cannot.
    pub(crate) fn push(&mut self, now: Instant, session: &SessionId, payload: &Payload) -> bool {
        match self {
            Self::Live(live) => live.push(now, session, payload),
            // Its application pushes by itself.
            Self::Replicated(_) => false,
        }
    }

    /// Returns the commands that were executed, in order.
    pub(crate) fn executions(&self) -> Vec<Execution<'_>> {
        match self {
            Self::Live(live) => live.executions(),
            Self::Replicated(system) => system.executions(),
        }
    }

    /// Returns how many executions the system no longer knows.
    pub(crate) fn forgotten(&self) -> u64 {
        match self {
            Self::Live(live) => live.forgotten(),
            Self::Replicated(_) => 0,
        }
    }

    /// Returns true if the application may reject a command without an answer.
    pub(crate) fn rejects_without_answer(&self) -> bool {
        match self {
            Self::Live(_) => false,
            Self::Replicated(system) => system.cluster.rejects_without_answer(),
        }
    }

    /// Returns what the replicated system's application pushed to a session, in order.
    pub(crate) fn pushed(&self, session: &str) -> &[Bytes] {
        match self {
            Self::Live(_) => &[],
            Self::Replicated(system) => system.pushed(session),
        }
    }

    /// Returns true if nothing is under way among the members and nothing is left to repair.
    pub(crate) fn is_settled(&self) -> bool {
        self.unsettled().is_none()
    }

    /// Returns what is under way among the members, or left to repair.
    pub(crate) fn unsettled(&self) -> Option<String> {
        match self {
            Self::Live(_) => None,
            Self::Replicated(system) => system.cluster.unsettled(),
        }
    }
}

impl Sim {
    /// The member's connections to clients end.
    pub(crate) fn cut_connections(&mut self, member: usize) {
        if let System::Live(live) = &mut self.system {
            return live.cut_connections(self.now, member);
        }
        for line in self.net.lines(None, Some(member)) {
            self.ends_stream(line, End::Reset, true);
            self.member_end_gone(line);
        }
    }

    /// Returns what was pushed to a session, in order.
    pub(crate) fn pushed_to(&self, session: &str) -> &[Bytes] {
        match &self.system {
            System::Live(_) => self.pushed.get(session).map_or(&[], |pushed| &pushed[..]),
            System::Replicated(system) => system.pushed(session),
        }
    }

    /// Takes the history and the findings of the members.
    pub(crate) fn take_members_history(&mut self) {
        if let System::Replicated(system) = &mut self.system {
            self.trace.lines.append(&mut system.cluster.trace.lines);
            if let Some(violation) = system.cluster.take_violation() {
                self.violation.get_or_insert(violation);
            }
        }
    }

    /// Brings a fault of the members about. Returns true if that was possible.
    pub(crate) fn strike_system(&mut self, fault: Fault) -> bool {
        match self.system {
            System::Live(_) => self.strike_live(fault),
            System::Replicated(_) => self.strike_cluster(fault),
        }
    }

    /// Brings a change of leadership about. Returns the fault that it came from, or `None` if it was not possible.
    pub(crate) fn change_leader(&mut self) -> Option<Fault> {
        match self.system {
            System::Live(_) => self.change_live_leader(),
            System::Replicated(_) => self.change_cluster_leader(),
        }
    }

    /// Ends every fault of a member.
    pub(crate) fn heal_member(&mut self, member: usize) {
        match self.system {
            System::Live(_) => self.heal_live_member(member),
            // All faults of a cluster end at once.
            System::Replicated(_) => {}
        }
    }

    /// Ends every fault of the system that is not one of a single member.
    pub(crate) fn heal_system(&mut self) {
        match self.system {
            System::Live(_) => self.heal_live(),
            System::Replicated(_) => self.heal_cluster(),
        }
    }

    /// Returns true if the message is more than the member bears. It does not reach the member's rules then.
    pub(crate) fn poisons(&mut self, member: usize, message: &ClientMessage) -> bool {
        match self.system {
            System::Live(_) => self.poisons_live(member, message),
            System::Replicated(_) => false,
        }
    }

    pub(crate) fn mend_system(&mut self, mend: SystemMend) {
        match mend {
            SystemMend::Live(mend) => self.mend_live(mend),
            SystemMend::Replicated(mend) => self.mend_cluster(mend),
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
