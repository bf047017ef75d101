//! The peer port: connections that other members open.

use std::{io, sync::Arc};

use bytes::Bytes;
use tokio::{
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::{Semaphore, oneshot},
    task::JoinSet,
    time::timeout,
};
use zraft_replica::{HandshakeError, HandshakeMessage, PeerFrame, RaftId};

use super::{
    PeerPort,
    wire::{FrameReader, MAX_FRAME, write},
};
use crate::{
    clients::ACCEPT_PAUSE,
    inputs::{Handshake, Input},
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
        let Ok((stream, _)) = accepted else {
            tokio::time::sleep(ACCEPT_PAUSE).await;
            continue;
        };
        port.counters.peers.add();
        // Too many strangers: a member tries again.
        let Ok(permit) = handshakes.clone().try_acquire_owned() else { continue };
        let inbound = Inbound { port: port.clone() };
        connections.spawn(async move {
            let handshake = timeout(inbound.port.limits.handshake, inbound.accept(stream)).await;
            drop(permit);
            if let Ok(Ok((from, stream, superseded))) = handshake {
                tokio::select! {
                    // A newer connection of the same kind, or the removal of the member.
                    _ = superseded => {}
                    () = inbound.receive(from, stream) => {}
                }
            }
        });
    }
}

struct Inbound {
    port: Arc<PeerPort>,
}

/// A connection. Dropping the write half would end the stream for the dialer.
type Stream = (FrameReader<OwnedReadHalf>, OwnedWriteHalf);
type Accepted = (RaftId, Stream, oneshot::Receiver<()>);

impl Inbound {
    /// Completes the handshake.
    async fn accept(&self, stream: TcpStream) -> io::Result<Accepted> {
        // A socket that refuses the option still works, but slower.
        let _ = stream.set_nodelay(true);
        let (reader, mut writer) = stream.into_split();
        let mut reader = FrameReader::new(reader);
        let hello = self.read(&mut reader).await?;
        let (reply, answer) = oneshot::channel();
        let accepted = self.port.ask(Handshake::Accept { hello, reply }, answer).await?;
        let (accepting, welcome) = self.or_refuse(accepted, &mut writer).await?;
        write(&mut writer, &welcome).await?;
        let confirm = self.read(&mut reader).await?;
        let (reply, answer) = oneshot::channel();
        let complete = Handshake::Complete { accepting, confirm, reply };
        let completed = self.port.ask(complete, answer).await?;
        let (from, superseded) = self.or_refuse(completed, &mut writer).await?;
        Ok((from, (reader, writer), superseded))
    }

    async fn read(&self, reader: &mut FrameReader<OwnedReadHalf>) -> io::Result<Bytes> {
        let frame = reader.next(HandshakeMessage::MAX_LEN).await;
        if frame.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::InvalidData) {
            self.port.counters.peer_undecodable();
        }
        frame?.ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
    }

    /// Tells the dialer why it is refused.
    async fn or_refuse<T>(
        &self,
        answer: Result<T, HandshakeError>,
        writer: &mut OwnedWriteHalf,
    ) -> io::Result<T> {
        match answer {
            Ok(answer) => Ok(answer),
            Err(error) => {
                self.port.counters.handshake_failed(&error);
                if let Some(reply) = error.reply() {
                    write(writer, &reply).await?;
                }
                Err(io::ErrorKind::ConnectionRefused.into())
            }
        }
    }

    /// Hands over messages until the connection ends, or sends what no member sends.
    async fn receive(&self, from: RaftId, (mut reader, _writer): Stream) {
        loop {
            let bytes = match reader.next(MAX_FRAME).await {
                Ok(Some(bytes)) => bytes,
                Err(error) if error.kind() == io::ErrorKind::InvalidData => {
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
