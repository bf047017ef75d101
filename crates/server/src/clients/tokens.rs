//! The tokens with which clients open sessions.

use std::{
    sync::{Arc, Mutex, PoisonError, RwLock},
    time::Duration,
};

use zraft_protocol::Capabilities;

use crate::{Reload, Token, TokenError, TokenFile};

/// The capability that carries the token.
const CAPABILITY: &str = "token";

/// The tokens that are valid now. Without a file, every client may open a session.
#[derive(Debug, Default)]
pub(crate) struct ClientTokens {
    file: Option<TokenFile>,
    valid: RwLock<Vec<Token>>,
    /// Why the file as it is now is not used.
    problem: Mutex<Option<String>>,
}

impl ClientTokens {
    /// Reads the file. Blocks.
    pub(crate) fn load(file: Option<TokenFile>) -> Result<Self, TokenError> {
        let valid = file.as_ref().map_or(Ok(Vec::new()), TokenFile::read)?;
        Ok(Self { file, valid: RwLock::new(valid), problem: Mutex::default() })
    }

    /// Returns the capabilities without the token; none if the token is not valid.
    ///
    /// The token goes no further: the log and the application never see it.
    pub(super) fn admit(&self, capabilities: Capabilities) -> Option<Capabilities> {
        if self.file.is_none() {
            return Some(capabilities);
        }
        let given = capabilities.get(CAPABILITY)?.as_bytes();
        let valid = self.valid.read().unwrap_or_else(PoisonError::into_inner);
        // All are compared, so that the time tells nothing of which one is valid.
        let matching = valid.iter().filter(|token| token.is(given)).count();
        if matching > 0 { without_token(&capabilities) } else { None }
    }

    /// Reads the file again. The tokens stay as they are if it cannot be used. Blocks.
    ///
    /// # Errors
    /// The file cannot be used.
    pub(crate) fn reload(&self) -> Result<Reload, TokenError> {
        let Some(file) = &self.file else { return Ok(Reload::Unchanged) };
        // Held while the file is read, so that an older read does not replace a newer one.
        let mut known = self.problem.lock().unwrap_or_else(PoisonError::into_inner);
        let tokens = file.read().inspect_err(|error| {
            let problem = error.to_string();
            if known.as_ref() != Some(&problem) {
                tracing::warn!(%error, "the client tokens in use stay: {error}");
                *known = Some(problem);
            }
        })?;
        *known = None;
        let mut valid = self.valid.write().unwrap_or_else(PoisonError::into_inner);
        if *valid == tokens {
            return Ok(Reload::Unchanged);
        }
        *valid = tokens;
        tracing::info!("new sessions need one of the changed client tokens");
        Ok(Reload::Changed)
    }

    /// Takes a changed file from now on, until it is dropped.
    pub(crate) async fn watch_file(self: Arc<Self>, interval: Duration) {
        while self.file.is_some() {
            tokio::time::sleep(interval).await;
            let tokens = self.clone();
            let _ = tokio::task::spawn_blocking(move || tokens.reload()).await;
        }
    }
}

fn without_token(capabilities: &Capabilities) -> Option<Capabilities> {
    let others = capabilities.iter().filter(|(name, _)| *name != CAPABILITY);
    // Capabilities have at least one entry. A client that gives nothing but its token keeps the name without the value.
    Capabilities::new(others).or_else(|_| Capabilities::new([(CAPABILITY, "")])).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tokens(text: &str) -> (tempfile::TempDir, ClientTokens) {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("client.token");
        std::fs::write(&path, text).expect("it is written");
        (folder, ClientTokens::load(Some(TokenFile::new(path))).expect("valid"))
    }

    fn capabilities(entries: &[(&str, &str)]) -> Capabilities {
        Capabilities::new(entries.iter().copied()).expect("short")
    }

    #[test]
    fn token_is_checked_and_goes_no_further() {
        let (_folder, tokens) = tokens("0123456789abcdef\nfedcba9876543210\n");
        for valid in ["0123456789abcdef", "fedcba9876543210"] {
            let admitted = tokens.admit(capabilities(&[("kind", "bank"), ("token", valid)]));
            assert_eq!(admitted, Some(capabilities(&[("kind", "bank")])));
        }
        let alone = tokens.admit(capabilities(&[("token", "0123456789abcdef")]));
        assert_eq!(alone, Some(capabilities(&[("token", "")])));
        for wrong in [&[("kind", "bank")][..], &[("token", "")], &[("token", "0123456789abcdeF")]] {
            assert_eq!(tokens.admit(capabilities(wrong)), None, "{wrong:?}");
        }
    }

    #[test]
    fn without_a_file_every_client_is_admitted_as_it_is() {
        let given = capabilities(&[("token", "for the application")]);
        assert_eq!(ClientTokens::default().admit(given.clone()), Some(given));
    }

    #[test]
    fn changed_file_is_taken_and_one_that_cannot_be_used_changes_nothing() {
        let (folder, tokens) = tokens("0123456789abcdef");
        let path = folder.path().join("client.token");
        let admits = |token| tokens.admit(capabilities(&[("token", token)])).is_some();
        std::fs::write(&path, "fedcba9876543210").expect("it is written");
        assert_eq!(tokens.reload().expect("valid"), Reload::Changed);
        assert!(admits("fedcba9876543210") && !admits("0123456789abcdef"));
        std::fs::write(&path, "short").expect("it is written");
        assert!(matches!(tokens.reload(), Err(TokenError::Content { .. })));
        assert!(admits("fedcba9876543210"));
    }
}
