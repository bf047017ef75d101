//! Decodes and re-encodes the recorded traffic of live clients and servers.

use std::{collections::BTreeMap, fs, path::PathBuf};

use bytes::Bytes;
use serde_json::Value;

use crate::support::{From, Message, hex, testdata, unhex};

/// Length in bytes of a ZMTP greeting.
const GREETING: usize = 64;
const LONG: u8 = 0x02;
const COMMAND: u8 = 0x04;

/// Returns the bodies of all complete messages in one direction of a ZMTP stream. ZMTP commands are left out.
fn messages(stream: &Bytes) -> Vec<Bytes> {
    assert_eq!((stream[0], stream[9]), (0xff, 0x7f), "not a ZMTP greeting");
    let mut found = Vec::new();
    let mut at = GREETING;
    while at < stream.len() {
        let flags = stream[at];
        let (body, length) = if flags & LONG == 0 {
            (at + 2, usize::from(stream[at + 1]))
        } else {
            let length = u64::from_be_bytes(stream[at + 1..at + 9].try_into().unwrap());
            (at + 9, usize::try_from(length).unwrap())
        };
        at = body + length;
        if at > stream.len() {
            break; // The connection was cut within this frame.
        }
        if flags & COMMAND == 0 {
            assert_eq!(flags & !LONG, 0, "the message has more than one frame");
            found.push(stream.slice(body..at));
        }
    }
    found
}

struct Capture {
    name: String,
    from: From,
    messages: Vec<Bytes>,
}

fn captures() -> Vec<Capture> {
    let captures = files("bin").into_iter().map(|path| {
        let name = path.file_stem().unwrap().to_str().unwrap();
        let (name, from) = match name.rsplit_once('.').unwrap() {
            (name, "c2s") => (name, From::Client),
            (name, "s2c") => (name, From::Server),
            (_, other) => panic!("unknown direction {other} in a file name"),
        };
        let messages = messages(&Bytes::from(fs::read(&path).unwrap()));
        // Files with ".2" hold the second connection of the same capture.
        let name = name.strip_suffix(".2").unwrap_or(name).to_owned();
        Capture { name, from, messages }
    });
    captures.collect()
}

fn files(extension: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(testdata().join("captures")).unwrap();
    let paths = entries.map(|entry| entry.unwrap().path());
    let mut paths: Vec<_> =
        paths.filter(|path| path.extension().is_some_and(|end| end == extension)).collect();
    paths.sort();
    paths
}

#[test]
fn captured_messages_survive_decoding_and_encoding() {
    let captures = captures();
    assert_eq!(captures.len(), 24);
    for capture in captures {
        assert!(!capture.messages.is_empty(), "{}", capture.name);
        for frame in capture.messages {
            let message = Message::decode(capture.from, &frame)
                .unwrap_or_else(|error| panic!("{}: {error}: {}", capture.name, hex(&frame)));
            assert_eq!(hex(&message.encode()), hex(&frame), "{}", capture.name);
        }
    }
}

/// The tool that recorded the captures wrote the counts, so they are independent of this decoder.
#[test]
fn message_counts_match_the_summary_of_each_capture() {
    let mut found = BTreeMap::<String, BTreeMap<String, u64>>::new();
    for capture in captures() {
        let counts = found.entry(capture.name).or_default();
        for frame in capture.messages {
            let message = Message::decode(capture.from, &frame).unwrap();
            let direction = if capture.from == From::Client { "c2s" } else { "s2c" };
            let (name, code) = (message.name(), message.code());
            *counts.entry(format!("{direction} msg zraft v1 {name}({code})")).or_default() += 1;
        }
    }
    assert_eq!(found.len(), 11);
    for (name, found) in found {
        let text = fs::read_to_string(testdata().join(format!("captures/{name}.txt"))).unwrap();
        let (_, summary) = text.split_once("SUMMARY").unwrap();
        let summary: Value = serde_json::from_str(summary).unwrap();
        let expected: BTreeMap<_, _> = summary
            .as_object()
            .unwrap()
            .iter()
            .filter(|(what, _)| what.contains(" msg "))
            .map(|(what, count)| (what.clone(), count.as_u64().unwrap()))
            .collect();
        assert_eq!(found, expected, "{name}");
    }
}

/// The text files also show connections for which no raw bytes were kept.
#[test]
fn messages_in_capture_texts_survive_decoding_and_encoding() {
    let mut seen = 0;
    for path in files("txt") {
        let text = fs::read_to_string(&path).unwrap();
        let mut from = None;
        for line in text.lines() {
            if line.contains(" c2s ") {
                from = Some(From::Client);
            } else if line.contains(" s2c ") {
                from = Some(From::Server);
            } else if let Some((_, frame)) = line.split_once("hex=") {
                let frame = unhex(frame);
                let message = Message::decode(from.unwrap(), &frame).unwrap();
                assert_eq!(hex(&message.encode()), hex(&frame), "{}", path.display());
                seen += 1;
            }
        }
    }
    let in_streams: usize = captures().iter().map(|capture| capture.messages.len()).sum();
    assert!(
        seen >= in_streams,
        "only {seen} messages in the texts, but {in_streams} in the streams"
    );
}
