//! Faults that are messages: wrong ones, or ones at the wrong time.

use bytes::Bytes;
use zraft_core::StateName;
use zraft_protocol::{
    CorrelationId, MemberId, Nonce, Payload, RejectionReason, RequestErrorReason, RequestId,
    ServerMessage, SessionCloseReason, SessionId, Timestamp,
};

use crate::world::{fault::Fault, plan::member_name, sim::Sim};

impl Sim {
    pub(crate) fn strike_words(&mut self, fault: Fault) -> bool {
        let Some((line, client)) = self.word_line() else { return false };
        match fault {
            Fault::RejectForGood => {
                // A rejection counts only while the handshake message waits for its answer.
                let Some(nonce) = self.clients[client].judge.open_nonce() else {
                    self.reject_next = true;
                    return true;
                };
                if let Ok(nonce) = Nonce::new(nonce) {
                    self.reject(line, nonce);
                }
            }
            Fault::SessionClosedInWords => {
                let reason = self.rng.pick(&[
                    SessionCloseReason::Shutdown,
                    SessionCloseReason::NotLeaderAnymore,
                    SessionCloseReason::SessionError,
                    SessionCloseReason::ConnectionClosed,
                ]);
                let leader_id = match self.rng.below(10) {
                    // A member of the cluster that the client's configuration does not have.
                    0 => MemberId::new(member_name(self.members)).ok(),
                    1..=4 => self.leader_name(),
                    _ => None,
                };
                self.say(line, &ServerMessage::SessionClosed { reason, leader_id });
            }
            Fault::StrayMessages => {
                for _ in 0..self.rng.range(1, 6) {
                    let message = self.stray(client);
                    self.say(line, &message);
                }
                self.stray_next = self.rng.range(0, 3);
            }
            Fault::Undecodable => {
                let frame = self.undecodable(client);
                self.say_bytes(line, &frame);
            }
            _ => {
                // An answer to a command that is longer than a frame may be.
                let limit = self.plan.clients[client].config.max_message_size()
                    + zraft_zmtp::FRAME_ALLOWANCE;
                let Some(id) = self.clients[client].judge.some_outstanding() else { return false };
                let Ok(request_id) = RequestId::new(id) else { return false };
                let Ok(result) = Payload::new(vec![7; limit + 1]) else { return false };
                if self.rigs[client].machine.state() != StateName::Connected {
                    return false;
                }
                self.say(line, &ServerMessage::ClientResponse { request_id, result });
            }
        }
        true
    }

    /// Returns a message that answers nothing: it has another nonce, or an id that is not pending.
    pub(crate) fn stray(&mut self, client: usize) -> ServerMessage {
        let random = self.rng.next() as i64;
        let past = self.clients[client].judge.past_nonce();
        let nonce = match past {
            Some(past) if self.rng.percent(70) => past,
            _ => random.max(1),
        };
        let nonce = Nonce::new(nonce).unwrap_or(Nonce::new(1).expect("one is a nonce"));
        let far = RequestId::new(1_000_000 + self.rng.below(1_000)).unwrap_or(RequestId::FIRST);
        let empty = Payload::new(Bytes::new()).expect("empty is a payload");
        match self.rng.below(9) {
            0 => {
                let text = format!("stray-{random}");
                let session_id = SessionId::new(text).expect("short text is a session id");
                ServerMessage::SessionCreated { session_id, nonce }
            }
            1 | 2 => ServerMessage::SessionContinued { nonce },
            3 => {
                let reason = self.rng.pick(&[
                    RejectionReason::NotLeader,
                    RejectionReason::SessionExpired,
                    RejectionReason::Other,
                ]);
                ServerMessage::SessionRejected { reason, nonce, leader_id: None }
            }
            4 => ServerMessage::KeepAliveResponse { timestamp: Timestamp::from_millis(random) },
            5 => ServerMessage::ClientResponse { request_id: far, result: empty },
            6 => ServerMessage::RequestError {
                request_id: far,
                reason: RequestErrorReason::ResponseEvicted,
            },
            7 => {
                let text = format!("stray-{random}");
                let correlation_id = CorrelationId::new(text).expect("short text is an id");
                ServerMessage::QueryResponse { correlation_id, result: empty }
            }
            _ => match self.clients[client].judge.session_id().map(str::to_owned) {
                // A server request that was sent before.
                Some(id) => {
                    let delivered = self.clients[client].judge.delivered_in_session();
                    let at = self.rng.index(delivered as usize + 1);
                    let pushed = self.pushed_to(&id);
                    match (pushed.get(at), RequestId::new(at as u64 + 1)) {
                        (Some(payload), Ok(request_id)) => ServerMessage::ServerRequest {
                            request_id,
                            payload: Payload::new(payload.clone()).unwrap_or(empty),
                            created_at: Timestamp::from_millis(random),
                        },
                        _ => ServerMessage::SessionContinued { nonce },
                    }
                }
                None => ServerMessage::SessionContinued { nonce },
            },
        }
    }

    fn leader_name(&self) -> Option<MemberId> {
        MemberId::new(member_name(self.system.leader()?)).ok()
    }

    fn undecodable(&mut self, client: usize) -> Vec<u8> {
        let mut frame = b"zraft\x01".to_vec();
        match self.rng.below(4) {
            0 => frame.push(99),
            1 => frame = b"not zraft at all".to_vec(),
            2 => frame.extend_from_slice(&[4, 9]),
            _ => {
                // A truncated answer, whose id can be read.
                let id = self.clients[client].judge.some_outstanding().unwrap_or(1);
                frame.push(6);
                frame.extend_from_slice(&id.to_be_bytes());
                frame.extend_from_slice(&100_i32.to_be_bytes());
                frame.push(1);
            }
        }
        frame
    }
}
