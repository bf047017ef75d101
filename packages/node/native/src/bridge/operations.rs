//! Operations of JavaScript, as calls of the machine.

use std::time::Duration;

use bytes::Bytes;
use zraft_client::binding::core::{Failure, Instant, Machine, RequestKind, Timeout};
use zraft_client::binding::{CONNECT_TIMEOUT, DISCONNECT_TIMEOUT};
use zraft_protocol::RequestId;

use super::Bridge;
use crate::channel::{Batch, lock};
use crate::layout::{DEFAULT_TIMEOUT, Entry, Id, Kind, NO_TIMEOUT, Operation};

impl Bridge {
    pub(super) fn perform(
        &mut self,
        machine: &mut Machine,
        now: Instant,
        batch: &mut Batch,
        entry: Entry,
    ) {
        let Entry { id, argument, length, generation, .. } = entry;
        let Some(operation) = entry.operation else { return };
        let request = Id { number: id, generation };
        match operation {
            Operation::Command | Operation::Query => {
                let payload = if entry.is_out_of_line {
                    std::mem::take(&mut batch.staged)
                } else {
                    batch.entries.slice(entry.at..entry.at + length as usize)
                };
                let kind = match operation {
                    Operation::Command => RequestKind::Command,
                    _ => RequestKind::Query,
                };
                self.submit(machine, now, kind, request, argument, payload);
            }
            Operation::Cancel => {
                if let Some(key) = self.requests.key(request) {
                    machine.cancel(now, key);
                }
            }
            Operation::Connect => {
                let key = machine.connect(now, timeout(argument, CONNECT_TIMEOUT));
                self.connects.push((key, id));
            }
            Operation::CancelConnect => {
                if let Some(index) = self.connects.iter().position(|(_, call)| *call == id) {
                    let (key, call) = self.connects.swap_remove(index);
                    machine.cancel_connect(now, key);
                    let failure = Failure::Cancelled { id: None, sent: false };
                    self.records.write_failure(Kind::CallFailed, call, &failure);
                }
            }
            Operation::Disconnect => {
                let timeout = timeout(argument, DISCONNECT_TIMEOUT).unwrap_or(Duration::MAX);
                machine.disconnect(now, timeout);
                self.disconnects.push(id);
            }
            Operation::Ping => {
                let key = machine.ping(now);
                self.pings.push((key, id));
            }
            Operation::Ready => self.readies.push((id, argument as usize)),
            Operation::Consume => self.server_requests.is_consumed = argument != 0,
            Operation::ServerRequestDone => {
                let done = u64::from(length) << 32 | u64::from(argument);
                if id == self.server_requests.epoch
                    && let Ok(done) = RequestId::new(done)
                {
                    self.server_requests.unfinished =
                        self.server_requests.unfinished.saturating_sub(1);
                    machine.server_request_done(now, done);
                }
            }
            Operation::Observe => self.wants_messages = argument != 0,
            Operation::Members => {
                if let Some(members) = lock(&self.channel.members).take() {
                    machine.update_members(now, members);
                }
            }
        }
    }

    fn submit(
        &mut self,
        machine: &mut Machine,
        now: Instant,
        kind: RequestKind,
        id: Id,
        timeout: u32,
        payload: Bytes,
    ) {
        let timeout = match timeout {
            DEFAULT_TIMEOUT => Timeout::Default,
            NO_TIMEOUT => Timeout::Never,
            millis => Timeout::After(Duration::from_millis(u64::from(millis))),
        };
        match machine.submit(now, kind, payload, timeout) {
            Ok(key) => {
                if self.requests.is_taken(key) {
                    // An earlier entry of this batch settled the request that had the slot. Its completion must be read
                    // before the slot names another request.
                    self.report(machine);
                }
                self.requests.add(key, id);
            }
            Err(failure) => self.records.write_failure(Kind::Failed, id, &failure),
        }
    }
}

fn timeout(millis: u32, default: Duration) -> Option<Duration> {
    match millis {
        NO_TIMEOUT => None,
        DEFAULT_TIMEOUT => Some(default),
        millis => Some(Duration::from_millis(u64::from(millis))),
    }
}
