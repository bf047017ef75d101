//! The cluster's own account against what clients were told.

use std::collections::HashMap;

use bytes::Bytes;
use zraft_core::RequestKind;

use crate::{judge::Settled, sim::Sim};

impl Sim {
    /// What was executed: once, in its own session, under its own id; never what was called not executed; and what was answered,
    /// with that answer.
    pub(crate) fn check_journal(&mut self) {
        let mut executed: HashMap<Bytes, (u64, String, u64)> = HashMap::new();
        let mut broken = None;
        for execution in self.engine.journal().iter() {
            let payload = execution.payload.as_bytes().clone();
            let place = (
                execution.position,
                execution.session.as_str().to_owned(),
                execution.request_id.get(),
            );
            if executed.insert(payload, place).is_some() {
                broken = Some(("nothing is executed twice", format!("{}", execution.position)));
            }
        }
        for client in &self.clients {
            for (number, asked) in client.judge.requests.iter().enumerate() {
                if asked.kind != RequestKind::Command {
                    continue;
                }
                let place = executed.remove(&asked.payload);
                let about = format!("client {}: request {number}", client.index);
                if let Some((_, session, id)) = &place {
                    let own = asked.place.is_some_and(|(of, own)| {
                        own == *id && client.judge.session_ids.get(of - 1) == Some(session)
                    });
                    if !own {
                        broken = Some(("a command runs in its own session only", about.clone()));
                    }
                }
                match (&asked.settled, &place) {
                    (Some(Settled::NotExecuted), Some(_)) => {
                        broken = Some(("not executed never appears in the journal", about));
                    }
                    (Some(Settled::Answered(answer)), Some((position, ..)))
                        if answer[..] == position.to_be_bytes() => {}
                    (Some(Settled::Answered(_)), _) => {
                        broken = Some(("answered appears exactly once, with that answer", about));
                    }
                    _ => {}
                }
            }
        }
        if !executed.is_empty() {
            broken = Some(("only what was submitted is executed", format!("{}", executed.len())));
        }
        if let Some((rule, detail)) = broken {
            self.violated(rule, detail);
        }
    }

    /// Server requests: delivered as they were pushed, in order.
    pub(crate) fn check_notices(&mut self) {
        let mut broken = None;
        for client in &self.clients {
            for (id, delivered) in client.judge.session_ids.iter().zip(&client.judge.delivered) {
                let pushed = self.pushed.get(id).map_or(&[][..], |pushed| &pushed[..]);
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
