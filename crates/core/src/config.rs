//! The settings of a client, their defaults and their limits.
//!
//! Only a [`ConfigBuilder`] makes a [`Config`], so every `Config` is valid. [`SETTINGS`] lists the settings for bindings
//! to other languages.

mod admission;
mod builder;
mod liveness_query;
mod members;
mod table;
mod validation;

use std::fmt;
use std::time::Duration;

use zraft_protocol::Capabilities;

use crate::with_settings;

pub use admission::Admission;
pub use builder::ConfigBuilder;
pub use liveness_query::LivenessQuery;
pub use members::{Member, MemberList};
pub use table::{SETTINGS, Setting, SettingKind};
pub use validation::ValidationError;

/// Defines the names of a choice, in camelCase.
macro_rules! names {
    ($type:ident { $($variant:ident = $name:literal),+ }) => {
        impl $type {
            /// The names of all choices.
            pub const NAMES: &'static [&'static str] = &[$($name),+];

            /// Returns the choice's name, the same in every language.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)+
                }
            }

            /// Returns the choice with this name.
            pub fn from_name(name: &str) -> Option<Self> {
                match name {
                    $($name => Some(Self::$variant),)+
                    _ => None,
                }
            }
        }
    };
}

/// When a server request may be acknowledged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum AckServerRequests {
    /// When the application has taken it.
    #[default]
    Delivered,
    /// When the application reports that it has handled it. The application gets one at a time.
    Handled,
}

names!(AckServerRequests { Delivered = "delivered", Handled = "handled" });

/// What follows when the session expires.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum OnSessionExpired {
    /// Every request fails and the client is disconnected.
    #[default]
    Terminate,
    /// The client opens a new session. Commands already sent settle as outcome unknown; queries and commands that were
    /// not sent go out in the new session.
    NewSession,
}

names!(OnSessionExpired { Terminate = "terminate", NewSession = "newSession" });

macro_rules! define_backoff {
    ($($(#[doc = $doc:literal])+ $name:ident = $kind:ident $facts:tt;)+) => {
        /// The pauses between rounds of connection attempts. Half of each is random.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub struct Backoff {
            $(
                $(#[doc = $doc])+
                #[doc = ""]
                #[doc = $crate::setting_limits!($kind $facts)]
                pub $name: Duration,
            )+
        }

        impl Default for Backoff {
            fn default() -> Self {
                use table::{default_value, value};
                Self { $($name: default_value!($kind $facts),)+ }
            }
        }
    };
}
table::with_pauses!(define_backoff);

macro_rules! define_config {
    ($($(#[doc = $doc:literal])+ $name:ident($argument:ty) -> $type:ty = $kind:ident $facts:tt;)+) => {
        /// The settings of a client. Valid by construction: see [`ConfigBuilder::build`].
        ///
        /// `Debug` shows no capability value. No other setting holds a secret.
        #[derive(Clone, PartialEq, Eq)]
        pub struct Config {
            pub(crate) members: MemberList,
            pub(crate) capabilities: Capabilities,
            pub(crate) liveness_query: Option<LivenessQuery>,
            pub(crate) discover_members: bool,
            $(pub(crate) $name: $type,)+
        }

        impl Config {
            $(
                $(#[doc = $doc])+
                #[doc = ""]
                #[doc = $crate::setting_limits!($kind $facts)]
                pub fn $name(&self) -> $type {
                    self.$name
                }
            )+
        }

        impl fmt::Debug for Config {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                let names = self.capabilities.iter().map(|(name, _)| name).collect();
                f.debug_struct("Config")
                    .field("members", &self.members.as_slice())
                    .field("capabilities", &MaskedValues(names))
                    .field("liveness_query", &self.liveness_query)
                    .field("discover_members", &self.discover_members)
                    $(.field(stringify!($name), &self.$name))+
                    .finish()
            }
        }
    };
}
with_settings!(define_config);

impl Config {
    /// Returns a builder with every default set. Members and capabilities must be added.
    pub fn builder() -> ConfigBuilder {
        ConfigBuilder::default()
    }

    /// The members of the cluster, in the order in which they are asked; at least one.
    pub fn members(&self) -> &[Member] {
        self.members.as_slice()
    }

    /// Returns the same settings with these members.
    #[must_use]
    pub fn with_members(self, members: MemberList) -> Self {
        Self { members, ..self }
    }

    /// The same members as a list that was checked.
    pub fn member_list(&self) -> &MemberList {
        &self.members
    }

    /// What the client tells the server about itself when it opens a session; at least one entry.
    pub fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    /// The query that the client itself sends when nothing else shows that the member leads.
    pub fn liveness_query(&self) -> Option<&LivenessQuery> {
        self.liveness_query.as_ref()
    }

    /// Returns true if the client asks the server for the members.
    pub fn discover_members(&self) -> bool {
        self.discover_members
    }

    /// The limits that decide whether a request is accepted.
    #[inline]
    pub fn admission(&self) -> Admission {
        Admission::new(self)
    }

    /// The longest payload that can be submitted, in bytes: the lower of [`Config::max_message_size`] and
    /// [`Config::max_queued_bytes`].
    pub fn max_payload(&self) -> usize {
        self.admission().max_payload()
    }
}

/// Shows the names of capabilities, and a mark in place of each value.
struct MaskedValues<'a>(Vec<&'a str>);

impl fmt::Debug for MaskedValues<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.0.iter().map(|key| (key, format_args!("***")))).finish()
    }
}
