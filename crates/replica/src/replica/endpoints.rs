//! Where clients reach the members, and the answer to a client that asks for them.
//!
//! Each member says it in the handshakes with the others, so nothing of it is stored or replicated. A member that has not
//! met this process is listed without an endpoint. A client keeps what it knew of such a member.
//!
//! A client that has asked is sent each later list as well. Otherwise it could not follow a hint at a member that was added
//! since, and only the leader answers a query.

use std::collections::BTreeMap;

use zraft_protocol::{CorrelationId, Payload, ServerMessage, reserved};

use super::Replica;
use crate::{Configuration, Peer, RaftId};

/// Where clients reach the other members, as they said.
pub(super) type Endpoints = BTreeMap<RaftId, String>;

impl Replica {
    /// Takes note of what a peer said in a handshake. The newest word counts: it may have been restarted elsewhere, or as
    /// a version that does not say it.
    pub(super) fn learn_endpoint(&mut self, peer: &Peer) {
        match &peer.client_endpoint {
            // A peer that this member does not know yet may be on its way into the configuration.
            Some(endpoint)
                if self.engine.configuration().contains(peer.id)
                    || self.endpoints.len() < 2 * Configuration::MAX_MEMBERS =>
            {
                self.endpoints.insert(peer.id, endpoint.clone());
            }
            _ => _ = self.endpoints.remove(&peer.id),
        }
        self.tell_members();
    }

    /// Forgets the endpoints of removed members.
    pub(super) fn forget_endpoints(&mut self) {
        let removed = &self.engine.configuration().removed;
        self.endpoints.retain(|id, _| !removed.contains(id));
    }

    /// Sends the list of the members to the clients that have asked for it, if it differs from the one before.
    pub(super) fn tell_members(&mut self) {
        let Some(list) = self.answer_reserved(&reserved::members_question()) else { return };
        if self.listed.replace(list.clone()).as_ref() == Some(&list) || self.lead.is_none() {
            return;
        }
        let Ok(correlation_id) = CorrelationId::new(reserved::MEMBERS_CHANGED) else { return };
        for connection in self.connections.hearing_members() {
            let (correlation_id, result) = (correlation_id.clone(), list.clone());
            self.tell(connection, ServerMessage::QueryResponse { correlation_id, result });
        }
    }

    /// Returns the answer to a reserved query, as of the configuration that is in force; none if the query is the
    /// application's.
    pub(super) fn answer_reserved(&self, query: &[u8]) -> Option<Payload> {
        reserved::answer(query, || {
            let members = self.engine.configuration().members.iter();
            reserved::Members::new(members.map(|(id, info)| reserved::Member {
                id: info.name.clone(),
                endpoint: match *id == self.id {
                    true => self.config.client_endpoint.clone(),
                    false => self.endpoints.get(id).cloned(),
                },
            }))
        })
    }
}
