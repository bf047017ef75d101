//! Who waits for what the machine completes.

use std::collections::HashMap;
use std::task::Waker;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{oneshot, watch};
use zraft_core::{Completion, ConnectKey, Failure, PingKey, RequestKey, RequestKind};

use crate::calls::{CallId, Calls};
use crate::error::{Error, LateAnswer, LateResult};

#[derive(Debug, Default)]
pub(crate) struct Waiters {
    /// By the slot of the request's key: slots are dense and used again, so each place also says
    /// for which use of the slot it stands.
    requests: Vec<Waiter>,
    /// Places of `requests` where somebody waits.
    waiting: usize,
    /// The key of the request that a call waits for, by the call's place.
    keys: Vec<RequestKey>,
    /// Calls that failed, but whose answers may still come.
    late: HashMap<RequestKey, watch::Sender<LateResult>>,
    connects: Vec<ConnectWaiter>,
    pings: Vec<(PingKey, oneshot::Sender<Result<Duration, Error>>)>,
    disconnects: Vec<oneshot::Sender<()>>,
}

/// Tables that grew beyond this are given back when nobody waits any more.
const KEPT: usize = 1 << 12;

#[derive(Debug)]
struct ConnectWaiter {
    ticket: u64,
    key: ConnectKey,
    done: oneshot::Sender<Result<(), Error>>,
}

/// Who waits for a request.
#[derive(Clone, Copy, Debug, Default)]
struct Waiter {
    generation: u32,
    call: Option<CallId>,
    /// Whether it is a command.
    command: bool,
}

impl Waiters {
    /// Whether somebody waits at a slot. If the machine has given the slot to another request, a
    /// completion for the one that had it before is still to be taken.
    #[inline]
    pub(crate) fn is_taken(&self, slot: u32) -> bool {
        self.requests.get(slot as usize).is_some_and(|waiter| waiter.call.is_some())
    }

    #[inline]
    pub(crate) fn add_request(&mut self, key: RequestKey, kind: RequestKind, call: CallId) {
        let slot = key.slot as usize;
        if slot >= self.requests.len() {
            self.requests.resize(slot + 1, Waiter::default());
        }
        if call.index() >= self.keys.len() {
            self.keys.resize(call.index() + 1, RequestKey { slot: u32::MAX, generation: 0 });
        }
        self.keys[call.index()] = key;
        let command = kind == RequestKind::Command;
        self.requests[slot] = Waiter { generation: key.generation, call: Some(call), command };
        self.waiting += 1;
    }

    /// The request that a call waits for, or waited for last.
    pub(crate) fn key(&self, call: CallId) -> Option<RequestKey> {
        self.keys.get(call.index()).copied()
    }

    /// Who waits for a request, and does no longer.
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

    /// Gives the memory of a burst back once it is over.
    pub(crate) fn shrink(&mut self) {
        if self.waiting == 0 && self.requests.len().max(self.keys.len()) > KEPT {
            self.requests = Vec::new();
            self.keys = Vec::new();
        }
    }

    pub(crate) fn add_connect(
        &mut self,
        ticket: u64,
        key: ConnectKey,
        done: oneshot::Sender<Result<(), Error>>,
    ) {
        self.connects.push(ConnectWaiter { ticket, key, done });
    }

    /// The key of a connect() that is given up, if it was not answered yet.
    pub(crate) fn remove_connect(&mut self, ticket: u64) -> Option<ConnectKey> {
        let index = self.connects.iter().position(|waiter| waiter.ticket == ticket)?;
        Some(self.connects.swap_remove(index).key)
    }

    pub(crate) fn add_ping(
        &mut self,
        key: PingKey,
        done: oneshot::Sender<Result<Duration, Error>>,
    ) {
        self.pings.push((key, done));
    }

    pub(crate) fn add_disconnect(&mut self, done: oneshot::Sender<()>) {
        self.disconnects.push(done);
    }

    /// Hands over how a request ended. Nobody may be there to take it any more. The waker is to be
    /// woken after unlocking the calls.
    #[inline(always)]
    pub(crate) fn complete_request(
        &mut self,
        calls: &mut Calls,
        key: RequestKey,
        result: Result<Bytes, Failure>,
        detached: bool,
    ) -> Option<Waker> {
        let call = self.take(key)?;
        match result {
            Ok(answer) => calls.answer(call, Ok(answer)),
            Err(failure) => {
                let error = self.error(key, failure, detached && !calls.is_left(call));
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

    /// Hands over what else is complete. Nobody may be there to take it any more.
    pub(crate) fn complete(&mut self, completion: Completion) {
        match completion {
            // Handed over by `complete_request`.
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

    /// The driver goes away with all it knew: whoever still waits is told. Senders that are
    /// dropped tell by themselves.
    pub(crate) fn abandon(&mut self, calls: &mut Calls, woken: &mut Vec<Waker>) {
        for waiter in self.requests.drain(..) {
            if let Some(call) = waiter.call {
                // Whether it was sent is not known any more.
                let error = Error::closed(waiter.command);
                woken.extend(calls.answer(call, Err(Box::new(error))));
            }
        }
        self.waiting = 0;
    }

    /// What is left of those who wait for anything else is dropped.
    pub(crate) fn abandon_others(&mut self) {
        self.late.clear();
        self.connects.clear();
        self.pings.clear();
        self.disconnects.clear();
    }
}
