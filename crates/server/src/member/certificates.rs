//! What the owner of a member sees of its certificates.

use std::sync::Arc;

use tokio::sync::watch;

use super::Member;
use crate::{CertificateStatus, Reload, TlsError, TlsFailure, tls::Tls};

impl Member {
    /// Returns true if the client port speaks TLS, so that its endpoint begins with `tls://`.
    #[must_use]
    pub fn has_client_tls(&self) -> bool {
        self.tls.has_client_port()
    }

    /// Returns a receiver of what the member did about its certificates.
    #[must_use]
    pub fn certificates(&self) -> watch::Receiver<CertificateStatus> {
        self.tls.status()
    }

    /// Returns the last TLS handshake that failed, on either port.
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

    pub(crate) fn tls(&self) -> Arc<Tls> {
        self.tls.clone()
    }
}

/// Reads certificates again, on a thread that may block.
pub(crate) async fn reload(tls: Arc<Tls>) -> Result<Reload, TlsError> {
    let reloaded = tokio::task::spawn_blocking(move || tls.reload()).await;
    // Only a runtime that ends does not run it.
    reloaded.unwrap_or(Ok(Reload::Unchanged))
}
