use zraft_protocol::{Payload, SessionId};
use zraft_zmtp::Instant;

use crate::application::{Application, Outcome, Rejected, payload};

/// A log to which every command appends its payload.
///
/// The answer to a command is its position, counted from 0, as 8 bytes big-endian. The answer to any query is the
/// length of the log in the same form. The cluster's [journal](crate::Journal) holds the items.
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
    fn apply(
        &mut self,
        _session: &SessionId,
        _payload: &Payload,
        _now: Instant,
    ) -> Result<Outcome, Rejected> {
        let position = self.length;
        self.length += 1;
        Ok(payload(&position.to_be_bytes())?.into())
    }

    fn query(&self, _payload: &Payload) -> Result<Payload, Rejected> {
        payload(&self.length.to_be_bytes())
    }
}
