//! The face of the driver that belongs to the handles.

use std::collections::VecDeque;
use std::sync::Arc;
use std::task::Waker;

use zraft_core::{Completion, Instant, Machine, StateName};

#[cfg(not(all(test, shuttle)))]
use crate::driver::Driver;
use crate::error::Error;
use crate::face::Face;
use crate::handle::DISCONNECT_TIMEOUT;
use crate::inbox::Input;
use crate::room::Load;
use crate::shared::{Facts, Shared};
use crate::sync::lock;
use crate::waiters::Waiters;

/// How many completions are handed over under one lock.
const COMPLETIONS: usize = 256;

#[cfg(all(test, shuttle))]
pub(crate) use crate::interleavings::{can_start, start};

/// Whether a driver could be started here and now.
#[cfg(not(all(test, shuttle)))]
pub(crate) fn can_start(shared: &Shared) -> bool {
    shared.own_thread || tokio::runtime::Handle::try_current().is_ok()
}

/// Starts the driver. If that fails, what waits for it is told.
#[cfg(not(all(test, shuttle)))]
pub(crate) fn start(shared: &Arc<Shared>) {
    let driver = Driver::new(shared.config.clone(), Handles::new(shared.clone()));
    if shared.own_thread {
        // The thread ends with the driver; a thread that cannot be had drops the driver.
        let _ = std::thread::Builder::new().name("zraft-client".to_owned()).spawn(move || {
            if let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build()
            {
                runtime.block_on(driver);
            }
        });
    } else if let Ok(runtime) = tokio::runtime::Handle::try_current() {
        runtime.spawn(driver);
    }
}

pub(crate) struct Handles {
    shared: Arc<Shared>,
    waiters: Waiters,
    /// Taken from the inbox and not told to the machine yet.
    inputs: VecDeque<Input>,
    /// There were more in the inbox.
    more: bool,
    state: StateName,
    /// Those to be woken when no lock is held; kept for its allocation.
    woken: Vec<Waker>,
    /// No handle is left.
    closing: bool,
    /// The machine has said so after `closing`.
    closed: bool,
}

impl Handles {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Self {
            shared,
            waiters: Waiters::default(),
            inputs: VecDeque::new(),
            more: false,
            state: StateName::Disconnected,
            woken: Vec::new(),
            closing: false,
            closed: false,
        }
    }

    /// Takes from the inbox and tells how much the machine holds. With a waker, and nothing in the
    /// inbox, the driver may sleep: true.
    fn settle_with_handles(&mut self, machine: &Machine, sleep: Option<&Waker>) -> bool {
        let stats = machine.stats();
        if sleep.is_some() {
            lock(&self.shared.facts).stats = stats;
            self.waiters.shrink();
        }
        let size = |count: u64| usize::try_from(count).unwrap_or(usize::MAX);
        let held = Load { requests: size(stats.queued), bytes: size(stats.queued_bytes) };
        let sleeps = {
            let mut inbox = lock(&self.shared.inbox);
            self.more = inbox.take(&mut self.inputs, held, &mut self.woken);
            match sleep {
                Some(waker) if self.inputs.is_empty() => {
                    inbox.sleep(waker);
                    true
                }
                _ => {
                    inbox.awake();
                    false
                }
            }
        };
        for waker in self.woken.drain(..) {
            waker.wake();
        }
        sleeps
    }

    #[inline]
    fn take_input(&mut self, machine: &mut Machine, now: Instant, input: Input) {
        let waiters = &mut self.waiters;
        match input {
            Input::Submit { kind, payload, timeout, call } => {
                match machine.submit(now, kind, payload, timeout) {
                    Ok(key) => {
                        if waiters.is_taken(key.slot) {
                            // An input just before this one settled the request that had the slot.
                            self.hand_out(machine);
                        }
                        self.waiters.add_request(key, kind, call);
                    }
                    Err(failure) => {
                        let waker = lock(&self.shared.inbox)
                            .calls
                            .answer(call, Err(Box::new(failure.into())));
                        if let Some(waker) = waker {
                            waker.wake();
                        }
                    }
                }
            }
            Input::Cancel(call) => {
                if let Some(key) = waiters.key(call) {
                    machine.cancel(now, key);
                }
            }
            Input::Connect { ticket, timeout, done } => {
                let key = machine.connect(now, timeout);
                waiters.add_connect(ticket, key, done);
            }
            Input::CancelConnect { ticket } => {
                if let Some(key) = waiters.remove_connect(ticket) {
                    machine.cancel_connect(now, key);
                }
            }
            Input::Ping { done } => {
                let key = machine.ping(now);
                waiters.add_ping(key, done);
            }
            Input::Disconnect { timeout, done } => {
                machine.disconnect(now, timeout);
                waiters.add_disconnect(done);
            }
            Input::ServerRequestDone { epoch, id } => {
                if self.shared.deliveries.is_current(epoch) {
                    machine.server_request_done(now, id);
                }
            }
            Input::Look | Input::Withdrawn => {}
            Input::LastHandle => {
                self.closing = true;
                machine.disconnect(now, DISCONNECT_TIMEOUT);
            }
        }
    }

    /// Hands over how requests ended, many under one lock. Gives the first completion that is no
    /// request's.
    fn hand_out_requests(&mut self, machine: &mut Machine) -> Option<Completion> {
        let mut other = None;
        {
            let mut inbox = lock(&self.shared.inbox);
            for _ in 0..COMPLETIONS {
                match machine.poll_completion() {
                    Some(Completion::Request { key, result, detached }) => {
                        let calls = &mut inbox.calls;
                        let waker = self.waiters.complete_request(calls, key, result, detached);
                        if let Some(waker) = waker {
                            self.woken.push(waker);
                        }
                    }
                    last => {
                        other = last;
                        break;
                    }
                }
            }
        }
        for waker in self.woken.drain(..) {
            waker.wake();
        }
        other
    }

    fn publish_facts(&mut self, machine: &Machine) {
        let facts = Facts {
            session_id: machine.session_id().cloned(),
            member_id: machine.member_id().cloned(),
            stats: machine.stats(),
        };
        let new_session = {
            let mut known = lock(&self.shared.facts);
            let new_session = known.session_id != facts.session_id;
            *known = facts;
            new_session
        };
        if new_session {
            self.shared.deliveries.begin_epoch();
        }
        let state = machine.state();
        if state != self.state {
            self.state = state;
            self.shared.state.send_replace(state);
        }
    }
}

