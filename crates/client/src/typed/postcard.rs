//! Payloads in postcard, a compact binary format.

use std::fmt;
use std::marker::PhantomData;

use bytes::Bytes;
use serde::{Serialize, de::DeserializeOwned};

use super::Codec;

/// The codec of an application whose payloads are postcard: the types of commands, their answers, queries and their answers.
///
/// Each request is decoded again before it is sent: some of serde's attributes, such as `skip_serializing_if`, write bytes that are
/// not read back, and the server must be able to decode them. A value without bytes, such as `()`, cannot be sent: the protocol has
/// no empty requests.
pub struct Postcard<C, A, Q, R>(Types<C, A, Q, R>);

type Types<C, A, Q, R> = PhantomData<fn(C, A, Q, R) -> (C, A, Q, R)>;

/// Why a value has no bytes, or bytes are not such a value.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PostcardError {
    /// postcard failed.
    #[error(transparent)]
    Format(#[from] postcard::Error),
    /// Bytes are left after the value.
    #[error("{0} bytes are left after the value")]
    TrailingBytes(usize),
}

impl<C, A, Q, R> Codec for Postcard<C, A, Q, R>
where
    C: Serialize + DeserializeOwned,
    A: DeserializeOwned,
    Q: Serialize + DeserializeOwned,
    R: DeserializeOwned,
{
    type Command = C;
    type Answer = A;
    type Query = Q;
    type Result = R;
    type Error = PostcardError;

    fn encode_command(&self, command: &C) -> Result<Bytes, PostcardError> {
        encode(command)
    }

    fn decode_answer(&self, answer: Bytes) -> Result<A, PostcardError> {
        decode(&answer)
    }

    fn encode_query(&self, query: &Q) -> Result<Bytes, PostcardError> {
        encode(query)
    }

    fn decode_result(&self, result: Bytes) -> Result<R, PostcardError> {
        decode(&result)
    }
}

fn encode<T: Serialize + DeserializeOwned>(value: &T) -> Result<Bytes, PostcardError> {
    let bytes = postcard::to_allocvec(value)?;
    let _: T = decode(&bytes)?;
    Ok(bytes.into())
}

fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, PostcardError> {
    match postcard::take_from_bytes(bytes)? {
        (value, []) => Ok(value),
        (_, rest) => Err(PostcardError::TrailingBytes(rest.len())),
    }
}

impl<C, A, Q, R> Default for Postcard<C, A, Q, R> {
    fn default() -> Self {
        Self(PhantomData)
    }
}

impl<C, A, Q, R> fmt::Debug for Postcard<C, A, Q, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Postcard")
    }
}
