//! Describes what happens to the session of a long-running command, for the person who watches it.

use zraft_client::{DisconnectReason, Event, StateName};

/// Turns a client's events into lines of text: the session lost its connection, it is still without one, it has one again,
/// or a new session replaced it. The first connection gives no line, because the command itself reports it.
#[derive(Debug, Default)]
pub struct Narrator {
    connected: bool,
    /// The connection was lost. Members may also be asked beside a connection that seems frozen, which gives no line.
    lost: bool,
    attempts: u32,
    last_failure: Option<String>,
}

impl Narrator {
    /// Creates a narrator for a client that is not connected yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Returns the line for an event, or `None` if the event gives none.
    pub fn line(&mut self, event: &Event) -> Option<String> {
        match event {
            Event::Connected { resumed, member_id, .. } => {
                self.attempts = 0;
                self.lost = false;
                self.last_failure = None;
                if !std::mem::replace(&mut self.connected, true) {
                    return None;
                }
                Some(match resumed {
                    true => format!("connected to {member_id} again, in the same session"),
                    false => format!(
                        "connected to {member_id} in a new session; changes in between may be missing"
                    ),
                })
            }
            Event::Disconnected { reason, member_id } if self.connected => {
                self.lost = true;
                let why = why(*reason)?;
                let from =
                    member_id.as_ref().map(|member| format!(" to {member}")).unwrap_or_default();
                Some(format!("lost the connection{from}: {why}; reconnecting"))
            }
            Event::SessionDoubted { member_id } if self.connected => Some(format!(
                "{member_id} does not know the session, which may be a mistake; asking the others"
            )),
            Event::SessionExpired { .. } => Some("the session expired".to_owned()),
            Event::StateChange { new_state: StateName::ConnectingNewSession, .. }
                if self.connected =>
            {
                Some("opening a new session".to_owned())
            }
            Event::ConnectionFailure { member_id, error } => {
                self.last_failure = Some(format!("{member_id}: {error}"));
                None
            }
            Event::ConnectionAttempt { member_id, .. } if self.lost => {
                self.attempts = self.attempts.saturating_add(1);
                // The line about the loss stands for the first attempts. Later lines get rarer: an outage may be long.
                if self.attempts < 4 || !self.attempts.is_power_of_two() {
                    return None;
                }
                let last =
                    self.last_failure.as_ref().map(|last| format!("; {last}")).unwrap_or_default();
                Some(format!("still reconnecting: attempt {}, at {member_id}{last}", self.attempts))
            }
            _ => None,
        }
    }
}

/// Returns why a connection was lost, or `None` for the end of a session, which gives another line.
fn why(reason: DisconnectReason) -> Option<&'static str> {
    Some(match reason {
        DisconnectReason::ConnectionLost => "it broke",
        DisconnectReason::HeartbeatTimeout => "no byte arrived for too long",
        DisconnectReason::KeepAliveTimeout => "a keep-alive was not answered",
        DisconnectReason::Silent => "requests were not answered",
        DisconnectReason::NotLeader => "the member is no longer the leader",
        DisconnectReason::ServerShutdown => "the member shuts down",
        DisconnectReason::SessionError => "the member does not know the session",
        DisconnectReason::SessionExpired
        | DisconnectReason::Rejected
        | DisconnectReason::Closed => {
            return None;
        }
        _ => "for an unknown reason",
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use zraft_client::{ConnectionCause, MemberId, SessionId};

    fn member() -> MemberId {
        MemberId::new("node-1").unwrap()
    }

    fn connected(resumed: bool) -> Event {
        Event::Connected {
            session_id: SessionId::new("s").unwrap(),
            member_id: member(),
            endpoint: "tcp://h:1".to_owned(),
            resumed,
        }
    }

    fn attempt() -> Event {
        Event::ConnectionAttempt { member_id: member(), address: "tcp://h:1".to_owned() }
    }

    /// One that was connected.
    fn narrator() -> Narrator {
        let mut narrator = Narrator::new();
        for event in [attempt(), connected(false)] {
            assert_eq!(narrator.line(&event), None, "the command reports the first connection");
        }
        narrator
    }

    #[test]
    fn members_asked_beside_a_connection_give_no_line() {
        let mut narrator = narrator();
        for _ in 0..20 {
            assert_eq!(narrator.line(&attempt()), None);
        }
    }

    #[test]
    fn a_doubtful_expiry_is_a_line() {
        let doubted = Event::SessionDoubted { member_id: member() };
        assert_eq!(Narrator::new().line(&doubted), None, "there is no session yet");
        let line = narrator().line(&doubted).unwrap();
        assert!(line.starts_with("node-1 does not know the session"), "{line}");
    }

    #[test]
    fn a_lost_connection_and_its_replacement_are_a_line_each() {
        let mut narrator = narrator();
        for reason in DisconnectReason::ALL {
            let lost = Event::Disconnected { reason: *reason, member_id: Some(member()) };
            let ends = matches!(
                reason,
                DisconnectReason::SessionExpired
                    | DisconnectReason::Rejected
                    | DisconnectReason::Closed
            );
            let line = narrator.line(&lost);
            assert_eq!(line.is_none(), ends, "{reason:?}");
            if let Some(line) = line {
                assert!(line.starts_with("lost the connection to node-1: "), "{line}");
                assert!(!line.contains("does not know;"), "{reason:?} has no text: {line}");
            }
        }
        let line = narrator.line(&connected(true)).unwrap();
        assert_eq!(line, "connected to node-1 again, in the same session");
    }

    #[test]
    fn a_new_session_is_told_from_the_one_before() {
        let mut narrator = narrator();
        let session_id = SessionId::new("bearer-secret").unwrap();
        let expired = narrator.line(&Event::SessionExpired { session_id });
        assert_eq!(expired.as_deref(), Some("the session expired"));
        let opening = narrator.line(&Event::StateChange {
            old_state: StateName::Disconnected,
            new_state: StateName::ConnectingNewSession,
        });
        assert_eq!(opening.as_deref(), Some("opening a new session"));
        let line = narrator.line(&connected(false)).unwrap();
        assert!(line.contains("in a new session"), "{line}");
    }

    #[test]
    fn a_long_outage_makes_fewer_and_fewer_lines_that_say_why() {
        let mut narrator = narrator();
        let (reason, member_id) = (DisconnectReason::ConnectionLost, Some(member()));
        assert!(narrator.line(&Event::Disconnected { reason, member_id }).is_some());
        let mut lines = Vec::new();
        for _ in 0..1000 {
            lines.extend(narrator.line(&attempt()));
            let failed =
                Event::ConnectionFailure { member_id: member(), error: ConnectionCause::Refused };
            assert_eq!(narrator.line(&failed), None);
        }
        // Attempts 4, 8, 16, … 512.
        assert_eq!(lines.len(), 8);
        assert_eq!(
            lines[0],
            "still reconnecting: attempt 4, at node-1; node-1: connection refused"
        );
        narrator.line(&connected(true));
        assert_eq!(narrator.line(&attempt()), None, "counted from the loss on");
    }
}
