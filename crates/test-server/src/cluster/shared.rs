//! The state that the tasks of a cluster share: the engine behind a lock, and a slot for each connection.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};

use tokio::sync::{Notify, broadcast};
use zraft_protocol::{ClientMessage, ServerMessage};
use zraft_zmtp::Instant;

use super::incidents;
use super::limits::TransportLimits;
use super::port::Port;
use super::stats::TransportStats;
use crate::engine::{
    CloseHow, ClosedFor, Engine, Incident, Listening, MemberIndex, Output, PeerId,
};

/// The number of a connection, counted from its acceptance. Never used again.
pub(crate) type ConnectionNumber = u64;

#[derive(Debug)]
pub(crate) struct Shared {
    state: Mutex<State>,
    origin: tokio::time::Instant,
    pub(crate) runtime: tokio::runtime::Handle,
    pub(crate) limits: TransportLimits,
    /// Wakes the timer task: the engine's next timeout is earlier than the task knows.
    pub(crate) timer: Notify,
    /// Wakes callers that wait for a state of the cluster.
    pub(crate) changed: Notify,
}

#[derive(Debug)]
pub(crate) struct State {
    pub(crate) engine: Engine,
    pub(crate) slots: HashMap<ConnectionNumber, Slot>,
    by_peer: HashMap<PeerId, ConnectionNumber>,
    next_number: ConnectionNumber,
    pub(crate) ports: Vec<Port>,
    pub(crate) stats: TransportStats,
    /// The time at which the timer task will wake.
    pub(crate) timer_at: Option<Instant>,
    pub(crate) stopping: bool,
    /// None once the cluster stops, which ends the streams of incidents.
    pub(crate) incidents: Option<broadcast::Sender<Incident>>,
}

/// The mailbox between the engine and a connection's task.
#[derive(Debug)]
pub(crate) struct Slot {
    pub(crate) member: MemberIndex,
    /// None until the ZMTP handshake is complete: the engine does not know the connection before.
    pub(crate) peer: Option<PeerId>,
    address: Option<SocketAddr>,
    /// Messages that the task has not fetched yet.
    outbox: Vec<ServerMessage>,
    outbox_bytes: usize,
    /// Bytes that the task had fetched and not written when it last exchanged messages.
    queued_bytes: usize,
    reading: bool,
    close: Option<CloseHow>,
    pub(crate) wake: Arc<Notify>,
}

/// A message that arrived on a connection.
#[derive(Debug)]
pub(crate) enum Incoming {
    Message(ClientMessage),
    Undecodable,
}

