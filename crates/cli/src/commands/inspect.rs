//! `zraft inspect`: what bytes say, and which bytes say it.

use std::{
    fs::File,
    io::{self, BufRead, BufReader, Read},
    path::PathBuf,
};

use bytes::Bytes;
use clap::{Args, ValueEnum};
use serde_json::{Value, json};
use zraft_protocol::{ClientMessage, ServerMessage};
use zraft_zmtp::{Config, Connection, Event, Instant, SocketType};

use crate::{
    exit::{Exit, complain, print},
    json::{from_client, from_server, hex, to_client, to_server, unhex},
};

/// A line may be this long, in bytes.
const MAX_LINE: u64 = 256 << 20;

/// Decode messages: hexadecimal lines on standard input become JSON objects, one a line
#[derive(Debug, Args)]
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

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Side {
    Client,
    Server,
}

pub(crate) fn run(arguments: &Arguments) -> Exit {
    let from = arguments.from;
    let result = match &arguments.zmtp {
        Some(file) if file.as_os_str() == "-" => capture(from, io::stdin().lock()),
        Some(file) => File::open(file).and_then(|file| capture(from, file)),
        None => {
            lines(|line| if arguments.encode { encode(from, line) } else { decode(from, line) })
        }
    };
    match result {
        Ok(true) => Exit::Success,
        Ok(false) => Exit::BadInput,
        Err(error) => {
            complain(&error.to_string());
            Exit::BadInput
        }
    }
}

/// Answers each line; `false` when one of them was wrong.
fn lines(answer: impl Fn(&str) -> Result<String, String>) -> io::Result<bool> {
    let mut input = io::stdin().lock();
    let mut line = Vec::new();
    let mut good = true;
    loop {
        line.clear();
        let read = input.by_ref().take(MAX_LINE).read_until(b'\n', &mut line)?;
        if read == 0 {
            return Ok(good);
        }
        if read as u64 == MAX_LINE && line.last() != Some(&b'\n') {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "a line is too long"));
        }
        let text = std::str::from_utf8(&line).map(str::trim).map_err(|_| "not UTF-8".to_owned());
        if text.as_ref().is_ok_and(|text| text.is_empty()) {
            continue;
        }
        match text.and_then(&answer) {
            Ok(answer) => print(&answer),
            Err(error) => {
                good = false;
                print(&json!({ "error": error }).to_string());
            }
        }
    }
}

fn decode(from: Side, line: &str) -> Result<String, String> {
    message(from, &Bytes::from(unhex(line)?)).map(|message| message.to_string())
}

fn encode(from: Side, line: &str) -> Result<String, String> {
    let value: Value = serde_json::from_str(line).map_err(|error| error.to_string())?;
    let mut frame = Vec::new();
    match from {
        Side::Client => to_client(&value)?.encode(&mut frame),
        Side::Server => to_server(&value)?.encode(&mut frame),
    }
    Ok(hex(&frame))
}

fn message(from: Side, frame: &Bytes) -> Result<Value, String> {
    match from {
        Side::Client => ClientMessage::decode(frame).map(|message| from_client(&message)),
        Side::Server => ServerMessage::decode(frame).map(|message| from_server(&message)),
    }
    .map_err(|error| error.to_string())
}

/// Reads a capture as the other side of the connection would; `false` when something in it was wrong.
fn capture(from: Side, input: impl Read) -> io::Result<bool> {
    let mut input = BufReader::new(input);
    let mut config = match from {
        Side::Client => Config::server(),
        Side::Server => Config::client(),
    };
    config.socket_type = if from == Side::Client { SocketType::Server } else { SocketType::Client };
    let now = Instant::ZERO;
    let mut connection = Connection::new(config, now);
    let mut good = true;
    loop {
        let chunk = input.fill_buf()?;
        let length = chunk.len();
        connection.handle_bytes(now, chunk);
        input.consume(length);
        if length == 0 {
            connection.handle_eof(now);
        }
        while let Some(event) = connection.poll_event(now) {
            let error = match event {
                Event::Message(frame) => match message(from, &frame) {
                    Ok(message) => {
                        print(&message.to_string());
                        continue;
                    }
                    Err(error) => error,
                },
                Event::Oversized { length, .. } => {
                    format!("a message of {length} bytes is too long")
                }
                Event::MultipartDiscarded => "a message of several frames".to_owned(),
                // A capture ends; that is no error.
                Event::Failed(zraft_zmtp::Error::Closed) => return Ok(good),
                Event::Failed(error) => {
                    print(&json!({ "error": error.to_string() }).to_string());
                    return Ok(false);
                }
                _ => continue,
            };
            good = false;
            print(&json!({ "error": error }).to_string());
        }
        // The answers that a live peer would get.
        let written = bytes::Buf::remaining(connection.tx());
        bytes::Buf::advance(connection.tx(), written);
    }
}
