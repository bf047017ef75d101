//! Where a member listens: `tcp://host:port`, `tls://host:port` or `ipc://path`. An IPv6 host stands in brackets.

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

/// The longest path of a Unix socket that every platform accepts: macOS has 104 bytes with the
/// closing zero, Linux 108.
const MAX_IPC_PATH: usize = 103;

/// The longest host name that DNS carries, as text.
const MAX_HOST: usize = 253;

/// The longest part of a host name between two dots.
const MAX_LABEL: usize = 63;

/// The address of a member's client port.
///
/// An endpoint is made by parsing. Parsing checks the form only; whether a member answers at the
/// address is known when the client connects.
///
/// ```
/// use zraft_core::Endpoint;
///
/// let endpoint: Endpoint = "tcp://[::1]:7001".parse()?;
/// assert_eq!(endpoint, Endpoint::Tcp { host: "::1".into(), port: 7001 });
/// assert_eq!(endpoint.to_string(), "tcp://[::1]:7001");
/// # Ok::<(), zraft_core::EndpointError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Endpoint {
    /// A TCP port.
    Tcp {
        /// A host name, an IPv4 address, or an IPv6 address without its brackets.
        host: String,
        /// The port, from 1 to 65535.
        port: u16,
    },
    /// A TCP port with TLS.
    Tls {
        /// A host name, an IPv4 address, or an IPv6 address without its brackets. The member's certificate must name it
        /// unless the client's TLS settings give another name.
        host: String,
        /// The port, from 1 to 65535.
        port: u16,
    },
    /// A Unix domain socket.
    Ipc {
        /// The path of the socket file.
        path: String,
    },
}

/// Why a text is not an endpoint.
///
/// The messages never repeat the text: it may hold credentials that belong elsewhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EndpointError {
    /// The text starts with none of `tcp://`, `tls://` and `ipc://`.
    #[error("an endpoint begins with tcp://, tls:// or ipc://, in lower case")]
    Scheme,
    /// There is user information, such as `user:password@`, before the host.
    #[error("an endpoint has no user information: remove everything up to and including the '@'")]
    UserInfo,
    /// The text contains a space, a tab, a line end or another control character.
    #[error("an endpoint has no white space and no control characters: remove them")]
    Whitespace,
    /// A path, query or fragment follows the port.
    #[error("nothing may follow the port: remove the path, query or fragment")]
    AfterPort,
    /// There is no `:port` at the end.
    #[error("the port is missing: write tcp://host:port or tls://host:port")]
    MissingPort,
    /// The port is not a number from 1 to 65535.
    #[error("the port must be a number from 1 to 65535")]
    Port,
    /// There is no host before the port.
    #[error("the host is missing: write tcp://host:port or tls://host:port")]
    MissingHost,
    /// The host is neither a name nor an IPv4 address.
    #[error("the host must be a name, an IPv4 address, or an IPv6 address in brackets")]
    Host,
    /// The brackets do not contain an IPv6 address, or an IPv6 address has no brackets.
    #[error("write an IPv6 address in brackets and without a zone: tcp://[::1]:7001")]
    Ipv6,
    /// The `ipc://` path is empty, too long, or not the path of a file.
    #[error("an ipc:// path has 1 to {MAX_IPC_PATH} bytes and names a socket file")]
    IpcPath,
    /// This platform has no Unix domain sockets.
    #[error("this platform has no ipc:// endpoints: use tcp://host:port or tls://host:port")]
    IpcUnsupported,
}

impl FromStr for Endpoint {
    type Err = EndpointError;

