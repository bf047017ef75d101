//! What another member sends: frames, handshakes, and what they hold.

use bytes::Bytes;
use zraft_replica::{Configuration, HandshakeMessage, PeerFrame, RaftId};

use super::script::Script;

/// Bytes of a peer. What is taken has one encoding, and ends where it ends.
pub fn peer_codec(input: &[u8]) {
    let mut script = Script::new(input);
    let kind = script.byte();
    let bytes = Bytes::copy_from_slice(script.take(usize::MAX));
    match kind % 3 {
        0 => frame(&bytes),
        1 => exact(&bytes, |bytes| {
            HandshakeMessage::decode(bytes).ok().map(|message| message.encode())
        }),
        _ => exact(&bytes, |bytes| Configuration::decode(bytes).ok().map(|all| all.encode())),
    }
}

fn id(number: u64) -> RaftId {
    RaftId::new(number).unwrap()
}

fn frame(bytes: &Bytes) {
    let decode = |bytes: &Bytes| PeerFrame::decode(bytes, id(2), id(3));
    let Ok(frame) = decode(bytes) else { return };
    assert_eq!((frame.from, frame.to), (id(2), id(3)), "a frame names the members it is between");
    assert!(frame.message.term() > 0, "the engine takes term 0 for its own messages");
    for other in [PeerFrame::decode(bytes, id(3), id(2)), PeerFrame::decode(bytes, id(2), id(4))] {
        assert!(other.is_err(), "a frame of other members is refused");
    }
    // A configuration may hold fields of a later version, which are ignored and not sent on.
    if decode(&frame.encode()).unwrap() != frame {
        panic!("what is encoded decodes");
    }
    exact(bytes, |bytes| decode(bytes).ok().map(|frame| frame.encode()));
}

/// Decodes and encodes again. A second time must change nothing, and neither a part nor more than all may be taken.
fn exact(bytes: &Bytes, again: impl Fn(&Bytes) -> Option<Bytes>) {
    let Some(encoded) = again(bytes) else { return };
    assert_eq!(again(&encoded).as_ref(), Some(&encoded), "what is encoded decodes");
    assert!(encoded.len() <= bytes.len(), "nothing is added");
    let short = (0..encoded.len()).filter(|at| *at < 64 || *at + 32 >= encoded.len());
    for end in short {
        assert!(again(&encoded.slice(..end)).is_none(), "the first {end} bytes decode");
    }
    let longer = Bytes::from([&encoded[..], &[0]].concat());
    assert!(again(&longer).is_none(), "bytes that are left over are refused");
}
