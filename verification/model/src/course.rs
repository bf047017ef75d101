//! The state space: every order of steps that the budget allows, and the rules to check.

use std::sync::{Mutex, MutexGuard, PoisonError};

use stateright::{Model, Property};
use zraft_replica::Role;

use crate::{
    automaton::{Automaton, Kind, StateId},
    clients::{READER, Reader, WRITER, Writer},
    ledger::{Broken, Ledger},
    member::{Disks, Facts, Input, Mistake, Plan, Told, WriteState},
};

/// How often each chosen step may occur. The budget keeps the state space finite.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Budget {
    /// Commands submitted.
    pub commands: u8,
    /// Queries sent.
    pub queries: u8,
    /// Members that crash and start again.
    pub crashes: u8,
    /// Times that an operator moves the leadership.
    pub hand_overs: u8,
    /// Frames that arrive a second time, at any later moment.
    pub duplicates: u8,
    /// Frames that are overtaken by others of their connection, and arrive at any later moment.
    pub delays: u8,
    /// Members that hear no leader for an election timeout.
    pub timeouts: u8,
}

/// One step of the cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Step {
    /// A client submits its next command.
    Submit,
    /// The same, and the leader dies of it before its write is durable.
    SubmitAndDie,
    /// A client sends a query to the first leader.
    Query,
    /// The client that sends commands continues its session at this member.
    Reconnect(u8),
    /// The next frame of this connection arrives.
    Deliver(u8),
    /// The same, and the receiver dies of it before its write is durable.
    DeliverAndDie(u8),
    /// The next frame of this connection arrives, and arrives again later.
    Duplicate(u8),
    /// The next frame of this connection is overtaken by the others.
    Delay(u8),
    /// A frame that was doubled or overtaken arrives.
    Late(u8),
    /// This member hears no leader, and stands for election. Time passes for the other followers, too.
    Timeout(u8),
    /// The leadership is handed to the second member by the first.
    HandOver(u8, u8),
    /// This member crashes, and starts again from its disk.
    Crash(u8),
    /// The write of this member becomes durable.
    Durable(u8),
    /// This member learns that its write is durable.
    Acknowledged(u8),
}

/// A state of the cluster.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct State {
    members: Vec<StateId>,
    /// The frames on each connection, in order.
    links: Vec<Vec<u32>>,
    /// Frames that arrive at any later moment.
    late: Vec<u32>,
    pub(crate) budget: Budget,
    pub(crate) writer: Writer,
    pub(crate) reader: Reader,
    pub(crate) ledger: Ledger,
    pub(crate) broken: Option<Broken>,
}

/// A model of a cluster: how large it is, and what may happen.
pub struct Course {
    budget: Budget,
    plan: Plan,
    /// The state after the first election, with the sessions of both clients.
    pub(crate) first: State,
    automaton: Mutex<Automaton>,
}

impl std::fmt::Debug for Course {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Course").field("budget", &self.budget).finish_non_exhaustive()
    }
}

/// The member that leads when the model begins.
const FIRST_LEADER: u8 = 1;

impl Course {
    /// Three members whose writes are durable at once. Crashes also come in the middle of a step, before the write.
    #[must_use]
    pub fn of_cluster(budget: Budget, mistake: Option<Mistake>) -> Self {
        Self::new(budget, Plan { members: 3, disks: Disks::AtOnce, mistake })
    }

    /// Two members whose writes take separate steps: handed out, durable, and acknowledged.
    #[must_use]
    pub fn of_disks(budget: Budget, mistake: Option<Mistake>) -> Self {
        Self::new(budget, Plan { members: 2, disks: Disks::InSteps, mistake })
    }

    fn new(budget: Budget, plan: Plan) -> Self {
        let mut automaton = Automaton::new(plan);
        let members: Vec<_> = (1..=plan.members).map(|number| automaton.first(number)).collect();
        let links = vec![Vec::new(); members.len() * members.len()];
        let writer = Writer {
            member: Some(FIRST_LEADER),
            connection: WRITER,
            bound: true,
            term: 0,
            answers: Vec::new(),
        };
        let first = State {
            members,
            links,
            late: Vec::new(),
            budget,
            writer,
            reader: Reader::Ready,
            ledger: Ledger::default(),
            broken: None,
        };
        let mut course = Self { budget, plan, first, automaton: Mutex::new(automaton) };
        let mut first = course.first.clone();
        course.begin(&mut first);
        course.first = first;
        course
    }

