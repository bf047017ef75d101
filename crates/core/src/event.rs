//! Events: what happened to the client, for observers.

use std::collections::VecDeque;

use zraft_protocol::{ClientMessage, CorrelationId, MemberId, RequestId, ServerMessage, SessionId};

use crate::{
    ServerRequest,
    failure::{ConnectionCause, RequestRef},
};

/// At most this many events are kept; the oldest are dropped. An observer may look rarely, or never.
const MAX_EVENTS: usize = 16_384;
/// At most this many bytes of payloads, ids and texts are kept in events.
const MAX_BYTES: usize = 64 << 20;

/// The four states of a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum StateName {
    /// There is no session, and no search for one.
    Disconnected,
    /// A session is being created.
    ConnectingNewSession,
    /// A session exists, and a connection for it is being sought.
    ConnectingExistingSession,
    /// The session has its connection.
    Connected,
}

impl StateName {
    /// All states.
    pub const ALL: &'static [Self] = &[
        Self::Disconnected,
        Self::ConnectingNewSession,
        Self::ConnectingExistingSession,
        Self::Connected,
    ];

    /// Returns the name, the same in every language.
    pub fn name(self) -> &'static str {
        match self {
            Self::Disconnected => "Disconnected",
            Self::ConnectingNewSession => "ConnectingNewSession",
            Self::ConnectingExistingSession => "ConnectingExistingSession",
            Self::Connected => "Connected",
        }
    }
}

/// Why a connection, or the session with it, ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum DisconnectReason {
    /// The stream ended or broke, or the peer violated ZMTP.
    ConnectionLost,
    /// No byte came for `heartbeatTimeout`; or none for `heartbeatInterval` with requests in flight, and another member
    /// continued the session.
    HeartbeatTimeout,
    /// A KeepAlive was not answered for `connectionTimeout`.
    KeepAliveTimeout,
    /// KeepAlives were answered, requests were not.
    Silent,
    /// The member no longer leads.
    NotLeader,
    /// The member is shutting down.
    ServerShutdown,
    /// The member does not know this connection.
    SessionError,
    /// The session expired.
    SessionExpired,
    /// The session was rejected.
    Rejected,
    /// The application called disconnect().
    Closed,
}

impl DisconnectReason {
    /// All reasons.
    pub const ALL: &'static [Self] = &[
        Self::ConnectionLost,
        Self::HeartbeatTimeout,
        Self::KeepAliveTimeout,
        Self::Silent,
        Self::NotLeader,
        Self::ServerShutdown,
        Self::SessionError,
        Self::SessionExpired,
        Self::Rejected,
        Self::Closed,
    ];

    /// Returns the name, the same in every language.
    pub fn name(self) -> &'static str {
        match self {
            Self::ConnectionLost => "connectionLost",
            Self::HeartbeatTimeout => "heartbeatTimeout",
            Self::KeepAliveTimeout => "keepAliveTimeout",
            Self::Silent => "silent",
            Self::NotLeader => "notLeader",
            Self::ServerShutdown => "serverShutdown",
            Self::SessionError => "sessionError",
            Self::SessionExpired => "sessionExpired",
            Self::Rejected => "rejected",
            Self::Closed => "closed",
        }
    }
}

