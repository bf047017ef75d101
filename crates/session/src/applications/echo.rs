use crate::{
    AppSnapshot, Application, Command, Context, Payload, QueryContext, Rejected, RestoreError,
    SnapshotInput,
};

/// Answers every command and every query with its own payload, and keeps nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Echo;

impl Application for Echo {
    fn apply(
        &mut self,
        _context: &mut Context<'_>,
        command: Command<'_>,
    ) -> Result<Payload, Rejected> {
        Ok(command.payload().clone())
    }

    fn query(&self, _context: &QueryContext<'_>, query: &Payload) -> Result<Payload, Rejected> {
        Ok(query.clone())
    }

    fn snapshot(&self) -> AppSnapshot {
        AppSnapshot::new(|_| Ok(()))
    }

    fn restore(_input: &mut SnapshotInput<'_>) -> Result<Self, RestoreError> {
        Ok(Self)
    }
}
