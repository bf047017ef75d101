//! The table of settings: a setting's name, doc, default and limits are written here and nowhere else.
//!
//! The fields and accessors of [`Config`], the methods of the builders, the checks of values and the Node client's
//! settings are made from these rows. Tests compare the TypeScript types and `docs/guide/tuning.md` with [`SETTINGS`].

use std::time::Duration;

use super::{AckServerRequests, Config, ConfigBuilder, OnSessionExpired};

/// The most members. A Raft cluster has fewer than ten; this many in a list is a mistake.
pub(super) const MAX_MEMBERS: usize = 1024;

/// The most capabilities, as many as the protocol can count.
pub(super) const MAX_CAPABILITIES: usize = 65_535;

/// Passes the rows of the table to the macro `$callback`.
///
/// A row is `name(type of the builder's argument) -> type of the value = kind(default, least ..= most)`.
#[doc(hidden)]
#[macro_export]
macro_rules! with_settings {
    ($callback:ident) => {
        $callback! {
            // Covers DNS and six round trips of 300 ms, and leaves 3 s to a member that is busy.
            /// How long one attempt may take: resolve, connect, ZMTP handshake, session message, answer.
            connection_timeout(Duration) -> Duration = time(5 s, 1 ms ..= 1 h);

            // A third of the session timeout, so that the session survives the loss of two KeepAlives.
            /// The time between two KeepAlives; at most a third of `session_timeout`.
            keep_alive_interval(Duration) -> Duration = time(30 s, 1 ms ..= 30 days);

            // The live server's own default.
            /// How long the server keeps a session from which it hears nothing. It must equal the server's own
            /// setting, which the protocol does not carry.
            session_timeout(Duration) -> Duration = time(90 s, 1 ms ..= 30 days);

            // Longer than an election of a live cluster takes, shorter than most callers wait.
            /// The time from submitting a request to its answer.
            request_timeout(impl Into<Option<Duration>>) -> Option<Duration> =
                optional_time(10 s, 1 ms ..= 30 days);

            // Each copy costs the live cluster a log entry, so a copy goes late rather than early.
            /// The least wait before a request is resent.
            resend_interval(Duration) -> Duration = time(3 s, 1 ms ..= 1 h);

            // As long as the server keeps the session, and with it the answer.
            /// How long a timed-out or cancelled command is tracked for its late answer.
            detached_timeout(Duration) -> Duration = time(90 s, 1 ms ..= 30 days);

            // 1.7 s of work for a live cluster of 150 commands a second.
            /// How many commands, and separately how many queries, may be on the wire unanswered.
            ///
            /// This number divided by the server's rate must stay well below the request timeout: a request in
            /// the queue can still end as not executed, one on the wire only as outcome unknown.
            max_in_flight(usize) -> usize = number(256, 1 ..= 1_048_576);

            // A queue that 10 s of `request_timeout` can empty at 10,000 requests a second.
            /// How many requests may wait to be sent.
            max_queued(usize) -> usize = number(100_000, 1 ..= 16_777_216);

            // 16 payloads of the default `max_message_size`. Half the address space at most, so that sums of
            // lengths cannot overflow.
            /// How many payload bytes may be held in all: queued, in flight and detached.
            max_queued_bytes(usize) -> usize = number(256 MiB, 1 ..= 1 half_address_space);

            // Far above the payloads of applications, far below what fills a server's memory.
            /// The longest payload in bytes, both ways. A frame may be 64 KiB longer.
            max_message_size(usize) -> usize = number(16 MiB, 1 ..= 1 GiB);

            // A burst of notifications, while the application is busy for a moment.
            /// How many server requests may wait for the application.
            max_server_requests(usize) -> usize = number(1024, 1 ..= 1_048_576);

            /// When a server request may be acknowledged: once it is delivered, or once it is handled.
            ack_server_requests(AckServerRequests) -> AckServerRequests =
                choice(AckServerRequests::Delivered);

            // Ten PINGs fit into `heartbeat_timeout`, so one lost packet ends no connection.
            /// The time between two ZMTP PINGs. With requests in flight, a member that is silent for this long, or for
            /// 300 ms if that is longer, counts as frozen: others are asked beside it.
            heartbeat_interval(Duration) -> Duration = time(1 s, 1 ms ..= 1 h);

            // Longer than the pauses of a garbage collector, shorter than `session_timeout` by far.
            /// How long a connection may be silent before it counts as lost; not shorter than
            /// `heartbeat_interval`.
            heartbeat_timeout(Duration) -> Duration = time(10 s, 1 ms ..= 1 h);

            /// The pauses between rounds of connection attempts. Half of each is random.
            reconnect_backoff(Backoff) -> Backoff = parts(Backoff);

            /// What follows when the session expires: the client is disconnected, or a new session is opened.
            on_session_expired(OnSessionExpired) -> OnSessionExpired = choice(OnSessionExpired::Terminate);
        }
    };
}

