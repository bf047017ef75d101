//! The task of one client's connection. It carries bytes, and decides nothing but that undecodable input and unread
//! answers end the connection.

use std::{io, pin::Pin, sync::Arc, time::Duration};

use bytes::{Buf, BytesMut};
use tokio::{
    io::{Interest, Ready},
    net::TcpStream,
    time::{Sleep, sleep_until},
};
use zraft_protocol::{ClientMessage, Nonce, RejectionReason, ServerMessage};
use zraft_replica::{ConnectionId, EntryBytes};
use zraft_zmtp::{Config, Error, Event};

use super::{ClientPort, Close, Mailbox, stream::Stream};
use crate::{
    inputs::ClientInput,
    refusals::{Reason, Remote},
    tls::{self, Port, TlsFailure},
};

/// The room that a read gets: a read of this size fetches hundreds of usual requests with one system call.
const READ_ROOM: usize = 64 << 10;
/// The room after a long message, whose payload stays in the read buffer: a buffer of this size holds several, and only the
/// part that was read of the last one must be moved to the next buffer.
const LONG_READ_ROOM: usize = 128 << 10;
/// The bytes that the task reads before it handles them, so that one fast client does not starve the others.
const READ_TURN: usize = 256 << 10;
/// Messages, and about the bytes, that are handed to the driver at once.
const BATCH: usize = 256;
const BATCH_BYTES: usize = 1 << 20;
/// The time that a closing connection has to send its queued messages. A client that reads takes them at once.
const FLUSH_TIME: Duration = Duration::from_secs(1);

#[derive(Debug)]
pub(super) struct Connection {
    port: Arc<ClientPort>,
    id: ConnectionId,
    stream: Stream,
    zmtp: zraft_zmtp::Connection,
    mailbox: Arc<Mailbox>,
    /// The driver knows the connection, because its ZMTP handshake is complete.
    announced: bool,
    /// The received bytes hold no further whole message.
    drained: bool,
    /// The last message was a long one.
    long: bool,
    /// The client has ended its side of the stream.
    eof: bool,
    outbox: Vec<ServerMessage>,
    scratch: BytesMut,
    timer: Pin<Box<Sleep>>,
}

/// Why a connection ends.
#[derive(Debug)]
enum End {
    /// The client or the network ended it, the client was silent for too long, or the driver has ended.
    Peer,
    /// The driver closes it.
    Ordered(Close),
    /// The client sent what cannot be read, or broke a rule of the transport.
    Undecodable,
    /// The handshake was not complete in time.
    TimedOut,
    /// The client asked for a session without a valid token.
    Unauthorised(Nonce),
    /// TLS failed. The alert for the client has been sent.
    Tls(io::Error),
}

impl End {
    /// Returns why the member refuses the connection; none if it does not.
    fn reason(&self) -> Option<Reason> {
        match self {
            Self::Undecodable => Some(Reason::Garbage),
            Self::TimedOut => Some(Reason::TimedOut),
            Self::Unauthorised(_) => {
                Some(Reason::Token("it asked for a session without a valid token".to_owned()))
            }
            Self::Tls(error) => Some(Reason::of_tls(Port::Client, error)),
            Self::Peer | Self::Ordered(_) => None,
        }
    }
}

impl From<Error> for End {
    fn from(error: Error) -> Self {
        match error {
            Error::HandshakeTimeout => Self::TimedOut,
            Error::HeartbeatTimeout
            | Error::IdleTimeout
            | Error::Closed
            | Error::ClosedDuringHandshake => Self::Peer,
            _ => Self::Undecodable,
        }
    }
}

impl Connection {
    /// # Errors
    /// The system has no random numbers for TLS.
    pub(super) fn new(
        port: Arc<ClientPort>,
        id: ConnectionId,
        socket: TcpStream,
    ) -> io::Result<Self> {
        // A socket that refuses the option still works, but slower.
        let _ = socket.set_nodelay(true);
        let stream = Stream::new(socket, port.tls.client_port())?;
        let mut config = Config::server();
        config.max_frame = port.limits.client_message;
        // From now on, so it covers the handshake of TLS, too.
        config.handshake_timeout = port.limits.handshake;
        config.idle_timeout = Some(port.limits.client_idle);
        Ok(Self {
            zmtp: zraft_zmtp::Connection::new(config, port.now()),
            mailbox: Arc::new(Mailbox::new(port.limits.client_queue)),
            id,
            stream,
            announced: false,
            drained: false,
            long: false,
            eof: false,
            outbox: Vec::new(),
            scratch: BytesMut::new(),
            timer: Box::pin(sleep_until(port.origin)),
            port,
        })
    }

