//! Connections that a member refuses: one kind of log line, which names the port and the reason, with a counter and an event.
//!
//! Whoever reaches a port can cause a refusal. So lines of one port and reason are rare, and refusals have a list apart from the events
//! of the member itself.

use std::{fmt, io, net::SocketAddr};

use zraft_replica::{HandshakeError, Refusal};

use crate::{
    MemberEvent,
    events::Events,
    log::{Sparing, and},
    status::Counters,
    tls::{Port, TlsFailure},
};

/// Why a connection is refused.
#[derive(Clone, Debug)]
pub(crate) enum Reason {
    /// The port has as many connections, or connections in their handshake, as its limit.
    TooMany { limit: usize },
    /// The handshake, or the request of an operator, was not complete in time.
    TimedOut,
    /// The bytes are not those of the port's protocol.
    Garbage,
    /// The client or operator gave no valid token.
    Token(String),
    /// TLS failed, or the certificate is for another member.
    Tls(String),
    /// One of two members refuses the other.
    Member(HandshakeError),
    /// The request of an operator comes from a web page that may not make it.
    Page(String),
}

impl Reason {
    /// The names of all reasons, in the log.
    const NAMES: [&'static str; 7] =
        ["too_many", "timeout", "garbage", "token", "tls", "member", "page"];

    /// Returns the reason of a handshake between members that failed.
    pub(crate) fn of_handshake(error: HandshakeError) -> Self {
        match error {
            HandshakeError::Format(_) => Self::Garbage,
            error => Self::Member(error),
        }
    }

    /// Returns the reason of a TLS connection at this port that failed.
    pub(crate) fn of_tls(port: Port, error: &io::Error) -> Self {
        Self::Tls(TlsFailure::explain(port, None, error).problem)
    }

    /// Returns its place in [`NAMES`](Self::NAMES).
    fn place(&self) -> usize {
        match self {
            Self::TooMany { .. } => 0,
            Self::TimedOut => 1,
            Self::Garbage => 2,
            Self::Token(_) => 3,
            Self::Tls(_) => 4,
            Self::Member(_) => 5,
            Self::Page(_) => 6,
        }
    }

    fn name(&self) -> &'static str {
        Self::NAMES[self.place()]
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooMany { limit } => write!(f, "the limit of {limit} is reached"),
            Self::TimedOut => f.write_str("its handshake or request was not complete in time"),
            Self::Garbage => f.write_str("it does not speak the protocol of this port"),
            Self::Token(text) | Self::Page(text) => f.write_str(text),
            Self::Tls(problem) => write!(f, "TLS: {problem}"),
            Self::Member(HandshakeError::Refuses(refusal)) => write!(f, "{refusal}"),
            // The other member has said so, or this one has found it itself.
            Self::Member(HandshakeError::Refused(refusal @ Refusal::RolledBack { .. })) => {
                write!(f, "{refusal}")
            }
            Self::Member(error) => write!(f, "the other member refuses this one: {error}"),
        }
    }
}

/// The other end of a refused connection.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Remote {
    /// It connected to a port of this member. The address is none if it is gone already.
    From(Option<SocketAddr>),
    /// This member connected to it.
    To(Option<SocketAddr>),
}

impl fmt::Display for Remote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (word, Self::From(address) | Self::To(address)) = match self {
            Self::From(_) => (" from", self),
            Self::To(_) => (" to", self),
        };
        address.map_or(Ok(()), |address| write!(f, "{word} {address}"))
    }
}

/// The refusals that the log and the status show.
#[derive(Debug, Default)]
pub(crate) struct Refusals {
    /// One for each port and reason, so that a flood of one kind does not hide another.
    sparing: [[Sparing; Reason::NAMES.len()]; 3],
    events: Events,
}

impl Refusals {
    /// Returns the last refusals that were logged, the oldest first.
    pub(crate) fn read(&self) -> Vec<MemberEvent> {
        self.events.read()
    }
}

impl Counters {
    /// Counts a refused connection, and logs it unless such lines are too frequent.
    pub(crate) fn refused(&self, port: Port, remote: Remote, reason: &Reason) {
        let (counter, sparing) = match port {
            Port::Client => (self.of_clients(reason), &self.refusals.sparing[0]),
            Port::Peer => (self.of_peers(reason), &self.refusals.sparing[1]),
            Port::Admin => (&self.admin_refused, &self.refusals.sparing[2]),
        };
        let port = port.name();
        counter.add();
        if let Some(more) = sparing[reason.place()].next() {
            let line =
                format!("refused a connection at the {port} port{remote}: {reason}{}", and(more));
            tracing::warn!(port, reason = reason.name(), more, "{line}");
            self.refusals.events.add(line);
        }
    }
}

#[cfg(test)]
mod tests {
    use zraft_replica::{Position, Remembered};

    use super::*;

    fn stranger(number: u16) -> Remote {
        Remote::From(Some(([10, 0, 0, 1], number).into()))
    }

    #[test]
    fn line_of_a_refusal_names_port_address_and_reason() {
        let counters = Counters::default();
        counters.refused(Port::Client, stranger(7), &Reason::Garbage);
        counters.refused(Port::Admin, Remote::From(None), &Reason::TooMany { limit: 64 });
        let to = Remote::To(Some(([10, 0, 0, 2], 7002).into()));
        counters.refused(Port::Peer, to, &Reason::Tls("no certificate".to_owned()));
        let lines: Vec<_> = counters.refusals.read().into_iter().map(|event| event.text).collect();
        assert_eq!(
            lines,
            [
                "refused a connection at the client port from 10.0.0.1:7: it does not speak the protocol of this port",
                "refused a connection at the admin port: the limit of 64 is reached",
                "refused a connection at the peer port to 10.0.0.2:7002: TLS: no certificate",
            ]
        );
        let figures = counters.read();
        let counted =
            (figures.clients_undecodable, figures.admin_refused, figures.peers_tls_failed);
        assert_eq!(counted, (1, 1, 1));
    }

    #[test]
    fn own_directory_that_was_rolled_back_is_not_blamed_on_the_other_member() {
        // The other member has said so, or this one has found it. The error does not say which.
        let remembered = Remembered { term: 4, matched: 50, committed: 51 };
        let rolled_back = Refusal::RolledBack { remembered, durable: Position::default() };
        let text = |refusal| Reason::of_handshake(HandshakeError::Refused(refusal)).to_string();
        let begin = "this member's data directory was rolled back or copied: ";
        assert!(text(rolled_back).starts_with(begin), "{}", text(rolled_back));
        let begin = "the other member refuses this one: the cluster has removed this member; ";
        assert!(text(Refusal::Removed).starts_with(begin), "{}", text(Refusal::Removed));
    }

    #[test]
    fn flood_of_refusals_hides_neither_another_kind_nor_an_event_of_the_member() {
        let counters = Counters::default();
        counters.events.add("leads in term 1");
        for number in 0..10_000 {
            counters.refused(Port::Client, stranger(number), &Reason::Garbage);
        }
        counters.refused(Port::Client, stranger(1), &Reason::Token("no token".to_owned()));
        counters.refused(Port::Peer, stranger(1), &Reason::Garbage);
        let own: Vec<_> = counters.events.read().into_iter().map(|event| event.text).collect();
        assert_eq!(own, ["leads in term 1"]);
        assert_eq!(counters.refusals.read().len(), 3, "{:?}", counters.refusals.read());
        assert_eq!(counters.read().clients_undecodable, 10_000, "all of them are counted");
    }
}
