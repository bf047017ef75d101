//! What members tell clients.

use zraft_protocol::{
    Nonce, Payload, RejectionReason, ServerMessage, SessionCloseReason, SessionId,
};
use zraft_replica::ConnectionId;

use super::{At, ClusterJudge, clients::Handshake, rules::Rule};

impl ClusterJudge {
    /// A member sends a message to a client. The answer to a query begins with the number of commands that the application
    /// had executed without rejecting them, as 8 bytes big-endian.
    pub(crate) fn told_client(
        &mut self,
        at: At,
        member: usize,
        connection: ConnectionId,
        message: &ServerMessage,
    ) {
        self.pass(at, member);
        let open = self.members.get(member);
        if !open.is_some_and(|state| state.connections.contains_key(&connection)) {
            return;
        }
        match message {
            ServerMessage::SessionCreated { session_id, nonce } => {
                self.may_answer(at, member, true);
                self.session_created(at, member, connection, session_id, *nonce);
            }
            ServerMessage::SessionContinued { nonce } => {
                self.may_answer(at, member, false);
                self.session_continued(at, member, connection, *nonce);
            }
            ServerMessage::SessionRejected { reason, nonce, .. } => {
                self.session_rejected(at, member, connection, *reason, *nonce);
            }
            ServerMessage::SessionClosed { reason, .. } => {
                self.session_closed(at, member, connection, *reason);
            }
            ServerMessage::KeepAliveResponse { .. } => {
                self.may_answer(at, member, false);
                let _ = self.bound(member, connection, "a KeepAlive");
            }
            ServerMessage::ClientResponse { request_id, result } => {
                self.may_answer(at, member, true);
                self.answer(member, connection, request_id.get(), Some(result));
            }
            ServerMessage::RequestError { request_id, .. } => {
                self.may_answer(at, member, true);
                self.answer(member, connection, request_id.get(), None);
            }
            ServerMessage::ServerRequest { request_id, payload, .. } => {
                self.may_answer(at, member, true);
                self.server_request(member, connection, request_id.get(), payload);
            }
            ServerMessage::QueryResponse { correlation_id, result } => {
                // Its own round proves it, even one that began before the member stood still.
                self.may_answer(at, member, true);
                self.told_query(member, connection, correlation_id, result);
            }
        }
    }

    /// Returns the session that a connection is bound to. Nothing else is answered on it.
    fn bound(&mut self, member: usize, connection: ConnectionId, what: &str) -> Option<SessionId> {
        let place = self.members[member].connections.get(&connection)?;
        let session = place.session.clone();
        let name = self.name(member);
        self.verdict.demand(session.is_some(), Rule::SessionsConfirmed, || {
            format!("{name} answers {what} on a connection without a session")
        });
        session
    }

    /// Returns the handshake that a message answers.
    fn handshake(
        &mut self,
        member: usize,
        connection: ConnectionId,
        nonce: Nonce,
    ) -> Option<Handshake> {
        let name = self.name(member);
        let place = self.members[member].connections.get_mut(&connection)?;
        let handshake = place.take_handshake(nonce);
        self.verdict.demand(handshake.is_some(), Rule::SessionsConfirmed, || {
            format!("{name} answers a session message that was not sent")
        });
        handshake
    }

    fn session_created(
        &mut self,
        at: At,
        member: usize,
        connection: ConnectionId,
        id: &SessionId,
        nonce: Nonce,
    ) {
        let name = self.name(member);
        let Some(handshake) = self.handshake(member, connection, nonce) else { return };
        let known = self.members[member].standing.known;
        let session = self.ledger.sessions.get_mut(id);
        let lives = session.as_ref().is_some_and(|session| session.lives_at(known));
        let told = session.map(|session| std::mem::replace(&mut session.told, true));
        let first = handshake.wants.is_none() && told == Some(false);
        self.verdict.demand(lives && first, Rule::SessionsConfirmed, || {
            format!("{name} says that a session was created: lives {lives}, told before {told:?}")
        });
        self.bind(at, member, connection, id);
    }

    fn session_continued(&mut self, at: At, member: usize, connection: ConnectionId, nonce: Nonce) {
        let name = self.name(member);
        let Some(handshake) = self.handshake(member, connection, nonce) else { return };
        let known = self.members[member].standing.known;
        let wanted = handshake.wants.as_ref().and_then(|id| self.ledger.sessions.get(id));
        let lives = wanted.is_some_and(|session| session.lives_at(known));
        self.verdict.demand(lives, Rule::SessionsConfirmed, || {
            format!("{name} continues a session that is {wanted:?}")
        });
        if let Some(id) = handshake.wants {
            self.bind(at, member, connection, &id);
        }
    }

    fn bind(&mut self, at: At, member: usize, connection: ConnectionId, id: &SessionId) {
        let state = &mut self.members[member];
        for place in state.connections.values_mut() {
            if place.session.as_ref() == Some(id) {
                place.session = None;
            }
        }
        let acknowledged = self.ledger.sessions.get(id).map_or(0, |session| session.acknowledged);
        if let Some(place) = state.connections.get_mut(&connection) {
            place.session = Some(id.clone());
            (place.bound, place.bound_at) = (at.now, state.standing.known);
            place.sent = acknowledged;
            place.commands.clear();
            place.queries.clear();
        }
        self.hear(member, id);
    }

