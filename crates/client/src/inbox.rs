//! What the handles ask of the driver, in the order in which they asked.

use std::collections::VecDeque;
use std::sync::Arc;
use std::task::Waker;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::oneshot;
use zraft_core::{RequestKind, Timeout};
use zraft_protocol::RequestId;

use crate::call::Call;
use crate::error::Error;
use crate::room::{Load, Room};

/// One thing asked of the driver.
#[derive(Debug)]
pub(crate) enum Input {
    Submit {
        kind: RequestKind,
        payload: Bytes,
        timeout: Timeout,
        call: Arc<Call>,
    },
    Cancel(Arc<Call>),
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
    /// Server requests may be handed over again, or message events be wanted or not.
    Look,
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

#[derive(Debug)]
pub(crate) struct Inbox {
    pub(crate) inputs: VecDeque<Input>,
    pub(crate) phase: Phase,
    pub(crate) room: Room,
    /// Wakes the driver; there is one only while it sleeps.
    sleeper: Option<Waker>,
    next_ticket: u64,
}

impl Inbox {
    pub(crate) fn new(limit: Load) -> Self {
        Self {
            inputs: VecDeque::new(),
            phase: Phase::Idle,
            room: Room::new(limit),
            sleeper: None,
            next_ticket: 0,
        }
    }

    /// Adds an input. The waker, if there is one, is for the caller to wake after unlocking.
    #[must_use]
    pub(crate) fn push(&mut self, input: Input) -> Option<Waker> {
        self.inputs.push_back(input);
        self.sleeper.take()
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
