//! `zraft command` and `zraft query`: requests of any application.

use std::{
    collections::VecDeque,
    io::{self, BufRead, IsTerminal, Read},
    ops::ControlFlow,
    thread,
};

use clap::Args;
use serde_json::{Map, Value, json};
use tokio::sync::mpsc;
use zraft_cli::payload::{Input, Output};
use zraft_client::{Answer, Bytes, Error, RaftClient};

use super::endpoints::{Endpoints, Session, Wait};
use crate::exit::{Exit, complain, print_bytes, write};

/// The longest payload: the `max_message_size` of the client.
const MAX_PAYLOAD: usize = 16 << 20;
/// The lines of --lines that are read ahead.
const READ_AHEAD: usize = 64;
/// The requests of --lines that wait for their answers: enough to fill the client's window of 256 on any network.
const UNANSWERED: usize = 1024;

/// Submit a command to the application, and print its answer
///
/// A command changes the replicated state. It is executed exactly once, or the exit status is 6: it is not known whether it was
/// executed. The payload is what the application's own codec makes of it: zraft sends the bytes as they are.
///
/// Careful: a member of ZIO Raft's own server that cannot decode a payload answers no one from then on, until it is restarted.
///
/// Gives up after 15 seconds, which include opening the session. --timeout changes this.
#[derive(Debug, Args)]
#[command(
    after_long_help = "Example: set the key a of the key-value store to b\n  zraft command --input hex '53 00000001 61 00000001 62'\n  printf 'one\\ntwo\\n' | zraft command --lines --json"
)]
pub(crate) struct Command {
    #[command(flatten)]
    request: Request,
}

/// Submit a query to the application, and print its answer
///
/// A query only reads. It sees every command that was answered before it. The payload is what the application's own codec makes of it:
/// zraft sends the bytes as they are.
///
/// Careful: a member of ZIO Raft's own server that cannot decode a payload answers no one from then on, until it is restarted.
///
/// Gives up after 15 seconds, which include opening the session. --timeout changes this.
#[derive(Debug, Args)]
#[command(
    after_long_help = "Example: get the key a of the key-value store\n  zraft query --input hex '47 00000001 61'"
)]
pub(crate) struct Query {
    #[command(flatten)]
    request: Request,
}

#[derive(Debug, Args)]
struct Request {
    /// Payload; standard input if it is - or missing
    payload: Option<String>,
    /// How the payload is given
    #[arg(short, long, value_enum, default_value_t)]
    input: Input,
    /// How the answer is printed
    #[arg(short, long, value_enum, default_value_t)]
    output: Output,
    /// Read a payload from each line of standard input, without its line end, and skip empty lines
    ///
    /// Many requests are under way at the same time, and the answers are printed in the order of the lines.
    #[arg(long, conflicts_with = "payload")]
    lines: bool,
    /// Print one JSON object for each request: its outcome, and the answer under text, hex or base64
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    endpoints: Endpoints,
    #[command(flatten)]
    wait: Wait,
}

#[derive(Clone, Copy)]
enum Kind {
    Command,
    Query,
}

pub(crate) fn command(Command { request }: Command) -> Exit {
    request.run(Kind::Command)
}

pub(crate) fn query(Query { request }: Query) -> Exit {
    request.run(Kind::Query)
}

impl Request {
    fn run(self, kind: Kind) -> Exit {
        if self.lines {
            if matches!(self.output, Output::Raw) && !self.json {
                complain(
                    "with --lines, the answers could not be told apart: choose another --output than raw",
                );
                return Exit::Usage;
            }
            return self
                .endpoints
                .any(self.wait, async |session| self.each_line(kind, session).await);
        }
        let payload = match self.payload() {
            Ok(payload) => payload,
            Err((problem, exit)) => {
                complain(&problem);
                return exit;
            }
        };
        self.endpoints.any(self.wait, async |session| {
            if let Err(exit) = session.connect().await {
                return exit;
            }
            let submission = match kind {
                Kind::Command => session.client.submit_command(payload),
                Kind::Query => session.client.submit_query(payload),
            };
            let answered = submission.timeout(session.left()).await;
            match self.report(kind, session, None, &answered).await {
                ControlFlow::Continue(exit) | ControlFlow::Break(exit) => exit,
            }
        })
    }

