//! A scripted peer on a loopback port that can send any bytes. Its ZMTP is written here and shares no code with the
//! client.

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use zraft_protocol::{ClientMessage, Nonce, RequestId, ServerMessage, SessionId};

use super::within;

const COMMAND: u8 = 4;
const LONG: u8 = 2;

pub(crate) struct Peer {
    listener: TcpListener,
}

impl Peer {
    pub(crate) async fn bind() -> Self {
        Self { listener: TcpListener::bind(("127.0.0.1", 0)).await.unwrap() }
    }

    pub(crate) fn endpoint(&self) -> String {
        format!("tcp://{}", self.listener.local_addr().unwrap())
    }

    pub(crate) async fn accept(&self) -> Connection {
        let (stream, _) = within(self.listener.accept()).await.unwrap();
        stream.set_nodelay(true).unwrap();
        Connection { stream }
    }

    /// Accepts a connection, does the ZMTP handshake as a server, and creates a session.
    pub(crate) async fn accept_session(&self, id: &str) -> Connection {
        let mut connection = self.accept().await;
        connection.shake_hands("SERVER").await;
        let ClientMessage::CreateSession { nonce, .. } = connection.message().await else {
            panic!("expected a CreateSession");
        };
        connection.created(id, nonce).await;
        connection
    }

    /// Accepts a connection, does the ZMTP handshake as a server, and resumes the session. Returns the session id.
    pub(crate) async fn accept_resume(&self) -> (Connection, SessionId) {
        let mut connection = self.accept().await;
        connection.shake_hands("SERVER").await;
        let ClientMessage::ContinueSession { nonce, session_id } = connection.message().await
        else {
            panic!("expected a ContinueSession");
        };
        connection.send(&ServerMessage::SessionContinued { nonce }).await;
        (connection, session_id)
    }
}

pub(crate) struct Connection {
    stream: TcpStream,
}

impl Connection {
    pub(crate) async fn write(&mut self, bytes: &[u8]) {
        within(self.stream.write_all(bytes)).await.unwrap();
    }

    /// Writes, and returns false if the client has ended the connection.
    pub(crate) async fn try_write(&mut self, bytes: &[u8]) -> bool {
        within(self.stream.write_all(bytes)).await.is_ok()
    }

    /// Reads until the client ends the connection, with a FIN or a reset.
    pub(crate) async fn until_closed(mut self) {
        let mut sink = vec![0; 65536];
        while within(self.stream.read(&mut sink)).await.is_ok_and(|read| read > 0) {}
    }

    /// Reads until the client shuts down its write half. This side stays open.
    pub(crate) async fn until_shut_down(&mut self) {
        let mut sink = vec![0; 65536];
        while within(self.stream.read(&mut sink)).await.unwrap() > 0 {}
    }

    pub(crate) async fn shake_hands(&mut self, socket_type: &str) {
        let mut greeting = [0; 64];
        greeting[..10].copy_from_slice(&[0xff, 0, 0, 0, 0, 0, 0, 0, 1, 0x7f]);
        greeting[10] = 3;
        greeting[12..16].copy_from_slice(b"NULL");
        self.write(&greeting).await;
        let mut theirs = [0; 64];
        within(self.stream.read_exact(&mut theirs)).await.unwrap();
        assert_eq!((theirs[0], theirs[9], &theirs[12..16]), (0xff, 0x7f, b"NULL".as_slice()));
        let mut ready = b"\x05READY\x0bSocket-Type".to_vec();
        ready.extend_from_slice(&u32::try_from(socket_type.len()).unwrap().to_be_bytes());
        ready.extend_from_slice(socket_type.as_bytes());
        self.frame(COMMAND, &ready).await;
        let (flags, body) = self.read_frame().await;
        assert_eq!(flags, COMMAND);
        assert!(body.starts_with(b"\x05READY"), "{body:?}");
    }

