//! The place where one request's answer is handed over.

use std::sync::Mutex;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use zraft_core::RequestKey;

use crate::error::Error;
use crate::sync::lock;

/// Shared by the future that waits for the answer and the driver that brings it.
#[derive(Debug, Default)]
pub(crate) struct Call {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Set by the driver when the machine has taken the request.
    key: Option<RequestKey>,
    stage: Stage,
}

#[derive(Debug, Default)]
enum Stage {
    #[default]
    Fresh,
    Waiting(Waker),
    Answered(Result<Bytes, Error>),
    /// The answer was taken.
    Over,
    /// Nobody waits any more.
    Dropped,
}

impl Call {
    /// The answer, once.
    pub(crate) fn poll(&self, context: &Context<'_>) -> Poll<Result<Bytes, Error>> {
        let stage = &mut lock(&self.state).stage;
        match std::mem::replace(stage, Stage::Over) {
            Stage::Answered(result) => Poll::Ready(result),
            Stage::Waiting(mut waker) => {
                waker.clone_from(context.waker());
                *stage = Stage::Waiting(waker);
                Poll::Pending
            }
            Stage::Fresh => {
                *stage = Stage::Waiting(context.waker().clone());
                Poll::Pending
            }
            // Polled after completion; there is nothing to give.
            over @ (Stage::Over | Stage::Dropped) => {
                *stage = over;
                Poll::Pending
            }
        }
    }

    /// The driver brings the answer.
    pub(crate) fn answer(&self, result: Result<Bytes, Error>) {
        let waker = {
            let stage = &mut lock(&self.state).stage;
            match std::mem::replace(stage, Stage::Over) {
                Stage::Dropped => {
                    *stage = Stage::Dropped;
                    return;
                }
                Stage::Waiting(waker) => {
                    *stage = Stage::Answered(result);
                    Some(waker)
                }
                _ => {
                    *stage = Stage::Answered(result);
                    None
                }
            }
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// The future goes away. True: the answer was still to come.
    pub(crate) fn leave(&self) -> bool {
        let stage = &mut lock(&self.state).stage;
        let waited = matches!(stage, Stage::Fresh | Stage::Waiting(_));
        *stage = Stage::Dropped;
        waited
    }

    /// Whether the future went away.
    pub(crate) fn is_left(&self) -> bool {
        matches!(lock(&self.state).stage, Stage::Dropped)
    }

    pub(crate) fn set_key(&self, key: RequestKey) {
        lock(&self.state).key = Some(key);
    }

    pub(crate) fn key(&self) -> Option<RequestKey> {
        lock(&self.state).key
    }
}
