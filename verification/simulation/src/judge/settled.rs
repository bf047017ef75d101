//! What the machine reports to the application: how requests end, and what happened to the session.

use std::time::Duration;

use bytes::Bytes;
use zraft_core::{
    Completion, ConnectionCause, DisconnectReason, Event, Failure, Instant, RequestKind, StateName,
};

use super::{Judge, Settled, Stage, Unusable};

/// A completion may be this late: a tick of the timer wheel, and what a turn takes.
pub(super) const LATE: Duration = Duration::from_millis(50);
/// After a pause of the process, deadlines wait this long for the probe's answer.
pub(super) const GRACE: Duration = Duration::from_millis(1050);

/// Losses that let the client suspect, and then give up, a request that takes members down.
#[derive(Debug, Default)]
pub(super) struct Suspicion {
    /// Barren losses in a row; a loss at a deaf member counts as three.
    pub(super) row: u32,
    /// The requests that were pending when there were three losses in a row. They go one at a time until all of them have settled.
    pub(super) suspects: Vec<usize>,
    /// Barren losses in a row since the suspicion began.
    further: u32,
}

impl Judge {
    pub(crate) fn event(&mut self, now: Instant, event: &Event, state: StateName) {
        match event {
            Event::Lagged(_) => self.violated("no event is lost to who takes them", ""),
            Event::Connected { session_id, resumed, .. } => {
                let stage = self.wire.as_ref().map(|wire| wire.stage);
                // A connection may be lost again in the same turn.
                let stands = matches!(stage, Some(Stage::Connected | Stage::Over) | None);
                let own = self.session_id() == Some(session_id.as_str());
                self.demand(stands && own, "connected only by an answer to what was asked", || {
                    format!("{stage:?}, resumed: {resumed}")
                });
                self.coverage.count("connected", if *resumed { "resumed" } else { "new" });
            }
            Event::Disconnected { reason, .. } => {
                self.coverage.count("disconnected", reason.name());
                // A connection that was left because another member continued the session was judged then.
                if self.left.is_none() {
                    self.lost(now, *reason);
                } else {
                    let frozen = *reason == DisconnectReason::HeartbeatTimeout;
                    self.demand(frozen, "a frozen member is left for its silence", || {
                        format!("{reason:?}")
                    });
                }
            }
            Event::SessionExpired { .. } => self.expired(now),
            Event::SessionDoubted { member_id } => {
                let untold = self.session.as_mut().and_then(|session| session.untold.take());
                let denied = untold.is_some_and(|member| {
                    self.terms.configured.get(member).is_some_and(|member| member.id == *member_id)
                });
                self.demand(denied, "a doubt is reported when it begins", || {
                    format!("{member_id} is named")
                });
                self.coverage.count("outcome", "session doubted");
            }
            Event::ConnectionFailure { member_id, error } => {
                self.coverage.count("attempt failed", error.name());
                self.leader_is_reported(member_id, error);
                if matches!(error, ConnectionCause::TimedOut | ConnectionCause::NeverAnswered) {
                    self.coverage.cell("attempt_timeout", state);
                }
            }
            Event::QueryTimeout { correlation_id: Some(id) } => self.is_not_own(id),
            Event::RequestQuarantined { id } => {
                self.own_query_quarantined(now, id);
                self.coverage.count("outcome", "quarantined");
            }
            Event::ProtocolError { .. } => self.coverage.count("outcome", "protocol error"),
            _ => {}
        }
    }

    /// The session lost its connection.
    pub(super) fn lost(&mut self, now: Instant, reason: DisconnectReason) {
        if reason == DisconnectReason::KeepAliveTimeout {
            self.coverage.cell("keep_alive_unanswered", StateName::Connected);
        }
        self.left_with_reason(now, reason);
        if reason == DisconnectReason::Silent && self.own.liveness.is_pending() {
            self.coverage.count("liveness query", "left a silent member");
        }
        // However the connection is lost, a member that served on it does not count as one that drops the session.
        let ends_session = matches!(
            reason,
            DisconnectReason::Closed
                | DisconnectReason::Rejected
                | DisconnectReason::SessionExpired
        );
        if let Some(wire) = self.wire.as_ref().filter(|wire| !ends_session && wire.served(now)) {
            self.drops[wire.member] = 0;
        }
        let loss = self.loss();
        self.note_loss(now, reason, loss);
        let requests = &self.requests;
        self.suspicion.suspects.retain(|number| requests[*number].is_pending());
        let broken =
            matches!(reason, DisconnectReason::ConnectionLost | DisconnectReason::HeartbeatTimeout);
        // A deaf member answers PING; where PINGs are too rare to tell, it counts as deaf.
        let two_pings = self.terms.heartbeat * 2;
        let stood_still = loss.mid_message
            || two_pings < self.terms.connection_timeout
                && loss.last_bytes.is_some_and(|last| now - last > two_pings);
        let deaf = reason == DisconnectReason::KeepAliveTimeout && loss.in_flight && !stood_still;
        let barren = loss.carried
            && !loss.answered
            && (broken || reason == DisconnectReason::KeepAliveTimeout);
        let suspicion = &mut self.suspicion;
        if deaf {
            suspicion.row += 3;
            suspicion.further += 2;
        } else if loss.answered {
            suspicion.row = 0;
            suspicion.further = 0;
        } else if barren {
            suspicion.row += 1;
            suspicion.further += 1;
        }
        if suspicion.row >= 3 {
            // The client begins to suspect at one of these losses: what is pending at any of them may be suspected.
            if suspicion.suspects.is_empty() {
                suspicion.further = 0;
            }
            let pending = |number: &usize| {
                let asked = &requests[*number];
                asked.is_pending() && (asked.place.is_some() || asked.correlation.is_some())
            };
            suspicion.suspects = (0..requests.len()).filter(pending).collect();
        }
    }