    /// Returns the payload of the argument or of standard input.
    fn payload(&self) -> Result<Bytes, (String, Exit)> {
        let text = match self.payload.as_deref() {
            Some(text) if text != "-" => text.as_bytes().to_vec(),
            None if io::stdin().is_terminal() => {
                let problem = "give a payload, or - to type it; zraft command --help has examples";
                return Err((problem.to_owned(), Exit::Usage));
            }
            _ => {
                let mut text = Vec::new();
                // White space does not count for all forms, so a little more is not an error yet.
                let most = self.input.longest(MAX_PAYLOAD).saturating_mul(2);
                let read = io::stdin().lock().take(most as u64).read_to_end(&mut text);
                read.map_err(|error| (format!("standard input: {error}"), Exit::Failure))?;
                text
            }
        };
        let payload = self.input.read(&text);
        payload
            .map(Bytes::from)
            .map_err(|problem| (format!("the payload: {problem}"), Exit::BadInput))
    }

    async fn each_line(&self, kind: Kind, session: &mut Session) -> Exit {
        if let Err(exit) = session.connect().await {
            return exit;
        }
        let mut lines = read_lines(self.input);
        let mut waiting: VecDeque<(u64, Result<Answer, Problem>)> = VecDeque::new();
        let mut worst = Exit::Success;
        let mut more = true;
        while more || !waiting.is_empty() {
            let room = more && waiting.len() < UNANSWERED;
            let front = async {
                match waiting.front_mut() {
                    Some((_, Ok(answer))) => answer.await.map_err(Problem::Request),
                    Some((_, Err(problem))) => Err(problem.clone()),
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                answered = front => {
                    let Some((number, _)) = waiting.pop_front() else { continue };
                    if let Err(Problem::Request(error)) = &answered
                        && has_ended(error)
                        && std::mem::take(&mut more)
                    {
                        complain("the session has ended: no further lines are sent");
                    }
                    let told = match answered {
                        Ok(answer) => self.report(kind, session, Some(number), &Ok(answer)).await,
                        Err(Problem::Request(error)) => {
                            self.report(kind, session, Some(number), &Err(error)).await
                        }
                        Err(Problem::Input(problem, exit)) => {
                            complain(&format!("line {number}: {problem}"));
                            let object = json!({
                                "line": number,
                                "outcome": outcome(kind, None),
                                "error": "VALIDATION",
                                "message": problem,
                            });
                            self.say(object, None, exit)
                        }
                    };
                    match told {
                        ControlFlow::Continue(exit) => worst = worse(worst, exit),
                        // No one reads the answers. Leaving here closes the session.
                        ControlFlow::Break(exit) => return exit,
                    }
                }
                line = lines.recv(), if room => match line {
                    Some((number, Ok(payload))) => {
                        let answer = submit(&session.client, kind, payload).await;
                        waiting.push_back((number, answer.map_err(Problem::Request)));
                    }
                    Some((number, Err(problem))) => waiting.push_back((number, Err(problem))),
                    None => more = false,
                },
            }
        }
        worst
    }

    /// Prints what became of a request, and returns the exit code.
    async fn report(
        &self,
        kind: Kind,
        session: &mut Session,
        line: Option<u64>,
        answered: &Result<Bytes, Error>,
    ) -> ControlFlow<Exit, Exit> {
        let mut object = Map::new();
        if let Some(line) = line {
            object.insert("line".to_owned(), json!(line));
        }
        match answered {
            Ok(answer) if self.output == Output::Raw && !self.json => {
                ControlFlow::Break(print_bytes(answer))
            }
            Ok(answer) => {
                object.insert("outcome".to_owned(), json!("answered"));
                let (form, value) = self.output.field(answer);
                object.insert(form.to_owned(), value);
                self.say(Value::Object(object), Some(self.output.line(answer)), Exit::Success)
            }
            Err(error) => {
                object.insert("outcome".to_owned(), json!(outcome(kind, Some(error))));
                object.insert("error".to_owned(), json!(error.code()));
                object.insert("message".to_owned(), json!(error.to_string()));
                let exit = match line {
                    None => session.fail(error).await,
                    Some(line) => {
                        complain(&format!("line {line}: {error}"));
                        Exit::of(error)
                    }
                };
                let exit = if error.maybe_executed() { Exit::Unknown } else { exit };
                self.say(Value::Object(object), None, exit)
            }
        }
    }

    /// Prints the object, or the text if there is one. Breaks if standard output cannot be written.
    fn say(&self, object: Value, text: Option<String>, exit: Exit) -> ControlFlow<Exit, Exit> {
        let line = if self.json { Some(object.to_string()) } else { text };
        match line.map_or(Ok(()), |line| write(&line)) {
            Ok(()) => ControlFlow::Continue(exit),
            Err(error) => ControlFlow::Break(Exit::of_io(&error)),
        }
    }
}

/// Returns true if every further request fails for the same reason.
fn has_ended(error: &Error) -> bool {
    matches!(
        error,
        Error::SessionExpired { .. }
            | Error::SessionRejected { .. }
            | Error::NotConnected
            | Error::Closed { .. }
    )
}

/// Why a line has no answer.
#[derive(Clone)]
enum Problem {
    /// It is not a payload.
    Input(String, Exit),
    /// The client's error.
    Request(Error),
}

/// Returns the name of the outcome of a request that was not answered. Without an error, it was not submitted.
fn outcome(kind: Kind, error: Option<&Error>) -> &'static str {
    match (kind, error) {
        (Kind::Command, Some(error)) if error.maybe_executed() => "unknown",
        (Kind::Command, _) => "notExecuted",
        (Kind::Query, _) => "failed",
    }
}

