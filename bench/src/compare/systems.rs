//! The processes of the systems that are compared. All listen on loopback, sync before they answer, and end with this program.

use std::{
    fs::{self, File},
    io,
    net::{Ipv4Addr, TcpListener},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use zraft_cli::processes::{Processes, usage};

use super::Point;
use crate::suite::process::{itself, measured};

/// etcd and Redis must answer by then.
const START: Duration = Duration::from_secs(30);
/// Connections of `redis-benchmark` at most: it polls each of them. Beyond, requests are sent in pipelines.
const REDIS_CONNECTIONS: usize = 1000;

/// A system that runs.
pub(super) enum System {
    Zraft(Zraft),
    Etcd(Etcd),
    Redis(Redis),
}

impl System {
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Zraft(_) => "zraft",
            Self::Etcd(_) => "etcd",
            Self::Redis(_) => "redis",
        }
    }

    fn processes(&self) -> Vec<u32> {
        match self {
            Self::Zraft(zraft) => zraft.processes(),
            Self::Etcd(etcd) => etcd.members.iter().map(|member| member.0.id()).collect(),
            Self::Redis(redis) => vec![redis.server.0.id()],
        }
    }

    /// Returns the resident memory of each process in MiB.
    pub(super) fn memory(&self) -> Value {
        self.processes()
            .into_iter()
            .map(|id| json!(usage::memory_kib(id).map(|kib| kib / 1024)))
            .collect()
    }

    /// Returns the processor time of all processes in seconds, or 0 if the system does not tell it.
    fn used(&self) -> f64 {
        self.processes().into_iter().filter_map(usage::cpu_seconds).sum()
    }

    /// Puts a load on the system. Returns nothing if the system's own program cannot make this load.
    pub(super) fn measure(
        &self,
        point: &Point,
        connections: usize,
        millis: u64,
    ) -> io::Result<Option<Value>> {
        let before = self.used();
        let sample = match self {
            Self::Zraft(zraft) => Some(zraft.measure(point, connections, millis)?),
            Self::Etcd(etcd) => Some(etcd.measure(point, connections, millis)?),
            Self::Redis(redis) => redis.measure(point, millis)?,
        };
        let after = self.used();
        Ok(sample.map(|mut sample| {
            let total = sample["total"].as_f64().unwrap_or(1.0).max(1.0);
            sample["members_cpu"] = json!((after - before) * 1e6 / total);
            sample
        }))
    }
}

/// Three members of this project with default settings and the key-value application.
pub(super) struct Zraft {
    members: Processes,
    /// Members report through their admin ports.
    runtime: tokio::runtime::Runtime,
}

impl Zraft {
    pub(super) fn start(program: &Path, patience: Duration) -> io::Result<Self> {
        let members =
            Processes::prepare(program, "kv-store", patience).map_err(io::Error::other)?;
        members.open_all().map_err(io::Error::other)?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let leader = runtime.block_on(members.cluster().leader());
        leader.map_err(|failure| io::Error::other(failure.text().to_owned()))?;
        Ok(Self { members, runtime })
    }

    fn processes(&self) -> Vec<u32> {
        let ids = self.members.places().filter_map(|(name, _)| self.members.process_id(name));
        ids.collect()
    }

    fn measure(&self, point: &Point, connections: usize, millis: u64) -> io::Result<Value> {
        let endpoints: Vec<String> =
            self.members.endpoints().map(|(_, endpoint)| endpoint).collect();
        let mut flags =
            vec!["drive-members".to_owned(), "--endpoints".to_owned(), endpoints.join(",")];
        flags.extend(point.flags(connections, millis));
        measured(itself()?, &flags)
    }
}

impl Drop for Zraft {
    fn drop(&mut self) {
        let _ = self.runtime.block_on(self.members.stop());
    }
}

/// A process that is killed when this value is dropped.
struct Process(Child);

