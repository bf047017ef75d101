//! Asks a member who leads, without opening a session.
//!
//! The probe continues a session that cannot exist. A leader answers that it does not know the session, a follower that it
//! does not lead, mostly with the leader's id. Neither keeps anything: there is no session afterwards that would have to
//! expire.

use std::{
    io,
    time::{Duration, Instant},
};

use bytes::{Buf, Bytes};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    time::{sleep_until, timeout},
};
use zraft_client::{
    ConnectionCause, Endpoint, MemberId, RejectionReason, SessionId,
    binding::{ByteStream, Sockets, core::OpenFailure},
    protocol::{ClientMessage, Nonce, ServerMessage},
};
use zraft_zmtp::{Config, Connection, Error, Event};

/// The longest answer: the id of a leader can have 64 KiB.
const LONGEST: usize = 128 << 10;

/// What a client can know of a member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// What the member is.
    pub role: Role,
    /// The leader that the member names, as it gave it.
    pub hint: Option<MemberId>,
    /// From the request to its answer. A leader of the replicated server asks a majority in between.
    pub round_trip: Duration,
}

/// What a member is, as it says itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// It takes sessions. A leader that was cut off from its cluster may still say so.
    Leader,
    /// It does not lead.
    Follower,
    /// It refuses sessions, for this reason.
    Refusing(RejectionReason),
}

impl Role {
    /// Returns the name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Leader => "leader",
            Self::Follower => "follower",
            Self::Refusing(_) => "refusing",
        }
    }
}

/// Asks a member.
///
/// # Errors
/// Why there is no answer in time.
pub async fn ask(
    sockets: &Sockets,
    endpoint: Endpoint,
    patience: Duration,
) -> Result<Answer, ConnectionCause> {
    let started = Instant::now();
    let stream = match timeout(patience, sockets.open(endpoint)).await {
        Ok(stream) => stream.map_err(cause)?,
        Err(_) => return Err(ConnectionCause::TimedOut),
    };
    let mut probe = Probe {
        stream,
        connection: Connection::new(
            Config {
                handshake_timeout: patience,
                max_frame: LONGEST,
                skip_limit: 0,
                ..Config::client()
            },
            zraft_zmtp::Instant::ZERO,
        ),
        started,
        sent: None,
    };
    let left = patience.saturating_sub(started.elapsed());
    match timeout(left, probe.exchange()).await {
        Ok(answer) => answer,
        Err(_) if probe.sent.is_some() => Err(ConnectionCause::NeverAnswered),
        Err(_) => Err(ConnectionCause::TimedOut),
    }
}

struct Probe {
    stream: Box<dyn ByteStream>,
    connection: Connection,
    started: Instant,
    /// When the request was sent, and its nonce.
    sent: Option<(Instant, Nonce)>,
}

impl Probe {
    fn now(&self) -> zraft_zmtp::Instant {
        let nanos = u64::try_from(self.started.elapsed().as_nanos());
        zraft_zmtp::Instant::from_nanos(nanos.unwrap_or(u64::MAX))
    }

    async fn exchange(&mut self) -> Result<Answer, ConnectionCause> {
        loop {
            self.write().await?;
            let now = self.now();
            while let Some(event) = self.connection.poll_event(now) {
                match event {
                    Event::Ready(_) => self.send()?,
                    Event::Message(frame) => {
                        if let Some(answer) = self.read(&frame)? {
                            return Ok(answer);
                        }
                    }
                    Event::Failed(error) => return Err(self.failed(error)),
                    _ => {}
                }
            }
            if self.connection.tx().has_remaining() {
                continue;
            }
            // A PING is due once in a while.
            let wake = self.connection.poll_timeout().map(|at| {
                let nanos = at.as_nanos().saturating_sub(self.now().as_nanos());
                tokio::time::Instant::now() + Duration::from_nanos(nanos)
            });
            let buffer = self.connection.recv_buffer();
            tokio::select! {
                read = self.stream.read_buf(buffer) => {
                    let now = self.now();
                    match read {
                        Ok(0) => self.connection.handle_eof(now),
                        Ok(_) => self.connection.handle_received(now),
                        Err(error) => return Err(self.broken(&error)),
                    }
                }
                () = async { match wake {
                    Some(wake) => sleep_until(wake).await,
                    None => std::future::pending().await,
                } } => {
                    let now = self.now();
                    self.connection.handle_timeout(now);
                }
            }
        }
    }

    async fn write(&mut self) -> Result<(), ConnectionCause> {
        while self.connection.tx().has_remaining() {
            if let Err(error) = self.stream.write_buf(self.connection.tx()).await {
                return Err(self.broken(&error));
            }
        }
        match self.stream.flush().await {
            Ok(()) => Ok(()),
            Err(error) => Err(self.broken(&error)),
        }
    }