/// Returns the exit code that says more: one unknown outcome among many requests is what a caller must know.
fn worse(one: Exit, other: Exit) -> Exit {
    match (one, other) {
        (Exit::Unknown, _) | (_, Exit::Unknown) => Exit::Unknown,
        (Exit::Success, other) => other,
        (one, _) => one,
    }
}

/// Submits a request, and waits while the client's queue is full.
async fn submit(client: &RaftClient, kind: Kind, payload: Bytes) -> Result<Answer, Error> {
    loop {
        let submitted = match kind {
            Kind::Command => client.try_submit_command(payload.clone()),
            Kind::Query => client.try_submit_query(payload.clone()),
        };
        match submitted {
            Err(Error::Overloaded) => client.ready_for(payload.len()).await,
            other => return other,
        }
    }
}

/// Reads the payload of each line of standard input, in a separate thread, because reading cannot be cancelled.
fn read_lines(input: Input) -> mpsc::Receiver<(u64, Result<Bytes, Problem>)> {
    let (sender, lines) = mpsc::channel(READ_AHEAD);
    thread::spawn(move || {
        let mut stdin = io::stdin().lock();
        let limit = input.longest(MAX_PAYLOAD);
        for number in 1.. {
            let mut line = Vec::new();
            // Two bytes more than the limit: a line end can have two.
            let read = (&mut stdin).take(limit as u64 + 2).read_until(b'\n', &mut line);
            let payload = match read {
                Ok(0) => return,
                Ok(_) => payload_of(input, line, limit, || stdin.skip_until(b'\n').map(|_| ())),
                Err(error) => {
                    Err(Problem::Input(format!("standard input: {error}"), Exit::Failure))
                }
            };
            let ended = matches!(payload, Err(Problem::Input(_, Exit::Failure)));
            if matches!(&payload, Ok(payload) if payload.is_empty()) {
                continue;
            }
            if sender.blocking_send((number, payload)).is_err() || ended {
                return;
            }
        }
    });
    lines
}

fn payload_of(
    input: Input,
    mut line: Vec<u8>,
    limit: usize,
    skip: impl FnOnce() -> io::Result<()>,
) -> Result<Bytes, Problem> {
    let ended = line.last() == Some(&b'\n');
    if ended {
        line.pop();
        if line.last() == Some(&b'\r') {
            line.pop();
        }
    }
    if line.len() > limit {
        if !ended {
            skip().map_err(|error| {
                Problem::Input(format!("standard input: {error}"), Exit::Failure)
            })?;
        }
        let problem = format!("longer than {limit} bytes");
        return Err(Problem::Input(problem, Exit::BadInput));
    }
    let payload = input.read(&line);
    payload.map(Bytes::from).map_err(|problem| Problem::Input(problem, Exit::BadInput))
}
