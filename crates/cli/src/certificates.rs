//! The certificates of a new cluster, which `zraft init --tls` makes: two CAs, and what they sign.

use std::{
    fs::{DirBuilder, OpenOptions},
    io::{self, Write},
    path::Path,
    time::{SystemTime, UNIX_EPOCH},
};

use rcgen::{
    BasicConstraints, Certificate, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose, date_time_ymd,
};
use zraft_server::{ClusterId, RaftId, peer_certificate_name};

use crate::time::civil;

/// How long certificates are valid: a CA outlives what it signs, so that there is time to replace it.
const CA_YEARS: i32 = 10;
const YEARS: i32 = 5;

/// The two CAs of a cluster. Their keys can make certificates for anyone, so they belong in no member's folder.
pub struct Authorities {
    /// Signs the certificates with which members speak to each other.
    peers: Authority,
    /// Signs those of the client ports, and those of the clients.
    clients: Authority,
}

struct Authority {
    certificate: Certificate,
    issuer: Issuer<'static, KeyPair>,
}

impl Authorities {
    /// Makes new CAs.
    ///
    /// # Errors
    /// The system has no random numbers, or its clock is far off.
    pub fn new(cluster: ClusterId) -> io::Result<Self> {
        Ok(Self {
            peers: Authority::new(&format!("zraft members of {cluster}"))?,
            clients: Authority::new(&format!("zraft clients of {cluster}"))?,
        })
    }

    /// Writes the CAs with their keys into a new folder, which only its owner may read.
    ///
    /// # Errors
    /// The folder exists, or an error of the file system.
    pub fn create_in(&self, folder: &Path) -> io::Result<()> {
        let mut builder = DirBuilder::new();
        #[cfg(unix)]
        std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
        builder.create(folder)?;
        for (name, authority) in [("peer-ca", &self.peers), ("client-ca", &self.clients)] {
            write(&folder.join(format!("{name}.pem")), &authority.certificate.pem())?;
            write(&folder.join(format!("{name}.key")), &authority.issuer.key().serialize_pem())?;
        }
        Ok(())
    }

    /// Writes the certificates of a member into its folder: `peer.pem`, `peer.key` and `peer-ca.pem` for the peer port, and
    /// `client.pem`, `client.key` and `client-ca.pem` for the client port, which clients reach under the names of `hosts`.
    ///
    /// # Errors
    /// A host is not a name or an address, a file exists, or an error of the file system.
    pub fn write_member(
        &self,
        folder: &Path,
        cluster: ClusterId,
        member: RaftId,
        hosts: &[String],
    ) -> io::Result<()> {
        use ExtendedKeyUsagePurpose::{ClientAuth, ServerAuth};
        let peer = vec![peer_certificate_name(cluster, member)];
        let name = format!("member {member}");
        self.peers.issue(&name, peer, [ServerAuth, ClientAuth]).write(folder, "peer")?;
        write(&folder.join("peer-ca.pem"), &self.peers.certificate.pem())?;
        self.clients.issue(&name, hosts.to_vec(), [ServerAuth]).write(folder, "client")?;
        write(&folder.join("client-ca.pem"), &self.clients.certificate.pem())
    }

    /// Writes a certificate for clients, `client.pem` with `client.key`, and the CA that they trust, `client-ca.pem`.
    ///
    /// # Errors
    /// A file exists, or an error of the file system.
    pub fn write_client(&self, folder: &Path) -> io::Result<()> {
        let client = self.clients.issue("client", vec![], [ExtendedKeyUsagePurpose::ClientAuth]);
        client.write(folder, "client")?;
        write(&folder.join("client-ca.pem"), &self.clients.certificate.pem())
    }
}

impl std::fmt::Debug for Authorities {
    /// Shows no key.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Authorities").finish_non_exhaustive()
    }
}

/// A certificate and its key, in PEM form.
struct Issued(Result<(Certificate, KeyPair), rcgen::Error>);

impl Issued {
    fn write(self, folder: &Path, name: &str) -> io::Result<()> {
        let (certificate, key) = self.0.map_err(io::Error::other)?;
        write(&folder.join(format!("{name}.pem")), &certificate.pem())?;
        write(&folder.join(format!("{name}.key")), &key.serialize_pem())
    }
}

impl Authority {
    fn new(name: &str) -> io::Result<Self> {
        let mut params = params(name, vec![], CA_YEARS).map_err(io::Error::other)?;
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let key = KeyPair::generate().map_err(io::Error::other)?;
        let certificate = params.self_signed(&key).map_err(io::Error::other)?;
        Ok(Self { certificate, issuer: Issuer::new(params, key) })
    }

    fn issue(
        &self,
        name: &str,
        hosts: Vec<String>,
        purposes: impl Into<Vec<ExtendedKeyUsagePurpose>>,
    ) -> Issued {
        let purposes = purposes.into();
        let issue = || {
            let mut params = params(name, hosts, YEARS)?;
            params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
            params.extended_key_usages = purposes;
            params.use_authority_key_identifier_extension = true;
            let key = KeyPair::generate()?;
            let certificate = params.signed_by(&key, &self.issuer)?;
            Ok((certificate, key))
        };
        Issued(issue())
    }
}

/// Returns the fields that all certificates have. They are valid from yesterday on, for machines whose clock is behind.
fn params(name: &str, hosts: Vec<String>, years: i32) -> Result<CertificateParams, rcgen::Error> {
    let mut params = CertificateParams::new(hosts)?;
    params.distinguished_name.push(DnType::CommonName, name);
    let seconds = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let (year, month, day) = civil(i64::try_from(seconds / 86_400).unwrap_or(0) - 1);
    // A certificate has years of four digits. A clock that is this far off makes none that is of use.
    let year = i32::try_from(year.clamp(1970, 9000)).unwrap_or(9000);
    let (month, day) = (u8::try_from(month).unwrap_or(1), u8::try_from(day).unwrap_or(1));
    // Every month of every year has this day.
    let day = day.min(28);
    params.not_before = date_time_ymd(year, month, day);
    params.not_after = date_time_ymd(year + years, month, day);
    Ok(params)
}

/// Writes a new file that only its owner may read.
fn write(path: &Path, text: &str) -> io::Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let named =
        |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", path.display()));
    let mut file = options.open(path).map_err(named)?;
    file.write_all(text.as_bytes()).map_err(named)?;
    file.sync_all().map_err(named)
}