    async fn frame(&mut self, flags: u8, body: &[u8]) {
        let mut frame = Vec::with_capacity(body.len() + 9);
        match u8::try_from(body.len()) {
            Ok(length) => frame.extend_from_slice(&[flags, length]),
            Err(_) => {
                frame.push(flags | LONG);
                frame.extend_from_slice(&(body.len() as u64).to_be_bytes());
            }
        }
        frame.extend_from_slice(body);
        self.write(&frame).await;
    }

    async fn read_frame(&mut self) -> (u8, Vec<u8>) {
        within(async {
            let flags = self.stream.read_u8().await.unwrap();
            let length = if flags & LONG == 0 {
                u64::from(self.stream.read_u8().await.unwrap())
            } else {
                self.stream.read_u64().await.unwrap()
            };
            let mut body = vec![0; usize::try_from(length).unwrap()];
            self.stream.read_exact(&mut body).await.unwrap();
            (flags & !LONG, body)
        })
        .await
    }

    /// Returns the client's next message, KeepAlives included. Answers PINGs.
    pub(crate) async fn any_message(&mut self) -> ClientMessage {
        loop {
            let (flags, body) = self.read_frame().await;
            if flags & COMMAND == 0 {
                return ClientMessage::decode(&Bytes::from(body))
                    .expect("the client sends valid messages");
            }
            // A PING holds a TTL and a context. The PONG returns the context.
            if let Some(rest) = body.strip_prefix(b"\x04PING") {
                let pong = [b"\x04PONG".as_slice(), &rest[2..]].concat();
                self.frame(COMMAND, &pong).await;
            }
        }
    }

    /// Returns the client's next message other than a KeepAlive. Answers KeepAlives and PINGs.
    pub(crate) async fn message(&mut self) -> ClientMessage {
        loop {
            match self.any_message().await {
                ClientMessage::KeepAlive { timestamp } => {
                    self.send(&ServerMessage::KeepAliveResponse { timestamp }).await;
                }
                message => return message,
            }
        }
    }

    /// Returns the id and payload of the next message, which must be a command.
    pub(crate) async fn command(&mut self) -> (RequestId, Bytes) {
        match self.message().await {
            ClientMessage::ClientRequest { request_id, payload, .. } => {
                (request_id, payload.into_bytes())
            }
            other => panic!("expected a command: {other:?}"),
        }
    }

    pub(crate) async fn send(&mut self, message: &ServerMessage) {
        let mut body = BytesMut::new();
        message.encode(&mut body);
        self.frame(0, &body).await;
    }

    pub(crate) async fn send_bytes(&mut self, message: &[u8]) {
        self.frame(0, message).await;
    }

    pub(crate) async fn created(&mut self, id: &str, nonce: Nonce) {
        let session_id = SessionId::new(id).unwrap();
        self.send(&ServerMessage::SessionCreated { session_id, nonce }).await;
    }

    pub(crate) async fn answer(&mut self, request_id: RequestId, result: &'static [u8]) {
        self.answer_bytes(request_id, Bytes::from_static(result)).await;
    }

    pub(crate) async fn answer_bytes(&mut self, request_id: RequestId, result: Bytes) {
        let result = zraft_protocol::Payload::new(result).unwrap();
        self.send(&ServerMessage::ClientResponse { request_id, result }).await;
    }
}

/// Returns a connected client and its peer, which does only what the test says.
pub(crate) async fn connected(
    settings: zraft_client::ClientBuilder,
) -> (Peer, Connection, zraft_client::RaftClient) {
    let peer = Peer::bind().await;
    let client = settings.member("peer", peer.endpoint()).build().unwrap();
    let connect = client.connect();
    let connection = peer.accept_session("session-1").await;
    within(connect).await.unwrap();
    (peer, connection, client)
}

/// Waits until the client's driver has processed all earlier calls.
pub(crate) async fn settled(client: &zraft_client::RaftClient, connection: &mut Connection) {
    let answer_one_keep_alive = async {
        loop {
            if let ClientMessage::KeepAlive { timestamp } = connection.any_message().await {
                connection.send(&ServerMessage::KeepAliveResponse { timestamp }).await;
                break;
            }
        }
    };
    let (pong, ()) = tokio::join!(within(client.ping()), answer_one_keep_alive);
    pong.unwrap();
}
