//! The rules of a cluster, without sockets, clock and randomness.
//!
//! The members share one replicated state: sessions, cached answers, server requests, application and journal. Each
//! member has its own belief: whether it leads, which sessions exist, and which connection is bound to which session.

mod commit;
mod config;
mod control;
mod incident;
mod leadership;
mod live;
mod log;
mod member;
mod output;
mod receive;
mod replicated;
mod seed;
mod stats;
mod switches;
mod table;
mod timers;
mod view;

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use zraft_protocol::{MemberId, ServerMessage, Timestamp};
use zraft_session::{Application, StateMachine};
use zraft_zmtp::Instant;

pub use config::{EngineConfig, Limits};
pub use incident::{ClosedFor, Incident};
pub use output::{CloseHow, Listening, Output, PeerId};
pub use stats::EngineStats;
pub use switches::{Hints, KillLoss, MemberIndex, MessageClass, SwitchError};
pub use view::SessionView;

use log::Log;
use member::{Member, Peer, Run};
use replicated::Replicated;
use seed::Seed;
use switches::Drops;
use table::{Key, SessionTable};

/// The rules of a cluster, without sockets, clock and randomness.
///
/// The caller owns the connections and the clock:
///
/// 1. Call [`connected`](Self::connected), [`received`](Self::received) and [`disconnected`](Self::disconnected) for
///    what happens on connections, and switches for the faults of a test.
/// 2. Call [`handle_timeout`](Self::handle_timeout) when [`poll_timeout`](Self::poll_timeout) is due.
/// 3. Carry out each [`Output`] until [`poll_output`](Self::poll_output) returns `None`.
///
/// The same inputs at the same times give the same outputs.
///
/// The rules are those measured on the live system. Where input from a peer can stop the live system, the engine closes
/// that peer's connection instead.
#[derive(Debug)]
pub struct Engine {
    config: EngineConfig,
    now: Instant,
    replicated: Replicated,
    table: SessionTable,
    members: Vec<Member>,
    peers: BTreeMap<PeerId, Peer>,
    next_peer: u64,
    /// The member that really leads: its log commits once a majority is reachable.
    leader: Option<usize>,
    /// The last leader. An election tries the members in order from here on.
    last_leader: usize,
    /// The member that wins the next election if it can lead.
    preferred: Option<usize>,
    election_at: Option<Instant>,
    /// True if the leader can commit.
    commits: bool,
    log: Log,
    next_expiry_tick: Instant,
    next_redelivery_tick: Instant,
    /// No session expires before this time.
    first_expiry: Option<Instant>,
    drops: Drops,
    /// True while a killed leader commits entries whose answers are lost.
    answers_lost: bool,
    seed: Seed,
    stats: EngineStats,
    outputs: VecDeque<Output>,
}

impl Engine {
    /// Creates a cluster at `now`. Its first member leads.
    pub fn new(config: EngineConfig, app: impl Application, now: Instant) -> Self {
        Self::of(config, Box::new(StateMachine::new(app)), now)
    }

    /// Creates a cluster that runs a new state machine.
    pub(crate) fn of(
        config: EngineConfig,
        machine: Box<StateMachine<dyn Application>>,
        now: Instant,
    ) -> Self {
        let members: Vec<_> = config.members.iter().cloned().map(Member::new).collect();
        let mut engine = Self {
            now,
            replicated: Replicated::new(machine, &config, now),
            table: SessionTable::default(),
            peers: BTreeMap::new(),
            next_peer: 0,
            leader: None,
            last_leader: 0,
            preferred: None,
            election_at: None,
            commits: false,
            log: Log::new(),
            next_expiry_tick: now,
            next_redelivery_tick: now,
            first_expiry: None,
            drops: Drops::default(),
            answers_lost: false,
            seed: Seed::new(config.seed),
            stats: EngineStats::default(),
            outputs: VecDeque::new(),
            config,
            members,
        };
        if !engine.members.is_empty() {
            engine.step_up(0);
        }
        engine
    }

    /// Handles a client that has connected to a member and completed the ZMTP handshake.
    ///
    /// Returns `None` if the member does not run or has as many connections as it may. The caller must close the
    /// connection then.
    pub fn connected(&mut self, now: Instant, member: MemberIndex) -> Option<PeerId> {
        self.advance(now);
        let index = member.0;
        if self.members.get(index)?.run != Run::Up {
            return None;
        }
        if self.members[index].peers >= self.config.limits.peers_per_member {
            // No one uses a muted connection, so the new one replaces it.
            let muted = self.peers.iter().find(|(_, peer)| peer.member == index && peer.muted);
            let Some(muted) = muted.map(|(id, _)| *id) else {
                self.stats.refused_peers += 1;
                let member = self.members[index].id.clone();
                let limit = "peers_per_member";
                self.report(Incident::ConnectionRefused { member, address: None, limit });
                return None;
            };
            self.close(muted, CloseHow::Reset);
        }
        let id = PeerId(self.next_peer);
        self.next_peer += 1;
        self.members[index].peers += 1;
        self.peers.insert(id, Peer { member: index, bound: None, dropped: false, muted: false });
        if self.members[index].frozen {
            self.outputs.push_back(Output::StopReading { peer: id });
        }
        Some(id)
    }

