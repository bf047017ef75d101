//! Why a TLS handshake failed, in words for the operator.

use std::{fmt, io, net::SocketAddr};

use tokio_rustls::rustls::{AlertDescription, CertificateError, Error};

/// The longest text about a failure, in bytes. rustls repeats the purposes of a refused certificate, of which a stranger can give
/// thousands, and a stranger must not fill the disk with lines of the log.
const PROBLEM_BYTES: usize = 400;

/// A port of a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Port {
    /// The port for clients.
    Client,
    /// The port for other members, or a connection to that of another one.
    Peer,
    /// The port for operators.
    Admin,
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

impl TlsFailure {
    /// Returns the failure of a handshake at this port, with its reason in words for the operator. Logs, events and errors
    /// show it by [`Display`](fmt::Display).
    pub(crate) fn explain(port: Port, remote: Option<SocketAddr>, error: &io::Error) -> Self {
        let mut problem = explain(error, port.remedies());
        while problem.len() > PROBLEM_BYTES {
            problem.pop();
        }
        Self { port, remote, problem }
    }
}

impl fmt::Display for TlsFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let whom = match self.port {
            Port::Client => "client",
            Port::Peer => "member",
            Port::Admin => "operator",
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

/// What an operator does about the failures of one port.
struct Remedies {
    no_certificate: &'static str,
    unknown_issuer: &'static str,
    /// The other side's certificate is right, but not at this time.
    not_valid_now: &'static str,
    /// The other side says that of this member's certificate.
    own_not_valid_now: &'static str,
    /// The other side refuses this member's certificate for another reason.
    own_refused: &'static str,
    no_tls: &'static str,
}

static OF_CLIENTS: Remedies = Remedies {
    no_certificate: "the client shows no certificate: give it one that the CA in client.ca has signed",
    unknown_issuer: "the client's certificate is not signed by the CA in client.ca",
    not_valid_now: "the client's certificate is not valid now: give the client a new one, or set the clock of this machine",
    own_not_valid_now: "for the client, this member's certificate is not valid now: replace the files in client.certificate and client.key, or set the client's clock",
    own_refused: "the client does not accept this member's certificate: give it the CA that has signed client.certificate, and connect by a name in it",
    no_tls: "let the endpoint in the client begin with tls://",
};

static OF_PEERS: Remedies = Remedies {
    no_certificate: "the other member shows no certificate: set its peer.certificate and peer.key",
    unknown_issuer: "the other member's certificate is not signed by the CA in peer.ca: all members need certificates of the same CA",
    not_valid_now: "the other member's certificate is not valid now: replace the files in its peer.certificate and peer.key, or set the clock of this machine",
    own_not_valid_now: "for the other member, this one's certificate is not valid now: replace the files in peer.certificate and peer.key, or set the other machine's clock",
    own_refused: "the other member does not accept this one's certificate: check that peer.ca is the same on both",
    no_tls: "set its peer.certificate, peer.key and peer.ca if it has none",
};

static OF_ADMINS: Remedies = Remedies {
    no_certificate: "the operator shows no certificate",
    unknown_issuer: "the operator's certificate is not known",
    not_valid_now: "the operator's certificate is not valid now",
    own_not_valid_now: "for the operator, this member's certificate is not valid now: replace the files in admin.certificate and admin.key, or set the operator's clock",
    own_refused: "the operator does not accept this member's certificate: give zraft cluster by --tls-ca the CA that has signed admin.certificate, and connect by a name in it",
    no_tls: "let addresses begin with https://, and give zraft cluster the CA by --tls-ca",
};

impl Port {
    fn remedies(self) -> &'static Remedies {
        match self {
            Self::Client => &OF_CLIENTS,
            Self::Peer => &OF_PEERS,
            Self::Admin => &OF_ADMINS,
        }
    }

    /// Returns its name in the configuration, in metrics and in the status.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::Peer => "peer",
            Self::Admin => "admin",
        }
    }
}

