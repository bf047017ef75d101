//! Completions and server requests of the machine, as records.

use zraft_client::binding::core::{Completion, Failure, Machine};

use super::Bridge;
use crate::layout::Kind;

/// The most server requests that JavaScript may have and not have reported as done: enough to keep a consumer busy for a turn
/// of the event loop, and few, since each may hold a long payload.
const MAX_UNFINISHED: usize = 64;

impl Bridge {
    pub(super) fn complete(&mut self, completion: Completion) {
        match completion {
            Completion::Request { key, result: Ok(answer), .. } => {
                if let Some(id) = self.requests.remove(key) {
                    self.records.write_bytes(Kind::Answered, id, &[], answer);
                }
            }
            Completion::Request { key, result: Err(failure), detached: true } => {
                if let Some(id) = self.requests.id(key) {
                    self.records.write_failure(Kind::Detached, id, &failure);
                }
            }
            Completion::Request { key, result: Err(failure), detached: false } => {
                if let Some(id) = self.requests.remove(key) {
                    self.records.write_failure(Kind::Failed, id, &failure);
                }
            }
            Completion::Resolution { key, result } => {
                let Some(id) = self.requests.remove(key) else { return };
                match result {
                    Ok(answer) => self.records.write_bytes(Kind::LateAnswer, id, &[], answer),
                    Err(failure) => self.records.write_failure(Kind::LateFailure, id, &failure),
                }
            }
            Completion::Connect { key, result } => {
                if let Some(index) = self.connects.iter().position(|(each, _)| *each == key) {
                    let (_, call) = self.connects.swap_remove(index);
                    self.settle_call(call, result);
                }
            }
            Completion::Ping { key, result } => {
                let Some(index) = self.pings.iter().position(|(each, _)| *each == key) else {
                    return;
                };
                let (_, call) = self.pings.swap_remove(index);
                match result {
                    Ok(time) => {
                        let millis = (time.as_secs_f64() * 1000.0).to_ne_bytes();
                        self.records.write(Kind::Pong, call, &millis);
                    }
                    Err(failure) => self.records.write_failure(Kind::CallFailed, call, &failure),
                }
            }
            Completion::Disconnected => {
                for call in std::mem::take(&mut self.disconnects) {
                    self.settle_call(call, Ok(()));
                }
            }
        }
    }

    /// Settles the calls of `ready()` whose payload has room.
    pub(super) fn settle_readies(&mut self, machine: &Machine) {
        if self.readies.is_empty() {
            return;
        }
        for (call, bytes) in std::mem::take(&mut self.readies) {
            if machine.has_room(bytes) {
                self.settle_call(call, Ok(()));
            } else {
                self.readies.push((call, bytes));
            }
        }
    }

    /// Passes server requests on while JavaScript consumes them and has finished enough of the earlier ones.
    pub(super) fn deliver_server_requests(&mut self, machine: &mut Machine) {
        let limit = if self.server_requests.one_at_a_time { 1 } else { MAX_UNFINISHED };
        while self.server_requests.is_consumed
            && self.server_requests.unfinished < limit
            && let Some(request) = machine.poll_server_request()
        {
            self.server_requests.unfinished += 1;
            let mut head = [0; 16];
            head[..8].copy_from_slice(&request.request_id.get().to_ne_bytes());
            head[8..].copy_from_slice(&request.created_at.as_millis().to_ne_bytes());
            let epoch = self.server_requests.epoch;
            self.records.write_bytes(Kind::ServerRequest, epoch, &head, request.payload);
        }
    }

    fn settle_call(&mut self, call: u32, result: Result<(), Failure>) {
        match result {
            Ok(()) => self.records.write(Kind::CallDone, call, &[]),
            Err(failure) => self.records.write_failure(Kind::CallFailed, call, &failure),
        }
    }
}
