//! Connections between members.
//!
//! A member opens two connections to every other one and sends on them: urgent messages on one, entries and snapshots on
//! the other, so that a heartbeat never waits behind a megabyte. What the other member answers comes on the connections
//! that it opens itself. So a path that works in one direction only is used as what it is, and no rule is needed for two
//! members that dial each other at the same time.

mod dialer;
mod listener;
mod wire;

use std::{
    collections::{BTreeMap, HashMap},
    io,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use tokio::{
    sync::{Notify, mpsc, oneshot, watch},
    task::AbortHandle,
};
use zraft_replica::{Configuration, ConnectionKind, Peer, PeerMessage, RaftId};

use crate::{
    PortLimits,
    inputs::{Handshake, Input},
    refusals::{Reason, Remote},
    status::Counters,
    tls::{Port, Tls, TlsFailure},
};
use dialer::Dialer;
pub(crate) use listener::listen;

/// Messages queued on one connection, besides the limit of bytes: heartbeats are small.
const QUEUED_MESSAGES: usize = 4096;
/// Members that this one has met and that its configuration does not contain yet. A configuration has no more.
const MAX_MET: usize = Configuration::MAX_MEMBERS;

/// What the tasks of the peer connections share.
#[derive(Debug)]
pub(crate) struct PeerPort {
    pub(crate) id: RaftId,
    pub(crate) inputs: mpsc::Sender<Input>,
    pub(crate) limits: PortLimits,
    pub(crate) counters: Arc<Counters>,
    pub(crate) tls: Arc<Tls>,
}

impl PeerPort {
    /// Takes note of a connection that is refused.
    fn refused(&self, remote: Remote, reason: Reason) {
        self.counters.refused(Port::Peer, remote, &reason);
        let (Remote::From(remote) | Remote::To(remote)) = remote;
        if let Reason::Tls(problem) = reason {
            self.tls.failed(TlsFailure { port: Port::Peer, remote, problem });
        }
    }

    /// Lets the replica take a step of a handshake.
    async fn ask<T>(&self, step: Handshake, answer: oneshot::Receiver<T>) -> io::Result<T> {
        let ended = || io::Error::from(io::ErrorKind::Interrupted);
        self.inputs.send(Input::Handshake(step)).await.map_err(|_| ended())?;
        answer.await.map_err(|_| ended())
    }
}

/// The connections to the other members.
#[derive(Debug)]
pub(crate) struct Peers {
    port: Arc<PeerPort>,
    links: BTreeMap<RaftId, Link>,
    /// Addresses of members that have introduced themselves and are not in the configuration.
    met: BTreeMap<RaftId, String>,
    /// The connections that others have opened. Dropping a sender ends the connection.
    inbound: HashMap<(RaftId, ConnectionKind), oneshot::Sender<()>>,
}

/// What became of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sent {
    Queued,
    /// The queue was full. Raft must learn that the member is unreachable.
    Dropped,
    /// There is no way to that member yet.
    Unknown,
}

#[derive(Debug)]
struct Link {
    address: watch::Sender<String>,
    urgent: Queue,
    bulk: Queue,
}

/// The queue of one connection, and its task, which ends with it.
#[derive(Debug)]
struct Queue {
    sender: mpsc::Sender<PeerMessage>,
    bytes: Arc<AtomicUsize>,
    most_bytes: usize,
    retry: Arc<Notify>,
    task: AbortHandle,
}

impl Peers {
    pub(crate) fn new(port: Arc<PeerPort>) -> Self {
        Self { port, links: BTreeMap::new(), met: BTreeMap::new(), inbound: HashMap::new() }
    }

    /// Returns the number of this member.
    pub(crate) fn own(&self) -> RaftId {
        self.port.id
    }

    /// Keeps a link to every other member, at the address that the configuration says.
    pub(crate) fn configure(&mut self, configuration: &Configuration) {
        self.met.retain(|id, _| {
            !configuration.members.contains_key(id) && !configuration.removed.contains(id)
        });
        let configured = configuration.members.iter().map(|(id, info)| (*id, &info.address));
        let met = self.met.iter().map(|(id, address)| (*id, address));
        let wanted: BTreeMap<RaftId, &String> =
            configured.chain(met).filter(|(id, _)| *id != self.port.id).collect();
        self.links.retain(|id, _| wanted.contains_key(id));
        self.inbound.retain(|(id, _), _| !configuration.removed.contains(id));
        for (id, address) in wanted {
            match self.links.get(&id) {
                Some(link) => {
                    link.address.send_if_modified(|known| {
                        let moved = known != address;
                        if moved {
                            known.clone_from(address);
                        }
                        moved
                    });
                }
                None => {
                    let info = configuration.members.get(&id);
                    let name =
                        info.map_or_else(|| format!("member {id}"), |info| info.name.to_string());
                    let link = Link::new(&self.port, id, &name, address.clone());
                    self.links.insert(id, link);
                }
            }
        }
    }

