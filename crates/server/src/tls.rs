//! TLS of the three ports: what the certificates are, and how they are exchanged while the member runs.
//!
//! Members speak TLS 1.3 only. A peer connection is mutual: each side has a certificate of the CA for peers that names
//! its cluster and its number. A client sees the member's certificate, and shows one of the CA for clients if the
//! member has such a CA. The two CAs are separate, so that a client's certificate opens no peer port. An operator sees
//! the member's certificate at the admin port, and shows a token.
//!
//! Connections that exist keep the certificates with which they began.

mod failure;
mod files;

use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError, RwLock},
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

use crate::{AdminTls, ClientTls, PeerTls};

use failure::OwnProblem;
pub(crate) use failure::is_tls;
pub use failure::{Port, TlsFailure};
pub use files::TlsError;
use files::{Contents, KeyPair};

/// Returns the DNS name that a member's certificate for its peer port must have among its subject alternative names, for
/// example `member-1.00112233445566778899aabbccddeeff.zraft.internal`. No resolver is asked for it.
#[must_use]
pub fn peer_certificate_name(cluster: ClusterId, member: RaftId) -> String {
    // `.internal` is reserved for private use, so that no one else can obtain a certificate for the name.
    format!("member-{member}.{cluster}.zraft.internal")
}

/// What a member did about its certificates since its start.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct CertificateStatus {
    /// How often files had changed and were taken.
    pub reloads: u64,
    /// Why the files as they are now are not used. The member goes on with those that it had before.
    pub problem: Option<TlsError>,
}

/// What a reload of the certificates did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reload {
    /// New connections use the files as they are now.
    Changed,
    /// The files are those that are in use.
    Unchanged,
}

/// The certificates of one member.
#[derive(Debug)]
pub(crate) struct Tls {
    files: Files,
    cluster: ClusterId,
    member: RaftId,
    current: RwLock<Current>,
    /// Held while files are read, so that an older read does not replace a newer one.
    reloading: Mutex<()>,
    status: watch::Sender<CertificateStatus>,
    last_failure: Mutex<Option<TlsFailure>>,
}

/// The files of each port that speaks TLS.
#[derive(Debug)]
pub(crate) struct Files {
    pub(crate) client: Option<ClientTls>,
    pub(crate) peer: Option<PeerTls>,
    pub(crate) admin: Option<AdminTls>,
}

/// What new connections use.
struct Current {
    contents: Contents,
    client: Option<Arc<ServerConfig>>,
    peer: Option<PeerConfigs>,
    admin: Option<Arc<ServerConfig>>,
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

impl Tls {
    /// Reads the files, and checks that they fit each other and the member. Blocks.
    pub(crate) fn load(files: Files, identity: &Identity) -> Result<Self, TlsError> {
        let (cluster, member) = (identity.cluster, identity.raft_id);
        let current = Current::new(Contents::read(&files)?, &files, cluster, member)?;
        Ok(Self {
            files,
            cluster,
            member,
            current: RwLock::new(current),
            reloading: Mutex::new(()),
            status: watch::Sender::default(),
            last_failure: Mutex::default(),
        })
    }

    /// Returns what a new connection of a client uses; none if the port has no TLS.
    pub(crate) fn client_port(&self) -> Option<Arc<ServerConfig>> {
        self.current.read().unwrap_or_else(PoisonError::into_inner).client.clone()
    }

    /// Returns what accepts a new connection of a member; none if the port has no TLS.
    pub(crate) fn acceptor(&self) -> Option<TlsAcceptor> {
        let current = self.current.read().unwrap_or_else(PoisonError::into_inner);
        current.peer.as_ref().map(|peer| peer.accept.clone().into())
    }

    /// Returns what opens a new connection to a member; none if the port has no TLS.
    pub(crate) fn connector(&self) -> Option<TlsConnector> {
        let current = self.current.read().unwrap_or_else(PoisonError::into_inner);
        current.peer.as_ref().map(|peer| peer.dial.clone().into())
    }

    /// Returns what accepts a new connection of an operator; none if the port has no TLS.
    pub(crate) fn admin_acceptor(&self) -> Option<TlsAcceptor> {
        let current = self.current.read().unwrap_or_else(PoisonError::into_inner);
        current.admin.clone().map(TlsAcceptor::from)
    }

    pub(crate) fn has_client_port(&self) -> bool {
        self.files.client.is_some()
    }

