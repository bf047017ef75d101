//! What the cluster has done so far, and the rules that it must keep.

use zraft_replica::Role;

use crate::member::Facts;

/// A rule that was broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Broken {
    /// Two members led in one term.
    TwoLeaders,
    /// A member voted for two candidates in one term.
    TwoVotes,
    /// Two members committed different entries at one index, or one member changed a committed entry.
    CommittedDiffers,
    /// An entry counts as committed that is not durable on a majority.
    NotDurable,
    /// A leader lacks an entry that was committed before its term.
    LeaderIncomplete,
    /// A command ran twice.
    RanTwice,
    /// An answer is not that of the command's own run.
    WrongAnswer,
    /// The client was told that there will be no answer.
    Evicted,
    /// A query did not see a command that was answered before.
    StaleRead,
    /// A member stopped, or broke a rule by itself.
    Member,
}

/// What has happened that no state of a member shows anymore.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Ledger {
    /// Who led in which term.
    leaders: Vec<(u64, u8)>,
    /// Who voted for whom: the term, the voter and the candidate.
    votes: Vec<(u64, u8, u8)>,
    /// Term and hash of each entry that was committed.
    pub(crate) committed: Vec<(u64, u64)>,
    /// The commands that were applied, in order.
    pub(crate) lines: Vec<u8>,
}

impl Ledger {
    pub(crate) fn voted(&mut self, member: u8, votes: &[(u64, u8)]) -> Result<(), Broken> {
        for (term, candidate) in votes {
            let place = self.votes.binary_search_by_key(&(*term, member), |vote| (vote.0, vote.1));
            match place {
                Ok(at) if self.votes[at].2 != *candidate => return Err(Broken::TwoVotes),
                Ok(_) => {}
                Err(at) => self.votes.insert(at, (*term, member, *candidate)),
            }
        }
        Ok(())
    }

    /// Compares the members with each other and with what was so before.
    pub(crate) fn look(&mut self, members: &[&Facts]) -> Result<(), Broken> {
        for (number, facts) in (1..).zip(members) {
            if facts.broken.is_some() {
                return Err(Broken::Member);
            }
            self.leads(number, facts)?;
            self.extend_committed(facts)?;
            self.extend_lines(facts)?;
        }
        for facts in members {
            self.complete(facts)?;
        }
        let has_all = |facts: &&&Facts| facts.durable.starts_with(&self.committed);
        let durable = members.iter().filter(has_all).count();
        if durable * 2 > members.len() { Ok(()) } else { Err(Broken::NotDurable) }
    }

    fn leads(&mut self, number: u8, facts: &Facts) -> Result<(), Broken> {
        if facts.role != Role::Leader {
            return Ok(());
        }
        match self.leaders.binary_search_by_key(&facts.term, |leader| leader.0) {
            Ok(at) if self.leaders[at].1 != number => Err(Broken::TwoLeaders),
            Ok(_) => Ok(()),
            Err(at) => {
                self.leaders.insert(at, (facts.term, number));
                Ok(())
            }
        }
    }

    fn extend_committed(&mut self, facts: &Facts) -> Result<(), Broken> {
        // The log begins after the snapshot with which the cluster began.
        let known = (facts.commit - zraft_replica::Boot::FIRST_SNAPSHOT) as usize;
        let committed = &facts.log[..known.min(facts.log.len())];
        if committed.len() > self.committed.len() {
            if !committed.starts_with(&self.committed) {
                return Err(Broken::CommittedDiffers);
            }
            self.committed = committed.to_vec();
        } else if !self.committed.starts_with(committed) {
            return Err(Broken::CommittedDiffers);
        }
        Ok(())
    }

    fn extend_lines(&mut self, facts: &Facts) -> Result<(), Broken> {
        let lines = &facts.lines;
        if lines.iter().enumerate().any(|(at, line)| lines[..at].contains(line)) {
            return Err(Broken::RanTwice);
        }
        if lines.len() > self.lines.len() {
            if !lines.starts_with(&self.lines) {
                return Err(Broken::CommittedDiffers);
            }
            self.lines.clone_from(lines);
        } else if !self.lines.starts_with(lines) {
            return Err(Broken::CommittedDiffers);
        }
        Ok(())
    }

    /// A leader has everything that was committed before its term.
    fn complete(&self, facts: &Facts) -> Result<(), Broken> {
        let before = self.committed.last().is_none_or(|(term, _)| *term <= facts.term);
        if facts.role == Role::Leader && before && !facts.log.starts_with(&self.committed) {
            return Err(Broken::LeaderIncomplete);
        }
        Ok(())
    }
}
