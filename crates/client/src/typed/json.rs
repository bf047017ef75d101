//! Payloads in JSON.

use std::fmt;
use std::marker::PhantomData;

use bytes::Bytes;
use serde::{Serialize, de::DeserializeOwned};

use super::Codec;

/// The codec of an application whose payloads are JSON text: the types of commands, their answers, queries and their answers.
///
/// Each request is decoded again before it is sent: serde_json writes some values, such as a number that is not finite, in a form
/// that is not read back, and the server must be able to decode it.
pub struct Json<C, A, Q, R>(Types<C, A, Q, R>);

type Types<C, A, Q, R> = PhantomData<fn(C, A, Q, R) -> (C, A, Q, R)>;

/// Why a value has no JSON text, or a text is not such a value.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct JsonError(#[from] serde_json::Error);

impl<C, A, Q, R> Codec for Json<C, A, Q, R>
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
    type Error = JsonError;

    fn encode_command(&self, command: &C) -> Result<Bytes, JsonError> {
        encode(command)
    }

    fn decode_answer(&self, answer: Bytes) -> Result<A, JsonError> {
        Ok(serde_json::from_slice(&answer)?)
    }

    fn encode_query(&self, query: &Q) -> Result<Bytes, JsonError> {
        encode(query)
    }

    fn decode_result(&self, result: Bytes) -> Result<R, JsonError> {
        Ok(serde_json::from_slice(&result)?)
    }
}

fn encode<T: Serialize + DeserializeOwned>(value: &T) -> Result<Bytes, JsonError> {
    let text = serde_json::to_vec(value)?;
    let _: T = serde_json::from_slice(&text)?;
    Ok(text.into())
}

impl<C, A, Q, R> Default for Json<C, A, Q, R> {
    fn default() -> Self {
        Self(PhantomData)
    }
}

impl<C, A, Q, R> fmt::Debug for Json<C, A, Q, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Json")
    }
}