/// Passes the parts of [`Backoff`] to the macro `$callback`, in rows of the same form.
macro_rules! with_pauses {
    ($callback:ident) => {
        $callback! {
            // Less than a person notices, and 50 times a round trip within one region.
            /// The pause after the first round in which no member answered; it doubles.
            initial = time(100 ms, 1 ms ..= 1 h);

            // An outage then costs each member an attempt every 5 s, and its end is noticed within 5 s.
            /// The longest such pause.
            max = time(5 s, 1 ms ..= 1 h);

            // A live cluster elects a leader within a few hundred milliseconds.
            /// The pause after the first round in which members answered but none led; it grows by 1.6.
            election_initial = time(50 ms, 1 ms ..= 1 h);

            // The new leader then has the commands within 300 ms of its election.
            /// The longest such pause during the first 10 s of an election; later it may grow to `max`.
            election_max = time(250 ms, 1 ms ..= 1 h);
        }
    };
}
pub(super) use with_pauses;

/// The value of a number with its unit.
macro_rules! value {
    ($number:literal) => {
        $number
    };
    ($number:literal ms) => {
        Duration::from_millis($number)
    };
    ($number:literal s) => {
        Duration::from_secs($number)
    };
    ($number:literal h) => {
        Duration::from_secs($number * 3600)
    };
    ($number:literal days) => {
        Duration::from_secs($number * 24 * 3600)
    };
    ($number:literal MiB) => {
        $number << 20
    };
    ($number:literal GiB) => {
        $number << 30
    };
    ($number:literal half_address_space) => {
        $number * (usize::MAX / 2)
    };
}
pub(super) use value;

/// A number with its unit as a text.
#[doc(hidden)]
#[macro_export]
macro_rules! setting_text {
    ($number:literal) => {
        concat!($number)
    };
    ($number:literal half_address_space) => {
        "half the address space"
    };
    ($number:literal $unit:ident) => {
        concat!($number, " ", stringify!($unit))
    };
}

/// The sentence about a setting's default and limits.
#[doc(hidden)]
#[macro_export]
macro_rules! setting_limits {
    (choice($choices:ident::$default:ident)) => { concat!("Default `", stringify!($default), "`.") };
    (parts($parts:ident)) => { concat!("[`", stringify!($parts), "`] has the defaults.") };
    (optional_time($($facts:tt)+)) => {
        concat!($crate::setting_limits!(time($($facts)+)), " `None` waits for ever.")
    };
    ($kind:ident(
        $default:literal $($unit:ident)?,
        $min:literal $($min_unit:ident)? ..= $max:literal $($max_unit:ident)?
    )) => {
        concat!(
            "Default ", $crate::setting_text!($default $($unit)?),
            ", from ", $crate::setting_text!($min $($min_unit)?),
            " to ", $crate::setting_text!($max $($max_unit)?), "."
        )
    };
}

/// The default of a row.
macro_rules! default_value {
    (time($default:literal $unit:ident, $($limits:tt)+)) => { value!($default $unit) };
    (optional_time($default:literal $unit:ident, $($limits:tt)+)) => { Some(value!($default $unit)) };
    (number($default:literal $($unit:ident)?, $($limits:tt)+)) => { value!($default $($unit)?) };
    (choice($choices:ident::$default:ident)) => { $choices::$default };
    (parts($parts:ident)) => { $parts::default() };
}
pub(super) use default_value;

