//! The judge of a replicated cluster. It sees what every member does, and keeps its own account of disks, log, sessions and
//! clients. It shares with the members only the codecs of messages and entries.
//!
//! The host reports a fact by calling a method, in the order in which the facts happen. Around a call of a replica that is:
//! `heard`, `client_said` or `durable` before the call, `standing` and `configuration` right after it, and only then what the
//! outputs lead to: `writing`, `sent`, `told_client`.

// Nothing calls the judge yet but its tests.
#![allow(dead_code)]

use std::time::Duration;

use zraft_core::Instant;
use zraft_protocol::{ClientMessage, Payload, RequestId, ServerMessage, SessionId};
use zraft_replica::{
    Boot, Configuration, ConnectionId, LogEntry, PeerMessage, RaftId, Role, SnapshotMeta, Timing,
    View, Write,
};
use zraft_session::Effect;

use crate::{coverage::Coverage, judge::Violation};

/// When something happens at a member.
#[derive(Clone, Copy, Debug)]
pub(crate) struct At {
    /// The virtual time of the run.
    pub(crate) now: Instant,
    /// The member's monotonic clock, as its replica gets it.
    pub(crate) clock: Duration,
}

/// What the judge must know of the cluster's settings.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Terms {
    pub(crate) timing: Timing,
    /// A command, query or handshake that a serving leader has read is answered within this time once nothing fails any more.
    pub(crate) patience: Duration,
}

/// What a replica says about itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Standing {
    pub(crate) term: u64,
    pub(crate) role: Role,
    pub(crate) serving: bool,
    pub(crate) committed: u64,
    pub(crate) last_index: u64,
}

/// One entry that a member's state machine has applied.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Applied<'a> {
    pub(crate) entry: &'a LogEntry,
    /// The commands that the application executed or rejected during the entry.
    pub(crate) executed: &'a [Executed],
    pub(crate) effects: &'a [Effect],
    /// The state after the entry.
    pub(crate) view: &'a View,
}

/// A command that reached the application.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Executed {
    pub(crate) session: SessionId,
    pub(crate) request: RequestId,
    pub(crate) payload: Payload,
}

/// What a member holds at the end of a run.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rest<'a> {
    pub(crate) member: usize,
    /// The state machine's last index and the hash of its whole state.
    pub(crate) applied: u64,
    pub(crate) state: [u8; 16],
    /// All entries that its store still has, read back from the disk.
    pub(crate) entries: &'a [LogEntry],
}

/// Judges a cluster. Members are numbered by their place in the world; a place keeps its number when its disk is replaced and
/// its Raft id changes.
pub(crate) struct ClusterJudge {
    /// The first rule that was broken. Others may follow from it.
    pub(crate) violation: Option<Violation>,
    pub(crate) coverage: Coverage,
    terms: Terms,
}

impl ClusterJudge {
    /// Returns the judge of a new cluster, whose members all begin with this configuration.
    pub(crate) fn new(terms: Terms, first: &Configuration) -> Self {
        let _ = first;
        Self { violation: None, coverage: Coverage::default(), terms }
    }

    /// A process starts from what its disk holds. `view` is the state that it was restored to.
    pub(crate) fn started(&mut self, at: At, member: usize, id: RaftId, boot: &Boot, view: &View) {
        let _ = (at, member, id, boot, view);
    }

    /// A process ended: by a crash, by a stop, or because it was told to. All its connections are gone.
    pub(crate) fn ended(&mut self, at: At, member: usize) {
        let _ = (at, member);
    }

    /// A fault took from a disk what it had acknowledged: it was wiped, rolled back or overwritten by a copy of another one.
    pub(crate) fn lost_disk(&mut self, member: usize) {
        let _ = member;
    }

    /// What a replica says after each call.
    pub(crate) fn standing(&mut self, at: At, member: usize, standing: Standing) {
        let _ = (at, member, standing);
    }

    /// A replica's configuration has changed.
    pub(crate) fn configuration(&mut self, at: At, member: usize, configuration: &Configuration) {
        let _ = (at, member, configuration);
    }

    /// A replica gives its store a write.
    pub(crate) fn writing(&mut self, at: At, member: usize, write: &Write) {
        let _ = (at, member, write);
    }

    /// The store has acknowledged a write.
    pub(crate) fn durable(&mut self, at: At, member: usize, number: u64) {
        let _ = (at, member, number);
    }

    /// A replica sends a message to a member.
    pub(crate) fn sent(&mut self, at: At, member: usize, to: RaftId, message: &PeerMessage) {
        let _ = (at, member, to, message);
    }

    /// A replica gets a message of a member.
    pub(crate) fn heard(&mut self, at: At, member: usize, from: RaftId) {
        let _ = (at, member, from);
    }

    /// A state machine has applied one entry. The host gives the machine an Apply job entry by entry.
    pub(crate) fn applied(&mut self, at: At, member: usize, applied: Applied<'_>) {
        let _ = (at, member, applied);
    }

    /// A state machine has done an Apply job: its view now says how far it is.
    pub(crate) fn reached(&mut self, at: At, member: usize, view: &View) {
        let _ = (at, member, view);
    }

    /// A state machine was replaced by a snapshot.
    pub(crate) fn restored(&mut self, at: At, member: usize, meta: &SnapshotMeta, view: &View) {
        let _ = (at, member, meta, view);
    }

    /// A member has written a snapshot's file, or has received and verified it.
    pub(crate) fn snapshot(&mut self, at: At, member: usize, index: u64, hash: [u8; 16]) {
        let _ = (at, member, index, hash);
    }

    /// A client has connected to a member.
    pub(crate) fn connected(&mut self, at: At, member: usize, connection: ConnectionId) {
        let _ = (at, member, connection);
    }

    /// A connection has ended, or the member closes it.
    pub(crate) fn disconnected(&mut self, at: At, member: usize, connection: ConnectionId) {
        let _ = (at, member, connection);
    }

    /// A member reads a client's message.
    pub(crate) fn client_said(
        &mut self,
        at: At,
        member: usize,
        connection: ConnectionId,
        message: &ClientMessage,
    ) {
        let _ = (at, member, connection, message);
    }

    /// A member sends a message to a client. The answer to a query begins with the number of commands that the application
    /// had executed without rejecting them, as 8 bytes big-endian.
    pub(crate) fn told_client(
        &mut self,
        at: At,
        member: usize,
        connection: ConnectionId,
        message: &ServerMessage,
    ) {
        let _ = (at, member, connection, message);
    }

    /// An operator asks a leader to end a session.
    pub(crate) fn removal_asked(&mut self, session: &SessionId) {
        let _ = session;
    }

    /// From now on nothing fails.
    pub(crate) fn healed(&mut self, now: Instant) {
        let _ = now;
    }

    /// Returns true if a leader serves, and all running members of its configuration have applied its whole log.
    pub(crate) fn is_settled(&self) -> bool {
        false
    }

    /// The end of the run, once it has settled or its time is up.
    pub(crate) fn finish(&mut self, now: Instant, rests: &[Rest<'_>]) {
        let _ = (now, rests);
    }
}
