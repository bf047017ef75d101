//! The application of the simulated cluster: a ledger whose state shows what ran and in which order.
//!
//! A command's answer is its position in the ledger, counted from 0, as 8 bytes big-endian. A query's answer is the length of
//! the ledger in the same form. What a command does besides follows from the hash of its payload, so that clients need not know
//! it: it may be rejected, push server requests to its own session or to another, end a session, or ask for a tick. Each
//! command moves an amount between two of a few accounts, whose sum never changes.

use std::{cell::Cell, time::Duration};

use rpds::VectorSync;
use zraft_session::{
    AppSnapshot, Application, Capabilities, Command, Context, Payload, QueryContext, Rejected,
    RestoreError, Session, SessionEnd, SessionId, SnapshotInput, Time, detached,
};

use super::judge::Executed;
use crate::random::Rng;

/// An answer that begins with this is the ledger's own error.
pub(crate) const REJECTED: &[u8] = b"rejected";
const ACCOUNTS: usize = 8;
/// The commands of raw clients begin with this.
pub(crate) const OF_RAW_CLIENT: &[u8] = b"r";
/// Server requests that one command makes at most: more than twice what may be in flight.
const FLOOD: usize = 2 * Session::MAX_REDELIVERY + 100;
/// The sum of all accounts.
pub(crate) const MONEY: u64 = ACCOUNTS as u64 * 1_000;

/// How many commands in 100 do what. The same on all members, as configuration of the application.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Rules {
    /// Are rejected without an answer.
    pub(crate) reject: u8,
    /// Are rejected with an answer.
    pub(crate) reject_with_answer: u8,
    pub(crate) push_own: u8,
    pub(crate) push_other: u8,
    /// Push so much to its own session that not all of it may be in flight, if a raw client sent it. The others take few at a
    /// time, and get the rest after a pause.
    pub(crate) flood: u8,
    /// Ask for a tick some time later, which pushes a server request to a session.
    pub(crate) tick: u8,
    /// End some session.
    pub(crate) end_session: u8,
}

impl Rules {
    pub(crate) fn draw(rng: &mut Rng) -> Self {
        Self {
            reject: rng.pick(&[0, 0, 3]),
            reject_with_answer: rng.pick(&[0, 0, 5]),
            push_own: rng.pick(&[0, 10, 30]),
            push_other: rng.pick(&[0, 10, 30]),
            flood: rng.pick(&[0, 0, 0, 0, 3, 12]),
            tick: rng.pick(&[0, 0, 10]),
            end_session: 0,
        }
    }

    fn to_bytes(self) -> [u8; 7] {
        let Self { reject, reject_with_answer, push_own, push_other, flood, tick, end_session } =
            self;
        [reject, reject_with_answer, push_own, push_other, flood, tick, end_session]
    }

    fn from_bytes(bytes: [u8; 7]) -> Self {
        let [reject, reject_with_answer, push_own, push_other, flood, tick, end_session] = bytes;
        Self { reject, reject_with_answer, push_own, push_other, flood, tick, end_session }
    }
}

#[derive(Debug, Clone)]
pub(crate) struct Ledger {
    rules: Rules,
    /// The level that the program of this member supports. Not a part of the state.
    level: u32,
    items: VectorSync<Payload>,
    /// A hash over everything that ran, and in which session and under which id.
    chain: u64,
    accounts: [u64; ACCOUNTS],
    /// The living sessions, oldest first. A run has few.
    sessions: Vec<SessionId>,
    ticks: u64,
    next_tick: Option<Time>,
    /// What reached the application in the entry at this index. Not a part of the state.
    ran: (u64, Vec<Ran>),
}

thread_local! {
    /// The level of the program whose state is being restored: a state machine is restored from its snapshot alone.
    static LEVEL: Cell<u32> = const { Cell::new(0) };
}

/// Restores a state machine as a program that supports this level does.
pub(crate) fn with_level<T>(level: u32, restore: impl FnOnce() -> T) -> T {
    LEVEL.set(level);
    restore()
}

