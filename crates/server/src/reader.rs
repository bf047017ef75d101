//! Reads certificates, keys and tokens again while a member runs.
//!
//! A disk that hangs must hold up nothing but the read itself. So each [`Reader`] has a thread that nothing waits for: the
//! runtime waits for its own blocking threads when it is dropped, and the process would not end.

use std::{
    fmt, io,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, RwLock},
    thread,
    time::{Duration, Instant},
};

use tokio::{
    sync::{oneshot, watch},
    time::timeout,
};

/// A read that takes longer is reported: a disk that works gives a few small files within milliseconds.
const LATE: Duration = Duration::from_secs(2);
/// The shortest pause between two reads that no one has asked for: an interval of zero would occupy a core.
const SHORTEST_INTERVAL: Duration = Duration::from_millis(1);

/// What a reload of certificates or tokens did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reload {
    /// The files as they are now are in use.
    Changed,
    /// The files are those that were in use.
    Unchanged,
}

/// What a member did about files that can change while it runs.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ReloadStatus<E> {
    /// How often files had changed and were taken.
    pub reloads: u64,
    /// Why the files as they are now are not used. The member goes on with those that it had before.
    pub problem: Option<E>,
}

impl<E> Default for ReloadStatus<E> {
    fn default() -> Self {
        Self { reloads: 0, problem: None }
    }
}

/// Files, and what a member makes of them.
pub(crate) trait Source: Send + 'static {
    /// What the files hold. It is compared to see whether they have changed: times of files are too coarse, and mounted
    /// secrets change by a symbolic link.
    type Content: PartialEq;
    /// What the member uses.
    type Value: Send + Sync + 'static;
    type Error: Clone + fmt::Display + Send + Sync + 'static;

    /// Returns the name of the value for the log, such as `certificates`.
    fn name(&self) -> &'static str;

    /// Returns who uses a changed value, for the log.
    fn changed(&self) -> &'static str;

    /// Reads the files. Blocks.
    fn read(&self) -> Result<Self::Content, Self::Error>;

    /// Checks the content. Logs nothing: content that cannot be used is checked again at each read.
    fn check(&self, content: &Self::Content) -> Result<Self::Value, Self::Error>;

    /// Logs what an operator must know of a value that is used from now on.
    fn taken(&self, _value: &Self::Value) {}

    /// Returns the error of a read for which the system has no thread, or that panicked.
    fn failed(&self, error: io::Error) -> Self::Error;
}

/// Keeps the last usable value of a [`Source`], and reads the source again at an interval and when asked.
///
/// One read is under way at a time. The callers who ask meanwhile share the next one.
#[derive(Debug)]
pub(crate) struct Reader<V, E> {
    shared: Arc<Shared<V, E>>,
}

#[derive(Debug)]
struct Shared<V, E> {
    name: &'static str,
    value: RwLock<Arc<V>>,
    status: watch::Sender<ReloadStatus<E>>,
    /// The last read that has ended.
    finished: watch::Sender<Finished<E>>,
    turn: Mutex<Turn>,
    /// Wakes the thread.
    wake: Condvar,
}

#[derive(Debug)]
struct Finished<E> {
    number: u64,
    outcome: Result<Reload, E>,
}

/// Whose turn it is: the thread's, or that of those who ask.
#[derive(Debug, Default)]
struct Turn {
    /// The number of the last read that has begun.
    begun: u64,
    /// The number of the last read that a caller waits for.
    wanted: u64,
    /// When the read that is under way began.
    reading_since: Option<Instant>,
    /// The reader was dropped.
    ended: bool,
}

impl<V: Send + Sync + 'static, E: Clone + fmt::Display + Send + Sync + 'static> Reader<V, E> {
    /// Reads the source for the first time.
    ///
    /// # Errors
    /// The source cannot be used. A disk that hangs keeps the caller waiting, and the thread.
    pub(crate) async fn start<S>(source: S, interval: Duration) -> Result<Self, E>
    where
        S: Source<Value = V, Error = E>,
    {
        let no_thread = source.failed(io::Error::other("the system has no thread to read it"));
        let (reply, started) = oneshot::channel();
        let name = format!("zraft {}", source.name());
        let run = move || run(&source, interval.max(SHORTEST_INTERVAL), reply);
        match thread::Builder::new().name(name).spawn(run) {
            Ok(_) => started.await.unwrap_or(Err(no_thread)),
            Err(_) => Err(no_thread),
        }
    }

