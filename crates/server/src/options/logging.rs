//! How a program writes its log. The library itself installs no subscriber.

use std::{fmt, str::FromStr};

/// The form of the log's lines.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum LogFormat {
    /// One line of text for each event, for people, systemd and container runtimes. They add the time.
    #[default]
    Text,
    /// One JSON object on each line, with the time.
    Json,
}

/// The least important events that are logged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum LogLevel {
    /// What ends the member, or keeps it from working.
    Error,
    /// What an operator should look at.
    Warn,
    /// Changes of the leader, the membership and connections between members.
    #[default]
    Info,
    /// Snapshots and other routine work.
    Debug,
    /// All events, for the developers of the server.
    Trace,
}

impl LogFormat {
    const ALL: [(&str, Self); 2] = [("text", Self::Text), ("json", Self::Json)];

    /// Returns the name that the configuration uses.
    #[must_use]
    pub fn name(self) -> &'static str {
        name_in(&Self::ALL, self)
    }
}

impl LogLevel {
    const ALL: [(&str, Self); 5] = [
        ("error", Self::Error),
        ("warn", Self::Warn),
        ("info", Self::Info),
        ("debug", Self::Debug),
        ("trace", Self::Trace),
    ];

    /// Returns the name that the configuration uses.
    #[must_use]
    pub fn name(self) -> &'static str {
        name_in(&Self::ALL, self)
    }
}

impl FromStr for LogFormat {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        find_in(&Self::ALL, text)
    }
}

impl FromStr for LogLevel {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        find_in(&Self::ALL, text)
    }
}

impl fmt::Display for LogFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl fmt::Display for LogLevel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

fn name_in<T: Copy + PartialEq>(all: &[(&'static str, T)], value: T) -> &'static str {
    all.iter().find(|(_, each)| *each == value).map_or("", |(name, _)| name)
}

fn find_in<T: Copy>(all: &[(&'static str, T)], text: &str) -> Result<T, String> {
    let names = || all.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ");
    let found = all.iter().find(|(name, _)| *name == text).map(|(_, value)| *value);
    found.ok_or_else(|| format!("{text} is not one of {}", names()))
}
