//! An application that does what its commands say, to test the machine around it.

use std::time::Duration;

use zraft_session::{
    AppSnapshot, Application, Capabilities, Command, Context, Payload, PushError, QueryContext,
    Rejected, RestoreError, SessionEnd, SessionId, SnapshotInput, Time,
};

use crate::support::{payload, session};

/// A command is a list of steps, separated by semicolons; the answer is what they say, in the same form.
///
/// `push S T`, `try S T`, `end S`, `random`, `time`, `index`, `level`, `has S`, `count S`, `echo T`, `repeat N`
/// (N letters), `tick MS`, `reject`, `refuse T`, `onend STEPS` (with `,` for `;`): what to do when a session ends.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Probe {
    pub(crate) notes: Vec<String>,
    pub(crate) next_tick: Option<Time>,
    pub(crate) on_end: String,
}

/// The highest level that the probe supports.
pub(crate) const LEVEL: u32 = 3;

impl Probe {
    fn step(&mut self, context: &mut Context<'_>, step: &str) -> String {
        let (word, rest) = step.split_once(' ').unwrap_or((step, ""));
        let (name, text) = rest.split_once(' ').unwrap_or((rest, ""));
        let push = |result: Result<zraft_session::RequestId, PushError>| match result {
            Ok(id) => id.to_string(),
            Err(error) => format!("{error:?}"),
        };
        match word {
            "push" => push(context.push(&session(name), payload(text))),
            "try" => push(context.try_push(&session(name), payload(text))),
            "end" => context.end_session(&session(name)).to_string(),
            "random" => context.random().next_u64().to_string(),
            "time" => context.time().as_millis().to_string(),
            "index" => context.index().to_string(),
            "level" => context.level().to_string(),
            "repeat" => expand(step),
            "count" => format!("{:?}", context.unacknowledged(&session(name))),
            "has" => context.has_session(&session(name)).to_string(),
            "tick" => {
                self.next_tick =
                    Some(context.time() + Duration::from_millis(rest.parse().unwrap()));
                String::new()
            }
            "onend" => {
                self.on_end = rest.replace(',', ";");
                String::new()
            }
            _ => rest.to_owned(),
        }
    }

    fn steps(&mut self, context: &mut Context<'_>, steps: &str) -> String {
        let steps = steps.split(';').filter(|step| !step.is_empty());
        let said: Vec<_> = steps.map(|step| self.step(context, step)).collect();
        said.join(";")
    }
}

/// Replaces `repeat N` by N letters.
fn expand(text: &str) -> String {
    let count = text.strip_prefix("repeat ").and_then(|count| count.parse().ok());
    count.map_or_else(|| text.to_owned(), |count| "x".repeat(count))
}

impl Application for Probe {
    fn apply(
        &mut self,
        context: &mut Context<'_>,
        command: Command<'_>,
    ) -> Result<Payload, Rejected> {
        let Ok(steps) = std::str::from_utf8(command.payload()) else {
            return Err(Rejected::without_answer());
        };
        if let Some((steps, _)) = steps.split_once("reject") {
            self.clone().steps(context, steps);
            return Err(Rejected::without_answer());
        }
        if let Some((steps, text)) = steps.split_once("refuse ") {
            self.clone().steps(context, steps);
            return Err(Rejected::with_answer(payload(expand(text))));
        }
        let said = self.steps(context, steps);
        self.notes.push(format!("{}/{}", command.session().as_str(), command.request_id()));
        Ok(payload(said))
    }

    fn query(&self, context: &QueryContext<'_>, query: &Payload) -> Result<Payload, Rejected> {
        match &query[..] {
            b"notes" => Ok(payload(self.notes.join(" "))),
            b"context" => {
                let (session, time) = (context.session().as_str(), context.time().as_millis());
                Ok(payload(format!("{session} {time} {} {}", context.index(), context.level())))
            }
            query if query.starts_with(b"repeat ") => {
                Ok(payload(expand(std::str::from_utf8(query).unwrap())))
            }
            _ => Err(Rejected::without_answer()),
        }
    }

    fn session_created(
        &mut self,
        context: &mut Context<'_>,
        session: &SessionId,
        capabilities: &Capabilities,
    ) -> Result<(), Rejected> {
        if let Some(steps) = capabilities.get("steps") {
            self.clone().steps(context, steps);
        }
        if capabilities.get("reject").is_some() {
            return Err(Rejected::without_answer());
        }
        self.notes.push(format!("+{}", session.as_str()));
        Ok(())
    }

    fn session_ended(&mut self, context: &mut Context<'_>, session: &SessionId, end: SessionEnd) {
        self.notes.push(format!("-{} {end:?}", session.as_str()));
        let steps = self.on_end.clone();
        self.steps(context, &steps);
    }

    fn next_tick(&self) -> Option<Time> {
        self.next_tick
    }

    fn tick(&mut self, context: &mut Context<'_>) {
        let random = context.random().next_u64();
        self.notes.push(format!("tick {} {random}", context.time().as_millis()));
        self.next_tick = None;
    }

    fn level(&self) -> u32 {
        LEVEL
    }

    fn snapshot(&self) -> AppSnapshot {
        let probe = self.clone();
        AppSnapshot::new(move |output| {
            output.write_time(probe.next_tick.unwrap_or_default())?;
            output.write_text(&probe.on_end)?;
            output.write_u64(probe.notes.len() as u64)?;
            probe.notes.iter().try_for_each(|note| output.write_text(note))
        })
    }

    fn restore(input: &mut SnapshotInput<'_>) -> Result<Self, RestoreError> {
        let next_tick = Some(input.read_time()?).filter(|tick| *tick > Time::ZERO);
        let on_end = input.read_text()?;
        let count = input.read_u64()?;
        let notes = (0..count).map(|_| input.read_text()).collect::<Result<_, _>>()?;
        Ok(Self { notes, next_tick, on_end })
    }
}