    /// Returns the last usable value.
    pub(crate) fn value(&self) -> Arc<V> {
        self.shared.value()
    }

    /// Lets the thread read the source again, and returns the number of that read. Does not wait.
    pub(crate) fn ask(&self) -> u64 {
        let mut turn = self.shared.turn();
        // A read that is under way may have seen the files before they changed.
        turn.wanted = turn.begun + 1;
        self.shared.wake.notify_all();
        turn.wanted
    }

    /// Reads the source again.
    ///
    /// # Errors
    /// The source cannot be used, and the value stays as it was; or a subscriber panicked at the line about the outcome.
    pub(crate) async fn read(&self) -> Result<Reload, E> {
        let number = self.ask();
        let mut finished = self.shared.finished.subscribe();
        match finished.wait_for(|finished| finished.number >= number).await {
            Ok(finished) => finished.outcome.clone(),
            // The sender lives as long as this reader.
            Err(_) => Ok(Reload::Unchanged),
        }
    }

    /// Returns the value as the source is now; the last usable one if the source cannot be used, or is not read in time.
    pub(crate) async fn fresh(&self, limit: Duration) -> Arc<V> {
        // While a disk hangs, only the first caller waits.
        if self.shared.reading_for().is_none_or(|time| time < limit) {
            let _ = timeout(limit, self.read()).await;
        }
        self.value()
    }

    pub(crate) fn status(&self) -> watch::Receiver<ReloadStatus<E>> {
        self.shared.status.subscribe()
    }

    /// Returns why the files as they are now are not used, for an operator.
    pub(crate) fn problem(&self) -> Option<String> {
        if let Some(time) = self.shared.reading_for().filter(|time| *time > LATE) {
            let (name, seconds) = (self.shared.name, time.as_secs());
            return Some(format!(
                "reading the {name} has taken {seconds} s so far: check the disk that holds them"
            ));
        }
        self.shared.status.borrow().problem.as_ref().map(ToString::to_string)
    }
}

impl<V, E> Drop for Reader<V, E> {
    fn drop(&mut self) {
        self.shared.turn().ended = true;
        self.shared.wake.notify_all();
    }
}

