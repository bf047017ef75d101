//! Queries and unknown sessions: what waits for a round of heartbeats that began after it came.
//!
//! A query waits for three things: the round, which shows that this member still led after the query came; the commands
//! of its session that came before it, which must be in the log; and the state machine, which must have everything up
//! to there. The last costs no waiting here, because jobs run in order.
//!
//! A [reserved query](zraft_protocol::reserved) waits in the same way, and is answered here: its payload never reaches the
//! state machine.

use std::collections::{BTreeMap, VecDeque};

use zraft_protocol::{CorrelationId, Nonce, Payload, ServerMessage, SessionId, reserved};
use zraft_session::QueryError;

use super::{ConnectionId, Replica};
use crate::{Job, Now, QueryKey, ReadRound, StopReason};

#[derive(Debug, Default)]
pub(super) struct Queries {
    /// Wait for the next round to begin.
    new: Vec<Query>,
    new_unknown: Vec<Unknown>,
    /// Wait for the round that is under way.
    joined: Vec<Query>,
    joined_unknown: Vec<Unknown>,
    round: Option<ReadRound>,
    /// The round is done; the index is what must be applied. Wait for commands of their sessions.
    readable: VecDeque<(u64, Query)>,
    readable_unknown: Vec<(u64, Unknown)>,
    /// The state machine answers them.
    running: BTreeMap<QueryKey, Asked>,
    /// Some query has earlier commands that are not in the log yet.
    behind: bool,
}

#[derive(Debug)]
struct Query {
    asked: Asked,
    payload: Payload,
    /// Commands that arrived before this one must be seen.
    arrival: u64,
    /// The last of them that is in the log. Later commands of the session are not waited for: they may come without
    /// end.
    after: u64,
    /// One of them is not in the log yet.
    behind: bool,
}

#[derive(Debug)]
struct Asked {
    connection: ConnectionId,
    session: SessionId,
    correlation: CorrelationId,
    bytes: usize,
}

type Unknown = (ConnectionId, SessionId, Nonce);

impl Queries {
    pub(super) fn unknown_len(&self) -> usize {
        self.new_unknown.len() + self.joined_unknown.len() + self.readable_unknown.len()
    }

    pub(super) fn ask_about(&mut self, connection: ConnectionId, session: SessionId, nonce: Nonce) {
        self.new_unknown.push((connection, session, nonce));
    }

    /// The ContinueSessions whose sessions the state as of this index decides.
    pub(super) fn take_known_up_to(&mut self, applied: u64) -> Vec<Unknown> {
        let known = self.readable_unknown.extract_if(.., |(index, _)| *index <= applied);
        known.map(|(_, unknown)| unknown).collect()
    }

    /// All ContinueSessions that were not settled.
    pub(super) fn into_unknown(self) -> Vec<(ConnectionId, Nonce)> {
        let readable = self.readable_unknown.into_iter().map(|(_, unknown)| unknown);
        let all = self.new_unknown.into_iter().chain(self.joined_unknown).chain(readable);
        all.map(|(connection, _, nonce)| (connection, nonce)).collect()
    }

    /// Drops the queries of a connection that its session has left.
    pub(super) fn drop_of(&mut self, connection: ConnectionId) {
        self.new.retain(|query| query.asked.connection != connection);
        self.joined.retain(|query| query.asked.connection != connection);
        self.readable.retain(|(_, query)| query.asked.connection != connection);
        self.running.retain(|_, asked| asked.connection != connection);
    }
}

impl Replica {
    pub(super) fn query(
        &mut self,
        connection: ConnectionId,
        session: SessionId,
        correlation: CorrelationId,
        payload: Payload,
    ) {
        let bytes = payload.len() + correlation.as_bytes().len();
        let Some(lead) = self.lead.as_mut() else { return };
        let arrival = lead.next_arrival();
        let state = lead.sessions.get(&session);
        let after = state.map_or(0, |state| state.last_proposed);
        // Its index is known once it is proposed, which may be before the round is done.
        let behind =
            lead.first_queued().is_some() || state.is_some_and(|state| !state.waiting.is_empty());
        lead.queries.behind |= behind;
        let asked = Asked { connection, session, correlation, bytes };
        lead.queries.new.push(Query { asked, payload, arrival, after, behind });
        self.hold_request(connection, bytes);
    }

