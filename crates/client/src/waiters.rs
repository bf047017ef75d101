//! Who waits for what the machine completes.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{oneshot, watch};
use zraft_core::{Completion, ConnectKey, PingKey, RequestKey, RequestKind};

use crate::call::Call;
use crate::error::{Error, LateAnswer, LateResult};

#[derive(Debug, Default)]
pub(crate) struct Waiters {
    /// By the slot of the request's key: slots are dense and used again, so each place also says
    /// for which use of the slot it stands.
    requests: Vec<(u32, Waiter)>,
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
    Call(Arc<Call>, RequestKind),
    /// The call failed; its answer may still come.
    Late(watch::Sender<LateResult>),
}

impl Waiters {
    /// Whether somebody waits at a slot. If the machine has given the slot to another request, a
    /// completion for the one that had it before is still to be taken.
    pub(crate) fn is_taken(&self, slot: u32) -> bool {
        !matches!(self.requests.get(slot as usize), None | Some((_, Waiter::Nobody)))
    }

    pub(crate) fn add_request(&mut self, key: RequestKey, kind: RequestKind, call: Arc<Call>) {
        let slot = key.slot as usize;
        if slot >= self.requests.len() {
            self.requests.resize_with(slot + 1, Default::default);
        }
        call.set_key(key);
        if let Some(place) = self.requests.get_mut(slot) {
            *place = (key.generation, Waiter::Call(call, kind));
        }
    }

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

    /// Hands over what is complete. Nobody may be there to take it any more.
    pub(crate) fn complete(&mut self, completion: Completion) {
        match completion {
            Completion::Request { key, result, detached } => {
                let Some(waiter) = self.request(key) else { return };
                let Waiter::Call(call, _) = std::mem::take(waiter) else { return };
                match result {
                    Ok(answer) => call.answer(Ok(answer)),
                    Err(failure) if detached && !call.is_left() => {
                        let (sender, late) = LateAnswer::new();
                        *waiter = Waiter::Late(sender);
                        call.answer(Err(Error::from_failure(failure, Some(late))));
                    }
                    Err(failure) => call.answer(Err(failure.into())),
                }
            }
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
    pub(crate) fn abandon(&mut self) {
        for (_, waiter) in self.requests.drain(..) {
            if let Waiter::Call(call, kind) = waiter {
                // Whether it was sent is not known any more.
                call.answer(Err(Error::closed(kind == RequestKind::Command)));
            }
        }
        self.connects.clear();
        self.pings.clear();
        self.disconnects.clear();
    }
}
