//! The application of the models. It shows which commands ran, and in which order.

use bytes::Bytes;
use zraft_session::{
    AppSnapshot, Application, Command, Context, Payload, QueryContext, Rejected, RestoreError,
    SnapshotInput,
};

/// The commands that ran, in order. A command is one byte, and its answer is its place; a query returns all of them.
#[derive(Debug, Default)]
pub(crate) struct Journal(pub(crate) Vec<u8>);

pub(crate) fn payload(bytes: Vec<u8>) -> Payload {
    Payload::new(Bytes::from(bytes)).unwrap_or_default()
}

impl Application for Journal {
    fn apply(&mut self, _: &mut Context<'_>, command: Command<'_>) -> Result<Payload, Rejected> {
        let place = self.0.len() as u8;
        self.0.extend(command.payload().first());
        Ok(payload(vec![place]))
    }

    fn query(&self, _: &QueryContext<'_>, _: &Payload) -> Result<Payload, Rejected> {
        Ok(payload(self.0.clone()))
    }

    fn snapshot(&self) -> AppSnapshot {
        let lines = self.0.clone();
        AppSnapshot::new(move |output| output.write_bytes(&lines))
    }

    fn restore(input: &mut SnapshotInput<'_>) -> Result<Self, RestoreError> {
        Ok(Self(input.read_payload()?.to_vec()))
    }
}
