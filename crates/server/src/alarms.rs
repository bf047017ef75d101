//! What an operator must look at.

use std::time::Duration;

use zraft_replica::{Configuration, Space};

use crate::{CertificateValidity, Report};

/// A state of a member that an operator must look at. `docs/server/operations.md` says what to do about each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Alarm {
    /// The member knows no leader.
    NoLeader,
    /// The application has panicked twice at one entry: the member votes and stores, and neither applies nor leads.
    ApplicationStopped,
    /// The member's disk is nearly full.
    DiskLow,
    /// Client commands wait, because too few disks have space.
    CommandsWait,
    /// A member was not heard for an election timeout. Only the leader knows it.
    MemberSilent,
    /// The failure of one more voter would stop a cluster that tolerates a failure. Only the leader knows it.
    NoMargin,
    /// The wall clock is so far ahead that replicated time does not follow it.
    ClockAhead,
    /// Files with certificates, keys or tokens cannot be used as they are now. The member goes on with those that it had, and
    /// a restart would fail.
    SecretsUnusable,
    /// A certificate of the member expires soon, or has expired: see
    /// [`CertificateValidity::replace_from`](crate::CertificateValidity::replace_from).
    CertificateExpires,
}

impl Alarm {
    /// All alarms.
    pub const ALL: [Self; 9] = [
        Self::NoLeader,
        Self::ApplicationStopped,
        Self::DiskLow,
        Self::CommandsWait,
        Self::MemberSilent,
        Self::NoMargin,
        Self::ClockAhead,
        Self::SecretsUnusable,
        Self::CertificateExpires,
    ];

    /// Returns its name in metrics and status.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::NoLeader => "no_leader",
            Self::ApplicationStopped => "application_stopped",
            Self::DiskLow => "disk_low",
            Self::CommandsWait => "commands_wait",
            Self::MemberSilent => "member_silent",
            Self::NoMargin => "no_margin",
            Self::ClockAhead => "clock_ahead",
            Self::SecretsUnusable => "secrets_unusable",
            Self::CertificateExpires => "certificate_expires",
        }
    }

    /// Returns what is the matter, in a clause that begins with a verb and has the member as its subject.
    #[must_use]
    pub fn text(self) -> &'static str {
        match self {
            Self::NoLeader => "knows no leader",
            Self::ApplicationStopped => "does not apply entries, because its application panicked",
            Self::DiskLow => "has a disk that is nearly full",
            Self::CommandsWait => "lets client commands wait, because too few disks have space",
            Self::MemberSilent => "does not hear another member",
            Self::NoMargin => "would lose its majority with the next voter that fails",
            Self::ClockAhead => "has a clock that is ahead of the replicated time",
            Self::SecretsUnusable => {
                "cannot use its certificates or tokens as they are on its disk, and goes on with the ones it had"
            }
            Self::CertificateExpires => "has a certificate that expires soon or has expired",
        }
    }

    /// Returns the text with what the report says of it.
    #[must_use]
    pub fn message(self, report: &Report) -> String {
        let text = self.text();
        match self {
            Self::SecretsUnusable => format!("{text}: {}", report.secret_problems.join("; ")),
            Self::CertificateExpires => {
                let ports = due(report).map(|validity| {
                    let (port, left) =
                        (validity.port.name(), validity.not_after.duration_since(report.at));
                    match left {
                        Ok(left) => {
                            format!("the certificate of the {port} port expires in {}", about(left))
                        }
                        Err(past) => {
                            format!(
                                "the certificate of the {port} port expired {} ago",
                                about(past.duration())
                            )
                        }
                    }
                });
                format!("{text}: {}", ports.collect::<Vec<_>>().join(", "))
            }
            _ => text.to_owned(),
        }
    }

    /// Returns true if the report shows it.
    #[must_use]
    pub fn is_raised(self, report: &Report) -> bool {
        let status = &report.status;
        match self {
            Self::NoLeader => status.leader.is_none(),
            Self::ApplicationStopped => !status.applies,
            Self::DiskLow => report.space == Space::Low,
            Self::CommandsWait => report.out_of_space,
            Self::MemberSilent => report.peers.iter().any(|peer| !peer.active),
            Self::NoMargin => has_no_margin(report),
            Self::ClockAhead => report.held_back.is_some(),
            Self::SecretsUnusable => !report.secret_problems.is_empty(),
            Self::CertificateExpires => due(report).next().is_some(),
        }
    }

    /// Returns the alarms that a report shows.
    pub fn raised(report: &Report) -> impl Iterator<Item = Self> {
        Self::ALL.into_iter().filter(|alarm| alarm.is_raised(report))
    }
}

/// Returns the certificates that must be replaced now.
fn due(report: &Report) -> impl Iterator<Item = &CertificateValidity> {
    report.certificates.iter().filter(|validity| validity.replace_from <= report.at)
}

/// Returns a time in days, or in hours if it is short.
fn about(time: Duration) -> String {
    match time.as_secs() / 3600 {
        0 => "less than 1 h".to_owned(),
        hours @ ..48 => format!("{hours} h"),
        hours => format!("{} days", hours / 24),
    }
}

/// Returns true if a leader counts on each of the voters that answer, although the cluster is large enough to lose one.
fn has_no_margin(report: &Report) -> bool {
    let configuration: &Configuration = &report.status.configuration;
    if report.peers.is_empty() || configuration.voters.len() < 3 {
        return false;
    }
    let active = |id| report.peers.iter().any(|peer| peer.id == id && peer.active);
    let voters = configuration.voters.iter().chain(&configuration.outgoing);
    voters
        .copied()
        .filter(|id| active(*id))
        .any(|lost| !configuration.is_quorum(|id| id != lost && active(id)))
}

