//! The variables `ZRAFT_*`.

use std::ffi::OsString;

use super::{ConfigError, OPTIONS, ServerConfig};

pub(super) const PREFIX: &str = "ZRAFT_";

impl ServerConfig {
    /// Reads the variables whose names begin with `ZRAFT_`. A variable that is not an option is refused, because it is most
    /// likely misspelt, unless Kubernetes sets it for a service named `zraft`.
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
                if is_of_kubernetes(&name) {
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
