use zraft_zmtp::{Config, Connection, Error, Event, Instant, SocketType};

use super::{
    bytes_of_peer::{COMMAND, GREETING, Header, MORE, ready_socket_type, short_text},
    script::Cuts,
};

/// Bytes as what a peer says first: greeting, READY. It is judged as the RFC has it, however it is cut into reads; nothing
/// is sent but our own greeting and READY, and ERROR to a peer of the wrong type; and the end is the end.
pub fn greeting(input: &[u8]) {
    let [options, cuts, stream @ ..] = input else { return };
    let mut config = if options & 1 == 0 { Config::client() } else { Config::server() };
    config.handshake_limit = if options & 2 == 0 { 4096 } else { 120 };
    let judged = judge(&config, stream);

    let mut whole = connect(config);
    let ours = whole.tx_queued();
    whole.handle_bytes(NOW, stream);
    let events = until_ready(&mut whole);
    match &judged {
        Judgement::Ready => assert!(matches!(events[..], [Event::Ready(_)]), "{events:?}"),
        Judgement::Refused => assert!(matches!(events[..], [Event::Failed(_)]), "{events:?}"),
        Judgement::Unfinished => assert!(events.is_empty(), "{events:?}"),
    }

    let mut split = connect(config);
    let mut cuts = Cuts::new(*cuts);
    let mut rest = stream;
    let mut split_events = Vec::new();
    while !rest.is_empty() && split_events.is_empty() {
        let (piece, more) = rest.split_at(cuts.next(9).min(rest.len()));
        split.handle_bytes(NOW, piece);
        split_events = until_ready(&mut split);
        rest = more;
        if !split.is_ready() {
            let held = split.recv_buffer().len();
            assert!(held <= config.handshake_limit.max(GREETING) + 9, "{held} bytes are held");
        }
    }
    assert_eq!(events, split_events, "however the stream is cut");

    match judged {
        Judgement::Ready => assert!(whole.is_ready() && whole.send(b"x").is_ok()),
        Judgement::Refused => over(&mut whole, ours),
        Judgement::Unfinished => {
            assert!(whole.send(b"too early").is_err());
            assert_eq!(whole.tx_queued(), ours, "nothing is said before READY");
            assert_eq!(whole.poll_timeout(), Some(NOW + config.handshake_timeout));
            whole.handle_timeout(NOW + config.handshake_timeout);
            let end = whole.poll_event(NOW + config.handshake_timeout);
            assert_eq!(end, Some(Event::Failed(Error::HandshakeTimeout)));
            over(&mut whole, ours);
            split.handle_eof(NOW);
            let end = split.poll_event(NOW);
            assert_eq!(end, Some(Event::Failed(Error::ClosedDuringHandshake)));
        }
    }
}

const NOW: Instant = Instant::from_nanos(1 << 40);

fn connect(config: Config) -> Connection {
    let connection = Connection::new(config, NOW);
    assert!(!connection.is_ready());
    connection
}

/// Events up to the end of the handshake: what follows is for another target.
fn until_ready(connection: &mut Connection) -> Vec<Event> {
    let mut events = Vec::new();
    while let Some(event) = connection.poll_event(NOW) {
        let done = matches!(event, Event::Ready(_));
        events.push(event);
        if done {
            break;
        }
    }
    events
}

/// Nothing brings a failed connection back.
fn over(connection: &mut Connection, ours: usize) {
    assert!(!connection.is_ready() && connection.poll_timeout().is_none());
    let error = 2 + 6 + 1 + 255;
    assert!(connection.tx_queued() <= ours + error, "at most an ERROR is added");
    let queued = connection.tx_queued();
    connection.handle_bytes(NOW, &super::bytes_of_peer::handshake("SERVER"));
    connection.restart_timers(NOW);
    connection.handle_timeout(NOW + std::time::Duration::from_secs(3600));
    connection.handle_eof(NOW);
    assert_eq!(connection.poll_event(NOW), None, "the failure is the last event");
    assert!(connection.send(b"x").is_err() && connection.recv_buffer().is_empty());
    assert_eq!(connection.tx_queued(), queued);
}

enum Judgement {
    Ready,
    Refused,
    Unfinished,
}

/// What is to come of a stream, read at leisure. It is refused as early as the bytes allow.
fn judge(config: &Config, stream: &[u8]) -> Judgement {
    let is = |at: usize, allowed: fn(u8) -> bool| stream.get(at).is_none_or(|byte| allowed(*byte));
    if !is(0, |byte| byte == 0xff) || !is(9, |byte| byte == 0x7f) || !is(10, |major| major >= 3) {
        return Judgement::Refused;
    }
    match stream.get(12..32) {
        // What stands behind the zero that ends the name does not count.
        Some(mechanism) if mechanism.starts_with(b"NULL\0") => {}
        Some(_) => return Judgement::Refused,
        None => return Judgement::Unfinished,
    }
    if stream.len() < GREETING {
        return Judgement::Unfinished;
    }
    let mut at = GREETING;
    loop {
        let Some(header) = Header::read(&stream[at..]) else { return Judgement::Unfinished };
        if !header.has(COMMAND) || header.has(MORE) {
            return Judgement::Refused;
        }
        let room = config.handshake_limit.saturating_sub(at + header.size) as u64;
        if header.length > room {
            return Judgement::Refused;
        }
        let end = at + header.size + header.length as usize;
        let Some(body) = stream.get(at + header.size..end) else { return Judgement::Unfinished };
        at = end;
        let Some((name, data)) = short_text(body) else { return Judgement::Refused };
        match name {
            b"READY" => {
                let partner = match config.socket_type {
                    SocketType::Client => b"SERVER",
                    SocketType::Server => b"CLIENT",
                };
                return match ready_socket_type(data) {
                    Some(told) if told == partner => Judgement::Ready,
                    _ => Judgement::Refused,
                };
            }
            b"ERROR" => return Judgement::Refused,
            b"PING" if data.len() < 2 || data.len() > 18 => return Judgement::Refused,
            _ => {}
        }
    }
}
