//! The frontend of the driver for this crate's handles.

mod waiters;

use std::collections::VecDeque;
use std::sync::Arc;
use std::task::{Context, Waker};

use zraft_core::{Completion, Instant, Machine, StateName};

use crate::driver::frontend::{Frontend, Progress};
use crate::error::Error;
use crate::lookup::Lookups;
use crate::observe;
use crate::shared::backpressure::Load;
use crate::shared::inbox::Input;
use crate::shared::{DISCONNECT_TIMEOUT, Shared, Status};
use crate::sync::{lock, wake_all};

use waiters::Waiters;

/// How many completions are handed over under one lock. It amortises the lock, and keeps a handle that wants it from
/// waiting for a whole burst of answers.
const COMPLETIONS_PER_LOCK: usize = 256;

/// Passes the inbox's inputs to the machine, and the machine's outputs to the futures and streams of the handles.
pub(crate) struct HandleFrontend {
    shared: Arc<Shared>,
    waiters: Waiters,
    /// Inputs taken from the inbox that the machine does not have yet.
    inputs: VecDeque<Input>,
    /// Whether the inbox had more inputs than were taken.
    inbox_progress: Progress,
    /// The state that was last published.
    state: StateName,
    /// Wakers to be woken without a lock held. Kept for its allocation.
    woken: Vec<Waker>,
    /// The last handle was dropped.
    closing: bool,
    /// The machine has disconnected since `closing`.
    closed: bool,
    lookups: Lookups,
}

