//! What JavaScript holds of a client.

use std::sync::Arc;

use napi::bindgen_prelude::{BufferSlice, Env, Function};
use napi_derive::napi;
use serde_json::json;
use zraft_client::binding::core::Config;

use crate::links::{Batch, Links, lock};
use crate::seat::{Pushed, Seat};
use crate::{json, layout, settings};

/// A client, as far as JavaScript needs it. It promises no stability: the TypeScript half is its only user.
#[napi]
pub struct NativeClient {
    seat: Arc<Seat>,
    config: Config,
}

#[napi]
impl NativeClient {
    /// Opens nothing. `settings` have been checked; `wake` is called when there is something to take.
    #[napi(constructor)]
    pub fn new(settings: String, wake: Function<'_, (), ()>) -> napi::Result<Self> {
        let config = settings::parse(&settings)
            .map_err(|error| napi::Error::from_reason(json::failure(&error.into()).to_string()))?;
        let seat = Arc::new(Seat::new(config.clone()));
        let wake = wake.build_threadsafe_function::<()>().weak::<true>().build()?;
        *lock(&seat.links.wake) = Some(wake);
        Ok(Self { seat, config })
    }

    /// A function `(batch, length)` that hands over the first `length` bytes of a batch, with the payload that was staged
    /// for its last entry; the bytes are copied. Returns 0 when the driver has them, 1 when it rests and has settled them,
    /// so that there is something to take, and 2 when there is no driver any more and nothing was taken.
    ///
    /// It and the next are functions, since of a method each call looks its object up, which takes longer than the rest.
    #[napi]
    pub fn pusher<'env>(
        &self,
        env: &'env Env,
    ) -> napi::Result<Function<'env, (BufferSlice<'env>, u32), u32>> {
        let seat = self.seat.clone();
        env.create_function_from_closure("push", move |call| {
            let (batch, length) = call.args::<(BufferSlice<'_>, u32)>()?;
            Ok(match hand_over(&seat, &batch, length) {
                Pushed::Runs => 0,
                Pushed::Settled => 1,
                Pushed::Gone => 2,
            })
        })
    }

    /// A function `(into, offset)` that writes the next records into `into` from `offset` on and gives their length, with
    /// that of those that follow: 0 when there are none, and a negative number when there is less room than that.
    #[napi]
    pub fn taker<'env>(
        &self,
        env: &'env Env,
    ) -> napi::Result<Function<'env, (BufferSlice<'env>, u32), f64>> {
        let seat = self.seat.clone();
        env.create_function_from_closure("take", move |call| {
            let (mut into, offset) = call.args::<(BufferSlice<'_>, u32)>()?;
            Ok(take(&seat.links, into.get_mut(offset as usize..).unwrap_or_default()))
        })
    }

    /// Copies a payload that goes beside the last entry of the next batch.
    ///
    /// # Errors
    /// When there is no memory for the copy. Nothing has changed then.
    #[napi]
    pub fn stage(&self, payload: &[u8]) -> napi::Result<()> {
        let mut copy = Vec::new();
        copy.try_reserve_exact(payload.len()).map_err(|_| {
            napi::Error::from_reason(format!("no memory for {} bytes of payload", payload.len()))
        })?;
        copy.extend_from_slice(payload);
        *lock(&self.seat.staged) = copy.into();
        Ok(())
    }

    /// The limits that apply to requests, as JSON: bytes of one payload, and how many requests with how many bytes may be
    /// held at once.
    #[napi]
    pub fn limits(&self) -> String {
        let config = &self.config;
        // Commands and queries in flight are counted separately from what waits.
        let in_flight = config.max_in_flight().saturating_mul(2);
        json!({
            "payload": config.max_payload(),
            "requests": config.max_queued().saturating_add(in_flight),
            "bytes": config.max_queued_bytes(),
        })
        .to_string()
    }

    /// Why a payload of this many bytes is refused, as JSON, if it is.
    #[napi]
    pub fn payload_failure(&self, length: f64) -> Option<String> {
        // The cast saturates.
        let error = self.config.admission().check_payload(length as usize).err()?;
        Some(json::failure(&error.into()).to_string())
    }

    /// Ends the driver at once, wherever it is. The session is left to expire.
    #[napi]
    pub fn abandon(&self) {
        *lock(&self.seat.links.wake) = None;
        self.seat.abandon();
    }

    /// Writes the next bytes that go beside a record into `into`, which is as long as the record says.
    #[napi]
    pub fn take_beside(&self, mut into: BufferSlice<'_>) {
        let beside = lock(&self.seat.links.outbox).take_beside();
        if let Some(bytes) = beside
            && let Some(place) = into.get_mut(..bytes.len())
        {
            place.copy_from_slice(&bytes);
        }
    }

    /// JavaScript has seen that the driver rests. False: it runs again.
    #[napi]
    pub fn release(&self) -> bool {
        self.seat.release()
    }

    /// The name of the state.
    #[napi(getter)]
    pub fn state(&self) -> &'static str {
        lock(&self.seat.links.facts).state.name()
    }

    /// The session, if there is one.
    #[napi(getter)]
    pub fn session_id(&self) -> Option<String> {
        lock(&self.seat.links.facts).session_id.as_ref().map(|id| id.as_str().to_owned())
    }

    /// The member that the session is, or was last, connected to.
    #[napi(getter)]
    pub fn member_id(&self) -> Option<String> {
        lock(&self.seat.links.facts).member_id.as_ref().map(|id| id.as_str().to_owned())
    }

    /// Figures as JSON.
    #[napi]
    pub fn stats(&self) -> String {
        let stats = lock(&self.seat.links.facts).stats;
        json::stats(&stats).to_string()
    }
}

fn hand_over(seat: &Arc<Seat>, batch: &[u8], length: u32) -> Pushed {
    let entries = batch.get(..length as usize).unwrap_or(batch);
    let entries = lock(&seat.used).copy(entries);
    let beside = std::mem::take(&mut *lock(&seat.staged));
    seat.push(Batch { entries, beside })
}

fn take(links: &Links, room: &mut [u8]) -> f64 {
    match links.take(room.len()) {
        Ok(None) => 0.0,
        Ok(Some((chunk, next))) => {
            let length = chunk.len();
            room[..length].copy_from_slice(&chunk);
            lock(&links.outbox).recycle(chunk);
            layout::lengths(length, next)
        }
        Err(length) => -layout::lengths(length, 0),
    }
}

impl Drop for NativeClient {
    /// The environment ends, or nobody holds the client any more.
    fn drop(&mut self) {
        self.abandon();
    }
}

/// What is wrong with settings, as JSON; nothing if they will do.
#[napi]
pub fn check_settings(settings: String) -> Option<String> {
    let error = settings::parse(&settings).err()?;
    Some(json::failure(&error.into()).to_string())
}

/// How many clients and clusters share this process's thread. There is none without any.
#[napi]
pub fn sharers() -> u32 {
    u32::try_from(crate::runtime::leases()).unwrap_or(u32::MAX)
}