    pub(super) fn may_give_up(&self) -> bool {
        self.suspicion.row >= 5
            || (!self.suspicion.suspects.is_empty() && self.suspicion.further >= 2)
    }

    fn expired(&mut self, now: Instant) {
        let Some(session) = self.session.take() else {
            return self.violated("a session expires that there is", "");
        };
        let waited = now - session.proof;
        let over = session.doubted.is_some() && waited >= self.terms.session_timeout;
        let told = std::mem::take(&mut self.expiry_told);
        self.demand(told || over, "an expiry is believed only when it can be true", || {
            format!("{waited:?} after the last sign of life")
        });
        self.expired_at = Some(now);
        self.coverage.count("outcome", "session expired");
        self.session_over();
        self.session_gone();
        if !self.terms.renew || self.disconnecting.is_some() {
            self.own_queries_end(now);
        }
    }

    /// The session is over. Queries may go in the next session, as new ones.
    fn session_over(&mut self) {
        self.queries_out = 0;
        self.by_correlation.clear();
        for asked in &mut self.requests {
            asked.correlation = None;
        }
    }

    fn session_gone(&mut self) {
        self.suspicion = Suspicion::default();
        self.own.new_session();
        self.last_loss = super::resume::LastLoss::default();
        self.tries.found_session();
        if let Some(wire) = &mut self.wire {
            wire.blameless = true;
        }
        self.attempts_are_blameless();
    }

    pub(crate) fn completed(&mut self, now: Instant, completion: Completion, state: StateName) {
        match completion {
            Completion::Request { key, result, detached } => {
                let Some(&number) = self.by_key.get(&key) else {
                    return self.violated("only what was submitted settles", format!("{key:?}"));
                };
                if self.requests[number].settled.is_some() {
                    return self.violated("each request settles once", format!("request {number}"));
                }
                self.settles(now, number, result, detached, state);
            }
            Completion::Resolution { key, result } => {
                let Some(&number) = self.by_key.get(&key) else {
                    return self.violated("only what was submitted resolves", format!("{key:?}"));
                };
                self.resolves(now, number, result);
            }
            Completion::Connect { key, result } => {
                let known = self.connect_keys.get(&key).copied();
                let until = known.and_then(|number| self.connects.remove(&number));
                let Some(until) = until else {
                    return self.violated("a connect() ends once", format!("{key:?}"));
                };
                self.coverage
                    .count("connect()", result.as_ref().err().map_or("connected", Failure::code));
                if let Err(failure) = &result {
                    self.outsider_was_named(failure);
                    self.connect_gave_up = true;
                    let early = until.is_none_or(|until| now < until);
                    let why = self.rejected_permanently
                        || self.expired_at.is_some()
                        || self.disconnecting.is_some();
                    self.demand(!early || why, "connect() gives up when its time is over", || {
                        format!("{result:?}")
                    });
                }
            }
            Completion::Ping { key, result } => {
                self.ping_ended(key);
                self.coverage
                    .count("ping()", result.as_ref().err().map_or("answered", Failure::code));
            }
            Completion::Disconnected => {
                self.coverage.count("disconnect()", "done");
                self.tries.begin();
                let asked = self.disconnecting.take().is_some();
                self.demand(asked, "disconnect() ends when asked", String::new);
                if self.session.take().is_some() {
                    self.session_over();
                }
                self.session_gone();
                self.drops.fill(0);
            }
        }
    }

    fn settles(
        &mut self,
        now: Instant,
        number: usize,
        result: Result<Bytes, Failure>,
        detached: bool,
        state: StateName,
    ) {
        self.settled_count += 1;
        self.in_time(now, number, &result);
        self.not_before_the_probe(now, number, &result);
        let asked = &mut self.requests[number];
        let kind = asked.kind;
        let sent = asked.place.is_some();
        let settled = match &result {
            Ok(answer) => Settled::Answered(answer.clone()),
            Err(_) if kind == RequestKind::Query => Settled::Failed,
            Err(failure) if failure.maybe_executed() => Settled::Unknown,
            Err(_) => Settled::NotExecuted,
        };
        let settled_unknown = settled == Settled::Unknown;
        self.told_unknown += u64::from(settled_unknown);
        self.promises.waiting -= 1;
        let name = match &result {
            Ok(_) => "answered",
            Err(failure) => failure.code(),
        };
        self.coverage.outcome(Self::kind_name(kind), name, settled_unknown);
        asked.settled = Some(settled);
        if detached {
            asked.detached_at = Some(now);
            self.demand(settled_unknown, "only an unknown outcome is detached", String::new);
        } else {
            self.leaves(now, number);
        }
        if matches!(&result, Err(Failure::Timeout { .. })) {
            self.coverage.cell("request_deadline", state);
        }
        if kind == RequestKind::Command && result.is_err() {
            self.demand(
                sent == settled_unknown,
                "what was sent is unknown, else not executed",
                || format!("request {number}: sent {sent}, {result:?}"),
            );
        }
        if kind == RequestKind::Query
            && let Err(failure) = &result
        {
            self.demand(!failure.maybe_executed(), "a query is always safe to repeat", String::new);
        }
        self.agrees(now, number, &result);
    }