impl Process {
    fn start(command: &mut Command, log: &Path) -> io::Result<Self> {
        let output = File::create(log)?;
        command.stdin(Stdio::null()).stdout(output.try_clone()?).stderr(output);
        command.spawn().map(Self).map_err(|error| {
            io::Error::new(error.kind(), format!("{}: {error}", command.get_program().display()))
        })
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Fails if it has ended.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Three members of etcd with default settings, except for a quota that the run does not reach.
pub(super) struct Etcd {
    program: PathBuf,
    members: Vec<Process>,
    leader: String,
}

impl Etcd {
    pub(super) fn start(program: &Path, folder: &Path) -> io::Result<Self> {
        let ports = free_ports(6)?;
        let url = |port: u16| format!("http://127.0.0.1:{port}");
        let named = |number: usize| format!("etcd-{number}={}", url(ports[number + 3]));
        let cluster = [named(0), named(1), named(2)].join(",");
        let mut members = Vec::new();
        for number in 0..3 {
            let (client, peer) = (url(ports[number]), url(ports[number + 3]));
            let name = format!("etcd-{number}");
            let mut command = Command::new(program);
            command.args(["--name", &name]).arg("--data-dir").arg(folder.join(&name));
            command.args(["--listen-client-urls", &client, "--advertise-client-urls", &client]);
            command.args(["--listen-peer-urls", &peer, "--initial-advertise-peer-urls", &peer]);
            command.args(["--initial-cluster", &cluster, "--initial-cluster-state", "new"]);
            command.args(["--log-level", "error", "--quota-backend-bytes", "8589934592"]);
            members.push(Process::start(&mut command, &folder.join(format!("{name}.log")))?);
        }
        let endpoints = ports[..3].iter().map(|port| format!("127.0.0.1:{port}"));
        let endpoints = endpoints.collect::<Vec<_>>().join(",");
        let begin = Instant::now();
        let leader = loop {
            match measured(program, &["leader", "--endpoints", &endpoints]) {
                Ok(found) => break found["leader"].as_str().unwrap_or_default().to_owned(),
                Err(error) if begin.elapsed() > START => return Err(error),
                Err(_) => std::thread::sleep(Duration::from_millis(100)),
            }
        };
        Ok(Self { program: program.to_owned(), members, leader })
    }

    fn measure(&self, point: &Point, connections: usize, millis: u64) -> io::Result<Value> {
        // Each request goes to the leader, which is the best for etcd: a follower would pass it on.
        let mut flags = vec!["drive".to_owned(), "--endpoint".to_owned(), self.leader.clone()];
        flags.extend(point.flags(connections, millis));
        measured(&self.program, &flags)
    }
}

/// One Redis that syncs its file before each answer.
pub(super) struct Redis {
    programs: PathBuf,
    server: Process,
    port: u16,
}

impl Redis {
    pub(super) fn start(programs: &Path, folder: &Path) -> io::Result<Self> {
        let port = free_ports(1)?[0];
        let place = folder.join("redis");
        fs::create_dir(&place)?;
        let mut command = Command::new(programs.join("redis-server"));
        command.args(["--bind", "127.0.0.1", "--port", &port.to_string(), "--save", ""]);
        command.args(["--appendonly", "yes", "--appendfsync", "always"]).arg("--dir").arg(&place);
        let server = Process::start(&mut command, &folder.join("redis.log"))?;
        let begin = Instant::now();
        while std::net::TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_err() {
            if begin.elapsed() > START {
                return Err(io::Error::other("Redis does not answer"));
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok(Self { programs: programs.to_owned(), server, port })
    }

    fn measure(&self, point: &Point, millis: u64) -> io::Result<Option<Value>> {
        let test = match point.mix {
            "commands" => "set",
            "queries" => "get",
            // `redis-benchmark` has no such load, and no open loop.
            _ => return Ok(None),
        };
        if point.rate.is_some() {
            return Ok(None);
        }
        // It takes a number of requests and not a time: a short run tells how many fill the time.
        let trial = self.benchmark(point, test, point.in_flight.max(200) * 4)?;
        let rate = trial["rate"].as_f64().unwrap_or(1.0);
        let count = (rate * millis as f64 / 1000.0) as usize;
        let mut sample = self.benchmark(point, test, count.max(point.in_flight))?;
        sample["total"] =
            json!(sample["total"].as_f64().unwrap_or(0.0) + trial["total"].as_f64().unwrap_or(0.0));
        Ok(Some(sample))
    }

    fn benchmark(&self, point: &Point, test: &str, count: usize) -> io::Result<Value> {
        let connections = point.in_flight.min(REDIS_CONNECTIONS);
        let output = Command::new(self.programs.join("redis-benchmark"))
            .args(["-p", &self.port.to_string(), "-t", test, "-n", &count.to_string()])
            .args(["-c", &connections.to_string(), "-d", &point.payload.to_string()])
            .args(["-P", &point.in_flight.div_ceil(connections).to_string(), "-r", "1000", "--csv"])
            .output()?;
        let text = String::from_utf8_lossy(&output.stdout);
        // The columns: test, rps, and milliseconds: avg, min, p50, p95, p99, max.
        let columns: Vec<f64> = text
            .lines()
            .last()
            .unwrap_or_default()
            .split(',')
            .map(|column| column.trim_matches('"').parse().unwrap_or(f64::NAN))
            .collect();
        match columns[..] {
            [_, rate, _, _, p50, _, p99, max] if rate.is_finite() => Ok(json!({
                "count": count, "total": count, "rate": rate,
                "p50": p50 * 1000.0, "p99": p99 * 1000.0, "max": max * 1000.0,
            })),
            _ => Err(io::Error::other(format!("redis-benchmark printed {text:?}"))),
        }
    }
}

/// Returns ports that were free a moment ago.
fn free_ports(count: usize) -> io::Result<Vec<u16>> {
    let listeners = (0..count)
        .map(|_| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)))
        .collect::<io::Result<Vec<_>>>()?;
    listeners.iter().map(|listener| Ok(listener.local_addr()?.port())).collect()
}