    /// Starts a round if anything waits for one and none is under way.
    pub(super) fn begin_round(&mut self) -> Result<bool, StopReason> {
        let proof = self.needs_proof();
        let Some(lead) = self.lead.as_mut() else { return Ok(false) };
        let queries = &lead.queries;
        let wanted = proof || !queries.new.is_empty() || !queries.new_unknown.is_empty();
        if !wanted || !lead.is_serving() {
            return Ok(false);
        }
        let Some(round) = self.engine.read()? else { return Ok(false) };
        let Some(lead) = self.lead.as_mut() else { return Ok(true) };
        let queries = &mut lead.queries;
        queries.round = Some(round);
        queries.joined.append(&mut queries.new);
        queries.joined_unknown.append(&mut queries.new_unknown);
        self.proof_begun(round);
        Ok(true)
    }

    /// Takes note that a round is done: everything up to `index` was committed when it began.
    pub(super) fn read_ready(&mut self, round: ReadRound, index: u64) {
        let Some(lead) = self.lead.as_mut() else { return };
        let queries = &mut lead.queries;
        if queries.round.take_if(|joined| *joined == round).is_some() {
            let joined = std::mem::take(&mut queries.joined);
            queries.readable.extend(joined.into_iter().map(|query| (index, query)));
            let unknown = std::mem::take(&mut queries.joined_unknown);
            queries.readable_unknown.extend(unknown.into_iter().map(|unknown| (index, unknown)));
        }
        self.proof_done(round);
        self.settle_unknown();
    }

    /// Notes which entries the queries wait for, as soon as the commands before them are in the log: the commands after them
    /// follow at once.
    fn settle_behind(&mut self) {
        let Some(lead) = self.lead.as_mut().filter(|lead| lead.queries.behind) else { return };
        let queued = lead.first_queued();
        let Queries { new, joined, readable, behind, .. } = &mut lead.queries;
        let readable = readable.iter_mut().map(|(_, query)| query);
        let all = new.iter_mut().chain(joined).chain(readable);
        *behind = false;
        for query in all.filter(|query| query.behind) {
            let Some(session) = lead.sessions.get(&query.asked.session) else { continue };
            let waiting = session.waiting.values().map(|waiting| waiting.arrival).min();
            query.behind =
                [queued, waiting].into_iter().flatten().any(|first| first < query.arrival);
            if !query.behind {
                query.after = session.last_proposed;
            }
            *behind |= query.behind;
        }
    }

    /// Gives the state machine the queries for which everything is there, and answers the reserved ones.
    pub(super) fn release_queries(&mut self) {
        self.settle_behind();
        let handed = self.applying.handed();
        let Some(lead) = self.lead.as_mut() else { return };
        if lead.queries.readable.is_empty() {
            return;
        }
        let (mut blocked, mut reserved) = (VecDeque::new(), Vec::new());
        for (index, query) in std::mem::take(&mut lead.queries.readable) {
            if !lead.sessions.contains_key(&query.asked.session) {
                continue;
            }
            if query.behind || index.max(query.after) > handed {
                blocked.push_back((index, query));
                continue;
            }
            let Query { asked, payload, .. } = query;
            if reserved::is_reserved(&payload) {
                reserved.push((asked, payload));
                continue;
            }
            let key = self.applying.next_key();
            self.applying.then(Job::Query { key, session: asked.session.clone(), payload });
            lead.queries.running.insert(key, asked);
        }
        lead.queries.readable = blocked;
        for (asked, question) in reserved {
            self.release_request(asked.connection, asked.bytes);
            if let Some(result) = self.answer_reserved(&question) {
                let lists = reserved::is_members_question(&question);
                if let Some(connection) = self.connections.get_mut(asked.connection) {
                    connection.hears_members |= lists;
                }
                self.tell_result(asked, result);
            }
        }
    }

    fn tell_result(&mut self, asked: Asked, result: Payload) {
        let correlation_id = asked.correlation;
        self.tell(asked.connection, ServerMessage::QueryResponse { correlation_id, result });
    }

    /// Takes the state machine's answer to a query.
    pub fn answered(&mut self, now: Now, key: QueryKey, answer: Result<Payload, QueryError>) {
        self.enter(now, false, |replica| {
            // A query of an earlier leadership is no longer among them.
            let Some(lead) = replica.lead.as_mut() else { return Ok(()) };
            let Some(asked) = lead.queries.running.remove(&key) else { return Ok(()) };
            replica.release_request(asked.connection, asked.bytes);
            let result = match answer {
                Ok(result) => Some(result),
                Err(QueryError::Rejected(rejected)) => {
                    Some(rejected.into_answer().unwrap_or_default())
                }
                // Its end is reported apart.
                Err(_) => None,
            };
            if let Some(result) = result {
                replica.tell_result(asked, result);
            }
            Ok(())
        });
    }
}
