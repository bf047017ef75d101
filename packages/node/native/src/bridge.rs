//! The driver's side towards JavaScript: batches in, records out.

use std::collections::VecDeque;
use std::sync::Arc;
use std::task::Waker;
use std::time::Duration;

use bytes::Bytes;
use serde_json::json;
use zraft_client::binding::core::{
    Completion, ConnectKey, DisconnectReason, Event, Failure, Instant, Machine, PingKey,
    RequestKey, RequestKind, StateName, Timeout,
};
use zraft_client::binding::{CONNECT_TIMEOUT, DISCONNECT_TIMEOUT, Face};
use zraft_client::{AckServerRequests, MemberId, SessionId};
use zraft_protocol::RequestId;

use crate::json;
use crate::layout::{
    self, BESIDE, CHUNK, Entry, HEADER, Id, Kind, MAX_INLINE, NEVER, USUAL, operation,
};
use crate::links::{Batch, Facts, Links, lock};

/// How many server requests JavaScript may hold that it has not said to be done.
const HELD: usize = 64;

pub(crate) struct Bridge {
    links: Arc<Links>,
    /// Taken from the inbox; the first one is read from `at`.
    batches: VecDeque<(Batch, usize)>,
    requests: Requests,
    connects: Vec<(ConnectKey, u32)>,
    pings: Vec<(PingKey, u32)>,
    disconnects: Vec<u32>,
    /// Calls that wait for room for a payload of so many bytes.
    readies: Vec<(u32, usize)>,
    server_requests: ServerRequests,
    /// What JavaScript was last told of the session.
    published: Published,
    messages: bool,
    out: Out,
    /// Events were kept back when the last were handed out.
    kept_back: bool,
    /// The driver is not polled.
    rests: bool,
}

/// Which slot of JavaScript has which request of the machine, and the other way round.
#[derive(Default)]
struct Requests {
    /// By the machine's slot; each place also says for which use of it it stands.
    slots: Vec<(u32, Option<Id>)>,
    /// By JavaScript's slot, with the generation of its use.
    keys: Vec<Option<(u32, RequestKey)>>,
}

impl Requests {
    fn is_taken(&self, key: RequestKey) -> bool {
        matches!(self.slots.get(key.slot as usize), Some((_, Some(_))))
    }

    fn add(&mut self, key: RequestKey, id: Id) {
        put(&mut self.slots, key.slot as usize, (key.generation, Some(id)));
        put(&mut self.keys, id.number as usize, Some((id.generation, key)));
    }

    fn id(&self, key: RequestKey) -> Option<Id> {
        let (generation, id) = *self.slots.get(key.slot as usize)?;
        if generation == key.generation { id } else { None }
    }

    fn remove(&mut self, key: RequestKey) -> Option<Id> {
        let id = self.id(key)?;
        self.slots[key.slot as usize].1 = None;
        if let Some(place) = self.keys.get_mut(id.number as usize)
            && place.is_some_and(|(generation, _)| generation == id.generation)
        {
            *place = None;
        }
        Some(id)
    }

    fn key(&self, id: Id) -> Option<RequestKey> {
        let (generation, key) = (*self.keys.get(id.number as usize)?)?;
        (generation == id.generation).then_some(key)
    }
}

fn put<T: Clone + Default>(places: &mut Vec<T>, index: usize, value: T) {
    if index >= places.len() {
        places.resize(index + 1, T::default());
    }
    places[index] = value;
}

/// What JavaScript was last told of the session.
#[derive(Default)]
struct Published {
    state: Option<StateName>,
    session_id: Option<SessionId>,
    member_id: Option<MemberId>,
}

impl Published {
    fn is_of(&self, machine: &Machine) -> bool {
        self.state == Some(machine.state())
            && self.session_id.as_ref() == machine.session_id()
            && self.member_id.as_ref() == machine.member_id()
    }
}

/// Server requests on their way to JavaScript.
struct ServerRequests {
    one_at_a_time: bool,
    consumed: bool,
    held: usize,
    /// Counts sessions: ids begin anew with each.
    epoch: u32,
}

/// Records that are being written.
#[derive(Default)]
struct Out {
    chunk: Vec<u8>,
    beside: VecDeque<Bytes>,
    /// Bytes of what goes beside.
    bytes: usize,
}

impl Out {
    fn write(&mut self, links: &Links, kind: Kind, id: impl Into<Id>, head: &[u8], bytes: &[u8]) {
        self.make_room(links, head.len() + bytes.len());
        layout::write(&mut self.chunk, kind, id.into(), head, Some(bytes), bytes.len());
    }