    fn session_rejected(
        &mut self,
        at: At,
        member: usize,
        connection: ConnectionId,
        reason: RejectionReason,
        nonce: Nonce,
    ) {
        let handshake = self.handshake(member, connection, nonce);
        if reason == RejectionReason::NotLeader {
            return;
        }
        let Some(handshake) = handshake else { return };
        let session = handshake.wants.as_ref().and_then(|id| self.ledger.sessions.get(id));
        let (known, ended) = (session.is_some(), session.and_then(|session| session.ended));
        let lives = known && ended.is_none();
        let unknown = ended.map_or(!known, |ended| ended.index <= handshake.known);
        if unknown && reason == RejectionReason::SessionExpired {
            let proven = self.is_proven(member, handshake.clock);
            let name = self.name(member);
            self.verdict.demand(proven, Rule::ReadsProven, || {
                format!("{name} rejects a session that it did not know: {handshake:?}, {ended:?}")
            });
        }
        // The handshake's own round proves that the session is unknown, even one that began before the member stood still.
        self.may_answer(at, member, true);
        let name = self.name(member);
        self.verdict.demand(!lives, Rule::ExpiryCommitted, || {
            format!("{name} rejects a living session as {reason:?}")
        });
    }

    fn session_closed(
        &mut self,
        at: At,
        member: usize,
        connection: ConnectionId,
        reason: SessionCloseReason,
    ) {
        let ends = matches!(
            reason,
            SessionCloseReason::Shutdown
                | SessionCloseReason::SessionError
                | SessionCloseReason::ConnectionClosed
        );
        let name = self.name(member);
        self.verdict.demand(!ends, Rule::NoEnd, || format!("{name} sends {reason:?}"));
        if reason != SessionCloseReason::SessionExpired {
            return;
        }
        self.may_answer(at, member, true);
        let Some(id) = self.bound(member, connection, "an expiry") else { return };
        let known = self.members[member].standing.known;
        let ended = self.ledger.sessions.get(&id).and_then(|session| session.ended);
        let committed = ended.is_some_and(|ended| ended.index <= known);
        self.verdict.demand(committed, Rule::ExpiryCommitted, || {
            format!("{name} knows entry {known} and calls a session expired that ended {ended:?}")
        });
    }

    /// A command is answered, or called unknown.
    fn answer(
        &mut self,
        member: usize,
        connection: ConnectionId,
        request: u64,
        result: Option<&Payload>,
    ) {
        let Some(id) = self.bound(member, connection, "a command") else { return };
        let name = self.name(member);
        let state = &mut self.members[member];
        let known = state.standing.known;
        if let Some(place) = state.connections.get_mut(&connection) {
            place.commands.remove(&request);
        }
        let Some(session) = self.ledger.sessions.get_mut(&id) else { return };
        let lowest = session.lowest;
        let outcome = session.outcomes.get_mut(&request);
        let mut outcome = outcome.filter(|outcome| outcome.index <= known);
        if let Some(outcome) = &mut outcome {
            outcome.told = true;
        }
        let Some(result) = result else {
            let gone = request < lowest || outcome.is_some_and(|outcome| outcome.answer.is_none());
            self.verdict.demand(gone, Rule::UnknownOnly, || {
                format!("{name} calls command {request} unknown; the lowest pending id is {lowest}")
            });
            return;
        };
        let right = outcome.as_ref().is_some_and(|outcome| outcome.answer.as_ref() == Some(result));
        self.verdict.demand(right, Rule::AnswersCommitted, || {
            format!("{name} knows entry {known} and answers command {request}: {outcome:?}")
        });
        if let Some(outcome) = outcome {
            let length = outcome.position.map_or(0, |position| position + 1);
            let index = outcome.index;
            self.ledger.told_length = self.ledger.told_length.max(length);
            self.passes_queries(member, connection, index);
        }
    }

    fn server_request(
        &mut self,
        member: usize,
        connection: ConnectionId,
        request: u64,
        payload: &Payload,
    ) {
        let Some(id) = self.bound(member, connection, "a server request") else { return };
        let name = self.name(member);
        let state = &mut self.members[member];
        let known = state.standing.known;
        let Some(place) = state.connections.get_mut(&connection) else { return };
        let Some(session) = self.ledger.sessions.get_mut(&id) else { return };
        let made = session.push(request);
        // An acknowledged one may come again from a leader that has not applied the acknowledgement.
        let right = match made {
            Some(push) => push.payload == *payload && push.index <= known,
            None => request >= 1 && request <= session.acknowledged,
        };
        let in_order = request <= place.sent + 1;
        self.verdict.demand(right && in_order, Rule::RequestsInOrder, || {
            format!("{name} sends request {request} after {}: {made:?}", place.sent)
        });
        if let Some(push) = made
            && let Some(by) = push.by
            && push.index > place.bound_at
        {
            let told = session.outcomes.get(&by).is_none_or(|outcome| outcome.told);
            self.verdict.demand(told, Rule::AnswerFirst, || {
                format!("{name} sends request {request} before the answer to command {by}")
            });
        }
        place.sent = place.sent.max(request);
        session.sent = session.sent.max(request);
    }
}
