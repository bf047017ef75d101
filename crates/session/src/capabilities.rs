//! What a client declared about itself when it opened its session.

/// The names and values that a client sent in CreateSession, in the client's order. May be empty.
///
/// The leader removes secrets before it proposes the entry (see [`without_token`](Self::without_token)), so nothing here needs to
/// be hidden from the log. `Debug` shows the names only all the same.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Capabilities(Option<zraft_protocol::Capabilities>);

impl Capabilities {
    /// Returns capabilities without any entry.
    #[must_use]
    pub const fn none() -> Self {
        Self(None)
    }

    /// Returns the names and values in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().flat_map(zraft_protocol::Capabilities::iter)
    }

    /// Returns the value of `name`.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.as_ref()?.get(name)
    }

    /// Returns the number of entries.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.as_ref().map_or(0, |entries| entries.iter().len())
    }

    /// Returns true if there is no entry.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns a copy without the capability `token`, which carries an access token. It is a secret, so it stays out of
    /// the log.
    #[must_use]
    pub fn without_token(&self) -> Self {
        self.without("token")
    }

    /// Returns a copy that lacks `name`.
    #[must_use]
    pub fn without(&self, name: &str) -> Self {
        // What was valid with the entry is valid without it, except that the protocol's type cannot be empty.
        Self(zraft_protocol::Capabilities::new(self.iter().filter(|(each, _)| *each != name)).ok())
    }
}

impl From<zraft_protocol::Capabilities> for Capabilities {
    fn from(capabilities: zraft_protocol::Capabilities) -> Self {
        Self(Some(capabilities))
    }
}
