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
    SessionEnd, SnapshotInput, Time,
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
    /// It returned.
    Returned(Returned),
    /// It cannot decode the payload.
    Rejected,
    /// It threw, or broke a rule. JavaScript has the error, and the application is not called again.
    Failed,
}

/// What a function returned, and what it did.
#[derive(Debug)]
pub(crate) struct Returned {
    answer: Payload,
    /// Server requests that it made.
    pushes: Vec<(SessionId, Payload)>,
    /// Sessions that it ended.
    ends: Vec<SessionId>,
    /// When the application next wants a tick.
    next_tick: Option<Time>,
}

/// Reads the time of a tick.
pub(crate) fn tick_time(value: &Value) -> Option<Time> {
    value.as_u64().map(Time::from_millis)
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
        let sessions = |name: &str| {
            let sessions = description[name].as_array().map(Vec::as_slice).unwrap_or_default();
            sessions.iter().map(|session| {
                let session = SessionId::new(session.as_str().unwrap_or_default());
                session.map_err(|error| error.to_string())
            })
        };
        let pushes = sessions("pushes").zip(payloads);
        Ok(Self::Returned(Returned {
            answer,
            pushes: pushes
                .map(|(session, payload)| Ok((session?, payload?)))
                .collect::<Result<_, String>>()?,
            ends: sessions("ends").collect::<Result<_, String>>()?,
            next_tick: tick_time(&description["nextTick"]),
        }))
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
    next_tick: Option<Time>,
    /// The state is unknown after a failure, so the functions are not called again.
    failed: AtomicBool,
}

impl JavaScript {
    /// `hooks` says if the application has functions for the begin or the end of sessions, and `next_tick` when it wants its first tick.
    pub(crate) fn new(run: Run, gate: Arc<Gate>, hooks: bool, next_tick: Option<Time>) -> Self {
        Self { run, gate, hooks, next_tick, failed: false.into() }
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
        &mut self,
        context: &mut Context<'_>,
        mut description: Value,
        payload: &[u8],
    ) -> Result<Payload, Rejected> {
        description["time"] = json!(context.time().as_millis());
        description["seed"] =
            json!((0..4).map(|_| context.random().next_u64() as u32).collect::<Vec<_>>());
        match self.call(&description, payload) {
            Outcome::Returned(returned) => {
                for (session, payload) in returned.pushes {
                    // The session may have ended. One that holds too many requests is reported by the cluster.
                    let _ = context.push(&session, payload);
                }
                for session in returned.ends {
                    // It may have ended before.
                    let _ = context.end_session(&session);
                }
                self.next_tick = returned.next_tick;
                Ok(returned.answer)
            }
            Outcome::Rejected => Err(refused()),
            Outcome::Failed => {
                // A tick that stayed due would run again at once.
                self.next_tick = None;
                Err(failed())
            }
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
            Outcome::Returned(returned) => Ok(returned.answer),
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

    fn session_ended(&mut self, context: &mut Context<'_>, session: &SessionId, end: SessionEnd) {
        if self.hooks {
            let end = match end {
                SessionEnd::Closed => "closed",
                SessionEnd::Expired => "expired",
                // The embedded cluster ends no session for another reason than the application's wish.
                _ => "application",
            };
            let session = session.as_str();
            let description =
                json!({ "function": "sessionEnded", "sessionId": session, "end": end });
            // A session that has ended cannot be refused.
            let _ = self.change(context, description, &[]);
        }
    }

    fn next_tick(&self) -> Option<Time> {
        self.next_tick
    }

    fn tick(&mut self, context: &mut Context<'_>) {
        // Time cannot be refused.
        let _ = self.change(context, json!({ "function": "tick" }), &[]);
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
