//! Settings, from the JSON that the TypeScript half makes of them. Times are milliseconds. A setting that is absent has its
//! default, and `null` as the request timeout means none. The names, kinds and limits come from the core's table.

use std::time::Duration;

use serde_json::{Map, Value, json};
use zraft_client::Tls;
use zraft_client::binding::Sockets;
use zraft_client::binding::core::{
    Config, LivenessQuery, MemberList, SETTINGS, Setting, SettingKind, ValidationError,
};

/// Checks the settings of the table. The TypeScript half has checked their types: a value of another type counts as absent.
fn config(settings: &Value) -> Result<Config, ValidationError> {
    let mut builder = Config::builder();
    for setting in SETTINGS {
        let Some(value) = given(settings, &setting.camel_case_name()) else { continue };
        builder = match setting.kind {
            SettingKind::Entries { add, .. } => {
                entries(value).fold(builder, |builder, (name, text)| add(builder, name, text))
            }
            SettingKind::Time { set_unlimited: Some(set), .. } if value.is_null() => set(builder),
            SettingKind::Time { set, .. } => match time(value) {
                Some(time) => set(builder, time),
                None => builder,
            },
            SettingKind::Number { set, .. } => match value.as_f64() {
                // The cast saturates.
                Some(number) => set(builder, number as usize),
                None => builder,
            },
            SettingKind::Choice { names, set, .. } => {
                let name = value.as_str().filter(|name| names.contains(name)).unwrap_or_default();
                set(builder.clone(), name).unwrap_or(builder)
            }
            _ => builder,
        };
    }
    // The table has no switches.
    if let Some(discover) = settings.get("discoverMembers").and_then(Value::as_bool) {
        builder = builder.discover_members(discover);
    }
    if let Some(query) = settings.get("livenessQuery").filter(|query| query.is_object()) {
        builder = builder.liveness_query(liveness_query(query));
    }
    builder.build()
}

/// Returns the liveness query, which is not in the table, because it has a payload. That comes as a list of bytes.
fn liveness_query(given: &Value) -> LivenessQuery {
    let bytes = given["payload"].as_array().into_iter().flatten();
    let payload: Vec<u8> = bytes.filter_map(|byte| u8::try_from(byte.as_u64()?).ok()).collect();
    match given.get("interval").and_then(time) {
        Some(interval) => LivenessQuery::new(payload).every(interval),
        None => LivenessQuery::new(payload),
    }
}

/// Parses settings, and returns the configuration and the sockets of a client with these settings.
///
/// # Errors
/// The first setting that cannot be accepted.
pub(crate) fn checked(text: &str) -> Result<(Config, Sockets), ValidationError> {
    let settings: Value = serde_json::from_str(text).unwrap_or_default();
    let config = config(&settings)?;
    let sockets = match settings.get("tls").and_then(Value::as_object) {
        Some(given) => with_tls(&config, given)?,
        None => Sockets::without_tls(&config)?,
    };
    Ok((config, sockets))
}

/// Parses members that replace those of a client with these sockets.
///
/// # Errors
/// The first member that cannot be accepted.
pub(crate) fn members(text: &str, sockets: &Sockets) -> Result<MemberList, ValidationError> {
    let members: Value = serde_json::from_str(text).unwrap_or_default();
    let members = MemberList::new(entries(&members))?;
    sockets.check_members(members.as_slice())?;
    Ok(members)
}

/// Returns sockets with the TLS settings that are given. They are not in the table, because the core knows no TLS.
fn with_tls(config: &Config, given: &Map<String, Value>) -> Result<Sockets, ValidationError> {
    let part = |name: &str| given.get(name).and_then(Value::as_str);
    let mut tls = Tls::new();
    if let Some(ca) = part("ca") {
        tls = tls.ca(ca);
    }
    match (part("cert"), part("key")) {
        (Some(cert), Some(key)) => tls = tls.certificate(cert, key),
        (None, None) => {}
        _ => {
            let problem = "`cert` and `key` belong together: give both".to_owned();
            return Err(ValidationError::Tls { problem });
        }
    }
    if let Some(name) = part("serverName") {
        tls = tls.server_name(name);
    }
    Sockets::with_tls(config, &tls)
}