/// Something that happened to the client.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Event {
    /// The session has its connection.
    Connected {
        /// The session's id. Its `Debug` form is masked.
        session_id: SessionId,
        /// The member that leads.
        member_id: MemberId,
        /// The member's endpoint.
        endpoint: String,
        /// The session existed before. If false, the application must renew its watches.
        resumed: bool,
    },
    /// The session lost its connection, or ended.
    Disconnected {
        /// Why it did.
        reason: DisconnectReason,
        /// The member that it was connected to last.
        member_id: Option<MemberId>,
    },
    /// A connection for the session is being sought.
    Reconnecting {
        /// Counts from 1 since the connection was lost.
        attempt: u32,
        /// The member that is asked.
        member_id: MemberId,
        /// The member's endpoint.
        endpoint: String,
    },
    /// A member denies that the session exists, which may be false. The client asks the other members, ever less often,
    /// until one continues the session or the expiry is certain. Once per loss of the connection.
    SessionDoubted {
        /// The member that denies it.
        member_id: MemberId,
    },
    /// The session expired.
    SessionExpired {
        /// The id of the session that expired.
        session_id: SessionId,
    },
    /// The state changed.
    StateChange {
        /// The state before.
        old_state: StateName,
        /// The state from now on.
        new_state: StateName,
    },
    /// A connection to a member is being opened. If another member continues or creates the session first, or the member is
    /// removed by [`update_members`](crate::Machine::update_members), the attempt ends without an event.
    ConnectionAttempt {
        /// The member of that connection.
        member_id: MemberId,
        /// The member's endpoint.
        address: String,
    },
    /// A connection to a member is open, and the ZMTP handshake is done.
    ConnectionSuccess {
        /// The member of that connection.
        member_id: MemberId,
    },
    /// An attempt at a member ended without a session.
    ConnectionFailure {
        /// The member of that connection.
        member_id: MemberId,
        /// Why there is none.
        error: ConnectionCause,
    },
    /// A message was encoded for the connection. Only with
    /// [`Machine::observe_messages`](crate::Machine::observe_messages).
    MessageSent {
        /// The message. Its `Debug` form masks secrets.
        message: ClientMessage,
    },
    /// A message arrived. Only with [`Machine::observe_messages`](crate::Machine::observe_messages).
    MessageReceived {
        /// The message. Its `Debug` form masks secrets.
        message: ServerMessage,
    },
    /// A command's deadline passed.
    RequestTimeout {
        /// Its id, if it was sent.
        request_id: Option<RequestId>,
    },
    /// A query's deadline passed.
    QueryTimeout {
        /// Its id, if it was sent.
        correlation_id: Option<CorrelationId>,
    },
    /// A server request arrived for the first time.
    ServerRequestReceived {
        /// The request.
        request: ServerRequest,
    },
    /// A message was undecodable or too long, and was skipped.
    ProtocolError {
        /// The member that sent it.
        member_id: MemberId,
        /// What is wrong with it.
        detail: String,
    },
    /// A request was given up because members failed while it was alone in flight.
    RequestQuarantined {
        /// The request's id.
        id: RequestRef,
    },
    /// This many events were dropped because no one took them.
    Lagged(u64),
}

impl Event {
    /// The names of all kinds, the same in every language.
    pub const NAMES: &'static [&'static str] = &[
        "connected",
        "disconnected",
        "reconnecting",
        "sessionDoubted",
        "sessionExpired",
        "stateChange",
        "connectionAttempt",
        "connectionSuccess",
        "connectionFailure",
        "messageSent",
        "messageReceived",
        "requestTimeout",
        "queryTimeout",
        "serverRequestReceived",
        "protocolError",
        "requestQuarantined",
        "lagged",
    ];

    /// Returns the name of its kind.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Connected { .. } => "connected",
            Self::Disconnected { .. } => "disconnected",
            Self::Reconnecting { .. } => "reconnecting",
            Self::SessionDoubted { .. } => "sessionDoubted",
            Self::SessionExpired { .. } => "sessionExpired",
            Self::StateChange { .. } => "stateChange",
            Self::ConnectionAttempt { .. } => "connectionAttempt",
            Self::ConnectionSuccess { .. } => "connectionSuccess",
            Self::ConnectionFailure { .. } => "connectionFailure",
            Self::MessageSent { .. } => "messageSent",
            Self::MessageReceived { .. } => "messageReceived",
            Self::RequestTimeout { .. } => "requestTimeout",
            Self::QueryTimeout { .. } => "queryTimeout",
            Self::ServerRequestReceived { .. } => "serverRequestReceived",
            Self::ProtocolError { .. } => "protocolError",
            Self::RequestQuarantined { .. } => "requestQuarantined",
            Self::Lagged(_) => "lagged",
        }
    }

    /// Returns the bytes that a queue holds for this event: its own size, and the payload, ids and texts in it.
    pub fn held_len(&self) -> usize {
        let inside = match self {
            Self::MessageSent { message } => message.encoded_len(),
            Self::MessageReceived { message } => message.encoded_len(),
            Self::ServerRequestReceived { request } => request.payload.len(),
            Self::Connected { session_id, member_id, endpoint, .. } => {
                session_id.as_str().len() + member_id.as_str().len() + endpoint.len()
            }
            Self::Reconnecting { member_id, endpoint: text, .. }
            | Self::ConnectionAttempt { member_id, address: text }
            | Self::ProtocolError { member_id, detail: text } => {
                member_id.as_str().len() + text.len()
            }
            Self::ConnectionSuccess { member_id } | Self::SessionDoubted { member_id } => {
                member_id.as_str().len()
            }
            Self::ConnectionFailure { member_id, error } => {
                member_id.as_str().len() + error.to_string().len()
            }
            Self::Disconnected { member_id, .. } => {
                member_id.as_ref().map_or(0, |id| id.as_str().len())
            }
            Self::SessionExpired { session_id } => session_id.as_str().len(),
            Self::QueryTimeout { correlation_id: Some(id) }
            | Self::RequestQuarantined { id: RequestRef::Query(id) } => id.as_str().len(),
            Self::StateChange { .. }
            | Self::RequestTimeout { .. }
            | Self::QueryTimeout { .. }
            | Self::RequestQuarantined { .. }
            | Self::Lagged(_) => 0,
        };
        size_of::<Self>() + inside
    }
}

