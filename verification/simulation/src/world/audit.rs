//! Compares the cluster's account with what the clients' callers were told.

use std::collections::HashMap;

use bytes::Bytes;
use zraft_core::RequestKind;
use zraft_test_server::{Audit, Findings};

use crate::{
    cluster::application::REJECTED,
    judge::Settled,
    world::{raw::Fate, sim::Sim, system::Execution},
};

/// A command that was submitted.
struct Submitted<'a> {
    number: u64,
    /// The session and the id under which it was sent.
    place: Option<(&'a str, u64)>,
}

impl Submitted<'_> {
    /// Returns true if this is an execution in the command's session, under its id.
    fn ran_as(&self, execution: &Execution<'_>) -> bool {
        self.place == Some((execution.session.as_str(), execution.request_id.get()))
    }
}

impl Sim {
    /// Compares the journal with what callers were told: each command was executed at most once, in its own session and under
    /// its own id, and never if its caller was told that it was not executed; each answer is that of the execution.
    pub(crate) fn check_journal(&mut self) {
        let mut audit = Audit::default();
        let mut submitted: HashMap<&Bytes, Submitted<'_>> = HashMap::new();
        for judge in self.clients.iter().map(|client| &client.judge) {
            for asked in judge.requests.iter().filter(|asked| asked.kind == RequestKind::Command) {
                let number = submitted.len() as u64;
                let place = asked.place.and_then(|(session, id)| {
                    Some((judge.session_ids.get(session - 1)?.as_str(), id))
                });
                submitted.insert(&asked.payload, Submitted { number, place });
                match &asked.settled {
                    Some(Settled::Answered(answer)) => answered(&mut audit, number, answer),
                    Some(Settled::NotExecuted) => audit.failed(number, false),
                    Some(Settled::Unknown | Settled::Failed) | None => audit.failed(number, true),
                }
                // A command whose caller no longer waited may have been answered after all.
                if let Some(answer) = asked.late_answer() {
                    answered(&mut audit, number, answer);
                }
            }
        }
        for command in self.raws.iter().flat_map(|raw| &raw.commands) {
            let number = submitted.len() as u64;
            let place = Some((command.session.as_str(), command.id));
            submitted.insert(&command.payload, Submitted { number, place });
            match &command.fate {
                Fate::Answered(answer) => answered(&mut audit, number, answer),
                Fate::Rejected => audit.failed(number, false),
                Fate::Unknown | Fate::Pending => audit.failed(number, true),
            }
        }
        let executions = self.system.executions();
        let mut foreign = 0;
        let mut stray = None;
        for execution in &executions {
            match submitted.get(execution.payload) {
                Some(command) => {
                    audit.executed(command.number, execution.position);
                    if !command.ran_as(execution) {
                        stray.get_or_insert(execution.position);
                    }
                }
                None => foreign += 1,
            }
        }
        let forgotten = self.system.forgotten();
        let Findings { lost, doubled, denied, .. } = audit.finish();
        for (count, rule) in [
            (doubled, "nothing is executed twice"),
            (denied, "not executed never appears in the journal"),
            (lost, "answered appears exactly once, with that answer"),
            (foreign, "only what was submitted is executed"),
            (forgotten, "the journal is complete"),
        ] {
            if count > 0 {
                self.violated(rule, format!("{count} times"));
            }
        }
        if let Some(position) = stray {
            self.violated("a command runs in its own session only", format!("at {position}"));
        }
    }

    /// Server requests are delivered in order, as they were pushed.
    pub(crate) fn check_notices(&mut self) {
        let mut broken = None;
        for client in &self.clients {
            for (id, delivered) in client.judge.session_ids.iter().zip(&client.judge.delivered) {
                let pushed = self.pushed_to(id);
                if !pushed.starts_with(delivered) {
                    broken = Some(format!("client {}", client.index));
                }
            }
        }
        if let Some(detail) = broken {
            self.violated("server requests are delivered as they were made", detail);
        }
    }
}

/// A command was answered. One that the application rejected did not run.
fn answered(audit: &mut Audit, number: u64, answer: &Bytes) {
    if answer[..] == *REJECTED {
        audit.failed(number, false);
    } else {
        audit.answered(number, position(answer));
    }
}

/// The position that an answer of the log gives. An answer of another form becomes a position that no log reaches.
fn position(answer: &Bytes) -> u64 {
    <[u8; 8]>::try_from(&answer[..]).map_or(u64::MAX, u64::from_be_bytes)
}
