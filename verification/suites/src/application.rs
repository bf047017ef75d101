//! The application around the application of a test: it notes what is executed, and takes commands of the cluster's own
//! session.

use std::sync::Arc;

use zraft_protocol::{Payload, SessionId};
use zraft_session::{
    AppSnapshot, Application, Capabilities, Command, Context, QueryContext, Rejected, RestoreError,
    SessionEnd, SnapshotInput, Time,
};

use crate::record::{Record, Step};

/// The capability of the cluster's own sessions.
pub(crate) const OWN: &str = "zraft-suites";

/// What the cluster's own session asks for.
#[derive(Clone, Debug)]
pub(crate) enum Order {
    /// Make a server request of a session.
    Push(SessionId, Payload),
    /// End a session.
    End(SessionId),
}

impl Order {
    /// The order's letter, the length of the session's id, the id, the payload.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let (letter, session, payload) = match self {
            Self::Push(session, payload) => (b'p', session, &payload[..]),
            Self::End(session) => (b'e', session, &[][..]),
        };
        let id = session.as_str().as_bytes();
        let mut bytes = vec![letter];
        bytes.extend_from_slice(&(id.len() as u64).to_be_bytes());
        bytes.extend_from_slice(id);
        bytes.extend_from_slice(payload);
        bytes
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let (letter, rest) = bytes.split_first()?;
        let (length, rest) = rest.split_first_chunk::<8>()?;
        let length = usize::try_from(u64::from_be_bytes(*length)).ok()?;
        let (id, payload) = rest.split_at_checked(length)?;
        let session = SessionId::new(std::str::from_utf8(id).ok()?).ok()?;
        match letter {
            b'p' => Some(Self::Push(session, Payload::new(payload.to_vec()).ok()?)),
            b'e' => Some(Self::End(session)),
            _ => None,
        }
    }
}

/// An application that notes what it executes.
pub(crate) struct Recorded {
    record: Arc<Record>,
    /// The number of steps so far.
    steps: u64,
    /// The sessions of the test's clients, oldest first.
    sessions: Vec<SessionId>,
    /// The sessions of the cluster itself.
    own: Vec<SessionId>,
    inner: Box<dyn Application>,
}

impl Recorded {
    pub(crate) fn new(record: Arc<Record>, inner: Box<dyn Application>) -> Self {
        Self { record, steps: 0, sessions: Vec::new(), own: Vec::new(), inner }
    }

    fn note(&mut self, step: Step, payload: Option<&Payload>) {
        let number = usize::try_from(self.steps).unwrap_or(usize::MAX);
        self.steps += 1;
        self.record.note(number, step, payload);
    }
}

impl Application for Recorded {
    fn apply(
        &mut self,
        context: &mut Context<'_>,
        command: Command<'_>,
    ) -> Result<Payload, Rejected> {
        if self.own.contains(command.session()) {
            return match Order::decode(command.payload()) {
                Some(Order::Push(session, payload)) => {
                    let pushed = context.try_push(&session, payload);
                    let id = pushed.map_err(|error| refusal(&error.to_string()))?;
                    Ok(text(id.get()))
                }
                Some(Order::End(session)) if context.end_session(&session) => Ok(text("ended")),
                Some(Order::End(_)) => Err(refusal("the session does not exist")),
                None => Err(refusal("not an order")),
            };
        }
        let answer = self.inner.apply(context, command)?;
        let step = Step::Executed(command.session().clone(), command.request_id());
        self.note(step, Some(command.payload()));
        Ok(answer)
    }

    /// The cluster's own session asks for the sessions and their unacknowledged server requests.
    fn query(&self, context: &QueryContext<'_>, query: &Payload) -> Result<Payload, Rejected> {
        if !self.own.contains(context.session()) {
            return self.inner.query(context, query);
        }
        let counts = self.sessions.iter().map(|session| {
            let count = context.unacknowledged(session).unwrap_or_default();
            serde_json::json!([session.as_str(), count])
        });
        Ok(text(counts.collect::<serde_json::Value>()))
    }

    fn session_created(
        &mut self,
        context: &mut Context<'_>,
        session: &SessionId,
        capabilities: &Capabilities,
    ) -> Result<(), Rejected> {
        if capabilities.get(OWN).is_some() {
            self.own.push(session.clone());
            return Ok(());
        }
        self.inner.session_created(context, session, capabilities)?;
        self.sessions.push(session.clone());
        self.note(Step::Created(session.clone()), None);
        Ok(())
    }

    fn session_ended(&mut self, context: &mut Context<'_>, session: &SessionId, end: SessionEnd) {
        if self.own.contains(session) {
            self.own.retain(|each| each != session);
            return;
        }
        self.inner.session_ended(context, session, end);
        self.sessions.retain(|each| each != session);
        self.note(Step::Ended(session.clone()), None);
    }

    fn next_tick(&self) -> Option<Time> {
        self.inner.next_tick()
    }

    fn tick(&mut self, context: &mut Context<'_>) {
        self.inner.tick(context);
    }

    fn level(&self) -> u32 {
        self.inner.level()
    }

    fn snapshot(&self) -> AppSnapshot {
        let (number, steps) = (self.record.number, self.steps);
        let lists = [self.sessions.clone(), self.own.clone()];
        let inner = self.inner.snapshot();
        AppSnapshot::new(move |output| {
            output.write_u64(number)?;
            output.write_u64(steps)?;
            for list in lists {
                output.write_u64(list.len() as u64)?;
                list.iter().try_for_each(|session| output.write_session_id(session))?;
            }
            inner.write(output)
        })
    }

    fn restore(input: &mut SnapshotInput<'_>) -> Result<Self, RestoreError> {
        let record = Record::of(input.read_u64()?)
            .ok_or_else(|| RestoreError::invalid("the cluster of this snapshot has ended"))?;
        let steps = input.read_u64()?;
        let sessions = read_list(input)?;
        let own = read_list(input)?;
        let inner = (record.restore)(input)?;
        Ok(Self { record, steps, sessions, own, inner })
    }
}

fn read_list(input: &mut SnapshotInput<'_>) -> Result<Vec<SessionId>, RestoreError> {
    let count = input.read_u64()?;
    (0..count).map(|_| input.read_session_id()).collect()
}

fn text(text: impl ToString) -> Payload {
    Payload::new(text.to_string()).unwrap_or_default()
}

fn refusal(reason: &str) -> Rejected {
    Rejected::with_answer(text(format!("refused: {reason}")))
}
