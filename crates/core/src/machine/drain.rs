//! disconnect(): finishes what was submitted, then closes the session in order.

use std::time::Duration;

use super::{Action, Completion, Machine, State};
use crate::{Instant, event::DisconnectReason, failure::Failure, tables::slab::Phase};

/// How long the member may take to end the stream after the client's end: a live server never ends it.
const CLOSING: Duration = Duration::from_secs(1);

/// A disconnect() under way.
#[derive(Debug)]
pub(super) struct Drain {
    /// Pending requests may take until then.
    until: Instant,
    closing: Option<Closing>,
}

/// The session is being closed.
#[derive(Debug)]
struct Closing {
    until: Instant,
    write_half_shut: bool,
}

impl Machine {
    /// Refuses new requests, waits for the submitted ones for up to `timeout`, through reconnects if needed, then
    /// closes the session. Ends in [`Completion::Disconnected`].
    ///
    /// A second call can only shorten the wait, and shares the completion of the first. Every call ends the calls of
    /// connect() before it, including calls that wait for an earlier disconnect(): the last wish counts.
    pub fn disconnect(&mut self, now: Instant, timeout: Duration) {
        let until = now + timeout;
        let why = Failure::Closed { sent: false };
        self.answer_callers(Err(&why));
        if let Some(drain) = &mut self.drain {
            drain.until = drain.until.min(until);
            return;
        }
        match self.state {
            State::Disconnected(_) => self.out.complete(Completion::Disconnected),
            State::ConnectingNew(_) => {
                self.settle_all(|sent| Failure::Closed { sent });
                self.drain = Some(Drain { until, closing: None });
                self.end(now, Some(DisconnectReason::Closed), &why);
            }
            State::ConnectingExisting | State::Connected(_) => {
                self.withdraw_own_queries();
                // Even with nothing to wait for, the session is closed on a connection.
                self.drain = Some(Drain { until, closing: None });
            }
        }
    }

    /// Returns true if CloseSession was encoded.
    pub(super) fn is_closing(&self) -> bool {
        self.drain.as_ref().is_some_and(|drain| drain.closing.is_some())
    }

    /// Returns true if nothing may be written any more: not even a PONG can follow CloseSession.
    pub(super) fn write_half_is_shut(&self) -> bool {
        let closing = self.drain.as_ref().and_then(|drain| drain.closing.as_ref());
        closing.is_some_and(|closing| closing.write_half_shut)
    }

    /// Returns true if no caller waits for a request any more.
    fn nothing_is_left(&self) -> bool {
        self.requests.queued() == 0 && self.requests.in_flight() == 0
    }

    /// Closes the session if a drain has nothing left to wait for. Detached commands are not waited for.
    pub(super) fn close_when_drained(&mut self, now: Instant) {
        if self.drain.as_ref().is_some_and(|drain| drain.closing.is_none())
            && self.nothing_is_left()
        {
            self.begin_closing(now);
        }
    }

    fn begin_closing(&mut self, now: Instant) {
        self.settle_all(|sent| Failure::Closed { sent });
        // A frozen member gets CloseSession too: nothing waits for its answer any more.
        self.end_search();
        self.send_close();
        if let Some(drain) = &mut self.drain {
            // CloseSession has at least a second to be written.
            let until = drain.until.max(now + CLOSING);
            drain.closing = Some(Closing { until, write_half_shut: false });
        }
    }

    /// Shuts the write half down once CloseSession is written.
    pub(super) fn shut_down_when_written(&mut self, now: Instant) {
        let (Some(Drain { closing: Some(closing), .. }), Some(link)) =
            (&mut self.drain, &self.link)
        else {
            return;
        };
        if !closing.write_half_shut && link.zmtp.tx_queued() == 0 {
            closing.write_half_shut = true;
            closing.until = now + CLOSING;
            self.out.act(Action::ShutdownWrite { conn: link.id });
        }
    }

    /// Ends the wait for pending requests, or for the end of the stream, if its time is over.
    pub(super) fn drain_timeout(&mut self, now: Instant) {
        let Some(drain) = &self.drain else { return };
        if let Some(closing) = &drain.closing {
            if closing.until <= now {
                self.end(now, Some(DisconnectReason::Closed), &Failure::Closed { sent: false });
            }
        } else if drain.until <= now {
            self.settle_all(|sent| Failure::Closed { sent });
            if matches!(self.state, State::Connected(_)) {
                self.begin_closing(now);
            } else {
                // No connection was found in time: the session is left to expire.
                self.end(now, Some(DisconnectReason::Closed), &Failure::Closed { sent: false });
            }
        }
    }

    pub(super) fn drain_until(&self) -> Option<Instant> {
        let drain = self.drain.as_ref()?;
        Some(drain.closing.as_ref().map_or(drain.until, |closing| closing.until))
    }

    /// Returns how many requests have a caller that waits. For tests of what a drain waits for.
    #[doc(hidden)]
    pub fn waiting(&self) -> usize {
        let waits = |slot: &u32| self.requests.slab.get(*slot).phase != Phase::Detached;
        self.requests.all().iter().filter(|slot| waits(slot)).count()
    }
}
