//! TLS of the three ports: what the certificates are, and how they are replaced while the member runs.
//!
//! Members speak TLS 1.3 only. A peer connection is mutual: each side has a certificate of the CA for peers that names
//! its cluster and its number. A client sees the member's certificate, and shows one of the CA for clients if the
//! member has such a CA. The two CAs are separate, so that a client's certificate opens no peer port. An operator sees
//! the member's certificate at the admin port, and shows a token.
//!
//! Connections that exist keep the certificates with which they began.

mod failure;
mod files;
mod validity;

use std::{
    fmt, io,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::sync::watch;
use tokio_rustls::{
    TlsAcceptor, TlsConnector,
    rustls::{
        ClientConfig, RootCertStore, ServerConfig,
        client::{
            Resumption, WebPkiServerVerifier, danger::ServerCertVerifier, verify_server_name,
        },
        crypto::{CryptoProvider, ring},
        pki_types::{CertificateDer, ServerName, UnixTime},
        server::{NoServerSessionStorage, ParsedCertificate, WebPkiClientVerifier},
        version::TLS13,
    },
};
use zraft_replica::{ClusterId, RaftId};
use zraft_store::Identity;

use crate::{
    AdminTls, ClientTls, PeerTls, Reload, ReloadStatus,
    reader::{Reader, Source},
};

use failure::OwnProblem;
pub(crate) use failure::is_tls;
pub use failure::{Port, TlsFailure};
pub use files::TlsError;
use files::{Contents, KeyPair};
pub use validity::CertificateValidity;

/// Returns the DNS name that a member's certificate for its peer port must have among its subject alternative names, for
/// example `member-1.00112233445566778899aabbccddeeff.zraft.internal`. No resolver is asked for it.
#[must_use]
pub fn peer_certificate_name(cluster: ClusterId, member: RaftId) -> String {
    // `.internal` is reserved for private use, so that no one else can obtain a certificate for the name.
    format!("member-{member}.{cluster}.zraft.internal")
}

/// What a member did about its certificates since its start.
pub type CertificateStatus = ReloadStatus<TlsError>;

/// The certificates of one member.
#[derive(Debug)]
pub(crate) struct Tls {
    has_client_port: bool,
    has_peer_port: bool,
    has_admin_port: bool,
    cluster: ClusterId,
    /// None if no port speaks TLS.
    reader: Option<Reader<Current, TlsError>>,
    /// The status of a member that reads no certificates.
    without_files: watch::Sender<CertificateStatus>,
    last_failure: Mutex<Option<TlsFailure>>,
}

/// The files of each port that speaks TLS.
#[derive(Debug)]
pub(crate) struct Files {
    pub(crate) client: Option<ClientTls>,
    pub(crate) peer: Option<PeerTls>,
    pub(crate) admin: Option<AdminTls>,
}

/// The files of one member, whose certificate for the peer port must name it.
#[derive(Debug)]
struct MemberFiles {
    files: Files,
    cluster: ClusterId,
    member: RaftId,
}

/// What new connections use.
pub(crate) struct Current {
    client: Option<Arc<ServerConfig>>,
    peer: Option<PeerConfigs>,
    admin: Option<Arc<ServerConfig>>,
    validities: Vec<CertificateValidity>,
    /// Why the other members refuse the certificate for the peer port at this time.
    not_valid_now: Option<TlsError>,
}

struct PeerConfigs {
    accept: Arc<ServerConfig>,
    dial: Arc<ClientConfig>,
}

impl fmt::Debug for Current {
    /// Shows no key.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Current").finish_non_exhaustive()
    }
}

impl Source for MemberFiles {
    type Content = Contents;
    type Value = Current;
    type Error = TlsError;

    fn name(&self) -> &'static str {
        "certificates"
    }

    fn changed(&self) -> &'static str {
        "new connections use the changed certificates"
    }

    fn read(&self) -> Result<Contents, TlsError> {
        Contents::read(&self.files)
    }

    fn check(&self, contents: &Contents) -> Result<Current, TlsError> {
        Current::new(contents, &self.files, self.cluster, self.member)
    }

    fn taken(&self, current: &Current) {
        if let Some(problem) = &current.not_valid_now {
            tracing::warn!(file = problem.place(), "{problem}");
        }
    }

    fn failed(&self, error: io::Error) -> TlsError {
        TlsError::new("the certificates", error)
    }
}

