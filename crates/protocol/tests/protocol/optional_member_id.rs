//! The optional member id: a presence bit, followed by the id shifted by that bit.

use bytes::Bytes;
use zraft_protocol::{MemberId, ServerMessage, SessionCloseReason};

use crate::support::{hex, unhex};

const HEAD: &str = "7a72616674010401";

fn encode(leader_id: Option<&str>) -> String {
    let leader_id = leader_id.map(|id| MemberId::new(id).unwrap());
    let message = ServerMessage::SessionClosed { reason: SessionCloseReason::Shutdown, leader_id };
    let mut out = Vec::new();
    message.encode(&mut out);
    assert_eq!(out.len(), message.encoded_len());
    hex(&out).strip_prefix(HEAD).unwrap().to_owned()
}

fn decode(field: &str) -> Option<String> {
    match ServerMessage::decode(&unhex(&format!("{HEAD}{field}"))).unwrap() {
        ServerMessage::SessionClosed { leader_id, .. } => {
            leader_id.map(|id| id.as_str().to_owned())
        }
        other => panic!("{other:?}"),
    }
}

/// Encodes by the definition, bit by bit: presence bit, length, text, and zeros up to the next byte.
fn by_bits(id: &str) -> String {
    let length = u16::try_from(id.len()).unwrap().to_be_bytes();
    let mut bits = String::from("1");
    for byte in length.iter().chain(id.as_bytes()) {
        bits += &format!("{byte:08b}");
    }
    while !bits.len().is_multiple_of(8) {
        bits.push('0');
    }
    let digits = |at: usize| u8::from_str_radix(&bits[at..at + 4], 2).unwrap();
    (0..bits.len()).step_by(4).map(|at| format!("{:x}", digits(at))).collect()
}

#[test]
fn node_1_has_the_documented_encoding() {
    assert_eq!(encode(Some("node-1")), "8003".to_owned() + "3737b232969880");
    assert_eq!(decode("80033737b232969880").as_deref(), Some("node-1"));
}

#[test]
fn absent_id_is_one_zero_byte() {
    assert_eq!(encode(None), "00");
    assert_eq!(decode("00"), None);
}

#[test]
fn empty_id_differs_from_an_absent_one() {
    assert_eq!(encode(Some("")), "800000");
    assert_eq!(decode("800000").as_deref(), Some(""));
}

#[test]
fn ids_of_all_lengths_take_three_extra_bytes_and_decode() {
    let text = "é中a😀-0".repeat(30_000);
    for length in (0..=300).chain([511, 512, 32_767, 32_768, 65_534, 65_535]) {
        let mut end = length;
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        let id = text[..end].to_owned() + &"x".repeat(length - end);
        let field = encode(Some(&id));
        assert_eq!(field.len() / 2, length + 3);
        assert_eq!(field, by_bits(&id));
        assert_eq!(decode(&field), Some(id));
    }
}

#[test]
fn padding_bits_are_ignored() {
    for padding in 0..0x80_u8 {
        assert_eq!(decode(&format!("{padding:02x}")), None);
        let last = 0x80 | padding;
        assert_eq!(decode(&format!("80033737b2329698{last:02x}")).as_deref(), Some("node-1"));
        assert_eq!(decode(&format!("8000{padding:02x}")).as_deref(), Some(""));
    }
}

#[test]
fn missing_last_byte_is_an_error_even_if_it_holds_only_one_bit() {
    for field in ["", "80", "8000", "80033737b2329698"] {
        let frame: Bytes = unhex(&format!("{HEAD}{field}"));
        let error = ServerMessage::decode(&frame).unwrap_err();
        assert_eq!(error.to_string(), "the frame ends within the leader id", "{field}");
    }
}
