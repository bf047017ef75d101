//! What JavaScript holds of a client: functions in the order of `native.ts`.

use std::sync::Arc;

use napi::bindgen_prelude::{BufferSlice, Env, Function};
use napi_derive::napi;
use serde_json::json;
use zraft_client::binding::Sockets;
use zraft_client::binding::core::Config;

use crate::channel::{Batch, Channel, lock};
use crate::host::Host;
use crate::layout::Pushed;
use crate::{json, layout, settings};

/// A client as JavaScript sees it. Its interface is not stable: the TypeScript half is its only user.
#[napi]
pub struct NativeClient {
    host: Arc<Host>,
    config: Config,
    sockets: Sockets,
}

#[napi]
impl NativeClient {
    /// Creates a client and opens nothing. `settings` must have been checked. `wake` is called when there are records to
    /// take.
    #[napi(constructor)]
    pub fn new(settings: String, wake: Function<'_, (), ()>) -> napi::Result<Self> {
        let (config, sockets) = settings::checked(&settings)
            .map_err(|error| napi::Error::from_reason(json::failure(&error.into()).to_string()))?;
        let host = Arc::new(Host::new(config.clone(), sockets.clone()));
        let wake = wake.build_threadsafe_function::<()>().weak::<true>().build()?;
        *lock(&host.channel.wake) = Some(wake);
        Ok(Self { host, config, sockets })
    }

