//! The status of a member as JSON, and the settings by name.

use std::{
    collections::VecDeque,
    time::{SystemTime, UNIX_EPOCH},
};

use serde_json::{Map, Value, json};
use zraft_replica::{Configuration, HistoryPoint, RaftId, Role, Space};
use zraft_session::Settings;

use super::AdminPort;
use crate::{Alarm, MemberEvent, Report};

/// Returns everything that a member knows.
pub(super) fn status(port: &AdminPort, report: &Report) -> Value {
    let status = &report.status;
    let configuration = &status.configuration;
    let snapshot = report.snapshot.as_ref();
    let alarms = Alarm::raised(report);
    let alarms =
        alarms.map(|alarm| json!({ "code": alarm.name(), "message": alarm.message(report) }));
    json!({
        "cluster": port.identity.cluster.to_string(),
        "member": port.identity.member.as_str(),
        "id": report.id.get(),
        "version": env!("CARGO_PKG_VERSION"),
        "client_address": port.client_address.to_string(),
        "peer_address": port.peer_address.to_string(),
        "admin_address": port.address.to_string(),
        "role": role(status.role),
        "term": status.term,
        "leader": status.leader.map(|id| name(configuration, id)),
        "serving": status.serving,
        "handing_over": status.handing_over,
        "stopping": report.stopping,
        "alarms": alarms.collect::<Vec<_>>(),
        "log": {
            "last": status.last_index,
            "committed": status.committed,
            "applied": status.applied,
            "memory_bytes": report.log_memory,
        },
        "state_hash": format!("{:016x}", status.history.get()),
        "snapshot": snapshot.map(|file| json!({ "index": file.meta.index, "bytes": file.bytes })),
        "disk": space(report.space),
        "sessions": status.sessions,
        "client_connections": report.connections,
        "feature_level": configuration.feature_level(),
        "changing_membership": configuration.is_joint(),
        "members": members(report),
        "certificates": certificates(report),
        "secret_problems": report.secret_problems,
        "application_panic": report.stopped_by.as_ref().map(|crash| {
            json!({ "entry": crash.index, "count": crash.count, "trace": crash.trace })
        }),
        "events": events(&report.events),
        "refusals": events(&report.refusals),
        "settings": settings(&report.settings),
    })
}

/// Returns how long the certificates in use are valid, by the name of their port.
fn certificates(report: &Report) -> Value {
    let certificates = report.certificates.iter().map(|validity| {
        let not_after = seconds(validity.not_after);
        (validity.port.name().to_owned(), json!({ "not_after_seconds": not_after }))
    });
    Value::Object(certificates.collect())
}

/// Returns UNIX time.
pub(super) fn seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

/// Returns the events, the newest first, as people want to read them.
fn events(events: &[MemberEvent]) -> Value {
    let events = events.iter().rev().map(|event| {
        let since = event.at.duration_since(UNIX_EPOCH).unwrap_or_default();
        json!({ "at_millis": since.as_millis() as u64, "text": event.text })
    });
    events.collect()
}

/// Returns what a member remembers of its history. Each point is one string, which keeps the answer below half a megabyte.
pub(super) fn history(port: &AdminPort, report: &Report) -> Value {
    let history = port.handle.history();
    let points = |points: &VecDeque<HistoryPoint>| -> Vec<_> {
        points.iter().map(|point| format!("{} {:016x}", point.index, point.hash.get())).collect()
    };
    let members = report.status.configuration.members.values();
    json!({
        "cluster": port.identity.cluster.to_string(),
        "member": port.identity.member.as_str(),
        "members": members.map(|info| info.name.as_str()).collect::<Vec<_>>(),
        "recent": points(&history.recent),
        "sparse": points(&history.sparse),
    })
}

fn members(report: &Report) -> Value {
    let configuration = &report.status.configuration;
    let members = configuration.members.iter().map(|(id, info)| {
        let mut member = json!({
            "name": info.name.as_str(),
            "id": id.get(),
            "peer_address": info.address,
            "role": kind(configuration, *id),
            "feature_level": info.feature_level,
        });
        if let Some(old) = configuration.replacing.get(id) {
            member["replaces"] = name(configuration, *old).into();
        }
        // Only a leader knows more.
        if let Some(peer) = report.peers.iter().find(|peer| peer.id == *id) {
            member["matched"] = peer.matched.into();
            member["active"] = peer.active.into();
            member["installing_snapshot"] = peer.installing.into();
            member["disk"] = space(peer.space).into();
        }
        member
    });
    members.collect()
}

