//! Times at which something is looked at. A timer is not moved when its time changes: it fires, looks, and is set again.

use std::{collections::BTreeSet, time::Duration};

use zraft_session::SessionId;

use super::{ConnectionId, Replica};
use crate::{RaftId, StopReason};

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Timer {
    /// A session may have expired.
    Expiry(SessionId),
    /// Server requests may have to be sent again.
    Redelivery(ConnectionId),
    /// A connection that closed its session is closed even if that has not committed.
    Close(ConnectionId),
    /// Held session messages may have waited long enough.
    Held,
    /// A member that gets a snapshot may not have answered.
    Snapshot(RaftId),
    /// The next part of a snapshot may be sent.
    Chunk(RaftId),
}

#[derive(Debug, Default)]
pub(super) struct Timers(BTreeSet<(Duration, Timer)>);

impl Timers {
    pub(super) fn set(&mut self, at: Duration, timer: Timer) {
        self.0.insert((at, timer));
    }

    pub(super) fn next(&self) -> Option<Duration> {
        self.0.first().map(|(at, _)| *at)
    }

    fn take_due(&mut self, now: Duration) -> Option<Timer> {
        if self.next()? > now {
            return None;
        }
        self.0.pop_first().map(|(_, timer)| timer)
    }

    /// Drops the timers of a leadership. Those of held messages stay.
    pub(super) fn end_lead(&mut self) {
        self.0.retain(|(_, timer)| *timer == Timer::Held);
    }
}

impl Replica {
    pub(super) fn fire_timers(&mut self) -> Result<(), StopReason> {
        while let Some(timer) = self.timers.take_due(self.now.monotonic) {
            match timer {
                Timer::Expiry(session) => self.check_expiry(&session),
                Timer::Redelivery(connection) => self.check_redelivery(connection),
                Timer::Close(connection) => self.close(connection),
                Timer::Held => self.expire_held(),
                Timer::Snapshot(to) => self.check_sending(to)?,
                Timer::Chunk(to) => self.read_part(to),
            }
        }
        self.check_leader_times();
        Ok(())
    }
}