    pub(super) async fn run(mut self) {
        let end = loop {
            if let Err(end) = self.turn().await {
                break end;
            }
        };
        if self.announced {
            // The driver does not mind if it has closed the connection itself.
            let _ = self.port.inputs.send(ClientInput::Disconnected(self.id)).await;
        }
        if let Some(reason) = end.reason() {
            let remote = self.stream.remote();
            self.port.counters.refused(Port::Client, Remote::From(remote), &reason);
            if let Reason::Tls(problem) = reason {
                self.port.tls.failed(TlsFailure { port: Port::Client, remote, problem });
            }
        }
        if let End::Unauthorised(nonce) = end {
            self.reject(nonce);
        }
        if !matches!(end, End::Peer | End::Tls(_) | End::Ordered(Close::Drop)) {
            // What cannot be sent in this time is lost; the client resumes its session.
            let _ = tokio::time::timeout(FLUSH_TIME, self.flush()).await;
        }
    }

    /// Handles what has arrived, writes what the socket takes, and waits until there is more to do.
    async fn turn(&mut self) -> Result<(), End> {
        let mut failed = None;
        loop {
            if !self.drained
                && let Err(end) = self.parse().await
            {
                failed = Some(end);
            }
            self.fetch()?;
            self.write()?;
            if let Some(end) = failed {
                return Err(end);
            }
            if self.drained || !self.has_room() {
                break;
            }
        }
        if self.eof && self.drained {
            return Err(End::Peer);
        }
        self.wait().await
    }

    /// Hands the messages in the received bytes to the driver, at most a batch at a time.
    async fn parse(&mut self) -> Result<(), End> {
        let now = self.port.now();
        let (mut batch, mut bytes) = (Vec::new(), 0);
        let mut end = None;
        while batch.len() < BATCH && bytes < BATCH_BYTES {
            let Some(event) = self.zmtp.poll_event(now) else {
                self.drained = true;
                break;
            };
            match event {
                Event::Ready(_) => {
                    self.announced = true;
                    let mailbox = self.mailbox.clone();
                    self.report(ClientInput::Connected(self.id, mailbox)).await?;
                }
                Event::Message(frame) => {
                    bytes += frame.len();
                    self.long = frame.len() >= EntryBytes::SHARE_FROM;
                    match ClientMessage::decode(&frame) {
                        Ok(message) => match self.admit(message) {
                            Ok(message) => batch.push(message),
                            Err(refused) => end = Some(refused),
                        },
                        Err(_) => end = Some(End::Undecodable),
                    }
                }
                Event::Failed(error) => end = Some(error.into()),
                _ => {}
            }
            if end.is_some() {
                break;
            }
        }
        if !batch.is_empty() {
            self.report(ClientInput::Messages(self.id, batch)).await?;
        }
        end.map_or(Ok(()), Err)
    }

    /// Returns the message without the client's token.
    fn admit(&self, message: ClientMessage) -> Result<ClientMessage, End> {
        match message {
            ClientMessage::CreateSession { capabilities, nonce } => {
                let admitted = self.port.tokens.admit(capabilities);
                let capabilities = admitted.ok_or(End::Unauthorised(nonce))?;
                Ok(ClientMessage::CreateSession { capabilities, nonce })
            }
            other => Ok(other),
        }
    }

    /// Tells a client without a valid token that it gets no session.
    fn reject(&mut self, nonce: Nonce) {
        // What the driver has for the client goes first.
        let _ = self.fetch();
        let reason = RejectionReason::InvalidCapabilities;
        self.send(&ServerMessage::SessionRejected { reason, nonce, leader_id: None });
    }

    async fn report(&self, input: ClientInput) -> Result<(), End> {
        self.port.inputs.send(input).await.map_err(|_| End::Peer)
    }

