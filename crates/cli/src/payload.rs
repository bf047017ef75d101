//! Payloads as text: as they are, in hexadecimal digits, or in base64.

use base64::{
    Engine,
    alphabet::STANDARD,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use serde_json::{Value, json};

use crate::messages::{hex, unhex};

/// Base64 with the usual alphabet. It writes padding, and reads text with and without it.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// How a payload is given.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Input {
    /// Byte for byte
    #[default]
    Text,
    /// Hexadecimal digits; white space does not count
    Hex,
    /// Base64; white space does not count
    Base64,
}

/// How an answer is shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Output {
    /// UTF-8, with \xNN for each byte that is not a printable character
    #[default]
    Text,
    /// Hexadecimal digits
    Hex,
    /// Base64 with padding
    Base64,
    /// Byte for byte, without a line end
    Raw,
}

impl Input {
    /// Reads a payload.
    ///
    /// # Errors
    /// A text that does not show the payload.
    pub fn read(self, text: &[u8]) -> Result<Vec<u8>, String> {
        let dense = || text.iter().copied().filter(|byte| !byte.is_ascii_whitespace());
        match self {
            Self::Text => Ok(text.to_vec()),
            Self::Hex => {
                let digits: Vec<u8> = dense().collect();
                let digits = std::str::from_utf8(&digits);
                unhex(digits.map_err(|_| "not hexadecimal".to_owned())?)
            }
            Self::Base64 => {
                let digits: Vec<u8> = dense().collect();
                BASE64.decode(digits).map_err(|error| format!("not base64: {error}"))
            }
        }
    }

    /// Returns the greatest number of bytes that a payload of this length needs, without white space.
    #[must_use]
    pub fn longest(self, payload: usize) -> usize {
        match self {
            Self::Text => payload,
            Self::Hex | Self::Base64 => payload.saturating_mul(2).saturating_add(4),
        }
    }
}

impl Output {
    /// Returns an answer as one line of text.
    #[must_use]
    pub fn line(self, answer: &[u8]) -> String {
        match self {
            Self::Text | Self::Raw => escaped(answer),
            Self::Hex => hex(answer),
            Self::Base64 => BASE64.encode(answer),
        }
    }

    /// Returns an answer as a key and its value. The key names the form: text that is not UTF-8 becomes `hex`.
    #[must_use]
    pub fn field(self, answer: &[u8]) -> (&'static str, Value) {
        match (self, std::str::from_utf8(answer)) {
            (Self::Text | Self::Raw, Ok(text)) => ("text", json!(text)),
            (Self::Base64, _) => ("base64", json!(BASE64.encode(answer))),
            _ => ("hex", json!(hex(answer))),
        }
    }
}

/// Returns bytes as text that cannot control a terminal. A backslash becomes two, so that no two answers look the same.
fn escaped(bytes: &[u8]) -> String {
    let mut text = String::new();
    for chunk in bytes.utf8_chunks() {
        for character in chunk.valid().chars() {
            match character {
                '\\' => text.push_str("\\\\"),
                '\n' => text.push_str("\\n"),
                '\r' => text.push_str("\\r"),
                '\t' => text.push_str("\\t"),
                other if other.is_control() => {
                    let mut buffer = [0; 4];
                    push_bytes(&mut text, other.encode_utf8(&mut buffer).as_bytes());
                }
                other => text.push(other),
            }
        }
        push_bytes(&mut text, chunk.invalid());
    }
    text
}

fn push_bytes(text: &mut String, bytes: &[u8]) {
    bytes.iter().for_each(|byte| text.push_str(&format!("\\x{byte:02x}")));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn payload_is_read_from_each_form() {
        for (input, text) in [
            (Input::Text, "S\u{0}a\n".as_bytes()),
            (Input::Hex, b"53 00\n610A "),
            (Input::Base64, b"UwBh\nCg=="),
            (Input::Base64, b"UwBhCg"),
        ] {
            assert_eq!(input.read(text).unwrap(), b"S\0a\n", "{input:?}");
        }
    }

    #[test]
    fn text_in_another_form_is_refused_and_not_shown() {
        for (input, text) in [
            (Input::Hex, &b"secret"[..]),
            (Input::Hex, b"123"),
            (Input::Hex, b"\xff"),
            (Input::Base64, b"sec*ret"),
        ] {
            let error = input.read(text).unwrap_err();
            assert!(!error.contains("sec"), "{error}");
        }
    }

    #[test]
    fn answer_is_one_line_that_cannot_control_a_terminal() {
        let answer = "a\\b\n\u{1b}[31mé\u{85}".as_bytes();
        let answer = [answer, b"\xff"].concat();
        assert_eq!(Output::Text.line(&answer), "a\\\\b\\n\\x1b[31mé\\xc2\\x85\\xff");
        assert_eq!(Output::Hex.line(b"S\0"), "5300");
        assert_eq!(Output::Base64.line(b"S\0"), "UwA=");
    }

    #[test]
    fn answer_in_json_is_exact_and_its_key_names_the_form() {
        assert_eq!(Output::Text.field("a\n\0é".as_bytes()), ("text", json!("a\n\0é")));
        assert_eq!(Output::Text.field(b"\xff"), ("hex", json!("ff")));
        assert_eq!(Output::Raw.field(b"\xff"), ("hex", json!("ff")));
        assert_eq!(Output::Hex.field(b"a"), ("hex", json!("61")));
        assert_eq!(Output::Base64.field(b"a"), ("base64", json!("YQ==")));
    }
}