impl Tls {
    /// Reads the files, and checks that they fit each other and the member. From now on they are read again at the interval.
    ///
    /// # Errors
    /// The files cannot be used.
    pub(crate) async fn start(
        files: Files,
        identity: &Identity,
        interval: Duration,
    ) -> Result<Self, TlsError> {
        let (cluster, member) = (identity.cluster, identity.raft_id);
        let (has_client_port, has_peer_port, has_admin_port) =
            (files.client.is_some(), files.peer.is_some(), files.admin.is_some());
        let reader = match has_client_port || has_peer_port || has_admin_port {
            true => Some(Reader::start(MemberFiles { files, cluster, member }, interval).await?),
            false => None,
        };
        Ok(Self {
            has_client_port,
            has_peer_port,
            has_admin_port,
            cluster,
            reader,
            without_files: watch::Sender::default(),
            last_failure: Mutex::default(),
        })
    }

    fn current(&self) -> Option<Arc<Current>> {
        self.reader.as_ref().map(Reader::value)
    }

    /// Returns what a new connection of a client uses; none if the port has no TLS.
    pub(crate) fn client_port(&self) -> Option<Arc<ServerConfig>> {
        self.current()?.client.clone()
    }

    /// Returns what accepts a new connection of a member; none if the port has no TLS.
    pub(crate) fn acceptor(&self) -> Option<TlsAcceptor> {
        self.current()?.peer.as_ref().map(|peer| peer.accept.clone().into())
    }

    /// Returns what opens a new connection to a member; none if the port has no TLS.
    pub(crate) fn connector(&self) -> Option<TlsConnector> {
        self.current()?.peer.as_ref().map(|peer| peer.dial.clone().into())
    }

    /// Returns what accepts a new connection of an operator; none if the port has no TLS.
    pub(crate) fn admin_acceptor(&self) -> Option<TlsAcceptor> {
        self.current()?.admin.clone().map(TlsAcceptor::from)
    }

    pub(crate) fn has_client_port(&self) -> bool {
        self.has_client_port
    }

    pub(crate) fn has_peer_port(&self) -> bool {
        self.has_peer_port
    }

    pub(crate) fn has_admin_port(&self) -> bool {
        self.has_admin_port
    }

    /// Returns how long the certificates in use are valid, for each port that has one.
    pub(crate) fn validities(&self) -> Vec<CertificateValidity> {
        self.current().map(|current| current.validities.clone()).unwrap_or_default()
    }