    /// Takes what the driver has for the client.
    fn fetch(&mut self) -> Result<(), End> {
        let close = self.mailbox.take(self.zmtp.tx_queued(), &mut self.outbox);
        let mut messages = std::mem::take(&mut self.outbox);
        messages.drain(..).for_each(|message| self.send(&message));
        self.outbox = messages;
        close.map_or(Ok(()), |how| Err(End::Ordered(how)))
    }

    fn send(&mut self, message: &ServerMessage) {
        self.scratch.clear();
        message.encode(&mut self.scratch);
        // Fails only on a connection that has failed, which the next event reports.
        let _ = self.zmtp.send(&self.scratch);
    }

    /// Writes what the socket takes.
    fn write(&mut self) -> Result<(), End> {
        let out = self.zmtp.tx();
        while out.has_remaining() {
            let mut slices = [io::IoSlice::new(&[]); 16];
            let count = out.chunks_vectored(&mut slices);
            match self.stream.try_write_vectored(&slices[..count]) {
                Ok(0) => return Err(End::Peer),
                Ok(taken) => out.advance(taken),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return Err(End::Peer),
            }
        }
        match self.stream.try_flush() {
            Err(error) if error.kind() != io::ErrorKind::WouldBlock => Err(End::Peer),
            _ => Ok(()),
        }
    }

    async fn flush(&mut self) {
        let _ = self.fetch();
        while self.write().is_ok() {
            if !self.zmtp.tx().has_remaining() && self.stream.finish() {
                break;
            }
            if self.stream.ready(Interest::WRITABLE).await.is_err() {
                break;
            }
        }
    }

    /// Returns true if the client reads its answers, so that more of its requests may be read.
    fn has_room(&self) -> bool {
        self.zmtp.tx_queued() <= self.port.limits.client_queue / 2
    }

    async fn wait(&mut self) -> Result<(), End> {
        let read = self.drained && self.has_room();
        let due = self.zmtp.poll_timeout().map(|at| self.port.deadline(at));
        if let Some(due) = due
            && (self.timer.is_elapsed() || due < self.timer.deadline())
        {
            self.timer.as_mut().reset(due);
        }
        let received = read && self.stream.has_received();
        let interest = match (read, self.stream.wants_write(self.zmtp.tx_queued())) {
            (true, true) => Some(Interest::READABLE | Interest::WRITABLE),
            (true, false) => Some(Interest::READABLE),
            (false, true) => Some(Interest::WRITABLE),
            (false, false) => None,
        };
        let ready = async {
            match interest {
                _ if received => Ok(Ready::READABLE),
                Some(interest) => self.stream.ready(interest).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            () = self.mailbox.woken() => {}
            ready = ready => match ready {
                Ok(ready) if read && (ready.is_readable() || ready.is_read_closed()) => {
                    self.read()?;
                }
                Ok(_) => {}
                Err(_) => return Err(End::Peer),
            },
            () = self.timer.as_mut(), if due.is_some() => {
                self.zmtp.handle_timeout(self.port.now());
                self.drained = false;
            }
        }
        Ok(())
    }

    fn read(&mut self) -> Result<(), End> {
        let mut turn = 0;
        let wanted = if self.long { LONG_READ_ROOM } else { READ_ROOM };
        while turn < READ_TURN {
            // The rest of a message that has begun, as far as it is announced. Memory for more grows with what arrives.
            let missing = self.zmtp.missing().min(READ_TURN);
            let buffer = self.zmtp.recv_buffer();
            if buffer.capacity() - buffer.len() < missing.max(READ_ROOM / 8) {
                buffer.reserve(missing.max(wanted));
            }
            let room = buffer.capacity() - buffer.len();
            match self.stream.try_read(buffer) {
                Ok(0) => {
                    self.eof = true;
                    break;
                }
                Ok(count) => {
                    turn += count;
                    // TLS hands over one record at a time, whatever the room.
                    if count < room && !self.stream.has_tls() {
                        break;
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if tls::is_tls(&error) => return Err(End::Tls(error)),
                Err(_) => return Err(End::Peer),
            }
        }
        if turn > 0 {
            self.zmtp.handle_received(self.port.now());
            self.drained = false;
        }
        Ok(())
    }
}
