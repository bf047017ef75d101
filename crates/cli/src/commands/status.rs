//! `zraft status`: which members answer clients, and who leads.

use std::time::Duration;

use clap::Args;
use serde_json::{Value, json};
use tokio::task::JoinSet;
use zraft_cli::{
    probe::{self, Answer, Role},
    reach,
    settings::{Member, Setting, Settings, Source},
};
use zraft_client::{ConnectionCause, MemberId, binding::Sockets};

use super::{
    endpoints::{ANY, Endpoints},
    table::table,
};
use crate::exit::{Exit, complain, print_at_end, run as run_command};

/// The time that a member has by default: one that works answers in milliseconds.
const PATIENCE: Duration = Duration::from_secs(3);

/// Show which members answer clients, and who leads
///
/// Asks all members at the same time, each for 3 seconds unless --timeout says otherwise. Opens no session, so nothing stays behind
/// in the cluster. The round trip is the time from the request to its answer.
///
/// This is what a client sees, of any ZIO Raft cluster. Operators of the replicated server see more with zraft cluster status. A leader
/// of ZIO Raft that was cut off from the others can still call itself the leader.
///
/// The exit status is 2 if no member answers.
#[derive(Debug, Args)]
#[command(after_long_help = "Example:\n  zraft status -e 127.0.0.1:7001 -e 127.0.0.1:7002")]
pub(crate) struct Arguments {
    /// Print one JSON object
    #[arg(long)]
    json: bool,
    /// Set the exit status to 4 if a member does not answer, or not exactly one leads
    #[arg(long)]
    exit_code: bool,
    #[command(flatten)]
    endpoints: Endpoints,
}

/// What is known of a member.
struct Row {
    member: Member,
    asked: Result<Answer, ConnectionCause>,
}

pub(crate) fn run(arguments: &Arguments) -> Exit {
    let prepared = arguments.endpoints.settings().and_then(|settings| {
        let sockets = sockets(&settings)?;
        Ok((settings, sockets))
    });
    let (settings, sockets) = match prepared {
        Ok(prepared) => prepared,
        Err(problem) => {
            complain(&problem);
            return Exit::BadInput;
        }
    };
    run_command(async {
        let rows = ask_all(&settings, &sockets).await;
        let text = if arguments.json { as_json(&rows).to_string() } else { as_text(&rows) };
        print_at_end(&text, exit(&rows, arguments.exit_code))
    })
}

/// Checks all settings as a client does, and returns its sockets.
fn sockets(settings: &Settings) -> Result<Sockets, String> {
    let client = settings.builder(&ANY)?.build().map_err(|error| error.to_string())?;
    let sockets = match settings.tls() {
        Some(tls) => Sockets::with_tls(client.config(), &tls),
        None => Sockets::without_tls(client.config()),
    };
    sockets.map_err(|error| error.to_string())
}

async fn ask_all(settings: &Settings, sockets: &Sockets) -> Vec<Row> {
    let patience = match settings.source(Setting::Timeout) {
        Source::Default => PATIENCE,
        _ => settings.timeout(),
    };
    let mut asking = JoinSet::new();
    for (number, member) in settings.members().iter().cloned().enumerate() {
        let sockets = sockets.clone();
        asking.spawn(async move {
            let asked = probe::ask(&sockets, member.endpoint.clone(), patience).await;
            (number, Row { member, asked })
        });
    }
    let mut rows: Vec<_> = asking.join_all().await;
    rows.sort_by_key(|(number, _)| *number);
    rows.into_iter().map(|(_, row)| row).collect()
}

fn answers(rows: &[Row]) -> impl Iterator<Item = (&Member, &Answer)> {
    rows.iter().filter_map(|row| Some((&row.member, row.asked.as_ref().ok()?)))
}

/// Returns the only member that leads.
fn leader(rows: &[Row]) -> Option<&Member> {
    let mut leaders = answers(rows).filter(|(_, answer)| answer.role == Role::Leader);
    let (leader, _) = leaders.next()?;
    leaders.next().is_none().then_some(leader)
}

fn exit(rows: &[Row], exit_code: bool) -> Exit {
    let answered = answers(rows).count();
    match answered {
        0 => Exit::Connection,
        _ if exit_code && (answered < rows.len() || leader(rows).is_none()) => Exit::Alarm,
        _ => Exit::Success,
    }
}

