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

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use tokio::net::TcpListener;
    use zraft_replica::{
        ClusterId, ConnectionKind, Hello, Incarnation, Introduction, Position, RaftId, Sender,
    };

    use super::*;

    fn hello(from: u64) -> Vec<u8> {
        let from = Sender {
            id: RaftId::new(from).expect("not 0"),
            introduction: Introduction {
                cluster: ClusterId::new([1; 16]),
                incarnation: Incarnation::new([2; 16]),
                address: "127.0.0.1:1".to_owned(),
            },
            oldest: 1,
            newest: 1,
            feature_level: 1,
            durable: Position::default(),
            client_endpoint: None,
        };
        let to = RaftId::new(9).expect("not 0");
        let hello = Hello { from, to, kind: ConnectionKind::Bulk, remembered: None };
        let body = HandshakeMessage::Hello(hello).encode();
        [&(body.len() as u32).to_be_bytes()[..], &body].concat()
    }

    async fn listen() -> (TcpListener, SocketAddr) {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a port");
        let address = listener.local_addr().expect("it is bound");
        (listener, address)
    }

    #[tokio::test]
    async fn connection_takes_the_way_of_the_member_that_opened_it() {
        let (first, second) = (listen().await, listen().await);
        // The gate opens at a port that was free a moment ago.
        let at = listen().await.1;
        let _gate = Gate::start(at, [(1, first.1), (2, second.1)].into()).expect("it opens");
        for (member, (way, _)) in [(1, &first), (2, &second)] {
            let mut dialled = TcpStream::connect(at).await.expect("it is open");
            let sent = [hello(member), b"more".to_vec()].concat();
            dialled.write_all(&sent).await.expect("it is open");
            let (mut arrived, _) = way.accept().await.expect("it listens");
            let mut bytes = vec![0; sent.len()];
            arrived.read_exact(&mut bytes).await.expect("all of it arrives");
            assert_eq!(bytes, sent);
            arrived.write_all(b"back").await.expect("it is open");
            let mut back = [0; 4];
            dialled.read_exact(&mut back).await.expect("it comes back");
            assert_eq!(&back, b"back");
        }
        // Neither a stranger nor garbage goes anywhere.
        for sent in [hello(3), b"\0\0\0\x04what".to_vec(), vec![0xff; 64]] {
            let mut dialled = TcpStream::connect(at).await.expect("it is open");
            dialled.write_all(&sent).await.expect("it is open");
            let mut nothing = Vec::new();
            let _ = dialled.read_to_end(&mut nothing).await;
            assert_eq!(nothing, b"");
        }
    }
}