    fn resolves(&mut self, now: Instant, number: usize, result: Result<Bytes, Failure>) {
        let asked = &mut self.requests[number];
        if asked.detached_at.is_none() || asked.resolved {
            return self.violated("a detached command resolves once", format!("request {number}"));
        }
        asked.resolved = true;
        let since = asked.detached_at.unwrap_or(now);
        let name = match &result {
            Ok(_) => "answered late",
            Err(failure) => failure.code(),
        };
        self.coverage.count("resolution", name);
        let until = since + self.terms.detached_timeout;
        let late = (until + LATE).max(self.awake(now) + GRACE) + self.lateness(now);
        self.demand(now <= late, "a detached command is abandoned in time", || {
            format!("request {number}, {:?} late", now - until)
        });
        let abandoned = matches!(&result, Err(Failure::Timeout { .. }));
        self.demand(!abandoned || now >= until, "nothing is abandoned too early", || {
            format!("request {number} after {:?}", now - since)
        });
        if let Err(failure) = &result {
            let unknown = failure.maybe_executed();
            self.demand(unknown, "what was unknown stays unknown", || format!("{failure:?}"));
        }
        self.leaves(now, number);
        if !abandoned {
            self.agrees(now, number, &result);
        }
    }

    /// The machine no longer holds the request.
    pub(super) fn leaves(&mut self, now: Instant, number: usize) {
        let asked = &self.requests[number];
        self.pending -= 1;
        self.pending_bytes -= asked.payload.len();
        if let Some((session, id)) = asked.place
            && session == self.sessions
            && let Some(session) = &mut self.session
        {
            session.outstanding.remove(&id);
        }
        if asked.correlation.is_some() {
            self.queries_out = self.queries_out.saturating_sub(1);
        }
        if let Some(wire) = self.wire.as_mut()
            && asked.last_wire == Some(wire.id)
        {
            wire.on_it -= 1;
            wire.left_at = Some(now);
            wire.settled += 1;
            wire.silence.left(number, wire.on_it > 0);
            if let Some((_, id)) = asked.place {
                wire.overtaking.settled(id);
            }
        }
        self.expected.retain(|expected| *expected != number);
    }

    /// The outcome that the caller is given agrees with the frames, or with what the caller asked for.
    fn agrees(&mut self, now: Instant, number: usize, result: &Result<Bytes, Failure>) {
        let asked = &self.requests[number];
        let holds = match (result, &asked.answer) {
            (Ok(answer), Some(Ok(told))) => answer == told,
            (Err(Failure::Protocol { .. }), Some(Err(Unusable::Undecodable)))
            | (Err(Failure::ResponseEvicted { .. }), Some(Err(Unusable::Evicted))) => true,
            (_, Some(_)) | (Ok(_) | Err(Failure::Protocol { .. }), None) => false,
            (Err(failure), None) => match failure {
                Failure::Timeout { .. } => asked.deadline.is_some_and(|deadline| deadline <= now),
                Failure::Cancelled { .. } => asked.cancelled,
                Failure::Closed { .. } => self.disconnecting.is_some(),
                Failure::SessionExpired { .. } => self.expired_at == Some(now),
                Failure::SessionRejected { .. } => self.rejected_permanently,
                Failure::Quarantined { .. } => self.may_give_up(),
                Failure::Connection { .. } => self.connect_gave_up,
                _ => false,
            },
        };
        if !holds {
            let told = format!("request {number}: {result:?}, where {:?}", asked.answer);
            self.violated("each request is told what happened to it", told);
        }
    }

    fn in_time(&mut self, now: Instant, number: usize, result: &Result<Bytes, Failure>) {
        let Some(deadline) = self.requests[number].deadline else { return };
        let late = (deadline + LATE).max(self.awake(now) + GRACE) + self.lateness(now);
        self.demand(now <= late, "a deadline passes in time", || {
            format!("request {number}, {:?} late: {result:?}", now - deadline)
        });
    }

    /// At the end of a turn, every request that was answered in it has settled.
    pub(super) fn all_answers_settled(&mut self) {
        if let Some(number) = self.expected.pop() {
            self.expected.clear();
            self.violated("an answer settles its request", format!("request {number}"));
        }
    }
}