/// One setting: what a binding to another language, a document or a check needs to know of it.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Setting {
    /// The name of the builder's method; a part of the backoff is `reconnect_backoff.` and its field.
    pub name: &'static str,
    /// The doc, in whole sentences. Names of other settings are in backticks. See [`Setting::summary`].
    pub doc: &'static str,
    /// The default for people, such as `5 s`; empty if the setting is required or has parts.
    pub default: &'static str,
    /// The limits for people, such as `1 ms to 1 h`; empty if it has none.
    pub range: &'static str,
    /// What values it takes.
    pub kind: SettingKind,
}

/// What values a [`Setting`] takes, and how to set and get them.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum SettingKind {
    /// Names with texts. Required, at least once.
    Entries {
        /// The most entries.
        max: usize,
        /// Adds an entry.
        add: fn(ConfigBuilder, &str, &str) -> ConfigBuilder,
    },
    /// A time.
    Time {
        /// The default.
        default: Duration,
        /// The least accepted.
        min: Duration,
        /// The most accepted.
        max: Duration,
        /// Sets it.
        set: fn(ConfigBuilder, Duration) -> ConfigBuilder,
        /// Returns it; `None` is without limit.
        get: fn(&Config) -> Option<Duration>,
        /// Sets it to be without limit, if that is accepted.
        set_unlimited: Option<fn(ConfigBuilder) -> ConfigBuilder>,
    },
    /// A number of requests or bytes.
    Number {
        /// The default.
        default: usize,
        /// The least accepted.
        min: usize,
        /// The most accepted.
        max: usize,
        /// Sets it.
        set: fn(ConfigBuilder, usize) -> ConfigBuilder,
        /// Returns it.
        get: fn(&Config) -> usize,
    },
    /// One of several names.
    Choice {
        /// The names, in camelCase.
        names: &'static [&'static str],
        /// Sets it by its name; `None` if there is no such name.
        set: fn(ConfigBuilder, &str) -> Option<ConfigBuilder>,
        /// Returns its name.
        get: fn(&Config) -> &'static str,
    },
    /// Parts, each of which is a [`Setting`] with this one's name, a dot and its own name.
    Parts,
}

impl Setting {
    /// The name in camelCase, as in the documents and in the clients of other languages.
    pub fn camel_case_name(&self) -> String {
        // In Rust each call of `member` adds one; elsewhere they are given as a map, under ZIO Raft's own name for it.
        if self.name == "members" {
            return "clusterMembers".to_owned();
        }
        camel_case(self.name)
    }

    /// Returns the first paragraph of the doc, in one line.
    pub fn summary(&self) -> String {
        let lines = self.doc.lines().map(str::trim).take_while(|line| !line.is_empty());
        lines.collect::<Vec<_>>().join(" ")
    }
}

/// Turns `snake_case` into `camelCase`.
fn camel_case(name: &str) -> String {
    let mut text = String::with_capacity(name.len());
    let mut letters = name.chars();
    while let Some(letter) = letters.next() {
        if letter == '_' {
            text.extend(letters.next().map(|letter| letter.to_ascii_uppercase()));
        } else {
            text.push(letter);
        }
    }
    text
}