impl HandleFrontend {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Self {
            lookups: Lookups::new(shared.sources.clone()),
            shared,
            waiters: Waiters::default(),
            inputs: VecDeque::new(),
            inbox_progress: Progress::Idle,
            state: StateName::Disconnected,
            woken: Vec::new(),
            closing: false,
            closed: false,
        }
    }

    /// Takes inputs from the inbox and reports how much the machine holds.
    ///
    /// Given a waker, leaves it in the inbox if no input is there. Returns [`Progress::Idle`] only in this case: the
    /// driver may sleep.
    fn exchange_with_inbox(&mut self, machine: &Machine, sleep: Option<&Waker>) -> Progress {
        let stats = machine.stats();
        let size = |count: u64| usize::try_from(count).unwrap_or(usize::MAX);
        let held = Load { requests: size(stats.queued), bytes: size(stats.queued_bytes) };
        if sleep.is_some() {
            let resent = stats.resent;
            let before = std::mem::replace(&mut lock(&self.shared.status).stats, stats);
            observe::resent(before.resent, resent);
            self.waiters.shrink();
        }
        let progress = {
            let mut inbox = lock(&self.shared.inbox);
            let more = inbox.take(&mut self.inputs, held, &mut self.woken);
            self.inbox_progress = Progress::more_if(more);
            match sleep {
                Some(waker) if self.inputs.is_empty() => {
                    inbox.driver_sleeps(waker);
                    Progress::Idle
                }
                _ => {
                    inbox.driver_awake();
                    Progress::More
                }
            }
        };
        wake_all(self.woken.drain(..));
        progress
    }

    #[inline]
    fn process_input(&mut self, machine: &mut Machine, now: Instant, input: Input) {
        let waiters = &mut self.waiters;
        match input {
            Input::Submit { kind, payload, timeout, call } => {
                match machine.submit(now, kind, payload, timeout) {
                    Ok(key) => {
                        if waiters.is_taken(key.slot) {
                            // An input just before this one settled the slot's earlier request, so its completion must
                            // be delivered first.
                            self.deliver_outputs(machine);
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
            Input::UpdateMembers(members) => machine.update_members(now, members),
            Input::ServerRequestDone { epoch, id } => {
                if self.shared.deliveries.is_current(epoch) {
                    machine.server_request_done(now, id);
                }
            }
            Input::LivenessQuery(query) => {
                // Checked by the handle.
                let _ = machine.set_liveness_query(query);
            }
            Input::DeliverServerRequests | Input::Withdrawn => {}
            Input::LastHandleDropped => {
                self.closing = true;
                machine.disconnect(now, DISCONNECT_TIMEOUT);
            }
        }
    }

    /// Delivers the completions of requests, many under one lock. Returns the first completion that belongs to another
    /// call.
    fn deliver_requests(&mut self, machine: &mut Machine) -> Option<Completion> {
        let mut other = None;
        {
            let mut inbox = lock(&self.shared.inbox);
            let calls = &mut inbox.calls;
            for _ in 0..COMPLETIONS_PER_LOCK {
                let waker = if let Some((key, answer)) = machine.poll_answer() {
                    self.waiters.answer_request(calls, key, answer)
                } else {
                    match machine.poll_completion() {
                        Some(Completion::Request { key, result, detached }) => {
                            self.waiters.complete_request(calls, key, result, detached)
                        }
                        last => {
                            other = last;
                            break;
                        }
                    }
                };
                if let Some(waker) = waker {
                    self.woken.push(waker);
                }
            }
        }
        wake_all(self.woken.drain(..));
        other
    }

    /// Gives the machine the members that were found.
    fn take_lookups(&mut self, machine: &Machine, context: &mut Context<'_>) {
        let present = machine.config().member_list();
        if let Some(members) = self.lookups.poll(context, present)
            && self.shared.transport.check(members.as_slice()).is_ok()
        {
            lock(&self.shared.inbox).members = Some(members.clone());
            self.inputs.push_back(Input::UpdateMembers(members));
        }
    }

    fn publish_status(&mut self, machine: &Machine) {
        let status = Status {
            session_id: machine.session_id().cloned(),
            member_id: machine.member_id().cloned(),
            stats: machine.stats(),
        };
        let resent = status.stats.resent;
        let (new_session, before) = {
            let mut published = lock(&self.shared.status);
            let new_session = published.session_id != status.session_id;
            let before = std::mem::replace(&mut *published, status);
            (new_session, before)
        };
        observe::resent(before.stats.resent, resent);
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

impl Frontend for HandleFrontend {
    fn process_inputs(
        &mut self,
        machine: &mut Machine,
        now: &mut dyn FnMut() -> Instant,
    ) -> Progress {
        if self.inputs.is_empty() {
            let _ = self.exchange_with_inbox(machine, None);
        }
        if self.inputs.is_empty() {
            return Progress::Idle;
        }
        let now = now();
        while let Some(input) = self.inputs.pop_front() {
            self.process_input(machine, now, input);
        }
        self.inbox_progress
    }

    fn wants_messages(&self) -> bool {
        self.shared.events.wants_messages()
    }

    /// Publishes the status first, then events, then completions. A caller that gets an answer therefore finds the
    /// status that goes with it.
    fn deliver_outputs(&mut self, machine: &mut Machine) {
        let mut published = false;
        while let Some(event) = machine.poll_event() {
            if !published {
                published = true;
                self.publish_status(machine);
            }
            observe::event(&event);
            self.lookups.event(&event);
            self.shared.events.publish(&event);
        }
        if machine.has_completions() && !published {
            self.publish_status(machine);
        }
        while machine.has_completions() {
            // The completions of other calls are delivered without a lock held.
            if let Some(other) = self.deliver_requests(machine) {
                // Answers to earlier calls may still come. Only this completion lets the driver end.
                self.closed |= self.closing && matches!(other, Completion::Disconnected);
                self.waiters.complete(other);
            }
        }
        self.shared.deliveries.refill(|| machine.poll_server_request());
    }

    fn prepare_sleep(&mut self, machine: &Machine, waker: &Waker) -> Progress {
        self.take_lookups(machine, &mut Context::from_waker(waker));
        if self.inputs.is_empty() {
            self.exchange_with_inbox(machine, Some(waker))
        } else {
            Progress::More
        }
    }

    fn is_finished(&self, _machine: &Machine) -> bool {
        self.closed
    }
}

impl Drop for HandleFrontend {
    /// Fails every call that still waits: the driver has ended, its runtime has ended, or it panicked.
    fn drop(&mut self) {
        // The status comes first: once the inbox says that no driver runs, the next one may start and publish its own.
        {
            let mut status = lock(&self.shared.status);
            status.session_id = None;
            status.member_id = None;
        }
        self.shared.deliveries.begin_epoch();
        self.shared.state.send_if_modified(|state| {
            std::mem::replace(state, StateName::Disconnected) != StateName::Disconnected
        });
        let mut inputs = std::mem::take(&mut self.inputs);
        {
            let mut inbox = lock(&self.shared.inbox);
            inputs.append(&mut inbox.stop_driver(&mut self.woken));
            for input in &inputs {
                if let Input::Submit { call, .. } = input {
                    let error = Box::new(Error::closed(false));
                    self.woken.extend(inbox.calls.answer(*call, Err(error)));
                }
            }
            self.waiters.fail_requests(&mut inbox.calls, &mut self.woken);
        }
        drop(inputs);
        self.waiters.drop_others();
        wake_all(self.woken.drain(..));
    }
}
