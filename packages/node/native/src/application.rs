//! An application whose functions are JavaScript, for the embedded cluster.
//!
//! The engine of the cluster calls its application synchronously, and the functions can run on the event loop only. So a
//! cluster with such an application has its own thread, which waits here for the function's return. The
//! event loop never waits for that thread: it sends calls of switches by a channel, and [`Gate::close`] ends a wait.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Condvar, Mutex, PoisonError};

use bytes::Bytes;
use napi::Status;
use napi::bindgen_prelude::{Buffer, FnArgs, Function};
use napi::threadsafe_function::{ThreadsafeFunction, ThreadsafeFunctionCallMode};
use serde_json::{Value, json};
use zraft_protocol::{Payload, SessionId};
use zraft_test_server::{
    AppSnapshot, Application, Capabilities, Command, Context, QueryContext, Rejected, RestoreError,
    SessionEnd, SnapshotInput,
};

use crate::channel::lock;

/// The function of JavaScript that runs a call: it takes a description in JSON and the payload.
pub(crate) type Run =
    ThreadsafeFunction<(String, Buffer), (), FnArgs<(String, Buffer)>, Status, false, true, 0>;

/// Makes the function callable from the cluster's thread.
///
/// # Errors
/// If Node cannot make a threadsafe function.
pub(crate) fn runner(run: &Function<'_, FnArgs<(String, Buffer)>, ()>) -> napi::Result<Run> {
    run.build_threadsafe_function::<(String, Buffer)>()
        .weak::<true>()
        .build_callback(|context| Ok(context.value.into()))
}

/// How a call of a function ended.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// It returned this answer and made these server requests.
    Returned { answer: Payload, pushes: Vec<(SessionId, Payload)> },
    /// It cannot decode the payload.
    Rejected,
    /// It threw, or broke a rule. JavaScript has the error, and the application is not called again.
    Failed,
}

impl Outcome {
    /// Reads an outcome from its description and its payloads: the answer, and the payload of each server request.
    ///
    /// # Errors
    /// If a payload or the id of a session is longer than the protocol allows.
    pub(crate) fn parse(description: &str, payloads: Vec<Buffer>) -> Result<Self, String> {
        let description: Value = serde_json::from_str(description).unwrap_or_default();
        match description["outcome"].as_str() {
            Some("returned") => {}
            Some("rejected") => return Ok(Self::Rejected),
            _ => return Ok(Self::Failed),
        }
        let mut payloads = payloads.into_iter().map(|payload| {
            Payload::new(Bytes::from(payload.to_vec())).map_err(|error| error.to_string())
        });
        let answer = payloads.next().transpose()?.unwrap_or_default();
        let sessions = description["pushes"].as_array().map(Vec::as_slice).unwrap_or_default();
        let pushes = sessions.iter().zip(payloads).map(|(session, payload)| {
            let session = SessionId::new(session.as_str().unwrap_or_default());
            Ok((session.map_err(|error| error.to_string())?, payload?))
        });
        Ok(Self::Returned { answer, pushes: pushes.collect::<Result<_, String>>()? })
    }
}

#[derive(Debug)]
enum State {
    Open,
    Ended(Outcome),
    Closed,
}

/// Where the cluster's thread waits for the end of a call.
#[derive(Debug)]
pub(crate) struct Gate {
    state: Mutex<State>,
    changed: Condvar,
}

impl Gate {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self { state: Mutex::new(State::Open), changed: Condvar::new() })
    }

    /// Reports the end of the call that is waiting.
    pub(crate) fn end(&self, outcome: Outcome) {
        let mut state = lock(&self.state);
        if matches!(*state, State::Open) {
            *state = State::Ended(outcome);
            self.changed.notify_all();
        }
    }

    /// Ends the call that is waiting, and all later ones, as failed: the event loop will run no function any more.
    pub(crate) fn close(&self) {
        *lock(&self.state) = State::Closed;
        self.changed.notify_all();
    }

    /// Waits for the end of the call that `begin` begins. `begin` returns false if it cannot.
    fn call(&self, begin: impl FnOnce() -> bool) -> Outcome {
        {
            let mut state = lock(&self.state);
            if matches!(*state, State::Closed) {
                return Outcome::Failed;
            }
            // What is left of a call that failed to begin does not answer this one.
            *state = State::Open;
        }
        if !begin() {
            return Outcome::Failed;
        }
        let open = |state: &mut State| matches!(state, State::Open);
        let state = lock(&self.state);
        let waited = self.changed.wait_while(state, open);
        let mut state = waited.unwrap_or_else(PoisonError::into_inner);
        match std::mem::replace(&mut *state, State::Open) {
            State::Ended(outcome) => outcome,
            State::Open | State::Closed => {
                *state = State::Closed;
                Outcome::Failed
            }
        }
    }
}

/// An application that runs the functions of JavaScript. All members share it, as they share their state, so nothing is
/// restored when another member leads.
pub(crate) struct JavaScript {
    run: Run,
    gate: Arc<Gate>,
    hooks: bool,
    /// The state is unknown after a failure, so the functions are not called again.
    failed: AtomicBool,
}

