//! The thread that runs the application.

use std::{
    any::Any,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::mpsc::{self, Receiver, Sender},
    time::{Duration, Instant},
};

use zraft_replica::{Done, Job, Machine, QueryKey, SnapshotMeta};
use zraft_session::{Application, RestoreError};
use zraft_store::{CrashRecord, Folder, SnapshotSource, StoreError};

use super::{Context, StoreJob, backtrace};
use crate::{
    Ended,
    history::SharedHistory,
    inputs::{Input, QueryAnswer},
};

pub(super) fn run<A: Application>(
    mut machine: Machine<A>,
    history: &SharedHistory,
    folder: &Folder,
    jobs: &Receiver<Job>,
    store: &Sender<StoreJob>,
    context: &Context,
) {
    backtrace::watch();
    let mut answers = Answers::default();
    while let Some(job) = answers.next(jobs, context) {
        if context.is_abandoned() {
            return;
        }
        let done = match job {
            Job::Restore(meta) => {
                let done = restore(&mut machine, &meta, store);
                done.inspect(|_| history.restart(machine.point()))
            }
            job => apply(&mut machine, job, folder).inspect(|_| history.add(machine.points())),
        };
        match done {
            Ok(Done::Answered { key, answer }) => answers.add(key, answer),
            Ok(done) => context.report(Input::Done(done)),
            Err(ended) => {
                answers.report(context);
                context.report(Input::Failed(ended));
                return;
            }
        }
    }
}

/// An answer waits this long for those of the queries behind it, and for the query that runs then. It is short beside a read
/// round, and many short queries run in it.
const TOGETHER: Duration = Duration::from_micros(200);

/// Answers that the driver does not have yet. It gets the answers of queries that wait together at once: one report for
/// each would wake the driver, and write to a client, for each.
#[derive(Default)]
struct Answers {
    answers: Vec<(QueryKey, QueryAnswer)>,
    /// When the first of them was there.
    since: Option<Instant>,
}

impl Answers {
    /// Returns the next job, or nothing once the driver has ended. Reports the answers first unless the job is a query that
    /// came in time.
    fn next(&mut self, jobs: &Receiver<Job>, context: &Context) -> Option<Job> {
        let is_late = self.since.is_some_and(|since| since.elapsed() >= TOGETHER);
        let waiting = jobs.try_recv().ok();
        if is_late || !matches!(waiting, Some(Job::Query { .. })) {
            self.report(context);
        }
        waiting.or_else(|| jobs.recv().ok())
    }

    fn add(&mut self, key: QueryKey, answer: QueryAnswer) {
        self.answers.push((key, answer));
        self.since.get_or_insert_with(Instant::now);
    }

    fn report(&mut self, context: &Context) {
        self.since = None;
        if !self.answers.is_empty() {
            context.report(Input::Answered(std::mem::take(&mut self.answers)));
        }
    }
}

/// Runs a job. A panic of the application ends the member, and is written down: after the second one at the same entry the
/// member starts without its application.
fn apply<A: Application>(
    machine: &mut Machine<A>,
    job: Job,
    folder: &Folder,
) -> Result<Done, Ended> {
    // The machine is not used after a panic, except to tell where it happened.
    let panic = match catch_unwind(AssertUnwindSafe(|| machine.run(job))) {
        Ok(done) => return Ok(done?),
        Err(panic) => message_of(&*panic),
    };
    let index = machine.applying();
    if let Some(index) = index {
        CrashRecord::note(folder, index, backtrace::last().as_ref().unwrap_or(&panic))?;
    }
    Err(Ended::Application { index, panic })
}

fn message_of(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    let text = text.or_else(|| panic.downcast_ref::<String>().cloned());
    text.unwrap_or_else(|| "a panic without a message".to_owned())
}

/// Replaces the state by a snapshot that the store has recorded.
fn restore<A: Application>(
    machine: &mut Machine<A>,
    meta: &SnapshotMeta,
    store: &Sender<StoreJob>,
) -> Result<Done, Ended> {
    let mut source = open(meta, store)?;
    let failed = |error: RestoreError| Ended::Restore { index: meta.index, error };
    let done = machine.restore(meta, &mut source).map_err(failed)?;
    // Nothing of the state is used if the file is not what was written: an error ends the member.
    source.verify()?;
    Ok(done)
}

fn open(meta: &SnapshotMeta, store: &Sender<StoreJob>) -> Result<SnapshotSource, Ended> {
    let (reply, answer) = mpsc::channel();
    let opened = store.send(StoreJob::Open { index: meta.index, reply }).ok();
    let opened = opened.and_then(|()| answer.recv().ok()).unwrap_or(Err(StoreError::Ended))?;
    let missing = StoreError::NoSnapshot { index: meta.index, term: meta.term };
    opened.ok_or(Ended::Store(missing))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tokio::sync::mpsc as channel;
    use zraft_protocol::{Payload, SessionId};

    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);

    fn query() -> Job {
        let session = SessionId::new("session").expect("short");
        let payload = Payload::new("query").expect("short");
        Job::Query { key: QueryKey::default(), session, payload }
    }

    /// Gives the jobs out, and adds an answer for each query. `age` is the age of the first answer when the next job is taken. Returns how
    /// many answers were reported before each job, and before the wait for the next one.
    fn reports(
        jobs: impl IntoIterator<Item = Job>,
        age: impl Fn(Instant) -> Instant,
    ) -> Vec<usize> {
        let (to_driver, mut inputs) = channel::channel(64);
        let context =
            Context { inputs: to_driver, counters: Arc::default(), abandoned: Arc::default() };
        let (sender, receiver) = mpsc::channel();
        for job in jobs {
            sender.send(job).expect("it is received");
        }
        drop(sender);
        let (mut answers, mut counts) = (Answers::default(), Vec::new());
        loop {
            let job = answers.next(&receiver, &context);
            let mut reported = 0;
            while let Ok(Input::Answered(several)) = inputs.try_recv() {
                assert_eq!(reported, 0, "all at once");
                reported = several.len();
            }
            counts.push(reported);
            match job {
                Some(Job::Query { key, .. }) => {
                    let answer = Payload::new("answer").expect("short");
                    answers.add(key, Ok(answer));
                    answers.since = answers.since.map(|_| age(Instant::now()));
                }
                Some(_) => {}
                None => return counts,
            }
        }
    }

    #[test]
    fn answers_of_queries_that_wait_together_are_reported_at_once() {
        let apply = || Job::Apply { entries: Vec::new(), up_to: 1 };
        let jobs = [query(), query(), query(), apply(), query()];
        // A time to come: none of the answers is old.
        assert_eq!(reports(jobs, |now| now + HOUR), [0, 0, 0, 3, 0, 1]);
    }

    #[test]
    fn answer_that_has_waited_long_enough_is_reported_before_the_next_query_runs() {
        let jobs = [query(), query(), query()];
        assert_eq!(reports(jobs, |now| now - TOGETHER), [0, 1, 1, 1]);
    }
}
