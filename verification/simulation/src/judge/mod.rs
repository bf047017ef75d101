//! The oracle: one judge for each client, who sees the frames that its machine writes and reads, what the application asked and
//! was told, and keeps its own account of both. It shares no code with the machine but the codec of messages.

mod prompt;
mod received;
mod resume;
mod sent;
mod settled;
mod watch;

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    time::Duration,
};

use bytes::Bytes;
use zraft_core::{Config, ConnId, ConnectKey, Instant, OnSessionExpired, RequestKey, RequestKind};

use crate::coverage::Coverage;

pub(crate) use received::Meaning;
use resume::Resume;

/// A promise that was not kept.
#[derive(Debug, Clone)]
pub struct Violation {
    /// The invariant.
    pub rule: &'static str,
    /// What was seen.
    pub detail: String,
}

/// A request as the application knows it.
#[derive(Debug)]
pub(crate) struct Asked {
    pub(crate) kind: RequestKind,
    pub(crate) payload: Bytes,
    key: Option<RequestKey>,
    deadline: Option<Instant>,
    cancelled: bool,
    /// Session (counted from 1) and id under which it was first seen on the wire.
    pub(crate) place: Option<(usize, u64)>,
    /// A query's correlation id in the present session.
    correlation: Option<Bytes>,
    /// The connection that it was last sent on.
    last_wire: Option<ConnId>,
    /// When it was last sent; none once it was sent twice.
    sent_once: Option<Instant>,
    /// An answer reached the machine: bytes, or something that cannot be used.
    answer: Option<Result<Bytes, ()>>,
    pub(crate) settled: Option<Settled>,
    detached_at: Option<Instant>,
    pub(crate) resolved: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Settled {
    Answered(Bytes),
    NotExecuted,
    Unknown,
    /// A query that had no answer.
    Failed,
}

impl Asked {
    /// The machine still holds it.
    fn is_pending(&self) -> bool {
        self.settled.is_none() || (self.detached_at.is_some() && !self.resolved)
    }
}

/// A session as its frames tell.
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
    /// The last time the cluster showed that it knows it.
    proof: Instant,
    doubted: Option<Instant>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// Nothing was asked yet.
    Fresh,
    Asked {
        nonce: i64,
        create: bool,
    },
    Connected,
    Over,
}

/// The present connection.
#[derive(Debug)]
struct Wire {
    id: ConnId,
    member: usize,
    since: Instant,
    stage: Stage,
    /// What it asked with; 0 before.
    nonce: i64,
    connected_at: Instant,
    /// Requests were sent on it; one was answered.
    carried: bool,
    answered: bool,
    on_it: usize,
    /// Copies of what had been sent on this same connection, and what was settled meanwhile.
    copies: u64,
    /// Something was resent on it in slow start.
    resent: bool,
    settled: u64,
    /// The last id sent on it that an earlier connection carried.
    last_old: u64,
    keep_alives: VecDeque<KeepAlive>,
    last_keep_alive: Instant,
    last_bytes: Instant,
    last_message_bytes: Instant,
    written: u64,
    /// When the socket last took a byte.
    taken_at: Instant,
    /// Where the last message ends in the stream.
    encoded: u64,
    close_session: bool,
    /// The member sent SessionClosed.
    told: bool,
    /// The client takes what was sent before to this connection.
    resume: Resume,
    silence: prompt::Silence,
    overtaking: prompt::Overtaking,
}

#[derive(Debug)]
struct KeepAlive {
    timestamp: i64,
    sent: Instant,
    /// Bytes that came since it was written.
    bytes: u64,
    /// Where its frame ends in the stream.
    end: u64,
    written: Option<Instant>,
    /// How much of the time since then message bytes were flowing.
    flowed: Duration,
}

