//! An application that does what its commands say, to test the cluster around it.

use std::time::Duration;

use zraft_protocol::{Payload, SessionId};
use zraft_test_server::{
    AppSnapshot, Application, Capabilities, Command, Context, QueryContext, Rejected, RestoreError,
    SessionEnd, SnapshotInput, Time,
};

use crate::engine::rig::payload;

/// A command is a list of steps, separated by semicolons.
///
/// | step | effect |
/// | --- | --- |
/// | `answer TEXT` | the answer, also of a query |
/// | `reject`, `refuse TEXT` | a rejection without or with an answer, also of a query |
/// | `push TEXT` | a server request to every session that exists |
/// | `end` | ends the session |
/// | `tick MS` | a tick after this time, which pushes the replicated time to every session |
///
/// It refuses a session that has the capability `refuse`, pushes the capability `welcome` to the session that has it, and
/// tells every session why another one ended.
#[derive(Default)]
pub(crate) struct Obedient {
    sessions: Vec<SessionId>,
    next_tick: Option<Time>,
}

impl Obedient {
    fn push(&self, context: &mut Context<'_>, text: &str) {
        for session in &self.sessions {
            // A full session loses the request. The tests look at what becomes of its connection.
            let _ = context.push(session, payload(text.as_bytes()));
        }
    }
}

fn answer(text: &[u8]) -> Result<Payload, Rejected> {
    let text = std::str::from_utf8(text).expect("tests send text");
    let last = text.rsplit(';').next().unwrap_or_default();
    match last.split_once(' ') {
        _ if last == "reject" => Err(Rejected::without_answer().because("it says reject")),
        Some(("refuse", answer)) => Err(Rejected::with_answer(payload(answer.as_bytes()))),
        Some(("answer", answer)) => Ok(payload(answer.as_bytes())),
        _ => Ok(Payload::default()),
    }
}

impl Application for Obedient {
    fn apply(
        &mut self,
        context: &mut Context<'_>,
        command: Command<'_>,
    ) -> Result<Payload, Rejected> {
        let answer = answer(command.payload())?;
        let text = std::str::from_utf8(command.payload()).expect("tests send text");
        for step in text.split(';') {
            match step.split_once(' ') {
                _ if step == "end" => {
                    context.end_session(command.session());
                }
                Some(("push", text)) => self.push(context, text),
                Some(("tick", millis)) => {
                    let millis = Duration::from_millis(millis.parse().expect("a number"));
                    self.next_tick = Some(context.time() + millis);
                }
                _ => {}
            }
        }
        Ok(answer)
    }

    fn query(&self, _: &QueryContext<'_>, query: &Payload) -> Result<Payload, Rejected> {
        answer(query)
    }

    fn session_created(
        &mut self,
        context: &mut Context<'_>,
        session: &SessionId,
        capabilities: &Capabilities,
    ) -> Result<(), Rejected> {
        if capabilities.get("refuse").is_some() {
            return Err(Rejected::without_answer());
        }
        self.sessions.push(session.clone());
        if let Some(name) = capabilities.get("welcome") {
            let _ = context.push(session, payload(name.as_bytes()));
        }
        assert_eq!(capabilities.get("token"), None, "a token is a secret");
        Ok(())
    }

    fn session_ended(&mut self, context: &mut Context<'_>, session: &SessionId, end: SessionEnd) {
        self.sessions.retain(|other| other != session);
        self.push(context, &format!("{end:?}"));
    }

    fn next_tick(&self) -> Option<Time> {
        self.next_tick
    }

    fn tick(&mut self, context: &mut Context<'_>) {
        self.next_tick = None;
        self.push(context, &context.time().to_string());
    }

    fn snapshot(&self) -> AppSnapshot {
        AppSnapshot::new(|_| Ok(()))
    }

    fn restore(_: &mut SnapshotInput<'_>) -> Result<Self, RestoreError> {
        Ok(Self::default())
    }
}
