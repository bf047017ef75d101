//! The task that keeps one connection to another member open and sends on it.

use std::{
    io,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::BytesMut;
use tokio::{
    io::AsyncWriteExt,
    net::TcpStream,
    sync::{Notify, mpsc, oneshot, watch},
    time::timeout,
};
use zraft_replica::{
    ConnectionKind, HandshakeError, HandshakeMessage, PeerFrame, PeerMessage, RaftId,
};

use super::{
    PeerPort, size,
    wire::{Bytestream, Frames, PeerFrames, put_frame},
};
use crate::{
    inputs::{Handshake, Input},
    log::{Sparing, and},
    refusals::{Reason, Remote},
    tls::{self, Port},
};

/// The pause before the first attempt after a loss, which a restarted process takes as well, and the longest pause. A
/// member that comes back ends the pause by its own connection.
const FIRST_PAUSE: Duration = Duration::from_millis(20);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);
/// Bytes that are written at once. More would save few system calls.
const WRITE_BYTES: usize = 256 << 10;
/// The connection is given up if the socket takes nothing of a write for this long: the path swallows packets, or the
/// process is frozen.
const WRITE_TIME: Duration = Duration::from_secs(10);

/// Lines about one connection that may follow each other at once: three restarts. One that is lost again and again must
/// not fill the log.
const LINES: u32 = 6;

#[derive(Debug)]
pub(super) struct Dialer {
    pub(super) port: Arc<PeerPort>,
    pub(super) peer: RaftId,
    /// The member's name, for the log.
    pub(super) name: String,
    pub(super) kind: ConnectionKind,
    pub(super) address: watch::Receiver<String>,
    pub(super) messages: mpsc::Receiver<PeerMessage>,
    /// Bytes of the queued messages.
    pub(super) bytes: Arc<AtomicUsize>,
    /// The member was seen to run.
    pub(super) retry: Arc<Notify>,
    /// The address of the last connection.
    pub(super) remote: Option<SocketAddr>,
}

