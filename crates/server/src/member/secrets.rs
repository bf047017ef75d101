//! The certificates and tokens of a member, and what its owner sees of them.

use std::sync::Arc;

use tokio::sync::watch;
use zraft_store::Identity;

use super::{Member, StartError};
use crate::{
    CertificateStatus, CertificateValidity, MemberConfig, Reload, TlsError, TlsFailure, TokenError,
    TokenFile,
    admin::AdminTokens,
    clients::ClientTokens,
    reader::Reader,
    tls::{Files, Tls},
};

/// Everything that a member reads again while it runs.
#[derive(Clone, Debug)]
pub(crate) struct Secrets {
    pub(crate) tls: Arc<Tls>,
    pub(crate) client_tokens: Arc<ClientTokens>,
    /// None without an admin port.
    pub(crate) admin_tokens: Option<Arc<AdminTokens>>,
}

impl Secrets {
    /// Reads all files. An admin port that no one can use is noticed now, and not during an incident.
    pub(crate) async fn start(
        config: &MemberConfig,
        identity: &Identity,
    ) -> Result<Self, StartError> {
        let interval = config.certificate_check;
        let admin_tokens = match &config.admin {
            Some(admin) => {
                let file = TokenFile::new(&admin.token_file);
                Some(Arc::new(AdminTokens::start(file, interval).await?))
            }
            None => None,
        };
        let client_tokens = config.client_tokens.as_ref().map(TokenFile::new);
        let client_tokens = ClientTokens::start(client_tokens, interval).await?;
        let files = Files {
            client: config.client_tls.clone(),
            peer: config.peer_tls.clone(),
            admin: config.admin_tls.clone(),
        };
        let tls = Tls::start(files, identity, interval).await?;
        Ok(Self { tls: Arc::new(tls), client_tokens: Arc::new(client_tokens), admin_tokens })
    }

    /// Lets the threads read all files again. Does not wait; the log and the status have the results.
    pub(crate) fn ask(&self) {
        if let Some(reader) = self.tls.reader() {
            reader.ask();
        }
        if let Some(reader) = self.client_tokens.reader() {
            reader.ask();
        }
        if let Some(tokens) = &self.admin_tokens {
            tokens.reader().ask();
        }
    }

    /// Returns why files as they are now are not used.
    pub(crate) fn problems(&self) -> Vec<String> {
        let tls = self.tls.reader().and_then(Reader::problem);
        let client = self.client_tokens.reader().and_then(Reader::problem);
        let admin = self.admin_tokens.as_ref().and_then(|tokens| tokens.reader().problem());
        [tls, client, admin].into_iter().flatten().collect()
    }

    /// Returns how long the certificates in use are valid.
    pub(crate) fn validities(&self) -> Vec<CertificateValidity> {
        self.tls.validities()
    }
}

impl Member {
    /// Returns true if the client port speaks TLS, so that its endpoint begins with `tls://`.
    #[must_use]
    pub fn has_client_tls(&self) -> bool {
        self.secrets.tls.has_client_port()
    }

    /// Returns true if the admin port speaks TLS, so that its address begins with `https://`.
    #[must_use]
    pub fn has_admin_tls(&self) -> bool {
        self.secrets.tls.has_admin_port()
    }

    /// Returns a receiver of what the member did about its certificates.
    #[must_use]
    pub fn certificates(&self) -> watch::Receiver<CertificateStatus> {
        self.secrets.tls.status()
    }

    /// Returns the last TLS handshake that failed, on any port.
    #[must_use]
    pub fn last_tls_failure(&self) -> Option<TlsFailure> {
        self.secrets.tls.last_failure()
    }

    /// Reads the files of certificates and keys again. New connections use them; existing ones stay as they are. A disk that
    /// hangs keeps the caller waiting.
    ///
    /// A member does this by itself, too, at the interval [`MemberConfig::certificate_check`](crate::MemberConfig::certificate_check).
    ///
    /// # Errors
    /// [`TlsError`] if the files cannot be used. The member goes on with those that it had.
    pub async fn reload_certificates(&self) -> Result<Reload, TlsError> {
        self.secrets.tls.reload().await
    }

    /// Reads the file with the tokens of clients again. New sessions need one of its tokens; existing ones stay. A disk that
    /// hangs keeps the caller waiting.
    ///
    /// A member does this by itself, too, at the interval [`MemberConfig::certificate_check`](crate::MemberConfig::certificate_check).
    ///
    /// # Errors
    /// [`TokenError`] if the file cannot be used. The member goes on with the tokens that it had.
    pub async fn reload_client_tokens(&self) -> Result<Reload, TokenError> {
        self.secrets.client_tokens.reload().await
    }
}
