//! The judge of a client. It sees the frames that the machine writes and reads, what the application asked and what it was told,
//! and keeps its own account of both. It shares no code with the machine but the codec of messages.
//!
//! | module | what it judges |
//! | --- | --- |
//! | `asked`, `wire` | nothing: a request, and a connection, as the judge knows them |
//! | `sent` | each frame that the machine writes: ids, L, windows, handshakes |
//! | `received` | each frame that it reads, and what the frame means for the session |
//! | `settled` | how requests end |
//! | `resume`, `pace` | what is resent, and when |
//! | `prompt` | what must happen by a time |
//! | `watch` | limits, attempts, and that the client leaves a member that it should leave |
//! | `leader`, `lists` | which members are dialled |
//! | `own_query` | the queries that the machine itself sends: when one begins and ends |
//! | `liveness`, `discovery` | when each of them goes, and what its answer changes |

mod asked;
mod discovery;
pub(crate) mod frames;
mod leader;
mod lists;
mod liveness;
mod own_query;
mod pace;
mod prompt;
mod received;
mod resume;
mod sent;
mod settled;
mod watch;
mod wire;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, VecDeque},
    time::Duration,
};

use bytes::Bytes;
use zraft_core::{
    Config, ConnId, ConnectKey, Instant, Member, OnSessionExpired, RequestKey, RequestKind,
};
use zraft_protocol::MemberId;

use crate::coverage::Coverage;

use asked::Unusable;
pub(crate) use asked::{Asked, Settled};
pub(crate) use received::{Meaning, Read};
use resume::Resume;
use wire::{KeepAlive, Stage, Wire};

/// A driver that wakes late is late by no more than this. The fault keeps to it, and the judge allows for it.
pub(crate) const LATEST_WAKE: Duration = Duration::from_millis(2_500);

/// A violated invariant.
#[derive(Debug, Clone)]
pub struct Violation {
    /// The name of the invariant.
    pub rule: &'static str,
    /// What the judge saw.
    pub detail: String,
}

/// The session, as the frames show it.
#[derive(Debug)]
struct Session {
    id: String,
    /// Requests by command id, from 1.
    ids: Vec<usize>,
    /// Ids that are neither answered nor abandoned.
    outstanding: BTreeMap<u64, usize>,
    lowest: u64,
    delivered: u64,
    acknowledged: u64,
    /// When the cluster last showed that it knows the session.
    proof: Instant,
    doubted: Option<Instant>,
    /// The member whose denial must be reported to the application in this turn.
    untold: Option<usize>,
    /// By member: how often it denied the session since then, when first, and the member that it named as the leader last.
    denials: BTreeMap<usize, (u32, Instant)>,
    named: BTreeMap<usize, usize>,
}

/// The settings that the judge needs.
#[derive(Debug, Clone)]
struct Terms {
    /// The members of the cluster. What follows are places in this list.
    configured: Vec<Member>,
    /// The list that the application gave the client last.
    given: Vec<usize>,
    /// The client's present list. Those from `last_resort` on are asked only if the others do not answer.
    listed: Vec<usize>,
    last_resort: usize,
    max_in_flight: usize,
    max_queued: usize,
    max_queued_bytes: usize,
    session_timeout: Duration,
    keep_alive: Duration,
    heartbeat: Duration,
    connection_timeout: Duration,
    heartbeat_timeout: Duration,
    resend_interval: Duration,
    detached_timeout: Duration,
    least_pause: Duration,
    first_pause: Duration,
    longest_pause: Duration,
    renew: bool,
}

impl Terms {
    /// How long a KeepAlive may wait for a socket that takes next to nothing.
    fn stall(&self) -> Duration {
        self.heartbeat_timeout.max(self.connection_timeout)
    }

    /// Returns true if the member is asked only if others do not answer.
    fn is_last_resort(&self, member: usize) -> bool {
        self.listed[self.last_resort..].contains(&member)
    }

    /// A socket that takes this many bytes in that time is not stalled: 100 bytes a second.
    fn stall_bytes(&self) -> u64 {
        (self.stall().as_secs_f64() * 100.0) as u64 + 1
    }
}

