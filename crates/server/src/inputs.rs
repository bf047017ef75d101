//! What reaches a member's driver from its other tasks and threads.

use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::oneshot;
use zraft_protocol::ClientMessage;
use zraft_replica::{
    Accepting, ChangeError, ChangeTicket, ConnectionId, ConnectionKind, Dialing, Done,
    HandshakeError, LogEntry, MembershipChange, Peer, PeerMessage, QueryKey, RaftId, Refusal,
    SnapshotFile, Space,
};
use zraft_session::{CheckedSettings, Payload, QueryError};
use zraft_store::{SnapshotSource, StoreError};

use crate::{Ended, Report, clients::Mailbox};

/// The newest snapshot, opened; none before the first one.
pub(crate) type Newest = Result<Option<SnapshotSource>, StoreError>;

/// The state machine's answer to a query.
pub(crate) type QueryAnswer = Result<Payload, QueryError>;

/// What other members and the member's own threads report. It is handled before anything of clients.
#[derive(Debug)]
pub(crate) enum Input {
    Peer {
        from: RaftId,
        message: PeerMessage,
    },
    PeerLost(RaftId),
    Handshake(Handshake),
    /// This peer refused the handshake after it was complete on this side.
    Refused(RaftId, Refusal),
    Persisted(u64),
    Space(Space),
    Fetched {
        low: u64,
        entries: Vec<LogEntry>,
    },
    Done(Done),
    /// The answers of queries that ran together.
    Answered(Vec<(QueryKey, QueryAnswer)>),
    SnapshotTaken(SnapshotFile),
    SnapshotRead {
        to: RaftId,
        index: u64,
        offset: u64,
        data: Option<Bytes>,
    },
    SnapshotWritten {
        index: u64,
        up_to: u64,
    },
    SnapshotVerified {
        index: u64,
        sound: bool,
    },
    /// A thread has met what the member cannot live with.
    Failed(Ended),
}

/// A step of a handshake, which the replica judges. The answer goes back to the task of the connection.
#[derive(Debug)]
pub(crate) enum Handshake {
    Dial {
        peer: RaftId,
        kind: ConnectionKind,
        reply: oneshot::Sender<(Dialing, Bytes)>,
    },
    Accept {
        hello: Bytes,
        reply: oneshot::Sender<Result<(Accepting, Bytes), HandshakeError>>,
    },
    Confirm {
        dialing: Dialing,
        welcome: Bytes,
        reply: oneshot::Sender<Result<(Peer, Bytes), HandshakeError>>,
    },
    Complete {
        accepting: Accepting,
        confirm: Bytes,
        reply: oneshot::Sender<Completed>,
    },
}

/// The dialer's id, and what ends when a newer connection takes this one's place.
pub(crate) type Completed = Result<(RaftId, oneshot::Receiver<()>), HandshakeError>;

/// What a connection of a client reports.
#[derive(Debug)]
pub(crate) enum ClientInput {
    Connected(ConnectionId, Arc<Mailbox>),
    Messages(ConnectionId, Vec<ClientMessage>),
    Disconnected(ConnectionId),
}

/// What the owner of the member asks for.
#[derive(Debug)]
pub(crate) enum Control {
    HandOver(Option<RaftId>, oneshot::Sender<()>),
    Change(MembershipChange, oneshot::Sender<Result<ChangeTicket, ChangeError>>),
    Settings(CheckedSettings, oneshot::Sender<Result<(), ChangeError>>),
    Snapshot(oneshot::Sender<()>),
    AcceptClock(oneshot::Sender<()>),
    Report(oneshot::Sender<Box<Report>>),
    Backup(oneshot::Sender<Newest>),
    Stop,
}
