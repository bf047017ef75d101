//! The builder passes on every setting and names an invalid one.

use std::time::Duration;

use zraft_client::{
    AckServerRequests, Backoff, ClientBuilder, Config, Error, MemberId, OnSessionExpired,
    RaftClient, ValidationError,
};

const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

fn builder() -> ClientBuilder {
    RaftClient::builder().member("node-1", "tcp://127.0.0.1:7001").capability("kind", "test")
}

#[test]
fn member_and_members_keep_the_order_of_calls() {
    let more = [(MemberId::new("node-2").unwrap(), "tcp://127.0.0.1:7002")];
    let together = builder().members(more).members([("node-3", "tcp://127.0.0.1:7003")]);
    let one_by_one =
        builder().member("node-2", "tcp://127.0.0.1:7002").member("node-3", "tcp://127.0.0.1:7003");
    let (together, one_by_one) = (together.build().unwrap(), one_by_one.build().unwrap());
    assert_eq!(together.config(), one_by_one.config());
    let ids: Vec<_> = together.config().members().iter().map(|each| each.id.as_str()).collect();
    assert_eq!(ids, ["node-1", "node-2", "node-3"]);
}

#[test]
fn missing_settings_have_the_defaults_of_config() {
    let defaults = Config::builder()
        .member("node-1", "tcp://127.0.0.1:7001")
        .capability("kind", "test")
        .build()
        .unwrap();
    assert_eq!(builder().build().unwrap().config(), &defaults);
}

#[test]
fn every_setting_reaches_the_config() {
    let backoff =
        Backoff { initial: ms(1), max: ms(2), election_initial: ms(3), election_max: ms(4) };
    let expected = Config::builder()
        .member("node-1", "tcp://127.0.0.1:7001")
        .member("node-2", "tcp://[::1]:7002")
        .capability("kind", "test")
        .capability("version", "2")
        .connection_timeout(ms(11))
        .keep_alive_interval(ms(12))
        .session_timeout(ms(1300))
        .request_timeout(ms(13))
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
        .reconnect_backoff(backoff)
        .on_session_expired(OnSessionExpired::NewSession)
        .build()
        .unwrap();
    let client = builder()
        .member("node-2", "tcp://[::1]:7002")
        .capability("version", "2")
        .connection_timeout(ms(11))
        .keep_alive_interval(ms(12))
        .session_timeout(ms(1300))
        .request_timeout(ms(13))
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
        .reconnect_backoff(backoff)
        .on_session_expired(OnSessionExpired::NewSession)
        .build()
        .unwrap();
    assert_eq!(client.config(), &expected);
    assert_eq!(RaftClient::new(expected.clone()).config(), &expected);
    let patient = builder().request_timeout(None).build().unwrap();
    assert_eq!(patient.config().request_timeout(), None);
}

#[test]
fn invalid_setting_is_a_validation_error_that_names_it() {
    let refused = |builder: ClientBuilder| match builder.build() {
        Err(Error::Validation(error)) => error,
        other => panic!("{other:?}"),
    };
    assert_eq!(refused(RaftClient::builder()), ValidationError::NoMembers);
    assert_eq!(refused(builder().max_in_flight(0)).field(), "max_in_flight");
    assert_eq!(refused(builder().resend_interval(Duration::ZERO)).field(), "resend_interval");
    let error = Error::from(refused(builder().member("node-2", "tcp://admin:hunter2@h:1")));
    assert_eq!((error.code(), error.maybe_executed()), ("VALIDATION", false));
    let shown = format!("{error} {error:?}");
    assert!(shown.contains("node-2") && !shown.contains("hunter2"), "{shown}");
}