    /// Elects the first leader and opens a session for each client.
    fn begin(&self, state: &mut State) {
        let mut automaton = self.automaton();
        let automaton = &mut *automaton;
        let mut told = self.input(automaton, state, FIRST_LEADER, Input::Timeout, false);
        for connection in [WRITER, READER] {
            self.run_through(automaton, state);
            let input = Input::Create(connection);
            told.extend(self.input(automaton, state, FIRST_LEADER, input, false));
            self.run_through(automaton, state);
            let leader = state.members[usize::from(FIRST_LEADER) - 1];
            state.writer.term = automaton.facts(leader).term;
        }
        assert_eq!(automaton.sessions(), 2, "both sessions exist: {told:?}");
        assert_eq!(state.broken, None);
    }

    /// Delivers everything in order until nothing is on its way.
    fn run_through(&self, automaton: &mut Automaton, state: &mut State) {
        loop {
            let writing = (1..=self.plan.members).find(|number| {
                automaton.facts(state.members[usize::from(*number) - 1]).write != WriteState::None
            });
            if let Some(number) = writing {
                self.input(automaton, state, number, Input::Durable, false);
                self.input(automaton, state, number, Input::Acknowledged, false);
                continue;
            }
            let Some(link) = state.links.iter().position(|frames| !frames.is_empty()) else {
                return;
            };
            let frame = state.links[link].remove(0);
            let to = automaton.route(frame).to;
            self.input(automaton, state, to, Input::Frame(frame), false);
        }
    }

    fn automaton(&self) -> MutexGuard<'_, Automaton> {
        self.automaton.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the number of states that single members were in.
    #[must_use]
    pub fn member_states(&self) -> usize {
        self.automaton().len()
    }

    #[cfg(test)]
    pub(crate) fn compare_merged(&self) -> usize {
        self.automaton().compare_merged()
    }

    fn link(&self, from: u8, to: u8) -> usize {
        (usize::from(from) - 1) * usize::from(self.plan.members) + usize::from(to) - 1
    }

    /// Gives an input to a member, and takes what follows. Sessions that are created are remembered.
    fn input(
        &self,
        automaton: &mut Automaton,
        state: &mut State,
        member: u8,
        input: Input,
        dies: bool,
    ) -> Vec<(u8, Told)> {
        let at = usize::from(member) - 1;
        let before = state.members[at];
        let outcome = automaton.step(before, input, dies);
        state.members[at] = outcome.next;
        if dies {
            self.cut_off(state, member);
        }
        for frame in &outcome.sent {
            let route = automaton.route(*frame);
            state.links[self.link(route.from, route.to)].push(*frame);
        }
        let changed = before != outcome.next || outcome.last.is_some();
        let kept = state.ledger.voted(member, &outcome.votes).and_then(|()| {
            let mut facts: Vec<&Facts> =
                state.members.iter().map(|member| &**automaton.facts(*member)).collect();
            if let Some(last) = &outcome.last {
                let after = std::mem::replace(&mut facts[at], last);
                state.ledger.look(&facts)?;
                facts[at] = after;
            }
            if changed { state.ledger.look(&facts) } else { Ok(()) }
        });
        if let Err(broken) = kept {
            state.broken.get_or_insert(broken);
        }
        for (_, told) in &outcome.told {
            if let Told::Created(session) = told {
                automaton.remember_session(session.clone());
            }
        }
        outcome.told.clone()
    }

    /// Gives an input to a member, and lets the clients react until they are at rest.
    fn act(
        &self,
        automaton: &mut Automaton,
        state: &mut State,
        member: u8,
        input: Input,
        dies: bool,
    ) {
        let mut told: std::collections::VecDeque<_> =
            self.input(automaton, state, member, input, dies).into();
        while let Some((connection, told_now)) = told.pop_front() {
            if connection == READER {
                if let Err(broken) = state.reader.told(&told_now) {
                    state.broken.get_or_insert(broken);
                }
                continue;
            }
            let current =
                state.writer.member == Some(member) && state.writer.connection == connection;
            match told_now {
                Told::Answer(id, place) if current => {
                    let id = if id > COPY { id - COPY } else { id };
                    let kept = state.writer.answered(id, place, &state.ledger.lines);
                    if let Err(broken) = kept {
                        state.broken.get_or_insert(broken);
                    }
                }
                Told::Evicted(_) => {
                    state.broken.get_or_insert(Broken::Evicted);
                }
                Told::Ended if current => {
                    (state.writer.member, state.writer.bound) = (None, false);
                }
                Told::Continued if current => {
                    state.writer.bound = true;
                    for id in state.writer.pending() {
                        if !state.writer.has_answer(id) {
                            let command = self.command(state, id, true);
                            told.extend(self.input(automaton, state, member, command, false));
                        }
                    }
                }
                _ => {}
            }
        }
        if dies || input == Input::Restart {
            if state.writer.member == Some(member) {
                (state.writer.member, state.writer.bound) = (None, false);
            }
            if member == FIRST_LEADER && state.reader != Reader::Answered {
                state.reader = Reader::Gone;
            }
        }
    }