fn role(role: Role) -> &'static str {
    match role {
        Role::Follower => "follower",
        Role::Candidate => "candidate",
        Role::Leader => "leader",
    }
}

fn kind(configuration: &Configuration, id: RaftId) -> &'static str {
    if configuration.voters.contains(&id) {
        "voter"
    } else if configuration.learners.contains(&id) {
        "learner"
    } else {
        "leaving"
    }
}

fn space(space: Space) -> &'static str {
    match space {
        Space::Ample => "ample",
        Space::Low => "low",
    }
}

/// Returns the name of a member, or its number if the configuration does not hold it.
pub(super) fn name(configuration: &Configuration, id: RaftId) -> String {
    let info = configuration.members.get(&id);
    info.map_or_else(|| id.to_string(), |info| info.name.to_string())
}

/// A setting by its name.
struct Setting {
    name: &'static str,
    read: fn(&Settings) -> u64,
    /// Returns false if the number does not fit into the setting.
    write: fn(&mut Settings, u64) -> bool,
}

macro_rules! settings {
    ($($name:ident),+) => {
        [$(Setting {
            name: stringify!($name),
            read: |settings| u64::from(settings.$name),
            write: |settings, number| {
                let fits = number.try_into().map(|number| settings.$name = number);
                fits.is_ok()
            },
        }),+]
    };
}

static SETTINGS: [Setting; 12] = settings![
    sessions,
    session_timeout_millis,
    payload_bytes,
    cached_answers,
    cached_bytes,
    total_cached_answers,
    total_cached_bytes,
    server_requests,
    server_request_bytes,
    total_server_requests,
    total_server_request_bytes,
    application_level
];

/// Returns the settings by name.
pub(super) fn settings(settings: &Settings) -> Value {
    let fields = SETTINGS
        .iter()
        .map(|setting| (setting.name.to_owned(), Value::from((setting.read)(settings))));
    Value::Object(fields.collect())
}

/// Sets the settings that an object names.
///
/// # Errors
/// A sentence about the first field that is not a setting, or whose value does not fit.
pub(super) fn set(settings: &mut Settings, fields: &Map<String, Value>) -> Result<(), String> {
    for (name, value) in fields {
        let Some(setting) = SETTINGS.iter().find(|setting| setting.name == name) else {
            let names: Vec<_> = SETTINGS.iter().map(|setting| setting.name).collect();
            let name = name.escape_default();
            return Err(format!(
                "there is no setting {name}: the settings are {}",
                names.join(", ")
            ));
        };
        let fits = value.as_u64().is_some_and(|number| (setting.write)(settings, number));
        if !fits {
            return Err(format!("{name}: {value} is not a whole number that fits"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_setting_is_read_and_written_by_its_name() {
        let before = Settings::default();
        let mut changed = before.clone();
        for setting in &SETTINGS {
            let number = (setting.read)(&before) + 1;
            let fields = Map::from_iter([(setting.name.to_owned(), number.into())]);
            set(&mut changed, &fields).expect("it fits");
            assert_eq!((setting.read)(&changed), number, "{}", setting.name);
        }
        // The struct has no field that the table lacks: nothing is left as it was.
        let shown = format!("{before:?}");
        let fields = shown.split_once('{').expect("a struct").1.split(", ").count();
        assert_eq!(fields, SETTINGS.len());
    }

    #[test]
    fn unknown_settings_and_values_that_do_not_fit_are_refused() {
        let refused = |name: &str, value: Value| {
            let fields = Map::from_iter([(name.to_owned(), value)]);
            set(&mut Settings::default(), &fields).expect_err("it is refused")
        };
        assert!(refused("session", 1.into()).starts_with("there is no setting session: "));
        assert!(refused("sessions", (1_u64 << 32).into()).contains("4294967296 is not"));
        assert!(refused("sessions", "1".into()).contains("is not a whole number"));
        assert!(refused("sessions", (-1).into()).contains("is not a whole number"));
    }
}