pub(crate) struct Judge {
    pub(crate) violation: Option<Violation>,
    pub(crate) coverage: Coverage,
    terms: Terms,
    /// The system's application may reject a command without an answer.
    pub(crate) may_reject: bool,
    pub(crate) name: usize,
    pub(crate) requests: Vec<Asked>,
    by_key: HashMap<RequestKey, usize>,
    by_beginning: HashMap<Bytes, usize>,
    by_correlation: HashMap<Bytes, usize>,
    queries_out: usize,
    pending: usize,
    pending_bytes: usize,
    session: Option<Session>,
    /// Sessions opened so far.
    pub(crate) sessions: usize,
    /// Ids of the sessions opened so far, in that order.
    pub(crate) session_ids: Vec<String>,
    /// The session's connection.
    wire: Option<Wire>,
    /// The connections on which a session is sought, the oldest first.
    attempts: Vec<Wire>,
    /// The session's connection before, if another member continued the session while it stood, until it is closed.
    left: Option<Wire>,
    past_nonces: VecDeque<i64>,
    /// Requests answered in this turn that have not settled yet.
    expected: Vec<usize>,
    /// A message of this turn lets the client believe that the session expired.
    expiry_told: bool,
    /// The leader that the others name denied the session again and again, in this turn: the client must believe it.
    expiry_certain: bool,
    expired_at: Option<Instant>,
    rejected_permanently: bool,
    connects: BTreeMap<u64, Option<Instant>>,
    connect_keys: HashMap<ConnectKey, u64>,
    connect_gave_up: bool,
    pub(crate) disconnecting: Option<Instant>,
    /// The application called connect() after its last disconnect().
    wanted: bool,
    /// When the process last began to run again.
    pub(crate) paused_until: Instant,
    /// Until when each wake of the driver may be late.
    pub(crate) late_until: Instant,
    /// For each member, the losses in a row of connections on which it continued the session and served nothing.
    drops: Vec<u32>,
    /// The member that dropped the last connection like that.
    dropped_by: Option<usize>,
    suspicion: settled::Suspicion,
    tries: watch::Tries,
    last_loss: resume::LastLoss,
    promises: prompt::Promises,
    pace: pace::Pace,
    /// Leaders that members named and that are not configured.
    outsiders: BTreeSet<MemberId>,
    /// Frames written by the machine.
    pub(crate) frames: u64,
    pub(crate) request_frames: u64,
    /// Server requests delivered in each session.
    pub(crate) delivered: Vec<Vec<Bytes>>,
    pub(crate) settled_count: usize,
    /// Commands whose callers were told that their outcome is unknown.
    told_unknown: u64,
    own: own_query::OwnQueries,
    liveness: liveness::Liveness,
    discovery: discovery::Discovery,
}

/// The beginning of a payload, which holds its unique number.
fn beginning(payload: &Bytes) -> Bytes {
    payload.slice(..payload.len().min(24))
}

impl Judge {
    /// Judges a client that has `config`, and with it the members at these places of `everyone`.
    pub(crate) fn new(
        name: usize,
        config: &Config,
        everyone: &[Member],
        given: &[usize],
        now: Instant,
    ) -> Self {
        let backoff = config.reconnect_backoff();
        Self {
            violation: None,
            coverage: Coverage::default(),
            terms: Terms {
                configured: everyone.to_vec(),
                given: given.to_vec(),
                listed: given.to_vec(),
                last_resort: given.len(),
                max_in_flight: config.max_in_flight(),
                max_queued: config.max_queued(),
                max_queued_bytes: config.max_queued_bytes(),
                session_timeout: config.session_timeout(),
                keep_alive: config.keep_alive_interval(),
                heartbeat: config.heartbeat_interval(),
                connection_timeout: config.connection_timeout(),
                heartbeat_timeout: config.heartbeat_timeout(),
                resend_interval: config.resend_interval(),
                detached_timeout: config.detached_timeout(),
                least_pause: backoff.initial.min(backoff.election_initial) / 2,
                first_pause: backoff.initial.max(backoff.election_initial),
                longest_pause: backoff
                    .max
                    .max(backoff.initial)
                    .max(backoff.election_initial)
                    .max(backoff.election_max),
                renew: config.on_session_expired() == OnSessionExpired::NewSession,
            },
            may_reject: false,
            name,
            requests: Vec::new(),
            by_key: HashMap::new(),
            by_beginning: HashMap::new(),
            by_correlation: HashMap::new(),
            queries_out: 0,
            pending: 0,
            pending_bytes: 0,
            session: None,
            sessions: 0,
            session_ids: Vec::new(),
            wire: None,
            attempts: Vec::new(),
            left: None,
            past_nonces: VecDeque::new(),
            expected: Vec::new(),
            expiry_told: false,
            expiry_certain: false,
            expired_at: None,
            rejected_permanently: false,
            connects: BTreeMap::new(),
            connect_keys: HashMap::new(),
            connect_gave_up: false,
            disconnecting: None,
            wanted: false,
            paused_until: now,
            late_until: Instant::ZERO,
            drops: vec![0; everyone.len()],
            dropped_by: None,
            suspicion: settled::Suspicion::default(),
            tries: watch::Tries::default(),
            last_loss: resume::LastLoss::default(),
            promises: prompt::Promises::default(),
            pace: pace::Pace::default(),
            outsiders: BTreeSet::new(),
            frames: 0,
            request_frames: 0,
            delivered: Vec::new(),
            settled_count: 0,
            told_unknown: 0,
            own: own_query::OwnQueries::new(config),
            liveness: liveness::Liveness::new(config),
            discovery: discovery::Discovery::default(),
        }
    }

