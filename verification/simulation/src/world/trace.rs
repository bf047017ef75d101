//! The history of a run: always its hash, and lines of text if asked for.

use std::fmt::Arguments;

use zraft_core::Instant;

/// The history. Two runs of one seed have the same hash, unless something depends on more than the seed.
#[derive(Debug)]
pub(crate) struct Trace {
    hash: u64,
    pub(crate) words: bool,
    pub(crate) lines: Vec<String>,
}

/// The clock of a run starts here, so that subtractions stay above zero.
pub(crate) const ORIGIN: Instant = Instant::from_nanos(1_000_000_000_000);

impl Trace {
    pub(crate) fn new(words: bool) -> Self {
        Self { hash: 0xcbf2_9ce4_8422_2325, words, lines: Vec::new() }
    }

    pub(crate) fn hash(&self) -> u64 {
        self.hash
    }

    fn mix(&mut self, value: u64) {
        self.hash = (self.hash.rotate_left(5) ^ value).wrapping_mul(0x517c_c1b7_2722_0a95);
    }

    /// Adds an event to the hash: what happened, and to which object.
    pub(crate) fn fact(&mut self, now: Instant, what: u64, which: u64) {
        self.mix(now.as_nanos());
        self.mix(what);
        self.mix(which);
    }

    pub(crate) fn bytes(&mut self, bytes: &[u8]) {
        self.mix(bytes.len() as u64);
        let (chunks, rest) = bytes.as_chunks::<8>();
        for chunk in chunks {
            self.mix(u64::from_le_bytes(*chunk));
        }
        for byte in rest {
            self.mix(u64::from(*byte));
        }
    }

    pub(crate) fn say(&mut self, now: Instant, words: Arguments<'_>) {
        if self.words {
            let seconds = (now - ORIGIN).as_secs_f64();
            self.lines.push(format!("{seconds:12.6}  {words}"));
        }
    }
}

/// Adds a line to the history. Costs nothing unless the history was asked for.
macro_rules! say {
    ($trace:expr, $now:expr, $($words:tt)*) => {
        if $trace.words {
            $trace.say($now, format_args!($($words)*));
        }
    };
}
pub(crate) use say;