/// What the engine wants the task of a connection to do.
#[derive(Debug, Default)]
pub(crate) struct Orders {
    /// Read from the connection.
    pub(crate) read: bool,
    pub(crate) close: Option<CloseHow>,
    /// A session is bound to the connection, so the task may hand in many messages at a time.
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
            state: Mutex::new(State {
                engine,
                slots: HashMap::new(),
                by_peer: HashMap::new(),
                next_number: 0,
                ports,
                stats: TransportStats::default(),
                timer_at: None,
                stopping: false,
                incidents: Some(broadcast::channel(incidents::CAPACITY).0),
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

    /// Locks the state, to read it or to change what no one waits for.
    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Locks the state like [`Shared::lock`]. Returns `None` if it is locked already.
    pub(crate) fn try_lock(&self) -> Option<MutexGuard<'_, State>> {
        match self.state.try_lock() {
            Ok(state) => Some(state),
            Err(TryLockError::Poisoned(error)) => Some(error.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        }
    }

    /// Changes the engine, carries out its outputs and wakes everyone who waits for a change.
    pub(crate) fn update<R>(&self, change: impl FnOnce(&mut State, Instant) -> R) -> R {
        self.update_from(None, change)
    }

    /// Does what [`Shared::update`] does for the task of connection `own`, which fetches its messages without a wake.
    fn update_from<R>(
        &self,
        own: Option<ConnectionNumber>,
        change: impl FnOnce(&mut State, Instant) -> R,
    ) -> R {
        let now = self.now();
        let mut state = self.lock();
        let result = change(&mut state, now);
        self.carry_out(&mut state, now, own);
        let next = state.engine.poll_timeout();
        if next.is_some_and(|next| state.timer_at.is_none_or(|known| next < known)) {
            state.timer_at = next;
            self.timer.notify_one();
        }
        drop(state);
        self.changed.notify_waiters();
        result
    }

    fn carry_out(&self, state: &mut State, now: Instant, own: Option<ConnectionNumber>) {
        let mut overfull = Vec::new();
        loop {
            while let Some(output) = state.engine.poll_output() {
                match output {
                    Output::Send { peer, message } => {
                        let Some((number, slot)) = state.slot_of(peer) else { continue };
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
                        if let Some((_, slot)) = state.slot_of(peer) {
                            slot.order_close(how);
                        }
                    }
                    Output::StopReading { peer } => state.set_reading(peer, false),
                    Output::ResumeReading { peer } => state.set_reading(peer, true),
                    Output::Listen { member, listening } => {
                        self.set_listening(state, member, listening);
                    }
                    Output::Report { peer, mut incident } => {
                        if let Incident::ConnectionClosed { address, .. } = &mut incident
                            && let Some((_, slot)) = peer.and_then(|peer| state.slot_of(peer))
                        {
                            *address = slot.address();
                        }
                        state.publish(incident);
                    }
                }
            }
            // A peer that does not read its messages is disconnected, and its session stays unbound.
            let Some(peer) = overfull.pop() else { break };
            if let Some((number, slot)) = state.slot_of(peer)
                && slot.close.is_none()
            {
                slot.order_close(CloseHow::Reset);
                state.publish_closed(number, ClosedFor::Limit("queued_bytes"));
                state.stats.closed_backlog += 1;
                state.engine.disconnected(now, peer);
            }
        }
    }

    fn set_listening(&self, state: &mut State, member: MemberIndex, listening: Listening) {
        let Some(port) = state.ports.get_mut(member.get()) else { return };
        port.set_listening(listening, &self.runtime);
        // The engine does not know connections that have not completed the ZMTP handshake.
        let unknown =
            state.slots.values_mut().filter(|slot| slot.member == member && slot.peer.is_none());
        for slot in unknown {
            match listening {
                Listening::Open => slot.reading = true,
                Listening::Held => slot.reading = false,
                Listening::Closed => slot.close = Some(CloseHow::Reset),
            }
            slot.wake.notify_one();
        }
    }

    /// Resets the connections of a member, or of all members, that have not completed the ZMTP handshake.
    pub(crate) fn cut_handshakes(state: &mut State, member: Option<MemberIndex>) {
        for slot in state.slots.values_mut() {
            if slot.peer.is_none() && member.is_none_or(|member| member == slot.member) {
                slot.order_close(CloseHow::Reset);
            }
        }
    }

    /// Adds a new connection. Returns its number and the notifier that wakes its task, or `None` if the cluster stops or
    /// too many connections of the member are in the ZMTP handshake.
    pub(crate) fn admit(
        &self,
        member: MemberIndex,
        address: Option<SocketAddr>,
    ) -> Option<(ConnectionNumber, Arc<Notify>)> {
        let mut state = self.lock();
        state.stats.accepted += 1;
        let handshakes = state
            .slots
            .values()
            .filter(|slot| slot.member == member && slot.peer.is_none())
            .count();
        if handshakes >= self.limits.handshakes || state.stopping {
            state.stats.refused += 1;
            state.publish_refused(member, address, "handshakes");
            drop(state);
            self.changed.notify_waiters();
            return None;
        }
        let number = state.next_number;
        state.next_number += 1;
        state.stats.open += 1;
        let wake = Arc::new(Notify::new());
        state.slots.insert(
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
        drop(state);
        self.changed.notify_waiters();
        Some((number, wake))
    }

    /// Tells the engine of a connection that has completed the ZMTP handshake. Returns true if the member accepts it.
    pub(crate) fn connected(&self, number: ConnectionNumber) -> bool {
        self.update(|state, now| {
            state.stats.handshakes += 1;
            let Some(slot) = state.slots.get_mut(&number) else { return false };
            let Some(peer) = state.engine.connected(now, slot.member) else { return false };
            slot.peer = Some(peer);
            state.by_peer.insert(peer, number);
            true
        })
    }

    /// Hands messages to the engine and fetches those that it sends. Messages that the engine does not read yet stay in
    /// `incoming`. `queued_bytes` is what the task has fetched before and not written.
    pub(crate) fn exchange(
        &self,
        number: ConnectionNumber,
        queued_bytes: usize,
        incoming: &mut std::collections::VecDeque<Incoming>,
        outbox: &mut Vec<ServerMessage>,
    ) -> Orders {
        let take = |state: &mut State, outbox: &mut Vec<ServerMessage>| {
            let Some(slot) = state.slots.get_mut(&number) else { return Orders::default() };
            std::mem::swap(&mut slot.outbox, outbox);
            slot.queued_bytes = queued_bytes + slot.outbox_bytes;
            slot.outbox_bytes = 0;
            let bound = slot.peer.is_some_and(|peer| state.engine.is_bound(peer));
            Orders { read: slot.reading, close: slot.close, bound }
        };
        if incoming.is_empty() {
            return take(&mut self.lock(), outbox);
        }
        self.update_from(Some(number), |state, now| {
            let Some(peer) = state.slots.get(&number).and_then(|slot| slot.peer) else { return };
            while state.engine.reads(peer) {
                match incoming.pop_front() {
                    Some(Incoming::Message(message)) => state.engine.received(now, peer, message),
                    Some(Incoming::Undecodable) => state.engine.received_undecodable(now, peer),
                    None => break,
                }
            }
        });
        take(&mut self.lock(), outbox)
    }

    /// Removes a connection that has ended. `reason` is set if the transport, not the engine, closed it.
    pub(crate) fn ended(
        &self,
        number: ConnectionNumber,
        reason: Option<ClosedFor>,
        count: impl FnOnce(&mut TransportStats),
    ) {
        self.update(|state, now| {
            count(&mut state.stats);
            if let Some(reason) = reason {
                state.publish_closed(number, reason);
            }
            state.stats.open -= 1;
            if let Some(peer) = state.slots.remove(&number).and_then(|slot| slot.peer) {
                state.by_peer.remove(&peer);
                state.engine.disconnected(now, peer);
            }
        });
    }

    /// Stops the cluster: closes its ports and tells every task to end.
    pub(crate) fn stop(&self) {
        let mut state = self.lock();
        state.stopping = true;
        state.incidents = None;
        state.ports.iter_mut().for_each(Port::shut);
        for slot in state.slots.values_mut() {
            slot.order_close(CloseHow::Reset);
        }
        drop(state);
        self.timer.notify_one();
        self.changed.notify_waiters();
    }
}

impl State {
    fn slot_of(&mut self, peer: PeerId) -> Option<(ConnectionNumber, &mut Slot)> {
        let number = *self.by_peer.get(&peer)?;
        self.slots.get_mut(&number).map(|slot| (number, slot))
    }

    /// Sends an incident to all streams of incidents.
    fn publish(&self, incident: Incident) {
        if let Some(incidents) = &self.incidents {
            // An error says that there is no stream.
            let _ = incidents.send(incident);
        }
    }

    /// Publishes that the transport, not the engine, closes a connection.
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

/// Returns the engine's time: the time since `origin`.
pub(crate) fn instant_since(origin: tokio::time::Instant) -> Instant {
    Instant::from_nanos(u64::try_from(origin.elapsed().as_nanos()).unwrap_or(u64::MAX))
}

/// Returns about the number of bytes that a waiting message occupies.
fn size_of_message(message: &ServerMessage) -> usize {
    std::mem::size_of::<ServerMessage>()
        + match message {
            ServerMessage::ClientResponse { result, .. }
            | ServerMessage::QueryResponse { result, .. } => result.len(),
            ServerMessage::ServerRequest { payload, .. } => payload.len(),
            _ => 0,
        }
}
