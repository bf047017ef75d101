//! What the owner of a member sees of its certificates and client tokens.

use std::sync::Arc;

use tokio::sync::watch;

use super::Member;
use crate::{
    CertificateStatus, Reload, TlsError, TlsFailure, TokenError, clients::ClientTokens, tls::Tls,
};

impl Member {
    /// Returns true if the client port speaks TLS, so that its endpoint begins with `tls://`.
    #[must_use]
    pub fn has_client_tls(&self) -> bool {
        self.tls.has_client_port()
    }

    /// Returns true if the admin port speaks TLS, so that its address begins with `https://`.
    #[must_use]
    pub fn has_admin_tls(&self) -> bool {
        self.tls.has_admin_port()
    }

    /// Returns a receiver of what the member did about its certificates.
    #[must_use]
    pub fn certificates(&self) -> watch::Receiver<CertificateStatus> {
        self.tls.status()
    }

    /// Returns the last TLS handshake that failed, on any port.
    #[must_use]
    pub fn last_tls_failure(&self) -> Option<TlsFailure> {
        self.tls.last_failure()
    }

    /// Reads the files of certificates and keys again. New connections use them; existing ones stay as they are.
    ///
    /// A member does this by itself, too, at the interval [`MemberConfig::certificate_check`](crate::MemberConfig::certificate_check).
    ///
    /// # Errors
    /// [`TlsError`] if the files cannot be used. The member goes on with those that it had.
    pub async fn reload_certificates(&self) -> Result<Reload, TlsError> {
        reload(self.tls.clone()).await
    }

    /// Reads the file with the tokens of clients again. New sessions need one of its tokens; existing ones stay.
    ///
    /// A member does this by itself, too, at the interval [`MemberConfig::certificate_check`](crate::MemberConfig::certificate_check).
    ///
    /// # Errors
    /// [`TokenError`] if the file cannot be used. The member goes on with the tokens that it had.
    pub async fn reload_client_tokens(&self) -> Result<Reload, TokenError> {
        let tokens = self.tokens.clone();
        let reloaded = tokio::task::spawn_blocking(move || tokens.reload()).await;
        // Only a runtime that ends does not run it.
        reloaded.unwrap_or(Ok(Reload::Unchanged))
    }

    pub(crate) fn secrets(&self) -> (Arc<Tls>, Arc<ClientTokens>) {
        (self.tls.clone(), self.tokens.clone())
    }
}

/// Reads certificates and client tokens again, on a thread that may block. The log has the result.
pub(crate) async fn reload_all((tls, tokens): (Arc<Tls>, Arc<ClientTokens>)) {
    let reload = move || {
        let _ = tls.reload();
        let _ = tokens.reload();
    };
    // Only a runtime that ends does not run it.
    let _ = tokio::task::spawn_blocking(reload).await;
}

/// Reads certificates again, on a thread that may block.
async fn reload(tls: Arc<Tls>) -> Result<Reload, TlsError> {
    let reloaded = tokio::task::spawn_blocking(move || tls.reload()).await;
    // Only a runtime that ends does not run it.
    reloaded.unwrap_or(Ok(Reload::Unchanged))
}
