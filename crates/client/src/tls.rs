//! TLS for endpoints with `tls://`: the settings, and what they become.

use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::path::PathBuf;
use std::sync::Arc;

use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio_rustls::rustls::{self, AlertDescription, CertificateError, ClientConfig, RootCertStore};
use zraft_core::{OpenFailure, ValidationError};

/// The longest file: the list of public CAs that systems carry is about a quarter of a mebibyte.
const MAX_FILE: u64 = 4 << 20;
/// The longest part of an error of rustls that a text repeats, in bytes: room for the usual names of a certificate.
const BRIEF_BYTES: usize = 500;

/// How the client speaks TLS with the members whose endpoint begins with `tls://`.
///
/// [`ClientBuilder::tls`](crate::ClientBuilder::tls) takes it, and [`ClientBuilder::build`](crate::ClientBuilder::build)
/// reads the files and checks it. Certificates and keys are in PEM form. The client speaks TLS 1.2 and 1.3.
///
/// Each member must show a certificate that one of the CAs has signed, for the host of its endpoint.
///
/// ```no_run
/// use zraft_client::{RaftClient, Tls};
///
/// let client = RaftClient::builder()
///     .member("node-1", "tls://db-1.example.com:7001")
///     .tls(Tls::new().ca_file("ca.pem").certificate_files("client.pem", "client.key"))
///     .capability("role", "example")
///     .build()?;
/// # Ok::<(), zraft_client::Error>(())
/// ```
#[derive(Clone, Default)]
#[must_use]
pub struct Tls {
    ca: Option<Source>,
    identity: Option<Identity>,
    server_name: Option<String>,
}

#[derive(Clone)]
struct Identity {
    certificate: Source,
    key: Source,
}

/// Where PEM text comes from.
#[derive(Clone)]
enum Source {
    Text(Arc<[u8]>),
    File(PathBuf),
}

impl Tls {
    /// Returns settings without a CA, which [`ca`](Self::ca) or [`ca_file`](Self::ca_file) must give.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the certificates of the CAs that sign the members' certificates. Required; no other CA is trusted, and
    /// none of the system.
    pub fn ca(mut self, pem: impl AsRef<[u8]>) -> Self {
        self.ca = Some(Source::text(pem));
        self
    }

    /// Sets the file that [`ca`](Self::ca) describes. For members with certificates of a public CA, give the system's
    /// list, such as `/etc/ssl/certs/ca-certificates.crt`.
    pub fn ca_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.ca = Some(Source::File(path.into()));
        self
    }

    /// Sets the client's own certificate, followed by those of intermediate CAs, and its private key. Required if the
    /// members ask for one.
    pub fn certificate(mut self, pem: impl AsRef<[u8]>, key_pem: impl AsRef<[u8]>) -> Self {
        let (certificate, key) = (Source::text(pem), Source::text(key_pem));
        self.identity = Some(Identity { certificate, key });
        self
    }

    /// Sets the files that [`certificate`](Self::certificate) describes.
    pub fn certificate_files(
        mut self,
        certificate: impl Into<PathBuf>,
        key: impl Into<PathBuf>,
    ) -> Self {
        let (certificate, key) = (Source::File(certificate.into()), Source::File(key.into()));
        self.identity = Some(Identity { certificate, key });
        self
    }

    /// Sets the name that the members' certificates must have, in place of the host in each endpoint.
    pub fn server_name(mut self, name: impl Into<String>) -> Self {
        self.server_name = Some(name.into());
        self
    }

    /// The same settings, with this server name if they have none.
    pub(crate) fn server_name_unless_given(mut self, name: &str) -> Self {
        self.server_name.get_or_insert_with(|| name.to_owned());
        self
    }

    /// Reads the files and checks everything.
    pub(crate) fn connector(&self) -> Result<Connector, ValidationError> {
        let ca = self.ca.as_ref().ok_or_else(|| {
            refused("give the CA that signed the members' certificates".to_owned())
        })?;
        let mut roots = RootCertStore::empty();
        // The list of a system may hold an old certificate that no verifier reads.
        let (read, _) = roots.add_parsable_certificates(ca.certificates("the CA")?);
        if read == 0 {
            return Err(refused(format!("{} cannot be used as a CA", ca.name("the CA"))));
        }
        let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|error| refused(error.to_string()))?
            .with_root_certificates(roots);
        let config = match &self.identity {
            None => builder.with_no_client_auth(),
            Some(Identity { certificate, key }) => {
                let chain = certificate.certificates("the client's certificate")?;
                let pair = builder.with_client_auth_cert(chain, key.key()?);
                pair.map_err(|error| {
                    let name = certificate.name("the client's certificate");
                    refused(format!(
                        "{name} and its key cannot be used together: {error}; give the key that the certificate was made for"
                    ))
                })?
            }
        };
        let server_name = match &self.server_name {
            Some(name) => Some(ServerName::try_from(name.clone()).map_err(|_| {
                refused("the server name must be a host name or an IP address".to_owned())
            })?),
            None => None,
        };
        Ok(Connector { connector: TlsConnector::from(Arc::new(config)), server_name })
    }
}