impl Dialer {
    /// Runs until the link is dropped.
    pub(super) async fn run(mut self) {
        let (mut pause, lines) = (FIRST_PAUSE, Sparing::in_bursts(LINES));
        loop {
            let attempt = timeout(self.port.limits.handshake, self.connect()).await;
            match attempt {
                Ok(Ok(frames)) => {
                    pause = FIRST_PAUSE;
                    self.log(&lines, true);
                    self.send_on(frames).await;
                    self.log(&lines, false);
                    if self.port.inputs.send(Input::PeerLost(self.peer)).await.is_err() {
                        return;
                    }
                }
                Ok(Err(error)) if tls::is_tls(&error) => {
                    self.refuse(Reason::of_tls(Port::Peer, &error));
                }
                Ok(Err(_)) | Err(_) => {}
            }
            self.drop_queued();
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = self.retry.notified() => {}
                changed = self.address.changed() => if changed.is_err() { return },
            }
            pause = (2 * pause).min(LONGEST_PAUSE);
        }
    }

    fn refuse(&self, reason: Reason) {
        self.port.refused(Remote::To(self.remote), reason);
    }

    /// Logs the state of one of the two connections; the other one has the same fate.
    fn log(&self, lines: &Sparing, connected: bool) {
        if self.kind != ConnectionKind::Urgent {
            return;
        }
        let Some(more) = lines.next() else { return };
        let (address, member) = (self.address.borrow().clone(), self.name.as_str());
        let verb = if connected { "reached" } else { "lost" };
        let line = format!("{verb} {member} at {address}{}", and(more));
        tracing::info!(member, address, more, "{line}");
        self.port.counters.events.add(line);
    }

    /// Opens a connection and completes the handshake.
    async fn connect(&mut self) -> io::Result<PeerFrames> {
        self.remote = None;
        let address = self.address.borrow_and_update().clone();
        let socket = TcpStream::connect(address).await?;
        self.remote = socket.peer_addr().ok();
        // A socket that refuses the option still works, but slower.
        let _ = socket.set_nodelay(true);
        let stream: Box<dyn Bytestream> = match self.port.tls.connector() {
            // TLS verifies that the certificate names the member that is dialled.
            Some(connector) => {
                let name = self.port.tls.name_of(self.peer).map_err(io::Error::other)?;
                let connected = connector.connect(name, socket).await;
                // A member without TLS closes the connection. `run` takes note of the errors of TLS itself.
                if let Some(error) = connected.as_ref().err().filter(|error| !tls::is_tls(error)) {
                    self.refuse(Reason::of_tls(Port::Peer, error));
                }
                Box::new(connected?)
            }
            None => Box::new(socket),
        };
        let mut frames = Frames::new(stream);

        let (reply, hello) = oneshot::channel();
        let dial = Handshake::Dial { peer: self.peer, kind: self.kind, reply };
        let (dialing, hello) = self.port.ask(dial, hello).await?;
        frames.write(&hello).await?;
        let welcome = frames.next(HandshakeMessage::MAX_LEN).await?;
        let welcome = welcome.ok_or(io::ErrorKind::UnexpectedEof)?;
        let (reply, answer) = oneshot::channel();
        match self.port.ask(Handshake::Confirm { dialing, welcome, reply }, answer).await? {
            Ok((_, confirm)) => {
                frames.write(&confirm).await?;
                Ok(frames)
            }
            Err(error) => {
                let reply = error.reply();
                self.refuse(Reason::of_handshake(error));
                if let Some(reply) = reply {
                    frames.write(&reply).await?;
                }
                Err(io::ErrorKind::ConnectionRefused.into())
            }
        }
    }

    /// Sends messages until the connection is lost.
    async fn send_on(&mut self, mut frames: PeerFrames) {
        let mut out = BytesMut::new();
        loop {
            let message = tokio::select! {
                biased;
                // The peer sends nothing here but a late refusal.
                late = frames.next(HandshakeMessage::MAX_LEN) => {
                    if let Ok(Some(bytes)) = late
                        && let Ok(HandshakeMessage::Refusal(refusal)) =
                            HandshakeMessage::decode(&bytes)
                    {
                        self.refuse(Reason::Member(HandshakeError::Refused(refusal)));
                        let _ = self.port.inputs.send(Input::Refused(self.peer, refusal)).await;
                    }
                    return;
                }
                message = self.messages.recv() => message,
            };
            let Some(message) = message else { return };
            out.clear();
            self.encode(message, &mut out);
            while out.len() < WRITE_BYTES
                && let Ok(message) = self.messages.try_recv()
            {
                self.encode(message, &mut out);
            }
            let mut unwritten = &out[..];
            while !unwritten.is_empty() {
                match timeout(WRITE_TIME, frames.stream().write(unwritten)).await {
                    Ok(Ok(taken)) if taken > 0 => unwritten = &unwritten[taken..],
                    _ => return,
                }
            }
            if !matches!(timeout(WRITE_TIME, frames.stream().flush()).await, Ok(Ok(()))) {
                return;
            }
            if out.capacity() > 4 * WRITE_BYTES {
                // A long entry has gone; its memory is not needed for the next messages.
                out = BytesMut::new();
            }
        }
    }

    fn encode(&self, message: PeerMessage, out: &mut BytesMut) {
        self.bytes.fetch_sub(size(&message), Ordering::AcqRel);
        put_frame(out, &PeerFrame { from: self.port.id, to: self.peer, message });
    }

    /// Drops what was queued for a connection that is lost, or could not be opened. Raft sends again what matters.
    fn drop_queued(&mut self) {
        while let Ok(message) = self.messages.try_recv() {
            self.bytes.fetch_sub(size(&message), Ordering::AcqRel);
        }
    }
}
