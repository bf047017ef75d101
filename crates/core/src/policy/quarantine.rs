//! Quarantine: a request that takes down, or makes deaf, each member that gets it must not take them all.
//!
//! The client cannot read payloads, so it watches which requests were in flight when members failed. After a few
//! failures in a row requests go one at a time, and a request that was alone in flight when members failed again is
//! given up.

use crate::{RequestKey, loss::Loss};

/// Barren losses in a row before requests go one at a time. One or two happen whenever a leader crashes.
const BARREN_BEFORE_QUARANTINE: u32 = 3;
/// Further barren losses in a row with the same request alone in flight before it is given up. One could be chance.
const BARREN_BEFORE_GIVING_UP: u32 = 2;

/// What a session connection had carried when it ended.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Carried {
    /// It carried requests.
    pub(crate) any: bool,
    /// One of them was answered.
    pub(crate) answered: bool,
    /// Some were in flight at its end.
    pub(crate) in_flight: bool,
    /// The member was frozen or cut off at its end, which no request causes: it answered not even PINGs, or it was in
    /// the middle of a message.
    pub(crate) frozen: bool,
}

/// What follows from a loss.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Finding {
    /// No request is to blame.
    Harmless,
    /// A quarantine begins: requests go one at a time, until every request that is pending now has settled.
    Begin,
    /// The request that was alone in flight is given up.
    GiveUp,
}

#[derive(Debug, Default)]
pub(crate) struct Quarantine {
    barren_in_a_row: u32,
    /// The last connection that carried requests was barren.
    last_was_barren: bool,
    /// How many suspects are not settled; 0 outside a quarantine.
    suspects: usize,
    /// The request sent last on the present connection, while requests go one at a time.
    alone: Option<RequestKey>,
    /// The request that was alone in flight at the last loss.
    blamed: Option<RequestKey>,
    /// Barren losses in a row with that request alone in flight.
    alone_lost: u32,
}

impl Quarantine {
    /// Returns true if requests go one at a time.
    pub(crate) fn one_at_a_time(&self) -> bool {
        self.suspects > 0
    }

    /// Returns true if pending requests go in slow start on the next connection.
    pub(crate) fn slow_resume(&self) -> bool {
        self.last_was_barren
    }

    /// A session connection stands: no request went alone on it yet.
    pub(crate) fn connected(&mut self) {
        self.alone = None;
    }

    /// This request was sent, while requests go one at a time.
    pub(crate) fn sent_alone(&mut self, key: RequestKey) {
        self.alone = Some(key);
    }

    /// Returns the request that was sent last while requests go one at a time. It may be settled.
    pub(crate) fn alone(&self) -> Option<RequestKey> {
        self.alone
    }

    /// Takes the request that was alone in flight, to give it up.
    pub(crate) fn take_alone(&mut self) -> Option<RequestKey> {
        self.alone.take()
    }

    /// A session connection was lost.
    pub(crate) fn lost(&mut self, loss: Loss, carried: Carried) -> Finding {
        let barren = carried.any && !carried.answered && !loss.is_closed();
        if carried.any {
            self.last_was_barren = barren;
        }
        let deaf = loss == Loss::KeepAliveTimeout && !carried.frozen && carried.in_flight;
        // A silent member is cut off from the others, or slow: no request is to blame.
        let suspicious = barren && loss != Loss::Silent;
        if self.suspects > 0 {
            return self.lost_alone(deaf, suspicious, carried);
        }
        if deaf {
            // A deaf member counts as much as three that broke: nothing but a request makes a member deaf.
            self.barren_in_a_row += BARREN_BEFORE_QUARANTINE;
        } else if carried.answered {
            self.barren_in_a_row = 0;
        } else if suspicious {
            self.barren_in_a_row += 1;
        }
        if self.barren_in_a_row >= BARREN_BEFORE_QUARANTINE {
            Finding::Begin
        } else {
            Finding::Harmless
        }
    }

    fn lost_alone(&mut self, deaf: bool, suspicious: bool, carried: Carried) -> Finding {
        if carried.in_flight && self.blamed != self.alone {
            self.blamed = self.alone;
            self.alone_lost = 0;
        }
        if deaf {
            self.alone_lost = BARREN_BEFORE_GIVING_UP;
        } else if carried.answered {
            self.alone_lost = 0;
        } else if suspicious && carried.in_flight {
            self.alone_lost += 1;
        }
        if carried.in_flight && self.alone_lost >= BARREN_BEFORE_GIVING_UP {
            self.alone_lost = 0;
            return Finding::GiveUp;
        }
        Finding::Harmless
    }

    /// A quarantine begins with this many suspects.
    pub(crate) fn begin(&mut self, pending: usize) {
        self.suspects = pending;
        self.barren_in_a_row = 0;
        self.blamed = None;
        self.alone_lost = 0;
    }

    /// A suspect has settled. That says nothing of another one that was alone in flight at a loss.
    pub(crate) fn cleared(&mut self) {
        self.suspects = self.suspects.saturating_sub(1);
    }

    /// The session is gone.
    pub(crate) fn reset(&mut self) {
        *self = Self::default();
    }
}