    fn command(&self, state: &State, id: u64, copy: bool) -> Input {
        let lowest = state.writer.lowest();
        let renamed = copy && self.plan.mistake == Some(Mistake::CopyUnderNewId);
        let request = if renamed { id + COPY } else { id };
        Input::Command(state.writer.connection, request, lowest, id as u8)
    }

    /// Loses what is on its way to and from a member whose process ends.
    fn cut_off(&self, state: &mut State, member: u8) {
        for other in 1..=self.plan.members {
            state.links[self.link(member, other)].clear();
            state.links[self.link(other, member)].clear();
        }
    }

    fn take(&self, automaton: &mut Automaton, state: &mut State, step: Step) {
        self.choose(automaton, state, step);
        self.drop_idle(automaton, state);
    }

    /// Delivers responses that change nothing and lead to nothing.
    fn drop_idle(&self, automaton: &mut Automaton, state: &mut State) {
        for link in 0..state.links.len() {
            while let Some(frame) = state.links[link].first().copied() {
                let route = automaton.route(frame);
                let member = state.members[usize::from(route.to) - 1];
                if route.kind != Kind::Response || state.broken.is_some() {
                    break;
                }
                let outcome = automaton.step(member, Input::Frame(frame), false);
                if outcome.next != member || !outcome.sent.is_empty() || !outcome.told.is_empty() {
                    break;
                }
                state.links[link].remove(0);
            }
        }
    }

    fn choose(&self, automaton: &mut Automaton, state: &mut State, step: Step) {
        match step {
            Step::Submit | Step::SubmitAndDie => {
                state.budget.commands -= 1;
                state.writer.answers.push(None);
                let dies = step == Step::SubmitAndDie;
                state.budget.crashes -= u8::from(dies);
                let member = state.writer.member.filter(|_| state.writer.bound);
                if let Some(member) = member {
                    let command = self.command(state, state.writer.answers.len() as u64, false);
                    self.act(automaton, state, member, command, dies);
                }
            }
            Step::Query => {
                state.budget.queries -= 1;
                let lines = state.ledger.lines.iter();
                let answered = lines.filter(|line| state.writer.has_answer(u64::from(**line)));
                state.reader = Reader::Asked(answered.copied().collect());
                self.act(automaton, state, FIRST_LEADER, Input::Query(READER), false);
            }
            Step::Reconnect(member) => {
                state.writer.connection += 1;
                state.writer.member = Some(member);
                state.writer.bound = false;
                state.writer.term = automaton.facts(state.members[usize::from(member) - 1]).term;
                let input = Input::Continue(state.writer.connection, 0);
                self.act(automaton, state, member, input, false);
            }
            Step::Deliver(link) | Step::DeliverAndDie(link) | Step::Duplicate(link) => {
                let frame = state.links[usize::from(link)].remove(0);
                if let Step::Duplicate(_) = step {
                    state.budget.duplicates -= 1;
                    state.late.push(frame);
                }
                let dies = matches!(step, Step::DeliverAndDie(_));
                state.budget.crashes -= u8::from(dies);
                self.deliver(automaton, state, frame, dies);
            }
            Step::Delay(link) => {
                state.budget.delays -= 1;
                let frame = state.links[usize::from(link)].remove(0);
                state.late.push(frame);
            }
            Step::Late(at) => {
                let frame = state.late.remove(at.into());
                self.deliver(automaton, state, frame, false);
            }
            Step::Timeout(member) => {
                state.budget.timeouts -= 1;
                self.act(automaton, state, member, Input::Timeout, false);
            }
            Step::HandOver(from, to) => {
                state.budget.hand_overs -= 1;
                self.act(automaton, state, from, Input::HandOver(to), false);
            }
            Step::Crash(member) => {
                state.budget.crashes -= 1;
                self.cut_off(state, member);
                self.act(automaton, state, member, Input::Restart, false);
            }
            Step::Durable(member) => self.act(automaton, state, member, Input::Durable, false),
            Step::Acknowledged(member) => {
                self.act(automaton, state, member, Input::Acknowledged, false);
            }
        }
    }

