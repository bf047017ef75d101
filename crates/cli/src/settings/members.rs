//! Reads members and capabilities, as `-e` and `--capability` list them.

use std::{collections::HashSet, fmt};

use zraft_client::Endpoint;

/// The cluster that commands talk to if nothing names another: the default of the live system.
pub const DEFAULT_ENDPOINTS: &str = "node-1=tcp://127.0.0.1:7001";

/// A member of the cluster, as this side knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Its id. A member that was given without one has its address as the id.
    pub id: String,
    /// The address of its client port.
    pub endpoint: Endpoint,
    /// True if the entry names the id.
    pub is_named: bool,
}

impl fmt::Display for Member {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.is_named {
            true => write!(f, "{}={}", self.id, self.endpoint),
            false => self.endpoint.fmt(f),
        }
    }
}

/// Returns the member that is asked if nothing names another.
pub(super) fn default() -> Vec<Member> {
    read(&[DEFAULT_ENDPOINTS.to_owned()], false).unwrap_or_default()
}

/// Reads entries of the forms `node-1=tcp://127.0.0.1:7001`, `tcp://127.0.0.1:7001`, `node-1=127.0.0.1:7001` and
/// `127.0.0.1:7001`. An address without a scheme means TLS if a CA is given.
///
/// # Errors
/// A text that says which entry cannot be used. It does not show the entry, because an address may hold a password.
pub(super) fn read(entries: &[String], has_ca: bool) -> Result<Vec<Member>, String> {
    let mut members: Vec<Member> = Vec::new();
    let mut ids = HashSet::new();
    for (number, entry) in (1..).zip(entries) {
        let wrong = |problem: &str| format!("endpoint number {number}: {problem}");
        // The path of a socket may hold an = too.
        let (id, address) = match entry.split_once('=').filter(|(id, _)| !id.contains("://")) {
            Some((id, address)) => (Some(id.trim()), address.trim()),
            None => (None, entry.trim()),
        };
        let is_named = id.is_some();
        if address.is_empty() {
            return Err(wrong("is empty: write node-1=tcp://127.0.0.1:7001, or host:port"));
        }
        let address = match address.contains("://") {
            true => address.to_owned(),
            false if has_ca => format!("tls://{address}"),
            false => format!("tcp://{address}"),
        };
        let endpoint: Endpoint = address.parse().map_err(|error| wrong(&format!("{error}")))?;
        let id = match id {
            Some("") => return Err(wrong("the id before the = is empty")),
            Some(id) => id.to_owned(),
            None => bare(&endpoint),
        };
        if !ids.insert(id.clone()) {
            return Err(wrong("another one has the same id, or the same address"));
        }
        members.push(Member { is_named, id, endpoint });
    }
    match members.is_empty() {
        true => Err("names no member: write node-1=tcp://127.0.0.1:7001, or host:port".to_owned()),
        false => Ok(members),
    }
}

/// Returns the address without its scheme.
fn bare(endpoint: &Endpoint) -> String {
    let text = endpoint.to_string();
    text.split_once("://").map_or(text.clone(), |(_, rest)| rest.to_owned())
}

/// Reads entries of the form `protocol=kvstore`.
///
/// # Errors
/// A text that says which entry does not have this form. It does not show the value.
pub(super) fn capabilities(entries: &[String]) -> Result<Vec<(String, String)>, String> {
    let entries = (1..).zip(entries).map(|(number, entry)| {
        let pair =
            entry.split_once('=').filter(|(name, value)| !name.is_empty() && !value.is_empty());
        let (name, value) = pair.ok_or_else(|| {
            format!(
                "capability number {number} is not of the form name=value, such as protocol=kvstore"
            )
        })?;
        if name == "token" {
            return Err("give the token in a file, by --token-file, ZRAFT_TOKEN_FILE or token_file of a context".to_owned());
        }
        Ok((name.to_owned(), value.to_owned()))
    });
    entries.collect()
}
