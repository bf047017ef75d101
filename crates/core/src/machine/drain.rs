//! disconnect(): what was asked for is finished, the session closed in order, and nothing lingers.

use std::time::Duration;

use super::{Action, Completion, Machine, State};
use crate::{Instant, event::DisconnectReason, failure::Failure, tables::slab::Phase};

/// How long the server's end of the stream is waited for, after ours.
const CLOSING: Duration = Duration::from_secs(1);

/// A disconnect() under way.
#[derive(Debug)]
pub(super) struct Drain {
    /// Requests are waited for until then.
    pub(super) until: Instant,
    closing: Option<Closing>,
}

#[derive(Debug)]
struct Closing {
    until: Instant,
    write_half_shut: bool,
}

impl Machine {
    /// Stops new work, waits for what is pending, through reconnects if need be, for up to `timeout`, then closes the
    /// session. Answered by [`Completion::Disconnected`]. Idempotent; a second call can only shorten the wait. Overtakes
    /// every connect() before it, one that waits for an earlier disconnect() too.
    pub fn disconnect(&mut self, now: Instant, timeout: Duration) {
        let until = now + timeout;
        let why = Failure::Closed { sent: false };
        for waiter in std::mem::take(&mut self.waiters) {
            self.completions
                .push_back(Completion::Connect { key: waiter.key, result: Err(why.clone()) });
        }
        if let Some(drain) = &mut self.drain {
            drain.until = drain.until.min(until);
            return;
        }
        match self.state {
            State::Disconnected => self.completions.push_back(Completion::Disconnected),
            State::ConnectingNew(_) => {
                self.settle_all(|sent| Failure::Closed { sent });
                self.drain = Some(Drain { until, closing: None });
                self.end(now, Some(DisconnectReason::Closed), &why);
            }
            State::ConnectingExisting(_) | State::Connected(_) => {
                // Even with nothing to wait for, a connection is sought to close the session on.
                self.drain = Some(Drain { until, closing: None });
            }
        }
    }

    pub(super) fn is_closing(&self) -> bool {
        self.drain.as_ref().is_some_and(|drain| drain.closing.is_some())
    }

    /// The stream has its end: not even a PONG can follow CloseSession.
    pub(super) fn write_half_is_shut(&self) -> bool {
        let closing = self.drain.as_ref().and_then(|drain| drain.closing.as_ref());
        closing.is_some_and(|closing| closing.write_half_shut)
    }

    fn nothing_is_left(&self) -> bool {
        self.requests.queued() == 0 && self.requests.in_flight() == 0
    }

    /// Called when all that may be sent was.
    pub(super) fn close_when_drained(&mut self, now: Instant) {
        if self.drain.as_ref().is_some_and(|drain| drain.closing.is_none())
            && self.nothing_is_left()
        {
            self.begin_closing(now);
        }
    }

    fn begin_closing(&mut self, now: Instant) {
        self.settle_all(|sent| Failure::Closed { sent });
        self.send_close();
        if let Some(drain) = &mut self.drain {
            // Until then CloseSession has time to be written.
            let until = drain.until.max(now + CLOSING);
            drain.closing = Some(Closing { until, write_half_shut: false });
        }
    }

    /// CloseSession is on its way: the write half follows it.
    pub(super) fn shut_down_when_written(&mut self, now: Instant) {
        let (Some(Drain { closing: Some(closing), .. }), Some(link)) =
            (&mut self.drain, &self.link)
        else {
            return;
        };
        if !closing.write_half_shut && link.zmtp.tx_queued() == 0 {
            closing.write_half_shut = true;
            closing.until = now + CLOSING;
            self.actions.push_back(Action::ShutdownWrite { conn: link.id });
        }
    }

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
                // No connection could be had: the session is left to expire.
                self.end(now, Some(DisconnectReason::Closed), &Failure::Closed { sent: false });
            }
        }
    }

    pub(super) fn drain_until(&self) -> Option<Instant> {
        let drain = self.drain.as_ref()?;
        Some(drain.closing.as_ref().map_or(drain.until, |closing| closing.until))
    }

    /// Whether a request's caller still waits. For tests of what a drain waits for.
    #[doc(hidden)]
    pub fn waiting(&self) -> usize {
        let waits = |slot: &u32| self.requests.slab.get(*slot).phase != Phase::Detached;
        self.requests.all().iter().filter(|slot| waits(slot)).count()
    }
}