    fn deliver(&self, automaton: &mut Automaton, state: &mut State, frame: u32, dies: bool) {
        let route = automaton.route(frame);
        let member = state.members[usize::from(route.to) - 1];
        // A member that has just heard its leader ignores the request, as if the request had not come.
        if route.kind == Kind::VoteRequest && automaton.facts(member).role != Role::Leader {
            self.act(automaton, state, route.to, Input::Wait, false);
        }
        self.act(automaton, state, route.to, Input::Frame(frame), dies);
    }

    fn steps(&self, automaton: &Automaton, state: &State, steps: &mut Vec<Step>) {
        let budget = &state.budget;
        let facts = |number: u8| automaton.facts(state.members[usize::from(number) - 1]);
        for link in 0..state.links.len() as u8 {
            if state.links[usize::from(link)].is_empty() {
                continue;
            }
            steps.push(Step::Deliver(link));
            if budget.duplicates > 0 {
                steps.push(Step::Duplicate(link));
            }
            if budget.delays > 0 {
                steps.push(Step::Delay(link));
            }
            if budget.crashes > 0 && self.plan.disks == Disks::AtOnce {
                steps.push(Step::DeliverAndDie(link));
            }
        }
        steps.extend((0..state.late.len() as u8).map(Step::Late));
        if budget.commands > 0 {
            steps.push(Step::Submit);
            if budget.crashes > 0 && self.plan.disks == Disks::AtOnce && state.writer.bound {
                steps.push(Step::SubmitAndDie);
            }
        }
        if budget.queries > 0 && state.reader == Reader::Ready {
            steps.push(Step::Query);
        }
        for number in 1..=self.plan.members {
            let facts = facts(number);
            if facts.serving && facts.term > state.writer.term {
                steps.push(Step::Reconnect(number));
            }
            if budget.timeouts > 0 && facts.role != Role::Leader {
                steps.push(Step::Timeout(number));
            }
            if budget.crashes > 0 {
                steps.push(Step::Crash(number));
            }
            if budget.hand_overs > 0 && facts.serving {
                let others = (1..=self.plan.members).filter(|other| *other != number);
                steps.extend(others.map(|other| Step::HandOver(number, other)));
            }
            match facts.write {
                WriteState::None => {}
                WriteState::HandedOut => steps.push(Step::Durable(number)),
                WriteState::Durable => steps.push(Step::Acknowledged(number)),
            }
        }
    }

    /// Returns what can be seen of the members in a state.
    pub(crate) fn see<T>(&self, state: &State, see: impl FnOnce(&[&Facts]) -> T) -> T {
        let automaton = self.automaton();
        let facts: Vec<&Facts> =
            state.members.iter().map(|member| &**automaton.facts(*member)).collect();
        see(&facts)
    }

    /// Returns what broke a rule in a state, if anything did.
    #[must_use]
    pub fn broken(&self, state: &State) -> Option<(Broken, Option<String>)> {
        let broken = state.broken?;
        let member = self.see(state, |facts| facts.iter().find_map(|facts| facts.broken.clone()));
        Some((broken, member))
    }
}

/// What the mistake [`Mistake::CopyUnderNewId`] adds to the id of a copy.
const COPY: u64 = 10;

impl Model for Course {
    type State = State;
    type Action = Step;

    fn init_states(&self) -> Vec<State> {
        vec![self.first.clone()]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Step>) {
        if state.broken.is_none() {
            self.steps(&self.automaton(), state, actions);
        }
    }

    fn next_state(&self, state: &State, step: Step) -> Option<State> {
        let mut next = state.clone();
        self.take(&mut self.automaton(), &mut next, step);
        Some(next)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        let mut properties = crate::rules::always();
        properties.extend(crate::rules::sometimes(&self.budget, self.plan));
        properties
    }
}
