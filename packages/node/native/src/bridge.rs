//! The driver's application side for JavaScript: it reads batches and writes records.

use std::collections::VecDeque;
use std::sync::Arc;
use std::task::Waker;

use zraft_client::binding::core::{
    ConnectKey, DisconnectReason, Event, Instant, Machine, PingKey, StateName,
};
use zraft_client::binding::{Frontend, Progress};
use zraft_client::{AckServerRequests, MemberId, SessionId};

use self::records::Records;
use self::requests::Requests;
use crate::channel::{Batch, Channel, ClientStatus, lock};
use crate::json;
use crate::layout::{self, Kind};

mod completions;
mod operations;
mod records;
mod requests;

/// After this many bytes of entries, the driver does the rest of its turn. Batches that came while it worked leave together,
/// in one write, so that a small batch costs no more system calls.
const TURN: usize = 64 << 10;

pub(crate) struct Bridge {
    channel: Arc<Channel>,
    /// Batches that were taken from the inbox and not performed yet.
    batches: VecDeque<Batch>,
    requests: Requests,
    connects: Vec<(ConnectKey, u32)>,
    pings: Vec<(PingKey, u32)>,
    disconnects: Vec<u32>,
    /// Calls of `ready()`, each with the payload bytes that must have room.
    readies: Vec<(u32, usize)>,
    server_requests: ServerRequests,
    published: Published,
    /// JavaScript observes messages.
    wants_messages: bool,
    records: Records,
    /// The outbox was crowded at the last report, so events stayed in the machine.
    holds_back: bool,
    /// The driver is not polled.
    is_parked: bool,
}

/// The state and session that JavaScript can read from the status.
#[derive(Default)]
struct Published {
    state: Option<StateName>,
    session_id: Option<SessionId>,
    member_id: Option<MemberId>,
}

impl Published {
    fn is_current(&self, machine: &Machine) -> bool {
        self.state == Some(machine.state())
            && self.session_id.as_ref() == machine.session_id()
            && self.member_id.as_ref() == machine.member_id()
    }
}

/// The delivery of server requests to JavaScript.
struct ServerRequests {
    /// Acknowledgement waits until a request is handled, and so does the next request.
    one_at_a_time: bool,
    is_consumed: bool,
    /// Requests that JavaScript has and has not reported as done.
    unfinished: usize,
    /// Counts sessions, since each numbers its requests from 1.
    epoch: u32,
}

impl Bridge {
    pub(crate) fn new(channel: Arc<Channel>, acknowledge: AckServerRequests) -> Self {
        Self {
            records: Records::new(channel.clone()),
            channel,
            batches: VecDeque::new(),
            requests: Requests::default(),
            connects: Vec::new(),
            pings: Vec::new(),
            disconnects: Vec::new(),
            readies: Vec::new(),
            server_requests: ServerRequests {
                one_at_a_time: acknowledge == AckServerRequests::Handled,
                is_consumed: false,
                unfinished: 0,
                epoch: 0,
            },
            published: Published::default(),
            wants_messages: false,
            holds_back: false,
            is_parked: true,
        }
    }

    /// Notes that the driver is polled from now on.
    pub(crate) fn run(&mut self) {
        self.is_parked = false;
    }

    /// Fails every pending call of `connect()`, because the driver cannot be started.
    pub(crate) fn fail_connects(&mut self, message: &str) {
        let failure = json::closed(message).to_string();
        for (_, call) in std::mem::take(&mut self.connects) {
            self.records.write(Kind::CallFailed, call, failure.as_bytes());
        }
    }

    /// Returns true if a driver that is over has no batch left to perform.
    pub(crate) fn may_park(&self) -> bool {
        self.batches.is_empty() && lock(&self.channel.inbox).batches.is_empty()
    }

    /// Notes and reports that the driver will not be polled before the next batch.
    pub(crate) fn park(&mut self) {
        self.is_parked = true;
        self.records.write(Kind::Parked, 0, &[]);
        self.records.deliver();
    }

    fn take_batches(&mut self) {
        let mut inbox = lock(&self.channel.inbox);
        inbox.sleeper = None;
        self.batches.append(&mut inbox.batches);
    }

