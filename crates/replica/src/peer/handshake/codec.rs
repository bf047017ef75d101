//! The bytes of a handshake. All numbers are big-endian.
//!
//! A message is the 8 bytes `zraftpr1`, a kind, and the fields of its kind:
//!
//! | kind | fields |
//! | --- | --- |
//! | 1 Hello | sender, u64 receiver, u8 connection (0 urgent, 1 bulk), u8 flag, then if 1 16 bytes of incarnation and what is remembered of it, extension |
//! | 2 Welcome | sender, u64 receiver, u8 version, u8 flag, then if 1 what is remembered, extension |
//! | 3 Confirm | u64 durable index, u64 durable term |
//! | 4 Refusal | u8 reason and its fields: 1 other cluster, 16 bytes; 2 other member, u64; 3 version, u8 oldest, u8 newest; 4 same incarnation, u64; 5 other incarnation, 16 bytes; 6 unknown member; 7 removed; 8 feature level, u32; 9 rolled back, what is remembered, u64 index, u64 term |
//!
//! A sender is 16 bytes of cluster, u64 id, 16 bytes of incarnation, u16 length and address, u8 oldest and u8 newest
//! version, u32 feature level, u64 durable index, u64 durable term. What is remembered is u64 term, u64 matched index,
//! u64 committed index.
//!
//! An extension says more of the sender without becoming unreadable to an older version. It is u16 length and fields, each
//! u8 kind, u16 length and value. Kind 1 is where clients reach the sender, as text. A field of another kind is skipped, and
//! one that cannot be read ends the extension: versions before the first kind ignore all of it.

use bytes::{BufMut, Bytes, BytesMut};

use super::{ConnectionKind, Hello, Introduction, Refusal, Remembered, Sender, Welcome};
use crate::{
    ClusterId, FormatError, Incarnation, MemberInfo, Position, RaftId,
    fields::{Fields, put_text},
};

const MAGIC: &[u8; 8] = b"zraftpr1";
/// The kind of the extension's field that says where clients reach the sender.
const CLIENT_ENDPOINT: u8 = 1;

type Result<T> = std::result::Result<T, FormatError>;

/// A message of a handshake.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HandshakeMessage {
    /// The dialer introduces itself.
    Hello(Hello),
    /// The acceptor introduces itself.
    Welcome(Welcome),
    /// The dialer answers what the acceptor remembers.
    Confirm {
        /// The index of the dialer's last durable entry, and its durable term.
        durable: Position,
    },
    /// The sender refuses the receiver.
    Refusal(Refusal),
}

impl HandshakeMessage {
    /// No message is longer, and a longer one is refused before it is read.
    pub const MAX_LEN: usize = 4096;

    /// Returns the message's bytes.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        let mut out = BytesMut::with_capacity(256);
        out.put_slice(MAGIC);
        match self {
            Self::Hello(Hello { from, to, kind, remembered }) => {
                out.put_u8(1);
                put_sender(&mut out, from);
                out.put_u64(to.get());
                out.put_u8(u8::from(*kind == ConnectionKind::Bulk));
                out.put_u8(u8::from(remembered.is_some()));
                if let Some((incarnation, remembered)) = remembered {
                    out.put_slice(incarnation.as_bytes());
                    put_remembered(&mut out, *remembered);
                }
                put_extension(&mut out, from);
            }
            Self::Welcome(Welcome { from, to, version, remembered }) => {
                out.put_u8(2);
                put_sender(&mut out, from);
                out.put_u64(to.get());
                out.put_u8(*version);
                out.put_u8(u8::from(remembered.is_some()));
                if let Some(remembered) = remembered {
                    put_remembered(&mut out, *remembered);
                }
                put_extension(&mut out, from);
            }
            Self::Confirm { durable } => {
                out.put_u8(3);
                put_position(&mut out, *durable);
            }
            Self::Refusal(refusal) => {
                out.put_u8(4);
                put_refusal(&mut out, *refusal);
            }
        }
        out.freeze()
    }

    /// Reads a message.
    ///
    /// # Errors
    /// [`FormatError`] if the bytes are not exactly one message.
    pub fn decode(bytes: &Bytes) -> Result<Self> {
        if bytes.len() > Self::MAX_LEN {
            return Err(FormatError::Invalid("the length of the handshake"));
        }
        let mut fields = Fields::new(bytes);
        if fields.array("the signature")? != *MAGIC {
            return Err(FormatError::Invalid("the signature"));
        }
        let message = match fields.u8("the kind")? {
            1 => {
                let mut from = sender(&mut fields)?;
                let to = fields.id("the receiver")?;
                let kind = match fields.flag("the kind of connection")? {
                    false => ConnectionKind::Urgent,
                    true => ConnectionKind::Bulk,
                };
                let remembered = match fields.flag("what is remembered")? {
                    false => None,
                    true => Some((
                        Incarnation::new(fields.array("an incarnation")?),
                        remembered(&mut fields)?,
                    )),
                };
                from.client_endpoint = client_endpoint(fields.extension()?);
                Self::Hello(Hello { from, to, kind, remembered })
            }
            2 => {
                let mut from = sender(&mut fields)?;
                let to = fields.id("the receiver")?;
                let version = fields.u8("the version")?;
                let remembered = match fields.flag("what is remembered")? {
                    false => None,
                    true => Some(remembered(&mut fields)?),
                };
                from.client_endpoint = client_endpoint(fields.extension()?);
                Self::Welcome(Welcome { from, to, version, remembered })
            }
            3 => Self::Confirm { durable: position(&mut fields)? },
            4 => Self::Refusal(refusal(&mut fields)?),
            kind => return Err(FormatError::UnknownKind(kind)),
        };
        fields.finish()?;
        Ok(message)
    }
}

