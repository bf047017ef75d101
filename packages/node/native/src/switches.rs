//! The switches and inspections of the embedded cluster, by name.

use std::time::Duration;

use serde_json::{Value, json};
use zraft_protocol::{ClientMessageKind, MemberId, Payload, ServerMessageKind, SessionId};
use zraft_test_server::{ClusterHandle, Hints, KillLoss, MessageClass, Stats};

type Result<T> = std::result::Result<T, String>;

/// Runs a switch or an inspection and returns its result as JSON. A switch has taken effect when this returns.
///
/// # Errors
/// A text for the rejection in JavaScript, if an argument is not valid or the cluster refuses.
pub(crate) async fn call(
    cluster: &ClusterHandle,
    name: &str,
    arguments: &Value,
    payload: Vec<u8>,
) -> Result<Value> {
    let of = Arguments(arguments);
    match name {
        "endpoints" => {
            let endpoints = cluster.endpoints();
            let pairs = endpoints.iter().map(|(id, endpoint)| json!([id.as_str(), endpoint]));
            return Ok(pairs.collect());
        }
        "leader" => return Ok(json!(cluster.leader().as_ref().map(MemberId::as_str))),
        "leaderElected" => return Ok(json!(cluster.leader_elected().await.as_str())),
        "stats" => return Ok(stats(cluster)),
        "executed" => return Ok(json!(cluster.executed().0)),
        "journalReached" => cluster.journal_reached(of.number("count")?).await,
        "journal" => return Ok(journal(cluster)),
        "sessions" => return Ok(sessions(cluster)),
        "stopMember" => done(cluster.stop(of.text("member")?))?,
        "kill" => done(cluster.kill(of.text("member")?, of.loss()?).await)?,
        "restart" => done(cluster.restart(of.text("member")?).await)?,
        "stepDown" => done(cluster.step_down(arguments["next"].as_str()))?,
        "moveLeadership" => done(cluster.move_leadership(of.text("member")?).await)?,
        "setElectionPause" => cluster.set_election_pause(of.time("time")?),
        "setStaleLeader" => done(cluster.set_stale_leader(of.text("member")?, of.on()))?,
        "setFrozen" => done(cluster.set_frozen(of.text("member")?, of.on()))?,
        "setDeaf" => done(cluster.set_deaf(of.text("member")?, of.on()))?,
        "setStaleSessionMap" => {
            let known = of.known()?;
            done(cluster.set_stale_session_map(of.text("member")?, known.as_deref()))?;
        }
        "setCommitDelay" => cluster.set_commit_delay(of.time("time")?),
        "setCommitsPerSecond" => {
            let rate = arguments["rate"].as_u64().and_then(|rate| u32::try_from(rate).ok());
            cluster.set_commits_per_second(rate);
        }
        "setSessionTimeout" => cluster.set_session_timeout(of.time("time")?),
        "cutConnections" => done(cluster.cut_connections(arguments["member"].as_str()).await)?,
        "dropMessages" => cluster.drop_messages(of.class()?, arguments["first"].as_u64()),
        "deliverAll" => cluster.deliver_all(),
        "expireSession" => done(cluster.expire_session(&of.session()?))?,
        "forgetSessions" => cluster.forget_sessions(),
        "setHints" => done(cluster.set_hints(arguments["member"].as_str(), of.hints()?))?,
        "setDeduplication" => cluster.set_deduplication(of.on()),
        "pushServerRequest" => {
            let payload = Payload::new(payload).map_err(|error| error.to_string())?;
            let id = cluster.push_server_request(&of.session()?, &payload);
            return Ok(json!(id.map_err(|error| error.to_string())?.get().to_string()));
        }
        _ => return Err(format!("no such switch: {name}")),
    }
    Ok(Value::Null)
}

fn done(result: std::result::Result<(), zraft_test_server::SwitchError>) -> Result<()> {
    result.map_err(|error| error.to_string())
}

fn journal(cluster: &ClusterHandle) -> Value {
    let entries = cluster.journal().into_iter().map(|execution| {
        let payload: Vec<u8> = execution.payload.to_vec();
        json!([
            execution.position,
            execution.session.as_str(),
            execution.request_id.get().to_string(),
            execution.member.as_str(),
            payload,
        ])
    });
    entries.collect()
}

