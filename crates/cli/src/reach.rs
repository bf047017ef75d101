//! Opens a session, and says of each member why there is none.

use std::{
    fmt,
    time::{Duration, Instant},
};

use zraft_client::{ConnectionCause, Error, Event, Events, RaftClient};
use zraft_zmtp::Error as zmtp;

/// A member that refuses connections may be about to start. After this time a person, or a script, would rather know.
const GRACE: Duration = Duration::from_secs(1);
/// One failure can be chance: a member that ends closes connections in the middle of a handshake.
const ENOUGH: u32 = 2;

/// Watches the attempts of a client, and remembers the last failure of each member.
#[derive(Debug)]
pub struct Reach {
    events: Events,
    members: Vec<Seen>,
}

#[derive(Debug)]
struct Seen {
    id: String,
    endpoint: String,
    /// The failures since a session was open.
    failures: u32,
    last: Option<ConnectionCause>,
}

/// What can be expected of a member that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outlook {
    /// It may answer at any time.
    Open,
    /// It answers once an operator starts it, or repairs the network.
    Poor,
    /// It never answers these settings.
    None,
}

/// Why there is no session.
#[derive(Clone, Debug)]
pub enum NoSession {
    /// The client's error. The time is over, or the members refuse the session.
    Failed(Error),
    /// Waiting any longer is of no use.
    Hopeless(Duration),
}

impl fmt::Display for NoSession {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Failed(error) => error.fmt(f),
            Self::Hopeless(after) => write!(
                f,
                "no session could be opened: gave up after {:.1} s, because no member can be used; with --wait the command waits for them",
                after.as_secs_f64()
            ),
        }
    }
}

impl Reach {
    /// Watches a client, which has not begun to connect.
    #[must_use]
    pub fn new(client: &RaftClient) -> Self {
        let members = client.config().members().iter().map(|member| Seen {
            id: member.id.to_string(),
            endpoint: member.endpoint.to_string(),
            failures: 0,
            last: None,
        });
        Self { members: members.collect(), events: client.events() }
    }

    /// Opens a session. Unless `wait` is set, gives up as soon as every member has failed in a way that does not pass by
    /// itself.
    ///
    /// # Errors
    /// [`NoSession`]; [`failures`](Self::failures) has the details.
    pub async fn connect(
        &mut self,
        client: &RaftClient,
        patience: Duration,
        wait: bool,
    ) -> Result<(), NoSession> {
        let started = Instant::now();
        let mut connecting = client.connect_within(patience);
        loop {
            tokio::select! {
                biased;
                done = &mut connecting => return done.map_err(NoSession::Failed),
                event = self.events.next() => match event {
                    Some(event) => self.note(event),
                    None => return connecting.await.map_err(NoSession::Failed),
                },
            }
            let taken = started.elapsed();
            if !wait && self.is_hopeless(taken) {
                return Err(NoSession::Hopeless(taken));
            }
        }
    }

    fn note(&mut self, event: Event) {
        match event {
            Event::ConnectionFailure { member_id, error } => {
                let seen = self.members.iter_mut().find(|seen| seen.id == member_id.as_str());
                if let Some(seen) = seen {
                    seen.failures = seen.failures.saturating_add(1);
                    seen.last = Some(error);
                }
            }
            Event::Connected { .. } => {
                for seen in &mut self.members {
                    (seen.failures, seen.last) = (0, None);
                }
            }
            _ => {}
        }
    }

    fn is_hopeless(&self, taken: Duration) -> bool {
        let all = |accepted: &dyn Fn(Outlook) -> bool| {
            self.members.iter().all(|seen| {
                let outlook = seen.last.as_ref().map_or(Outlook::Open, outlook);
                seen.failures >= ENOUGH && accepted(outlook)
            })
        };
        all(&|outlook| outlook == Outlook::None)
            || (taken >= GRACE && all(&|outlook| outlook != Outlook::Open))
    }

