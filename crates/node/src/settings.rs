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
