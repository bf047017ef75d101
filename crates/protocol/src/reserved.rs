//! Queries that this project's servers answer themselves, from their session layer. The application never sees them.
//!
//! A query is reserved if its payload begins with [`PREFIX`]. A client sends one only if its application asked for it,
//! because a server that does not know them, such as ZIO Raft's own, hands the payload to its application. The one
//! question of version 1 asks for the members of the cluster.
//!
//! | payload | bytes after the prefix |
//! | --- | --- |
//! | question | u8 version 1, u8 kind: 1 members |
//! | answer | u8 version 1, u8 kind `0x81`, u16 count, then per member u16 length and id, u16 length and endpoint; an empty endpoint is unknown |
//! | answer to any other question | u8 version 1, u8 kind `0x80` |
//!
//! A server that answered the question for the members sends the list again on the same connection whenever it differs, as the
//! answer to a query with the correlation id [`MEMBERS_CHANGED`], which no client sends.
//!
//! Numbers are big-endian and texts are UTF-8. Bytes after the last field are ignored, in questions and answers. No answer
//! reads as a question, so that an application that echoes the payload is not mistaken for a server that knows it.
//!
//! ```
//! use zraft_protocol::{MemberId, reserved::{self, Member, Members}};
//!
//! let question = reserved::members_question();
//! let members = || Members::new([Member {
//!     id: MemberId::new("node-1").expect("not too long"),
//!     endpoint: Some("tcp://10.0.0.1:7001".to_owned()),
//! }]);
//! let answer = reserved::answer(&question, members).expect("the question is reserved");
//! assert_eq!(Members::from_answer(&answer), Ok(members()));
//! assert_eq!(reserved::answer(b"the application's", members), None);
//! ```

use std::collections::BTreeSet;

use bytes::{BufMut, BytesMut};

use crate::{MemberId, Payload};

/// The first bytes of every reserved query and of its answer: `ff`, `zraft`, `00`, and nine bytes that were drawn once.
///
/// No UTF-8 text begins with `ff`, and no application sends these 128 bits by chance.
pub const PREFIX: [u8; 16] = *b"\xffzraft\x00\x21\xe4\x34\x4e\x01\x1b\xaa\xb0\x46";
/// The version of questions and answers, the byte after the prefix.
pub const VERSION: u8 = 1;

/// The correlation id of a list of members that a server sends because the members have changed.
pub const MEMBERS_CHANGED: &str = "zraft.members-changed";

const MEMBERS: u8 = 1;
/// Set in the kind of an answer.
const ANSWER: u8 = 0x80;
/// Answers a question that the server does not know.
const UNKNOWN: u8 = ANSWER;

/// Returns true if a query is the session layer's and not the application's.
#[must_use]
pub fn is_reserved(query: &[u8]) -> bool {
    query.starts_with(&PREFIX)
}

/// Returns the query that asks for the members of the cluster.
#[must_use]
pub fn members_question() -> Payload {
    Payload::from_wire(head(MEMBERS, 0).freeze())
}

/// Returns true if a query asks for the members of the cluster.
#[must_use]
pub fn is_members_question(query: &[u8]) -> bool {
    matches!(query.strip_prefix(&PREFIX), Some([VERSION, MEMBERS, ..]))
}

/// Returns the answer to a query, or `None` if the query is not reserved. A question of a later version is answered as
/// unknown.
pub fn answer(query: &[u8], members: impl FnOnce() -> Members) -> Option<Payload> {
    let question = query.strip_prefix(&PREFIX)?;
    Some(match question {
        [VERSION, MEMBERS, ..] => members().to_answer(),
        _ => Payload::from_wire(head(UNKNOWN, 0).freeze()),
    })
}

fn head(kind: u8, fields: usize) -> BytesMut {
    let mut out = BytesMut::with_capacity(PREFIX.len() + 2 + fields);
    out.put_slice(&PREFIX);
    out.put_u8(VERSION);
    out.put_u8(kind);
    out
}

/// The members of a cluster, as a server lists them. Each id occurs once.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Members(Vec<Member>);

/// A member of a cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Its id, as hints name it. Not empty.
    pub id: MemberId,
    /// Where clients reach it, such as `tcp://10.0.0.1:7001`; `None` if the server does not know that now. The text
    /// is not checked here.
    pub endpoint: Option<String>,
}

