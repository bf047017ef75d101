//! The peer port: connections that other members open.

use std::{io, net::SocketAddr, sync::Arc};

use bytes::Bytes;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{Semaphore, oneshot},
    task::JoinSet,
    time::timeout,
};
use tokio_rustls::rustls::pki_types::CertificateDer;
use zraft_replica::{HandshakeError, HandshakeMessage, PeerFrame, RaftId};

use super::{
    PeerPort,
    wire::{Bytestream, Frames, MAX_FRAME, PeerFrames},
};
use crate::{
    clients::ACCEPT_PAUSE,
    inputs::{Handshake, Input},
    refusals::{Reason, Remote},
    tls::{self, Port},
};

/// Accepts connections until the member ends.
pub(crate) async fn listen(port: Arc<PeerPort>, listener: TcpListener) {
    // Dropping it ends the connections.
    let mut connections = JoinSet::new();
    let handshakes = Arc::new(Semaphore::new(port.limits.peer_handshakes));
    loop {
        let accepted = tokio::select! {
            biased;
            Some(_) = connections.join_next() => continue,
            accepted = listener.accept() => accepted,
        };
        let Ok((socket, remote)) = accepted else {
            tokio::time::sleep(ACCEPT_PAUSE).await;
            continue;
        };
        port.counters.peers.add();
        let inbound = Inbound { port: port.clone(), remote };
        let Ok(permit) = handshakes.clone().try_acquire_owned() else {
            // Too many strangers: a member tries again.
            inbound.refuse(Reason::TooMany { limit: port.limits.peer_handshakes });
            continue;
        };
        connections.spawn(async move {
            let accept = inbound.accept(socket);
            let handshake = timeout(inbound.port.limits.handshake, accept).await;
            drop(permit);
            match handshake {
                Ok(Ok((from, frames, superseded))) => tokio::select! {
                    // A newer connection of the same kind, or the removal of the member.
                    _ = superseded => {}
                    () = inbound.receive(from, frames) => {}
                },
                Ok(Err(error)) if tls::is_tls(&error) => {
                    inbound.refuse(Reason::of_tls(Port::Peer, &error));
                }
                Ok(Err(_)) => {}
                Err(_) => inbound.refuse(Reason::TimedOut),
            }
        });
    }
}

struct Inbound {
    port: Arc<PeerPort>,
    remote: SocketAddr,
}

type Accepted = (RaftId, PeerFrames, oneshot::Receiver<()>);

impl Inbound {
    fn refuse(&self, reason: Reason) {
        self.port.refused(Remote::From(Some(self.remote)), reason);
    }

    /// Completes the handshakes: of TLS, if the port has it, and of the members.
    async fn accept(&self, socket: TcpStream) -> io::Result<Accepted> {
        // A socket that refuses the option still works, but slower.
        let _ = socket.set_nodelay(true);
        let (stream, certificate) = self.secure(socket).await?;
        let mut frames = Frames::new(stream);
        let hello = self.read(&mut frames).await?;
        if let Some(certificate) = certificate {
            self.check_sender(&hello, &certificate)?;
        }
        let (reply, answer) = oneshot::channel();
        let accepted = self.port.ask(Handshake::Accept { hello, reply }, answer).await?;
        let (accepting, welcome) = self.or_refuse(accepted, &mut frames).await?;
        frames.write(&welcome).await?;
        let confirm = self.read(&mut frames).await?;
        let (reply, answer) = oneshot::channel();
        let complete = Handshake::Complete { accepting, confirm, reply };
        let completed = self.port.ask(complete, answer).await?;
        let (from, superseded) = self.or_refuse(completed, &mut frames).await?;
        Ok((from, frames, superseded))
    }

    /// Completes the handshake of TLS. Returns the dialer's certificate, which the CA for peers has signed.
    async fn secure(
        &self,
        socket: TcpStream,
    ) -> io::Result<(Box<dyn Bytestream>, Option<CertificateDer<'static>>)> {
        let Some(acceptor) = self.port.tls.acceptor() else { return Ok((Box::new(socket), None)) };
        let stream = acceptor.accept(socket).await?;
        let chain = stream.get_ref().1.peer_certificates();
        // TLS accepts no member without one.
        let certificate = chain.and_then(<[_]>::first).ok_or(io::ErrorKind::PermissionDenied)?;
        let certificate = certificate.clone();
        Ok((Box::new(stream), Some(certificate)))
    }

    /// Checks that the dialer is the member that its certificate names. The replica must see nothing of any other one: what
    /// a member says it remembers can end this process.
    fn check_sender(&self, hello: &Bytes, certificate: &CertificateDer<'_>) -> io::Result<()> {
        // The replica refuses everything else, whoever sends it.
        let Ok(HandshakeMessage::Hello(hello)) = HandshakeMessage::decode(hello) else {
            return Ok(());
        };
        let id = hello.from.id;
        if self.port.tls.names(certificate, id) {
            return Ok(());
        }
        let problem = format!(
            "the dialer says that it is member {id}, and its certificate is for another member or cluster: give each data directory its own certificate"
        );
        self.refuse(Reason::Tls(problem));
        Err(io::ErrorKind::PermissionDenied.into())
    }

    async fn read(&self, frames: &mut PeerFrames) -> io::Result<Bytes> {
        let frame = frames.next(HandshakeMessage::MAX_LEN).await;
        if frame.as_ref().is_err_and(is_too_long) {
            self.refuse(Reason::Garbage);
        }
        frame?.ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
    }

    /// Tells the dialer why it is refused.
    async fn or_refuse<T>(
        &self,
        answer: Result<T, HandshakeError>,
        frames: &mut PeerFrames,
    ) -> io::Result<T> {
        match answer {
            Ok(answer) => Ok(answer),
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

    /// Hands over messages until the connection ends, or sends what no member sends.
    async fn receive(&self, from: RaftId, mut frames: PeerFrames) {
        loop {
            let bytes = match frames.next(MAX_FRAME).await {
                Ok(Some(bytes)) => bytes,
                Err(error) if is_too_long(&error) => {
                    self.refuse(Reason::Garbage);
                    return;
                }
                Ok(None) | Err(_) => return,
            };
            let Ok(PeerFrame { message, .. }) = PeerFrame::decode(&bytes, from, self.port.id)
            else {
                self.refuse(Reason::Garbage);
                return;
            };
            if self.port.inputs.send(Input::Peer { from, message }).await.is_err() {
                return;
            }
        }
    }
}

/// Returns true for the error of a frame that is too long. TLS has errors of the same kind.
fn is_too_long(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::InvalidData && !tls::is_tls(error)
}
