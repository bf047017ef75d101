//! One connection: what its two sides send is read frame by frame, and passed on unless a switch is set.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep_until};
use zraft_protocol::{
    ClientMessage, RejectionReason, ServerMessage, SessionCloseReason, SessionId,
};

use super::Doors;

/// The greeting of ZMTP, which comes before all frames.
const GREETING: usize = 64;
/// The first byte of a greeting. Whatever begins otherwise is passed on unread.
const SIGNATURE: u8 = 0xff;
/// The flags of a frame.
const LONG: u8 = 2;
const COMMAND: u8 = 4;
/// The longest frame that is read. Members and clients refuse shorter ones.
const MAX_FRAME: usize = 64 << 20;

impl Doors {
    /// Carries a connection until it ends. Returns false if the caller must reset it.
    pub(super) async fn carry(
        self: Arc<Self>,
        client: &mut (impl AsyncRead + AsyncWrite + Unpin),
        target: SocketAddr,
        number: u64,
        cut: oneshot::Receiver<()>,
    ) -> bool {
        let Ok(server) = TcpStream::connect(target).await else { return false };
        let _ = server.set_nodelay(true);
        let (from_client, to_client) = tokio::io::split(client);
        let (from_server, to_server) = server.into_split();
        let continued = Mutex::new(None);
        let up = self.up(number, &continued, from_client, to_server);
        let down = self.down(number, &continued, from_server, to_client);
        // A member that closes a connection may have sent a last message, so its direction is carried to its end even if the
        // other one fails.
        let up = async {
            let _ = up.await;
            Ok(())
        };
        tokio::select! {
            _ = cut => false,
            ended = async { tokio::try_join!(up, down) } => ended.is_ok(),
        }
    }

    /// Passes on what the client sends.
    async fn up(
        &self,
        number: u64,
        continued: &Mutex<Option<SessionId>>,
        mut from: impl AsyncRead + Unpin,
        mut to: impl AsyncWrite + Unpin,
    ) -> io::Result<()> {
        let mut frames = Frames::default();
        let mut waiting: VecDeque<(Instant, Bytes)> = VecDeque::new();
        loop {
            while let Some(piece) = frames.next()? {
                let wait = match piece.message().map(|bytes| ClientMessage::decode(&bytes)) {
                    Some(Ok(message)) => {
                        if let ClientMessage::ContinueSession { session_id, .. } = &message {
                            let session = Some(session_id.clone());
                            *continued.lock().unwrap_or_else(PoisonError::into_inner) = session;
                        }
                        self.state().admit_from_client(number, message.kind())
                    }
                    Some(Err(_)) | None => Some(Duration::ZERO),
                };
                match wait {
                    Some(Duration::ZERO) => to.write_all(&piece.bytes).await?,
                    Some(wait) => waiting.push_back((Instant::now() + wait, piece.bytes)),
                    None => {}
                }
            }
            let due = waiting.front().map(|(due, _)| *due);
            tokio::select! {
                read = from.read_buf(&mut frames.buffer) => if read? == 0 { break },
                () = sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => {
                    if let Some((_, bytes)) = waiting.pop_front() {
                        to.write_all(&bytes).await?;
                    }
                }
            }
        }
        to.write_all(&frames.buffer).await?;
        to.shutdown().await
    }

    /// Passes on what the member sends.
    async fn down(
        &self,
        number: u64,
        continued: &Mutex<Option<SessionId>>,
        mut from: impl AsyncRead + Unpin,
        mut to: impl AsyncWrite + Unpin,
    ) -> io::Result<()> {
        let mut frames = Frames::default();
        loop {
            while let Some(piece) = frames.next()? {
                match piece.message().map(|bytes| ServerMessage::decode(&bytes)) {
                    Some(Ok(message)) => {
                        self.note(number, continued, &message);
                        if self.state().admit_to_client(number, message.kind()) {
                            let changed = self.with_hint(number, message);
                            to.write_all(&changed.unwrap_or(piece.bytes)).await?;
                        }
                    }
                    Some(Err(_)) | None => to.write_all(&piece.bytes).await?,
                }
            }
            if from.read_buf(&mut frames.buffer).await? == 0 {
                break;
            }
        }
        to.write_all(&frames.buffer).await?;
        to.shutdown().await
    }

