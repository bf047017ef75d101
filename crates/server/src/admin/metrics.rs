//! The metrics of a member, in the text format of Prometheus.
//!
//! One table holds every metric. The answer and a test of the documentation follow from it.

use std::fmt;

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric, MetricEncoder, prometheus_text},
    metrics::{MetricType, histogram::Histogram},
    registry::Registry,
};
use zraft_replica::{PeerStatus, Space};

use super::{AdminPort, json::seconds};
use crate::{Alarm, CertificateValidity, Figures, Report};

pub(super) use prometheus_text::CONTENT_TYPE;

/// A metric of the admin port.
#[derive(Debug)]
pub struct Metric {
    name: &'static str,
    text: &'static str,
    values: Values,
}

#[derive(Debug)]
enum Values {
    Count(fn(&Figures) -> u64),
    Gauge(fn(&Report) -> u64),
    Seconds(fn(&Report) -> f64),
    /// One for each member of the configuration, with its name as the label. Only a leader has them.
    PerMember(fn(&Report, &PeerStatus) -> u64),
    PerAlarm,
    /// One for each port that speaks TLS.
    PerCertificate(fn(&CertificateValidity) -> u64),
    Info,
    Times(fn(&Sample) -> &Histogram),
}

/// Returns all metrics, in the order of the documentation.
pub fn metrics() -> impl Iterator<Item = &'static Metric> {
    METRICS.iter()
}

impl Metric {
    /// Returns the name that Prometheus shows, for example `zraft_writes_total`.
    #[must_use]
    pub fn name(&self) -> String {
        let total = if matches!(self.values, Values::Count(_)) { "_total" } else { "" };
        format!("{PREFIX}_{}{total}", self.name)
    }

    /// Returns the labels, for example `member`; empty for a metric without labels.
    #[must_use]
    pub fn labels(&self) -> &'static str {
        match self.values {
            Values::PerMember(_) => "member",
            Values::PerAlarm => "alarm",
            Values::PerCertificate(_) => "port",
            Values::Info => "cluster, member, version",
            _ => "",
        }
    }

    /// Returns the kind: `counter`, `gauge` or `histogram`.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self.values {
            Values::Count(_) => "counter",
            Values::Times(_) => "histogram",
            _ => "gauge",
        }
    }

    /// Returns what it tells, without a full stop.
    #[must_use]
    pub fn text(&self) -> &'static str {
        self.text
    }

    fn of_kind(&self) -> MetricType {
        match self.values {
            Values::Count(_) => MetricType::Counter,
            Values::Times(_) => MetricType::Histogram,
            _ => MetricType::Gauge,
        }
    }

    fn encode(&self, sample: &Sample, mut out: MetricEncoder<'_>) -> fmt::Result {
        let report = &sample.report;
        match self.values {
            Values::Count(read) => {
                out.encode_counter::<NoLabels, _, f64>(&read(&sample.figures), None)
            }
            Values::Gauge(read) => out.encode_gauge(&read(report)),
            Values::Seconds(read) => out.encode_gauge(&read(report)),
            Values::PerMember(read) => report.peers.iter().try_for_each(|peer| {
                let info = report.status.configuration.members.get(&peer.id);
                let name = info.map_or_else(|| peer.id.to_string(), |info| info.name.to_string());
                out.encode_family(&[("member", name)])?.encode_gauge(&read(report, peer))
            }),
            Values::PerAlarm => Alarm::ALL.iter().try_for_each(|alarm| {
                let raised = u64::from(alarm.is_raised(report));
                out.encode_family(&[("alarm", alarm.name())])?.encode_gauge(&raised)
            }),
            Values::PerCertificate(read) => report.certificates.iter().try_for_each(|validity| {
                let port = [("port", validity.port.name())];
                out.encode_family(&port)?.encode_gauge(&read(validity))
            }),
            Values::Info => {
                let labels = [
                    ("cluster", sample.cluster.as_str()),
                    ("member", sample.member.as_str()),
                    ("version", env!("CARGO_PKG_VERSION")),
                ];
                out.encode_family(&labels)?.encode_gauge(&1_u64)
            }
            Values::Times(read) => read(sample).encode(out),
        }
    }
}

type NoLabels = prometheus_client::encoding::NoLabelSet;

const PREFIX: &str = "zraft";

