//! Two clients: one sends commands and copies of them, one sends a query. Their messages arrive at once and are never
//! lost; the model of the client covers their network.

use crate::{ledger::Broken, member::Told};

/// The first connection of the client that sends commands.
pub(crate) const WRITER: u8 = 1;
/// The connection of the client that sends the query. It stays at the first leader, which may be deposed by then.
pub(crate) const READER: u8 = 100;

/// The client that sends commands. It sends a command again wherever it continues its session.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Writer {
    /// The member it is connected to.
    pub(crate) member: Option<u8>,
    pub(crate) connection: u8,
    /// The member has continued the session.
    pub(crate) bound: bool,
    /// The term of the leader it was connected to last.
    pub(crate) term: u64,
    /// The places at which the submitted commands ran, as far as they were answered.
    pub(crate) answers: Vec<Option<u8>>,
}

impl Writer {
    /// The lowest id without an answer: L.
    pub(crate) fn lowest(&self) -> u64 {
        let answered = self.answers.iter().take_while(|answer| answer.is_some()).count();
        answered as u64 + 1
    }

    /// The ids of the commands that are not answered.
    pub(crate) fn pending(&self) -> Vec<u64> {
        let pending = (1..).zip(&self.answers).filter(|(_, answer)| answer.is_none());
        pending.map(|(id, _)| id).collect()
    }

    pub(crate) fn answered(&mut self, id: u64, place: u8, lines: &[u8]) -> Result<(), Broken> {
        let Some(answer) = self.answers.get_mut(id as usize - 1) else {
            return Err(Broken::WrongAnswer);
        };
        let own = lines.get(usize::from(place)).is_some_and(|line| u64::from(*line) == id);
        if !own || answer.is_some_and(|before| before != place) {
            return Err(Broken::WrongAnswer);
        }
        *answer = Some(place);
        Ok(())
    }

    /// Returns true if this command was answered.
    pub(crate) fn has_answer(&self, id: u64) -> bool {
        self.answers.get(id as usize - 1).is_some_and(Option::is_some)
    }
}

/// The client that sends a query.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Reader {
    /// It has a session, and has not asked.
    Ready,
    /// It has asked, and these commands were answered before.
    Asked(Vec<u8>),
    Answered,
    /// Its connection has ended.
    Gone,
}

impl Reader {
    pub(crate) fn told(&mut self, told: &Told) -> Result<(), Broken> {
        match told {
            Told::Seen(seen) => {
                if let Self::Asked(before) = self
                    && before.iter().any(|command| !seen.contains(command))
                {
                    return Err(Broken::StaleRead);
                }
                *self = Self::Answered;
            }
            Told::Ended if *self != Self::Answered => *self = Self::Gone,
            _ => {}
        }
        Ok(())
    }
}