#[cfg(test)]
mod tests {
    use std::{sync::Arc, time::SystemTime};

    use zraft_protocol::MemberId;
    use zraft_replica::{MemberInfo, PeerStatus, RaftId, Role};
    use zraft_session::{CheckedSettings, HistoryHash};

    use super::*;
    use crate::{Port, Status};

    fn id(number: u64) -> RaftId {
        RaftId::new(number).expect("not 0")
    }

    /// A certificate that must be replaced in this many days, and expires a fortnight later.
    fn validity(days: u64) -> CertificateValidity {
        let after = |days| SystemTime::UNIX_EPOCH + Duration::from_secs(days * 86_400);
        let (replace_from, not_after) = (after(days), after(days + 14));
        CertificateValidity { port: Port::Client, replace_from, not_after }
    }

    /// A leader of this many voters, of which the first ones answer.
    fn leader(voters: u64, active: u64) -> Report {
        let members = (1..=voters).map(|number| {
            let name = MemberId::new(format!("node-{number}")).expect("short");
            (id(number), MemberInfo { name, address: "a:1".to_owned(), feature_level: 1 })
        });
        let peers = (1..=voters).map(|number| PeerStatus {
            id: id(number),
            matched: 10,
            active: number <= active,
            installing: false,
            space: Space::Ample,
        });
        Report {
            id: id(1),
            status: Status {
                role: Role::Leader,
                term: 1,
                leader: Some(id(1)),
                serving: true,
                handing_over: false,
                last_index: 10,
                committed: 10,
                applied: 10,
                applies: true,
                sessions: 0,
                history: HistoryHash::default(),
                configuration: Arc::new(Configuration::of_voters(members)),
                ended: None,
            },
            settings: CheckedSettings::default(),
            peers: peers.collect(),
            space: Space::Ample,
            out_of_space: false,
            held_back: None,
            log_memory: 0,
            snapshot: None,
            connections: 0,
            events: Vec::new(),
            refusals: Vec::new(),
            stopped_by: None,
            stopping: false,
            secret_problems: Vec::new(),
            certificates: vec![validity(31)],
            at: SystemTime::UNIX_EPOCH,
        }
    }

    fn raised(report: &Report) -> Vec<Alarm> {
        Alarm::raised(report).collect()
    }

    #[test]
    fn sound_cluster_of_any_size_raises_no_alarm() {
        for voters in 1..=7 {
            assert_eq!(raised(&leader(voters, voters)), [], "{voters} voters");
        }
    }

    #[test]
    fn silent_member_leaves_no_margin_if_its_cluster_can_lose_no_other() {
        let silent = [Alarm::MemberSilent];
        let no_margin = [Alarm::MemberSilent, Alarm::NoMargin];
        assert_eq!(raised(&leader(2, 1)), silent, "two members never have a margin");
        assert_eq!(raised(&leader(3, 2)), no_margin);
        assert_eq!(raised(&leader(4, 3)), no_margin);
        assert_eq!(raised(&leader(5, 4)), silent);
        assert_eq!(raised(&leader(5, 3)), no_margin);
    }

    #[test]
    fn follower_does_not_judge_the_others() {
        let mut follower = leader(3, 3);
        (follower.peers, follower.status.role) = (Vec::new(), Role::Follower);
        assert_eq!(raised(&follower), []);
        follower.status.leader = None;
        assert_eq!(raised(&follower), [Alarm::NoLeader]);
    }

    #[test]
    fn each_trouble_of_the_member_itself_raises_its_alarm() {
        let changed = |change: fn(&mut Report)| {
            let mut report = leader(3, 3);
            change(&mut report);
            raised(&report)
        };
        assert_eq!(changed(|report| report.status.applies = false), [Alarm::ApplicationStopped]);
        assert_eq!(changed(|report| report.space = Space::Low), [Alarm::DiskLow]);
        assert_eq!(changed(|report| report.out_of_space = true), [Alarm::CommandsWait]);
        let ahead = changed(|report| report.held_back = Some(Duration::from_secs(60)));
        assert_eq!(ahead, [Alarm::ClockAhead]);
        let unusable = changed(|report| report.secret_problems.push("client.pem".to_owned()));
        assert_eq!(unusable, [Alarm::SecretsUnusable]);
        assert_eq!(changed(|report| report.certificates.push(validity(1))), []);
        let expires = changed(|report| report.certificates.push(validity(0)));
        assert_eq!(expires, [Alarm::CertificateExpires]);
    }

    #[test]
    fn message_names_the_file_or_the_port_and_the_time_that_is_left() {
        let mut report = leader(3, 3);
        report.secret_problems = vec!["client.key: gone".to_owned()];
        let message = Alarm::SecretsUnusable.message(&report);
        assert!(message.ends_with("goes on with the ones it had: client.key: gone"), "{message}");
        report.certificates = vec![validity(0), validity(1)];
        let message = Alarm::CertificateExpires.message(&report);
        let soon = "or has expired: the certificate of the client port expires in 14 days";
        assert!(message.ends_with(soon), "{message}");
        report.at += Duration::from_secs((14 * 24 + 5) * 3600);
        let message = Alarm::CertificateExpires.message(&report);
        let both = "the certificate of the client port expired 5 h ago, the certificate of the client port expires in 19 h";
        assert!(message.ends_with(both), "{message}");
        report.at -= Duration::from_secs(5 * 3600 + 60);
        let message = Alarm::CertificateExpires.message(&report);
        let both = ": the certificate of the client port expires in less than 1 h, the certificate of the client port expires in 24 h";
        assert!(message.ends_with(both), "{message}");
    }
}