impl fmt::Debug for Tls {
    /// Shows no certificate and no key.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls").field("server_name", &self.server_name).finish_non_exhaustive()
    }
}

impl Source {
    fn text(pem: impl AsRef<[u8]>) -> Self {
        Self::Text(pem.as_ref().into())
    }

    /// Returns what an error calls it.
    fn name(&self, what: &str) -> String {
        match self {
            Self::Text(_) => what.to_owned(),
            Self::File(path) => path.display().to_string(),
        }
    }

    fn read(&self) -> Result<Arc<[u8]>, ValidationError> {
        let path = match self {
            Self::Text(text) => return Ok(text.clone()),
            Self::File(path) => path,
        };
        let read = || {
            let mut bytes = Vec::new();
            File::open(path)?.take(MAX_FILE + 1).read_to_end(&mut bytes)?;
            if bytes.len() as u64 > MAX_FILE {
                return Err(io::Error::other(format!("longer than {MAX_FILE} bytes")));
            }
            Ok(bytes)
        };
        let bytes = read().map_err(|error| refused(format!("{}: {error}", path.display())))?;
        Ok(bytes.into())
    }

    fn certificates(&self, what: &str) -> Result<Vec<CertificateDer<'static>>, ValidationError> {
        let pem = self.read()?;
        let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
        match certificates {
            Ok(certificates) if !certificates.is_empty() => Ok(certificates),
            Ok(_) => Err(refused(format!(
                "{} holds no certificate in PEM form, which begins with -----BEGIN CERTIFICATE-----",
                self.name(what)
            ))),
            Err(error) => Err(refused(format!("{} is damaged: {error}", self.name(what)))),
        }
    }

    fn key(&self) -> Result<PrivateKeyDer<'static>, ValidationError> {
        // The error of the parser could repeat a part of the key.
        PrivateKeyDer::from_pem_slice(&self.read()?).map_err(|_| {
            let name = self.name("the client's key");
            refused(format!("{name} holds no private key in PEM form that is not encrypted"))
        })
    }
}

fn refused(problem: String) -> ValidationError {
    ValidationError::Tls { problem }
}

/// Checked settings, which open TLS connections.
#[derive(Clone)]
pub(crate) struct Connector {
    connector: TlsConnector,
    server_name: Option<ServerName<'static>>,
}

impl Connector {
    /// Completes the TLS handshake with the member at this host.
    pub(crate) async fn connect(
        &self,
        host: String,
        stream: TcpStream,
    ) -> Result<TlsStream<TcpStream>, OpenFailure> {
        let name = match &self.server_name {
            Some(name) => name.clone(),
            None => ServerName::try_from(host).map_err(|_| {
                OpenFailure::Tls(
                    "no certificate can have the host of this endpoint as its name: set the server name"
                        .to_owned(),
                )
            })?,
        };
        let connected = self.connector.connect(name, stream).await;
        connected.map_err(|error| OpenFailure::Tls(explain(&error)))
    }
}

impl fmt::Debug for Connector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connector").field("server_name", &self.server_name).finish_non_exhaustive()
    }
}