    fn from_str(text: &str) -> Result<Self, EndpointError> {
        if let Some(authority) = text.strip_prefix("tcp://") {
            let (host, port) = parse_authority(authority)?;
            Ok(Self::Tcp { host, port })
        } else if let Some(authority) = text.strip_prefix("tls://") {
            let (host, port) = parse_authority(authority)?;
            Ok(Self::Tls { host, port })
        } else if let Some(path) = text.strip_prefix("ipc://") {
            parse_ipc(path)
        } else {
            Err(EndpointError::Scheme)
        }
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (scheme, host, port) = match self {
            Self::Tcp { host, port } => ("tcp", host, port),
            Self::Tls { host, port } => ("tls", host, port),
            Self::Ipc { path } => return write!(f, "ipc://{path}"),
        };
        if host.contains(':') {
            write!(f, "{scheme}://[{host}]:{port}")
        } else {
            write!(f, "{scheme}://{host}:{port}")
        }
    }
}

/// Returns the host, without brackets, and the port.
fn parse_authority(authority: &str) -> Result<(String, u16), EndpointError> {
    if authority.contains('@') {
        return Err(EndpointError::UserInfo);
    }
    if authority.chars().any(|c| c.is_whitespace() || c.is_control()) {
        return Err(EndpointError::Whitespace);
    }
    if authority.contains(['/', '?', '#']) {
        return Err(EndpointError::AfterPort);
    }
    let (host, port) = match authority.strip_prefix('[') {
        Some(bracketed) => {
            let (address, rest) = bracketed.split_once(']').ok_or(EndpointError::Ipv6)?;
            let port = rest.strip_prefix(':').ok_or(EndpointError::MissingPort)?;
            let address: Ipv6Addr = address.parse().map_err(|_| EndpointError::Ipv6)?;
            (address.to_string(), port)
        }
        None => {
            let (host, port) = authority.rsplit_once(':').ok_or(EndpointError::MissingPort)?;
            if host.contains(':') {
                return Err(EndpointError::Ipv6);
            }
            check_host(host)?;
            (host.to_owned(), port)
        }
    };
    Ok((host, parse_port(port)?))
}

fn parse_port(text: &str) -> Result<u16, EndpointError> {
    if text.is_empty() {
        return Err(EndpointError::MissingPort);
    }
    // Digits only: the integer parser would also take a plus sign.
    if !text.bytes().all(|b| b.is_ascii_digit()) {
        return Err(EndpointError::Port);
    }
    match text.parse() {
        Ok(0) | Err(_) => Err(EndpointError::Port),
        Ok(port) => Ok(port),
    }
}

fn check_host(host: &str) -> Result<(), EndpointError> {
    if host.is_empty() {
        return Err(EndpointError::MissingHost);
    }
    if host.len() > MAX_HOST {
        return Err(EndpointError::Host);
    }
    // A fully qualified name may end in a dot.
    let labels = host.strip_suffix('.').unwrap_or(host);
    let well_formed = |label: &str| {
        (1..=MAX_LABEL).contains(&label.len())
            && !label.starts_with('-')
            && !label.ends_with('-')
            // Host names have no underscore, but container networks make names that do.
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
    };
    if !labels.split('.').all(well_formed) {
        return Err(EndpointError::Host);
    }
    // A host that ends in a number must be an IPv4 address: resolvers disagree on "1.2.3" and "010.0.0.1".
    let last = labels.rsplit('.').next().unwrap_or_default();
    if last.bytes().all(|b| b.is_ascii_digit()) && host.parse::<Ipv4Addr>().is_err() {
        return Err(EndpointError::Host);
    }
    Ok(())
}

fn parse_ipc(path: &str) -> Result<Endpoint, EndpointError> {
    if !cfg!(unix) {
        return Err(EndpointError::IpcUnsupported);
    }
    if path.chars().any(char::is_control) || path.trim() != path {
        return Err(EndpointError::Whitespace);
    }
    // '*' asks a server to choose a path, '@' names an abstract socket of Linux; neither is a file.
    if path.is_empty() || path.len() > MAX_IPC_PATH || path == "*" || path.starts_with('@') {
        return Err(EndpointError::IpcPath);
    }
    Ok(Endpoint::Ipc { path: path.to_owned() })
}
