//! A leader that stood still: what clients sent meanwhile was not read, and another member may lead by now. It answers
//! nothing until a round of heartbeats shows that it still leads, and then takes what came meanwhile.

use std::{collections::VecDeque, time::Duration};

use zraft_protocol::ClientMessage;

use super::{ConnectionId, Replica, STALL};
use crate::ReadRound;

#[derive(Debug, Default)]
pub(super) struct Suspension {
    round: Option<ReadRound>,
    pub(super) deferred: VecDeque<Deferred>,
}

#[derive(Debug)]
pub(super) struct Deferred {
    pub(super) connection: ConnectionId,
    pub(super) message: ClientMessage,
    /// When it came.
    pub(super) since: Duration,
}

impl Replica {
    /// Keeps a leader that stood still from deciding by what it knew before.
    pub(super) fn notice_stall(&mut self, stood_still: Duration) {
        let timeout = self.applying.view.settings.session_timeout();
        let Some(lead) = self.lead.as_mut().filter(|lead| lead.is_serving()) else { return };
        if stood_still >= STALL {
            // What clients sent meanwhile was not read yet.
            for session in lead.sessions.values_mut() {
                session.deadline = self.now.monotonic + timeout;
            }
        }
        if stood_still > self.config.timing.election_min {
            lead.suspended.get_or_insert_default().round = None;
        }
    }

    pub(super) fn is_suspended(&self) -> bool {
        self.lead.as_ref().is_some_and(|lead| lead.suspended.is_some())
    }

    pub(super) fn defer(
        &mut self,
        connection: ConnectionId,
        message: ClientMessage,
        since: Duration,
    ) {
        let Some(suspended) = self.lead.as_mut().and_then(|lead| lead.suspended.as_mut()) else {
            return;
        };
        let size = size(&message);
        if suspended.deferred.len() < self.config.limits.held {
            suspended.deferred.push_back(Deferred { connection, message, since });
            self.hold_request(connection, size);
        } else {
            self.close(connection);
        }
    }

    /// Returns true if a suspended leader needs a round that has not begun.
    pub(super) fn needs_proof(&self) -> bool {
        let suspended = self.lead.as_ref().and_then(|lead| lead.suspended.as_ref());
        suspended.is_some_and(|suspended| suspended.round.is_none())
    }

    pub(super) fn proof_begun(&mut self, round: ReadRound) {
        if let Some(suspended) = self.lead.as_mut().and_then(|lead| lead.suspended.as_mut()) {
            suspended.round.get_or_insert(round);
        }
    }

    pub(super) fn proof_done(&mut self, round: ReadRound) {
        let Some(lead) = self.lead.as_mut() else { return };
        if let Some(suspended) = lead.suspended.take_if(|suspended| suspended.round == Some(round))
        {
            for each in suspended.deferred {
                self.take_deferred(each);
            }
        }
    }

    pub(super) fn take_deferred(&mut self, deferred: Deferred) {
        let Deferred { connection, message, since } = deferred;
        self.release_request(connection, size(&message));
        self.take_client_message(connection, message, since);
    }
}

/// Returns the bytes that the client chose.
fn size(message: &ClientMessage) -> usize {
    match message {
        ClientMessage::ClientRequest { payload, .. } | ClientMessage::Query { payload, .. } => {
            payload.len()
        }
        ClientMessage::CreateSession { capabilities, .. } => {
            capabilities.iter().map(|(name, value)| name.len() + value.len()).sum()
        }
        _ => 0,
    }
}
