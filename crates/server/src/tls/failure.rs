//! Why a TLS handshake failed, in words for the operator.

use std::{fmt, io, net::SocketAddr};

use tokio_rustls::rustls::{AlertDescription, CertificateError, Error};

/// A port of a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Port {
    /// The port for clients.
    Client,
    /// The port for other members, or a connection to that of another one.
    Peer,
}

/// A TLS handshake that failed.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct TlsFailure {
    /// The port.
    pub port: Port,
    /// The address at the other end; none if it is gone already.
    pub remote: Option<SocketAddr>,
    /// What went wrong, and what to do.
    pub problem: String,
}

impl fmt::Display for TlsFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let whom = match self.port {
            Port::Client => "client",
            Port::Peer => "member",
        };
        match self.remote {
            Some(remote) => write!(f, "TLS with the {whom} at {remote}: {}", self.problem),
            None => write!(f, "TLS with a {whom}: {}", self.problem),
        }
    }
}

/// Returns true if TLS failed, and not the connection below it.
pub(crate) fn is_tls(error: &io::Error) -> bool {
    tls_error(error).is_some()
}

fn tls_error(error: &io::Error) -> Option<&Error> {
    error.get_ref()?.downcast_ref()
}

/// Returns why the handshake with a client failed.
pub(crate) fn of_client(error: &io::Error) -> String {
    explain(
        error,
        "the client shows no certificate: give it one that the CA in client.ca has signed",
        "the client's certificate is not signed by the CA in client.ca",
        "the client does not accept this member's certificate: give it the CA that has signed client.certificate, and connect by a name in it",
        "let the endpoint in the client begin with tls://",
    )
}

/// Returns why the handshake with another member failed.
pub(crate) fn of_peer(error: &io::Error) -> String {
    explain(
        error,
        "the other member shows no certificate: set its peer.certificate and peer.key",
        "the other member's certificate is not signed by the CA in peer.ca: all members need certificates of the same CA",
        "the other member does not accept this one's certificate: check that peer.ca is the same on both, and that no certificate has expired",
        "set its peer.certificate, peer.key and peer.ca if it has none",
    )
}

fn explain(
    error: &io::Error,
    no_certificate: &str,
    unknown_issuer: &str,
    not_accepted: &str,
    no_tls: &str,
) -> String {
    match tls_error(error) {
        Some(Error::NoCertificatesPresented) => no_certificate.to_owned(),
        Some(Error::InvalidCertificate(CertificateError::UnknownIssuer)) => {
            unknown_issuer.to_owned()
        }
        Some(Error::InvalidCertificate(error)) => {
            format!("the certificate of the other side is refused: {error}")
        }
        Some(Error::AlertReceived(AlertDescription::CertificateRequired)) => {
            "the other side asks for a certificate, and this member has shown none".to_owned()
        }
        Some(Error::AlertReceived(
            alert @ (AlertDescription::BadCertificate
            | AlertDescription::UnsupportedCertificate
            | AlertDescription::CertificateRevoked
            | AlertDescription::CertificateExpired
            | AlertDescription::CertificateUnknown
            | AlertDescription::UnknownCA
            | AlertDescription::AccessDenied
            | AlertDescription::DecryptError),
        )) => format!("{not_accepted} ({alert:?})"),
        Some(Error::InvalidMessage(_)) => {
            format!("the other side sent bytes that are not TLS: {no_tls}")
        }
        Some(other) => other.to_string(),
        None if error.kind() == io::ErrorKind::UnexpectedEof => {
            format!("the other side closed the connection during the TLS handshake: {no_tls}")
        }
        None => error.to_string(),
    }
}

/// Returns why the other members would refuse the certificate of this one; none for what time alone decides: a member
/// whose certificate has expired starts, and the others say why they refuse it.
pub(super) fn of_own(error: &Error, name: &str) -> Option<String> {
    match error {
        Error::InvalidCertificate(
            CertificateError::Expired
            | CertificateError::ExpiredContext { .. }
            | CertificateError::NotValidYet
            | CertificateError::NotValidYetContext { .. },
        ) => None,
        Error::InvalidCertificate(
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
        ) => Some(format!(
            "it does not name this member: issue one with the DNS name {name} for this data directory"
        )),
        Error::InvalidCertificate(CertificateError::UnknownIssuer) => {
            Some("it is not signed by the CA in peer.ca: give the CA that has signed it".to_owned())
        }
        other => Some(format!("the other members would refuse it: {other}")),
    }
}
