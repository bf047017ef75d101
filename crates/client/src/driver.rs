//! The task that owns the connection.
//!
//! It brings the machine everything from outside (what the handles ask, bytes, the time) and
//! takes out what the machine decided. One turn does all there is to do once, in an order such
//! that what came in is answered in the same turn, and writes once at its end.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tokio::time::Sleep;
use zraft_core::{Action, Completion, Instant, Machine, StateName};

use crate::clock::{Clock, wall_clock};
use crate::connection::Connection;
use crate::error::Error;
use crate::handle::DISCONNECT_TIMEOUT;
use crate::inbox::{Input, Phase};
use crate::room::Load;
use crate::shared::{Facts, Shared};
use crate::sync::lock;
use crate::waiters::Waiters;

/// How many inputs are taken before connections get their turn.
const INPUTS: usize = 1024;

/// How many turns are made before other tasks get theirs.
const TURNS: usize = 4;

/// How much room for inputs is kept after a burst of them.
const KEPT_INPUTS: usize = 16 * INPUTS;

/// The longest sleep. The runtime's timers stand still while the machine is suspended, unlike
/// the clock of intervals; this is how late they may be afterwards.
const LONGEST_SLEEP: Duration = Duration::from_secs(1);

/// Whether a driver could be started here and now.
pub(crate) fn can_start(shared: &Shared) -> bool {
    shared.own_thread || tokio::runtime::Handle::try_current().is_ok()
}

