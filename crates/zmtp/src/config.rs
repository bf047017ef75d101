//! The settings and limits of a connection.

use std::time::Duration;

/// A socket type of RFC 41.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SocketType {
    /// A socket that opens connections and talks to SERVER sockets.
    Client,
    /// A socket that accepts connections and talks to CLIENT sockets.
    Server,
}

impl SocketType {
    /// Returns the name on the wire. Its case matters.
    pub fn name(self) -> &'static str {
        match self {
            Self::Client => "CLIENT",
            Self::Server => "SERVER",
        }
    }

    pub(crate) fn partner(self) -> Self {
        match self {
            Self::Client => Self::Server,
            Self::Server => Self::Client,
        }
    }
}

/// The PINGs that this side sends while the connection is ready.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Heartbeat {
    /// The time between two PINGs. A PING is sent whether or not the last one was answered.
    pub interval: Duration,
    /// The connection fails if no byte arrives from the peer for this long.
    pub timeout: Duration,
    /// The TTL that each PING announces: how long the peer should wait for bytes from us before it ends the connection.
    /// Rounded down to tenths of a second and limited to 0.1 s to 3,276.7 s.
    pub ttl: Duration,
}

impl Heartbeat {
    /// Creates a heartbeat with a TTL of three timeouts, so that this side gives up well before the peer does.
    pub fn with_timeout(interval: Duration, timeout: Duration) -> Self {
        Self { interval, timeout, ttl: timeout.saturating_mul(3) }
    }

    /// Returns the TTL in tenths of a second. JeroMQ reads the field as a signed number and fails on zero, hence the
    /// limits.
    pub(crate) fn ttl_tenths(&self) -> u16 {
        (self.ttl.as_millis() / 100).clamp(1, 32_767) as u16
    }
}

/// The number of bytes that a frame may be longer than the longest payload.
///
/// A message is longer than its payload by the fields around it. They take a few dozen bytes, except for ids of up to
/// 65,535 bytes, which no server uses: 64 KiB fit any message in use, and cost nothing beside a payload of 16 MiB.
pub const FRAME_ALLOWANCE: usize = 64 << 10;

/// The default of [`Config::max_frame`]: payloads of 16 MiB, the greatest default limit of clients and servers, and the
/// fields around them.
pub const DEFAULT_MAX_FRAME: usize = (16 << 20) + FRAME_ALLOWANCE;

/// The settings of a [`Connection`](crate::Connection). [`Config::client`] and [`Config::server`] give the defaults.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Config {
    /// The socket type of this side.
    pub socket_type: SocketType,
    /// The longest message that is delivered, in bytes.
    pub max_frame: usize,
    /// A message longer than `max_frame` is skipped up to this length in bytes: it is received and dropped without
    /// buffering. Above this length the connection fails. With 0, every message longer than `max_frame` fails the
    /// connection.
    pub skip_limit: u64,
    /// The PINGs of this side; `None` sends none. The peer's PINGs are always answered.
    pub heartbeat: Option<Heartbeat>,
    /// The longest time from [`Connection::new`](crate::Connection::new) to the peer's READY.
    pub handshake_timeout: Duration,
    /// The greatest number of bytes in the peer's greeting and handshake.
    pub handshake_limit: usize,
    /// The connection fails if no message arrives for this long; `None` sets no limit. Heartbeats do not count.
    pub idle_timeout: Option<Duration>,
}

impl Config {
    /// Returns the defaults of a CLIENT.
    ///
    /// | setting | value | why |
    /// | --- | --- | --- |
    /// | `max_frame` | 16 MiB + 64 KiB | payloads of 16 MiB, with room for the fields around them |
    /// | `skip_limit` | 1 GiB | a longer message would occupy the connection for many seconds |
    /// | `heartbeat` | PING every 1 s, timeout 10 s, TTL 30 s | notices an unreachable peer in 10 s; live clients announce the same TTL |
    /// | `handshake_timeout` | 5 s | many round trips, even on a slow link |
    /// | `handshake_limit` | 4 KiB | a usual handshake has about 100 bytes |
    /// | `idle_timeout` | none | a client may be idle for as long as it likes |
    pub fn client() -> Self {
        Self {
            socket_type: SocketType::Client,
            max_frame: DEFAULT_MAX_FRAME,
            skip_limit: 1 << 30,
            heartbeat: Some(Heartbeat::with_timeout(
                Duration::from_secs(1),
                Duration::from_secs(10),
            )),
            handshake_timeout: Duration::from_secs(5),
            handshake_limit: 4096,
            idle_timeout: None,
        }
    }

    /// Returns the defaults of a SERVER: those of a CLIENT, but without PINGs and without skipping. As the live
    /// servers, it relies on the client's PINGs; and it ends a connection with an overlong message instead of receiving
    /// the rest.
    pub fn server() -> Self {
        Self { socket_type: SocketType::Server, skip_limit: 0, heartbeat: None, ..Self::client() }
    }
}