    /// Handles the end of a connection. On the live system the socket turns it into a ConnectionClosed message.
    pub fn disconnected(&mut self, now: Instant, peer: PeerId) {
        self.advance(now);
        self.forget(peer);
    }

    /// Returns true if the member reads from this connection. If not, the caller must leave its bytes unread.
    pub fn reads(&self, peer: PeerId) -> bool {
        self.peers.get(&peer).is_some_and(|peer| !peer.muted && self.members[peer.member].is_live())
    }

    /// Returns the next output, which the caller must carry out.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    fn advance(&mut self, now: Instant) {
        self.now = self.now.max(now);
    }

    fn commit_interval(&self) -> Option<Duration> {
        self.config
            .commits_per_second
            .map(|rate| Duration::from_nanos(1_000_000_000 / u64::from(rate.max(1))))
    }

    fn wall(&self) -> Timestamp {
        let since = i64::try_from(self.now.as_nanos() / 1_000_000).unwrap_or(i64::MAX);
        Timestamp::from_millis(self.config.wall_origin.as_millis().saturating_add(since))
    }

    fn send(&mut self, peer_id: PeerId, message: ServerMessage) {
        let Some(peer) = self.peers.get(&peer_id) else { return };
        let member = &self.members[peer.member];
        if peer.dropped || !member.is_live() || member.deaf || self.answers_lost {
            return;
        }
        if self.drops.take_to_client(message.kind()) {
            return;
        }
        self.stats.messages_sent += 1;
        self.outputs.push_back(Output::Send { peer: peer_id, message });
    }

    /// Sends a message to the connection that is bound to a session at the leader. Returns true if there is one.
    fn send_to_session(&mut self, key: Key, message: ServerMessage) -> bool {
        let Some(peer) = self.bound_peer(key) else { return false };
        self.send(peer, message);
        true
    }

    /// Returns the connection that is bound to a session at the leader.
    fn bound_peer(&self, key: Key) -> Option<PeerId> {
        self.members.get(self.leader?)?.bindings.get(&key).copied()
    }

    /// Binds a session to a connection. The connection to which it was bound before is dropped without a message.
    fn bind(&mut self, peer_id: PeerId, key: Key) {
        self.unbind(peer_id);
        let Some(peer) = self.peers.get_mut(&peer_id) else { return };
        peer.bound = Some(key);
        let before = self.members[peer.member].bindings.insert(key, peer_id);
        if let Some(before) = before.and_then(|before| self.peers.get_mut(&before)) {
            before.bound = None;
            before.dropped = true;
        }
    }

    fn unbind(&mut self, peer_id: PeerId) {
        let Some(peer) = self.peers.get_mut(&peer_id) else { return };
        if let Some(key) = peer.bound.take() {
            self.members[peer.member].bindings.remove(&key);
        }
    }

    /// Drops a peer: the connection stays open, the member sends nothing more, and stops reading after one more message.
    fn drop_peer(&mut self, peer_id: PeerId) {
        self.unbind(peer_id);
        if let Some(peer) = self.peers.get_mut(&peer_id) {
            peer.dropped = true;
        }
    }

    fn mute(&mut self, peer_id: PeerId) {
        let Some(peer) = self.peers.get_mut(&peer_id) else { return };
        peer.muted = true;
        self.outputs.push_back(Output::StopReading { peer: peer_id });
    }

    fn close(&mut self, peer_id: PeerId, how: CloseHow) {
        if self.forget(peer_id) {
            self.outputs.push_back(Output::Close { peer: peer_id, how });
        }
    }

    fn close_for(&mut self, peer_id: PeerId, reason: ClosedFor) {
        self.stats.count_close(&reason);
        self.report_closed(peer_id, reason);
        self.close(peer_id, CloseHow::Flush);
    }

    fn report_closed(&mut self, peer_id: PeerId, reason: ClosedFor) {
        let Some(peer) = self.peers.get(&peer_id) else { return };
        let incident = Incident::ConnectionClosed {
            member: self.members[peer.member].id.clone(),
            address: None,
            session: self.session_number(peer_id),
            reason,
        };
        self.outputs.push_back(Output::Report { peer: Some(peer_id), incident });
    }

    fn report(&mut self, incident: Incident) {
        self.outputs.push_back(Output::Report { peer: None, incident });
    }

    /// Removes a connection. Returns true if it existed.
    fn forget(&mut self, peer_id: PeerId) -> bool {
        self.unbind(peer_id);
        let Some(peer) = self.peers.remove(&peer_id) else { return false };
        self.members[peer.member].peers -= 1;
        true
    }

    fn peers_of(&self, member: usize) -> Vec<PeerId> {
        self.peers.iter().filter(|(_, peer)| peer.member == member).map(|(id, _)| *id).collect()
    }

    /// Returns the leader that a member's rejections name.
    fn hint(&self, member: usize) -> Option<MemberId> {
        let id = |index: usize| self.members[index].id.clone();
        match &self.members[member].hints {
            Hints::Leader => self.leader.filter(|leader| *leader != member).map(id),
            Hints::Absent => None,
            Hints::Wrong(wrong) => Some(wrong.clone()),
            Hints::Itself => Some(id(member)),
            Hints::Circular => (1..=self.members.len())
                .map(|step| (member + step) % self.members.len())
                .find(|next| Some(*next) != self.leader)
                .map(id),
        }
    }
}