fn explain(error: &io::Error, remedies: &Remedies) -> String {
    match tls_error(error) {
        Some(Error::NoCertificatesPresented) => remedies.no_certificate.to_owned(),
        Some(Error::InvalidCertificate(CertificateError::UnknownIssuer)) => {
            remedies.unknown_issuer.to_owned()
        }
        Some(Error::InvalidCertificate(error)) if depends_on_time(error) => {
            format!("{} ({error})", remedies.not_valid_now)
        }
        Some(Error::InvalidCertificate(error)) => {
            format!("the certificate of the other side is refused: {error}")
        }
        Some(Error::AlertReceived(AlertDescription::CertificateRequired)) => {
            "the other side asks for a certificate, and this member has shown none".to_owned()
        }
        Some(Error::AlertReceived(AlertDescription::CertificateExpired)) => {
            remedies.own_not_valid_now.to_owned()
        }
        Some(Error::AlertReceived(
            alert @ (AlertDescription::BadCertificate
            | AlertDescription::UnsupportedCertificate
            | AlertDescription::CertificateRevoked
            | AlertDescription::CertificateUnknown
            | AlertDescription::UnknownCA
            | AlertDescription::AccessDenied
            | AlertDescription::DecryptError),
        )) => format!("{} ({alert:?})", remedies.own_refused),
        Some(Error::InvalidMessage(_)) => {
            format!("the other side sent bytes that are not TLS: {}", remedies.no_tls)
        }
        Some(other) => other.to_string(),
        None if is_close(error.kind()) => {
            format!(
                "the other side closed the connection during the TLS handshake: {}",
                remedies.no_tls
            )
        }
        None => error.to_string(),
    }
}

/// Returns true if the other side has closed the connection. A side that has not read everything resets it.
fn is_close(kind: io::ErrorKind) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionReset, UnexpectedEof};
    matches!(kind, UnexpectedEof | ConnectionReset | ConnectionAborted)
}

/// Returns true if the certificate is refused only because of the time.
fn depends_on_time(error: &CertificateError) -> bool {
    matches!(
        error,
        CertificateError::Expired
            | CertificateError::ExpiredContext { .. }
            | CertificateError::NotValidYet
            | CertificateError::NotValidYetContext { .. }
    )
}

/// A certificate of this member that the other members refuse.
pub(super) enum OwnProblem {
    /// It is the wrong one.
    Wrong(String),
    /// It has expired or is not valid yet. A member starts with it, because its clock may be wrong, and because a restart
    /// must not take a member out of service that connections from before still reach.
    NotValidNow(String),
}

/// Returns why the other members refuse the certificate of this one.
pub(super) fn of_own(error: &Error, name: &str) -> OwnProblem {
    OwnProblem::Wrong(match error {
        Error::InvalidCertificate(error) if depends_on_time(error) => {
            return OwnProblem::NotValidNow(format!(
                "it is not valid now, and the other members refuse it: replace it and its key, or set the clock of this machine ({error})"
            ));
        }
        Error::InvalidCertificate(
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
        ) => format!(
            "it does not name this member: issue one with the DNS name {name} for this data directory"
        ),
        Error::InvalidCertificate(CertificateError::UnknownIssuer) => {
            "it is not signed by the CA in peer.ca: give the CA that has signed it".to_owned()
        }
        other => format!("the other members would refuse it: {other}"),
    })
}

#[cfg(test)]
mod tests {
    use tokio_rustls::rustls::ExtendedKeyPurpose;

    use super::*;

    #[test]
    fn reset_during_the_handshake_is_explained_as_a_close() {
        let remote = Some(SocketAddr::from(([127, 0, 0, 1], 7002)));
        let explained =
            |kind: io::ErrorKind| TlsFailure::explain(Port::Peer, remote, &kind.into()).to_string();
        let closed = explained(io::ErrorKind::UnexpectedEof);
        assert_eq!(
            closed,
            "TLS with the member at 127.0.0.1:7002: the other side closed the connection during the TLS handshake: set its peer.certificate, peer.key and peer.ca if it has none"
        );
        assert_eq!(explained(io::ErrorKind::ConnectionReset), closed);
        assert_ne!(explained(io::ErrorKind::TimedOut), closed);
    }

    #[test]
    fn certificate_with_thousands_of_purposes_is_explained_in_a_short_line() {
        let error = Error::InvalidCertificate(CertificateError::InvalidPurposeContext {
            required: ExtendedKeyPurpose::ClientAuth,
            presented: vec![ExtendedKeyPurpose::Other(vec![1, 2, 840]); 10_000],
        });
        let failure = TlsFailure::explain(Port::Client, None, &io::Error::other(error));
        let begin = "the certificate of the other side is refused: certificate does not allow ";
        assert!(failure.problem.starts_with(begin), "{failure}");
        assert!(failure.problem.len() <= PROBLEM_BYTES, "{} bytes", failure.problem.len());
    }
}
