//! The requests of the Node package's suite, by name.

use std::time::Duration;

use serde_json::{Value, json};
use zraft_protocol::{ClientMessageKind, MemberId, Payload, ServerMessageKind, SessionId};

use crate::{
    AppendLog, ClusterHandle, Echo, Hints, KillLoss, KvStore, MessageClass, SwitchError,
    TestCluster,
};

type Result<T> = std::result::Result<T, String>;

/// Starts a cluster with the options of `TestCluster.start()` in JavaScript. Options that have no effect on real members are
/// passed over.
///
/// # Errors
/// Why the cluster does not start.
pub async fn start(options: &Value) -> Result<TestCluster> {
    let mut builder = TestCluster::builder();
    if let Some(count) = options["members"].as_u64() {
        builder = builder.members(usize::try_from(count).unwrap_or(usize::MAX).min(7));
    }
    builder = match options["application"].as_str() {
        Some("echo") => builder.app(Echo),
        Some("appendLog") => builder.app(AppendLog::default()),
        _ => builder.app(KvStore::default()),
    };
    let time = |name: &str| {
        options[name].as_f64().and_then(|ms| Duration::try_from_secs_f64(ms / 1000.0).ok())
    };
    if let Some(time) = time("commitDelay") {
        builder = builder.commit_delay(time);
    }
    if let Some(time) = time("sessionTimeout") {
        builder = builder.session_timeout(time);
    }
    builder.start().await.map_err(|error| error.to_string())
}

/// Carries out a request, and returns its result. A switch has taken effect when this returns.
///
/// # Errors
/// A text for the rejection in JavaScript, if an argument is not valid or the cluster refuses.
pub async fn call(
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
        "leader" | "leaderElected" => return Ok(json!(cluster.leader_elected().await.as_str())),
        "executed" => return Ok(json!(cluster.executed().0)),
        "journalReached" => cluster.journal_reached(of.number("count")?).await,
        "journal" => return Ok(journal(cluster)),
        "sessions" => return sessions(cluster).await,
        "kill" => done(cluster.kill(of.text("member")?, KillLoss::default()).await)?,
        "restart" => done(cluster.restart(of.text("member")?).await)?,
        "stepDown" => done(cluster.step_down(arguments["next"].as_str()))?,
        "moveLeadership" => done(cluster.move_leadership(of.text("member")?).await)?,
        "setDeaf" => done(cluster.set_deaf(of.text("member")?, of.on()))?,
        "setCommitDelay" => cluster.set_commit_delay(of.time("time")?),
        "cutConnections" => done(cluster.cut_connections(arguments["member"].as_str()).await)?,
        "dropMessages" => cluster.drop_messages(of.class()?, arguments["first"].as_u64()),
        "deliverAll" => cluster.deliver_all(),
        "expireSession" => done(cluster.end_session(of.session()?).await)?,
        "setHints" => done(cluster.set_hints(arguments["member"].as_str(), of.hints()?))?,
        "pushServerRequest" => {
            let payload = Payload::new(payload).map_err(|error| error.to_string())?;
            let id = cluster.push_server_request(of.session()?, payload).await;
            return Ok(json!(id.map_err(|error| error.to_string())?.get().to_string()));
        }
        _ => return Err(format!("replicated members have no switch {name}")),
    }
    Ok(Value::Null)
}

fn done(result: std::result::Result<(), SwitchError>) -> Result<()> {
    result.map_err(|error| error.to_string())
}

fn journal(cluster: &ClusterHandle) -> Value {
    let entries = cluster.journal().into_iter().map(|execution| {
        let payload: Vec<u8> = execution.payload.to_vec();
        json!([
            execution.position,
            execution.session.as_str(),
            execution.request_id.get().to_string(),
            execution.member.as_ref().map(MemberId::as_str),
            payload,
        ])
    });
    entries.collect()
}

/// The lowest pending ids and the cached answers are the server's own affair.
async fn sessions(cluster: &ClusterHandle) -> Result<Value> {
    let unacknowledged = cluster.unacknowledged().await.map_err(|error| error.to_string())?;
    let views = cluster.sessions().into_iter().map(|session| {
        json!({
            "sessionId": session.id.as_str(),
            "bound": session.bound,
            "lowestPending": "0",
            "cachedAnswers": 0,
            "unacknowledged": unacknowledged.get(session.id.as_str()).copied().unwrap_or_default(),
        })
    });
    Ok(views.collect())
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

    fn hints(&self) -> Result<Hints> {
        match self.text("hints")? {
            "leader" => Ok(Hints::Leader),
            "absent" => Ok(Hints::Absent),
            "itself" => Ok(Hints::Itself),
            "circular" => Ok(Hints::Circular),
            "wrong" => {
                let wrong = MemberId::new(self.text("wrong")?);
                Ok(Hints::Wrong(wrong.map_err(|error| error.to_string())?))
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