/// A bounded queue of events.
#[derive(Debug, Default)]
pub(crate) struct Events {
    queue: VecDeque<Event>,
    /// Bytes held by all events in the queue.
    bytes: usize,
    lost: u64,
    /// Every message makes an event.
    pub(crate) messages: bool,
}

impl Events {
    pub(crate) fn push(&mut self, event: Event) {
        let bytes = event.held_len();
        // The newest event is always kept, even one that is over the limit by itself.
        while self.queue.len() >= MAX_EVENTS
            || (!self.queue.is_empty() && self.bytes + bytes > MAX_BYTES)
        {
            self.take();
            self.lost += 1;
        }
        self.bytes += bytes;
        self.queue.push_back(event);
    }

    fn take(&mut self) -> Option<Event> {
        let event = self.queue.pop_front()?;
        self.bytes -= event.held_len();
        Some(event)
    }

    pub(crate) fn pop(&mut self) -> Option<Event> {
        if self.lost > 0 {
            return Some(Event::Lagged(std::mem::take(&mut self.lost)));
        }
        let event = self.take();
        zraft_zmtp::memory::release_queue(&mut self.queue, 1024);
        event
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_queue_gives_back_its_memory_if_it_grew_large() {
        let mut events = Events::default();
        for (count, kept) in [(5000, false), (100, true)] {
            for _ in 0..count {
                events.push(Event::Lagged(1));
            }
            while events.pop().is_some() {}
            assert_eq!(events.queue.capacity() > 0, kept, "after {count}");
        }
    }

    #[test]
    fn payloads_in_queued_events_have_a_limit_of_bytes() {
        let payload = bytes::Bytes::from(vec![0; (16 << 20) - 1024]);
        let (request_id, created_at) =
            (RequestId::FIRST, zraft_protocol::Timestamp::from_millis(0));
        let request = ServerRequest { request_id, payload, created_at };
        let event = Event::ServerRequestReceived { request };
        let mut events = Events::default();
        for round in ["from an empty queue", "after all were taken"] {
            for _ in 0..10 {
                events.push(event.clone());
            }
            assert_eq!(events.pop(), Some(Event::Lagged(6)), "four of 16 MiB fit, {round}");
            for _ in 0..4 {
                assert_eq!(events.pop(), Some(event.clone()));
            }
            assert_eq!((events.pop(), events.bytes), (None, 0));
        }
    }

    #[test]
    fn ids_and_texts_in_queued_events_count_like_payloads() {
        let text = "x".repeat(60_000);
        let capabilities = (0..16).map(|index| (format!("name-{index}"), text.clone()));
        let message = ClientMessage::CreateSession {
            capabilities: zraft_protocol::Capabilities::new(capabilities).unwrap(),
            nonce: zraft_protocol::Nonce::new(1).unwrap(),
        };
        let member_id = MemberId::new("node-1").unwrap();
        for event in [
            Event::MessageSent { message },
            Event::ProtocolError { member_id, detail: "x".repeat(1 << 20) },
        ] {
            let (mut events, count) = (Events::default(), 200);
            for _ in 0..count {
                events.push(event.clone());
            }
            let Some(Event::Lagged(lost)) = events.pop() else { panic!("none were lost") };
            assert!((60..=80).contains(&(count - lost)), "{lost} of {count} were lost");
            while events.pop().is_some() {}
            assert_eq!(events.bytes, 0);
        }
    }

    #[test]
    fn small_events_have_a_limit_of_number() {
        let mut events = Events::default();
        for _ in 0..MAX_EVENTS + 10 {
            events.push(Event::Lagged(1));
        }
        assert_eq!(events.pop(), Some(Event::Lagged(10)));
    }
}