/// A payload that is not a list of members.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AnswerError {
    /// The application of a server that does not know reserved queries gave the answer.
    #[error("the answer is not one of the session layer's: the server does not know the question")]
    Foreign,
    /// The server knows reserved queries, and not this one.
    #[error("the server does not know the question")]
    Unknown,
    /// A field is missing, too long or not what it may be.
    #[error("{0} cannot be read")]
    Malformed(&'static str),
}

impl Members {
    /// The most members of a list. A cluster has at most 64.
    pub const MAX: usize = 256;
    /// The greatest length of an id or an endpoint, in bytes: twice the longest DNS name.
    pub const MAX_TEXT: usize = 512;

    /// Creates a list. A member is left out if its id is empty or too long, if the id occurs before it, or after the first
    /// [`MAX`](Self::MAX). An endpoint that is empty or too long becomes `None`.
    #[must_use]
    pub fn new(members: impl IntoIterator<Item = Member>) -> Self {
        let fits = |text: &str| (1..=Self::MAX_TEXT).contains(&text.len());
        let mut ids = BTreeSet::new();
        let members = members.into_iter().map(|Member { id, endpoint }| Member {
            id,
            endpoint: endpoint.filter(|endpoint| fits(endpoint)),
        });
        let fitting =
            members.filter(|member| fits(member.id.as_str()) && ids.insert(member.id.clone()));
        Self(fitting.take(Self::MAX).collect())
    }

    /// Returns the members in the server's order.
    pub fn iter(&self) -> std::slice::Iter<'_, Member> {
        self.0.iter()
    }

    /// Reads the answer to [`members_question`].
    ///
    /// # Errors
    /// [`AnswerError`] if the payload is no such answer. Nothing is allocated because of an announced length.
    pub fn from_answer(answer: &[u8]) -> Result<Self, AnswerError> {
        let fields = answer.strip_prefix(&PREFIX).ok_or(AnswerError::Foreign)?;
        let mut fields = match fields {
            [VERSION, kind, rest @ ..] if *kind == MEMBERS | ANSWER => rest,
            [_, UNKNOWN, ..] => return Err(AnswerError::Unknown),
            _ => return Err(AnswerError::Foreign),
        };
        let count = take_u16(&mut fields).ok_or(AnswerError::Malformed("the number of members"))?;
        if count > Self::MAX {
            return Err(AnswerError::Malformed("the number of members"));
        }
        let mut ids = BTreeSet::new();
        let mut members = Vec::new();
        for _ in 0..count {
            const ID: AnswerError = AnswerError::Malformed("a member's id");
            let id = take_text(&mut fields).filter(|id| !id.is_empty()).ok_or(ID)?;
            let id = MemberId::new(id).map_err(|_| ID)?;
            if !ids.insert(id.clone()) {
                return Err(ID);
            }
            let endpoint = take_text(&mut fields);
            let endpoint = endpoint.ok_or(AnswerError::Malformed("a member's endpoint"))?;
            let endpoint = (!endpoint.is_empty()).then(|| endpoint.to_owned());
            members.push(Member { id, endpoint });
        }
        Ok(Self(members))
    }

    fn to_answer(&self) -> Payload {
        let texts = |member: &Member| {
            4 + member.id.as_bytes().len() + member.endpoint.as_ref().map_or(0, String::len)
        };
        let mut out = head(MEMBERS | ANSWER, 2 + self.0.iter().map(texts).sum::<usize>());
        // At most MAX members, and texts of at most MAX_TEXT bytes.
        out.put_u16(self.0.len() as u16);
        for Member { id, endpoint } in &self.0 {
            for text in [id.as_str(), endpoint.as_deref().unwrap_or_default()] {
                out.put_u16(text.len() as u16);
                out.put_slice(text.as_bytes());
            }
        }
        Payload::from_wire(out.freeze())
    }
}

impl<'a> IntoIterator for &'a Members {
    type Item = &'a Member;
    type IntoIter = std::slice::Iter<'a, Member>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl IntoIterator for Members {
    type Item = Member;
    type IntoIter = std::vec::IntoIter<Member>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

fn take_u16(fields: &mut &[u8]) -> Option<usize> {
    let (number, rest) = fields.split_first_chunk::<2>()?;
    *fields = rest;
    Some(usize::from(u16::from_be_bytes(*number)))
}

fn take_text<'a>(fields: &mut &'a [u8]) -> Option<&'a str> {
    let length = take_u16(fields).filter(|length| *length <= Members::MAX_TEXT)?;
    let (text, rest) = fields.split_at_checked(length)?;
    *fields = rest;
    std::str::from_utf8(text).ok()
}