/// A command that reached the application, for the judge.
#[derive(Debug, Clone)]
pub(crate) struct Ran {
    pub(crate) command: Executed,
    pub(crate) accepted: bool,
}

/// Draws numbers from a payload's hash.
struct Dice(u64);

impl Dice {
    fn of(payload: &[u8]) -> Self {
        Self(payload.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| mix(hash, u64::from(*byte))))
    }

    fn below(&mut self, bound: usize) -> usize {
        self.0 = mix(self.0 ^ (self.0 >> 29), 0x9e37_79b9);
        ((self.0 >> 16) % bound as u64) as usize
    }

    fn percent(&mut self, chance: u8) -> bool {
        self.below(100) < usize::from(chance)
    }
}

fn mix(hash: u64, value: u64) -> u64 {
    (hash ^ value).wrapping_mul(0x0100_0000_01b3)
}

fn number(value: u64) -> Payload {
    Payload::new(value.to_be_bytes().to_vec()).unwrap_or_default()
}

fn text(text: String) -> Payload {
    Payload::new(text).unwrap_or_default()
}

impl Ledger {
    pub(crate) fn new(rules: Rules, level: u32) -> Self {
        Self {
            rules,
            level,
            items: VectorSync::new_sync(),
            chain: 0,
            accounts: [MONEY / ACCOUNTS as u64; ACCOUNTS],
            sessions: Vec::new(),
            ticks: 0,
            next_tick: None,
            ran: (0, Vec::new()),
        }
    }

    /// Returns the commands that reached the application in the entry at this index, if it was the last one.
    pub(crate) fn ran(&self, index: u64) -> &[Ran] {
        if self.ran.0 == index { &self.ran.1 } else { &[] }
    }

    fn note(&mut self, index: u64, command: Command<'_>, accepted: bool) {
        if self.ran.0 != index {
            self.ran = (index, Vec::new());
        }
        let command = Executed {
            session: command.session().clone(),
            request: command.request_id(),
            payload: detached(command.payload()),
        };
        self.ran.1.push(Ran { command, accepted });
    }

    /// Returns the sum of all accounts, which must be [`MONEY`].
    pub(crate) fn money(&self) -> u64 {
        self.accounts.iter().sum()
    }

    fn some_session(&self, dice: &mut Dice) -> Option<SessionId> {
        let count = self.sessions.len();
        (count > 0).then(|| self.sessions[dice.below(count)].clone())
    }

    fn transfer(&mut self, dice: &mut Dice) {
        let (from, to) = (dice.below(ACCOUNTS), dice.below(ACCOUNTS));
        let amount = (dice.below(200) as u64).min(self.accounts[from]);
        self.accounts[from] -= amount;
        self.accounts[to] += amount;
    }
}

