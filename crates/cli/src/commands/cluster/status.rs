//! `zraft cluster status`: who leads, how far each member is, and what needs attention.

use clap::Args;
use serde_json::{Value, json};
use zraft_cli::cluster::{Answer, Failure};

use super::{Place, leader_of};
use crate::{
    commands::table::table,
    exit::{Exit, print},
};

/// Show who leads, how far each member is, and which alarms are raised
///
/// Asks every member whose admin port is known, and shows the others as the leader sees them. docs/server/operations.md explains
/// the alarms.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Print everything that the members said, as JSON
    #[arg(long)]
    json: bool,
    /// Set the exit status to 4 if an alarm is raised, no member leads, or a member does not answer
    #[arg(long)]
    exit_code: bool,
    #[command(flatten)]
    place: Place,
}

pub(super) async fn run(arguments: &Arguments) -> Result<Exit, Failure> {
    let cluster = arguments.place.cluster()?;
    let answers = cluster.ask_all().await;
    let leader = leader_of(&answers);
    if answers.iter().all(|answer| answer.status.is_err()) {
        // The same search gives the reason and the remedy.
        cluster.leader().await?;
    }
    let alarms = alarms(&answers, leader.as_ref());
    if arguments.json {
        print(&as_json(&answers, leader.as_ref(), &alarms).to_string());
    } else {
        print(&as_text(&answers, leader.as_ref(), &alarms));
    }
    match arguments.exit_code && !alarms.is_empty() {
        true => Ok(Exit::Alarm),
        false => Ok(Exit::Success),
    }
}

/// Returns what needs attention, one sentence each.
fn alarms(answers: &[Answer], leader: Option<&Value>) -> Vec<String> {
    let mut found = Vec::new();
    if leader.is_none() {
        found.push("no member leads".to_owned());
    }
    for answer in answers {
        match &answer.status {
            Err(error) => found.push(error.to_string()),
            Ok(status) => {
                let name = status["member"].as_str().unwrap_or("?");
                let raised = status["alarms"].as_array().into_iter().flatten();
                let texts = raised.filter_map(|alarm| alarm["message"].as_str());
                found.extend(texts.map(|text| format!("{name} {text}")));
            }
        }
    }
    found
}

fn as_json(answers: &[Answer], leader: Option<&Value>, alarms: &[String]) -> Value {
    let members = answers.iter().map(|answer| match &answer.status {
        Ok(status) => json!({ "admin": answer.admin.address.to_string(), "status": status }),
        Err(error) => {
            json!({ "admin": answer.admin.address.to_string(), "error": error.to_string() })
        }
    });
    json!({
        "leader": leader.map_or(&Value::Null, |leader| &leader["member"]),
        "term": leader.map_or(&Value::Null, |leader| &leader["term"]),
        "alarms": alarms,
        "members": members.collect::<Vec<_>>(),
    })
}

fn as_text(answers: &[Answer], leader: Option<&Value>, alarms: &[String]) -> String {
    let statuses = || answers.iter().filter_map(|answer| answer.status.as_ref().ok());
    let Some(shown) = leader.or_else(|| statuses().next()) else { return alarms.join("\n") };
    let mut lines = vec![format!("cluster {}", shown["cluster"].as_str().unwrap_or("?"))];
    if let Some(leader) = leader {
        let (name, term) = (leader["member"].as_str().unwrap_or("?"), &leader["term"]);
        lines.push(format!("leader  {name} in term {term}, {} sessions", leader["sessions"]));
    }
    let mut rows =
        vec![["member", "role", "log", "applied", "disk", "peer address"].map(str::to_owned)];
    for known in shown["members"].as_array().into_iter().flatten() {
        let name = known["name"].as_str().unwrap_or("?");
        let own = statuses().find(|status| status["member"] == name);
        rows.push(row(name, known, own));
    }
    lines.extend(table(&rows));
    lines.extend(alarms.iter().map(|alarm| format!("alarm: {alarm}")));
    lines.join("\n")
}

/// Returns the row of a member: from its own status, and otherwise as the leader sees it.
fn row(name: &str, known: &Value, own: Option<&Value>) -> [String; 6] {
    let text = |value: &Value| match value {
        Value::String(text) => text.clone(),
        Value::Null => "?".to_owned(),
        other => other.to_string(),
    };
    let role = match own {
        Some(own) if own["serving"] == true => "leader".to_owned(),
        _ => text(&known["role"]),
    };
    let (log, applied, disk) = match own {
        Some(own) => (&own["log"]["last"], &own["log"]["applied"], &own["disk"]),
        None => (&known["matched"], &Value::Null, &known["disk"]),
    };
    [name.to_owned(), role, text(log), text(applied), text(disk), text(&known["peer_address"])]
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use zraft_cli::admin::{Admin, AskError};
    use zraft_server::Token;

    use super::{super::member, *};

    fn answer(status: Result<Value, AskError>) -> Answer {
        let token = Token::random().unwrap();
        Answer { admin: Admin::new(SocketAddr::from(([127, 0, 0, 1], 7003)), token), status }
    }

    fn leader() -> Value {
        json!({
            "cluster": "c", "member": "node-1", "serving": true, "term": 4, "sessions": 2,
            "log": { "last": 12, "applied": 11 }, "disk": "ample",
            "alarms": [{ "code": "member_silent", "message": "does not hear another member" }],
            "members": [
                { "name": "node-1", "role": "voter", "peer_address": "a:1", "matched": 12, "disk": "ample" },
                { "name": "node-2", "role": "learner", "peer_address": "b:1", "matched": 3, "disk": "low" },
            ],
        })
    }

    #[test]
    fn members_that_do_not_answer_are_shown_as_the_leader_sees_them() {
        let answers =
            [answer(Ok(leader())), answer(Err(AskError::Unreachable("refused".to_owned())))];
        let leader = leader();
        let alarms = alarms(&answers, Some(&leader));
        assert_eq!(alarms, ["node-1 does not hear another member", "no answer: refused"]);
        let text = as_text(&answers, Some(&leader), &alarms);
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(
            lines,
            [
                "cluster c",
                "leader  node-1 in term 4, 2 sessions",
                "member  role     log  applied  disk   peer address",
                "node-1  leader   12   11       ample  a:1",
                "node-2  learner  3    ?        low    b:1",
                "alarm: node-1 does not hear another member",
                "alarm: no answer: refused",
            ]
        );
        assert_eq!(as_json(&answers, Some(&leader), &alarms)["leader"], "node-1");
    }

    #[test]
    fn cluster_without_a_leader_raises_an_alarm() {
        let mut status = leader();
        (status["serving"], status["alarms"]) = (json!(false), json!([]));
        let answers = [answer(Ok(status))];
        assert!(leader_of(&answers).is_none());
        assert_eq!(alarms(&answers, None), ["no member leads"]);
        assert_eq!(as_json(&answers, None, &[])["leader"], Value::Null);
        assert!(as_text(&answers, None, &[]).contains("node-1  voter"));
        assert!(member(&leader(), "node-2").is_some() && member(&leader(), "node-3").is_none());
    }
}