    /// Returns the name that the certificate of a member of this cluster must have.
    pub(crate) fn name_of(&self, member: RaftId) -> Result<ServerName<'static>, TlsError> {
        server_name(self.cluster, member)
    }

    /// Returns true if the verified certificate names this member of this cluster.
    pub(crate) fn names(&self, certificate: &CertificateDer<'_>, member: RaftId) -> bool {
        let certificate = ParsedCertificate::try_from(certificate);
        match (certificate, self.name_of(member)) {
            (Ok(certificate), Ok(name)) => verify_server_name(&certificate, &name).is_ok(),
            _ => false,
        }
    }

    pub(crate) fn reader(&self) -> Option<&Reader<Current, TlsError>> {
        self.reader.as_ref()
    }

    /// Reads the files again, and takes them if they have changed.
    ///
    /// # Errors
    /// The files cannot be used. Nothing has changed then.
    pub(crate) async fn reload(&self) -> Result<Reload, TlsError> {
        match &self.reader {
            Some(reader) => reader.read().await,
            None => Ok(Reload::Unchanged),
        }
    }

    pub(crate) fn status(&self) -> watch::Receiver<CertificateStatus> {
        let without_files = || self.without_files.subscribe();
        self.reader.as_ref().map_or_else(without_files, Reader::status)
    }

    /// Keeps a failure for [`last_failure`](Self::last_failure).
    pub(crate) fn failed(&self, failure: TlsFailure) {
        *self.last_failure.lock().unwrap_or_else(PoisonError::into_inner) = Some(failure);
    }

    pub(crate) fn last_failure(&self) -> Option<TlsFailure> {
        self.last_failure.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Current {
    fn new(
        contents: &Contents,
        Files { client, peer, admin }: &Files,
        cluster: ClusterId,
        member: RaftId,
    ) -> Result<Self, TlsError> {
        let provider = Arc::new(ring::default_provider());
        let (mut validities, mut not_valid_now) = (Vec::new(), None);
        let mut note = |port, pair: &KeyPair| validities.extend(validity::of(port, &pair.chain));
        let client = match client {
            Some(files) => {
                let pair = contents.client_pair(files)?;
                note(Port::Client, &pair);
                let ca = contents.client_ca(files)?;
                Some(Arc::new(accepting(&provider, pair, ca)?))
            }
            None => None,
        };
        let peer = match peer {
            Some(files) => {
                let (pair, ca) = (contents.peer_pair(files)?, Arc::new(contents.peer_ca(files)?));
                note(Port::Peer, &pair);
                not_valid_now = check_own(&provider, &pair, &ca, cluster, member)?;
                let accept = accepting(&provider, pair.clone_key(), Some(ca.clone()))?;
                Some(PeerConfigs {
                    accept: Arc::new(accept),
                    dial: Arc::new(dialing(&provider, pair, ca)?),
                })
            }
            None => None,
        };
        let admin = match admin {
            Some(files) => {
                let pair = contents.admin_pair(files)?;
                note(Port::Admin, &pair);
                Some(Arc::new(accepting(&provider, pair, None)?))
            }
            None => None,
        };
        Ok(Self { client, peer, admin, validities, not_valid_now })
    }
}

/// Returns the configuration of a port. With a CA, the other side must show a certificate.
fn accepting(
    provider: &Arc<CryptoProvider>,
    pair: KeyPair,
    ca: Option<Arc<RootCertStore>>,
) -> Result<ServerConfig, TlsError> {
    let KeyPair { place, chain, key } = pair;
    let builder = ServerConfig::builder_with_provider(provider.clone())
        .with_protocol_versions(&[&TLS13])
        .map_err(|error| TlsError::new(&place, error))?;
    let builder = match ca {
        Some(ca) => {
            let verifier = WebPkiClientVerifier::builder_with_provider(ca, provider.clone());
            let verifier = verifier.build().map_err(|error| TlsError::new(&place, error))?;
            builder.with_client_cert_verifier(verifier)
        }
        None => builder.with_no_client_auth(),
    };
    let config = builder.with_single_cert(chain, key);
    let mut config = config.map_err(|error| TlsError::pair(&place, &error))?;
    // A resumed session would not be judged by the CA of now. Connections last for hours, so resumption saves little.
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Ok(config)
}

/// Returns the configuration of connections to other members.
fn dialing(
    provider: &Arc<CryptoProvider>,
    pair: KeyPair,
    ca: Arc<RootCertStore>,
) -> Result<ClientConfig, TlsError> {
    let KeyPair { place, chain, key } = pair;
    let config = ClientConfig::builder_with_provider(provider.clone())
        .with_protocol_versions(&[&TLS13])
        .map_err(|error| TlsError::new(&place, error))?
        .with_root_certificates(ca)
        .with_client_auth_cert(chain, key);
    let mut config = config.map_err(|error| TlsError::pair(&place, &error))?;
    config.resumption = Resumption::disabled();
    Ok(config)
}

/// Checks that the other members will accept this one. Otherwise each of them would refuse it, and only they could say
/// why. Returns what is wrong with a certificate that a member uses all the same.
fn check_own(
    provider: &Arc<CryptoProvider>,
    pair: &KeyPair,
    ca: &Arc<RootCertStore>,
    cluster: ClusterId,
    member: RaftId,
) -> Result<Option<TlsError>, TlsError> {
    let Some((own, intermediates)) = pair.chain.split_first() else { return Ok(None) };
    let verifier = WebPkiServerVerifier::builder_with_provider(ca.clone(), provider.clone());
    let verifier = verifier.build().map_err(|error| TlsError::new(&pair.place, error))?;
    let name = server_name(cluster, member)?;
    let verified = verifier.verify_server_cert(own, intermediates, &name, &[], UnixTime::now());
    match verified {
        Ok(_) => Ok(None),
        Err(error) => match failure::of_own(&error, &peer_certificate_name(cluster, member)) {
            OwnProblem::Wrong(problem) => Err(TlsError::new(&pair.place, problem)),
            OwnProblem::NotValidNow(problem) => Ok(Some(TlsError::new(&pair.place, problem))),
        },
    }
}

fn server_name(cluster: ClusterId, member: RaftId) -> Result<ServerName<'static>, TlsError> {
    let name = peer_certificate_name(cluster, member);
    ServerName::try_from(name.clone()).map_err(|error| TlsError::new(name, error))
}

