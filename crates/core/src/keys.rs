//! The keys that name connections, requests and calls, and the kinds of request.
//!
//! Every layer uses these types, so they depend on none.

/// Names a connection of one client. A number is never used twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnId(pub(crate) u64);

impl ConnId {
    /// Names no connection: connections are numbered from 1.
    pub(crate) const NONE: Self = Self(0);

    /// Returns the number.
    pub fn get(self) -> u64 {
        self.0
    }
}

/// Whether a request changes the state machine or only reads it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RequestKind {
    /// Goes through the log and is applied exactly once.
    Command,
    /// A linearizable read; safe to repeat.
    Query,
}

impl RequestKind {
    pub(crate) const BOTH: [Self; 2] = [Self::Command, Self::Query];

    /// Returns the place of this kind in a table with one entry per kind.
    #[inline]
    pub(crate) fn index(self) -> usize {
        match self {
            Self::Command => 0,
            Self::Query => 1,
        }
    }
}

/// Names a submitted request until its last completion.
///
/// Slots are dense and reused, so a driver can keep the callers that wait for answers in a vector indexed by `slot`.
/// `generation` distinguishes two requests that used the same slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct RequestKey {
    /// The place in the table of requests.
    pub slot: u32,
    /// Counts the uses of that slot.
    pub generation: u32,
}

/// Names a call of [`Machine::connect`](crate::Machine::connect).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ConnectKey(pub(crate) u64);

/// Names a call of [`Machine::ping`](crate::Machine::ping).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct PingKey(pub(crate) u64);

/// A member that the machine was given. A key is never used again, so an old one never names a later member.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct MemberKey(pub(crate) u64);