    /// Returns a function `(batch, length)` that pushes the first `length` bytes of a batch, with the payload that was staged
    /// for its last entry. It copies the bytes and returns a [`Pushed`] as a number.
    ///
    /// This and `taker` return functions because a call of a method looks up its object, which takes longer than the work.
    #[napi]
    pub fn pusher<'env>(
        &self,
        env: &'env Env,
    ) -> napi::Result<Function<'env, (BufferSlice<'env>, u32), u32>> {
        let host = self.host.clone();
        env.create_function_from_closure("push", move |call| {
            let (batch, length) = call.args::<(BufferSlice<'_>, u32)>()?;
            Ok(push(&host, &batch, length) as u32)
        })
    }

    /// Returns a function as that of `pusher`, for a batch of any length without staged payloads. The driver is woken once
    /// for all of it.
    #[napi]
    pub fn all_pusher<'env>(
        &self,
        env: &'env Env,
    ) -> napi::Result<Function<'env, (BufferSlice<'env>, u32), u32>> {
        let host = self.host.clone();
        env.create_function_from_closure("pushAll", move |call| {
            let (batch, length) = call.args::<(BufferSlice<'_>, u32)>()?;
            let entries = batch.get(..length as usize).unwrap_or(&batch);
            Ok(host.push_all(Batch::split(entries)) as u32)
        })
    }

    /// Returns a function `(into, offset)` that writes the next chunk of records into `into` from `offset` on. The function
    /// returns the chunk's length and the next chunk's, packed by [`layout::lengths`]: 0 if there is no chunk, and the
    /// negative length of the chunk if there is not enough room for it.
    #[napi]
    pub fn taker<'env>(
        &self,
        env: &'env Env,
    ) -> napi::Result<Function<'env, (BufferSlice<'env>, u32), f64>> {
        let host = self.host.clone();
        env.create_function_from_closure("take", move |call| {
            let (mut into, offset) = call.args::<(BufferSlice<'_>, u32)>()?;
            Ok(take(&host.channel, into.get_mut(offset as usize..).unwrap_or_default()))
        })
    }

    /// Copies the payload of the last entry of the next batch.
    ///
    /// # Errors
    /// If there is no memory for the copy. Nothing has changed then.
    #[napi]
    pub fn stage(&self, payload: &[u8]) -> napi::Result<()> {
        let mut copy = Vec::new();
        copy.try_reserve_exact(payload.len()).map_err(|_| {
            napi::Error::from_reason(format!("no memory for {} bytes of payload", payload.len()))
        })?;
        copy.extend_from_slice(payload);
        *lock(&self.host.staged) = copy.into();
        Ok(())
    }

    /// Checks members, a JSON array of ids and endpoints, and keeps them until an operation has the driver take them. Returns the
    /// failure as JSON, or null if they are accepted.
    #[napi]
    pub fn stage_members(&self, members: String) -> Option<String> {
        match settings::members(&members, &self.sockets) {
            Ok(members) => {
                *lock(&self.host.channel.members) = Some(members);
                None
            }
            Err(error) => Some(json::failure(&error.into()).to_string()),
        }
    }

    /// Writes the next out-of-line bytes into `into`, which has the length that the record gives.
    #[napi]
    pub fn take_out_of_line(&self, mut into: BufferSlice<'_>) {
        let bytes = lock(&self.host.channel.outbox).take_out_of_line();
        if let Some(bytes) = bytes
            && let Some(place) = into.get_mut(..bytes.len())
        {
            place.copy_from_slice(&bytes);
        }
    }

    /// Returns the limits on requests as JSON: the bytes of one payload, and the number and the bytes of all unsettled
    /// requests.
    #[napi]
    pub fn limits(&self) -> String {
        let config = &self.config;
        // The window counts commands and queries separately, and neither counts as queued.
        let in_flight = config.max_in_flight().saturating_mul(2);
        json!({
            "payload": config.max_payload(),
            "requests": config.max_queued().saturating_add(in_flight),
            "bytes": config.max_queued_bytes(),
        })
        .to_string()
    }

    /// Returns the failure of a payload of this many bytes as JSON, or null if the client accepts it.
    #[napi]
    pub fn payload_failure(&self, length: f64) -> Option<String> {
        // The cast saturates.
        let error = self.config.admission().check_payload(length as usize).err()?;
        Some(json::failure(&error.into()).to_string())
    }

    /// Ends the driver at once. The session stays open on the server until it expires.
    #[napi]
    pub fn abandon(&self) {
        *lock(&self.host.channel.wake) = None;
        self.host.abandon();
    }

    /// Gives up thread and spare memory, because JavaScript has seen that the driver is parked. Returns false if the driver
    /// runs again.
    #[napi]
    pub fn release(&self) -> bool {
        self.host.release()
    }

    /// Returns the name of the state.
    #[napi(getter)]
    pub fn state(&self) -> &'static str {
        lock(&self.host.channel.status).state.name()
    }

    /// Returns the id of the session, if there is one.
    #[napi(getter)]
    pub fn session_id(&self) -> Option<String> {
        lock(&self.host.channel.status).session_id.as_ref().map(|id| id.as_str().to_owned())
    }

    /// Returns the member that the session is, or was last, connected to.
    #[napi(getter)]
    pub fn member_id(&self) -> Option<String> {
        lock(&self.host.channel.status).member_id.as_ref().map(|id| id.as_str().to_owned())
    }

    /// Returns the counters and latencies as JSON.
    #[napi]
    pub fn stats(&self) -> String {
        let stats = lock(&self.host.channel.status).stats.clone();
        json::stats(&stats).to_string()
    }
}

fn push(host: &Arc<Host>, batch: &[u8], length: u32) -> Pushed {
    let entries = batch.get(..length as usize).unwrap_or(batch);
    let entries = lock(&host.batches).copy(entries);
    let staged = std::mem::take(&mut *lock(&host.staged));
    host.push(Batch { entries, staged })
}

fn take(channel: &Channel, room: &mut [u8]) -> f64 {
    match channel.take(room.len()) {
        Ok(None) => 0.0,
        Ok(Some((chunk, next))) => {
            let length = chunk.len();
            room[..length].copy_from_slice(&chunk);
            lock(&channel.outbox).recycle(chunk);
            layout::lengths(length, next)
        }
        Err(length) => -layout::lengths(length, 0),
    }
}

impl Drop for NativeClient {
    /// Runs when JavaScript's environment ends or the client is collected.
    fn drop(&mut self) {
        self.abandon();
    }
}

/// Returns the failure of settings as JSON, or null if they are valid.
#[napi]
pub fn check_settings(settings: String) -> Option<String> {
    let error = settings::checked(&settings).err()?;
    Some(json::failure(&error.into()).to_string())
}

/// Returns the number of clients and clusters that use this process's thread. The thread exists while there is one.
#[napi]
pub fn runtime_users() -> u32 {
    u32::try_from(crate::runtime::users()).unwrap_or(u32::MAX)
}
