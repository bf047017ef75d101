//! Settings that the cluster replicates, because they change what an entry does.

use std::{ops::Deref, time::Duration};

use zraft_protocol::Payload;

/// Limits that every member must apply in the same way, so the log carries them.
///
/// A [`Settings`](crate::Operation::Settings) entry replaces all of them at once. Lowering a limit below what is in use
/// removes nothing: it refuses new work until the use has fallen. Limits that change no result, such as the number of
/// connections, are not here; each member configures them for itself.
///
/// A cluster that has applied no such entry uses the defaults. They may change from version to version, so the first
/// leader of a cluster proposes a Settings entry before anything else.
///
/// ```
/// use zraft_session::Settings;
///
/// let settings = Settings { sessions: 10, ..Settings::default() }.check()?;
/// assert_eq!(settings.sessions, 10);
/// assert!(Settings { sessions: 0, ..Settings::default() }.check().is_err());
/// # Ok::<(), zraft_session::SettingsError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Sessions that can exist at the same time. Default 65,536.
    pub sessions: u32,
    /// Answers cached for one session. The leader stops admitting commands beyond it. Default 1,000,000.
    pub cached_answers: u32,
    /// Payload bytes of the answers cached for one session. Default 256 MiB.
    pub cached_bytes: u64,
    /// Answers cached for all sessions together. Default 16,000,000.
    pub total_cached_answers: u64,
    /// Payload bytes of the answers cached for all sessions together. Default 2 GiB.
    pub total_cached_bytes: u64,
    /// Unacknowledged server requests of one session. Default 65,536.
    pub server_requests: u32,
    /// Payload bytes of the unacknowledged server requests of one session. Default 256 MiB.
    pub server_request_bytes: u64,
    /// Unacknowledged server requests of all sessions together. Default 16,000,000.
    pub total_server_requests: u64,
    /// Payload bytes of the unacknowledged server requests of all sessions together. Default 2 GiB.
    pub total_server_request_bytes: u64,
    /// Bytes of a payload. Default 16 MiB, which is also what this project's clients accept.
    ///
    /// | longer payload | what happens |
    /// | --- | --- |
    /// | command | it is rejected without reaching the application |
    /// | answer to a command | [`Answer::TooLong`](crate::Answer::TooLong): the client gets an error instead |
    /// | answer to a query | [`QueryError::TooLong`](crate::QueryError::TooLong) |
    /// | server request | [`PushError::TooLong`](crate::PushError::TooLong) |
    pub payload_bytes: u32,
    /// Time without a message after which the leader ends a session, in milliseconds. Default 90,000.
    pub session_timeout_millis: u64,
    /// The application level: see [`Application::level`](crate::Application::level). Never falls: an entry with a lower
    /// one leaves it as it is. Default 0.
    pub application_level: u32,
}

/// A range that a setting must lie in, both ends included.
struct Range(&'static str, u64, u64, u64);

const MIB: u64 = 1 << 20;
const TIB: u64 = 1 << 40;

impl Default for Settings {
    /// Returns limits that no usual client reaches. The limits on all sessions together, a few GiB, bound the memory of a
    /// member.
    fn default() -> Self {
        Self {
            sessions: 65_536,
            cached_answers: 1_000_000,
            cached_bytes: 256 * MIB,
            total_cached_answers: 16_000_000,
            total_cached_bytes: 2048 * MIB,
            server_requests: 65_536,
            server_request_bytes: 256 * MIB,
            total_server_requests: 16_000_000,
            total_server_request_bytes: 2048 * MIB,
            payload_bytes: 16 * MIB as u32,
            session_timeout_millis: 90_000,
            application_level: 0,
        }
    }
}

impl Settings {
    /// Checks that every setting lies in the range that the server supports.
    ///
    /// # Errors
    /// Names the first setting outside its range, its value and the range.
    pub fn check(self) -> Result<CheckedSettings, SettingsError> {
        for Range(setting, value, least, most) in self.ranges() {
            if value < least || value > most {
                return Err(SettingsError { setting, value, least, most });
            }
        }
        Ok(CheckedSettings(self))
    }

    /// Returns the session timeout as a duration.
    #[must_use]
    pub const fn session_timeout(&self) -> Duration {
        Duration::from_millis(self.session_timeout_millis)
    }

    /// Returns true if the payload is not longer than [`payload_bytes`](Self::payload_bytes).
    pub(crate) fn allow(&self, payload: &Payload) -> bool {
        payload.len() as u64 <= u64::from(self.payload_bytes)
    }

    /// Returns the setting that leaves no room in a session's cache for one more answer, if the cache may hold this many
    /// times its limits.
    pub(crate) fn full_cache(&self, answers: u64, bytes: u64, times: u64) -> Option<&'static str> {
        if answers >= u64::from(self.cached_answers) * times {
            Some("cached_answers")
        } else if bytes >= self.cached_bytes * times {
            Some("cached_bytes")
        } else {
            None
        }
    }

    fn ranges(&self) -> [Range; 11] {
        [
            Range("sessions", self.sessions.into(), 1, 10_000_000),
            // At least 1: the answer to the one command that is always admitted.
            Range("cached_answers", self.cached_answers.into(), 1, 1 << 30),
            Range("cached_bytes", self.cached_bytes, 1, TIB),
            Range("total_cached_answers", self.total_cached_answers, 1, 1 << 40),
            Range("total_cached_bytes", self.total_cached_bytes, 1, TIB),
            Range("server_requests", self.server_requests.into(), 1, 1 << 30),
            Range("server_request_bytes", self.server_request_bytes, 1, TIB),
            Range("total_server_requests", self.total_server_requests, 1, 1 << 40),
            Range("total_server_request_bytes", self.total_server_request_bytes, 1, TIB),
            // A log entry is replicated and stored as one piece of memory.
            Range("payload_bytes", self.payload_bytes.into(), 1, 1024 * MIB),
            // Below a second, an election alone would expire sessions; above a day, dead sessions pile up.
            Range("session_timeout_millis", self.session_timeout_millis, 1000, 86_400_000),
        ]
    }
}

/// Settings that passed [`Settings::check`]. Only these fit into an entry: a bad one would stop every member.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CheckedSettings(Settings);

impl CheckedSettings {
    /// Returns the settings, for example to change one and check them again.
    #[must_use]
    pub fn into_inner(self) -> Settings {
        self.0
    }

    /// Returns these settings at the level of `current` if that is higher: the application level never falls.
    pub(crate) fn succeeding(mut self, current: &Self) -> Self {
        self.0.application_level = self.0.application_level.max(current.application_level);
        self
    }
}

impl Deref for CheckedSettings {
    type Target = Settings;

    fn deref(&self) -> &Settings {
        &self.0
    }
}

/// A setting outside its range.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("setting {setting}: {value} is not from {least} to {most}")]
pub struct SettingsError {
    /// The name of the setting.
    pub setting: &'static str,
    /// The value that was refused.
    pub value: u64,
    /// The least that is allowed.
    pub least: u64,
    /// The most that is allowed.
    pub most: u64,
}