/// Returns what a person should know beside the table.
fn remarks(rows: &[Row]) -> Vec<String> {
    let leaders = answers(rows).filter(|(_, answer)| answer.role == Role::Leader).count();
    let mut remarks = Vec::new();
    if leaders > 1 {
        remarks.push(
            "more than one member says that it leads: all but one were replaced, or are cut off from the others".to_owned(),
        );
    }
    if leaders == 0 && answers(rows).next().is_some() {
        remarks.push("no member that answers leads".to_owned());
    }
    // Without ids, a hint cannot be compared.
    let named = rows.iter().all(|row| row.member.is_named);
    let known = |id: &str| rows.iter().any(|row| row.member.id == id);
    let hints = answers(rows).filter_map(|(_, answer)| answer.hint.as_ref());
    if let Some(hint) = hints.map(MemberId::as_str).find(|hint| named && !known(hint)) {
        remarks.push(format!("the leader is {}, whose address is not given", shown(hint)));
    }
    remarks
}

fn as_text(rows: &[Row]) -> String {
    let mut lines = vec![["member", "endpoint", "role", "leader", "round trip"].map(str::to_owned)];
    for Row { member, asked } in rows {
        let id = if member.is_named { &member.id } else { "-" };
        let [role, hint, time] = match asked {
            Ok(answer) => {
                let role = match answer.role {
                    Role::Refusing(reason) => format!("refuses sessions: {}", reason.name()),
                    role => role.name().to_owned(),
                };
                let hint = match (&answer.hint, answer.role) {
                    (Some(hint), _) => shown(hint.as_str()),
                    (None, Role::Leader) => id.to_owned(),
                    (None, _) => "-".to_owned(),
                };
                [role, hint, format!("{:.2} ms", answer.round_trip.as_secs_f64() * 1e3)]
            }
            Err(cause) => [reach::text(cause), String::new(), String::new()],
        };
        lines.push([id.to_owned(), member.endpoint.to_string(), role, hint, time]);
    }
    let mut lines = failures_apart(&lines, rows);
    lines.extend(remarks(rows));
    lines.join("\n")
}

/// Returns the lines of the table. A failure stands at the end of its line, so that a long one does not widen a column.
fn failures_apart(cells: &[[String; 5]], rows: &[Row]) -> Vec<String> {
    let failed = |line: usize| line > 0 && rows[line - 1].asked.is_err();
    let short: Vec<_> = cells
        .iter()
        .enumerate()
        .map(|(line, row)| match failed(line) {
            true => [row[0].clone(), row[1].clone(), String::new(), String::new(), String::new()],
            false => row.clone(),
        })
        .collect();
    let widths = |row: &[String; 5]| row[..2].to_vec();
    let (first, second) = cells.iter().map(widths).fold((0, 0), |(first, second), row| {
        (first.max(row[0].chars().count()), second.max(row[1].chars().count()))
    });
    let lines = table(&short).into_iter().enumerate().map(|(line, text)| match failed(line) {
        true => {
            let row = &cells[line];
            format!("{:first$}  {:second$}  {}", row[0], row[1], row[2])
        }
        false => text,
    });
    lines.collect()
}

/// Returns an id from the network as it fits into a line.
fn shown(id: &str) -> String {
    id.chars().take(64).flat_map(char::escape_debug).collect()
}

fn as_json(rows: &[Row]) -> Value {
    let members = rows.iter().map(|Row { member, asked }| {
        let id = member.is_named.then_some(&member.id);
        let endpoint = member.endpoint.to_string();
        match asked {
            Ok(answer) => json!({
                "member": id,
                "endpoint": endpoint,
                "role": answer.role.name(),
                "leaderHint": answer.hint.as_ref().map(MemberId::as_str),
                "roundTripMillis": answer.round_trip.as_secs_f64() * 1e3,
            }),
            Err(cause) => json!({
                "member": id,
                "endpoint": endpoint,
                "error": cause.name(),
                "message": reach::text(cause),
            }),
        }
    });
    let leader = leader(rows);
    json!({
        "leader": leader.map(|leader| leader.endpoint.to_string()),
        "members": members.collect::<Vec<_>>(),
        "remarks": remarks(rows),
    })
}
