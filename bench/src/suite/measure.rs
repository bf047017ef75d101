//! The parts of the suite. Each lets its contenders measure in interleaved rounds.

use std::io;

use serde_json::{Value, json};

use super::{
    Extent,
    process::{Server, itself, libzmq, measured, say},
};

/// One contender with its settings.
struct Entrant {
    contender: &'static str,
    /// The settings, for the report.
    at: Value,
    program: std::path::PathBuf,
    arguments: Vec<String>,
}

/// The servers of the contenders.
struct Servers {
    tcp: Server,
    zmtp: Server,
    peer: Server,
    embedded: Server,
}

impl Servers {
    fn start() -> io::Result<Self> {
        Ok(Self {
            tcp: Server::start(&["echo", "--kind", "tcp"])?,
            zmtp: Server::start(&["echo", "--kind", "zmtp"])?,
            peer: Server::start(&["peer", "--answer", "equal"])?,
            embedded: Server::start(&["embedded"])?,
        })
    }

    fn entrant(&self, contender: &'static str, at: &Value, more: &[String]) -> io::Result<Entrant> {
        let (kind, server) = match contender {
            "tcp" => ("tcp", &self.tcp),
            "zmtp" => ("zmtp", &self.zmtp),
            "embedded" => ("zraft", &self.embedded),
            "batch" => ("batch", &self.peer),
            _ => ("zraft", &self.peer),
        };
        let mut arguments =
            strings(&["drive", "--contender", kind, "--endpoint", &server.endpoint]);
        arguments.extend_from_slice(more);
        Ok(Entrant { contender, at: at.clone(), program: itself()?, arguments })
    }

    /// Returns libzmq's contender, or `None` if it was not built.
    fn libzmq(&self, at: &Value, more: &[String]) -> Option<Entrant> {
        let mut arguments = strings(&["--endpoint", &self.zmtp.endpoint]);
        arguments.extend_from_slice(more);
        Some(Entrant { contender: "libzmq", at: at.clone(), program: libzmq()?, arguments })
    }
}

