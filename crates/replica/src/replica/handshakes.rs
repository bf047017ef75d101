//! The member's part in the handshakes with its peers, and what it remembers of their disks.
//!
//! A shell that opens connections between members runs them through these methods, in this order:
//!
//! | dialer | acceptor |
//! | --- | --- |
//! | [`dial`](Replica::dial), send | |
//! | | [`accept`](Replica::accept), send |
//! | [`confirm`](Replica::confirm), send: messages may follow at once | |
//! | | [`complete`](Replica::complete): the dialer's messages may be read |
//!
//! After an error the shell sends its [`reply`](HandshakeError::reply), if there is one, and closes the connection.

use bytes::Bytes;

use super::Replica;
use crate::{
    Accepting, ConnectionKind, Dialing, HandshakeError, Introduction, Now, Peer, PeerMessage,
    RaftId, Refusal, Role, StopReason, VoteKind, peer::Standpoint,
};

impl Replica {
    fn standpoint<'a>(&'a self, introduction: &'a Introduction) -> Standpoint<'a> {
        Standpoint {
            id: self.id,
            introduction,
            feature_level: self.config.feature_level,
            durable: self.engine.durable(),
            client_endpoint: self.config.client_endpoint.as_deref(),
            configuration: self.engine.configuration(),
            configured: self.applying.handed(),
            matches: &self.matches,
        }
    }

    /// Begins a handshake with a member. Returns the first message.
    #[must_use]
    pub fn dial(
        &self,
        introduction: &Introduction,
        peer: RaftId,
        kind: ConnectionKind,
    ) -> (Dialing, Bytes) {
        self.standpoint(introduction).dial(peer, kind)
    }

    /// Answers the first message of a member that has dialled this one. Returns the second message.
    ///
    /// # Errors
    /// [`HandshakeError`]. If this member's own directory turns out to be rolled back, it also stops.
    pub fn accept(
        &mut self,
        now: Now,
        introduction: &Introduction,
        hello: &Bytes,
    ) -> Result<(Accepting, Bytes), HandshakeError> {
        let answer = self.standpoint(introduction).accept(hello);
        self.stop_if_refused(now, None, answer)
    }

    /// Answers the second message. Returns the peer and the third message, which completes the handshake.
    ///
    /// # Errors
    /// [`HandshakeError`]. If the peer refuses this member permanently, or this member's own directory turns out to be
    /// rolled back, it also stops.
    pub fn confirm(
        &mut self,
        now: Now,
        introduction: &Introduction,
        dialing: &Dialing,
        welcome: &Bytes,
    ) -> Result<(Peer, Bytes), HandshakeError> {
        let answer = self.standpoint(introduction).confirm(dialing, welcome);
        let (peer, confirm) = self.stop_if_refused(now, Some(dialing.peer()), answer)?;
        self.met(&peer);
        Ok((peer, confirm))
    }

    /// Takes the third message.
    ///
    /// # Errors
    /// As for [`confirm`](Self::confirm).
    pub fn complete(
        &mut self,
        now: Now,
        accepting: Accepting,
        confirm: &Bytes,
    ) -> Result<Peer, HandshakeError> {
        let from = accepting.peer().id;
        let peer = self.stop_if_refused(now, Some(from), accepting.complete(confirm))?;
        if self.engine.configuration().removed.contains(&peer.id) {
            // The removal came into force during the handshake.
            return Err(Refusal::Removed.into());
        }
        self.met(&peer);
        Ok(peer)
    }

    /// Remembers a peer. The term that its disk holds is a promise. The last index is not one, since a leader of that
    /// term may replace entries of earlier terms.
    fn met(&mut self, peer: &Peer) {
        self.matches.identify(peer.id, peer.introduction.incarnation);
        self.matches.promised(peer.id, peer.durable.term);
        self.learn_endpoint(peer);
    }

    /// Takes a refusal of a peer that came after this member has completed its side of a handshake.
    ///
    /// A member that was removed ends once a majority of the other voters has refused it, or a minute after the first one.
    pub fn refused(&mut self, now: Now, by: RaftId, refusal: &Refusal) {
        match refusal.stop_reason() {
            Some(StopReason::Removed) => {
                self.enter(now, false, |replica| replica.called_removed(by));
            }
            Some(reason) => self.enter(now, false, |_| Err(reason)),
            None => {}
        }
    }

    /// Takes the outcome of a step. The peer is none if this member itself found out what is wrong.
    fn stop_if_refused<T>(
        &mut self,
        now: Now,
        peer: Option<RaftId>,
        answer: Result<T, HandshakeError>,
    ) -> Result<T, HandshakeError> {
        if let Err(HandshakeError::Refused(refusal)) = &answer {
            self.refused(now, peer.unwrap_or(self.id), refusal);
        }
        answer
    }

    /// Remembers what a peer's message promises. Its shell sends a promise after it is durable, so the peer's disk must
    /// keep it.
    pub(super) fn remember(&mut self, from: RaftId, message: &PeerMessage) {
        match message {
            PeerMessage::AppendResponse { term, index, rejected: None, .. }
                if self.standing.role == Role::Leader
                    && *term == self.standing.term
                    && *index <= self.engine.last_index() =>
            {
                self.matches.acknowledged(from, *term, *index, self.engine.commit());
            }
            PeerMessage::AppendResponse { term, .. }
            | PeerMessage::HeartbeatResponse { term, .. }
            | PeerMessage::VoteRequest {
                term, kind: VoteKind::Vote | VoteKind::HandOver, ..
            }
            | PeerMessage::VoteResponse { term, kind: VoteKind::Vote, .. } => {
                self.matches.promised(from, *term);
            }
            // A leader's messages go before its write, and a pre-vote promises nothing.
            _ => {}
        }
    }
}