impl<V, E> Shared<V, E> {
    fn value(&self) -> Arc<V> {
        self.value.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn turn(&self) -> MutexGuard<'_, Turn> {
        self.turn.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns how long the read that is under way has taken so far.
    fn reading_for(&self) -> Option<Duration> {
        self.turn().reading_since.map(|since| since.elapsed())
    }

    /// Waits until someone asks or the interval is over. Returns the number of the next read; none if the reader was dropped.
    fn next(&self, interval: Duration) -> Option<u64> {
        let idle = |turn: &mut Turn| !turn.ended && turn.wanted <= turn.begun;
        let waited = self.wake.wait_timeout_while(self.turn(), interval, idle);
        let (mut turn, _) = waited.unwrap_or_else(PoisonError::into_inner);
        if turn.ended {
            return None;
        }
        turn.begun += 1;
        turn.reading_since = Some(Instant::now());
        Some(turn.begun)
    }
}

type Started<S> = Result<Reader<<S as Source>::Value, <S as Source>::Error>, <S as Source>::Error>;

/// Reads the source until the reader is dropped.
fn run<S: Source>(source: &S, interval: Duration, started: oneshot::Sender<Started<S>>) {
    let first = guarded(source, || {
        let content = source.read()?;
        let value = source.check(&content)?;
        source.taken(&value);
        Ok((content, value))
    });
    let (mut content, value) = match first {
        Ok(first) => first,
        Err(error) => {
            // A caller that has gone needs no answer.
            let _ = started.send(Err(error));
            return;
        }
    };
    let shared = Arc::new(Shared {
        name: source.name(),
        value: RwLock::new(Arc::new(value)),
        status: watch::Sender::new(ReloadStatus::default()),
        finished: watch::Sender::new(Finished { number: 0, outcome: Ok(Reload::Unchanged) }),
        turn: Mutex::default(),
        wake: Condvar::new(),
    });
    // If the caller has gone, the reader is dropped here.
    let _ = started.send(Ok(Reader { shared: shared.clone() }));
    while let Some(number) = shared.next(interval) {
        let read = guarded(source, || {
            let next = source.read()?;
            if next == content {
                return Ok(None);
            }
            let value = source.check(&next)?;
            Ok(Some((next, value)))
        });
        let mut outcome = match read {
            Ok(Some((next, value))) => {
                content = next;
                *shared.value.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(value);
                Ok(Reload::Changed)
            }
            Ok(None) => Ok(Reload::Unchanged),
            Err(error) => Err(error),
        };
        shared.turn().reading_since = None;
        // A subscriber is code of the application. This thread outlives its panic, or no change would be noticed again.
        let noted = guarded(source, || {
            note(source, &shared, &outcome);
            Ok(())
        });
        if let (Ok(_), Err(error)) = (&outcome, noted) {
            shared.status.send_modify(|status| status.problem = Some(error.clone()));
            outcome = Err(error);
        }
        shared.finished.send_replace(Finished { number, outcome });
    }
}

/// Does a step of a read, and turns its panic into an error.
fn guarded<S: Source, T>(
    source: &S,
    step: impl FnOnce() -> Result<T, S::Error>,
) -> Result<T, S::Error> {
    // A panic leaves no half of a step behind: content and value are replaced after the step that makes them.
    catch_unwind(AssertUnwindSafe(step))
        .unwrap_or_else(|_| Err(source.failed(io::Error::other("reading it panicked"))))
}

/// Shows the outcome in the status, and logs it if it is new.
fn note<S: Source>(
    source: &S,
    shared: &Shared<S::Value, S::Error>,
    outcome: &Result<Reload, S::Error>,
) {
    let is_new = shared.status.send_if_modified(|status| {
        let text = |problem: &Option<S::Error>| problem.as_ref().map(ToString::to_string);
        let before = text(&status.problem);
        let changed = matches!(outcome, Ok(Reload::Changed));
        status.reloads += u64::from(changed);
        status.problem = outcome.as_ref().err().cloned();
        changed || text(&status.problem) != before
    });
    // The driver reads the status, so a subscriber that blocks must not hold its lock.
    match outcome {
        Ok(Reload::Changed) => {
            tracing::info!("{}", source.changed());
            let value = shared.value();
            source.taken(&value);
        }
        Err(error) if is_new => {
            tracing::warn!(%error, "the {} in use stay: {error}", source.name());
        }
        _ => {}
    }
}

/// Reads the source as [`Reader::start`] does, with a subscriber for what the thread logs.
#[cfg(test)]
pub(crate) async fn start_under<S: Source>(
    subscriber: impl tracing::Subscriber + Send + Sync + 'static,
    source: S,
) -> Result<Reader<S::Value, S::Error>, S::Error> {
    let (reply, started) = oneshot::channel();
    let never = Duration::from_secs(86_400);
    thread::spawn(move || {
        tracing::subscriber::with_default(subscriber, || run(&source, never, reply));
    });
    started.await.expect("it answers")
}

#[cfg(test)]
mod tests {
    use std::{pin::pin, sync::mpsc};

    use super::*;
    use crate::log::Listening;

    /// A source that gives what the test sends. Until then it hangs.
    struct Sent(mpsc::Receiver<Result<u32, String>>);

    impl Source for Sent {
        type Content = u32;
        type Value = u32;
        type Error = String;

        fn name(&self) -> &'static str {
            "numbers"
        }

        fn changed(&self) -> &'static str {
            "the number has changed"
        }

        fn read(&self) -> Result<u32, String> {
            self.0.recv().unwrap_or_else(|_| panic!("the test has ended"))
        }

        fn check(&self, content: &u32) -> Result<u32, String> {
            if *content > 9 { Err(format!("{content} is too large")) } else { Ok(*content) }
        }

