//! The task that owns the connection.
//!
//! It feeds the machine the application's calls, bytes and the time, and carries out what the machine decides. One turn
//! does everything once. Its order answers each input in the same turn, and it writes once, at the end.

pub(crate) mod frontend;

mod clock;
mod connection;
#[cfg(all(test, not(shuttle)))]
mod tests;

use std::fmt;
use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::Sleep;
use zraft_core::{Action, Config, Instant, Machine};

use crate::transport::{Sockets, Transport};

use clock::{Clock, wall_clock};
use connection::Connection;
use frontend::{Frontend, Progress};

/// The longest sleep. The runtime's timers stand still while the computer is suspended, but the interval clock does
/// not. After a suspension a timer is therefore at most this late, which costs one wake-up per second of idleness.
const LONGEST_SLEEP: Duration = Duration::from_secs(1);

/// A machine with its connections and its clock, polled as a future by a tokio runtime.
///
/// The future completes when the frontend is finished and no connection is left. It may be polled again after that,
/// once the frontend has new inputs.
pub struct Driver<F> {
    frontend: F,
    transport: Arc<dyn Transport>,
    clock: Clock,
    machine: Machine,
    connections: Vec<Connection>,
    timer: Option<Pin<Box<Sleep>>>,
    /// When the timer fires, on the machine's clock.
    fires_at: Instant,
}

impl<F: Frontend> Driver<F> {
    /// Creates a driver in the state Disconnected. It opens connections with these sockets.
    pub fn new(config: Config, frontend: F, sockets: Sockets) -> Self {
        Self::with_transport(config, frontend, Arc::new(sockets))
    }

    pub(crate) fn with_transport(
        config: Config,
        frontend: F,
        transport: Arc<dyn Transport>,
    ) -> Self {
        let clock = Clock::new();
        let now = clock.now();
        // Only jitter and correlation ids depend on the seed, so the time will do where there is no randomness.
        let seed = getrandom::u64().unwrap_or(now.as_nanos());
        Self {
            machine: Machine::new(config, seed, now),
            frontend,
            transport,
            clock,
            connections: Vec::new(),
            timer: None,
            fires_at: now,
        }
    }

    /// Returns the application's side of the driver.
    pub fn frontend_mut(&mut self) -> &mut F {
        &mut self.frontend
    }

    /// Processes the application's inputs and delivers the outputs that need no connection, without a runtime.
    /// Returns true if that was everything, so that the driver need not be polled.
    pub fn settle(&mut self) -> bool {
        while self.process_inputs() == Progress::More {}
        self.frontend.deliver_outputs(&mut self.machine);
        self.is_finished()
    }

    fn is_finished(&self) -> bool {
        self.connections.is_empty() && self.frontend.is_finished(&self.machine)
    }

    fn process_inputs(&mut self) -> Progress {
        let Self { frontend, machine, clock, .. } = self;
        frontend.process_inputs(machine, &mut || clock.now())
    }

    /// Does everything there is to do once.
    fn turn(&mut self, context: &mut Context<'_>) -> Progress {
        let mut progress = self.process_inputs();
        self.machine.observe_messages(self.frontend.wants_messages());
        // The connections opened here are polled below, in this turn.
        let _ = self.run_actions();

        let now = self.clock.now();
        for connection in &mut self.connections {
            progress |= connection.poll_read(context, &mut self.machine, now);
        }
        // Deadlines come after reading: an answer that has arrived is in time. They come even if there is more to
        // read, so that a peer that never stops sending does not stop the time.
        let now = self.clock.now();
        self.machine.handle_timeout(now);
        progress |= self.run_actions();

        if F::DELIVERS_BEFORE_WRITING {
            self.frontend.deliver_outputs(&mut self.machine);
        }
        // Requests that the answers made room for go first: the server works on them while the answers are delivered.
        if !self.connections.is_empty() {
            let wall = wall_clock();
            for connection in &mut self.connections {
                progress |= connection.poll_write(context, &mut self.machine, now, wall);
            }
            // A write may have found that its connection has ended.
            progress |= self.run_actions();
        }
        self.frontend.deliver_outputs(&mut self.machine);
        progress
    }

    /// Opens and closes connections as the machine decides.
    ///
    /// Returns [`Progress::More`] if a connection was opened or must shut down its write half. The driver must poll it
    /// now: nothing else may wake the task.
    fn run_actions(&mut self) -> Progress {
        self.connections.retain(|connection| !connection.is_ended());
        let now = self.clock.now();
        let mut progress = Progress::Idle;
        while let Some(action) = self.machine.poll_action(now) {
            match action {
                Action::Open { conn, endpoint, .. } => {
                    let connecting = self.transport.connect(endpoint);
                    self.connections.push(Connection::new(conn, connecting));
                    progress = Progress::More;
                }
                Action::ShutdownWrite { conn } => {
                    for connection in &mut self.connections {
                        if connection.id == conn {
                            connection.request_shutdown();
                            progress = Progress::More;
                        }
                    }
                }
                Action::Close { conn } => self.connections.retain(|c| c.id != conn),
            }
        }
        progress
    }

    /// Sets the timer to the machine's next deadline. Ready when the deadline has come.
    fn poll_timer(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let Some(deadline) = self.machine.poll_timeout() else {
            self.timer = None;
            return Poll::Pending;
        };
        let now = self.clock.now();
        if deadline <= now {
            return Poll::Ready(());
        }
        // A timer that fires too early only costs a turn. Resetting it in every turn would cost more.
        if self.timer.is_none() || deadline < self.fires_at || self.fires_at <= now {
            let wait = deadline.saturating_duration_since(now).min(LONGEST_SLEEP);
            self.fires_at = now + wait;
            let at = tokio::time::Instant::now() + wait;
            match &mut self.timer {
                Some(timer) => timer.as_mut().reset(at),
                None => self.timer = Some(Box::pin(tokio::time::sleep_until(at))),
            }
        }
        let Some(timer) = &mut self.timer else { return Poll::Pending };
        std::task::ready!(timer.as_mut().poll(context));
        self.timer = None;
        Poll::Ready(())
    }
}

impl<F: Frontend + Unpin> Future for Driver<F> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let driver = self.get_mut();
        let progress = driver.turn(context);
        if driver.is_finished() {
            // The timer belongs to the runtime that polled it, and the next poll may come from another one.
            driver.timer = None;
            return Poll::Ready(());
        }
        if progress == Progress::Idle
            && driver.poll_timer(context).is_pending()
            && driver.frontend.prepare_sleep(&driver.machine, context.waker()) == Progress::Idle
        {
            return Poll::Pending;
        }
        // Other tasks run, and the runtime looks at its sockets, before the next turn.
        pin!(tokio::task::yield_now()).poll(context)
    }
}

impl<F> fmt::Debug for Driver<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Driver").field("machine", &self.machine).finish_non_exhaustive()
    }
}
