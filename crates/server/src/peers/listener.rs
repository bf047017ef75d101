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
    tls::{self, Port, TlsFailure},
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
        // Too many strangers: a member tries again.
        let Ok(permit) = handshakes.clone().try_acquire_owned() else { continue };
        let inbound = Inbound { port: port.clone() };
        connections.spawn(async move {
            let accept = inbound.accept(socket, remote);
            let handshake = timeout(inbound.port.limits.handshake, accept).await;
            drop(permit);
            match handshake {
                Ok(Ok((from, frames, superseded))) => tokio::select! {
                    // A newer connection of the same kind, or the removal of the member.
                    _ = superseded => {}
                    () = inbound.receive(from, frames) => {}
                },
                Ok(Err(error)) if tls::is_tls(&error) => {
                    inbound.port.tls_failed(TlsFailure::explain(Port::Peer, Some(remote), &error));
                }
                Ok(Err(_)) | Err(_) => {}
            }
        });
    }
}

struct Inbound {
    port: Arc<PeerPort>,
}

type Accepted = (RaftId, PeerFrames, oneshot::Receiver<()>);

impl Inbound {
    /// Completes the handshakes: of TLS, if the port has it, and of the members.
    async fn accept(&self, socket: TcpStream, remote: SocketAddr) -> io::Result<Accepted> {
        // A socket that refuses the option still works, but slower.
        let _ = socket.set_nodelay(true);
        let (stream, certificate) = self.secure(socket).await?;
        let mut frames = Frames::new(stream);
        let hello = self.read(&mut frames).await?;
        if let Some(certificate) = certificate {
            self.check_sender(&hello, &certificate, remote)?;
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
    fn check_sender(
        &self,
        hello: &Bytes,
        certificate: &CertificateDer<'_>,
        remote: SocketAddr,
    ) -> io::Result<()> {
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
        self.port.tls_failed(TlsFailure { port: Port::Peer, remote: Some(remote), problem });
        Err(io::ErrorKind::PermissionDenied.into())
    }

    async fn read(&self, frames: &mut PeerFrames) -> io::Result<Bytes> {
        let frame = frames.next(HandshakeMessage::MAX_LEN).await;
        if frame.as_ref().is_err_and(is_too_long) {
            self.port.counters.peer_undecodable();
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
                self.port.counters.handshake_failed(&error);
                if let Some(reply) = error.reply() {
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
                    self.port.counters.peer_undecodable();
                    return;
                }
                Ok(None) | Err(_) => return,
            };
            let Ok(PeerFrame { message, .. }) = PeerFrame::decode(&bytes, from, self.port.id)
            else {
                self.port.counters.peer_undecodable();
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