        fn failed(&self, error: io::Error) -> String {
            error.to_string()
        }
    }

    const NEVER: Duration = Duration::from_secs(86_400);

    async fn started() -> (mpsc::Sender<Result<u32, String>>, Reader<u32, String>) {
        let (send, sent) = mpsc::channel();
        send.send(Ok(1)).expect("it is open");
        (send, Reader::start(Sent(sent), NEVER).await.expect("it is usable"))
    }

    #[tokio::test]
    async fn last_usable_value_stays_and_the_problem_is_shown_until_it_ends() {
        let (send, reader) = started().await;
        for (given, outcome, value, problem) in [
            (Ok(1), Ok(Reload::Unchanged), 1, None),
            (Ok(2), Ok(Reload::Changed), 2, None),
            (Ok(10), Err("10 is too large".to_owned()), 2, Some("10 is too large")),
            (Err("gone".to_owned()), Err("gone".to_owned()), 2, Some("gone")),
            (Ok(2), Ok(Reload::Unchanged), 2, None),
        ] {
            send.send(given).expect("it reads");
            assert_eq!(reader.read().await, outcome);
            assert_eq!((*reader.value(), reader.problem().as_deref()), (value, problem));
        }
        assert_eq!(reader.status().borrow().reloads, 1);
        drop(send);
        assert_eq!(reader.read().await, Err("reading it panicked".to_owned()));
    }

    #[tokio::test]
    async fn source_that_hangs_keeps_the_value_and_no_caller() {
        let (send, reader) = started().await;
        reader.ask();
        while reader.shared.reading_for().is_none() {
            tokio::task::yield_now().await;
        }
        // Those who ask while a read hangs share the next one.
        assert_eq!((reader.ask(), reader.ask()), (2, 2));
        assert_eq!(*reader.fresh(Duration::from_millis(1)).await, 1);
        // A caller who comes when the read is late does not wait at all.
        let again = timeout(Duration::ZERO, reader.fresh(Duration::from_millis(1)));
        assert_eq!(*again.await.expect("it has the last value at hand"), 1);
        // The read that hangs has begun before this call, so its result does not count for it.
        let mut read = pin!(reader.read());
        assert!(timeout(Duration::ZERO, &mut read).await.is_err());
        send.send(Ok(1)).expect("it reads");
        send.send(Ok(2)).expect("it reads");
        assert_eq!(read.await, Ok(Reload::Changed));
        assert_eq!(*reader.value(), 2);
    }

    #[tokio::test]
    async fn source_is_read_at_the_interval_without_being_asked() {
        let (send, sent) = mpsc::channel();
        (1..=3).for_each(|number| send.send(Ok(number)).expect("it is open"));
        let reader = Reader::start(Sent(sent), Duration::ZERO).await.expect("it is usable");
        let mut status = reader.status();
        let changed = status.wait_for(|status| status.reloads == 2);
        timeout(Duration::from_secs(60), changed).await.expect("it is read").expect("it runs");
    }

    #[test]
    fn runtime_ends_while_a_source_hangs() {
        let (ended, end) = mpsc::channel();
        thread::spawn(move || {
            let runtime = tokio::runtime::Runtime::new().expect("the system has threads");
            let (send, reader) = runtime.block_on(started());
            reader.ask();
            drop(runtime);
            ended.send(()).expect("the test waits");
            drop((reader, send));
        });
        end.recv_timeout(Duration::from_secs(60)).expect("it does not wait for the source");
    }

    #[tokio::test]
    async fn status_can_be_read_while_a_subscriber_blocks() {
        let (entered, enters) = mpsc::channel();
        let (release, released) = mpsc::channel::<()>();
        let released = Mutex::new(released);
        let subscriber = Listening::new(move |_, _| {
            let _ = entered.send(());
            let _ = released.lock().expect("one line is written").recv();
        });
        let (send, sent) = mpsc::channel();
        send.send(Ok(1)).expect("it is open");
        let reader = start_under(subscriber, Sent(sent)).await.expect("it is usable");
        send.send(Ok(2)).expect("it reads");
        reader.ask();
        enters.recv_timeout(Duration::from_secs(60)).expect("it logs the change");
        let (answer, answered) = mpsc::channel();
        thread::spawn(move || answer.send((reader.problem(), reader.status().borrow().reloads)));
        let answered = answered.recv_timeout(Duration::from_secs(10));
        assert_eq!(answered.expect("it does not wait for the subscriber"), (None, 1));
        drop(release);
    }

    #[tokio::test]
    async fn panic_of_a_subscriber_is_an_error_and_reading_goes_on() {
        let subscriber = Listening::new(|_, _| panic!("the subscriber is faulty"));
        let (send, sent) = mpsc::channel();
        send.send(Ok(1)).expect("it is open");
        let reader = start_under(subscriber, Sent(sent)).await.expect("it is usable");
        let panicked = "reading it panicked";
        for (given, outcome, problem) in [
            (Ok(2), Err(panicked.to_owned()), Some(panicked)),
            // A problem of the source is not hidden.
            (Err("gone".to_owned()), Err("gone".to_owned()), Some("gone")),
            (Ok(2), Ok(Reload::Unchanged), None),
        ] {
            send.send(given).expect("it reads");
            let read = timeout(Duration::from_secs(10), reader.read());
            assert_eq!(read.await.expect("it ends"), outcome);
            assert_eq!((*reader.value(), reader.problem().as_deref()), (2, problem));
        }
    }
}