    /// Long bytes go beside the record.
    fn write_bytes(
        &mut self,
        links: &Links,
        kind: Kind,
        id: impl Into<Id>,
        head: &[u8],
        bytes: Bytes,
    ) {
        if bytes.len() > MAX_INLINE {
            self.make_room(links, head.len());
            layout::write(&mut self.chunk, kind, id.into(), head, None, bytes.len());
            self.bytes += bytes.len();
            self.beside.push_back(bytes);
        } else {
            self.write(links, kind, id, head, &bytes);
        }
    }

    fn make_room(&mut self, links: &Links, length: usize) {
        if !self.chunk.is_empty() && self.chunk.len() + HEADER + length + 8 > CHUNK {
            self.deliver(links);
        }
    }

    fn deliver(&mut self, links: &Links) {
        if !self.chunk.is_empty() {
            links.deliver(&mut self.chunk, &mut self.beside);
            self.bytes = 0;
        }
    }
}

impl Bridge {
    pub(crate) fn new(links: Arc<Links>, acknowledge: AckServerRequests) -> Self {
        Self {
            links,
            batches: VecDeque::new(),
            requests: Requests::default(),
            connects: Vec::new(),
            pings: Vec::new(),
            disconnects: Vec::new(),
            readies: Vec::new(),
            server_requests: ServerRequests {
                one_at_a_time: acknowledge == AckServerRequests::Handled,
                consumed: false,
                held: 0,
                epoch: 0,
            },
            published: Published::default(),
            messages: false,
            out: Out::default(),
            kept_back: false,
            rests: true,
        }
    }

    /// From now on the driver is polled.
    pub(crate) fn run(&mut self) {
        self.rests = false;
    }

    fn take_batches(&mut self) {
        let mut inbox = lock(&self.links.inbox);
        inbox.sleeper = None;
        self.batches.extend(inbox.batches.drain(..).map(|batch| (batch, 0)));
    }

    fn take(&mut self, machine: &mut Machine, now: Instant, batch: &mut Batch, entry: Entry) {
        let Entry { operation, id, argument, length, generation, at } = entry;
        let request = Id { number: id, generation };
        match operation {
            operation::COMMAND | operation::QUERY => {
                let payload = batch.entries.slice(at..at + length as usize);
                self.submit(machine, now, operation, request, argument, payload);
            }
            _ if operation & BESIDE != 0 => {
                let payload = std::mem::take(&mut batch.beside);
                self.submit(machine, now, operation & !BESIDE, request, argument, payload);
            }
            operation::CANCEL => {
                if let Some(key) = self.requests.key(request) {
                    machine.cancel(now, key);
                }
            }
            operation::CONNECT => {
                let key = machine.connect(now, time(argument, CONNECT_TIMEOUT));
                self.connects.push((key, id));
            }
            operation::CANCEL_CONNECT => {
                if let Some(index) = self.connects.iter().position(|(_, call)| *call == id) {
                    let (key, call) = self.connects.swap_remove(index);
                    machine.cancel_connect(now, key);
                    self.fail(
                        Kind::CallFailed,
                        call,
                        &Failure::Cancelled { id: None, sent: false },
                    );
                }
            }
            operation::DISCONNECT => {
                let timeout = time(argument, DISCONNECT_TIMEOUT).unwrap_or(Duration::MAX);
                machine.disconnect(now, timeout);
                self.disconnects.push(id);
            }
            operation::PING => {
                let key = machine.ping(now);
                self.pings.push((key, id));
            }
            operation::READY => self.readies.push((id, argument as usize)),
            operation::CONSUME => self.server_requests.consumed = argument != 0,
            operation::SERVER_REQUEST_DONE => {
                let done = u64::from(length) << 32 | u64::from(argument);
                if id == self.server_requests.epoch
                    && let Ok(done) = RequestId::new(done)
                {
                    self.server_requests.held = self.server_requests.held.saturating_sub(1);
                    machine.server_request_done(now, done);
                }
            }
            operation::OBSERVE => self.messages = argument != 0,
            _ => {}
        }
    }