/// What of the client's configuration the judge goes by.
#[derive(Debug, Clone)]
struct Terms {
    members: usize,
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

pub(crate) struct Judge {
    pub(crate) violation: Option<Violation>,
    pub(crate) coverage: Coverage,
    terms: Terms,
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
    wire: Option<Wire>,
    past_nonces: VecDeque<i64>,
    /// Answered in this turn, and not settled yet.
    expected: Vec<usize>,
    /// An expiry was told or may be believed now.
    expiry_told: bool,
    expired_at: Option<Instant>,
    rejected_for_good: bool,
    connects: BTreeMap<u64, Option<Instant>>,
    connect_keys: HashMap<ConnectKey, u64>,
    connect_gave_up: bool,
    pub(crate) disconnecting: Option<Instant>,
    /// The application's last wish was connect().
    wanted: bool,
    /// The application's process stood still until then, at the latest.
    pub(crate) paused_until: Instant,
    /// Its driver woke late each time until then.
    pub(crate) late_until: Instant,
    /// Losses in a row at each member that continued the session and served nothing.
    drops: Vec<u32>,
    /// The member that dropped the last connection so.
    dropped_by: Option<usize>,
    suspicion: settled::Suspicion,
    tries: watch::Tries,
    last_loss: resume::LastLoss,
    promises: prompt::Promises,
    /// Frames written by the machine.
    pub(crate) frames: u64,
    pub(crate) request_frames: u64,
    /// Server requests delivered in each session.
    pub(crate) delivered: Vec<Vec<Bytes>>,
    pub(crate) settled_count: usize,
    /// Commands whose callers were told that their outcome is unknown.
    told_unknown: u64,
}

/// A payload begins with a number of its own.
fn beginning(payload: &Bytes) -> Bytes {
    payload.slice(..payload.len().min(24))
}

impl Judge {
    pub(crate) fn new(name: usize, config: &Config, now: Instant) -> Self {
        let backoff = config.reconnect_backoff();
        Self {
            violation: None,
            coverage: Coverage::default(),
            terms: Terms {
                members: config.members().len(),
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
            past_nonces: VecDeque::new(),
            expected: Vec::new(),
            expiry_told: false,
            expired_at: None,
            rejected_for_good: false,
            connects: BTreeMap::new(),
            connect_keys: HashMap::new(),
            connect_gave_up: false,
            disconnecting: None,
            wanted: false,
            paused_until: now,
            late_until: Instant::ZERO,
            drops: vec![0; config.members().len()],
            dropped_by: None,
            suspicion: settled::Suspicion::default(),
            tries: watch::Tries::default(),
            last_loss: resume::LastLoss::default(),
            promises: prompt::Promises::default(),
            frames: 0,
            request_frames: 0,
            delivered: Vec::new(),
            settled_count: 0,
            told_unknown: 0,
        }
    }

    /// The request with exactly this payload.
    fn by_payload(&self, payload: &Bytes) -> Option<usize> {
        let number = *self.by_beginning.get(&beginning(payload))?;
        (self.requests[number].payload == *payload).then_some(number)
    }

    /// The first violation is the one that tells.
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

    /// Requests that the machine holds.
    pub(crate) fn pending(&self) -> usize {
        self.pending
    }

    /// The session that its frames are of, if one is open.
    pub(crate) fn session_id(&self) -> Option<&str> {
        self.session.as_ref().map(|session| session.id.as_str())
    }

    /// The nonce of the connection whose question is open.
    pub(crate) fn open_nonce(&self) -> Option<i64> {
        let wire = self.wire.as_ref()?;
        matches!(wire.stage, Stage::Asked { .. }).then_some(wire.nonce)
    }

    /// The nonce of an earlier connection.
    pub(crate) fn past_nonce(&self) -> Option<i64> {
        self.past_nonces.front().copied()
    }

    /// A command that waits for its answer.
    pub(crate) fn some_outstanding(&self) -> Option<u64> {
        self.session.as_ref()?.outstanding.last_key_value().map(|(id, _)| *id)
    }

    /// What the application was handed in the present session.
    pub(crate) fn delivered_in_session(&self) -> u64 {
        self.session.as_ref().map_or(0, |session| session.delivered)
    }

    pub(crate) fn connect_called(&mut self, key: ConnectKey, until: Option<Instant>) {
        // From Disconnected it begins at the first member, with the first round.
        if self.session.is_none() && self.wire.is_none() {
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
    }

    /// The application handed in a request and it was taken.
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
        self.requests.push(Asked {
            kind,
            payload,
            key: Some(key),
            deadline,
            cancelled: false,
            place: None,
            correlation: None,
            last_wire: None,
            sent_once: None,
            answer: None,
            settled: None,
            detached_at: None,
            resolved: false,
        });
    }

    /// The application gives one of its last requests up: the key to do it with.
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