    /// Returns the request with exactly this payload.
    fn by_payload(&self, payload: &Bytes) -> Option<usize> {
        let number = *self.by_beginning.get(&beginning(payload))?;
        (self.requests[number].payload == *payload).then_some(number)
    }

    /// Records a violation. Only the first one counts: the others may follow from it.
    pub(crate) fn violated(&mut self, rule: &'static str, detail: impl Into<String>) {
        if self.violation.is_none() {
            let detail = format!("client {}: {}", self.name, detail.into());
            self.violation = Some(Violation { rule, detail });
        }
    }

    pub(crate) fn demand(
        &mut self,
        holds: bool,
        rule: &'static str,
        detail: impl FnOnce() -> String,
    ) {
        if !holds && self.violation.is_none() {
            self.violated(rule, detail());
        }
    }

    /// Returns how many requests the machine holds.
    pub(crate) fn pending(&self) -> usize {
        self.pending
    }

    /// Returns the id of the session, if there is one.
    pub(crate) fn session_id(&self) -> Option<&str> {
        self.session.as_ref().map(|session| session.id.as_str())
    }

    /// Returns the nonce of the handshake message that waits for its answer.
    pub(crate) fn open_nonce(&self) -> Option<i64> {
        let oldest = self.attempts.first().filter(|_| self.wire.is_none())?;
        matches!(oldest.stage, Stage::Asked { .. }).then_some(oldest.nonce)
    }

    fn any_wire(&self, id: ConnId) -> Option<&Wire> {
        self.wire.iter().chain(&self.attempts).find(|wire| wire.id == id)
    }

    fn any_wire_mut(&mut self, id: ConnId) -> Option<&mut Wire> {
        self.wire.iter_mut().chain(&mut self.attempts).find(|wire| wire.id == id)
    }

    /// What ends the attempts from now on says nothing of their members.
    fn attempts_are_blameless(&mut self) {
        for attempt in &mut self.attempts {
            attempt.blameless = true;
        }
    }

    /// Returns the nonce of an earlier connection.
    pub(crate) fn past_nonce(&self) -> Option<i64> {
        self.past_nonces.front().copied()
    }

    /// Returns the id of a command that waits for its answer.
    pub(crate) fn some_outstanding(&self) -> Option<u64> {
        self.session.as_ref()?.outstanding.last_key_value().map(|(id, _)| *id)
    }

    /// Returns how many server requests the application took in the present session.
    pub(crate) fn delivered_in_session(&self) -> u64 {
        self.session.as_ref().map_or(0, |session| session.delivered)
    }

    pub(crate) fn connect_called(&mut self, key: ConnectKey, until: Option<Instant>) {
        // From Disconnected, the search begins at the first member, with a new round.
        if self.session.is_none() && self.wire.is_none() && self.attempts.is_empty() {
            self.tries.stand();
            self.drops.fill(0);
        }
        self.wanted = true;
        let number = self.connect_keys.len() as u64;
        self.connect_keys.insert(key, number);
        self.connects.insert(number, until);
    }

    pub(crate) fn disconnect_called(&mut self, now: Instant, within: Duration) {
        self.wanted = false;
        let until = self.promises.leaves_by.filter(|_| self.disconnecting.is_some());
        self.promises.leaves_by = Some(until.map_or(now + within, |until| until.min(now + within)));
        self.disconnecting.get_or_insert(now);
        self.own_queries_end(now);
    }

    /// The machine accepted a request.
    pub(crate) fn submitted(
        &mut self,
        key: RequestKey,
        kind: RequestKind,
        payload: Bytes,
        deadline: Option<Instant>,
    ) {
        let number = self.requests.len();
        let fresh = self.by_key.insert(key, number).is_none();
        self.demand(fresh, "a key is used once", String::new);
        self.by_beginning.insert(beginning(&payload), number);
        self.pending += 1;
        self.promises.waiting += 1;
        self.pending_bytes += payload.len();
        self.requests.push(Asked::new(kind, payload, Some(key), deadline));
    }

    /// The application gives up the request submitted `back` requests ago. Returns its key if it has not settled.
    pub(crate) fn cancel(&mut self, back: usize) -> Option<RequestKey> {
        let number = self.requests.len().checked_sub(1 + back)?;
        let asked = &mut self.requests[number];
        if asked.settled.is_some() {
            return None;
        }
        asked.cancelled = true;
        asked.key
    }
}
