//! Whose admin port an operator trusts.

use std::{fmt, io, net::IpAddr, path::Path, sync::Arc};

use tokio::net::TcpStream;
use tokio_rustls::{
    TlsConnector,
    client::TlsStream,
    rustls::{
        CertificateError, ClientConfig, Error, RootCertStore,
        crypto::ring,
        pki_types::{CertificateDer, ServerName, pem::PemObject},
    },
};

use crate::pem;

/// The CA that has signed the certificates of the admin ports, and the name that they have.
#[derive(Clone)]
pub struct Trust {
    connector: TlsConnector,
    /// The name in the certificates; by default the address of each port.
    name: Option<ServerName<'static>>,
}

impl fmt::Debug for Trust {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Trust").field("name", &self.name).finish_non_exhaustive()
    }
}

impl Trust {
    /// Reads the CA from a file in PEM form.
    ///
    /// # Errors
    /// A text that names the file or the name, and says what is wrong with it.
    pub fn read(ca: &Path, name: Option<&str>) -> Result<Self, String> {
        let place = ca.display();
        let text = pem::read(ca).map_err(|error| format!("{place}: {error}"))?;
        let certificates = CertificateDer::pem_slice_iter(&text).collect::<Result<Vec<_>, _>>();
        let certificates = certificates.map_err(|error| format!("{place}: {error}"))?;
        let mut roots = RootCertStore::empty();
        let (read, _) = roots.add_parsable_certificates(certificates);
        if read == 0 {
            return Err(format!("{place} holds no certificate of a CA in PEM form"));
        }
        let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|error| error.to_string())?
            .with_root_certificates(roots)
            .with_no_client_auth();
        let name = name.map(|name| {
            let checked = ServerName::try_from(name.to_owned());
            checked.map_err(|_| format!("{name} is not a host name or an IP address"))
        });
        Ok(Self { connector: TlsConnector::from(Arc::new(config)), name: name.transpose()? })
    }

    /// Completes the handshake with the port at this address.
    ///
    /// # Errors
    /// What went wrong and what to do.
    pub(super) async fn connect(
        &self,
        address: IpAddr,
        stream: TcpStream,
    ) -> Result<TlsStream<TcpStream>, String> {
        let name = self.name.clone().unwrap_or_else(|| ServerName::from(address));
        self.connector.connect(name, stream).await.map_err(|error| explain(&error))
    }
}

fn explain(error: &io::Error) -> String {
    let tls = error.get_ref().and_then(|error| error.downcast_ref::<Error>());
    match tls {
        Some(Error::InvalidCertificate(CertificateError::UnknownIssuer)) => {
            "its certificate is not signed by the CA in --tls-ca".to_owned()
        }
        Some(Error::InvalidCertificate(
            error @ (CertificateError::NotValidForName
            | CertificateError::NotValidForNameContext { .. }),
        )) => format!("{error}: give a name that the certificate has by --tls-server-name"),
        Some(Error::InvalidCertificate(error)) => {
            format!("its certificate is refused: {error}; replace it on the member")
        }
        Some(Error::InvalidMessage(_)) => {
            "it does not speak TLS: leave --tls-ca out, or set admin.certificate and admin.key on the member"
                .to_owned()
        }
        Some(other) => other.to_string(),
        None => format!("the TLS handshake failed: {error}"),
    }
}
