//! Changes that an operator asks for. Each answer says that a change has begun; the status shows when it is done.

use std::net::SocketAddr;

use hyper::StatusCode;
use serde_json::{Map, Value, json};
use zraft_protocol::MemberId;
use zraft_replica::{ChangeError, ChangeTicket, MemberInfo, MembershipChange, RaftId};

use super::{
    AdminPort,
    json::{name, set},
    routes::{Answer, Problem, report},
};
use crate::{FEATURE_LEVEL, Report};

/// A kind of change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Change {
    Add,
    Replace,
    Remove,
    Update,
    MoveLeader,
    Settings,
    Snapshot,
    AcceptClock,
}

type Fields = Map<String, Value>;

impl Change {
    const PATHS: [(&str, Self); 8] = [
        ("/v1/members/add", Self::Add),
        ("/v1/members/replace", Self::Replace),
        ("/v1/members/remove", Self::Remove),
        ("/v1/members/update", Self::Update),
        ("/v1/leader/move", Self::MoveLeader),
        ("/v1/settings", Self::Settings),
        ("/v1/snapshot", Self::Snapshot),
        ("/v1/clock/accept", Self::AcceptClock),
    ];

    /// Returns the change that a path asks for.
    pub(super) fn at(path: &str) -> Option<Self> {
        Self::PATHS.iter().find(|(each, _)| *each == path).map(|(_, change)| *change)
    }

    fn path(self) -> &'static str {
        Self::PATHS.iter().find(|(_, each)| *each == self).map_or("", |(path, _)| path)
    }

    /// Begins the change.
    pub(super) async fn carry_out(
        self,
        port: &AdminPort,
        fields: Fields,
    ) -> Result<Answer, Problem> {
        let report = report(port).await?;
        let begun = match self {
            Self::Add | Self::Replace => add(port, &report, self, fields).await?,
            Self::Remove => {
                let [member] = texts(fields, ["member"])?;
                let id = find(&report, &member)?;
                member_change(port, &report, MembershipChange::Remove(id)).await?
            }
            Self::Update => {
                let [member, address] = texts(fields, ["member", "peer_address"])?;
                let id = find(&report, &member)?;
                let known = report.status.configuration.members.get(&id);
                let known = known.ok_or_else(|| unknown(&report, &member))?;
                let info = MemberInfo { address: checked(address)?, ..known.clone() };
                member_change(port, &report, MembershipChange::Update { id, info }).await?
            }
            Self::MoveLeader => move_leader(port, &report, fields).await?,
            Self::Settings => {
                let mut settings = (*report.settings).clone();
                set(&mut settings, &fields).map_err(wrong)?;
                let settings = settings.check().map_err(|error| wrong(error.to_string()))?;
                let proposed = port.handle.change_settings(settings).await;
                proposed.map_err(|error| refused(&report, &error))?;
                json!({})
            }
            Self::Snapshot => {
                let [] = texts(fields, [])?;
                port.handle.take_snapshot().await;
                json!({ "applied": report.status.applied })
            }
            Self::AcceptClock => {
                let [] = texts(fields, [])?;
                // Only a leader's clock counts.
                if !report.status.serving {
                    return Err(refused(&report, &ChangeError::NotLeader));
                }
                // Without a leap, the next one would be accepted unseen.
                if report.held_back.is_some() {
                    port.handle.accept_clock_jump().await;
                }
                json!({})
            }
        };
        let path = self.path();
        let line = format!("an operator asked for {path}");
        tracing::info!(path, "{line}");
        port.handle.counters.events.add(line);
        Ok(Answer::Json(StatusCode::ACCEPTED, begun))
    }
}

/// Adds a member, alone or in place of another one. The leader chooses its number, so two operators cannot choose the
/// same.
async fn add(
    port: &AdminPort,
    report: &Report,
    change: Change,
    mut fields: Fields,
) -> Result<Value, Problem> {
    let feature_level = match fields.remove("feature_level") {
        None => FEATURE_LEVEL,
        Some(level) => level
            .as_u64()
            .and_then(|level| u32::try_from(level).ok())
            .ok_or_else(|| wrong(format!("feature_level: {level} is not a level")))?,
    };
    let (old, member, address) = match change {
        Change::Replace => {
            let [old, member, address] = texts(fields, ["old", "member", "peer_address"])?;
            (Some(find(report, &old)?), member, address)
        }
        _ => {
            let [member, address] = texts(fields, ["member", "peer_address"])?;
            (None, member, address)
        }
    };
    let configuration = &report.status.configuration;
    if configuration.members.values().any(|info| info.name.as_str() == member) {
        return Err(Problem::new(
            StatusCode::CONFLICT,
            "exists",
            format!("there is a member {member}: choose another name"),
        ));
    }
    // Names are printed to terminals and logs.
    if member.is_empty() || member.chars().any(|each| each.is_control() || each.is_whitespace()) {
        return Err(wrong("member must be a name without spaces".to_owned()));
    }
    let member = MemberId::new(&member).map_err(|error| wrong(format!("member: {error}")))?;
    let info = MemberInfo { name: member, address: checked(address)?, feature_level };
    let used = configuration.members.keys().chain(&configuration.removed);
    let last = used.map(|id| id.get()).max().unwrap_or(0);
    let id = last.checked_add(1).and_then(RaftId::new);
    let id = id.ok_or_else(|| refused(report, &ChangeError::TooMany))?;
    let change = match old {
        Some(old) => MembershipChange::Replace { old, id, info },
        None => MembershipChange::Add { id, info },
    };
    let mut begun = member_change(port, report, change).await?;
    begun["id"] = id.get().into();
    begun["cluster"] = port.identity.cluster.to_string().into();
    Ok(begun)
}

