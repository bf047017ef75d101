//! The application that only the embedded cluster has.

use zraft_session::{
    AppSnapshot, Application, Command, Context, Payload, QueryContext, Rejected, RestoreError,
    SnapshotInput,
};

/// Counts commands, for tests that read the executed commands in the [journal](crate::Journal).
///
/// The answer to a command is its position, counted from 0, as 8 bytes big-endian. The answer to any query is the
/// number of commands in the same form. It keeps no payload, so a test can run any number of commands; use
/// `zraft_session::applications::AppendLog` to read payloads back through queries.
#[derive(Clone, Copy, Debug, Default)]
pub struct AppendLog {
    length: u64,
}

impl AppendLog {
    /// Creates an empty log.
    pub fn new() -> Self {
        Self::default()
    }
}

impl Application for AppendLog {
    fn apply(&mut self, _: &mut Context<'_>, _: Command<'_>) -> Result<Payload, Rejected> {
        let position = self.length;
        self.length += 1;
        Ok(number(position))
    }

    fn query(&self, _: &QueryContext<'_>, _: &Payload) -> Result<Payload, Rejected> {
        Ok(number(self.length))
    }

    fn snapshot(&self) -> AppSnapshot {
        let length = self.length;
        AppSnapshot::new(move |output| output.write_u64(length))
    }

    fn restore(input: &mut SnapshotInput<'_>) -> Result<Self, RestoreError> {
        Ok(Self { length: input.read_u64()? })
    }
}

fn number(number: u64) -> Payload {
    // 8 bytes always fit.
    Payload::new(number.to_be_bytes().to_vec()).unwrap_or_default()
}
