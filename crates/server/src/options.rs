//! The configuration of a server: what a file, environment variables and flags can set.
//!
//! One table holds every option. File, variables, flags, the listing of the effective configuration and the
//! documentation follow from it.

mod environment;
mod file;
mod logging;
mod table;

use std::{
    collections::BTreeMap,
    fmt::{self, Write as _},
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    time::Duration,
};

use zraft_protocol::MemberId;
use zraft_replica::{ClusterId, Limits, Timing};
use zraft_session::Settings;
use zraft_store::Reserve;

use crate::{
    AdminConfig, AdminTls, ClientEndpoint, ClientTls, MemberConfig, PeerTls, PortLimits, TokenFile,
    config::CERTIFICATE_CHECK,
};
pub use logging::{LogFormat, LogLevel};
use table::{Kind, OPTIONS, SECTIONS};

/// The configuration of a server. It begins with the defaults.
///
/// ```
/// use zraft_server::ServerConfig;
///
/// let mut config = ServerConfig::default();
/// config.read_file("node.toml", "[client]\naddress = \"127.0.0.1:9001\"\n")?;
/// assert_eq!(config.client_address.port(), 9001);
/// let error = config.read_file("node.toml", "[client]\nadress = \"127.0.0.1:9001\"\n").unwrap_err();
/// assert!(error.to_string().starts_with("node.toml:2: unknown option client.adress"));
/// # Ok::<(), zraft_server::ConfigError>(())
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ServerConfig {
    /// The name that the data directory must belong to. A new cluster of one member gives it that name.
    pub name: Option<MemberId>,
    /// The cluster that the data directory must belong to.
    pub cluster: Option<ClusterId>,
    /// The state machine, for a program that has several. The library ignores it.
    pub application: Option<String>,
    /// Let ports without TLS listen on addresses other than loopback, although what is sent can then be read and changed
    /// on the way.
    pub insecure: bool,
    /// Where the member listens for clients. Port 0 lets the system choose.
    pub client_address: SocketAddr,
    /// Where clients reach the member, if not at the address on which it listens; see
    /// [`MemberConfig::client_advertise`].
    pub client_advertise: Option<ClientEndpoint>,
    /// The certificates of the client port.
    pub client_tls: TlsFiles,
    /// The file with the tokens of clients.
    pub client_token_file: Option<PathBuf>,
    /// Where the member listens for other members.
    pub peer_address: SocketAddr,
    /// The certificates of the peer port.
    pub peer_tls: TlsFiles,
    /// How often the member reads certificates and tokens again; see [`MemberConfig::certificate_check`].
    pub certificate_check: Duration,
    /// Where the member listens for operators; none by default, so that members in one process need no ports for it.
    pub admin_address: Option<SocketAddr>,
    /// The certificate of the admin port. Its CA is not used, because operators show a token and no certificate.
    pub admin_tls: TlsFiles,
    /// The file with the token of the admin port; by default [`TokenFile::NAME`] in the data directory.
    pub admin_token_file: Option<PathBuf>,
    /// The form of the log's lines, for a program that installs a subscriber. The library ignores it.
    pub log: LogFormat,
    /// The least important events that the program logs. The library ignores it.
    pub log_level: LogLevel,
    /// Heartbeats and elections. All members of a cluster use the same.
    pub timing: Timing,
    /// The limits that a new cluster begins with. The cluster replicates them, so this is ignored once it has a leader.
    pub new_cluster: Settings,
    /// The limits of the replica.
    pub limits: Limits,
    /// The space that the member keeps in reserve on its disk.
    pub reserve: Reserve,
    /// The limits of the two ports.
    pub ports: PortLimits,
    /// Where the options that were read come from, by their flag.
    origins: BTreeMap<&'static str, String>,
}

/// The files of certificates and keys of one port, in PEM form. A relative path begins at the member's data directory.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct TlsFiles {
    /// The member's certificate, followed by those of intermediate CAs.
    pub certificate: Option<PathBuf>,
    /// Its private key.
    pub key: Option<PathBuf>,
    /// The CAs that sign the certificates of the other side.
    pub ca: Option<PathBuf>,
}

/// An option of the configuration.
#[derive(Debug)]
pub struct ConfigOption {
    section: &'static str,
    flag: &'static str,
    placeholder: &'static str,
    text: &'static str,
    kind: Kind,
}

/// A configuration that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{place}: {problem}")]
pub struct ConfigError {
    /// The file with the line, the variable, or the flag.
    place: String,
    /// What is wrong there.
    problem: String,
}

