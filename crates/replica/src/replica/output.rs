//! What a replica wants done.

use bytes::Bytes;
use zraft_protocol::ServerMessage;

use super::SnapshotFile;
use crate::{Job, PeerMessage, RaftId, StopReason, Write};

/// Names a connection of a client. The shell never uses a name twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnectionId(pub u64);

/// What the shell must do.
#[derive(Debug)]
pub enum Output {
    /// Send a message to a member. It may be lost.
    Send {
        /// The member.
        to: RaftId,
        /// The message.
        message: PeerMessage,
    },
    /// Make a write durable, then call [`Replica::persisted`](crate::Replica::persisted).
    Write(Box<Write>),
    /// Run a job on the state machine, after all earlier ones.
    Job(Job),
    /// Send a message to a client.
    Client {
        /// The client's connection.
        connection: ConnectionId,
        /// The message.
        message: ServerMessage,
    },
    /// Close a client's connection once everything that was sent on it has been flushed. The shell does not call
    /// [`Replica::disconnected`](crate::Replica::disconnected) for it.
    Close(ConnectionId),
    /// Read entries back from the store, then call [`Replica::fetched`](crate::Replica::fetched).
    Fetch {
        /// The first index.
        low: u64,
        /// The index after the last. Fewer entries may be returned.
        high: u64,
    },
    /// Read a part of a snapshot's file, then call [`Replica::snapshot_read`](crate::Replica::snapshot_read).
    ReadSnapshot {
        /// The member that gets it.
        to: RaftId,
        /// The index of the snapshot.
        index: u64,
        /// Where the part begins.
        offset: u64,
        /// Its length.
        length: u64,
    },
    /// Make an empty file for a snapshot that comes from the leader. An unfinished one of another snapshot is deleted. No
    /// part of that one is being written then, and it is not being verified.
    BeginSnapshot(Box<SnapshotFile>),
    /// Write a part of the file that was begun last, then call [`Replica::snapshot_written`](crate::Replica::snapshot_written).
    WriteSnapshot {
        /// The index of the snapshot.
        index: u64,
        /// Where the part begins: where the one before ended.
        offset: u64,
        /// The data.
        data: Bytes,
    },
    /// Verify the complete file, for example by [`verify_snapshot`](zraft_session::verify_snapshot), make it durable
    /// under its name, then call [`Replica::snapshot_verified`](crate::Replica::snapshot_verified).
    VerifySnapshot(Box<SnapshotFile>),
    /// End the process. Nothing else comes.
    Stop(StopReason),
}