async fn member_change(
    port: &AdminPort,
    report: &Report,
    change: MembershipChange,
) -> Result<Value, Problem> {
    let proposed = port.handle.change_membership(change).await;
    let ChangeTicket { term, index } = proposed.map_err(|error| refused(report, &error))?;
    Ok(json!({ "term": term, "index": index }))
}

async fn move_leader(port: &AdminPort, report: &Report, fields: Fields) -> Result<Value, Problem> {
    if !report.status.serving {
        return Err(refused(report, &ChangeError::NotLeader));
    }
    let to = if fields.is_empty() {
        None
    } else {
        let [member] = texts(fields, ["member"])?;
        let id = find(report, &member)?;
        let votes = report.status.configuration.voters.contains(&id);
        if !votes || id == report.id {
            let why = if votes { "leads already" } else { "does not vote, so it cannot lead" };
            return Err(Problem::new(StatusCode::CONFLICT, "target", format!("{member} {why}")));
        }
        Some(id)
    };
    port.handle.hand_over(to).await;
    Ok(json!({ "term": report.status.term }))
}

/// Takes these text fields out of an object, and refuses all others.
fn texts<const N: usize>(mut fields: Fields, names: [&str; N]) -> Result<[String; N], Problem> {
    let mut texts = Vec::with_capacity(N);
    for name in names {
        match fields.remove(name) {
            Some(Value::String(text)) => texts.push(text),
            Some(_) => return Err(wrong(format!("{name} must be text"))),
            None => return Err(wrong(format!("the field {name} is missing"))),
        }
    }
    if let Some(name) = fields.keys().next() {
        return Err(wrong(format!("unknown field {}", name.escape_default())));
    }
    texts.try_into().map_err(|_| wrong("a field is missing".to_owned()))
}

/// Returns the number of a member.
fn find(report: &Report, member: &str) -> Result<RaftId, Problem> {
    let members = &report.status.configuration.members;
    let found = members.iter().find(|(_, info)| info.name.as_str() == member);
    found.map(|(id, _)| *id).ok_or_else(|| unknown(report, member))
}

fn unknown(report: &Report, member: &str) -> Problem {
    let members = report.status.configuration.members.values();
    let names: Vec<_> = members.map(|info| info.name.as_str()).collect();
    let member = member.escape_default();
    let text = format!("there is no member {member}: the members are {}", names.join(", "));
    Problem::new(StatusCode::NOT_FOUND, "member", text)
}

/// Returns an address that other members can dial: a host and a port.
fn checked(address: String) -> Result<String, Problem> {
    let anywhere = address.parse().is_ok_and(|address: SocketAddr| address.ip().is_unspecified());
    if anywhere {
        return Err(wrong(format!(
            "peer_address: {address} is where a member listens, and not an address that others can dial"
        )));
    }
    let parts = address.rsplit_once(':');
    let port = parts.and_then(|(host, port)| {
        let host = !host.is_empty() && host.bytes().all(|byte| byte.is_ascii_graphic());
        port.parse::<u16>().ok().filter(|port| host && *port > 0)
    });
    match port {
        Some(_) => Ok(address),
        None => Err(wrong(format!(
            "peer_address: {} is not a host with a port, such as 10.0.0.4:7002",
            address.escape_default()
        ))),
    }
}

fn wrong(text: String) -> Problem {
    Problem::new(StatusCode::BAD_REQUEST, "field", text)
}

/// Returns why the replica has refused a change, and whom to ask instead.
fn refused(report: &Report, error: &ChangeError) -> Problem {
    let (status, code) = match error {
        ChangeError::NotLeader => (StatusCode::CONFLICT, "not_leader"),
        ChangeError::HandingOver => (StatusCode::CONFLICT, "handing_over"),
        ChangeError::Busy => (StatusCode::CONFLICT, "busy"),
        ChangeError::NoQuorum => (StatusCode::CONFLICT, "no_quorum"),
        ChangeError::OnlyVoter(_) => (StatusCode::CONFLICT, "only_voter"),
        ChangeError::TooLong => (StatusCode::BAD_REQUEST, "field"),
        ChangeError::Unknown(_) => (StatusCode::NOT_FOUND, "member"),
        _ => (StatusCode::CONFLICT, "refused"),
    };
    let configuration = &report.status.configuration;
    let mut problem = Problem::new(status, code, error.to_string());
    if matches!(error, ChangeError::NotLeader) {
        let leader = report.status.leader.filter(|leader| *leader != report.id);
        problem.leader = leader.map(|leader| name(configuration, leader));
    }
    problem
}
