//! The least that a client takes for a server: it opens a session and answers every request at once.

use tokio::net::TcpStream;
use zraft_protocol::{ClientMessage, Payload, ServerMessage, SessionId};
use zraft_zmtp::{Config, Connection, Event, Instant};

use crate::{
    MESSAGE,
    echo::{read, write},
};

/// A ClientResponse without its result.
const RESPONSE: usize = 19;

pub(crate) async fn serve(mut stream: TcpStream) {
    let mut connection = Connection::new(Config::server(), Instant::ZERO);
    let result = Payload::new(vec![7; MESSAGE - RESPONSE]).unwrap();
    let mut frame = Vec::new();
    loop {
        while let Some(event) = connection.poll_event(Instant::ZERO) {
            let Event::Message(message) = event else { continue };
            let Some(answer) = answer(&ClientMessage::decode(&message).unwrap(), &result) else {
                continue;
            };
            frame.clear();
            answer.encode(&mut frame);
            connection.send(&frame).unwrap();
        }
        if !write(&mut stream, &mut connection).await || !read(&mut stream, &mut connection).await {
            return;
        }
    }
}

fn answer(message: &ClientMessage, result: &Payload) -> Option<ServerMessage> {
    Some(match *message {
        ClientMessage::CreateSession { nonce, .. } => {
            ServerMessage::SessionCreated { session_id: SessionId::new("bench").unwrap(), nonce }
        }
        ClientMessage::ClientRequest { request_id, .. } => {
            ServerMessage::ClientResponse { request_id, result: result.clone() }
        }
        ClientMessage::KeepAlive { timestamp } => ServerMessage::KeepAliveResponse { timestamp },
        _ => return None,
    })
}