impl Application for Ledger {
    fn apply(
        &mut self,
        context: &mut Context<'_>,
        command: Command<'_>,
    ) -> Result<Payload, Rejected> {
        let mut dice = Dice::of(command.payload());
        if dice.percent(self.rules.reject) {
            self.note(context.index(), command, false);
            return Err(Rejected::without_answer());
        }
        if dice.percent(self.rules.reject_with_answer) {
            self.note(context.index(), command, false);
            let answer = Payload::new(REJECTED.to_vec()).unwrap_or_default();
            return Err(Rejected::with_answer(answer));
        }
        self.note(context.index(), command, true);
        let position = self.items.len() as u64;
        self.items.push_back_mut(detached(command.payload()));
        self.chain = command
            .session()
            .as_bytes()
            .iter()
            .fold(self.chain, |hash, byte| mix(hash, u64::from(*byte)));
        self.chain = mix(self.chain, command.request_id().get());
        self.transfer(&mut dice);
        if dice.percent(self.rules.push_own) {
            for at in 0..=dice.below(3) {
                // A session that has no room ends: the client learns that it has missed something.
                let _ = context.push(command.session(), text(format!("own {position}.{at}")));
            }
        }
        if command.payload().starts_with(OF_RAW_CLIENT) && dice.percent(self.rules.flood) {
            for at in 0..Session::MAX_REDELIVERY + dice.below(FLOOD - Session::MAX_REDELIVERY) {
                let _ = context.push(command.session(), text(format!("flood {position}.{at}")));
            }
        }
        if dice.percent(self.rules.push_other)
            && let Some(session) = self.some_session(&mut dice)
        {
            let _ = context.try_push(&session, text(format!("other {position}")));
        }
        if dice.percent(self.rules.end_session)
            && let Some(session) = self.some_session(&mut dice)
        {
            context.end_session(&session);
        }
        if dice.percent(self.rules.tick) {
            let after = Duration::from_millis(20 + dice.below(2_000) as u64);
            let at = context.time() + after;
            self.next_tick = Some(self.next_tick.map_or(at, |next| next.min(at)));
        }
        if context.level() > 0 {
            // New behaviour, from the replicated level on.
            let random = context.random().next_u64();
            self.chain = mix(self.chain, random ^ u64::from(context.level()));
        }
        Ok(number(position))
    }

    fn query(&self, _: &QueryContext<'_>, _: &Payload) -> Result<Payload, Rejected> {
        Ok(number(self.items.len() as u64))
    }

    fn session_created(
        &mut self,
        _: &mut Context<'_>,
        session: &SessionId,
        _: &Capabilities,
    ) -> Result<(), Rejected> {
        self.sessions.push(session.clone());
        Ok(())
    }

    fn session_ended(&mut self, _: &mut Context<'_>, session: &SessionId, _: SessionEnd) {
        self.sessions.retain(|living| living != session);
    }

    fn next_tick(&self) -> Option<Time> {
        self.next_tick
    }

    fn tick(&mut self, context: &mut Context<'_>) {
        self.next_tick = None;
        self.ticks += 1;
        let mut dice = Dice(mix(self.chain, self.ticks));
        if let Some(session) = self.some_session(&mut dice) {
            let _ = context.try_push(&session, text(format!("tick {}", self.ticks)));
        }
    }

    fn level(&self) -> u32 {
        self.level
    }

    fn snapshot(&self) -> AppSnapshot {
        let ledger = self.clone();
        AppSnapshot::new(move |output| {
            output.write_bytes(&ledger.rules.to_bytes())?;
            output.write_u64(ledger.items.len() as u64)?;
            ledger.items.iter().try_for_each(|item| output.write_bytes(item))?;
            output.write_u64(ledger.chain)?;
            ledger.accounts.iter().try_for_each(|account| output.write_u64(*account))?;
            output.write_u64(ledger.sessions.len() as u64)?;
            ledger.sessions.iter().try_for_each(|session| output.write_session_id(session))?;
            output.write_u64(ledger.ticks)?;
            output.write_time(ledger.next_tick.unwrap_or(Time::MAX))
        })
    }

    fn restore(input: &mut SnapshotInput<'_>) -> Result<Self, RestoreError> {
        let rules = input.read_bytes()?;
        let rules = <[u8; 7]>::try_from(&rules[..]);
        let rules = rules.map_err(|_| RestoreError::invalid("the rules have another length"))?;
        let mut ledger = Self::new(Rules::from_bytes(rules), LEVEL.get());
        for _ in 0..input.read_u64()? {
            ledger.items.push_back_mut(input.read_payload()?);
        }
        ledger.chain = input.read_u64()?;
        for account in &mut ledger.accounts {
            *account = input.read_u64()?;
        }
        for _ in 0..input.read_u64()? {
            ledger.sessions.push(input.read_session_id()?);
        }
        ledger.ticks = input.read_u64()?;
        ledger.next_tick = Some(input.read_time()?).filter(|time| *time < Time::MAX);
        Ok(ledger)
    }
}