fn stats(cluster: &ClusterHandle) -> Value {
    let Stats { engine, transport, .. } = cluster.stats();
    json!({
        "messagesReceived": engine.messages_received,
        "messagesSent": engine.messages_sent,
        "droppedBySwitch": engine.dropped_by_switch,
        "answersWithoutBinding": engine.answers_without_binding,
        "logEntries": engine.log_entries,
        "executed": engine.executed,
        "answeredFromCache": engine.answered_from_cache,
        "evicted": engine.evicted,
        "queries": engine.queries,
        "sessionsCreated": engine.sessions_created,
        "sessionsContinued": engine.sessions_continued,
        "sessionsExpired": engine.sessions_expired,
        "sessionsClosed": engine.sessions_closed,
        "serverRequests": engine.server_requests,
        "redeliveries": engine.redeliveries,
        "elections": engine.elections,
        "refusedPeers": engine.refused_peers,
        "closedUndecodable": engine.closed_undecodable,
        "closedRejectedPayload": engine.closed_rejected_payload,
        "closedLimit": engine.closed_limit,
        "connections": {
            "accepted": transport.accepted,
            "handshakes": transport.handshakes,
            "open": transport.open,
            "refused": transport.refused,
            "acceptErrors": transport.accept_errors,
            "closedHandshake": transport.closed_handshake,
            "closedProtocol": transport.closed_protocol,
            "closedOversized": transport.closed_oversized,
            "closedIdle": transport.closed_idle,
            "closedBacklog": transport.closed_backlog,
            "bytesReceived": transport.bytes_received,
            "bytesSent": transport.bytes_sent,
        },
    })
}

fn sessions(cluster: &ClusterHandle) -> Value {
    let sessions = cluster.sessions().into_iter().map(|session| {
        json!({
            "sessionId": session.id.as_str(),
            "bound": session.bound,
            "lowestPending": session.lowest_pending.get().to_string(),
            "cachedAnswers": session.cached_answers,
            "unacknowledged": session.unacknowledged,
        })
    });
    sessions.collect()
}

struct Arguments<'a>(&'a Value);

impl<'a> Arguments<'a> {
    fn text(&self, name: &str) -> Result<&'a str> {
        self.0[name].as_str().ok_or_else(|| format!("{name}: must be a string"))
    }

    fn number(&self, name: &str) -> Result<u64> {
        self.0[name].as_u64().ok_or_else(|| format!("{name}: must be a whole number"))
    }

    fn time(&self, name: &str) -> Result<Duration> {
        let millis = self.0[name].as_f64().unwrap_or(-1.0);
        Duration::try_from_secs_f64(millis / 1000.0)
            .map_err(|_| format!("{name}: must be a number of milliseconds"))
    }

    fn on(&self) -> bool {
        self.0["on"].as_bool().unwrap_or(true)
    }

    fn session(&self) -> Result<SessionId> {
        SessionId::new(self.text("sessionId")?).map_err(|error| error.to_string())
    }

    fn known(&self) -> Result<Option<Vec<SessionId>>> {
        let Some(known) = self.0["known"].as_array() else { return Ok(None) };
        let ids = known.iter().map(|id| SessionId::new(id.as_str().unwrap_or_default()));
        ids.collect::<std::result::Result<_, _>>().map(Some).map_err(|error| error.to_string())
    }

    fn loss(&self) -> Result<KillLoss> {
        match self.0["loss"].as_str() {
            None => Ok(KillLoss::default()),
            Some("unreceived") => Ok(KillLoss::Unreceived),
            Some("uncommitted") => Ok(KillLoss::Uncommitted),
            Some("unanswered") => Ok(KillLoss::Unanswered),
            Some("mixed") => Ok(KillLoss::Mixed),
            Some(other) => Err(format!("loss: unknown: {other}")),
        }
    }

    fn hints(&self) -> Result<Hints> {
        match self.text("hints")? {
            "leader" => Ok(Hints::Leader),
            "absent" => Ok(Hints::Absent),
            "itself" => Ok(Hints::Itself),
            "circular" => Ok(Hints::Circular),
            "wrong" => {
                let wrong =
                    MemberId::new(self.text("wrong")?).map_err(|error| error.to_string())?;
                Ok(Hints::Wrong(wrong))
            }
            other => Err(format!("hints: unknown: {other}")),
        }
    }

    fn class(&self) -> Result<MessageClass> {
        let name = self.text("messages")?;
        Ok(match name {
            "answers" => MessageClass::Answers,
            "allFromClients" => MessageClass::AllFromClients,
            "allToClients" => MessageClass::AllToClients,
            _ => {
                let from = ClientMessageKind::from_name(name).map(MessageClass::FromClient);
                let to = || ServerMessageKind::from_name(name).map(MessageClass::ToClient);
                from.or_else(to).ok_or_else(|| format!("messages: unknown: {name}"))?
            }
        })
    }
}
