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

use crate::{pem, time::civil};

/// How long certificates are valid: a CA outlives what it signs, so that there is time to replace it.
const CA_YEARS: i32 = 10;
const YEARS: i32 = 5;

/// The names of the CAs. What they have signed names them, so another name would need new certificates.
const PEER_CA: (&str, &str) = ("peer-ca", "zraft members");
const CLIENT_CA: (&str, &str) = ("client-ca", "zraft clients");

/// The two CAs of a cluster. Their keys can make certificates for anyone, so they belong in no member's folder.
pub struct Authorities {
    /// Signs the certificates with which members speak to each other.
    peers: Authority,
    /// Signs those of the client ports, and those of the clients.
    clients: Authority,
}

struct Authority {
    /// Its certificate, in PEM form.
    pem: String,
    issuer: Issuer<'static, KeyPair>,
}

impl Authorities {
    /// Makes new CAs.
    ///
    /// # Errors
    /// The system has no random numbers, or its clock is far off.
    pub fn new() -> io::Result<Self> {
        Ok(Self { peers: Authority::new(PEER_CA.1)?, clients: Authority::new(CLIENT_CA.1)? })
    }

    /// Opens the CAs that [`create_in`](Self::create_in) has written, to sign more with them.
    ///
    /// # Errors
    /// A file cannot be read, or holds something else. The text names the file, and never shows a key.
    pub fn open(folder: &Path) -> io::Result<Self> {
        let open = |(file, name)| Authority::open(folder, file, name);
        Ok(Self { peers: open(PEER_CA)?, clients: open(CLIENT_CA)? })
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
        for ((name, _), authority) in [(PEER_CA, &self.peers), (CLIENT_CA, &self.clients)] {
            write(&folder.join(format!("{name}.pem")), &authority.pem)?;
            write(&folder.join(format!("{name}.key")), &authority.issuer.key().serialize_pem())?;
        }
        Ok(())
    }

    /// Writes the certificate of a member's peer port into its folder: `peer.pem`, `peer.key` and `peer-ca.pem`.
    ///
    /// # Errors
    /// A file exists, or an error of the file system.
    pub fn write_peer_port(
        &self,
        folder: &Path,
        cluster: ClusterId,
        member: RaftId,
    ) -> io::Result<()> {
        use ExtendedKeyUsagePurpose::{ClientAuth, ServerAuth};
        let peer = vec![peer_certificate_name(cluster, member)];
        let issued = self.peers.issue(&subject(member), peer, [ServerAuth, ClientAuth]);
        issued.write(folder, "peer")?;
        write(&folder.join("peer-ca.pem"), &self.peers.pem)
    }

    /// Writes the certificate of a member's client port, which clients reach under the names of `hosts`, into its folder:
    /// `client.pem`, `client.key` and `client-ca.pem`.
    ///
    /// # Errors
    /// A host is not a name or an address, a file exists, or an error of the file system.
    pub fn write_client_port(
        &self,
        folder: &Path,
        member: RaftId,
        hosts: &[String],
    ) -> io::Result<()> {
        let purposes = [ExtendedKeyUsagePurpose::ServerAuth];
        self.clients.issue(&subject(member), hosts.to_vec(), purposes).write(folder, "client")?;
        write(&folder.join("client-ca.pem"), &self.clients.pem)
    }

    /// Writes the certificate of a member's admin port, which operators reach under the names of `hosts`, into its folder:
    /// `admin.pem` and `admin.key`. It is of the clients' CA, which operators trust.
    ///
    /// # Errors
    /// A host is not a name or an address, a file exists, or an error of the file system.
    pub fn write_admin_port(
        &self,
        folder: &Path,
        member: RaftId,
        hosts: &[String],
    ) -> io::Result<()> {
        let purposes = [ExtendedKeyUsagePurpose::ServerAuth];
        self.clients.issue(&subject(member), hosts.to_vec(), purposes).write(folder, "admin")
    }

    /// Writes a certificate for clients, `client.pem` with `client.key`, and the CA that they trust, `client-ca.pem`.
    ///
    /// # Errors
    /// A file exists, or an error of the file system.
    pub fn write_client(&self, folder: &Path) -> io::Result<()> {
        let client = self.clients.issue("client", vec![], [ExtendedKeyUsagePurpose::ClientAuth]);
        client.write(folder, "client")?;
        write(&folder.join("client-ca.pem"), &self.clients.pem)
    }
}

fn subject(member: RaftId) -> String {
    format!("member {member}")
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
        let params = Self::params(name)?;
        let key = KeyPair::generate().map_err(io::Error::other)?;
        let certificate = params.self_signed(&key).map_err(io::Error::other)?;
        Ok(Self { pem: certificate.pem(), issuer: Issuer::new(params, key) })
    }

    fn open(folder: &Path, file: &str, name: &str) -> io::Result<Self> {
        let read = |kind: &str| {
            let path = folder.join(format!("{file}.{kind}"));
            let text = pem::read(&path).and_then(|bytes| {
                String::from_utf8(bytes).map_err(|_| io::ErrorKind::InvalidData.into())
            });
            let text = text.map_err(|error| named(&path, error))?;
            Ok::<_, io::Error>((path, text))
        };
        let ((_, pem), (path, key)) = (read("pem")?, read("key")?);
        // The error of the parser could repeat a part of the key.
        let key = KeyPair::from_pem(&key)
            .map_err(|_| named(&path, io::Error::other("holds no private key in PEM form")))?;
        // What it signs needs the CA's name and key only.
        Ok(Self { pem, issuer: Issuer::new(Self::params(name)?, key) })
    }

    fn params(name: &str) -> io::Result<CertificateParams> {
        let mut params = params(name, vec![], CA_YEARS).map_err(io::Error::other)?;
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        Ok(params)
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
    let named = |error| named(path, error);
    let mut file = options.open(path).map_err(named)?;
    file.write_all(text.as_bytes()).map_err(named)?;
    file.sync_all().map_err(named)
}

fn named(path: &Path, error: io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}