    /// Takes note of a member that has opened a connection. Returns what ends when a newer one takes its place.
    pub(crate) fn met(
        &mut self,
        peer: &Peer,
        configuration: &Configuration,
    ) -> oneshot::Receiver<()> {
        let (sender, ended) = oneshot::channel();
        if configuration.members.contains_key(&peer.id) {
            // It runs, so it can be reached.
            if let Some(link) = self.links.get(&peer.id) {
                link.urgent.retry.notify_one();
                link.bulk.retry.notify_one();
            }
        } else if self.met.len() < MAX_MET || self.met.contains_key(&peer.id) {
            self.met.insert(peer.id, peer.introduction.address.clone());
            self.configure(configuration);
        }
        self.inbound.insert((peer.id, peer.kind), sender);
        ended
    }

    /// Sends a message, or drops it.
    pub(crate) fn send(&self, to: RaftId, message: PeerMessage) -> Sent {
        let Some(link) = self.links.get(&to) else { return Sent::Unknown };
        let queue = if message.is_urgent() { &link.urgent } else { &link.bulk };
        let sent = queue.send(message);
        if sent == Sent::Dropped {
            self.port.counters.peer_messages_dropped.add();
        }
        sent
    }
}

impl Link {
    fn new(port: &Arc<PeerPort>, peer: RaftId, name: &str, address: String) -> Self {
        let (address, addresses) = watch::channel(address);
        let queue = |kind| {
            let (sender, messages) = mpsc::channel(QUEUED_MESSAGES);
            let bytes = Arc::new(AtomicUsize::new(0));
            let retry = Arc::new(Notify::new());
            let dialer = Dialer {
                port: port.clone(),
                peer,
                name: name.to_owned(),
                kind,
                address: addresses.clone(),
                messages,
                bytes: bytes.clone(),
                retry: retry.clone(),
                remote: None,
            };
            let task = tokio::spawn(dialer.run()).abort_handle();
            Queue { sender, bytes, most_bytes: port.limits.peer_queue, retry, task }
        };
        Self { urgent: queue(ConnectionKind::Urgent), bulk: queue(ConnectionKind::Bulk), address }
    }
}

impl Queue {
    fn send(&self, message: PeerMessage) -> Sent {
        let size = size(&message);
        // One message is always taken, however long it is.
        let before = self.bytes.load(Ordering::Acquire);
        if before > 0 && before + size > self.most_bytes {
            return Sent::Dropped;
        }
        self.bytes.fetch_add(size, Ordering::AcqRel);
        if self.sender.try_send(message).is_err() {
            self.bytes.fetch_sub(size, Ordering::AcqRel);
            return Sent::Dropped;
        }
        Sent::Queued
    }
}

impl Drop for Queue {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// About the bytes that a queued message occupies.
fn size(message: &PeerMessage) -> usize {
    size_of::<PeerMessage>()
        + match message {
            PeerMessage::Append { entries, .. } => {
                entries.iter().map(|entry| size_of_val(entry) + entry.data.len()).sum()
            }
            PeerMessage::SnapshotChunk { data, .. } => data.len(),
            _ => 0,
        }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn queue(most_bytes: usize) -> (Queue, mpsc::Receiver<PeerMessage>) {
        let (sender, messages) = mpsc::channel(3);
        let (bytes, retry) = (Arc::default(), Arc::default());
        let task = tokio::spawn(std::future::pending::<()>()).abort_handle();
        (Queue { sender, bytes, most_bytes, retry, task }, messages)
    }

    fn message() -> PeerMessage {
        PeerMessage::TimeoutNow { term: 1 }
    }

    #[tokio::test]
    async fn a_full_queue_drops_messages_and_says_so() {
        let (by_count, _messages) = queue(usize::MAX);
        let sent: Vec<_> = (0..4).map(|_| by_count.send(message())).collect();
        assert_eq!(sent, [Sent::Queued, Sent::Queued, Sent::Queued, Sent::Dropped]);
        assert_eq!(by_count.bytes.load(Ordering::Acquire), 3 * size(&message()));

        let (by_bytes, _messages) = queue(2 * size(&message()));
        let sent: Vec<_> = (0..3).map(|_| by_bytes.send(message())).collect();
        assert_eq!(sent, [Sent::Queued, Sent::Queued, Sent::Dropped]);

        let (long, _messages) = queue(1);
        assert_eq!(long.send(message()), Sent::Queued, "one message is taken however long it is");
        assert_eq!(long.send(message()), Sent::Dropped);
    }
}