    /// Continues a session with an id that no server has given out.
    fn send(&mut self) -> Result<(), ConnectionCause> {
        let random =
            || getrandom::u64().map_err(|error| ConnectionCause::Unreachable(error.to_string()));
        let (high, low, number) = (random()?, random()?, random()? >> 1);
        let session_id = SessionId::new(uuid(high, low)).map_err(strange)?;
        let nonce = Nonce::new(i64::try_from(number.max(1)).unwrap_or(1)).map_err(strange)?;
        let mut frame = Vec::new();
        ClientMessage::ContinueSession { session_id, nonce }.encode(&mut frame);
        self.connection.send(&frame).map_err(strange)?;
        self.sent = Some((Instant::now(), nonce));
        Ok(())
    }

    fn read(&self, frame: &Bytes) -> Result<Option<Answer>, ConnectionCause> {
        let Some((sent, expected)) = self.sent else { return Ok(None) };
        let round_trip = sent.elapsed();
        let message = ServerMessage::decode(frame).map_err(|error| {
            ConnectionCause::Unreachable(format!(
                "the answer is not a message of ZIO Raft: {error}"
            ))
        })?;
        Ok(match message {
            ServerMessage::SessionRejected { reason, nonce, leader_id } if nonce == expected => {
                let role = match reason {
                    RejectionReason::SessionExpired => Role::Leader,
                    RejectionReason::NotLeader => Role::Follower,
                    other => Role::Refusing(other),
                };
                let hint = leader_id.filter(|id| !id.as_str().is_empty());
                Some(Answer { role, hint, round_trip })
            }
            ServerMessage::SessionClosed { leader_id, .. } => {
                Some(Answer { role: Role::Follower, hint: leader_id, round_trip })
            }
            _ => None,
        })
    }

    fn failed(&self, error: Error) -> ConnectionCause {
        match error {
            Error::ClosedDuringHandshake => ConnectionCause::ClosedBeforeFirstMessage,
            Error::HandshakeTimeout => ConnectionCause::TimedOut,
            Error::Closed => ConnectionCause::Lost,
            other => ConnectionCause::Zmtp(other),
        }
    }

    fn broken(&self, error: &io::Error) -> ConnectionCause {
        match Sockets::refusal(error) {
            Some(failure) => cause(failure),
            None if self.sent.is_some() => ConnectionCause::Lost,
            None => ConnectionCause::ClosedBeforeFirstMessage,
        }
    }
}

fn cause(failure: OpenFailure) -> ConnectionCause {
    match failure {
        OpenFailure::Refused => ConnectionCause::Refused,
        OpenFailure::UnknownHost => ConnectionCause::UnknownHost,
        OpenFailure::Tls(text) => ConnectionCause::Tls(text),
        OpenFailure::Other(text) => ConnectionCause::Unreachable(text),
        other => ConnectionCause::Unreachable(format!("{other:?}")),
    }
}

fn strange(error: impl std::fmt::Display) -> ConnectionCause {
    ConnectionCause::Unreachable(error.to_string())
}

/// Returns a random UUID: the form that the session ids of all servers have.
fn uuid(high: u64, low: u64) -> String {
    let (high, low) = (high & !0xf000 | 0x4000, low >> 2 | 1 << 63);
    format!(
        "{:08x}-{:04x}-{:04x}-{:04x}-{:012x}",
        high >> 32,
        high >> 16 & 0xffff,
        high & 0xffff,
        low >> 48,
        low & 0xffff_ffff_ffff
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use zraft_test_server::{KvStore, TestCluster};

    const PATIENCE: Duration = Duration::from_secs(60);

    #[test]
    fn session_id_of_the_probe_is_a_uuid() {
        assert_eq!(uuid(0, 0), "00000000-0000-4000-8000-000000000000");
        assert_eq!(uuid(u64::MAX, u64::MAX), "ffffffff-ffff-4fff-bfff-ffffffffffff");
    }

    #[tokio::test]
    async fn leader_and_followers_say_what_they_are_and_keep_no_session() {
        let cluster =
            TestCluster::builder().members(3).app(KvStore::default()).start().await.unwrap();
        let leader = cluster.leader_elected().await;
        let sockets = Sockets::default();
        for (id, endpoint) in cluster.endpoints() {
            let answer = ask(&sockets, endpoint.parse().unwrap(), PATIENCE).await.unwrap();
            let (role, hint) = match id == leader {
                true => (Role::Leader, None),
                false => (Role::Follower, Some(leader.clone())),
            };
            assert_eq!((answer.role, answer.hint), (role, hint), "{id}");
        }
        assert!(cluster.sessions().is_empty());
        cluster.shutdown().await;
    }

    #[tokio::test]
    async fn deaf_member_never_answers() {
        let cluster = TestCluster::builder().app(KvStore::default()).start().await.unwrap();
        cluster.set_deaf("node-1", true).unwrap();
        let endpoint = cluster.endpoints().into_values().next().unwrap();
        let patience = Duration::from_secs(3);
        let asked = ask(&Sockets::default(), endpoint.parse().unwrap(), patience).await;
        assert_eq!(asked, Err(ConnectionCause::NeverAnswered));
        cluster.shutdown().await;
    }
}