static METRICS: &[Metric] = &[
    Metric {
        name: "info",
        text: "1; the labels say which member of which cluster it is",
        values: Values::Info,
    },
    Metric {
        name: "alarm",
        text: "1 if the alarm is raised, 0 otherwise",
        values: Values::PerAlarm,
    },
    Metric {
        name: "leader",
        text: "1 if the member leads and serves clients; the sum over a cluster is 1",
        values: Values::Gauge(|report| report.status.serving.into()),
    },
    Metric {
        name: "has_leader",
        text: "1 if the member knows a leader",
        values: Values::Gauge(|report| report.status.leader.is_some().into()),
    },
    Metric {
        name: "voter",
        text: "1 if the member's vote counts, 0 for a learner",
        values: Values::Gauge(votes),
    },
    Metric {
        name: "term",
        text: "Term of the member; each election raises it",
        values: Values::Gauge(|report| report.status.term),
    },
    Metric {
        name: "log_last_index",
        text: "Index of the last entry of the log",
        values: Values::Gauge(|report| report.status.last_index),
    },
    Metric {
        name: "log_committed_index",
        text: "Index up to which the member knows that entries are committed",
        values: Values::Gauge(|report| report.status.committed),
    },
    Metric {
        name: "log_applied_index",
        text: "Index up to which the state machine has applied entries",
        values: Values::Gauge(|report| report.status.applied),
    },
    Metric {
        name: "log_memory_bytes",
        text: "Bytes of log entries in memory",
        values: Values::Gauge(|report| report.log_memory as u64),
    },
    Metric {
        name: "snapshot_index",
        text: "Index of the newest snapshot; 0 before the first one",
        values: Values::Gauge(|report| {
            report.snapshot.as_ref().map_or(0, |snapshot| snapshot.meta.index)
        }),
    },
    Metric {
        name: "snapshot_bytes",
        text: "Length of the newest snapshot's file",
        values: Values::Gauge(|report| {
            report.snapshot.as_ref().map_or(0, |snapshot| snapshot.bytes)
        }),
    },
    Metric {
        name: "member_matched_index",
        text: "Index up to which the member's log is known to be the leader's; only the leader has it",
        values: Values::PerMember(|_, peer| peer.matched),
    },
    Metric {
        name: "member_lag_entries",
        text: "Entries of the leader's log that the member is not known to have; only the leader has it",
        values: Values::PerMember(|report, peer| {
            report.status.last_index.saturating_sub(peer.matched)
        }),
    },
    Metric {
        name: "member_active",
        text: "1 if the leader has heard the member within the shortest election timeout; only the leader has it",
        values: Values::PerMember(|_, peer| peer.active.into()),
    },
    Metric {
        name: "member_installing_snapshot",
        text: "1 while the leader sends the member a snapshot; only the leader has it",
        values: Values::PerMember(|_, peer| peer.installing.into()),
    },
    Metric {
        name: "disk_low",
        text: "1 if the member's disk is nearly full",
        values: Values::Gauge(|report| (report.space == Space::Low).into()),
    },
    Metric {
        name: "clock_ahead_seconds",
        text: "How far the wall clock is ahead of the replicated time that does not follow it; 0 if it follows",
        values: Values::Seconds(|report| report.held_back.unwrap_or_default().as_secs_f64()),
    },
    Metric {
        name: "certificate_expiration_timestamp_seconds",
        text: "UNIX time at which the first certificate that the port shows expires; only ports with TLS have it",
        values: Values::PerCertificate(|validity| seconds(validity.not_after)),
    },
    Metric {
        name: "sessions",
        text: "Sessions in the replicated state; the same on all members that have applied as much",
        values: Values::Gauge(|report| report.status.sessions as u64),
    },
    Metric {
        name: "client_connections",
        text: "Connections of clients that are open",
        values: Values::Gauge(|report| report.connections as u64),
    },
    Metric {
        name: "commands",
        text: "Command messages of clients, copies included",
        values: Values::Count(|figures| figures.commands),
    },
    Metric {
        name: "queries",
        text: "Queries of clients",
        values: Values::Count(|figures| figures.queries),
    },
    Metric {
        name: "answers",
        text: "Answers to commands that were sent to clients, copies included",
        values: Values::Count(|figures| figures.answers),
    },
    Metric {
        name: "command_duration_seconds",
        text: "How long commands took from their arrival to their answer; one of each connection is measured at a time",
        values: Values::Times(|sample| &sample.command_times),
    },
    Metric {
        name: "writes",
        text: "Writes of the log, each with one fsync",
        values: Values::Count(|figures| figures.writes),
    },
    Metric {
        name: "write_duration_seconds",
        text: "How long the writes of the log took, their fsync included",
        values: Values::Times(|sample| &sample.write_times),
    },
    Metric {
        name: "snapshots",
        text: "Snapshots that the member has taken",
        values: Values::Count(|figures| figures.snapshots),
    },
    Metric {
        name: "client_connections_accepted",
        text: "Connections of clients that were accepted",
        values: Values::Count(|figures| figures.clients),
    },
    Metric {
        name: "client_connections_over_limit",
        text: "Connections of clients that were closed because of client.connections",
        values: Values::Count(|figures| figures.clients_over_limit),
    },
    Metric {
        name: "client_connections_timed_out",
        text: "Connections of clients that were closed because their handshake was not complete in time",
        values: Values::Count(|figures| figures.clients_timed_out),
    },
    Metric {
        name: "client_connections_undecodable",
        text: "Connections of clients that were closed because they sent what cannot be read",
        values: Values::Count(|figures| figures.clients_undecodable),
    },
    Metric {
        name: "client_connections_tls_failed",
        text: "Connections of clients that were closed because TLS failed",
        values: Values::Count(|figures| figures.clients_tls_failed),
    },
    Metric {
        name: "client_connections_unauthorised",
        text: "Connections of clients that were closed because they asked for a session without a valid token",
        values: Values::Count(|figures| figures.clients_unauthorised),
    },
    Metric {
        name: "client_connections_slow",
        text: "Connections of clients that were closed because they did not read",
        values: Values::Count(|figures| figures.clients_slow),
    },
    Metric {
        name: "peer_connections_accepted",
        text: "Connections at the peer port that were accepted",
        values: Values::Count(|figures| figures.peers),
    },
    Metric {
        name: "peer_connections_over_limit",
        text: "Connections at the peer port that were closed because of peer.handshakes",
        values: Values::Count(|figures| figures.peers_over_limit),
    },
    Metric {
        name: "peer_connections_timed_out",
        text: "Connections at the peer port that were closed because their handshake was not complete in time",
        values: Values::Count(|figures| figures.peers_timed_out),
    },
    Metric {
        name: "peer_connections_undecodable",
        text: "Connections at the peer port that were closed because they sent what cannot be read",
        values: Values::Count(|figures| figures.peers_undecodable),
    },
    Metric {
        name: "peer_connections_tls_failed",
        text: "Connections between members on which TLS failed, or whose certificate was for another member",
        values: Values::Count(|figures| figures.peers_tls_failed),
    },
    Metric {
        name: "peer_connections_refused",
        text: "Handshakes between members that one of the two refused",
        values: Values::Count(|figures| figures.peers_refused),
    },
    Metric {
        name: "peer_messages_dropped",
        text: "Messages for other members that were dropped because a queue was full",
        values: Values::Count(|figures| figures.peer_messages_dropped),
    },
    Metric {
        name: "admin_requests",
        text: "Requests at the admin port",
        values: Values::Count(|figures| figures.admin),
    },
    Metric {
        name: "admin_refused",
        text: "Requests and connections at the admin port that were refused",
        values: Values::Count(|figures| figures.admin_refused),
    },
];

fn votes(report: &Report) -> u64 {
    report.status.configuration.voters.contains(&report.id).into()
}

/// The values at one moment.
#[derive(Debug)]
struct Sample {
    report: Report,
    figures: Figures,
    write_times: Histogram,
    command_times: Histogram,
    cluster: String,
    member: String,
}

impl Collector for Sample {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        METRICS.iter().try_for_each(|metric| {
            let out =
                encoder.encode_descriptor(metric.name, metric.text, None, metric.of_kind())?;
            metric.encode(self, out)
        })
    }
}

/// Returns the answer to a scrape.
pub(super) fn text(port: &AdminPort, report: Report) -> Result<String, fmt::Error> {
    let sample = Sample {
        report,
        figures: port.handle.figures(),
        write_times: port.handle.counters.write_times.histogram().clone(),
        command_times: port.handle.counters.command_times.histogram().clone(),
        cluster: port.identity.cluster.to_string(),
        member: port.identity.member.to_string(),
    };
    let mut registry = Registry::with_prefix(PREFIX);
    registry.register_collector(Box::new(sample));
    let mut text = String::new();
    prometheus_text::encode(&mut text, &registry)?;
    Ok(text)
}
