//! The smallest server that a client accepts: it opens sessions and answers everything at once.

use std::{
    cell::{Cell, RefCell},
    io::{self, Write},
    rc::Rc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use clap::ValueEnum;
use hdrhistogram::Histogram;
use serde_json::json;
use tokio::net::TcpStream;
use zraft_protocol::{ClientMessage, HEADER_LEN, ServerMessage, ServerMessageKind, SessionId};
use zraft_zmtp::{Config, Connection, Event};

use super::{NOW, read, serve, write};

/// Runs a server that answers everything at once, until its standard input ends
///
/// Prints one line of JSON with its endpoint. Opens and continues sessions, answers KeepAlives, commands and queries, and
/// sends nothing else.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Payload of the answers to commands and queries.
    #[arg(long, value_enum, default_value_t = Answer::Empty)]
    answer: Answer,
    /// Print the times between the KeepAlives of a session at the end.
    #[arg(long)]
    keep_alives: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Answer {
    /// No payload.
    Empty,
    /// A payload with which the answer's frame is as long as the request's.
    Equal,
}

/// The lengths of a ClientRequest without its payload and of a ClientResponse without its result.
const REQUEST: usize = HEADER_LEN + 28;
const RESPONSE: usize = HEADER_LEN + 12;
/// The lengths of a Query and a QueryResponse without payload and correlation id.
const QUERY: usize = HEADER_LEN + 14;
const QUERY_RESPONSE: usize = HEADER_LEN + 6;

pub(crate) fn run(arguments: &Arguments) -> io::Result<()> {
    let answer = arguments.answer;
    let sessions = Rc::new(Cell::new(0));
    let gaps = Rc::new(RefCell::new(Gaps::new()?));
    let noted = gaps.clone();
    serve(move |stream| one(stream, answer, sessions.clone(), noted.clone()))?;
    match arguments.keep_alives {
        true => gaps.borrow().print(),
        false => Ok(()),
    }
}

async fn one(
    mut stream: TcpStream,
    answer: Answer,
    sessions: Rc<Cell<u64>>,
    gaps: Rc<RefCell<Gaps>>,
) -> io::Result<()> {
    let mut connection = Connection::new(Config::server(), NOW);
    let keep_alives = KeepAliveTimer { since: None, gaps };
    let mut peer = Peer { answer, sessions, keep_alives, filling: Bytes::new(), frame: Vec::new() };
    loop {
        while let Some(event) = connection.poll_event(NOW) {
            match event {
                Event::Message(message) if !peer.answer(&mut connection, &message) => return Ok(()),
                Event::Failed(error) => return Err(io::Error::other(error)),
                _ => {}
            }
        }
        write(&mut stream, &mut connection).await?;
        if !read(&mut stream, &mut connection).await? {
            return Ok(());
        }
    }
}

/// The times that sessions were without a KeepAlive.
struct Gaps {
    /// A histogram in microseconds.
    between: Histogram<u64>,
}

impl Gaps {
    fn new() -> io::Result<Self> {
        let between = Histogram::new_with_bounds(1, 3_600_000_000, 3).map_err(io::Error::other)?;
        Ok(Self { between })
    }

    fn record(&mut self, gap: Duration) {
        self.between.saturating_record(gap.as_micros() as u64);
    }

    fn print(&self) -> io::Result<()> {
        let seconds = |micros: u64| micros as f64 / 1e6;
        let said = json!({
            "keep_alives": self.between.len(),
            "gap_p50": seconds(self.between.value_at_quantile(0.5)),
            "gap_p99": seconds(self.between.value_at_quantile(0.99)),
            "gap_most": seconds(self.between.max()),
        });
        writeln!(io::stdout(), "{said}")
    }
}

/// Measures the time that one session is without a KeepAlive. A gap begins when the session opens and with each KeepAlive,
/// and also ends with the session, so that a session without any KeepAlive is counted.
struct KeepAliveTimer {
    since: Option<Instant>,
    gaps: Rc<RefCell<Gaps>>,
}

impl KeepAliveTimer {
    fn start(&mut self) {
        self.since = Some(Instant::now());
    }

    fn restart(&mut self) {
        let now = Instant::now();
        if let Some(since) = self.since.replace(now) {
            self.gaps.borrow_mut().record(now - since);
        }
    }
}

impl Drop for KeepAliveTimer {
    fn drop(&mut self) {
        if self.since.is_some() {
            self.restart();
        }
    }
}

struct Peer {
    answer: Answer,
    sessions: Rc<Cell<u64>>,
    keep_alives: KeepAliveTimer,
    /// Bytes of which results are slices.
    filling: Bytes,
    frame: Vec<u8>,
}

impl Peer {
    /// Answers a message. Returns false if it closes the session.
    fn answer(&mut self, connection: &mut Connection, message: &Bytes) -> bool {
        let Ok(message) = ClientMessage::decode(message) else { return true };
        match message {
            ClientMessage::ClientRequest { request_id, payload, .. } => {
                let length = self.length(payload.len() + (REQUEST - RESPONSE));
                self.head(ServerMessageKind::ClientResponse);
                self.frame.extend_from_slice(&request_id.get().to_be_bytes());
                self.send(connection, length);
            }
            ClientMessage::Query { correlation_id, payload, .. } => {
                let length = self.length(payload.len() + (QUERY - QUERY_RESPONSE));
                let id = correlation_id.as_bytes();
                self.head(ServerMessageKind::QueryResponse);
                self.frame.extend_from_slice(&(id.len() as u16).to_be_bytes());
                self.frame.extend_from_slice(id);
                self.send(connection, length);
            }
            ClientMessage::CreateSession { nonce, .. } => {
                self.keep_alives.start();
                self.sessions.set(self.sessions.get() + 1);
                if let Ok(session_id) = SessionId::new(format!("bench-{}", self.sessions.get())) {
                    self.send_message(
                        connection,
                        &ServerMessage::SessionCreated { session_id, nonce },
                    );
                }
            }
            ClientMessage::ContinueSession { nonce, .. } => {
                self.keep_alives.start();
                self.send_message(connection, &ServerMessage::SessionContinued { nonce });
            }
            ClientMessage::KeepAlive { timestamp } => {
                self.keep_alives.restart();
                self.send_message(connection, &ServerMessage::KeepAliveResponse { timestamp });
            }
            ClientMessage::ServerRequestAck { .. } | ClientMessage::ConnectionClosed => {}
            ClientMessage::CloseSession { .. } => return false,
        }
        true
    }

    fn length(&self, equal: usize) -> usize {
        match self.answer {
            Answer::Empty => 0,
            Answer::Equal => equal,
        }
    }

    fn head(&mut self, kind: ServerMessageKind) {
        self.frame.clear();
        self.frame.extend_from_slice(&zraft_protocol::SIGNATURE);
        self.frame.extend_from_slice(&[zraft_protocol::VERSION, kind as u8]);
    }

    /// Sends the frame with a result of this length at its end.
    fn send(&mut self, connection: &mut Connection, length: usize) {
        if self.filling.len() < length {
            self.filling = Bytes::from(vec![7; length]);
        }
        // The length fits into 32 bits, as it did in the request.
        self.frame.extend_from_slice(&(length as u32).to_be_bytes());
        if connection.begin_message(self.frame.len() + length).is_ok() {
            connection.put_slice(&self.frame);
            if length > 0 {
                connection.put_shared(self.filling.slice(..length));
            }
        }
    }

    fn send_message(&mut self, connection: &mut Connection, message: &ServerMessage) {
        self.frame.clear();
        message.encode(&mut self.frame);
        // A message arrives only after the handshake, so sending cannot fail.
        let _ = connection.send(&self.frame);
    }
}
