//! The option `--json` of commands that print one result.

use clap::Args;
use serde_json::Value;

use crate::exit::print;

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
        print(&if self.json { object.to_string() } else { text.to_owned() });
    }
}