/// Returns a setting's value, if it is given. A dot in the name leads into an object.
fn given<'a>(settings: &'a Value, name: &str) -> Option<&'a Value> {
    name.split('.').try_fold(settings, |value, part| value.get(part))
}

fn entries(value: &Value) -> impl Iterator<Item = (&str, &str)> {
    value
        .as_array()
        .into_iter()
        .flatten()
        .map(|entry| (entry[0].as_str().unwrap_or_default(), entry[1].as_str().unwrap_or_default()))
}

fn time(value: &Value) -> Option<Duration> {
    // A number that is not a time, such as a negative one, becomes zero, which is refused.
    value.as_f64().map(|millis| Duration::try_from_secs_f64(millis / 1000.0).unwrap_or_default())
}

/// Returns a text about settings with their names as JavaScript has them: the name before the first colon, and the names
/// in backticks. Everything else stays as it is, such as a quoted member id.
pub(crate) fn in_javascript(text: &str) -> String {
    let translated = |name: &str| match name {
        "liveness_query" => Some("livenessQuery".to_owned()),
        _ => SETTINGS.iter().find(|each| each.name == name).map(Setting::camel_case_name),
    };
    let (first, rest) = match text.split_once(':') {
        Some((first, _)) => match translated(first) {
            Some(name) => (name, &text[first.len()..]),
            None => (String::new(), text),
        },
        None => (String::new(), text),
    };
    let pieces = rest.split('`').map(|piece| translated(piece).unwrap_or_else(|| piece.to_owned()));
    first + &pieces.collect::<Vec<_>>().join("`")
}

/// Returns the table of settings as JSON. Times are in milliseconds.
pub(crate) fn table() -> Value {
    let millis = |time: Duration| time.as_millis() as u64;
    let row = |setting: &Setting| {
        let mut row = json!({
            "name": setting.camel_case_name(),
            "doc": in_javascript(&setting.summary()),
            "default": setting.default,
            "range": setting.range,
        });
        let kind = match setting.kind {
            SettingKind::Entries { max, .. } => json!({ "kind": "entries", "max": max }),
            SettingKind::Time { default, min, max, set_unlimited, .. } => json!({
                "kind": "time",
                "value": millis(default),
                "min": millis(min),
                "max": millis(max),
                "unlimited": set_unlimited.is_some(),
            }),
            SettingKind::Number { default, min, max, .. } => {
                json!({ "kind": "number", "value": default, "min": min, "max": max })
            }
            SettingKind::Choice { names, .. } => json!({ "kind": "choice", "choices": names }),
            _ => json!({ "kind": "parts" }),
        };
        if let (Value::Object(row), Value::Object(kind)) = (&mut row, kind) {
            row.extend(kind);
        }
        row
    };
    SETTINGS.iter().map(row).collect()
}

/// Returns the defaults of times, in milliseconds, and of numbers. Those of a setting's parts are an object.
pub(crate) fn defaults() -> Value {
    let mut defaults = json!({});
    for row in table().as_array().into_iter().flatten() {
        let (Some(name), Some(value)) = (row["name"].as_str(), row.get("value")) else { continue };
        match name.split_once('.') {
            Some((whole, part)) => defaults[whole][part] = value.clone(),
            None => defaults[name] = value.clone(),
        }
    }
    defaults
}

#[cfg(test)]
mod tests {
    use zraft_client::binding::core::{AckServerRequests, Backoff, OnSessionExpired};

    use super::*;

    fn parse(settings: &str) -> Result<Config, ValidationError> {
        checked(settings).map(|(config, _)| config)
    }

    fn refusal(settings: &str) -> String {
        in_javascript(&parse(settings).unwrap_err().to_string())
    }