#[cfg(test)]
mod tests {
    use std::{
        fs::{self, OpenOptions},
        io::Write,
        path::{Path, PathBuf},
    };

    use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, date_time_ymd};

    use super::*;
    use crate::{log::Listening, reader::start_under};

    /// Writes a certificate with its key, and returns both paths.
    fn write(folder: &Path, name: &str, pem: &str, key: &KeyPair) -> (PathBuf, PathBuf) {
        let paths = (folder.join(format!("{name}.pem")), folder.join(format!("{name}.key")));
        fs::write(&paths.0, pem).expect("it is written");
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let mut file = options.open(&paths.1).expect("it is open");
        file.write_all(key.serialize_pem().as_bytes()).expect("it is written");
        paths
    }

    #[tokio::test]
    async fn own_certificate_that_has_expired_is_logged_once_when_it_is_used() {
        let folder = tempfile::tempdir().expect("a folder");
        let (cluster, member) = (ClusterId::new([7; 16]), RaftId::new(1).expect("not 0"));
        let generate = || KeyPair::generate().expect("the system has random numbers");
        let mut params = CertificateParams::new([]).expect("no name");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = generate();
        let ca = folder.path().join("ca.pem");
        fs::write(&ca, params.self_signed(&key).expect("it signs").pem()).expect("it is written");
        let issuer = Issuer::new(params, key);
        let expired = || {
            let name = peer_certificate_name(cluster, member);
            let mut params = CertificateParams::new([name]).expect("a name");
            params.not_before = date_time_ymd(2020, 1, 1);
            params.not_after = date_time_ymd(2021, 1, 1);
            let key = generate();
            let pem = params.signed_by(&key, &issuer).expect("it signs").pem();
            write(folder.path(), "peer", &pem, &key)
        };
        let params = CertificateParams::new(["a.test".to_owned()]).expect("a name");
        let key = generate();
        let pem = params.signed_by(&key, &issuer).expect("it signs").pem();
        let admin = || write(folder.path(), "admin", &pem, &key);

        let (lines, logged) = std::sync::mpsc::channel();
        let lines_since = || {
            let lines = logged.try_iter();
            // The problem ends with the time.
            let line = |text: String| {
                let text = text.replace(&format!("{}/", folder.path().display()), "");
                text.split(", and the other members").next().unwrap_or_default().to_owned()
            };
            lines.map(line).collect::<Vec<_>>()
        };
        let ((peer_pem, peer_key), (admin_pem, admin_key)) = (expired(), admin());
        let files = Files {
            client: None,
            peer: Some(PeerTls { certificate: peer_pem, key: peer_key, ca }),
            admin: Some(AdminTls { certificate: admin_pem, key: admin_key.clone() }),
        };
        let subscriber = Listening::new(move |_, text| drop(lines.send(text)));
        let reader = start_under(subscriber, MemberFiles { files, cluster, member }).await;
        let reader = reader.expect("it is usable");
        let not_valid = "peer.pem: it is not valid now";
        assert_eq!(lines_since(), [not_valid]);

        expired();
        fs::write(&admin_key, "").expect("it is written");
        for _ in 0..3 {
            reader.read().await.expect_err("the admin port has no key");
        }
        let lines = lines_since();
        let [line] = lines.as_slice() else { panic!("{lines:?}") };
        assert!(line.starts_with("the certificates in use stay: admin.key: "), "{line}");

        admin();
        assert_eq!(reader.read().await, Ok(Reload::Changed));
        assert_eq!(lines_since(), ["new connections use the changed certificates", not_valid]);
    }
}