    /// Returns a line for each member: its last failure since a session was open. Returns none if no member has failed.
    ///
    /// `error` is the client's last one, if there is one.
    pub async fn failures(&mut self, error: Option<&Error>) -> Vec<String> {
        // Take the events that have come, and wait for none.
        loop {
            tokio::select! {
                biased;
                event = self.events.next() => match event {
                    Some(event) => self.note(event),
                    None => break,
                },
                () = async {} => break,
            }
        }
        if let Some(Error::Connection { endpoint: Some(endpoint), cause, .. }) = error
            && let Some(seen) = self.members.iter_mut().find(|seen| seen.endpoint == *endpoint)
        {
            seen.last = Some(cause.clone());
        }
        if self.members.iter().all(|seen| seen.last.is_none()) {
            return Vec::new();
        }
        let lines = self.members.iter().map(|seen| {
            // A member that was given without an id has its address as the id.
            let has_id = !seen.endpoint.ends_with(&format!("://{}", seen.id));
            let why = match &seen.last {
                None => "was not asked in time".to_owned(),
                // The named leader may be one of the others.
                Some(ConnectionCause::LeaderNotConfigured { .. }) if !has_id => {
                    "does not lead, and names a leader by its id: write id=address for each member"
                        .to_owned()
                }
                Some(cause) => text(cause),
            };
            match has_id {
                true => format!("{} at {}: {why}", seen.id, seen.endpoint),
                false => format!("{}: {why}", seen.endpoint),
            }
        });
        lines.collect()
    }
}

fn outlook(cause: &ConnectionCause) -> Outlook {
    match cause {
        ConnectionCause::Tls(_)
        | ConnectionCause::Zmtp(
            zmtp::NotZmtp
            | zmtp::UnsupportedVersion(_)
            | zmtp::Mechanism(_)
            | zmtp::SocketType(_)
            | zmtp::HandshakeTooLong,
        ) => Outlook::None,
        ConnectionCause::Refused
        | ConnectionCause::UnknownHost
        | ConnectionCause::Unreachable(_)
        | ConnectionCause::ClosedBeforeFirstMessage
        | ConnectionCause::Zmtp(zmtp::ClosedDuringHandshake) => Outlook::Poor,
        _ => Outlook::Open,
    }
}

/// Returns the text of a cause, in terms of the command line.
#[must_use]
pub fn text(cause: &ConnectionCause) -> String {
    match cause {
        ConnectionCause::TimedOut => "no connection in time".to_owned(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use zraft_client::MemberId;

    use super::*;

    fn reach(members: usize) -> Reach {
        let mut builder = RaftClient::builder().capability("a", "b");
        for number in 1..=members {
            builder = builder.member(format!("node-{number}"), format!("tcp://127.0.0.1:{number}"));
        }
        Reach::new(&builder.build().unwrap())
    }

    fn fails(reach: &mut Reach, member: usize, error: ConnectionCause) {
        let member_id = MemberId::new(format!("node-{member}")).unwrap();
        reach.note(Event::ConnectionFailure { member_id, error });
    }

    fn not_zmtp() -> ConnectionCause {
        ConnectionCause::Zmtp(zmtp::NotZmtp)
    }

    #[tokio::test]
    async fn members_that_do_not_speak_zmtp_are_given_up_after_two_attempts_each() {
        let mut reach = reach(2);
        for member in [1, 2, 1] {
            fails(&mut reach, member, not_zmtp());
            assert!(!reach.is_hopeless(Duration::ZERO));
        }
        fails(&mut reach, 2, ConnectionCause::Tls("not signed".to_owned()));
        assert!(reach.is_hopeless(Duration::ZERO));
    }

    #[tokio::test]
    async fn members_that_refuse_are_given_up_after_a_second() {
        let mut reach = reach(2);
        for member in [1, 1, 2, 2] {
            fails(&mut reach, member, ConnectionCause::Refused);
        }
        assert!(!reach.is_hopeless(GRACE / 2) && reach.is_hopeless(GRACE));
    }

    #[tokio::test]
    async fn one_member_that_may_answer_keeps_the_command_waiting() {
        for open in [ConnectionCause::TimedOut, ConnectionCause::NoLeader, ConnectionCause::Lost] {
            let mut reach = reach(2);
            for member in [1, 1, 2] {
                fails(&mut reach, member, not_zmtp());
            }
            fails(&mut reach, 2, open);
            assert!(!reach.is_hopeless(Duration::from_secs(10)));
        }
    }

    #[tokio::test]
    async fn each_member_has_a_line_even_if_it_was_not_asked() {
        let mut reach = reach(3);
        assert_eq!(reach.failures(None).await, Vec::<String>::new());
        fails(&mut reach, 1, ConnectionCause::Refused);
        let error = Error::from(zraft_client::binding::core::Failure::Connection {
            endpoint: Some("tcp://127.0.0.1:2".to_owned()),
            cause: ConnectionCause::TimedOut,
        });
        let lines = reach.failures(Some(&error)).await;
        assert_eq!(
            lines,
            [
                "node-1 at tcp://127.0.0.1:1: connection refused",
                "node-2 at tcp://127.0.0.1:2: no connection in time",
                "node-3 at tcp://127.0.0.1:3: was not asked in time",
            ]
        );
    }
}