impl ConfigError {
    fn new(place: impl Into<String>, problem: impl Into<String>) -> Self {
        Self { place: place.into(), problem: problem.into() }
    }
}

impl Default for ServerConfig {
    /// Returns the configuration of a member on loopback, with the client port that ZIO Raft's own server uses.
    fn default() -> Self {
        Self {
            name: None,
            cluster: None,
            application: None,
            insecure: false,
            client_address: SocketAddr::from((Ipv4Addr::LOCALHOST, 7001)),
            client_advertise: None,
            client_tls: TlsFiles::default(),
            client_token_file: None,
            peer_address: SocketAddr::from((Ipv4Addr::LOCALHOST, 7002)),
            peer_tls: TlsFiles::default(),
            certificate_check: CERTIFICATE_CHECK,
            admin_address: None,
            admin_tls: TlsFiles::default(),
            admin_token_file: None,
            log: LogFormat::default(),
            log_level: LogLevel::default(),
            timing: Timing::default(),
            new_cluster: Settings::default(),
            limits: Limits::default(),
            reserve: Reserve::default(),
            ports: PortLimits::default(),
            origins: BTreeMap::new(),
        }
    }
}

impl ServerConfig {
    /// The name of the configuration file in a data directory.
    pub const FILE: &str = "node.toml";

    /// Returns the configuration of a data directory: its file [`FILE`](Self::FILE), if there is one, and then the
    /// variables `ZRAFT_*` of this process.
    ///
    /// # Errors
    /// [`ConfigError`] names the place and the option.
    pub fn load(directory: impl AsRef<Path>) -> Result<Self, ConfigError> {
        let mut config = Self::default();
        config.read_directory(directory.as_ref())?;
        config.read_environment(std::env::vars_os())?;
        Ok(config)
    }

