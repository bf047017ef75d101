//! Certificates and keys on the disk.

use std::{
    fmt,
    fs::File,
    io::{self, Read},
    path::Path,
    sync::Arc,
};

use tokio_rustls::rustls::{
    self, RootCertStore,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};

use super::Files;
use crate::{AdminTls, ClientTls, PeerTls};

/// The longest file: the list of public CAs that systems carry is about a quarter of a mebibyte.
const MAX_FILE: u64 = 4 << 20;

/// Certificates or keys that cannot be used. The text names the file and the remedy, and never shows a key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{place}: {problem}")]
pub struct TlsError {
    place: String,
    problem: String,
}

impl TlsError {
    pub(super) fn new(place: impl Into<String>, problem: impl fmt::Display) -> Self {
        Self { place: place.into(), problem: problem.to_string() }
    }

    /// Returns the file.
    pub(super) fn place(&self) -> &str {
        &self.place
    }

    /// Returns the error of a certificate and a key that were refused.
    pub(super) fn pair(place: &str, error: &rustls::Error) -> Self {
        let problem = match error {
            rustls::Error::InconsistentKeys(_) => {
                "its key belongs to another certificate: give the key that it was made for"
                    .to_owned()
            }
            other => format!("it cannot be used with its key: {other}"),
        };
        Self::new(place, problem)
    }
}

/// The bytes of all files.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Contents {
    client: Option<PortFiles>,
    peer: Option<PortFiles>,
    admin: Option<PortFiles>,
}

/// The bytes of the files of one port.
#[derive(Clone, PartialEq, Eq)]
struct PortFiles {
    certificate: Vec<u8>,
    key: Vec<u8>,
    ca: Option<Vec<u8>>,
}

/// A chain of certificates and the private key of its first one.
pub(super) struct KeyPair {
    /// The file of the certificate.
    pub(super) place: String,
    pub(super) chain: Vec<CertificateDer<'static>>,
    pub(super) key: PrivateKeyDer<'static>,
}

impl KeyPair {
    pub(super) fn clone_key(&self) -> Self {
        Self { place: self.place.clone(), chain: self.chain.clone(), key: self.key.clone_key() }
    }
}

impl Contents {
    pub(super) fn read(Files { client, peer, admin }: &Files) -> Result<Self, TlsError> {
        let client = client
            .as_ref()
            .map(|files| PortFiles::read(&files.certificate, &files.key, files.ca.as_deref()));
        let peer = peer
            .as_ref()
            .map(|files| PortFiles::read(&files.certificate, &files.key, Some(&files.ca)));
        let admin =
            admin.as_ref().map(|files| PortFiles::read(&files.certificate, &files.key, None));
        Ok(Self { client: client.transpose()?, peer: peer.transpose()?, admin: admin.transpose()? })
    }

    pub(super) fn client_pair(&self, files: &ClientTls) -> Result<KeyPair, TlsError> {
        pair(self.client.as_ref(), &files.certificate, &files.key)
    }

    pub(super) fn client_ca(
        &self,
        files: &ClientTls,
    ) -> Result<Option<Arc<RootCertStore>>, TlsError> {
        let pem = self.client.as_ref().and_then(|bytes| bytes.ca.as_deref());
        match (pem, &files.ca) {
            (Some(pem), Some(path)) => Ok(Some(Arc::new(roots(pem, path)?))),
            _ => Ok(None),
        }
    }

    pub(super) fn admin_pair(&self, files: &AdminTls) -> Result<KeyPair, TlsError> {
        pair(self.admin.as_ref(), &files.certificate, &files.key)
    }

    pub(super) fn peer_pair(&self, files: &PeerTls) -> Result<KeyPair, TlsError> {
        pair(self.peer.as_ref(), &files.certificate, &files.key)
    }

    pub(super) fn peer_ca(&self, files: &PeerTls) -> Result<RootCertStore, TlsError> {
        let pem = self.peer.as_ref().and_then(|bytes| bytes.ca.as_deref());
        roots(pem.unwrap_or_default(), &files.ca)
    }
}

impl PortFiles {
    fn read(certificate: &Path, key: &Path, ca: Option<&Path>) -> Result<Self, TlsError> {
        Ok(Self {
            certificate: read(certificate, Secrecy::Public)?,
            key: read(key, Secrecy::Private)?,
            ca: ca.map(|path| read(path, Secrecy::Public)).transpose()?,
        })
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Secrecy {
    Public,
    Private,
}

fn read(path: &Path, secrecy: Secrecy) -> Result<Vec<u8>, TlsError> {
    let failed = |error: io::Error| TlsError::new(path.display().to_string(), error);
    let file = File::open(path).map_err(failed)?;
    if secrecy == Secrecy::Private {
        check_private(path, &file)?;
    }
    let mut bytes = Vec::new();
    // One byte more than the limit tells a file that is too long from one that just fits.
    file.take(MAX_FILE + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > MAX_FILE {
        let problem = format!("longer than {MAX_FILE} bytes");
        return Err(TlsError::new(path.display().to_string(), problem));
    }
    Ok(bytes)
}

/// Checks that other users cannot read a private key. A group may read a file of root: that is how orchestrators mount
/// secrets for a process that is not root.
#[cfg(unix)]
fn check_private(path: &Path, file: &File) -> Result<(), TlsError> {
    use std::os::unix::fs::MetadataExt;

    let place = path.display().to_string();
    let metadata = file.metadata().map_err(|error| TlsError::new(&place, error))?;
    let (mode, forbidden) =
        (metadata.mode() & 0o777, if metadata.uid() == 0 { 0o037 } else { 0o077 });
    if mode & forbidden == 0 {
        return Ok(());
    }
    let problem = format!(
        "other users have access to this private key, its mode is {mode:04o}: run chmod 600 on it, and replace the key if others may have read it"
    );
    Err(TlsError::new(place, problem))
}

/// Other systems keep files private by access lists, which are not looked at.
#[cfg(not(unix))]
fn check_private(_path: &Path, _file: &File) -> Result<(), TlsError> {
    Ok(())
}

fn pair(bytes: Option<&PortFiles>, certificate: &Path, key: &Path) -> Result<KeyPair, TlsError> {
    let (chain, private) = match bytes {
        Some(bytes) => (bytes.certificate.as_slice(), bytes.key.as_slice()),
        None => Default::default(),
    };
    let chain = certificates(chain, certificate)?;
    // The error of the parser could repeat a part of the key.
    let private = PrivateKeyDer::from_pem_slice(private).map_err(|_| {
        let problem = "holds no private key in PEM form that is not encrypted";
        TlsError::new(key.display().to_string(), problem)
    })?;
    Ok(KeyPair { place: certificate.display().to_string(), chain, key: private })
}

fn certificates(pem: &[u8], path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let place = path.display().to_string();
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    let certificates = certificates.map_err(|error| TlsError::new(&place, error))?;
    if certificates.is_empty() {
        let problem =
            "holds no certificate in PEM form, which begins with -----BEGIN CERTIFICATE-----";
        return Err(TlsError::new(place, problem));
    }
    Ok(certificates)
}

fn roots(pem: &[u8], path: &Path) -> Result<RootCertStore, TlsError> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(pem, path)? {
        roots.add(certificate).map_err(|error| {
            let problem = format!("holds a certificate that cannot be used as a CA: {error}");
            TlsError::new(path.display().to_string(), problem)
        })?;
    }
    Ok(roots)
}
