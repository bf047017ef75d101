//! Compares this codec with the vectors that the live Scala codec wrote and read.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use zraft_protocol::{ClientMessageKind, ServerMessageKind};

use crate::support::{From, Message, hex, unhex, vectors};

#[test]
fn vectors_decode_to_their_fields() {
    let vectors = vectors();
    assert_eq!(vectors.len(), 618);
    for vector in vectors {
        let message = Message::decode(vector.from, &vector.frame).unwrap();
        assert_eq!(message.to_json(), vector.message, "{}", hex(&vector.frame));
    }
}

#[test]
fn vectors_encode_to_their_bytes() {
    for vector in vectors() {
        let message = Message::from_json(vector.from, &vector.message);
        assert_eq!(hex(&message.encode()), hex(&vector.frame), "{}", vector.message);
        assert_eq!(message.encoded_len(), vector.frame.len(), "{}", vector.message);
    }
}

#[test]
fn vectors_cover_all_message_types() {
    let mut seen = BTreeSet::new();
    for vector in vectors() {
        let name = vector.message["type"].as_str().unwrap().to_owned();
        seen.insert((vector.from == From::Client, name));
    }
    let client = ClientMessageKind::ALL.iter().map(|kind| (true, kind.name().to_owned()));
    let server = ServerMessageKind::ALL.iter().map(|kind| (false, kind.name().to_owned()));
    assert_eq!(seen, client.chain(server).collect());
}

/// ZIO Raft's own fixtures are not part of this repository. The test runs only if they lie beside the checkout.
#[test]
fn fixtures_beside_the_checkout_survive_decoding_and_encoding() {
    let Some(files) = fixtures() else {
        eprintln!("skipped: there are no ZIO Raft fixtures beside the checkout");
        return;
    };
    assert_eq!(files.len(), 18);
    for file in files {
        let frame = unhex(&fs::read_to_string(&file).unwrap());
        let name = file.file_stem().unwrap().to_str().unwrap();
        // Both directions use the same discriminators, so the file name decides which message it is.
        let message = [From::Client, From::Server]
            .into_iter()
            .filter_map(|from| Message::decode(from, &frame).ok())
            .find(|message| name.strip_suffix("NoLeader").unwrap_or(name) == message.name())
            .unwrap_or_else(|| panic!("{name} does not decode"));
        assert_eq!(hex(&message.encode()), hex(&frame), "{name}");
        assert!(vectors().iter().take(18).any(|vector| vector.frame == frame), "{name}");
    }
}

fn fixtures() -> Option<Vec<PathBuf>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/fixtures/protocol");
    let entries = fs::read_dir(folder).ok()?;
    let paths = entries.map(|entry| entry.unwrap().path());
    Some(paths.filter(|path| path.extension().is_some_and(|end| end == "hex")).collect())
}