    /// Returns all options, in the order of the documentation.
    pub fn options() -> impl Iterator<Item = &'static ConfigOption> {
        OPTIONS.iter()
    }

    /// Sets an option by its flag, as if the flag stood on the command line. A switch takes `true` or `false`.
    ///
    /// # Errors
    /// [`ConfigError`] if there is no such option, or the value does not fit it.
    pub fn set(&mut self, flag: &str, value: &str) -> Result<(), ConfigError> {
        let place = format!("--{flag}");
        let option = OPTIONS.iter().find(|option| option.flag == flag);
        let option = option.ok_or_else(|| ConfigError::new(&place, "unknown option"))?;
        self.set_text(option, value, place)
    }

    /// Returns true if this option was read or set, whatever its value is.
    #[must_use]
    pub fn is_set(&self, flag: &str) -> bool {
        self.origins.contains_key(flag)
    }

    /// Sets an option from text that is not TOML.
    fn set_text(
        &mut self,
        option: &'static ConfigOption,
        value: &str,
        place: String,
    ) -> Result<(), ConfigError> {
        let set = match &option.kind {
            Kind::Text { write, .. } => write(self, value),
            Kind::Switch { write, .. } => match value {
                "true" | "false" => {
                    write(self, value == "true");
                    Ok(())
                }
                _ => Err(format!("{value} is neither true nor false")),
            },
            Kind::Number { .. } => match value.parse() {
                Ok(number) => option.set_number(self, number),
                Err(_) => Err(option.wants_number(value)),
            },
        };
        set.map_err(|problem| ConfigError::new(&place, problem))?;
        self.origins.insert(option.flag, place);
        Ok(())
    }

    /// Checks what concerns several options, or a limit that the cluster replicates.
    ///
    /// # Errors
    /// [`ConfigError`] says what does not fit, and what to change.
    pub fn check(&self) -> Result<(), ConfigError> {
        self.timing.check().map_err(|error| ConfigError::new("[raft]", error.to_string()))?;
        let limits = self.new_cluster.clone().check();
        limits.map_err(|error| ConfigError::new("[new-cluster]", error.to_string()))?;
        let client_tls = self.client_tls(Path::new(""))?.is_some();
        let peer_tls = self.peer_tls(Path::new(""))?.is_some();
        let ports = [
            ("client", self.client_address, client_tls, "set client.certificate and client.key"),
            ("peer", self.peer_address, peer_tls, "set peer.certificate, peer.key and peer.ca"),
        ];
        let admin_tls = self.admin_tls(Path::new(""))?.is_some();
        let admin = self
            .admin_address
            .map(|address| ("admin", address, admin_tls, "set admin.certificate and admin.key"));
        for (section, address, tls, remedy) in ports.into_iter().chain(admin) {
            if !address.ip().is_loopback() && !tls && !self.insecure {
                return Err(ConfigError::new(
                    format!("{section}.address"),
                    format!(
                        "{address} can be reached from other machines, and without TLS all traffic, tokens included, can be read and changed on the way: {remedy}, use a loopback address, or --insecure in a network that you trust"
                    ),
                ));
            }
        }
        Ok(())
    }

    /// Returns the certificates of the client port, if it has TLS.
    fn client_tls(&self, directory: &Path) -> Result<Option<ClientTls>, ConfigError> {
        let TlsFiles { certificate, key, ca } = &self.client_tls;
        match (certificate, key) {
            (Some(certificate), Some(key)) => Ok(Some(ClientTls {
                certificate: directory.join(certificate),
                key: directory.join(key),
                ca: ca.as_ref().map(|ca| directory.join(ca)),
            })),
            (None, None) if ca.is_none() => Ok(None),
            _ => Err(ConfigError::new(
                "[client]",
                "certificate and key belong together, and ca needs both: set both for TLS, or none of the three",
            )),
        }
    }

    /// Returns the certificate of the admin port, if it has TLS.
    fn admin_tls(&self, directory: &Path) -> Result<Option<AdminTls>, ConfigError> {
        match (&self.admin_tls.certificate, &self.admin_tls.key) {
            (Some(certificate), Some(key)) => Ok(Some(AdminTls {
                certificate: directory.join(certificate),
                key: directory.join(key),
            })),
            (None, None) => Ok(None),
            _ => Err(ConfigError::new(
                "[admin]",
                "certificate and key belong together: set both for TLS, or none of them",
            )),
        }
    }

    /// Returns the certificates of the peer port, if it has TLS.
    fn peer_tls(&self, directory: &Path) -> Result<Option<PeerTls>, ConfigError> {
        let TlsFiles { certificate, key, ca } = &self.peer_tls;
        match (certificate, key, ca) {
            (Some(certificate), Some(key), Some(ca)) => Ok(Some(PeerTls {
                certificate: directory.join(certificate),
                key: directory.join(key),
                ca: directory.join(ca),
            })),
            (None, None, None) => Ok(None),
            _ => Err(ConfigError::new(
                "[peer]",
                "certificate, key and ca belong together: set all three for TLS, or none of them",
            )),
        }
    }

    /// Returns the configuration of the member in this directory.
    ///
    /// # Errors
    /// Those of [`check`](Self::check).
    pub fn member(&self, directory: impl Into<PathBuf>) -> Result<MemberConfig, ConfigError> {
        self.check()?;
        let mut member = MemberConfig::new(directory, self.client_address, self.peer_address);
        member.admin = self
            .admin_address
            .map(|address| AdminConfig { address, token_file: self.token_file(&member.directory) });
        member.client_advertise = self.client_advertise.clone();
        member.client_tls = self.client_tls(&member.directory)?;
        member.peer_tls = self.peer_tls(&member.directory)?;
        // Without the port, no one uses its certificate.
        let admin_tls = self.admin_tls(&member.directory)?;
        member.admin_tls = admin_tls.filter(|_| self.admin_address.is_some());
        member.client_tokens =
            self.client_token_file.as_ref().map(|file| member.directory.join(file));
        member.certificate_check = self.certificate_check;
        let settings = self.new_cluster.clone().check();
        member.settings =
            settings.map_err(|error| ConfigError::new("[new-cluster]", error.to_string()))?;
        member.timing = self.timing;
        member.limits = self.limits;
        member.reserve = self.reserve;
        member.ports = self.ports.clone();
        Ok(member)
    }

    /// Returns the file with the token of the admin port, for the member in this directory.
    #[must_use]
    pub fn token_file(&self, directory: &Path) -> PathBuf {
        self.admin_token_file.clone().unwrap_or_else(|| directory.join(TokenFile::NAME))
    }

    /// Returns the effective configuration as a file, with the place that each value comes from.
    #[must_use]
    pub fn effective(&self) -> String {
        self.to_toml(|option, line, out| {
            let origin = self.origins.get(option.flag).map_or("default", String::as_str);
            let _ = writeln!(out, "{line}  # {origin}");
        })
    }

    /// Returns each option that has a value: its path such as `client.address`, the value as a file writes it, and where it comes from.
    pub fn effective_options(&self) -> impl Iterator<Item = (String, String, &str)> {
        OPTIONS.iter().filter_map(|option| {
            let origin = self.origins.get(option.flag).map_or("default", String::as_str);
            Some((option.path(), option.value(self)?, origin))
        })
    }

    /// Returns the options that were read or set by [`set`](Self::set) as a file.
    #[must_use]
    pub fn chosen(&self) -> String {
        self.to_toml(|option, line, out| {
            if self.origins.contains_key(option.flag) {
                let _ = writeln!(out, "{line}");
            }
        })
    }

    /// Lets `write` write each option that has a value. Sections without a line are left out.
    fn to_toml(&self, write: impl Fn(&ConfigOption, &str, &mut String)) -> String {
        let mut text = String::new();
        for (section, _) in SECTIONS {
            let mut lines = String::new();
            for option in OPTIONS.iter().filter(|option| option.section == *section) {
                if let Some(value) = option.value(self) {
                    write(option, &format!("{} = {value}", option.key()), &mut lines);
                }
            }
            if lines.is_empty() {
                continue;
            }
            if !section.is_empty() {
                let gap = if text.is_empty() { "" } else { "\n" };
                let _ = writeln!(text, "{gap}[{section}]");
            }
            text.push_str(&lines);
        }
        text
    }
}