    fn submit(
        &mut self,
        machine: &mut Machine,
        now: Instant,
        operation: u32,
        id: Id,
        timeout: u32,
        payload: Bytes,
    ) {
        let kind =
            if operation == operation::COMMAND { RequestKind::Command } else { RequestKind::Query };
        let timeout = match timeout {
            USUAL => Timeout::Default,
            NEVER => Timeout::Never,
            millis => Timeout::After(Duration::from_millis(u64::from(millis))),
        };
        match machine.submit(now, kind, payload, timeout) {
            Ok(key) => {
                if self.requests.is_taken(key) {
                    // An entry just before this one settled the request that had the slot.
                    self.hand_out(machine);
                }
                self.requests.add(key, id);
            }
            Err(failure) => self.fail(Kind::Failed, id, &failure),
        }
    }

    fn fail(&mut self, kind: Kind, id: impl Into<Id>, failure: &Failure) {
        let text = json::failure(failure).to_string();
        self.out.write(&self.links, kind, id, text.as_bytes(), &[]);
    }

    fn complete(&mut self, completion: Completion) {
        match completion {
            Completion::Request { key, result: Ok(answer), .. } => {
                if let Some(id) = self.requests.remove(key) {
                    self.out.write_bytes(&self.links, Kind::Answered, id, &[], answer);
                }
            }
            Completion::Request { key, result: Err(failure), detached: true } => {
                if let Some(id) = self.requests.id(key) {
                    self.fail(Kind::Detached, id, &failure);
                }
            }
            Completion::Request { key, result: Err(failure), detached: false } => {
                if let Some(id) = self.requests.remove(key) {
                    self.fail(Kind::Failed, id, &failure);
                }
            }
            Completion::Resolution { key, result } => {
                let Some(id) = self.requests.remove(key) else { return };
                match result {
                    Ok(answer) => {
                        self.out.write_bytes(&self.links, Kind::LateAnswer, id, &[], answer);
                    }
                    Err(failure) => self.fail(Kind::LateFailure, id, &failure),
                }
            }
            Completion::Connect { key, result } => {
                if let Some(index) = self.connects.iter().position(|(each, _)| *each == key) {
                    let (_, call) = self.connects.swap_remove(index);
                    self.settle_call(call, result);
                }
            }
            Completion::Ping { key, result } => {
                let Some(index) = self.pings.iter().position(|(each, _)| *each == key) else {
                    return;
                };
                let (_, call) = self.pings.swap_remove(index);
                match result {
                    Ok(time) => {
                        let millis = (time.as_secs_f64() * 1000.0).to_ne_bytes();
                        self.out.write(&self.links, Kind::Pong, call, &millis, &[]);
                    }
                    Err(failure) => self.fail(Kind::CallFailed, call, &failure),
                }
            }
            Completion::Disconnected => {
                for call in std::mem::take(&mut self.disconnects) {
                    self.settle_call(call, Ok(()));
                }
            }
        }
    }

    fn settle_call(&mut self, call: u32, result: Result<(), Failure>) {
        match result {
            Ok(()) => self.out.write(&self.links, Kind::CallDone, call, &[], &[]),
            Err(failure) => self.fail(Kind::CallFailed, call, &failure),
        }
    }

    /// Tells the state and the session, whatever else waits: JavaScript reads them directly, and server requests of a
    /// session that it does not know would never be acknowledged.
    fn publish(&mut self, machine: &Machine) {
        if self.published.is_of(machine) {
            return;
        }
        let facts = Facts {
            state: machine.state(),
            session_id: machine.session_id().cloned(),
            member_id: machine.member_id().cloned(),
            stats: machine.stats(),
        };
        let another = self.published.session_id != facts.session_id;
        self.published = Published {
            state: Some(facts.state),
            session_id: facts.session_id.clone(),
            member_id: facts.member_id.clone(),
        };
        *lock(&self.links.facts) = facts;
        if another {
            self.server_requests.epoch = self.server_requests.epoch.wrapping_add(1);
            self.server_requests.held = 0;
            let epoch = self.server_requests.epoch;
            self.out.write(&self.links, Kind::Epoch, epoch, &[], &[]);
        }
    }

    fn hand_out_server_requests(&mut self, machine: &mut Machine) {
        let limit = if self.server_requests.one_at_a_time { 1 } else { HELD };
        while self.server_requests.consumed
            && self.server_requests.held < limit
            && let Some(request) = machine.poll_server_request()
        {
            self.server_requests.held += 1;
            let mut head = [0; 16];
            head[..8].copy_from_slice(&request.request_id.get().to_ne_bytes());
            head[8..].copy_from_slice(&request.created_at.as_millis().to_ne_bytes());
            let epoch = self.server_requests.epoch;
            let payload = request.payload;
            self.out.write_bytes(&self.links, Kind::ServerRequest, epoch, &head, payload);
        }
    }