    /// Passes on all that the machine has: first the state, then events, then completions, so that a caller that gets an
    /// answer finds the state that goes with it. Only events are held back while JavaScript does not keep up.
    fn report(&mut self, machine: &mut Machine) {
        self.publish(machine);
        loop {
            self.holds_back = self.records.is_crowded();
            if self.holds_back {
                break;
            }
            let Some(event) = machine.poll_event() else { break };
            let (head, bytes) = json::event(&event);
            self.records.write_bytes(Kind::Event, 0, head.to_string().as_bytes(), bytes);
        }
        let mut completion = machine.poll_completion();
        if completion.is_some() {
            lock(&self.channel.status).stats = machine.stats();
        }
        while let Some(complete) = completion {
            self.complete(complete);
            completion = machine.poll_completion();
        }
        self.settle_readies(machine);
        self.deliver_server_requests(machine);
        self.records.deliver();
    }

    /// Publishes the state and the session, also while the outbox is crowded: JavaScript reads them directly, and it
    /// acknowledges no server request of a session that it does not know.
    fn publish(&mut self, machine: &Machine) {
        if self.published.is_current(machine) {
            return;
        }
        let status = ClientStatus {
            state: machine.state(),
            session_id: machine.session_id().cloned(),
            member_id: machine.member_id().cloned(),
            stats: machine.stats(),
        };
        let is_other_session = self.published.session_id != status.session_id;
        self.published = Published {
            state: Some(status.state),
            session_id: status.session_id.clone(),
            member_id: status.member_id.clone(),
        };
        *lock(&self.channel.status) = status;
        if is_other_session {
            self.server_requests.epoch = self.server_requests.epoch.wrapping_add(1);
            self.server_requests.unfinished = 0;
            self.records.write(Kind::Epoch, self.server_requests.epoch, &[]);
        }
    }
}

impl Frontend for Bridge {
    const DELIVERS_BEFORE_WRITING: bool = true;

    fn process_inputs(
        &mut self,
        machine: &mut Machine,
        now: &mut dyn FnMut() -> Instant,
    ) -> Progress {
        if self.batches.is_empty() {
            self.take_batches();
        }
        if self.batches.is_empty() {
            return Progress::Idle;
        }
        let now = now();
        let mut performed = 0;
        while performed < TURN
            && let Some(mut batch) = self.batches.pop_front()
        {
            let mut at = 0;
            while let Some((entry, next)) = layout::read(&batch.entries, at) {
                at = next;
                self.perform(machine, now, &mut batch, entry);
            }
            performed += at;
        }
        Progress::more_if(!self.batches.is_empty())
    }

    fn wants_messages(&self) -> bool {
        self.wants_messages
    }

    fn deliver_outputs(&mut self, machine: &mut Machine) {
        self.report(machine);
    }

    fn prepare_sleep(&mut self, machine: &Machine, waker: &Waker) -> Progress {
        if !self.batches.is_empty() {
            return Progress::More;
        }
        lock(&self.channel.status).stats = machine.stats();
        let mut inbox = lock(&self.channel.inbox);
        if !inbox.batches.is_empty() {
            return Progress::More;
        }
        match &mut inbox.sleeper {
            Some(sleeper) => sleeper.clone_from(waker),
            None => inbox.sleeper = Some(waker.clone()),
        }
        drop(inbox);
        // From here on JavaScript wakes the driver when it makes room. This finds room that it made before.
        Progress::more_if(self.holds_back && !self.channel.is_still_crowded())
    }

    /// A driver with events held back is not finished: JavaScript would never see them.
    fn is_finished(&self, machine: &Machine) -> bool {
        machine.state() == StateName::Disconnected && !self.holds_back
    }
}

impl Drop for Bridge {
    /// Reports the crash of a driver that was not parked, so that no call waits for ever.
    fn drop(&mut self) {
        if !self.is_parked {
            lock(&self.channel.inbox).closed = true;
            self.channel.clear_session();
            if self.published.state == Some(StateName::Connected) {
                let member_id = self.published.member_id.take();
                let event =
                    Event::Disconnected { reason: DisconnectReason::ConnectionLost, member_id };
                let head = json::event(&event).0.to_string();
                self.records.write(Kind::Event, 0, head.as_bytes());
            }
            self.records.write(Kind::Crashed, 0, &[]);
            self.records.deliver();
        }
    }
}

#[cfg(test)]
mod tests;