impl JavaScript {
    /// `hooks` says if the application has functions for the begin or the end of sessions.
    pub(crate) fn new(run: Run, gate: Arc<Gate>, hooks: bool) -> Self {
        Self { run, gate, hooks, failed: false.into() }
    }

    fn call(&self, description: &Value, payload: &[u8]) -> Outcome {
        if self.failed.load(Relaxed) {
            return Outcome::Failed;
        }
        let outcome = self.gate.call(|| {
            let arguments = (description.to_string(), Buffer::from(payload));
            self.run.call(arguments, ThreadsafeFunctionCallMode::NonBlocking) == Status::Ok
        });
        self.failed.store(matches!(outcome, Outcome::Failed), Relaxed);
        outcome
    }

    fn change(
        &self,
        context: &mut Context<'_>,
        mut description: Value,
        payload: &[u8],
    ) -> Result<Payload, Rejected> {
        description["time"] = json!(context.time().as_millis());
        description["seed"] =
            json!((0..4).map(|_| context.random().next_u64() as u32).collect::<Vec<_>>());
        match self.call(&description, payload) {
            Outcome::Returned { answer, pushes } => {
                for (session, payload) in pushes {
                    // The session may have ended. One that holds too many requests is reported by the cluster.
                    let _ = context.push(&session, payload);
                }
                Ok(answer)
            }
            Outcome::Rejected => Err(refused()),
            Outcome::Failed => Err(failed()),
        }
    }
}

fn refused() -> Rejected {
    Rejected::without_answer().because("the application refused the payload")
}

fn failed() -> Rejected {
    Rejected::without_answer().because("the application failed")
}

impl Application for JavaScript {
    fn apply(
        &mut self,
        context: &mut Context<'_>,
        command: Command<'_>,
    ) -> Result<Payload, Rejected> {
        let description = json!({
            "function": "apply",
            "sessionId": command.session().as_str(),
            "requestId": command.request_id().get().to_string(),
        });
        self.change(context, description, command.payload())
    }

    fn query(&self, context: &QueryContext<'_>, query: &Payload) -> Result<Payload, Rejected> {
        let description = json!({
            "function": "query",
            "sessionId": context.session().as_str(),
            "time": context.time().as_millis(),
        });
        match self.call(&description, query) {
            Outcome::Returned { answer, .. } => Ok(answer),
            Outcome::Rejected => Err(refused()),
            Outcome::Failed => Err(failed()),
        }
    }

    fn session_created(
        &mut self,
        context: &mut Context<'_>,
        session: &SessionId,
        capabilities: &Capabilities,
    ) -> Result<(), Rejected> {
        if !self.hooks {
            return Ok(());
        }
        let description = json!({
            "function": "sessionCreated",
            "sessionId": session.as_str(),
            "capabilities": capabilities.iter().collect::<Vec<_>>(),
        });
        self.change(context, description, &[]).map(|_| ())
    }

    fn session_ended(&mut self, context: &mut Context<'_>, session: &SessionId, _: SessionEnd) {
        if self.hooks {
            let description = json!({ "function": "sessionEnded", "sessionId": session.as_str() });
            // A session that has ended cannot be refused.
            let _ = self.change(context, description, &[]);
        }
    }

    fn snapshot(&self) -> AppSnapshot {
        // The embedded cluster takes no snapshots.
        AppSnapshot::new(|_| Ok(()))
    }

    fn restore(input: &mut SnapshotInput<'_>) -> Result<Self, RestoreError> {
        let _ = input;
        Err(RestoreError::invalid("an application in JavaScript has no snapshots"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_ends_with_the_outcome_that_is_reported_for_it() {
        let gate = Gate::new();
        let reporter = gate.clone();
        let outcome = gate.call(move || {
            std::thread::spawn(move || reporter.end(Outcome::Rejected));
            true
        });
        assert!(matches!(outcome, Outcome::Rejected));
    }

    #[test]
    fn a_call_that_waits_when_the_gate_closes_fails_and_so_do_later_ones() {
        let gate = Gate::new();
        let closer = gate.clone();
        let outcome = gate.call(move || {
            std::thread::spawn(move || closer.close());
            true
        });
        assert!(matches!(outcome, Outcome::Failed));
        assert!(matches!(gate.call(|| unreachable!("the gate is closed")), Outcome::Failed));
    }

    #[test]
    fn a_call_that_cannot_begin_fails_and_does_not_wait() {
        assert!(matches!(Gate::new().call(|| false), Outcome::Failed));
    }

    #[test]
    fn an_outcome_that_cannot_be_read_is_a_failure() {
        assert!(matches!(Outcome::parse("{", Vec::new()), Ok(Outcome::Failed)));
        assert!(matches!(
            Outcome::parse(r#"{"outcome":"other"}"#, Vec::new()),
            Ok(Outcome::Failed)
        ));
    }
}
