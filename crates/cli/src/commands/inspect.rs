//! `zraft inspect`: decodes and encodes messages.

use std::{
    fs::File,
    io::{self, BufReader},
    path::{Path, PathBuf},
};

use clap::Args;
use serde_json::json;
use zraft_cli::{
    capture,
    inspect::{Side, decode, encode},
    lines,
};

use crate::exit::{Exit, complain, write};

/// The longest line in bytes: room for the hexadecimal digits of the longest message that clients can be set to accept.
const MAX_LINE: usize = 256 << 20;

/// Decode messages: read hexadecimal lines from standard input and print JSON objects, one per line
///
/// With --encode, read JSON objects and print hexadecimal lines. With --zmtp, read the raw bytes of one direction of a
/// connection and print its greeting, commands and messages.
///
/// Prints {"error": …} for a line or frame that does not decode; the exit status is then 1. Shows session ids and
/// capabilities, which are secrets, because they are in the input anyway.
#[derive(Debug, Args)]
#[command(
    after_long_help = "Example:\n  echo 7a726166740103000001a2032816fb | zraft inspect --from client"
)]
pub(crate) struct Arguments {
    /// Side that sent the messages
    #[arg(long, value_enum)]
    from: Side,
    /// Encode: read JSON objects and print hexadecimal lines
    #[arg(long, conflicts_with = "zmtp")]
    encode: bool,
    /// Read a raw capture of one direction of a connection, from its first byte on; from a file or standard input
    #[arg(long, value_name = "FILE", num_args = 0..=1, default_missing_value = "-")]
    zmtp: Option<PathBuf>,
}

pub(crate) fn run(arguments: &Arguments) -> Exit {
    let from = arguments.from;
    let result = match &arguments.zmtp {
        Some(file) if file.as_os_str() == "-" => {
            capture::read(from, io::stdin().lock(), |object| write(&object.to_string()))
        }
        Some(file) => match open(file) {
            Ok(file) => {
                capture::read(from, BufReader::new(file), |object| write(&object.to_string()))
            }
            Err(error) => {
                complain(&format!("{}: {error}", file.display()));
                return Exit::BadInput;
            }
        },
        None => translate(from, arguments.encode),
    };
    match result {
        Ok(true) => Exit::Success,
        Ok(false) => Exit::BadInput,
        Err(error) => Exit::of_io(&error),
    }
}

/// Opens a file. A directory is an error here, not only when it is read.
fn open(path: &Path) -> io::Result<File> {
    let file = File::open(path)?;
    if file.metadata()?.is_dir() {
        return Err(io::ErrorKind::IsADirectory.into());
    }
    Ok(file)
}

/// Converts each line of standard input. Returns true if there was no error.
fn translate(from: Side, reverse: bool) -> io::Result<bool> {
    let mut good = true;
    lines::for_each(io::stdin().lock(), MAX_LINE, |line| {
        let answer = line.and_then(|line| match reverse {
            true => encode(from, line),
            false => decode(from, line).map(|message| message.to_string()),
        });
        good &= answer.is_ok();
        write(&answer.unwrap_or_else(|error| json!({ "error": error }).to_string()))
    })?;
    Ok(good)
}
