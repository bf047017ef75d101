//! The one drive loop that tests, simulations and benchmarks put around a [`Machine`].
//!
//! A [`Rig`] owns a machine and calls it in the order of the calling contract. A [`Host`] is everything around the machine:
//! sockets on one side, the application on the other. The host decides what arrives, how much a socket takes, and what to check.
//!
//! [`Rig::turn`] is one turn of a driver at one moment:
//!
//! 1. The host executes the [`Action`]s that are left, and gives its [`Input`]s one by one. After each input the rig hands out
//!    what the machine has to report, then its actions.
//! 2. Time passes: [`Machine::handle_timeout`]. What could be read was read before, so an answer that is there came in time.
//! 3. The application has its turn.
//! 4. The machine writes, for as long as the socket takes bytes.
//!
//! [`Rig::settle`] is a turn in which no time passes. [`Rig::next_wake`] must be asked before the driver sleeps.
//!
//! ```
//! use zraft_core::{Action, Config, ConnId, Instant, Machine, StateName, TxBuffer, protocol::Timestamp};
//! use zraft_rig::{Host, Input, Rig};
//!
//! /// A network in which every member refuses.
//! #[derive(Default)]
//! struct Refusing {
//!     inputs: Vec<Input>,
//!     attempts: usize,
//! }
//!
//! impl Host for Refusing {
//!     fn act(&mut self, _: Instant, action: Action) {
//!         if let Action::Open { conn, .. } = action {
//!             self.attempts += 1;
//!             self.inputs.push(Input::OpenFailed(conn, zraft_core::OpenFailure::Refused));
//!         }
//!     }
//!     fn input(&mut self, _: Instant, _: &Machine) -> Option<Input> {
//!         self.inputs.pop()
//!     }
//!     fn sockets(&self) -> Vec<ConnId> { Vec::new() }
//!     fn wall(&self, _: Instant) -> Timestamp {
//!         Timestamp::from_millis(0)
//!     }
//!     fn write(&mut self, _: Instant, _: ConnId, _: &mut TxBuffer) -> usize { 0 }
//! }
//!
//! let config = Config::builder().member("node-1", "tcp://127.0.0.1:7001").capability("k", "v").build()?;
//! let mut now = Instant::from_nanos(0);
//! let mut rig = Rig::new(config, 1, now);
//! let mut host = Refusing::default();
//! rig.machine.connect(now, None);
//! rig.turn(now, &mut host);
//! assert_eq!(host.attempts, 1);
//! // The machine pauses before its next attempt, and says for how long.
//! now = rig.next_wake().unwrap();
//! rig.turn(now, &mut host);
//! assert_eq!(host.attempts, 2);
//! assert_eq!(rig.machine.state(), StateName::ConnectingNewSession);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use bytes::Bytes;
use zraft_core::{
    Action, Completion, Config, ConnEnd, ConnId, Event, Instant, Machine, OpenFailure, TxBuffer,
    protocol::Timestamp,
};

/// Something that the network does to the machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Input {
    /// The connection is open.
    Opened(ConnId),
    /// The connection could not be opened.
    OpenFailed(ConnId, OpenFailure),
    /// Bytes arrived.
    Received(ConnId, Bytes),
    /// The connection ended.
    Ended(ConnId, ConnEnd),
}

/// What is around a machine. Only sockets must be provided; the rest does nothing by default.
pub trait Host {
    /// Opens, shuts or closes a connection.
    fn act(&mut self, now: Instant, action: Action);

    /// Returns the next input, or `None` if there is none at this moment. The machine has taken all inputs before it.
    fn input(&mut self, now: Instant, machine: &Machine) -> Option<Input>;

    /// Returns the open connections, the oldest first. The machine writes to each of them.
    fn sockets(&self) -> Vec<ConnId>;

    /// Returns the wall clock, which only fills timestamps of messages.
    fn wall(&self, now: Instant) -> Timestamp;

    /// The socket takes bytes from the front of what the machine has encoded. Returns how many. With 0 the turn's writing ends.
    fn write(&mut self, now: Instant, conn: ConnId, tx: &mut TxBuffer) -> usize;

    /// The machine has seen that the socket took bytes.
    fn wrote(&mut self, now: Instant, conn: ConnId) {
        let _ = (now, conn);
    }

