//! What the handles ask of the driver, in the order in which they asked.

use std::collections::VecDeque;
use std::task::Waker;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::oneshot;
use zraft_core::{Admission, RequestKind, Timeout};
use zraft_protocol::RequestId;

use crate::calls::{CallId, Calls, Leaving};
use crate::error::Error;
use crate::room::{Load, Room};

/// One thing asked of the driver.
#[derive(Debug)]
pub(crate) enum Input {
    Submit {
        kind: RequestKind,
        payload: Bytes,
        timeout: Timeout,
        call: CallId,
    },
    Cancel(CallId),
    Connect {
        ticket: u64,
        timeout: Option<Duration>,
        done: oneshot::Sender<Result<(), Error>>,
    },
    CancelConnect {
        ticket: u64,
    },
    Ping {
        done: oneshot::Sender<Result<Duration, Error>>,
    },
    Disconnect {
        timeout: Duration,
        done: oneshot::Sender<()>,
    },
    /// A server request of the given session was taken, or handled.
    ServerRequestDone {
        epoch: u64,
        id: RequestId,
    },
    /// Makes the driver look for server requests to hand over: there is a consumer.
    Look,
    /// A request whose caller gave it up before the driver took it. It keeps the numbers of the
    /// inputs behind it.
    Withdrawn,
    /// No handle is left.
    LastHandle,
}

/// Whether there is a driver.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// None yet, or its runtime ended.
    Idle,
    Running,
}

/// How many inputs the driver takes before connections get their turn.
pub(crate) const INPUTS: usize = 1024;

/// How much room for inputs is kept after a burst of them.
const KEPT_INPUTS: usize = 2 * INPUTS;

#[derive(Debug)]
pub(crate) struct Inbox {
    inputs: VecDeque<Input>,
    /// Inputs ever taken out: the number of the first that lies here.
    taken: u64,
    pub(crate) calls: Calls,
    pub(crate) phase: Phase,
    pub(crate) room: Room,
    /// Wakes the driver; there is one only while it sleeps.
    sleeper: Option<Waker>,
    next_ticket: u64,
}

impl Inbox {
    pub(crate) fn new(admission: Admission) -> Self {
        Self {
            inputs: VecDeque::new(),
            taken: 0,
            calls: Calls::default(),
            phase: Phase::Idle,
            room: Room::new(admission),
            sleeper: None,
            next_ticket: 0,
        }
    }

    /// Adds an input. The waker, if there is one, is for the caller to wake after unlocking.
    #[must_use]
    #[inline]
    pub(crate) fn push(&mut self, input: Input) -> Option<Waker> {
        self.inputs.push_back(input);
        self.sleeper.take()
    }

    /// Adds a request for which room was taken. The waker is as that of [`Inbox::push`].
    #[must_use]
    #[inline]
    pub(crate) fn submit(
        &mut self,
        kind: RequestKind,
        payload: Bytes,
        timeout: Timeout,
    ) -> (CallId, Option<Waker>) {
        let call = self.calls.open(self.taken + self.inputs.len() as u64);
        (call, self.push(Input::Submit { kind, payload, timeout, call }))
    }

    /// A future goes away before it took its answer. What is left of it is to be dropped, and
    /// the wakers to be woken, after unlocking.
    pub(crate) fn leave(&mut self, call: CallId, woken: &mut Vec<Waker>) -> Left {
        let leaving = self.calls.leave(call);
        let Leaving::Early { input: number, .. } = leaving else {
            return Left { _leaving: Some(leaving), _input: None };
        };
        let input = self.withdraw(number, woken);
        if input.is_some() {
            self.calls.forget(call);
        } else if self.phase == Phase::Running {
            woken.extend(self.push(Input::Cancel(call)));
        }
        Left { _leaving: Some(leaving), _input: input }
    }

    /// Takes the request of the given number back, as if it had never come. Returns `None` if the
    /// driver has taken it already.
    fn withdraw(&mut self, number: u64, woken: &mut Vec<Waker>) -> Option<Input> {
        let index = usize::try_from(number.checked_sub(self.taken)?).ok()?;
        let input = std::mem::replace(self.inputs.get_mut(index)?, Input::Withdrawn);
        if let Input::Submit { payload, .. } = &input {
            self.room.withdraw(payload.len(), woken);
        }
        Some(input)
    }

    /// A caller gives a request up and still waits for its end. What is left is to be dropped, and
    /// the wakers to be woken, after unlocking.
    pub(crate) fn cancel(&mut self, call: CallId, woken: &mut Vec<Waker>) -> Left {
        let Some(number) = self.calls.waits_for(call) else {
            return Left { _leaving: None, _input: None };
        };
        let input = self.withdraw(number, woken);
        if input.is_some() {
            woken.extend(self.calls.answer(call, Err(Box::new(Error::cancelled_unsent()))));
        } else if self.phase == Phase::Running {
            woken.extend(self.push(Input::Cancel(call)));
        }
        Left { _leaving: None, _input: input }
    }

    /// The driver takes inputs, no more than [`INPUTS`], into a queue that it has emptied, and
    /// tells how much the machine holds. True: there are more.
    pub(crate) fn take(
        &mut self,
        inputs: &mut VecDeque<Input>,
        held: Load,
        woken: &mut Vec<Waker>,
    ) -> bool {
        debug_assert!(inputs.is_empty());
        let taken = if self.inputs.len() <= INPUTS {
            std::mem::swap(inputs, &mut self.inputs);
            self.room.in_inbox()
        } else {
            let mut taken = Load::default();
            inputs.extend(self.inputs.drain(..INPUTS).inspect(|input| {
                if let Input::Submit { payload, .. } = input {
                    taken.add(payload.len());
                }
            }));
            taken
        };
        self.taken += inputs.len() as u64;
        zraft_core::memory::release_queue(&mut self.inputs, KEPT_INPUTS);
        self.room.settle(held, taken, woken);
        !self.inputs.is_empty()
    }

    /// There is no driver any more: all that lies here, to be refused.
    pub(crate) fn abandon(&mut self, woken: &mut Vec<Waker>) -> VecDeque<Input> {
        self.phase = Phase::Idle;
        self.sleeper = None;
        self.room.reset(woken);
        self.taken += self.inputs.len() as u64;
        std::mem::take(&mut self.inputs)
    }

    /// The driver is about to sleep.
    pub(crate) fn sleep(&mut self, waker: &Waker) {
        match &mut self.sleeper {
            Some(sleeper) => sleeper.clone_from(waker),
            None => self.sleeper = Some(waker.clone()),
        }
    }

    /// The driver is awake: nobody need wake it.
    pub(crate) fn awake(&mut self) {
        self.sleeper = None;
    }

    pub(crate) fn ticket(&mut self) -> u64 {
        self.next_ticket += 1;
        self.next_ticket
    }
}

/// What is left of a request that was given up.
#[derive(Debug)]
pub(crate) struct Left {
    _leaving: Option<Leaving>,
    _input: Option<Input>,
}
