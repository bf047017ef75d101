//! The versions of the members' programs.
//!
//! An upgrade gives one place after the other a newer program. A running member is restarted for it; one that is down gets it with
//! its next start.

use zraft_core::Instant;
use zraft_replica::MemberInfo;

use super::{Cluster, member::End, plan::Program};
use crate::world::trace::say;

impl Cluster {
    /// Returns what the others must know of the member on a place.
    pub(super) fn info(&self, place: usize) -> MemberInfo {
        let member = &self.members[place];
        let runs = member.process.as_ref().map(|process| process.program);
        self.plan.info(place, runs.unwrap_or(member.program))
    }

    /// Returns the newest program of any place.
    pub(crate) fn newest_program(&self) -> Program {
        let programs = self.members.iter().map(|member| member.program);
        programs.reduce(Program::max).unwrap_or(Program { features: 0, application: 0 })
    }

    /// Gives a place another program, and ends the member there so that it can start with it: in order, or by a kill.
    pub(crate) fn upgrade(&mut self, now: Instant, place: usize, program: Program, kills: bool) {
        self.now = self.now.max(now);
        let member = &mut self.members[place];
        member.program = member.program.max(program);
        say!(self.trace, self.now, "          the program of member {} is {program:?}", place + 1);
        let member = &self.members[place];
        let ready = member.process.as_ref().is_some_and(|process| !process.stopping);
        if !ready || member.frozen {
            return;
        }
        self.coverage.count("upgrade", "member restarted");
        if kills {
            self.kill(now, place);
        } else {
            self.stop(now, place);
        }
    }

    /// Returns true if the program of a place cannot apply what the cluster's application does.
    pub(super) fn is_too_old(&self, place: usize) -> bool {
        self.members[place].program.application < self.level
    }

    /// A program that is too old for the cluster's application ends.
    pub(super) fn stops_too_old(&mut self, place: usize) {
        let program = self.members[place].program;
        say!(self.trace, self.now, "          member {} is too old: {program:?}", place + 1);
        if !self.is_too_old(place) {
            self.violated("a member stops only where it must", format!("{program:?}"));
        }
        self.coverage.count("stop", "application too old");
        self.end_process(place, End::Stopped);
    }
}
