//! The task that owns the connection.
//!
//! It brings the machine everything from outside (what the application asks, bytes, the time) and
//! takes out what the machine decided. One turn does all there is to do once, in an order such
//! that what came in is answered in the same turn, and writes once at its end.

use std::fmt;
use std::future::Future;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::Sleep;
use zraft_core::{Action, Config, Instant, Machine};

use crate::clock::{Clock, wall_clock};
use crate::connection::Connection;
use crate::face::Face;

/// The longest sleep. The runtime's timers stand still while the machine is suspended, unlike
/// the clock of intervals; this is how late they may be afterwards.
const LONGEST_SLEEP: Duration = Duration::from_secs(1);

/// A machine with its connections and its time, to be polled by a tokio runtime. Ready when its
/// face says that it is over; it may be asked new things, and polled again, after that.
pub struct Driver<F> {
    face: F,
    clock: Clock,
    machine: Machine,
    connections: Vec<Connection>,
    timer: Option<Pin<Box<Sleep>>>,
    /// When the timer rings, on the machine's clock.
    rings_at: Instant,
}

impl<F: Face> Driver<F> {
    /// A driver that is Disconnected.
    pub fn new(config: Config, face: F) -> Self {
        let clock = Clock::new();
        let now = clock.now();
        // Only jitter and correlation ids depend on it; the time will do where there is no better.
        let seed = getrandom::u64().unwrap_or(now.as_nanos());
        Self {
            machine: Machine::new(config, seed, now),
            face,
            clock,
            connections: Vec::new(),
            timer: None,
            rings_at: now,
        }
    }

    /// Its side towards the application.
    pub fn face_mut(&mut self) -> &mut F {
        &mut self.face
    }

    /// Takes what the application asks and hands out what needs no connection, without a runtime.
    /// True: all is done, the driver need not be polled.
    pub fn settle(&mut self) -> bool {
        while self.bring() {}
        self.face.hand_out(&mut self.machine);
        self.is_over()
    }

    fn is_over(&self) -> bool {
        self.connections.is_empty() && self.face.is_over(&self.machine)
    }

    fn bring(&mut self) -> bool {
        let Self { face, machine, clock, .. } = self;
        face.bring(machine, &mut || clock.now())
    }

    /// Does all there is to do once. Returns true if there is more.
    fn turn(&mut self, context: &mut Context<'_>) -> bool {
        let mut again = self.bring();
        self.machine.observe_messages(self.face.wants_messages());
        self.run_actions();

        let now = self.clock.now();
        let mut unread = false;
        for connection in &mut self.connections {
            unread |= connection.poll_read(context, &mut self.machine, now);
        }
        // Deadlines only after a read: an answer that is there came in time. But a peer that never
        // stops talking does not stop the time.
        let now = self.clock.now();
        self.machine.handle_timeout(now);
        again |= unread;
        again |= self.run_actions();
        self.face.hand_out(&mut self.machine);

        if !self.connections.is_empty() {
            let wall = wall_clock();
            for connection in &mut self.connections {
                again |= connection.poll_write(context, &mut self.machine, now, wall);
            }
            // Writing may have found connections to be at an end.
            again |= self.run_actions();
        }
        self.face.hand_out(&mut self.machine);
        again
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

impl<F: Face + Unpin> Future for Driver<F> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let driver = self.get_mut();
        let again = driver.turn(context);
        if driver.is_over() {
            // It belongs to the runtime that polled it.
            driver.timer = None;
            return Poll::Ready(());
        }
        if !again
            && !driver.poll_timer(context)
            && driver.face.sleep(&driver.machine, context.waker())
        {
            return Poll::Pending;
        }
        // To the end of the queue, and after a look at the sockets.
        pin!(tokio::task::yield_now()).poll(context)
    }
}

impl<F> fmt::Debug for Driver<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Driver").field("machine", &self.machine).finish_non_exhaustive()
    }
}
