//! What the tasks of a cluster share: the engine behind a lock, and a slot for each connection.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};

use tokio::net::TcpSocket;
use tokio::sync::{Notify, broadcast, mpsc};
use zraft_protocol::{ClientMessage, ServerMessage};
use zraft_zmtp::Instant;

use super::builder::TransportLimits;
use super::incidents::WAITING;
use super::stats::TransportStats;
use super::stream::{Address, Listener};
use crate::engine::{
    CloseHow, ClosedFor, Engine, Incident, Listening, MemberIndex, Output, PeerId,
};

/// One connection from its acceptance on, numbered.
pub(crate) type ConnectionNumber = u64;

#[derive(Debug)]
pub(crate) struct Shared {
    inner: Mutex<Inner>,
    origin: tokio::time::Instant,
    pub(crate) runtime: tokio::runtime::Handle,
    pub(crate) limits: TransportLimits,
    /// The engine wants to be called earlier than the timer knows.
    pub(crate) timer: Notify,
    /// Something that can be observed may have changed.
    pub(crate) changed: Notify,
}

#[derive(Debug)]
pub(crate) struct Inner {
    pub(crate) engine: Engine,
    pub(crate) slots: HashMap<ConnectionNumber, Slot>,
    by_peer: HashMap<PeerId, ConnectionNumber>,
    next_number: ConnectionNumber,
    pub(crate) ports: Vec<Port>,
    pub(crate) stats: TransportStats,
    pub(crate) timer_at: Option<Instant>,
    pub(crate) stopping: bool,
    /// Taken when the cluster stops.
    pub(crate) incidents: Option<broadcast::Sender<Incident>>,
}

/// Where the engine and a connection's task meet.
#[derive(Debug)]
pub(crate) struct Slot {
    pub(crate) member: MemberIndex,
    pub(crate) peer: Option<PeerId>,
    address: Option<SocketAddr>,
    outbox: Vec<ServerMessage>,
    /// Bytes in the outbox, and those the task had not yet written when it was last here.
    outbox_bytes: usize,
    queued_bytes: usize,
    reading: bool,
    close: Option<CloseHow>,
    pub(crate) wake: Arc<Notify>,
}

/// A member's port.
#[derive(Debug)]
pub(crate) struct Port {
    pub(crate) address: Address,
    pub(crate) listener: Option<Listener>,
    pub(crate) held: bool,
    /// Keeps the port from being given to others while the member is down.
    pub(crate) reservation: Option<TcpSocket>,
    pub(crate) error: Option<String>,
    pub(crate) wake: Arc<Notify>,
    /// Held by tasks for as long as they run.
    pub(crate) alive: Option<mpsc::Sender<()>>,
}

/// What came in on a connection.
#[derive(Debug)]
pub(crate) enum Incoming {
    Message(ClientMessage),
    Undecodable,
}

/// What the task of a connection learns when it meets the engine.
#[derive(Debug, Default)]
pub(crate) struct Orders {
    pub(crate) read: bool,
    pub(crate) close: Option<CloseHow>,
    /// The peer speaks for a session: its messages may be handed in many at a time.
    pub(crate) bound: bool,
}

impl Shared {
    pub(crate) fn new(
        engine: Engine,
        ports: Vec<Port>,
        limits: TransportLimits,
        origin: tokio::time::Instant,
    ) -> Self {
        Self {
            inner: Mutex::new(Inner {
                engine,
                slots: HashMap::new(),
                by_peer: HashMap::new(),
                next_number: 0,
                ports,
                stats: TransportStats::default(),
                timer_at: None,
                stopping: false,
                incidents: Some(broadcast::channel(WAITING).0),
            }),
            origin,
            runtime: tokio::runtime::Handle::current(),
            limits,
            timer: Notify::new(),
            changed: Notify::new(),
        }
    }

    pub(crate) fn now(&self) -> Instant {
        instant_since(self.origin)
    }

