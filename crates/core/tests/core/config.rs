//! Settings: defaults, limits, the texts of their errors, and the guide's table of them.

use std::collections::BTreeMap;
use std::time::Duration;

use zraft_core::{
    AckServerRequests, Backoff, Config, ConfigBuilder, EndpointError, OnSessionExpired, SETTINGS,
    Setting, SettingKind, ValidationError,
};

fn builder() -> ConfigBuilder {
    Config::builder().member("node-1", "tcp://127.0.0.1:7001").capability("kind", "test")
}

#[track_caller]
fn refused(builder: ConfigBuilder) -> ValidationError {
    builder.build().expect_err("must be refused")
}

/// `accepted` builds, and each of `others` is refused with an error that names `field`.
#[track_caller]
fn limits<T: Copy + std::fmt::Debug>(
    field: &str,
    set: impl Fn(ConfigBuilder, T) -> ConfigBuilder,
    accepted: &[T],
    others: &[T],
) {
    for &value in accepted {
        set(builder(), value).build().unwrap_or_else(|e| panic!("{field} {value:?}: {e}"));
    }
    for &value in others {
        let error = refused(set(builder(), value));
        assert_eq!(error.field(), field, "{value:?}");
        assert!(error.to_string().starts_with(field), "{error}");
    }
}

const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

