//! The option `--json` of commands that print one result.

use clap::Args;
use serde_json::Value;

use crate::exit::{Exit, print, say};

/// How a result is printed.
#[derive(Clone, Copy, Debug, Args)]
pub(crate) struct Json {
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

impl Json {
    /// Prints a result, as the object or as text.
    pub(crate) fn print(self, object: &Value, text: &str) {
        print(&self.line(object, text));
    }

    /// Does the same for a command that has a session, which must be closed if printing fails.
    pub(crate) fn say(self, object: &Value, text: &str) -> Result<(), Exit> {
        say(&self.line(object, text))
    }

    fn line(self, object: &Value, text: &str) -> String {
        if self.json { object.to_string() } else { text.to_owned() }
    }
}