    pub(crate) fn deadline(&self, at: Instant) -> tokio::time::Instant {
        self.origin + at.saturating_duration_since(Instant::ZERO)
    }

    /// Looks, and changes nothing that others wait for.
    pub(crate) fn look(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// As [`Shared::look`], or `None` while somebody else looks or acts.
    pub(crate) fn try_look(&self) -> Option<MutexGuard<'_, Inner>> {
        match self.inner.try_lock() {
            Ok(inner) => Some(inner),
            Err(TryLockError::Poisoned(error)) => Some(error.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        }
    }

    /// Does something to the engine, and carries out what comes of it.
    pub(crate) fn act<R>(&self, act: impl FnOnce(&mut Inner, Instant) -> R) -> R {
        self.act_for(None, act)
    }

    /// The same for the task of a connection, which will see to its own slot.
    pub(crate) fn act_for<R>(
        &self,
        own: Option<ConnectionNumber>,
        act: impl FnOnce(&mut Inner, Instant) -> R,
    ) -> R {
        let now = self.now();
        let mut inner = self.look();
        let result = act(&mut inner, now);
        self.carry_out(&mut inner, now, own);
        let next = inner.engine.poll_timeout();
        if next.is_some_and(|next| inner.timer_at.is_none_or(|known| next < known)) {
            inner.timer_at = next;
            self.timer.notify_one();
        }
        drop(inner);
        self.changed.notify_waiters();
        result
    }

    fn carry_out(&self, inner: &mut Inner, now: Instant, own: Option<ConnectionNumber>) {
        let mut overfull = Vec::new();
        loop {
            while let Some(output) = inner.engine.poll_output() {
                match output {
                    Output::Send { peer, message } => {
                        let Some((number, slot)) = inner.slot_of(peer) else { continue };
                        if slot.outbox.is_empty() && Some(number) != own {
                            slot.wake.notify_one();
                        }
                        slot.outbox_bytes += size_of_message(&message);
                        slot.outbox.push(message);
                        if slot.outbox_bytes + slot.queued_bytes > self.limits.queued_bytes {
                            overfull.push(peer);
                        }
                    }
                    Output::Close { peer, how } => {
                        if let Some((_, slot)) = inner.slot_of(peer) {
                            slot.order_close(how);
                        }
                    }
                    Output::StopReading { peer } => inner.set_reading(peer, false),
                    Output::ResumeReading { peer } => inner.set_reading(peer, true),
                    Output::Listen { member, listening } => {
                        self.set_listening(inner, member, listening);
                    }
                    Output::Report { peer, mut incident } => {
                        if let Incident::ConnectionClosed { address, .. } = &mut incident
                            && let Some((_, slot)) = peer.and_then(|peer| inner.slot_of(peer))
                        {
                            *address = slot.address();
                        }
                        inner.publish(incident);
                    }
                }
            }
            // Whoever does not take what is sent to it is cut off, and its session left unbound.
            let Some(peer) = overfull.pop() else { break };
            if let Some((number, slot)) = inner.slot_of(peer)
                && slot.close.is_none()
            {
                slot.order_close(CloseHow::Reset);
                inner.publish_closed(number, ClosedFor::Limit("queued_bytes"));
                inner.stats.closed_backlog += 1;
                inner.engine.disconnected(now, peer);
            }
        }
    }

    fn set_listening(&self, inner: &mut Inner, member: MemberIndex, listening: Listening) {
        let Some(port) = inner.ports.get_mut(member.get()) else { return };
        port.held = listening == Listening::Held;
        match listening {
            Listening::Open => port.open(&self.runtime),
            Listening::Held => {}
            Listening::Closed => port.listener = None,
        }
        port.wake.notify_one();
        // Connections that have not finished the handshake are not known to the engine.
        let unknown =
            inner.slots.values_mut().filter(|slot| slot.member == member && slot.peer.is_none());
        for slot in unknown {
            match listening {
                Listening::Open => slot.reading = true,
                Listening::Held => slot.reading = false,
                Listening::Closed => slot.close = Some(CloseHow::Reset),
            }
            slot.wake.notify_one();
        }
    }

    /// Resets the connections of a member, or of all, that are still shaking hands.
    pub(crate) fn cut_handshakes(inner: &mut Inner, member: Option<MemberIndex>) {
        for slot in inner.slots.values_mut() {
            if slot.peer.is_none() && member.is_none_or(|member| member == slot.member) {
                slot.order_close(CloseHow::Reset);
            }
        }
    }

    /// Takes a new connection in; none when there are too many.
    pub(crate) fn admit(
        &self,
        member: MemberIndex,
        address: Option<SocketAddr>,
    ) -> Option<(ConnectionNumber, Arc<Notify>)> {
        let mut inner = self.look();
        inner.stats.accepted += 1;
        let shaking = inner
            .slots
            .values()
            .filter(|slot| slot.member == member && slot.peer.is_none())
            .count();
        if shaking >= self.limits.handshakes || inner.stopping {
            inner.stats.refused += 1;
            inner.publish_refused(member, address, "handshakes");
            drop(inner);
            self.changed.notify_waiters();
            return None;
        }
        let number = inner.next_number;
        inner.next_number += 1;
        inner.stats.open += 1;
        let wake = Arc::new(Notify::new());
        inner.slots.insert(
            number,
            Slot {
                member,
                peer: None,
                address,
                outbox: Vec::new(),
                outbox_bytes: 0,
                queued_bytes: 0,
                reading: true,
                close: None,
                wake: wake.clone(),
            },
        );
        drop(inner);
        self.changed.notify_waiters();
        Some((number, wake))
    }

    /// The handshake is done: the engine gets a new peer.
    pub(crate) fn introduce(&self, number: ConnectionNumber) -> bool {
        self.act(|inner, now| {
            inner.stats.handshakes += 1;
            let Some(slot) = inner.slots.get_mut(&number) else { return false };
            let Some(peer) = inner.engine.connected(now, slot.member) else { return false };
            slot.peer = Some(peer);
            inner.by_peer.insert(peer, number);
            true
        })
    }

    /// Hands in what came, takes what is to go. What may not be handed in yet stays in `incoming`.
    pub(crate) fn exchange(
        &self,
        number: ConnectionNumber,
        queued_bytes: usize,
        incoming: &mut std::collections::VecDeque<Incoming>,
        outbox: &mut Vec<ServerMessage>,
    ) -> Orders {
        let take = |inner: &mut Inner, outbox: &mut Vec<ServerMessage>| {
            let Some(slot) = inner.slots.get_mut(&number) else { return Orders::default() };
            std::mem::swap(&mut slot.outbox, outbox);
            slot.queued_bytes = queued_bytes + slot.outbox_bytes;
            slot.outbox_bytes = 0;
            let bound = slot.peer.is_some_and(|peer| inner.engine.is_bound(peer));
            Orders { read: slot.reading, close: slot.close, bound }
        };
        if incoming.is_empty() {
            return take(&mut self.look(), outbox);
        }
        self.act_for(Some(number), |inner, now| {
            let Some(peer) = inner.slots.get(&number).and_then(|slot| slot.peer) else { return };
            while inner.engine.reads(peer) {
                match incoming.pop_front() {
                    Some(Incoming::Message(message)) => inner.engine.received(now, peer, message),
                    Some(Incoming::Undecodable) => inner.engine.received_undecodable(now, peer),
                    None => break,
                }
            }
        });
        take(&mut self.look(), outbox)
    }

    /// The connection has ended, because of `reason` if the transport closed it.
    pub(crate) fn ended(
        &self,
        number: ConnectionNumber,
        reason: Option<ClosedFor>,
        count: impl FnOnce(&mut TransportStats),
    ) {
        self.act(|inner, now| {
            count(&mut inner.stats);
            if let Some(reason) = reason {
                inner.publish_closed(number, reason);
            }
            inner.stats.open -= 1;
            if let Some(peer) = inner.slots.remove(&number).and_then(|slot| slot.peer) {
                inner.by_peer.remove(&peer);
                inner.engine.disconnected(now, peer);
            }
        });
    }

    /// Ends everything.
    pub(crate) fn stop(&self) {
        let mut inner = self.look();
        inner.stopping = true;
        inner.incidents = None;
        for port in &mut inner.ports {
            port.listener = None;
            port.alive = None;
            port.wake.notify_one();
            #[cfg(unix)]
            if let Address::Ipc(path) = &port.address {
                // The path is the user's; what cannot be removed is left.
                let _ = super::stream::remove_socket(path);
            }
        }
        for slot in inner.slots.values_mut() {
            slot.order_close(CloseHow::Reset);
        }
        drop(inner);
        self.timer.notify_one();
        self.changed.notify_waiters();
    }
}

impl Inner {
    fn slot_of(&mut self, peer: PeerId) -> Option<(ConnectionNumber, &mut Slot)> {
        let number = *self.by_peer.get(&peer)?;
        self.slots.get_mut(&number).map(|slot| (number, slot))
    }

