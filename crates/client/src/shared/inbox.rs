//! The inbox: what the handles ask of the driver, in order.

use std::collections::VecDeque;
use std::task::Waker;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::oneshot;
use zraft_core::{Admission, LivenessQuery, MemberList, RequestKind, Timeout};
use zraft_protocol::RequestId;

use crate::error::Error;

use super::backpressure::{Backpressure, Load};
use super::calls::{CallId, Calls, DroppedCall};

/// One thing that a handle asks of the driver.
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
    UpdateMembers(MemberList),
    /// The application took, or handled, a server request of the session with this epoch.
    ServerRequestDone {
        epoch: u64,
        id: RequestId,
    },
    /// A consumer of server requests has come, so the driver must deliver what the machine holds.
    DeliverServerRequests,
    /// A request that was cancelled before the driver took it. It keeps its place, so that the numbers of the later
    /// inputs stay valid.
    Withdrawn,
    /// The liveness query was replaced. It has been checked.
    LivenessQuery(Option<LivenessQuery>),
    /// The last handle was dropped: the driver disconnects and ends.
    LastHandleDropped,
}

/// Whether a driver runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DriverState {
    /// No driver was started yet, or the last one has ended.
    Stopped,
    Running,
}

/// How many inputs the driver takes before connections get their turn. Larger batches save nothing, and a batch of
/// this size delays the sockets by less than a millisecond.
pub(crate) const MAX_INPUTS_PER_TURN: usize = 1024;

/// An inbox with more capacity than this frees its memory when it becomes empty. Two full turns are the steady state
/// under load.
const KEPT_INPUTS: usize = 2 * MAX_INPUTS_PER_TURN;

#[derive(Debug)]
pub(crate) struct Inbox {
    inputs: VecDeque<Input>,
    /// How many inputs were ever taken out. It is the number of the first input that lies here.
    taken: u64,
    pub(crate) calls: Calls,
    pub(crate) driver: DriverState,
    pub(crate) backpressure: Backpressure,
    /// The members that the application gave last, for a driver that starts later.
    pub(crate) members: Option<MemberList>,
    /// Wakes the driver. It is set only while the driver sleeps.
    driver_waker: Option<Waker>,
    next_ticket: u64,
}

impl Inbox {
    pub(crate) fn new(admission: Admission) -> Self {
        Self {
            inputs: VecDeque::new(),
            taken: 0,
            calls: Calls::default(),
            driver: DriverState::Stopped,
            backpressure: Backpressure::new(admission),
            members: None,
            driver_waker: None,
            next_ticket: 0,
        }
    }

    /// Adds an input. Returns the waker of a sleeping driver, which the caller wakes after unlocking.
    #[must_use]
    #[inline]
    pub(crate) fn push(&mut self, input: Input) -> Option<Waker> {
        self.inputs.push_back(input);
        self.driver_waker.take()
    }

    /// Adds a request for which room was taken. The waker is the same as that of [`Inbox::push`].
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

    /// Notes that a future was dropped before it took its answer, and cancels its request. The caller drops the
    /// leftovers and wakes the wakers after unlocking.
    pub(crate) fn drop_call(&mut self, call: CallId, woken: &mut Vec<Waker>) -> Leftovers {
        let dropped = self.calls.drop_call(call);
        let DroppedCall::Waiting { input: number, .. } = dropped else {
            return Leftovers { _call: Some(dropped), _input: None };
        };
        let input = self.withdraw(number, woken);
        if input.is_some() {
            self.calls.free_dropped(call);
        } else if self.driver == DriverState::Running {
            woken.extend(self.push(Input::Cancel(call)));
        }
        Leftovers { _call: Some(dropped), _input: input }
    }

    /// Takes the request with this number back. Returns `None` if the driver has taken it already.
    fn withdraw(&mut self, number: u64, woken: &mut Vec<Waker>) -> Option<Input> {
        let index = usize::try_from(number.checked_sub(self.taken)?).ok()?;
        let input = std::mem::replace(self.inputs.get_mut(index)?, Input::Withdrawn);
        if let Input::Submit { payload, .. } = &input {
            self.backpressure.withdraw(payload.len(), woken);
        }
        Some(input)
    }

    /// Cancels a request whose caller still waits for the outcome. The caller drops the leftovers and wakes the wakers
    /// after unlocking.
    pub(crate) fn cancel(&mut self, call: CallId, woken: &mut Vec<Waker>) -> Leftovers {
        let Some(number) = self.calls.waiting_input(call) else {
            return Leftovers { _call: None, _input: None };
        };
        let input = self.withdraw(number, woken);
        if input.is_some() {
            woken.extend(self.calls.answer(call, Err(Box::new(Error::cancelled_unsent()))));
        } else if self.driver == DriverState::Running {
            woken.extend(self.push(Input::Cancel(call)));
        }
        Leftovers { _call: None, _input: input }
    }

    /// Moves at most [`MAX_INPUTS_PER_TURN`] inputs to the driver's queue, which must be empty, and notes what the
    /// machine holds now. Returns true if more inputs are left.
    pub(crate) fn take(
        &mut self,
        inputs: &mut VecDeque<Input>,
        held: Load,
        woken: &mut Vec<Waker>,
    ) -> bool {
        debug_assert!(inputs.is_empty());
        let taken = if self.inputs.len() <= MAX_INPUTS_PER_TURN {
            std::mem::swap(inputs, &mut self.inputs);
            self.backpressure.in_inbox()
        } else {
            let mut taken = Load::default();
            inputs.extend(self.inputs.drain(..MAX_INPUTS_PER_TURN).inspect(|input| {
                if let Input::Submit { payload, .. } = input {
                    taken.add(payload.len());
                }
            }));
            taken
        };
        self.taken += inputs.len() as u64;
        zraft_core::memory::release_queue(&mut self.inputs, KEPT_INPUTS);
        self.backpressure.update(held, taken, woken);
        !self.inputs.is_empty()
    }

    /// Notes that the driver has ended. Returns the inputs that it did not take; the caller must fail them.
    pub(crate) fn stop_driver(&mut self, woken: &mut Vec<Waker>) -> VecDeque<Input> {
        self.driver = DriverState::Stopped;
        self.driver_waker = None;
        self.backpressure.reset(woken);
        self.taken += self.inputs.len() as u64;
        std::mem::take(&mut self.inputs)
    }

    /// Keeps the waker of a driver that is about to sleep.
    pub(crate) fn driver_sleeps(&mut self, waker: &Waker) {
        match &mut self.driver_waker {
            Some(kept) => kept.clone_from(waker),
            None => self.driver_waker = Some(waker.clone()),
        }
    }

    /// Notes that the driver is awake, so that no handle wakes it.
    pub(crate) fn driver_awake(&mut self) {
        self.driver_waker = None;
    }

    pub(crate) fn take_ticket(&mut self) -> u64 {
        self.next_ticket += 1;
        self.next_ticket
    }
}

/// The parts of a cancelled request that must be dropped without a lock held.
#[derive(Debug)]
pub(crate) struct Leftovers {
    _call: Option<DroppedCall>,
    _input: Option<Input>,
}
