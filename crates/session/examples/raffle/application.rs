//! Raffles: clients open them and join, and when a raffle closes, chance names the winner.

use rpds::{RedBlackTreeMapSync, RedBlackTreeSetSync};
use std::time::Duration;
use zraft_session::{
    AppSnapshot, Application, Command, Context, Payload, QueryContext, Rejected, RestoreError,
    SessionEnd, SessionId, SnapshotInput, Time,
};

#[derive(Clone)]
pub(crate) struct Raffles {
    /// The open raffles by their prize.
    open: RedBlackTreeMapSync<String, Raffle>,
    /// When they close, the first one first. Follows from `open`.
    closing: RedBlackTreeSetSync<(Time, String)>,
}

#[derive(Clone)]
struct Raffle {
    closes: Time,
    /// In the order in which they joined.
    entrants: Vec<SessionId>,
}

/// Limits, because nothing else limits the state.
const MAX_RAFFLES: usize = 1_000;
const MAX_ENTRANTS: usize = 100;
const MAX_PRIZE: usize = 64;
const MAX_SECONDS: u64 = 86_400;

impl Raffles {
    pub(crate) fn new() -> Self {
        let (open, closing) = (RedBlackTreeMapSync::new_sync(), RedBlackTreeSetSync::new_sync());
        Self { open, closing }
    }

    fn insert(&mut self, prize: &str, raffle: Raffle) {
        self.closing.insert_mut((raffle.closes, prize.to_owned()));
        self.open.insert_mut(prize.to_owned(), raffle);
    }
}

/// The level from which on a client can leave a raffle.
const LEAVE: u32 = 1;

impl Application for Raffles {
    fn apply(
        &mut self,
        context: &mut Context<'_>,
        command: Command<'_>,
    ) -> Result<Payload, Rejected> {
        let words = words(command.payload());
        let done = match words[..] {
            ["open", prize, seconds] => self.open(context.time(), prize, seconds),
            ["join", prize] => self.join(prize, command.session()),
            ["leave", prize] if context.level() >= LEAVE => self.leave(prize, command.session()),
            _ => Err("unknown command"),
        };
        match done {
            Ok(answer) => Ok(text(answer)),
            Err(reason) => Err(Rejected::with_answer(text(format!("error: {reason}")))),
        }
    }

    fn query(&self, context: &QueryContext<'_>, query: &Payload) -> Result<Payload, Rejected> {
        let raffle = match words(query)[..] {
            ["show", prize] => self.open.get(prize),
            _ => return Err(Rejected::with_answer(text("error: unknown query"))),
        };
        let Some(raffle) = raffle else { return Ok(text("not open")) };
        let left = raffle.closes.saturating_duration_since(context.time());
        Ok(text(format!("{} joined, {} s left", raffle.entrants.len(), left.as_secs())))
    }

    fn next_tick(&self) -> Option<Time> {
        self.closing.first().map(|(closes, _)| *closes)
    }

    fn tick(&mut self, context: &mut Context<'_>) {
        while let Some((closes, prize)) = self.closing.first().cloned()
            && closes <= context.time()
        {
            self.closing.remove_mut(&(closes, prize.clone()));
            let Some(Raffle { entrants, .. }) = self.open.get(&prize).cloned() else { continue };
            self.open.remove_mut(&prize);
            let winner = context.random().below(entrants.len() as u64) as usize;
            for (at, entrant) in entrants.iter().enumerate() {
                let news = if at == winner { "won" } else { "lost" };
                // If the client has stopped reading, this ends its session.
                let _ = context.push(entrant, text(format!("{news} {prize}")));
            }
        }
    }

    fn session_ended(&mut self, _: &mut Context<'_>, session: &SessionId, _: SessionEnd) {
        let joined = self.open.iter().filter(|(_, raffle)| raffle.entrants.contains(session));
        let joined: Vec<String> = joined.map(|(prize, _)| prize.clone()).collect();
        for prize in joined {
            if let Some(raffle) = self.open.get_mut(&prize) {
                raffle.entrants.retain(|entrant| entrant != session);
            }
        }
    }

    fn level(&self) -> u32 {
        LEAVE
    }

    fn snapshot(&self) -> AppSnapshot {
        let open = self.open.clone();
        AppSnapshot::new(move |output| {
            output.write_u64(open.size() as u64)?;
            for (prize, Raffle { closes, entrants }) in &open {
                output.write_text(prize)?;
                output.write_time(*closes)?;
                output.write_u64(entrants.len() as u64)?;
                entrants.iter().try_for_each(|entrant| output.write_session_id(entrant))?;
            }
            Ok(())
        })
    }

    fn restore(input: &mut SnapshotInput<'_>) -> Result<Self, RestoreError> {
        let mut raffles = Self::new();
        for _ in 0..input.read_u64()? {
            let (prize, closes) = (input.read_text()?, input.read_time()?);
            let count = input.read_u64()?;
            let entrants = (0..count).map(|_| input.read_session_id()).collect::<Result<_, _>>()?;
            raffles.insert(&prize, Raffle { closes, entrants });
        }
        Ok(raffles)
    }
}

type Answer = Result<String, &'static str>;

impl Raffles {
    fn open(&mut self, now: Time, prize: &str, seconds: &str) -> Answer {
        let seconds = seconds.parse().map_err(|_| "the duration is not a number of seconds")?;
        if !(1..=MAX_SECONDS).contains(&seconds) || prize.len() > MAX_PRIZE {
            return Err("the prize or the duration is too long");
        }
        if self.open.contains_key(prize) {
            return Err("it is open already");
        }
        if self.open.size() >= MAX_RAFFLES {
            return Err("too many raffles are open");
        }
        let closes = now + Duration::from_secs(seconds);
        self.insert(prize, Raffle { closes, entrants: Vec::new() });
        Ok(format!("opened {prize}"))
    }

    fn join(&mut self, prize: &str, session: &SessionId) -> Answer {
        let raffle = self.open.get_mut(prize).ok_or("it is not open")?;
        if raffle.entrants.contains(session) {
            return Err("you have joined already");
        }
        if raffle.entrants.len() >= MAX_ENTRANTS {
            return Err("it is full");
        }
        raffle.entrants.push(session.clone());
        Ok(format!("joined as number {}", raffle.entrants.len()))
    }

    fn leave(&mut self, prize: &str, session: &SessionId) -> Answer {
        let raffle = self.open.get_mut(prize).ok_or("it is not open")?;
        let at = raffle.entrants.iter().position(|entrant| entrant == session);
        raffle.entrants.remove(at.ok_or("you have not joined")?);
        Ok(format!("left {prize}"))
    }
}

/// The application's encoding: words in UTF-8. Everything else has no words, and is not a command.
fn words(payload: &Payload) -> Vec<&str> {
    std::str::from_utf8(payload).map(|text| text.split(' ').collect()).unwrap_or_default()
}

fn text(text: impl Into<String>) -> Payload {
    // A few words always fit.
    Payload::new(text.into()).unwrap_or_default()
}