const fn s(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

#[test]
fn defaults_are_the_documented_ones() {
    let config = builder().build().unwrap();
    assert_eq!(config.connection_timeout(), ms(5000));
    assert_eq!(config.keep_alive_interval(), ms(30_000));
    assert_eq!(config.session_timeout(), ms(90_000));
    assert_eq!(config.request_timeout(), Some(ms(10_000)));
    assert_eq!(config.resend_interval(), ms(3000));
    assert_eq!(config.detached_timeout(), ms(90_000));
    assert_eq!(config.max_in_flight(), 256);
    assert_eq!(config.max_queued(), 100_000);
    assert_eq!(config.max_queued_bytes(), 268_435_456);
    assert_eq!(config.max_message_size(), 16_777_216);
    assert_eq!(config.max_server_requests(), 1024);
    assert_eq!(config.ack_server_requests(), AckServerRequests::Delivered);
    assert_eq!(config.heartbeat_interval(), ms(1000));
    assert_eq!(config.heartbeat_timeout(), ms(10_000));
    assert_eq!(config.on_session_expired(), OnSessionExpired::Terminate);
    let backoff = Backoff {
        initial: ms(100),
        max: ms(5000),
        election_initial: ms(50),
        election_max: ms(250),
    };
    assert_eq!(config.reconnect_backoff(), backoff);
}

#[test]
fn every_setting_of_the_builder_reaches_the_configuration() {
    let backoff =
        Backoff { initial: ms(1), max: ms(2), election_initial: ms(3), election_max: ms(4) };
    let config = builder()
        .member("node-2", "tcp://[::1]:7002")
        .capability("version", "2")
        .connection_timeout(ms(11))
        .keep_alive_interval(ms(12))
        .session_timeout(ms(1300))
        .request_timeout(None)
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
    let ids: Vec<_> = config.members().iter().map(|m| m.id.as_str()).collect();
    assert_eq!(ids, ["node-1", "node-2"]);
    assert_eq!(config.members()[1].endpoint.to_string(), "tcp://[::1]:7002");
    let capabilities: Vec<_> = config.capabilities().iter().collect();
    assert_eq!(capabilities, [("kind", "test"), ("version", "2")]);
    assert_eq!(config.connection_timeout(), ms(11));
    assert_eq!(config.keep_alive_interval(), ms(12));
    assert_eq!(config.session_timeout(), ms(1300));
    assert_eq!(config.request_timeout(), None);
    assert_eq!(config.resend_interval(), ms(14));
    assert_eq!(config.detached_timeout(), ms(15));
    assert_eq!(config.max_in_flight(), 16);
    assert_eq!(config.max_queued(), 17);
    assert_eq!(config.max_queued_bytes(), 18);
    assert_eq!(config.max_message_size(), 19);
    assert_eq!(config.max_server_requests(), 20);
    assert_eq!(config.ack_server_requests(), AckServerRequests::Handled);
    assert_eq!(config.heartbeat_interval(), ms(21));
    assert_eq!(config.heartbeat_timeout(), ms(22));
    assert_eq!(config.reconnect_backoff(), backoff);
    assert_eq!(config.on_session_expired(), OnSessionExpired::NewSession);
}

#[test]
fn at_least_one_member_and_one_capability_are_required() {
    let error = refused(Config::builder().capability("k", "v"));
    assert_eq!(error, ValidationError::NoMembers);
    let error = refused(Config::builder().member("node-1", "tcp://h:1"));
    assert_eq!(error, ValidationError::NoCapabilities);
}

#[test]
fn a_bad_endpoint_names_the_member_and_never_shows_credentials() {
    let error = refused(builder().member("node-2", "tcp://admin:hunter2@h:1"));
    let reason = EndpointError::UserInfo;
    assert_eq!(error, ValidationError::Endpoint { member: "node-2".into(), reason });
    assert_eq!(error.field(), "members");
    let shown = format!("{error} {error:?}");
    assert!(shown.contains("node-2") && !shown.contains("hunter2"), "{shown}");
}

#[test]
fn member_ids_are_present_and_distinct() {
    let error = refused(builder().member("", "tcp://h:1"));
    assert_eq!(error, ValidationError::MemberId { position: 2 });
    let error = refused(builder().member("x".repeat(65_536), "tcp://h:1"));
    assert_eq!(error, ValidationError::MemberId { position: 2 });
    let error = refused(builder().member("node-1", "tcp://h:1"));
    assert_eq!(error, ValidationError::DuplicateMember { member: "node-1".into() });
}

#[test]
fn at_most_1024_members_are_accepted() {
    let many = |n: usize| {
        (1..n).fold(builder(), |b, i| b.member(format!("extra-{i}"), "tcp://h:1")).build()
    };
    assert!(many(1024).is_ok());
    assert_eq!(many(1025), Err(ValidationError::TooManyMembers { limit: 1024 }));
}

#[test]
fn capability_names_are_letters_digits_underscore_and_hyphen() {
    assert!(builder().capability("Az_09-", "v").build().is_ok());
    for name in ["", "with space", "dotted.name", "ümlaut", "a:b", "a\0"] {
        let error = refused(builder().capability(name, "v"));
        assert_eq!(error, ValidationError::CapabilityName { position: 2 }, "{name:?}");
    }
}

#[test]
fn capability_values_are_present_and_fit_the_protocol() {
    for value in [String::new(), "x".repeat(65_536)] {
        let error = refused(builder().capability("token", value));
        assert_eq!(error, ValidationError::CapabilityValue { name: "token".into() });
    }
    let full = "x".repeat(65_535);
    assert!(builder().capability("token", full.as_str()).build().is_ok());
    let many = (0..17).fold(builder(), |b, i| b.capability(format!("t{i}"), full.as_str()));
    assert!(matches!(refused(many), ValidationError::CapabilitiesTooLarge { .. }));
}

#[test]
fn of_a_repeated_capability_the_last_value_counts() {
    let config = builder().capability("kind", "other").build().unwrap();
    assert_eq!(config.capabilities().get("kind"), Some("other"));
    assert_eq!(config.capabilities().iter().count(), 1);
}

#[test]
fn times_have_limits() {
    let hour = s(3600);
    let month = s(30 * 24 * 3600);
    let over = |limit: Duration| limit + Duration::from_nanos(1);
    let zero = Duration::ZERO;
    let tiny = Duration::from_micros(999);
    limits(
        "connection_timeout",
        ConfigBuilder::connection_timeout,
        &[ms(1), hour],
        &[zero, tiny, over(hour), Duration::MAX],
    );
    limits(
        "session_timeout",
        |b, t| b.keep_alive_interval(ms(1)).session_timeout(t),
        &[ms(3), month],
        &[zero, over(month), Duration::MAX],
    );
    limits(
        "keep_alive_interval",
        |b, t| b.session_timeout(month).keep_alive_interval(t),
        &[ms(1), month / 3],
        &[zero, over(month / 3), Duration::MAX],
    );
    limits(
        "request_timeout",
        ConfigBuilder::request_timeout,
        &[ms(1), month],
        &[zero, over(month), Duration::MAX],
    );
    limits("resend_interval", ConfigBuilder::resend_interval, &[ms(1), hour], &[zero, over(hour)]);
    limits(
        "detached_timeout",
        ConfigBuilder::detached_timeout,
        &[ms(1), month],
        &[zero, over(month)],
    );
    limits(
        "heartbeat_interval",
        |b, t| b.heartbeat_timeout(hour).heartbeat_interval(t),
        &[ms(1), hour],
        &[zero, over(hour)],
    );
    limits(
        "heartbeat_timeout",
        |b, t| b.heartbeat_interval(ms(5)).heartbeat_timeout(t),
        &[ms(5), hour],
        &[zero, ms(4), over(hour)],
    );
}

#[test]
fn numbers_have_limits() {
    limits(
        "max_in_flight",
        ConfigBuilder::max_in_flight,
        &[1, 1_000_000, 1_048_576],
        &[0, 1_048_577, usize::MAX],
    );
    limits("max_queued", ConfigBuilder::max_queued, &[1, 16_777_216], &[0, 16_777_217, usize::MAX]);
    limits(
        "max_queued_bytes",
        ConfigBuilder::max_queued_bytes,
        &[1, usize::MAX / 2],
        &[0, usize::MAX],
    );
    limits("max_message_size", ConfigBuilder::max_message_size, &[1, 1 << 30], &[0, (1 << 30) + 1]);
    limits(
        "max_server_requests",
        ConfigBuilder::max_server_requests,
        &[1, 1_048_576],
        &[0, 1_048_577],
    );
}

#[test]
fn keep_alive_interval_is_at_most_a_third_of_session_timeout() {
    assert!(builder().session_timeout(s(90)).keep_alive_interval(s(30)).build().is_ok());
    let error = refused(builder().session_timeout(s(89)).keep_alive_interval(s(30)));
    assert_eq!(error, ValidationError::KeepAliveInterval { limit: s(89) / 3 });
}

#[test]
fn a_pause_must_not_start_above_its_longest() {
    let good = Backoff::default();
    let cases = [
        ("reconnect_backoff.initial", Backoff { initial: s(6), ..good }),
        ("reconnect_backoff.election_initial", Backoff { election_initial: ms(251), ..good }),
        ("reconnect_backoff.initial", Backoff { initial: Duration::ZERO, ..good }),
        ("reconnect_backoff.max", Backoff { max: s(3601), ..good }),
        ("reconnect_backoff.election_initial", Backoff { election_initial: ms(0), ..good }),
        ("reconnect_backoff.election_max", Backoff { election_max: s(3601), ..good }),
    ];
    for (field, backoff) in cases {
        assert_eq!(refused(builder().reconnect_backoff(backoff)).field(), field, "{backoff:?}");
    }
}

#[test]
fn debug_shows_no_capability_value_and_no_unchecked_endpoint() {
    let builder = builder().capability("token", "hunter2");
    let shown = format!("{:?} {:?}", builder, builder.clone().build().unwrap());
    assert!(shown.contains("token") && !shown.contains("hunter2"), "{shown}");
    let shown = format!("{:?}", builder.member("node-2", "tcp://admin:hunter2@h:1"));
    assert!(shown.contains("node-2") && !shown.contains("hunter2"), "{shown}");
}

#[test]
fn a_pause_may_start_at_its_longest() {
    let pause = ms(100);
    let backoff =
        Backoff { initial: pause, max: pause, election_initial: pause, election_max: pause };
    assert!(builder().reconnect_backoff(backoff).build().is_ok());
}

#[test]
fn a_refused_capability_is_named_by_its_position_from_1() {
    for position in 1..=4 {
        let mut builder = Config::builder().member("node-1", "tcp://127.0.0.1:7001");
        for number in 1..=4 {
            builder = builder.capability(if number == position { "" } else { "kind" }, "test");
        }
        assert_eq!(refused(builder), ValidationError::CapabilityName { position });
    }
}

#[test]
fn capabilities_may_be_1_mib_in_all_and_no_more() {
    let with = |bytes: usize| {
        let mut builder = Config::builder().member("node-1", "tcp://127.0.0.1:7001");
        let mut left = bytes;
        for number in 0.. {
            let name = format!("c{number:02}");
            let value = left.min(65_535 - 3) - name.len();
            builder = builder.capability(&name, "v".repeat(value));
            left -= name.len() + value;
            if left == 0 {
                break;
            }
        }
        builder.build()
    };
    assert!(with(1 << 20).is_ok());
    assert!(with((1 << 20) + 1).is_err());
}

#[test]
fn capabilities_may_be_65_535_and_no_more() {
    let with = |count: usize| {
        let builder = Config::builder().member("node-1", "tcp://127.0.0.1:7001");
        (0..count).fold(builder, |builder, number| builder.capability(format!("{number}"), "v"))
    };
    assert!(with(65_535).build().is_ok());
    let error = with(65_536).build().unwrap_err();
    assert!(matches!(error, ValidationError::CapabilitiesTooLarge { entries: 65_535, .. }));
}

/// The cells of a table's rows, by the first cell. The table's head begins with `title`.
fn rows(page: &str, title: &str) -> BTreeMap<String, Vec<String>> {
    let head = format!("| {title} |");
    page.lines()
        .skip_while(|line| !line.starts_with(&head))
        .skip(2)
        .take_while(|line| line.starts_with('|'))
        .map(|line| {
            let cells = line.trim_matches('|').split('|');
            let mut cells = cells.map(|cell| cell.trim().replace('`', ""));
            (cells.next().unwrap_or_default(), cells.collect())
        })
        .collect()
}

/// The default of a setting as the guide shows it, in milliseconds, requests or bytes.
fn shown_default(setting: &Setting) -> String {
    match setting.kind {
        SettingKind::Entries { .. } => "required".to_owned(),
        SettingKind::Time { default, .. } => default.as_millis().to_string(),
        SettingKind::Number { default, .. } => default.to_string(),
        SettingKind::Choice { .. } => format!("'{}'", setting.default),
        _ => {
            let name = format!("{}.", setting.name);
            let parts = SETTINGS.iter().filter(|part| part.name.starts_with(&name));
            parts.map(shown_default).collect::<Vec<_>>().join(", ")
        }
    }
}

#[test]
fn the_guide_lists_every_setting_with_its_default_and_range() {
    let page = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/guide/tuning.md");
    let page = std::fs::read_to_string(page).unwrap();
    let shown = |table: BTreeMap<String, Vec<String>>| -> BTreeMap<_, _> {
        table.into_iter().map(|(name, cells)| (name, cells[..2].to_vec())).collect()
    };
    let expected = |parts: bool| -> BTreeMap<_, _> {
        let settings = SETTINGS.iter().filter(|setting| setting.name.contains('.') == parts);
        settings
            .map(|setting| {
                let name = setting.camel_case_name();
                let name = name.rsplit('.').next().unwrap().to_owned();
                (name, vec![shown_default(setting), setting.range.to_owned()])
            })
            .collect()
    };
    assert_eq!(shown(rows(&page, "setting")), expected(false));
    assert_eq!(shown(rows(&page, "part")), expected(true));
}

#[test]
fn the_ranges_of_entries_name_the_most_that_are_accepted() {
    for setting in SETTINGS {
        if let SettingKind::Entries { max, .. } = setting.kind {
            assert!(setting.range.starts_with(&format!("1 to {max}")), "{setting:?}");
        }
    }
}

#[test]
fn a_setting_has_one_name_in_rust_and_one_in_camel_case() {
    let names = |name: &str| {
        let setting = SETTINGS.iter().find(|setting| setting.name == name).unwrap();
        setting.camel_case_name()
    };
    assert_eq!(names("members"), "clusterMembers");
    assert_eq!(names("max_queued_bytes"), "maxQueuedBytes");
    assert_eq!(names("reconnect_backoff.election_max"), "reconnectBackoff.electionMax");
}

#[test]
fn choices_have_names_that_lead_back_to_them() {
    for choice in [AckServerRequests::Delivered, AckServerRequests::Handled] {
        assert_eq!(AckServerRequests::from_name(choice.name()), Some(choice));
    }
    for choice in [OnSessionExpired::Terminate, OnSessionExpired::NewSession] {
        assert_eq!(OnSessionExpired::from_name(choice.name()), Some(choice));
    }
    assert_eq!(AckServerRequests::from_name("never"), None);
    assert_eq!(OnSessionExpired::NAMES, ["terminate", "newSession"]);
}
