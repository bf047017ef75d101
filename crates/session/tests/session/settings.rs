//! Replicated settings.

use zraft_session::{ApplyError, Effect, Entry, Settings, Time};

use crate::{
    probe::{LEVEL, Probe},
    support::{Run, executed, settings},
};

#[test]
fn defaults_pass_the_check() {
    assert_eq!(Settings::default().check().unwrap().into_inner(), Settings::default());
}

#[test]
fn settings_outside_their_range_are_refused() {
    let default = Settings::default;
    let refused: [(&str, Settings); 12] = [
        ("sessions", Settings { sessions: 0, ..default() }),
        ("sessions", Settings { sessions: 10_000_001, ..default() }),
        ("cached_answers", Settings { cached_answers: 0, ..default() }),
        ("cached_bytes", Settings { cached_bytes: 0, ..default() }),
        ("total_cached_answers", Settings { total_cached_answers: 0, ..default() }),
        ("total_cached_bytes", Settings { total_cached_bytes: u64::MAX, ..default() }),
        ("server_requests", Settings { server_requests: 0, ..default() }),
        ("server_request_bytes", Settings { server_request_bytes: 0, ..default() }),
        ("total_server_requests", Settings { total_server_requests: u64::MAX, ..default() }),
        ("total_server_request_bytes", Settings { total_server_request_bytes: 0, ..default() }),
        ("payload_bytes", Settings { payload_bytes: u32::MAX, ..default() }),
        ("session_timeout_millis", Settings { session_timeout_millis: 999, ..default() }),
    ];
    for (setting, settings) in refused {
        assert_eq!(settings.check().unwrap_err().setting, setting);
    }
}

#[test]
fn settings_entry_replaces_all_settings() {
    let mut run = Run::new(Probe::default());
    let new = Settings { sessions: 5, cached_answers: 6, ..Settings::default() };
    run.apply(settings(new.clone()));
    assert_eq!(**run.machine.settings(), new);
    run.apply(settings(Settings::default()));
    assert_eq!(**run.machine.settings(), Settings::default());
}

#[test]
fn application_level_rises_and_never_falls() {
    let mut run = Run::with_sessions(Probe::default(), &["a"]);
    assert_eq!(run.command("a", 1, "level"), [executed("a", 1, "0")]);
    run.apply(settings(Settings { application_level: 2, ..Settings::default() }));
    run.apply(settings(Settings { application_level: 1, sessions: 9, ..Settings::default() }));
    assert_eq!(run.command("a", 2, "level"), [executed("a", 2, "2")]);
    assert_eq!(run.machine.settings().sessions, 9);
}

#[test]
fn application_level_that_is_not_supported_stops_the_member_and_changes_nothing() {
    let mut run = Run::with_sessions(Probe::default(), &["a"]);
    let before = run.snapshot();
    let level = LEVEL + 1;
    let operation = settings(Settings { application_level: level, ..Settings::default() });
    let mut effects: Vec<Effect> = Vec::new();
    let entry = Entry { time: Time::MAX, operation };
    let error = run.machine.apply(2, &entry, &mut effects).unwrap_err();
    assert_eq!(error, ApplyError::ApplicationLevel { wanted: level, supported: LEVEL });
    assert_eq!((effects, run.snapshot()), (vec![], before));
}

#[test]
fn session_timeout_is_given_as_a_duration() {
    let settings = Settings { session_timeout_millis: 1500, ..Settings::default() };
    assert_eq!(settings.session_timeout(), std::time::Duration::from_millis(1500));
}
