//! The flags that set options of the configuration, one for each.

use clap::{Arg, ArgAction, ArgMatches, Args, Command, FromArgMatches};
use zraft_server::{ConfigError, ServerConfig};

/// The options that were given as flags, with their values.
#[derive(Debug, Default)]
pub(crate) struct Flags(Vec<(&'static str, String)>);

impl Flags {
    /// Sets the options in a configuration.
    pub(crate) fn apply(&self, config: &mut ServerConfig) -> Result<(), ConfigError> {
        self.0.iter().try_for_each(|(flag, value)| config.set(flag, value))
    }
}

impl Args for Flags {
    fn augment_args(command: Command) -> Command {
        ServerConfig::options().fold(command, |command, option| {
            let help = match option.default() {
                Some(default) if !option.is_switch() => {
                    format!("{} [default: {}]", option.text(), default.trim_matches('"'))
                }
                _ => option.text().to_owned(),
            };
            let arg = Arg::new(option.flag())
                .long(option.flag())
                .help(help)
                .help_heading(option.section_text());
            command.arg(if option.is_switch() {
                arg.action(ArgAction::SetTrue)
            } else {
                arg.value_name(option.placeholder())
            })
        })
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for Flags {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let given = ServerConfig::options().filter_map(|option| {
            let flag = option.flag();
            let value = if option.is_switch() {
                matches.get_flag(flag).then(|| true.to_string())
            } else {
                matches.get_one::<String>(flag).cloned()
            };
            Some((flag, value?))
        });
        Ok(Self(given.collect()))
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}
