//! How a member is set up.

use std::{
    net::{Ipv6Addr, SocketAddr},
    path::PathBuf,
    str::FromStr,
    time::Duration,
};

use zraft_replica::{Limits, MemberInfo, Timing};
use zraft_session::CheckedSettings;
use zraft_store::Reserve;

/// The highest feature level that this version of the server supports.
pub const FEATURE_LEVEL: u32 = 1;

/// Reading a few small files costs nothing at this rate, and certificates are replaced hours before they expire.
pub(crate) const CERTIFICATE_CHECK: Duration = Duration::from_secs(10);

/// How a member is set up. The data directory says which member of which cluster it is.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct MemberConfig {
    /// The data directory, which [`create_directory`](crate::create_directory) has made.
    pub directory: PathBuf,
    /// Where the member listens for clients. Port 0 lets the system choose.
    pub client_address: SocketAddr,
    /// Where clients reach the member, for those that ask a server for the members: `tcp://host:port`, `tls://host:port`, or
    /// `host:port` with the scheme that the client port speaks. By default the address on which the member listens, unless
    /// that is unspecified, such as 0.0.0.0.
    pub client_advertise: Option<ClientEndpoint>,
    /// Where the member listens for other members.
    pub peer_address: SocketAddr,
    /// The certificates of the client port; none if clients do not speak TLS.
    pub client_tls: Option<ClientTls>,
    /// The certificates of the peer port; none if members do not speak TLS. All members of a cluster have them, or none.
    pub peer_tls: Option<PeerTls>,
    /// The file with the tokens of clients; none if every client may open a session. With it, a client must give one of
    /// them in the capability `token`. All members of a cluster have the same file.
    pub client_tokens: Option<PathBuf>,
    /// The certificate of the admin port; none if it speaks HTTP without TLS.
    pub admin_tls: Option<AdminTls>,
    /// How often the member reads certificates and tokens again. Default 10 s.
    pub certificate_check: Duration,
    /// The admin port; none by default.
    pub admin: Option<AdminConfig>,
    /// Heartbeats and elections. All members of a cluster use the same.
    pub timing: Timing,
    /// The replicated settings that the cluster's first leader proposes.
    pub settings: CheckedSettings,
    /// The limits of the replica.
    pub limits: Limits,
    /// The space that the member keeps in reserve on its disk.
    pub reserve: Reserve,
    /// The limits of the two ports.
    pub ports: PortLimits,
}

impl MemberConfig {
    /// Returns the defaults for a member in this directory.
    #[must_use]
    pub fn new(
        directory: impl Into<PathBuf>,
        client_address: SocketAddr,
        peer_address: SocketAddr,
    ) -> Self {
        Self {
            directory: directory.into(),
            client_address,
            client_advertise: None,
            peer_address,
            client_tls: None,
            peer_tls: None,
            client_tokens: None,
            admin_tls: None,
            certificate_check: CERTIFICATE_CHECK,
            admin: None,
            timing: Timing::default(),
            settings: CheckedSettings::default(),
            limits: Limits::default(),
            reserve: Reserve::default(),
            ports: PortLimits::default(),
        }
    }

    /// Returns where clients reach the member that listens at `bound`; none if the member does not know.
    pub(crate) fn client_endpoint(&self, bound: SocketAddr) -> Option<String> {
        let tls = self.client_tls.is_some();
        match &self.client_advertise {
            Some(advertised) => Some(advertised.with_scheme(tls)),
            None if bound.ip().is_unspecified() => None,
            None => Some(endpoint(tls, bound)),
        }
    }
}

fn endpoint(tls: bool, authority: impl std::fmt::Display) -> String {
    format!("{}://{authority}", if tls { "tls" } else { "tcp" })
}

/// An address that a member gives to clients: `tcp://host:port`, `tls://host:port` or `host:port`.
///
/// ```
/// use zraft_server::ClientEndpoint;
///
/// assert!("tls://db-1.example.com:7001".parse::<ClientEndpoint>().is_ok());
/// assert!("[fd00::1]:7001".parse::<ClientEndpoint>().is_ok());
/// assert!("db-1.example.com".parse::<ClientEndpoint>().is_err());
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientEndpoint {
    /// Whether clients speak TLS; none if that is as the client port speaks.
    tls: Option<bool>,
    authority: String,
}

impl ClientEndpoint {
    fn with_scheme(&self, tls: bool) -> String {
        endpoint(self.tls.unwrap_or(tls), &self.authority)
    }
}

impl FromStr for ClientEndpoint {
    type Err = String;

