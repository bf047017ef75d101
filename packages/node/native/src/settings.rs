//! Settings, from the JSON that the TypeScript half makes of them. Times are milliseconds; what is not there has
//! its default, and `null` as the request timeout is none.

use std::time::Duration;

use serde_json::Value;
use zraft_client::binding::core::{
    AckServerRequests, Backoff, Config, ConfigBuilder, OnSessionExpired, ValidationError,
};

/// How a setting is handed to the builder.
type Setter<T> = fn(ConfigBuilder, T) -> ConfigBuilder;

/// Parses and checks settings. Their types have been checked: what has another one counts as not there.
///
/// # Errors
/// The first setting that cannot be accepted.
pub(crate) fn parse(text: &str) -> Result<Config, ValidationError> {
    let value: Value = serde_json::from_str(text).unwrap_or_default();
    let mut builder = Config::builder();
    for (id, endpoint) in entries(&value["clusterMembers"]) {
        builder = builder.member(id, endpoint);
    }
    for (name, content) in entries(&value["capabilities"]) {
        builder = builder.capability(name, content);
    }
    if value.get("requestTimeout").is_some_and(Value::is_null) {
        builder = builder.request_timeout(None);
    }
    let times: [(&str, Setter<Duration>); 8] = [
        ("connectionTimeout", ConfigBuilder::connection_timeout),
        ("keepAliveInterval", ConfigBuilder::keep_alive_interval),
        ("sessionTimeout", ConfigBuilder::session_timeout),
        ("requestTimeout", |builder, time| builder.request_timeout(time)),
        ("resendInterval", ConfigBuilder::resend_interval),
        ("detachedTimeout", ConfigBuilder::detached_timeout),
        ("heartbeatInterval", ConfigBuilder::heartbeat_interval),
        ("heartbeatTimeout", ConfigBuilder::heartbeat_timeout),
    ];
    for (name, set) in times {
        if let Some(time) = time(&value[name]) {
            builder = set(builder, time);
        }
    }
    let numbers: [(&str, Setter<usize>); 5] = [
        ("maxInFlight", ConfigBuilder::max_in_flight),
        ("maxQueued", ConfigBuilder::max_queued),
        ("maxQueuedBytes", ConfigBuilder::max_queued_bytes),
        ("maxMessageSize", ConfigBuilder::max_message_size),
        ("maxServerRequests", ConfigBuilder::max_server_requests),
    ];
    for (name, set) in numbers {
        if let Some(number) = value[name].as_f64() {
            // The cast saturates.
            builder = set(builder, number as usize);
        }
    }
    if value["ackServerRequests"] == "handled" {
        builder = builder.ack_server_requests(AckServerRequests::Handled);
    }
    if value["onSessionExpired"] == "newSession" {
        builder = builder.on_session_expired(OnSessionExpired::NewSession);
    }
    let backoff = &value["reconnectBackoff"];
    let usual = Backoff::default();
    let pause = |name: &str, usual| time(&backoff[name]).unwrap_or(usual);
    builder
        .reconnect_backoff(Backoff {
            initial: pause("initial", usual.initial),
            max: pause("max", usual.max),
            election_initial: pause("electionInitial", usual.election_initial),
            election_max: pause("electionMax", usual.election_max),
        })
        .build()
}

fn entries(value: &Value) -> impl Iterator<Item = (&str, &str)> {
    value
        .as_array()
        .into_iter()
        .flatten()
        .map(|entry| (entry[0].as_str().unwrap_or_default(), entry[1].as_str().unwrap_or_default()))
}

fn time(value: &Value) -> Option<Duration> {
    // A number that is no time is as wrong as none at all.
    value.as_f64().map(|millis| Duration::try_from_secs_f64(millis / 1000.0).unwrap_or_default())
}

/// A message about settings with their names as JavaScript has them. What it quotes stays as it is.
pub(crate) fn in_javascript(message: &str) -> String {
    let mut quoted = false;
    let mut text = String::with_capacity(message.len());
    let mut letters = message.chars().peekable();
    while let Some(letter) = letters.next() {
        match letter {
            '\\' if quoted => {
                text.push(letter);
                text.extend(letters.next());
                continue;
            }
            '"' => quoted = !quoted,
            '_' if !quoted && letters.peek().is_some_and(char::is_ascii_lowercase) => {
                text.extend(letters.next().map(|letter| letter.to_ascii_uppercase()));
                continue;
            }
            _ => {}
        }
        text.push(letter);
    }
    match text.strip_prefix("members:") {
        Some(rest) => format!("clusterMembers:{rest}"),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
            "reconnectBackoff.electionInitial: must not be longer than reconnectBackoff.electionMax"
        );
    }

    #[test]
    fn what_a_refusal_quotes_stays_as_it_is() {
        let text = refusal(r#"{"clusterMembers":[["my_\"_node","x"]],"capabilities":[["k","v"]]}"#);
        assert!(text.contains(r#""my_\"_node""#), "{text}");
    }

    #[test]
    fn what_is_not_there_has_its_default_and_null_is_no_request_timeout() {
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
    fn a_pause_of_the_backoff_that_is_not_there_has_its_default() {
        let valid = r#""clusterMembers":[["a","tcp://h:1"]],"capabilities":[["k","v"]]"#;
        let config = parse(&format!(r#"{{{valid},"reconnectBackoff":{{"max":7000}}}}"#)).unwrap();
        let expected = Backoff { max: Duration::from_secs(7), ..Backoff::default() };
        assert_eq!(config.reconnect_backoff(), expected);
    }
}
