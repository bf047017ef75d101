//! The builder: it collects the settings, and checks them once, together.

use std::fmt;
use std::time::Duration;

use zraft_protocol::Capabilities;

use super::table::{MAX_CAPABILITIES, default_value, value};
use super::{
    AckServerRequests, Backoff, Config, LivenessQuery, MaskedValues, MemberList, OnSessionExpired,
    SETTINGS, Setting, SettingKind, ValidationError,
};
use crate::with_settings;

/// The longest name or value of a capability, in bytes: the protocol writes its length in two.
const MAX_TEXT: usize = 65_535;

/// The most bytes of all names and values of capabilities. Every new session sends them in one message, so more than this
/// is a mistake.
const MAX_CAPABILITY_BYTES: usize = 1 << 20;

/// The least number of KeepAlives per session timeout, so that the session survives the loss of two.
const KEEP_ALIVES_PER_SESSION_TIMEOUT: u32 = 3;

macro_rules! define_builder {
    ($($(#[doc = $doc:literal])+ $name:ident($argument:ty) -> $type:ty = $kind:ident $facts:tt;)+) => {
        /// Collects the settings of a client; [`ConfigBuilder::build`] checks them.
        ///
        /// `Debug` shows neither endpoints, which are not checked yet, nor capability values.
        #[derive(Clone)]
        #[must_use]
        pub struct ConfigBuilder {
            members: Vec<(String, String)>,
            capabilities: Vec<(String, String)>,
            liveness_query: Option<LivenessQuery>,
            discover_members: bool,
            $($name: $type,)+
        }

        impl Default for ConfigBuilder {
            fn default() -> Self {
                Self {
                    members: Vec::new(),
                    capabilities: Vec::new(),
                    liveness_query: None,
                    discover_members: false,
                    $($name: default_value!($kind $facts),)+
                }
            }
        }

        impl ConfigBuilder {
            $(
                $(#[doc = $doc])+
                #[doc = ""]
                #[doc = $crate::setting_limits!($kind $facts)]
                pub fn $name(mut self, value: $argument) -> Self {
                    self.$name = value.into();
                    self
                }
            )+

            /// Checks all settings and returns the configuration.
            ///
            /// # Errors
            /// The first setting that cannot be accepted, with the values that are.
            pub fn build(self) -> Result<Config, ValidationError> {
                let config = Config {
                    members: MemberList::new(self.members)?,
                    capabilities: parse_capabilities(self.capabilities)?,
                    liveness_query: self.liveness_query,
                    discover_members: self.discover_members,
                    $($name: self.$name,)+
                };
                for setting in SETTINGS {
                    check_range(setting, &config)?;
                }
                check_together(&config)?;
                if let Some(query) = &config.liveness_query {
                    config.check_liveness_query(query)?;
                }
                Ok(config)
            }
        }
    };
}
with_settings!(define_builder);

impl ConfigBuilder {
    /// Adds a member: its id and its endpoint, `tcp://host:port`, `tcp://[v6]:port`, the same with `tls://`, or
    /// `ipc://path`. Required, at least once. Members are asked in the order given.
    pub fn member(mut self, id: impl Into<String>, endpoint: impl Into<String>) -> Self {
        self.members.push((id.into(), endpoint.into()));
        self
    }

    /// Adds several members, each as [`member`](Self::member) does, after those given before.
    pub fn members<I, E>(mut self, members: impl IntoIterator<Item = (I, E)>) -> Self
    where
        I: Into<String>,
        E: Into<String>,
    {
        let members = members.into_iter().map(|(id, endpoint)| (id.into(), endpoint.into()));
        self.members.extend(members);
        self
    }

    /// Adds a capability: its name of letters, digits, `_` and `-`, and its value, which is not
    /// empty. Required, at least once. If a name is given twice, the last value counts.
    pub fn capability(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.capabilities.push((name.into(), value.into()));
        self
    }

    /// Sets the query that the client itself sends when nothing else shows that the member leads: see [`LivenessQuery`].
    /// Default: none.
    pub fn liveness_query(mut self, query: LivenessQuery) -> Self {
        self.liveness_query = Some(query);
        self
    }

    /// Lets the client ask the server for the members, each time that the session gets a connection and every 5 minutes or so.
    /// The members that the server lists are asked before the configured ones, which are left as the last resort. An endpoint
    /// that the server gives is used only if a configured member has the same scheme. Default: false.
    ///
    /// Only for servers that answer [reserved queries](zraft_protocol::reserved), such as `zraft server`: any other hands the
    /// query to its application, and ZIO Raft's own can stop reading then. The query counts in `sent`, `in_flight` and
    /// `answered` of the [`Stats`](crate::Stats), and does not hold up a disconnect().
    pub fn discover_members(mut self, discover: bool) -> Self {
        self.discover_members = discover;
        self
    }

    pub(super) fn backoff_mut(&mut self) -> &mut Backoff {
        &mut self.reconnect_backoff
    }
}

impl fmt::Debug for ConfigBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let members: Vec<_> = self.members.iter().map(|(id, _)| id).collect();
        let names = self.capabilities.iter().map(|(name, _)| name.as_str()).collect();
        f.debug_struct("ConfigBuilder")
            .field("members", &members)
            .field("capabilities", &MaskedValues(names))
            .finish_non_exhaustive()
    }
}

/// Checks a setting against its own limits.
fn check_range(setting: &Setting, config: &Config) -> Result<(), ValidationError> {
    let name = setting.name;
    match setting.kind {
        SettingKind::Time { min, max, get, .. } => match get(config) {
            Some(time) if !(min..=max).contains(&time) => {
                Err(ValidationError::Time { setting: name, min, max })
            }
            _ => Ok(()),
        },
        SettingKind::Number { min, max, get, .. } if !(min..=max).contains(&get(config)) => {
            Err(ValidationError::Number { setting: name, min, max })
        }
        SettingKind::Entries { .. }
        | SettingKind::Number { .. }
        | SettingKind::Choice { .. }
        | SettingKind::Parts => Ok(()),
    }
}

/// Checks the settings that limit each other.
fn check_together(config: &Config) -> Result<(), ValidationError> {
    let limit = config.session_timeout / KEEP_ALIVES_PER_SESSION_TIMEOUT;
    if config.keep_alive_interval > limit {
        return Err(ValidationError::KeepAliveInterval { limit });
    }
    let interval = config.heartbeat_interval;
    if config.heartbeat_timeout < interval {
        return Err(ValidationError::HeartbeatTimeout { interval });
    }
    let backoff = &config.reconnect_backoff;
    if backoff.initial > backoff.max {
        return Err(ValidationError::Backoff {
            setting: "reconnect_backoff.initial",
            max_setting: "reconnect_backoff.max",
        });
    }
    if backoff.election_initial > backoff.election_max {
        return Err(ValidationError::Backoff {
            setting: "reconnect_backoff.election_initial",
            max_setting: "reconnect_backoff.election_max",
        });
    }
    Ok(())
}

fn parse_capabilities(given: Vec<(String, String)>) -> Result<Capabilities, ValidationError> {
    let too_large = ValidationError::CapabilitiesTooLarge {
        entries: MAX_CAPABILITIES,
        bytes: MAX_CAPABILITY_BYTES,
    };
    if given.is_empty() {
        return Err(ValidationError::NoCapabilities);
    }
    let mut bytes = 0;
    for (index, (name, value)) in given.iter().enumerate() {
        let name_character = |b: u8| b.is_ascii_alphanumeric() || b == b'_' || b == b'-';
        if !(1..=MAX_TEXT).contains(&name.len()) || !name.bytes().all(name_character) {
            return Err(ValidationError::CapabilityName { position: index + 1 });
        }
        if !(1..=MAX_TEXT).contains(&value.len()) {
            return Err(ValidationError::CapabilityValue { name: name.clone() });
        }
        bytes += name.len() + value.len();
    }
    if bytes > MAX_CAPABILITY_BYTES || given.len() > MAX_CAPABILITIES {
        return Err(too_large);
    }
    Capabilities::new(given).map_err(|_| too_large)
}