fn put_position(out: &mut BytesMut, position: Position) {
    out.put_u64(position.index);
    out.put_u64(position.term);
}

fn position(fields: &mut Fields<'_>) -> Result<Position> {
    let index = fields.number("the durable index")?;
    Ok(Position { index, term: fields.number("the durable term")? })
}

fn put_remembered(out: &mut BytesMut, remembered: Remembered) {
    for number in [remembered.term, remembered.matched, remembered.committed] {
        out.put_u64(number);
    }
}

fn remembered(fields: &mut Fields<'_>) -> Result<Remembered> {
    Ok(Remembered {
        term: fields.number("the remembered term")?,
        matched: fields.number("the remembered index")?,
        committed: fields.number("the remembered commit index")?,
    })
}

fn put_sender(out: &mut BytesMut, sender: &Sender) {
    let Introduction { cluster, incarnation, address } = &sender.introduction;
    out.put_slice(cluster.as_bytes());
    out.put_u64(sender.id.get());
    out.put_slice(incarnation.as_bytes());
    put_text(out, address);
    out.put_u8(sender.oldest);
    out.put_u8(sender.newest);
    out.put_u32(sender.feature_level);
    put_position(out, sender.durable);
}

fn sender(fields: &mut Fields<'_>) -> Result<Sender> {
    let cluster = ClusterId::new(fields.array("the cluster")?);
    let id = fields.id("the sender")?;
    let incarnation = Incarnation::new(fields.array("the incarnation")?);
    let address = fields.text("the address")?;
    Ok(Sender {
        id,
        introduction: Introduction { cluster, incarnation, address },
        oldest: fields.u8("the oldest version")?,
        newest: fields.u8("the newest version")?,
        feature_level: fields.u32("the feature level")?,
        durable: position(fields)?,
        client_endpoint: None,
    })
}

fn put_extension(out: &mut BytesMut, sender: &Sender) {
    let endpoint = sender.client_endpoint.as_ref();
    match endpoint.filter(|endpoint| (1..=MemberInfo::MAX_TEXT).contains(&endpoint.len())) {
        Some(endpoint) => {
            out.put_u16(3 + endpoint.len() as u16);
            out.put_u8(CLIENT_ENDPOINT);
            put_text(out, endpoint);
        }
        None => out.put_u16(0),
    }
}

/// Returns the first endpoint in an extension.
fn client_endpoint(mut extension: &[u8]) -> Option<String> {
    while let [kind, first, second, rest @ ..] = extension {
        let length = usize::from(u16::from_be_bytes([*first, *second]));
        let (value, rest) = rest.split_at_checked(length)?;
        if *kind == CLIENT_ENDPOINT {
            let text = std::str::from_utf8(value).ok();
            let text = text.filter(|text| (1..=MemberInfo::MAX_TEXT).contains(&text.len()));
            return text.map(str::to_owned);
        }
        extension = rest;
    }
    None
}

fn put_refusal(out: &mut BytesMut, refusal: Refusal) {
    match refusal {
        Refusal::OtherCluster { cluster } => {
            out.put_u8(1);
            out.put_slice(cluster.as_bytes());
        }
        Refusal::OtherMember { id } => {
            out.put_u8(2);
            out.put_u64(id.get());
        }
        Refusal::Version { oldest, newest } => out.put_slice(&[3, oldest, newest]),
        Refusal::SameIncarnation { id } => {
            out.put_u8(4);
            out.put_u64(id.get());
        }
        Refusal::OtherIncarnation { known } => {
            out.put_u8(5);
            out.put_slice(known.as_bytes());
        }
        Refusal::UnknownMember => out.put_u8(6),
        Refusal::Removed => out.put_u8(7),
        Refusal::FeatureLevel { needed } => {
            out.put_u8(8);
            out.put_u32(needed);
        }
        Refusal::RolledBack { remembered, durable } => {
            out.put_u8(9);
            put_remembered(out, remembered);
            put_position(out, durable);
        }
    }
}

fn refusal(fields: &mut Fields<'_>) -> Result<Refusal> {
    let id = |fields: &mut Fields<'_>| -> Result<RaftId> { fields.id("a member's id") };
    Ok(match fields.u8("the reason")? {
        1 => Refusal::OtherCluster { cluster: ClusterId::new(fields.array("the cluster")?) },
        2 => Refusal::OtherMember { id: id(fields)? },
        3 => {
            let oldest = fields.u8("the oldest version")?;
            Refusal::Version { oldest, newest: fields.u8("the newest version")? }
        }
        4 => Refusal::SameIncarnation { id: id(fields)? },
        5 => {
            Refusal::OtherIncarnation { known: Incarnation::new(fields.array("the incarnation")?) }
        }
        6 => Refusal::UnknownMember,
        7 => Refusal::Removed,
        8 => Refusal::FeatureLevel { needed: fields.u32("the feature level")? },
        9 => {
            let remembered = remembered(fields)?;
            Refusal::RolledBack { remembered, durable: position(fields)? }
        }
        reason => return Err(FormatError::UnknownKind(reason)),
    })
}
