//! A connection as the judge knows it.

use std::{collections::VecDeque, time::Duration};

use zraft_core::{ConnId, Instant};
use zraft_protocol::MemberId;

use super::{pace, prompt, resume::Resume, watch};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    /// The client has not sent its handshake message yet.
    Fresh,
    Asked {
        nonce: i64,
        create: bool,
    },
    Connected,
    Over,
}

/// A connection.
#[derive(Debug)]
pub(super) struct Wire {
    pub(super) id: ConnId,
    pub(super) member: usize,
    pub(super) since: Instant,
    pub(super) stage: Stage,
    /// The nonce of its handshake message, or 0 before that was sent.
    pub(super) nonce: i64,
    /// When that was sent.
    pub(super) asked_at: Instant,
    pub(super) connected_at: Instant,
    /// The session was connected on it.
    pub(super) stood: bool,
    /// Requests were sent on it, and one of them was answered.
    pub(super) carried: bool,
    pub(super) answered: bool,
    /// A request or a KeepAlive was answered on it.
    pub(super) heard: bool,
    /// The last read ended within a message frame.
    pub(super) mid_message: bool,
    /// How many bytes the socket had taken when it last had taken enough not to be stalled, and when.
    pub(super) progress: (u64, Instant),
    /// The leader that its member named, if that one is not configured.
    pub(super) outsider: Option<MemberId>,
    /// Its end says nothing of its member.
    pub(super) blameless: bool,
    pub(super) pace: pace::Copies,
    pub(super) on_it: usize,
    /// When a request on it last settled.
    pub(super) left_at: Option<Instant>,
    /// How many copies went in slow start, and how many requests settled meanwhile.
    pub(super) copies: u64,
    /// Something was resent on it in slow start.
    pub(super) resent: bool,
    pub(super) settled: u64,
    /// The last id sent on it that an earlier connection carried.
    pub(super) last_old: u64,
    pub(super) keep_alives: VecDeque<KeepAlive>,
    pub(super) last_keep_alive: Instant,
    pub(super) last_bytes: Instant,
    pub(super) last_message_bytes: Instant,
    pub(super) written: u64,
    /// When the socket last took a byte.
    pub(super) taken_at: Instant,
    /// Where the last message ends in the stream.
    pub(super) encoded: u64,
    pub(super) close_session: bool,
    /// The member sent SessionClosed.
    pub(super) told: bool,
    /// How requests of earlier connections must be resent on this one.
    pub(super) resume: Resume,
    pub(super) silence: prompt::Silence,
    pub(super) overtaking: prompt::Overtaking,
}

impl Wire {
    /// Returns true if its member served on it. Only an answer to a request shows that; where none was sent, a connection
    /// that stood and on which a KeepAlive was answered shows it too.
    pub(super) fn served(&self, now: Instant) -> bool {
        let stood = self.heard && now - self.connected_at >= watch::STANDS;
        self.answered || (!self.carried && stood)
    }
}

#[derive(Debug)]
pub(super) struct KeepAlive {
    pub(super) timestamp: i64,
    pub(super) sent: Instant,
    /// Where its frame ends in the stream.
    pub(super) end: u64,
    pub(super) written: Option<Instant>,
    /// How much of the time since then message bytes were flowing.
    pub(super) flowed: Duration,
}
