//! Who waits for what the machine completes.

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
    requests: Vec<(u32, Waiter)>,
    /// The key of the request that a call waits for, by the call's place.
    keys: Vec<RequestKey>,
    connects: Vec<ConnectWaiter>,
    pings: Vec<(PingKey, oneshot::Sender<Result<Duration, Error>>)>,
    disconnects: Vec<oneshot::Sender<()>>,
}

#[derive(Debug)]
struct ConnectWaiter {
    ticket: u64,
    key: ConnectKey,
    done: oneshot::Sender<Result<(), Error>>,
}

#[derive(Debug, Default)]
enum Waiter {
    #[default]
    Nobody,
    Call(CallId, RequestKind),
    /// The call failed; its answer may still come.
    Late(watch::Sender<LateResult>),
}

impl Waiters {
    /// Whether somebody waits at a slot. If the machine has given the slot to another request, a
    /// completion for the one that had it before is still to be taken.
    #[inline]
    pub(crate) fn is_taken(&self, slot: u32) -> bool {
        !matches!(self.requests.get(slot as usize), None | Some((_, Waiter::Nobody)))
    }

    #[inline]
    pub(crate) fn add_request(&mut self, key: RequestKey, kind: RequestKind, call: CallId) {
        let slot = key.slot as usize;
        if slot >= self.requests.len() {
            self.requests.resize_with(slot + 1, Default::default);
        }
        if call.index() >= self.keys.len() {
            self.keys.resize(call.index() + 1, RequestKey { slot: u32::MAX, generation: 0 });
        }
        self.keys[call.index()] = key;
        self.requests[slot] = (key.generation, Waiter::Call(call, kind));
    }

    /// The request that a call waits for, or waited for last.
    pub(crate) fn key(&self, call: CallId) -> Option<RequestKey> {
        self.keys.get(call.index()).copied()
    }

    #[inline]
    fn request(&mut self, key: RequestKey) -> Option<&mut Waiter> {
        let (generation, waiter) = self.requests.get_mut(key.slot as usize)?;
        (*generation == key.generation).then_some(waiter)
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
        let waiter = self.request(key)?;
        let Waiter::Call(call, _) = *waiter else { return None };
        *waiter = Waiter::Nobody;
        let error = match result {
            Ok(answer) => return calls.answer(call, Ok(answer)),
            Err(failure) if detached && !calls.is_left(call) => {
                let (sender, late) = LateAnswer::new();
                *waiter = Waiter::Late(sender);
                Error::from_failure(failure, Some(late))
            }
            Err(failure) => failure.into(),
        };
        calls.answer(call, Err(Box::new(error)))
    }

    /// Hands over what else is complete. Nobody may be there to take it any more.
    pub(crate) fn complete(&mut self, completion: Completion) {
        match completion {
            // Handed over by `complete_request`.
            Completion::Request { .. } => {}
            Completion::Resolution { key, result } => {
                let Some(waiter) = self.request(key) else { return };
                if let Waiter::Late(sender) = std::mem::take(waiter) {
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
        for (_, waiter) in self.requests.drain(..) {
            if let Waiter::Call(call, kind) = waiter {
                // Whether it was sent is not known any more.
                let error = Error::closed(kind == RequestKind::Command);
                woken.extend(calls.answer(call, Err(Box::new(error))));
            }
        }
    }

    /// What is left of those who wait for anything else is dropped.
    pub(crate) fn abandon_others(&mut self) {
        self.connects.clear();
        self.pings.clear();
        self.disconnects.clear();
    }
}