    /// Checks the form only. Clients leave out what they cannot use.
    fn from_str(text: &str) -> Result<Self, String> {
        let (tls, authority) = match text.split_once("://") {
            Some(("tcp", authority)) => (Some(false), authority),
            Some(("tls", authority)) => (Some(true), authority),
            _ => (None, text),
        };
        let host_and_port = authority.rsplit_once(':').filter(|(host, port)| {
            let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
            let named = |byte: u8| byte.is_ascii_alphanumeric() || b".-_".contains(&byte);
            let is_host = match bare {
                Some(bare) => bare.parse::<Ipv6Addr>().is_ok_and(|host| !host.is_unspecified()),
                None => !host.is_empty() && host.bytes().all(named) && *host != "0.0.0.0",
            };
            is_host
                && text.len() <= MemberInfo::MAX_TEXT
                && port.bytes().all(|byte| byte.is_ascii_digit())
                && port.parse::<u16>().is_ok_and(|port| port > 0)
        });
        if host_and_port.is_none() {
            return Err(format!(
                "{text} is not an address that clients can use, such as tls://db-1.example.com:7001 or 10.0.0.1:7001"
            ));
        }
        Ok(Self { tls, authority: authority.to_owned() })
    }
}

impl std::fmt::Display for ClientEndpoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.tls {
            Some(tls) => f.write_str(&endpoint(tls, &self.authority)),
            None => f.write_str(&self.authority),
        }
    }
}

/// How the admin port is set up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AdminConfig {
    /// Where the member listens. Port 0 lets the system choose.
    pub address: SocketAddr,
    /// The file with the token that requests under `/v1` must carry. It is read for each request, so a new token counts
    /// at once; while it cannot be read, the last one counts. A second line holds a second valid token, for the time of a
    /// change.
    pub token_file: PathBuf,
}

/// The files with which the client port speaks TLS, in PEM form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientTls {
    /// The certificate that clients see, followed by those of intermediate CAs. It names the hosts of the members'
    /// endpoints.
    pub certificate: PathBuf,
    /// Its private key, which only the member's user may read.
    pub key: PathBuf,
    /// The certificates of the CAs that sign those of the clients. If it is set, a client without such a certificate is
    /// refused.
    pub ca: Option<PathBuf>,
}

/// The files with which the peer port speaks TLS, in PEM form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerTls {
    /// The certificate that the other members see, followed by those of intermediate CAs. It has the name that
    /// [`peer_certificate_name`](crate::peer_certificate_name) returns.
    pub certificate: PathBuf,
    /// Its private key, which only the member's user may read.
    pub key: PathBuf,
    /// The certificates of the CAs that sign those of the members, and nothing else.
    pub ca: PathBuf,
}

/// The files with which the admin port speaks TLS, in PEM form. Whoever asks shows a token, and no certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AdminTls {
    /// The certificate that operators see, followed by those of intermediate CAs. It names the host or the address under
    /// which they reach the port.
    pub certificate: PathBuf,
    /// Its private key, which only the member's user may read.
    pub key: PathBuf,
}

/// Limits of the client port and the peer port.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct PortLimits {
    /// Connections of clients. A connection beyond it is closed at once. Default 65,536, as many as there may be
    /// sessions by default.
    pub client_connections: usize,
    /// The longest message of a client. Default 16 MiB + 64 KiB, which clients accept too.
    pub client_message: usize,
    /// Bytes queued for one client. Beyond it the connection is closed; the client resumes its session and loses
    /// nothing. Default 64 MiB: four of the longest messages.
    pub client_queue: usize,
    /// The longest time without a byte from a client. Default 5 minutes: far longer than the 1 s between a client's
    /// PINGs.
    pub client_idle: Duration,
    /// The longest handshake, on either port. Default 5 s: many round trips, even on a slow link.
    pub handshake: Duration,
    /// Connections at the peer port whose handshake is not complete. Default 128: two from each of the most members.
    pub peer_handshakes: usize,
    /// Bytes of messages queued for one member on one connection. Beyond it messages are dropped, which Raft repairs.
    /// Default 64 MiB: the Appends that may be under way, and one of the longest entries.
    pub peer_queue: usize,
}

impl Default for PortLimits {
    fn default() -> Self {
        Self {
            client_connections: 65_536,
            client_message: zraft_zmtp::DEFAULT_MAX_FRAME,
            client_queue: 64 << 20,
            client_idle: Duration::from_secs(300),
            handshake: Duration::from_secs(5),
            peer_handshakes: 128,
            peer_queue: 64 << 20,
        }
    }
}
