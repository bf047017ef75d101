//! The log of `zraft server` on standard error.
//!
//! A thread writes the lines. The member never waits for the reader of its log: a full pipe would stop its heartbeats.

use std::{
    fmt,
    io::{self, Write},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
        mpsc::{self, Receiver, SyncSender},
    },
    thread,
    time::Duration,
};

use tracing::{
    Event, Level, Subscriber,
    field::{Field, Visit},
    level_filters::LevelFilter,
};
use tracing_subscriber::{
    fmt::{FmtContext, FormatEvent, FormatFields, MakeWriter, format::Writer},
    registry::LookupSpan,
};
use zraft_server::{LogFormat, LogLevel};

/// Lines that wait for the reader of standard error. Further ones are dropped and counted; a member that works logs a few
/// lines an hour.
const WAITING_LINES: usize = 1024;
/// The longest wait for the reader when the process ends. A reader that is there takes the lines at once.
const FLUSH_TIME: Duration = Duration::from_millis(500);

/// The log of this process. Dropping it writes what waits.
pub(crate) struct Log(SyncSender<Job>);

enum Job {
    Line(Vec<u8>),
    /// Answered once all earlier lines are written.
    Flush(mpsc::Sender<()>),
}

/// Begins to write what the server logs to standard error. Lines of text look like the program's other messages.
///
/// # Errors
/// The system has no thread.
pub(crate) fn start(format: LogFormat, level: LogLevel) -> io::Result<Log> {
    let level = match level {
        LogLevel::Error => LevelFilter::ERROR,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Debug => LevelFilter::DEBUG,
        _ => LevelFilter::TRACE,
    };
    let (sender, jobs) = mpsc::sync_channel(WAITING_LINES);
    let lost = Arc::new(AtomicU64::new(0));
    let lines = Lines { sender: sender.clone(), lost: lost.clone() };
    thread::Builder::new()
        .name("zraft log".to_owned())
        .spawn(move || write_lines(&jobs, &lost, io::stderr()))?;
    let builder = tracing_subscriber::fmt().with_max_level(level).with_writer(lines);
    // Fails only if a log was begun before, which goes on then.
    let _ = match format {
        LogFormat::Json => builder.json().flatten_event(true).with_current_span(false).try_init(),
        _ => builder.event_format(Text).try_init(),
    };
    Ok(Log(sender))
}

impl Drop for Log {
    fn drop(&mut self) {
        let (done, wait) = mpsc::channel();
        // No one reads if the queue is full.
        if self.0.try_send(Job::Flush(done)).is_ok() {
            let _ = wait.recv_timeout(FLUSH_TIME);
        }
    }
}

fn write_lines(jobs: &Receiver<Job>, lost: &AtomicU64, mut output: impl Write) {
    for job in jobs {
        match job {
            Job::Line(line) => {
                // Without a reader there is no place to report it.
                let _ = output.write_all(&line);
            }
            Job::Flush(done) => {
                let _ = output.flush();
                let _ = done.send(());
            }
        }
        let lost = lost.swap(0, Ordering::Relaxed);
        if lost > 0 {
            tracing::warn!(lost, "{lost} lines of the log were lost, because no one read them");
        }
    }
}

/// Hands each line to the thread, or drops it.
#[derive(Clone)]
struct Lines {
    sender: SyncSender<Job>,
    lost: Arc<AtomicU64>,
}

impl<'a> MakeWriter<'a> for Lines {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

impl Write for Lines {
    /// Takes a whole line: the subscriber writes each event by one call.
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.sender.try_send(Job::Line(bytes.to_vec())).is_err() {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Writes `zraft: ` and the message. The message holds what the fields repeat for programs. systemd and container
/// runtimes add the time.
struct Text;

impl<S, N> FormatEvent<S, N> for Text
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        _: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let mut message = Message::default();
        event.record(&mut message);
        let label = match *event.metadata().level() {
            Level::WARN => "warning: ",
            Level::DEBUG => "debug: ",
            Level::TRACE => "trace: ",
            _ => "",
        };
        // A line break, such as that in the message of a panic, would look like another event, and other control characters
        // steer the terminal.
        writeln!(writer, "zraft: {label}{}", message.0.replace(char::is_control, " "))
    }
}

/// The message of an event, without its fields.
#[derive(Default)]
struct Message(String);

impl Visit for Message {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if field.name() == "message" {
            self.0 = format!("{value:?}");
        }
    }
}

#[cfg(test)]
mod tests {
    use tracing::subscriber::with_default;

    use super::*;

    fn lines(size: usize) -> (Lines, Receiver<Job>) {
        let (sender, jobs) = mpsc::sync_channel(size);
        (Lines { sender, lost: Arc::default() }, jobs)
    }

    fn written(jobs: &Receiver<Job>) -> String {
        let mut output = Vec::new();
        for job in jobs.try_iter() {
            if let Job::Line(line) = job {
                output.extend(line);
            }
        }
        String::from_utf8(output).unwrap()
    }

    #[test]
    fn text_shows_the_level_and_the_message_on_one_line() {
        let (lines, jobs) = lines(10);
        let subscriber = tracing_subscriber::fmt().with_writer(lines).event_format(Text).finish();
        with_default(subscriber, || {
            tracing::info!(term = 3, "leads in term {}", 3);
            tracing::warn!("a\nb\u{1b}[2J");
            tracing::error!("broken");
            tracing::debug!("left out by the default level");
        });
        let expected = "zraft: leads in term 3\nzraft: warning: a b [2J\nzraft: broken\n";
        assert_eq!(written(&jobs), expected);
    }

    #[test]
    fn lines_beyond_the_queue_are_dropped_and_counted_and_the_writer_never_waits() {
        let (mut lines, jobs) = lines(2);
        for number in 0..5 {
            lines.write_all(format!("{number}\n").as_bytes()).unwrap();
        }
        assert_eq!(lines.lost.load(Ordering::Relaxed), 3);
        let (warnings, shown) = self::lines(10);
        let subscriber = tracing_subscriber::fmt().with_writer(warnings).event_format(Text);
        let lost = lines.lost.clone();
        drop(lines);
        let mut output = Vec::new();
        with_default(subscriber.finish(), || write_lines(&jobs, &lost, &mut output));
        assert_eq!(output, b"0\n1\n");
        let warning = written(&shown);
        assert!(warning.starts_with("zraft: warning: 3 lines of the log were lost"), "{warning}");
        assert_eq!(warning.lines().count(), 1);
    }
}
