//! The payloads of the key-value store.

use std::fmt::Display;

use bytes::Bytes;
use napi::bindgen_prelude::Buffer;
use napi_derive::napi;
use zraft_kv::{Command, GetResult, Key, Notification, Query, Value};

fn buffer(bytes: &Bytes) -> Buffer {
    bytes.to_vec().into()
}

fn error(error: impl Display) -> napi::Error {
    napi::Error::from_reason(error.to_string())
}

/// Encodes a command that sets a key.
#[napi]
pub fn store_set(key: String, value: String) -> napi::Result<Buffer> {
    let key = Key::new(key).map_err(error)?;
    let value = Value::new(value).map_err(error)?;
    Ok(buffer(&Command::Set { key, value }.encode()))
}

/// Encodes a command that watches a key.
#[napi]
pub fn store_watch(key: String) -> napi::Result<Buffer> {
    let key = Key::new(key).map_err(error)?;
    Ok(buffer(&Command::Watch { key }.encode()))
}

/// Encodes a query for a key's value.
#[napi]
pub fn store_get(key: String) -> napi::Result<Buffer> {
    let key = Key::new(key).map_err(error)?;
    Ok(buffer(&Query::Get { key }.encode()))
}

/// Decodes the value in a query's answer, if the key has one.
#[napi]
pub fn store_value(result: &[u8]) -> napi::Result<Option<String>> {
    let result = GetResult::decode(&Bytes::copy_from_slice(result)).map_err(error)?;
    Ok(result.value.map(|value| value.as_str().to_owned()))
}

/// Decodes the key and the value of a notification.
#[napi]
pub fn store_notification(payload: &[u8]) -> napi::Result<Vec<String>> {
    let notification = Notification::decode(&Bytes::copy_from_slice(payload)).map_err(error)?;
    Ok(vec![notification.key.as_str().to_owned(), notification.value.as_str().to_owned()])
}
