//! The state machines that the program can run.

use clap::ValueEnum;

/// A state machine of the program.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Application {
    /// The key-value store, which set, get and watch use
    KvStore,
    /// A log that keeps the payload of each command
    AppendLog,
}

impl Application {
    /// Returns the name in configurations and on the command line.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::KvStore => "kv-store",
            Self::AppendLog => "append-log",
        }
    }

    /// Returns the state machine that a configuration names. The key-value store is the default.
    pub(crate) fn named(name: Option<&str>) -> Result<Self, String> {
        let Some(name) = name else { return Ok(Self::KvStore) };
        let all = Self::value_variants();
        all.iter().copied().find(|application| application.name() == name).ok_or_else(|| {
            let names: Vec<_> = all.iter().map(|application| application.name()).collect();
            format!("application: {name} is not one of {}", names.join(", "))
        })
    }
}
