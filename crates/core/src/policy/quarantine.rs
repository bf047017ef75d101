//! Poison: a request that takes down or deafens whichever member executes it must not take them all.

use crate::RequestKey;

/// Barren losses in a row before requests go one at a time.
const SUSPICIOUS: u32 = 3;
/// Further barren losses with the same request alone in flight before it is given up.
const CONVICTED: u32 = 2;

/// How a connection that had been Connected ended, as far as poison is concerned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Loss {
    /// The end of the stream, a reset, a missed heartbeat; or neither keep-alives nor PINGs were answered.
    Broken,
    /// A keep-alive was not answered, PINGs were.
    Deaf,
    /// Keep-alives were answered, requests were not.
    Silent,
    /// The server ended it in words: a step-down, a shutdown, a redirect.
    Told,
}

/// What a connection did while it stood.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Carried {
    /// It carried requests.
    pub(crate) any: bool,
    /// One of them was answered.
    pub(crate) answered: bool,
    /// Some were in flight at its end.
    pub(crate) in_flight: bool,
}

/// What follows from a loss.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Finding {
    Nothing,
    /// From now on requests go one at a time, until all that is pending now is settled.
    Suspect,
    /// The request that was alone in flight is given up.
    Convict,
}

#[derive(Debug, Default)]
pub(crate) struct Quarantine {
    barren_in_a_row: u32,
    /// The last connection that carried requests ended without one answer.
    last_was_barren: bool,
    /// Requests not yet settled of those pending when poison was suspected; 0 when it is not.
    suspects: usize,
    /// The request sent last on the present connection, while requests go one at a time.
    alone: Option<RequestKey>,
    /// The request that was alone in flight at the last loss of these.
    blamed: Option<RequestKey>,
    /// Barren losses in a row with it alone in flight.
    alone_lost: u32,
}

impl Quarantine {
    /// Requests go one at a time.
    pub(crate) fn one_at_a_time(&self) -> bool {
        self.suspects > 0
    }

    /// What is pending goes in slow start on the next connection.
    pub(crate) fn slow_resume(&self) -> bool {
        self.last_was_barren
    }

    /// A session connection stands: no request went alone on it yet.
    pub(crate) fn connected(&mut self) {
        self.alone = None;
    }

    /// While requests go one at a time, this one was sent.
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

    /// A connection that had been Connected ended.
    pub(crate) fn lost(&mut self, loss: Loss, carried: Carried) -> Finding {
        let barren = carried.any && !carried.answered && loss != Loss::Told;
        if carried.any {
            self.last_was_barren = barren;
        }
        let deaf = loss == Loss::Deaf && carried.in_flight;
        if self.suspects > 0 {
            if carried.in_flight && self.blamed != self.alone {
                self.blamed = self.alone;
                self.alone_lost = 0;
            }
            if deaf {
                self.alone_lost = CONVICTED;
            } else if carried.answered {
                self.alone_lost = 0;
            }
            if !deaf && barren && carried.in_flight && loss == Loss::Broken {
                self.alone_lost += 1;
            }
            if carried.in_flight && self.alone_lost >= CONVICTED {
                self.alone_lost = 0;
                return Finding::Convict;
            }
            return Finding::Nothing;
        }
        if deaf {
            self.barren_in_a_row += 3;
        } else if carried.answered {
            self.barren_in_a_row = 0;
        } else if barren && loss != Loss::Silent {
            self.barren_in_a_row += 1;
        }
        if self.barren_in_a_row >= SUSPICIOUS { Finding::Suspect } else { Finding::Nothing }
    }

    /// Poison is suspected among this many.
    pub(crate) fn suspect(&mut self, pending: usize) {
        self.suspects = pending;
        self.barren_in_a_row = 0;
        self.blamed = None;
        self.alone_lost = 0;
    }

    /// One of the suspects is settled. That says nothing of another that was alone at a loss.
    pub(crate) fn cleared(&mut self) {
        self.suspects = self.suspects.saturating_sub(1);
    }

    /// A new session, or none.
    pub(crate) fn reset(&mut self) {
        *self = Self::default();
    }
}
