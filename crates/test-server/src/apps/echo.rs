use zraft_protocol::{Payload, SessionId};
use zraft_zmtp::Instant;

use crate::application::{Application, Outcome, Rejected, detached};

/// Answers every command and every query with its own payload.
#[derive(Clone, Copy, Debug, Default)]
pub struct Echo;

impl Application for Echo {
    fn apply(
        &mut self,
        _session: &SessionId,
        payload: &Payload,
        _now: Instant,
    ) -> Result<Outcome, Rejected> {
        // The answer is cached and must not keep a receive buffer alive.
        Ok(detached(payload).into())
    }

    fn query(&self, payload: &Payload) -> Result<Payload, Rejected> {
        Ok(payload.clone())
    }
}
