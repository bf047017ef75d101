//! The embedded cluster for tests in JavaScript. It runs on the clients' thread, or on its own thread if its application
//! is in JavaScript.

use std::sync::Arc;
use std::time::Duration;

use napi::Status;
use napi::bindgen_prelude::{Buffer, FnArgs, Function};
use napi::threadsafe_function::{ThreadsafeFunction, ThreadsafeFunctionCallMode};
use napi_derive::napi;
use serde_json::{Value, json};
use tokio::sync::mpsc;
use zraft_test_server::{AppendLog, Echo, KvStore, TestCluster};

use crate::application::{self, Gate, JavaScript, Outcome};
use crate::runtime::{Lease, Own};
use crate::switches;

/// A function of JavaScript that takes the number of a call and its result.
type Answer = ThreadsafeFunction<(u32, String), (), FnArgs<(u32, String)>, Status, false, true, 0>;

/// The number of the call that starts a cluster: the first number that JavaScript's table of calls gives.
const START: u32 = 1;

struct Call {
    number: u32,
    name: String,
    arguments: Value,
    payload: Vec<u8>,
}

/// An embedded cluster as JavaScript sees it. Its interface is not stable: the TypeScript half is its only user.
#[napi]
pub struct NativeCluster {
    calls: Option<mpsc::UnboundedSender<Call>>,
    thread: Option<Thread>,
}

/// The thread of a cluster.
enum Thread {
    /// The clients' thread, if nothing in the cluster waits for the event loop.
    Shared { _lease: Lease },
    /// A thread that waits for the functions of an application.
    Own { gate: Arc<Gate>, _thread: Own },
}

impl Drop for Thread {
    fn drop(&mut self) {
        // The thread is joined next, and must not wait for this one.
        if let Self::Own { gate, .. } = self {
            gate.close();
        }
    }
}

#[napi]
impl NativeCluster {
    /// Starts a cluster with the options in a JSON text. `answer` is called with the number and the result of each call; the
    /// number of the start is 1. `run` runs the functions of the application if that is in JavaScript, and reports the end
    /// of each call by `end_call()`.
    #[napi(constructor)]
    pub fn new(
        options: String,
        answer: Function<'_, FnArgs<(u32, String)>, ()>,
        run: Option<Function<'_, FnArgs<(String, Buffer)>, ()>>,
    ) -> napi::Result<Self> {
        let answer: Answer = answer
            .build_threadsafe_function::<(u32, String)>()
            .weak::<true>()
            .build_callback(|context| Ok(context.value.into()))?;
        let no_thread = |error: std::io::Error| napi::Error::from_reason(error.to_string());
        let (calls, inbox) = mpsc::unbounded_channel();
        let options: Value = serde_json::from_str(&options).unwrap_or_default();
        let answer = Arc::new(answer);
        let thread = match run {
            None => {
                let lease = Lease::new().map_err(no_thread)?;
                lease.handle().spawn(serve(options, None, inbox, answer));
                Thread::Shared { _lease: lease }
            }
            Some(run) => {
                let run = application::runner(&run)?;
                let gate = Gate::new();
                let hooks = options["hooks"].as_bool().unwrap_or_default();
                let next_tick = application::tick_time(&options["nextTick"]);
                let application = JavaScript::new(run, gate.clone(), hooks, next_tick);
                let thread = Own::new().map_err(no_thread)?;
                thread.handle().spawn(serve(options, Some(application), inbox, answer));
                Thread::Own { gate, _thread: thread }
            }
        };
        Ok(Self { calls: Some(calls), thread: Some(thread) })
    }

    /// Reports how the call of the application's function that is under way has ended, with its answer and the payloads of
    /// its server requests.
    #[napi]
    pub fn end_call(&self, outcome: String, payloads: Vec<Buffer>) -> napi::Result<()> {
        let outcome = Outcome::parse(&outcome, payloads).map_err(napi::Error::from_reason)?;
        if let Some(Thread::Own { gate, .. }) = &self.thread {
            gate.end(outcome);
        }
        Ok(())
    }

    /// Calls a switch or an inspection by name. Its result goes to the function given at the start.
    #[napi]
    pub fn call(&self, number: u32, name: String, arguments: String, payload: &[u8]) {
        if let Some(calls) = &self.calls {
            let arguments = serde_json::from_str(&arguments).unwrap_or_default();
            let _ = calls.send(Call { number, name, arguments, payload: payload.to_vec() });
        }
    }

    /// Gives up the thread, because JavaScript has seen that the cluster has stopped.
    #[napi]
    pub fn release(&mut self) {
        self.calls = None;
        self.thread = None;
    }
}

async fn serve(
    options: Value,
    application: Option<JavaScript>,
    mut inbox: mpsc::UnboundedReceiver<Call>,
    answer: Arc<Answer>,
) {
    let reply = move |number: u32, result: Result<Value, String>| {
        let result = match result {
            Ok(value) => json!({ "value": value }),
            Err(error) => json!({ "error": error }),
        };
        answer.call((number, result.to_string()), ThreadsafeFunctionCallMode::NonBlocking);
    };
    let cluster = match start(&options, application).await {
        Ok(cluster) => cluster,
        Err(error) => return reply(START, Err(error)),
    };
    reply(START, Ok(Value::Null));
    while let Some(call) = inbox.recv().await {
        if call.name == "stop" && call.arguments.is_null() {
            cluster.shutdown().await;
            return reply(call.number, Ok(Value::Null));
        }
        let (handle, reply) = (cluster.handle(), reply.clone());
        // Each call has its own task, since it may wait for the effect of another.
        tokio::spawn(async move {
            let Call { number, name, arguments, payload } = call;
            reply(number, switches::call(&handle, &name, &arguments, payload).await);
        });
    }
}

async fn start(options: &Value, application: Option<JavaScript>) -> Result<TestCluster, String> {
    let mut builder = TestCluster::builder();
    if let Some(count) = options["members"].as_u64() {
        builder = builder.members(usize::try_from(count).unwrap_or(usize::MAX).min(64));
    }
    builder = match (application, options["application"].as_str()) {
        (Some(application), _) => builder.app(application),
        (None, Some("echo")) => builder.app(Echo),
        (None, Some("appendLog")) => builder.app(AppendLog::default()),
        (None, _) => builder.app(KvStore::default()),
    };
    let time = |name: &str| {
        options[name].as_f64().and_then(|ms| Duration::try_from_secs_f64(ms / 1000.0).ok())
    };
    if let Some(time) = time("commitDelay") {
        builder = builder.commit_delay(time);
    }
    if let Some(time) = time("sessionTimeout") {
        builder = builder.session_timeout(time);
    }
    if let Some(time) = time("expiryTick") {
        builder = builder.expiry_tick(time);
    }
    if let Some(time) = time("redeliveryInterval") {
        builder = builder.redelivery_interval(time);
    }
    if let Some(time) = time("electionPause") {
        builder = builder.election_pause(time);
    }
    if let Some(rate) = options["commitsPerSecond"].as_u64() {
        builder = builder.commits_per_second(u32::try_from(rate).ok());
    }
    if let Some(seed) = options["seed"].as_u64() {
        builder = builder.seed(seed);
    }
    if let Some(port) = options["basePort"].as_u64() {
        let port = u16::try_from(port).map_err(|_| "basePort: must be from 0 to 65535")?;
        builder = builder.base_port(port);
    }
    builder.start().await.map_err(|error| error.to_string())
}