/// Starts the driver. If that fails, what waits for it is told.
pub(crate) fn start(shared: &Arc<Shared>) {
    let driver = Driver::new(shared.clone());
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

struct Driver {
    shared: Arc<Shared>,
    clock: Clock,
    machine: Machine,
    connections: Vec<Connection>,
    waiters: Waiters,
    /// Taken from the inbox and not told to the machine yet.
    inputs: VecDeque<Input>,
    timer: Option<Pin<Box<Sleep>>>,
    /// When the timer rings, on the machine's clock.
    rings_at: Instant,
    state: StateName,
    /// Those to be woken when no lock is held; kept for its allocation.
    woken: Vec<Waker>,
    /// No handle is left.
    closing: bool,
    /// The machine has said so after `closing`.
    closed: bool,
}

impl Driver {
    fn new(shared: Arc<Shared>) -> Self {
        let clock = Clock::new();
        let now = clock.now();
        // Only jitter and correlation ids depend on it; the time will do where there is no better.
        let seed = getrandom::u64().unwrap_or(now.as_nanos());
        Self {
            machine: Machine::new(shared.config.clone(), seed, now),
            shared,
            clock,
            connections: Vec::new(),
            waiters: Waiters::default(),
            inputs: VecDeque::new(),
            timer: None,
            rings_at: now,
            state: StateName::Disconnected,
            woken: Vec::new(),
            closing: false,
            closed: false,
        }
    }

    /// Does all there is to do once; `last` before other tasks get their turn. True: there is more.
    fn turn(&mut self, context: &mut Context<'_>, last: bool) -> bool {
        let mut again = self.take_inputs();
        self.machine.observe_messages(self.shared.hub.wants_messages());
        self.run_actions();

        let now = self.clock.now();
        let mut unread = false;
        for connection in &mut self.connections {
            unread |= connection.poll_read(context, &mut self.machine, now);
        }
        // Deadlines only after what can be read: an answer that is there came in time. But a peer
        // that never stops talking does not stop the time.
        let now = self.clock.now();
        if last || !unread {
            self.machine.handle_timeout(now);
        }
        again |= unread;
        again |= self.run_actions();
        self.hand_out();

        if !self.connections.is_empty() {
            let wall = wall_clock();
            for connection in &mut self.connections {
                again |= connection.poll_write(context, &mut self.machine, now, wall);
            }
            // Writing may have found connections to be at an end.
            again |= self.run_actions();
        }
        self.hand_out();
        again
    }

    /// Tells the machine what the handles ask.
    fn take_inputs(&mut self) -> bool {
        if self.inputs.is_empty() {
            if self.inputs.capacity() > KEPT_INPUTS {
                self.inputs = VecDeque::new();
            }
            self.settle_with_handles(None);
        }
        if self.inputs.is_empty() {
            return false;
        }
        let now = self.clock.now();
        for _ in 0..INPUTS {
            let Some(input) = self.inputs.pop_front() else { return false };
            self.take_input(now, input);
        }
        true
    }

    /// Empties the inbox and tells how much the machine holds. With a waker, and nothing in the
    /// inbox, the driver may sleep: true.
    fn settle_with_handles(&mut self, sleep: Option<&Waker>) -> bool {
        let stats = self.machine.stats();
        if sleep.is_some() {
            lock(&self.shared.facts).stats = stats;
        }
        let size = |count: u64| usize::try_from(count).unwrap_or(usize::MAX);
        let held = Load { requests: size(stats.queued), bytes: size(stats.queued_bytes) };
        let sleeps = {
            let mut inbox = lock(&self.shared.inbox);
            std::mem::swap(&mut self.inputs, &mut inbox.inputs);
            inbox.room.settle(held, &mut self.woken);
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

    fn take_input(&mut self, now: Instant, input: Input) {
        let (machine, waiters) = (&mut self.machine, &mut self.waiters);
        match input {
            Input::Submit { kind, payload, timeout, call } => {
                // Dropped before anything was done about it.
                if call.is_left() {
                    return;
                }
                match machine.submit(now, kind, payload, timeout) {
                    Ok(key) => {
                        if waiters.is_taken(key.slot) {
                            // An input just before this one settled the request that had the slot.
                            self.hand_out();
                        }
                        self.waiters.add_request(key, kind, call);
                    }
                    Err(failure) => call.answer(Err(failure.into())),
                }
            }
            Input::Cancel(call) => {
                if let Some(key) = call.key() {
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
            Input::Look => {}
            Input::LastHandle => {
                self.closing = true;
                machine.disconnect(now, DISCONNECT_TIMEOUT);
            }
        }
    }

    /// Opens and closes connections as the machine wants. True: there is one to be looked at, newly opened, or whose write
    /// half is to be shut down: nothing else may come for a long time.
    fn run_actions(&mut self) -> bool {
        self.connections.retain(|connection| !connection.is_ended());
        let now = self.clock.now();
        let mut due = false;
        while let Some(action) = self.machine.poll_action(now) {
            match action {
                Action::Open { conn, endpoint, .. } => {
                    self.connections.push(Connection::open(conn, endpoint));
                    due = true;
                }
                Action::ShutdownWrite { conn } => {
                    for connection in &mut self.connections {
                        if connection.id == conn {
                            connection.finish();
                            due = true;
                        }
                    }
                }
                Action::Close { conn } => self.connections.retain(|c| c.id != conn),
            }
        }
        due
    }

    /// Gives the handles what the machine has for them: first how things are, then what
    /// happened, then answers, so that who gets an answer finds the state that goes with it.
    fn hand_out(&mut self) {
        let mut events = false;
        while let Some(event) = self.machine.poll_event() {
            if !events {
                events = true;
                self.publish_facts();
            }
            self.shared.hub.publish(&event);
        }
        let mut completion = self.machine.poll_completion();
        if completion.is_some() && !events {
            self.publish_facts();
        }
        while let Some(complete) = completion {
            // Of what was asked before, an answer may still be on its way; this one counts.
            self.closed |= self.closing && matches!(complete, Completion::Disconnected);
            self.waiters.complete(complete);
            completion = self.machine.poll_completion();
        }
        let machine = &mut self.machine;
        self.shared.deliveries.refill(|| machine.poll_server_request());
    }

    fn publish_facts(&mut self) {
        let facts = Facts {
            session_id: self.machine.session_id().cloned(),
            member_id: self.machine.member_id().cloned(),
            stats: self.machine.stats(),
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
        let state = self.machine.state();
        if state != self.state {
            self.state = state;
            self.shared.state.send_replace(state);
        }
    }

    /// Waits for the next deadline. True: it is here already.
    fn poll_timer(&mut self, context: &mut Context<'_>) -> bool {
        let Some(deadline) = self.machine.poll_timeout() else {
            self.timer = None;
            return false;
        };
        let now = self.clock.now();
        if deadline <= now {
            return true;
        }
        // A timer that rings too early only costs a turn; setting it anew at every turn costs more.
        if self.timer.is_none() || deadline < self.rings_at || self.rings_at <= now {
            let wait = deadline.saturating_duration_since(now).min(LONGEST_SLEEP);
            self.rings_at = now + wait;
            let at = tokio::time::Instant::now() + wait;
            match &mut self.timer {
                Some(timer) => timer.as_mut().reset(at),
                None => self.timer = Some(Box::pin(tokio::time::sleep_until(at))),
            }
        }
        let rings =
            self.timer.as_mut().is_some_and(|timer| timer.as_mut().poll(context).is_ready());
        if rings {
            self.timer = None;
        }
        rings
    }
}

impl Future for Driver {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let driver = self.get_mut();
        for turn in 1..=TURNS {
            let again = driver.turn(context, turn == TURNS);
            if driver.closed && driver.connections.is_empty() {
                return Poll::Ready(());
            }
            if !again
                && !driver.poll_timer(context)
                && driver.inputs.is_empty()
                && driver.settle_with_handles(Some(context.waker()))
            {
                return Poll::Pending;
            }
        }
        context.waker().wake_by_ref();
        Poll::Pending
    }
}

impl Drop for Driver {
    /// The driver has done its work, or its runtime ends, or something in it panicked: nobody may
    /// be left waiting.
    fn drop(&mut self) {
        let mut inputs = std::mem::take(&mut self.inputs);
        {
            let mut inbox = lock(&self.shared.inbox);
            inbox.phase = Phase::Idle;
            inbox.awake();
            inputs.append(&mut inbox.inputs);
            inbox.room.reset(&mut self.woken);
        }
        {
            let mut facts = lock(&self.shared.facts);
            facts.session_id = None;
            facts.member_id = None;
        }
        self.shared.deliveries.begin_epoch();
        self.shared.state.send_if_modified(|state| {
            std::mem::replace(state, StateName::Disconnected) != StateName::Disconnected
        });
        for input in inputs {
            if let Input::Submit { call, .. } = input {
                call.answer(Err(Error::closed(false)));
            }
        }
        self.waiters.abandon();
        for waker in self.woken.drain(..) {
            waker.wake();
        }
    }
}
