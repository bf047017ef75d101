//! The calls that wait for the machine's completions.

use std::collections::HashMap;
use std::task::Waker;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{oneshot, watch};
use zraft_core::{Completion, ConnectKey, Failure, PingKey, RequestKey, RequestKind};

use crate::error::{Error, LateAnswer, LateResult};
use crate::shared::calls::{CallId, Calls};

#[derive(Debug, Default)]
pub(super) struct Waiters {
    /// Indexed by the slot of the request's key. Slots are dense and reused, so each entry has its slot's generation.
    requests: Vec<RequestWaiter>,
    /// How many entries of `requests` have a call.
    waiting: usize,
    /// The key of each call's request, by the call's index.
    keys: Vec<RequestKey>,
    /// Commands whose calls have failed while their answers may still arrive.
    late: HashMap<RequestKey, watch::Sender<LateResult>>,
    connects: Vec<ConnectWaiter>,
    pings: Vec<(PingKey, oneshot::Sender<Result<Duration, Error>>)>,
    disconnects: Vec<oneshot::Sender<()>>,
}

/// Tables with more entries than this free their memory when no request waits. It is as large as the kept table of
/// calls, which has an entry for each.
const KEPT_ENTRIES: usize = 1 << 12;

#[derive(Debug)]
struct ConnectWaiter {
    ticket: u64,
    key: ConnectKey,
    done: oneshot::Sender<Result<(), Error>>,
}

/// The call that waits for a request.
#[derive(Clone, Copy, Debug, Default)]
struct RequestWaiter {
    generation: u32,
    call: Option<CallId>,
    is_command: bool,
}

impl Waiters {
    /// Returns true if a call waits at this slot. If the machine has just given the slot to a new request, the
    /// completion of the earlier one was not delivered yet.
    #[inline]
    pub(super) fn is_taken(&self, slot: u32) -> bool {
        self.requests.get(slot as usize).is_some_and(|waiter| waiter.call.is_some())
    }

    #[inline]
    pub(super) fn add_request(&mut self, key: RequestKey, kind: RequestKind, call: CallId) {
        let slot = key.slot as usize;
        if slot >= self.requests.len() {
            self.requests.resize(slot + 1, RequestWaiter::default());
        }
        if call.index() >= self.keys.len() {
            self.keys.resize(call.index() + 1, RequestKey { slot: u32::MAX, generation: 0 });
        }
        self.keys[call.index()] = key;
        let is_command = kind == RequestKind::Command;
        self.requests[slot] =
            RequestWaiter { generation: key.generation, call: Some(call), is_command };
        self.waiting += 1;
    }

    /// Returns the request that a call waits for, or waited for last.
    pub(super) fn key(&self, call: CallId) -> Option<RequestKey> {
        self.keys.get(call.index()).copied()
    }

    /// Removes and returns the call that waits for a request.
    #[inline]
    fn take(&mut self, key: RequestKey) -> Option<CallId> {
        let waiter = self.requests.get_mut(key.slot as usize)?;
        if waiter.generation != key.generation {
            return None;
        }
        let call = waiter.call.take()?;
        self.waiting -= 1;
        Some(call)
    }

    /// Frees the memory of a burst once no request waits.
    pub(super) fn shrink(&mut self) {
        if self.waiting == 0 && self.requests.len().max(self.keys.len()) > KEPT_ENTRIES {
            self.requests = Vec::new();
            self.keys = Vec::new();
        }
    }

    pub(super) fn add_connect(
        &mut self,
        ticket: u64,
        key: ConnectKey,
        done: oneshot::Sender<Result<(), Error>>,
    ) {
        self.connects.push(ConnectWaiter { ticket, key, done });
    }

    /// Removes a `connect()` that was cancelled, and returns its key. `None` if it was answered already.
    pub(super) fn remove_connect(&mut self, ticket: u64) -> Option<ConnectKey> {
        let index = self.connects.iter().position(|waiter| waiter.ticket == ticket)?;
        Some(self.connects.swap_remove(index).key)
    }

    pub(super) fn add_ping(
        &mut self,
        key: PingKey,
        done: oneshot::Sender<Result<Duration, Error>>,
    ) {
        self.pings.push((key, done));
    }

    pub(super) fn add_disconnect(&mut self, done: oneshot::Sender<()>) {
        self.disconnects.push(done);
    }

    /// Hands an answer to its call, if its future still exists. The caller wakes the waker after unlocking the calls.
    #[inline(always)]
    pub(super) fn answer_request(
        &mut self,
        calls: &mut Calls,
        key: RequestKey,
        answer: Bytes,
    ) -> Option<Waker> {
        calls.answer(self.take(key)?, Ok(answer))
    }

    /// Does the same as [`answer_request`](Self::answer_request) with any outcome.
    pub(super) fn complete_request(
        &mut self,
        calls: &mut Calls,
        key: RequestKey,
        result: Result<Bytes, Failure>,
        detached: bool,
    ) -> Option<Waker> {
        match result {
            Ok(answer) => self.answer_request(calls, key, answer),
            Err(failure) => {
                let call = self.take(key)?;
                let error = self.error(key, failure, detached && !calls.is_dropped(call));
                calls.answer(call, Err(Box::new(error)))
            }
        }
    }

    #[cold]
    fn error(&mut self, key: RequestKey, failure: Failure, late: bool) -> Error {
        if !late {
            return failure.into();
        }
        let (sender, answer) = LateAnswer::new();
        self.late.insert(key, sender);
        Error::from_failure(failure, Some(answer))
    }

    /// Hands any other completion to its call, if its future still exists.
    pub(super) fn complete(&mut self, completion: Completion) {
        match completion {
            // `complete_request` delivers these.
            Completion::Request { .. } => {}
            Completion::Resolution { key, result } => {
                if let Some(sender) = self.late.remove(&key) {
                    sender.send_replace(Some(result.map_err(Error::from)));
                }
            }
            Completion::Connect { key, result } => {
                if let Some(index) = self.connects.iter().position(|waiter| waiter.key == key) {
                    let waiter = self.connects.swap_remove(index);
                    let _ = waiter.done.send(result.map_err(Error::from));
                }
            }
            Completion::Ping { key, result } => {
                if let Some(index) = self.pings.iter().position(|(waiting, _)| *waiting == key) {
                    let _ = self.pings.swap_remove(index).1.send(result.map_err(Error::from));
                }
            }
            Completion::Disconnected => {
                for done in self.disconnects.drain(..) {
                    let _ = done.send(());
                }
            }
        }
    }

    /// Fails every request that still waits, because the driver ends.
    pub(super) fn fail_requests(&mut self, calls: &mut Calls, woken: &mut Vec<Waker>) {
        for waiter in self.requests.drain(..) {
            if let Some(call) = waiter.call {
                // A command may have been sent; the driver's end leaves its outcome unknown.
                let error = Error::closed(waiter.is_command);
                woken.extend(calls.answer(call, Err(Box::new(error))));
            }
        }
        self.waiting = 0;
    }

    /// Drops the senders of all other calls. Their futures see the closed channels.
    pub(super) fn drop_others(&mut self) {
        self.late.clear();
        self.connects.clear();
        self.pings.clear();
        self.disconnects.clear();
    }
}