    /// Notes to which session the connection is bound, and which commands were answered.
    fn note(&self, number: u64, continued: &Mutex<Option<SessionId>>, message: &ServerMessage) {
        if let ServerMessage::ClientResponse { request_id, .. } = message {
            return self.record.answer(number, *request_id);
        }
        let session = match message {
            ServerMessage::SessionCreated { session_id, .. } => Some(session_id.clone()),
            ServerMessage::SessionContinued { .. } => {
                continued.lock().unwrap_or_else(PoisonError::into_inner).take()
            }
            ServerMessage::SessionClosed { .. } => return self.record.unbind(number),
            _ => None,
        };
        if let Some(session) = session {
            let state = self.state();
            let name = state.doors.get(state.member(number)).map(|door| door.name.clone());
            drop(state);
            if let Some(name) = name {
                self.record.bind(number, session, name);
            }
        }
    }

    /// Returns the frame of a message whose hint a switch replaces.
    fn with_hint(&self, number: u64, mut message: ServerMessage) -> Option<Bytes> {
        let hint = match &mut message {
            ServerMessage::SessionRejected {
                reason: RejectionReason::NotLeader,
                leader_id,
                ..
            } => leader_id,
            ServerMessage::SessionClosed {
                reason: SessionCloseReason::NotLeaderAnymore,
                leader_id,
            } => leader_id,
            _ => return None,
        };
        let other = self.state().hint(number, hint.clone());
        if other == *hint {
            return None;
        }
        *hint = other;
        let mut body = BytesMut::new();
        message.encode(&mut body);
        let mut frame = BytesMut::with_capacity(9 + body.len());
        frame.extend_from_slice(&[LONG]);
        frame.extend_from_slice(&(body.len() as u64).to_be_bytes());
        frame.extend_from_slice(&body);
        Some(frame.freeze())
    }
}

/// Splits what one side sends.
#[derive(Default)]
struct Frames {
    buffer: BytesMut,
    /// Bytes of the greeting that were passed on.
    greeted: usize,
    /// True if the other side does not speak ZMTP.
    is_foreign: bool,
}

/// A part of the greeting, or a frame.
struct Piece {
    bytes: Bytes,
    /// Where the body begins, if this is a frame with a message.
    body: Option<usize>,
}

impl Piece {
    fn message(&self) -> Option<Bytes> {
        self.body.map(|body| self.bytes.slice(body..))
    }
}

impl Frames {
    /// Returns the next piece, or none if more bytes are needed.
    fn next(&mut self) -> io::Result<Option<Piece>> {
        let Some(&first) = self.buffer.first() else { return Ok(None) };
        if self.greeted == 0 && first != SIGNATURE {
            self.is_foreign = true;
        }
        if self.is_foreign {
            return Ok(Some(self.piece(self.buffer.len(), None)));
        }
        if self.greeted < GREETING {
            let length = self.buffer.len().min(GREETING - self.greeted);
            self.greeted += length;
            return Ok(Some(self.piece(length, None)));
        }
        let (head, body) = match (first & LONG, &self.buffer[1..]) {
            (0, [length, ..]) => (2, u64::from(*length)),
            (0, []) => return Ok(None),
            (_, rest) => match rest.first_chunk::<8>() {
                Some(length) => (9, u64::from_be_bytes(*length)),
                None => return Ok(None),
            },
        };
        let body = usize::try_from(body).unwrap_or(usize::MAX);
        if body > MAX_FRAME {
            return Err(io::ErrorKind::InvalidData.into());
        }
        if self.buffer.len() < head + body {
            self.buffer.reserve(head + body - self.buffer.len());
            return Ok(None);
        }
        let is_message = first & COMMAND == 0;
        Ok(Some(self.piece(head + body, is_message.then_some(head))))
    }

    fn piece(&mut self, length: usize, body: Option<usize>) -> Piece {
        Piece { bytes: self.buffer.split_to(length).freeze(), body }
    }
}
