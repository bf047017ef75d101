//! The variables `ZRAFT_*`.

use std::ffi::OsString;

use super::{ConfigError, OPTIONS, ServerConfig};

pub(super) const PREFIX: &str = "ZRAFT_";

/// The variables of the commands of `zraft` that talk to a cluster. A member ignores them, because the machine of a member
/// may have both.
const OF_CLIENTS: [&str; 10] = [
    "ZRAFT_CAPABILITIES",
    "ZRAFT_CONFIG",
    "ZRAFT_CONTEXT",
    "ZRAFT_ENDPOINTS",
    "ZRAFT_TIMEOUT",
    "ZRAFT_TLS_CA",
    "ZRAFT_TLS_CERT",
    "ZRAFT_TLS_KEY",
    "ZRAFT_TLS_SERVER_NAME",
    "ZRAFT_TOKEN_FILE",
];

impl ServerConfig {
    /// The variables of the commands of `zraft` that talk to a cluster. [`read_environment`](Self::read_environment) ignores
    /// them.
    pub const CLIENT_VARIABLES: &[&str] = &OF_CLIENTS;

    /// Returns true for a variable that may be set where members and commands run: an option, a variable of the commands, or one
    /// that Kubernetes sets for a service named `zraft`. Any other one that begins with `ZRAFT_` is most likely misspelt.
    #[must_use]
    pub fn is_known_variable(name: &str) -> bool {
        OPTIONS.iter().any(|option| option.variable() == name)
            || OF_CLIENTS.contains(&name)
            || is_of_kubernetes(name)
    }

    /// Reads the variables whose names begin with `ZRAFT_`. A variable that is not an option is refused, because it is most
    /// likely misspelt, unless [`is_known_variable`](Self::is_known_variable) knows it.
    ///
    /// # Errors
    /// [`ConfigError`] names the variable.
    pub fn read_environment(
        &mut self,
        variables: impl IntoIterator<Item = (OsString, OsString)>,
    ) -> Result<(), ConfigError> {
        // In the order of their names, so that the first error is always the same.
        let variables = variables.into_iter().filter_map(|(name, value)| {
            let name = name.into_string().ok().filter(|name| name.starts_with(PREFIX))?;
            Some((name, value))
        });
        let mut variables: Vec<_> = variables.collect();
        variables.sort();
        for (name, value) in variables {
            let Some(option) = OPTIONS.iter().find(|option| option.variable() == name) else {
                if Self::is_known_variable(&name) {
                    continue;
                }
                return Err(ConfigError::new(
                    name,
                    "unknown variable: unset it, or see the list in zraft server --help",
                ));
            };
            let value = value.into_string();
            let value = value.map_err(|_| ConfigError::new(&name, "the value is not UTF-8"))?;
            self.set_text(option, &value, name)?;
        }
        Ok(())
    }
}

/// Returns true for the names that Kubernetes gives to the variables of a service: `ZRAFT_SERVICE_HOST`,
/// `ZRAFT_PORT_7001_TCP` and others. No option has one of these words in its name.
fn is_of_kubernetes(name: &str) -> bool {
    name.ends_with("_SERVICE_HOST")
        || name.contains("_SERVICE_PORT")
        || name.ends_with("_PORT")
        || name.contains("_PORT_")
}