    /// Hands an incident to whoever watches the cluster.
    fn publish(&self, incident: Incident) {
        if let Some(incidents) = &self.incidents {
            // An error says that no one watches.
            let _ = incidents.send(incident);
        }
    }

    /// The transport, not the engine, closes a connection.
    fn publish_closed(&self, number: ConnectionNumber, reason: ClosedFor) {
        let Some(slot) = self.slots.get(&number) else { return };
        let Some(member) = self.engine.members().nth(slot.member.get()).cloned() else { return };
        let session = slot.peer.and_then(|peer| self.engine.session_number(peer));
        let address = slot.address();
        self.publish(Incident::ConnectionClosed { member, address, session, reason });
    }

    fn publish_refused(
        &self,
        member: MemberIndex,
        address: Option<SocketAddr>,
        limit: &'static str,
    ) {
        let Some(member) = self.engine.members().nth(member.get()).cloned() else { return };
        let address = address.map(|address| address.to_string());
        self.publish(Incident::ConnectionRefused { member, address, limit });
    }

    fn set_reading(&mut self, peer: PeerId, reading: bool) {
        if let Some((_, slot)) = self.slot_of(peer) {
            slot.reading = reading;
            slot.wake.notify_one();
        }
    }
}

impl Slot {
    fn address(&self) -> Option<String> {
        self.address.map(|address| address.to_string())
    }

    fn order_close(&mut self, how: CloseHow) {
        self.close = Some(how);
        self.wake.notify_one();
    }
}

impl Port {
    pub(crate) fn open(&mut self, runtime: &tokio::runtime::Handle) {
        if self.listener.is_some() {
            return;
        }
        let _context = runtime.enter();
        match self.address.listen() {
            Ok(listener) => {
                self.listener = Some(listener);
                self.error = None;
            }
            Err(error) => self.error = Some(error.to_string()),
        }
        self.wake.notify_one();
    }
}

pub(crate) fn instant_since(origin: tokio::time::Instant) -> Instant {
    Instant::from_nanos(u64::try_from(origin.elapsed().as_nanos()).unwrap_or(u64::MAX))
}

/// About the bytes a message takes while it waits.
fn size_of_message(message: &ServerMessage) -> usize {
    std::mem::size_of::<ServerMessage>()
        + match message {
            ServerMessage::ClientResponse { result, .. }
            | ServerMessage::QueryResponse { result, .. } => result.len(),
            ServerMessage::ServerRequest { payload, .. } => payload.len(),
            _ => 0,
        }
}
