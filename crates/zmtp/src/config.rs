//! How a connection behaves, and its limits.

use std::time::Duration;

/// The two socket types of RFC 41.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SocketType {
    /// Opens connections and talks to SERVER.
    Client,
    /// Accepts connections and talks to CLIENT.
    Server,
}

impl SocketType {
    /// The name on the wire, in its exact case.
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

/// PINGs that are sent while the connection stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Heartbeat {
    /// The time between two PINGs.
    pub interval: Duration,
    /// Without a byte from the peer for this long the connection has failed.
    pub timeout: Duration,
    /// How long the peer should wait for us: rounded to tenths of a second, from 0.1 s to 3,276.7 s.
    pub ttl: Duration,
}

impl Heartbeat {
    /// With a TTL of three timeouts.
    pub fn with_timeout(interval: Duration, timeout: Duration) -> Self {
        Self { interval, timeout, ttl: timeout.saturating_mul(3) }
    }

    /// In tenths of a second. JeroMQ reads the field as signed and fails on zero.
    pub(crate) fn ttl_tenths(&self) -> u16 {
        (self.ttl.as_millis() / 100).clamp(1, 32_767) as u16
    }
}

/// What a connection is, and what it bears.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Config {
    /// Which side we are.
    pub socket_type: SocketType,
    /// The longest frame that is handed over, in bytes.
    pub max_frame: usize,
    /// Up to this length a longer frame is read past with nothing kept; beyond it the connection fails. 0: any longer
    /// frame fails it.
    pub skip_limit: u64,
    /// PINGs of ours; `None` sends none. PINGs of the peer are always answered.
    pub heartbeat: Option<Heartbeat>,
    /// From the opening to the peer's READY.
    pub handshake_timeout: Duration,
    /// Bytes of the peer's greeting and handshake.
    pub handshake_limit: usize,
    /// Without a message for this long the connection fails; `None` waits for ever.
    pub idle_timeout: Option<Duration>,
}

impl Config {
    /// A CLIENT: frames to 16 MiB + 64 KiB, longer ones read past up to 1 GiB, a PING every second, 10 s of patience,
    /// 5 s and 4 KiB for the handshake.
    pub fn client() -> Self {
        Self {
            socket_type: SocketType::Client,
            max_frame: (16 << 20) + (64 << 10),
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

    /// A SERVER: like a CLIENT, but it sends no PINGs and reads past nothing.
    pub fn server() -> Self {
        Self { socket_type: SocketType::Server, skip_limit: 0, heartbeat: None, ..Self::client() }
    }
}
