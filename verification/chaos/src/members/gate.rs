//! The address at which the others know a member. It sends each connection on to the proxy of the member that has opened it.

use std::{collections::BTreeMap, io, net::SocketAddr, time::Duration};

use bytes::{Bytes, BytesMut};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional},
    net::{TcpSocket, TcpStream},
    task::{JoinHandle, JoinSet},
    time::timeout,
};
use zraft_replica::HandshakeMessage;

/// The length that precedes each frame between members.
const HEAD: usize = 4;
/// Longer than any introduction.
const LONGEST: usize = 64 << 10;
/// A member introduces itself at once.
const PATIENCE: Duration = Duration::from_secs(5);
/// More connections than members open to each other.
const BACKLOG: u32 = 64;

/// An open gate. Dropping it closes it and ends its connections.
#[derive(Debug)]
pub(super) struct Gate(JoinHandle<()>);

impl Gate {
    /// Opens a gate at this address. `ways` has the address of the proxy for each member that opens connections, by its number in
    /// the Raft group.
    pub(super) fn start(at: SocketAddr, ways: BTreeMap<u64, SocketAddr>) -> io::Result<Self> {
        let socket = TcpSocket::new_v4()?;
        // The port can be reserved by another socket of this process.
        socket.set_reuseaddr(true)?;
        socket.bind(at)?;
        let listener = socket.listen(BACKLOG)?;
        Ok(Self(tokio::spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                while connections.try_join_next().is_some() {}
                let ways = ways.clone();
                connections.spawn(async move {
                    // The error of one side ends the other side as well, by dropping it.
                    let _ = route(stream, &ways).await;
                });
            }
        })))
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        self.0.abort();
    }
}

async fn route(mut from: TcpStream, ways: &BTreeMap<u64, SocketAddr>) -> io::Result<()> {
    let first = timeout(PATIENCE, first_frame(&mut from)).await??;
    let Ok(HandshakeMessage::Hello(hello)) =
        HandshakeMessage::decode(&first.clone().split_off(HEAD))
    else {
        return Err(io::ErrorKind::InvalidData.into());
    };
    let way = ways.get(&hello.from.id.get()).ok_or(io::ErrorKind::AddrNotAvailable)?;
    let mut to = TcpStream::connect(way).await?;
    let _ = (from.set_nodelay(true), to.set_nodelay(true));
    to.write_all(&first).await?;
    copy_bidirectional(&mut from, &mut to).await.map(drop)
}

/// Reads the first frame, with its length.
async fn first_frame(stream: &mut TcpStream) -> io::Result<Bytes> {
    let mut frame = BytesMut::zeroed(HEAD);
    stream.read_exact(&mut frame).await?;
    let length = frame.first_chunk().map_or(0, |head| u32::from_be_bytes(*head) as usize);
    if length > LONGEST {
        return Err(io::ErrorKind::InvalidData.into());
    }
    frame.resize(HEAD + length, 0);
    stream.read_exact(&mut frame[HEAD..]).await?;
    Ok(frame.freeze())
}