/// Returns why the peer refused the connection, if a read failed with its alert. With TLS 1.3 the alert about a client
/// certificate comes after the client's side of the handshake is complete.
pub(crate) fn refusal(error: &io::Error) -> Option<OpenFailure> {
    match tls_error(error) {
        Some(rustls::Error::AlertReceived(_)) => Some(OpenFailure::Tls(explain(error))),
        _ => None,
    }
}

fn tls_error(error: &io::Error) -> Option<&rustls::Error> {
    error.get_ref()?.downcast_ref()
}

/// Returns what went wrong and what to do.
fn explain(error: &io::Error) -> String {
    let Some(tls) = tls_error(error) else {
        return match error.kind() {
            io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset => {
                "the member closed the connection during the TLS handshake: write tcp:// if its client port has no TLS"
                    .to_owned()
            }
            _ => format!("the TLS handshake failed: {error}"),
        };
    };
    match tls {
        rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer) => {
            "the member's certificate is not signed by a CA that was given: give the one that has signed it"
                .to_owned()
        }
        rustls::Error::InvalidCertificate(
            error @ (CertificateError::NotValidForName
            | CertificateError::NotValidForNameContext { .. }),
        ) => format!(
            "{}: connect by a name that the certificate has, or set the server name",
            brief(error)
        ),
        rustls::Error::InvalidCertificate(
            error @ (CertificateError::Expired
            | CertificateError::ExpiredContext { .. }
            | CertificateError::NotValidYet
            | CertificateError::NotValidYetContext { .. }),
        ) => format!(
            "the member's certificate is not valid now: replace it on the member, or set the clock of this machine ({error})"
        ),
        rustls::Error::InvalidCertificate(error) => {
            format!("the member's certificate is refused: {}", brief(error))
        }
        rustls::Error::AlertReceived(AlertDescription::CertificateRequired) => {
            "the member asks for a client certificate: give one, and its key".to_owned()
        }
        rustls::Error::AlertReceived(AlertDescription::CertificateExpired) => {
            "for the member, the client certificate is not valid now: give the client a new one, or set the member's clock"
                .to_owned()
        }
        rustls::Error::AlertReceived(
            alert @ (AlertDescription::BadCertificate
            | AlertDescription::UnsupportedCertificate
            | AlertDescription::CertificateRevoked
            | AlertDescription::CertificateUnknown
            | AlertDescription::UnknownCA
            | AlertDescription::AccessDenied
            | AlertDescription::DecryptError),
        ) => format!(
            "the member refuses the client certificate ({alert:?}): give one that its CA for clients has signed"
        ),
        rustls::Error::InvalidMessage(_) => {
            "the client port does not speak TLS: write tcp://, or give the member a certificate"
                .to_owned()
        }
        other => format!("the TLS handshake failed: {}", brief(other)),
    }
}

/// Returns the beginning of an error's text. rustls repeats the names and purposes of a refused certificate, which can hold thousands.
fn brief(error: &impl fmt::Display) -> String {
    let mut text = error.to_string();
    while text.len() > BRIEF_BYTES {
        text.pop();
    }
    text
}

#[cfg(test)]
mod tests {
    use tokio_rustls::rustls::ExtendedKeyPurpose;

    use super::*;

    #[test]
    fn certificate_with_thousands_of_names_or_purposes_is_explained_in_a_short_text() {
        let expected = ServerName::try_from("node-1.example").expect("a name");
        let presented = vec!["other.example".to_owned(); 10_000];
        let names = CertificateError::NotValidForNameContext { expected, presented };
        let (required, other) = (ExtendedKeyPurpose::ServerAuth, vec![1, 2, 840]);
        let presented = vec![ExtendedKeyPurpose::Other(other); 10_000];
        let purposes = CertificateError::InvalidPurposeContext { required, presented };
        for (error, begin, end) in [
            (names, "certificate not valid for name \"node-1.example\"", "set the server name"),
            (purposes, "the member's certificate is refused: certificate does not allow ", ""),
        ] {
            let text = explain(&io::Error::other(rustls::Error::InvalidCertificate(error)));
            assert!(text.starts_with(begin) && text.ends_with(end), "{text}");
            assert!(text.len() < BRIEF_BYTES + 100, "{} bytes", text.len());
        }
    }
}