fn strings(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

fn options(options: &[(&str, String)]) -> Vec<String> {
    options.iter().flat_map(|(name, value)| [(*name).to_owned(), value.clone()]).collect()
}

/// Measures all entrants in each round. Each round begins with another entrant, so that none has a fixed place.
fn interleave(entrants: &[Entrant], rounds: usize) -> io::Result<Vec<Value>> {
    let mut samples = vec![Vec::new(); entrants.len()];
    for round in 0..rounds {
        for turn in 0..entrants.len() {
            let which = (turn + round) % entrants.len();
            let entrant = &entrants[which];
            samples[which].push(measured(&entrant.program, &entrant.arguments)?);
        }
    }
    let rows = entrants.iter().zip(samples).map(|(entrant, rounds)| {
        json!({ "contender": entrant.contender, "at": entrant.at, "rounds": rounds })
    });
    Ok(rows.collect())
}

pub(super) fn closed(extent: Extent) -> io::Result<Value> {
    let servers = Servers::start()?;
    let levels: &[usize] = match extent.short {
        true => &[1, 64, 1024],
        false => &[1, 16, 64, 256, 1024, 10_000, 100_000],
    };
    let mut rows = Vec::new();
    for level in levels {
        say(&format!("{level} in flight"))?;
        let at = json!({ "inFlight": level });
        let common = [("--in-flight", level.to_string()), ("--millis", extent.millis.to_string())];
        let more = options(&common);
        let mut entrants = vec![
            servers.entrant("tcp", &at, &more)?,
            servers.entrant("zmtp", &at, &more)?,
            servers.entrant("zraft", &at, &more)?,
            servers.entrant("batch", &at, &more)?,
        ];
        if *level <= 10_000 {
            entrants.push(servers.entrant("embedded", &at, &more)?);
        }
        entrants.extend(servers.libzmq(&at, &more));
        rows.extend(interleave(&entrants, extent.rounds)?);
    }
    Ok(json!({ "rows": rows }))
}

pub(super) fn threads(extent: Extent) -> io::Result<Value> {
    let servers = Servers::start()?;
    let mut rows = Vec::new();
    for level in [1, 64, 1024] {
        let at = json!({ "inFlight": level, "threads": 2 });
        let more = options(&[
            ("--in-flight", level.to_string()),
            ("--millis", extent.millis.to_string()),
            ("--threads", "2".to_owned()),
        ]);
        let entrants =
            [servers.entrant("zmtp", &at, &more)?, servers.entrant("zraft", &at, &more)?];
        rows.extend(interleave(&entrants, extent.rounds)?);
    }
    Ok(json!({ "rows": rows }))
}

pub(super) fn mix(extent: Extent) -> io::Result<Value> {
    let servers = Servers::start()?;
    let mut rows = Vec::new();
    for level in [1, 1024] {
        for mix in ["commands", "queries", "mixed"] {
            let at = json!({ "inFlight": level, "mix": mix });
            let more = options(&[
                ("--in-flight", level.to_string()),
                ("--millis", extent.millis.to_string()),
                ("--mix", mix.to_owned()),
            ]);
            let entrants =
                [servers.entrant("zmtp", &at, &more)?, servers.entrant("zraft", &at, &more)?];
            rows.extend(interleave(&entrants, extent.rounds)?);
        }
    }
    Ok(json!({ "rows": rows }))
}

pub(super) fn payload(extent: Extent) -> io::Result<Value> {
    let servers = Servers::start()?;
    let mut rows = Vec::new();
    for (payload, level) in [(16, 256), (64, 256), (1 << 10, 256), (64 << 10, 32), (1 << 20, 8)] {
        say(&format!("payloads of {payload} bytes"))?;
        let at = json!({ "payload": payload, "inFlight": level });
        let more = options(&[
            ("--in-flight", level.to_string()),
            ("--millis", extent.millis.to_string()),
            ("--payload", payload.to_string()),
        ]);
        let entrants = [
            servers.entrant("tcp", &at, &more)?,
            servers.entrant("zmtp", &at, &more)?,
            servers.entrant("zraft", &at, &more)?,
        ];
        rows.extend(interleave(&entrants, extent.rounds)?);
    }
    Ok(json!({ "rows": rows }))
}

/// Measures rates that are usual for services, and parts of the rate that the client reaches with 1,024 in flight.
pub(super) fn open(extent: Extent) -> io::Result<Value> {
    let servers = Servers::start()?;
    let full =
        options(&[("--in-flight", "1024".to_owned()), ("--millis", extent.millis.to_string())]);
    let full = [servers.entrant("zraft", &json!({}), &full)?];
    let most = interleave(&full, extent.rounds)?;
    let most = super::figures::figure(&most[0], "rate").map_or(1e6, |rate| rate.median);
    let part = |part: f64| {
        // Two significant digits give a rate that is easy to repeat.
        let digits = 10_f64.powf((most * part).log10().floor() - 1.0);
        ((most * part / digits).round() * digits, Some(part))
    };
    let rates = match extent.short {
        true => vec![(10_000.0, None), part(0.5)],
        false => [1_000.0, 10_000.0, 100_000.0]
            .map(|rate| (rate, None))
            .into_iter()
            .chain([0.05, 0.1, 0.25, 0.5, 0.75].map(part))
            .collect(),
    };
    let mut rows = Vec::new();
    for (rate, part) in rates {
        say(&format!("{rate} per second"))?;
        let at = json!({ "part": part, "rate": rate });
        // A slow rate needs more time for a meaningful 99th percentile.
        let millis = if rate < 10_000.0 { extent.millis * 10 } else { extent.millis * 2 };
        let more = options(&[("--rate", rate.to_string()), ("--millis", millis.to_string())]);
        let entrants = [
            servers.entrant("tcp", &at, &more)?,
            servers.entrant("zmtp", &at, &more)?,
            servers.entrant("zraft", &at, &more)?,
        ];
        rows.extend(interleave(&entrants, extent.rounds)?);
    }
    Ok(json!({ "rows": rows, "most": most }))
}

pub(super) fn pending(extent: Extent) -> io::Result<Value> {
    let mut entrants = Vec::new();
    let count = if extent.short { 500_000 } else { 2_000_000 };
    let mut add = |what: &str, pending: u64| -> io::Result<()> {
        let arguments = options(&[
            ("--what", what.to_owned()),
            ("--pending", pending.to_string()),
            ("--count", count.to_string()),
        ]);
        entrants.push(Entrant {
            contender: "zraft",
            at: json!({ "what": what, "pending": pending }),
            program: itself()?,
            arguments: strings(&["core"]).into_iter().chain(arguments).collect(),
        });
        Ok(())
    };
    add("codec", 0)?;
    for pending in [1, 1000, 10_000, 100_000, 1_000_000] {
        add("command", pending)?;
    }
    add("query", 1000)?;
    Ok(json!({ "rows": interleave(&entrants, extent.rounds)? }))
}

pub(super) fn sessions(extent: Extent) -> io::Result<Value> {
    let counts: &[usize] = if extent.short { &[1, 1000] } else { &[1, 100, 1000, 10_000] };
    let mut rows = Vec::new();
    for count in counts {
        say(&format!("{count} sessions"))?;
        let mut rounds = Vec::new();
        for _ in 0..extent.rounds.min(3) {
            let peer = Server::start(&["peer", "--keep-alives"])?;
            let commands = (100_000 / count).clamp(10, 2000).to_string();
            let arguments = [
                "sessions",
                "--endpoint",
                &peer.endpoint,
                "--count",
                &count.to_string(),
                "--commands",
                &commands,
            ];
            let mut sample = measured(itself()?, &arguments)?;
            // Only the server sees when a KeepAlive arrives.
            if let (Some(sample), Value::Object(seen)) = (sample.as_object_mut(), peer.finish()?) {
                sample.extend(seen);
            }
            rounds.push(sample);
        }
        rows.push(json!({ "contender": "zraft", "at": { "sessions": count }, "rounds": rounds }));
    }
    Ok(json!({ "rows": rows }))
}

pub(super) fn memory(extent: Extent) -> io::Result<Value> {
    let peer = Server::start(&["peer", "--answer", "equal"])?;
    let load = if extent.short { "10" } else { "60" };
    let arguments = ["soak", "--endpoint", &peer.endpoint, "--load", load];
    let soak = measured(itself()?, &arguments)?;
    Ok(json!({ "rows": [{ "contender": "zraft", "at": {}, "rounds": [soak] }] }))
}