/// A row as a [`Setting`].
macro_rules! setting {
    ($name:expr, $doc:expr, $get:expr, $set:expr,
        time($default:literal $unit:ident, $min:literal $min_unit:ident ..= $max:literal $max_unit:ident)) => {
        setting!(@time $name, $doc, |config| Some($get(config)), $set, None,
            $default $unit, $min $min_unit, $max $max_unit)
    };
    ($name:expr, $doc:expr, $get:expr, $set:expr,
        optional_time($default:literal $unit:ident, $min:literal $min_unit:ident ..= $max:literal $max_unit:ident)) => {
        setting!(@time $name, $doc, $get, |builder, time| $set(builder, time), Some(|builder| $set(builder, None)),
            $default $unit, $min $min_unit, $max $max_unit)
    };
    (@time $name:expr, $doc:expr, $get:expr, $set:expr, $set_unlimited:expr,
        $default:literal $unit:ident, $min:literal $min_unit:ident, $max:literal $max_unit:ident) => {
        Setting {
            name: $name,
            doc: $doc,
            default: setting_text!($default $unit),
            range: concat!(setting_text!($min $min_unit), " to ", setting_text!($max $max_unit)),
            kind: SettingKind::Time {
                default: value!($default $unit),
                min: value!($min $min_unit),
                max: value!($max $max_unit),
                set: $set,
                get: $get,
                set_unlimited: $set_unlimited,
            },
        }
    };
    ($name:expr, $doc:expr, $get:expr, $set:expr, number(
        $default:literal $($unit:ident)?,
        $min:literal $($min_unit:ident)? ..= $max:literal $($max_unit:ident)?
    )) => {
        Setting {
            name: $name,
            doc: $doc,
            default: setting_text!($default $($unit)?),
            range: concat!(setting_text!($min $($min_unit)?), " to ", setting_text!($max $($max_unit)?)),
            kind: SettingKind::Number {
                default: value!($default $($unit)?),
                min: value!($min $($min_unit)?),
                max: value!($max $($max_unit)?),
                set: $set,
                get: $get,
            },
        }
    };
    ($name:expr, $doc:expr, $get:expr, $set:expr, choice($choices:ident::$default:ident)) => {
        Setting {
            name: $name,
            doc: $doc,
            default: $choices::$default.name(),
            range: "",
            kind: SettingKind::Choice {
                names: $choices::NAMES,
                set: |builder, name| $choices::from_name(name).map(|choice| $set(builder, choice)),
                get: |config| $get(config).name(),
            },
        }
    };
    ($name:expr, $doc:expr, $get:expr, $set:expr, parts($parts:ident)) => {
        Setting { name: $name, doc: $doc, default: "", range: "", kind: SettingKind::Parts }
    };
}

macro_rules! define_settings {
    ($($(#[doc = $doc:literal])+ $name:ident($argument:ty) -> $type:ty = $kind:ident $facts:tt;)+) => {
        const SINGLE: &[Setting] = &[
            Setting {
                name: "members",
                doc: "The members of the cluster and their client ports, in the order in which they are asked: \
                      `tcp://host:port`, `tcp://[v6]:port`, the same with `tls://`, or `ipc://path`.",
                default: "",
                range: "1 to 1024",
                kind: SettingKind::Entries {
                    max: MAX_MEMBERS,
                    add: |builder, id, endpoint| builder.member(id, endpoint),
                },
            },
            Setting {
                name: "capabilities",
                doc: "What the client tells the server about itself when it opens a session. Names have letters, \
                      digits, `_` and `-`; values are treated as secrets.",
                default: "",
                range: "1 to 65535, 1 MiB in all",
                kind: SettingKind::Entries {
                    max: MAX_CAPABILITIES,
                    add: |builder, name, value| builder.capability(name, value),
                },
            },
            $(setting!(
                stringify!($name), concat!($($doc, "\n"),+), Config::$name, ConfigBuilder::$name, $kind $facts
            ),)+
        ];
    };
}
with_settings!(define_settings);

macro_rules! define_pauses {
    ($($(#[doc = $doc:literal])+ $name:ident = $kind:ident $facts:tt;)+) => {
        const PAUSES: &[Setting] = &[
            $(setting!(
                concat!("reconnect_backoff.", stringify!($name)),
                concat!($($doc, "\n"),+),
                |config: &Config| config.reconnect_backoff().$name,
                |mut builder, time| {
                    builder.backoff_mut().$name = time;
                    builder
                },
                $kind $facts
            ),)+
        ];
    };
}
with_pauses!(define_pauses);

/// Every setting, in the order in which they are checked: members and capabilities, the rows of the table, the parts of
/// the backoff.
pub const SETTINGS: &[Setting] = {
    const LENGTH: usize = SINGLE.len() + PAUSES.len();
    const ALL: [Setting; LENGTH] = {
        let mut all = [SINGLE[0]; LENGTH];
        let mut index = 1;
        while index < LENGTH {
            all[index] =
                if index < SINGLE.len() { SINGLE[index] } else { PAUSES[index - SINGLE.len()] };
            index += 1;
        }
        all
    };
    &ALL
};
