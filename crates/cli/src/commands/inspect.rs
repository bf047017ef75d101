//! `zraft inspect`: what bytes say, and which bytes say it.

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

/// A line may be this long, in bytes.
const MAX_LINE: usize = 256 << 20;

/// Decode messages: hexadecimal lines on standard input become JSON objects, one a line
///
/// With --encode, JSON objects become hexadecimal lines. With --zmtp, the raw bytes of one direction of a connection become
/// its greeting, commands and messages.
///
/// What does not decode gives {"error": …} in its place, and exit status 1 at the end. Session ids and capabilities are shown
/// as they are: whoever has the bytes has them already.
#[derive(Debug, Args)]
#[command(
    after_long_help = "Example:\n  echo 7a726166740103000001a2032816fb | zraft inspect --from client"
)]
pub(crate) struct Arguments {
    /// Which side sent the messages
    #[arg(long, value_enum)]
    from: Side,
    /// The reverse: JSON objects become hexadecimal lines
    #[arg(long, conflicts_with = "zmtp")]
    encode: bool,
    /// Read a raw capture of one direction of a connection instead, from the ZMTP greeting on: a file, or standard input
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

/// A folder opens as a file does, and says what it is only when it is read.
fn open(path: &Path) -> io::Result<File> {
    let file = File::open(path)?;
    if file.metadata()?.is_dir() {
        return Err(io::ErrorKind::IsADirectory.into());
    }
    Ok(file)
}

/// Answers each line; `false` when one of them was wrong.
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
