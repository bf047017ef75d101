//! An application whose state shows what ran and in which order.

use std::time::Duration;

use zraft_session::{
    AppSnapshot, Application, Capabilities, Command, Context, Payload, QueryContext, Rejected,
    RestoreError, SessionId, SnapshotInput, Time,
};

/// Understands text: `push N` makes N server requests of the sender, `reject` is rejected, `every MS` asks for ticks,
/// and everything else is appended to a list. A query returns the list.
#[derive(Debug, Default)]
pub(crate) struct Journal {
    pub(crate) lines: Vec<String>,
    every: Option<u64>,
    next: Option<Time>,
    pub(crate) ticks: u64,
}

pub(crate) fn payload(text: impl Into<String>) -> Payload {
    Payload::new(text.into()).expect("short")
}

fn text(payload: &Payload) -> String {
    String::from_utf8_lossy(payload).into_owned()
}

impl Application for Journal {
    fn apply(
        &mut self,
        context: &mut Context<'_>,
        command: Command<'_>,
    ) -> Result<Payload, Rejected> {
        let line = text(command.payload());
        let number = |word: &str| word.parse::<u64>().unwrap_or(0);
        match line.split_once(' ') {
            _ if line == "reject" => return Err(Rejected::without_answer()),
            Some(("push", count)) => {
                for at in 1..=number(count) {
                    let _ = context.push(command.session(), payload(format!("{at}")));
                }
            }
            Some(("every", millis)) => {
                self.every = Some(number(millis));
                self.next = Some(context.time() + Duration::from_millis(number(millis)));
            }
            _ => {}
        }
        self.lines.push(line);
        Ok(payload(format!("{}", self.lines.len())))
    }

    fn query(&self, _: &QueryContext<'_>, _: &Payload) -> Result<Payload, Rejected> {
        Ok(payload(self.lines.join(",")))
    }

    fn session_created(
        &mut self,
        _: &mut Context<'_>,
        _: &SessionId,
        capabilities: &Capabilities,
    ) -> Result<(), Rejected> {
        assert_eq!(capabilities.get("token"), None, "a secret reached the log");
        match capabilities.get("refuse") {
            Some(_) => Err(Rejected::without_answer()),
            None => Ok(()),
        }
    }

    fn next_tick(&self) -> Option<Time> {
        self.next
    }

    fn tick(&mut self, context: &mut Context<'_>) {
        self.ticks += 1;
        self.next = self.every.map(|every| context.time() + Duration::from_millis(every));
    }

    fn level(&self) -> u32 {
        1
    }

    fn snapshot(&self) -> AppSnapshot {
        let (lines, every, next, ticks) =
            (self.lines.join("\n"), self.every, self.next, self.ticks);
        AppSnapshot::new(move |output| {
            output.write_bytes(lines.as_bytes())?;
            output.write_u64(every.unwrap_or(0))?;
            output.write_time(next.unwrap_or(Time::ZERO))?;
            output.write_u64(ticks)
        })
    }

    fn restore(input: &mut SnapshotInput<'_>) -> Result<Self, RestoreError> {
        let lines = text(&input.read_payload()?);
        let lines = lines.lines().map(str::to_owned).collect();
        let every = Some(input.read_u64()?).filter(|every| *every > 0);
        let next = Some(input.read_time()?).filter(|next| *next > Time::ZERO);
        Ok(Self { lines, every, next, ticks: input.read_u64()? })
    }
}