    #[test]
    fn refusals_name_settings_as_javascript_has_them() {
        let valid = r#""clusterMembers":[["a","tcp://h:1"]],"capabilities":[["k","v"]]"#;
        let first_word = |settings: &str| refusal(settings).split(':').next().unwrap().to_owned();
        assert_eq!(first_word("{}"), "clusterMembers");
        assert_eq!(first_word(&format!(r#"{{{valid},"maxInFlight":0}}"#)), "maxInFlight");
        assert_eq!(
            refusal(&format!(
                r#"{{{valid},"reconnectBackoff":{{"electionInitial":2,"electionMax":1}}}}"#
            )),
            "reconnectBackoff.electionInitial: must not be longer than `reconnectBackoff.electionMax`"
        );
    }

    #[test]
    fn tls_endpoint_and_tls_settings_need_each_other() {
        let refusal = |scheme: &str, tls: &str| {
            let settings = format!(
                r#"{{"clusterMembers":[["a","{scheme}://h:1"]],"capabilities":[["k","v"]]{tls}}}"#
            );
            checked(&settings).err().map(|error| error.to_string()).unwrap_or_default()
        };
        assert_eq!(refusal("tcp", ""), "");
        let missing = refusal("tls", "");
        assert!(missing.contains("give the TLS settings"), "{missing}");
        let unused = refusal("tcp", r#","tls":{"ca":""}"#);
        assert!(unused.starts_with("tls: no endpoint begins with tls://"), "{unused}");
        let half = refusal("tls", r#","tls":{"ca":"","cert":"x"}"#);
        assert!(half.contains("give both"), "{half}");
        let empty = refusal("tls", r#","tls":{"ca":""}"#);
        assert!(empty.starts_with("tls: the CA holds no certificate"), "{empty}");
    }

    #[test]
    fn a_quoted_member_id_stays_as_it_is() {
        let text = refusal(r#"{"clusterMembers":[["my_`_node","x"]],"capabilities":[["k","v"]]}"#);
        assert!(text.starts_with("clusterMembers:"), "{text}");
        assert!(text.contains(r#""my_`_node""#), "{text}");
    }

    #[test]
    fn an_absent_setting_has_its_default_and_null_means_no_request_timeout() {
        let valid = r#""clusterMembers":[["a","tcp://h:1"]],"capabilities":[["k","v"]]"#;
        let config = parse(&format!("{{{valid}}}")).unwrap();
        assert_eq!(config.request_timeout(), Some(Duration::from_secs(10)));
        let config = parse(&format!(r#"{{{valid},"requestTimeout":null}}"#)).unwrap();
        assert_eq!(config.request_timeout(), None);
    }

    #[test]
    fn every_setting_arrives_under_its_name() {
        let ms = Duration::from_millis;
        let config = parse(
            r#"{
                "clusterMembers": [["b", "tcp://h:2"], ["a", "tcp://h:1"]],
                "capabilities": [["k", "v"], ["l", "w"]],
                "connectionTimeout": 11, "keepAliveInterval": 12, "sessionTimeout": 1300,
                "requestTimeout": 13.5, "resendInterval": 14, "detachedTimeout": 15,
                "maxInFlight": 16, "maxQueued": 17, "maxQueuedBytes": 18, "maxMessageSize": 19,
                "maxServerRequests": 20, "ackServerRequests": "handled",
                "heartbeatInterval": 21, "heartbeatTimeout": 22,
                "reconnectBackoff": { "initial": 1, "max": 2, "electionInitial": 3, "electionMax": 4 },
                "onSessionExpired": "newSession"
            }"#,
        );
        let expected = Config::builder()
            .member("b", "tcp://h:2")
            .member("a", "tcp://h:1")
            .capability("k", "v")
            .capability("l", "w")
            .connection_timeout(ms(11))
            .keep_alive_interval(ms(12))
            .session_timeout(ms(1300))
            .request_timeout(Duration::from_micros(13_500))
            .resend_interval(ms(14))
            .detached_timeout(ms(15))
            .max_in_flight(16)
            .max_queued(17)
            .max_queued_bytes(18)
            .max_message_size(19)
            .max_server_requests(20)
            .ack_server_requests(AckServerRequests::Handled)
            .heartbeat_interval(ms(21))
            .heartbeat_timeout(ms(22))
            .reconnect_backoff(Backoff {
                initial: ms(1),
                max: ms(2),
                election_initial: ms(3),
                election_max: ms(4),
            })
            .on_session_expired(OnSessionExpired::NewSession)
            .build();
        assert_eq!(config, expected);
    }

    #[test]
    fn an_absent_pause_of_the_backoff_has_its_default() {
        let valid = r#""clusterMembers":[["a","tcp://h:1"]],"capabilities":[["k","v"]]"#;
        let config = parse(&format!(r#"{{{valid},"reconnectBackoff":{{"max":7000}}}}"#)).unwrap();
        let expected = Backoff { max: Duration::from_secs(7), ..Backoff::default() };
        assert_eq!(config.reconnect_backoff(), expected);
    }
}