impl Face for Handles {
    fn bring(&mut self, machine: &mut Machine, now: &mut dyn FnMut() -> Instant) -> bool {
        if self.inputs.is_empty() {
            self.settle_with_handles(machine, None);
        }
        if self.inputs.is_empty() {
            return false;
        }
        let now = now();
        while let Some(input) = self.inputs.pop_front() {
            self.take_input(machine, now, input);
        }
        self.more
    }

    fn wants_messages(&self) -> bool {
        self.shared.hub.wants_messages()
    }

    /// First how things are, then what happened, then answers, so that who gets an answer finds
    /// the state that goes with it.
    fn hand_out(&mut self, machine: &mut Machine) {
        let mut events = false;
        while let Some(event) = machine.poll_event() {
            if !events {
                events = true;
                self.publish_facts(machine);
            }
            self.shared.hub.publish(&event);
        }
        if machine.has_completions() && !events {
            self.publish_facts(machine);
        }
        while machine.has_completions() {
            // What is no request's is handed over when no lock is held.
            if let Some(other) = self.hand_out_requests(machine) {
                // Of what was asked before, an answer may still be on its way; this one counts.
                self.closed |= self.closing && matches!(other, Completion::Disconnected);
                self.waiters.complete(other);
            }
        }
        self.shared.deliveries.refill(|| machine.poll_server_request());
    }

    fn sleep(&mut self, machine: &Machine, waker: &Waker) -> bool {
        self.inputs.is_empty() && self.settle_with_handles(machine, Some(waker))
    }

    fn is_over(&self, _machine: &Machine) -> bool {
        self.closed
    }
}

impl Drop for Handles {
    /// The driver has done its work, or its runtime ends, or something in it panicked: nobody may
    /// be left waiting.
    fn drop(&mut self) {
        // First the state: once the inbox tells that there is no driver, the next one may start
        // and set its own.
        {
            let mut facts = lock(&self.shared.facts);
            facts.session_id = None;
            facts.member_id = None;
        }
        self.shared.deliveries.begin_epoch();
        self.shared.state.send_if_modified(|state| {
            std::mem::replace(state, StateName::Disconnected) != StateName::Disconnected
        });
        let mut inputs = std::mem::take(&mut self.inputs);
        {
            let mut inbox = lock(&self.shared.inbox);
            inputs.append(&mut inbox.abandon(&mut self.woken));
            for input in &inputs {
                if let Input::Submit { call, .. } = input {
                    let error = Box::new(Error::closed(false));
                    self.woken.extend(inbox.calls.answer(*call, Err(error)));
                }
            }
            self.waiters.abandon(&mut inbox.calls, &mut self.woken);
        }
        drop(inputs);
        self.waiters.abandon_others();
        for waker in self.woken.drain(..) {
            waker.wake();
        }
    }
}
