//! The tokens with which clients open sessions.

use std::time::Duration;

use zraft_protocol::Capabilities;

use crate::{
    Reload, Token, TokenError, TokenFile,
    reader::Reader,
    token::{TokenSource, is_one_of},
};

/// The capability that carries the token.
const CAPABILITY: &str = "token";

/// The tokens that are valid now. Without a file, every client may open a session.
#[derive(Debug, Default)]
pub(crate) struct ClientTokens {
    reader: Option<Reader<Vec<Token>, TokenError>>,
}

impl ClientTokens {
    /// Reads the file, and from now on again at the interval.
    ///
    /// # Errors
    /// The file cannot be used.
    pub(crate) async fn start(
        file: Option<TokenFile>,
        interval: Duration,
    ) -> Result<Self, TokenError> {
        let Some(file) = file else { return Ok(Self::default()) };
        let source = TokenSource {
            file,
            name: "client tokens",
            changed: "new sessions need one of the changed client tokens",
        };
        Ok(Self { reader: Some(Reader::start(source, interval).await?) })
    }

    /// Returns the capabilities without the token; none if the token is not valid.
    ///
    /// The token goes no further: the log and the application never see it.
    pub(super) fn admit(&self, capabilities: Capabilities) -> Option<Capabilities> {
        let Some(reader) = &self.reader else { return Some(capabilities) };
        let given = capabilities.get(CAPABILITY)?.as_bytes();
        match is_one_of(&reader.value(), given) {
            true => without_token(&capabilities),
            false => None,
        }
    }

    pub(crate) fn reader(&self) -> Option<&Reader<Vec<Token>, TokenError>> {
        self.reader.as_ref()
    }

    /// Reads the file again. The tokens stay as they are if it cannot be used.
    ///
    /// # Errors
    /// The file cannot be used.
    pub(crate) async fn reload(&self) -> Result<Reload, TokenError> {
        match &self.reader {
            Some(reader) => reader.read().await,
            None => Ok(Reload::Unchanged),
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

    async fn tokens(text: &str) -> (tempfile::TempDir, ClientTokens) {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("client.token");
        std::fs::write(&path, text).expect("it is written");
        let never = Duration::from_secs(86_400);
        let tokens = ClientTokens::start(Some(TokenFile::new(path)), never).await;
        (folder, tokens.expect("valid"))
    }

    fn capabilities(entries: &[(&str, &str)]) -> Capabilities {
        Capabilities::new(entries.iter().copied()).expect("short")
    }

    #[tokio::test]
    async fn token_is_checked_and_goes_no_further() {
        let (_folder, tokens) = tokens("0123456789abcdef\nfedcba9876543210\n").await;
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

    #[tokio::test]
    async fn changed_file_is_taken_and_one_that_cannot_be_used_changes_nothing() {
        let (folder, tokens) = tokens("0123456789abcdef").await;
        let path = folder.path().join("client.token");
        let admits = |token| tokens.admit(capabilities(&[("token", token)])).is_some();
        std::fs::write(&path, "fedcba9876543210").expect("it is written");
        assert_eq!(tokens.reload().await.expect("valid"), Reload::Changed);
        assert!(admits("fedcba9876543210") && !admits("0123456789abcdef"));
        std::fs::write(&path, "short").expect("it is written");
        assert!(matches!(tokens.reload().await, Err(TokenError::Content { .. })));
        assert!(admits("fedcba9876543210"));
    }
}