    pub(crate) fn has_admin_port(&self) -> bool {
        self.files.admin.is_some()
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

    /// Reads the files again, and takes them if they have changed. Blocks.
    ///
    /// # Errors
    /// The files cannot be used. Nothing has changed then.
    pub(crate) fn reload(&self) -> Result<Reload, TlsError> {
        let _reloading = self.reloading.lock().unwrap_or_else(PoisonError::into_inner);
        let reloaded = self.read_again();
        self.status.send_if_modified(|status| {
            let before = status.clone();
            match &reloaded {
                Ok(Reload::Changed) => {
                    status.reloads += 1;
                    status.problem = None;
                }
                Ok(Reload::Unchanged) => status.problem = None,
                Err(error) => status.problem = Some(error.clone()),
            }
            let changed = *status != before;
            match &reloaded {
                Err(error) if changed => {
                    tracing::warn!(%error, "the certificates in use stay: {error}");
                }
                Ok(Reload::Changed) => {
                    tracing::info!("new connections use the changed certificates");
                }
                _ => {}
            }
            changed
        });
        reloaded
    }

    fn read_again(&self) -> Result<Reload, TlsError> {
        let contents = Contents::read(&self.files)?;
        if self.current.read().unwrap_or_else(PoisonError::into_inner).contents == contents {
            return Ok(Reload::Unchanged);
        }
        let current = Current::new(contents, &self.files, self.cluster, self.member)?;
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = current;
        Ok(Reload::Changed)
    }

    /// Takes changed files from now on, until it is dropped.
    ///
    /// It compares contents: times of files are too coarse, and mounted secrets change by a symbolic link.
    pub(crate) async fn watch_files(self: Arc<Self>, interval: Duration) {
        if matches!(self.files, Files { client: None, peer: None, admin: None }) {
            return;
        }
        loop {
            tokio::time::sleep(interval).await;
            let tls = self.clone();
            // The status has the result.
            let _ = tokio::task::spawn_blocking(move || tls.reload()).await;
        }
    }

    pub(crate) fn status(&self) -> watch::Receiver<CertificateStatus> {
        self.status.subscribe()
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
        contents: Contents,
        Files { client, peer, admin }: &Files,
        cluster: ClusterId,
        member: RaftId,
    ) -> Result<Self, TlsError> {
        let provider = Arc::new(ring::default_provider());
        let client = match client {
            Some(files) => {
                let pair = contents.client_pair(files)?;
                let ca = contents.client_ca(files)?;
                Some(Arc::new(accepting(&provider, pair, ca)?))
            }
            None => None,
        };
        let peer = match peer {
            Some(files) => {
                let (pair, ca) = (contents.peer_pair(files)?, Arc::new(contents.peer_ca(files)?));
                check_own(&provider, &pair, &ca, cluster, member)?;
                let accept = accepting(&provider, pair.clone_key(), Some(ca.clone()))?;
                Some(PeerConfigs {
                    accept: Arc::new(accept),
                    dial: Arc::new(dialing(&provider, pair, ca)?),
                })
            }
            None => None,
        };
        let admin = match admin {
            Some(files) => Some(Arc::new(accepting(&provider, contents.admin_pair(files)?, None)?)),
            None => None,
        };
        Ok(Self { contents, client, peer, admin })
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
/// why.
fn check_own(
    provider: &Arc<CryptoProvider>,
    pair: &KeyPair,
    ca: &Arc<RootCertStore>,
    cluster: ClusterId,
    member: RaftId,
) -> Result<(), TlsError> {
    let Some((own, intermediates)) = pair.chain.split_first() else { return Ok(()) };
    let verifier = WebPkiServerVerifier::builder_with_provider(ca.clone(), provider.clone());
    let verifier = verifier.build().map_err(|error| TlsError::new(&pair.place, error))?;
    let name = server_name(cluster, member)?;
    let verified = verifier.verify_server_cert(own, intermediates, &name, &[], UnixTime::now());
    match verified {
        Ok(_) => Ok(()),
        Err(error) => match failure::of_own(&error, &peer_certificate_name(cluster, member)) {
            OwnProblem::Wrong(problem) => Err(TlsError::new(&pair.place, problem)),
            OwnProblem::NotValidNow(problem) => {
                tracing::warn!(file = pair.place, "{}: {problem}", pair.place);
                Ok(())
            }
        },
    }
}

fn server_name(cluster: ClusterId, member: RaftId) -> Result<ServerName<'static>, TlsError> {
    let name = peer_certificate_name(cluster, member);
    ServerName::try_from(name.clone()).map_err(|error| TlsError::new(name, error))
}