    fn hand_out_ready(&mut self, machine: &Machine) {
        if self.readies.is_empty() {
            return;
        }
        for (call, bytes) in std::mem::take(&mut self.readies) {
            if machine.has_room(bytes) {
                self.settle_call(call, Ok(()));
            } else {
                self.readies.push((call, bytes));
            }
        }
    }

    /// Fails every call of connect() that waits: there is no way to begin.
    pub(crate) fn fail_connects(&mut self, why: &str) {
        let failure = json!({ "code": "CLOSED", "message": why, "maybeExecuted": false });
        let text = failure.to_string();
        for (_, call) in std::mem::take(&mut self.connects) {
            self.out.write(&self.links, Kind::CallFailed, call, text.as_bytes(), &[]);
        }
    }

    /// Whether the driver, which is over, finds nothing more to do.
    pub(crate) fn may_rest(&self) -> bool {
        self.batches.is_empty() && lock(&self.links.inbox).batches.is_empty()
    }

    /// The driver will not be polled again before something is asked of it.
    pub(crate) fn rest(&mut self) {
        self.rests = true;
        self.out.write(&self.links, Kind::Rests, 0, &[], &[]);
        self.out.deliver(&self.links);
    }
}

fn time(millis: u32, usual: Duration) -> Option<Duration> {
    match millis {
        NEVER => None,
        USUAL => Some(usual),
        millis => Some(Duration::from_millis(u64::from(millis))),
    }
}

impl Face for Bridge {
    fn bring(&mut self, machine: &mut Machine, now: &mut dyn FnMut() -> Instant) -> bool {
        if self.batches.is_empty() {
            self.take_batches();
        }
        let Some((mut batch, mut at)) = self.batches.pop_front() else { return false };
        let now = now();
        while let Some((entry, next)) = layout::read(&batch.entries, at) {
            at = next;
            self.take(machine, now, &mut batch, entry);
        }
        !self.batches.is_empty()
    }

    fn wants_messages(&self) -> bool {
        self.messages
    }

    /// First how things are, then what happened, then answers, so that who gets an answer finds the state that goes with it.
    /// Only what happened is kept back while JavaScript does not keep up.
    fn hand_out(&mut self, machine: &mut Machine) {
        self.publish(machine);
        loop {
            self.kept_back = self.links.is_crowded(self.out.bytes);
            if self.kept_back {
                break;
            }
            let Some(event) = machine.poll_event() else { break };
            let (head, bytes) = json::event(&event);
            self.out.write_bytes(&self.links, Kind::Event, 0, head.to_string().as_bytes(), bytes);
        }
        let mut completion = machine.poll_completion();
        if completion.is_some() {
            lock(&self.links.facts).stats = machine.stats();
        }
        while let Some(complete) = completion {
            self.complete(complete);
            completion = machine.poll_completion();
        }
        self.hand_out_ready(machine);
        self.hand_out_server_requests(machine);
        self.out.deliver(&self.links);
    }

    fn sleep(&mut self, machine: &Machine, waker: &Waker) -> bool {
        if !self.batches.is_empty() {
            return false;
        }
        lock(&self.links.facts).stats = machine.stats();
        let mut inbox = lock(&self.links.inbox);
        if !inbox.batches.is_empty() {
            return false;
        }
        match &mut inbox.sleeper {
            Some(sleeper) => sleeper.clone_from(waker),
            None => inbox.sleeper = Some(waker.clone()),
        }
        drop(inbox);
        // From here on whoever makes room wakes it; room that was made before is seen.
        !self.kept_back || self.links.is_still_crowded()
    }

    /// A driver with events inside does not rest: JavaScript would never hear of them.
    fn is_over(&self, machine: &Machine) -> bool {
        machine.state() == StateName::Disconnected && !self.kept_back
    }
}

impl Drop for Bridge {
    /// A driver that ends at work leaves nobody waiting.
    fn drop(&mut self) {
        if !self.rests {
            lock(&self.links.inbox).closed = true;
            self.links.forget_session();
            if self.published.state == Some(StateName::Connected) {
                let member_id = self.published.member_id.take();
                let event =
                    Event::Disconnected { reason: DisconnectReason::ConnectionLost, member_id };
                let head = json::event(&event).0.to_string();
                self.out.write(&self.links, Kind::Event, 0, head.as_bytes(), &[]);
            }
            self.out.write(&self.links, Kind::Broke, 0, &[], &[]);
            self.out.deliver(&self.links);
        }
    }
}

#[cfg(test)]
mod tests;