    /// The machine reports an event.
    fn event(&mut self, now: Instant, machine: &Machine, event: Event) {
        let _ = (now, machine, event);
    }

    /// The machine completes a request or a call.
    fn completion(&mut self, now: Instant, machine: &Machine, completion: Completion) {
        let _ = (now, machine, completion);
    }

    /// The application's turn, after time has passed and before anything is written.
    fn application(&mut self, now: Instant, machine: &mut Machine) {
        let _ = (now, machine);
    }
}

/// A machine in its drive loop.
#[derive(Debug)]
pub struct Rig {
    /// The machine. Between turns the application may ask it anything.
    pub machine: Machine,
}

impl Rig {
    /// Creates a rig with a machine that is Disconnected.
    pub fn new(config: Config, seed: u64, now: Instant) -> Self {
        Self { machine: Machine::new(config, seed, now) }
    }

    /// Runs one turn.
    pub fn turn(&mut self, now: Instant, host: &mut impl Host) {
        self.hand_out(now, host);
        self.read(now, host);
        self.machine.handle_timeout(now);
        self.hand_out(now, host);
        host.application(now, &mut self.machine);
        self.write(now, host);
        self.hand_out(now, host);
    }

    /// Hands out, reads and writes until nothing moves. No time passes. Returns true if something was read or written.
    pub fn settle(&mut self, now: Instant, host: &mut impl Host) -> bool {
        let mut moved = false;
        loop {
            self.hand_out(now, host);
            let more = self.read(now, host) | self.write(now, host);
            self.hand_out(now, host);
            moved |= more;
            if !more {
                return moved;
            }
        }
    }

    /// Returns when the machine must have its next turn at the latest.
    pub fn next_wake(&self) -> Option<Instant> {
        self.machine.poll_timeout()
    }

    /// Gives the machine one input.
    pub fn feed(&mut self, now: Instant, input: Input) {
        match input {
            Input::Opened(conn) => self.machine.handle_opened(now, conn),
            Input::OpenFailed(conn, why) => self.machine.handle_open_failed(now, conn, why),
            Input::Received(conn, bytes) => {
                // The machine has no buffer for a connection that it gave up.
                if let Some(buffer) = self.machine.recv_buffer(conn) {
                    buffer.extend_from_slice(&bytes);
                    self.machine.handle_received(now, conn);
                }
            }
            Input::Ended(conn, end) => self.machine.handle_ended(now, conn, end),
        }
    }

    /// Feeds the host's inputs. Returns true if there was one.
    fn read(&mut self, now: Instant, host: &mut impl Host) -> bool {
        let mut moved = false;
        while let Some(input) = host.input(now, &self.machine) {
            moved = true;
            self.feed(now, input);
            self.hand_out(now, host);
        }
        moved
    }

    /// Writes for as long as the sockets take bytes. Returns true if one took some.
    pub fn write(&mut self, now: Instant, host: &mut impl Host) -> bool {
        let mut moved = false;
        for conn in host.sockets() {
            moved |= self.write_to(now, host, conn);
        }
        moved
    }

    fn write_to(&mut self, now: Instant, host: &mut impl Host, conn: ConnId) -> bool {
        let mut moved = false;
        loop {
            let wall = host.wall(now);
            // `None` also if the connection was closed meanwhile.
            let Some(tx) = self.machine.transmit(now, wall, conn) else { break };
            let taken = host.write(now, conn, tx);
            if taken > 0 {
                moved = true;
                self.machine.handle_written(now, conn);
                host.wrote(now, conn);
            }
            // Encoding may have settled requests, and ended what disconnect() waits for.
            self.hand_out(now, host);
            if taken == 0 {
                break;
            }
        }
        moved
    }

    /// Hands out everything that the machine reports, then its actions.
    pub fn hand_out(&mut self, now: Instant, host: &mut impl Host) {
        self.report(now, host);
        while let Some(action) = self.machine.poll_action(now) {
            host.act(now, action);
        }
    }

    /// Hands out events and completions.
    pub fn report(&mut self, now: Instant, host: &mut impl Host) {
        while let Some(event) = self.machine.poll_event() {
            host.event(now, &self.machine, event);
        }
        while let Some(completion) = self.machine.poll_completion() {
            host.completion(now, &self.machine, completion);
        }
    }
}