impl ConfigOption {
    /// Returns the name of the section in the file, without brackets; empty for an option above the first section.
    #[must_use]
    pub fn section(&self) -> &'static str {
        self.section
    }

    /// Returns what the section is about.
    #[must_use]
    pub fn section_text(&self) -> &'static str {
        let section = SECTIONS.iter().find(|(name, _)| *name == self.section);
        section.map_or("", |(_, text)| text)
    }

    /// Returns the flag without its dashes, for example `client-address`.
    #[must_use]
    pub fn flag(&self) -> &'static str {
        self.flag
    }

    /// Returns the key within the section, for example `address`.
    #[must_use]
    pub fn key(&self) -> String {
        let prefix = self.flag.strip_prefix(self.section).and_then(|rest| rest.strip_prefix('-'));
        prefix.unwrap_or(self.flag).replace('-', "_")
    }

    /// Returns the key with its section, for example `client.address`.
    #[must_use]
    pub fn path(&self) -> String {
        match self.section {
            "" => self.key(),
            section => format!("{section}.{}", self.key()),
        }
    }

    /// Returns the environment variable, for example `ZRAFT_CLIENT_ADDRESS`.
    #[must_use]
    pub fn variable(&self) -> String {
        format!("{}{}", environment::PREFIX, self.flag.to_uppercase().replace('-', "_"))
    }

    /// Returns a word for the value in a usage text.
    #[must_use]
    pub fn placeholder(&self) -> &'static str {
        self.placeholder
    }

    /// Returns what the option does, without a full stop.
    #[must_use]
    pub fn text(&self) -> &'static str {
        self.text
    }

    /// Returns true if the option is a switch, whose flag takes no value.
    #[must_use]
    pub fn is_switch(&self) -> bool {
        matches!(self.kind, Kind::Switch { .. })
    }

    /// Returns the default as the file writes it; none if the option is not set by default.
    #[must_use]
    pub fn default(&self) -> Option<String> {
        self.value(&ServerConfig::default())
    }

    /// Returns the value in a configuration as the file writes it.
    fn value(&self, config: &ServerConfig) -> Option<String> {
        match &self.kind {
            Kind::Text { read, .. } => read(config).map(|text| file::quoted(&text)),
            Kind::Switch { read, .. } => Some(read(config).to_string()),
            Kind::Number { read, .. } => Some(read(config).to_string()),
        }
    }

    fn set_number(&self, config: &mut ServerConfig, number: u64) -> Result<(), String> {
        match &self.kind {
            Kind::Number { least, most, write, .. } if (*least..=*most).contains(&number) => {
                write(config, number);
                Ok(())
            }
            _ => Err(self.wants_number(&number.to_string())),
        }
    }

    fn wants_number(&self, found: &str) -> String {
        match &self.kind {
            Kind::Number { least, most, .. } => {
                format!("{found} is not a whole number from {least} to {most}")
            }
            _ => format!("{found} is not expected here"),
        }
    }
}

impl fmt::Display for ConfigOption {
    /// Shows the path of the option.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.path())
    }
}

#[cfg(test)]
mod tests;
